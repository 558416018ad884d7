//! `kind = "file"`: keys and weights from a CSV file, drawn in constant time by Walker's alias method.

use std::{fs, path::Path, sync::Arc};

use rand_distr::{Distribution, weighted::WeightedAliasIndex};

use super::{KeyError, MAX_KEY_CHARS};
use crate::draws::Draws;

/// The keys of a file; a clone shares them.
#[derive(Debug, Clone)]
pub(super) struct KeyFile(Arc<Keys>);

#[derive(Debug)]
struct Keys {
    names: Vec<Box<str>>,
    /// Each key's share of all records.
    shares: Vec<f64>,
    table: WeightedAliasIndex<f64>,
}

impl KeyFile {
    /// Reads the file: a header `key,weight`, then a line for each key.
    pub(super) fn read(path: &Path) -> Result<Self, KeyError> {
        let shown = || path.display().to_string();
        let fault = |line: u64, reason: String| KeyError::File { path: shown(), line, reason };
        let text = fs::read(path).map_err(|error| KeyError::Unreadable { path: shown(), reason: error.to_string() })?;
        let broken = |error: csv::Error| {
            let line = line_of(&text, error.position());
            match error.kind() {
                csv::ErrorKind::UnequalLengths { len, .. } => fault(line, format!("{len} columns, not key and weight")),
                csv::ErrorKind::Utf8 { .. } => fault(line, "this is not UTF-8".to_owned()),
                _ => fault(line, error.to_string()),
            }
        };
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(&*text);
        let header = reader.headers().map_err(broken)?;
        if header != ["key", "weight"].as_slice() {
            let found = header.iter().collect::<Vec<_>>().join(",");
            return Err(fault(1, format!("the header is \"{found}\"; write key,weight")));
        }
        let (mut names, mut weights) = (Vec::new(), Vec::new());
        let mut last_line = 1;
        for row in reader.records() {
            let row = row.map_err(broken)?;
            last_line = line_of(&text, row.position());
            let (name, weight) = (&row[0], &row[1]);
            let chars = name.chars().count();
            if !(1..=MAX_KEY_CHARS).contains(&chars) {
                let reason = format!("the key has {chars} characters; write 1 to {MAX_KEY_CHARS}");
                return Err(fault(last_line, reason));
            }
            match weight.parse::<f64>() {
                Ok(weight) if weight.is_finite() && weight >= 0.0 => weights.push(weight),
                _ => return Err(fault(last_line, format!("the weight is \"{weight}\"; write a number of 0 or more"))),
            }
            names.push(name.into());
        }
        let total: f64 = weights.iter().sum();
        let no_weight = || fault(last_line, "there is no key with a weight above 0; add one".to_owned());
        if !(total.is_finite() && total > 0.0) {
            return Err(no_weight());
        }
        let shares: Vec<f64> = weights.iter().map(|weight| weight / total).collect();
        let table = WeightedAliasIndex::new(weights).map_err(|_| no_weight())?;
        Ok(Self(Arc::new(Keys { names, shares, table })))
    }

    pub(super) fn len(&self) -> usize {
        self.0.names.len()
    }

    pub(super) fn draw(&self, draws: &mut Draws) -> usize {
        self.0.table.sample(draws)
    }

    pub(super) fn name(&self, number: usize) -> &str {
        self.0.names.get(number).map_or("", |name| name)
    }

    pub(super) fn share(&self, number: usize) -> f64 {
        self.0.shares.get(number).copied().unwrap_or(0.0)
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.0.names.iter().position(|known| **known == *name)
    }
}

/// The line that a row begins on. Its position is where the row before ended: empty lines may lie between.
fn line_of(text: &[u8], position: Option<&csv::Position>) -> u64 {
    let Some(position) = position else { return 1 };
    let rest = text.get(position.byte() as usize..).unwrap_or_default();
    let empty = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).filter(|byte| **byte == b'\n').count();
    position.line() + empty as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<KeyFile, KeyError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.csv");
        std::fs::write(&path, text).unwrap();
        KeyFile::read(&path)
    }

    #[test]
    fn keys_and_shares_are_as_written() {
        let file = read("key,weight\nLos Angeles,3\n\"Dane, WI\", 1.5\nnobody,0\n").unwrap();
        assert_eq!((file.len(), file.name(1)), (3, "Dane, WI"));
        assert!((file.share(0) - 2.0 / 3.0).abs() < 1e-12 && file.share(2) == 0.0);
        assert_eq!((file.find("Los Angeles"), file.find("Nowhere")), (Some(0), None));
    }

    #[test]
    fn a_bad_line_is_named_with_its_reason() {
        for (text, line, part) in [
            ("a,1\n", 1, "write key,weight"),
            ("", 1, "write key,weight"),
            ("key,weight\n", 1, "no key with a weight"),
            ("key,weight\na,1\nb,x\n", 3, "the weight is \"x\""),
            ("key,weight\na,-1\n", 2, "0 or more"),
            ("key,weight\na,nan\n", 2, "0 or more"),
            ("key,weight\na,inf\n", 2, "0 or more"),
            ("key,weight\n\n,1\n", 3, "0 characters"),
            ("key,weight\na,1\nb\n", 3, "1 columns"),
            ("key,weight\na,0\n", 2, "no key with a weight"),
        ] {
            match read(text) {
                Err(KeyError::File { line: found, reason, .. }) => {
                    assert!(found == line && reason.contains(part), "{text:?}: line {found}: {reason}");
                }
                other => panic!("{text:?}: {other:?}"),
            }
        }
        let missing = KeyFile::read(Path::new("/no/such/keys.csv")).unwrap_err();
        assert!(matches!(missing, KeyError::Unreadable { .. }), "{missing:?}");
    }
}

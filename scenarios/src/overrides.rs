//! What the command line changes in a scenario: `--set`, `--seed`, `--rate` and `--for`.
//!
//! An override is written into the tree before typing, with its flag as the place it came from, so that it obeys the
//! same checks as the file and a mistake in it shows the flag.

use std::ops::Range;

use toml_edit::{Key, Value};

use crate::{
    error::{Fault, Origin, Text},
    tree::{Data, Node},
    units::Span,
};

/// What the command line changes. They apply in the order of the fields, whatever the order of the flags.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides {
    /// `--set key.path=value`: a key of the scenario, dotted, with the index for an entry of a list
    /// (`load.stages.0.rate=5`), and a TOML value. What is not TOML is taken as text: `source.path=/x/y.csv`.
    pub set: Vec<String>,
    /// `--seed`: the seed of every draw.
    pub seed: Option<u64>,
    /// `--rate`: all stages are scaled by one factor so that the highest reaches this rate, in the load's unit per
    /// second. A scenario of one constant stage therefore runs at exactly this rate.
    pub rate: Option<f64>,
    /// `--for`: all stages are scaled by one factor so that they last exactly this long together. A trace ends
    /// after this long.
    pub duration: Option<Span>,
}

impl Overrides {
    /// Writes `--set` and `--seed` into the tree; the text of each flag is added to `texts`.
    pub(crate) fn replace(&self, root: &mut Node, texts: &mut Vec<Text>) -> Vec<Fault> {
        let mut faults = Vec::new();
        for setting in &self.set {
            let flag = add_flag(texts, "--set", setting);
            faults.extend(parse_setting(setting, flag.text).and_then(|(path, node)| put(root, &path, node)).err());
        }
        if let Some(seed) = self.seed {
            let flag = add_flag(texts, "--seed", &seed.to_string());
            match i64::try_from(seed) {
                Ok(seed) => {
                    faults.extend(put(root, &["seed".to_owned()], Node::leaf(Data::Integer(seed), &flag)).err())
                }
                Err(_) => {
                    faults.push(Fault::new(&flag, "the seed is too large", format!("write at most {}", i64::MAX)))
                }
            }
        }
        faults
    }
}

/// Remembers a flag's text and says where in it the value is.
pub(crate) fn add_flag(texts: &mut Vec<Text>, flag: &str, value: &str) -> Origin {
    let text = texts.len();
    let shown = format!("{flag} {value}");
    let start = flag.len() + 1;
    let end = shown.len();
    texts.push(Text { name: "command line".to_owned(), text: shown });
    Origin::new(text, start..end)
}

/// Splits `key.path=value` into the path and a node that points into the flag's text.
fn parse_setting(setting: &str, text: usize) -> Result<(Vec<String>, Node), Fault> {
    let shift = "--set ".len();
    let place = |span: Range<usize>| Origin::new(text, span.start + shift..span.end + shift);
    let whole = || place(0..setting.len());
    let help = "write key.path=value, such as stream.shards=2 or load.stages.0.rate=500";
    let equals = equals_sign(setting).ok_or_else(|| Fault::new(&whole(), "this setting has no `=`", help))?;
    let (key, value) = (&setting[..equals], &setting[equals + 1..]);
    let keys = Key::parse(key).map_err(|error| {
        Fault::new(&place(0..equals), format!("this is not a key: {}", error.message().trim()), help)
    })?;
    let path: Vec<String> = keys.iter().map(|key| key.get().to_owned()).collect();
    let (key_at, value_at) = (place(0..equals), place(equals + 1..setting.len()));
    let bare = value.trim();
    let data = match bare.parse::<Value>() {
        // On the command line nobody can tell a date from text, and no key of a scenario is a date.
        Ok(Value::Datetime(_)) => Data::Text(bare.to_owned()),
        Ok(value) => data_of(&value, &value_at),
        Err(error) if bare.starts_with(['[', '{', '"', '\'']) => {
            let message = format!("this value is not TOML: {}", error.message());
            return Err(Fault::new(
                &value_at,
                message,
                "close what is opened; text without quotes is fine: name=value",
            ));
        }
        Err(_) => Data::Text(bare.to_owned()),
    };
    Ok((path, Node { data, value: value_at, key: key_at }))
}

/// The first `=` that is not inside a quoted key.
fn equals_sign(setting: &str) -> Option<usize> {
    let mut quote = None;
    setting.char_indices().find_map(|(at, c)| {
        match (quote, c) {
            (None, '=') => return Some(at),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
        None
    })
}

/// A TOML value whose every part is said to be at `origin`.
fn data_of(value: &Value, origin: &Origin) -> Data {
    match value {
        Value::String(text) => Data::Text(text.value().clone()),
        Value::Integer(number) => Data::Integer(*number.value()),
        Value::Float(number) => Data::Float(*number.value()),
        Value::Boolean(value) => Data::Boolean(*value.value()),
        Value::Datetime(date) => Data::Datetime(date.value().to_string()),
        Value::Array(items) => Data::List(items.iter().map(|v| Node::leaf(data_of(v, origin), origin)).collect()),
        Value::InlineTable(entries) => {
            Data::Table(entries.iter().map(|(k, v)| (k.to_owned(), Node::leaf(data_of(v, origin), origin))).collect())
        }
    }
}

/// Replaces what is at the path; sections on the way that the file does not have are made.
fn put(root: &mut Node, path: &[String], node: Node) -> Result<(), Fault> {
    let mut at = root;
    for (depth, step) in path.iter().enumerate() {
        let last = depth + 1 == path.len();
        let here = path[..depth].join(".");
        let next = match &mut at.data {
            Data::Table(entries) => {
                let empty =
                    || Node { data: Data::Table(Default::default()), value: node.key.clone(), key: node.key.clone() };
                entries.entry(step.clone()).or_insert_with(empty)
            }
            Data::List(items) => {
                let count = items.len();
                let help = format!("`{here}` has {count} entries, counted from 0");
                let index = step.parse::<usize>().ok().filter(|index| *index < count);
                match index.and_then(|index| items.get_mut(index)) {
                    Some(item) => item,
                    None => return Err(node.key_fault(format!("`{here}` has no entry `{step}`"), help)),
                }
            }
            other => {
                let message = format!("`{here}` is {}: it has no key `{step}`", other.noun());
                return Err(node.key_fault(message, format!("set `{here}` itself")));
            }
        };
        if last {
            *next = node;
            return Ok(());
        }
        at = next;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(set: &[&str], toml: &str) -> Result<serde_json::Value, Vec<Fault>> {
        let overrides = Overrides { set: set.iter().map(ToString::to_string).collect(), ..Default::default() };
        let mut root = Node::parse(toml, 0).unwrap();
        let faults = overrides.replace(&mut root, &mut vec![Text { name: "f".into(), text: toml.into() }]);
        if faults.is_empty() { Ok(root.to_json()) } else { Err(faults) }
    }

    #[test]
    fn a_setting_replaces_adds_and_indexes() {
        let toml = "name = \"x\"\n[load]\nstages = [{rate = 1}, {rate = 2}]\n";
        let got = with(
            &[
                "load.stages.1.rate=5",
                "source.path=/x/y=z.csv",
                "source.epoch=2025-01-01T00:00:00Z",
                "load.linger=20ms",
                "table.columns.\"a=b.c\"=number",
                "delivery.partition_keys={ city = \".city\" }",
                "name=",
            ],
            toml,
        );
        assert_eq!(
            got.unwrap(),
            serde_json::json!({
                "name": "",
                "load": {"stages": [{"rate": 1}, {"rate": 5}], "linger": "20ms"},
                "source": {"path": "/x/y=z.csv", "epoch": "2025-01-01T00:00:00Z"},
                "table": {"columns": {"a=b.c": "number"}},
                "delivery": {"partition_keys": {"city": ".city"}},
            })
        );
    }

    #[test]
    fn a_setting_that_goes_nowhere_is_refused_at_the_flag() {
        let toml = "name = \"x\"\nlist = [1]\n";
        for (setting, message) in [
            ("name.x=1", "`name` is text"),
            ("list.1=2", "has no entry `1`"),
            ("list.x=2", "has no entry `x`"),
            ("name", "no `=`"),
            ("=1", "not a key"),
            ("a..b=1", "not a key"),
            ("list=[1", "not TOML"),
        ] {
            let faults = with(&[setting], toml).unwrap_err();
            assert!(faults[0].message.contains(message), "{setting}: {faults:?}");
            assert_eq!(faults[0].origin.text, 1);
        }
    }
}

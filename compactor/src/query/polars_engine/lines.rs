//! Lines of fields for Polars, read a second time apart from the compactor's decoder: each line whole, its fields split,
//! and only then looked at.

use std::borrow::Cow;

use millrace_scenarios::{Reading, RecordFormat};

/// A line's fields by name; `None` where nothing is written.
pub(super) type Fields<'a> = Vec<(&'a str, Option<Cow<'a, str>>)>;

/// How lines are written.
pub(super) struct Lines {
    delimiter: char,
    has_quotes: bool,
    has_header: bool,
    names: Vec<String>,
}

impl Lines {
    /// `None` for JSON.
    pub(super) fn new(read: &Reading) -> Option<Self> {
        let (usual, has_quotes) = match read.format {
            RecordFormat::Json => return None,
            RecordFormat::Csv => (',', true),
            RecordFormat::Text => (' ', false),
        };
        let delimiter = read.delimiter.unwrap_or(usual);
        Some(Self { delimiter, has_quotes, has_header: read.header, names: read.fields.clone() })
    }

    /// Shows every line that has all fields, and where it starts. Of a text that is cut, the last line may lack something
    /// without looking so; of one whose header names other fields, no line is to be trusted.
    pub(super) fn each<'a>(&'a self, text: &'a [u8], is_cut: bool, show: &mut dyn FnMut(Fields<'a>, usize)) {
        let mut at = 0;
        if self.has_header {
            let start = self.blank(text, at, false);
            let end = line_end(text, start);
            let line = String::from_utf8_lossy(&text[start..end]).replace('"', "");
            if line.trim_end_matches('\r') != self.names.join(&self.delimiter.to_string()) {
                return;
            }
            at = end;
        }
        loop {
            let start = self.blank(text, at, !self.has_quotes);
            if start == text.len() {
                return;
            }
            let end = self.record_end(text, start).unwrap_or_else(|| line_end(text, start));
            if !(is_cut && end == text.len())
                && let Ok(line) = std::str::from_utf8(&text[start..end])
                && let Some(values) = self.split(line.strip_suffix('\r').unwrap_or(line))
                && values.len() == self.names.len()
            {
                show(self.names.iter().map(String::as_str).zip(values).collect(), start);
            }
            at = end;
        }
    }

    /// Passes what is between lines.
    fn blank(&self, text: &[u8], mut at: usize, spaces: bool) -> usize {
        loop {
            at += match text.get(at) {
                Some(b'\n' | b'\r') => 1,
                Some(b' ' | b'\t') if spaces => 1,
                _ if text[at..].starts_with(b"\xef\xbb\xbf") => 3,
                _ => return at,
            };
        }
    }

    /// The end of the line without its break, which quotes may have inside; `None` when they do not close.
    fn record_end(&self, text: &[u8], start: usize) -> Option<usize> {
        if !self.has_quotes {
            return None;
        }
        let (mut is_open, mut is_field_start) = (false, true);
        for (at, byte) in text.iter().enumerate().skip(start) {
            match byte {
                b'\n' if !is_open => return Some(at),
                b'"' if is_open || is_field_start => is_open = !is_open,
                // A doubled quote closes and opens again.
                b'"' if text[at - 1] == b'"' => is_open = true,
                _ => {}
            }
            is_field_start = !is_open && char::from(*byte) == self.delimiter;
        }
        (!is_open).then_some(text.len())
    }

    /// The fields of a line; `None` where a quote does not close where a field ends.
    fn split<'a>(&self, line: &'a str) -> Option<Vec<Option<Cow<'a, str>>>> {
        if !self.has_quotes {
            let fields = line.split(self.delimiter).filter(|field| !field.is_empty());
            return Some(fields.map(|field| Some(Cow::Borrowed(field))).collect());
        }
        let (mut fields, mut rest) = (Vec::new(), line);
        loop {
            let (field, after) = match rest.strip_prefix('"') {
                Some(inside) => {
                    let (text, after) = unquoted(inside)?;
                    (Some(Cow::Owned(text)), after)
                }
                None => {
                    let end = rest.find(self.delimiter).unwrap_or(rest.len());
                    (Some(Cow::Borrowed(&rest[..end])).filter(|text| !text.is_empty()), &rest[end..])
                }
            };
            fields.push(field);
            if after.is_empty() {
                return Some(fields);
            }
            rest = after.strip_prefix(self.delimiter)?;
        }
    }
}

/// What is inside quotes, and what follows them.
fn unquoted(inside: &str) -> Option<(String, &str)> {
    let (mut text, mut rest) = (String::new(), inside);
    loop {
        let (part, after) = rest.split_once('"')?;
        text.push_str(part);
        match after.strip_prefix('"') {
            Some(more) => {
                text.push('"');
                rest = more;
            }
            None => return Some((text, after)),
        }
    }
}

fn line_end(text: &[u8], start: usize) -> usize {
    text[start..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |length| start + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(read: &Reading, text: &str, is_cut: bool) -> Vec<(usize, Vec<String>)> {
        let lines = Lines::new(read).unwrap();
        let mut found = Vec::new();
        lines.each(text.as_bytes(), is_cut, &mut |fields, start| {
            let text = |(_, value): (&str, Option<Cow<'_, str>>)| value.map_or("-".to_owned(), Cow::into_owned);
            found.push((start, fields.into_iter().map(text).collect()));
        });
        found
    }

    fn reading(format: RecordFormat) -> Reading {
        Reading { format, fields: vec!["a".to_owned(), "b".to_owned()], ..Reading::default() }
    }

    #[test]
    fn quotes_hold_delimiters_breaks_and_quotes_and_a_bad_line_costs_no_other() {
        let text = "1,\"x,\"\"y\"\"\r\nz\"\r\n2,\n\n3,\"\"\n4,\"x\"y\n5,6,7\n\"8\",9";
        let found = read(&reading(RecordFormat::Csv), text, false);
        let fields: Vec<_> = found.iter().map(|(_, fields)| fields.join("|")).collect();
        assert_eq!(fields, ["1|x,\"y\"\r\nz", "2|-", "3|", "8|9"]);
        assert_eq!(found[0].0, 0);
        assert_eq!(text.as_bytes()[found[3].0], b'"');
        assert_eq!(read(&reading(RecordFormat::Csv), "1,2\n3,4", true).len(), 1, "the last line may be cut");
        assert_eq!(read(&reading(RecordFormat::Csv), "1,\"2\n3,4", false).len(), 1, "a quote that stays open");
    }

    #[test]
    fn text_is_split_at_any_number_of_delimiters_and_a_header_has_to_name_the_fields() {
        let fields = |found: Vec<(usize, Vec<String>)>| found.into_iter().map(|(_, f)| f.join("|")).collect::<Vec<_>>();
        assert_eq!(fields(read(&reading(RecordFormat::Text), "  1   2 \n3 4\n5\n", false)), ["1|2", "3|4"]);
        let with_header = Reading { header: true, ..reading(RecordFormat::Csv) };
        assert_eq!(fields(read(&with_header, "\"a\",b\r\n1,2\n", false)), ["1|2"]);
        assert_eq!(fields(read(&with_header, "b,a\n1,2\n", false)), Vec::<String>::new());
    }
}

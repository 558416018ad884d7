//! The records of an object as newline-delimited JSON that Polars' reader takes without a complaint.
//!
//! Polars fails a whole object at the first bad line, or reads a wrong type as null without a word. So the object is cut
//! into records first: what is no JSON object, or has a value of the wrong type in a column, is left out as the compactor
//! leaves it out, and records that follow each other without a newline are put on lines of their own. The values
//! themselves are handed on as they are written, but for the few forms that Polars does not take. This is a second, simpler reading of the same rules, on purpose without
//! the compactor's decoder: a line that the decoder should not have refused makes the answers differ.

use std::{borrow::Cow, collections::HashMap, fmt};

use millrace_scenarios::ColumnType;
use serde::{
    Deserialize,
    de::{Deserializer, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{TableSchema, decode::timestamp_us, schema::Column};

/// The ISO-8601 shapes of a timestamp as patterns, and whether they have an offset; without one, the time is UTC.
pub(super) const TIMESTAMPS: [(&str, bool); 8] = [
    ("%Y-%m-%dT%H:%M:%S%.f%#z", true),
    ("%Y-%m-%dT%H:%M:%S%.f", false),
    ("%Y-%m-%d %H:%M:%S%.f%#z", true),
    ("%Y-%m-%d %H:%M:%S%.f", false),
    ("%Y-%m-%dT%H:%M%#z", true),
    ("%Y-%m-%dT%H:%M", false),
    ("%Y-%m-%d %H:%M%#z", true),
    ("%Y-%m-%d %H:%M", false),
];
/// Length of a date without a time: its midnight is meant, and the patterns want it written.
const DATE_LENGTH: usize = 10;
/// Up to here every whole floating point number is an exact integer.
const EXACT: f64 = (1_u64 << 53) as f64;

/// What is asked of an object's text.
pub(super) struct Framer {
    columns: HashMap<String, Column>,
}

/// The good records of an object.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// One JSON object a line, with the wanted columns only.
    pub(super) json: Vec<u8>,
    /// For each record where in the object's text it starts, bytes.
    pub(super) offsets: Vec<u64>,
}

/// The fields of a record in the order they are written, their values untouched.
struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    fields.push((name, value));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl Framer {
    pub(super) fn new(schema: &TableSchema) -> Self {
        Self { columns: schema.columns().iter().map(|column| (column.name.clone(), column.clone())).collect() }
    }

    /// Cuts `text` into records and keeps the columns that `wanted` names. The type of every column is looked at, wanted
    /// or not: a query must not see a row because it does not ask for the column that is wrong in it.
    pub(super) fn frame(&self, text: &[u8], wanted: impl Fn(&str) -> bool) -> Frames {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut frames = Frames::default();
        let mut at = 0;
        while let Some(start) = text[at..].iter().position(|byte| !is_blank(*byte)).map(|blanks| at + blanks) {
            at = match object(&text[start..]) {
                Some((fields, length)) => {
                    fields.into_iter().for_each(|fields| self.keep(&fields, &wanted, start, &mut frames));
                    start + length
                }
                None => broken_end(text, start),
            };
        }
        frames
    }

    fn keep(
        &self,
        Fields(fields): &Fields<'_>,
        wanted: impl Fn(&str) -> bool,
        start_of_record: usize,
        frames: &mut Frames,
    ) {
        let start = frames.json.len();
        frames.json.push(b'{');
        for (name, value) in fields {
            let Some(column) = self.columns.get(name.as_ref()) else { continue };
            let Some(value) = typed(column, value.get()) else {
                frames.json.truncate(start);
                return;
            };
            if wanted(name) {
                if frames.json.len() > start + 1 {
                    frames.json.push(b',');
                }
                frames.json.extend_from_slice(json_text(name).as_bytes());
                frames.json.push(b':');
                frames.json.extend_from_slice(value.as_bytes());
            }
        }
        frames.json.extend_from_slice(b"}\n");
        frames.offsets.push(start_of_record as u64);
    }
}

/// The object that `text` starts with, and its length, when nothing but a line's end or another object follows it.
/// There are no fields when it is an object and not UTF-8.
fn object(text: &[u8]) -> Option<(Option<Fields<'_>>, usize)> {
    if text.first() != Some(&b'{') {
        return None;
    }
    let mut records = serde_json::Deserializer::from_slice(text).into_iter::<Fields<'_>>();
    let (fields, length) = match records.next() {
        Some(Ok(fields)) => (Some(fields), records.byte_offset()),
        _ => {
            let mut values = serde_json::Deserializer::from_slice(text).into_iter::<IgnoredAny>();
            values.next()?.ok()?;
            (None, values.byte_offset())
        }
    };
    let next = text[length..].iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r'));
    next.is_none_or(|byte| matches!(byte, b'\n' | b'{')).then_some((fields, length))
}

/// Where the next record can start after one that is broken: after its line and, when it is an object, after the lines
/// that can only continue one.
fn broken_end(text: &[u8], start: usize) -> usize {
    let line_end = |from: usize| {
        text[from..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |length| from + length + 1)
    };
    let mut end = line_end(start);
    while text[start] == b'{' && matches!(text.get(end), Some(b' ' | b'\t' | b'}' | b']')) {
        end = line_end(end);
    }
    end
}

/// The JSON value to hand on for a value of a column; `None` when its type is wrong. Null may stand in any column.
fn typed<'a>(column: &Column, value: &'a str) -> Option<Cow<'a, str>> {
    let first = *value.as_bytes().first()?;
    let as_written = |fits: bool| fits.then_some(Cow::Borrowed(value));
    match (column.kind, first) {
        (_, b'n') => as_written(true),
        (ColumnType::String, b'"') => as_written(serde_json::from_str::<Cow<'_, str>>(value).is_ok()),
        (ColumnType::String, _) if column.any => Some(Cow::Owned(json_text(value))),
        (ColumnType::Boolean, b't' | b'f') => as_written(true),
        (ColumnType::Number, b'-' | b'0'..=b'9') => as_written(value.parse::<f64>().is_ok_and(f64::is_finite)),
        (ColumnType::Integer, b'-' | b'0'..=b'9') => integer(value),
        (ColumnType::Timestamp, b'"') => {
            let text = serde_json::from_str::<Cow<'_, str>>(value).ok()?;
            timestamp_us(text.as_bytes())?;
            match text.len() {
                DATE_LENGTH => Some(Cow::Owned(json_text(&format!("{text}T00:00:00")))),
                _ => as_written(true),
            }
        }
        _ => None,
    }
}

/// An integer, also when it is written as `3.0` or `1e3`.
fn integer(value: &str) -> Option<Cow<'_, str>> {
    if value.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit()) {
        return value.parse::<i64>().is_ok().then_some(Cow::Borrowed(value));
    }
    let number: f64 = value.parse().ok()?;
    (number.fract() == 0.0 && number.abs() <= EXACT).then(|| Cow::Owned((number as i64).to_string()))
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Text as a JSON string.
fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use millrace_scenarios::Table;

    use super::*;

    fn framer() -> Framer {
        let columns = [
            ("at", ColumnType::Timestamp),
            ("city", ColumnType::String),
            ("n", ColumnType::Integer),
            ("ok", ColumnType::Boolean),
            ("x", ColumnType::Number),
        ];
        let column = |(name, kind): (&str, ColumnType)| Column::plain(name.to_owned(), kind);
        let any = Column { name: "any".to_owned(), kind: ColumnType::String, any: true, nested: None };
        let columns = columns.map(column).into_iter().chain([any]).collect();
        Framer::new(&TableSchema::new(columns, &Table::default()).unwrap())
    }

    fn frame(text: &str) -> (String, Vec<u64>) {
        let frames = framer().frame(text.as_bytes(), |_| true);
        (String::from_utf8(frames.json).unwrap(), frames.offsets)
    }

    #[test]
    fn records_come_one_a_line_however_they_are_written() {
        let text = "\u{feff}{\"n\":1}{\"n\":2} {\"n\":3}\r\n\n{\n  \"n\": 4,\n  \"other\": [1]\n}\n{\"n\":5}";
        let expected = "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n{\"n\":4}\n{\"n\":5}\n";
        assert_eq!(frame(text), (expected.to_owned(), vec![0, 7, 15, 25, 54]));
    }

    #[test]
    fn a_broken_record_costs_no_other() {
        let cases = [
            "{\"n\":1\n{\"n\":7}\n",
            "garbage {\"n\":1}\n{\"n\":7}\n",
            "[1]\n{\"n\":7}\n",
            "{\"n\":1}x\n{\"n\":7}\n",
            "{\n  \"n\": oops\n}\n{\"n\":7}\n",
            "{\"n\":7}\n{\"n\":1,\"ci",
        ];
        for case in cases {
            assert_eq!(frame(case).0, "{\"n\":7}\n", "{case}");
        }
    }

    #[test]
    fn a_record_that_is_not_utf8_is_left_out_and_its_neighbours_stay() {
        let frames = framer().frame(b"{\"n\":1}{\"city\":\"\xff\"}{\"n\":2}\n", |_| true);
        assert_eq!(String::from_utf8(frames.json).unwrap(), "{\"n\":1}\n{\"n\":2}\n");
    }

    #[test]
    fn a_wrong_type_leaves_the_record_out_also_when_its_column_is_not_wanted() {
        for wrong in [
            "\"n\":1.5",
            "\"n\":\"1\"",
            "\"n\":9223372036854775808",
            "\"city\":3",
            "\"ok\":1",
            "\"x\":\"1\"",
            "\"x\":1e999",
            "\"at\":\"soon\"",
            "\"at\":5",
            "\"city\":{}",
        ] {
            let frames = framer().frame(format!("{{{wrong}}}\n").as_bytes(), |_| false);
            assert!(frames.offsets.is_empty() && frames.json.is_empty(), "{wrong}");
        }
    }

    #[test]
    fn values_that_fit_are_handed_on_in_a_form_that_polars_takes() {
        let cases = [
            ("\"n\":3.0", "\"n\":3"),
            ("\"n\":-1e3", "\"n\":-1000"),
            ("\"x\":2", "\"x\":2"),
            ("\"city\":null", "\"city\":null"),
            ("\"city\":\"a\\u00e9\"", "\"city\":\"a\\u00e9\""),
            ("\"at\":\"2025-01-31\"", "\"at\":\"2025-01-31T00:00:00\""),
            ("\"any\":{\"a\": 1}", "\"any\":\"{\\\"a\\\": 1}\""),
            ("\"any\":1.50", "\"any\":\"1.50\""),
            ("\"unknown\":1", ""),
        ];
        for (written, handed) in cases {
            assert_eq!(frame(&format!("{{{written}}}")).0, format!("{{{handed}}}\n"), "{written}");
        }
    }

    #[test]
    fn only_wanted_columns_are_handed_on() {
        let frames = framer().frame(b"{\"n\":1,\"city\":\"Bath\",\"x\":1}\n", |name| name == "city");
        assert_eq!(String::from_utf8(frames.json).unwrap(), "{\"city\":\"Bath\"}\n");
    }
}

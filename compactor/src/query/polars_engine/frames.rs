//! The records of an object as newline-delimited JSON that Polars' reader takes without a complaint.
//!
//! Polars fails a whole object at the first bad line, or reads a wrong type as null without a word. So the object is cut
//! into records first: what is no JSON object, or has a value of the wrong type in a column, is left out as the compactor
//! leaves it out, and records that follow each other without a newline are put on lines of their own. The values
//! themselves are handed on as they are written, but for the few forms that Polars does not take. This is a second,
//! simpler reading of the same rules, on purpose without the compactor's decoder: a record that the decoder should not
//! have refused makes the answers differ. Shapes of timestamps and what keys say are the decoder's reading.

use std::{borrow::Cow, collections::HashMap, fmt, sync::Arc};

use chrono::DateTime;
use millrace_scenarios::{ColumnType, NewColumns, stamp::is_stamp};
use serde::{
    Deserialize,
    de::{Deserializer, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::lines::Lines;
use crate::{
    TableSchema,
    decode::{path_values, shaped_us, timestamp_us},
    schema::Column,
};

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
    /// How lines of fields are written, where records are no JSON.
    lines: Option<Lines>,
    schema: Arc<TableSchema>,
}

/// An object's text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) bytes: Vec<u8>,
    /// Its gzip ended early: the last line may be a part of one.
    pub(super) is_cut: bool,
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
    pub(super) fn new(schema: &Arc<TableSchema>) -> Self {
        let columns = schema.columns().iter().map(|column| (column.name.clone(), column.clone()));
        Self { columns: columns.collect(), lines: Lines::new(schema.read()), schema: Arc::clone(schema) }
    }

    /// Whether an object that is no gzip is read as what it is: not when its name says gzip and it holds no records.
    pub(super) fn takes_plain(&self, object: &[u8], name: &str) -> bool {
        let text = object.strip_prefix(b"\xef\xbb\xbf").unwrap_or(object);
        let is_record = || text.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
        self.lines.is_some() || !name.ends_with(".gz") || is_record()
    }

    /// Cuts `text` into records and keeps the columns that `wanted` names. The type of every column is looked at, wanted
    /// or not: a query must not see a row because it does not ask for the column that is wrong in it.
    pub(super) fn frame(&self, text: &Text, object: &str, wanted: impl Fn(&str) -> bool) -> Frames {
        let bytes = text.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text.bytes);
        let of_path = self.of_path(object);
        let mut frames = Frames::default();
        if let Some(lines) = &self.lines {
            lines.each(bytes, text.is_cut, &mut |fields, start| {
                let fields = fields.into_iter().map(|(name, value)| (Cow::Borrowed(name), Value::Bare(value)));
                self.keep(fields, &of_path, &wanted, start, &mut frames);
            });
            return frames;
        }
        let mut at = 0;
        while let Some(start) = bytes[at..].iter().position(|byte| !is_blank(*byte)).map(|blanks| at + blanks) {
            at = match object_at(bytes, start) {
                Some((fields, end)) if may_end(bytes, end) => {
                    if let Some(Fields(fields)) = fields {
                        let fields = fields.into_iter().map(|(name, value)| (name, Value::Json(value.get())));
                        self.keep(fields, &of_path, &wanted, start, &mut frames);
                    }
                    end
                }
                _ => resumed(bytes, start).unwrap_or_else(|| broken_end(bytes, start)),
            };
        }
        frames
    }

    /// What the object's key says of its records: columns and their values as JSON, `None` where one is of another type.
    fn of_path(&self, object: &str) -> Vec<(&Column, Option<String>)> {
        let of = |(index, text): (usize, String)| {
            let column = &self.schema.columns()[index];
            (column, self.bare(column, &text).map(Cow::into_owned))
        };
        path_values(object, &self.schema).into_iter().map(of).collect()
    }

    /// Puts a record's wanted columns on a line, unless it is one that the compactor leaves out.
    fn keep<'a>(
        &self,
        fields: impl Iterator<Item = (Cow<'a, str>, Value<'a>)>,
        of_path: &[(&Column, Option<String>)],
        wanted: impl Fn(&str) -> bool,
        start_of_record: usize,
        frames: &mut Frames,
    ) {
        let start = frames.json.len();
        let kept = self.put(fields, of_path, wanted, &mut frames.json);
        match kept {
            Some(()) => frames.offsets.push(start_of_record as u64),
            None => frames.json.truncate(start),
        }
    }

    fn put<'a>(
        &self,
        fields: impl Iterator<Item = (Cow<'a, str>, Value<'a>)>,
        of_path: &[(&Column, Option<String>)],
        wanted: impl Fn(&str) -> bool,
        json: &mut Vec<u8>,
    ) -> Option<()> {
        let mut line = Line::begin(json);
        let mut held = Vec::new();
        for (name, value) in fields {
            let Some(column) = self.columns.get(name.as_ref()) else {
                let is_new = matches!(value, Value::Json(_)) && !is_stamp(&name);
                if is_new && self.schema.read().new_columns == NewColumns::Quarantine {
                    return None;
                }
                continue;
            };
            let value = match value {
                Value::Json(text) => self.typed(column, text)?,
                Value::Bare(None) => Cow::Borrowed("null"),
                Value::Bare(Some(text)) => Cow::Owned(self.bare(column, &text)?.into_owned()),
            };
            if let Some((_, of_path)) = of_path.iter().find(|(of, _)| of.name == column.name) {
                if value == "null" {
                    continue;
                }
                if !is_same(column.kind, &value, of_path.as_deref()?) {
                    return None;
                }
                held.push(column);
            }
            if wanted(&name) {
                line.put(&name, &value);
            }
        }
        for (column, value) in of_path {
            let value = value.as_deref()?;
            if wanted(&column.name) && !held.contains(column) {
                line.put(&column.name, value);
            }
        }
        line.end();
        Some(())
    }

    /// The JSON value to hand on for a value of a column; `None` when its type is wrong. Null may stand in any column.
    fn typed<'a>(&self, column: &Column, value: &'a str) -> Option<Cow<'a, str>> {
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
                match timestamp_us(text.as_bytes()) {
                    Some(_) if text.len() == DATE_LENGTH => Some(Cow::Owned(json_text(&format!("{text}T00:00:00")))),
                    Some(_) => as_written(true),
                    None => self.shaped(column, &text).map(Cow::Owned),
                }
            }
            (ColumnType::Timestamp, b'-' | b'0'..=b'9') => self.shaped(column, value).map(Cow::Owned),
            _ => None,
        }
    }

    /// The same for bare text, as lines and keys have it.
    fn bare<'a>(&self, column: &Column, text: &'a str) -> Option<Cow<'a, str>> {
        match column.kind {
            ColumnType::String => Some(Cow::Owned(json_text(text))),
            ColumnType::Boolean => matches!(text, "true" | "false").then_some(Cow::Borrowed(text)),
            ColumnType::Integer => match text.parse::<i64>() {
                Ok(value) => Some(Cow::Owned(value.to_string())),
                Err(_) => integer(text),
            },
            ColumnType::Number => {
                let value: f64 = text.parse().ok()?;
                value.is_finite().then(|| Cow::Owned(format!("{value:?}")))
            }
            ColumnType::Timestamp => self.shaped(column, text).map(Cow::Owned),
        }
    }

    /// A timestamp in the shape that the scenario says, in ISO-8601.
    fn shaped(&self, column: &Column, text: &str) -> Option<String> {
        let us = shaped_us(text.as_bytes(), self.schema.read().timestamps.get(&column.name).copied())?;
        let time = DateTime::from_timestamp_micros(us)?;
        Some(json_text(&time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()))
    }
}

/// A value of a record: as JSON has it, or as a line of fields has it, where nothing is null.
enum Value<'a> {
    Json(&'a str),
    Bare(Option<Cow<'a, str>>),
}

/// One JSON object in the making.
struct Line<'a> {
    json: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Line<'a> {
    fn begin(json: &'a mut Vec<u8>) -> Self {
        json.push(b'{');
        Self { start: json.len(), json }
    }

    fn put(&mut self, name: &str, value: &str) {
        if self.json.len() > self.start {
            self.json.push(b',');
        }
        self.json.extend_from_slice(json_text(name).as_bytes());
        self.json.push(b':');
        self.json.extend_from_slice(value.as_bytes());
    }

    fn end(self) {
        self.json.extend_from_slice(b"}\n");
    }
}

/// Whether two JSON values of a column are the same.
fn is_same(kind: ColumnType, a: &str, b: &str) -> bool {
    let text = |json| serde_json::from_str::<String>(json).unwrap_or_default();
    let number = |json: &str| json.parse::<f64>().unwrap_or(f64::NAN);
    match kind {
        ColumnType::String => text(a) == text(b),
        ColumnType::Number => number(a).total_cmp(&number(b)).is_eq(),
        ColumnType::Timestamp => timestamp_us(text(a).as_bytes()) == timestamp_us(text(b).as_bytes()),
        ColumnType::Integer | ColumnType::Boolean => a == b,
    }
}

/// The object that starts at `start`, and where it ends. There are no fields when it is an object and not UTF-8.
fn object_at(text: &[u8], start: usize) -> Option<(Option<Fields<'_>>, usize)> {
    let rest = &text[start..];
    if rest.first() != Some(&b'{') {
        return None;
    }
    let mut records = serde_json::Deserializer::from_slice(rest).into_iter::<Fields<'_>>();
    if let Some(Ok(fields)) = records.next() {
        return Some((Some(fields), start + records.byte_offset()));
    }
    let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    Some((None, start + values.byte_offset()))
}

/// What follows an object on its line.
fn follower(text: &[u8], end: usize) -> Option<u8> {
    text[end..].iter().copied().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r'))
}

/// What can only be more of the text that an object seemed to be.
const fn is_more(byte: u8) -> bool {
    matches!(byte, b',' | b':' | b'"' | b']' | b'}')
}

/// Whether a record may end here: before a line's end, padding or another record, or before junk that another record
/// follows on the same line.
fn may_end(text: &[u8], end: usize) -> bool {
    match follower(text, end) {
        None | Some(b'\n' | b'{' | 0) => true,
        Some(byte) => !is_more(byte) && resumed(text, end).is_some(),
    }
}

/// Where on its line a record starts behind something broken, whose brace can be no part of that: a name follows it, and
/// no colon, comma or bracket stands before it.
fn resumed(text: &[u8], from: usize) -> Option<usize> {
    let end = broken_end(text, from);
    let may_start = |at: &usize| {
        let before = text[..*at].iter().rfind(|byte| !is_blank(**byte));
        let after = text[at + 1..].iter().find(|byte| !is_blank(**byte));
        text[*at] == b'{' && after == Some(&b'"') && before.is_some_and(|byte| !matches!(byte, b':' | b',' | b'['))
    };
    (from + 1..end)
        .filter(may_start)
        .find(|at| object_at(text, *at).is_some_and(|(_, end)| follower(text, end).is_none_or(|byte| !is_more(byte))))
}

/// Where the next record can start after one that is broken: after its line and the lines that can only continue it.
fn broken_end(text: &[u8], start: usize) -> usize {
    let line_end = |from: usize| {
        text[from..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |length| from + length + 1)
    };
    let mut end = line_end(start);
    while matches!(text.get(end), Some(b' ' | b'\t' | b'}' | b']')) {
        end = line_end(end);
    }
    end
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
    use millrace_scenarios::{Reading, Table, TimeShape};

    use super::*;

    fn framer() -> Framer {
        let columns = [
            ("at", ColumnType::Timestamp),
            ("city", ColumnType::String),
            ("n", ColumnType::Integer),
            ("ok", ColumnType::Boolean),
            ("since", ColumnType::Timestamp),
            ("town", ColumnType::String),
            ("when", ColumnType::Timestamp),
            ("x", ColumnType::Number),
        ];
        let column = |(name, kind): (&str, ColumnType)| Column::plain(name.to_owned(), kind);
        let any = Column { name: "any".to_owned(), kind: ColumnType::String, any: true, nested: None };
        let columns = columns.map(column).into_iter().chain([any]).collect();
        let read = Reading {
            new_columns: NewColumns::Ignore,
            timestamps: [("when".to_owned(), TimeShape::MonthFirst), ("since".to_owned(), TimeShape::EpochMillis)]
                .into(),
            path_columns: vec!["town".to_owned()],
            ..Reading::default()
        };
        Framer::new(&Arc::new(TableSchema::new(columns, &Table { read, ..Table::default() }).unwrap()))
    }

    fn framed(text: &[u8], object: &str, wanted: impl Fn(&str) -> bool) -> Frames {
        framer().frame(&Text { bytes: text.to_vec(), is_cut: false }, object, wanted)
    }

    fn frame(text: &str) -> (String, Vec<u64>) {
        let frames = framed(text.as_bytes(), "o", |_| true);
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
            "{\"n\":oops}{\"n\":7}",
            "{\"n\":{\"n\":1}x{\"n\":7}",
            "garbage {\"n\":7}\n",
            "[1]\n{\"n\":7}\n",
            "{\"n\":1}x\n{\"n\":7}\n",
            "{\n  \"n\": oops\n}\n{\"n\":7}\n",
            "{\"n\":7}x{\"n\":\"1\"}",
            "{\"n\":7}\n{\"n\":1,\"ci",
        ];
        for case in cases {
            assert_eq!(frame(case).0, "{\"n\":7}\n", "{case}");
        }
    }

    #[test]
    fn a_record_that_is_not_utf8_is_left_out_and_its_neighbours_stay() {
        let frames = framed(b"{\"n\":1}{\"city\":\"\xff\"}{\"n\":2}\n", "o", |_| true);
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
            let frames = framed(format!("{{{wrong}}}\n").as_bytes(), "o", |_| false);
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
            ("\"when\":\"2/8/2016 5:46\"", "\"when\":\"2016-02-08T05:46:00.000000Z\""),
            ("\"since\":1163438041250", "\"since\":\"2006-11-13T17:14:01.250000Z\""),
        ];
        for (written, handed) in cases {
            assert_eq!(frame(&format!("{{{written}}}")).0, format!("{{{handed}}}\n"), "{written}");
        }
    }

    #[test]
    fn only_wanted_columns_are_handed_on() {
        let frames = framed(b"{\"n\":1,\"city\":\"Bath\",\"x\":1}\n", "o", |name| name == "city");
        assert_eq!(String::from_utf8(frames.json).unwrap(), "{\"city\":\"Bath\"}\n");
    }

    #[test]
    fn what_the_key_says_is_in_every_record_that_does_not_say_otherwise() {
        let text = b"{\"n\":1}{\"n\":2,\"town\":null}{\"town\":\"B\\u0061th\",\"n\":3}{\"n\":4,\"town\":\"York\"}";
        let frames = framed(text, "town=B%61th/o.gz", |_| true);
        let expected = "{\"n\":1,\"town\":\"Bath\"}\n{\"n\":2,\"town\":\"Bath\"}\n{\"town\":\"B\\u0061th\",\"n\":3}\n";
        assert_eq!(String::from_utf8(frames.json).unwrap(), expected);
    }
}

//! A schema from what is in the lake, for a scenario that declares no columns. It is taken once: the table keeps it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use millrace_scenarios::{ColumnType, Table};
use serde_json::{Map, Value};
use tracing::warn;

use crate::{
    decode::{head, timestamp_us},
    error::CompactError,
    schema::{Column, TableSchema},
};

/// Records looked at.
pub const SAMPLE_RECORDS: usize = 1_000;
/// Objects looked at, at most.
pub const SAMPLE_OBJECTS: usize = 16;
/// Bytes of each object looked at, after decompression.
const SAMPLE_BYTES: usize = 1 << 20;

/// What was seen of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Only null: nothing is known.
    Nothing,
    /// Always this type.
    Is(ColumnType),
    /// Several types, or objects and arrays: text that takes any value.
    Any,
}

impl Shape {
    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Nothing,
            Value::Bool(_) => Self::Is(ColumnType::Boolean),
            Value::Number(number) if number.is_i64() => Self::Is(ColumnType::Integer),
            Value::Number(_) => Self::Is(ColumnType::Number),
            Value::String(text) if timestamp_us(text.as_bytes()).is_some() => Self::Is(ColumnType::Timestamp),
            Value::String(_) => Self::Is(ColumnType::String),
            Value::Array(_) | Value::Object(_) => Self::Any,
        }
    }

    fn join(self, other: Self) -> Self {
        use ColumnType::{Integer, Number, String, Timestamp};
        match (self, other) {
            (Self::Nothing, shape) | (shape, Self::Nothing) => shape,
            (a, b) if a == b => a,
            (Self::Is(Integer | Number), Self::Is(Integer | Number)) => Self::Is(Number),
            (Self::Is(String | Timestamp), Self::Is(String | Timestamp)) => Self::Is(String),
            _ => Self::Any,
        }
    }
}

/// Looks at objects until it has seen enough.
#[derive(Debug, Default)]
pub struct Inference {
    fields: BTreeMap<String, Shape>,
    records: usize,
}

impl Inference {
    /// Looks at the beginning of an object; says whether it has seen enough.
    pub fn look(&mut self, bytes: Bytes) -> bool {
        let text = head(bytes, SAMPLE_BYTES);
        let mut rest = text.as_slice();
        while !rest.is_empty() && self.records < SAMPLE_RECORDS {
            let mut records = serde_json::Deserializer::from_slice(rest).into_iter::<Map<String, Value>>();
            while let Some(Ok(record)) = records.next() {
                self.records += 1;
                for (name, value) in &record {
                    let shape = Shape::of(value);
                    let known = self.fields.entry(name.clone()).or_insert(Shape::Nothing);
                    *known = known.join(shape);
                }
                if self.records == SAMPLE_RECORDS {
                    return true;
                }
            }
            // Not readable from here: go on with the next line.
            let after = &rest[records.byte_offset().min(rest.len())..];
            rest = after.iter().position(|b| *b == b'\n').map_or(&[], |end| &after[end + 1..]);
        }
        self.records >= SAMPLE_RECORDS
    }

    /// The schema, or `None` when no record was seen.
    ///
    /// # Errors
    /// [`CompactError::Schema`] when `[table]` names columns that no record has.
    pub fn schema(&self, table: &Table) -> Result<Option<TableSchema>, CompactError> {
        if self.records == 0 {
            return Ok(None);
        }
        let mut names = BTreeSet::new();
        let mut columns = Vec::new();
        for (name, shape) in &self.fields {
            // Delta tells columns apart without regard to case, so only the first of such names can be one.
            if !names.insert(name.to_lowercase()) {
                warn!(field = name, "left out: another field has this name in another case");
                continue;
            }
            let (kind, any) = match shape {
                Shape::Is(kind) => (*kind, false),
                Shape::Nothing | Shape::Any => (ColumnType::String, true),
            };
            columns.push(Column { name: name.clone(), kind, any });
        }
        TableSchema::new(columns, table).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inferred(text: &str) -> Vec<(String, ColumnType, bool)> {
        let mut inference = Inference::default();
        inference.look(Bytes::from(text.to_owned()));
        let schema = inference.schema(&Table::default()).unwrap().unwrap();
        schema.columns().iter().map(|c| (c.name.clone(), c.kind, c.any)).collect()
    }

    fn one(values: &[&str]) -> (ColumnType, bool) {
        let text: String = values.iter().map(|v| format!("{{\"x\":{v}}}\n")).collect();
        let columns = inferred(&text);
        (columns[0].1, columns[0].2)
    }

    #[test]
    fn types_join_without_loss() {
        use ColumnType::{Boolean, Integer, Number, String, Timestamp};
        assert_eq!(one(&["1", "null", "-2"]), (Integer, false));
        assert_eq!(one(&["1", "2.5"]), (Number, false));
        assert_eq!(one(&["18446744073709551615"]), (Number, false));
        assert_eq!(one(&["true", "null"]), (Boolean, false));
        assert_eq!(one(&["\"2025-01-01T00:00:00Z\"", "\"2025-01-01 00:00:00.5\""]), (Timestamp, false));
        assert_eq!(one(&["\"2025-01-01T00:00:00Z\"", "\"soon\""]), (String, false));
        assert_eq!(one(&["1", "\"a\""]), (String, true));
        assert_eq!(one(&["{\"y\":1}"]), (String, true));
        assert_eq!(one(&["null"]), (String, true));
    }

    #[test]
    fn bad_lines_and_missing_newlines_do_not_stop_it() {
        let columns = inferred("{\"a\":1}{\"b\":2}\nnot json\n{\"c\":\n[1]}\n{\"d\":true");
        let names: Vec<_> = columns.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
    }

    #[test]
    fn nothing_seen_is_no_schema() {
        assert!(Inference::default().schema(&Table::default()).unwrap().is_none());
    }
}

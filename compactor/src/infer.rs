//! A schema from what is in the lake, for a scenario that declares no columns. It is taken once: the table keeps it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use arrow::datatypes::{DataType, Field};
use bytes::Bytes;
use millrace_scenarios::{ColumnType, Nested, Reading, Table};
use serde_json::{Map, Value};
use tracing::warn;

use crate::{
    decode::{head, text_of, timestamp_us},
    dedupe::origin::is_reserved,
    error::CompactError,
    schema::{ANY_KEY, Column, TableSchema, arrow_type},
};

/// Records looked at.
pub const SAMPLE_RECORDS: usize = 1_000;
/// Objects looked at, at most.
pub const SAMPLE_OBJECTS: usize = 16;
/// Bytes of each object looked at, after decompression.
const SAMPLE_BYTES: usize = 1 << 20;

/// Members of one object that are told apart. What has more is a dictionary, whose names are data.
const MEMBERS: usize = 256;

/// What was seen of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape {
    /// Only null: nothing is known.
    Nothing,
    /// Always this type.
    Is(ColumnType),
    /// Lists, with this in them.
    List(Box<Shape>),
    /// Objects, with these members.
    Struct(BTreeMap<String, Shape>),
    /// Several types: text that takes any value.
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
            Value::Array(items) => Self::List(Box::new(items.iter().map(Self::of).fold(Self::Nothing, Self::join))),
            Value::Object(members) if members.len() > MEMBERS => Self::Any,
            Value::Object(members) => {
                Self::Struct(members.iter().map(|(name, value)| (name.clone(), Self::of(value))).collect())
            }
        }
    }

    fn join(self, other: Self) -> Self {
        use ColumnType::{Integer, Number, String, Timestamp};
        match (self, other) {
            (Self::Nothing, shape) | (shape, Self::Nothing) => shape,
            (Self::Is(a), Self::Is(b)) if a == b => Self::Is(a),
            (Self::Is(Integer | Number), Self::Is(Integer | Number)) => Self::Is(Number),
            (Self::Is(String | Timestamp), Self::Is(String | Timestamp)) => Self::Is(String),
            (Self::List(a), Self::List(b)) => Self::List(Box::new(a.join(*b))),
            (Self::Struct(mut a), Self::Struct(b)) => {
                for (name, shape) in b {
                    let known = a.remove(&name).unwrap_or(Self::Nothing);
                    a.insert(name, known.join(shape));
                }
                // So many names are data, not members.
                if a.len() > MEMBERS { Self::Any } else { Self::Struct(a) }
            }
            _ => Self::Any,
        }
    }

    /// The Arrow type of a struct or list, and of what is inside one; `None` where only text can hold what was seen.
    fn arrow(&self) -> Option<DataType> {
        match self {
            Self::Is(kind) => Some(arrow_type(*kind)),
            Self::List(item) => Some(DataType::List(Arc::new(Field::new("element", item.arrow()?, true)))),
            Self::Struct(members) => {
                let mut names = BTreeSet::new();
                if members.is_empty() || !members.keys().all(|name| names.insert(name.to_lowercase())) {
                    return None;
                }
                Some(DataType::Struct(members.iter().map(|(name, shape)| shape.member(name)).collect()))
            }
            Self::Nothing | Self::Any => None,
        }
    }

    /// The member of a struct that holds this.
    fn member(&self, name: &str) -> Field {
        let any = || HashMap::from([(ANY_KEY.to_owned(), "true".to_owned())]);
        match self.arrow() {
            Some(kind) => Field::new(name, kind, true),
            None => Field::new(name, DataType::Utf8, true).with_metadata(any()),
        }
    }

    /// A struct or list of this type with the members besides that this has and the type has not; `None` when there is
    /// none. A member that was only null, or whose name differs from another's in case only, is none.
    fn widened(&self, kind: &DataType) -> Option<DataType> {
        match (kind, self) {
            (DataType::List(item), Self::List(shape)) => {
                let wider = shape.widened(item.data_type())?;
                Some(DataType::List(Arc::new(item.as_ref().clone().with_data_type(wider))))
            }
            (DataType::Struct(fields), Self::Struct(members)) => {
                let wider = |field: &Arc<Field>| members.get(field.name())?.widened(field.data_type());
                let known = fields.iter().map(|field| match wider(field) {
                    Some(kind) => (Arc::new(field.as_ref().clone().with_data_type(kind)), true),
                    None => (Arc::clone(field), false),
                });
                let (mut all, changed): (Vec<_>, Vec<bool>) = known.unzip();
                let mut names: BTreeSet<String> = fields.iter().map(|field| field.name().to_lowercase()).collect();
                let new = members.iter().filter(|(name, shape)| {
                    **shape != Self::Nothing && names.len() < MEMBERS && names.insert(name.to_lowercase())
                });
                all.extend(new.map(|(name, shape)| Arc::new(shape.member(name))));
                (all.len() > fields.len() || changed.contains(&true)).then(|| DataType::Struct(all.into()))
            }
            _ => None,
        }
    }

    /// The column that holds this; `None` while nothing but null was seen.
    fn column(&self, name: &str, read: &Reading) -> Option<Column> {
        let is_time = read.timestamps.contains_key(name);
        let (name, nested) = (name.to_owned(), read.nested);
        let any = |nested| Column { name: String::new(), kind: ColumnType::String, any: true, nested };
        Some(match self {
            _ if is_time => Column::plain(name, ColumnType::Timestamp),
            Self::Nothing => return None,
            Self::Is(kind) => Column::plain(name, *kind),
            Self::List(_) | Self::Struct(_) if nested == Nested::Struct => Column { name, ..any(self.arrow()) },
            Self::List(_) | Self::Struct(_) | Self::Any => Column { name, ..any(None) },
        })
    }
}

/// The columns that fields of an object ask for beyond those that there are, from all of its records, and those that
/// have to grow to hold what is inside theirs. A field that was only null, or whose name differs from a column's in case
/// only, asks for none.
pub(crate) fn new_columns(bytes: Bytes, schema: &TableSchema) -> Vec<Column> {
    let mut inference = Inference::default();
    text_of(bytes, &mut |text| inference.read(text, usize::MAX));
    let mut names: BTreeSet<String> = schema.arrow_table().fields().iter().map(|f| f.name().to_lowercase()).collect();
    let fields = inference.fields.iter().filter(|(name, _)| !is_reserved(name) && names.insert(name.to_lowercase()));
    let new = fields.filter_map(|(name, shape)| shape.column(name, schema.read()));
    let grown = schema.columns().iter().filter_map(|column| {
        let wider = inference.fields.get(&column.name)?.widened(column.nested.as_ref()?)?;
        Some(Column { nested: Some(wider), ..column.clone() })
    });
    new.chain(grown).collect()
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
        self.read(&head(bytes, SAMPLE_BYTES), SAMPLE_RECORDS);
        self.records >= SAMPLE_RECORDS
    }

    /// Looks at the records in a text; returns where what follows the last of them starts.
    fn read(&mut self, text: &[u8], limit: usize) -> usize {
        let mut rest = text;
        while !rest.is_empty() && self.records < limit {
            let mut records = serde_json::Deserializer::from_slice(rest).into_iter::<Map<String, Value>>();
            let mut is_cut = false;
            for record in records.by_ref() {
                let record = match record {
                    Ok(record) => record,
                    Err(error) => {
                        is_cut = error.is_eof();
                        break;
                    }
                };
                self.records += 1;
                for (name, value) in &record {
                    let shape = Shape::of(value);
                    let known = self.fields.entry(name.clone()).or_insert(Shape::Nothing);
                    *known = std::mem::replace(known, Shape::Nothing).join(shape);
                }
                if self.records == limit {
                    return text.len();
                }
            }
            let after = &rest[records.byte_offset().min(rest.len())..];
            let line = after.iter().position(|b| *b == b'\n');
            if is_cut && line.is_none() {
                return text.len() - after.len();
            }
            // Not readable from here: go on with the next line.
            rest = line.map_or(&[], |end| &after[end + 1..]);
        }
        text.len()
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
            // What is only null may turn out to be anything.
            let column = shape.column(name, &table.read);
            columns.extend(column.or_else(|| Shape::Any.column(name, &table.read)));
        }
        for name in &table.read.path_columns {
            if names.insert(name.to_lowercase()) {
                columns.push(Column::plain(name.clone(), ColumnType::String));
            }
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
    fn nested_values_become_structs_and_lists_where_that_is_chosen() {
        let nested = |text: &str| {
            let mut inference = Inference::default();
            inference.look(Bytes::from(text.to_owned()));
            let mut spec = Table::default();
            spec.read.nested = Nested::Struct;
            let schema = inference.schema(&spec).unwrap().unwrap();
            schema.columns()[0].nested.as_ref().map(ToString::to_string)
        };
        let list = nested(r#"{"x":[{"a":1,"at":"2025-01-01"}]}{"x":[{"a":2.5}]}{"x":[]}"#).unwrap();
        assert!(list.contains("Float64") && list.contains("Timestamp"), "{list}");
        let mixed = nested(r#"{"x":{"a":1,"b":[1,"a"]}}{"x":{"a":null,"c":{}}}"#).unwrap();
        assert_eq!(mixed.matches("millrace.any").count(), 2, "{mixed}");
        for text in
            [r#"{"x":[]}"#, r#"{"x":{}}"#, r#"{"x":{"a":1}}{"x":[1]}"#, r#"{"x":{"a":1,"A":2}}"#, r#"{"x":[1,{}]}"#]
        {
            assert_eq!(nested(text), None, "{text}");
        }
        let many: Vec<_> = (0..=MEMBERS).map(|k| format!("\"k{k}\":1")).collect();
        assert_eq!(nested(&format!("{{\"x\":{{{}}}}}", many.join(","))), None);
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

//! A struct or a list under construction. As in a plain column, a record that turns out bad half-way can be taken back.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BooleanArray, BooleanBufferBuilder, Float64Array, Int64Array, ListArray, StringArray, StructArray,
        TimestampMicrosecondArray,
    },
    buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer},
    datatypes::{DataType, FieldRef, Fields},
    error::ArrowError,
};
use serde_json::Value;

use super::{json::EXACT, time::timestamp_us};
use crate::schema::ANY_KEY;

/// Values of one type, and which of them are there.
#[derive(Debug)]
pub(super) struct Tree {
    values: Values,
    valid: BooleanBufferBuilder,
}

#[derive(Debug)]
enum Values {
    Text { bytes: Vec<u8>, ends: Vec<i32>, any: bool },
    Whole(Vec<i64>),
    Time(Vec<i64>),
    Number(Vec<f64>),
    Boolean(BooleanBufferBuilder),
    List { field: FieldRef, items: Box<Tree>, ends: Vec<i32> },
    Struct { fields: Fields, children: Vec<Tree> },
}

impl Tree {
    /// An empty one. A text that is `any` takes every value, as its JSON text.
    pub(super) fn new(kind: &DataType, any: bool) -> Self {
        let of = |field: &FieldRef| Self::new(field.data_type(), field.metadata().contains_key(ANY_KEY));
        let values = match kind {
            DataType::Int64 => Values::Whole(Vec::new()),
            DataType::Timestamp(..) => Values::Time(Vec::new()),
            DataType::Float64 => Values::Number(Vec::new()),
            DataType::Boolean => Values::Boolean(BooleanBufferBuilder::new(0)),
            DataType::List(field) => {
                Values::List { field: Arc::clone(field), items: Box::new(of(field)), ends: vec![0] }
            }
            DataType::Struct(fields) => {
                Values::Struct { fields: fields.clone(), children: fields.iter().map(of).collect() }
            }
            _ => Values::Text { bytes: Vec::new(), ends: vec![0], any },
        };
        Self { values, valid: BooleanBufferBuilder::new(0) }
    }

    /// Appends a value; false when it is of another shape, after which the caller cuts. Members that the type has not are
    /// named, with their `path`.
    pub(super) fn push(&mut self, value: &Value, path: &str, unknown: &mut Vec<String>) -> bool {
        match (&mut self.values, value) {
            (_, Value::Null) => {
                self.push_null();
                return true;
            }
            (Values::Text { bytes, ends, .. }, Value::String(text)) => {
                bytes.extend_from_slice(text.as_bytes());
                ends.push(end_of(bytes.len()));
            }
            (Values::Text { bytes, ends, any: true }, other) => {
                bytes.extend_from_slice(other.to_string().as_bytes());
                ends.push(end_of(bytes.len()));
            }
            (Values::Whole(values), Value::Number(number)) => match whole(number) {
                Some(value) => values.push(value),
                None => return false,
            },
            (Values::Number(values), Value::Number(number)) => match number.as_f64() {
                Some(value) => values.push(value),
                None => return false,
            },
            (Values::Time(values), Value::String(text)) => match timestamp_us(text.as_bytes()) {
                Some(us) => values.push(us),
                None => return false,
            },
            (Values::Boolean(values), Value::Bool(value)) => values.append(*value),
            (Values::List { items, ends, .. }, Value::Array(array)) => {
                if !array.iter().all(|item| items.push(item, path, unknown)) {
                    return false;
                }
                ends.push(end_of(items.valid.len()));
            }
            (Values::Struct { fields, children }, Value::Object(members)) => {
                for (field, child) in fields.iter().zip(children.iter_mut()) {
                    let member = members.get(field.name()).unwrap_or(&Value::Null);
                    if !child.push(member, &format!("{path}.{}", field.name()), unknown) {
                        return false;
                    }
                }
                let is_new = |name: &&String| fields.find(name).is_none();
                unknown.extend(members.keys().filter(is_new).map(|name| format!("{path}.{name}")));
            }
            _ => return false,
        }
        self.valid.append(true);
        true
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.valid.len()
    }

    /// Appends a null.
    pub(super) fn push_null(&mut self) {
        match &mut self.values {
            Values::Text { bytes, ends, .. } => ends.push(end_of(bytes.len())),
            Values::Whole(values) | Values::Time(values) => values.push(0),
            Values::Number(values) => values.push(0.0),
            Values::Boolean(values) => values.append(false),
            Values::List { items, ends, .. } => ends.push(end_of(items.valid.len())),
            Values::Struct { children, .. } => children.iter_mut().for_each(Self::push_null),
        }
        self.valid.append(false);
    }

    /// Takes back everything behind the first `rows`, half-made values included.
    pub(super) fn cut(&mut self, rows: usize) {
        match &mut self.values {
            Values::Text { bytes, ends, .. } => {
                ends.truncate(rows + 1);
                bytes.truncate(last(ends));
            }
            Values::Whole(values) | Values::Time(values) => values.truncate(rows),
            Values::Number(values) => values.truncate(rows),
            Values::Boolean(values) => values.truncate(rows),
            Values::List { items, ends, .. } => {
                ends.truncate(rows + 1);
                items.cut(last(ends));
            }
            Values::Struct { children, .. } => children.iter_mut().for_each(|child| child.cut(rows)),
        }
        self.valid.truncate(rows);
    }

    /// The values as an Arrow array.
    pub(super) fn finish(mut self) -> Result<ArrayRef, ArrowError> {
        let rows = self.valid.len();
        let nulls = Some(NullBuffer::new(self.valid.finish())).filter(|nulls| nulls.null_count() > 0);
        let offsets = |ends: Vec<i32>| OffsetBuffer::new(ScalarBuffer::from(ends));
        Ok(match self.values {
            Values::Text { bytes, ends, .. } => {
                Arc::new(StringArray::try_new(offsets(ends), Buffer::from_vec(bytes), nulls)?)
            }
            Values::Whole(values) => Arc::new(Int64Array::new(values.into(), nulls)),
            Values::Time(values) => Arc::new(TimestampMicrosecondArray::new(values.into(), nulls).with_timezone("UTC")),
            Values::Number(values) => Arc::new(Float64Array::new(values.into(), nulls)),
            Values::Boolean(mut values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::List { field, items, ends } => {
                Arc::new(ListArray::try_new(field, offsets(ends), items.finish()?, nulls)?)
            }
            Values::Struct { fields, children } => {
                let arrays = children.into_iter().map(Self::finish).collect::<Result<Vec<_>, _>>()?;
                Arc::new(StructArray::try_new_with_length(fields, arrays, nulls, rows)?)
            }
        })
    }
}

/// An integer, also when it is written like `3.0` or `1e3`, as long as nothing is lost.
fn whole(number: &serde_json::Number) -> Option<i64> {
    let float = || number.as_f64().filter(|v| !number.is_u64() && v.fract() == 0.0 && v.abs() <= EXACT);
    number.as_i64().or_else(|| float().map(|value| value as i64))
}

/// The end of what a chunk holds so far. A chunk is closed long before 2 GiB, see [`super::CHUNK_TEXT_BYTES`].
fn end_of(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

fn last(ends: &[i32]) -> usize {
    ends.last().map_or(0, |end| usize::try_from(*end).unwrap_or(0))
}

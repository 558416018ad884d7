//! One column under construction. Plain vectors instead of Arrow builders, because a record that turns out bad half-way
//! must be taken back, and a vector can be cut.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BooleanArray, BooleanBufferBuilder, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
    },
    buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer},
    datatypes::DataType,
    error::ArrowError,
};
use millrace_scenarios::{ColumnType, TimeShape};

use super::nested::Tree;

#[derive(Debug)]
pub(super) enum Values {
    Text { bytes: Vec<u8>, ends: Vec<i32> },
    Whole(Vec<i64>),
    Number(Vec<f64>),
    Boolean(BooleanBufferBuilder),
    Nested(Box<Tree>),
}

impl Values {
    /// Gives back room that was made for more: an object's last chunk is a short one.
    fn shrink(&mut self) {
        fn shrink<T>(values: &mut Vec<T>) {
            if values.len() < values.capacity() / 4 * 3 {
                values.shrink_to_fit();
            }
        }
        match self {
            Self::Text { bytes, ends } => {
                shrink(bytes);
                shrink(ends);
            }
            Self::Whole(values) => shrink(values),
            Self::Number(values) => shrink(values),
            Self::Boolean(_) | Self::Nested(_) => {}
        }
    }
}

/// Where the text of a column's newest value is. A value that is written as the one of the row before is not read once more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    from: usize,
    to: usize,
    /// The row after the one whose value it is.
    next: usize,
    /// How often it was another since it last was the same.
    misses: u8,
}

/// So often in a row another value: it is not looked for any more in this text.
const MISSES: u8 = 8;

impl Default for Before {
    fn default() -> Self {
        Self { from: 0, to: 0, next: usize::MAX, misses: 0 }
    }
}

impl Before {
    /// Where the value of the row before `row` is written, when that is known and worth looking at.
    pub(super) fn of(&self, row: usize) -> Option<(usize, usize)> {
        (self.next == row && self.misses < MISSES).then_some((self.from, self.to))
    }

    /// The value of `row` was read from this part of the text.
    pub(super) const fn read(&mut self, from: usize, to: usize, row: usize) {
        (self.from, self.to, self.next) = (from, to, row + 1);
    }

    /// The value of `row` is written the same way, from `at` on.
    pub(super) const fn hit(&mut self, at: usize, row: usize) {
        *self = Self { from: at, to: at + self.to - self.from, next: row + 1, misses: 0 };
    }

    pub(super) const fn miss(&mut self) {
        self.misses += 1;
    }
}

/// One column: values and which of them are there.
#[derive(Debug)]
pub(super) struct Column {
    /// Its name, where what is inside it has names too.
    pub(super) name: String,
    pub(super) kind: ColumnType,
    pub(super) any: bool,
    pub(super) nested: Option<DataType>,
    /// How its timestamps are written, where that is not ISO-8601 alone.
    pub(super) shape: Option<TimeShape>,
    pub(super) values: Values,
    /// Which values are there; not kept before the first null.
    pub(super) valid: Option<BooleanBufferBuilder>,
    pub(super) before: Before,
}

impl Column {
    pub(super) fn new(name: String, kind: ColumnType, any: bool, nested: Option<DataType>) -> Self {
        let values = match (kind, &nested) {
            (_, Some(nested)) => Values::Nested(Box::new(Tree::new(nested, false))),
            (ColumnType::String, _) => Values::Text { bytes: Vec::new(), ends: vec![0] },
            (ColumnType::Integer | ColumnType::Timestamp, _) => Values::Whole(Vec::new()),
            (ColumnType::Number, _) => Values::Number(Vec::new()),
            (ColumnType::Boolean, _) => Values::Boolean(BooleanBufferBuilder::new(0)),
        };
        Self { name, kind, any, nested, shape: None, values, valid: None, before: Before::default() }
    }

    pub(super) fn len(&self) -> usize {
        match &self.values {
            Values::Text { ends, .. } => ends.len() - 1,
            Values::Whole(values) => values.len(),
            Values::Number(values) => values.len(),
            Values::Boolean(values) => values.len(),
            Values::Nested(tree) => tree.len(),
        }
    }

    /// A column like this one, with room for as many values as this one has.
    fn like(&self) -> Self {
        let rows = self.len();
        let mut fresh = Self::new(self.name.clone(), self.kind, self.any, self.nested.clone());
        fresh.shape = self.shape;
        match (&mut fresh.values, &self.values) {
            (Values::Text { bytes, ends }, Values::Text { bytes: held, .. }) => {
                ends.reserve(rows);
                bytes.reserve(held.len() + held.len() / 16);
            }
            (Values::Whole(values), _) => values.reserve(rows),
            (Values::Number(values), _) => values.reserve(rows),
            _ => {}
        }
        fresh
    }

    /// A value has been pushed.
    pub(super) fn is_there(&mut self) {
        if let Some(valid) = &mut self.valid {
            valid.append(true);
        }
    }

    pub(super) fn cut(&mut self, rows: usize) {
        self.before = Before::default();
        match &mut self.values {
            Values::Text { bytes, ends } => {
                ends.truncate(rows + 1);
                bytes.truncate(ends.last().map_or(0, |end| usize::try_from(*end).unwrap_or(0)));
            }
            Values::Whole(values) => values.truncate(rows),
            Values::Number(values) => values.truncate(rows),
            Values::Boolean(values) => values.truncate(rows),
            Values::Nested(tree) => tree.cut(rows),
        }
        if let Some(valid) = &mut self.valid {
            valid.truncate(rows);
        }
    }

    pub(super) fn push_null(&mut self) {
        let rows = self.len();
        let valid = self.valid.get_or_insert_with(|| {
            let mut valid = BooleanBufferBuilder::new(rows + 1);
            valid.append_n(rows, true);
            valid
        });
        valid.append(false);
        match &mut self.values {
            Values::Text { bytes, ends } => ends.push(end_of(bytes)),
            Values::Whole(values) => values.push(0),
            Values::Number(values) => values.push(0.0),
            Values::Boolean(values) => values.append(false),
            Values::Nested(tree) => tree.push_null(),
        }
    }

    /// The newest value once more.
    pub(super) fn push_again(&mut self) {
        fn again<T: Copy>(values: &mut Vec<T>) {
            values.extend(values.last().copied());
        }
        match &mut self.values {
            Values::Text { bytes, ends } => {
                if let [.., from, to] = ends[..] {
                    // Offsets are never negative.
                    bytes.extend_from_within(from as usize..to as usize);
                    ends.push(end_of(bytes));
                }
            }
            Values::Whole(values) => again(values),
            Values::Number(values) => again(values),
            Values::Boolean(_) | Values::Nested(_) => {}
        }
        self.is_there();
    }

    /// Whether two rows hold the same plain value.
    pub(super) fn are_same(&self, a: usize, b: usize) -> bool {
        match &self.values {
            Values::Text { bytes, ends } => {
                let text =
                    |row: usize| bytes.get(usize::try_from(ends[row]).ok()?..usize::try_from(ends[row + 1]).ok()?);
                text(a) == text(b)
            }
            Values::Whole(values) => values[a] == values[b],
            Values::Number(values) => values[a].total_cmp(&values[b]).is_eq(),
            Values::Boolean(values) => values.get_bit(a) == values.get_bit(b),
            Values::Nested(_) => false,
        }
    }

    pub(super) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let fresh = self.like();
        let Self { kind, mut values, valid, .. } = std::mem::replace(self, fresh);
        values.shrink();
        let nulls = valid.map(|mut valid| NullBuffer::new(valid.finish())).filter(|nulls| nulls.null_count() > 0);
        Ok(match values {
            Values::Text { bytes, ends } => Arc::new(StringArray::try_new(
                OffsetBuffer::new(ScalarBuffer::from(ends)),
                Buffer::from_vec(bytes),
                nulls,
            )?),
            Values::Whole(values) if kind == ColumnType::Timestamp => {
                Arc::new(TimestampMicrosecondArray::new(values.into(), nulls).with_timezone("UTC"))
            }
            Values::Whole(values) => Arc::new(Int64Array::new(values.into(), nulls)),
            Values::Number(values) => Arc::new(Float64Array::new(values.into(), nulls)),
            Values::Boolean(mut values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Nested(tree) => tree.finish()?,
        })
    }
}

/// The end of the text so far. A chunk is closed long before 2 GiB: see [`super::CHUNK_TEXT_BYTES`] and
/// [`super::RECORD_LIMIT`].
pub(super) fn end_of(bytes: &[u8]) -> i32 {
    i32::try_from(bytes.len()).unwrap_or(i32::MAX)
}

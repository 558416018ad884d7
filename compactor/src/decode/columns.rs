//! The columns of a chunk, row by row: where a field's value goes, and what becomes of a row that turns out bad.

use std::collections::HashMap;

use arrow::{array::RecordBatch, error::ArrowError};
use millrace_scenarios::{ColumnType, stamp::is_stamp};

use super::{
    column::{Before, Column, Values, end_of},
    json::EXACT,
    time::shaped_us,
};
use crate::schema::TableSchema;

/// Names of unknown fields told apart; the rest is counted under [`OTHER_FIELDS`], so that memory stays bounded.
const UNKNOWN_LIMIT: usize = 1_000;
const OTHER_FIELDS: &str = "(other fields)";

/// Whether the text begins so. Field names are a few bytes: a call to compare memory would take longer than comparing.
fn begins(text: &[u8], with: &[u8]) -> bool {
    let Some(text) = text.get(..with.len()) else { return false };
    let ((words, rest), (with_words, with_rest)) = (text.as_chunks::<8>(), with.as_chunks::<8>());
    words.iter().zip(with_words).all(|(a, b)| u64::from_ne_bytes(*a) == u64::from_ne_bytes(*b))
        && rest.iter().zip(with_rest).all(|(a, b)| a == b)
}

fn number(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok().filter(|value: &f64| value.is_finite())
}

/// An integer, also when it is written like `3.0` or `1e3`, as long as nothing is lost.
fn integer(text: &[u8]) -> Option<i64> {
    if !text.iter().any(|byte| b".eE".contains(byte)) {
        return std::str::from_utf8(text).ok()?.parse().ok();
    }
    number(text).filter(|value| value.fract() == 0.0 && value.abs() <= EXACT).map(|value| value as i64)
}

/// Where a field's value goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// To this column.
    Column(usize),
    /// Nowhere; it is counted.
    Unknown(usize),
}

/// All columns of one chunk, and what is known about field names.
#[derive(Debug)]
pub(super) struct Columns {
    columns: Vec<Column>,
    rows: usize,
    slots: HashMap<Box<[u8]>, Slot>,
    /// The fields of the record before, in order, each with all its text from the quote to the value: the next record
    /// mostly has the same.
    previous: Vec<(Box<[u8]>, Slot)>,
    unknown: Vec<(String, u64)>,
    unknown_here: Vec<usize>,
    /// Columns whose value the object's key gives, and the value.
    of_path: Vec<(usize, String)>,
}

impl Columns {
    pub(super) fn new(schema: &TableSchema) -> Self {
        let made = |c: &crate::schema::Column| Column {
            shape: schema.read().timestamps.get(&c.name).copied(),
            ..Column::new(c.name.clone(), c.kind, c.any, c.nested.clone())
        };
        let columns = schema.columns().iter().map(made).collect();
        let slot = |(index, column): (usize, &crate::schema::Column)| {
            (column.name.as_bytes().to_owned().into_boxed_slice(), Slot::Column(index))
        };
        Self {
            columns,
            rows: 0,
            slots: schema.columns().iter().enumerate().map(slot).collect(),
            previous: Vec::new(),
            unknown: Vec::new(),
            unknown_here: Vec::new(),
            of_path: Vec::new(),
        }
    }

    pub(super) const fn rows(&self) -> usize {
        self.rows
    }

    /// Where the value of the record's `ordinal`-th field goes and how long the text before it is, when `text` begins as
    /// that field did in the record before.
    pub(super) fn expected(&self, ordinal: usize, text: &[u8]) -> Option<(Slot, usize)> {
        let (before, slot) = self.previous.get(ordinal)?;
        begins(text, before).then_some((*slot, before.len()))
    }

    /// Where the value of the field with this name goes.
    pub(super) fn slot(&mut self, name: &[u8]) -> Slot {
        self.slots.get(name).copied().unwrap_or_else(|| self.unknown_slot(name))
    }

    /// The next record is expected to have this text before the value of its `ordinal`-th field.
    pub(super) fn expect(&mut self, ordinal: usize, text: &[u8], slot: Slot) {
        if ordinal < self.previous.len() {
            self.previous[ordinal] = (text.into(), slot);
        } else if ordinal == self.previous.len() && ordinal < UNKNOWN_LIMIT {
            self.previous.push((text.into(), slot));
        }
    }

    fn unknown_slot(&mut self, name: &[u8]) -> Slot {
        if self.unknown.len() > UNKNOWN_LIMIT {
            return Slot::Unknown(UNKNOWN_LIMIT);
        }
        let slot = Slot::Unknown(self.unknown.len());
        if self.unknown.len() == UNKNOWN_LIMIT {
            self.unknown.push((OTHER_FIELDS.to_owned(), 0));
        } else {
            self.unknown.push((String::from_utf8_lossy(name).into_owned(), 0));
            self.slots.insert(name.into(), slot);
        }
        slot
    }

    pub(super) fn note_unknown(&mut self, field: usize) {
        self.unknown_here.push(field);
    }

    pub(super) fn kind(&self, column: usize) -> (ColumnType, bool) {
        (self.columns[column].kind, self.columns[column].any)
    }

    /// The column, ready for the current row's value: a field that is there twice counts as its last.
    fn at_row(&mut self, column: usize) -> &mut Column {
        let (rows, column) = (self.rows, &mut self.columns[column]);
        if column.len() > rows {
            column.cut(rows);
        }
        column
    }

    pub(super) fn set_null(&mut self, column: usize) {
        self.at_row(column).push_null();
    }

    pub(super) fn set_text(&mut self, column: usize, text: &[u8]) {
        let column = self.at_row(column);
        if let Values::Text { bytes, ends } = &mut column.values {
            bytes.extend_from_slice(text);
            ends.push(end_of(bytes));
            column.is_there();
        }
    }

    /// Gives the current row the value of the row before, when the text at `at` begins as that value's did, the byte after
    /// it included; says how long it is.
    pub(super) fn repeat(&mut self, column: usize, text: &[u8], at: usize) -> Option<usize> {
        let (rows, column) = (self.rows, &mut self.columns[column]);
        let (from, to) = column.before.of(rows).filter(|_| column.len() == rows)?;
        if !begins(&text[at..], text.get(from..=to)?) {
            column.before.miss();
            return None;
        }
        column.push_again();
        column.before.hit(at, rows);
        Some(to - from)
    }

    /// The current row's value was read from this part of the text; a plain one, which depends on nothing else.
    pub(super) fn read_from(&mut self, column: usize, from: usize, to: usize) {
        self.columns[column].before.read(from, to, self.rows);
    }

    /// What was read before is not in the text that comes now.
    pub(super) fn begin_text(&mut self) {
        self.columns.iter_mut().for_each(|column| column.before = Before::default());
    }

    /// Sets a timestamp from its text, or from the text of a number; false when it is none.
    pub(super) fn set_time(&mut self, column: usize, text: &[u8]) -> bool {
        let us = shaped_us(text, self.columns[column].shape);
        us.map(|us| self.set_whole(column, us)).is_some()
    }

    /// Sets an integer or a timestamp.
    pub(super) fn set_whole(&mut self, column: usize, value: i64) {
        let column = self.at_row(column);
        if let Values::Whole(values) = &mut column.values {
            values.push(value);
            column.is_there();
        }
    }

    pub(super) fn set_number(&mut self, column: usize, value: f64) {
        let column = self.at_row(column);
        if let Values::Number(values) = &mut column.values {
            values.push(value);
            column.is_there();
        }
    }

    pub(super) fn set_boolean(&mut self, column: usize, value: bool) {
        let column = self.at_row(column);
        if let Values::Boolean(values) = &mut column.values {
            values.append(value);
            column.is_there();
        }
    }

    pub(super) const fn is_nested(&self, column: usize) -> bool {
        matches!(self.columns.as_slice()[column].values, Values::Nested(_))
    }

    /// Sets a struct or list from its JSON text; false when it is of another shape. What it has beyond the column's type
    /// counts as unknown, under its path.
    pub(super) fn set_nested(&mut self, column: usize, json: &[u8]) -> bool {
        let (rows, name) = (self.rows, self.columns[column].name.clone());
        let Values::Nested(tree) = &mut self.at_row(column).values else { return false };
        let Ok(value) = serde_json::from_slice::<serde_json::Value>(json) else { return false };
        let mut unknown = Vec::new();
        if !tree.push(&value, &name, &mut unknown) {
            tree.cut(rows);
            return false;
        }
        self.columns[column].is_there();
        for path in unknown {
            let slot = self.slots.get(path.as_bytes()).copied();
            if let Slot::Unknown(field) = slot.unwrap_or_else(|| self.unknown_slot(path.as_bytes())) {
                self.note_unknown(field);
            }
        }
        true
    }

    /// Sets a value from bare text, as lines of fields and the parts of a key have it; false when it is of another type.
    pub(super) fn set_bare(&mut self, column: usize, text: &[u8]) -> bool {
        match self.kind(column).0 {
            _ if self.is_nested(column) => return self.set_nested(column, text),
            ColumnType::String => self.set_text(column, text),
            ColumnType::Boolean if matches!(text, b"true" | b"false") => self.set_boolean(column, text == b"true"),
            ColumnType::Boolean => return false,
            ColumnType::Integer => match integer(text) {
                Some(value) => self.set_whole(column, value),
                None => return false,
            },
            ColumnType::Number => match number(text) {
                Some(value) => self.set_number(column, value),
                None => return false,
            },
            ColumnType::Timestamp => return self.set_time(column, text),
        }
        true
    }

    /// What the key of the object says of its records, from here on.
    pub(super) fn set_path(&mut self, values: Vec<(usize, String)>) {
        self.of_path = values;
    }

    /// Gives the current row what the object's key says, and names the column in which the two do not agree.
    pub(super) fn agree_with_path(&mut self) -> Result<(), usize> {
        let of_path = std::mem::take(&mut self.of_path);
        let outcome = of_path.iter().try_for_each(|(index, text)| {
            let row = self.rows;
            let held =
                |column: &Column| column.len() > row && column.valid.as_ref().is_none_or(|valid| valid.get_bit(row));
            if !held(&self.columns[*index]) {
                return if self.set_bare(*index, text.as_bytes()) { Ok(()) } else { Err(*index) };
            }
            // The key's value is put behind the record's for a moment.
            self.rows += 1;
            let is_value = self.set_bare(*index, text.as_bytes());
            self.rows -= 1;
            let column = &mut self.columns[*index];
            let same = is_value && column.are_same(row, row + 1);
            column.cut(row + 1);
            if same { Ok(()) } else { Err(*index) }
        });
        self.of_path = of_path;
        outcome
    }

    /// The first field of the current row that is no column. The stamp is in every record, wanted or not.
    pub(super) fn first_unknown(&self) -> Option<&str> {
        self.unknown_here.iter().map(|field| self.unknown[*field].0.as_str()).find(|name| !is_stamp(name))
    }

    /// The record is good: fields it did not have are null.
    pub(super) fn keep_row(&mut self) {
        self.rows += 1;
        for column in &mut self.columns {
            if column.len() < self.rows {
                column.push_null();
            }
        }
        for field in self.unknown_here.drain(..) {
            self.unknown[field].1 += 1;
        }
    }

    /// The record is bad: as if it had never been.
    pub(super) fn drop_row(&mut self) {
        for column in &mut self.columns {
            if column.len() > self.rows {
                column.cut(self.rows);
            }
        }
        self.unknown_here.clear();
    }

    /// The rows so far, and an empty start.
    pub(super) fn finish(&mut self, schema: &TableSchema) -> Result<RecordBatch, ArrowError> {
        self.rows = 0;
        let arrays = self.columns.iter_mut().map(Column::finish).collect::<Result<Vec<_>, _>>()?;
        RecordBatch::try_new(schema.arrow_decoded(), arrays)
    }

    /// How often each unknown field was met since the last call.
    pub(super) fn take_unknown(&mut self) -> impl Iterator<Item = (String, u64)> + '_ {
        self.unknown
            .iter_mut()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| (name.clone(), std::mem::take(count)))
    }
}

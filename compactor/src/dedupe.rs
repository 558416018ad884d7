//! One row per key: within the rows that are new, and against the rows that the table holds.
//!
//! Keys are compared exactly (their hash only finds candidates); null equals null and `-0.0` equals `0.0`. The row that
//! stays is the one with the smallest (`first`) or largest (`last`) `order_by`; a row without a value for it loses to one
//! with. Ties among new rows are broken by object name, then line. The table does not keep those, so in a tie between
//! passes the row that is in the table stays: for a result that does not depend on how the lake was cut into passes,
//! `order_by` must order the rows of a key totally, as the stamp's sequence number does.
//!
//! Aggregates are over every row of a key ever seen: a smallest and a largest value and a count merge with the table's own.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array},
    compute::{SortOptions, interleave, take_record_batch},
    datatypes::{DataType, Float64Type, Int64Type, SchemaRef},
    error::ArrowError,
    row::{RowConverter, Rows, SortField},
};
use millrace_scenarios::{AggregateFunction, Keep};

use crate::schema::TableSchema;

mod keys;

use keys::Keys;

/// A row of one of the batches handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct At {
    source: u32,
    row: u32,
}

/// Where the table holds a row: the caller's number of the file, and the row's place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Existing {
    file: u32,
    row: u64,
}

/// All rows with one key.
#[derive(Debug)]
struct Group {
    /// The new row that stays if any new row does.
    winner: At,
    /// How many rows there were, the table's own count included.
    count: i64,
    existing: Option<Existing>,
    /// Whether the row in the table beats the new ones.
    existing_wins: bool,
}

/// One smallest or largest value per group.
#[derive(Debug)]
struct Extreme {
    /// The record column it is of.
    of: String,
    /// The table column it goes to.
    name: String,
    converter: RowConverter,
    /// Per source: its values, encoded so that the wanted one is the smallest.
    encoded: Vec<Rows>,
    /// Per source: its values.
    values: Vec<ArrayRef>,
    /// Per group: where the wanted value is.
    at: Vec<At>,
}

/// What has to happen to a row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A new row takes its place.
    Drop,
    /// It stays, with the aggregates of this group.
    Update(u32),
}

/// What has to be written.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    /// Groups whose new row is written, in the order their keys were met.
    pub inserts: Vec<u32>,
    /// Per file of the table, in order of row: what becomes of its rows. Files that stay as they are are absent.
    pub changes: BTreeMap<u32, Vec<(u64, Change)>>,
    /// Rows the table gains.
    pub gained: u64,
    /// New rows that were the same as another.
    pub duplicates: u64,
}

/// Lets one row per key through.
#[derive(Debug)]
pub struct Deduper {
    table: SchemaRef,
    key: Vec<String>,
    order_by: String,
    keep: Keep,
    count: Option<String>,
    key_converter: RowConverter,
    order_converter: RowConverter,
    extremes: Vec<Extreme>,
    keys: Keys,
    groups: Vec<Group>,
    /// The new batches; `None` stands for rows met in the table, of which only what decides is kept.
    sources: Vec<Option<RecordBatch>>,
    orders: Vec<Rows>,
    rows: u64,
}

fn field(kind: &DataType, descending: bool) -> SortField {
    SortField::new_with_options(kind.clone(), SortOptions { descending, nulls_first: false })
}

/// The column, with `-0.0` as `0.0`, so that what is equal is encoded equally.
fn comparable(batch: &RecordBatch, name: &str) -> Result<ArrayRef, ArrowError> {
    let missing = || ArrowError::SchemaError(format!("the batch has no column {name}"));
    let column = batch.column_by_name(name).ok_or_else(missing)?;
    Ok(match column.as_primitive_opt::<Float64Type>() {
        Some(numbers) => Arc::new(numbers.unary::<_, Float64Type>(|v| v + 0.0)),
        None => Arc::clone(column),
    })
}

impl Deduper {
    /// A deduplication by the schema's rule; `None` when it has none.
    ///
    /// # Errors
    /// [`ArrowError`] when a column cannot be ordered.
    pub fn new(schema: &TableSchema) -> Result<Option<Self>, ArrowError> {
        let Some(rule) = schema.dedup() else { return Ok(None) };
        let table = schema.arrow_table();
        let kind = |name: &str| table.field_with_name(name).map(|f| f.data_type().clone());
        let key_fields: Result<Vec<_>, ArrowError> =
            rule.key.iter().map(|name| Ok(field(&kind(name)?, false))).collect();
        let mut extremes = Vec::new();
        let mut count = None;
        for aggregate in &rule.aggregate {
            match (aggregate.function, &aggregate.of) {
                (AggregateFunction::Min | AggregateFunction::Max, Some(of)) => extremes.push(Extreme {
                    of: of.clone(),
                    name: aggregate.name.clone(),
                    converter: RowConverter::new(vec![field(
                        &kind(of)?,
                        aggregate.function == AggregateFunction::Max,
                    )])?,
                    encoded: Vec::new(),
                    values: Vec::new(),
                    at: Vec::new(),
                }),
                _ => count = Some(aggregate.name.clone()),
            }
        }
        Ok(Some(Self {
            key: rule.key.clone(),
            order_by: rule.order_by.clone(),
            keep: rule.keep,
            count,
            key_converter: RowConverter::new(key_fields?)?,
            order_converter: RowConverter::new(vec![field(&kind(&rule.order_by)?, rule.keep == Keep::Last)])?,
            extremes,
            keys: Keys::default(),
            groups: Vec::new(),
            sources: Vec::new(),
            orders: Vec::new(),
            rows: 0,
            table,
        }))
    }

    /// The columns of the table's own rows that [`Self::meet`] needs.
    #[must_use]
    pub fn columns_to_meet(&self) -> Vec<String> {
        let mut names = self.key.clone();
        names.push(self.order_by.clone());
        names.extend(self.extremes.iter().map(|e| e.name.clone()));
        names.extend(self.count.clone());
        names.sort();
        names.dedup();
        names
    }

    fn keys_of(&self, batch: &RecordBatch) -> Result<Rows, ArrowError> {
        let columns: Result<Vec<_>, _> = self.key.iter().map(|name| comparable(batch, name)).collect();
        self.key_converter.convert_columns(&columns?)
    }

    /// Remembers what decides between this batch's rows and others.
    fn source(&mut self, batch: RecordBatch, existing: bool) -> Result<u32, ArrowError> {
        let source = u32::try_from(self.sources.len())
            .map_err(|_| ArrowError::ComputeError("more batches than can be numbered".to_owned()))?;
        self.orders.push(self.order_converter.convert_columns(&[comparable(&batch, &self.order_by)?])?);
        for extreme in &mut self.extremes {
            let values = comparable(&batch, if existing { &extreme.name } else { &extreme.of })?;
            extreme.encoded.push(extreme.converter.convert_columns(&[Arc::clone(&values)])?);
            extreme.values.push(values);
        }
        self.sources.push((!existing).then_some(batch));
        Ok(source)
    }

    /// Takes new rows. Batches come in order of object and line.
    ///
    /// # Errors
    /// [`ArrowError`] when the batch lacks a column of the rule.
    pub fn add(&mut self, batch: RecordBatch) -> Result<(), ArrowError> {
        let keys = self.keys_of(&batch)?;
        let rows = u32::try_from(batch.num_rows())
            .map_err(|_| ArrowError::ComputeError("more rows in a batch than can be numbered".to_owned()))?;
        let source = self.source(batch, false)?;
        self.rows += u64::from(rows);
        for row in 0..rows {
            let at = At { source, row };
            let (number, fresh) = self.keys.insert(keys.row(row as usize).as_ref());
            if fresh {
                self.groups.push(Group { winner: at, count: 1, existing: None, existing_wins: false });
                self.extremes.iter_mut().for_each(|extreme| extreme.at.push(at));
                continue;
            }
            let winner = self.groups[number as usize].winner;
            let order = |at: At| self.orders[at.source as usize].row(at.row as usize);
            let wins = match self.keep {
                Keep::First => order(at) < order(winner),
                Keep::Last => order(at) <= order(winner),
            };
            let group = &mut self.groups[number as usize];
            group.count += 1;
            if wins {
                group.winner = at;
            }
            self.widen(number, at);
        }
        Ok(())
    }

    /// Lets the values at `at` count in the group's extremes.
    fn widen(&mut self, group: u32, at: At) {
        for extreme in &mut self.extremes {
            let best = extreme.at[group as usize];
            let value = |at: At| extreme.encoded[at.source as usize].row(at.row as usize);
            if value(at) < value(best) {
                extreme.at[group as usize] = at;
            }
        }
    }

    /// Takes rows of the table: those of file number `file` from row `first_row` on, with [`Self::columns_to_meet`].
    /// Only the first row of a key counts: a table that holds a key twice is not repaired.
    ///
    /// # Errors
    /// [`ArrowError`] when the batch lacks a column of the rule.
    pub fn meet(&mut self, file: u32, first_row: u64, batch: &RecordBatch) -> Result<(), ArrowError> {
        let keys = self.keys_of(batch)?;
        let known: Vec<(u32, u32)> = (0..u32::try_from(batch.num_rows()).unwrap_or(u32::MAX))
            .filter_map(|row| Some((row, self.keys.get(keys.row(row as usize).as_ref())?)))
            .filter(|(_, group)| self.groups[*group as usize].existing.is_none())
            .collect();
        if known.is_empty() {
            return Ok(());
        }
        let wanted: UInt32Array = known.iter().map(|(row, _)| Some(*row)).collect();
        let matched = take_record_batch(batch, &wanted)?;
        let counts = self.count.as_ref().and_then(|name| matched.column_by_name(name)).cloned();
        let counts = counts.as_ref().and_then(|c| c.as_primitive_opt::<Int64Type>());
        let source = self.source(matched, true)?;
        for (place, (row, number)) in (0_u32..).zip(known) {
            let at = At { source, row: place };
            let order = |at: At| self.orders[at.source as usize].row(at.row as usize);
            let group = &self.groups[number as usize];
            let existing_wins = order(group.winner) >= order(at);
            let before = counts.filter(|c| c.is_valid(place as usize)).map_or(1, |c| c.value(place as usize));
            let group = &mut self.groups[number as usize];
            if group.existing.is_some() {
                continue;
            }
            group.existing = Some(Existing { file, row: first_row + u64::from(row) });
            group.existing_wins = existing_wins;
            group.count = group.count.saturating_add(before);
            // In a tie of extremes either value will do, so the table's stays where it is.
            for extreme in &mut self.extremes {
                let best = extreme.at[number as usize];
                let value = |at: At| extreme.encoded[at.source as usize].row(at.row as usize);
                if value(at) <= value(best) {
                    extreme.at[number as usize] = at;
                }
            }
        }
        Ok(())
    }

    /// Whether the table's row has to be written again although it stays: a count always grows, an extreme changes only
    /// when a new row has it.
    fn changes_existing(&self, number: u32) -> bool {
        let is_new = |at: At| self.sources[at.source as usize].is_some();
        self.count.is_some() || self.extremes.iter().any(|extreme| is_new(extreme.at[number as usize]))
    }

    /// What has to be written, once everything has been added and met.
    #[must_use]
    pub fn settle(&self) -> Settlement {
        let mut settlement = Settlement::default();
        for (number, group) in (0_u32..).zip(&self.groups) {
            let Some(existing) = group.existing else {
                settlement.gained += 1;
                settlement.inserts.push(number);
                continue;
            };
            let change = if !group.existing_wins {
                settlement.inserts.push(number);
                Change::Drop
            } else if self.changes_existing(number) {
                Change::Update(number)
            } else {
                continue;
            };
            settlement.changes.entry(existing.file).or_default().push((existing.row, change));
        }
        settlement.changes.values_mut().for_each(|changes| changes.sort_unstable_by_key(|(row, _)| *row));
        settlement.duplicates = self.rows - settlement.gained;
        settlement
    }

    /// The new rows of these groups, with every column of the table.
    ///
    /// # Errors
    /// [`ArrowError`] when the rows do not fit together.
    pub fn rows(&self, groups: &[u32]) -> Result<RecordBatch, ArrowError> {
        let at: Vec<At> = groups.iter().map(|g| self.groups[*g as usize].winner).collect();
        let aggregates = self.aggregates(groups)?;
        let columns: Result<Vec<ArrayRef>, ArrowError> = self
            .table
            .fields()
            .iter()
            .map(|field| match aggregates.iter().find(|(name, _)| name == field.name()) {
                Some((_, column)) => Ok(Arc::clone(column)),
                None => self.column_at(field.name(), &at),
            })
            .collect();
        RecordBatch::try_new(Arc::clone(&self.table), columns?)
    }

    /// The aggregates of these groups: column name and values.
    ///
    /// # Errors
    /// [`ArrowError`] when the values do not fit together.
    pub fn aggregates(&self, groups: &[u32]) -> Result<Vec<(String, ArrayRef)>, ArrowError> {
        let mut columns = Vec::with_capacity(self.extremes.len() + 1);
        for extreme in &self.extremes {
            let at: Vec<At> = groups.iter().map(|g| extreme.at[*g as usize]).collect();
            let values: Vec<_> = extreme.values.iter().map(Some).collect();
            let kind = self.table.field_with_name(&extreme.name)?.data_type();
            columns.push((extreme.name.clone(), pick(&values, &at, kind)?));
        }
        if let Some(name) = &self.count {
            let counts: Int64Array = groups.iter().map(|g| Some(self.groups[*g as usize].count)).collect();
            columns.push((name.clone(), Arc::new(counts) as ArrayRef));
        }
        Ok(columns)
    }

    /// The value of a column in the row that stays for each of these groups, for whoever sorts them.
    ///
    /// # Errors
    /// [`ArrowError`] when the column is not among the record and derived columns.
    pub fn column(&self, name: &str, groups: &[u32]) -> Result<ArrayRef, ArrowError> {
        let at: Vec<At> = groups.iter().map(|g| self.groups[*g as usize].winner).collect();
        self.column_at(name, &at)
    }

    fn column_at(&self, name: &str, at: &[At]) -> Result<ArrayRef, ArrowError> {
        let kind = self.table.field_with_name(name)?.data_type();
        let sources: Vec<_> =
            self.sources.iter().map(|batch| batch.as_ref().and_then(|batch| batch.column_by_name(name))).collect();
        pick(&sources, at, kind)
    }
}

/// The values at the given places, in that order.
fn pick(sources: &[Option<&ArrayRef>], at: &[At], kind: &DataType) -> Result<ArrayRef, ArrowError> {
    let nothing = arrow::array::new_empty_array(kind);
    let arrays: Vec<&dyn Array> = sources.iter().map(|s| s.map_or(nothing.as_ref(), AsRef::as_ref)).collect();
    let places: Vec<(usize, usize)> = at.iter().map(|at| (at.source as usize, at.row as usize)).collect();
    if places.is_empty() { Ok(nothing) } else { interleave(&arrays, &places) }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, StringArray};
    use millrace_scenarios::{Aggregate, ColumnType, Dedup, Table};

    use super::*;

    fn schema(keep: Keep, aggregate: Vec<Aggregate>) -> TableSchema {
        let columns = [("k", ColumnType::Number), ("o", ColumnType::Integer), ("v", ColumnType::String)];
        let dedup = Dedup { key: vec!["k".to_owned()], keep, order_by: "o".to_owned(), aggregate };
        let columns = columns.into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect();
        TableSchema::declared(&Table { columns, dedup: Some(dedup), ..Table::default() }).unwrap().unwrap()
    }

    fn aggregate(name: &str, function: AggregateFunction, of: Option<&str>) -> Aggregate {
        Aggregate { name: name.to_owned(), function, of: of.map(str::to_owned) }
    }

    type Row<'a> = (Option<f64>, Option<i64>, &'a str);

    fn batch(rows: &[Row<'_>]) -> RecordBatch {
        let k: ArrayRef = Arc::new(rows.iter().map(|r| r.0).collect::<Float64Array>());
        let o: ArrayRef = Arc::new(rows.iter().map(|r| r.1).collect::<Int64Array>());
        let v: ArrayRef = Arc::new(rows.iter().map(|r| Some(r.2)).collect::<StringArray>());
        RecordBatch::try_from_iter_with_nullable([("k", k, true), ("o", o, true), ("v", v, true)]).unwrap()
    }

    fn kept(keep: Keep, batches: &[&[Row<'_>]]) -> Vec<String> {
        let mut deduper = Deduper::new(&schema(keep, Vec::new())).unwrap().unwrap();
        batches.iter().for_each(|rows| deduper.add(batch(rows)).unwrap());
        let settled = deduper.settle();
        let rows = deduper.rows(&settled.inserts).unwrap();
        rows.column_by_name("v").unwrap().as_string::<i32>().iter().map(|v| v.unwrap().to_owned()).collect()
    }

    #[test]
    fn the_first_or_last_by_order_stays_whatever_the_order_of_arrival() {
        let rows: [&[Row<'_>]; 2] = [
            &[(Some(1.0), Some(5), "a5"), (Some(2.0), Some(1), "b1")],
            &[(Some(1.0), Some(3), "a3"), (Some(1.0), Some(9), "a9")],
        ];
        assert_eq!(kept(Keep::First, &rows), ["a3", "b1"]);
        assert_eq!(kept(Keep::Last, &rows), ["a9", "b1"]);
    }

    #[test]
    fn ties_go_to_the_first_or_last_place_and_a_missing_order_loses() {
        let ties: [&[Row<'_>]; 2] =
            [&[(Some(1.0), Some(5), "x"), (Some(1.0), Some(5), "y")], &[(Some(1.0), Some(5), "z")]];
        assert_eq!(kept(Keep::First, &ties), ["x"]);
        assert_eq!(kept(Keep::Last, &ties), ["z"]);
        let nulls: [&[Row<'_>]; 1] =
            [&[(Some(1.0), None, "null"), (Some(1.0), Some(0), "zero"), (Some(1.0), None, "null")]];
        assert_eq!(kept(Keep::First, &nulls), ["zero"]);
        assert_eq!(kept(Keep::Last, &nulls), ["zero"]);
    }

    #[test]
    fn null_equals_null_and_minus_zero_equals_zero() {
        let rows: [&[Row<'_>]; 1] =
            [&[(None, Some(1), "n"), (Some(0.0), Some(1), "z"), (None, Some(2), "n2"), (Some(-0.0), Some(2), "z2")]];
        assert_eq!(kept(Keep::First, &rows), ["n", "z"]);
    }

    #[test]
    fn a_row_in_the_table_is_replaced_only_by_a_better_one() {
        let mut deduper = Deduper::new(&schema(Keep::First, Vec::new())).unwrap().unwrap();
        deduper
            .add(batch(&[(Some(1.0), Some(5), "late"), (Some(2.0), Some(5), "early"), (Some(3.0), Some(5), "new")]))
            .unwrap();
        deduper
            .meet(7, 100, &batch(&[(Some(9.0), Some(0), ""), (Some(1.0), Some(5), ""), (Some(2.0), Some(6), "")]))
            .unwrap();
        let settled = deduper.settle();
        assert_eq!(settled.inserts, [1, 2]);
        assert_eq!(settled.changes, BTreeMap::from([(7, vec![(102, Change::Drop)])]));
        assert_eq!((settled.gained, settled.duplicates), (1, 2));
    }

    #[test]
    fn aggregates_are_over_new_rows_and_the_table() {
        let rule = vec![
            aggregate("lo", AggregateFunction::Min, Some("o")),
            aggregate("hi", AggregateFunction::Max, Some("o")),
            aggregate("n", AggregateFunction::Count, None),
        ];
        let mut deduper = Deduper::new(&schema(Keep::First, rule)).unwrap().unwrap();
        deduper.add(batch(&[(Some(1.0), Some(5), "a"), (Some(1.0), None, "b"), (Some(2.0), Some(8), "c")])).unwrap();
        let numbers = |values: Vec<i64>| Arc::new(Int64Array::from(values)) as ArrayRef;
        let held = RecordBatch::try_from_iter_with_nullable([
            ("k", Arc::new(Float64Array::from(vec![1.0])) as ArrayRef, true),
            ("o", numbers(vec![3]), true),
            ("hi", numbers(vec![4]), true),
            ("lo", numbers(vec![3]), true),
            ("n", numbers(vec![10]), true),
        ])
        .unwrap();
        deduper.meet(0, 0, &held).unwrap();
        let settled = deduper.settle();
        assert_eq!(settled.changes, BTreeMap::from([(0, vec![(0, Change::Update(0))])]));
        assert_eq!(settled.inserts, [1]);
        let values = |groups: &[u32]| -> Vec<Vec<i64>> {
            let columns = deduper.aggregates(groups).unwrap();
            columns.iter().map(|(_, column)| column.as_primitive::<Int64Type>().values().to_vec()).collect()
        };
        assert_eq!(values(&[0, 1]), [vec![3, 8], vec![5, 8], vec![12, 1]]);
    }
}

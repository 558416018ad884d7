//! One row per key: within the rows that are new, and against the rows that the table holds.
//!
//! Keys are compared exactly (their hash only finds candidates); null equals null and `-0.0` equals `0.0`. The row that
//! stays is the one with the smallest (`first`) or largest (`last`) `order_by`; a row without a value for it loses to one
//! with. Ties are broken by object name, then offset: among new rows by their order, between a new row and the table's by
//! where both come from (`origin`), so that the table does not depend on how the lake was cut into commits. Who hands
//! the rows in knows the objects' names, and says which of the table's rows have to give way.
//!
//! Aggregates are over every row of a key ever seen: they merge with the table's own.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, RecordBatch, UInt32Array},
    compute::take_record_batch,
    datatypes::SchemaRef,
    error::ArrowError,
};
use millrace_scenarios::Keep;

use crate::schema::TableSchema;

mod aggregates;
mod hash;
mod keys;
pub(crate) mod origin;
mod pick;
mod runs;
mod values;

use aggregates::Aggregates;
pub(crate) use hash::KeyHash;
use keys::Keys;
use origin::{Origin, Origins, Tie};
use pick::Picked;
use runs::Runs;
use values::{Values, hashes};

/// A row of one of the batches handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct At {
    source: u32,
    row: u32,
}

/// The row that the table holds for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Existing {
    /// The caller's number of the file, ...
    file: u32,
    /// ... and the row's place in it.
    row: u64,
    /// Whether it beats the new ones.
    wins: bool,
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
    keys: Keys,
    /// Per group: the new row that stays if any new row does, ...
    winners: Vec<At>,
    /// ... the hash of its key, ...
    hashes: Vec<u64>,
    /// ... what is computed over all its rows, ...
    aggregates: Aggregates,
    /// ... and the row in the table, where there is one.
    existing: HashMap<u32, Existing>,
    /// Where a new row and the table's are equal in `order_by`. The table's stays unless it is told otherwise.
    ties: Vec<Tie>,
    sources: Vec<Source>,
    rows: u64,
}

/// A batch handed in.
#[derive(Debug)]
struct Source {
    /// `None` stands for rows met in the table, of which only what decides is kept.
    batch: Option<RecordBatch>,
    /// The key columns; empty for rows met in the table.
    key: Vec<Values>,
    order: Values,
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ArrowError> {
    let missing = || ArrowError::SchemaError(format!("the batch has no column {name}"));
    batch.column_by_name(name).ok_or_else(missing)
}

impl Deduper {
    /// A deduplication by the schema's rule; `None` when it has none.
    ///
    /// # Errors
    /// [`ArrowError`] when a column cannot be ordered.
    pub fn new(schema: &TableSchema) -> Result<Option<Self>, ArrowError> {
        let Some(rule) = schema.dedup() else { return Ok(None) };
        let table = schema.arrow_files();
        Ok(Some(Self {
            key: rule.key.clone(),
            order_by: rule.order_by.clone(),
            keep: rule.keep,
            keys: Keys::default(),
            winners: Vec::new(),
            hashes: Vec::new(),
            aggregates: Aggregates::new(&rule.aggregate),
            existing: HashMap::new(),
            ties: Vec::new(),
            sources: Vec::new(),
            rows: 0,
            table,
        }))
    }

    /// The columns of the table's own rows that [`Self::meet`] needs.
    #[must_use]
    pub fn columns_to_meet(&self) -> Vec<String> {
        let mut names = self.key.clone();
        names.push(self.order_by.clone());
        names.extend(self.aggregates.names().cloned());
        names.extend(origin::COLUMNS.into_iter().filter(|name| self.table.index_of(name).is_ok()).map(str::to_owned));
        names.sort();
        names.dedup();
        names
    }

    /// Makes room for the keys of so many rows, if they come back as often as those so far.
    pub fn expect(&mut self, rows: usize) {
        let groups = self.winners.len();
        let so_far = usize::try_from(self.rows).unwrap_or(usize::MAX).max(1);
        let more = (rows.saturating_mul(groups) / so_far).saturating_sub(groups);
        self.keys.reserve(more);
        self.winners.reserve(more);
        self.hashes.reserve(more);
    }

    fn keys_of(&self, batch: &RecordBatch) -> Result<Vec<Values>, ArrowError> {
        self.key.iter().map(|name| Values::of(column(batch, name)?)).collect()
    }

    /// Remembers what decides between this batch's rows and others.
    fn source(&mut self, batch: RecordBatch, key: Option<Vec<Values>>) -> Result<u32, ArrowError> {
        let source = u32::try_from(self.sources.len())
            .map_err(|_| ArrowError::ComputeError("more batches than can be numbered".to_owned()))?;
        let order = Values::of(column(&batch, &self.order_by)?)?;
        self.aggregates.source(&batch, key.is_some())?;
        let batch = key.is_some().then_some(batch);
        self.sources.push(Source { batch, key: key.unwrap_or_default(), order });
        Ok(source)
    }

    /// The number of the group with this key.
    fn group(&self, hash: u64, key: &[Values], row: usize) -> Option<u32> {
        self.keys.get(hash, |number| self.has_key(number, key, row))
    }

    fn has_key(&self, number: u32, key: &[Values], row: usize) -> bool {
        has_key(&self.sources, self.winners[number as usize], key, row)
    }

    /// How two rows are ordered: the one to keep is the smaller.
    fn order(&self, a: At, b: At) -> Ordering {
        let (here, there) = (&self.sources[a.source as usize].order, &self.sources[b.source as usize].order);
        here.compare(a.row as usize, there, b.row as usize, self.keep == Keep::Last)
    }

    /// Takes new rows. Batches come in order of object and line.
    ///
    /// # Errors
    /// [`ArrowError`] when the batch lacks a column of the rule.
    pub fn add(&mut self, batch: RecordBatch) -> Result<(), ArrowError> {
        let key = self.keys_of(&batch)?;
        let rows = u32::try_from(batch.num_rows())
            .map_err(|_| ArrowError::ComputeError("more rows in a batch than can be numbered".to_owned()))?;
        let runs = Runs::of(&key, batch.num_rows());
        let source = self.source(batch, Some(key))?;
        let mut before = None;
        self.rows += u64::from(rows);
        for row in 0..rows {
            let at = At { source, row };
            let next = u32::try_from(self.winners.len()).unwrap_or(u32::MAX);
            let (sources, winners) = (&self.sources, &self.winners);
            let key = &sources[source as usize].key;
            let same = |number: u32| has_key(sources, winners[number as usize], key, row as usize);
            let known = match before.filter(|_| runs.is_again(row)) {
                Some(number) => Some(number),
                None => self.keys.insert(runs.hash(row), next, same),
            };
            before = Some(known.unwrap_or(next));
            let Some(number) = known else {
                self.winners.push(at);
                self.hashes.push(runs.hash(row));
                self.aggregates.begin(at);
                continue;
            };
            let order = self.order(at, self.winners[number as usize]);
            let wins = matches!((order, self.keep), (Ordering::Less, _) | (Ordering::Equal, Keep::Last));
            if wins {
                self.winners[number as usize] = at;
            }
            self.aggregates.join(number, at);
        }
        Ok(())
    }

    /// Takes rows of the table: those of file number `file` from row `first_row` on, with [`Self::columns_to_meet`].
    /// Only the first row of a key counts: a table that holds a key twice is not repaired.
    ///
    /// # Errors
    /// [`ArrowError`] when the batch lacks a column of the rule.
    pub fn meet(&mut self, file: u32, first_row: u64, batch: &RecordBatch) -> Result<(), ArrowError> {
        let key = self.keys_of(batch)?;
        let hashes = hashes(&key, batch.num_rows());
        let known: Vec<(u32, u32)> = (0_u32..)
            .zip(hashes)
            .filter_map(|(row, hash)| Some((row, self.group(hash, &key, row as usize)?)))
            .filter(|(_, group)| !self.existing.contains_key(group))
            .collect();
        if known.is_empty() {
            return Ok(());
        }
        let wanted: UInt32Array = known.iter().map(|(row, _)| Some(*row)).collect();
        let matched = take_record_batch(batch, &wanted)?;
        let origins = Origins::of(&matched);
        let source = self.source(matched.clone(), None)?;
        for (place, (row, number)) in (0_u32..).zip(known) {
            if self.existing.contains_key(&number) {
                continue;
            }
            let at = At { source, row: place };
            let order = self.order(self.winners[number as usize], at);
            let wins = order != Ordering::Less;
            self.existing.insert(number, Existing { file, row: first_row + u64::from(row), wins });
            if order == Ordering::Equal
                && let Some(held) = origins.as_ref().and_then(|origins| origins.at(place as usize))
                && let Some(new) = self.origin(number)
            {
                self.ties.push(Tie { group: number, new, held });
            }
            self.aggregates.meet(number, at, &matched);
        }
        Ok(())
    }

    /// Where the group's new row comes from, if that is known.
    fn origin(&self, number: u32) -> Option<Origin> {
        let At { source, row } = self.winners[number as usize];
        Origins::of(self.sources[source as usize].batch.as_ref()?)?.at(row as usize)
    }

    /// What is not decided, once everything has been added and met.
    pub(crate) fn ties(&self) -> &[Tie] {
        &self.ties
    }

    /// Lets the new row of the group take the place of the table's.
    pub(crate) fn give_way(&mut self, group: u32) {
        if let Some(existing) = self.existing.get_mut(&group) {
            existing.wins = false;
        }
    }

    /// What has to be written, once everything has been added and met.
    #[must_use]
    pub fn settle(&self) -> Settlement {
        let mut settlement = Settlement::default();
        for number in 0..u32::try_from(self.winners.len()).unwrap_or(u32::MAX) {
            let Some(existing) = self.existing.get(&number) else {
                settlement.gained += 1;
                settlement.inserts.push(number);
                continue;
            };
            let change = if !existing.wins {
                settlement.inserts.push(number);
                Change::Drop
            } else if self.aggregates.change(number, |at| self.sources[at.source as usize].batch.is_some()) {
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

    /// The new rows of these groups, with the given columns of the table.
    ///
    /// # Errors
    /// [`ArrowError`] when the rows do not fit together.
    pub fn rows(&self, groups: &[u32], columns: &SchemaRef) -> Result<RecordBatch, ArrowError> {
        let at = Picked::new(groups.iter().map(|g| self.winners[*g as usize]));
        let aggregates = self.aggregates(groups)?;
        let picked: Result<Vec<ArrayRef>, ArrowError> = columns
            .fields()
            .iter()
            .map(|field| match aggregates.iter().find(|(name, _)| name == field.name()) {
                Some((_, column)) => Ok(Arc::clone(column)),
                None => self.column_at(field.name(), &at),
            })
            .collect();
        RecordBatch::try_new(Arc::clone(columns), picked?)
    }

    /// The batches that new rows come from; `None` stands for rows of the table.
    #[must_use]
    pub fn batches(&self) -> Vec<Option<&RecordBatch>> {
        self.sources.iter().map(|source| source.batch.as_ref()).collect()
    }

    /// The batch that the group's new row is in, and its place there.
    #[must_use]
    pub fn place(&self, group: u32) -> (usize, usize) {
        let At { source, row } = self.winners[group as usize];
        (source as usize, row as usize)
    }

    /// The hash of each group's key.
    #[must_use]
    pub(crate) fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// The aggregates of these groups: column name and values.
    ///
    /// # Errors
    /// [`ArrowError`] when the values do not fit together.
    pub fn aggregates(&self, groups: &[u32]) -> Result<Vec<(String, ArrayRef)>, ArrowError> {
        self.aggregates.columns(groups, &self.table)
    }

    fn column_at(&self, name: &str, at: &Picked) -> Result<ArrayRef, ArrowError> {
        let kind = self.table.field_with_name(name)?.data_type();
        at.values(|source| self.sources[source].batch.as_ref()?.column_by_name(name), kind)
    }
}

/// Whether the row at `at` has the key of row `row` of these columns.
fn has_key(sources: &[Source], at: At, key: &[Values], row: usize) -> bool {
    let there = &sources[at.source as usize].key;
    key.iter().zip(there).all(|(here, there)| here.same(row, there, at.row as usize))
}

/// A hash of each value of a column: equal values have equal ones.
pub(crate) fn hash_column(column: &ArrayRef) -> Result<Vec<u64>, ArrowError> {
    Ok(hashes(&[Values::of(column)?], column.len()))
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{AsArray, Float64Array, Int64Array, StringArray},
        datatypes::Int64Type,
    };
    use millrace_scenarios::{Aggregate, AggregateFunction, ColumnType, Dedup, Table};

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
        let columns = schema(keep, Vec::new()).arrow_table();
        let rows = deduper.rows(&settled.inserts, &columns).unwrap();
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

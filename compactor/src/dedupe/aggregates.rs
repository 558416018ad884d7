//! What is computed over all rows of a key: every new row once, and what the table had computed before.
//!
//! A count, a smallest or largest value and a sum of integers do not depend on the order of rows or on how they were cut
//! into commits. Nor does `any`, which could be any value and is the smallest. A sum of numbers does in its last digits, as
//! floating-point sums do.

use std::{cmp::Ordering, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch},
    datatypes::{DataType, Float64Type, Int64Type, SchemaRef},
    error::ArrowError,
};
use millrace_scenarios::{Aggregate, AggregateFunction};

use super::{At, column, pick::Picked, values::Values};

/// The aggregates of a table, per group.
#[derive(Debug, Default)]
pub(super) struct Aggregates {
    counts: Vec<Count>,
    extremes: Vec<Extreme>,
    sums: Vec<Sum>,
}

/// How many rows there were.
#[derive(Debug)]
struct Count {
    /// The table column it goes to.
    name: String,
    rows: Vec<i64>,
}

/// One smallest or largest value.
#[derive(Debug)]
struct Extreme {
    /// The record column it is of.
    of: String,
    /// The table column it goes to.
    name: String,
    /// Whether the largest value is wanted.
    largest: bool,
    /// Per source: its values, to be compared ...
    values: Vec<Values>,
    /// ... and to be written.
    columns: Vec<ArrayRef>,
    /// Per group: where the wanted value is.
    at: Vec<At>,
}

/// A total of the values that are not null; null when all are.
#[derive(Debug)]
struct Sum {
    /// The record column it is of.
    of: String,
    /// The table column it goes to.
    name: String,
    /// Per source: what is added.
    columns: Vec<ArrayRef>,
    totals: Vec<Option<Total>>,
}

/// Integers stop at the ends of 64 bits instead of running over them.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Total {
    Integer(i64),
    Number(f64),
}

impl Total {
    /// The value at a place of a column of integers or numbers.
    fn of(column: &ArrayRef, row: usize) -> Option<Self> {
        if column.is_null(row) {
            return None;
        }
        match column.data_type() {
            DataType::Int64 => Some(Self::Integer(column.as_primitive::<Int64Type>().value(row))),
            _ => column.as_primitive_opt::<Float64Type>().map(|column| Self::Number(column.value(row))),
        }
    }

    fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => Self::Integer(a.saturating_add(b)),
            (a, b) => Self::Number(a.number() + b.number()),
        }
    }

    const fn integer(self) -> Option<i64> {
        match self {
            Self::Integer(integer) => Some(integer),
            Self::Number(_) => None,
        }
    }

    const fn number(self) -> f64 {
        match self {
            Self::Integer(integer) => integer as f64,
            Self::Number(number) => number,
        }
    }
}

impl Aggregates {
    pub(super) fn new(rules: &[Aggregate]) -> Self {
        let mut aggregates = Self::default();
        for rule in rules {
            let (of, name) = (rule.of.clone().unwrap_or_default(), rule.name.clone());
            match rule.function {
                AggregateFunction::Min | AggregateFunction::Any | AggregateFunction::Max => {
                    let largest = rule.function == AggregateFunction::Max;
                    let (values, columns, at) = (Vec::new(), Vec::new(), Vec::new());
                    aggregates.extremes.push(Extreme { of, name, largest, values, columns, at });
                }
                AggregateFunction::Sum => {
                    aggregates.sums.push(Sum { of, name, columns: Vec::new(), totals: Vec::new() });
                }
                AggregateFunction::Count => aggregates.counts.push(Count { name, rows: Vec::new() }),
            }
        }
        aggregates
    }

    /// The table columns that they go to.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        let extremes = self.extremes.iter().map(|extreme| &extreme.name);
        extremes.chain(self.counts.iter().map(|count| &count.name)).chain(self.sums.iter().map(|sum| &sum.name))
    }

    /// Takes the columns of one more source: new rows, or rows of the table.
    pub(super) fn source(&mut self, batch: &RecordBatch, is_new: bool) -> Result<(), ArrowError> {
        for extreme in &mut self.extremes {
            let values = column(batch, if is_new { &extreme.of } else { &extreme.name })?;
            extreme.values.push(Values::of(values)?);
            extreme.columns.push(Arc::clone(values));
        }
        for sum in &mut self.sums {
            sum.columns.push(Arc::clone(column(batch, if is_new { &sum.of } else { &sum.name })?));
        }
        Ok(())
    }

    /// A new row with a key of its own.
    pub(super) fn begin(&mut self, at: At) {
        self.counts.iter_mut().for_each(|count| count.rows.push(1));
        self.extremes.iter_mut().for_each(|extreme| extreme.at.push(at));
        self.sums
            .iter_mut()
            .for_each(|sum| sum.totals.push(Total::of(&sum.columns[at.source as usize], at.row as usize)));
    }

    /// A new row of a group that is there.
    pub(super) fn join(&mut self, group: u32, at: At) {
        self.counts.iter_mut().for_each(|count| count.rows[group as usize] += 1);
        self.extremes.iter_mut().for_each(|extreme| extreme.widen(group, at, Ordering::Less));
        self.sums.iter_mut().for_each(|sum| sum.add(group, at));
    }

    /// The group's row in the table; `held` has the table's columns of it and others, at `at`.
    pub(super) fn meet(&mut self, group: u32, at: At, held: &RecordBatch) {
        for count in &mut self.counts {
            let before = held.column_by_name(&count.name).and_then(|column| column.as_primitive_opt::<Int64Type>());
            let before = before.filter(|column| column.is_valid(at.row as usize));
            // A row that nobody counted is one row.
            let before = before.map_or(1, |column| column.value(at.row as usize));
            let rows = &mut count.rows[group as usize];
            *rows = rows.saturating_add(before);
        }
        // In a tie of extremes either value will do, so the table's stays where it is.
        self.extremes.iter_mut().for_each(|extreme| extreme.widen(group, at, Ordering::Equal));
        self.sums.iter_mut().for_each(|sum| sum.add(group, at));
    }

    /// Whether the table's row has to be written again although it stays: a count always grows, a sum may, and an
    /// extreme changes only when a new row has it.
    pub(super) fn change(&self, group: u32, is_new: impl Fn(At) -> bool) -> bool {
        !self.counts.is_empty()
            || self.sums.iter().any(|sum| sum.totals[group as usize].is_some())
            || self.extremes.iter().any(|extreme| is_new(extreme.at[group as usize]))
    }

    /// The aggregates of these groups: column name and values.
    pub(super) fn columns(&self, groups: &[u32], table: &SchemaRef) -> Result<Vec<(String, ArrayRef)>, ArrowError> {
        let mut columns: Vec<(String, ArrayRef)> = Vec::new();
        for extreme in &self.extremes {
            let at = Picked::new(groups.iter().map(|g| extreme.at[*g as usize]));
            let kind = table.field_with_name(&extreme.name)?.data_type();
            columns.push((extreme.name.clone(), at.values(|source| extreme.columns.get(source), kind)?));
        }
        for count in &self.counts {
            let counts: Int64Array = groups.iter().map(|g| Some(count.rows[*g as usize])).collect();
            columns.push((count.name.clone(), Arc::new(counts)));
        }
        for sum in &self.sums {
            let totals = groups.iter().map(|g| sum.totals[*g as usize]);
            let column: ArrayRef = match table.field_with_name(&sum.name)?.data_type() {
                DataType::Int64 => Arc::new(totals.map(|total| total.and_then(Total::integer)).collect::<Int64Array>()),
                _ => Arc::new(totals.map(|total| total.map(Total::number)).collect::<Float64Array>()),
            };
            columns.push((sum.name.clone(), column));
        }
        Ok(columns)
    }
}

impl Extreme {
    /// Lets the value at `at` be the group's when it compares to the one so far as `least` or better.
    fn widen(&mut self, group: u32, at: At, least: Ordering) {
        let best = self.at[group as usize];
        let (here, there) = (&self.values[at.source as usize], &self.values[best.source as usize]);
        if here.compare(at.row as usize, there, best.row as usize, self.largest) <= least {
            self.at[group as usize] = at;
        }
    }
}

impl Sum {
    fn add(&mut self, group: u32, at: At) {
        let Some(value) = Total::of(&self.columns[at.source as usize], at.row as usize) else { return };
        let total = &mut self.totals[group as usize];
        *total = Some(total.map_or(value, |total| total.plus(value)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_of_integers_is_exact_and_stops_at_its_ends() {
        let big = Total::Integer(1 << 60);
        assert_eq!(big.plus(Total::Integer(1)), Total::Integer((1 << 60) + 1), "a float would lose the one");
        assert_eq!(Total::Integer(i64::MAX).plus(Total::Integer(1)), Total::Integer(i64::MAX));
        assert_eq!(Total::Integer(i64::MIN).plus(Total::Integer(-1)), Total::Integer(i64::MIN));
        assert_eq!(Total::Number(0.5).plus(Total::Number(0.25)), Total::Number(0.75));
    }
}

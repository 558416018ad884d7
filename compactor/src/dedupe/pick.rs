//! Rows put together out of several batches: stretch by stretch where neighbours stay neighbours, else value by value.

use std::ops::Range;

use arrow::{
    array::{Array, ArrayRef, AsArray, Capacities, MutableArrayData, make_array, new_empty_array},
    compute::interleave,
    datatypes::DataType,
    error::ArrowError,
};

use super::At;

/// Copying a stretch costs as much as looking up this many values.
const WORTH: usize = 4;

/// Places in batches, in the order wanted.
pub(super) struct Picked {
    rows: usize,
    /// The batches that have one of them. Of a batch of many objects, a partition is in few.
    sources: Vec<usize>,
    order: Order,
}

enum Order {
    /// Number in `sources`, and rows.
    Stretches(Vec<(usize, Range<usize>)>),
    /// Number in `sources`, and row.
    Rows(Vec<(usize, usize)>),
}

impl Picked {
    pub(super) fn new(at: impl ExactSizeIterator<Item = At> + Clone) -> Self {
        let rows = at.len();
        let mut used = Used::default();
        let order = stretches(at.clone(), &mut used).unwrap_or_else(|| {
            used = Used::default();
            Order::Rows(at.map(|at| (used.number(at.source as usize), at.row as usize)).collect())
        });
        Self { rows, sources: used.sources, order }
    }

    /// The values there of a column of this type, which `column` has for each source.
    pub(super) fn values<'a>(
        &self,
        column: impl Fn(usize) -> Option<&'a ArrayRef>,
        kind: &DataType,
    ) -> Result<ArrayRef, ArrowError> {
        let nothing = new_empty_array(kind);
        if self.rows == 0 {
            return Ok(nothing);
        }
        let missing = || ArrowError::SchemaError("a batch lacks a column that its rows are wanted of".to_owned());
        let arrays = self.sources.iter().map(|source| column(*source).map(AsRef::as_ref).ok_or_else(missing));
        let arrays: Vec<&dyn Array> = arrays.collect::<Result<_, _>>()?;
        match &self.order {
            Order::Rows(rows) => interleave(&arrays, rows),
            Order::Stretches(stretches) => {
                let data: Vec<_> = arrays.iter().map(|array| array.to_data()).collect();
                let room = room(&arrays, stretches, self.rows);
                let mut values = MutableArrayData::with_capacities(data.iter().collect(), false, room);
                for (source, stretch) in stretches {
                    values.try_extend(*source, stretch.start, stretch.end)?;
                }
                Ok(make_array(values.freeze()))
            }
        }
    }
}

/// Room for all values: text that grows while it is copied is copied again and again.
fn room(arrays: &[&dyn Array], stretches: &[(usize, Range<usize>)], rows: usize) -> Capacities {
    let texts: Option<Vec<_>> = arrays.iter().map(|array| array.as_string_opt::<i32>()).collect();
    let Some(texts) = texts else { return Capacities::Array(rows) };
    let bytes = stretches.iter().map(|(source, stretch)| {
        let ends = texts[*source].value_offsets();
        // Offsets never fall.
        (ends[stretch.end] - ends[stretch.start]) as usize
    });
    Capacities::Binary(rows, Some(bytes.sum()))
}

/// The rows as stretches; `None` when there would be too many.
fn stretches(at: impl ExactSizeIterator<Item = At>, used: &mut Used) -> Option<Order> {
    let most = at.len() / WORTH + 1;
    let mut stretches: Vec<(usize, Range<usize>)> = Vec::new();
    for At { source, row } in at {
        let (source, row) = (used.number(source as usize), row as usize);
        if let Some((_, stretch)) = stretches.last_mut().filter(|(of, stretch)| *of == source && stretch.end == row) {
            stretch.end += 1;
        } else if stretches.len() == most {
            return None;
        } else {
            stretches.push((source, row..row + 1));
        }
    }
    Some(Order::Stretches(stretches))
}

/// Sources by number, in order of first use.
#[derive(Default)]
struct Used {
    sources: Vec<usize>,
    /// Per source its number and one; zero has none yet.
    numbers: Vec<usize>,
}

impl Used {
    fn number(&mut self, source: usize) -> usize {
        if source >= self.numbers.len() {
            self.numbers.resize(source + 1, 0);
        }
        if self.numbers[source] == 0 {
            self.sources.push(source);
            self.numbers[source] = self.sources.len();
        }
        self.numbers[source] - 1
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stretches_and_rows_give_the_same_values_nulls_included() {
        let texts: Vec<ArrayRef> = (0..3)
            .map(|source| {
                let text = |row: usize| (!row.is_multiple_of(5)).then(|| format!("{source}-{row}"));
                Arc::new((0..40).map(text).collect::<StringArray>()) as ArrayRef
            })
            .collect();
        let stretches = prop::collection::vec((0..3_u32, 0..30_u32, 1..10_u32), 0..20);
        proptest!(|(stretches in stretches)| {
            let at: Vec<At> =
                stretches.iter().flat_map(|(source, row, rows)| (*row..row + rows).map(|row| At { source: *source, row })).collect();
            let picked = Picked::new(at.iter().copied()).values(|source| texts.get(source), &DataType::Utf8).unwrap();
            let text = |at: &At| (!at.row.is_multiple_of(5)).then(|| format!("{}-{}", at.source, at.row));
            let want: Vec<_> = at.iter().map(text).collect();
            let got: Vec<_> = picked.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect();
            prop_assert_eq!(got, want);
        });
    }

    #[test]
    fn both_ways_are_taken_and_a_source_without_the_column_is_left_alone() {
        let numbers: ArrayRef = Arc::new((0_i64..100).collect::<Int64Array>());
        let at = |rows: Vec<u32>| {
            Picked::new(rows.into_iter().map(|row| At { source: 1, row }).collect::<Vec<_>>().into_iter())
        };
        let (near, far) = (at((10..30).collect()), at((0..50).map(|k| k * 2).collect()));
        assert!(matches!(&near.order, Order::Stretches(stretches) if stretches.len() == 1));
        assert!(matches!(&far.order, Order::Rows(rows) if rows.len() == 50));
        let of_second = |source| (source == 1).then_some(&numbers);
        for (picked, want) in
            [(near, (10_i64..30).collect::<Int64Array>()), (far, (0_i64..50).map(|k| k * 2).collect())]
        {
            assert_eq!(*picked.values(of_second, &DataType::Int64).unwrap(), want);
            assert!(picked.values(|_| None, &DataType::Int64).is_err());
        }
        assert_eq!(at(Vec::new()).values(|_| None, &DataType::Int64).unwrap().len(), 0);
    }
}

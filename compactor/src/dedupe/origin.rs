//! Where rows come from: the object and the offset in it, which decide between rows with one key and an equal `order_by`,
//! whatever commit brought them.
//!
//! Data files carry both as columns that the table's schema does not name, so no reader of the table meets them. The
//! object is a number: that of the commit which took it, and its place in that commit's manifest. Rows of other writers
//! have neither.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
    error::ArrowError,
};

/// The column of the objects' numbers.
const OBJECT: &str = "_millrace_object";
/// The column of the offsets of the rows' first bytes, after decompression.
const OFFSET: &str = "_millrace_offset";
/// What a file has beside the table's columns.
pub(crate) const COLUMNS: [&str; 2] = [OBJECT, OFFSET];
/// Names that begin so are none of a table's columns.
pub(crate) const RESERVED: &str = "_millrace_";

/// The bits of an object's number that are its place in the manifest.
const PLACE_BITS: u32 = 24;

/// Rows of an object that are together, at least.
const STRETCH: usize = 16;

/// Where a row comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    object: i64,
    /// The offset in the object.
    pub(crate) offset: i64,
}

impl Origin {
    /// The number of the commit that took the object.
    pub(crate) const fn manifest(self) -> u64 {
        (self.object >> PLACE_BITS).cast_unsigned()
    }

    /// The object's place in that commit's manifest.
    pub(crate) const fn place(self) -> usize {
        (self.object & ((1 << PLACE_BITS) - 1)) as usize
    }
}

/// Where the rows of a batch come from.
#[derive(Debug)]
pub(super) struct Origins {
    objects: Int64Array,
    offsets: Int64Array,
}

impl Origins {
    /// `None` when the batch does not say it.
    pub(super) fn of(batch: &RecordBatch) -> Option<Self> {
        let column = |name: &str| batch.column_by_name(name)?.as_primitive_opt::<Int64Type>().cloned();
        Some(Self { objects: column(OBJECT)?, offsets: column(OFFSET)? })
    }

    /// Where one of them comes from; `None` where that is not known.
    pub(super) fn at(&self, row: usize) -> Option<Origin> {
        let is_known = self.objects.is_valid(row) && self.offsets.is_valid(row);
        is_known.then(|| Origin { object: self.objects.value(row), offset: self.offsets.value(row) })
    }
}

/// A new row and the table's row for its key, of which `order_by` does not say which one stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tie {
    /// The key's group.
    pub(crate) group: u32,
    /// Where the new row comes from, ...
    pub(crate) new: Origin,
    /// ... and where the table's does.
    pub(crate) held: Origin,
}

/// Whether a column of this name could be taken for one of ours. Delta tells names apart without regard to case.
pub(crate) fn is_reserved(name: &str) -> bool {
    name.get(..RESERVED.len()).is_some_and(|start| start.eq_ignore_ascii_case(RESERVED))
}

/// Whether rows of one object are together, as they are in a file that was not put in another order.
pub(crate) fn is_by_object(rows: &RecordBatch) -> bool {
    let Some(origins) = Origins::of(rows) else { return true };
    let objects = origins.objects.values();
    objects.windows(2).filter(|pair| pair[0] != pair[1]).count() * STRETCH <= objects.len()
}

/// A table's columns, and those of the origin.
pub(crate) fn with_columns(table: &SchemaRef) -> SchemaRef {
    let origin = COLUMNS.map(|name| Arc::new(Field::new(name, DataType::Int64, true)));
    let fields: Vec<_> = table.fields().iter().cloned().chain(origin).collect();
    Arc::new(Schema::new_with_metadata(fields, table.metadata().clone()))
}

/// Rows with the offset of each.
pub(crate) fn with_offsets(rows: &RecordBatch, offsets: Vec<u64>) -> Result<RecordBatch, ArrowError> {
    let offsets: Vec<i64> = offsets.into_iter().map(u64::cast_signed).collect();
    with_column(rows, OFFSET, Int64Array::from(offsets))
}

/// Rows, if they have offsets, with offsets that are so much larger.
pub(crate) fn shifted(rows: RecordBatch, by: u64) -> Result<RecordBatch, ArrowError> {
    let (schema, mut columns, _) = rows.into_parts();
    if let Some((index, _)) = schema.column_with_name(OFFSET) {
        let offsets = columns[index].as_primitive::<Int64Type>();
        let offsets: Int64Array = offsets.unary(|offset| offset.saturating_add_unsigned(by));
        columns[index] = Arc::new(offsets);
    }
    RecordBatch::try_new(schema, columns)
}

/// Gives rows the numbers of their objects.
#[derive(Debug)]
pub(crate) struct Numbering {
    sequence: u64,
    /// The numbers of the last rows that were all of one object. Most of an object's chunks are as long as each other, so
    /// they share them.
    last: Option<(i64, Int64Array)>,
}

impl Numbering {
    /// Of a commit's objects.
    pub(crate) const fn of(sequence: u64) -> Self {
        Self { sequence, last: None }
    }

    /// The rows, if they have offsets, with the numbers of their objects: `starts` has the first row of each object, and its
    /// place in the commit's manifest.
    pub(crate) fn number(&mut self, rows: &RecordBatch, starts: &[(usize, usize)]) -> Result<RecordBatch, ArrowError> {
        if rows.column_by_name(OFFSET).is_none() {
            return Ok(rows.clone());
        }
        let count = rows.num_rows();
        if let [(_, place)] = starts {
            let number = number(self.sequence, *place)?;
            let fitting = self.last.take().filter(|(of, numbers)| *of == number && numbers.len() >= count);
            let (_, numbers) = self.last.insert(fitting.unwrap_or_else(|| (number, vec![number; count].into())));
            return with_column(rows, OBJECT, numbers.slice(0, count));
        }
        let mut objects: Vec<i64> = Vec::with_capacity(count);
        let ends = starts.iter().skip(1).map(|(first, _)| *first).chain([count]);
        for ((_, place), end) in starts.iter().zip(ends) {
            objects.resize(end, number(self.sequence, *place)?);
        }
        with_column(rows, OBJECT, Int64Array::from(objects))
    }
}

fn number(sequence: u64, place: usize) -> Result<i64, ArrowError> {
    let place = i64::try_from(place).ok().filter(|place| place >> PLACE_BITS == 0);
    let commit = i64::try_from(sequence).ok().filter(|sequence| sequence.leading_zeros() > PLACE_BITS);
    let number = commit.zip(place).map(|(commit, place)| (commit << PLACE_BITS) | place);
    number.ok_or_else(|| ArrowError::ComputeError("more commits or objects in one than can be numbered".to_owned()))
}

fn with_column(rows: &RecordBatch, name: &str, column: Int64Array) -> Result<RecordBatch, ArrowError> {
    let field = Arc::new(Field::new(name, DataType::Int64, true));
    let fields: Vec<_> = rows.schema_ref().fields().iter().cloned().chain([field]).collect();
    let columns = rows.columns().iter().cloned().chain([Arc::new(column) as ArrayRef]).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: i64) -> RecordBatch {
        RecordBatch::try_from_iter([("a", Arc::new((0..count).collect::<Int64Array>()) as ArrayRef)]).unwrap()
    }

    #[test]
    fn a_row_says_its_commit_its_object_there_and_its_offset() {
        let rows = shifted(with_offsets(&rows(4), vec![5, 9, 0, 2]).unwrap(), 100).unwrap();
        let rows = Numbering::of(1 << 38).number(&rows, &[(0, 3), (2, 7), (2, (1 << 24) - 1)]).unwrap();
        let origins = Origins::of(&rows).unwrap();
        let origin = |row| origins.at(row).map(|origin| (origin.manifest(), origin.place(), origin.offset));
        let last = (1 << 24) - 1;
        assert_eq!([origin(0), origin(1)], [Some((1 << 38, 3, 105)), Some((1 << 38, 3, 109))]);
        assert_eq!([origin(2), origin(3)], [Some((1 << 38, last, 100)), Some((1 << 38, last, 102))]);
        assert_eq!(with_columns(&rows.schema()).fields().len(), 5);
    }

    #[test]
    fn chunks_of_one_object_after_another_have_its_number() {
        let mut numbering = Numbering::of(1);
        for (count, place) in [(3, 0), (3, 0), (2, 0), (5, 0), (5, 1), (1, 1), (4, 0)] {
            let rows = with_offsets(&rows(count), (0..count.cast_unsigned()).collect()).unwrap();
            let origins = Origins::of(&numbering.number(&rows, &[(0, place)]).unwrap()).unwrap();
            assert_eq!(origins.objects, Int64Array::from(vec![(1 << 24) + place as i64; count as usize]));
        }
    }

    #[test]
    fn rows_that_keep_no_origin_stay_as_they_are_and_others_have_none() {
        assert_eq!(Numbering::of(1).number(&rows(2), &[(0, 0)]).unwrap(), rows(2));
        assert_eq!(shifted(rows(2), 7).unwrap(), rows(2));
        assert!(Origins::of(&rows(2)).is_none());
        let unknown = Arc::new(Int64Array::from(vec![None])) as ArrayRef;
        let batch = RecordBatch::try_from_iter([(OBJECT, Arc::clone(&unknown)), (OFFSET, unknown)]).unwrap();
        assert_eq!(Origins::of(&batch).unwrap().at(0), None);
    }

    #[test]
    fn rows_of_an_object_are_together_until_they_are_put_in_another_order() {
        let of = |objects: Vec<i64>| {
            let objects = Arc::new(Int64Array::from(objects)) as ArrayRef;
            RecordBatch::try_from_iter([(OBJECT, Arc::clone(&objects)), (OFFSET, objects)]).unwrap()
        };
        assert!(is_by_object(&rows(3)) && is_by_object(&of(vec![])));
        assert!(is_by_object(&of((0..200).map(|row| row / 50).collect())));
        assert!(!is_by_object(&of((0..200).map(|row| row % 4).collect())));
    }

    #[test]
    fn what_no_number_has_room_for_is_refused() {
        assert!(number(1, 1 << 24).is_err() && number(1 << 39, 0).is_err());
        assert!(is_reserved("_Millrace_x") && !is_reserved("millrace_seq") && !is_reserved("_mill"));
    }
}

//! DataFusion's answer as cells: every Arrow type that a query can return, brought to one of six kinds.

use std::borrow::Cow;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
        TimestampMicrosecondArray, UInt64Array,
    },
    compute::{CastOptions, can_cast_types, cast_with_options},
    datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType, UInt64Type},
};

use crate::query::{
    answer::{AnswerHasher, Cell},
    failure::Failure,
};

/// A column of an answer in the one width that its kind has here.
enum Column {
    Null,
    Boolean(BooleanArray),
    Integer(Int64Array),
    Unsigned(UInt64Array),
    Float(Float64Array),
    Timestamp(TimestampMicrosecondArray),
    Text(StringArray),
}

impl Column {
    fn new(name: &str, array: &ArrayRef) -> Result<Self, Failure> {
        // A wrong cast is an error here: a null in its place would be another answer.
        let cast = |target: &DataType| {
            let refused = || Failure::Type { column: name.to_owned(), type_name: array.data_type().to_string() };
            if !can_cast_types(array.data_type(), target) {
                return Err(refused());
            }
            cast_with_options(array, target, &CastOptions { safe: false, ..CastOptions::default() })
                .map_err(|_| refused())
        };
        let value_type = match array.data_type() {
            DataType::Dictionary(_, value) => value.as_ref(),
            other => other,
        };
        Ok(match value_type {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Boolean(cast(&DataType::Boolean)?.as_boolean().clone()),
            DataType::UInt64 => Self::Unsigned(cast(&DataType::UInt64)?.as_primitive::<UInt64Type>().clone()),
            kind if kind.is_integer() => Self::Integer(cast(&DataType::Int64)?.as_primitive::<Int64Type>().clone()),
            kind if kind.is_numeric() => Self::Float(cast(&DataType::Float64)?.as_primitive::<Float64Type>().clone()),
            DataType::Timestamp(_, zone) => {
                let target = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
                Self::Timestamp(cast(&target)?.as_primitive::<TimestampMicrosecondType>().clone())
            }
            DataType::Date32 | DataType::Date64 => {
                let target = DataType::Timestamp(TimeUnit::Microsecond, None);
                Self::Timestamp(cast(&target)?.as_primitive::<TimestampMicrosecondType>().clone())
            }
            _ => Self::Text(cast(&DataType::Utf8)?.as_string::<i32>().clone()),
        })
    }

    fn cell(&self, row: usize) -> Cell<'_> {
        fn valid<'a, A: Array>(array: &'a A, row: usize, value: impl FnOnce(&'a A) -> Cell<'a>) -> Cell<'a> {
            if array.is_null(row) { Cell::Null } else { value(array) }
        }
        match self {
            Self::Null => Cell::Null,
            Self::Boolean(array) => valid(array, row, |a| Cell::Boolean(a.value(row))),
            Self::Integer(array) => valid(array, row, |a| Cell::Integer(a.value(row).into())),
            Self::Unsigned(array) => valid(array, row, |a| Cell::Integer(a.value(row).into())),
            Self::Float(array) => valid(array, row, |a| Cell::Float(a.value(row))),
            Self::Timestamp(array) => valid(array, row, |a| Cell::Timestamp(a.value(row))),
            Self::Text(array) => valid(array, row, |a| Cell::Text(Cow::Borrowed(a.value(row)))),
        }
    }
}

/// Adds a batch to an answer, and to the preview as long as that has fewer than `limit` rows below its header.
pub(super) fn add(
    batch: &RecordBatch,
    hasher: &mut AnswerHasher,
    preview: &mut Vec<Vec<String>>,
    limit: usize,
) -> Result<(), Failure> {
    let schema = batch.schema();
    let columns = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, array)| Column::new(field.name(), array))
        .collect::<Result<Vec<_>, _>>()?;
    for row in 0..batch.num_rows() {
        hasher.add(columns.iter().map(|column| column.cell(row)));
        if preview.len() <= limit {
            preview.push(columns.iter().map(|column| column.cell(row).display()).collect());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{
            Date32Array, Decimal128Array, DictionaryArray, StringViewArray, TimestampNanosecondArray, UInt32Array,
        },
        datatypes::Int32Type,
    };

    use super::*;

    fn cells(array: ArrayRef) -> Vec<String> {
        let column = Column::new("c", &array).unwrap();
        (0..array.len()).map(|row| column.cell(row).display()).collect()
    }

    #[test]
    fn every_type_that_queries_return_has_a_kind() {
        assert_eq!(cells(Arc::new(UInt32Array::from(vec![Some(7), None]))), ["7", "null"]);
        assert_eq!(cells(Arc::new(UInt64Array::from(vec![u64::MAX]))), ["18446744073709551615"]);
        assert_eq!(cells(Arc::new(StringViewArray::from(vec!["a", "é"]))), ["a", "é"]);
        let dictionary: DictionaryArray<Int32Type> = vec![Some("x"), None, Some("x")].into_iter().collect();
        assert_eq!(cells(Arc::new(dictionary)), ["x", "null", "x"]);
        assert_eq!(cells(Arc::new(Date32Array::from(vec![20_089]))), ["2025-01-01T00:00:00Z"]);
        let nanoseconds = TimestampNanosecondArray::from(vec![1_735_689_600_000_000_000]).with_timezone("UTC");
        assert_eq!(cells(Arc::new(nanoseconds)), ["2025-01-01T00:00:00Z"]);
        let decimal = Decimal128Array::from(vec![1050]).with_precision_and_scale(10, 2).unwrap();
        assert_eq!(cells(Arc::new(decimal)), ["10.5"]);
    }

    #[test]
    fn the_preview_stops_at_its_limit_and_the_answer_does_not() {
        let batch =
            RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from_iter_values(0..25)) as ArrayRef)]).unwrap();
        let (mut hasher, mut preview) = (AnswerHasher::new(1), vec![vec!["n".to_owned()]]);
        add(&batch, &mut hasher, &mut preview, 10).unwrap();
        assert_eq!((hasher.finish().rows, preview.len(), preview[10][0].as_str()), (25, 11, "9"));
    }
}

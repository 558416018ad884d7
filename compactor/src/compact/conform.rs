//! Values of a data file in the table's types, which may have grown since the file was written.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, ListArray, StructArray, new_null_array},
    compute::cast,
    datatypes::DataType,
    error::ArrowError,
};

/// The values as `kind`. A member that a struct has not got yet is null.
pub(super) fn conformed(column: &ArrayRef, kind: &DataType) -> Result<ArrayRef, ArrowError> {
    match (column.data_type(), kind) {
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let (parts, rows) = (column.as_struct(), column.len());
            let member = |name: &str, kind: &DataType| match parts.column_by_name(name) {
                Some(part) => conformed(part, kind),
                None => Ok(new_null_array(kind, rows)),
            };
            let members = fields.iter().map(|field| member(field.name(), field.data_type()));
            let members = members.collect::<Result<Vec<_>, _>>()?;
            let nulls = parts.nulls().cloned();
            Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), members, nulls, rows)?))
        }
        (DataType::List(_), DataType::List(field)) => {
            let list = column.as_list::<i32>();
            let items = conformed(list.values(), field.data_type())?;
            let (field, offsets, nulls) = (Arc::clone(field), list.offsets().clone(), list.nulls().cloned());
            Ok(Arc::new(ListArray::try_new(field, offsets, items, nulls)?))
        }
        _ => cast(column, kind),
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{Int64Array, RecordBatch, StringArray},
        buffer::{NullBuffer, OffsetBuffer},
        datatypes::{Field, Fields},
    };

    use super::*;

    #[test]
    fn members_that_came_later_are_null_at_any_depth_and_the_others_stay() {
        let narrow = Fields::from(vec![Field::new("a", DataType::Int64, true)]);
        let wide = Fields::from(vec![Field::new("b", DataType::Utf8, true), Field::new("a", DataType::Int64, true)]);
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
        let parts = StructArray::new(narrow, vec![numbers], Some(NullBuffer::from(vec![true, true, false])));
        let item = |fields: &Fields| Arc::new(Field::new("element", DataType::Struct(fields.clone()), true));
        let offsets = OffsetBuffer::new(vec![0, 2, 2, 3].into());
        let list: ArrayRef = Arc::new(ListArray::new(
            Arc::new(Field::new("element", parts.data_type().clone(), true)),
            offsets,
            Arc::new(parts),
            None,
        ));
        let found = conformed(&list, &DataType::List(item(&wide))).unwrap();
        let list = found.as_list::<i32>();
        assert_eq!((list.value_length(0), list.value_length(1), list.value_length(2)), (2, 0, 1));
        let parts = list.values().as_struct();
        assert_eq!((parts.is_null(1), parts.is_null(2), parts.column(0).null_count()), (false, true, 3));
        assert_eq!(parts.column(1).as_ref(), &Int64Array::from(vec![Some(1), None, Some(3)]) as &dyn Array);
        let plain: ArrayRef = Arc::new(StringArray::from(vec!["7"]));
        let batch = RecordBatch::try_from_iter([("n", conformed(&plain, &DataType::Int64).unwrap())]).unwrap();
        assert_eq!(batch.column(0).as_ref(), &Int64Array::from(vec![7]) as &dyn Array);
    }
}

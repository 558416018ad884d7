//! The hash of a row's key, for use beyond this process: written down beside the files that hold the rows, and asked for
//! by a later version of this program, which has to know whether it hashes alike.

use std::{fmt::Write, sync::Arc};

use arrow::{
    array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray},
    datatypes::Schema,
    error::ArrowError,
};

use super::{
    column,
    values::{Values, hashes},
};

/// Hashes the key columns of a table's rows.
#[derive(Debug, Clone)]
pub(crate) struct KeyHash {
    columns: Vec<String>,
    /// What it hashes and how. Two hashes can be compared when these are equal.
    kind: String,
}

impl KeyHash {
    /// A hash of these columns; `None` when they have none that lasts.
    ///
    /// # Errors
    /// [`ArrowError`] when the table lacks one.
    pub(crate) fn new(columns: &[String], table: &Schema) -> Result<Option<Self>, ArrowError> {
        let mut kind = format!("{:016x}", probe()?);
        for name in columns {
            let data_type = table.field_with_name(name)?.data_type();
            if !Values::keeps_its_hash(data_type) {
                return Ok(None);
            }
            // Writing to a text does not fail.
            let _ = write!(kind, " {name:?}: {data_type}");
        }
        Ok(Some(Self { columns: columns.to_vec(), kind }))
    }

    /// What it hashes and how.
    pub(crate) fn kind(&self) -> &str {
        &self.kind
    }

    /// The hash of each row's key.
    ///
    /// # Errors
    /// [`ArrowError`] when the batch lacks a key column.
    pub(crate) fn of(&self, batch: &RecordBatch) -> Result<Vec<u64>, ArrowError> {
        let key: Result<Vec<_>, _> = self.columns.iter().map(|name| Values::of(column(batch, name)?)).collect();
        Ok(hashes(&key?, batch.num_rows()))
    }
}

/// The hash of a row that touches all there is to hash: it is another one as soon as the function is.
fn probe() -> Result<u64, ArrowError> {
    let columns: [ArrayRef; 5] = [
        Arc::new(Int64Array::from(vec![-1_234_567_890_123])),
        Arc::new(Float64Array::from(vec![-0.5])),
        Arc::new(StringArray::from(vec!["eight by"])),
        Arc::new(StringArray::from(vec!["and some more, é"])),
        Arc::new(Int64Array::from(vec![None])),
    ];
    let key: Result<Vec<_>, _> = columns.iter().map(Values::of).collect();
    Ok(hashes(&key?, 1)[0])
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};

    use super::*;

    fn table(fields: &[(&str, DataType)]) -> Schema {
        Schema::new(fields.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect::<Vec<_>>())
    }

    #[test]
    fn the_hash_is_what_it_was_when_the_first_sidecar_was_written() {
        // Another number is no error, but every sidecar that is there becomes useless with it.
        assert_eq!(format!("{:016x}", probe().unwrap()), "f0bb0fea73ff11d8");
    }

    #[test]
    fn another_key_or_type_is_another_kind_and_a_list_has_none() {
        let list = DataType::List(Arc::new(Field::new("item", DataType::Int64, true)));
        let table = table(&[("a", DataType::Int64), ("b", DataType::Utf8), ("a: Int64", DataType::Utf8), ("l", list)]);
        let kind = |columns: &[&str]| {
            let columns: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
            KeyHash::new(&columns, &table).unwrap().map(|hash| hash.kind().to_owned())
        };
        let kinds = [kind(&["a"]), kind(&["b"]), kind(&["a", "b"]), kind(&["b", "a"]), kind(&["a: Int64"])];
        let different: std::collections::HashSet<_> = kinds.iter().flatten().collect();
        assert_eq!(different.len(), kinds.len());
        assert_eq!(kind(&["a", "l"]), None);
        assert!(KeyHash::new(&["missing".to_owned()], &table).is_err());
    }

    #[test]
    fn rows_with_one_key_have_one_hash_wherever_the_columns_stand() {
        let a: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let b: ArrayRef = Arc::new(StringArray::from(vec!["x", "y"]));
        let one = RecordBatch::try_from_iter([("a", Arc::clone(&a)), ("b", Arc::clone(&b))]).unwrap();
        let other = RecordBatch::try_from_iter([("b", b), ("a", a)]).unwrap();
        let hash = KeyHash::new(&["a".to_owned(), "b".to_owned()], one.schema_ref()).unwrap().unwrap();
        assert_eq!(hash.of(&one).unwrap(), hash.of(&other).unwrap());
    }
}

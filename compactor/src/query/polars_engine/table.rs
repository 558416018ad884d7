//! The table's Parquet files for Polars: the list from the Delta log, the bytes through the store that counts.

use std::{collections::HashMap, io::Cursor, sync::Arc};

use deltalake::DeltaTable;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use polars::prelude::{
    AnyValue, Column, DataFrame, DataType, ParquetReader, PlSmallStr, PolarsResult, Scalar, Schema, SchemaRef,
    SerReader, polars_err,
};
use tokio::runtime::Handle;

use super::{scan::Source, view::data_type};
use crate::{Location, TableSchema, query::failure::Failure};

/// One data file and the values of its partition.
struct File {
    path: Path,
    partition: HashMap<String, Option<String>>,
}

/// The active files of a table.
pub(super) struct Files {
    store: Arc<dyn ObjectStore>,
    files: Vec<File>,
    schema: SchemaRef,
    runtime: Handle,
}

/// The table's columns as Polars holds them.
pub(super) fn schema(table: &TableSchema) -> SchemaRef {
    let fields = table.arrow_table();
    let columns =
        fields.fields().iter().map(|field| (PlSmallStr::from_str(field.name()), data_type(field.data_type())));
    Arc::new(Schema::from_iter(columns))
}

impl Files {
    /// The files of a loaded table; `place` is where it is.
    pub(super) fn of(
        table: &DeltaTable,
        place: &Location,
        schema: &TableSchema,
        runtime: Handle,
    ) -> Result<Self, Failure> {
        let log = table.snapshot()?.log_data();
        let files = log
            .iter()
            .map(|file| File { path: file.object_store_path(), partition: file.partition_values_map() })
            .collect();
        Ok(Self { store: place.prefixed(), files, schema: self::schema(schema), runtime })
    }

    /// The wanted columns of one file: those in it, and constants for those in its path.
    fn read(&self, file: &File, columns: &[PlSmallStr]) -> PolarsResult<DataFrame> {
        let fetch = async { self.store.get(&file.path).await?.bytes().await };
        let bytes = self.runtime.block_on(fetch).map_err(|e| polars_err!(ComputeError: "{}: {e}", file.path))?;
        let mut reader = ParquetReader::new(Cursor::new(bytes));
        let rows = reader.num_rows()?;
        let stored = columns.iter().filter(|column| !file.partition.contains_key(column.as_str()));
        let stored: Vec<String> = stored.map(ToString::to_string).collect();
        let data = if stored.is_empty() {
            DataFrame::new(rows, Vec::new())?
        } else {
            reader.with_columns(Some(stored)).finish()?
        };
        let column = |name: &PlSmallStr| {
            let wanted = self.schema.try_get(name)?;
            match file.partition.get(name.as_str()) {
                Some(value) => constant(name, value.as_deref(), wanted, rows),
                None => data.column(name)?.cast(wanted),
            }
        };
        DataFrame::new(rows, columns.iter().map(column).collect::<PolarsResult<_>>()?)
    }
}

/// A partition's value, which the log holds as text, in every row.
fn constant(name: &PlSmallStr, value: Option<&str>, wanted: &DataType, rows: usize) -> PolarsResult<Column> {
    let value = value.map_or(AnyValue::Null, |text| AnyValue::StringOwned(text.into()));
    let text = Column::new_scalar(name.clone(), Scalar::new(DataType::String, value), rows);
    text.strict_cast(wanted)
}

impl Source for Files {
    fn load(&self, columns: &[PlSmallStr]) -> PolarsResult<DataFrame> {
        let schema = self.schema.try_project(columns)?;
        let mut all = DataFrame::empty_with_schema(&schema);
        for file in &self.files {
            all.vstack_mut_owned(self.read(file, columns)?)?;
        }
        Ok(all)
    }
}

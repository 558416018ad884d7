//! Rows to data files: one partition after the other, so that one Parquet writer is open at a time however many
//! partitions a batch touches.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch},
    compute::interleave,
    datatypes::SchemaRef,
    error::ArrowError,
    row::{RowConverter, SortField},
};
use deltalake::{
    datafile::writer::{DeltaWriter, WriterConfig},
    kernel::Add,
    logstore::LogStoreRef,
    table::{config::TablePropertiesExt, state::DeltaTableState},
};
use parquet::{
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};

use crate::{dedupe::Deduper, error::CompactError};

/// Rows put together at a time.
const SLICE_ROWS: usize = 65_536;
/// Rows that the Parquet encoder takes at a time.
const ENCODE_ROWS: usize = 8_192;

/// Rows that can be asked for by number.
pub(super) trait RowSource {
    /// One column of the given rows.
    fn column(&self, name: &str, rows: &[u32]) -> Result<ArrayRef, ArrowError>;
    /// All columns of the table of the given rows.
    fn rows(&self, rows: &[u32]) -> Result<RecordBatch, ArrowError>;
}

impl RowSource for Deduper {
    fn column(&self, name: &str, groups: &[u32]) -> Result<ArrayRef, ArrowError> {
        Self::column(self, name, groups)
    }
    fn rows(&self, groups: &[u32]) -> Result<RecordBatch, ArrowError> {
        Self::rows(self, groups)
    }
}

/// Batches, one row after the other.
pub(super) struct Plain {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    /// The batch and row behind each number.
    places: Vec<(u32, u32)>,
}

impl Plain {
    pub(super) fn new(schema: SchemaRef, batches: Vec<RecordBatch>) -> Self {
        let rows = |batch: &RecordBatch| 0..u32::try_from(batch.num_rows()).unwrap_or(u32::MAX);
        let places = (0_u32..).zip(&batches).flat_map(|(b, batch)| rows(batch).map(move |row| (b, row))).collect();
        Self { schema, batches, places }
    }

    pub(super) fn numbers(&self) -> Vec<u32> {
        (0..u32::try_from(self.places.len()).unwrap_or(u32::MAX)).collect()
    }

    fn pick(&self, index: usize, rows: &[u32]) -> Result<ArrayRef, ArrowError> {
        let arrays: Vec<_> = self.batches.iter().map(|batch| batch.column(index).as_ref()).collect();
        let places: Vec<_> = rows
            .iter()
            .map(|row| self.places[*row as usize])
            .map(|(batch, row)| (batch as usize, row as usize))
            .collect();
        interleave(&arrays, &places)
    }
}

impl RowSource for Plain {
    fn column(&self, name: &str, rows: &[u32]) -> Result<ArrayRef, ArrowError> {
        self.pick(self.schema.index_of(name)?, rows)
    }
    fn rows(&self, rows: &[u32]) -> Result<RecordBatch, ArrowError> {
        let columns: Result<Vec<_>, _> = (0..self.schema.fields().len()).map(|index| self.pick(index, rows)).collect();
        RecordBatch::try_new(Arc::clone(&self.schema), columns?)
    }
}

/// Writes data files of one table. Files are complete when a call returns, and part of the table only once committed.
pub(super) struct TableWriter {
    log_store: LogStoreRef,
    url: String,
    partition_by: Vec<String>,
    config: WriterConfig,
}

impl TableWriter {
    pub(super) fn new(log_store: &LogStoreRef, state: &DeltaTableState, schema: SchemaRef) -> Self {
        let partition_by = state.metadata().partition_columns().to_vec();
        let level = ZstdLevel::try_new(1).unwrap_or_default();
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
        let table = state.table_config();
        let config = WriterConfig::new(
            schema,
            partition_by.clone(),
            Some(properties),
            Some(table.target_file_size()),
            Some(ENCODE_ROWS),
            table.num_indexed_cols(),
            None,
        );
        Self { log_store: Arc::clone(log_store), url: log_store.root_url().to_string(), partition_by, config }
    }

    /// A writer for one or more files; all its rows should be of one partition.
    pub(super) fn file(&self) -> DeltaWriter {
        DeltaWriter::new(self.log_store.object_store(None), self.config.clone())
    }

    /// Writes the rows with these numbers.
    pub(super) async fn write(&self, source: &dyn RowSource, rows: &[u32]) -> Result<Vec<Add>, CompactError> {
        let mut added = Vec::new();
        for partition in self.partitions(source, rows)? {
            let mut writer = self.file();
            for slice in partition.chunks(SLICE_ROWS) {
                writer.write(&source.rows(slice)?).await.map_err(|e| CompactError::delta(&self.url, e))?;
            }
            added.extend(writer.close().await.map_err(|e| CompactError::delta(&self.url, e))?);
        }
        Ok(added)
    }

    /// The rows by partition; within one, their order stays.
    fn partitions(&self, source: &dyn RowSource, rows: &[u32]) -> Result<Vec<Vec<u32>>, CompactError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        if self.partition_by.is_empty() {
            return Ok(vec![rows.to_vec()]);
        }
        let columns: Result<Vec<_>, _> = self.partition_by.iter().map(|name| source.column(name, rows)).collect();
        let columns = columns?;
        let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
        let values = RowConverter::new(fields)?.convert_columns(&columns)?;
        let mut numbers = HashMap::new();
        let mut partitions: Vec<Vec<u32>> = Vec::new();
        for (value, row) in values.iter().zip(rows) {
            let next = partitions.len();
            let number = *numbers.entry(value).or_insert(next);
            if number == next {
                partitions.push(Vec::new());
            }
            partitions[number].push(*row);
        }
        Ok(partitions)
    }
}

//! Rows to data files: each partition is a task of its own, encoded by one Parquet writer; as many run at a time as there
//! are cores, so that memory does not grow with the number of partitions.

use std::{borrow::Cow, collections::HashMap, num::NonZeroU64, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch, UInt32Array, UInt64Array},
    compute::{SortColumn, SortOptions, interleave, lexsort_to_indices, partition, take},
    datatypes::{Schema, SchemaRef},
    error::ArrowError,
    row::{RowConverter, SortField},
};
use deltalake::{
    datafile::writer::WriterConfig,
    kernel::scalars::ScalarExt,
    logstore::LogStoreRef,
    table::{config::TablePropertiesExt, state::DeltaTableState},
};
use futures::{StreamExt, TryStreamExt};
use indexmap::IndexMap;
use tokio::runtime::Handle;

use super::{encoding::properties, keys::Keyed, stages::Stage, upload::FileWriter, workers::Workers};
use crate::{dedupe::Deduper, error::CompactError};

/// Rows put together at a time.
const SLICE_ROWS: usize = 16_384;
/// Rows that the Parquet encoder takes at a time.
const ENCODE_ROWS: usize = 8_192;

/// Rows that can be asked for by number.
pub(super) trait RowSource: Send + Sync {
    /// The batches that rows come from; `None` where none does.
    fn batches(&self) -> Vec<Option<&RecordBatch>>;
    /// The batch of a row, and its place there.
    fn place(&self, row: u32) -> (usize, usize);
    /// These columns of the given rows.
    fn rows(&self, rows: &[u32], columns: &SchemaRef) -> Result<RecordBatch, ArrowError>;
    /// The hashes of their keys; `None` when they have none.
    fn hashes(&self, rows: &[u32]) -> Option<Vec<u64>>;
}

impl RowSource for Deduper {
    fn batches(&self) -> Vec<Option<&RecordBatch>> {
        Self::batches(self)
    }
    fn place(&self, group: u32) -> (usize, usize) {
        Self::place(self, group)
    }
    fn rows(&self, groups: &[u32], columns: &SchemaRef) -> Result<RecordBatch, ArrowError> {
        Self::rows(self, groups, columns)
    }
    fn hashes(&self, groups: &[u32]) -> Option<Vec<u64>> {
        let hashes = Self::hashes(self);
        Some(groups.iter().map(|group| hashes[*group as usize]).collect())
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
}

impl RowSource for Plain {
    fn batches(&self) -> Vec<Option<&RecordBatch>> {
        self.batches.iter().map(Some).collect()
    }
    fn place(&self, row: u32) -> (usize, usize) {
        let (batch, row) = self.places[row as usize];
        (batch as usize, row as usize)
    }
    fn rows(&self, rows: &[u32], columns: &SchemaRef) -> Result<RecordBatch, ArrowError> {
        let places: Vec<_> = rows.iter().map(|row| self.place(*row)).collect();
        let pick = |name: &String| {
            let index = self.schema.index_of(name)?;
            let arrays: Vec<_> = self.batches.iter().map(|batch| batch.column(index).as_ref()).collect();
            interleave(&arrays, &places)
        };
        let picked: Result<Vec<_>, _> = columns.fields().iter().map(|field| pick(field.name())).collect();
        RecordBatch::try_new(Arc::clone(columns), picked?)
    }
    fn hashes(&self, _: &[u32]) -> Option<Vec<u64>> {
        None
    }
}

/// Writes data files of one table. Files are complete when a call returns, and part of the table only once committed.
#[derive(Clone)]
pub(super) struct TableWriter {
    log_store: LogStoreRef,
    url: String,
    partition_by: Vec<String>,
    config: WriterConfig,
    /// The columns in the files: partition columns are in their paths.
    in_files: SchemaRef,
    /// Columns that get a bloom filter.
    bloom_filters: Vec<String>,
    /// Columns that the rows of a file lie in order of.
    sort_by: SchemaRef,
    /// Rows that encodings are chosen by, where those of the file are not known yet.
    sample: RecordBatch,
}

impl TableWriter {
    pub(super) fn new(log_store: &LogStoreRef, state: &DeltaTableState, schema: SchemaRef) -> Self {
        Self::sized(log_store, state, schema, state.table_config().target_file_size().get())
    }

    /// A writer whose files end at this size instead of the table's.
    pub(super) fn sized(
        log_store: &LogStoreRef,
        state: &DeltaTableState,
        schema: SchemaRef,
        target_bytes: u64,
    ) -> Self {
        let partition_by = state.metadata().partition_columns().to_vec();
        let in_files = schema.fields().iter().filter(|field| !partition_by.contains(field.name())).cloned();
        let in_files = Arc::new(Schema::new(in_files.collect::<Vec<_>>()));
        let table = state.table_config();
        let config = WriterConfig::new(
            schema,
            partition_by.clone(),
            None,
            NonZeroU64::new(target_bytes),
            Some(ENCODE_ROWS),
            table.num_indexed_cols(),
            None,
        );
        let url = log_store.root_url().to_string();
        Self {
            log_store: Arc::clone(log_store),
            url,
            partition_by,
            config,
            sample: RecordBatch::new_empty(Arc::clone(&in_files)),
            in_files,
            bloom_filters: Vec::new(),
            sort_by: Arc::new(Schema::empty()),
        }
    }

    /// The same, with bloom filters of these columns.
    pub(super) fn with_bloom_filters(mut self, columns: Vec<String>) -> Self {
        self.bloom_filters = columns;
        self
    }

    /// The same, with the rows of each file in order of these columns.
    ///
    /// # Errors
    /// [`ArrowError`] when the files lack one.
    pub(super) fn in_order_of(mut self, columns: &[String]) -> Result<Self, ArrowError> {
        let fields = columns.iter().map(|name| self.in_files.field_with_name(name).cloned());
        self.sort_by = Arc::new(Schema::new(fields.collect::<Result<Vec<_>, _>>()?));
        Ok(self)
    }

    /// The same, for rows like these.
    pub(super) fn like(mut self, sample: Option<&RecordBatch>) -> Self {
        if let Some(sample) = sample {
            self.sample = sample.slice(0, sample.num_rows().min(SLICE_ROWS));
        }
        self
    }

    /// A writer for one or more files; all its rows should be of one partition.
    pub(super) fn file(&self) -> FileWriter {
        self.file_like(&self.sample)
    }

    /// The same, for rows like these.
    pub(super) fn file_like(&self, sample: &RecordBatch) -> FileWriter {
        FileWriter::new(self.log_store.object_store(None), self.config.clone(), &self.url)
            .with_properties(properties(sample, &self.bloom_filters))
    }

    /// Writes the rows with these numbers.
    pub(super) async fn write(
        &self,
        source: &Arc<dyn RowSource>,
        rows: Vec<u32>,
        workers: &Workers,
    ) -> Result<Vec<Keyed>, CompactError> {
        let (writer, of) = (self.clone(), Arc::clone(source));
        let partitions = workers.run(Stage::Encode, move || writer.partitions(of.as_ref(), rows)).await?;
        let tasks = partitions.into_iter().map(|rows| {
            let (writer, source, runtime) = (self.clone(), Arc::clone(source), Handle::current());
            let task = move || runtime.block_on(writer.write_partition(source.as_ref(), &rows));
            workers.run(Stage::Encode, task)
        });
        futures::stream::iter(tasks).buffered(workers.count).try_collect().await
    }

    /// Writes rows of one partition.
    async fn write_partition(&self, source: &dyn RowSource, rows: &[u32]) -> Result<Keyed, CompactError> {
        let Some((batch, place)) = rows.first().map(|row| source.place(*row)) else { return Ok(Keyed::default()) };
        let batches = source.batches();
        let mut values = IndexMap::new();
        for name in &self.partition_by {
            let column = batches[batch].and_then(|batch| batch.column_by_name(name));
            let value = column.and_then(|column| ScalarExt::from_array(column, place));
            values.insert(name.clone(), value.ok_or_else(|| ArrowError::SchemaError(format!("no column {name}")))?);
        }
        let rows = &self.in_order(source, rows)?;
        let mut writer = None;
        for slice in rows.chunks(SLICE_ROWS) {
            let slice = source.rows(slice, &self.in_files)?;
            let writer = writer.get_or_insert_with(|| self.file_like(&slice));
            writer.with(async |out| out.write_partition(slice, &values).await).await?;
        }
        let added = match writer {
            Some(writer) => writer.close().await?,
            None => Vec::new(),
        };
        Ok(Keyed { added, hashes: source.hashes(rows) })
    }

    /// The rows in the order that files have; rows that are equal in it stay in theirs.
    fn in_order<'a>(&self, source: &dyn RowSource, rows: &'a [u32]) -> Result<Cow<'a, [u32]>, ArrowError> {
        if self.sort_by.fields().is_empty() {
            return Ok(Cow::Borrowed(rows));
        }
        let columns = source.rows(rows, &self.sort_by)?;
        let options = SortOptions { descending: false, nulls_first: false };
        let column = |column: &ArrayRef| SortColumn { values: Arc::clone(column), options: Some(options) };
        let mut by: Vec<_> = columns.columns().iter().map(column).collect();
        // The sort itself keeps no order among equals.
        by.push(SortColumn { values: Arc::new((0..rows.len() as u64).collect::<UInt64Array>()), options: None });
        let order = lexsort_to_indices(&by, None)?;
        Ok(order.values().iter().map(|place| rows[*place as usize]).collect())
    }

    /// The rows by partition; within one, their order stays.
    fn partitions(&self, source: &dyn RowSource, rows: Vec<u32>) -> Result<Vec<Vec<u32>>, CompactError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        if self.partition_by.is_empty() {
            return Ok(vec![rows]);
        }
        let mut numbers = Numbers::default();
        let batches = source.batches();
        let of_rows: Result<Vec<_>, CompactError> = batches
            .iter()
            .map(|batch| batch.map_or(Ok(Vec::new()), |b| numbers.of_rows(b, &self.partition_by)))
            .collect();
        let of_rows = of_rows?;
        let mut partitions: Vec<Vec<u32>> = vec![Vec::new(); numbers.numbers.len()];
        for row in rows {
            let (batch, place) = source.place(row);
            partitions[of_rows[batch][place] as usize].push(row);
        }
        partitions.retain(|rows| !rows.is_empty());
        Ok(partitions)
    }
}

/// The number of each partition, by its values.
#[derive(Default)]
struct Numbers {
    converter: Option<RowConverter>,
    numbers: HashMap<Box<[u8]>, u32>,
}

impl Numbers {
    /// The partition of each row. Neighbours mostly share theirs, so only the first of a run is looked up.
    fn of_rows(&mut self, batch: &RecordBatch, columns: &[String]) -> Result<Vec<u32>, CompactError> {
        if batch.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let values: Result<Vec<ArrayRef>, ArrowError> =
            columns.iter().map(|name| Ok(Arc::clone(batch.column(batch.schema_ref().index_of(name)?)))).collect();
        let values = values?;
        let runs = partition(&values)?.ranges();
        let firsts: UInt32Array = runs.iter().map(|run| u32::try_from(run.start).ok()).collect();
        let firsts: Result<Vec<_>, _> = values.iter().map(|column| take(column, &firsts, None)).collect();
        let converter = match &mut self.converter {
            Some(converter) => converter,
            None => {
                let fields = values.iter().map(|column| SortField::new(column.data_type().clone())).collect();
                self.converter.insert(RowConverter::new(fields)?)
            }
        };
        let firsts = converter.convert_columns(&firsts?)?;
        let mut of_rows = Vec::with_capacity(batch.num_rows());
        for (run, first) in runs.into_iter().zip(&firsts) {
            let next = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
            let number = match self.numbers.get(first.as_ref()) {
                Some(number) => *number,
                None => *self.numbers.entry(first.as_ref().into()).or_insert(next),
            };
            of_rows.resize(run.end, number);
        }
        Ok(of_rows)
    }
}

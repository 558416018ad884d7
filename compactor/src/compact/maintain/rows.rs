//! Rows of several files, as they lie or in order. However many there are: what does not fit into memory waits on the disk.

use std::{fmt, sync::Arc};

use arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
};
use datafusion::{
    catalog::streaming::StreamingTable,
    error::DataFusionError,
    execution::{SendableRecordBatchStream, TaskContext, memory_pool::FairSpillPool, runtime_env::RuntimeEnvBuilder},
    physical_plan::{stream::RecordBatchStreamAdapter, streaming::PartitionStream},
    prelude::{SessionConfig, SessionContext, ident},
};
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};

use crate::{
    compact::{existing::TableReader, live::DataFile},
    error::CompactError,
};

/// Memory for sorting, bytes.
const MEMORY_BYTES: usize = 64 << 20;

/// Batches of rows.
pub(super) type Rows = BoxStream<'static, Result<RecordBatch, CompactError>>;

/// The rows of `files`, one file after the other.
pub(super) fn as_they_lie(reader: &Arc<TableReader>, files: &[Arc<DataFile>]) -> Rows {
    let reader = Arc::clone(reader);
    stream::iter(files.to_vec()).flat_map(move |file| Arc::clone(&reader).stream(file)).boxed()
}

/// The rows of `files` in ascending order of `columns`, nulls first.
pub(super) async fn in_order(
    reader: &Arc<TableReader>,
    files: &[Arc<DataFile>],
    columns: &[String],
) -> Result<Rows, CompactError> {
    // Batches come without the metadata of the table's schema.
    let schema = Arc::new(Schema::new(reader.schema().fields().clone()));
    let source = Files { reader: Arc::clone(reader), files: files.to_vec(), schema: Arc::clone(&schema) };
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(FairSpillPool::new(MEMORY_BYTES))).build_arc();
    let context = SessionContext::new_with_config_rt(SessionConfig::new().with_target_partitions(1), runtime?);
    let table = StreamingTable::try_new(schema, vec![Arc::new(source)])?;
    let order = columns.iter().map(|name| ident(name.as_str()).sort(true, true)).collect();
    let sorted = context.read_table(Arc::new(table))?.sort(order)?.execute_stream().await?;
    Ok(sorted.map_err(CompactError::from).boxed())
}

/// Files one after the other.
struct Files {
    reader: Arc<TableReader>,
    files: Vec<Arc<DataFile>>,
    schema: SchemaRef,
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} files", self.files.len())
    }
}

impl PartitionStream for Files {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches = as_they_lie(&self.reader, &self.files);
        let batches = batches.map_err(|error| DataFusionError::External(Box::new(error)));
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}

//! Rows of several files in order, however many there are: what does not fit into memory waits on the disk.

use std::{fmt, sync::Arc};

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::{
    catalog::streaming::StreamingTable,
    error::DataFusionError,
    execution::{SendableRecordBatchStream, TaskContext, memory_pool::FairSpillPool, runtime_env::RuntimeEnvBuilder},
    physical_plan::{stream::RecordBatchStreamAdapter, streaming::PartitionStream},
    prelude::{SessionConfig, SessionContext, ident},
};
use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    compact::existing::{DataFile, TableReader},
    error::CompactError,
};

/// Memory for sorting, bytes.
const MEMORY_BYTES: usize = 128 << 20;

/// The rows of `files` in ascending order of `columns`, nulls first.
pub(super) async fn sorted(
    reader: &Arc<TableReader>,
    files: &[Arc<DataFile>],
    columns: &[String],
) -> Result<SendableRecordBatchStream, CompactError> {
    // Batches come without the metadata of the table's schema.
    let schema = Arc::new(Schema::new(reader.schema().fields().clone()));
    let source = Files { reader: Arc::clone(reader), files: files.to_vec(), schema: Arc::clone(&schema) };
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(FairSpillPool::new(MEMORY_BYTES))).build_arc();
    let context = SessionContext::new_with_config_rt(SessionConfig::new().with_target_partitions(1), runtime?);
    let table = StreamingTable::try_new(schema, vec![Arc::new(source)])?;
    let order = columns.iter().map(|name| ident(name.as_str()).sort(true, true)).collect();
    Ok(context.read_table(Arc::new(table))?.sort(order)?.execute_stream().await?)
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
        let reader = Arc::clone(&self.reader);
        let files = stream::iter(self.files.clone()).flat_map(move |file| Arc::clone(&reader).stream(file));
        let batches = files.map_err(|error| DataFusionError::External(Box::new(error)));
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}

//! The lake's objects as a streaming table for DataFusion: fetched through the store that counts, decoded by the
//! compactor's decoder, bad pieces left out as the compactor leaves them out.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, StringArray, UInt64Array},
    datatypes::{DataType, Field, Schema, SchemaRef},
    error::ArrowError,
};
use bytes::Bytes;
use datafusion::{
    catalog::streaming::StreamingTable,
    error::DataFusionError,
    execution::{SendableRecordBatchStream, TaskContext},
    physical_plan::{stream::RecordBatchReceiverStreamBuilder, streaming::PartitionStream},
};
use object_store::{ObjectStore, ObjectStoreExt};

use super::view::{OBJECT, OFFSET};
use crate::{
    CompactError, Location, TableSchema,
    decode::{DecodedChunk, Decoder},
    query::lake::Object,
};

/// Batches that a slice may be ahead of the query.
const BATCHES_AHEAD: usize = 2;

/// All rows of `objects`, read in at most `slices` streams at once, with their origin in [`OBJECT`] and [`OFFSET`].
pub(super) fn provider(
    place: &Location,
    objects: Vec<Object>,
    slices: usize,
    table: &Arc<TableSchema>,
) -> Result<StreamingTable, DataFusionError> {
    let decoded = table.arrow_decoded();
    let origin = [Field::new(OBJECT, DataType::Utf8, false), Field::new(OFFSET, DataType::UInt64, false)];
    let fields = decoded.fields().iter().map(|field| field.as_ref().clone());
    let schema = Arc::new(Schema::new(fields.chain(origin).collect::<Vec<_>>()));
    let slices = slices.clamp(1, objects.len().max(1));
    let slice = |index: usize| -> Arc<dyn PartitionStream> {
        Arc::new(Slice {
            store: Arc::clone(&place.store),
            objects: objects.iter().skip(index).step_by(slices).cloned().collect(),
            table: Arc::clone(table),
            schema: Arc::clone(&schema),
        })
    };
    StreamingTable::try_new(Arc::clone(&schema), (0..slices).map(slice).collect())
}

/// A share of the objects.
#[derive(Debug)]
struct Slice {
    store: Arc<dyn ObjectStore>,
    objects: Vec<Object>,
    table: Arc<TableSchema>,
    schema: SchemaRef,
}

impl PartitionStream for Slice {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.schema), BATCHES_AHEAD);
        let (batches, store) = (stream.tx(), Arc::clone(&self.store));
        let (objects, table, schema) = (self.objects.clone(), Arc::clone(&self.table), Arc::clone(&self.schema));
        stream.spawn(async move {
            for object in objects {
                let bytes = store.get(&object.path).await?.bytes().await?;
                let (table, schema) = (Arc::clone(&table), Arc::clone(&schema));
                let work = tokio::task::spawn_blocking(move || decode(bytes, &object.name, table, &schema));
                let decoded = work.await.map_err(|error| DataFusionError::External(error.into()))?;
                for batch in decoded.map_err(|error| DataFusionError::External(error.into()))? {
                    if batches.send(Ok(batch)).await.is_err() {
                        return Ok(());
                    }
                }
            }
            Ok(())
        });
        stream.build()
    }
}

/// The rows of one object. They are held until its end, because only there is it certain that the stream was sound.
fn decode(
    bytes: Bytes,
    object: &str,
    table: Arc<TableSchema>,
    schema: &SchemaRef,
) -> Result<Vec<RecordBatch>, CompactError> {
    let mut batches = Vec::new();
    let report = Decoder::new(table).decode_object(bytes, object, &mut |chunk| {
        batches.push(with_origin(chunk, object, schema)?);
        Ok(())
    })?;
    if report.corrupt.is_some() {
        batches.clear();
    }
    Ok(batches)
}

fn with_origin(chunk: DecodedChunk, object: &str, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let rows = chunk.batch.num_rows();
    let mut columns: Vec<ArrayRef> = chunk.batch.columns().to_vec();
    columns.push(Arc::new(StringArray::from_iter_values(std::iter::repeat_n(object, rows))));
    columns.push(Arc::new(UInt64Array::from(chunk.offsets)));
    RecordBatch::try_new(Arc::clone(schema), columns)
}

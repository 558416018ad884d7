//! Objects read and decoded, some at a time, in order.
//!
//! Reading and decoding run ahead on the blocking threads, as many objects as there are cores; the order stays that of
//! the keys. A batch is closed by the object that fills it, so memory is bounded by the batch's budget, one more object,
//! and the objects under way.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    sync::{Arc, Mutex, PoisonError},
};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::Int64Type,
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt, stream::BoxStream};
use millrace_scenarios::stamp::DUE_FIELD;
use object_store::{GetOptions, GetResultPayload, ObjectStore};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::{manifest::Object, stages::Stage, workers::Workers};
use crate::{
    decode::{BadLine, Decoder},
    error::CompactError,
    schema::TableSchema,
    store::Location,
};

/// What one object holds.
pub(super) struct Decoded {
    object: Object,
    chunks: Vec<RecordBatch>,
    bad: Vec<BadLine>,
    due_us: Vec<i64>,
    unknown: BTreeMap<String, u64>,
    raw_bytes: u64,
    lines: u64,
    bytes: usize,
}

impl Decoded {
    /// Whether it is records and nothing else.
    pub(super) fn is_clean(&self) -> bool {
        self.bad.is_empty() && self.lines > 0
    }

    /// The fields that are no column.
    pub(super) fn unknown_fields(&self) -> impl Iterator<Item = &String> {
        self.unknown.keys()
    }

    /// Bytes of its text.
    pub(super) const fn raw_bytes(&self) -> u64 {
        self.raw_bytes
    }

    pub(super) const fn object(&self) -> &Object {
        &self.object
    }
}

/// What one commit takes. Written down, it is without its rows.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Batch {
    /// The objects, in order of key.
    pub(super) objects: Vec<Object>,
    /// Their rows, record and derived columns, in order of object and line.
    #[serde(skip)]
    pub(super) chunks: Vec<RecordBatch>,
    /// Their bad pieces.
    pub(super) bad: Vec<BadLine>,
    /// When each stamped row was due, microseconds since 1970.
    pub(super) due_us: Vec<i64>,
    /// Fields that are no column.
    pub(super) unknown: BTreeMap<String, u64>,
    /// Bytes of the objects after decompression.
    pub(super) raw_bytes: u64,
    /// Rows before deduplication, and bad pieces.
    pub(super) lines: u64,
    /// Memory held.
    #[serde(skip)]
    bytes: usize,
}

impl Batch {
    pub(super) fn push(&mut self, decoded: Decoded) {
        self.objects.push(decoded.object);
        self.chunks.extend(decoded.chunks);
        self.bad.extend(decoded.bad);
        self.due_us.extend(decoded.due_us);
        for (name, count) in decoded.unknown {
            *self.unknown.entry(name).or_default() += count;
        }
        self.raw_bytes += decoded.raw_bytes;
        self.lines += decoded.lines;
        self.bytes += decoded.bytes;
    }

    /// Whether this is a good place to end: little room is left, and the next object begins another folder. Objects of one
    /// hour mostly lie in one folder and land in one partition; in two commits, the second would write again what the
    /// first wrote whenever a record of the hour came twice.
    pub(super) fn may_end_before(&self, next: &Decoded, limit_bytes: usize) -> bool {
        let folder = |object: &Object| object.key.rsplit_once('/').map(|(folder, _)| folder.to_owned());
        let last = self.objects.last();
        self.bytes >= limit_bytes / 2 && last.is_some_and(|last| folder(last) != folder(&next.object))
    }

    pub(super) fn is_full(&self, limit_bytes: usize, limit_objects: usize) -> bool {
        self.bytes >= limit_bytes || self.objects.len() >= limit_objects
    }

    pub(super) fn object_bytes(&self) -> u64 {
        self.objects.iter().map(|object| object.size).sum()
    }
}

/// Which content of an object is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// The one that it has now, whatever the listing said of it.
    Now,
    /// The one that its manifest is about.
    Same,
}

/// Reads and decodes objects of one lake.
#[derive(Clone)]
pub(super) struct Reader {
    lake: Location,
    schema: Arc<TableSchema>,
    /// Decoders that are not at work; they keep their buffers.
    idle: Arc<Mutex<Vec<Decoder>>>,
    workers: Arc<Workers>,
}

impl Reader {
    pub(super) fn new(lake: &Location, schema: &Arc<TableSchema>, workers: &Arc<Workers>) -> Self {
        let (schema, workers) = (Arc::clone(schema), Arc::clone(workers));
        Self { lake: lake.clone(), schema, idle: Arc::default(), workers }
    }

    /// The objects, decoded, in the order given. `None` stands for one that is gone, that is being written, or whose content
    /// is not the wanted one.
    pub(super) fn read_all(
        &self,
        objects: Vec<Object>,
        want: Want,
    ) -> BoxStream<'static, (Object, Result<Option<Decoded>, CompactError>)> {
        let cores = self.workers.count;
        let reader = self.clone();
        futures::stream::iter(objects)
            .map(move |object| {
                let reader = reader.clone();
                async move {
                    let decoded = reader.read(object.clone(), want).await;
                    (object, decoded)
                }
            })
            .buffered(cores)
            .boxed()
    }

    async fn read(&self, mut object: Object, want: Want) -> Result<Option<Decoded>, CompactError> {
        let path = self.lake.path(&object.key);
        // A manifest from before checksums were kept knows an object by its tag.
        let if_match = object.etag.clone().filter(|_| want == Want::Same && object.crc32.is_none());
        let found = match self.lake.store.get_opts(&path, GetOptions { if_match, ..GetOptions::default() }).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. } | object_store::Error::Precondition { .. }) => {
                if want == Want::Now {
                    warn!(object = object.key, "gone since it was listed");
                }
                return Ok(None);
            }
            Err(source) => return Err(CompactError::object(path, source)),
        };
        if want == Want::Same && found.meta.size != object.size {
            return Ok(None);
        }
        if found.meta.size != object.size {
            info!(object = object.key, listed = object.size, now = found.meta.size, "overwritten since it was listed");
        }
        object.size = found.meta.size;
        object.etag = found.meta.e_tag.clone().filter(|_| object.etag.is_some());
        let reader = self.clone();
        let whole = found.range == (0..object.size);
        match found.payload {
            // Reading a file where it is decoded saves a hand-over and a buffer that is filled twice.
            GetResultPayload::File(file, path) if whole => {
                let written_at = found.meta.last_modified;
                let read = move || match whole_file(file, object.size, written_at) {
                    Ok(Some(bytes)) => reader.decode_wanted(object, bytes.into(), want),
                    Ok(None) => {
                        warn!(object = object.key, "it is being written");
                        Ok(None)
                    }
                    Err(source) => Err(CompactError::Io { path, source }),
                };
                self.workers.run(Stage::Decode, read).await
            }
            _ => {
                let bytes = found.bytes().await.map_err(|e| CompactError::object(&path, e))?;
                self.workers.run(Stage::Decode, move || reader.decode_wanted(object, bytes, want)).await
            }
        }
    }

    fn decode_wanted(&self, object: Object, bytes: Bytes, want: Want) -> Result<Option<Decoded>, CompactError> {
        if want == Want::Same && object.crc32.is_some_and(|sum| sum != libdeflater::crc32(&bytes)) {
            return Ok(None);
        }
        self.decode(object, bytes).map(Some)
    }

    pub(super) fn decode(&self, mut object: Object, bytes: Bytes) -> Result<Decoded, CompactError> {
        object.crc32 = Some(libdeflater::crc32(&bytes));
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().pop();
        let mut decoder = taken.unwrap_or_else(|| Decoder::new(Arc::clone(&self.schema)));
        let (mut chunks, mut bad, mut due_us, mut held) = (Vec::new(), Vec::new(), Vec::new(), 0);
        let report = decoder.decode_object(bytes, &object.key, &mut |chunk| {
            due_us.extend(due(&chunk.batch));
            if chunk.batch.num_rows() > 0 {
                let rows = self.schema.extend(&chunk.batch)?;
                held += rows.get_array_memory_size();
                chunks.push(rows);
            }
            held += chunk.bad.iter().map(|piece| piece.raw.len() + size_of::<BadLine>()).sum::<usize>();
            bad.extend(chunk.bad);
            Ok(())
        })?;
        self.workers.stages.inflated(decoder.take_inflate_us());
        idle().push(decoder);
        if let Some(corrupt) = report.corrupt {
            (chunks, bad, due_us) = (Vec::new(), vec![corrupt], Vec::new());
        }
        Ok(Decoded {
            object,
            chunks,
            bad,
            due_us,
            unknown: report.unknown,
            raw_bytes: report.raw_bytes,
            lines: report.lines,
            bytes: held,
        })
    }
}

/// All of a file; `None` when it was written while it was read.
fn whole_file(mut file: File, size: u64, written_at: DateTime<Utc>) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    file.read_to_end(&mut bytes)?;
    let unchanged = DateTime::<Utc>::from(file.metadata()?.modified()?) == written_at;
    Ok((unchanged && bytes.len() as u64 == size).then_some(bytes))
}

/// When each stamped row of a decoded batch was due.
fn due(batch: &RecordBatch) -> Vec<i64> {
    let column = batch.column_by_name(DUE_FIELD).and_then(|column| column.as_primitive_opt::<Int64Type>());
    column
        .map(|column| (0..column.len()).filter(|row| column.is_valid(*row)).map(|row| column.value(row)).collect())
        .unwrap_or_default()
}

//! A data file on its way to the store.
//!
//! `object_store`'s buffered writer panics when it is aborted after its end has begun, which is what `deltalake` does
//! (and catches) when the end of an upload fails; and of an upload whose last part failed the other parts stay in the
//! bucket, where no vacuum sees them. So the writers work on a store whose uploads do not fail: the first failure is kept,
//! what was uploaded in parts is aborted right there, and [`FileWriter::close`] says what happened.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use deltalake::{
    DeltaTableError,
    datafile::writer::{DeltaWriter, WriterConfig},
    kernel::Add,
};
use futures::{FutureExt, future::ready, stream::BoxStream};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result, UploadPart, path::Path,
};
use parquet::file::properties::WriterProperties;
use tokio::runtime::Handle;
use tracing::warn;

use crate::error::CompactError;

/// What is handed to a store in one piece, at most.
const PIECE_BYTES: usize = 1 << 20;

/// Stands for the answer to a request that failed.
const NO_ANSWER: PutResult = PutResult { e_tag: None, version: None };

/// Writes one or more data files. One that is neither closed nor failed is aborted when it is dropped.
pub(super) struct FileWriter {
    /// Absent once it is closed or failed.
    writer: Option<DeltaWriter>,
    failure: Failure,
    /// The table, for messages.
    url: String,
}

impl FileWriter {
    pub(super) fn new(store: Arc<dyn ObjectStore>, config: WriterConfig, url: &str) -> Self {
        let failure = Failure::default();
        let store = Arc::new(Uploads { inner: store, failure: failure.clone() });
        Self { writer: Some(DeltaWriter::new(store, config)), failure, url: url.to_owned() }
    }

    pub(super) fn with_properties(mut self, properties: WriterProperties) -> Self {
        self.writer = self.writer.take().map(|writer| writer.with_writer_properties(properties));
        self
    }

    /// Takes rows of any partition.
    pub(super) async fn write(&mut self, rows: &RecordBatch) -> std::result::Result<(), CompactError> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let outcome = writer.write(rows).await;
        self.outcome_of(outcome).await
    }

    /// Takes rows in another way that the writer has.
    pub(super) async fn with<W>(&mut self, write: W) -> std::result::Result<(), CompactError>
    where
        W: AsyncFnOnce(&mut DeltaWriter) -> std::result::Result<(), DeltaTableError>,
    {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let outcome = write(writer).await;
        self.outcome_of(outcome).await
    }

    async fn outcome_of(
        &mut self,
        outcome: std::result::Result<(), DeltaTableError>,
    ) -> std::result::Result<(), CompactError> {
        if outcome.is_err()
            && let Some(writer) = self.writer.take()
        {
            abort(writer).await;
        }
        outcome.map_err(|error| self.error(error))
    }

    /// Ends the files and says what to add to the table.
    pub(super) async fn close(mut self) -> std::result::Result<Vec<Add>, CompactError> {
        let Some(writer) = self.writer.take() else { return Ok(Vec::new()) };
        let closed = writer.close().await;
        match self.failure.take() {
            Some((path, source)) => Err(CompactError::object(format!("{}{path}", self.url), source)),
            None => closed.map_err(|error| self.error(error)),
        }
    }

    fn error(&self, error: DeltaTableError) -> CompactError {
        match self.failure.take() {
            Some((path, source)) => CompactError::object(format!("{}{path}", self.url), source),
            None => CompactError::delta(&self.url, error),
        }
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        if let (Some(writer), Ok(runtime)) = (self.writer.take(), Handle::try_current()) {
            runtime.spawn(abort(writer));
        }
    }
}

async fn abort(writer: DeltaWriter) {
    if let Err(error) = writer.abort().await {
        warn!(%error, "an upload could not be aborted; its parts stay until the bucket's lifecycle rule takes them");
    }
}

/// The first upload that failed, and how.
#[derive(Debug, Clone, Default)]
struct Failure(Arc<Mutex<Option<(Path, object_store::Error)>>>);

impl Failure {
    fn keep(&self, path: &Path, error: object_store::Error) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert((path.clone(), error));
    }

    fn is_kept(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn take(&self) -> Option<(Path, object_store::Error)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A store that keeps the first failure of an upload to itself. After it nothing more is uploaded.
#[derive(Debug)]
struct Uploads {
    inner: Arc<dyn ObjectStore>,
    failure: Failure,
}

impl fmt::Display for Uploads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Uploads {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if self.failure.is_kept() {
            return Ok(NO_ANSWER);
        }
        let put = self.inner.put_opts(location, in_pieces(payload), options).await;
        put.or_else(|error| {
            self.failure.keep(location, error);
            Ok(NO_ANSWER)
        })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.inner.put_multipart_opts(location, options).await?;
        Ok(Box::new(Parts { inner, path: location.clone(), failure: self.failure.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// The same bytes in pieces. A store's thread frees what it has written, and megabytes in one piece that another thread
/// made are not given back to the system for long: with files of 13 MB memory grew by as much with every commit.
fn in_pieces(payload: PutPayload) -> PutPayload {
    if payload.iter().all(|part| part.len() <= PIECE_BYTES) {
        return payload;
    }
    payload.iter().flat_map(|part| part.chunks(PIECE_BYTES)).map(Bytes::copy_from_slice).collect()
}

/// An upload in parts that aborts itself at its end when something failed.
#[derive(Debug)]
struct Parts {
    inner: Box<dyn MultipartUpload>,
    path: Path,
    failure: Failure,
}

#[async_trait]
impl MultipartUpload for Parts {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        if self.failure.is_kept() {
            return ready(Ok(())).boxed();
        }
        let (part, path, failure) = (self.inner.put_part(in_pieces(data)), self.path.clone(), self.failure.clone());
        async move {
            if let Err(error) = part.await {
                failure.keep(&path, error);
            }
            Ok(())
        }
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        if !self.failure.is_kept() {
            match self.inner.complete().await {
                Ok(done) => return Ok(done),
                Err(error) => self.failure.keep(&self.path, error),
            }
        }
        if let Err(error) = self.inner.abort().await {
            let path = &self.path;
            warn!(%path, %error, "an upload could not be aborted; its parts stay until the bucket's lifecycle rule takes them");
        }
        Ok(NO_ANSWER)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

//! A store that fails on purpose: one request, or every request from one on, before or after it did its work.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use futures::{FutureExt, StreamExt, stream::BoxStream};
use millrace_compactor::Location;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result, UploadPart, path::Path,
};

/// What goes wrong with the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is refused and does nothing: a 503, a time-out before it arrived, a full disk.
    Refused,
    /// It does its work and its answer is lost. Of a read that is the same as refused.
    AnswerLost,
    /// It and everything after it is refused: the network is gone.
    Gone,
}

/// Another store, with the `at`-th request (from 1) gone wrong.
#[derive(Debug)]
pub(crate) struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    fault: Fault,
    at: u64,
    requests: Arc<AtomicU64>,
}

impl FaultyStore {
    /// The place behind such a store, and the number of requests made so far.
    pub(crate) fn over(place: &Location, fault: Fault, at: u64) -> (Location, Arc<AtomicU64>) {
        let requests = Arc::new(AtomicU64::new(0));
        let store = Self { inner: Arc::clone(&place.store), fault, at, requests: Arc::clone(&requests) };
        (Location { store: Arc::new(store), ..place.clone() }, requests)
    }

    fn next(&self) -> Turn {
        Turn::of(&self.requests, self.fault, self.at)
    }
}

/// What happens to one request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Fine,
    Refused,
    AnswerLost,
}

impl Turn {
    fn of(requests: &AtomicU64, fault: Fault, at: u64) -> Self {
        let number = requests.fetch_add(1, Ordering::Relaxed) + 1;
        match fault {
            Fault::Gone if number >= at => Self::Refused,
            _ if number != at => Self::Fine,
            Fault::AnswerLost => Self::AnswerLost,
            _ => Self::Refused,
        }
    }

    fn before(self) -> Result<()> {
        if self == Self::Refused { Err(failed()) } else { Ok(()) }
    }

    fn after<T>(self, answer: Result<T>) -> Result<T> {
        if self == Self::AnswerLost { answer.and(Err(failed())) } else { answer }
    }
}

fn failed() -> object_store::Error {
    object_store::Error::Generic { store: "faulty", source: "503 Slow Down, on purpose".into() }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyStore({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let turn = self.next();
        turn.before()?;
        turn.after(self.inner.put_opts(location, payload, options).await)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let turn = self.next();
        turn.before()?;
        let inner = turn.after(self.inner.put_multipart_opts(location, options).await)?;
        let (requests, fault, at) = (Arc::clone(&self.requests), self.fault, self.at);
        Ok(Box::new(FaultyUpload { inner, requests, fault, at }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let turn = self.next();
        turn.before()?;
        turn.after(self.inner.get_opts(location, options).await)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.next() {
            Turn::Fine => self.inner.list(prefix),
            _ => futures::stream::once(async { Err(failed()) }).boxed(),
        }
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.next() {
            Turn::Fine => self.inner.list_with_offset(prefix, offset),
            _ => futures::stream::once(async { Err(failed()) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let turn = self.next();
        turn.before()?;
        turn.after(self.inner.list_with_delimiter(prefix).await)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let turn = self.next();
        turn.before()?;
        turn.after(self.inner.copy_opts(from, to, options).await)
    }
}

/// An upload in parts of which a part, or its end, goes wrong.
#[derive(Debug)]
struct FaultyUpload {
    inner: Box<dyn MultipartUpload>,
    requests: Arc<AtomicU64>,
    fault: Fault,
    at: u64,
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let turn = Turn::of(&self.requests, self.fault, self.at);
        if turn == Turn::Refused {
            return async { Err(failed()) }.boxed();
        }
        let part = self.inner.put_part(data);
        async move { turn.after(part.await) }.boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let turn = Turn::of(&self.requests, self.fault, self.at);
        turn.before()?;
        turn.after(self.inner.complete().await)
    }

    async fn abort(&mut self) -> Result<()> {
        let turn = Turn::of(&self.requests, self.fault, self.at);
        turn.before()?;
        turn.after(self.inner.abort().await)
    }
}

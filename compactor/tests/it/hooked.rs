//! A store at whose `at`-th moment (from 1) something else happens: before a read, before a write, or after a write and
//! before its answer.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures::{future::BoxFuture, stream::BoxStream};
use millrace_compactor::Location;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result, path::Path,
};
use tokio::sync::Mutex;

/// What happens meanwhile.
pub(crate) type Meanwhile = BoxFuture<'static, ()>;

pub(crate) struct HookedStore {
    inner: Arc<dyn ObjectStore>,
    /// Moments until then, and what happens.
    left: Mutex<(u64, Option<Meanwhile>)>,
}

impl HookedStore {
    /// The place behind such a store.
    pub(crate) fn over(place: &Location, at: u64, meanwhile: Meanwhile) -> Location {
        let (inner, left) = (Arc::clone(&place.store), Mutex::new((at, Some(meanwhile))));
        Location { store: Arc::new(Self { inner, left }), ..place.clone() }
    }

    async fn next(&self) {
        // Later requests wait until it has happened.
        let mut left = self.left.lock().await;
        left.0 = left.0.saturating_sub(1);
        if left.0 == 0
            && let Some(meanwhile) = left.1.take()
        {
            meanwhile.await;
        }
    }
}

impl fmt::Debug for HookedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HookedStore({})", self.inner)
    }
}

impl fmt::Display for HookedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HookedStore({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for HookedStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.next().await;
        let answer = self.inner.put_opts(location, payload, options).await;
        self.next().await;
        answer
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.next().await;
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.next().await;
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

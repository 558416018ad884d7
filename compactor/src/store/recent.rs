//! Log entries that were written a moment ago, kept in memory: a checkpoint reads back all entries since the last one, most
//! of which the process that makes it has written itself. An entry never changes, so what is remembered of it holds.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, stream, stream::BoxStream};
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, path::Path,
};

use super::Location;

/// Memory for entries. The oldest go first.
const HELD_BYTES: usize = 4 << 20;

/// The place, with its log's latest entries kept in memory as they are written.
pub(crate) fn remembering(place: &Location) -> Location {
    let store = RecentLog { inner: Arc::clone(&place.store), held: Arc::default() };
    Location { store: Arc::new(store), ..place.clone() }
}

#[derive(Debug, Default)]
struct Held {
    entries: HashMap<Path, (Bytes, ObjectMeta)>,
    /// In the order they were written.
    order: VecDeque<Path>,
    bytes: usize,
}

impl Held {
    fn keep(&mut self, meta: ObjectMeta, bytes: Bytes) {
        let path = meta.location.clone();
        self.forget(&path);
        self.bytes += bytes.len();
        self.order.push_back(path.clone());
        self.entries.insert(path, (bytes, meta));
        while self.bytes > HELD_BYTES
            && let Some(oldest) = self.order.pop_front()
        {
            self.forget(&oldest);
        }
    }

    fn forget(&mut self, path: &Path) {
        if let Some((bytes, _)) = self.entries.remove(path) {
            self.bytes -= bytes.len();
            self.order.retain(|kept| kept != path);
        }
    }
}

/// A store that remembers the log entries that are put through it.
#[derive(Debug)]
struct RecentLog {
    inner: Arc<dyn ObjectStore>,
    held: Arc<Mutex<Held>>,
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether this is an entry of a Delta log, and nothing else that lies beside them and is written over.
fn is_entry(path: &Path) -> bool {
    let mut parts = path.parts().rev();
    let name = parts.next();
    let version = name.as_ref().and_then(|name| name.as_ref().strip_suffix(".json"));
    version.is_some_and(|version| version.len() == 20 && version.bytes().all(|byte| byte.is_ascii_digit()))
        && parts.next().is_some_and(|folder| folder.as_ref() == "_delta_log")
}

/// Whether the whole object is asked for, whichever it is.
fn is_plain(options: &GetOptions) -> bool {
    options.if_match.is_none()
        && options.if_none_match.is_none()
        && options.if_modified_since.is_none()
        && options.if_unmodified_since.is_none()
        && options.range.is_none()
        && options.version.is_none()
        && !options.head
}

impl fmt::Display for RecentLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecentLog({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for RecentLog {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if !is_entry(location) {
            return self.inner.put_opts(location, payload, options).await;
        }
        let bytes = Bytes::from(payload.clone());
        lock(&self.held).forget(location);
        let result = self.inner.put_opts(location, payload, options).await?;
        let meta = ObjectMeta {
            location: location.clone(),
            last_modified: chrono::Utc::now(),
            size: bytes.len() as u64,
            e_tag: result.e_tag.clone(),
            version: result.version.clone(),
        };
        lock(&self.held).keep(meta, bytes);
        Ok(result)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let known = is_plain(&options).then(|| lock(&self.held).entries.get(location).cloned()).flatten();
        let Some((bytes, meta)) = known else { return self.inner.get_opts(location, options).await };
        Ok(GetResult {
            range: 0..meta.size,
            payload: GetResultPayload::Stream(stream::once(async move { Ok(bytes) }.boxed()).boxed()),
            meta,
            attributes: object_store::Attributes::default(),
        })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let held = Arc::clone(&self.held);
        self.inner.delete_stream(locations.inspect_ok(move |path| lock(&held).forget(path)).boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        lock(&self.held).forget(to);
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        lock(&self.held).forget(from);
        lock(&self.held).forget(to);
        self.inner.rename_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use object_store::{ObjectStoreExt, PutMode, memory::InMemory};
    use url::Url;

    use super::*;
    use crate::store::counting::CountingStore;

    fn entry(version: u64) -> Path {
        Path::from(format!("t/_delta_log/{version:020}.json"))
    }

    fn place() -> (Arc<dyn ObjectStore>, CountingStore) {
        let store = CountingStore::new(Arc::new(InMemory::new()));
        let url = Url::parse("memory:///t/").unwrap();
        let place = Location { store: Arc::new(store.clone()), url, root: Path::from("t") };
        (remembering(&place).store, store)
    }

    async fn text(store: &dyn ObjectStore, path: &Path) -> Bytes {
        store.get(path).await.unwrap().bytes().await.unwrap()
    }

    #[tokio::test]
    async fn an_entry_that_was_put_is_not_asked_for_and_anything_else_is() {
        let (store, counts) = place();
        store.put(&entry(7), "seven".into()).await.unwrap();
        assert_eq!((text(&store, &entry(7)).await, counts.counts().log.gets), (Bytes::from("seven"), 0));
        assert_eq!((store.head(&entry(7)).await.unwrap().size, counts.counts().log.heads), (5, 1));
        for other in
            ["t/_delta_log/_last_checkpoint", "t/_delta_log/00000000000000000007.checkpoint.parquet", "t/7.json"]
        {
            let (path, before) = (Path::from(other), counts.counts().total().gets);
            store.put(&path, "x".into()).await.unwrap();
            text(&store, &path).await;
            assert_eq!(counts.counts().total().gets, before + 1, "{other}");
        }
        store.delete(&entry(7)).await.unwrap();
        assert!(store.get(&entry(7)).await.is_err());
    }

    #[tokio::test]
    async fn what_was_not_put_here_is_not_remembered() {
        let (store, counts) = place();
        counts.put(&entry(3), "by another".into()).await.unwrap();
        let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        store.put_opts(&entry(3), "ours".into(), create).await.unwrap_err();
        assert_eq!(text(&store, &entry(3)).await, "by another");
    }

    #[tokio::test]
    async fn memory_is_bounded_by_letting_the_oldest_go() {
        let (store, counts) = place();
        for version in 0..10 {
            store.put(&entry(version), vec![b'x'; HELD_BYTES / 4].into()).await.unwrap();
        }
        for version in 0..10 {
            text(&store, &entry(version)).await;
        }
        assert_eq!(counts.counts().log.gets, 6);
    }
}

//! A store that counts what is asked of another one: the only layer that sees log, footer, page and JSON reads alike.
//!
//! Requests are counted as S3 bills them, also in front of a local folder: every range that is really issued is a GET,
//! and a listing is one LIST for each started thousand names. Bytes are counted when they are handed over, not when
//! they are promised. Reads of a Delta log are kept apart from reads of data, so that either can be shown.

use std::{
    fmt,
    ops::{Add, Range},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, stream, stream::BoxStream};
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, OBJECT_STORE_COALESCE_DEFAULT,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    Result, UploadPart, coalesce_ranges, path::Path,
};

/// Names in one answer to a LIST request: S3's limit for ListObjectsV2.
const NAMES_PER_LIST: u64 = 1000;
/// The folder of a Delta table that holds its log.
const LOG_FOLDER: &str = "_delta_log";

/// Requests and bytes of one kind of object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// GET requests, each range on its own.
    pub gets: u64,
    /// HEAD requests.
    pub heads: u64,
    /// LIST requests.
    pub lists: u64,
    /// Requests of S3's PUT class: puts, parts, completions and copies.
    pub puts: u64,
    /// Bytes handed over by GET requests.
    pub bytes: u64,
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            gets: self.gets + other.gets,
            heads: self.heads + other.heads,
            lists: self.lists + other.lists,
            puts: self.puts + other.puts,
            bytes: self.bytes + other.bytes,
        }
    }
}

/// What was asked of a store so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreCounts {
    /// Everything under a `_delta_log` folder.
    pub log: Counts,
    /// Everything else.
    pub data: Counts,
}

impl StoreCounts {
    /// Log and data together.
    #[must_use]
    pub fn total(&self) -> Counts {
        self.log + self.data
    }
}

#[derive(Debug, Default)]
struct Tally {
    gets: AtomicU64,
    heads: AtomicU64,
    lists: AtomicU64,
    puts: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    fn read(&self) -> Counts {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            gets: value(&self.gets),
            heads: value(&self.heads),
            lists: value(&self.lists),
            puts: value(&self.puts),
            bytes: value(&self.bytes),
        }
    }
}

fn increment(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

/// Counts the names of a listing as they pass: a new request starts with each thousand.
fn count_names(
    tally: Arc<Tally>,
    names: BoxStream<'static, Result<ObjectMeta>>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    increment(&tally.lists, 1);
    let mut seen = 0_u64;
    names
        .inspect_ok(move |_| {
            if seen > 0 && seen.is_multiple_of(NAMES_PER_LIST) {
                increment(&tally.lists, 1);
            }
            seen += 1;
        })
        .boxed()
}

/// Another store, with every request counted. Clones share their counts.
#[derive(Debug, Clone)]
pub struct CountingStore {
    inner: Arc<dyn ObjectStore>,
    log: Arc<Tally>,
    data: Arc<Tally>,
}

impl CountingStore {
    /// Counts from zero what is asked of `inner` through this value and its clones.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, log: Arc::default(), data: Arc::default() }
    }

    /// What was asked so far.
    #[must_use]
    pub fn counts(&self) -> StoreCounts {
        StoreCounts { log: self.log.read(), data: self.data.read() }
    }

    fn tally(&self, location: &Path) -> &Arc<Tally> {
        let in_log = location.parts().any(|part| part.as_ref() == LOG_FOLDER);
        if in_log { &self.log } else { &self.data }
    }

    fn tally_of_prefix(&self, prefix: Option<&Path>) -> &Arc<Tally> {
        prefix.map_or(&self.data, |prefix| self.tally(prefix))
    }
}

impl fmt::Display for CountingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CountingStore({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for CountingStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        increment(&self.tally(location).puts, 1);
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let tally = Arc::clone(self.tally(location));
        increment(&tally.puts, 1);
        let inner = self.inner.put_multipart_opts(location, options).await?;
        Ok(Box::new(CountingUpload { inner, tally }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let tally = Arc::clone(self.tally(location));
        increment(if options.head { &tally.heads } else { &tally.gets }, 1);
        let result = self.inner.get_opts(location, options).await?;
        let GetResult { payload, meta, range, attributes } = result;
        let counted = move |bytes: &Bytes| increment(&tally.bytes, bytes.len() as u64);
        let payload = match payload {
            GetResultPayload::Stream(stream) => stream.inspect_ok(counted).boxed(),
            // A local file would be streamed in pieces of 8 KiB, each through a blocking task: read it at once instead,
            // when it is asked for.
            file @ GetResultPayload::File(..) => {
                let file = GetResult {
                    payload: file,
                    meta: meta.clone(),
                    range: range.clone(),
                    attributes: attributes.clone(),
                };
                stream::once(file.bytes()).inspect_ok(counted).boxed()
            }
        };
        Ok(GetResult { payload: GetResultPayload::Stream(payload), meta, range, attributes })
    }

    /// Merges near ranges as the S3 client does, whatever the inner store would do, so that the count and the bytes
    /// of a folder are those of a bucket with the same objects.
    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        coalesce_ranges(ranges, |range| self.get_range(location, range), OBJECT_STORE_COALESCE_DEFAULT).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        count_names(Arc::clone(self.tally_of_prefix(prefix)), self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        count_names(Arc::clone(self.tally_of_prefix(prefix)), self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let lists = &self.tally_of_prefix(prefix).lists;
        increment(lists, 1);
        let found = self.inner.list_with_delimiter(prefix).await?;
        let names = (found.objects.len() + found.common_prefixes.len()) as u64;
        increment(lists, names.saturating_sub(1) / NAMES_PER_LIST);
        Ok(found)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        increment(&self.tally(to).puts, 1);
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        increment(&self.tally(to).puts, 1);
        self.inner.rename_opts(from, to, options).await
    }
}

/// An upload in parts whose requests are counted.
#[derive(Debug)]
struct CountingUpload {
    inner: Box<dyn MultipartUpload>,
    tally: Arc<Tally>,
}

#[async_trait]
impl MultipartUpload for CountingUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        increment(&self.tally.puts, 1);
        self.inner.put_part(data).boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        increment(&self.tally.puts, 1);
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

#[cfg(test)]
mod tests {
    use object_store::{local::LocalFileSystem, memory::InMemory};

    use super::*;

    async fn store_with(objects: &[(&str, usize)]) -> CountingStore {
        let memory = Arc::new(InMemory::new());
        for (name, bytes) in objects {
            memory.put(&Path::from(*name), vec![7_u8; *bytes].into()).await.unwrap();
        }
        CountingStore::new(memory)
    }

    #[tokio::test]
    async fn a_get_counts_its_bytes_only_when_they_are_taken() {
        let store = store_with(&[("a", 1000)]).await;
        let result = store.get(&Path::from("a")).await.unwrap();
        assert_eq!(store.counts().data, Counts { gets: 1, ..Counts::default() });
        assert_eq!(result.bytes().await.unwrap().len(), 1000);
        assert_eq!(store.counts().data, Counts { gets: 1, bytes: 1000, ..Counts::default() });
    }

    #[tokio::test]
    async fn a_range_counts_only_what_it_covers() {
        let store = store_with(&[("a", 1000)]).await;
        store.get_range(&Path::from("a"), 10..110).await.unwrap();
        assert_eq!(store.counts().total(), Counts { gets: 1, bytes: 100, ..Counts::default() });
    }

    #[tokio::test]
    async fn near_ranges_are_one_request_with_the_gap_and_far_ones_are_two() {
        let store = store_with(&[("a", 4 << 20)]).await;
        let near = store.get_ranges(&Path::from("a"), &[0..10, 100..110]).await.unwrap();
        assert_eq!(near.iter().map(Bytes::len).collect::<Vec<_>>(), [10, 10]);
        assert_eq!(store.counts().data, Counts { gets: 1, bytes: 110, ..Counts::default() });
        store.get_ranges(&Path::from("a"), &[0..10, (3 << 20)..(3 << 20) + 5]).await.unwrap();
        assert_eq!(store.counts().data, Counts { gets: 3, bytes: 125, ..Counts::default() });
    }

    #[tokio::test]
    async fn a_folder_is_counted_as_a_bucket_is() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), vec![7_u8; 4 << 20]).unwrap();
        let store = CountingStore::new(Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap()));
        store.get_ranges(&Path::from("a"), &[0..10, 100..110, (3 << 20)..(3 << 20) + 5]).await.unwrap();
        assert_eq!(store.counts().data, Counts { gets: 2, bytes: 115, ..Counts::default() });
        let streamed: Vec<Bytes> =
            store.get(&Path::from("a")).await.unwrap().into_stream().try_collect().await.unwrap();
        assert_eq!(streamed.iter().map(Bytes::len).sum::<usize>(), 4 << 20);
        assert_eq!(store.counts().data.bytes, 115 + (4 << 20));
    }

    #[tokio::test]
    async fn a_head_is_not_a_get_and_reads_nothing() {
        let store = store_with(&[("a", 1000)]).await;
        store.head(&Path::from("a")).await.unwrap();
        assert_eq!(store.counts().total(), Counts { heads: 1, ..Counts::default() });
    }

    #[tokio::test]
    async fn a_request_that_fails_was_still_a_request() {
        let store = store_with(&[]).await;
        store.get(&Path::from("missing")).await.unwrap_err();
        assert_eq!(store.counts().total(), Counts { gets: 1, ..Counts::default() });
    }

    #[tokio::test]
    async fn the_delta_log_is_counted_apart() {
        let store = store_with(&[("t/_delta_log/0.json", 30), ("t/part-0.parquet", 500)]).await;
        store.get(&Path::from("t/_delta_log/0.json")).await.unwrap().bytes().await.unwrap();
        store.get(&Path::from("t/part-0.parquet")).await.unwrap().bytes().await.unwrap();
        store.list(Some(&Path::from("t/_delta_log"))).try_collect::<Vec<_>>().await.unwrap();
        let counts = store.counts();
        assert_eq!(counts.log, Counts { gets: 1, lists: 1, bytes: 30, ..Counts::default() });
        assert_eq!(counts.data, Counts { gets: 1, bytes: 500, ..Counts::default() });
        assert_eq!(counts.total(), Counts { gets: 2, lists: 1, bytes: 530, ..Counts::default() });
    }

    #[tokio::test]
    async fn a_listing_is_one_request_for_each_started_thousand_names() {
        for (names, requests) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (2001, 3)] {
            let objects: Vec<_> = (0..names).map(|i| format!("o{i:05}")).collect();
            let store = store_with(&objects.iter().map(|name| (name.as_str(), 1)).collect::<Vec<_>>()).await;
            store.list(None).try_collect::<Vec<_>>().await.unwrap();
            assert_eq!(store.counts().data.lists, requests, "{names} names streamed");
            store.list_with_delimiter(None).await.unwrap();
            assert_eq!(store.counts().data.lists, 2 * requests, "{names} names at once");
        }
    }

    #[tokio::test]
    async fn writes_are_counted_as_puts() {
        let store = store_with(&[]).await;
        store.put(&Path::from("a"), "x".into()).await.unwrap();
        store.copy(&Path::from("a"), &Path::from("b")).await.unwrap();
        let mut upload = store.put_multipart(&Path::from("c")).await.unwrap();
        upload.put_part("y".into()).await.unwrap();
        upload.complete().await.unwrap();
        assert_eq!(store.counts().total(), Counts { puts: 5, ..Counts::default() });
    }
}

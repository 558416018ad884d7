//! Objects read and decoded, some at a time, in order.
//!
//! Reading and decoding run ahead on the workers, as many groups as there are cores; the order stays that of the keys. A
//! group is one object or some small ones of one folder: handing over work, opening a file and starting a chunk of rows
//! cost as much as reading a small object does.

use std::{
    fs::File,
    io::{ErrorKind, Read},
    sync::{Arc, Mutex, PoisonError},
};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::Int64Type,
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use millrace_scenarios::{NewColumns, stamp::DUE_FIELD};
use object_store::{GetOptions, GetResultPayload, ObjectStore, path::Path};
use tracing::{info, warn};

use super::{
    batch::{Chunk, Decoded},
    config::CompactorConfig,
    manifest::Object,
    stages::Stage,
    workers::Workers,
};
use crate::{
    decode::{BadLine, DecodedChunk, Decoder},
    dedupe::origin,
    error::CompactError,
    schema::TableSchema,
    store::{Location, disk::Disk},
};

/// Objects in a group, ...
const GROUP_OBJECTS: usize = 64;
/// ... of this part of a batch's memory: some ten times that come out of a gzip object.
const GROUP_PART: usize = 128;
/// Objects of a group that are asked for at once where asking takes long.
const REQUESTS: usize = 16;

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
    /// The lake's folder, where it is one.
    disk: Option<Disk>,
    schema: Arc<TableSchema>,
    /// The most that a group holds: objects, and their bytes.
    group: (usize, u64),
    /// Decoders that are not at work; they keep their buffers.
    idle: Arc<Mutex<Vec<Decoder>>>,
    workers: Arc<Workers>,
}

/// What an object is now.
struct Found {
    size: u64,
    etag: Option<String>,
    content: Content,
}

/// An object's bytes, or where they are.
enum Content {
    File(File, DateTime<Utc>),
    Bytes(Bytes),
}

impl Reader {
    pub(super) fn new(
        lake: &Location,
        schema: &Arc<TableSchema>,
        workers: &Arc<Workers>,
        config: &CompactorConfig,
    ) -> Self {
        // A field that becomes a column does so before the object that brings it, so that has to stand alone.
        let objects = match schema.read().new_columns {
            NewColumns::Add => 1,
            _ => GROUP_OBJECTS.min(config.batch_objects),
        };
        let (schema, workers) = (Arc::clone(schema), Arc::clone(workers));
        let group = (objects, (config.batch_bytes / GROUP_PART) as u64);
        Self { lake: lake.clone(), disk: Disk::of(lake), schema, group, idle: Arc::default(), workers }
    }

    /// The objects, decoded, in the order given, which is that of their keys.
    pub(super) fn read_all(
        &self,
        objects: Vec<Object>,
        want: Want,
    ) -> BoxStream<'static, Result<Decoded, CompactError>> {
        let (reader, cores) = (self.clone(), self.workers.count);
        let groups = self.groups(objects);
        let read = move |group| {
            let reader = reader.clone();
            async move { reader.read(group, want).await }
        };
        futures::stream::iter(groups).map(read).buffered(cores).boxed()
    }

    /// Neighbours of one folder, as many as a group takes.
    fn groups(&self, objects: Vec<Object>) -> Vec<Vec<Object>> {
        let (most_objects, most_bytes) = self.group;
        let mut groups: Vec<Vec<Object>> = Vec::new();
        let mut bytes = 0;
        for object in objects {
            let joins = |group: &&mut Vec<Object>| {
                let same_folder = group.last().is_some_and(|last| last.folder() == object.folder());
                same_folder && group.len() < most_objects && bytes + object.size <= most_bytes
            };
            match groups.last_mut().filter(joins) {
                Some(group) => {
                    bytes += object.size;
                    group.push(object);
                }
                None => {
                    bytes = object.size;
                    groups.push(vec![object]);
                }
            }
        }
        groups
    }

    async fn read(&self, group: Vec<Object>, want: Want) -> Result<Decoded, CompactError> {
        let reader = self.clone();
        if let Some(disk) = self.disk.clone() {
            // Opening a file where it is read and decoded saves a hand-over.
            let find = move |path: &Path| open(&disk, path);
            return self.workers.run(Stage::Decode, move || reader.decode_group(group, want, find)).await;
        }
        let find = |object: Object| async move { self.ask(&object, want).await.map(|found| (object, found)) };
        let found: Vec<_> = futures::stream::iter(group).map(find).buffered(REQUESTS).try_collect().await?;
        let (group, found): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        let mut found = found.into_iter();
        let decode = move || reader.decode_group(group, want, |_| Ok(found.next().flatten()));
        self.workers.run(Stage::Decode, decode).await
    }

    /// Asks the store for the object; `None` when it is gone.
    async fn ask(&self, object: &Object, want: Want) -> Result<Option<Found>, CompactError> {
        let path = self.lake.path(&object.key);
        // A manifest from before checksums were kept knows an object by its tag.
        let if_match = object.etag.clone().filter(|_| want == Want::Same && object.crc32.is_none());
        let found = match self.lake.store.get_opts(&path, GetOptions { if_match, ..GetOptions::default() }).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. } | object_store::Error::Precondition { .. }) => return Ok(None),
            Err(source) => return Err(CompactError::object(path, source)),
        };
        let (size, etag) = (found.meta.size, found.meta.e_tag.clone());
        if want == Want::Same && size != object.size {
            return Ok(None);
        }
        let (whole, written_at) = (found.range == (0..size), found.meta.last_modified);
        let content = match found.payload {
            GetResultPayload::File(file, _) if whole => Content::File(file, written_at),
            _ => Content::Bytes(found.bytes().await.map_err(|e| CompactError::object(&path, e))?),
        };
        Ok(Some(Found { size, etag, content }))
    }

    fn decode_group(
        &self,
        group: Vec<Object>,
        want: Want,
        mut find: impl FnMut(&Path) -> Result<Option<Found>, CompactError>,
    ) -> Result<Decoded, CompactError> {
        let mut decoder = self.decoder();
        let mut decoded = Decoded::default();
        for mut object in group {
            let path = self.lake.path(&object.key);
            let found = find(&path)?;
            if found.is_none() && want == Want::Now {
                warn!(object = object.key, "gone since it was listed");
            }
            let bytes = match found {
                Some(found) => wanted(found, &mut object, &path, want)?,
                None => None,
            };
            match bytes {
                Some(bytes) => self.add(&mut decoder, object, bytes, &mut decoded)?,
                None => decoded.gone.push(object),
            }
        }
        self.end(decoder, &mut decoded)?;
        Ok(decoded)
    }

    /// One object by itself.
    pub(super) fn decode(&self, object: Object, bytes: Bytes) -> Result<Decoded, CompactError> {
        let (mut decoder, mut decoded) = (self.decoder(), Decoded::default());
        self.add(&mut decoder, object, bytes, &mut decoded)?;
        self.end(decoder, &mut decoded)?;
        Ok(decoded)
    }

    fn decoder(&self) -> Decoder {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.unwrap_or_else(|| Decoder::new(Arc::clone(&self.schema)))
    }

    /// Adds what the object holds; its last rows may stay in the decoder.
    fn add(
        &self,
        decoder: &mut Decoder,
        mut object: Object,
        bytes: Bytes,
        decoded: &mut Decoded,
    ) -> Result<(), CompactError> {
        object.crc32 = Some(libdeflater::crc32(&bytes));
        decoded.starts.push((decoder.rows_left(), decoded.objects.len()));
        let whole = decoder.decode_whole(&bytes, &object.key, &mut |chunk| self.take(chunk, decoded))?;
        let report = match whole {
            Some(report) => report,
            None => {
                decoder.hand_on(&mut |chunk| self.take(chunk, decoded))?;
                let before = (decoded.chunks.len(), decoded.bad.len(), decoded.due_us.len(), decoded.bytes);
                let report = decoder.decode_parts(bytes, &object.key, &mut |chunk| self.take(chunk, decoded))?;
                if report.corrupt.is_some() {
                    decoded.chunks.truncate(before.0);
                    decoded.bad.truncate(before.1);
                    decoded.due_us.truncate(before.2);
                    decoded.bytes = before.3;
                }
                report
            }
        };
        decoded.bad.extend(report.corrupt);
        for (name, count) in report.unknown {
            *decoded.unknown.entry(name).or_default() += count;
        }
        decoded.raw_bytes += report.raw_bytes;
        decoded.lines += report.lines;
        decoded.objects.push(object);
        Ok(())
    }

    /// Takes what is left in the decoder, which is then free for others.
    fn end(&self, mut decoder: Decoder, decoded: &mut Decoded) -> Result<(), CompactError> {
        decoder.hand_on(&mut |chunk| self.take(chunk, decoded))?;
        self.workers.stages.inflated(decoder.take_inflate_us());
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(decoder);
        Ok(())
    }

    fn take(&self, chunk: DecodedChunk, decoded: &mut Decoded) -> Result<(), CompactError> {
        decoded.due_us.extend(due(&chunk.batch));
        // More of the last object may follow.
        let next = decoded.starts.last().map(|(_, place)| (0, *place));
        let starts = std::mem::replace(&mut decoded.starts, next.into_iter().collect());
        if chunk.batch.num_rows() > 0 {
            let mut rows = self.schema.extend(&chunk.batch)?;
            if self.schema.keeps_origins() {
                rows = origin::with_offsets(&rows, chunk.offsets)?;
            }
            decoded.bytes += rows.get_array_memory_size();
            decoded.chunks.push(Chunk { rows, starts });
        }
        decoded.bytes += chunk.bad.iter().map(|piece| piece.raw.len() + size_of::<BadLine>()).sum::<usize>();
        decoded.bad.extend(chunk.bad);
        Ok(())
    }
}

/// Opens the object on the disk; `None` when it is gone.
fn open(disk: &Disk, path: &Path) -> Result<Option<Found>, CompactError> {
    let Some((file, found)) = disk.open(path).map_err(|e| CompactError::object(path, e))? else { return Ok(None) };
    let written_at = found.modified().map_err(|source| unreadable(path, source))?;
    Ok(Some(Found { size: found.len(), etag: None, content: Content::File(file, written_at.into()) }))
}

fn unreadable(path: &Path, source: std::io::Error) -> CompactError {
    CompactError::Io { path: format!("/{path}").into(), source }
}

/// The object's bytes, and what it is now; `None` when it is being written or is not the wanted one.
fn wanted(found: Found, object: &mut Object, path: &Path, want: Want) -> Result<Option<Bytes>, CompactError> {
    if want == Want::Same && found.size != object.size {
        return Ok(None);
    }
    if found.size != object.size {
        info!(object = object.key, listed = object.size, now = found.size, "overwritten since it was listed");
    }
    object.size = found.size;
    object.etag = found.etag.filter(|_| object.etag.is_some());
    let bytes = match found.content {
        Content::Bytes(bytes) => bytes,
        Content::File(file, written_at) => match whole_file(file, found.size, written_at) {
            Ok(Some(bytes)) => bytes.into(),
            Ok(None) => {
                warn!(object = object.key, "it is being written");
                return Ok(None);
            }
            Err(source) => return Err(unreadable(path, source)),
        },
    };
    let is_other = |sum: u32| want == Want::Same && sum != libdeflater::crc32(&bytes);
    Ok(if object.crc32.is_some_and(is_other) { None } else { Some(bytes) })
}

/// All of a file; `None` when it was written while it was read.
fn whole_file(mut file: File, size: u64, written_at: DateTime<Utc>) -> std::io::Result<Option<Vec<u8>>> {
    // Room for what there should be, and not a byte more: whether there is more is asked below in any case.
    let mut bytes = vec![0; usize::try_from(size).map_err(std::io::Error::other)?];
    match file.read_exact(&mut bytes) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let now = file.metadata()?;
    let unchanged = now.len() == size && DateTime::<Utc>::from(now.modified()?) == written_at;
    Ok(unchanged.then_some(bytes))
}

/// When each stamped row of a decoded batch was due.
fn due(batch: &RecordBatch) -> Vec<i64> {
    let column = batch.column_by_name(DUE_FIELD).and_then(|column| column.as_primitive_opt::<Int64Type>());
    column
        .map(|column| (0..column.len()).filter(|row| column.is_valid(*row)).map(|row| column.value(row)).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};
    use millrace_scenarios::{ColumnType, Reading, Table};

    use super::*;
    use crate::{clock::Clock, store};

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    /// A lake of these objects, and a reader with the given limits of a batch.
    async fn lake(objects: &[(&str, Vec<u8>)], limits: (usize, usize)) -> (tempfile::TempDir, Reader, Vec<Object>) {
        let home = tempfile::tempdir().unwrap();
        let mut listed = Vec::new();
        for (key, bytes) in objects {
            let path = home.path().join("lake").join(key);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
            listed.push(Object { key: (*key).to_owned(), size: bytes.len() as u64, etag: None, crc32: None });
        }
        let place = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
        let lake = store::open(&place("lake"), true).await.unwrap();
        let table = store::open(&place("table"), true).await.unwrap();
        let columns = [("i".to_owned(), ColumnType::Integer)].into_iter().collect();
        let read = Reading { new_columns: NewColumns::Ignore, ..Reading::default() };
        let spec = Table { columns, read, ..Table::default() };
        let schema = Arc::new(TableSchema::declared(&spec).unwrap().unwrap());
        let mut config = CompactorConfig::new(lake.clone(), table, spec, Clock::system());
        (config.batch_objects, config.batch_bytes) = limits;
        let reader = Reader::new(&lake, &schema, &Arc::new(Workers::start().unwrap()), &config);
        (home, reader, listed)
    }

    fn numbers(decoded: &Decoded) -> Vec<i64> {
        let column = |chunk: &Chunk| chunk.rows.column(0).as_primitive::<Int64Type>().values().to_vec();
        decoded.chunks.iter().flat_map(column).collect()
    }

    /// The object of each row.
    fn objects_of(decoded: &Decoded) -> Vec<&str> {
        let of_chunk = |chunk: &'_ Chunk| {
            let ends = chunk.starts.iter().skip(1).map(|(first, _)| *first).chain([chunk.rows.num_rows()]);
            let stretches = chunk.starts.iter().zip(ends).map(|((first, place), end)| (*place, end - first));
            stretches.collect::<Vec<_>>()
        };
        let stretches = decoded.chunks.iter().flat_map(of_chunk);
        stretches.flat_map(|(place, rows)| vec![decoded.objects[place].key.as_str(); rows]).collect()
    }

    #[tokio::test]
    async fn a_group_is_of_one_folder_and_within_its_limits() {
        let objects = ["a/1", "a/2", "a/3", "b/1", "b/c/1", "b/c/2", "d"].map(|key| (key, b"0123456789".to_vec()));
        let groups = async |limits| -> Vec<String> {
            let (_home, reader, listed) = lake(&objects, limits).await;
            let keys = |group: &Vec<Object>| group.iter().map(|o| o.key.clone()).collect::<Vec<_>>().join(" ");
            reader.groups(listed).iter().map(keys).collect()
        };
        assert_eq!(groups((1_000, 1 << 20)).await, ["a/1 a/2 a/3", "b/1", "b/c/1 b/c/2", "d"]);
        let pairs = ["a/1 a/2", "a/3", "b/1", "b/c/1 b/c/2", "d"];
        assert_eq!(groups((2, 1 << 20)).await, pairs);
        assert_eq!(groups((1_000, 25 * GROUP_PART)).await, pairs, "two of ten bytes fit into twenty-five");
    }

    #[tokio::test]
    async fn small_objects_share_a_chunk_and_keep_their_own_bad_pieces_and_order() {
        let mut damaged = gzip("{\"i\":70}\n{\"i\":71}\n");
        let end = damaged.len();
        damaged[end - 6] ^= 1;
        let cut = gzip("{\"i\":80}\n{\"i\":81}\n");
        let objects = [
            ("f/1.gz", gzip("{\"i\":1}\n{\"i\":2}\n")),
            ("f/2.gz", gzip("oops\n{\"i\":3,\"x\":1}\n")),
            ("f/3.gz", damaged),
            ("f/4.gz", gzip("{\"i\":4}")),
            ("f/5.json", b"{\"i\":5}{\"i\":6}".to_vec()),
            ("f/6.gz", cut[..cut.len() - 8].to_vec()),
            ("f/7.gz", gzip("{\"i\":\"x\"}\n{\"i\":9}\n")),
        ];
        let (home, reader, mut listed) = lake(&objects, (1_000, 1 << 20)).await;
        listed.insert(4, Object { key: "f/4x.gz".to_owned(), size: 3, etag: None, crc32: None });
        let all: Vec<_> = reader.read_all(listed.clone(), Want::Now).try_collect().await.unwrap();
        let [decoded] = &all[..] else { panic!("{} groups", all.len()) };
        assert_eq!(decoded.gone, [listed.remove(4)]);
        let keys = |objects: &[Object]| objects.iter().map(|object| object.key.clone()).collect::<Vec<_>>();
        assert_eq!(keys(&decoded.objects), keys(&listed));
        for (object, (_, bytes)) in decoded.objects.iter().zip(&objects) {
            assert_eq!(object.crc32, Some(libdeflater::crc32(bytes)), "{}", object.key);
        }
        let bad: Vec<_> = decoded.bad.iter().map(|b| (b.object.as_str(), b.reason.name(), b.line)).collect();
        let want = [
            ("f/2.gz", "not_json", 1),
            ("f/3.gz", "corrupt_gzip", 1),
            ("f/6.gz", "truncated_gzip", 3),
            ("f/7.gz", "wrong_type", 1),
        ];
        assert_eq!(bad, want);
        // One by one they are the same rows.
        let (mut rows, mut objects_of_rows) = (Vec::new(), Vec::new());
        for object in &listed {
            let bytes = std::fs::read(home.path().join("lake").join(&object.key)).unwrap();
            let found = numbers(&reader.decode(object.clone(), bytes.into()).unwrap());
            objects_of_rows.extend(vec![object.key.as_str(); found.len()]);
            rows.extend(found);
        }
        assert_eq!(numbers(decoded), rows);
        assert_eq!(objects_of(decoded), objects_of_rows);
        assert_eq!(&rows[..6], [1, 2, 3, 4, 5, 6]);
        assert_eq!(rows.last(), Some(&9));
        assert_eq!(decoded.lines, (rows.len() + bad.len()) as u64);
        assert_eq!(decoded.unknown["x"], 1);
        assert_eq!(decoded.chunks[0].rows.num_rows(), 3, "what comes before the damaged object is one chunk");
    }
}

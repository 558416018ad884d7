//! Key sidecars: beside the data files of a commit, one object that says which keys they hold, so that a commit whose keys
//! are all new reads no data file to find that out.
//!
//! A data file names its sidecar, and its place in there, by a tag in the log. A sidecar never changes. One that is gone,
//! damaged, or of another kind of key costs time only: the file is read as one that never had any.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io::Read,
    sync::{Arc, Mutex, PoisonError},
};

use deltalake::kernel::{Add, LogicalFileView};
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStoreExt, path::Path};
use serde::{Deserialize, Serialize};
use tracing::warn;
use uuid::Uuid;

use super::seal::{body, sealed, unsealed};
use crate::{
    dedupe::KeyHash,
    error::CompactError,
    store::{Location, disk::Disk},
};

mod fingerprints;

use fingerprints::Fingerprints;

/// On a data file: the sidecar and the number of the file's keys in it.
const TAG: &str = "millrace.keys";
/// Where sidecars are, under the table.
const FOLDER: &str = "_millrace/keys";
/// Version of a sidecar's shape, in which the fingerprints are part.
const FORMAT: u32 = 1;
/// Memory for sidecars that were read or written; what does not fit is read again each time it is asked.
const HELD_BYTES: usize = 32 << 20;
/// Sidecars read at a time: enough to hide a store's delay, few enough to be held.
const READ_AT_ONCE: usize = 4;

/// Data files of one partition, and the keys in them.
#[derive(Debug, Default)]
pub(super) struct Keyed {
    pub(super) added: Vec<Add>,
    /// The hashes of their keys; `None` where no one asks for them.
    pub(super) hashes: Option<Vec<u64>>,
}

/// A file's place in a sidecar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    sidecar: Uuid,
    number: usize,
}

impl Reference {
    /// What a file's tags say.
    pub(super) fn of(tags: &HashMap<String, Option<String>>) -> Option<Self> {
        let (sidecar, number) = tags.get(TAG)?.as_deref()?.split_once('/')?;
        Some(Self { sidecar: Uuid::parse_str(sidecar).ok()?, number: number.parse().ok()? })
    }

    /// What the tags of a file of the table say.
    pub(super) fn of_file(view: &LogicalFileView) -> Option<Self> {
        #[expect(deprecated, reason = "the one way to a file's tags")]
        view.add_action().tags.as_ref().and_then(Self::of)
    }

    /// The sidecar's path under the table.
    pub(super) fn key(&self) -> String {
        key(self.sidecar)
    }
}

fn key(sidecar: Uuid) -> String {
    format!("{FOLDER}/{sidecar}.bin")
}

/// Whether the path, under the table, is that of a sidecar.
pub(super) fn is_sidecar(path: &Path) -> bool {
    path.prefix_matches(&Path::from(FOLDER))
}

/// What stands before the fingerprints.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: u32,
    /// What was hashed and how.
    kind: String,
    /// The keys in each of the sets that follow.
    keys: Vec<usize>,
}

/// What a sidecar says. Empty where there is none to be read.
type Sets = Arc<Vec<Fingerprints>>;

/// A table's sidecars.
pub(super) struct Sidecars {
    table: Location,
    /// The table's folder, where it is one.
    disk: Option<Disk>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    sets: HashMap<Uuid, Sets>,
    bytes: usize,
    /// Those that were found to be whole: they never change, and a commit may ask for hundreds.
    whole: HashSet<Uuid>,
    /// What files are read into. Megabytes that one thread gives another to free are not given back for long.
    spare: Vec<u8>,
}

fn bytes_of(sets: &[Fingerprints]) -> usize {
    sets.iter().map(Fingerprints::bytes).sum()
}

impl Held {
    fn keep(&mut self, sidecar: Uuid, sets: &Sets) {
        let bytes = bytes_of(sets);
        if self.bytes + bytes <= HELD_BYTES && self.sets.insert(sidecar, Arc::clone(sets)).is_none() {
            self.bytes += bytes;
        }
    }

    /// Forgets what no file of the table names any more.
    fn retain(&mut self, live: &HashSet<Uuid>) {
        self.sets.retain(|sidecar, _| live.contains(sidecar));
        self.bytes = self.sets.values().map(|sets| bytes_of(sets)).sum();
        self.whole.retain(|sidecar| live.contains(sidecar));
    }
}

impl Sidecars {
    pub(super) fn new(table: &Location) -> Self {
        Self { table: table.clone(), disk: Disk::of(table), held: Mutex::default() }
    }

    /// The table that they are of.
    pub(super) const fn table(&self) -> &Location {
        &self.table
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes one sidecar for these files and tags them with it; returns the files, and the sidecar where there is one.
    pub(super) async fn write(
        &self,
        hash: Option<&KeyHash>,
        files: Vec<Keyed>,
    ) -> Result<(Vec<Add>, Option<Path>), CompactError> {
        let sidecar = Uuid::new_v4();
        let (mut added, mut sets) = (Vec::new(), Vec::new());
        for Keyed { added: mut of_set, hashes } in files {
            if let Some(set) = hashes.as_deref().and_then(Fingerprints::of) {
                let place = format!("{sidecar}/{}", sets.len());
                of_set.iter_mut().for_each(|add| {
                    add.tags.get_or_insert_default().insert(TAG.to_owned(), Some(place.clone()));
                });
                sets.push(set);
            }
            added.extend(of_set);
        }
        let (Some(hash), false) = (hash, sets.is_empty()) else { return Ok((added, None)) };
        let path = self.table.path(&key(sidecar));
        let body = encode(hash.kind(), &sets)
            .map_err(|e| CompactError::Manifest { path: path.to_string(), reason: e.to_string() })?;
        self.table.store.put(&path, body.into()).await.map_err(|e| CompactError::object(&path, e))?;
        self.held().keep(sidecar, &Arc::new(sets));
        Ok((added, Some(path)))
    }

    /// Forgets sidecars that none of these files names.
    pub(super) fn retain<'a>(&self, references: impl Iterator<Item = &'a Reference>) {
        let live = references.map(|reference| reference.sidecar).collect();
        self.held().retain(&live);
    }

    /// Which of the files may hold a key with one of the hashes, which are sorted; one without a sidecar may. What is
    /// left out certainly holds none.
    pub(super) async fn may_hold_any(
        &self,
        files: &[Option<&Reference>],
        hash: &KeyHash,
        sorted: &[u64],
    ) -> Result<Vec<bool>, CompactError> {
        let mut of_sidecar: BTreeMap<Uuid, Vec<(usize, usize)>> = BTreeMap::new();
        for (file, reference) in files.iter().enumerate() {
            if let Some(Reference { sidecar, number }) = reference {
                of_sidecar.entry(*sidecar).or_default().push((file, *number));
            }
        }
        let asked = of_sidecar.into_iter().map(|(sidecar, files)| async move {
            let sets = self.sets(sidecar, hash).await?;
            let may = |number: usize| sets.get(number).is_none_or(|set: &Fingerprints| set.may_hold_any(sorted));
            let may_not = files.into_iter().filter(|(_, number)| !may(*number)).map(|(file, _)| file);
            Ok::<Vec<usize>, CompactError>(may_not.collect())
        });
        let mut may = vec![true; files.len()];
        let mut answers = futures::stream::iter(asked).buffered(READ_AT_ONCE);
        while let Some(may_not) = answers.try_next().await? {
            may_not.into_iter().for_each(|file| may[file] = false);
        }
        Ok(may)
    }

    async fn sets(&self, sidecar: Uuid, hash: &KeyHash) -> Result<Sets, CompactError> {
        if let Some(sets) = self.held().sets.get(&sidecar) {
            return Ok(Arc::clone(sets));
        }
        let path = self.table.path(&key(sidecar));
        let is_whole = self.held().whole.contains(&sidecar);
        let read = match &self.disk {
            Some(disk) => self.read_here(disk, &path, |bytes| decode(hash.kind(), bytes, is_whole))?,
            None => match self.table.store.get(&path).await {
                Ok(found) => {
                    let bytes = found.bytes().await.map_err(|e| CompactError::object(&path, e))?;
                    decode(hash.kind(), &bytes, is_whole)
                }
                Err(object_store::Error::NotFound { .. }) => None,
                Err(source) => return Err(CompactError::object(path, source)),
            },
        };
        if read.is_some() {
            self.held().whole.insert(sidecar);
        } else {
            warn!(%path, "no keys can be read from it; the data files that name it are read instead");
        }
        let sets = Arc::new(read.unwrap_or_default());
        self.held().keep(sidecar, &sets);
        Ok(sets)
    }

    /// What `decode` makes of a file of the table; `None` where there is none.
    fn read_here<T>(
        &self,
        disk: &Disk,
        path: &Path,
        decode: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, CompactError> {
        let mut bytes = std::mem::take(&mut self.held().spare);
        bytes.clear();
        let decoded = read_into(disk, path, &mut bytes)?.then(|| decode(&bytes)).flatten();
        self.held().spare = bytes;
        Ok(decoded)
    }
}

/// Reads a file by this thread.
fn read_into(disk: &Disk, path: &Path, bytes: &mut Vec<u8>) -> Result<bool, CompactError> {
    let opened = disk.open(path).map_err(|e| CompactError::object(path, e))?;
    let Some((mut file, _)) = opened else { return Ok(false) };
    let read = file.read_to_end(bytes);
    read.map(|_| true).map_err(|source| CompactError::Io { path: format!("/{path}").into(), source })
}

fn encode(kind: &str, sets: &[Fingerprints]) -> Result<Vec<u8>, serde_json::Error> {
    let keys = sets.iter().map(Fingerprints::keys).collect();
    let mut body = serde_json::to_vec(&Header { format: FORMAT, kind: kind.to_owned(), keys })?;
    body.reserve(1 + bytes_of(sets));
    body.push(b'\n');
    sets.iter().for_each(|set| set.write(&mut body));
    Ok(sealed(&body))
}

/// What a sidecar says about keys of this kind. One that was found to be whole is not looked at again for that.
fn decode(kind: &str, bytes: &[u8], is_whole: bool) -> Option<Vec<Fingerprints>> {
    let body = if is_whole { body(bytes) } else { unsealed(bytes) }?;
    let line = body.iter().position(|byte| *byte == b'\n')?;
    let (header, mut rest) = (&body[..line], &body[line + 1..]);
    let header: Header = serde_json::from_slice(header).ok()?;
    if header.format != FORMAT || header.kind != kind {
        return None;
    }
    let mut sets = Vec::with_capacity(header.keys.len());
    for keys in header.keys {
        let (set, later) = Fingerprints::read(keys, rest)?;
        sets.push(set);
        rest = later;
    }
    rest.is_empty().then_some(sets)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn hash_of(column: &str) -> KeyHash {
        let table = Schema::new(vec![Field::new(column, DataType::Int64, true)]);
        KeyHash::new(&[column.to_owned()], &table).unwrap().unwrap()
    }

    /// Small numbers are no hashes: it is the leading bits that tell those apart.
    const fn key(number: u64) -> u64 {
        number << 50
    }

    fn file(keys: &[u64]) -> Keyed {
        let add = Add { path: "x".to_owned(), ..Add::default() };
        Keyed { added: vec![add], hashes: Some(keys.iter().copied().map(key).collect()) }
    }

    async fn written(home: &std::path::Path, files: Vec<Keyed>) -> (Location, Vec<Reference>, Path) {
        let table = crate::store::open(home.to_str().unwrap(), true).await.unwrap();
        let (added, path) = Sidecars::new(&table).write(Some(&hash_of("id")), files).await.unwrap();
        let references = added.iter().map(|add| Reference::of(add.tags.as_ref().unwrap()).unwrap()).collect();
        (table, references, path.unwrap())
    }

    /// Whether each of the files may hold the key.
    async fn asked(sidecars: &Sidecars, files: &[Reference], column: &str, number: u64) -> Vec<bool> {
        let files: Vec<_> = files.iter().map(Some).collect();
        sidecars.may_hold_any(&files, &hash_of(column), &[key(number)]).await.unwrap()
    }

    #[tokio::test]
    async fn one_object_tells_the_keys_of_every_file_apart() {
        let home = tempfile::tempdir().unwrap();
        let (table, files, path) = written(home.path(), vec![file(&[1, 3]), file(&[]), file(&[7])]).await;
        assert_eq!(files.iter().map(Reference::key).collect::<HashSet<_>>().len(), 1);
        assert!(is_sidecar(&Path::from(files[0].key())) && path.to_string().ends_with(&files[0].key()));
        let sidecars = Sidecars::new(&table);
        assert_eq!(asked(&sidecars, &files, "id", 3).await, [true, false, false]);
        assert_eq!(asked(&sidecars, &files, "id", 7).await, [false, false, true]);
        assert_eq!(asked(&sidecars, &files, "id", 9).await, [false; 3]);
        let beyond = Reference { number: 3, ..files[0].clone() };
        assert_eq!(asked(&sidecars, &[beyond], "id", 9).await, [true]);
        let mixed = sidecars.may_hold_any(&[None, Some(&files[0])], &hash_of("id"), &[key(9)]).await.unwrap();
        assert_eq!(mixed, [true, false], "a file without a sidecar");
    }

    #[tokio::test]
    async fn a_sidecar_that_is_damaged_gone_or_of_other_keys_rules_nothing_out() {
        let home = tempfile::tempdir().unwrap();
        let (table, files, path) = written(home.path(), vec![file(&[1, 2])]).await;
        let anew = || Sidecars::new(&table);
        assert_eq!(asked(&anew(), &files, "id", 5).await, [false]);
        assert_eq!(asked(&anew(), &files, "other", 5).await, [true]);
        let on_disk = table.file(&path).unwrap();
        let whole = std::fs::read(&on_disk).unwrap();
        std::fs::write(&on_disk, &whole[..whole.len() - 4]).unwrap();
        assert_eq!(asked(&anew(), &files, "id", 5).await, [true]);
        std::fs::remove_file(&on_disk).unwrap();
        assert_eq!(asked(&anew(), &files, "id", 5).await, [true]);
    }

    #[test]
    fn what_is_held_is_bounded_and_makes_room_for_what_is_live() {
        let mut held = Held::default();
        let large: Vec<u64> = (0..2_000_000_u64).map(|k| k.wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect();
        let large = Arc::new(vec![Fingerprints::of(&large).unwrap()]);
        let names: Vec<Uuid> = (0..8).map(|_| Uuid::new_v4()).collect();
        names.iter().for_each(|name| held.keep(*name, &large));
        assert_eq!(held.sets.len(), HELD_BYTES / bytes_of(&large));
        assert!(held.bytes <= HELD_BYTES);
        held.retain(&HashSet::from([names[0]]));
        held.keep(names[7], &large);
        assert_eq!((held.sets.len(), held.bytes), (2, 2 * bytes_of(&large)));
    }
}

//! A folder of many small objects, listed and opened without detours. A store that fits every place asks the disk four times
//! about each file it lists and makes a URL of each name it opens; for small objects that is a third of all the work.

use std::{
    fs::{self, File, Metadata, ReadDir},
    io::{self, ErrorKind},
    path::{Path as FilePath, PathBuf},
    sync::Arc,
};

use futures::{Stream, StreamExt, TryStreamExt, stream, stream::BoxStream};
use object_store::{ObjectMeta, ObjectStore, path::Path};

use super::Location;

/// Files listed at a time.
const LISTED: usize = 1_024;
/// What the store calls itself.
const STORE: &str = "LocalFileSystem";

/// A lake's folder.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    place: Location,
    folder: Arc<FilePath>,
}

/// What a folder holds.
#[derive(Debug)]
enum Entry {
    Object(ObjectMeta),
    /// A folder somewhere else, which the store knows how to follow.
    Linked(Path),
}

impl Disk {
    /// The folder of a place whose store is the disk and nothing around it.
    pub(crate) fn of(place: &Location) -> Option<Self> {
        let is_plain = place.url.scheme() == "file" && place.store.to_string().starts_with(STORE);
        let folder = is_plain.then(|| place.file(&place.root)).flatten()?;
        Some(Self { folder: folder.into(), place: place.clone() })
    }

    /// Opens an object of the place; `None` when it is not there.
    ///
    /// # Errors
    /// That of the store.
    pub(crate) fn open(&self, path: &Path) -> object_store::Result<Option<(File, Metadata)>> {
        // The store begins at the disk's root, and its names are the disk's.
        let opened = File::open(format!("/{path}")).and_then(|file| file.metadata().map(|found| (file, found)));
        match opened {
            Ok((file, found)) => Ok(found.is_file().then_some((file, found))),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(generic(error)),
        }
    }

    /// Every object, as the store would list it but without entity tags, which on a disk say nothing of the content.
    pub(crate) fn list(&self) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let walk = Walk { open: Vec::new(), first: Some((self.folder.to_path_buf(), self.place.root.clone())) };
        let parts = stream::try_unfold(walk, |mut walk| async move {
            let walked = tokio::task::spawn_blocking(move || {
                let entries: Vec<_> = walk.by_ref().take(LISTED).collect();
                (entries, walk)
            });
            let (entries, walk) = walked.await.map_err(|e| generic(io::Error::other(e)))?;
            Ok::<_, object_store::Error>((!entries.is_empty()).then_some((entries, walk)))
        });
        let store = Arc::clone(&self.place.store);
        parts.map_ok(move |entries| told(entries, &store)).try_flatten().boxed()
    }
}

/// The objects among these entries, and those of folders somewhere else.
fn told(
    entries: Vec<object_store::Result<Entry>>,
    store: &Arc<dyn ObjectStore>,
) -> impl Stream<Item = object_store::Result<ObjectMeta>> + use<> {
    let (mut objects, mut linked) = (Vec::with_capacity(entries.len()), Vec::new());
    for entry in entries {
        match entry {
            Ok(Entry::Object(object)) => objects.push(Ok(object)),
            Ok(Entry::Linked(folder)) => linked.push(store.list(Some(&folder))),
            Err(error) => objects.push(Err(error)),
        }
    }
    stream::iter(objects).chain(stream::iter(linked).flatten())
}

fn generic(source: io::Error) -> object_store::Error {
    object_store::Error::Generic { store: STORE, source: Box::new(source) }
}

/// Goes through a folder and the ones in it.
struct Walk {
    /// The folders on the way, each with its name in the store.
    open: Vec<(ReadDir, Path)>,
    first: Option<(PathBuf, Path)>,
}

impl Iterator for Walk {
    type Item = object_store::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some((folder, name)) = self.first.take()
            && let Err(error) = self.enter(&folder, name)
        {
            return Some(Err(generic(error)));
        }
        loop {
            let (folder, name) = self.open.last_mut()?;
            let Some(entry) = folder.next() else {
                self.open.pop();
                continue;
            };
            let name = name.clone();
            match entry.map_err(generic).and_then(|entry| self.entry(&entry, &name)) {
                Ok(None) => {}
                Ok(Some(entry)) => return Some(Ok(entry)),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Walk {
    /// Goes into a folder, unless it went away.
    fn enter(&mut self, folder: &FilePath, name: Path) -> io::Result<()> {
        match fs::read_dir(folder) {
            Ok(entries) => self.open.push((entries, name)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn entry(&mut self, entry: &fs::DirEntry, folder: &Path) -> object_store::Result<Option<Entry>> {
        let kind = entry.file_type().map_err(generic)?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            let reason = format!("the name {} is no UTF-8", entry.path().display());
            return Err(generic(io::Error::new(ErrorKind::InvalidData, reason)));
        };
        let location = Path::parse(format!("{folder}/{name}"))?;
        if kind.is_dir() {
            return self.enter(&entry.path(), location).map(|()| None).map_err(generic);
        }
        // Where a link leads decides what it is; one that leads nowhere, like a file that went away, is nothing.
        let found = if kind.is_symlink() { fs::metadata(entry.path()) } else { entry.metadata() };
        let Ok(found) = found else { return Ok(None) };
        if found.is_dir() {
            return Ok(Some(Entry::Linked(location)));
        }
        if !found.is_file() || is_staged(name) {
            return Ok(None);
        }
        object(location, &found).map(|object| Some(Entry::Object(object))).map_err(generic)
    }
}

fn object(location: Path, found: &Metadata) -> io::Result<ObjectMeta> {
    let last_modified = found.modified()?.into();
    Ok(ObjectMeta { location, last_modified, size: found.len(), e_tag: None, version: None })
}

/// Whether a file is one that the store is still writing: it ends with a hash and a number.
fn is_staged(name: &str) -> bool {
    let number = name.split_once('#').map(|(_, number)| number);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::store;

    #[tokio::test]
    async fn it_lists_what_the_store_lists() {
        let home = tempfile::tempdir().unwrap();
        let lake = home.path().join("a lake/é");
        let names = [
            "top.gz",
            "location=S%C3%A3o Paulo/year=2025/x#y.gz",
            "location=São Paulo/100%.json",
            "deep/er/and/deeper/one",
            "deep/.hidden",
            "deep/staged#17",
            "deep/none#",
        ];
        for name in names {
            let path = lake.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        fs::create_dir(lake.join("empty")).unwrap();
        let outside = home.path().join("outside");
        fs::create_dir_all(outside.join("below")).unwrap();
        fs::write(outside.join("below/linked"), "linked").unwrap();
        symlink(&outside, lake.join("link")).unwrap();
        symlink(outside.join("below/linked"), lake.join("file-link")).unwrap();
        symlink(outside.join("nothing"), lake.join("broken")).unwrap();
        for many in 0..LISTED + 10 {
            fs::write(lake.join(format!("deep/{many}")), "").unwrap();
        }

        let place = store::open(lake.to_str().unwrap(), false).await.unwrap();
        let disk = Disk::of(&place).unwrap();
        let plain = |object: ObjectMeta| (object.location, object.size, object.last_modified);
        let mut want: Vec<_> = place.store.list(Some(&place.root)).map_ok(plain).try_collect().await.unwrap();
        let mut got: Vec<_> = disk.list().map_ok(plain).try_collect().await.unwrap();
        want.sort();
        got.sort();
        assert_eq!(got, want);
        assert_eq!(got.len(), names.len() - 1 + 2 + LISTED + 10, "all but the staged one, and two by links");
        for object in got {
            let (_, found) = disk.open(&object.0).unwrap().unwrap();
            assert_eq!((found.len(), found.modified().unwrap().into()), (object.1, object.2));
        }
        for nothing in ["gone", "top.gz/below", "deep"] {
            assert!(disk.open(&place.path(nothing)).unwrap().is_none(), "{nothing}");
        }
    }

    #[tokio::test]
    async fn a_folder_that_is_gone_is_empty_and_a_store_with_something_around_it_is_no_disk() {
        let home = tempfile::tempdir().unwrap();
        let mut place = store::open(home.path().join("lake").to_str().unwrap(), true).await.unwrap();
        let disk = Disk::of(&place).unwrap();
        fs::remove_dir(home.path().join("lake")).unwrap();
        assert_eq!(disk.list().count().await, 0);
        place.store = place.prefixed();
        assert!(Disk::of(&place).is_none());
    }
}

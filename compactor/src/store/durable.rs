//! Getting local files onto the disk. `object_store` 0.13 leaves them in the page cache, so a power cut after a commit
//! could lose the data a durable log entry names; what is committed is synced here first. On S3 there is nothing to do:
//! a put that was answered is durable.

use std::{
    collections::BTreeSet,
    fs::File,
    path::{Path as FsPath, PathBuf},
};

use object_store::path::Path;

use super::Location;
use crate::error::CompactError;

/// Syncs the files at `paths` (paths of the store) and every folder from them up to the place itself.
///
/// # Errors
/// [`CompactError::Io`] with the file or folder that the disk refused.
pub async fn sync(place: &Location, paths: Vec<Path>) -> Result<(), CompactError> {
    let Some(root) = place.file(&place.root) else { return Ok(()) };
    let files: Vec<PathBuf> = paths.iter().filter_map(|path| place.file(path)).collect();
    tokio::task::spawn_blocking(move || sync_files(&root, &files))
        .await
        .map_err(|e| CompactError::Worker(e.to_string()))?
}

fn sync_files(root: &FsPath, files: &[PathBuf]) -> Result<(), CompactError> {
    let mut folders = BTreeSet::new();
    for file in files {
        sync_one(file)?;
        folders.extend(file.ancestors().skip(1).take_while(|folder| folder.starts_with(root)));
    }
    folders.into_iter().rev().try_for_each(sync_one)?;
    root.parent().map_or(Ok(()), sync_one)
}

fn sync_one(path: &FsPath) -> Result<(), CompactError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|source| CompactError::Io { path: path.to_owned(), source })
}

//! A table as plain Parquet: the rows of one version in Hive-style folders, for readers that know nothing of Delta.
//!
//! The compactor itself writes no such folders. Without a log there is no one moment at which files of a commit appear
//! and those that they replace go, so a reader would meet rows twice or not at all. A version of the table is exact; what
//! is exported is one version, and it appears as a whole: on a disk the folder gets its name last, on S3 `_SUCCESS` comes
//! last. Every file has all columns, also those that the table got later.

use std::{
    collections::BTreeMap,
    path::{Path as FsPath, PathBuf},
    sync::Arc,
};

use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt};
use serde_json::json;
use uuid::Uuid;

use super::{
    apply::rows_of,
    existing::TableReader,
    live::{DataFile, Live},
    table::Table,
    write::TableWriter,
};
use crate::{
    error::CompactError,
    store::{self, Location, durable},
};

/// Put last, and read by no one who looks for rows: which version it is.
const SUCCESS: &str = "_SUCCESS";

/// What was exported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exported {
    /// The table's version.
    pub version: u64,
    /// Files written.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their rows.
    pub rows: u64,
}

/// Writes the newest version of the table to `to`, where nothing may be yet.
///
/// # Errors
/// [`CompactError::ExportThere`]; otherwise as for any use of the stores.
pub async fn export(place: &Location, to: &str) -> Result<Exported, CompactError> {
    let table = Table::open(place).await?.ok_or_else(|| CompactError::NoTable { place: place.url.to_string() })?;
    let there = || CompactError::ExportThere { place: to.to_owned() };
    if to.contains("://") {
        let target = store::open(to, true).await?;
        return match target.store.list(Some(&target.root)).next().await {
            Some(_) => Err(there()),
            None => write(&table, &target).await,
        };
    }
    let folder = PathBuf::from(to);
    let name = folder.file_name().ok_or_else(there)?.to_string_lossy().into_owned();
    if folder.exists() {
        return Err(there());
    }
    let partial = folder.with_file_name(format!("{name}.partial-{}", Uuid::new_v4()));
    let target = store::open(&partial.to_string_lossy(), true).await?;
    let written = match write(&table, &target).await {
        Ok(done) => rename(&partial, &folder).map(|()| done),
        Err(error) => Err(error),
    };
    if written.is_err() {
        // What cannot be removed has a name that no one reads.
        let _ = std::fs::remove_dir_all(&partial);
    }
    written
}

fn rename(partial: &FsPath, folder: &FsPath) -> Result<(), CompactError> {
    let io = |source| CompactError::Io { path: folder.to_owned(), source };
    std::fs::rename(partial, folder).map_err(io)?;
    let home = folder.parent().filter(|home| !home.as_os_str().is_empty()).unwrap_or(FsPath::new("."));
    std::fs::File::open(home).and_then(|home| home.sync_all()).map_err(io)
}

async fn write(table: &Table, target: &Location) -> Result<Exported, CompactError> {
    let schema = table.state.snapshot().arrow_schema();
    let partition_by = table.state.metadata().partition_columns();
    let reader = Arc::new(TableReader::new(table.log_store.object_store(None), Arc::clone(&schema), partition_by));
    let writer = TableWriter::new(&target.log_store(), &table.state, schema);
    // One partition's files after the other, so that no more than one file is being written.
    let mut folders: BTreeMap<String, Vec<Arc<DataFile>>> = BTreeMap::new();
    for file in Live::of(&table.state, &[]).files(&table.url())? {
        let folder = file.path.to_string().rsplit_once('/').map(|(folder, _)| folder.to_owned());
        folders.entry(folder.unwrap_or_default()).or_default().push(file);
    }
    let (mut done, mut added) = (Exported { version: table.state.version(), ..Exported::default() }, Vec::new());
    for files in folders.values() {
        let writer = writer.clone().with_bloom_filters(reader.bloom_filters(&files[0]).await?);
        let mut out = None;
        for file in files {
            let mut batches = Arc::clone(&reader).stream(Arc::clone(file));
            while let Some(batch) = batches.try_next().await? {
                done.rows += batch.num_rows() as u64;
                out.get_or_insert_with(|| writer.file_like(&batch)).write(&batch).await?;
            }
        }
        if let Some(out) = out {
            added.extend(out.close().await?);
        }
    }
    let rows = rows_of(&added)?;
    if i64::try_from(done.rows).ok() != Some(rows) {
        let reason = format!("{} rows were read and {rows} written", done.rows);
        return Err(CompactError::Audit { table: target.url.to_string(), reason });
    }
    done.files = added.len() as u64;
    done.bytes = added.iter().map(|add| u64::try_from(add.size).unwrap_or(0)).sum();
    durable::sync(target, added.iter().map(|add| target.path(&add.path)).collect()).await?;
    let mark = json!({ "table": table.url(), "version": done.version, "rows": done.rows, "files": done.files });
    let path = target.path(SUCCESS);
    target.store.put(&path, mark.to_string().into()).await.map_err(|e| CompactError::object(&path, e))?;
    durable::sync(target, vec![path]).await?;
    Ok(done)
}

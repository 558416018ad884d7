//! Files that belong to no version a reader may still look at are deleted: left behind by crashes, replaced by later
//! ones, or put together with others.

use std::{collections::HashSet, fmt, time::Duration};

use deltalake::{checkpoints::cleanup_metadata, table::config::TablePropertiesExt};
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};

use super::{Size, existing, lease::Lease, staged};
use crate::{
    clock::Clock,
    compact::{
        keys::{Reference, is_sidecar},
        table::Table,
    },
    error::CompactError,
    store::Location,
};

/// What a vacuum found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VacuumReport {
    /// The files to delete, in order of path.
    pub files: Vec<String>,
    /// Their bytes.
    pub bytes: u64,
    /// Files that no one reads but that are too young to be deleted.
    pub kept_young: u64,
    /// Files that the table names and that are not there.
    pub missing: Vec<String>,
    /// Whether the files are deleted.
    pub deleted: bool,
    /// Log entries deleted, older than the table keeps them.
    pub log_entries: u64,
}

impl fmt::Display for VacuumReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.missing.iter().try_for_each(|path| writeln!(f, "missing: the table names {path}, which is not there"))?;
        self.files
            .iter()
            .try_for_each(|path| writeln!(f, "{} {path}", if self.deleted { "deleted" } else { "delete" }))?;
        let (files, bytes) = (self.files.len(), Size(self.bytes));
        if self.deleted {
            writeln!(f, "{files} files ({bytes}) and {} log entries deleted", self.log_entries)?;
        } else {
            writeln!(f, "a run would delete {files} files ({bytes})")?;
        }
        writeln!(f, "{} files that no one reads are too young to go", self.kept_young)
    }
}

/// Deletes what no reader needs and what is older than `retention`, by the store's own clock.
///
/// A retention below the table's (`delta.deletedFileRetentionDuration`, a week unless it says otherwise) takes files from
/// under readers of older versions, and from under a writer that has not committed yet. It is refused unless
/// `allow_short`.
///
/// # Errors
/// [`CompactError::ShortRetention`]; otherwise as for any use of the store.
pub async fn vacuum(
    place: &Location,
    retention: Option<Duration>,
    allow_short: bool,
    dry_run: bool,
    clock: &Clock,
) -> Result<VacuumReport, CompactError> {
    let table = existing(place).await?;
    let least = table.state.table_config().deleted_file_retention_duration();
    let retention = retention.unwrap_or(least);
    if retention < least && !allow_short {
        let (asked_s, least_s) = (retention.as_secs(), least.as_secs());
        return Err(CompactError::ShortRetention { table: table.url(), asked_s, least_s });
    }
    if dry_run {
        return find(&table, retention, clock.now_us()).await;
    }
    let mut lease = Lease::take(place, clock, "vacuum").await?;
    let outcome = delete(place, retention, clock, &mut lease).await;
    lease.release().await;
    outcome
}

async fn delete(
    place: &Location,
    retention: Duration,
    clock: &Clock,
    lease: &mut Lease,
) -> Result<VacuumReport, CompactError> {
    // This machine's clock may be ahead; files are dated by the store's.
    let now_us = clock.now_us().min(lease.store_time_us().await?);
    let table = existing(place).await?;
    let mut report = find(&table, retention, now_us).await?;
    for (number, path) in report.files.iter().enumerate() {
        if number % 1_000 == 0 {
            lease.keep().await?;
        }
        if !staged::delete(place, path)? {
            let path = place.path(path);
            match place.store.delete(&path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(source) => return Err(CompactError::object(path, source)),
            }
        }
    }
    report.deleted = true;
    let mut loaded = place.delta_table();
    let delta = |e| CompactError::delta(&place.url, e);
    loaded.load().await.map_err(delta)?;
    report.log_entries = cleanup_metadata(&loaded, None).await.map_err(delta)? as u64;
    Ok(report)
}

/// What would be deleted, were it this time.
async fn find(table: &Table, retention: Duration, now_us: u64) -> Result<VacuumReport, CompactError> {
    let delta = |e| CompactError::delta(table.url(), e);
    let before_us = i128::from(now_us) - i128::try_from(retention.as_micros()).unwrap_or(i128::MAX);
    let live: HashSet<Path> = table.state.log_data().iter().map(|view| view.object_store_path()).collect();
    // The keys of files that only older versions name are asked for by no one.
    let references = table.state.log_data();
    let sidecars: HashSet<Path> =
        references.iter().filter_map(|view| Some(Path::from(Reference::of_file(&view)?.key()))).collect();
    // A file taken out of the table lately is read by those who look at the version before.
    let mut kept: HashSet<Path> = HashSet::new();
    let mut tombstones = table.state.all_tombstones(table.log_store.as_ref());
    while let Some(tombstone) = tombstones.try_next().await.map_err(delta)? {
        let removed_us = tombstone.deletion_timestamp().map(|ms| i128::from(ms) * 1_000);
        if removed_us.is_none_or(|removed_us| removed_us > before_us) {
            let path = tombstone.path();
            kept.insert(Path::parse(path.as_ref()).unwrap_or_else(|_| Path::from(path.as_ref())));
        }
    }
    let mut report = VacuumReport::default();
    let mut there = HashSet::new();
    let store = table.place.prefixed();
    let mut list = store.list(None);
    while let Some(found) = list.try_next().await.map_err(|e| CompactError::object(table.url(), e))? {
        let path = found.location;
        if live.contains(&path) {
            there.insert(path);
        } else if sidecars.contains(&path) || (is_hidden(&path) && !is_sidecar(&path)) {
        } else if kept.contains(&path) || i128::from(found.last_modified.timestamp_micros()) > before_us {
            report.kept_young += 1;
        } else {
            report.bytes += found.size;
            report.files.push(path.to_string());
        }
    }
    for (path, bytes, written_us) in staged::files(&table.place)? {
        if written_us > before_us {
            report.kept_young += 1;
        } else {
            report.bytes += bytes;
            report.files.push(path);
        }
    }
    report.files.sort_unstable();
    report.missing = live.difference(&there).map(Path::to_string).collect();
    report.missing.sort_unstable();
    Ok(report)
}

/// The log, the compactor's own files, and whatever else begins like them; a partition column may do so as well.
fn is_hidden(path: &Path) -> bool {
    path.parts().any(|part| part.as_ref().starts_with(['_', '.']) && !part.as_ref().contains('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_and_manifests_are_hidden_and_partitions_are_not() {
        for path in ["_delta_log/0.json", "_millrace/manifests/1.json", "a/_temporary/x", ".hidden/x", "a/.x.crc"] {
            assert!(is_hidden(&Path::from(path)), "{path}");
        }
        for path in ["x.parquet", "_city=Hull/x.parquet", "city=_/x.parquet"] {
            assert!(!is_hidden(&Path::from(path)), "{path}");
        }
    }
}

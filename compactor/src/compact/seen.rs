//! Which objects the table holds: the union of the manifests up to its last commit, as 128-bit hashes of their keys.
//!
//! Sixteen bytes an object: a million objects cost 16 MB and a collision has a chance of 10^-27. Every
//! [`ROLL_EVERY`] commits the set is written beside the manifests, so that opening a table does not read them all.

use std::collections::HashSet;

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt};
use sha2::{Digest, Sha256};

use super::manifest;
use crate::{error::CompactError, store::Location};

const FOLDER: &str = "_millrace/seen";
/// A rolled set is written when the commit's number is a multiple of this.
pub(super) const ROLL_EVERY: u64 = 64;

/// The objects that the table holds.
#[derive(Debug, Default)]
pub(super) struct Seen {
    hashes: HashSet<u128>,
}

/// An object is its lake and its key: two lakes may use the same names.
fn hash(lake: &str, key: &str) -> u128 {
    let digest = Sha256::new().chain_update(lake).chain_update([0]).chain_update(key).finalize();
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    u128::from_be_bytes(half)
}

impl Seen {
    /// What the table holds after commit number `committed`.
    pub(super) async fn load(table: &Location, committed: u64) -> Result<Self, CompactError> {
        let mut seen = Self::default();
        let rolled = seen.load_rolled(table, committed).await?;
        for sequence in manifest::numbers(table, rolled).await?.into_iter().filter(|n| *n <= committed) {
            if let Some(manifest) = manifest::read(table, sequence).await? {
                manifest.objects.iter().for_each(|object| seen.insert(&manifest.lake, &object.key));
            }
        }
        Ok(seen)
    }

    /// Reads the newest rolled set that is not ahead of the table; returns the commit it is of, or 0.
    async fn load_rolled(&mut self, table: &Location, committed: u64) -> Result<u64, CompactError> {
        let folder = table.path(FOLDER);
        let mut newest = 0;
        let mut list = table.store.list(Some(&folder));
        while let Some(found) = list.try_next().await.map_err(|e| CompactError::object(&folder, e))? {
            let number = found.location.filename().and_then(|n| n.strip_suffix(".bin")).and_then(|n| n.parse().ok());
            newest = number.filter(|n: &u64| *n <= committed).map_or(newest, |n| n.max(newest));
        }
        if newest > 0 {
            let path = table.path(&rolled(newest));
            let found = table.store.get(&path).await.map_err(|e| CompactError::object(&path, e))?;
            let bytes = found.bytes().await.map_err(|e| CompactError::object(&path, e))?;
            let (hashes, rest) = bytes.as_chunks::<16>();
            if !rest.is_empty() {
                return Err(CompactError::Manifest { path: path.to_string(), reason: "it is cut short".to_owned() });
            }
            self.hashes = hashes.iter().map(|hash| u128::from_be_bytes(*hash)).collect();
        }
        Ok(newest)
    }

    pub(super) fn contains(&self, lake: &str, key: &str) -> bool {
        self.hashes.contains(&hash(lake, key))
    }

    pub(super) fn insert(&mut self, lake: &str, key: &str) {
        self.hashes.insert(hash(lake, key));
    }

    /// Writes the set after commit number `committed`, when it is time. Losing it costs only time: the manifests stay.
    pub(super) async fn roll(&self, table: &Location, committed: u64) -> Result<(), CompactError> {
        if !committed.is_multiple_of(ROLL_EVERY) {
            return Ok(());
        }
        let mut sorted: Vec<u128> = self.hashes.iter().copied().collect();
        sorted.sort_unstable();
        let bytes: Vec<u8> = sorted.into_iter().flat_map(u128::to_be_bytes).collect();
        let path = table.path(&rolled(committed));
        table.store.put(&path, bytes.into()).await.map_err(|e| CompactError::object(&path, e))?;
        Ok(())
    }
}

fn rolled(committed: u64) -> String {
    format!("{FOLDER}/{committed:020}.bin")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lake_and_key_do_not_run_into_each_other() {
        let mut seen = Seen::default();
        seen.insert("../lake/", "a");
        assert!(seen.contains("../lake/", "a"));
        assert!(!seen.contains("../lake/a", ""));
        assert!(!seen.contains("../other/", "a"));
    }

    #[tokio::test]
    async fn a_rolled_set_reads_back_and_one_from_the_future_is_not_used() {
        let home = tempfile::tempdir().unwrap();
        let table = crate::store::open(home.path().to_str().unwrap(), true).await.unwrap();
        let mut seen = Seen::default();
        (0..100).for_each(|k| seen.insert("l", &k.to_string()));
        seen.roll(&table, ROLL_EVERY - 1).await.unwrap();
        assert!(Seen::load(&table, ROLL_EVERY).await.unwrap().hashes.is_empty());
        seen.roll(&table, ROLL_EVERY).await.unwrap();
        assert_eq!(Seen::load(&table, ROLL_EVERY).await.unwrap().hashes, seen.hashes);
        assert!(Seen::load(&table, ROLL_EVERY - 1).await.unwrap().hashes.is_empty());
    }
}

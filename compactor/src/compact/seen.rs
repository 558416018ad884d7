//! Which objects the table holds: the union of the manifests up to its last commit, as 128-bit hashes of their keys.
//!
//! Sixteen bytes an object: a million objects cost 16 MB and a collision has a chance of 10^-27. Every
//! [`ROLL_EVERY`] commits the set is written beside the manifests, so that opening a table does not read them all.

use std::collections::{BTreeSet, HashSet};

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt};
use sha2::{Digest, Sha256};
use tracing::warn;

use super::{
    manifest,
    seal::{sealed, unsealed},
};
use crate::{
    error::CompactError,
    store::{Location, durable},
};

const FOLDER: &str = "_millrace/seen";
/// A rolled set is written when the commit's number is a multiple of this.
pub(super) const ROLL_EVERY: u64 = 64;

/// The objects that the table holds.
#[derive(Debug, Default)]
pub(super) struct Seen {
    hashes: HashSet<u128>,
    /// The numbers of manifests of which nothing came, in this table or in one that was in its place before.
    withdrawn: BTreeSet<u64>,
}

/// An object is its lake and its key: two lakes may use the same names.
fn hash(lake: &str, key: &str) -> u128 {
    let digest = Sha256::new().chain_update(lake).chain_update([0]).chain_update(key).finalize();
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    u128::from_be_bytes(half)
}

impl Seen {
    /// What the table holds after commit number `committed`, of which the `withdrawn` ones hold nothing.
    ///
    /// # Errors
    /// [`CompactError::Manifest`] when a manifest that is part of the table is gone: what it named would be taken again.
    pub(super) async fn load(table: &Location, committed: u64, withdrawn: BTreeSet<u64>) -> Result<Self, CompactError> {
        let mut seen = Self { withdrawn, ..Self::default() };
        let rolled = seen.load_rolled(table, committed).await?;
        for sequence in rolled + 1..=committed {
            if seen.withdrawn.contains(&sequence) {
                continue;
            }
            let Some(manifest) = manifest::read(table, sequence).await? else {
                let path = table.path("_millrace/manifests").to_string();
                return Err(CompactError::Manifest { path, reason: format!("number {sequence} is missing") });
            };
            manifest.objects.iter().for_each(|object| seen.insert(&manifest.lake, &object.key));
        }
        Ok(seen)
    }

    /// Reads the newest whole rolled set that is not ahead of the table; returns the commit it is of, or 0.
    async fn load_rolled(&mut self, table: &Location, committed: u64) -> Result<u64, CompactError> {
        let folder = table.path(FOLDER);
        let mut numbers = Vec::new();
        let mut list = table.store.list(Some(&folder));
        while let Some(found) = list.try_next().await.map_err(|e| CompactError::object(&folder, e))? {
            let number = found.location.filename().and_then(|n| n.strip_suffix(".bin")).and_then(|n| n.parse().ok());
            numbers.extend(number.filter(|n: &u64| *n <= committed));
        }
        numbers.sort_unstable();
        for number in numbers.into_iter().rev() {
            let path = table.path(&rolled(number));
            let found = table.store.get(&path).await.map_err(|e| CompactError::object(&path, e))?;
            let bytes = found.bytes().await.map_err(|e| CompactError::object(&path, e))?;
            match hashes(&bytes) {
                Some(hashes) => {
                    self.hashes = hashes.iter().map(|hash| u128::from_be_bytes(*hash)).collect();
                    return Ok(number);
                }
                None => warn!(%path, "damaged; older sets or the manifests are read instead"),
            }
        }
        Ok(0)
    }

    /// Whether a manifest was withdrawn.
    pub(super) fn is_withdrawn(&self, sequence: u64) -> bool {
        self.withdrawn.contains(&sequence)
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
        let body: Vec<u8> = sorted.into_iter().flat_map(u128::to_be_bytes).collect();
        let path = table.path(&rolled(committed));
        table.store.put(&path, sealed(&body).into()).await.map_err(|e| CompactError::object(&path, e))?;
        durable::sync(table, vec![path]).await
    }
}

/// The hashes in a file, when the file is whole.
fn hashes(bytes: &[u8]) -> Option<&[[u8; 16]]> {
    let (hashes, rest) = unsealed(bytes)?.as_chunks::<16>();
    rest.is_empty().then_some(hashes)
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
    async fn a_damaged_set_is_passed_over_and_a_missing_manifest_is_an_error() {
        let home = tempfile::tempdir().unwrap();
        let table = crate::store::open(home.path().to_str().unwrap(), true).await.unwrap();
        let mut seen = Seen::default();
        (0..100).for_each(|k| seen.insert("l", &k.to_string()));
        seen.roll(&table, ROLL_EVERY).await.unwrap();
        let mut later = Seen::default();
        (0..200).for_each(|k| later.insert("l", &k.to_string()));
        later.roll(&table, 2 * ROLL_EVERY).await.unwrap();
        std::fs::write(home.path().join(rolled(2 * ROLL_EVERY)), b"").unwrap();
        let mut found = Seen::default();
        assert_eq!(found.load_rolled(&table, 2 * ROLL_EVERY).await.unwrap(), ROLL_EVERY);
        assert_eq!(found.hashes, seen.hashes);
        let error = Seen::load(&table, 2 * ROLL_EVERY, BTreeSet::new()).await.unwrap_err().to_string();
        assert!(error.contains("number 65 is missing"), "{error}");
    }

    #[tokio::test]
    async fn a_rolled_set_reads_back_and_one_from_the_future_is_not_used() {
        let home = tempfile::tempdir().unwrap();
        let table = crate::store::open(home.path().to_str().unwrap(), true).await.unwrap();
        let mut seen = Seen::default();
        (0..100).for_each(|k| seen.insert("l", &k.to_string()));
        seen.roll(&table, ROLL_EVERY - 1).await.unwrap();
        assert!(Seen::default().load_rolled(&table, ROLL_EVERY).await.unwrap() == 0);
        seen.roll(&table, ROLL_EVERY).await.unwrap();
        assert_eq!(Seen::load(&table, ROLL_EVERY, BTreeSet::new()).await.unwrap().hashes, seen.hashes);
        let mut earlier = Seen::default();
        assert_eq!(earlier.load_rolled(&table, ROLL_EVERY - 1).await.unwrap(), 0);
    }
}

//! A manifest that cannot be followed any more, because an object that it names is gone or is another one by now, is
//! withdrawn: its number is committed with nothing in it, and whatever the lake still has is taken by other commits.
//!
//! 1. `_millrace/withdrawn/N.json` is put: `N` may be withdrawn, and why.
//! 2. One Delta commit carries transaction `N` and says that it is withdrawn. It is this commit or the one of a process
//!    that has the objects still, never both.
//! 3. Pieces that commit `N` brought into quarantine are taken out, and `N` is counted there.
//! 4. `_millrace/withdrawn/N.done` is put.
//!
//! Steps 3 and 4 are made good by whoever comes next, before anything is begun with a number above `N`.

use std::collections::{BTreeSet, HashMap};

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt};
use serde_json::json;
use tracing::warn;

use super::{
    Compactor,
    commit::ATTEMPTS,
    manifest::{self, Manifest},
    quarantine,
    table::Committed,
};
use crate::{
    error::CompactError,
    store::{Location, durable},
};

/// Where withdrawals are, under the table.
const FOLDER: &str = "_millrace/withdrawn";
/// Names of objects that are told.
const TELL: usize = 5;

impl Compactor {
    /// Withdraws a manifest whose `lost` objects are not what they were; false when another process has finished it or
    /// withdrawn it meanwhile.
    pub(super) async fn withdraw(&mut self, manifest: &Manifest, lost: &[String]) -> Result<bool, CompactError> {
        let Some((table, _)) = &mut self.target else { return Ok(false) };
        let (place, sequence) = (&self.config.table, manifest.sequence);
        let told = lost.iter().take(TELL).map(String::as_str).collect::<Vec<_>>().join(", ");
        warn!(
            manifest = %place.path(&manifest.key()),
            objects = lost.len(),
            "withdrawn, because these are gone or were overwritten before the table held them: {told}; what the lake has \
             is taken by other commits"
        );
        let reason = json!({"manifest": manifest.key(), "lake": manifest.lake, "lost": lost});
        put(place, &format!("{sequence:020}.json"), reason.to_string()).await?;
        let now_us = self.config.clock.now_us();
        for _ in 0..ATTEMPTS {
            let metadata = HashMap::from([("millrace.withdrawn".to_owned(), json!(manifest.key()))]);
            match table.withdraw(sequence, metadata, now_us).await? {
                // `catch_up` finds it and settles it.
                Committed::Yes => return Ok(true),
                Committed::ByAnother => return Ok(false),
                Committed::Overtaken => {}
            }
        }
        Err(CompactError::Contended { table: place.url.to_string(), sequence, attempts: ATTEMPTS })
    }

    /// Whether a number that the table holds is that of a manifest which was withdrawn.
    pub(super) async fn is_withdrawn(&mut self, sequence: u64) -> Result<bool, CompactError> {
        let Some((table, _)) = &mut self.target else { return Ok(false) };
        match table.last_withdrawn().await? {
            // Whoever withdrew a later one has settled this one before.
            Some(last) if last > sequence => {
                let done = self.config.table.path(&format!("{FOLDER}/{sequence:020}.done"));
                match self.config.table.store.head(&done).await {
                    Ok(_) => Ok(true),
                    Err(object_store::Error::NotFound { .. }) => Ok(false),
                    Err(source) => Err(CompactError::object(done, source)),
                }
            }
            last => Ok(last == Some(sequence)),
        }
    }

    /// The numbers that are withdrawn, each brought to its end.
    pub(super) async fn settle(&mut self) -> Result<BTreeSet<u64>, CompactError> {
        let place = &self.config.table;
        let (mut done, mut asked) = (BTreeSet::new(), BTreeSet::new());
        let folder = place.path(FOLDER);
        let mut list = place.store.list(Some(&folder));
        while let Some(found) = list.try_next().await.map_err(|e| CompactError::object(&folder, e))? {
            match found.location.filename().and_then(|name| name.split_once('.')) {
                Some((number, "done")) => done.extend(number.parse::<u64>()),
                Some((number, "json")) => asked.extend(number.parse::<u64>()),
                _ => {}
            }
        }
        drop(list);
        let Some((table, _)) = &mut self.target else { return Ok(done) };
        for sequence in asked.into_iter().filter(|number| *number <= self.committed) {
            // An older one that is not done was finished by a process that had the objects still.
            if !done.contains(&sequence) && table.last_withdrawn().await? == Some(sequence) {
                let objects = manifest::read(place, sequence).await?.into_iter().flat_map(|manifest| manifest.objects);
                let objects = objects.map(|object| object.key).collect();
                let now_us = self.config.clock.now_us();
                quarantine::withdraw(&self.quarantine, table.id(), sequence, &objects, now_us).await?;
                put(place, &format!("{sequence:020}.done"), String::new()).await?;
                done.insert(sequence);
            }
        }
        Ok(done)
    }
}

async fn put(table: &Location, name: &str, text: String) -> Result<(), CompactError> {
    let path = table.path(&format!("{FOLDER}/{name}"));
    table.store.put(&path, text.into_bytes().into()).await.map_err(|e| CompactError::object(&path, e))?;
    durable::sync(table, vec![path]).await
}

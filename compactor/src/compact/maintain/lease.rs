//! The lease: one process at a time maintains a table.
//!
//! It is a row of numbered objects, each put only if there is none. The one with the highest number counts, until the
//! time that it names. So taking a lease that has run out needs no more of a store than that it puts if absent, and of
//! two processes that both find it run out one gets the next number.

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, path::Path};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{clock::Clock, error::CompactError, store::Location};

/// Where leases are, under the table.
const FOLDER: &str = "_millrace/lease";
/// How long one lasts. It is renewed before every commit.
const LASTS_US: u64 = 10 * 60 * 1_000_000;
/// What is left of one when it is used has to cover the commit.
const MARGIN_US: u64 = 60 * 1_000_000;

/// Who holds a lease, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    holder: Uuid,
    /// What for.
    pub work: String,
    /// Microseconds since 1970. 0: given back.
    pub until_us: u64,
}

/// A lease that this process holds.
pub(super) struct Lease {
    table: Location,
    number: u64,
    held: Held,
    clock: Clock,
}

impl Lease {
    /// Takes the lease, unless someone else holds it.
    pub(super) async fn take(table: &Location, clock: &Clock, work: &str) -> Result<Self, CompactError> {
        let newest = newest(table).await?;
        if newest > 0
            && let Some(there) = read(table, newest).await?
            && there.until_us > clock.now_us()
        {
            return Err(refused(table, newest, &there));
        }
        let held = Held { holder: Uuid::new_v4(), work: work.to_owned(), until_us: clock.now_us() + LASTS_US };
        let lease = Self { table: table.clone(), number: newest + 1, held, clock: clock.clone() };
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let put = table.store.put_opts(&lease.path(), lease.bytes()?.into(), options).await;
        if let Err(error) = put {
            // A put that is tried again after a lost answer finds itself.
            let there = read(table, lease.number).await?;
            if there.as_ref() != Some(&lease.held) {
                return Err(match there {
                    Some(other) => refused(table, lease.number, &other),
                    None => CompactError::object(lease.path(), error),
                });
            }
        }
        lease.check().await?;
        for old in 1..newest {
            // Those before the last one matter to no one; what cannot be deleted only takes room.
            if table.store.delete(&path(table, old)).await.is_err() {
                break;
            }
        }
        Ok(lease)
    }

    /// Makes sure that it is still held, long enough for a commit.
    pub(super) async fn keep(&mut self) -> Result<(), CompactError> {
        self.check().await?;
        let now_us = self.clock.now_us();
        if self.held.until_us <= now_us {
            return Err(CompactError::LeaseLost { table: self.table.url.to_string() });
        }
        if self.held.until_us < now_us + LASTS_US - MARGIN_US {
            self.held.until_us = now_us + LASTS_US;
            let path = self.path();
            let put = self.table.store.put(&path, self.bytes()?.into()).await;
            put.map_err(|e| CompactError::object(path, e))?;
            self.check().await?;
        }
        Ok(())
    }

    /// The time that the store gave to the lease: a clock that files are as old by.
    pub(super) async fn store_time_us(&self) -> Result<u64, CompactError> {
        let path = self.path();
        let meta = self.table.store.head(&path).await.map_err(|e| CompactError::object(path, e))?;
        Ok(u64::try_from(meta.last_modified.timestamp_micros()).unwrap_or(0))
    }

    /// Gives it back. Where that fails it runs out by itself.
    pub(super) async fn release(mut self) {
        self.held.until_us = 0;
        if let Ok(bytes) = self.bytes()
            && let Err(error) = self.table.store.put(&self.path(), bytes.into()).await
        {
            tracing::warn!(%error, "the lease could not be given back; it runs out by itself");
        }
    }

    /// No one has taken the next number.
    async fn check(&self) -> Result<(), CompactError> {
        if newest(&self.table).await? == self.number {
            return Ok(());
        }
        Err(CompactError::LeaseLost { table: self.table.url.to_string() })
    }

    fn path(&self) -> Path {
        path(&self.table, self.number)
    }

    fn bytes(&self) -> Result<Bytes, CompactError> {
        let bytes = serde_json::to_vec_pretty(&self.held);
        bytes
            .map(Bytes::from)
            .map_err(|e| CompactError::Manifest { path: self.path().to_string(), reason: e.to_string() })
    }
}

fn refused(table: &Location, number: u64, held: &Held) -> CompactError {
    let until = i64::try_from(held.until_us).ok().and_then(chrono::DateTime::from_timestamp_micros);
    CompactError::LeaseHeld {
        table: table.url.to_string(),
        work: held.work.clone(),
        until: until.map_or_else(|| "for ever".to_owned(), |time| time.to_rfc3339()),
        path: path(table, number).to_string(),
    }
}

fn path(table: &Location, number: u64) -> Path {
    table.path(&format!("{FOLDER}/{number:020}.json"))
}

/// The highest number there is; 0 when there is none.
async fn newest(table: &Location) -> Result<u64, CompactError> {
    let folder = table.path(FOLDER);
    let names: Vec<_> =
        table.store.list(Some(&folder)).try_collect().await.map_err(|e| CompactError::object(&folder, e))?;
    let number = |path: &Path| path.filename()?.strip_suffix(".json")?.parse().ok();
    Ok(names.iter().filter_map(|meta| number(&meta.location)).max().unwrap_or(0))
}

/// A lease that cannot be understood, because its writing was cut off, holds no one back.
async fn read(table: &Location, number: u64) -> Result<Option<Held>, CompactError> {
    let path = path(table, number);
    match table.store.get(&path).await {
        Ok(found) => {
            let bytes = found.bytes().await.map_err(|e| CompactError::object(&path, e))?;
            Ok(serde_json::from_slice(&bytes).ok())
        }
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(source) => Err(CompactError::object(path, source)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use super::*;

    fn clock(now_us: &Arc<AtomicU64>) -> Clock {
        let now_us = Arc::clone(now_us);
        Clock::new(move || now_us.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn one_holds_it_until_it_is_given_back_or_runs_out_and_who_lost_it_is_told() {
        let home = tempfile::tempdir().unwrap();
        let table = crate::store::open(home.path().to_str().unwrap(), true).await.unwrap();
        let now_us = Arc::new(AtomicU64::new(1_000_000_000_000_000));
        let mut first = Lease::take(&table, &clock(&now_us), "optimize").await.unwrap();
        let refused = Lease::take(&table, &clock(&now_us), "vacuum").await.err().unwrap().to_string();
        assert!(refused.contains("optimize") && refused.contains("2001-09-09T01:56:40"), "{refused}");

        now_us.fetch_add(LASTS_US / 2, Ordering::Relaxed);
        first.keep().await.unwrap();
        now_us.fetch_add(LASTS_US - 1, Ordering::Relaxed);
        assert!(Lease::take(&table, &clock(&now_us), "vacuum").await.is_err(), "it was renewed");
        now_us.fetch_add(1, Ordering::Relaxed);
        let second = Lease::take(&table, &clock(&now_us), "vacuum").await.unwrap();
        assert!(matches!(first.keep().await, Err(CompactError::LeaseLost { .. })));
        first.release().await;
        assert!(Lease::take(&table, &clock(&now_us), "x").await.is_err(), "an old holder gives nothing back");
        second.release().await;
        let third = Lease::take(&table, &clock(&now_us), "x").await.unwrap();
        assert_eq!(third.number, 3);
    }

    #[tokio::test]
    async fn of_many_that_want_it_at_once_one_gets_it() {
        let home = tempfile::tempdir().unwrap();
        let table = crate::store::open(home.path().to_str().unwrap(), true).await.unwrap();
        let now = clock(&Arc::new(AtomicU64::new(1_000_000_000_000_000)));
        for round in 0..20 {
            let tries = futures::future::join_all((0..8).map(|_| Lease::take(&table, &now, "optimize"))).await;
            let got: Vec<Lease> = tries.into_iter().flatten().collect();
            assert_eq!(got.len(), 1, "round {round}");
            for lease in got {
                lease.release().await;
            }
        }
    }
}

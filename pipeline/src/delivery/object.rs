//! One object of the lake: its name, and writing it until the store has it.
//!
//! An object is put whole under its final key, so a reader sees all of it or nothing; a local folder stages and renames.
//! Trying again is safe because the key and the bytes stay the same.

use std::{error::Error as _, io, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, path::Path};
use rand::{Rng, RngExt};

use super::progress::Progress;

/// Firehose counts up its version with each change of configuration; a delivery's configuration does not change.
const VERSION: u32 = 1;

/// Whether an object holds records or error lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Good,
    Error,
}

/// An object that is complete and not in the store yet.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) location: Path,
    pub(super) kind: Kind,
    pub(super) body: Bytes,
    pub(super) records: u64,
    pub(super) raw_bytes: u64,
    pub(super) due_us: Vec<i64>,
}

/// `<stream>-1-YYYY-MM-DD-HH-MM-SS-<uuid>.gz`, the part of a key behind the prefix.
pub(super) fn name(stream: &str, at: DateTime<Utc>, random: &mut impl Rng) -> String {
    let uuid = uuid::Builder::from_random_bytes(random.random()).into_uuid();
    format!("{stream}-{VERSION}-{}-{uuid}.gz", at.format("%Y-%m-%d-%H-%M-%S"))
}

/// How often a write is tried, and how long to wait in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts at most, at least one is made.
    pub attempts: u32,
    /// The pause after the first failure; it doubles with each further one.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
}

impl Default for RetryPolicy {
    /// Eighteen attempts within a minute: long enough for a store to restart, short enough to see it in a run.
    fn default() -> Self {
        Self { attempts: 18, first_pause: Duration::from_millis(100), longest_pause: Duration::from_secs(5) }
    }
}

impl RetryPolicy {
    /// The pause after this many failures in a row.
    #[must_use]
    pub fn pause(&self, failures: u32) -> Duration {
        let factor = 2_u32.saturating_pow(failures.saturating_sub(1));
        self.first_pause.saturating_mul(factor).min(self.longest_pause)
    }
}

/// A write that was given up.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) attempts: u32,
    pub(super) source: object_store::Error,
}

/// Puts the object, trying again while the store may recover. Each further attempt is counted as a retry.
pub(super) async fn write(
    store: &dyn ObjectStore,
    object: &Object,
    retry: RetryPolicy,
    progress: &Progress,
) -> Result<(), Failure> {
    let mut attempts = 1;
    loop {
        let payload = PutPayload::from(object.body.clone());
        let Err(source) = store.put(&object.location, payload).await else { return Ok(()) };
        if attempts >= retry.attempts || is_permanent(&source) {
            return Err(Failure { attempts, source });
        }
        let pause = retry.pause(attempts);
        tracing::warn!(object = %object.location, attempts, ?pause, error = %source, "write failed, trying again");
        tokio::time::sleep(pause).await;
        progress.retried();
        attempts += 1;
    }
}

/// Whether waiting cannot help: no permission, a file where a folder should be, a request the store does not know.
fn is_permanent(error: &object_store::Error) -> bool {
    use object_store::Error as E;
    match error {
        E::InvalidPath { .. }
        | E::NotSupported { .. }
        | E::NotImplemented { .. }
        | E::PermissionDenied { .. }
        | E::Unauthenticated { .. }
        | E::UnknownConfigurationKey { .. } => true,
        other => io_kind(other).is_some_and(|kind| {
            use io::ErrorKind as K;
            matches!(
                kind,
                K::PermissionDenied | K::ReadOnlyFilesystem | K::NotADirectory | K::IsADirectory | K::InvalidFilename
            )
        }),
    }
}

/// The kind of the I/O error at the bottom of a store's error, if there is one.
fn io_kind(error: &object_store::Error) -> Option<io::ErrorKind> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;
    use crate::delivery::instant::utc;

    #[test]
    fn names_have_firehoses_shape_and_never_repeat() {
        let mut random = StdRng::seed_from_u64(1);
        let at = utc(1_703_784_484_999_999);
        let first = name("orders", at, &mut random);
        let uuid = first.strip_prefix("orders-1-2023-12-28-17-28-04-").unwrap().strip_suffix(".gz").unwrap();
        assert_eq!(uuid::Uuid::parse_str(uuid).unwrap().get_version_num(), 4);
        assert_ne!(first, name("orders", at, &mut random));
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_end_within_about_a_minute() {
        let retry = RetryPolicy::default();
        let pauses: Vec<_> = (1..retry.attempts).map(|n| retry.pause(n).as_millis()).collect();
        assert_eq!(pauses[..8], [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        assert_eq!(pauses.iter().sum::<u128>(), 61_300);
        assert_eq!(retry.pause(u32::MAX), retry.longest_pause);
    }

    #[test]
    fn only_errors_that_waiting_cannot_cure_are_permanent() {
        let generic = |kind: io::ErrorKind| object_store::Error::Generic {
            store: "test",
            source: Box::new(io::Error::from(kind)),
        };
        assert!(is_permanent(&generic(io::ErrorKind::PermissionDenied)));
        assert!(is_permanent(&generic(io::ErrorKind::ReadOnlyFilesystem)));
        assert!(!is_permanent(&generic(io::ErrorKind::StorageFull)));
        assert!(!is_permanent(&generic(io::ErrorKind::ConnectionReset)));
        assert!(!is_permanent(&object_store::Error::Generic { store: "test", source: "503".into() }));
    }
}

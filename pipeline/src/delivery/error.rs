//! What can go wrong with a delivery: its configuration, or the store it writes to. Records never go wrong: those that
//! cannot be partitioned land under the error prefix.

use millrace_reports::ReportError;

use super::{partition::KeyPathError, prefix::PrefixError};

/// A delivery could not be set up or could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeliveryError {
    /// A prefix of the scenario cannot be used.
    #[error("delivery.{field} {text:?}: {problem}")]
    Prefix {
        /// `prefix` or `error_prefix`.
        field: &'static str,
        /// The prefix as written.
        text: String,
        /// Why.
        problem: PrefixError,
    },
    /// A partition key of the scenario cannot be used.
    #[error("delivery.partition_keys.{name} {path:?}: {problem}")]
    PartitionKey {
        /// The key's name.
        name: String,
        /// Its path as written.
        path: String,
        /// Why.
        problem: KeyPathError,
    },
    /// An object could not be written. Its records, and those of `objects - 1` others, are kept and written by the next
    /// call that succeeds; until then they count as in flight.
    #[error(
        "{object}: not written after {attempts} attempts, {records} records in {objects} objects are not landed: {source}"
    )]
    Write {
        /// The object's key in the store.
        object: String,
        /// How often it was tried.
        attempts: u32,
        /// Sealed objects that are not in the store.
        objects: u64,
        /// Records in them.
        records: u64,
        /// What the store answered last.
        source: object_store::Error,
    },
    /// Records could not be compressed. They count as in flight.
    #[error("records could not be encoded for the lake: {source}")]
    Encode {
        /// Why.
        source: std::io::Error,
    },
    /// The landed latencies could not be written down.
    #[error(transparent)]
    Latency(#[from] ReportError),
}

impl DeliveryError {
    /// Whether the scenario is at fault (exit code 2) rather than the environment (exit code 3).
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        matches!(self, Self::Prefix { .. } | Self::PartitionKey { .. })
    }
}

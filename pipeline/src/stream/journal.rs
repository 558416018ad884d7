//! Where a shard writes its records down before they are seen by anyone.

use std::fmt::Debug;

use super::{batch::Batch, meta::StreamMeta};

/// Keeps the accepted records of one stream elsewhere too. A shard calls it with its lock held, so batches of one shard
/// come in order of index.
pub(crate) trait Journal: Debug + Send + Sync {
    /// Writes down what the shard of this number is about to store.
    ///
    /// # Errors
    /// Why it could not: nothing of the batch may be found later, and its records are refused.
    fn append(&self, shard: u32, batch: &Batch) -> Result<(), JournalError>;

    /// Writes down the facts of the stream, which replace what was written before.
    ///
    /// # Errors
    /// Why it could not: the change is refused.
    fn facts(&self, meta: &StreamMeta) -> Result<(), JournalError>;
}

/// The records could not be written down.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct JournalError(#[from] pub(crate) Box<dyn std::error::Error + Send + Sync>);

//! What was changed while the load ran, and what came of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One event of the scenario.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventRecord {
    /// What it does, in words.
    pub action: String,
    /// When it was asked for, microseconds after the first due time.
    pub at_us: u64,
    /// When it began, microseconds after the first due time; absent when the load ended before it.
    pub began_us: Option<u64>,
    /// From its begin until the stream was active again, microseconds.
    pub took_us: u64,
    /// The shards it was done to.
    pub shards: Vec<String>,
    /// The shards that took their place.
    pub opened: Vec<String>,
    /// Why it did not happen, or not to its end.
    pub error: Option<String>,
    /// What each shard took between the event before (or the start) and this one.
    pub before: Vec<ShardTaken>,
    /// What each shard took between this event and the next one (or the end).
    pub after: Vec<ShardTaken>,
}

/// What one shard took in a stretch of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ShardTaken {
    /// The shard's id.
    pub shard: String,
    /// Records accepted.
    pub accepted: u64,
    /// Its share of the records accepted in that time, 0 to 1.
    pub share: f64,
}

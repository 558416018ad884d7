//! How unevenly the load lay on shards and keys, asked for and got.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Skew of shards and keys. Shares are of accepted records by shard, and of records made by key.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SkewRecord {
    /// One row per shard that was open at the start or took records.
    pub shards: Vec<ShardShare>,
    /// The hottest shard's share over the mean share: 1 is even.
    pub shard_index: f64,
    /// The same as it follows from the shares asked for, or from the placement of these very keys.
    pub expected_shard_index: Option<f64>,
    /// Why nothing was expected of the shards.
    pub not_expected: Option<String>,
    /// Sum over shards of how far the share got is from the share asked for; absent when none was asked for, or when
    /// shards or keys changed during the load.
    pub asked_distance: Option<f64>,
    /// How many different keys the scenario has; absent when the payload decides, or when keys are new all the time.
    pub distinct_keys: Option<u64>,
    /// The ten hottest keys, hottest first.
    pub keys: Vec<KeyShare>,
}

/// One shard's share of the records, 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ShardShare {
    /// The shard's id.
    pub shard: String,
    /// The share that the scenario asks for.
    pub asked: Option<f64>,
    /// The share that follows from the scenario's keys and their placement.
    pub expected: Option<f64>,
    /// The share it had of the accepted records.
    pub got: f64,
}

/// One key's share of the records, 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KeyShare {
    /// The partition key.
    pub key: String,
    /// The share that the scenario's law gives it.
    pub asked: Option<f64>,
    /// The share it had at most.
    pub got: f64,
    /// How far `got` may be above the truth.
    pub error: f64,
}

//! `[keys]`: how a record gets its partition key, and its shard.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How partition keys are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// The value of a payload field.
    Field,
    /// `distinct` keys, all equally likely.
    Uniform,
    /// `distinct` keys, the r-th with weight 1 / r^exponent.
    Zipf,
    /// `hot` keys share `hot_share` of the records; the other `distinct - hot` keys share the rest.
    HotSet,
    /// The newest keys are the hottest: record k gets key k - r, and r is drawn as by `zipf` over `distinct` keys.
    Latest,
    /// `distinct` keys in turn.
    Sequential,
    /// The keys of a CSV file with a header `key,weight`, each as likely as its weight.
    File,
}

/// How a record is brought to where it should go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// By an explicit hash key inside the shard's range; the partition key stays as it was drawn.
    HashKey,
    /// By its name: the partition key gets a suffix (`key-17.3`) that makes its MD5 fall on the shard.
    Name,
    /// By an explicit hash key anywhere, evenly over all hash keys: no shard is hot, whatever the keys are.
    Spread,
}

/// `[keys]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// How keys are drawn.
    #[schemars(example = KeyKind::Uniform)]
    pub kind: KeyKind,
    /// field: which payload field. A record without it gets the key `(none)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"County")]
    pub field: Option<String>,
    /// uniform, zipf, hot_set, sequential: how many different keys there are; latest: how many keys back a draw reaches.
    #[serde(default = "default_distinct")]
    pub distinct: u64,
    /// zipf, latest: how steep; 0 is uniform.
    #[serde(default = "default_exponent")]
    pub exponent: f64,
    /// hot_set: how many keys are hot.
    #[serde(default = "default_hot")]
    pub hot: u64,
    /// hot_set: the share of records that goes to hot keys, 0 to 1.
    #[serde(default = "default_hot_share")]
    pub hot_share: f64,
    /// file: the CSV file; its first line is `key,weight`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"keys.csv")]
    pub path: Option<PathBuf>,
    /// The share of the records that goes to each shard: one number per open shard, in order of hash key, with the sum 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shards: Vec<f64>,
    /// The share of the records that goes to one shard, 0 to 1; the others share the rest evenly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 0.7)]
    pub hot_shard: Option<f64>,
    /// Which shard `hot_shard` means, counted from 0 in order of hash key. Absent: the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 0)]
    pub hot_shard_index: Option<u32>,
    /// How records are brought to their shard. Absent: `hash_key` with `shards` or `hot_shard`, else by the key alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = Place::HashKey)]
    pub place: Option<Place>,
    /// How many names each key is spread over (`key-17#0`, `key-17#1`, ...), drawn for each record. 1: its own name only.
    #[serde(default = "default_salt")]
    pub salt: u32,
}

impl Keys {
    /// Whether the share of some shard is asked for.
    #[must_use]
    pub fn asks_for_shards(&self) -> bool {
        self.hot_shard.is_some() || !self.shards.is_empty()
    }
}

fn default_salt() -> u32 {
    1
}

fn default_distinct() -> u64 {
    1_000
}
fn default_exponent() -> f64 {
    1.0
}
fn default_hot() -> u64 {
    1
}
fn default_hot_share() -> f64 {
    0.5
}

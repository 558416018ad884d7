//! `[stream]`: the stream the records go to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Span;

/// `[stream]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// The stream's name.
    #[schemars(example = &"my-stream")]
    pub name: String,
    /// Shards of the stream when Millrace creates it.
    #[serde(default = "default_shards")]
    pub shards: u32,
    /// How long the local stream keeps a record.
    #[serde(default = "default_retention")]
    pub retention: Span,
    /// How often the consumer reads each shard (AWS allows five reads a second and shard).
    #[serde(default = "default_consumer_poll")]
    pub consumer_poll: Span,
}

fn default_shards() -> u32 {
    4
}
fn default_retention() -> Span {
    Span::from_secs(24 * 3600)
}
fn default_consumer_poll() -> Span {
    Span::from_millis(250)
}

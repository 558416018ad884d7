//! `[[fault]]`: what goes wrong with the local stream, and when.
//!
//! One flat table per fault, as TOML is written by hand. Which keys a kind uses is said in `usage.rs`, and what they may
//! hold in `validate/fault.rs`.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Span;

/// The operations that a fault can be narrowed to: those the local stream serves.
pub const OPERATIONS: [&str; 40] = [
    "AddTagsToStream",
    "CreateStream",
    "DecreaseStreamRetentionPeriod",
    "DeleteResourcePolicy",
    "DeleteStream",
    "DeregisterStreamConsumer",
    "DescribeAccountSettings",
    "DescribeLimits",
    "DescribeStream",
    "DescribeStreamConsumer",
    "DescribeStreamSummary",
    "DisableEnhancedMonitoring",
    "EnableEnhancedMonitoring",
    "GetRecords",
    "GetResourcePolicy",
    "GetShardIterator",
    "IncreaseStreamRetentionPeriod",
    "ListShards",
    "ListStreamConsumers",
    "ListStreams",
    "ListTagsForResource",
    "ListTagsForStream",
    "MergeShards",
    "PutRecord",
    "PutRecords",
    "PutResourcePolicy",
    "RegisterStreamConsumer",
    "RemoveTagsFromStream",
    "SplitShard",
    "StartStreamEncryption",
    "StopStreamEncryption",
    "SubscribeToShard",
    "TagResource",
    "UntagResource",
    "UpdateAccountSettings",
    "UpdateMaxRecordSize",
    "UpdateShardCount",
    "UpdateStreamMode",
    "UpdateStreamRecordDistributionStrategy",
    "UpdateStreamWarmThroughput",
];

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Calls take longer.
    Latency,
    /// Calls that arrive are held until the fault is over.
    Stall,
    /// The connection is cut instead of an answer.
    Drop,
    /// Calls are answered with a fault of the service, and nothing happens.
    Error,
    /// Records and reads are refused as if a shard's limits were used up.
    Throttle,
    /// The server is gone: connections are cut, the port is closed, and it comes back when the fault is over.
    Kill,
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Latency => "latency",
            Self::Stall => "stall",
            Self::Drop => "drop",
            Self::Error => "error",
            Self::Throttle => "throttle",
            Self::Kill => "kill",
        })
    }
}

/// How an added latency is distributed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// Its logarithm is normal; given by `p50` and `p99`.
    Lognormal,
    /// Everything from `min` to `max` is equally likely.
    Uniform,
    /// Memoryless; given by its `mean`.
    Exponential,
}

/// On which side of the operation a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CutWhen {
    /// Nothing happened: a retry is harmless.
    Before,
    /// The operation happened, and its answer is lost: a retry does it twice.
    After,
}

/// What a killed server comes back with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StateAfter {
    /// Everything it had acknowledged.
    Kept,
    /// Its streams, new and empty.
    Lost,
}

/// `[[fault]]`: something that goes wrong with the local stream for a while.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InjectedFault {
    /// What goes wrong.
    #[schemars(example = FaultKind::Latency)]
    pub kind: FaultKind,
    /// When it begins, counted from the first due time of the load.
    #[schemars(example = Span::from_secs(10))]
    pub at: Span,
    /// How long it lasts.
    #[serde(rename = "for")]
    #[schemars(example = Span::from_secs(5))]
    pub duration: Span,
    /// The operations that are touched, such as `PutRecords`. Absent: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<String>,
    /// latency, drop, error: the share of calls that are touched, above 0 and up to 1; throttle: of records, and of reads.
    /// Absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 0.1)]
    pub share: Option<f64>,
    /// latency: the same for every call that is touched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = Span::from_millis(20))]
    pub latency: Option<Span>,
    /// latency: drawn for each call, instead of `latency`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = Distribution::Lognormal)]
    pub distribution: Option<Distribution>,
    /// latency, lognormal: half of the calls that are touched take at most this much longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = Span::from_millis(20))]
    pub p50: Option<Span>,
    /// latency, lognormal: 99 of 100 calls that are touched take at most this much longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = Span::from_millis(200))]
    pub p99: Option<Span>,
    /// latency, uniform: the least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = Span::from_millis(10))]
    pub min: Option<Span>,
    /// latency, uniform: the most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = Span::from_millis(50))]
    pub max: Option<Span>,
    /// latency, exponential: the mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = Span::from_millis(30))]
    pub mean: Option<Span>,
    /// drop: before or after the operation. Absent: half of the cuts each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = CutWhen::After)]
    pub when: Option<CutWhen>,
    /// error: 500 for InternalFailure, or 503 for ServiceUnavailable. Absent: 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 503)]
    pub status: Option<u32>,
    /// throttle: the number of the shard that is touched, from 0. Absent: every shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 3)]
    pub shard: Option<u32>,
    /// kill: what the server comes back with. Absent: everything it had acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = StateAfter::Lost)]
    pub state: Option<StateAfter>,
}

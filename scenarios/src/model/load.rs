//! `[load]`: when records are due and how they are sent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    stage::Stage,
    units::{ByteSize, Span},
};

/// The arrival process: how due times are spaced within a stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Arrival {
    /// Evenly spaced.
    Constant,
    /// Independent exponential gaps, seeded.
    #[default]
    Poisson,
    /// As far apart as the events that the source replays.
    Trace,
}

/// What the rates of the stages count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RateUnit {
    /// Records.
    #[default]
    Records,
    /// Bytes of data and partition keys.
    Bytes,
}

/// Which call puts records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PutCall {
    /// Up to 500 records at once; each is taken or refused on its own.
    #[default]
    PutRecords,
    /// One record a call.
    PutRecord,
    /// Up to 500 records at once to the delivery stream of Amazon Data Firehose that has the stream's name: without keys
    /// and shards, and nothing can be read back but what lands in the lake.
    PutRecordBatch,
}

/// What the calls that put records are written in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BodyFormat {
    /// JSON with data in base64, as most SDKs write it.
    #[default]
    Json,
    /// CBOR with data as it is, as the SDK for Java writes it: shorter, and with less to hash.
    Cbor,
}

/// What is sent again of a call that was refused, or refused in part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// Nothing: a record is tried once.
    None,
    /// What was refused, after a pause with full jitter, until its deadline.
    #[default]
    Record,
    /// The whole call, as simple clients do: what was taken is there twice, and counted as duplicated.
    Call,
}

/// Which records keep their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// None: a refused record is overtaken by those after it.
    #[default]
    None,
    /// Those of one key, under retries too: one record of a key is under way at a time, which bounds a key's rate by the
    /// round trip. The consumer checks it.
    Key,
}

/// `[load]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = example_load())]
pub struct Load {
    /// How due times are spaced.
    #[serde(default)]
    pub arrival: Arrival,
    /// constant, poisson: the stages, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = example_stages())]
    pub stages: Vec<Stage>,
    /// Records due in the first part of the load, this long, are sent and measured, and kept out of the verdict.
    #[serde(default)]
    pub warm_up: Span,
    /// The same for the last part.
    #[serde(default)]
    pub cool_down: Span,
    /// constant, poisson: what the stages' rates count.
    #[serde(default)]
    pub unit: RateUnit,
    /// trace: seconds of event time per second.
    #[serde(default = "default_trace_speed")]
    #[schemars(example = 3_600.0)]
    pub trace_speed: f64,
    /// trace: the load ends after this long. Absent: it ends with the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = Span::from_secs(30))]
    pub trace_for: Option<Span>,
    /// How long a record may wait for its batch to fill.
    #[serde(default = "default_linger")]
    pub linger: Span,
    /// Records in a PutRecords call at most (AWS: 500).
    #[serde(default = "default_batch_records")]
    pub batch_records: u32,
    /// Bytes of data and keys in a PutRecords call at most (AWS: 10 MiB).
    #[serde(default = "default_batch_bytes")]
    pub batch_bytes: ByteSize,
    /// Which call puts records.
    #[serde(default)]
    pub call: PutCall,
    /// What its body is written in.
    #[serde(default)]
    pub body: BodyFormat,
    /// What is sent again.
    #[serde(default)]
    pub retry: Retry,
    /// Which records keep their order.
    #[serde(default)]
    pub order: Order,
    /// PutRecords calls under way at once at most.
    #[serde(default = "default_in_flight")]
    pub in_flight: u32,
    /// Calls of one shard that send again what was refused, under way at once at most, so that a hot shard's retries hold
    /// up nobody else's. Absent: a quarter of `in_flight`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 4)]
    pub in_flight_per_shard: Option<u32>,
    /// Memory for records that wait to be tried again. When it is full, a shard that has more than its share in it has
    /// further refused records given up.
    #[serde(default = "default_retry_window")]
    pub retry_window: ByteSize,
    /// The longest first pause before a refused record is tried again; doubles with each attempt, drawn with full jitter.
    #[serde(default = "default_retry_base")]
    pub retry_base: Span,
    /// The longest pause between attempts.
    #[serde(default = "default_retry_cap")]
    pub retry_cap: Span,
    /// A record not accepted this long after it was due is given up and counted as refused.
    #[serde(default = "default_deadline")]
    pub deadline: Span,
    /// A record that could only be sent later than this after it was due is not sent at all, and is counted as refused
    /// with the cause `shed`. Absent: however late, it is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = Span::from_secs(1))]
    pub shed_after: Option<Span>,
    /// How long before a call is due the sender stops sleeping and only looks at the clock: more exact, for a core's time.
    #[serde(default)]
    pub spin: Span,
    /// Whether calls are signed (Signature Version 4). AWS takes no others.
    #[serde(default = "default_sign")]
    pub sign: bool,
    /// Whether small records share a record of the stream, in the format of the Kinesis Producer Library.
    #[serde(default)]
    pub aggregate: bool,
    /// Bytes of such a shared record at most (KPL: `AggregationMaxSize`).
    #[serde(default = "default_aggregate_bytes")]
    pub aggregate_bytes: ByteSize,
}

fn example_stages() -> serde_json::Value {
    serde_json::json!([{ "rate": 500, "for": "30s" }])
}
fn example_load() -> serde_json::Value {
    serde_json::json!({ "stages": example_stages() })
}
fn default_trace_speed() -> f64 {
    1.0
}
fn default_sign() -> bool {
    true
}
fn default_retry_window() -> ByteSize {
    ByteSize::from_bytes(16 << 20)
}
fn default_linger() -> Span {
    Span::from_millis(20)
}
fn default_batch_records() -> u32 {
    500
}
fn default_batch_bytes() -> ByteSize {
    ByteSize::from_bytes(5 << 20)
}
fn default_in_flight() -> u32 {
    16
}
fn default_retry_base() -> Span {
    Span::from_millis(100)
}
fn default_retry_cap() -> Span {
    Span::from_secs(5)
}
fn default_deadline() -> Span {
    Span::from_secs(30)
}
fn default_aggregate_bytes() -> ByteSize {
    ByteSize::from_bytes(50 << 10)
}

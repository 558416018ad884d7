//! What was offered to the stream and what the stream did with it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{EventRecord, SkewRecord};

/// Counts of one shard, cause or interval share the names below: `due` in the schedule, `sent` in at least one
/// call, `accepted` by the stream, `refused` given up for good, `refusals` single answers that refused a record.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LoadRecord {
    /// Name of the arrival process.
    pub arrival: String,
    /// Records due over the whole schedule.
    pub due: u64,
    /// Records handed to at least one call.
    pub sent: u64,
    /// Records that were due when the load ended early, by a stop or a failure, and were in no call by then.
    #[serde(default)]
    pub not_sent: u64,
    /// Records the stream accepted.
    pub accepted: u64,
    /// Bytes of data and keys in accepted records.
    pub accepted_bytes: u64,
    /// Records given up: refused or failed until their deadline.
    pub refused: u64,
    /// Records of the source that were kept out and written to `rejects.ndjson`.
    pub rejected_rows: u64,
    /// PutRecords calls.
    pub calls: u64,
    /// PutRecords calls that failed as a whole.
    pub failed_calls: u64,
    /// Refusals by shard and cause. A record refused twice counts twice.
    pub refusals: Vec<Refusals>,
    /// How many records were accepted at the first attempt, the second, and so on; the last row counts all later ones.
    #[serde(default)]
    pub attempts: Vec<u64>,
    /// Whether the records of each key were read in order; absent when the scenario does not ask for it.
    #[serde(default)]
    pub order: Option<OrderRecord>,
    /// From the first due time to the last acknowledgement, microseconds.
    pub elapsed_us: u64,
    /// Length of the schedule, microseconds.
    pub schedule_us: u64,
    /// Records per second the schedule asked for.
    pub target_rate: f64,
    /// Bytes of data and keys in the records whose turn came: all that were due, unless the run was interrupted.
    #[serde(default)]
    pub due_bytes: u64,
    /// How much of a replayed trace could not be kept as it was; null when due times come from stages.
    #[serde(default)]
    pub trace: Option<TraceRecord>,
    /// Records per second handed over by the pacer, over the schedule's length.
    pub offered_rate: f64,
    /// Records per second accepted, over `elapsed_us`.
    pub accepted_rate: f64,
    /// The records that are judged, when warm-up or cool-down keeps others out; absent when all are.
    #[serde(default)]
    pub window: Option<LoadWindow>,
    /// One row per interval of the run.
    pub intervals: Vec<LoadInterval>,
    /// One row per shard.
    pub shards: Vec<ShardLoad>,
    /// How unevenly the load lay on shards and keys. Records of before version 1.2 do not have it.
    #[serde(default)]
    pub skew: Option<SkewRecord>,
    /// What was changed while the load ran, in order of time.
    #[serde(default)]
    pub events: Vec<EventRecord>,
    /// Records that shared a record of the stream; all zero when none were packed.
    #[serde(default)]
    pub aggregation: Aggregation,
    /// Response times of the shards that have none of their own; absent when every shard has.
    #[serde(default)]
    pub pooled_response: Option<PooledResponse>,
    /// From the stream being usable to the first call, microseconds; absent when none went out. Of several workers the
    /// longest.
    #[serde(default)]
    pub first_send_after_ready_us: Option<u64>,
    /// Which worker of a run this is; absent when one generator sent everything, and in a merged record.
    #[serde(default)]
    pub worker: Option<WorkerRecord>,
}

/// One worker among those that share a schedule: it sends every record whose number leaves `index` when divided by `count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerRecord {
    /// Which worker, from 0.
    pub index: u32,
    /// How many workers there are.
    pub count: u32,
    /// Records of this run that it read and other workers had sent; they are in those workers' ledgers.
    pub siblings: u64,
}

/// How far the records of a key kept their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderRecord {
    /// Different keys.
    pub keys: u64,
    /// Records looked at: each once, when it was read first.
    pub checked: u64,
    /// Records read after a later one of their key.
    pub out_of_order: u64,
}

/// What was packed as the Kinesis Producer Library packs it, on both sides of the stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Aggregation {
    /// What the stream accepted.
    pub sent: Packed,
    /// What the consumer read and took apart; what it read twice counts twice.
    pub read: Packed,
}

/// How many records of the stream carried how many records of the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Packed {
    /// Aggregates, each one record to the stream.
    pub kinesis_records: u64,
    /// Records of this run in them.
    pub user_records: u64,
}

/// Counts of the records due between warm-up and cool-down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoadWindow {
    /// Where it begins, microseconds after the first due time.
    pub from_us: u64,
    /// Where it ends, microseconds after the first due time.
    pub until_us: u64,
    /// Records due in it.
    pub due: u64,
    /// Of those, handed over by its end.
    pub offered_in_time: u64,
    /// Of those, given up.
    pub refused: u64,
}

/// Response times of several shards together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PooledResponse {
    /// How many records were timed.
    pub count: u64,
    /// Median, microseconds.
    pub p50_us: u64,
    /// 99th percentile, microseconds.
    pub p99_us: u64,
    /// Largest, microseconds.
    pub max_us: u64,
}

/// What a trace replay met in the event times of its source. Records of the trace that are in none of these were due
/// exactly as far after the first as their events were, divided by the speed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TraceRecord {
    /// Events from before the latest one so far, due together with it.
    pub out_of_order: u64,
    /// Events at the very time of the latest one so far.
    pub simultaneous: u64,
    /// Records without an event time, due together with the record before them.
    pub untimed: u64,
}

/// Refusals of one cause on one shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refusals {
    /// The shard the record's key maps to; absent when the call failed before the shard was known.
    pub shard: Option<String>,
    /// The error code: `ProvisionedThroughputExceededException`, `InternalFailure`, `timeout`.
    pub cause: String,
    /// How many answers refused a record.
    pub refusals: u64,
    /// How many records were given up for it in the end.
    pub records: u64,
}

/// One interval of the load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoadInterval {
    /// Start, microseconds after the first due time.
    pub start_us: u64,
    /// Length, microseconds.
    pub length_us: u64,
    /// Records due in it.
    pub due: u64,
    /// Records the pacer handed over in it.
    pub offered: u64,
    /// Records accepted in it.
    pub accepted: u64,
    /// Refusals in it.
    pub refusals: u64,
    /// PutRecords calls under way at its end.
    pub in_flight: u64,
}

/// What one shard took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ShardLoad {
    /// The shard's id.
    pub shard: String,
    /// Records accepted.
    pub accepted: u64,
    /// Bytes of data and keys accepted.
    pub accepted_bytes: u64,
    /// Refusals.
    pub refusals: u64,
    /// Records read back by the consumer.
    pub read: u64,
    /// Its share of the accepted records, 0 to 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub share: f64,
    /// Response times on this shard; absent for those that are pooled, because only the hottest have their own.
    #[serde(default)]
    pub response: Option<ShardResponse>,
}

/// Response times on one shard, to two significant digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShardResponse {
    /// How many of its records are in it; those before it was among the hottest are in the pool.
    pub count: u64,
    /// Median, microseconds.
    pub p50_us: u64,
    /// 99th percentile, microseconds.
    pub p99_us: u64,
    /// Largest, microseconds.
    pub max_us: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_from_before_there_were_workers_is_read() {
        let mut old = serde_json::to_value(LoadRecord { due: 7, ..LoadRecord::default() }).unwrap();
        let fields = old.as_object_mut().unwrap();
        assert!(fields.remove("worker").is_some() && fields.remove("first_send_after_ready_us").is_some());
        let read: LoadRecord = serde_json::from_value(old).unwrap();
        assert_eq!((read.due, read.worker, read.first_send_after_ready_us), (7, None, None));
    }
}

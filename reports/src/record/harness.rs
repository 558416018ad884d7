//! How the harness itself did: what it used, and whether it was the limit.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The harness's own account.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HarnessRecord {
    /// CPU time of the process while the load ran, microseconds. With the local stream this includes the stream.
    pub cpu_us: u64,
    /// Share of all cores the process used while the load ran, 0 to 1.
    pub cpu_share: f64,
    /// Share of all cores the host gave to others (steal), 0 to 1; absent where /proc/stat has none.
    pub steal_share: Option<f64>,
    /// Largest resident size, bytes.
    pub max_rss_bytes: u64,
    /// Times a batch had to wait because `in_flight` calls were under way.
    pub in_flight_waits: u64,
    /// Longest such wait, microseconds.
    pub in_flight_longest_wait_us: u64,
    /// 99th percentile of lag (send - due), less the linger that the scenario asked for, microseconds. Records that waited
    /// for a target without a connection are not in it: `target_down_records` counts them.
    pub excess_lag_p99_us: u64,
    /// Records that were due while no connection to the target was open, and sent when there was one again.
    #[serde(default)]
    pub target_down_records: u64,
    /// 99th percentile of what a sleeping thread overslept on this host, microseconds.
    pub hiccup_p99_us: u64,
    /// Longest oversleep, microseconds.
    pub hiccup_max_us: u64,
    /// How many sleeps were timed.
    pub hiccup_count: u64,
    /// The same over time, one row per interval of the load.
    #[serde(default)]
    pub intervals: Vec<HarnessInterval>,
    /// Why the harness was the limit; empty when it was not.
    pub limited_by: Vec<String>,
}

/// What process and machine did in one interval. The histogram of its oversleeps is in `latency.hlog` under `hiccup`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HarnessInterval {
    /// Start, microseconds after the first due time.
    pub start_us: u64,
    /// Length, microseconds; longer than an interval when the process was stopped meanwhile.
    pub length_us: u64,
    /// How many sleeps of one millisecond were timed.
    pub hiccup_count: u64,
    /// Median of what they overslept, microseconds.
    pub hiccup_p50_us: u64,
    /// 99th percentile of it, microseconds.
    pub hiccup_p99_us: u64,
    /// Largest, microseconds.
    pub hiccup_max_us: u64,
    /// Share of all cores the process used, 0 to 1.
    pub cpu_share: f64,
    /// Share of all cores the host gave to others, 0 to 1; absent where /proc/stat has none.
    pub steal_share: Option<f64>,
    /// Times a thread of the process waited by itself.
    pub voluntary_switches: u64,
    /// Times a thread was taken off the processor although it had more to do.
    pub involuntary_switches: u64,
    /// Resident size at the end, bytes; zero where /proc does not tell.
    pub rss_bytes: u64,
}

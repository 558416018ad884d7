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
    /// 99th percentile of lag (send - due), less the linger that the scenario asked for, microseconds.
    pub excess_lag_p99_us: u64,
    /// 99th percentile of what a sleeping thread overslept on this host, microseconds.
    pub hiccup_p99_us: u64,
    /// Longest oversleep, microseconds.
    pub hiccup_max_us: u64,
    /// How many sleeps were timed.
    pub hiccup_count: u64,
    /// Why the harness was the limit; empty when it was not.
    pub limited_by: Vec<String>,
}

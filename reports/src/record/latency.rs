//! Latency of one hop: a distribution with its sample size, and its course over time.

use millrace_scenarios::Hop;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The distribution of one hop over the records that are judged, in microseconds. The full histogram, per interval, is in `latency.hlog` under `tag`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HopLatency {
    /// Which hop; also the tag in `latency.hlog`.
    pub hop: Hop,
    /// How many records were timed.
    pub count: u64,
    /// Smallest value, microseconds.
    pub min_us: u64,
    /// Mean, microseconds.
    pub mean_us: f64,
    /// Largest value, microseconds.
    pub max_us: u64,
    /// Values that were below zero (clocks disagree) and were counted as zero.
    pub negative: u64,
    /// Values above the histogram's range, counted at its top.
    pub clamped: u64,
    /// The percentile curve, rising, up to the last percentile that the sample size supports.
    pub curve: Vec<CurvePoint>,
    /// Percentiles per interval of the run, warm-up and cool-down included.
    pub intervals: Vec<LatencyInterval>,
    /// Records due in warm-up or cool-down, which nothing above but the intervals counts; absent when there were none.
    /// Their histograms are in `latency.hlog` under the hop's name with `_outside`.
    #[serde(default)]
    pub outside: Option<OutsideLatency>,
}

/// The distribution of records that are measured and not judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutsideLatency {
    /// How many were timed.
    pub count: u64,
    /// Median, microseconds.
    pub p50_us: u64,
    /// 99th percentile, microseconds.
    pub p99_us: u64,
    /// Largest, microseconds.
    pub max_us: u64,
}

/// A point of a percentile curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CurvePoint {
    /// Percentile, 0 to 100.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub percentile: f64,
    /// Value at it, microseconds.
    pub value_us: u64,
}

/// Percentiles of one interval; a record belongs to the interval it was seen in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LatencyInterval {
    /// Start, microseconds after the first due time.
    pub start_us: u64,
    /// Records timed in it.
    pub count: u64,
    /// Median, microseconds.
    pub p50_us: u64,
    /// 99th percentile, microseconds.
    pub p99_us: u64,
    /// Largest, microseconds.
    pub max_us: u64,
}

impl HopLatency {
    /// The value at a percentile of the curve: the first point at or above it, else the maximum.
    #[must_use]
    pub fn value_at(&self, percentile: f64) -> u64 {
        self.curve.iter().find(|p| p.percentile >= percentile).map_or(self.max_us, |p| p.value_us)
    }

    /// Whether the sample is large enough to state this percentile; otherwise [`Self::value_at`] gives the maximum,
    /// which bounds it from above.
    #[must_use]
    pub fn supports(&self, percentile: f64) -> bool {
        percentile >= 100.0 && self.count > 0
            || self.curve.iter().any(|p| p.percentile >= percentile && p.percentile < 100.0)
    }
}

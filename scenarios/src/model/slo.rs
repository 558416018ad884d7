//! `[[slo]]`: what must hold for the run to pass.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::metric::SloMetric;

/// `[[slo]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slo {
    /// What is bounded: `<hop>_p<percent>_ms` (`response_p99_ms`, `landed_p50_ms`), `refused_share`, `lost_records`,
    /// `duplicated_records`, `quarantined_records` or `rate_error_share`.
    #[schemars(example = &"response_p99_ms")]
    pub metric: SloMetric,
    /// The largest value that passes.
    #[schemars(example = 100)]
    pub max: f64,
}

//! What a query answered and what it cost, on every layout and engine that was asked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// The gzip JSON objects of the lake.
    Raw,
    /// The Delta table.
    Table,
}

/// What read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// DataFusion; its cost is the one quoted.
    Datafusion,
    /// Polars, the independent second opinion.
    Polars,
}

impl Layout {
    /// The name printed for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw lake",
            Self::Table => "table",
        }
    }
}

impl Engine {
    /// The name printed for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Datafusion => "DataFusion",
            Self::Polars => "Polars",
        }
    }
}

/// One query of the scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QueryRecord {
    /// Its name.
    pub name: String,
    /// Its text.
    pub sql: String,
    /// Every measurement.
    pub measurements: Vec<Measurement>,
    /// Whether every measurement gave the same answer. An engine that failed makes this false.
    pub same_answer: bool,
    /// The first rows of the table's answer, as text, with column names first.
    pub preview: Vec<Vec<String>>,
}

impl QueryRecord {
    /// The measurement of one layout by one engine that gave an answer.
    #[must_use]
    pub fn answered(&self, layout: Layout, engine: Engine) -> Option<&Measurement> {
        self.measurements.iter().find(|m| m.layout == layout && m.engine == engine && m.error.is_none())
    }

    /// Bytes read from the raw lake for each byte read from the table, by the engine whose cost is quoted. Below one,
    /// the table lost. Absent when either gave no answer or the table was read without reading a byte.
    #[must_use]
    pub fn bytes_ratio(&self) -> Option<f64> {
        let bytes = |layout| self.answered(layout, Engine::Datafusion).map(|m| m.bytes as f64);
        let ratio = bytes(Layout::Raw)? / bytes(Layout::Table)?;
        ratio.is_finite().then_some(ratio)
    }
}

/// One query on one layout by one engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measurement {
    /// What was read.
    pub layout: Layout,
    /// What read it.
    pub engine: Engine,
    /// Why there is no answer; absent when there is one.
    pub error: Option<String>,
    /// Rows of the answer.
    pub rows: u64,
    /// Order-free hash of the answer (hex): equal answers have equal hashes.
    pub answer: String,
    /// Wall time, microseconds.
    pub wall_us: u64,
    /// CPU time of the process, microseconds.
    pub cpu_us: u64,
    /// Bytes of data read from the store.
    pub bytes: u64,
    /// GET requests to the store.
    pub gets: u64,
    /// LIST requests to the store.
    pub lists: u64,
    /// HEAD requests to the store.
    pub heads: u64,
    /// Bytes Athena would bill: `bytes` rounded up to MB with the 10 MB minimum.
    pub billed_bytes: u64,
    /// What Athena and the requests would cost, US dollars.
    pub cost_usd: f64,
}

/// Prices with their date and source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PriceSheet {
    /// When the prices were read, `YYYY-MM-DD`.
    pub date: String,
    /// The AWS region they are for.
    pub region: String,
    /// Athena, US dollars per TB scanned.
    pub athena_usd_per_tb: f64,
    /// Athena's minimum per query, bytes.
    pub athena_min_bytes: u64,
    /// S3 GET, US dollars per thousand.
    pub s3_get_usd_per_1000: f64,
    /// S3 PUT and LIST, US dollars per thousand.
    pub s3_put_usd_per_1000: f64,
    /// Where the prices come from.
    pub source: String,
}

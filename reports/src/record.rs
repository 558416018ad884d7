//! `run.json`: one run as data. Its JSON schema is published by [`schema`] and kept under `docs/`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod compaction;
mod event;
mod file;
mod harness;
mod latency;
mod ledger;
mod load;
mod query;
mod schema;
mod skew;
mod verdict;

pub use compaction::*;
pub use event::*;
pub use file::FILE_NAME;
pub use harness::*;
pub use latency::*;
pub use ledger::*;
pub use load::*;
pub use query::*;
pub use schema::schema;
pub use skew::*;
pub use verdict::*;

/// Version of the shape. The first number changes when a reader of the old shape would be wrong.
pub const SCHEMA_VERSION: &str = "1.2";

/// One run, complete: what was asked, what happened, what it proves and what it does not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunRecord {
    /// Version of this shape, `major.minor`.
    #[schemars(regex(pattern = r"^1\.[0-9]+$"))]
    pub schema_version: String,
    /// Who, when, where.
    pub run: RunInfo,
    /// The scenario as it was run, every default and override in place.
    #[schemars(with = "millrace_scenarios::Scenario")]
    pub scenario: serde_json::Value,
    /// What the run proves.
    pub verdict: Verdict,
    /// What was offered, sent, accepted and refused.
    pub load: Option<LoadRecord>,
    /// Latency by hop. A hop that was not measured is absent and named in `not_measured`.
    pub latency: Vec<HopLatency>,
    /// Conservation, per hop.
    pub ledger: Ledger,
    /// What was landed in the lake.
    pub delivery: Option<DeliveryRecord>,
    /// What was compacted into the table.
    pub compaction: Option<CompactionRecord>,
    /// What the scenario's queries answered and cost.
    pub queries: Vec<QueryRecord>,
    /// The prices the costs were computed with.
    pub prices: Option<PriceSheet>,
    /// How the harness itself did.
    pub harness: HarnessRecord,
    /// What this run did not measure, each in a sentence.
    pub not_measured: Vec<String>,
}

/// Who ran what, when and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunInfo {
    /// The run's id, which all its workers share: `<scenario>-<UTC start>-<4 hex of seed and start>`, or as it was given.
    pub id: String,
    /// The scenario's name.
    pub scenario: String,
    /// The scenario's description.
    pub description: String,
    /// Which legs ran, in order: `load`, `compact`, `query`.
    pub legs: Vec<String>,
    /// Start, RFC 3339 UTC with microseconds.
    pub started_at: String,
    /// End, RFC 3339 UTC with microseconds.
    pub ended_at: String,
    /// Millrace's version.
    pub millrace_version: String,
    /// The seed of every draw.
    pub seed: u64,
    /// Sum modulo 2^256 (hex) of the SHA-256 of every record sent: payload before stamping, key, due offset and number.
    /// Equal for equal seeds; those of all workers add up to the one of a single generator.
    pub fingerprint: String,
    /// What was loaded: `local` or the endpoint's host, never credentials.
    pub target: String,
    /// The machine: operating system, kernel, CPU model, cores, memory.
    pub host: BTreeMap<String, String>,
}

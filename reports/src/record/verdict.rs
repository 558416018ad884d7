//! The verdict: every promise, kept or broken, and the exit code that follows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the run ended.
///
/// When several apply: interrupted, failed, broken by a record that cannot be accounted for, harness-limited, broken
/// by anything else, kept. A harness that was the limit voids every measurement but excuses no lost record; see
/// [`crate::verdict::judge`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Stopped by a signal: reported, never gated. Exit 130.
    Interrupted,
    /// The environment failed: target unreachable, disk full, no permission. Exit 3.
    Failed,
    /// A record could not be accounted for, or an SLO or check was missed. Exit 1.
    Broken,
    /// The harness was the limit: the measurement is not valid. Exit 4.
    HarnessLimited,
    /// All promises kept. Exit 0.
    Kept,
}

impl Outcome {
    /// The process exit code.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Kept => 0,
            Self::Broken => 1,
            Self::Failed => 3,
            Self::HarnessLimited => 4,
            Self::Interrupted => 130,
        }
    }

    /// The word printed for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Kept => "PASS",
            Self::Broken => "FAIL",
            Self::Failed => "ERROR",
            Self::HarnessLimited => "HARNESS-LIMITED",
            Self::Interrupted => "INTERRUPTED",
        }
    }
}

/// What kind of promise it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PromiseKind {
    /// No record is unaccounted for.
    Conservation,
    /// The records of a key were read in the order they were due.
    Order,
    /// Raw lake and table give the same answer.
    Answers,
    /// An SLO of the scenario.
    Slo,
    /// The harness was not the limit.
    Harness,
    /// The run reached its end.
    Environment,
}

/// One thing that had to hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Promise {
    /// What kind of promise.
    pub kind: PromiseKind,
    /// Short name: `producer ledger`, `response_p99_ms`.
    pub name: String,
    /// Whether it held.
    pub kept: bool,
    /// What was found against what was asked, one sentence with numbers, units and sample size.
    pub detail: String,
}

/// All promises and what follows from them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// The outcome.
    pub outcome: Outcome,
    /// The process's exit code.
    pub exit_code: u8,
    /// One sentence that a person reads first.
    pub summary: String,
    /// Every promise, broken ones first.
    pub promises: Vec<Promise>,
}

//! Conservation: what went into a hop is what came out of it, by name and number.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The hop whose equation holds what the target said it took against what was read from it.
pub const STREAM_HOP: &str = "stream";

/// Every hop's equation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ledger {
    /// The hops in order: producer, stream, delivery, table, and the whole way.
    pub hops: Vec<LedgerHop>,
    /// Per shard: accepted by the stream against read by the consumer.
    pub shards: Vec<LedgerShard>,
    /// Records accepted but never read by the consumer.
    pub lost: u64,
    /// Records the consumer read more than once.
    pub duplicated: u64,
    /// Records read of this run that were never acknowledged to the producer (accepted by a call whose answer was lost).
    pub unacknowledged: u64,
    /// Ranges of sequence numbers that were lost, the first hundred, inclusive.
    pub lost_ranges: Vec<(u64, u64)>,
}

/// One hop's equation: `taken` = sum of `parts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerHop {
    /// The hop's name.
    pub hop: String,
    /// What went in: a name and how many.
    pub taken: LedgerPart,
    /// What became of it.
    pub parts: Vec<LedgerPart>,
    /// `taken` minus the sum of `parts`; zero when the hop closes.
    pub difference: i64,
}

/// A named count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerPart {
    /// What is counted.
    pub name: String,
    /// How many records.
    pub records: u64,
}

/// One shard's equation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerShard {
    /// The shard's id.
    pub shard: String,
    /// Records the producer was told are stored on it.
    pub accepted: u64,
    /// Different records the consumer read from it.
    pub read: u64,
    /// Records the consumer read from it again.
    pub duplicated: u64,
}

impl LedgerHop {
    /// Makes the equation and computes its difference.
    #[must_use]
    pub fn new(hop: &str, taken: (&str, u64), parts: &[(&str, u64)]) -> Self {
        let part = |(name, records): &(&str, u64)| LedgerPart { name: (*name).to_owned(), records: *records };
        let sum: i128 = parts.iter().map(|(_, n)| i128::from(*n)).sum();
        let difference = i64::try_from(i128::from(taken.1) - sum).unwrap_or(i64::MAX);
        Self { hop: hop.to_owned(), taken: part(&taken), parts: parts.iter().map(part).collect(), difference }
    }

    /// Whether every record is accounted for.
    #[must_use]
    pub const fn closes(&self) -> bool {
        self.difference == 0
    }

    /// The equation as text: `sent 100 = stored 98 + refused 2`.
    #[must_use]
    pub fn equation(&self) -> String {
        let parts: Vec<_> = self.parts.iter().map(|p| format!("{} {}", p.name, p.records)).collect();
        let sign = if self.closes() { "=" } else { "!=" };
        format!("{} {} {sign} {}", self.taken.name, self.taken.records, parts.join(" + "))
    }
}

impl Ledger {
    /// Whether somebody looked at what the target took. Where nobody could, `lost`, `duplicated` and `unacknowledged` are
    /// zero and mean nothing.
    #[must_use]
    pub fn is_witnessed(&self) -> bool {
        self.lost > 0 || self.hops.iter().any(|hop| hop.hop == STREAM_HOP)
    }

    /// Whether every hop closes and no record was lost.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.lost == 0 && self.hops.iter().all(LedgerHop::closes)
    }
}

//! The judge: every promise of a run, kept or broken, from the numbers alone.
//!
//! A pure function of the evidence, so that a record can be judged again by anyone and gives the same verdict.

mod slo;

pub use slo::answerable;

use millrace_scenarios::{Hop, Slo};

use crate::{
    humanize::{count, counted, duration_us, signed},
    record::{
        CompactionRecord, HarnessRecord, HopLatency, Ledger, LedgerHop, LoadRecord, Outcome, Promise, PromiseKind,
        QueryRecord, RunRecord, Verdict,
    },
};

/// Everything a verdict is drawn from: the parts of a [`RunRecord`] but its verdict, and how the run came to its end.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// What must hold. SLOs of legs that did not run are taken out first with [`answerable`].
    pub slos: &'a [Slo],
    /// What was offered, sent and accepted; absent when no load ran.
    pub load: Option<&'a LoadRecord>,
    /// Latency by hop.
    pub latency: &'a [HopLatency],
    /// Conservation, per hop and shard.
    pub ledger: &'a Ledger,
    /// What was compacted; absent when nothing was.
    pub compaction: Option<&'a CompactionRecord>,
    /// What the queries answered.
    pub queries: &'a [QueryRecord],
    /// How the harness did.
    pub harness: &'a HarnessRecord,
    /// Whether a signal ended the run.
    pub interrupted: bool,
    /// Why the environment failed (target unreachable, disk full); absent when it did not.
    pub failure: Option<&'a str>,
}

impl<'a> Evidence<'a> {
    /// The evidence in a record of a run that came to its end; the record's own verdict is not looked at.
    #[must_use]
    pub fn of(record: &'a RunRecord, slos: &'a [Slo]) -> Self {
        Self {
            slos,
            load: record.load.as_ref(),
            latency: &record.latency,
            ledger: &record.ledger,
            compaction: record.compaction.as_ref(),
            queries: &record.queries,
            harness: &record.harness,
            interrupted: false,
            failure: None,
        }
    }

    fn hop(&self, hop: Hop) -> Option<&'a HopLatency> {
        self.latency.iter().find(|h| h.hop == hop && h.count > 0)
    }
}

/// Judges a run.
///
/// Precedence of outcomes: interrupted, failed, a record unaccounted for, harness-limited, any other promise broken,
/// kept. Promises come broken ones first, otherwise in the order conservation, answers, SLOs, harness, environment.
#[must_use]
pub fn judge(evidence: &Evidence<'_>) -> Verdict {
    let mut promises = conservation(evidence);
    promises.extend(order(evidence));
    promises.extend(evidence.queries.iter().map(answer));
    promises.extend(evidence.slos.iter().map(|bound| slo::promise(bound, evidence)));
    promises.extend(harness(evidence));
    promises.extend(nothing_taken(evidence));
    promises.push(environment(evidence));
    promises.sort_by_key(|p| p.kept);
    let outcome = outcome(evidence, &promises);
    let summary = summary(outcome, evidence, &promises);
    Verdict { outcome, exit_code: outcome.exit_code(), summary, promises }
}

fn outcome(evidence: &Evidence<'_>, promises: &[Promise]) -> Outcome {
    let broken = |kind| promises.iter().any(|p| !p.kept && p.kind == kind);
    if evidence.interrupted {
        Outcome::Interrupted
    } else if evidence.failure.is_some() {
        Outcome::Failed
    } else if broken(PromiseKind::Conservation) {
        Outcome::Broken
    } else if broken(PromiseKind::Harness) {
        Outcome::HarnessLimited
    } else if promises.iter().any(|p| !p.kept) {
        Outcome::Broken
    } else {
        Outcome::Kept
    }
}

/// One promise per hop, one for the shards and one for lost records.
fn conservation(evidence: &Evidence<'_>) -> Vec<Promise> {
    let ledger = evidence.ledger;
    let promise = |name: String, kept, detail| Promise { kind: PromiseKind::Conservation, name, kept, detail };
    let mut promises: Vec<_> =
        ledger.hops.iter().map(|hop| promise(format!("{} ledger", hop.hop), hop.closes(), equation(hop))).collect();
    if evidence.load.is_none() && evidence.compaction.is_none() {
        return promises;
    }
    if ledger.hops.is_empty() {
        promises.push(promise("ledger".to_owned(), false, "not measured: no hop counted its records".to_owned()));
    }
    if !ledger.shards.is_empty() {
        let (kept, detail) = shards(ledger);
        promises.push(promise("shard ledger".to_owned(), kept, detail));
    }
    // Where nobody could read, nothing is said about what was lost.
    if let Some(load) = evidence.load.filter(|_| ledger.is_witnessed()) {
        let detail = match ledger.lost_ranges.first() {
            Some((first, last)) if ledger.lost > 0 => format!(
                "{} of {} accepted never read, the first in sequence {} to {}",
                counted(ledger.lost, "record", "records"),
                count(load.accepted),
                count(*first),
                count(*last)
            ),
            _ => format!("{} lost of {} accepted", count(ledger.lost), counted(load.accepted, "record", "records")),
        };
        promises.push(promise("no record lost".to_owned(), ledger.lost == 0, detail));
    }
    promises
}

fn equation(hop: &LedgerHop) -> String {
    let parts: Vec<_> = hop.parts.iter().map(|p| format!("{} {}", p.name, count(p.records))).collect();
    let (sign, gap) = match hop.difference {
        0 => ("=", String::new()),
        d => ("≠", format!(" (difference {})", signed(d))),
    };
    format!("{} {} {sign} {}{gap}", hop.taken.name, count(hop.taken.records), parts.join(" + "))
}

/// Over all shards: accepted + unacknowledged = read + lost; and no shard gave back fewer than it took.
fn shards(ledger: &Ledger) -> (bool, String) {
    let sum =
        |of: fn(&crate::record::LedgerShard) -> u64| ledger.shards.iter().map(|s| u128::from(of(s))).sum::<u128>();
    let (accepted, read) = (sum(|s| s.accepted), sum(|s| s.read));
    let closes = accepted + u128::from(ledger.unacknowledged) == read + u128::from(ledger.lost);
    let short: Vec<_> = ledger.shards.iter().filter(|s| s.read < s.accepted).collect();
    let number = |n: u128| count(u64::try_from(n).unwrap_or(u64::MAX));
    let detail = match short.first() {
        Some(shard) => format!(
            "{} of {} gave back fewer records than it took, first {}: accepted {}, read {}",
            short.len(),
            counted(ledger.shards.len() as u64, "shard", "shards"),
            shard.shard,
            count(shard.accepted),
            count(shard.read)
        ),
        None => format!(
            "over {}: accepted {} + unacknowledged {} {} read {} + lost {}",
            counted(ledger.shards.len() as u64, "shard", "shards"),
            number(accepted),
            count(ledger.unacknowledged),
            if closes { "=" } else { "≠" },
            number(read),
            count(ledger.lost)
        ),
    };
    (closes && short.is_empty(), detail)
}

/// The order of keys, where the scenario promises it.
fn order(evidence: &Evidence<'_>) -> Option<Promise> {
    let order = evidence.load?.order?;
    let detail = format!(
        "{} of {} read after a later one of their key, over {}",
        count(order.out_of_order),
        counted(order.checked, "record", "records"),
        counted(order.keys, "key", "keys")
    );
    let kept = order.out_of_order == 0;
    Some(Promise { kind: PromiseKind::Order, name: "order of keys".to_owned(), kept, detail })
}

fn answer(query: &QueryRecord) -> Promise {
    let measured = query.measurements.len();
    let rows = query.measurements.first().map_or(0, |m| m.rows);
    let failed = query.measurements.iter().find_map(|m| m.error.as_deref().map(|e| (m, e)));
    let detail = match failed {
        Some((m, error)) => format!("{} on {} failed: {error}", m.engine.name(), m.layout.name()),
        None if measured == 0 => "not measured: no engine was asked".to_owned(),
        None if query.same_answer => {
            format!(
                "the same {} from {}",
                counted(rows, "row", "rows"),
                counted(measured as u64, "measurement", "measurements")
            )
        }
        None => {
            let rows: Vec<_> = query
                .measurements
                .iter()
                .map(|m| format!("{} on {} {}", m.engine.name(), m.layout.name(), counted(m.rows, "row", "rows")))
                .collect();
            format!("the answers differ: {}", rows.join(", "))
        }
    };
    let kept = query.same_answer && measured > 0 && failed.is_none();
    Promise { kind: PromiseKind::Answers, name: format!("{} answer", query.name), kept, detail }
}

fn harness(evidence: &Evidence<'_>) -> Option<Promise> {
    let harness = evidence.harness;
    let kept = harness.limited_by.is_empty();
    if evidence.load.is_none() && kept {
        return None;
    }
    let detail = if kept {
        let down = match harness.target_down_records {
            0 => String::new(),
            n => format!(", {} waited for a target that was down", counted(n, "record", "records")),
        };
        format!(
            "lag beyond the linger p99 {}, oversleep p99 {} (n = {}), {} waited for a call to end{down}",
            duration_us(harness.excess_lag_p99_us),
            duration_us(harness.hiccup_p99_us),
            count(harness.hiccup_count),
            counted(harness.in_flight_waits, "batch", "batches"),
        )
    } else {
        harness.limited_by.join("; ")
    };
    Some(Promise { kind: PromiseKind::Harness, name: "harness was not the limit".to_owned(), kept, detail })
}

/// A target that took nothing at all measured nothing, whatever else holds.
fn nothing_taken(evidence: &Evidence<'_>) -> Option<Promise> {
    let load = evidence.load.filter(|load| load.accepted == 0 && load.refused > 0)?;
    let most = load.refusals.iter().max_by_key(|refusals| refusals.records).map_or("unknown", |most| &most.cause);
    let due = counted(load.due, "due record", "due records");
    let detail = format!("not one of {due} was accepted; the most frequent cause: {most}");
    Some(Promise { kind: PromiseKind::Environment, name: "target takes records".to_owned(), kept: false, detail })
}

fn environment(evidence: &Evidence<'_>) -> Promise {
    let (kept, detail) = match evidence.failure {
        _ if evidence.interrupted => (false, "stopped by a signal".to_owned()),
        Some(reason) => (false, reason.to_owned()),
        None => (true, "the run reached its end".to_owned()),
    };
    Promise { kind: PromiseKind::Environment, name: "run complete".to_owned(), kept, detail }
}

/// One sentence that a person reads first.
fn summary(outcome: Outcome, evidence: &Evidence<'_>, promises: &[Promise]) -> String {
    let facts = facts(evidence);
    let broken: Vec<_> = promises.iter().filter(|p| !p.kept).collect();
    match outcome {
        Outcome::Interrupted => format!("The run was interrupted and is not gated; until then: {facts}."),
        Outcome::Failed => {
            format!("The run failed: {}; until then: {facts}.", evidence.failure.unwrap_or("no reason was given"))
        }
        Outcome::HarnessLimited => {
            format!(
                "The harness was the limit, so the measurement is not valid: {}.",
                evidence.harness.limited_by.join("; ")
            )
        }
        Outcome::Kept => format!("All {} hold: {facts}.", counted(promises.len() as u64, "promise", "promises")),
        Outcome::Broken => {
            let first = broken.first().map_or_else(String::new, |p| format!("{}: {}", p.name, p.detail));
            let more = match broken.len() {
                0 | 1 => String::new(),
                n => format!("; and {} more", n - 1),
            };
            format!(
                "{} of {} broken: {first}{more}.",
                broken.len(),
                counted(promises.len() as u64, "promise", "promises")
            )
        }
    }
}

/// The run in numbers, for the summary.
fn facts(evidence: &Evidence<'_>) -> String {
    let mut facts = Vec::new();
    if let Some(load) = evidence.load {
        facts.push(format!("{} due, {} accepted", counted(load.due, "record", "records"), count(load.accepted)));
        facts.push(match evidence.ledger.is_witnessed() {
            true => format!("{} lost, {} duplicated", count(evidence.ledger.lost), count(evidence.ledger.duplicated)),
            false => "nobody could read them back".to_owned(),
        });
    }
    if let Some(response) = evidence.hop(Hop::Response) {
        let percentile = if response.supports(99.0) { "p99" } else { "max" };
        facts.push(format!("response {percentile} {}", duration_us(response.value_at(99.0))));
    }
    if let Some(compaction) = evidence.compaction {
        facts.push(format!("{} in the table", counted(compaction.table_rows, "row", "rows")));
    }
    match evidence.queries.len() {
        0 => {}
        n => {
            let same = evidence.queries.iter().filter(|q| q.same_answer).count();
            facts.push(format!("{same} of {} with the same answer everywhere", counted(n as u64, "query", "queries")));
        }
    }
    if facts.is_empty() { "nothing was measured".to_owned() } else { facts.join(", ") }
}

#[cfg(test)]
mod tests;

//! What everyone learnt, as the one outcome of the load.

use std::{collections::HashMap, sync::Arc};

use millrace_reports::record::{
    Aggregation, EventRecord, HarnessRecord, LedgerShard, LoadInterval, LoadRecord, LoadWindow, Packed, ShardLoad,
};
use millrace_scenarios::{Arrival, Scenario};

use super::{LoadOutcome, timetable};
use crate::{
    consumer::Consumed,
    keys::KeyPlan,
    ledger::Ledger,
    pacer::Paced,
    producer::{Counts, Produced, api::NO_SHARD},
    shards::ShardMap,
    skew::skew,
};

/// What each part of a load has learnt.
pub(super) struct Learnt {
    pub(super) first_due_us: u64,
    pub(super) intervals: Vec<LoadInterval>,
    /// The shards that the stream had when the load began.
    pub(super) shard_map: ShardMap,
    pub(super) keys: KeyPlan,
    pub(super) events: Vec<EventRecord>,
    pub(super) paced: Paced,
    pub(super) produced: Produced,
    pub(super) consumed: Option<Consumed>,
    /// What a witness that is not part of the load has seen.
    pub(super) witnessed: Option<Ledger>,
    pub(super) harness: HarnessRecord,
}

/// Sums it up.
pub(super) fn outcome(scenario: &Scenario, learnt: Learnt) -> LoadOutcome {
    let Learnt { first_due_us, intervals, shard_map, keys, events, paced, produced, consumed, witnessed, harness } =
        learnt;
    let shards = shard_loads(&shard_map, &produced, consumed.as_ref().map(|consumed| &consumed.ledger));
    let skew = (!shards.is_empty()).then(|| skew(&keys, &shard_map, &shards, &paced.keys));
    let counts = produced.counts;
    let per_second = |records: u64, us: u64| if us == 0 { 0.0 } else { records as f64 / (us as f64 / 1e6) };
    let elapsed_us = counts.last_ack_us.saturating_sub(first_due_us);
    let (ledger, foreign, siblings, packed, read_latency, order) = match consumed {
        Some(c) => (Some(c.ledger), c.foreign, c.siblings, c.packed, c.latency.to_vec(), c.order),
        None => (witnessed, 0, 0, Packed::default(), Vec::new(), None),
    };
    // Without a witness nothing was seen, and nothing is missed either.
    let account = ledger.as_ref().map(|ledger| ledger.account(&produced.accepted)).unwrap_or_default();
    let accepted_by_shard = produced.shards.iter().map(|(shard, c)| (Arc::clone(shard), c.accepted)).collect();
    let record = LoadRecord {
        arrival: arrival_name(scenario.load.arrival).to_owned(),
        due: paced.due,
        sent: counts.sent,
        not_sent: paced.not_sent,
        accepted: counts.accepted,
        accepted_bytes: counts.accepted_bytes,
        refused: counts.refused,
        rejected_rows: paced.rejected_rows,
        calls: counts.calls,
        failed_calls: counts.failed_calls,
        refusals: produced.refusals.clone(),
        attempts: produced.attempts.clone(),
        order,
        elapsed_us,
        schedule_us: paced.schedule_us,
        target_rate: per_second(paced.due, paced.schedule_us),
        due_bytes: paced.due_bytes,
        trace: paced.trace,
        offered_rate: per_second(paced.offered_in_time, paced.schedule_us),
        accepted_rate: per_second(counts.accepted, elapsed_us),
        window: load_window(scenario, &paced, &produced),
        intervals,
        pooled_response: produced.pooled_response,
        shards,
        skew,
        events,
        aggregation: Aggregation { sent: packed_by(scenario, &counts), read: packed },
        first_send_after_ready_us: None,
        worker: None,
    };
    LoadOutcome {
        record,
        latency: produced.latency.into_iter().chain(read_latency).collect(),
        lost: account.lost,
        duplicated: account.duplicated,
        unacknowledged: account.unacknowledged,
        lost_ranges: account.lost_ranges,
        shards: ledger.as_ref().map(|ledger| shard_rows(ledger, &accepted_by_shard)).unwrap_or_default(),
        read: ledger.map(|ledger| ledger.seen().len()),
        foreign,
        siblings,
        harness,
        fingerprint: paced.fingerprint,
        interrupted: paced.interrupted,
        failure: None,
        first_due_us,
    }
}

/// Accepted against read, of every shard that there is.
fn shard_rows(ledger: &Ledger, accepted: &HashMap<Arc<str>, u64>) -> Vec<LedgerShard> {
    let mut rows = ledger.shard_rows(accepted);
    rows.retain(|row| row.shard != NO_SHARD);
    rows
}

/// What the producer packed.
fn packed_by(scenario: &Scenario, counts: &Counts) -> Packed {
    match scenario.load.aggregate {
        true => Packed { kinesis_records: counts.accepted_entries, user_records: counts.accepted },
        false => Packed::default(),
    }
}

/// What is judged, when not all is. Each record due is accepted or given up in the end, so what was due in the window
/// and has no response time was given up.
fn load_window(scenario: &Scenario, paced: &Paced, produced: &Produced) -> Option<LoadWindow> {
    let (warm_up_us, cool_down_us) = (scenario.load.warm_up.as_us(), scenario.load.cool_down.as_us());
    (warm_up_us > 0 || cool_down_us > 0).then(|| LoadWindow {
        from_us: warm_up_us,
        // A load of unknown length has no last part, and ended where it ended.
        until_us: timetable(scenario).total_us().unwrap_or(paced.schedule_us).saturating_sub(cool_down_us),
        due: paced.window.due(),
        offered_in_time: paced.window.offered_in_time(),
        refused: paced.window.due().saturating_sub(produced.latency[2].count),
    })
}

/// The arrival process as scenarios write it.
const fn arrival_name(arrival: Arrival) -> &'static str {
    match arrival {
        Arrival::Constant => "constant",
        Arrival::Poisson => "poisson",
        Arrival::Trace => "trace",
    }
}

/// One row per shard, by name; an idle shard has a row too, or the hottest one's share would flatter.
fn shard_loads(shard_map: &ShardMap, produced: &Produced, ledger: Option<&Ledger>) -> Vec<ShardLoad> {
    let open = shard_map.open().iter().map(|shard| &shard.id);
    let reads = ledger.map(Ledger::shards);
    let read_from = reads.into_iter().flat_map(|shards| shards.keys());
    let mut names: Vec<&Arc<str>> = open.chain(produced.shards.keys()).chain(read_from).collect();
    names.retain(|name| name.as_ref() != NO_SHARD);
    names.sort_unstable();
    names.dedup();
    let total = produced.counts.accepted.max(1) as f64;
    let row = |name: &Arc<str>| {
        let counts = produced.shards.get(name).copied().unwrap_or_default();
        ShardLoad {
            shard: name.to_string(),
            accepted: counts.accepted,
            accepted_bytes: counts.accepted_bytes,
            refusals: counts.refusals,
            read: reads.and_then(|shards| shards.get(name)).map_or(0, |reads| reads.read),
            share: counts.accepted as f64 / total,
            response: produced.shard_responses.get(name).copied(),
        }
    };
    names.into_iter().map(row).collect()
}

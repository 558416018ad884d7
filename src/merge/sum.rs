//! The counts of several workers as one. Everything counted is added; what is a state of a moment or a machine is the
//! worst of them; no rate and no share is averaged, each is computed again from the sums.

use std::collections::BTreeMap;

use millrace_reports::record::{
    Aggregation, HarnessInterval, HarnessRecord, Ledger, LedgerShard, LoadInterval, LoadRecord, LoadWindow,
    OrderRecord, Packed, Refusals, ShardLoad,
};

use super::{skew, team::Part};

/// How many lost ranges a ledger names.
const LOST_RANGES_NAMED: usize = 100;

/// The load as a whole. Times count from `origin_us`, the earliest first due time.
pub(super) fn load(parts: &[Part], origin_us: u64) -> LoadRecord {
    let sum = |of: fn(&LoadRecord) -> u64| parts.iter().map(|part| of(&part.load)).sum::<u64>();
    let last = |of: fn(&LoadRecord) -> u64| parts.iter().map(|part| after(part, origin_us) + of(&part.load)).max();
    let (schedule_us, elapsed_us) = (last(|l| l.schedule_us).unwrap_or(0), last(|l| l.elapsed_us).unwrap_or(0));
    let per_second = |records: f64, us: u64| if us == 0 { 0.0 } else { records / (us as f64 / 1e6) };
    let offered: f64 =
        parts.iter().map(|part| (part.load.offered_rate * part.load.schedule_us as f64 / 1e6).round()).sum();
    let shards = shards(parts);
    LoadRecord {
        arrival: parts.first().map_or_else(String::new, |part| part.load.arrival.clone()),
        due: sum(|l| l.due),
        sent: sum(|l| l.sent),
        not_sent: sum(|l| l.not_sent),
        accepted: sum(|l| l.accepted),
        accepted_bytes: sum(|l| l.accepted_bytes),
        refused: sum(|l| l.refused),
        rejected_rows: sum(|l| l.rejected_rows),
        calls: sum(|l| l.calls),
        failed_calls: sum(|l| l.failed_calls),
        refusals: refusals(parts),
        attempts: attempts(parts),
        order: order(parts),
        elapsed_us,
        schedule_us,
        target_rate: per_second(sum(|l| l.due) as f64, schedule_us),
        offered_rate: per_second(offered, schedule_us),
        accepted_rate: per_second(sum(|l| l.accepted) as f64, elapsed_us),
        due_bytes: sum(|l| l.due_bytes),
        // Workers cannot share a trace.
        trace: None,
        window: window(parts, origin_us),
        intervals: intervals(parts, origin_us),
        // Percentiles of several workers cannot be had from those of each, and the log has none by shard.
        pooled_response: None,
        skew: skew::joined(parts, &shards),
        // The first worker alone changes the stream, so nothing is there twice.
        events: parts.iter().flat_map(|part| part.load.events.iter().cloned()).collect(),
        shards,
        aggregation: Aggregation { sent: packed(parts, |a| a.sent), read: packed(parts, |a| a.read) },
        first_send_after_ready_us: parts.iter().filter_map(|part| part.load.first_send_after_ready_us).max(),
        worker: None,
    }
}

/// How long after `origin_us` a worker's first record was due.
fn after(part: &Part, origin_us: u64) -> u64 {
    part.latency.origin_us.saturating_sub(origin_us)
}

/// What is judged, when not all is: workers share the schedule, and so where it begins and ends.
fn window(parts: &[Part], origin_us: u64) -> Option<LoadWindow> {
    let shifted = |part: &Part| {
        let (after_us, own) = (after(part, origin_us), part.load.window?);
        Some(LoadWindow { from_us: after_us + own.from_us, until_us: after_us + own.until_us, ..own })
    };
    parts.iter().filter_map(shifted).reduce(|all, one| LoadWindow {
        from_us: all.from_us.min(one.from_us),
        until_us: all.until_us.max(one.until_us),
        due: all.due + one.due,
        offered_in_time: all.offered_in_time + one.offered_in_time,
        refused: all.refused + one.refused,
    })
}

fn refusals(parts: &[Part]) -> Vec<Refusals> {
    let mut sums: BTreeMap<(Option<&str>, &str), (u64, u64)> = BTreeMap::new();
    for row in parts.iter().flat_map(|part| &part.load.refusals) {
        let (refusals, records) = sums.entry((row.shard.as_deref(), &row.cause)).or_default();
        *refusals += row.refusals;
        *records += row.records;
    }
    let row = |((shard, cause), (refusals, records)): ((Option<&str>, &str), (u64, u64))| Refusals {
        shard: shard.map(str::to_owned),
        cause: cause.to_owned(),
        refusals,
        records,
    };
    sums.into_iter().map(row).collect()
}

fn packed(parts: &[Part], of: fn(&Aggregation) -> Packed) -> Packed {
    parts.iter().map(|part| of(&part.load.aggregation)).fold(Packed::default(), |sum, one| Packed {
        kinesis_records: sum.kinesis_records + one.kinesis_records,
        user_records: sum.user_records + one.user_records,
    })
}

/// By the number of attempts; workers need not have had as many.
fn attempts(parts: &[Part]) -> Vec<u64> {
    let mut sums = vec![0; parts.iter().map(|part| part.load.attempts.len()).max().unwrap_or(0)];
    for part in parts {
        sums.iter_mut().zip(&part.load.attempts).for_each(|(sum, records)| *sum += records);
    }
    sums
}

/// Each worker looks at the order of its own records; keys that several have are counted once.
fn order(parts: &[Part]) -> Option<OrderRecord> {
    let orders = || parts.iter().filter_map(|part| part.load.order);
    let keys = orders().map(|order| order.keys).max()?;
    let checked = orders().map(|order| order.checked).sum();
    Some(OrderRecord { keys, checked, out_of_order: orders().map(|order| order.out_of_order).sum() })
}

/// Rows of the length that the longest but the last rows have, by the wall clock. All but the last are whole.
fn intervals(parts: &[Part], origin_us: u64) -> Vec<LoadInterval> {
    let starts = parts.iter().flat_map(|part| part.load.intervals.windows(2));
    let single = parts.iter().flat_map(|part| &part.load.intervals).map(|row| row.length_us).max();
    let Some(interval_us) = starts.map(|pair| pair[1].start_us - pair[0].start_us).max().or(single) else {
        return Vec::new();
    };
    let interval_us = interval_us.max(1);
    let mut rows: BTreeMap<u64, LoadInterval> = BTreeMap::new();
    let mut end_us = 0;
    for part in parts {
        for row in &part.load.intervals {
            let start_us = after(part, origin_us) + row.start_us;
            end_us = end_us.max(start_us + row.length_us);
            let index = start_us / interval_us;
            let sum = rows.entry(index).or_insert_with(|| LoadInterval {
                start_us: index * interval_us,
                length_us: interval_us,
                due: 0,
                offered: 0,
                accepted: 0,
                refusals: 0,
                in_flight: 0,
            });
            sum.due += row.due;
            sum.offered += row.offered;
            sum.accepted += row.accepted;
            sum.refusals += row.refusals;
            sum.in_flight += row.in_flight;
        }
    }
    if let Some(mut last) = rows.last_entry() {
        let last = last.get_mut();
        last.length_us = end_us.saturating_sub(last.start_us).max(1);
    }
    rows.into_values().collect()
}

fn shards(parts: &[Part]) -> Vec<ShardLoad> {
    let mut sums: BTreeMap<&str, ShardLoad> = BTreeMap::new();
    for row in parts.iter().flat_map(|part| &part.load.shards) {
        let sum = sums.entry(&row.shard).or_insert_with(|| ShardLoad {
            shard: row.shard.clone(),
            accepted: 0,
            accepted_bytes: 0,
            refusals: 0,
            read: 0,
            share: 0.0,
            response: None,
        });
        sum.accepted += row.accepted;
        sum.accepted_bytes += row.accepted_bytes;
        sum.refusals += row.refusals;
        sum.read += row.read;
    }
    let accepted = sums.values().map(|row| row.accepted).sum::<u64>().max(1) as f64;
    sums.into_values().map(|row| ShardLoad { share: row.accepted as f64 / accepted, ..row }).collect()
}

/// The workers' ledgers united, without the equations: no record is in two of them.
pub(super) fn ledger(parts: &[Part]) -> Ledger {
    let ledgers = || parts.iter().map(|part| &part.record.ledger);
    let mut shards: BTreeMap<&str, LedgerShard> = BTreeMap::new();
    for row in ledgers().flat_map(|ledger| &ledger.shards) {
        let sum = shards.entry(&row.shard).or_insert_with(|| LedgerShard {
            shard: row.shard.clone(),
            accepted: 0,
            read: 0,
            duplicated: 0,
        });
        sum.accepted += row.accepted;
        sum.read += row.read;
        sum.duplicated += row.duplicated;
    }
    Ledger {
        hops: Vec::new(),
        shards: shards.into_values().collect(),
        lost: ledgers().map(|ledger| ledger.lost).sum(),
        duplicated: ledgers().map(|ledger| ledger.duplicated).sum(),
        unacknowledged: ledgers().map(|ledger| ledger.unacknowledged).sum(),
        lost_ranges: union(ledgers().flat_map(|ledger| ledger.lost_ranges.iter().copied()).collect()),
    }
}

/// Inclusive ranges, rising, those that overlap or touch joined; the first hundred.
fn union(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (first, last) in ranges {
        match joined.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => joined.push((first, last)),
        }
    }
    joined.truncate(LOST_RANGES_NAMED);
    joined
}

/// CPU time and counts added, everything else the worst of the workers. A worker that was the limit is named.
pub(super) fn harness(parts: &[Part], origin_us: u64) -> HarnessRecord {
    let mut all = HarnessRecord { intervals: harness_intervals(parts, origin_us), ..HarnessRecord::default() };
    for part in parts {
        let one = &part.record.harness;
        all.cpu_us += one.cpu_us;
        all.cpu_share = all.cpu_share.max(one.cpu_share);
        all.steal_share = one.steal_share.map_or(all.steal_share, |s| Some(all.steal_share.unwrap_or(0.0).max(s)));
        all.max_rss_bytes = all.max_rss_bytes.max(one.max_rss_bytes);
        all.in_flight_waits += one.in_flight_waits;
        all.in_flight_longest_wait_us = all.in_flight_longest_wait_us.max(one.in_flight_longest_wait_us);
        all.excess_lag_p99_us = all.excess_lag_p99_us.max(one.excess_lag_p99_us);
        all.target_down_records += one.target_down_records;
        all.hiccup_p99_us = all.hiccup_p99_us.max(one.hiccup_p99_us);
        all.hiccup_max_us = all.hiccup_max_us.max(one.hiccup_max_us);
        all.hiccup_count += one.hiccup_count;
        all.limited_by.extend(one.limited_by.iter().map(|why| format!("{}: {why}", part.name())));
    }
    all
}

/// Row by row, in the order of time: how often things were counted is added, everything else is the worst.
fn harness_intervals(parts: &[Part], origin_us: u64) -> Vec<HarnessInterval> {
    let rows = || parts.iter().flat_map(|part| part.record.harness.intervals.iter().map(move |row| (part, row)));
    let interval_us = rows().map(|(_, row)| row.length_us).min().unwrap_or(1).max(1);
    let mut sums: BTreeMap<u64, HarnessInterval> = BTreeMap::new();
    for (part, row) in rows() {
        let start_us = after(part, origin_us) + row.start_us;
        let index = start_us / interval_us;
        let Some(sum) = sums.get_mut(&index) else {
            sums.insert(index, HarnessInterval { start_us, ..row.clone() });
            continue;
        };
        sum.start_us = sum.start_us.min(start_us);
        sum.length_us = sum.length_us.max(row.length_us);
        sum.hiccup_count += row.hiccup_count;
        sum.hiccup_p50_us = sum.hiccup_p50_us.max(row.hiccup_p50_us);
        sum.hiccup_p99_us = sum.hiccup_p99_us.max(row.hiccup_p99_us);
        sum.hiccup_max_us = sum.hiccup_max_us.max(row.hiccup_max_us);
        sum.cpu_share = sum.cpu_share.max(row.cpu_share);
        sum.steal_share = row.steal_share.map_or(sum.steal_share, |s| Some(sum.steal_share.unwrap_or(0.0).max(s)));
        sum.voluntary_switches += row.voluntary_switches;
        sum.involuntary_switches += row.involuntary_switches;
        sum.rss_bytes = sum.rss_bytes.max(row.rss_bytes);
    }
    sums.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_ranges_are_joined_where_workers_lost_neighbours() {
        // Every third number from 30 on, by three workers, and one number far away.
        assert_eq!(union(vec![(31, 61), (90, 90), (30, 60), (32, 62), (64, 64)]), [(30, 62), (64, 64), (90, 90)]);
        assert_eq!(union(vec![(u64::MAX, u64::MAX), (0, u64::MAX)]), [(0, u64::MAX)]);
        assert_eq!(union((0..1_000).map(|k| (k * 2, k * 2)).collect()).len(), LOST_RANGES_NAMED);
    }
}

//! Records for tests: one of a full run with a throttled shard, and ones with parts missing.
//!
//! Every number is computed from a few parameters, so that the equations hold and the histograms are real.

use std::collections::BTreeMap;

use millrace_scenarios::{Hop, Scenario};
use serde_json::json;

use crate::{
    RunRecord,
    latency::{curve, histogram},
    record::*,
    verdict::{Evidence, judge},
};

const SECONDS: u64 = 60;
const RATE: u64 = 500;
const DUE: u64 = SECONDS * RATE;
const REFUSED: u64 = 12;
const DUPLICATE_ROWS: u64 = 9_988;
const QUARANTINED: u64 = 3;
const SHARES: [u64; 4] = [21, 17, 47, 15];

/// A full run: load, compaction and queries, one shard throttled between 25 s and 35 s.
pub(crate) fn full() -> RunRecord {
    let accepted = DUE - REFUSED;
    let shards = shards(accepted);
    let mut record = RunRecord {
        schema_version: SCHEMA_VERSION.to_owned(),
        run: run_info(&["load", "compact", "query"]),
        scenario: serde_json::to_value(scenario()).unwrap(),
        verdict: pending(),
        load: Some(load(accepted, &shards)),
        latency: latencies(accepted),
        ledger: ledger(accepted, &shards),
        delivery: Some(delivery(accepted)),
        compaction: Some(compaction(accepted)),
        queries: queries(),
        prices: Some(PriceSheet {
            date: "2026-11-20".to_owned(),
            region: "us-east-1".to_owned(),
            athena_usd_per_tb: 5.0,
            athena_min_bytes: 10 << 20,
            s3_get_usd_per_1000: 0.0004,
            s3_put_usd_per_1000: 0.005,
            source: "https://aws.amazon.com/athena/pricing/".to_owned(),
        }),
        harness: HarnessRecord {
            cpu_us: 21_400_000,
            cpu_share: 0.178,
            steal_share: Some(0.012),
            max_rss_bytes: 212 << 20,
            in_flight_waits: 4,
            in_flight_longest_wait_us: 18_200,
            excess_lag_p99_us: 1_240,
            target_down_records: 0,
            hiccup_p99_us: 410,
            hiccup_max_us: 9_800,
            hiccup_count: 59_120,
            intervals: harness_intervals(),
            limited_by: Vec::new(),
        },
        not_measured: vec![
            "Clock difference between producer and stream: both ran on one machine.".to_owned(),
            "Queries on a cold page cache.".to_owned(),
        ],
    };
    judged(&mut record);
    record
}

/// A run whose SLO is missed, whose delivery lost a record and where one query answers differently.
pub(crate) fn broken() -> RunRecord {
    let mut record = full();
    record.ledger.hops[2].parts[0].records -= 1;
    record.ledger.hops[2].difference = 1;
    record.queries[1].same_answer = false;
    record.queries[1].measurements[3].answer = "0badc0de".to_owned();
    record.queries[1].measurements[3].rows = 6;
    for hop in &mut record.latency {
        for point in &mut hop.curve {
            point.value_us *= 40;
        }
        hop.max_us *= 40;
    }
    judged(&mut record);
    record
}

/// A run that the harness held back.
pub(crate) fn limited() -> RunRecord {
    let mut record = full();
    record.harness.limited_by =
        vec!["excess lag p99 181 ms is above 50 ms while 96 % of all cores were in use".to_owned()];
    judged(&mut record);
    record
}

/// A load without lake or table.
pub(crate) fn load_only() -> RunRecord {
    let mut record = full();
    record.run.legs = vec!["load".to_owned()];
    record.delivery = None;
    record.compaction = None;
    record.queries.clear();
    record.prices = None;
    record.latency.retain(|h| !matches!(h.hop, Hop::Landed | Hop::Committed));
    record.ledger.hops.truncate(2);
    judged(&mut record);
    record
}

/// A compaction of a lake that was there before.
pub(crate) fn compact_only() -> RunRecord {
    let mut record = full();
    record.run.legs = vec!["compact".to_owned()];
    record.load = None;
    record.latency.clear();
    record.delivery = None;
    record.queries.clear();
    record.harness = HarnessRecord::default();
    record.ledger = Ledger { hops: vec![record.ledger.hops[3].clone()], ..Ledger::default() };
    judged(&mut record);
    record
}

/// Everything present and everything zero.
pub(crate) fn zero() -> RunRecord {
    let mut record = full();
    let load = record.load.as_mut().unwrap();
    *load = LoadRecord {
        arrival: "constant".to_owned(),
        due: 0,
        sent: 0,
        not_sent: 0,
        accepted: 0,
        accepted_bytes: 0,
        refused: 0,
        rejected_rows: 0,
        calls: 0,
        failed_calls: 0,
        refusals: Vec::new(),
        attempts: Vec::new(),
        order: None,
        elapsed_us: 0,
        schedule_us: 0,
        target_rate: 0.0,
        due_bytes: 0,
        trace: None,
        offered_rate: 0.0,
        accepted_rate: 0.0,
        skew: None,
        events: Vec::new(),
        window: None,
        intervals: vec![
            LoadInterval {
                start_us: 0,
                length_us: 0,
                due: 0,
                offered: 0,
                accepted: 0,
                refusals: 0,
                in_flight: 0
            };
            2
        ],
        pooled_response: None,
        shards: vec![ShardLoad {
            shard: "shardId-0".to_owned(),
            accepted: 0,
            accepted_bytes: 0,
            refusals: 0,
            read: 0,
            share: 0.0,
            response: None,
        }],
        aggregation: Aggregation::default(),
        first_send_after_ready_us: None,
        worker: None,
    };
    record.latency = Hop::ALL
        .map(|hop| HopLatency {
            hop,
            count: 0,
            min_us: 0,
            mean_us: 0.0,
            max_us: 0,
            negative: 0,
            clamped: 0,
            curve: Vec::new(),
            intervals: vec![LatencyInterval { start_us: 0, count: 0, p50_us: 0, p99_us: 0, max_us: 0 }],
            outside: None,
        })
        .to_vec();
    record.ledger =
        Ledger { hops: vec![LedgerHop::new("producer", ("due", 0), &[("accepted", 0)])], ..Ledger::default() };
    record.delivery = Some(DeliveryRecord::default());
    record.compaction = Some(CompactionRecord::default());
    for query in &mut record.queries {
        query.preview.clear();
        for m in &mut query.measurements {
            (m.rows, m.wall_us, m.cpu_us, m.bytes, m.gets, m.lists, m.heads) = (0, 0, 0, 0, 0, 0, 0);
            (m.billed_bytes, m.cost_usd) = (0, 0.0);
        }
    }
    record.harness = HarnessRecord::default();
    record.not_measured.clear();
    judged(&mut record);
    record
}

/// The scenario of [`full`].
pub(crate) fn scenario() -> Scenario {
    serde_json::from_value(json!({
        "name": "us-accidents",
        "description": "Accident reports keyed by county: a few counties are hot, so one shard is.",
        "source": {"kind": "accidents"},
        "load": {"stages": [{"rate": RATE as f64, "for": "60s"}]},
        "keys": {"kind": "field", "field": "County"},
        "stream": {"name": "accidents"},
        "query": [{"name": "by severity", "sql": "SELECT 1"}],
        "slo": [{"metric": "response_p99_ms", "max": 500.0}, {"metric": "refused_share", "max": 0.001}]
    }))
    .unwrap()
}

/// A verdict to be replaced by [`judged`].
fn pending() -> Verdict {
    Verdict { outcome: Outcome::Kept, exit_code: 0, summary: String::new(), promises: Vec::new() }
}

fn judged(record: &mut RunRecord) {
    record.verdict = judge(&Evidence::of(record, &scenario().slo));
}

fn run_info(legs: &[&str]) -> RunInfo {
    RunInfo {
        id: "us-accidents-20261120T020000Z-1a2b".to_owned(),
        scenario: "us-accidents".to_owned(),
        description: scenario().description,
        legs: legs.iter().map(|l| (*l).to_owned()).collect(),
        started_at: "2026-11-20T02:00:00.000000Z".to_owned(),
        ended_at: "2026-11-20T02:01:24.481022Z".to_owned(),
        millrace_version: "0.1.0".to_owned(),
        seed: 42,
        fingerprint: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned(),
        target: "local".to_owned(),
        host: BTreeMap::from(
            [
                ("cores", "2"),
                ("cpu", "Example CPU @ 2.60GHz"),
                ("kernel", "6.1.0"),
                ("memory", "7.8 GiB"),
                ("os", "linux x86_64"),
            ]
            .map(|(k, v)| (k.to_owned(), v.to_owned())),
        ),
    }
}

/// Six decimals: what JSON text carries exactly, so that records can be compared after reading.
fn short(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

fn throttled(second: u64) -> bool {
    (25..35).contains(&second)
}

fn shards(accepted: u64) -> Vec<ShardLoad> {
    let mut left = accepted;
    (0..4_u64)
        .map(|n| {
            let records = if n == 3 { left } else { accepted * SHARES[n as usize] / 100 };
            left -= records;
            ShardLoad {
                shard: format!("shardId-{n:012}"),
                accepted: records,
                accepted_bytes: records * 812,
                refusals: if n == 2 { 1_840 } else { 0 },
                read: records,
                share: short(records as f64 / accepted as f64),
                response: (n != 3).then_some(ShardResponse {
                    count: records,
                    p50_us: 12_000,
                    p99_us: 41_000 + n * 1_000,
                    max_us: 250_000,
                }),
            }
        })
        .collect()
}

fn load(accepted: u64, shards: &[ShardLoad]) -> LoadRecord {
    let wobble = |second: u64| (second * 37 % 41) as i64 - 20;
    let intervals: Vec<_> = (0..SECONDS)
        .map(|second| {
            let due = RATE.saturating_add_signed(wobble(second));
            let short = if throttled(second) { 70 } else { 0 };
            let late = if (35..39).contains(&second) { 170 } else { 0 };
            LoadInterval {
                start_us: second * 1_000_000,
                length_us: 1_000_000,
                due,
                offered: due,
                accepted: due - short + late,
                refusals: if throttled(second) { 184 } else { 0 },
                in_flight: 1 + second % 3,
            }
        })
        .collect();
    LoadRecord {
        arrival: "poisson".to_owned(),
        due: DUE,
        sent: DUE,
        not_sent: 0,
        accepted,
        accepted_bytes: accepted * 812,
        refused: REFUSED,
        rejected_rows: 2,
        calls: 3_010,
        failed_calls: 0,
        refusals: vec![Refusals {
            shard: Some(shards[2].shard.clone()),
            cause: "ProvisionedThroughputExceededException".to_owned(),
            refusals: 1_840,
            records: REFUSED,
        }],
        attempts: vec![accepted - 1_200, 1_000, 200],
        order: None,
        elapsed_us: SECONDS * 1_000_000 + 21_000,
        schedule_us: SECONDS * 1_000_000,
        target_rate: RATE as f64,
        due_bytes: DUE * 812,
        trace: None,
        offered_rate: 499.9,
        accepted_rate: short(accepted as f64 / (SECONDS as f64 + 0.021)),
        window: Some(LoadWindow {
            from_us: 5_000_000,
            until_us: 58_000_000,
            due: 26_500,
            offered_in_time: 26_500,
            refused: REFUSED,
        }),
        intervals,
        shards: shards.to_vec(),
        skew: Some(skew(shards)),
        events: vec![split(shards)],
        aggregation: Aggregation::default(),
        pooled_response: Some(PooledResponse { count: 4_498, p50_us: 12_000, p99_us: 39_000, max_us: 90_000 }),
        first_send_after_ready_us: Some(61_000),
        worker: None,
    }
}

fn skew(shards: &[ShardLoad]) -> SkewRecord {
    let asked = SHARES.map(|percent| percent as f64 / 100.0);
    let row = |(shard, asked): (&ShardLoad, f64)| ShardShare {
        shard: shard.shard.clone(),
        asked: Some(asked),
        expected: Some(asked),
        got: shard.share,
    };
    SkewRecord {
        shards: shards.iter().zip(asked).map(row).collect(),
        shard_index: 1.88,
        expected_shard_index: Some(1.88),
        not_expected: None,
        asked_distance: Some(0.0021),
        distinct_keys: Some(1_000),
        keys: [("Los Angeles", 0.062), ("Miami-Dade <FL>", 0.031)]
            .map(|(key, share)| KeyShare { key: key.to_owned(), asked: Some(share), got: share + 0.001, error: 0.0 })
            .to_vec(),
    }
}

fn split(shards: &[ShardLoad]) -> EventRecord {
    let taken = |shard: &ShardLoad| ShardTaken { shard: shard.shard.clone(), accepted: 2_500, share: 0.25 };
    let taken: Vec<_> = shards.iter().map(taken).collect();
    EventRecord {
        action: "split the hottest shard".to_owned(),
        at_us: 50_000_000,
        began_us: Some(50_000_312),
        took_us: 210_400,
        shards: vec![shards[2].shard.clone()],
        opened: vec!["shardId-000000000004".to_owned(), "shardId-000000000005".to_owned()],
        error: None,
        before: taken.clone(),
        after: taken,
    }
}

/// About log-normal: the sum of twelve uniform draws is close to a normal one.
fn draw(state: &mut u64, median_us: f64, spread: f64) -> u64 {
    let mut sum = -6.0;
    for _ in 0..12 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        sum += (*state >> 33) as f64 / (1_u64 << 31) as f64;
    }
    (median_us * (spread * sum).exp()) as u64
}

fn hop(hop: Hop, records: u64, median_us: f64, spread: f64, slow: f64) -> HopLatency {
    let mut state = 1 + hop as u64;
    let (mut total, mut intervals) = (histogram(), Vec::new());
    for second in 0..SECONDS {
        let mut part = histogram();
        let median = if throttled(second) { median_us * slow } else { median_us };
        for _ in 0..records / SECONDS + u64::from(second < records % SECONDS) {
            part.saturating_record(draw(&mut state, median, spread));
        }
        intervals.push(LatencyInterval {
            start_us: second * 1_000_000,
            count: part.len(),
            p50_us: part.value_at_quantile(0.5),
            p99_us: part.value_at_quantile(0.99),
            max_us: part.max(),
        });
        total.add(&part).unwrap();
    }
    HopLatency {
        hop,
        count: total.len(),
        min_us: total.min(),
        mean_us: short(total.mean()),
        max_us: total.max(),
        negative: 0,
        clamped: 0,
        curve: curve(&total).into_iter().map(|p| CurvePoint { percentile: short(p.percentile), ..p }).collect(),
        intervals,
        outside: Some(OutsideLatency { count: 10, p50_us: 900, p99_us: 9_000, max_us: 9_000 }),
    }
}

fn harness_intervals() -> Vec<HarnessInterval> {
    let mut state = 99;
    let row = |second| {
        let mut oversleeps = histogram();
        for _ in 0..900 {
            oversleeps.saturating_record(draw(&mut state, 90.0, 0.5));
        }
        HarnessInterval {
            start_us: second * 1_000_000,
            length_us: 1_000_000,
            hiccup_count: oversleeps.len(),
            hiccup_p50_us: oversleeps.value_at_quantile(0.5),
            hiccup_p99_us: oversleeps.value_at_quantile(0.99),
            hiccup_max_us: oversleeps.max(),
            cpu_share: if throttled(second) { 0.25 } else { 0.125 },
            steal_share: Some(0.0),
            voluntary_switches: 4_200 + second,
            involuntary_switches: 30 + second % 7,
            rss_bytes: (180 + second / 4) << 20,
        }
    };
    (0..SECONDS).map(row).collect()
}

fn latencies(accepted: u64) -> Vec<HopLatency> {
    vec![
        hop(Hop::Lag, DUE, 9_000.0, 0.5, 1.0),
        hop(Hop::Service, accepted, 2_100.0, 0.35, 1.6),
        hop(Hop::Response, accepted, 12_000.0, 0.4, 6.0),
        hop(Hop::Arrival, accepted, 11_000.0, 0.4, 6.0),
        hop(Hop::Read, accepted, 160_000.0, 0.4, 2.0),
        hop(Hop::Landed, accepted, 6_100_000.0, 0.35, 1.2),
        hop(Hop::Committed, accepted, 14_000_000.0, 0.3, 1.2),
    ]
}

fn ledger(accepted: u64, shards: &[ShardLoad]) -> Ledger {
    let rows = accepted - DUPLICATE_ROWS - QUARANTINED;
    let table = [("rows", rows), ("duplicates", DUPLICATE_ROWS), ("quarantined", QUARANTINED)];
    Ledger {
        hops: vec![
            LedgerHop::new("producer", ("due", DUE), &[("accepted", accepted), ("refused", REFUSED)]),
            LedgerHop::new("stream", ("accepted", accepted), &[("read", accepted), ("lost", 0)]),
            LedgerHop::new("delivery", ("read", accepted), &[("delivered", accepted), ("errored", 0)]),
            LedgerHop::new("table", ("lines", accepted), &table),
            LedgerHop::new("the whole way", ("due", DUE), &[table[0], table[1], table[2], ("refused", REFUSED)]),
        ],
        shards: shards
            .iter()
            .map(|s| LedgerShard { shard: s.shard.clone(), accepted: s.accepted, read: s.read, duplicated: 0 })
            .collect(),
        ..Ledger::default()
    }
}

fn delivery(accepted: u64) -> DeliveryRecord {
    DeliveryRecord {
        lake: "runs/us-accidents-20261120T020000Z-1a2b/lake".to_owned(),
        records_read: accepted,
        records_delivered: accepted,
        records_errored: 0,
        objects: 7,
        error_objects: 0,
        raw_bytes: accepted * 850,
        object_bytes: accepted * 121,
        write_retries: 0,
    }
}

fn compaction(accepted: u64) -> CompactionRecord {
    let rows = accepted - DUPLICATE_ROWS - QUARANTINED;
    CompactionRecord {
        table: "runs/us-accidents-20261120T020000Z-1a2b/table".to_owned(),
        version: 5,
        passes: 5,
        objects: 7,
        unread: 1,
        withdrawn: 0,
        object_bytes: accepted * 121,
        raw_bytes: accepted * 850,
        lines: accepted,
        rows,
        duplicates: DUPLICATE_ROWS,
        quarantined: QUARANTINED,
        quarantine_reasons: vec![QuarantineReason { reason: "not_json".to_owned(), lines: QUARANTINED }],
        unknown_fields: vec![UnknownField { name: "Turning_Loop".to_owned(), records: 412 }],
        files_added: 21,
        files_removed: 4,
        file_bytes: 1_900_000,
        table_rows: rows,
        elapsed_us: 4_812_000,
        cpu_us: 3_950_000,
        stages: StageTimes {
            list_us: 3_000,
            inflate_us: 410_000,
            decode_us: 1_730_000,
            dedupe_us: 520_000,
            encode_us: 980_000,
            commit_us: 214_000,
            other_us: 93_000,
        },
    }
}

fn queries() -> Vec<QueryRecord> {
    let measure = |layout, engine, bytes: u64, gets, wall_us| Measurement {
        layout,
        engine,
        error: None,
        rows: 4,
        answer: "c3ab8ff13720e8ad9047dd39466b3c89".to_owned(),
        wall_us,
        cpu_us: wall_us * 9 / 10,
        bytes,
        gets,
        lists: 1,
        heads: 0,
        billed_bytes: bytes.next_multiple_of(1 << 20).max(10 << 20),
        cost_usd: bytes.next_multiple_of(1 << 20).max(10 << 20) as f64 / (1_u64 << 40) as f64 * 5.0,
    };
    let four = |raw, table| {
        vec![
            measure(Layout::Raw, Engine::Datafusion, raw, 7, 412_000),
            measure(Layout::Raw, Engine::Polars, raw, 7, 388_000),
            measure(Layout::Table, Engine::Datafusion, table, 19, 21_500),
            measure(Layout::Table, Engine::Polars, table, 19, 34_100),
        ]
    };
    let row = |cells: &[&str]| cells.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>();
    vec![
        QueryRecord {
            name: "by severity".to_owned(),
            sql: "SELECT \"Severity\", count(*) AS accidents FROM records GROUP BY 1 ORDER BY 1".to_owned(),
            measurements: four(3_627_000, 41_200),
            same_answer: true,
            preview: vec![row(&["Severity", "accidents"]), row(&["1", "204"]), row(&["2", "15806"]), row(&["3", "3380"]), row(&["4", "595"])],
        },
        QueryRecord {
            name: "worst cities".to_owned(),
            sql: "SELECT \"City\", count(*) AS severe FROM records WHERE \"Severity\" >= 3 AND \"City\" <> '</script>' GROUP BY 1 ORDER BY 2 DESC LIMIT 5".to_owned(),
            measurements: four(3_627_000, 4_100_000),
            same_answer: true,
            preview: vec![row(&["City", "severe"]), row(&["Los Angeles", "412"]), row(&["Houston", "377"])],
        },
    ]
}

//! What a planner asks of the quota model, on an injected clock: hot shards, large records, and why no window will do.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

use super::{Bench, SECOND_US};
use crate::stream::{
    AccountLimits, Quotas,
    error::ErrorKind,
    quota::{WriteLimits, WriteQuota},
};

const SHARDS: usize = 4;

/// A hash key on each of four shards.
fn hash_of(shard: usize) -> String {
    ((shard as u128) << 126).to_string()
}

/// Puts `per_call[shard]` records on each shard in one call, at every interval from now on. Gives how many each accepted.
fn load(bench: &Bench, calls: u64, interval_us: u64, per_call: [usize; SHARDS], data: &str) -> [u64; SHARDS] {
    let entry = |shard| json!({ "PartitionKey": "k", "Data": data, "ExplicitHashKey": hash_of(shard) });
    // Dealt like cards, so that no shard comes first.
    let most = per_call.into_iter().max().unwrap();
    let records: Vec<_> = (0..most)
        .flat_map(|turn| (0..SHARDS).filter(move |shard| turn < per_call[*shard]))
        .map(|shard| (shard, entry(shard)))
        .collect();
    let body: Vec<_> = records.iter().map(|(_, entry)| entry.clone()).collect();
    let body = json!({ "StreamName": "s", "Records": body });
    let mut accepted = [0; SHARDS];
    for call in 0..calls {
        if call > 0 {
            bench.clock.advance_us(interval_us);
        }
        let answer = bench.ok("PutRecords", body.clone());
        for ((shard, _), record) in records.iter().zip(answer["Records"].as_array().unwrap()) {
            if record["ErrorCode"] == Value::Null {
                accepted[*shard] += 1;
            } else {
                assert_eq!(record["ErrorCode"], "ProvisionedThroughputExceededException");
            }
        }
    }
    accepted
}

#[test]
fn a_shard_with_seven_tenths_of_the_records_refuses_what_the_arithmetic_says_and_no_other_refuses_any() {
    let bench = Bench::with_stream(Quotas::aws(), SHARDS as u32);
    // 5,000 records a second for 20 s, in calls 10 ms apart: 3,500 a second on shard 2.
    let accepted = load(&bench, 2_000, 10_000, [5, 5, 35, 5], "");
    // The tank is empty after 0.4 s, and every call of ten milliseconds takes the ten that came in. The last call is at
    // 19.99 s.
    assert_eq!(accepted, [10_000, 10_000, 1_000 + 19_990, 10_000]);
    let shards = bench.account.metrics().streams.remove(0).shards;
    let refused: Vec<_> = shards.iter().map(|shard| shard.throttled_records).collect();
    assert_eq!(refused, [0, 0, 70_000 - 20_990, 0]);
}

#[test]
fn a_shard_with_seven_tenths_of_the_bytes_refuses_what_the_arithmetic_says() {
    let bench = Bench::with_stream(Quotas::aws(), SHARDS as u32);
    // 200 records of 10 KiB a second for 60 s, in calls 100 ms apart: 1.37 MiB a second on shard 0.
    let data = STANDARD.encode(vec![0; 10_239]);
    let accepted = load(&bench, 600, 100_000, [14, 2, 2, 2], &data);
    let last_put_s = 59.9;
    let hot = ((1 << 20) as f64 * (1.0 + last_put_s) / 10_240.0).floor() as u64;
    assert_eq!(accepted, [hot, 1_200, 1_200, 1_200]);
}

#[test]
fn a_fixed_window_would_admit_twice_the_limit_across_its_edge() {
    // What a window of whole seconds counts.
    let mut windows = std::collections::BTreeMap::<u64, u32>::new();
    let mut by_window = |now_us: u64| {
        let admitted = windows.entry(now_us / SECOND_US).or_default();
        *admitted += 1;
        *admitted <= 1_000
    };
    let start_us = 1_700_000_000 * SECOND_US;
    let mut quota = WriteQuota::new(Some(WriteLimits::AWS), 0, start_us);
    // 1,500 records within a millisecond, just before and just after the edge of a second.
    let edge_us = start_us + SECOND_US;
    let burst = |at_us: u64| (0..1_500_u64).map(move |record| at_us + record * 2 / 3);
    let times: Vec<u64> = burst(edge_us - 1_000).chain(burst(edge_us)).collect();
    let windowed = times.iter().filter(|at_us| by_window(**at_us)).count();
    let admitted = times.iter().filter(|at_us| quota.admit(**at_us, 1)).count();
    // The tank and the two records that flowed in within two milliseconds, the last not quite.
    assert_eq!((windowed, admitted), (2_000, 1_001));
}

/// The share of records that are throttled, percent: four shards take 50 records a second for ten minutes, 10 KiB each
/// but for `large_percent` of them, which have 2 MiB.
fn throttled_percent(large_percent: u32, tank_bytes: u64, seed: u64) -> f64 {
    const RECORDS: u64 = 50 * 600;
    let mut random = StdRng::seed_from_u64(seed);
    let mut shards: Vec<_> = (0..SHARDS).map(|_| WriteQuota::new(Some(WriteLimits::AWS), tank_bytes, 0)).collect();
    let mut throttled = 0;
    for record in 0..RECORDS {
        let large = random.random_range(0..100) < large_percent;
        let shard = random.next_u64() as usize % SHARDS;
        throttled += u64::from(!shards[shard].admit(record * 20_000, if large { 2 << 20 } else { 10 << 10 }));
    }
    100.0 * throttled as f64 / RECORDS as f64
}

/// AWS's chart of large records: <https://aws.amazon.com/blogs/big-data/> of 2025-10-28, on-demand stream of four shards.
/// It shows hardly any throttling up to 2 % of large records, and a sharp rise from there to 5 %.
#[test]
fn large_records_are_throttled_as_in_the_chart_that_aws_published() {
    const SEEDS: u64 = 20;
    let mean = |large, tank| (0..SEEDS).map(|seed| throttled_percent(large, tank, seed)).sum::<f64>() / SEEDS as f64;
    let deep: Vec<_> = (0..=5).map(|large| mean(large, 10 << 20)).collect();
    let shallow: Vec<_> = (0..=5).map(|large| mean(large, 2 << 20)).collect();
    println!(
        "percent of records throttled at 0 to 5 % of large ones\n  tank of 10 MiB {deep:.2?}\n  tank of 2 MiB {shallow:.2?}"
    );
    // As deep as the largest record the stream takes.
    assert!(deep[..3].iter().all(|percent| *percent < 0.02), "{deep:?}");
    assert!(deep[3] < 0.2 && (0.3..0.9).contains(&deep[4]) && (1.1..1.8).contains(&deep[5]), "{deep:?}");
    // No deeper than these records, it would throttle from the first percent on and rise without a bend.
    assert!(shallow[1] > 0.1 && shallow[2] > 0.5, "{shallow:?}");
}

#[test]
fn an_account_of_other_limits_refuses_by_them_and_says_them() {
    let account = AccountLimits {
        shards: 9,
        on_demand_streams: 1,
        creating_streams: 2,
        consumers_per_stream: 1,
        reshards_per_day: 1,
        mode_switches_per_day: 1,
    };
    // Streams and consumers take a second to be made.
    let bench = Bench::settling(Quotas { account, ..Quotas::aws() }, SECOND_US);
    let refused = |operation: &str, body: Value| {
        let error = bench.refused(operation, body);
        assert_eq!(error.kind, ErrorKind::LimitExceeded, "{operation}: {}", error.message);
        error.message
    };
    let settle = || bench.clock.advance_us(2 * SECOND_US);
    let create = |name: &str, shards: u32| json!({ "StreamName": name, "ShardCount": shards });
    let on_demand = json!({ "StreamMode": "ON_DEMAND" });
    bench.ok("CreateStream", create("a", 1));
    bench.ok("CreateStream", json!({ "StreamName": "b", "StreamModeDetails": on_demand }));
    assert!(refused("CreateStream", create("c", 1)).contains("limit of 2 streams in the status CREATING"));
    settle();
    assert!(
        refused("CreateStream", json!({ "StreamName": "c", "StreamModeDetails": on_demand }))
            .contains("limit of 1 on-demand")
    );
    let text = refused("CreateStream", create("c", 5));
    assert!(text.contains("count for the account: 5. Limit: 9.") && text.contains("request: 5."), "{text}");
    let arn = |name: &str| format!("arn:aws:kinesis:us-east-1:000000000000:stream/{name}");
    let consumer = |name: &str| json!({ "StreamARN": arn("a"), "ConsumerName": name });
    bench.ok("RegisterStreamConsumer", consumer("first"));
    assert!(refused("RegisterStreamConsumer", consumer("second")).contains("limit of 1 consumers"));
    let scale = |to: u32| json!({ "StreamName": "a", "TargetShardCount": to, "ScalingType": "UNIFORM_SCALING" });
    bench.ok("UpdateShardCount", scale(2));
    settle();
    assert!(refused("UpdateShardCount", scale(3)).contains("already been scaled 1 times"));
    let switch = |mode: &str| json!({ "StreamARN": arn("b"), "StreamModeDetails": { "StreamMode": mode } });
    bench.ok("UpdateStreamMode", switch("PROVISIONED"));
    settle();
    assert!(refused("UpdateStreamMode", switch("ON_DEMAND")).contains("already been switched 1 times"));
    let limits = bench.ok("DescribeLimits", json!({}));
    assert_eq!((&limits["ShardLimit"], &limits["OnDemandStreamCountLimit"]), (&json!(9), &json!(1)));
}

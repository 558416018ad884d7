//! On-demand streams on a clock that is moved by hand: they grow with their traffic, and a hot key stays hot.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Bench, SECOND_US};
use crate::stream::{OnDemandRules, Quotas, on_demand::Scaling};

/// A hundredth of AWS's limit, so that a test need not hold gigabytes.
const RULES: OnDemandRules = OnDemandRules { split_above_bytes_per_s: 5_000, ..OnDemandRules::AWS };
/// Records of 6,000 bytes a minute that are 5,100 bytes a second.
const ABOVE: u64 = 51;

fn bench(create: Value) -> (Bench, Scaling) {
    let bench = Bench::new(Quotas::aws());
    bench.ok("CreateStream", create);
    let mut scaling = Scaling::new(RULES);
    scaling.look(&bench.account);
    (bench, scaling)
}

fn on_demand() -> Value {
    json!({ "StreamName": "s", "StreamModeDetails": { "StreamMode": "ON_DEMAND" } })
}

/// The first hash key of each open shard, in order.
fn open(bench: &Bench) -> Vec<String> {
    let shards = bench.ok("ListShards", json!({ "StreamName": "s", "ShardFilter": { "Type": "AT_LATEST" } }));
    let start = |shard: &Value| shard["HashKeyRange"]["StartingHashKey"].as_str().unwrap().parse::<u128>().unwrap();
    let mut starts: Vec<_> = shards["Shards"].as_array().unwrap().iter().map(start).collect();
    starts.sort_unstable();
    starts.into_iter().map(|start| start.to_string()).collect()
}

/// A minute in which each of these hash keys gets so many records, evenly.
fn minute(bench: &Bench, scaling: &mut Scaling, hashes: &[String], records: u64) {
    let data = STANDARD.encode([0; 5_999]);
    for second in 0..60 {
        bench.clock.advance_us(SECOND_US);
        for _ in second * records / 60..(second + 1) * records / 60 {
            for hash in hashes {
                let body = json!({ "StreamName": "s", "PartitionKey": "k", "Data": data, "ExplicitHashKey": hash });
                bench.ok("PutRecord", body);
            }
        }
        scaling.look(&bench.account);
    }
}

#[test]
fn an_on_demand_stream_doubles_after_a_quarter_of_an_hour_above_the_limit_and_then_has_enough() {
    let (bench, mut scaling) = bench(on_demand());
    let first = open(&bench);
    assert_eq!(first.len(), 4);
    (0..14).for_each(|_| minute(&bench, &mut scaling, &first, ABOVE));
    assert_eq!(open(&bench), first);
    minute(&bench, &mut scaling, &first, ABOVE);
    let grown = open(&bench);
    assert_eq!(grown.len(), 8);
    let halves = |(half, start): (usize, &String)| {
        start.parse::<u128>().unwrap() == (half as u128) << 125 // eighths of all hash keys
    };
    assert!(grown.iter().enumerate().all(halves), "{grown:?}");
    let listed = bench.ok("ListShards", json!({ "StreamName": "s" }))["Shards"].as_array().unwrap().len();
    assert_eq!(listed, 12, "the parents are kept for their records");
    // The same traffic over twice the shards.
    (0..40).for_each(|_| minute(&bench, &mut scaling, &grown, ABOVE / 2));
    assert_eq!(open(&bench), grown);
}

#[test]
fn a_hot_key_is_as_hot_after_every_split_as_before() {
    let (bench, _) = bench(on_demand());
    let hot = vec!["7".to_owned()];
    let refused_of_1500 = || -> i64 {
        bench.clock.advance_us(60 * SECOND_US);
        let entry = json!({ "PartitionKey": "k", "Data": "", "ExplicitHashKey": hot[0] });
        let body = json!({ "StreamName": "s", "Records": vec![entry; 500] });
        (0..3).map(|_| bench.ok("PutRecords", body.clone())["FailedRecordCount"].as_i64().unwrap()).sum()
    };
    assert_eq!(refused_of_1500(), 500);
    for split in 1..=3 {
        let mut scaling = Scaling::new(RULES);
        scaling.look(&bench.account);
        (0..15).for_each(|_| minute(&bench, &mut scaling, &hot, ABOVE));
        assert_eq!(open(&bench).len(), 4 + split, "only the shard with the key is split");
        assert_eq!(refused_of_1500(), 500);
    }
}

#[test]
fn a_provisioned_stream_keeps_its_shards_until_its_mode_is_switched() {
    let (bench, mut scaling) = bench(json!({ "StreamName": "s", "ShardCount": 2 }));
    let shards = open(&bench);
    (0..20).for_each(|_| minute(&bench, &mut scaling, &shards, ABOVE));
    assert_eq!(open(&bench), shards);
    let mode = json!({ "StreamMode": "ON_DEMAND" });
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
    bench.ok("UpdateStreamMode", json!({ "StreamARN": arn, "StreamModeDetails": mode }));
    scaling.look(&bench.account);
    (0..15).for_each(|_| minute(&bench, &mut scaling, &shards, ABOVE));
    assert_eq!(open(&bench).len(), 4);
}

#[test]
fn what_an_account_may_not_have_is_not_split_and_nothing_breaks() {
    let (bench, mut scaling) = bench(on_demand());
    bench.ok("CreateStream", json!({ "StreamName": "rest", "ShardCount": 19_995 }));
    let shards = open(&bench);
    (0..15).for_each(|_| minute(&bench, &mut scaling, &shards, ABOVE));
    assert_eq!(open(&bench), shards, "four more are one too many");
    (0..15).for_each(|_| minute(&bench, &mut scaling, &shards[..1], ABOVE));
    assert_eq!(open(&bench).len(), 5);
}

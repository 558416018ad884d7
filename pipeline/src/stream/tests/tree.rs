//! Whatever splits and merges a stream goes through, its records are read exactly once and in order by following children.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, Ordering},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::{prelude::*, strategy::ValueTree as _};
use serde_json::{Value, json};

use super::{Bench, SECOND_US, data_of};
use crate::stream::Quotas;

/// One thing that happens to a stream.
#[derive(Debug, Clone)]
enum Step {
    Put(u8),
    Split(prop::sample::Index),
    Merge(prop::sample::Index),
    Scale(u32),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<u8>().prop_map(Step::Put),
        2 => any::<prop::sample::Index>().prop_map(Step::Split),
        2 => any::<prop::sample::Index>().prop_map(Step::Merge),
        1 => (1_u32..20).prop_map(Step::Scale),
        2 => (0_u64..3 * SECOND_US).prop_map(Step::Wait),
    ]
}

/// A shard as ListShards shows it.
#[derive(Debug, Clone)]
struct Listed {
    id: String,
    parents: Vec<String>,
    range: (u128, u128),
    start: String,
    end: Option<String>,
}

fn listed(bench: &Bench) -> Vec<Listed> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let shard = |shard: &Value| Listed {
        id: text(&shard["ShardId"]).unwrap(),
        parents: [&shard["ParentShardId"], &shard["AdjacentParentShardId"]].into_iter().filter_map(text).collect(),
        range: ["StartingHashKey", "EndingHashKey"]
            .map(|edge| shard["HashKeyRange"][edge].as_str().unwrap().parse().unwrap())
            .into(),
        start: text(&shard["SequenceNumberRange"]["StartingSequenceNumber"]).unwrap(),
        end: text(&shard["SequenceNumberRange"]["EndingSequenceNumber"]),
    };
    let mut shards = Vec::new();
    let mut page = bench.ok("ListShards", json!({ "StreamName": "s" }));
    loop {
        shards.extend(page["Shards"].as_array().unwrap().iter().map(shard));
        if page["NextToken"].is_null() {
            return shards;
        }
        page = bench.ok("ListShards", json!({ "NextToken": page["NextToken"] }));
    }
}

fn open(bench: &Bench) -> Vec<Listed> {
    let mut open: Vec<_> = listed(bench).into_iter().filter(|shard| shard.end.is_none()).collect();
    open.sort_by_key(|shard| shard.range);
    open
}

/// Carries out a step as far as it is allowed, and gives what was put.
fn carry_out(bench: &Bench, step: &Step, put: usize) -> Vec<(String, String)> {
    let open = open(bench);
    match step {
        Step::Put(count) => {
            let records: Vec<_> =
                (put..put + usize::from(*count)).map(|i| (format!("key-{}", i % 23), i.to_string())).collect();
            let entry = |(key, data): &(String, String)| json!({ "PartitionKey": key, "Data": STANDARD.encode(data) });
            let entries: Vec<_> = records.iter().map(entry).collect();
            if !entries.is_empty() {
                let answer = bench.ok("PutRecords", json!({ "StreamName": "s", "Records": entries }));
                assert_eq!(answer["FailedRecordCount"], 0);
            }
            return records;
        }
        Step::Split(which) => {
            let shard = which.get(&open);
            let middle = shard.range.0 + (shard.range.1 - shard.range.0) / 2;
            let body = json!({ "StreamName": "s", "ShardToSplit": shard.id, "NewStartingHashKey": middle.to_string() });
            bench.ok("SplitShard", body);
        }
        Step::Merge(which) if open.len() > 1 => {
            let at = which.index(open.len() - 1);
            let body =
                json!({ "StreamName": "s", "ShardToMerge": open[at].id, "AdjacentShardToMerge": open[at + 1].id });
            bench.ok("MergeShards", body);
        }
        Step::Merge(_) => {}
        Step::Scale(target) => {
            // More than twice or less than half is refused and changes nothing.
            let body = json!({ "StreamName": "s", "TargetShardCount": target, "ScalingType": "UNIFORM_SCALING" });
            drop(bench.call("UpdateShardCount", body));
        }
        Step::Wait(us) => bench.clock.advance_us(*us),
    }
    Vec::new()
}

/// Reads every shard to its end, parents before children as their answers name them, and gives the records of each key.
fn read_by_following_children(bench: &Bench) -> BTreeMap<String, Vec<(String, String)>> {
    let shards = listed(bench);
    let mut records: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let (mut ended, mut read) = (BTreeSet::new(), BTreeSet::new());
    let mut ready: Vec<String> = shards.iter().filter(|s| s.parents.is_empty()).map(|s| s.id.clone()).collect();
    while let Some(id) = ready.pop() {
        assert!(read.insert(id.clone()), "{id} is read once");
        let body = json!({ "StreamName": "s", "ShardId": id, "ShardIteratorType": "TRIM_HORIZON" });
        let mut iterator = bench.ok("GetShardIterator", body)["ShardIterator"].clone();
        loop {
            let answer = bench.ok("GetRecords", json!({ "ShardIterator": iterator, "Limit": 100 }));
            for (record, data) in answer["Records"].as_array().unwrap().iter().zip(data_of(&answer)) {
                let text = |member: &str| record[member].as_str().unwrap().to_owned();
                records.entry(text("PartitionKey")).or_default().push((text("SequenceNumber"), data));
            }
            iterator = answer["NextShardIterator"].clone();
            if iterator.is_null() {
                ended.insert(id.clone());
                for child in answer["ChildShards"].as_array().unwrap() {
                    let parents = child["ParentShards"].as_array().unwrap();
                    if parents.iter().all(|parent| ended.contains(parent.as_str().unwrap())) {
                        ready.push(child["ShardId"].as_str().unwrap().to_owned());
                    }
                }
            }
            if iterator.is_null() || answer["MillisBehindLatest"] == 0 {
                break;
            }
        }
    }
    assert_eq!(read.len(), shards.len(), "every shard is reached from a first one");
    records
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_record_is_read_once_and_in_order_through_any_reshards(
        shards in 1_u32..6, steps in prop::collection::vec(step(), 1..25),
    ) {
        let bench = Bench::with_stream(Quotas::off(), shards);
        let mut put: Vec<(String, String)> = Vec::new();
        for step in &steps {
            put.extend(carry_out(&bench, step, put.len()));
            let open = open(&bench);
            prop_assert_eq!((open[0].range.0, open[open.len() - 1].range.1), (0, u128::MAX));
            prop_assert!(open.windows(2).all(|pair| pair[0].range.1 + 1 == pair[1].range.0));
        }
        let all: BTreeMap<_, _> = listed(&bench).into_iter().map(|shard| (shard.id.clone(), shard)).collect();
        for shard in all.values() {
            prop_assert!(shard.end.as_ref().is_none_or(|end| *end > shard.start));
            for parent in &shard.parents {
                prop_assert!(all[parent].end.as_ref().unwrap() < &shard.start, "{:?}", shard);
            }
        }
        let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
        put.into_iter().for_each(|(key, data)| expected.entry(key).or_default().push(data));
        let read = read_by_following_children(&bench);
        for of_key in read.values() {
            prop_assert!(of_key.windows(2).all(|pair| pair[0].0 < pair[1].0), "numbers of a key rise");
        }
        let read: BTreeMap<_, Vec<_>> =
            read.into_iter().map(|(key, of_key)| (key, of_key.into_iter().map(|(_, data)| data).collect())).collect();
        prop_assert_eq!(read, expected);
    }
}

#[test]
fn writers_lose_nothing_while_the_shards_change_under_them() {
    const WRITERS: usize = 3;
    const CALLS: usize = 60;
    let bench = Bench::with_stream(Quotas::off(), 2);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let bench = &bench;
                scope.spawn(move || {
                    for call in 0..CALLS {
                        let entry = |i: usize| {
                            let data = (call * 50 + i).to_string();
                            json!({ "PartitionKey": format!("{writer}-{}", i % 10), "Data": STANDARD.encode(data) })
                        };
                        let records: Vec<_> = (0..50).map(entry).collect();
                        let answer = bench.ok("PutRecords", json!({ "StreamName": "s", "Records": records }));
                        assert_eq!(answer["FailedRecordCount"], 0);
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            let mut round = 0;
            while !done.load(Ordering::Relaxed) {
                let open = open(&bench);
                let split = open.len() < 3 || (open.len() < 12 && round % 2 == 0);
                let step = if split { Step::Split } else { Step::Merge };
                let mut index = proptest::test_runner::TestRunner::deterministic();
                let index = any::<prop::sample::Index>().new_tree(&mut index).unwrap().current();
                carry_out(&bench, &step(index), 0);
                round += 1;
            }
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::Relaxed);
    });
    let read = read_by_following_children(&bench);
    assert_eq!(read.len(), WRITERS * 10);
    for (key, of_key) in read {
        let last = key.split_once('-').unwrap().1.parse::<usize>().unwrap();
        let data: Vec<usize> = of_key.iter().map(|(_, data)| data.parse().unwrap()).collect();
        let expected: Vec<usize> = (0..CALLS * 50).filter(|i| i % 10 == last).collect();
        assert_eq!(data, expected, "{key}");
    }
}

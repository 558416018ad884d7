//! Splits and merges on a clock that is moved by hand: who takes which keys, what is read where, what is refused.

use serde_json::{Value, json};

use super::{super::error::ErrorKind, Bench, SECOND_US, data_of};
use crate::stream::Quotas;

const MIDDLE: &str = "170141183460469231731687303715884105728";

fn split(bench: &Bench, shard: &str, hash: &str) -> Result<Value, super::ApiError> {
    bench.call("SplitShard", json!({ "StreamName": "s", "ShardToSplit": shard, "NewStartingHashKey": hash }))
}

fn merge(bench: &Bench, shard: &str, adjacent: &str) -> Result<Value, super::ApiError> {
    bench.call("MergeShards", json!({ "StreamName": "s", "ShardToMerge": shard, "AdjacentShardToMerge": adjacent }))
}

fn shards(bench: &Bench) -> Vec<Value> {
    bench.ok("ListShards", json!({ "StreamName": "s" }))["Shards"].as_array().unwrap().clone()
}

#[test]
fn a_split_gives_each_child_its_half_and_the_parent_an_end() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    let last = bench.put("k", "a")["SequenceNumber"].clone();
    split(&bench, "shardId-000000000000", MIDDLE).unwrap();
    let shards = shards(&bench);
    assert_eq!(shards.len(), 3);
    let number = |shard: usize, member: &str| shards[shard]["SequenceNumberRange"][member].as_str().unwrap().to_owned();
    assert!(number(0, "EndingSequenceNumber").as_str() > last.as_str().unwrap());
    assert!(number(1, "StartingSequenceNumber") > number(0, "EndingSequenceNumber"));
    assert!(shards[1]["SequenceNumberRange"]["EndingSequenceNumber"].is_null());
    assert_eq!(shards[1]["ParentShardId"], "shardId-000000000000");
    assert_eq!(shards[1]["HashKeyRange"]["EndingHashKey"], "170141183460469231731687303715884105727");
    assert_eq!(shards[2]["HashKeyRange"]["StartingHashKey"], MIDDLE);
    let put = |hash: &str| {
        let body = json!({ "StreamName": "s", "PartitionKey": "k", "Data": "", "ExplicitHashKey": hash });
        bench.ok("PutRecord", body)["ShardId"].clone()
    };
    assert_eq!((put("0"), put(MIDDLE)), (json!("shardId-000000000001"), json!("shardId-000000000002")));
}

#[test]
fn a_parent_is_read_to_its_end_and_names_its_children_there() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    bench.put("k", "a");
    bench.put("k", "b");
    split(&bench, "shardId-0", MIDDLE).unwrap();
    // A closed shard still gives iterators, and its records for as long as they are retained.
    let first = json!({ "ShardIterator": bench.iterator("TRIM_HORIZON", json!({})), "Limit": 1 });
    let answer = bench.ok("GetRecords", first);
    assert_eq!((data_of(&answer), &answer["ChildShards"]), (vec!["a".to_owned()], &Value::Null));
    let answer = bench.ok("GetRecords", json!({ "ShardIterator": answer["NextShardIterator"] }));
    assert_eq!(data_of(&answer), ["b"]);
    assert_eq!((&answer["NextShardIterator"], &answer["MillisBehindLatest"]), (&Value::Null, &json!(0)));
    let children = answer["ChildShards"].as_array().unwrap();
    assert_eq!(children.len(), 2);
    assert_eq!(
        children[1],
        json!({ "ShardId": "shardId-000000000002", "ParentShards": ["shardId-000000000000"], "HashKeyRange": {
            "StartingHashKey": MIDDLE, "EndingHashKey": "340282366920938463463374607431768211455" } })
    );
}

#[test]
fn a_merge_names_both_parents_and_takes_their_keys() {
    let bench = Bench::with_stream(Quotas::off(), 2);
    merge(&bench, "shardId-1", "shardId-0").unwrap();
    let shards = shards(&bench);
    assert_eq!(shards[2]["ParentShardId"], "shardId-000000000001");
    assert_eq!(shards[2]["AdjacentParentShardId"], "shardId-000000000000");
    assert_eq!(
        shards[2]["HashKeyRange"],
        json!({ "StartingHashKey": "0", "EndingHashKey": "340282366920938463463374607431768211455" })
    );
    let answer = bench.ok("GetRecords", json!({ "ShardIterator": bench.iterator("TRIM_HORIZON", json!({})) }));
    assert_eq!(answer["ChildShards"][0]["ParentShards"], json!(["shardId-000000000001", "shardId-000000000000"]));
}

#[test]
fn numbers_of_children_are_larger_than_their_parents_even_within_a_second() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    // Sixteen generations in one second: the shard's number alone would wrap around.
    for generation in 0..16 {
        bench.put("k", "x");
        split(&bench, &format!("shardId-{}", 2 * generation), &(u128::MAX - (1 << 100 >> generation)).to_string())
            .unwrap();
    }
    let shards = shards(&bench);
    let number = |shard: &Value, member: &str| shard["SequenceNumberRange"][member].as_str().map(str::to_owned);
    for shard in &shards[1..] {
        let parent = shards.iter().find(|parent| parent["ShardId"] == shard["ParentShardId"]).unwrap();
        assert!(number(shard, "StartingSequenceNumber") > number(parent, "EndingSequenceNumber"), "{shard}");
    }
}

#[test]
fn what_cannot_be_split_is_refused_in_the_words_of_aws() {
    let bench = Bench::with_stream(Quotas::off(), 2);
    let refused = |shard: &str, hash: &str| {
        let error = split(&bench, shard, hash).unwrap_err();
        (error.kind, error.message)
    };
    let not_inside = |hash: &str| {
        let text = format!(
            "NewStartingHashKey {hash} used in SplitShard() on shard shardId-000000000000 in stream s under account \
             000000000000 is not both greater than one plus the shard's StartingHashKey 0 and less than the shard's \
             EndingHashKey 170141183460469231731687303715884105727."
        );
        (ErrorKind::InvalidArgument, text)
    };
    let past_every_key = "999999999999999999999999999999999999999";
    for hash in ["0", "1", "170141183460469231731687303715884105727", MIDDLE, past_every_key] {
        assert_eq!(refused("shardId-0", hash), not_inside(hash));
    }
    let missing = |id: &str| {
        let text = format!("Could not find shard {id} in stream s under account 000000000000.");
        (ErrorKind::ResourceNotFound, text)
    };
    assert_eq!(refused("shardId-7", "5"), missing("shardId-000000000007"));
    assert_eq!(refused("seven", "5"), missing("seven"));
    split(&bench, "shardId-0", "2").unwrap();
    let text = "Shard shardId-000000000000 in stream s under account 000000000000 has already been merged or split, and \
                thus is not eligible for merging or splitting.";
    assert_eq!(refused("shardId-0", "5"), (ErrorKind::InvalidArgument, text.to_owned()));
    assert_eq!(refused("shardId-1", "05").0, ErrorKind::Validation);
    bench.ok("CreateStream", json!({ "StreamName": "d", "StreamModeDetails": { "StreamMode": "ON_DEMAND" } }));
    let body = json!({ "StreamName": "d", "ShardToSplit": "shardId-0", "NewStartingHashKey": "5" });
    let error = bench.refused("SplitShard", body);
    assert_eq!(error.kind, ErrorKind::Validation);
    assert_eq!(error.message, "Request is invalid. Stream d under account 000000000000 is in On-Demand mode.");
}

#[test]
fn what_does_not_touch_is_not_merged() {
    let bench = Bench::with_stream(Quotas::off(), 3);
    for (shard, adjacent) in [("shardId-0", "shardId-2"), ("shardId-1", "shardId-1")] {
        let error = merge(&bench, shard, adjacent).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidArgument);
        assert!(error.message.ends_with("are not an adjacent pair of shards eligible for merging"), "{error}");
    }
    assert_eq!(merge(&bench, "shardId-0", "shardId-3").unwrap_err().kind, ErrorKind::ResourceNotFound);
}

#[test]
fn a_stream_that_changes_refuses_another_change_and_goes_on_taking_and_giving_records() {
    let bench = Bench::settling(Quotas::off(), 30 * SECOND_US);
    bench.ok("CreateStream", json!({ "StreamName": "s", "ShardCount": 1 }));
    let refused = |status: &str| {
        let error = split(&bench, "shardId-0", MIDDLE).unwrap_err();
        let text = format!("Stream s under account 000000000000 not ACTIVE, instead in state {status}");
        assert_eq!((error.kind, error.message), (ErrorKind::ResourceInUse, text));
    };
    refused("CREATING");
    bench.clock.advance_us(30 * SECOND_US);
    bench.put("k", "before");
    split(&bench, "shardId-0", MIDDLE).unwrap();
    refused("UPDATING");
    bench.put("k", "meanwhile");
    assert_eq!(bench.read(&bench.iterator("TRIM_HORIZON", json!({}))), ["before"]);
    bench.clock.advance_us(30 * SECOND_US);
    merge(&bench, "shardId-1", "shardId-2").unwrap();
    bench.clock.advance_us(30 * SECOND_US);
    bench.ok("DeleteStream", json!({ "StreamName": "s" }));
    refused("DELETING");
}

#[test]
fn a_closed_shard_is_listed_until_its_records_have_outlived_the_retention() {
    let hour_us = 3_600 * SECOND_US;
    let bench = Bench::with_stream(Quotas::off(), 1);
    bench.put("k", "a");
    bench.clock.advance_us(hour_us);
    let iterator = bench.iterator("TRIM_HORIZON", json!({}));
    split(&bench, "shardId-0", MIDDLE).unwrap();
    bench.clock.advance_us(24 * hour_us - 1);
    let ids = |bench: &Bench| shards(bench).iter().map(|shard| shard["ShardId"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&bench).len(), 3);
    // The record has gone an hour before its shard does, and the shard's end can still be seen.
    let at_the_end = bench.iterator("TRIM_HORIZON", json!({}));
    let answer = bench.ok("GetRecords", json!({ "ShardIterator": at_the_end }));
    assert_eq!((data_of(&answer).len(), answer["ChildShards"].as_array().unwrap().len()), (0, 2));
    bench.clock.advance_us(1);
    assert_eq!(ids(&bench), ["shardId-000000000001", "shardId-000000000002"]);
    let error = bench.refused("GetRecords", json!({ "ShardIterator": at_the_end }));
    let text = "Shard shardId-000000000000 in stream s under account 000000000000 does not exist";
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::ResourceNotFound, text));
    assert_eq!(bench.refused("GetRecords", json!({ "ShardIterator": iterator })).kind, ErrorKind::ExpiredIterator);
    let body = json!({ "StreamName": "s", "ShardId": "shardId-0", "ShardIteratorType": "LATEST" });
    assert_eq!(bench.refused("GetShardIterator", body).message, text);
    assert_eq!(bench.account.metrics().used_bytes, 0);
}

fn update_count(bench: &Bench, target: i64) -> Result<Value, super::ApiError> {
    let body = json!({ "StreamName": "s", "TargetShardCount": target, "ScalingType": "UNIFORM_SCALING" });
    bench.call("UpdateShardCount", body)
}

#[test]
fn a_stream_is_scaled_to_even_shards_and_says_from_what_to_what() {
    let bench = Bench::with_stream(Quotas::off(), 4);
    assert_eq!(
        update_count(&bench, 5).unwrap(),
        json!({ "StreamName": "s", "StreamARN": "arn:aws:kinesis:us-east-1:000000000000:stream/s",
            "CurrentShardCount": 4, "TargetShardCount": 5 })
    );
    let shards = shards(&bench);
    let open: Vec<_> = shards.iter().filter(|s| s["SequenceNumberRange"]["EndingSequenceNumber"].is_null()).collect();
    // Four parents, eight pieces of which three pairs merged.
    assert_eq!((shards.len(), open.len()), (15, 5));
    let summary = bench.ok("DescribeStreamSummary", json!({ "StreamName": "s" }));
    assert_eq!(summary["StreamDescriptionSummary"]["OpenShardCount"], 5);
}

#[test]
fn one_call_at_most_doubles_or_halves_and_ten_are_taken_in_a_day() {
    let bench = Bench::with_stream(Quotas::off(), 3);
    let refused = |target| {
        let error = update_count(&bench, target).unwrap_err();
        assert_eq!(error.kind, ErrorKind::LimitExceeded);
        error.message
    };
    assert_eq!(
        refused(7),
        "UpdateShardCount cannot scale up over double your current open shard count. Current open shard count: 3 Target \
         shard count: 7"
    );
    assert_eq!(
        refused(1),
        "UpdateShardCount cannot scale down below half your current open shard count. Current open shard count: 3 Target \
         shard count: 1"
    );
    assert!(refused(10_001).starts_with("Target shard count or number of open shards cannot be greater than 10000."));
    for call in 0..10 {
        bench.clock.advance_us(SECOND_US);
        update_count(&bench, if call % 2 == 0 { 6 } else { 3 }).unwrap();
    }
    assert!(refused(6).contains("10 times"));
    // A day after the first of the ten, one more is taken.
    bench.clock.advance_us(24 * 3_600 * SECOND_US - 9 * SECOND_US);
    update_count(&bench, 6).unwrap();
    assert!(refused(3).contains("10 times"));
    for (target, kind) in [(json!(0), "UNIFORM_SCALING"), (json!(4), "OTHER"), (Value::Null, "UNIFORM_SCALING")] {
        let body = json!({ "StreamName": "s", "TargetShardCount": target, "ScalingType": kind });
        assert_eq!(bench.refused("UpdateShardCount", body).kind, ErrorKind::Validation);
    }
}

#[test]
fn shards_beyond_those_of_the_account_are_refused_before_anything_changes() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    for name in ["a", "b"] {
        let shards = if name == "a" { 10_000 } else { 9_999 };
        bench.ok("CreateStream", json!({ "StreamName": name, "ShardCount": shards }));
    }
    let error = split(&bench, "shardId-0", MIDDLE).unwrap_err();
    assert_eq!(error.kind, ErrorKind::LimitExceeded);
    assert!(error.message.contains("Current shard count for the account: 20000. Limit: 20000."), "{error}");
    assert_eq!(shards(&bench).len(), 1);
}

#[test]
fn a_stream_grows_to_ten_thousand_shards_and_no_further() {
    let bench = Bench::with_stream(Quotas::off(), 6_000);
    update_count(&bench, 10_000).unwrap();
    let error = update_count(&bench, 10_001).unwrap_err();
    assert_eq!(
        error.message,
        "Target shard count or number of open shards cannot be greater than 10000. Current open shard count: 10000 Target \
         shard count: 10001"
    );
    let summary = bench.ok("DescribeStreamSummary", json!({ "StreamName": "s" }));
    assert_eq!(summary["StreamDescriptionSummary"]["OpenShardCount"], 10_000);
}

//! ListShards and DescribeStream: every filter against a history of splits, and pages across a reshard.

use serde_json::{Value, json};

use super::{super::error::ErrorKind, Bench, SECOND_US, T0_US};
use crate::stream::Quotas;

const HOUR_US: u64 = 3_600 * SECOND_US;
const MIDDLE: &str = "170141183460469231731687303715884105728";

/// Shard 0 is split into 1 and 2 after one hour; these are merged into 3 after two.
fn bench() -> Bench {
    let bench = Bench::with_stream(Quotas::off(), 1);
    bench.clock.advance_us(HOUR_US);
    let body = json!({ "StreamName": "s", "ShardToSplit": "shardId-0", "NewStartingHashKey": MIDDLE });
    bench.ok("SplitShard", body);
    bench.clock.advance_us(HOUR_US);
    let body = json!({ "StreamName": "s", "ShardToMerge": "shardId-1", "AdjacentShardToMerge": "shardId-2" });
    bench.ok("MergeShards", body);
    bench.clock.advance_us(HOUR_US);
    bench
}

fn numbers(answer: &Value) -> Vec<u32> {
    let number = |shard: &Value| shard["ShardId"].as_str().unwrap()[8..].parse().unwrap();
    answer["Shards"].as_array().unwrap().iter().map(number).collect()
}

fn filtered(bench: &Bench, filter: Value) -> Vec<u32> {
    numbers(&bench.ok("ListShards", json!({ "StreamName": "s", "ShardFilter": filter })))
}

fn at(hours: f64) -> f64 {
    T0_US as f64 / 1e6 + hours * 3_600.0
}

#[test]
fn each_filter_shows_the_shards_aws_says() {
    let bench = bench();
    assert_eq!(filtered(&bench, json!({ "Type": "FROM_TRIM_HORIZON" })), [0, 1, 2, 3]);
    assert_eq!(filtered(&bench, json!({ "Type": "AT_TRIM_HORIZON" })), [0]);
    assert_eq!(filtered(&bench, json!({ "Type": "AT_LATEST" })), [3]);
    assert_eq!(filtered(&bench, json!({ "Type": "AFTER_SHARD_ID", "ShardId": "shardId-000000000001" })), [2, 3]);
    let at_time = |hours: f64| filtered(&bench, json!({ "Type": "AT_TIMESTAMP", "Timestamp": at(hours) }));
    assert_eq!((at_time(0.5), at_time(1.5), at_time(2.5)), (vec![0], vec![1, 2], vec![3]));
    // "Less than or equal" and "greater than or equal": at the moment of the split parent and children are shown.
    assert_eq!(at_time(1.0), [0, 1, 2]);
    assert!(at_time(-1.0).is_empty());
    let from = |hours: f64| filtered(&bench, json!({ "Type": "FROM_TIMESTAMP", "Timestamp": at(hours) }));
    assert_eq!(
        (from(-9.0), from(0.5), from(1.5), from(2.5)),
        (vec![0, 1, 2, 3], vec![0, 1, 2, 3], vec![1, 2, 3], vec![3])
    );
}

#[test]
fn the_trim_horizon_moves_with_the_retention() {
    let bench = bench();
    bench.clock.advance_us(22 * HOUR_US + HOUR_US / 2);
    assert_eq!(filtered(&bench, json!({ "Type": "AT_TRIM_HORIZON" })), [1, 2]);
    assert_eq!(filtered(&bench, json!({ "Type": "FROM_TRIM_HORIZON" })), [1, 2, 3]);
    assert_eq!(filtered(&bench, json!({ "Type": "FROM_TIMESTAMP", "Timestamp": 0 })), [1, 2, 3]);
    bench.clock.advance_us(HOUR_US);
    assert_eq!(filtered(&bench, json!({ "Type": "AT_TRIM_HORIZON" })), [3]);
}

#[test]
fn a_filter_needs_its_own_member_and_takes_no_other() {
    let bench = bench();
    let refused = |filter: Value| {
        let error = bench.refused("ListShards", json!({ "StreamName": "s", "ShardFilter": filter }));
        (error.kind, error.message)
    };
    for (filter, text) in [
        (json!({ "Type": "AFTER_SHARD_ID" }), "ShardId is required for a ShardFilter of type AFTER_SHARD_ID."),
        (json!({ "Type": "AT_TIMESTAMP" }), "Timestamp is required for a ShardFilter of type AT_TIMESTAMP."),
        (
            json!({ "Type": "AT_LATEST", "ShardId": "shardId-0" }),
            "ShardId cannot be used with a ShardFilter of type AT_LATEST.",
        ),
        (
            json!({ "Type": "AFTER_SHARD_ID", "ShardId": "shardId-0", "Timestamp": 5 }),
            "Timestamp cannot be used with a ShardFilter of type AFTER_SHARD_ID.",
        ),
    ] {
        assert_eq!(refused(filter), (ErrorKind::InvalidArgument, text.to_owned()));
    }
    assert_eq!(refused(json!({ "Type": "LATEST" })).0, ErrorKind::Validation);
    assert_eq!(refused(json!({})).0, ErrorKind::Validation);
}

#[test]
fn a_list_shows_the_shards_of_the_moment_it_began_however_they_change_between_its_pages() {
    let bench = Bench::with_stream(Quotas::off(), 4);
    let filter = json!({ "Type": "AT_LATEST" });
    let first = bench.ok("ListShards", json!({ "StreamName": "s", "ShardFilter": filter, "MaxResults": 2 }));
    assert_eq!(numbers(&first), [0, 1]);
    bench.clock.advance_us(1_000);
    let body = json!({ "StreamName": "s", "TargetShardCount": 8, "ScalingType": "UNIFORM_SCALING" });
    bench.ok("UpdateShardCount", body);
    let second = bench.ok("ListShards", json!({ "NextToken": first["NextToken"], "MaxResults": 2 }));
    assert_eq!((numbers(&second), &second["NextToken"]), (vec![2, 3], &Value::Null));
    // Without a filter the children follow their parents.
    let mut page = bench.ok("ListShards", json!({ "StreamName": "s", "MaxResults": 5 }));
    let mut seen = numbers(&page);
    while page["NextToken"].is_string() {
        page = bench.ok("ListShards", json!({ "NextToken": page["NextToken"], "MaxResults": 5 }));
        seen.extend(numbers(&page));
    }
    assert_eq!(seen, (0..12).collect::<Vec<_>>());
}

#[test]
fn a_page_token_excludes_what_it_carries() {
    let bench = bench();
    let token = bench.ok("ListShards", json!({ "StreamName": "s", "MaxResults": 1 }))["NextToken"].clone();
    for (member, value) in [
        ("StreamName", json!("s")),
        ("ExclusiveStartShardId", json!("shardId-0")),
        ("ShardFilter", json!({ "Type": "AT_LATEST" })),
        ("StreamCreationTimestamp", json!(5)),
    ] {
        let error = bench.refused("ListShards", json!({ "NextToken": token, member: value }));
        assert_eq!(error.kind, ErrorKind::InvalidArgument, "{member}");
    }
    bench.clock.advance_us(300 * SECOND_US + 1);
    assert_eq!(bench.refused("ListShards", json!({ "NextToken": token })).kind, ErrorKind::ExpiredNextToken);
    assert_eq!(bench.refused("ListShards", json!({})).kind, ErrorKind::InvalidArgument);
}

#[test]
fn a_description_gives_a_hundred_shards_at_most_and_goes_on_after_the_last() {
    let bench = Bench::with_stream(Quotas::off(), 150);
    let describe = |body: Value| bench.ok("DescribeStream", body)["StreamDescription"].clone();
    let first = describe(json!({ "StreamName": "s", "Limit": 10_000 }));
    assert_eq!((numbers(&first).len(), &first["HasMoreShards"]), (100, &json!(true)));
    let rest = describe(json!({ "StreamName": "s", "ExclusiveStartShardId": first["Shards"][99]["ShardId"] }));
    assert_eq!((numbers(&rest), &rest["HasMoreShards"]), ((100..150).collect(), &json!(false)));
    assert_eq!(describe(json!({ "StreamName": "s" }))["Shards"].as_array().unwrap().len(), 100);
}

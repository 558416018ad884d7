//! What the operations do, on a clock that is moved by hand.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{super::error::ErrorKind, Bench, SECOND_US, T0_US, data_of, entries};
use crate::stream::Quotas;

#[test]
fn every_iterator_type_starts_where_it_says() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    let numbers: Vec<Value> = ["a", "b", "c"]
        .map(|data| {
            bench.clock.advance_us(SECOND_US);
            bench.put("k", data)["SequenceNumber"].clone()
        })
        .to_vec();
    let latest = bench.iterator("LATEST", json!({}));
    bench.put("k", "d");
    let starting = |kind: &str, number: &Value| bench.iterator(kind, json!({ "StartingSequenceNumber": number }));
    assert_eq!(bench.read(&bench.iterator("TRIM_HORIZON", json!({}))), ["a", "b", "c", "d"]);
    assert_eq!(bench.read(&latest), ["d"]);
    assert_eq!(bench.read(&starting("AT_SEQUENCE_NUMBER", &numbers[1])), ["b", "c", "d"]);
    assert_eq!(bench.read(&starting("AFTER_SEQUENCE_NUMBER", &numbers[1])), ["c", "d"]);
    let at = |seconds: f64| bench.read(&bench.iterator("AT_TIMESTAMP", json!({ "Timestamp": seconds })));
    assert_eq!(at((T0_US + 2 * SECOND_US) as f64 / 1e6), ["b", "c", "d"]);
    assert_eq!(at((T0_US + 2 * SECOND_US + 1_000) as f64 / 1e6), ["c", "d"]);
    assert_eq!(at(0.0), ["a", "b", "c", "d"]);
}

#[test]
fn a_shards_first_number_starts_at_its_first_record() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    bench.put("k", "a");
    let shards = bench.ok("ListShards", json!({ "StreamName": "s" }));
    let number = &shards["Shards"][0]["SequenceNumberRange"]["StartingSequenceNumber"];
    for kind in ["AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"] {
        assert_eq!(bench.read(&bench.iterator(kind, json!({ "StartingSequenceNumber": number }))), ["a"]);
    }
}

#[test]
fn a_number_of_another_shard_or_of_no_record_is_refused() {
    let bench = Bench::with_stream(Quotas::off(), 2);
    let put = |hash: &str| {
        let body = json!({ "StreamName": "s", "PartitionKey": "k", "Data": "", "ExplicitHashKey": hash });
        bench.ok("PutRecord", body)
    };
    put("0");
    let number = put("340282366920938463463374607431768211455")["SequenceNumber"].clone();
    for number in [number, json!("1"), json!("0"), json!("49".repeat(28))] {
        let body = json!({ "StreamName": "s", "ShardId": "shardId-0", "ShardIteratorType": "AT_SEQUENCE_NUMBER",
            "StartingSequenceNumber": number });
        let error = bench.refused("GetShardIterator", body);
        assert_eq!(error.kind, ErrorKind::InvalidArgument);
        assert!(error.message.to_lowercase().contains("invalid"), "{}", error.message);
    }
}

#[test]
fn following_iterators_reads_every_record_once_and_in_order() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    let written: Vec<String> = (0..257).map(|i| i.to_string()).collect();
    written.iter().for_each(|data| drop(bench.put("k", data)));
    let mut iterator = bench.iterator("TRIM_HORIZON", json!({}));
    let (mut read, mut pages) = (Vec::new(), 0);
    loop {
        let answer = bench.ok("GetRecords", json!({ "ShardIterator": iterator, "Limit": 50 }));
        read.extend(data_of(&answer));
        pages += 1;
        iterator = answer["NextShardIterator"].clone();
        if answer["MillisBehindLatest"] == 0 {
            break;
        }
    }
    assert_eq!((read, pages), (written, 6));
}

#[test]
fn a_record_reads_back_with_its_key_number_and_arrival() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    let key = "schlüssel \"\\\u{1}\u{1F600}";
    let stored = bench.put(key, "däta");
    let answer = bench.ok("GetRecords", json!({ "ShardIterator": bench.iterator("TRIM_HORIZON", json!({})) }));
    let record = &answer["Records"][0];
    assert_eq!(record["PartitionKey"], key);
    assert_eq!(record["SequenceNumber"], stored["SequenceNumber"]);
    assert_eq!(record["ApproximateArrivalTimestamp"], 1_700_000_000.123);
    assert_eq!(data_of(&answer), ["däta"]);
}

#[test]
fn explicit_hash_keys_reach_both_edges_of_every_shard() {
    let bench = Bench::with_stream(Quotas::off(), 7);
    let shards = bench.ok("ListShards", json!({ "StreamName": "s" }));
    for shard in shards["Shards"].as_array().unwrap() {
        for edge in ["StartingHashKey", "EndingHashKey"] {
            let body = json!({ "StreamName": "s", "PartitionKey": "k", "Data": "",
                "ExplicitHashKey": shard["HashKeyRange"][edge] });
            assert_eq!(bench.ok("PutRecord", body)["ShardId"], shard["ShardId"]);
        }
    }
}

#[test]
fn the_records_over_a_shards_limit_fail_alone_in_the_words_of_aws() {
    let bench = Bench::with_stream(Quotas::aws(), 1);
    for _ in 0..2 {
        let answer = bench.ok("PutRecords", json!({ "StreamName": "s", "Records": entries(400, "x") }));
        assert_eq!(answer["FailedRecordCount"], 0);
    }
    let answer = bench.ok("PutRecords", json!({ "StreamName": "s", "Records": entries(400, "x") }));
    assert_eq!(answer["FailedRecordCount"], 200);
    let records = answer["Records"].as_array().unwrap();
    assert!(records[..200].iter().all(|record| record["SequenceNumber"].is_string() && record["ErrorCode"].is_null()));
    assert_eq!(
        records[200],
        json!({ "ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage":
            "Rate exceeded for shard shardId-000000000000 in stream s under account 000000000000." })
    );
    let error = bench.refused("PutRecord", json!({ "StreamName": "s", "PartitionKey": "k", "Data": "" }));
    assert_eq!((error.kind, error.kind.status()), (ErrorKind::ThroughputExceeded, 400));
    bench.clock.advance_us(100_000);
    let answer = bench.ok("PutRecords", json!({ "StreamName": "s", "Records": entries(400, "x") }));
    assert_eq!(answer["FailedRecordCount"], 300);
    let metrics = bench.account.metrics();
    let shard = &metrics.stream("s").unwrap().shards[0];
    assert_eq!((shard.records, shard.throttled_records, shard.stored_records), (1_100, 501, 1_100));
}

#[test]
fn a_hot_shard_throttles_while_the_others_take_their_records_in_call_order() {
    let bench = Bench::with_stream(Quotas::aws(), 2);
    let high = "340282366920938463463374607431768211455";
    let entry = |i: usize| {
        let hash = if i.is_multiple_of(10) { high } else { "0" };
        json!({ "PartitionKey": i.to_string(), "Data": "", "ExplicitHashKey": hash })
    };
    let body = json!({ "StreamName": "s", "Records": (0..500).map(entry).collect::<Vec<_>>() });
    let failed: Vec<_> = (0..3).map(|_| bench.ok("PutRecords", body.clone())["FailedRecordCount"].clone()).collect();
    assert_eq!(failed, [0, 0, 350]);
    let answer = bench.ok("PutRecords", body);
    for (i, record) in answer["Records"].as_array().unwrap().iter().enumerate() {
        assert_eq!(record["ShardId"] == "shardId-000000000001", i.is_multiple_of(10), "{i}: {record}");
    }
}

#[test]
fn numbers_rise_within_a_call_and_across_calls() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    let mut numbers = Vec::new();
    for _ in 0..3 {
        let answer = bench.ok("PutRecords", json!({ "StreamName": "s", "Records": entries(100, "x") }));
        let records = answer["Records"].as_array().unwrap().iter();
        numbers.extend(records.map(|record| record["SequenceNumber"].as_str().unwrap().to_owned()));
    }
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), 300);
}

#[test]
fn the_sixth_read_in_a_second_is_refused_and_its_iterator_stays_good() {
    let bench = Bench::with_stream(Quotas::aws(), 1);
    bench.put("k", "a");
    let iterator = bench.iterator("TRIM_HORIZON", json!({}));
    (0..5).for_each(|_| assert_eq!(bench.read(&iterator), ["a"]));
    let error = bench.refused("GetRecords", json!({ "ShardIterator": iterator }));
    assert_eq!(error.kind, ErrorKind::ThroughputExceeded);
    assert_eq!(error.message, "Rate exceeded for shard shardId-000000000000 in stream s under account 000000000000.");
    bench.clock.advance_us(200_000);
    assert_eq!(bench.read(&iterator), ["a"]);
}

#[test]
fn iterators_expire_after_five_minutes() {
    let bench = Bench::with_stream(Quotas::aws(), 1);
    let iterator = bench.iterator("TRIM_HORIZON", json!({}));
    bench.clock.advance_us(300 * SECOND_US);
    assert!(bench.read(&iterator).is_empty());
    bench.clock.advance_us(1);
    let error = bench.refused("GetRecords", json!({ "ShardIterator": iterator }));
    assert_eq!(error.kind, ErrorKind::ExpiredIterator);
}

#[test]
fn records_older_than_the_retention_are_gone() {
    let bench = Bench::with(Quotas::off(), 1 << 20, 10 * SECOND_US);
    bench.ok("CreateStream", json!({ "StreamName": "s", "ShardCount": 1 }));
    let number = bench.put("k", "old")["SequenceNumber"].clone();
    bench.clock.advance_us(6 * SECOND_US);
    bench.put("k", "new");
    bench.clock.advance_us(5 * SECOND_US);
    assert_eq!(bench.read(&bench.iterator("TRIM_HORIZON", json!({}))), ["new"]);
    let at_the_old = bench.iterator("AT_SEQUENCE_NUMBER", json!({ "StartingSequenceNumber": number }));
    assert_eq!(bench.read(&at_the_old), ["new"]);
}

#[test]
fn a_full_memory_refuses_records_with_an_error_clients_retry_until_retention_frees_it() {
    let bench = Bench::with(Quotas::off(), 200_000, 10 * SECOND_US);
    bench.ok("CreateStream", json!({ "StreamName": "s", "ShardCount": 1 }));
    let data = "x".repeat(1_000);
    let body = json!({ "StreamName": "s", "Records": entries(100, &data) });
    assert_eq!(bench.ok("PutRecords", body.clone())["FailedRecordCount"], 0);
    let answer = bench.ok("PutRecords", body.clone());
    assert_eq!(answer["FailedRecordCount"], 100);
    assert_eq!(answer["Records"][0]["ErrorCode"], "InternalFailure");
    assert!(answer["Records"][0]["ErrorMessage"].as_str().unwrap().contains("200000 bytes"));
    let large = json!({ "StreamName": "s", "PartitionKey": "k", "Data": "A".repeat(400_000) });
    let error = bench.refused("PutRecord", large);
    assert_eq!((error.kind, error.kind.status()), (ErrorKind::InternalFailure, 500));
    bench.clock.advance_us(11 * SECOND_US);
    assert_eq!(bench.ok("PutRecords", body)["FailedRecordCount"], 0);
    bench.ok("DeleteStream", json!({ "StreamName": "s" }));
    assert_eq!(bench.account.metrics().used_bytes, 0);
}

#[test]
fn shards_are_listed_in_pages_that_make_up_the_stream() {
    let bench = Bench::with_stream(Quotas::off(), 25);
    let mut body = json!({ "StreamName": "s", "MaxResults": 10 });
    let (mut ids, mut pages) = (Vec::new(), 0);
    loop {
        let answer = bench.ok("ListShards", body);
        ids.extend(answer["Shards"].as_array().unwrap().iter().map(|shard| shard["ShardId"].clone()));
        pages += 1;
        match answer.get("NextToken") {
            Some(token) => body = json!({ "NextToken": token, "MaxResults": 10 }),
            None => break,
        }
    }
    let expected: Vec<Value> = (0..25).map(|i| json!(format!("shardId-{i:012}"))).collect();
    assert_eq!((ids, pages), (expected, 3));
}

#[test]
fn no_page_of_shards_is_longer_than_a_thousand() {
    let bench = Bench::with_stream(Quotas::off(), 1_001);
    let answer = bench.ok("ListShards", json!({ "StreamName": "s", "MaxResults": 10_000 }));
    assert_eq!(answer["Shards"].as_array().unwrap().len(), 1_000);
    let answer = bench.ok("ListShards", json!({ "NextToken": answer["NextToken"] }));
    assert_eq!(answer["Shards"].as_array().unwrap().len(), 1);
    assert!(answer.get("NextToken").is_none());
}

#[test]
fn a_list_of_shards_can_start_after_one() {
    let bench = Bench::with_stream(Quotas::off(), 4);
    let after = |body: Value| bench.ok("ListShards", body)["Shards"].as_array().unwrap().len();
    assert_eq!(after(json!({ "StreamName": "s", "ExclusiveStartShardId": "shardId-000000000001" })), 2);
    assert_eq!(after(json!({ "StreamName": "s", "ExclusiveStartShardId": "shardId-1" })), 2);
    let filter = |filter: Value| after(json!({ "StreamName": "s", "ShardFilter": filter }));
    assert_eq!(filter(json!({ "Type": "AFTER_SHARD_ID", "ShardId": "shardId-000000000002" })), 1);
    assert_eq!(filter(json!({ "Type": "AT_LATEST" })), 4);
    assert_eq!(filter(json!({ "Type": "FROM_TIMESTAMP", "Timestamp": 1.0 })), 4);
}

#[test]
fn a_page_token_excludes_a_name_and_expires() {
    let bench = Bench::with_stream(Quotas::off(), 3);
    let token = bench.ok("ListShards", json!({ "StreamName": "s", "MaxResults": 1 }))["NextToken"].clone();
    let error = bench.refused("ListShards", json!({ "StreamName": "s", "NextToken": token }));
    assert_eq!(error.message, "NextToken and StreamName cannot be provided together.");
    let error = bench.refused("ListShards", json!({ "NextToken": "made up" }));
    assert_eq!(error.kind, ErrorKind::InvalidArgument);
    bench.clock.advance_us(301 * SECOND_US);
    let error = bench.refused("ListShards", json!({ "NextToken": token }));
    assert_eq!(error.kind, ErrorKind::ExpiredNextToken);
}

#[test]
fn streams_are_created_described_listed_and_deleted() {
    let bench = Bench::new(Quotas::off());
    for name in ["b", "a", "c"] {
        bench.ok("CreateStream", json!({ "StreamName": name, "ShardCount": 3 }));
    }
    let error = bench.refused("CreateStream", json!({ "StreamName": "a", "ShardCount": 1 }));
    assert_eq!(error.kind, ErrorKind::ResourceInUse);
    assert_eq!(error.message, "Stream a under account 000000000000 already exists.");

    let page = bench.ok("ListStreams", json!({ "Limit": 2 }));
    assert_eq!((&page["StreamNames"], &page["HasMoreStreams"]), (&json!(["a", "b"]), &json!(true)));
    let page = bench.ok("ListStreams", json!({ "NextToken": page["NextToken"] }));
    assert_eq!((&page["StreamNames"], &page["HasMoreStreams"]), (&json!(["c"]), &json!(false)));

    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/a";
    let page = bench.ok("DescribeStream", json!({ "StreamARN": arn, "Limit": 2 }));
    let description = &page["StreamDescription"];
    assert_eq!(description["Shards"].as_array().unwrap().len(), 2);
    assert_eq!(description["HasMoreShards"], true);
    let body = json!({ "StreamName": "a", "ExclusiveStartShardId": "shardId-000000000001" });
    let rest = bench.ok("DescribeStream", body);
    assert_eq!(rest["StreamDescription"]["Shards"].as_array().unwrap().len(), 1);
    assert_eq!(rest["StreamDescription"]["HasMoreShards"], false);

    let summary = &bench.ok("DescribeStreamSummary", json!({ "StreamName": "a" }))["StreamDescriptionSummary"];
    assert_eq!((&summary["OpenShardCount"], &summary["StreamStatus"]), (&json!(3), &json!("ACTIVE")));
    assert_eq!((&summary["StreamARN"], &summary["RetentionPeriodHours"]), (&json!(arn), &json!(24)));
    assert_eq!(summary["StreamCreationTimestamp"], 1_700_000_000.123);

    bench.ok("DeleteStream", json!({ "StreamName": "a" }));
    let error = bench.refused("DescribeStream", json!({ "StreamName": "a" }));
    assert_eq!(error.kind, ErrorKind::ResourceNotFound);
    assert_eq!(error.message, "Stream a under account 000000000000 not found.");
}

#[test]
fn an_on_demand_stream_starts_with_four_shards() {
    let bench = Bench::new(Quotas::off());
    bench.ok("CreateStream", json!({ "StreamName": "s", "StreamModeDetails": { "StreamMode": "ON_DEMAND" } }));
    let summary = &bench.ok("DescribeStreamSummary", json!({ "StreamName": "s" }))["StreamDescriptionSummary"];
    assert_eq!(summary["OpenShardCount"], 4);
    assert_eq!(summary["StreamModeDetails"]["StreamMode"], "ON_DEMAND");
}

#[test]
fn a_stream_made_again_does_not_take_the_old_ones_iterators() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    let iterator = bench.iterator("TRIM_HORIZON", json!({}));
    bench.ok("DeleteStream", json!({ "StreamName": "s" }));
    let error = bench.refused("GetRecords", json!({ "ShardIterator": iterator }));
    assert_eq!(error.kind, ErrorKind::ResourceNotFound);
    bench.clock.advance_us(1);
    bench.ok("CreateStream", json!({ "StreamName": "s", "ShardCount": 1 }));
    let error = bench.refused("GetRecords", json!({ "ShardIterator": iterator }));
    assert_eq!(error.kind, ErrorKind::InvalidArgument);
}

#[test]
fn an_account_takes_twenty_thousand_shards() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    let error = bench.refused("CreateStream", json!({ "StreamName": "t", "ShardCount": 20_000 }));
    assert_eq!(error.kind, ErrorKind::LimitExceeded);
}

#[test]
fn a_shard_with_limits_of_its_own_refuses_by_them_and_the_others_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("quotas.toml");
    std::fs::write(&path, "[[shard]]\nstream = \"s\"\nnumber = 1\nwrite.records_per_s = 3\n").unwrap();
    let bench = Bench::with_stream(Quotas::from_file(&path).unwrap(), 2);
    for (hash, refused) in [("0", 0), ("340282366920938463463374607431768211455", 7)] {
        let record = json!({ "PartitionKey": "k", "ExplicitHashKey": hash, "Data": "eA==" });
        let answer = bench.ok("PutRecords", json!({ "StreamName": "s", "Records": vec![record; 10] }));
        assert_eq!(answer["FailedRecordCount"], refused, "hash key {hash}");
    }
}

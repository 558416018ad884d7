//! Bad calls: each is refused as a whole, in AWS's words, and changes nothing.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{super::error::ErrorKind, Bench, SECOND_US, T0_US, entries};
use crate::stream::{Quotas, sequence::SequenceNumber};

fn validation_of(bench: &Bench, operation: &str, body: Value) -> String {
    let error = bench.refused(operation, body);
    assert_eq!(error.kind, ErrorKind::Validation, "{error}");
    error.message
}

fn nothing_is_stored(bench: &Bench) {
    assert_eq!(bench.account.metrics().used_bytes, 0);
}

#[test]
fn every_missing_field_of_a_call_is_named() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    let body = json!({ "StreamName": "s", "Records": [{ "Data": "" }, { "PartitionKey": "k" }] });
    assert_eq!(
        validation_of(&bench, "PutRecords", body),
        "2 validation errors detected: Value null at 'records.1.member.partitionKey' failed to satisfy constraint: Member \
         must not be null; Value null at 'records.2.member.data' failed to satisfy constraint: Member must not be null"
    );
    assert_eq!(
        validation_of(&bench, "PutRecords", json!({ "StreamName": "s" })),
        "1 validation error detected: Value null at 'records' failed to satisfy constraint: Member must not be null"
    );
    let text = validation_of(&bench, "GetShardIterator", json!({ "StreamName": "s" }));
    assert!(text.contains("'shardId'") && text.contains("'shardIteratorType'"), "{text}");
    assert!(validation_of(&bench, "GetRecords", json!({})).contains("Value null at 'shardIterator'"));
    assert!(validation_of(&bench, "CreateStream", json!({ "ShardCount": 1 })).contains("Value null at 'streamName'"));
    nothing_is_stored(&bench);
}

#[test]
fn a_call_of_501_records_is_refused_as_a_whole() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    let text = validation_of(&bench, "PutRecords", json!({ "StreamName": "s", "Records": entries(501, "x") }));
    assert_eq!(
        text,
        "1 validation error detected: Value '[501 records]' at 'records' failed to satisfy constraint: Member must have \
         length less than or equal to 500"
    );
    let text = validation_of(&bench, "PutRecords", json!({ "StreamName": "s", "Records": [] }));
    assert!(text.contains("greater than or equal to 1"), "{text}");
    nothing_is_stored(&bench);
    let answer = bench.ok("PutRecords", json!({ "StreamName": "s", "Records": entries(500, "x") }));
    assert_eq!(answer["FailedRecordCount"], 0);
}

#[test]
fn one_bad_record_refuses_the_call_before_any_is_stored() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    let bad = [
        (json!({ "PartitionKey": "k", "Data": "no base64" }), ErrorKind::Serialization),
        (json!({ "PartitionKey": "k", "Data": "QQ" }), ErrorKind::Serialization),
        (json!({ "PartitionKey": "k", "Data": 7 }), ErrorKind::Serialization),
        (json!({ "PartitionKey": ["k"], "Data": "" }), ErrorKind::Serialization),
        (json!({ "PartitionKey": "", "Data": "" }), ErrorKind::Validation),
        (json!({ "PartitionKey": "k".repeat(257), "Data": "" }), ErrorKind::Validation),
        (json!({ "PartitionKey": "k", "Data": "", "ExplicitHashKey": "01" }), ErrorKind::Validation),
        (json!({ "PartitionKey": "k", "Data": "", "ExplicitHashKey": "-1" }), ErrorKind::Validation),
        (
            json!({ "PartitionKey": "k", "Data": "", "ExplicitHashKey": "340282366920938463463374607431768211456" }),
            ErrorKind::InvalidArgument,
        ),
        (json!({ "PartitionKey": "k", "Data": STANDARD.encode(vec![0; 1 << 20]) }), ErrorKind::InvalidArgument),
        (json!({ "PartitionKey": "k", "Data": STANDARD.encode(vec![0; (10 << 20) + 1]) }), ErrorKind::Validation),
    ];
    for (record, kind) in bad {
        let mut records = entries(3, "good");
        records.push(record);
        let error = bench.refused("PutRecords", json!({ "StreamName": "s", "Records": records }));
        assert_eq!(error.kind, kind, "{error}");
    }
    nothing_is_stored(&bench);
}

#[test]
fn the_largest_record_counts_its_key_and_follows_the_stream() {
    let bench = Bench::with_stream(Quotas::aws(), 1);
    let body = |stream: &str, bytes: usize| json!({ "StreamName": stream, "PartitionKey": "kü", "Data": STANDARD.encode(vec![0; bytes]) });
    assert_eq!(bench.refused("PutRecord", body("s", (1 << 20) - 2)).kind, ErrorKind::InvalidArgument);
    bench.ok("PutRecord", body("s", (1 << 20) - 3));
    bench.ok("CreateStream", json!({ "StreamName": "large", "ShardCount": 1, "MaxRecordSizeInKiB": 10_240 }));
    bench.ok("PutRecord", body("large", (10 << 20) - 3));
    let records: Vec<_> = entries(11, &"x".repeat(1 << 20));
    let error = bench.refused("PutRecords", json!({ "StreamName": "large", "Records": records }));
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::InvalidArgument, "Records size exceeds 10 MB limit"));
}

#[test]
fn a_stream_has_to_be_named_and_to_exist() {
    let bench = Bench::new(Quotas::off());
    let put = |stream: Value| {
        let mut body = json!({ "PartitionKey": "k", "Data": "" });
        body.as_object_mut().unwrap().extend(stream.as_object().unwrap().clone());
        bench.refused("PutRecord", body)
    };
    assert_eq!(put(json!({})).kind, ErrorKind::InvalidArgument);
    assert_eq!(put(json!({ "StreamName": "none" })).message, "Stream none under account 000000000000 not found.");
    assert_eq!(put(json!({ "StreamName": "a b" })).kind, ErrorKind::Validation);
    assert_eq!(put(json!({ "StreamName": "x".repeat(129) })).kind, ErrorKind::Validation);
    assert_eq!(put(json!({ "StreamARN": "arn:aws:s3:::bucket" })).kind, ErrorKind::Validation);
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/other";
    assert_eq!(put(json!({ "StreamName": "s", "StreamARN": arn })).kind, ErrorKind::InvalidArgument);
    assert_eq!(put(json!({ "StreamARN": arn })).kind, ErrorKind::ResourceNotFound);
}

#[test]
fn an_iterators_start_has_to_fit_its_type() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    let refused = |more: Value| {
        let mut body = json!({ "StreamName": "s", "ShardId": "shardId-000000000000" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        bench.refused("GetShardIterator", body)
    };
    let error = refused(json!({ "ShardIteratorType": "AT_SEQUENCE_NUMBER" }));
    assert_eq!(
        error.message,
        "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or (2) \
         TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified AT_SEQUENCE_NUMBER and no \
         StartingSequenceNumber."
    );
    let error = refused(json!({ "ShardIteratorType": "LATEST", "StartingSequenceNumber": "5" }));
    assert!(error.message.ends_with("Request specified LATEST and also a StartingSequenceNumber."), "{error}");
    let error = refused(json!({ "ShardIteratorType": "AT_TIMESTAMP" }));
    assert!(error.message.starts_with("Must specify timestampInMillis"), "{error}");
    let error = refused(json!({ "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": 1_700_000_001.0 }));
    assert!(
        error.message.contains("timestampInMillis: 1700000001000, currentTimestampInMillis: 1700000000123"),
        "{error}"
    );
    assert_eq!(refused(json!({ "ShardIteratorType": "NEWEST" })).kind, ErrorKind::Validation);
    let number = json!({ "ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": "x1" });
    assert_eq!(refused(number).kind, ErrorKind::Validation);
    let error = refused(json!({ "ShardIteratorType": "LATEST", "ShardId": "shardId-000000000001" }));
    assert_eq!(error.message, "Shard shardId-000000000001 in stream s under account 000000000000 does not exist");
    let error = refused(json!({ "ShardIteratorType": "LATEST", "ShardId": "zero" }));
    assert_eq!(error.message, "Could not find shard zero in stream s under account 000000000000.");
}

#[test]
fn a_number_that_is_not_the_shards_is_refused_for_its_reason() {
    let bench = Bench::with_stream(Quotas::off(), 2);
    let start = |number: &str| {
        let body = json!({
            "StreamName": "s",
            "ShardId": "shardId-000000000000",
            "ShardIteratorType": "AT_SEQUENCE_NUMBER",
            "StartingSequenceNumber": number,
        });
        bench.refused("GetShardIterator", body).message
    };
    let used = |number: &str| {
        format!(
            "StartingSequenceNumber {number} used in GetShardIterator on shard shardId-000000000000 in stream s under \
             account 000000000000 is invalid"
        )
    };
    assert_eq!(start("7"), format!("{}.", used("7")));
    let shards = bench.ok("ListShards", json!({ "StreamName": "s" }));
    let of_the_second = shards["Shards"][1]["SequenceNumberRange"]["StartingSequenceNumber"].as_str().unwrap();
    assert_eq!(
        start(of_the_second),
        "Invalid StartingSequenceNumber. It encodes shardId-000000000001, while it was used in a call to a shard with \
         shardId-000000000000"
    );
    let earlier_s = T0_US / SECOND_US - 60;
    let of_another =
        SequenceNumber { shard_created_s: earlier_s, shard: 0, index: 1, arrival_s: earlier_s }.to_string();
    assert_eq!(start(&of_another), format!("{} because it did not come from this stream.", used(&of_another)));
    // None has been put yet.
    let now_s = T0_US / SECOND_US;
    let to_come = SequenceNumber { shard_created_s: now_s, shard: 0, index: 1, arrival_s: now_s }.to_string();
    assert_eq!(start(&to_come), format!("{}.", used(&to_come)));
}

#[test]
fn a_number_for_ordering_is_an_earlier_one_or_as_small_as_in_the_sample_of_aws() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    let put = |number: &str| {
        let body = json!({ "StreamName": "s", "PartitionKey": "k", "Data": "", "SequenceNumberForOrdering": number });
        bench.call("PutRecord", body)
    };
    let first = put("0").unwrap();
    put(first["SequenceNumber"].as_str().unwrap()).unwrap();
    let now_s = T0_US / SECOND_US;
    let tomorrow = SequenceNumber { shard_created_s: now_s, shard: 0, index: 1, arrival_s: now_s + 86_400 };
    for bad in [tomorrow.to_string(), (1_u128 << 125).to_string(), "9".repeat(56)] {
        let error = put(&bad).unwrap_err();
        let text = format!("ExclusiveMinimumSequenceNumber {bad} used in PutRecord on stream s is invalid.");
        assert_eq!((error.kind, error.message), (ErrorKind::InvalidArgument, text));
    }
}

#[test]
fn an_empty_name_breaks_its_pattern_and_its_length() {
    let bench = Bench::new(Quotas::off());
    assert_eq!(
        validation_of(&bench, "DeleteStream", json!({ "StreamName": "" })),
        "2 validation errors detected: Value '' at 'streamName' failed to satisfy constraint: Member must satisfy regular \
         expression pattern: [a-zA-Z0-9_.-]+; Value '' at 'streamName' failed to satisfy constraint: Member must have \
         length greater than or equal to 1"
    );
}

#[test]
fn what_is_not_there_is_said_before_what_does_not_fit() {
    let bench = Bench::new(Quotas::off());
    let body = json!({
        "StreamName": "none",
        "ShardId": "shardId-000000000000",
        "ShardIteratorType": "LATEST",
        "StartingSequenceNumber": "5",
    });
    assert_eq!(bench.refused("GetShardIterator", body).kind, ErrorKind::ResourceNotFound);
}

#[test]
fn limits_are_bounded_on_both_sides() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    let iterator = bench.iterator("LATEST", json!({}));
    for limit in [0, 10_001, -5] {
        let text = validation_of(&bench, "GetRecords", json!({ "ShardIterator": iterator, "Limit": limit }));
        assert!(text.contains(&format!("Value '{limit}' at 'limit'")), "{text}");
        validation_of(&bench, "ListStreams", json!({ "Limit": limit }));
        validation_of(&bench, "DescribeStream", json!({ "StreamName": "s", "Limit": limit }));
        validation_of(&bench, "ListShards", json!({ "StreamName": "s", "MaxResults": limit }));
    }
    for shards in [0, -1, 1_i64 << 40] {
        validation_of(&bench, "CreateStream", json!({ "StreamName": "t", "ShardCount": shards }));
    }
    validation_of(&bench, "GetRecords", json!({ "ShardIterator": "x".repeat(513) }));
    assert_eq!(bench.refused("GetRecords", json!({ "ShardIterator": "AAAA" })).message, "Invalid ShardIterator.");
}

#[test]
fn a_new_streams_mode_and_shards_have_to_agree() {
    let bench = Bench::new(Quotas::off());
    let refused = |body: Value| bench.refused("CreateStream", body).kind;
    assert_eq!(refused(json!({ "StreamName": "t" })), ErrorKind::InvalidArgument);
    let on_demand = json!({ "StreamMode": "ON_DEMAND" });
    let body = json!({ "StreamName": "t", "ShardCount": 2, "StreamModeDetails": on_demand });
    assert_eq!(refused(body), ErrorKind::InvalidArgument);
    let body = json!({ "StreamName": "t", "ShardCount": 2, "StreamModeDetails": { "StreamMode": "SOMETIMES" } });
    assert_eq!(refused(body), ErrorKind::Validation);
    let body = json!({ "StreamName": "t", "ShardCount": 2, "MaxRecordSizeInKiB": 10_241 });
    assert_eq!(refused(body), ErrorKind::Validation);
}

#[test]
fn an_operation_that_is_not_served_says_so() {
    let bench = Bench::new(Quotas::off());
    for operation in ["CreateChannel", "", "putrecord", "PutRecord "] {
        assert_eq!(bench.refused(operation, json!({})).kind, ErrorKind::UnknownOperation, "{operation}");
    }
}

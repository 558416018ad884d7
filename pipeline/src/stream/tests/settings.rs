//! What can be set on a stream and on the account, on a clock that is moved by hand.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{super::error::ErrorKind, ApiError, Bench, SECOND_US, T0_US, data_of};
use crate::stream::Quotas;

const HOUR_US: u64 = 3_600 * SECOND_US;
const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/s";

fn on_demand() -> Bench {
    let bench = Bench::new(Quotas::off());
    bench.ok("CreateStream", json!({ "StreamName": "s", "StreamModeDetails": { "StreamMode": "ON_DEMAND" } }));
    bench
}

fn summary(bench: &Bench) -> Value {
    bench.ok("DescribeStreamSummary", json!({ "StreamName": "s" }))["StreamDescriptionSummary"].clone()
}

fn retain(bench: &Bench, operation: &str, hours: i64) -> Result<Value, ApiError> {
    bench.call(operation, json!({ "StreamName": "s", "RetentionPeriodHours": hours }))
}

#[test]
fn a_longer_retention_keeps_records_longer_and_a_shorter_one_drops_them() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    bench.put("k", "first");
    bench.clock.advance_us(20 * HOUR_US);
    bench.put("k", "second");
    retain(&bench, "IncreaseStreamRetentionPeriod", 48).unwrap();
    assert_eq!(summary(&bench)["RetentionPeriodHours"], 48);
    bench.clock.advance_us(27 * HOUR_US);
    assert_eq!(bench.read(&bench.iterator("TRIM_HORIZON", json!({}))), ["first", "second"]);
    retain(&bench, "DecreaseStreamRetentionPeriod", 30).unwrap();
    assert_eq!(bench.read(&bench.iterator("TRIM_HORIZON", json!({}))), ["second"]);
    // What is gone stays gone.
    retain(&bench, "IncreaseStreamRetentionPeriod", 8_760).unwrap();
    assert_eq!(bench.read(&bench.iterator("TRIM_HORIZON", json!({}))), ["second"]);
}

#[test]
fn what_has_expired_does_not_come_back_with_a_longer_retention() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    bench.put("k", "old");
    bench.clock.advance_us(24 * HOUR_US + 1);
    retain(&bench, "IncreaseStreamRetentionPeriod", 168).unwrap();
    assert_eq!(bench.read(&bench.iterator("TRIM_HORIZON", json!({}))), [""; 0]);
}

#[test]
fn a_retention_out_of_bounds_or_in_the_wrong_direction_is_refused_in_the_words_of_aws() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    let refused = |operation, hours| {
        let error = retain(&bench, operation, hours).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidArgument);
        error.message
    };
    for operation in ["IncreaseStreamRetentionPeriod", "DecreaseStreamRetentionPeriod"] {
        assert_eq!(
            refused(operation, 23),
            "Minimum allowed retention period is 24 hours. Requested retention period (23 hours) is too short."
        );
        assert_eq!(
            refused(operation, 8_761),
            "Maximum allowed retention period is 8760 hours. Requested retention period (8761 hours) is too long."
        );
        // The same again is taken: Terraform sends it for every new stream.
        retain(&bench, operation, 24).unwrap();
        assert_eq!(bench.refused(operation, json!({ "StreamName": "s" })).kind, ErrorKind::Validation);
    }
    retain(&bench, "IncreaseStreamRetentionPeriod", 72).unwrap();
    assert_eq!(
        refused("IncreaseStreamRetentionPeriod", 48),
        "Requested retention period (48 hours) for stream s can not be shorter than existing retention period (72 hours). \
         Use DecreaseRetentionPeriod API."
    );
    assert_eq!(
        refused("DecreaseStreamRetentionPeriod", 96),
        "Requested retention period (96 hours) for stream s can not be longer than existing retention period (72 hours). \
         Use IncreaseRetentionPeriod API."
    );
}

#[test]
fn a_stream_that_began_with_less_than_a_day_can_be_given_one() {
    let bench = Bench::with(Quotas::off(), 1 << 30, 60 * SECOND_US);
    bench.ok("CreateStream", json!({ "StreamName": "s", "ShardCount": 1 }));
    assert_eq!(summary(&bench)["RetentionPeriodHours"], 1);
    retain(&bench, "IncreaseStreamRetentionPeriod", 24).unwrap();
    bench.put("k", "kept");
    bench.clock.advance_us(HOUR_US);
    assert_eq!(bench.read(&bench.iterator("TRIM_HORIZON", json!({}))), ["kept"]);
}

#[test]
fn larger_records_are_taken_as_soon_as_the_stream_allows_them() {
    let bench = Bench::with_stream(Quotas::aws(), 1);
    let put = |kib: usize| {
        let data = STANDARD.encode(vec![0; (kib << 10) - 1]);
        bench.call("PutRecord", json!({ "StreamName": "s", "PartitionKey": "k", "Data": data }))
    };
    assert_eq!(put(2_048).unwrap_err().kind, ErrorKind::InvalidArgument);
    bench.ok("UpdateMaxRecordSize", json!({ "StreamARN": ARN, "MaxRecordSizeInKiB": 2_048 }));
    assert_eq!(summary(&bench)["MaxRecordSizeInKiB"], 2_048);
    // The tank has grown; it fills at 1 MiB/s.
    assert_eq!(put(2_048).unwrap_err().kind, ErrorKind::ThroughputExceeded);
    bench.clock.advance_us(SECOND_US);
    put(2_048).unwrap();
    for kib in [json!(1_023), json!(10_241), Value::Null] {
        let error = bench.refused("UpdateMaxRecordSize", json!({ "StreamARN": ARN, "MaxRecordSizeInKiB": kib }));
        assert_eq!(error.kind, ErrorKind::Validation);
    }
}

#[test]
fn monitoring_says_what_was_on_and_what_is() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    let set = |operation: &str, metrics: Value| {
        let answer = bench.ok(operation, json!({ "StreamName": "s", "ShardLevelMetrics": metrics }));
        (answer["CurrentShardLevelMetrics"].clone(), answer["DesiredShardLevelMetrics"].clone())
    };
    let two = json!(["IncomingBytes", "OutgoingRecords"]);
    assert_eq!(set("EnableEnhancedMonitoring", json!(["OutgoingRecords", "IncomingBytes"])), (json!([]), two.clone()));
    let all = json!([
        "IncomingBytes",
        "IncomingRecords",
        "OutgoingBytes",
        "OutgoingRecords",
        "WriteProvisionedThroughputExceeded",
        "ReadProvisionedThroughputExceeded",
        "IteratorAgeMilliseconds"
    ]);
    assert_eq!(set("EnableEnhancedMonitoring", json!(["ALL"])), (two, all.clone()));
    let described = bench.ok("DescribeStream", json!({ "StreamName": "s" }));
    let shown = &described["StreamDescription"]["EnhancedMonitoring"][0]["ShardLevelMetrics"];
    assert_eq!(shown.as_array().unwrap().len(), 7);
    let rest = json!(all.as_array().unwrap()[1..]);
    assert_eq!(set("DisableEnhancedMonitoring", json!(["IncomingBytes"])), (all, rest.clone()));
    assert_eq!(set("DisableEnhancedMonitoring", json!(["ALL"])), (rest, json!([])));
    for metrics in [json!([]), json!(["Latency"]), json!(vec!["IncomingBytes"; 8]), Value::Null] {
        let body = json!({ "StreamName": "s", "ShardLevelMetrics": metrics });
        assert_eq!(bench.refused("EnableEnhancedMonitoring", body).kind, ErrorKind::Validation);
    }
}

#[test]
fn encryption_is_shown_with_its_key_until_it_is_stopped() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    let call = |operation: &str, kind: &str, key: &str| {
        bench.call(operation, json!({ "StreamName": "s", "EncryptionType": kind, "KeyId": key }))
    };
    let shown = || {
        let summary = summary(&bench);
        (summary["EncryptionType"].clone(), summary["KeyId"].clone())
    };
    assert_eq!(shown(), (json!("NONE"), Value::Null));
    call("StartStreamEncryption", "KMS", "alias/aws/kinesis").unwrap();
    assert_eq!(shown(), (json!("KMS"), json!("alias/aws/kinesis")));
    call("StopStreamEncryption", "KMS", "alias/aws/kinesis").unwrap();
    assert_eq!(shown(), (json!("NONE"), Value::Null));
    assert_eq!(call("StartStreamEncryption", "NONE", "k").unwrap_err().kind, ErrorKind::InvalidArgument);
    assert_eq!(call("StartStreamEncryption", "AES", "k").unwrap_err().kind, ErrorKind::Validation);
    assert_eq!(call("StartStreamEncryption", "KMS", "").unwrap_err().kind, ErrorKind::Validation);
    assert_eq!(bench.refused("StopStreamEncryption", json!({ "StreamName": "s" })).kind, ErrorKind::Validation);
    (1..25).for_each(|_| drop(call("StartStreamEncryption", "KMS", "k").unwrap()));
    assert_eq!(call("StartStreamEncryption", "KMS", "k").unwrap_err().kind, ErrorKind::LimitExceeded);
    bench.clock.advance_us(24 * HOUR_US);
    call("StartStreamEncryption", "KMS", "k").unwrap();
}

fn switch(bench: &Bench, mode: &str) -> Result<Value, ApiError> {
    bench.call("UpdateStreamMode", json!({ "StreamARN": ARN, "StreamModeDetails": { "StreamMode": mode } }))
}

#[test]
fn the_mode_is_switched_twice_a_day_at_most_and_keeps_the_shards() {
    let bench = Bench::with_stream(Quotas::off(), 3);
    switch(&bench, "ON_DEMAND").unwrap();
    let shown = summary(&bench);
    assert_eq!((&shown["StreamModeDetails"]["StreamMode"], &shown["OpenShardCount"]), (&json!("ON_DEMAND"), &json!(3)));
    assert_eq!(shown["RecordDistributionStrategy"], "USER_PARTITION_KEY");
    switch(&bench, "PROVISIONED").unwrap();
    // The mode it has already is no switch.
    switch(&bench, "PROVISIONED").unwrap();
    let error = switch(&bench, "ON_DEMAND").unwrap_err();
    assert_eq!(error.kind, ErrorKind::LimitExceeded);
    bench.clock.advance_us(24 * HOUR_US);
    switch(&bench, "ON_DEMAND").unwrap();
    assert_eq!(switch(&bench, "SOMETIMES").unwrap_err().kind, ErrorKind::Validation);
    let body = json!({ "StreamName": "s", "StreamModeDetails": { "StreamMode": "ON_DEMAND" } });
    assert!(bench.refused("UpdateStreamMode", body).message.contains("Value null at 'streamARN'"));
    assert!(bench.refused("UpdateStreamMode", json!({ "StreamARN": ARN })).message.contains("'streamModeDetails'"));
}

#[test]
fn fifty_streams_of_an_account_are_on_demand_at_most() {
    let bench = on_demand();
    let create = |name: String| {
        bench.call("CreateStream", json!({ "StreamName": name, "StreamModeDetails": { "StreamMode": "ON_DEMAND" } }))
    };
    (1..50).for_each(|i| drop(create(format!("s{i}")).unwrap()));
    assert_eq!(create("more".to_owned()).unwrap_err().kind, ErrorKind::LimitExceeded);
    bench.ok("CreateStream", json!({ "StreamName": "p", "ShardCount": 1 }));
    let body = json!({ "StreamARN": ARN.replace("/s", "/p"), "StreamModeDetails": { "StreamMode": "ON_DEMAND" } });
    assert_eq!(bench.refused("UpdateStreamMode", body).kind, ErrorKind::LimitExceeded);
    assert_eq!(
        bench.ok("DescribeLimits", json!({})),
        json!({ "ShardLimit": 20_000, "OpenShardCount": 201, "OnDemandStreamCount": 50, "OnDemandStreamCountLimit": 50 })
    );
}

#[test]
fn warm_throughput_needs_a_commitment_and_makes_the_shards_for_it() {
    let bench = on_demand();
    let warm = |mibps: i64| {
        bench.call("UpdateStreamWarmThroughput", json!({ "StreamARN": ARN, "WarmThroughputMiBps": mibps }))
    };
    let error = warm(10).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Validation);
    assert!(error.message.contains("MinimumThroughputBillingCommitment"), "{error}");
    let commitment = json!({ "MinimumThroughputBillingCommitment": { "Status": "ENABLED" } });
    bench.ok("UpdateAccountSettings", commitment);
    let answer = warm(10).unwrap();
    assert_eq!(answer["WarmThroughput"], json!({ "TargetMiBps": 10, "CurrentMiBps": 4 }));
    let shown = summary(&bench);
    assert_eq!((&shown["OpenShardCount"], &shown["WarmThroughput"]["CurrentMiBps"]), (&json!(10), &json!(10)));
    // Less releases what is too much, down to what every on-demand stream has.
    warm(0).unwrap();
    assert_eq!(summary(&bench)["OpenShardCount"], 4);
    assert_eq!(warm(10_241).unwrap_err().kind, ErrorKind::LimitExceeded);
    assert_eq!(warm(-1).unwrap_err().kind, ErrorKind::Validation);
    let body =
        json!({ "StreamName": "w", "StreamModeDetails": { "StreamMode": "ON_DEMAND" }, "WarmThroughputMiBps": 25 });
    bench.ok("CreateStream", body);
    let shown = bench.ok("DescribeStreamSummary", json!({ "StreamName": "w" }));
    assert_eq!(shown["StreamDescriptionSummary"]["OpenShardCount"], 25);
    bench.ok("CreateStream", json!({ "StreamName": "p", "ShardCount": 1 }));
    let body = json!({ "StreamName": "p", "WarmThroughputMiBps": 5 });
    assert_eq!(bench.refused("UpdateStreamWarmThroughput", body).kind, ErrorKind::Validation);
}

#[test]
fn only_an_on_demand_stream_spreads_its_records_itself() {
    let bench = on_demand();
    let set = |strategy: &str| {
        let body = json!({ "StreamARN": ARN, "RecordDistributionStrategy": strategy });
        bench.call("UpdateStreamRecordDistributionStrategy", body)
    };
    set("AUTO").unwrap();
    assert_eq!(summary(&bench)["RecordDistributionStrategy"], "AUTO");
    assert_eq!(set("RANDOM").unwrap_err().kind, ErrorKind::Validation);
    // A provisioned stream goes by its keys again.
    switch(&bench, "PROVISIONED").unwrap();
    assert_eq!(set("AUTO").unwrap_err().kind, ErrorKind::InvalidArgument);
    set("USER_PARTITION_KEY").unwrap();
    switch(&bench, "ON_DEMAND").unwrap();
    assert_eq!(summary(&bench)["RecordDistributionStrategy"], "USER_PARTITION_KEY");
    let body = json!({ "StreamName": "p", "ShardCount": 1, "RecordDistributionStrategy": "AUTO" });
    assert_eq!(bench.refused("CreateStream", body).kind, ErrorKind::InvalidArgument);
}

#[test]
fn a_commitment_lasts_a_day_and_an_early_end_waits_for_it() {
    let bench = Bench::new(Quotas::off());
    let set = |status: &str| {
        let body = json!({ "MinimumThroughputBillingCommitment": { "Status": status } });
        bench.ok("UpdateAccountSettings", body)["MinimumThroughputBillingCommitment"].clone()
    };
    let shown = || bench.ok("DescribeAccountSettings", json!({}))["MinimumThroughputBillingCommitment"].clone();
    let t0 = (T0_US / 1_000) as f64 / 1e3;
    let running = |status: &str| json!({ "Status": status, "StartedAt": t0, "EarliestAllowedEndAt": t0 + 86_400.0 });
    assert_eq!((shown(), set("DISABLED")), (json!({ "Status": "DISABLED" }), json!({ "Status": "DISABLED" })));
    assert_eq!(set("ENABLED"), running("ENABLED"));
    bench.clock.advance_us(HOUR_US);
    assert_eq!(set("DISABLED"), running("ENABLED_UNTIL_EARLIEST_ALLOWED_END"));
    assert_eq!(set("ENABLED"), running("ENABLED"));
    assert_eq!(set("DISABLED"), running("ENABLED_UNTIL_EARLIEST_ALLOWED_END"));
    bench.clock.advance_us(23 * HOUR_US);
    let ended = json!({ "Status": "DISABLED", "StartedAt": t0, "EndedAt": t0 + 86_400.0 });
    assert_eq!((shown(), set("DISABLED")), (ended.clone(), ended));
    for body in [json!({}), json!({ "MinimumThroughputBillingCommitment": {} })] {
        assert_eq!(bench.refused("UpdateAccountSettings", body).kind, ErrorKind::Validation);
    }
    let body = json!({ "MinimumThroughputBillingCommitment": { "Status": "MAYBE" } });
    assert_eq!(bench.refused("UpdateAccountSettings", body).kind, ErrorKind::Validation);
}

#[test]
fn five_streams_are_being_created_at_most_and_a_name_is_free_only_when_its_stream_is_gone() {
    let bench = Bench::settling(Quotas::off(), 30 * SECOND_US);
    let create = |name: &str| bench.call("CreateStream", json!({ "StreamName": name, "ShardCount": 1 }));
    for name in ["a", "b", "c", "d", "s"] {
        create(name).unwrap();
    }
    assert_eq!(create("f").unwrap_err().kind, ErrorKind::LimitExceeded);
    bench.clock.advance_us(30 * SECOND_US);
    create("f").unwrap();
    bench.put("k", "x");
    let refused = |operation: &str, body: Value| {
        let error = bench.refused(operation, body);
        (error.kind, error.message)
    };
    let not_active = |status: &str| {
        let text = format!("Stream s under account 000000000000 not ACTIVE, instead in state {status}");
        (ErrorKind::ResourceInUse, text)
    };
    retain(&bench, "IncreaseStreamRetentionPeriod", 48).unwrap();
    for (operation, body) in [
        ("IncreaseStreamRetentionPeriod", json!({ "StreamName": "s", "RetentionPeriodHours": 72 })),
        ("UpdateMaxRecordSize", json!({ "StreamARN": ARN, "MaxRecordSizeInKiB": 1_024 })),
        ("EnableEnhancedMonitoring", json!({ "StreamName": "s", "ShardLevelMetrics": ["ALL"] })),
        ("StartStreamEncryption", json!({ "StreamName": "s", "EncryptionType": "KMS", "KeyId": "k" })),
        ("UpdateShardCount", json!({ "StreamName": "s", "TargetShardCount": 2, "ScalingType": "UNIFORM_SCALING" })),
        ("UpdateStreamMode", json!({ "StreamARN": ARN, "StreamModeDetails": { "StreamMode": "ON_DEMAND" } })),
        ("DeleteStream", json!({ "StreamName": "s" })),
    ] {
        assert_eq!(refused(operation, body), not_active("UPDATING"), "{operation}");
    }
    // Records go in and out meanwhile, and tags change.
    bench.put("k", "y");
    let answer = bench.ok("GetRecords", json!({ "ShardIterator": bench.iterator("TRIM_HORIZON", json!({})) }));
    assert_eq!(data_of(&answer), ["x", "y"]);
    bench.ok("AddTagsToStream", json!({ "StreamName": "s", "Tags": { "k": "v" } }));
    bench.clock.advance_us(30 * SECOND_US);
    bench.ok("DeleteStream", json!({ "StreamName": "s" }));
    assert_eq!(refused("DeleteStream", json!({ "StreamName": "s" })), not_active("DELETING"));
    assert_eq!(refused("AddTagsToStream", json!({ "StreamName": "s", "Tags": { "k": "v" } })), not_active("DELETING"));
    let text = "Stream s under account 000000000000 already exists.";
    assert_eq!(create("s").unwrap_err().message, text);
    bench.clock.advance_us(30 * SECOND_US);
    create("s").unwrap();
}

#[test]
fn records_bear_the_encryption_of_the_time_they_arrived() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    let set = |operation: &str| {
        bench.clock.advance_us(SECOND_US);
        bench.ok(operation, json!({ "StreamName": "s", "EncryptionType": "KMS", "KeyId": "alias/aws/kinesis" }));
    };
    assert!(bench.put("k", "plain")["EncryptionType"].is_null());
    set("StartStreamEncryption");
    assert_eq!(bench.put("k", "sealed")["EncryptionType"], "KMS");
    let body = json!({ "StreamName": "s", "Records": [{ "PartitionKey": "k", "Data": "" }] });
    assert_eq!(bench.ok("PutRecords", body.clone())["EncryptionType"], "KMS");
    set("StopStreamEncryption");
    assert!(bench.ok("PutRecords", body)["EncryptionType"].is_null());
    let answer = bench.ok("GetRecords", json!({ "ShardIterator": bench.iterator("TRIM_HORIZON", json!({})) }));
    let types: Vec<_> = answer["Records"].as_array().unwrap().iter().map(|r| r["EncryptionType"].clone()).collect();
    assert_eq!(types, [Value::Null, json!("KMS"), json!("KMS"), Value::Null]);
}

#[test]
fn a_stream_that_spreads_ignores_keys_fills_its_shards_evenly_and_needs_no_key() {
    let bench = Bench::new(Quotas::off());
    let mode = json!({ "StreamMode": "ON_DEMAND" });
    let body = json!({ "StreamName": "s", "StreamModeDetails": mode, "RecordDistributionStrategy": "AUTO" });
    bench.ok("CreateStream", body);
    let records: Vec<_> =
        (0..400).map(|_| json!({ "PartitionKey": "one", "Data": "", "ExplicitHashKey": "0" })).collect();
    let answer = bench.ok("PutRecords", json!({ "StreamName": "s", "Records": records }));
    let on = |shard: &str| answer["Records"].as_array().unwrap().iter().filter(|r| r["ShardId"] == shard).count();
    let counts = ["0", "1", "2", "3"].map(|number| on(&format!("shardId-00000000000{number}")));
    assert!(counts.iter().all(|count| (98..=102).contains(count)), "{counts:?}");
    // An explicit key beyond every shard is ignored too; one that is no number is not.
    let body = |hash: &str| json!({ "StreamName": "s", "Data": "", "ExplicitHashKey": hash });
    let shard = bench.ok("PutRecord", body("999999999999999999999999999999999999999"))["ShardId"].clone();
    assert_eq!(bench.refused("PutRecord", body("x")).kind, ErrorKind::Validation);
    let from = json!({ "StreamName": "s", "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON" });
    let iterator = bench.ok("GetShardIterator", from)["ShardIterator"].clone();
    let answer = bench.ok("GetRecords", json!({ "ShardIterator": iterator }));
    let read = answer["Records"].as_array().unwrap();
    assert_eq!((&read[0]["PartitionKey"], read.last().unwrap().get("PartitionKey")), (&json!("one"), None));
    // Back to the producers' keys, which are then needed.
    let body = json!({ "StreamARN": ARN, "RecordDistributionStrategy": "USER_PARTITION_KEY" });
    bench.ok("UpdateStreamRecordDistributionStrategy", body);
    let error = bench.refused("PutRecord", json!({ "StreamName": "s", "Data": "" }));
    assert!(error.message.contains("Value null at 'partitionKey'"), "{error}");
}

#[test]
fn a_dry_run_is_judged_like_the_call_and_does_nothing() {
    let bench = Bench::with_stream(Quotas::aws(), 1);
    let put =
        |stream: &str, key: &str| json!({ "StreamName": stream, "PartitionKey": key, "Data": "", "DryRun": true });
    let position =
        json!({ "StreamName": "s", "ShardId": "shardId-0", "ShardIteratorType": "TRIM_HORIZON", "DryRun": true });
    let iterator = bench.iterator("TRIM_HORIZON", json!({}));
    for (operation, body) in [
        ("PutRecord", put("s", "k")),
        ("PutRecords", json!({ "StreamName": "s", "Records": [put("s", "k")], "DryRun": true })),
        ("GetShardIterator", position),
        ("GetRecords", json!({ "ShardIterator": iterator, "DryRun": true })),
    ] {
        let error = bench.refused(operation, body);
        assert_eq!((error.kind.name(), error.kind.status()), ("DryRunOperationException", 400), "{operation}");
    }
    assert_eq!(bench.refused("PutRecord", put("none", "k")).kind, ErrorKind::ResourceNotFound);
    assert_eq!(bench.refused("PutRecord", put("s", "")).kind, ErrorKind::Validation);
    assert_eq!(bench.read(&iterator), [""; 0]);
}

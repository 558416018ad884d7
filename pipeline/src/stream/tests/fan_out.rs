//! Consumers and their subscriptions, on a clock that stands still.

use serde_json::{Value, json};

use super::{Bench, SECOND_US, data_of, entries};
use crate::stream::{
    error::{ApiError, ErrorKind},
    operations::{Operation, Reply, TARGET_PREFIX},
    quota::Quotas,
    subscription::{Event, Pump, Step, Subscription},
};

const STREAM_ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/s";

impl Bench {
    /// Registers a consumer and gives its ARN.
    fn register(&self, name: &str) -> String {
        let answer = self.ok("RegisterStreamConsumer", json!({ "StreamARN": STREAM_ARN, "ConsumerName": name }));
        assert_eq!(answer["Consumer"]["ConsumerStatus"], "CREATING");
        answer["Consumer"]["ConsumerARN"].as_str().unwrap().to_owned()
    }

    fn subscribe(&self, consumer: &str, shard: u32, position: Value) -> Result<Pump, ApiError> {
        let operation = Operation::from_target(&format!("{TARGET_PREFIX}SubscribeToShard")).unwrap();
        let shard = format!("shardId-{shard:012}");
        let body = json!({ "ConsumerARN": consumer, "ShardId": shard, "StartingPosition": position });
        match operation.run(&self.account, body.to_string().as_bytes())? {
            Reply::Events(Subscription(pump)) => Ok(pump),
            Reply::Body(body) => panic!("{}", String::from_utf8_lossy(&body)),
        }
    }

    /// Everything the pump sends now, and then what it wants.
    fn drain(&self, pump: &mut Pump) -> (Vec<Value>, Step) {
        let mut sent = Vec::new();
        loop {
            match pump.step(self.account.clock.now_us()) {
                Step::Send(Event::InitialResponse) => sent.push(json!("initial-response")),
                Step::Send(Event::Records(json)) => sent.push(serde_json::from_slice(&json).unwrap()),
                Step::Send(Event::Exception(error)) => sent.push(json!(error.kind.name())),
                rest => return (sent, rest),
            }
        }
    }

    fn put_many(&self, count: usize, data: &str) {
        let answer = self.ok("PutRecords", json!({ "StreamName": "s", "Records": entries(count, data) }));
        assert_eq!(answer["FailedRecordCount"], 0);
    }
}

fn at(kind: &str) -> Value {
    json!({ "Type": kind })
}

#[test]
fn a_subscription_begins_with_the_initial_response_and_goes_on_with_records_and_heartbeats() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    let consumer = bench.register("c");
    bench.put("k", "before");
    let mut pump = bench.subscribe(&consumer, 0, at("LATEST")).unwrap();
    let (sent, wait) = bench.drain(&mut pump);
    assert_eq!(sent, [json!("initial-response")]);
    let now_us = bench.account.clock.now_us();
    assert_eq!(wait, Step::WaitUntil(now_us + 5 * SECOND_US), "the heartbeat is next");

    bench.put("k", "one");
    let two = bench.put("k", "two")["SequenceNumber"].clone();
    let (sent, _) = bench.drain(&mut pump);
    assert_eq!((sent.len(), data_of(&sent[0])), (1, vec!["one".to_owned(), "two".to_owned()]));
    assert_eq!((&sent[0]["ContinuationSequenceNumber"], &sent[0]["MillisBehindLatest"]), (&two, &json!(0)));
    assert!(sent[0].get("ChildShards").is_none() && sent[0].get("EncryptionType").is_none(), "{}", sent[0]);

    bench.clock.advance_us(4_999_999);
    assert_eq!(bench.drain(&mut pump).0, Vec::<Value>::new());
    bench.clock.advance_us(1);
    let (sent, _) = bench.drain(&mut pump);
    let heartbeat = json!({ "Records": [], "MillisBehindLatest": 0, "ContinuationSequenceNumber": two });
    assert_eq!(sent, [heartbeat]);
}

#[test]
fn every_starting_position_starts_where_it_says() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    let numbers: Vec<Value> = ["a", "b", "c"]
        .iter()
        .map(|data| {
            bench.clock.advance_us(SECOND_US);
            bench.put("k", data)["SequenceNumber"].clone()
        })
        .collect();
    let second = bench.account.clock.now_us() as f64 / 1e6 - 1.0;
    let cases = [
        (at("TRIM_HORIZON"), vec!["a", "b", "c"]),
        (at("LATEST"), vec![]),
        (json!({ "Type": "AT_SEQUENCE_NUMBER", "SequenceNumber": numbers[1] }), vec!["b", "c"]),
        (json!({ "Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": numbers[1] }), vec!["c"]),
        (json!({ "Type": "AT_TIMESTAMP", "Timestamp": second - 0.001 }), vec!["b", "c"]),
    ];
    for (place, (position, want)) in cases.into_iter().enumerate() {
        let consumer = bench.register(&format!("c{place}"));
        let mut pump = bench.subscribe(&consumer, 0, position.clone()).unwrap();
        let got: Vec<String> = bench.drain(&mut pump).0.iter().skip(1).flat_map(data_of).collect();
        assert_eq!(got, want, "{position}");
    }
}

#[test]
fn to_continue_after_the_number_of_any_event_repeats_and_skips_nothing() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    let consumer = bench.register("c");
    let mut got: Vec<String> = Vec::new();
    let mut position = at("LATEST");
    for round in 0..4 {
        let mut pump = bench.subscribe(&consumer, 0, position).unwrap();
        let (mut sent, _) = bench.drain(&mut pump);
        // The first event may be a heartbeat, before any record: its number has to be good too.
        bench.clock.advance_us(5 * SECOND_US);
        sent.extend(bench.drain(&mut pump).0);
        for part in 0..2 {
            bench.put("k", &format!("{round}.{part}"));
            if part == 0 && round != 2 {
                sent.extend(bench.drain(&mut pump).0);
            }
        }
        got.extend(sent.iter().skip(1).flat_map(data_of));
        position = json!({
            "Type": "AFTER_SEQUENCE_NUMBER",
            "SequenceNumber": sent.last().unwrap()["ContinuationSequenceNumber"],
        });
    }
    bench.clock.advance_us(5 * SECOND_US);
    let mut pump = bench.subscribe(&consumer, 0, position).unwrap();
    got.extend(bench.drain(&mut pump).0.iter().skip(1).flat_map(data_of));
    let want: Vec<_> = (0..4).flat_map(|round| (0..2).map(move |part| format!("{round}.{part}"))).collect();
    assert_eq!(got, want);
}

#[test]
fn a_second_subscription_is_refused_at_first_and_takes_over_after_five_seconds() {
    let bench = Bench::with_stream(Quotas::off(), 2);
    let consumer = bench.register("c");
    let mut first = bench.subscribe(&consumer, 0, at("LATEST")).unwrap();
    bench.drain(&mut first);
    bench.clock.advance_us(5 * SECOND_US - 1);
    let refused = bench.subscribe(&consumer, 0, at("LATEST")).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::ResourceInUse);
    bench.subscribe(&consumer, 1, at("LATEST")).expect("another shard is another seat");
    bench.clock.advance_us(1);
    let mut second = bench.subscribe(&consumer, 0, at("LATEST")).unwrap();
    assert_eq!(bench.drain(&mut first), (vec![json!("ResourceInUseException")], Step::End));
    bench.put("k", "x");
    assert_eq!(bench.drain(&mut second).0[0], "initial-response");
}

#[test]
fn a_dry_run_of_a_subscription_is_judged_like_the_call_and_takes_no_seat() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    let consumer = bench.register("c");
    let mut body = json!({ "ConsumerARN": consumer, "ShardId": "shardId-000000000000", "DryRun": true });
    body["StartingPosition"] = at("LATEST");
    assert_eq!(bench.refused("SubscribeToShard", body.clone()).kind, ErrorKind::DryRun);
    bench.subscribe(&consumer, 0, at("LATEST")).expect("the seat is free");
    body["ShardId"] = json!("shardId-000000000007");
    assert_eq!(bench.refused("SubscribeToShard", body).kind, ErrorKind::ResourceNotFound);
}

#[test]
fn a_subscription_lasts_five_minutes() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    let consumer = bench.register("c");
    let mut pump = bench.subscribe(&consumer, 0, at("LATEST")).unwrap();
    let mut heartbeats = 0;
    bench.drain(&mut pump);
    for second in 1..300 {
        bench.clock.advance_us(SECOND_US);
        let (sent, step) = bench.drain(&mut pump);
        assert_ne!(step, Step::End, "after {second} s");
        heartbeats += sent.len();
    }
    assert_eq!(heartbeats, 59);
    bench.clock.advance_us(SECOND_US);
    assert_eq!(bench.drain(&mut pump), (Vec::new(), Step::End));
}

#[test]
fn a_consumer_is_sent_two_mebibytes_a_second_and_each_has_its_own() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    let consumers = [bench.register("a"), bench.register("b")];
    for _ in 0..64 {
        bench.put_many(2, &"x".repeat((1 << 18) - 8));
    }
    let mut pumps = consumers.map(|consumer| bench.subscribe(&consumer, 0, at("TRIM_HORIZON")).unwrap());
    let mut bytes = [0_usize; 2];
    // The credit is half a second, and the event that uses it up is of half a second.
    for tick in 0..=50 {
        for (pump, bytes) in pumps.iter_mut().zip(&mut bytes) {
            let sent = bench.drain(pump).0;
            *bytes +=
                sent.iter().filter(|event| event.is_object()).flat_map(data_of).map(|data| data.len()).sum::<usize>();
        }
        if tick < 50 {
            bench.clock.advance_us(SECOND_US / 10);
        }
    }
    let mebibytes = bytes.map(|bytes| bytes as f64 / (1 << 20) as f64);
    assert!(mebibytes.iter().all(|sent| (10.0..=12.1).contains(sent)), "in five seconds: {mebibytes:?} MiB");
}

#[test]
fn at_the_end_of_a_shard_its_children_are_named_and_every_record_comes_once() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    let consumer = bench.register("c");
    bench.put_many(10, "parent");
    let mut pump = bench.subscribe(&consumer, 0, at("TRIM_HORIZON")).unwrap();
    let mut got: Vec<String> = bench.drain(&mut pump).0.iter().skip(1).flat_map(data_of).collect();
    let middle = (1_u128 << 127).to_string();
    let split = json!({ "StreamName": "s", "ShardToSplit": "shardId-0", "NewStartingHashKey": middle });
    bench.ok("SplitShard", split);
    bench.put_many(10, "child");
    let (sent, step) = bench.drain(&mut pump);
    assert_eq!((sent.len(), step), (1, Step::End));
    assert!(sent[0].get("ContinuationSequenceNumber").is_none(), "nothing to continue after: {}", sent[0]);
    got.extend(data_of(&sent[0]));
    let children = sent[0]["ChildShards"].as_array().unwrap();
    assert_eq!(children.len(), 2);
    for (number, child) in [1, 2].into_iter().zip(children) {
        assert_eq!(child["ParentShards"], json!(["shardId-000000000000"]));
        assert_eq!(child["ShardId"], format!("shardId-{number:012}"));
        let mut pump = bench.subscribe(&consumer, number, at("TRIM_HORIZON")).unwrap();
        got.extend(bench.drain(&mut pump).0.iter().skip(1).flat_map(data_of));
    }
    got.sort();
    let want: Vec<_> = std::iter::repeat_n("child", 10).chain(std::iter::repeat_n("parent", 10)).collect();
    assert_eq!(got, want);
}

#[test]
fn a_subscription_ends_with_its_stream_or_its_consumer() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    let (one, other) = (bench.register("one"), bench.register("other"));
    let mut of_one = bench.subscribe(&one, 0, at("LATEST")).unwrap();
    let mut of_other = bench.subscribe(&other, 0, at("LATEST")).unwrap();
    bench.drain(&mut of_one);
    bench.drain(&mut of_other);
    bench.ok("DeregisterStreamConsumer", json!({ "ConsumerARN": one }));
    assert_eq!(bench.drain(&mut of_one).0, [json!("ResourceNotFoundException")]);
    assert_eq!(bench.drain(&mut of_other).0, Vec::<Value>::new());
    let refused = bench.refused("DeleteStream", json!({ "StreamName": "s" }));
    assert_eq!(refused.kind, ErrorKind::ResourceInUse, "a consumer is still registered");
    bench.ok("DeleteStream", json!({ "StreamName": "s", "EnforceConsumerDeletion": true }));
    assert_eq!(bench.drain(&mut of_other), (vec![json!("ResourceNotFoundException")], Step::End));
}

#[test]
fn a_consumer_has_tags_and_a_policy_of_its_own() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    let consumer = bench.register("c");
    bench.ok("TagResource", json!({ "ResourceARN": consumer, "Tags": { "team": "mill" } }));
    let tags = |arn: &str| bench.ok("ListTagsForResource", json!({ "ResourceARN": arn }))["Tags"].clone();
    assert_eq!(tags(&consumer), json!([{ "Key": "team", "Value": "mill" }]));
    assert_eq!(tags(STREAM_ARN), json!([]));
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"kinesis:*"}]}"#;
    bench.ok("PutResourcePolicy", json!({ "ResourceARN": consumer, "Policy": policy }));
    assert_eq!(bench.ok("GetResourcePolicy", json!({ "ResourceARN": consumer }))["Policy"], policy);
    let register = |tags: Value| {
        bench
            .refused("RegisterStreamConsumer", json!({ "StreamARN": STREAM_ARN, "ConsumerName": "t", "Tags": tags }))
            .kind
    };
    assert_eq!(register(json!({ "bad;": "x" })), ErrorKind::InvalidArgument);
    assert_eq!((register(json!({})), register(json!({ "": "x" }))), (ErrorKind::Validation, ErrorKind::Validation));
    let missing = consumer.replace("/c:", "/d:");
    assert_eq!(
        bench.refused("ListTagsForResource", json!({ "ResourceARN": missing })).kind,
        ErrorKind::ResourceNotFound
    );
}

#[test]
fn consumers_are_described_listed_in_pages_and_limited() {
    let bench = Bench::settling(Quotas::off(), SECOND_US);
    bench.ok("CreateStream", json!({ "StreamName": "s", "ShardCount": 1 }));
    bench.clock.advance_us(SECOND_US);
    let named = |name: &str| json!({ "StreamARN": STREAM_ARN, "ConsumerName": name });
    let arn = bench.register("c00");
    assert_eq!(bench.refused("RegisterStreamConsumer", named("c00")).kind, ErrorKind::ResourceInUse);
    let status = |by: Value| bench.ok("DescribeStreamConsumer", by)["ConsumerDescription"]["ConsumerStatus"].clone();
    assert_eq!(status(json!({ "ConsumerARN": arn })), "CREATING");
    assert_eq!(bench.subscribe(&arn, 0, at("LATEST")).unwrap_err().kind, ErrorKind::ResourceInUse);
    (1..5).for_each(|place| drop(bench.register(&format!("c{place:02}"))));
    assert_eq!(bench.refused("RegisterStreamConsumer", named("c05")).kind, ErrorKind::LimitExceeded, "five CREATING");
    for place in 5..20 {
        bench.clock.advance_us(SECOND_US);
        bench.register(&format!("c{place:02}"));
    }
    bench.clock.advance_us(SECOND_US);
    assert_eq!(status(named("c00")), "ACTIVE");
    assert_eq!(bench.refused("RegisterStreamConsumer", named("c20")).kind, ErrorKind::LimitExceeded, "twenty in all");
    let summary = bench.ok("DescribeStreamSummary", json!({ "StreamName": "s" }));
    assert_eq!(summary["StreamDescriptionSummary"]["ConsumerCount"], 20);

    let mut names = Vec::new();
    let mut token = Value::Null;
    loop {
        let mut body = json!({ "StreamARN": STREAM_ARN, "MaxResults": 7 });
        if !token.is_null() {
            body["NextToken"] = token;
        }
        let page = bench.ok("ListStreamConsumers", body);
        names.extend(
            page["Consumers"].as_array().unwrap().iter().map(|c| c["ConsumerName"].as_str().unwrap().to_owned()),
        );
        token = page["NextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!(names, (0..20).map(|place| format!("c{place:02}")).collect::<Vec<_>>());

    bench.ok("DeregisterStreamConsumer", named("c00"));
    assert_eq!(status(named("c00")), "DELETING");
    bench.clock.advance_us(SECOND_US);
    assert_eq!(bench.refused("DescribeStreamConsumer", named("c00")).kind, ErrorKind::ResourceNotFound);
    let again = bench.register("c00");
    assert_ne!(again, arn, "the time of registration tells them apart");
    assert_eq!(
        bench.refused("DescribeStreamConsumer", json!({ "ConsumerARN": arn })).kind,
        ErrorKind::ResourceNotFound
    );
}

#[test]
fn wrong_fields_are_refused_before_anything_happens() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    let arn = bench.register("c");
    let shard = "shardId-000000000000";
    let subscribe = |position: Value| json!({ "ConsumerARN": arn, "ShardId": shard, "StartingPosition": position });
    let cases = [
        ("RegisterStreamConsumer", json!({}), ErrorKind::Validation),
        ("RegisterStreamConsumer", json!({ "StreamARN": STREAM_ARN, "ConsumerName": "a b" }), ErrorKind::Validation),
        ("RegisterStreamConsumer", json!({ "StreamARN": "s", "ConsumerName": "c" }), ErrorKind::Validation),
        ("DescribeStreamConsumer", json!({ "ConsumerName": "c" }), ErrorKind::InvalidArgument),
        ("DescribeStreamConsumer", json!({ "ConsumerARN": STREAM_ARN }), ErrorKind::Validation),
        ("DeregisterStreamConsumer", json!({ "ConsumerARN": arn, "ConsumerName": "c" }), ErrorKind::InvalidArgument),
        ("ListStreamConsumers", json!({ "StreamARN": STREAM_ARN, "MaxResults": 0 }), ErrorKind::Validation),
        ("ListStreamConsumers", json!({ "StreamARN": STREAM_ARN, "NextToken": "x" }), ErrorKind::InvalidArgument),
        ("SubscribeToShard", json!({}), ErrorKind::Validation),
        ("SubscribeToShard", subscribe(json!({ "Type": "SOMEWHERE" })), ErrorKind::Validation),
        ("SubscribeToShard", subscribe(json!({ "Type": "AT_SEQUENCE_NUMBER" })), ErrorKind::InvalidArgument),
        ("SubscribeToShard", subscribe(json!({ "Type": "AT_TIMESTAMP" })), ErrorKind::InvalidArgument),
        (
            "SubscribeToShard",
            subscribe(json!({ "Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": "1" })),
            ErrorKind::InvalidArgument,
        ),
    ];
    for (operation, body, kind) in cases {
        assert_eq!(bench.refused(operation, body.clone()).kind, kind, "{operation} {body}");
    }
}

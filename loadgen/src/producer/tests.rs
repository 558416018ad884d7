//! The producer against a scripted stream.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use millrace_reports::latency::LatencyLog;
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep, sleep_until},
};

use super::{
    call::{NewEntry, RecordMeta},
    desk::HandedOver,
    *,
};
use crate::{
    shards::ShardMap,
    testing::{FakeKinesis, PutStep, local_stream},
};

const THROTTLED: &str = "ProvisionedThroughputExceededException";

fn settings(in_flight: usize, entries: usize) -> Settings {
    Settings {
        in_flight,
        in_flight_per_shard: in_flight,
        limits: Limits { entries, bytes: 1 << 20 },
        retry: RetryPolicy { base_us: 20_000, cap_us: 50_000, deadline_us: 20_000_000, seed: 1 },
        retry_window_bytes: 8 << 20,
        shed_after_us: None,
        signs: true,
        retry_kind: Retry::Record,
        ordered: false,
    }
}

async fn producer(
    settings: Settings,
    stream: StreamClient,
    shards: ShardMap,
    clock: Clock,
    stop: watch::Receiver<bool>,
) -> Producer {
    let timeline = Arc::new(Timeline::new(Duration::from_secs(1)));
    timeline.begin(clock.now_us());
    let recorders = Recorders::new(&LatencyLog::discard(clock.now_us()), Duration::from_secs(1));
    let books = Books { timeline, progress: Arc::default(), recorders };
    let api = Api::put_records(&stream.stream);
    let shards = Arc::new(LiveShards::new(shards));
    Producer::start(settings, api, stream, shards, clock, stop, books).unwrap()
}

/// Hands over a call of the records `first..first + count`, due at `due_us`.
fn send(desk: &Desk, first: u64, count: u64, due_us: u64) -> HandedOver {
    let mut call = desk.empty_call();
    for k in first..first + count {
        let (data, key) = (format!("record-{k};"), format!("key-{k}"));
        let records = [RecordMeta { sequence: k, due_us }];
        call.push(&desk.api, NewEntry { data: data.as_bytes(), key: &key, explicit_hash: None, records: &records });
    }
    call.ready_us = due_us;
    match desk.wait_for_room(|| false) {
        HandedOver::Taken => desk.send(call),
        over => over,
    }
}

/// Sends calls of these sizes and waits for the account.
async fn produce(fake: &FakeKinesis, settings: Settings, sizes: &[u64]) -> Produced {
    let clock = Clock::start();
    let stream = fake.stream().await;
    let shards = ShardMap::new(crate::shards::list(&stream).await.unwrap());
    let (_stop, stop) = watch::channel(false);
    let mut producer = producer(settings, stream, shards, clock, stop).await;
    producer.opened().await;
    let (desk, sizes) = (producer.desk(), sizes.to_vec());
    spawn_blocking(move || {
        let mut first = 0;
        for size in sizes {
            send(&desk, first, size, clock.now_us());
            first += size;
        }
        desk.close();
    })
    .await
    .unwrap();
    producer.finished().await.unwrap()
}

#[tokio::test]
async fn only_the_refused_records_of_a_call_are_sent_again() {
    let fake = FakeKinesis::start(2).await;
    fake.put_steps([PutStep::Refuse(vec![1, 3], THROTTLED), PutStep::Refuse(vec![0], "InternalFailure")]);
    let mut settings = settings(4, 10);
    settings.retry.base_us = 1;
    let produced = produce(&fake, settings, &[5]).await;
    let calls = fake.put_calls();
    assert_eq!(calls[0].len(), 5);
    assert_eq!(calls[1], ["record-1;", "record-3;"]);
    assert_eq!(calls[2], ["record-1;"]);
    assert_eq!(calls.len(), 3);
    let counts = produced.counts;
    assert_eq!((counts.sent, counts.accepted, counts.refused, counts.refusals), (5, 5, 0, 3));
    assert_eq!((counts.calls, counts.failed_calls), (3, 0));
    assert_eq!(produced.accepted.ranges().collect::<Vec<_>>(), [(0, 4)]);
    assert_eq!(produced.shards.values().map(|s| s.refusals).sum::<u64>(), 3);
    // md5("key-1") decides the shard, as it does in the stream.
    let shards = ShardMap::new(crate::shards::list(&fake.stream().await).await.unwrap());
    let home = shards.shard_for("key-1", None).unwrap().id.to_string();
    let internal: Vec<_> = produced.refusals.iter().filter(|r| r.cause == "InternalFailure").collect();
    assert_eq!((internal[0].shard.as_ref(), internal[0].refusals, internal[0].records), (Some(&home), 1, 0));
    let bytes: u64 = (0..5).map(|k| (format!("record-{k};").len() + format!("key-{k}").len()) as u64).sum();
    assert_eq!(counts.accepted_bytes, bytes);
}

#[tokio::test]
async fn failed_calls_count_for_each_record_and_are_sent_again() {
    let fake = FakeKinesis::start(1).await;
    fake.put_steps([PutStep::Error("InternalFailure", 500), PutStep::Drop, PutStep::Error(THROTTLED, 400)]);
    let mut settings = settings(1, 10);
    settings.retry.base_us = 1;
    let produced = produce(&fake, settings, &[4]).await;
    assert_eq!((produced.counts.accepted, produced.counts.failed_calls, produced.counts.refusals), (4, 3, 12));
    let causes: Vec<_> = produced.refusals.iter().map(|r| (r.shard.is_none(), r.cause.as_str(), r.refusals)).collect();
    assert_eq!(causes, [(true, "InternalFailure", 4), (true, THROTTLED, 4), (true, "connection", 4)]);
}

/// One call in forty stalls for 200 ms while all others wait behind it. Half of the records become due meanwhile, so
/// the quarter that waits longest does so for 100 ms and more; yet only one record in forty was in a slow call.
#[tokio::test]
async fn a_stall_is_in_the_response_time_of_all_that_waited_and_in_the_service_time_of_one_call() {
    const STALL: Duration = Duration::from_millis(200);
    let fake = FakeKinesis::start(1).await;
    fake.put_steps([PutStep::Accept, PutStep::Stall(STALL)]);
    let clock = Clock::start();
    let (_stop, stop) = watch::channel(false);
    let mut producer = producer(settings(1, 10), fake.stream().await, ShardMap::default(), clock, stop).await;
    producer.opened().await;
    let (desk, start_us) = (producer.desk(), clock.now_us());
    for call in 0..40 {
        let due_us = start_us + call * 10_000;
        sleep_until(Instant::from_std(clock.instant(due_us))).await;
        send(&desk, call * 10, 10, due_us);
    }
    desk.close();
    let produced = producer.finished().await.unwrap();
    let [lag, service, response] = &produced.latency;
    assert_eq!((lag.count, service.count, response.count), (400, 400, 400));
    assert!(response.max_us >= 200_000 && service.max_us >= 200_000);
    assert!(response.value_at(75.0) >= 90_000, "{}", response.value_at(75.0));
    assert!(service.value_at(90.0) < response.value_at(90.0) / 2, "coordinated omission would make these equal");
    assert!(lag.value_at(90.0) >= 90_000, "what waited was sent late, and says so");
    assert!(produced.counts.in_flight_waits >= 10);
    assert!(produced.counts.longest_wait_us >= 150_000);
}

#[tokio::test]
async fn no_more_calls_are_under_way_than_allowed() {
    let fake = FakeKinesis::start(1).await;
    fake.put_always(PutStep::Stall(Duration::from_millis(20)));
    let produced = produce(&fake, settings(3, 10), &[1; 12]).await;
    assert_eq!(fake.most_puts_under_way(), 3);
    assert_eq!((produced.counts.accepted, produced.counts.in_flight_waits), (12, 9));
}

#[tokio::test]
async fn a_record_is_given_up_at_its_deadline_with_its_last_cause() {
    let fake = FakeKinesis::start(1).await;
    fake.put_always(PutStep::Refuse(vec![0], THROTTLED));
    let mut settings = settings(1, 10);
    settings.retry.deadline_us = 150_000;
    let produced = produce(&fake, settings, &[3]).await;
    let counts = produced.counts;
    assert_eq!((counts.sent, counts.accepted, counts.refused), (3, 2, 1));
    assert_eq!(produced.refusals.len(), 1);
    let row = &produced.refusals[0];
    assert_eq!((row.cause.as_str(), row.records, row.refusals), (THROTTLED, 1, counts.refusals));
    assert!(row.shard.is_some() && row.refusals >= 1);
    assert!(!produced.accepted.contains(0) && produced.accepted.len() == 2);
}

#[tokio::test]
async fn one_rejected_record_does_not_take_its_batch_with_it() {
    let fake = FakeKinesis::start(1).await;
    fake.poison("record-5;");
    let produced = produce(&fake, settings(4, 500), &[64]).await;
    assert_eq!((produced.counts.accepted, produced.counts.refused), (63, 1));
    assert!(!produced.accepted.contains(5));
    assert_eq!(produced.refusals[0].cause, "InvalidArgumentException");
    assert_eq!(produced.counts.failed_calls, 7, "64, 32, 16, 8, 4, 2 and 1 records");
}

#[tokio::test]
async fn an_endpoint_that_never_answers_ends_the_load_with_its_name() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let clock = Clock::start();
    let mut settings = settings(1, 10);
    settings.retry.deadline_us = 100_000;
    let (_stop, stop) = watch::channel(false);
    let mut producer = producer(settings, local_stream(&url).await, ShardMap::default(), clock, stop).await;
    let desk = producer.desk();
    let feeder = spawn_blocking(move || {
        let mut handed_over = 0;
        while send(&desk, handed_over, 1, clock.now_us()) == HandedOver::Taken {
            handed_over += 1;
            std::thread::sleep(Duration::from_millis(10));
        }
        desk.close();
        handed_over
    });
    let produced = producer.finished().await.unwrap();
    let handed_over = feeder.await.unwrap();
    let error = produced.failure.unwrap();
    assert!(matches!(&error, LoadError::Unreachable { endpoint, .. } if *endpoint == url), "{error}");
    assert_eq!((produced.counts.sent, produced.counts.refused), (0, handed_over), "every record is accounted for");
    assert_eq!(produced.refusals[0].cause, "connection");
}

#[tokio::test]
async fn a_refused_caller_and_a_missing_stream_end_the_load_at_once() {
    let fake = FakeKinesis::start(1).await;
    fake.put_steps([PutStep::Error("AccessDeniedException", 400), PutStep::Error("ResourceNotFoundException", 400)]);
    let denied = produce(&fake, settings(1, 10), &[1]).await;
    assert!(matches!(denied.failure, Some(LoadError::Denied { .. })));
    assert_eq!((denied.counts.sent, denied.counts.refused, denied.counts.accepted), (1, 1, 0));
    let missing = produce(&fake, settings(1, 10), &[3]).await;
    assert!(matches!(missing.failure, Some(LoadError::NoStream { .. })));
    assert_eq!((missing.counts.sent, missing.counts.refused), (3, 3));
}

#[tokio::test]
async fn a_stop_tries_what_pauses_once_more_and_then_gives_it_up() {
    let fake = FakeKinesis::start(1).await;
    fake.put_always(PutStep::Refuse(vec![0], THROTTLED));
    let clock = Clock::start();
    let mut settings = settings(1, 10);
    (settings.retry.base_us, settings.retry.cap_us) = (3_600_000_000, 3_600_000_000);
    settings.retry.deadline_us = u64::MAX;
    let (stop, stop_receiver) = watch::channel(false);
    let mut producer = producer(settings, fake.stream().await, ShardMap::default(), clock, stop_receiver).await;
    producer.opened().await;
    send(&producer.desk(), 0, 2, clock.now_us());
    producer.desk().close();
    while fake.put_calls().is_empty() {
        sleep(Duration::from_millis(5)).await;
    }
    sleep(Duration::from_millis(50)).await;
    stop.send(true).unwrap();
    let produced = producer.finished().await.unwrap();
    assert_eq!((produced.counts.accepted, produced.counts.refused), (1, 1));
    assert!(fake.put_calls().len() <= 2);
}

#[tokio::test]
async fn what_is_held_is_bounded_and_the_pacing_thread_waits() {
    let fake = FakeKinesis::start(1).await;
    fake.put_always(PutStep::Stall(Duration::from_secs(3_600)));
    let clock = Clock::start();
    let (_stop, stop) = watch::channel(false);
    let mut producer = producer(settings(1, 100), fake.stream().await, ShardMap::default(), clock, stop).await;
    producer.opened().await;
    let (desk, sent) = (producer.desk(), Arc::new(AtomicU64::new(0)));
    let (feeding, counted) = (Arc::clone(&desk), Arc::clone(&sent));
    let feeder = spawn_blocking(move || {
        while send(&feeding, counted.load(Relaxed), 100, clock.now_us()) == HandedOver::Taken {
            assert!(counted.fetch_add(100, Relaxed) <= 20_000, "the producer takes without bound");
        }
    });
    let mut last = u64::MAX;
    while std::mem::replace(&mut last, sent.load(Relaxed)) != sent.load(Relaxed) || last == 0 {
        sleep(Duration::from_millis(300)).await;
    }
    let bound = MIN_HELD_RECORDS as u64 + 200;
    assert!((MIN_HELD_RECORDS as u64..=bound).contains(&last), "{last}");
    desk.end();
    feeder.await.unwrap();
}

/// The oracle: what the SDK sends for the same records.
#[tokio::test]
async fn a_call_says_what_the_sdk_would_say() {
    use aws_sdk_kinesis::{primitives::Blob, types::PutRecordsRequestEntry};
    let fake = FakeKinesis::start(2).await;
    let stream = fake.stream().await;
    let entries = (0..3).map(|k| {
        let entry = PutRecordsRequestEntry::builder().partition_key(format!("key-{k}"));
        entry.data(Blob::new(format!("record-{k};"))).build().unwrap()
    });
    stream.client.put_records().stream_name("demo").set_records(Some(entries.collect())).send().await.unwrap();
    produce(&fake, settings(1, 10), &[3]).await;
    let [theirs, ours] = fake.put_requests().try_into().unwrap();
    assert_eq!(ours.body, theirs.body);
    for name in ["content-type", "x-amz-target", "host"] {
        assert_eq!(ours.header(name), theirs.header(name), "{name}");
    }
    // The same key, region, service and algorithm; the SDK signs more headers, and both verify.
    let scope = |request: &crate::testing::PutRequest| {
        let text = request.header("authorization").unwrap();
        text.split("SignedHeaders").next().unwrap().to_owned()
    };
    assert_eq!(scope(&ours), scope(&theirs));
}

/// One shard refuses everything; with one call free, the other shard's records still go out as they come.
#[tokio::test]
async fn a_hot_shards_retries_hold_up_nobody_else() {
    let fake = FakeKinesis::start(2).await;
    fake.throttle_shard(0);
    let clock = Clock::start();
    let stream = fake.stream().await;
    let shards = ShardMap::new(crate::shards::list(&stream).await.unwrap());
    let mut settings = settings(2, 10);
    settings.in_flight_per_shard = 1;
    (settings.retry.base_us, settings.retry.cap_us, settings.retry.deadline_us) = (1_000, 2_000, 1_500_000);
    let (_stop, stop) = watch::channel(false);
    let mut producer = producer(settings, stream, shards.clone(), clock, stop).await;
    producer.opened().await;
    let desk = producer.desk();
    spawn_blocking(move || {
        for call in 0..100 {
            send(&desk, call * 10, 10, clock.now_us());
            std::thread::sleep(Duration::from_millis(5));
        }
        desk.close();
    })
    .await
    .unwrap();
    let produced = producer.finished().await.unwrap();
    let cold = (0..1_000).filter(|k| shards.index_for(&format!("key-{k}"), None) == Some(1)).count() as u64;
    assert_eq!((produced.counts.accepted, produced.counts.refused), (cold, 1_000 - cold));
    assert_eq!(produced.attempts, [cold], "the cold shard's records were all taken at the first attempt");
}

/// Every third call loses some of its records. A key's records are stored in order all the same, and without the promise
/// they are not.
#[tokio::test]
async fn the_records_of_a_key_keep_their_order_under_refusals_when_that_is_asked() {
    let out_of_order = async |ordered: bool| {
        let fake = FakeKinesis::start(2).await;
        fake.put_steps((0..200).map(|call| match call % 3 {
            0 => PutStep::Refuse(vec![0, 2, 4, 5], THROTTLED),
            1 => PutStep::Refuse(vec![1, 3], "InternalFailure"),
            _ => PutStep::Accept,
        }));
        let clock = Clock::start();
        let mut settings = settings(4, 10);
        settings.ordered = ordered;
        (settings.retry.base_us, settings.retry.cap_us) = (2_000, 4_000);
        let (_stop, stop) = watch::channel(false);
        let mut producer = producer(settings, fake.stream().await, ShardMap::default(), clock, stop).await;
        producer.opened().await;
        let desk = producer.desk();
        spawn_blocking(move || {
            for call in 0..60_u64 {
                let mut open = desk.empty_call();
                for k in call * 10..call * 10 + 10 {
                    let (data, key) = (k.to_string(), format!("key-{}", k % 7));
                    let records = [RecordMeta { sequence: k, due_us: clock.now_us() }];
                    let entry = NewEntry { data: data.as_bytes(), key: &key, explicit_hash: None, records: &records };
                    desk.place(&mut open, entry);
                }
                // All of its records may wait behind others.
                match open.is_empty() {
                    true => desk.recycle(open),
                    false => drop(desk.send(open)),
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            desk.close();
        })
        .await
        .unwrap();
        let produced = producer.finished().await.unwrap();
        assert_eq!((produced.counts.accepted, produced.counts.refused), (600, 0));
        let mut last: std::collections::HashMap<String, u64> = Default::default();
        let mut out_of_order = 0;
        for (data, key) in fake.stored() {
            let k: u64 = data.parse().unwrap();
            let last = last.entry(key).or_insert(k);
            out_of_order += u64::from(k < *last);
            *last = k.max(*last);
        }
        out_of_order
    };
    assert_eq!(out_of_order(true).await, 0);
    assert!(out_of_order(false).await > 0, "otherwise this test shows nothing");
}

#[tokio::test]
async fn what_is_sent_again_is_nothing_the_record_or_the_call_as_asked() {
    for (retry, accepted, stored) in [(Retry::None, 8, 8), (Retry::Record, 10, 10), (Retry::Call, 10, 18)] {
        let fake = FakeKinesis::start(1).await;
        fake.put_steps([PutStep::Refuse(vec![3, 4], THROTTLED)]);
        let mut settings = settings(1, 10);
        settings.retry_kind = retry;
        let produced = produce(&fake, settings, &[10]).await;
        assert_eq!((produced.counts.accepted, produced.counts.refused), (accepted, 10 - accepted), "{retry:?}");
        assert_eq!(fake.stored().len(), stored, "{retry:?}");
    }
}

//! The producer against a scripted stream.

use std::time::Duration;

use millrace_reports::latency::LatencyLog;
use tokio::time::sleep;

use super::*;
use crate::testing::{FakeKinesis, PutStep, local_stream};

const THROTTLED: &str = "ProvisionedThroughputExceededException";

fn settings(in_flight: usize, records: usize) -> Settings {
    let retry = RetryPolicy { base_us: 20_000, cap_us: 50_000, deadline_us: 20_000_000, seed: 1 };
    Settings { in_flight, limits: Limits { records, bytes: 1 << 20 }, retry }
}

fn producer(settings: Settings, stream: StreamClient, shards: ShardMap, clock: Clock) -> Producer {
    let timeline = Arc::new(Timeline::new(clock.now_us(), Duration::from_secs(1)));
    let recorders = Recorders::new(&LatencyLog::discard(clock.now_us()), Duration::from_secs(1));
    Producer::new(settings, stream, shards, clock, timeline, Arc::default(), recorders)
}

/// Records `first..first + count`, due now.
fn batch(clock: Clock, first: u64, count: u64) -> Batch {
    let now_us = clock.now_us();
    let record = |k| Record {
        sequence: k,
        due_us: now_us,
        data: format!("record-{k};").into_bytes(),
        key: format!("key-{k}"),
        attempts: 0,
    };
    Batch { records: (first..first + count).map(record).collect(), ready_us: now_us }
}

/// Sends batches and waits for the account.
async fn produce(fake: &FakeKinesis, settings: Settings, sizes: &[u64]) -> Result<Produced, LoadError> {
    let clock = Clock::start();
    let stream = fake.stream().await;
    let shards = ShardMap::new(crate::shards::list(&stream).await?);
    let (output, batches) = mpsc::channel(sizes.len().max(1));
    let mut first = 0;
    for size in sizes {
        output.send(batch(clock, first, *size)).await.unwrap();
        first += size;
    }
    drop(output);
    let (_stop, stop) = watch::channel(false);
    producer(settings, stream, shards, clock).run(batches, stop).await
}

#[tokio::test]
async fn only_the_refused_records_of_a_call_are_sent_again() {
    let fake = FakeKinesis::start(2).await;
    fake.put_steps([PutStep::Refuse(vec![1, 3], THROTTLED), PutStep::Refuse(vec![0], "InternalFailure")]);
    let mut settings = settings(4, 10);
    settings.retry.base_us = 1;
    let produced = produce(&fake, settings, &[5]).await.unwrap();
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
    let home = shards.shard_of("key-1").unwrap().to_string();
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
    let produced = produce(&fake, settings, &[4]).await.unwrap();
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
    let stream = fake.stream().await;
    let (output, batches) = mpsc::channel(64);
    let start_us = clock.now_us();
    let feeder = tokio::spawn(async move {
        for call in 0..40 {
            let due_us = start_us + call * 10_000;
            sleep_until(Instant::from_std(clock.instant(due_us))).await;
            let mut batch = batch(clock, call * 10, 10);
            batch.records.iter_mut().for_each(|record| record.due_us = due_us);
            output.send(batch).await.unwrap();
        }
    });
    let (_stop, stop) = watch::channel(false);
    let produced = producer(settings(1, 10), stream, ShardMap::default(), clock).run(batches, stop).await.unwrap();
    feeder.await.unwrap();
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
    let produced = produce(&fake, settings(3, 10), &[1; 12]).await.unwrap();
    assert_eq!(fake.most_puts_under_way(), 3);
    assert_eq!((produced.counts.accepted, produced.counts.in_flight_waits), (12, 9));
}

#[tokio::test]
async fn a_record_is_given_up_at_its_deadline_with_its_last_cause() {
    let fake = FakeKinesis::start(1).await;
    fake.put_always(PutStep::Refuse(vec![0], THROTTLED));
    let mut settings = settings(1, 10);
    settings.retry.deadline_us = 150_000;
    let produced = produce(&fake, settings, &[3]).await.unwrap();
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
    let produced = produce(&fake, settings(4, 500), &[64]).await.unwrap();
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
    for (deadline_us, kept_open) in [(1, false), (100_000, true)] {
        let mut settings = settings(1, 10);
        settings.retry.deadline_us = deadline_us;
        let (output, batches) = mpsc::channel(1);
        output.send(batch(clock, 0, 3)).await.unwrap();
        let held = kept_open.then(|| {
            tokio::spawn(async move {
                let mut next = 3;
                while output.send(batch(clock, next, 1)).await.is_ok() {
                    next += 1;
                    sleep(Duration::from_millis(10)).await;
                }
            })
        });
        let (_stop, stop) = watch::channel(false);
        let error = producer(settings, local_stream(&url).await, ShardMap::default(), clock).run(batches, stop).await;
        let error = error.unwrap_err();
        assert!(matches!(&error, LoadError::Unreachable { endpoint, .. } if *endpoint == url), "{error}");
        if let Some(held) = held {
            held.await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_refused_caller_and_a_missing_stream_end_the_load_at_once() {
    let fake = FakeKinesis::start(1).await;
    fake.put_steps([PutStep::Error("AccessDeniedException", 400), PutStep::Error("ResourceNotFoundException", 400)]);
    assert!(matches!(produce(&fake, settings(1, 10), &[1]).await, Err(LoadError::Denied { .. })));
    assert!(matches!(produce(&fake, settings(1, 10), &[1]).await, Err(LoadError::NoStream { .. })));
}

#[tokio::test]
async fn a_stop_tries_what_pauses_once_more_and_then_gives_it_up() {
    let fake = FakeKinesis::start(1).await;
    fake.put_always(PutStep::Refuse(vec![0], THROTTLED));
    let clock = Clock::start();
    let stream = fake.stream().await;
    let mut settings = settings(1, 10);
    (settings.retry.base_us, settings.retry.cap_us) = (3_600_000_000, 3_600_000_000);
    settings.retry.deadline_us = u64::MAX;
    let (output, batches) = mpsc::channel(1);
    output.send(batch(clock, 0, 2)).await.unwrap();
    drop(output);
    let (stop, stop_receiver) = watch::channel(false);
    let running = tokio::spawn(producer(settings, stream, ShardMap::default(), clock).run(batches, stop_receiver));
    while fake.put_calls().is_empty() {
        sleep(Duration::from_millis(5)).await;
    }
    sleep(Duration::from_millis(50)).await;
    stop.send(true).unwrap();
    let produced = running.await.unwrap().unwrap();
    assert_eq!((produced.counts.accepted, produced.counts.refused), (1, 1));
    assert!(fake.put_calls().len() <= 2);
}

#[tokio::test]
async fn what_is_held_is_bounded_and_the_rest_stays_in_the_channel() {
    let fake = FakeKinesis::start(1).await;
    fake.put_always(PutStep::Stall(Duration::from_secs(3_600)));
    let clock = Clock::start();
    let stream = fake.stream().await;
    let (output, batches) = mpsc::channel(1);
    let (_stop, stop) = watch::channel(false);
    let running = tokio::spawn(producer(settings(1, 100), stream, ShardMap::default(), clock).run(batches, stop));
    let mut sent = 0;
    while tokio::time::timeout(Duration::from_secs(1), output.send(batch(clock, sent, 100))).await.is_ok() {
        sent += 100;
        assert!(sent <= 20_000, "the producer takes without bound");
    }
    let bound = MIN_HELD_RECORDS as u64 + 200;
    assert!((MIN_HELD_RECORDS as u64..=bound).contains(&sent), "{sent}");
    running.abort();
}

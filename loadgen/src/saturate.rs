//! As fast as it goes: the producer without a schedule, to measure the producer itself.
//!
//! A load is paced, always; this is not a load. It hands over calls of records that were made before, as soon as there is
//! room for another one, and says what came of them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use millrace_reports::latency::LatencyLog;
use millrace_scenarios::Load;
use tokio::sync::watch;

use crate::{
    client::StreamClient,
    clock::{self, Clock},
    error::LoadError,
    live_shards::LiveShards,
    producer::{
        Books, Producer, Recorders, Settings,
        api::{Api, Malformed, Outcome},
        call::{Call, NewEntry, RecordMeta},
        desk::{Desk, HandedOver},
        tally::Tally,
    },
    shards::ShardMap,
    timeline::Timeline,
};

/// Records that are sent over and over.
#[derive(Debug, Clone)]
pub struct Stock {
    /// Data and partition key of each.
    pub records: Vec<(Vec<u8>, String)>,
}

/// What was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Saturated {
    /// Records that the stream took.
    pub accepted: u64,
    /// Records that it did not.
    pub refused: u64,
    /// Calls made.
    pub calls: u64,
    /// From the first hand-over to the last answer.
    pub elapsed: Duration,
}

/// Sends `stock` again and again for as long as `window`, batched and retried as `load` says.
///
/// # Errors
/// [`LoadError`] when the producer cannot start or cannot go on.
pub async fn saturate(
    stream: StreamClient,
    load: &Load,
    stock: Arc<Stock>,
    window: Duration,
) -> Result<Saturated, LoadError> {
    let clock = Clock::start();
    let api = Api::of(load, &stream.stream);
    let settings = Settings::new(load, 0, &api);
    let interval = Duration::from_secs(1);
    let timeline = Arc::new(Timeline::new(interval));
    timeline.begin(clock.now_us());
    let log = LatencyLog::discard(clock.now_us());
    let books = Books { timeline, progress: Arc::default(), recorders: Recorders::new(&log, interval) };
    let (_never, stop) = watch::channel(false);
    let mut producer =
        Producer::start(settings, api, stream, Arc::new(LiveShards::new(ShardMap::default())), clock, stop, books)?;
    producer.opened().await;
    let (desk, start) = (producer.desk(), Instant::now());
    let fed = tokio::task::spawn_blocking(move || {
        feed(&desk, &stock, settings, start + window);
        desk.close();
    });
    let produced = producer.finished().await?;
    fed.await.map_err(|_| LoadError::Stopped { part: "feeder" })?;
    match produced.failure {
        Some(failure) => Err(failure),
        None => Ok(Saturated {
            accepted: produced.counts.accepted,
            refused: produced.counts.refused,
            calls: produced.counts.calls,
            elapsed: start.elapsed(),
        }),
    }
}

/// What keeping the books cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Records accounted for.
    pub records: u64,
    /// Processor time.
    pub cpu: Duration,
}

/// Reads the answers of so many full calls and writes down what became of each record, as the producer does it, without
/// sending anything.
#[must_use]
pub fn keep_books(calls: usize) -> Kept {
    let api = Api::put_records("books");
    let entries = api.most_entries();
    let answer = |k: usize| format!(r#"{{"SequenceNumber":"{k:056}","ShardId":"shardId-{:012}"}}"#, k % 4);
    let answers: Vec<String> = (0..entries).map(answer).collect();
    let answer = format!(r#"{{"FailedRecordCount":0,"Records":[{}]}}"#, answers.join(","));
    let log = LatencyLog::discard(0);
    let live = Arc::new(LiveShards::new(ShardMap::default()));
    let mut tally = Tally::new(Recorders::new(&log, Duration::from_secs(1)), live);
    let mut call = Call::new();
    let mut cpu_us = 0;
    let mut sequence = 0;
    for number in 0..calls as u64 {
        call.clear();
        for _ in 0..entries {
            // Ten thousand records a second, and answers that take a millisecond or two.
            let records = [RecordMeta { sequence, due_us: 100 * sequence }];
            call.push(&api, NewEntry { data: b"0123456789", key: "key", explicit_hash: None, records: &records });
            sequence += 1;
        }
        let send_us = 100 * sequence + number % 100;
        let before_us = clock::cpu_us();
        // An answer of this shape is always read; what is counted below says so.
        let _ = enter(&api, &mut tally, &call, answer.as_bytes(), send_us, send_us + 1_000 + number % 1_000);
        cpu_us += clock::cpu_us() - before_us;
    }
    Kept { records: tally.counts().accepted, cpu: Duration::from_micros(cpu_us) }
}

/// The producer's account of one answered call.
fn enter(
    api: &Api,
    tally: &mut Tally,
    call: &Call,
    answer: &[u8],
    send_us: u64,
    ack_us: u64,
) -> Result<usize, Malformed> {
    tally.called();
    for entry in call.entries() {
        tally.sent_first(call.records_of(entry), send_us, 0);
    }
    let outcomes = api.read_answer(answer, call.entries().len())?;
    for (entry, outcome) in call.entries().iter().zip(&outcomes) {
        if let Outcome::Accepted { shard } = outcome {
            tally.accepted(entry, call.records_of(entry), shard, send_us, ack_us);
        }
    }
    Ok(outcomes.len())
}

/// Hands over call after call until `end`.
fn feed(desk: &Desk, stock: &Stock, settings: Settings, end: Instant) {
    let mut sequence = 0;
    let mut next = stock.records.iter().cycle().peekable();
    while Instant::now() < end && desk.wait_for_room(|| false) == HandedOver::Taken {
        let mut call = desk.empty_call();
        let due_us = desk.clock.now_us();
        while let Some((data, key)) = next.peek() {
            if !call.fits(data.len() + key.len(), settings.limits) {
                break;
            }
            let records = [RecordMeta { sequence, due_us }];
            call.push(&desk.api, NewEntry { data, key, explicit_hash: None, records: &records });
            sequence += 1;
            next.next();
        }
        if call.is_empty() {
            break;
        }
        call.ready_us = due_us;
        if desk.send(call) == HandedOver::Over {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FakeKinesis;

    #[test]
    fn the_books_of_every_record_are_kept() {
        let kept = keep_books(3);
        assert_eq!(kept.records, 1_500);
    }

    #[tokio::test]
    async fn everything_handed_over_is_answered_for() {
        let fake = FakeKinesis::start(2).await;
        let load: Load = serde_json::from_value(serde_json::json!({"stages": [], "in_flight": 2})).unwrap();
        let stock =
            Stock { records: (0..700).map(|k| (format!("{{\"k\":{k}}}").into_bytes(), format!("key-{k}"))).collect() };
        let window = Duration::from_millis(100);
        let done = saturate(fake.stream().await, &load, Arc::new(stock), window).await.unwrap();
        let sent: usize = fake.put_calls().iter().map(Vec::len).sum();
        assert_eq!((done.accepted, done.refused, done.calls), (sent as u64, 0, fake.put_calls().len() as u64));
        assert!(done.accepted >= 500 && done.elapsed >= window);
    }
}

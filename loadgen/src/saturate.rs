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
    clock::Clock,
    error::LoadError,
    live_shards::LiveShards,
    producer::{
        Books, Producer, Recorders, Settings,
        api::Api,
        call::{NewEntry, RecordMeta},
        desk::{Desk, HandedOver},
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
    let api = Api::put_records(&stream.stream);
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

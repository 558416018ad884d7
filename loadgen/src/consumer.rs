//! The consumer: reads back what was sent, times it, and ticks it off the ledger.

use std::{sync::Arc, time::Duration};

use millrace_reports::{
    latency::{HopRecorder, LatencyLog},
    record::{HopLatency, OrderRecord, Packed},
};
use millrace_scenarios::Hop;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use crate::{
    aggregation,
    client::StreamClient,
    clock::Clock,
    error::LoadError,
    ledger::{IntervalSet, Ledger, Seen},
    order_check::OrderCheck,
    progress::LoadProgress,
    reader::{ShardBatch, ShardReader, Start},
    slice::Slice,
    stamp,
};

/// Batches read ahead of the consumer at most.
const READ_AHEAD: usize = 16;
/// Without a missing record for this long, the rest is given up as lost.
const QUIET: Duration = Duration::from_secs(10);
/// After this long the rest is given up as lost in any case.
const DRAIN: Duration = Duration::from_secs(30);

/// How long the consumer waits for records that were accepted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) quiet: Duration,
    pub(crate) total: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { quiet: QUIET, total: DRAIN }
    }
}

/// What the consumer saw.
#[derive(Debug)]
pub(crate) struct Consumed {
    pub(crate) ledger: Ledger,
    /// Records of other runs or producers.
    pub(crate) foreign: u64,
    /// Aggregates with records of this run, and how many those were.
    pub(crate) packed: Packed,
    /// Records of this run that another worker sent.
    pub(crate) siblings: u64,
    /// Arrival, read.
    pub(crate) latency: [HopLatency; 2],
    /// Whether keys kept their order; absent when nobody asked.
    pub(crate) order: Option<OrderRecord>,
    /// Why the stream could not be read to its end.
    pub(crate) failure: Option<LoadError>,
}

/// A consumer at work in its own task.
#[derive(Debug)]
pub(crate) struct Consumer {
    accepted: oneshot::Sender<(Arc<IntervalSet>, Patience)>,
    failed: oneshot::Receiver<LoadError>,
    task: JoinHandle<Result<Consumed, LoadError>>,
}

impl Consumer {
    /// Starts to read `stream` for the records of `run_id` that are in `slice`.
    #[expect(clippy::too_many_arguments, reason = "each is one thing the consumer needs once")]
    pub(crate) fn start(
        stream: StreamClient,
        poll: Duration,
        start: Start,
        run_id: &str,
        slice: Slice,
        clock: Clock,
        log: &Arc<LatencyLog>,
        interval: Duration,
        progress: Arc<LoadProgress>,
        ordered: bool,
    ) -> Self {
        let (output, batches) = mpsc::channel(READ_AHEAD);
        let reader = ShardReader::spawn(stream, poll, start, clock, output);
        let recorder = |hop| HopRecorder::new(hop, Arc::clone(log), interval);
        let book = Book {
            run_id: run_id.to_owned(),
            slice,
            ledger: Ledger::default(),
            foreign: 0,
            packed: Packed::default(),
            siblings: 0,
            arrival: recorder(Hop::Arrival),
            read: recorder(Hop::Read),
            order: ordered.then(OrderCheck::default),
            progress,
        };
        let (accepted, accepted_receiver) = oneshot::channel();
        let (fail, failed) = oneshot::channel();
        Self { accepted, failed, task: tokio::spawn(consume(reader, batches, accepted_receiver, fail, book)) }
    }

    /// Resolves, once, when the consumer has failed while it should still read. What it saw until then is not lost.
    pub(crate) async fn failed(&mut self) -> LoadError {
        (&mut self.failed).await.unwrap_or(LoadError::Stopped { part: "consumer" })
    }

    /// Reads on until every accepted record was seen and the shards are read to their newest record, or patience ends.
    pub(crate) async fn drain(self, accepted: Arc<IntervalSet>, patience: Patience) -> Result<Consumed, LoadError> {
        // A consumer that has failed already says so below.
        let _ = self.accepted.send((accepted, patience));
        self.task.await.map_err(|_| LoadError::Stopped { part: "consumer" })?
    }
}

async fn consume(
    reader: ShardReader,
    mut batches: mpsc::Receiver<ShardBatch>,
    mut accepted: oneshot::Receiver<(Arc<IntervalSet>, Patience)>,
    fail: oneshot::Sender<LoadError>,
    mut book: Book,
) -> Result<Consumed, LoadError> {
    let draining = loop {
        tokio::select! {
            batch = batches.recv() => match batch {
                Some(batch) => { book.enter(&batch); }
                // The reader ended although nobody asked it to.
                None => {
                    let why = reader.finished().await.err().unwrap_or(LoadError::Stopped { part: "shard reader" });
                    // Nobody listens to a consumer whose load is over.
                    let _ = fail.send(why);
                    let _ = accepted.await;
                    return book.close(None);
                }
            },
            draining = &mut accepted => break draining,
        }
    };
    let Ok((accepted, patience)) = draining else {
        // The load was abandoned; so is its account.
        reader.stop();
        return book.close(None);
    };
    let end = Instant::now() + patience.total;
    let mut quiet_until = Instant::now() + patience.quiet;
    while !book.ledger.has_all(&accepted) {
        match timeout_at(quiet_until.min(end), batches.recv()).await {
            Ok(Some(batch)) if book.enter(&batch) > 0 => quiet_until = Instant::now() + patience.quiet,
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => break,
        }
    }
    // One more look at every shard, for records that came twice or were never acknowledged.
    reader.stop_when_caught_up();
    while let Ok(Some(batch)) = timeout_at(end, batches.recv()).await {
        book.enter(&batch);
    }
    reader.stop();
    drop(batches);
    book.close(reader.finished().await.err())
}

/// What is written down about what was read.
#[derive(Debug)]
struct Book {
    run_id: String,
    slice: Slice,
    ledger: Ledger,
    foreign: u64,
    packed: Packed,
    siblings: u64,
    arrival: HopRecorder,
    read: HopRecorder,
    order: Option<OrderCheck>,
    progress: Arc<LoadProgress>,
}

impl Book {
    /// Enters a batch; returns how many of its records were new. What comes packed is entered record by record.
    fn enter(&mut self, batch: &ShardBatch) -> u64 {
        let mut new = 0;
        for record in &batch.records {
            let Some(packed) = aggregation::deaggregate(&record.data) else {
                let seen = self.enter_one(batch, record.arrival_us, &record.partition_key, &record.data);
                new += u64::from(seen == Some(Seen::First));
                continue;
            };
            let mut ours = 0;
            for user in packed {
                let seen = self.enter_one(batch, record.arrival_us, user.key, user.data);
                ours += u64::from(seen.is_some());
                new += u64::from(seen == Some(Seen::First));
            }
            self.packed.kinesis_records += u64::from(ours > 0);
            self.packed.user_records += ours;
        }
        self.progress.set_read(self.ledger.seen().len());
        new
    }

    /// Enters one record; says nothing of one that is not this worker's. Latency and order are taken of the first reading
    /// only.
    fn enter_one(&mut self, batch: &ShardBatch, arrival_us: i64, key: &str, data: &[u8]) -> Option<Seen> {
        let Some(stamp) = stamp::read(data).filter(|stamp| stamp.run == self.run_id) else {
            self.foreign += 1;
            return None;
        };
        let Some(place) = self.slice.place(stamp.sequence) else {
            self.siblings += 1;
            return None;
        };
        let seen = self.ledger.tick(&batch.shard, place);
        if seen == Seen::First {
            let due_us = stamp.due_us.cast_signed();
            self.read.record(stamp.due_us, batch.read_us, batch.read_us.cast_signed().saturating_sub(due_us), 1);
            self.arrival.record(stamp.due_us, batch.read_us, arrival_us.saturating_sub(due_us), 1);
            if let Some(order) = &mut self.order {
                order.enter(key, stamp.sequence);
            }
        }
        Some(seen)
    }

    fn close(self, failure: Option<LoadError>) -> Result<Consumed, LoadError> {
        let latency = [self.arrival.finish()?, self.read.finish()?];
        let order = self.order.as_ref().map(OrderCheck::record);
        let (ledger, foreign, siblings, packed) = (self.ledger, self.foreign, self.siblings, self.packed);
        Ok(Consumed { ledger, foreign, siblings, packed, latency, order, failure })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aggregation::Aggregator, stamp::Stamper, testing::FakeKinesis};

    const POLL: Duration = Duration::from_millis(5);
    const IMPATIENT: Patience = Patience { quiet: Duration::from_millis(200), total: Duration::from_secs(20) };

    fn put(fake: &FakeKinesis, run: &str, sequence: u64, due_us: u64) {
        let mut json = b"{}".to_vec();
        Stamper::new(run).stamp(&mut json, false, sequence, due_us).unwrap();
        fake.put((sequence % 2) as usize, std::str::from_utf8(&json).unwrap());
    }

    async fn consumer(fake: &FakeKinesis) -> (Consumer, Arc<LoadProgress>) {
        let progress = Arc::new(LoadProgress::default());
        let log = LatencyLog::discard(0);
        let stream = fake.stream().await;
        let clock = Clock::start();
        let interval = Duration::from_secs(1);
        let started = Consumer::start(
            stream,
            POLL,
            Start::TrimHorizon,
            "mine",
            Slice::default(),
            clock,
            &log,
            interval,
            Arc::clone(&progress),
            false,
        );
        (started, progress)
    }

    fn numbers(numbers: impl IntoIterator<Item = u64>) -> Arc<IntervalSet> {
        let mut set = IntervalSet::default();
        for number in numbers {
            set.insert(number);
        }
        Arc::new(set)
    }

    #[tokio::test]
    async fn duplicates_losses_and_strangers_are_told_apart() {
        let fake = FakeKinesis::start(2).await;
        let due_us = Clock::start().now_us() - 5_000_000;
        for sequence in [0, 1, 2, 3, 3, 5, 9] {
            put(&fake, "mine", sequence, due_us);
        }
        put(&fake, "other", 4, due_us);
        fake.put(0, "no json at all");
        let (consumer, progress) = consumer(&fake).await;
        let accepted = numbers(0..=6);
        let consumed = consumer.drain(Arc::clone(&accepted), IMPATIENT).await.unwrap();
        let account = consumed.ledger.account(&accepted);
        assert_eq!((account.lost, account.duplicated, account.unacknowledged), (2, 1, 1));
        assert_eq!(account.lost_ranges, [(4, 4), (6, 6)]);
        assert_eq!(consumed.foreign, 2);
        assert_eq!(progress.snapshot(0).read, 6);
        let [arrival, read] = consumed.latency;
        assert_eq!((arrival.count, read.count), (6, 6), "latency is taken once per record");
        // The stream tells whole milliseconds, and a histogram keeps three digits.
        assert!(read.min_us >= 4_995_000 && arrival.min_us >= 4_994_000, "{read:?} {arrival:?}");
        assert!(read.max_us >= 5_000_000);
    }

    #[tokio::test]
    async fn an_aggregate_counts_as_the_records_in_it() {
        let fake = FakeKinesis::start(2).await;
        let due_us = Clock::start().now_us() - 5_000_000;
        let stamped = |run: &str, sequence| {
            let mut json = b"{}".to_vec();
            Stamper::new(run).stamp(&mut json, false, sequence, due_us).unwrap();
            json
        };
        let packed = |records: &[Vec<u8>]| {
            let mut aggregator = Aggregator::new(1_000);
            records.iter().for_each(|record| aggregator.push("k", None, record));
            let mut blob = Vec::new();
            aggregator.finish(&mut blob);
            blob
        };
        // Three of ours, one of them again in the next one, and a stranger; then only strangers; one that is not packed.
        fake.put_bytes(0, &packed(&[stamped("mine", 0), stamped("other", 0), stamped("mine", 1), stamped("mine", 2)]));
        fake.put_bytes(1, &packed(&[stamped("mine", 2), stamped("mine", 4)]));
        fake.put_bytes(1, &packed(&[stamped("other", 1)]));
        put(&fake, "mine", 5, due_us);
        // Broken in its last byte it is a record like any other, and nobody's.
        let mut broken = packed(&[stamped("mine", 3)]);
        *broken.last_mut().unwrap() ^= 1;
        fake.put_bytes(0, &broken);
        let (consumer, _) = consumer(&fake).await;
        let accepted = numbers(0..6);
        let consumed = consumer.drain(Arc::clone(&accepted), IMPATIENT).await.unwrap();
        let account = consumed.ledger.account(&accepted);
        assert_eq!((account.lost_ranges, account.duplicated), (vec![(3, 3)], 1));
        assert_eq!(consumed.packed, Packed { kinesis_records: 2, user_records: 5 });
        assert_eq!(consumed.foreign, 3);
        assert!(consumed.latency.iter().all(|hop| hop.count == 5), "each is timed on its own");
        assert!(consumed.latency[0].min_us >= 4_994_000, "from its own due time to the arrival of the aggregate");
    }

    #[tokio::test]
    async fn draining_waits_for_a_record_that_comes_late() {
        let fake = FakeKinesis::start(2).await;
        put(&fake, "mine", 0, 1);
        let (consumer, _) = consumer(&fake).await;
        let patience = Patience { quiet: Duration::from_secs(20), total: Duration::from_secs(40) };
        let drained = tokio::spawn(consumer.drain(numbers(0..2), patience));
        tokio::time::sleep(Duration::from_millis(100)).await;
        put(&fake, "mine", 1, 1);
        let consumed = drained.await.unwrap().unwrap();
        assert_eq!(consumed.ledger.seen().len(), 2);
    }

    #[tokio::test]
    async fn a_reader_that_fails_is_noticed_while_the_load_runs() {
        let fake = FakeKinesis::start(1).await;
        fake.read_errors(["AccessDeniedException"]);
        let (mut consumer, _) = consumer(&fake).await;
        assert!(matches!(consumer.failed().await, LoadError::Denied { .. }));
    }
}

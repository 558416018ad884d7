//! Reads every shard of a stream, across reshards, into one bounded channel.
//!
//! Shards that are there at the start begin where the caller asks; a child shard begins at its own start once its
//! parents are read to their end, so the order of a key is kept and nothing is read twice. A full channel holds the
//! reading back. An expired iterator is taken again after the last record that was handed on.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use aws_sdk_kinesis::{
    operation::get_records::GetRecordsOutput, primitives::DateTime, types::Record as KinesisRecord,
    types::ShardIteratorType,
};
use bytes::Bytes;
use tokio::{
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, sleep_until},
};

use crate::{
    client::{Failure, FailureKind, StreamClient},
    clock::Clock,
    draws::{Draws, Purpose},
    error::LoadError,
    shards::{self, Shard},
};

/// Records asked for in one call (the largest number GetRecords takes).
const RECORDS_PER_CALL: i32 = 10_000;
/// Longest first pause after a refused read; doubles with each refusal in a row.
const PAUSE_BASE: Duration = Duration::from_millis(200);
/// Longest pause between two reads.
const PAUSE_CAP: Duration = Duration::from_secs(5);
/// A shard that gave no answer but failures for this long ends the reading. Throttling does not count.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where reading begins in the shards that are there at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The oldest record kept.
    TrimHorizon,
    /// Records put after the reader has its iterator.
    Latest,
    /// The first record that arrived at or after this time, microseconds since 1970.
    AtTimestamp(u64),
}

/// A record as it came from the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrivedRecord {
    /// Its payload.
    pub data: Bytes,
    /// Its partition key.
    pub partition_key: String,
    /// Its sequence number in the shard.
    pub sequence_number: String,
    /// The stream's approximate arrival time, microseconds since 1970; whole milliseconds on AWS.
    pub arrival_us: i64,
}

/// The records of one GetRecords call; never none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardBatch {
    /// The shard they came from.
    pub shard: Arc<str>,
    /// The records, in the shard's order.
    pub records: Vec<ArrivedRecord>,
    /// When the call returned, microseconds since 1970 by the reader's clock.
    pub read_us: u64,
    /// How far the call's end was behind the shard's newest record, milliseconds.
    pub millis_behind: i64,
}

/// How long the reader goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Read,
    Drain,
    Stop,
}

/// Reads a stream until told to stop. Dropping it stops it.
#[derive(Debug)]
pub struct ShardReader {
    mode: watch::Sender<Mode>,
    supervisor: JoinHandle<Result<(), LoadError>>,
}

impl ShardReader {
    /// Starts to read every shard of `stream` each `poll`, into `output`, which closes when the reading has ended.
    #[must_use]
    pub fn spawn(
        stream: StreamClient,
        poll: Duration,
        start: Start,
        clock: Clock,
        output: mpsc::Sender<ShardBatch>,
    ) -> Self {
        let (mode, mode_receiver) = watch::channel(Mode::Read);
        let reading = Reading { stream, poll, clock, output, mode: mode_receiver };
        Self { mode, supervisor: tokio::spawn(supervise(reading, start)) }
    }

    /// Lets every shard end once it is read to its newest record.
    pub fn stop_when_caught_up(&self) {
        self.mode.send_if_modified(|mode| {
            let reading = *mode == Mode::Read;
            if reading {
                *mode = Mode::Drain;
            }
            reading
        });
    }

    /// Ends the reading after the calls under way.
    pub fn stop(&self) {
        self.mode.send_replace(Mode::Stop);
    }

    /// Waits until every shard has ended. Read the channel to its end first, or at the same time.
    ///
    /// # Errors
    /// [`LoadError`] when a shard could not be read any more.
    pub async fn finished(self) -> Result<(), LoadError> {
        self.supervisor.await.map_err(|_| LoadError::Stopped { part: "shard reader" })?
    }
}

/// What every shard's task shares.
#[derive(Debug, Clone)]
struct Reading {
    stream: StreamClient,
    poll: Duration,
    clock: Clock,
    output: mpsc::Sender<ShardBatch>,
    mode: watch::Receiver<Mode>,
}

/// How a shard's task ended.
#[derive(Debug)]
enum ShardEnd {
    /// The shard is closed and read to its end.
    Closed(Arc<str>),
    /// Caught up while draining, or stopped.
    Done,
}

/// Starts a task per shard, and one per child shard when its parents are done.
async fn supervise(reading: Reading, start: Start) -> Result<(), LoadError> {
    let mut tasks: JoinSet<Result<ShardEnd, LoadError>> = JoinSet::new();
    let mut plan = Plan::new(start, shards::list(&reading.stream).await?);
    loop {
        for (shard, start) in plan.startable() {
            tasks.spawn(read_shard(reading.clone(), shard, start));
        }
        match tasks.join_next().await {
            None => return Ok(()),
            Some(Err(_)) => return Err(LoadError::Stopped { part: "shard reader" }),
            Some(Ok(end)) => {
                if let ShardEnd::Closed(shard) = end? {
                    plan.close(shard);
                    plan.learn(shards::list(&reading.stream).await?);
                }
            }
        }
    }
}

/// Which shards may be read when.
#[derive(Debug)]
struct Plan {
    waiting: HashMap<Arc<str>, (Shard, Start)>,
    known: HashSet<Arc<str>>,
    done: HashSet<Arc<str>>,
}

impl Plan {
    fn new(start: Start, shards: Vec<Shard>) -> Self {
        let mut plan = Self { waiting: HashMap::new(), known: HashSet::new(), done: HashSet::new() };
        for shard in shards {
            plan.known.insert(Arc::clone(&shard.id));
            if start == Start::Latest && shard.closed {
                // Nothing new can arrive there.
                plan.done.insert(shard.id);
            } else {
                plan.waiting.insert(Arc::clone(&shard.id), (shard, start));
            }
        }
        plan
    }

    /// Adds shards of a later listing; they are children and begin at their own start.
    fn learn(&mut self, shards: Vec<Shard>) {
        for shard in shards {
            if self.known.insert(Arc::clone(&shard.id)) {
                self.waiting.insert(Arc::clone(&shard.id), (shard, Start::TrimHorizon));
            }
        }
    }

    fn close(&mut self, shard: Arc<str>) {
        self.done.insert(shard);
    }

    /// Takes the shards whose parents are read to their end or are no longer listed.
    fn startable(&mut self) -> Vec<(Arc<str>, Start)> {
        let (known, done) = (&self.known, &self.done);
        let ready = |shard: &Shard| shard.parents.iter().all(|parent| !known.contains(parent) || done.contains(parent));
        self.waiting.extract_if(|_, (shard, _)| ready(shard)).map(|(id, (_, start))| (id, start)).collect()
    }
}

/// Where an iterator begins.
#[derive(Debug, Clone)]
enum Position {
    Start(Start),
    After(String),
}

/// Reads one shard until it closes, is caught up while draining, or reading stops.
async fn read_shard(mut reading: Reading, shard: Arc<str>, start: Start) -> Result<ShardEnd, LoadError> {
    let mut position = Position::Start(start);
    let mut iterator: Option<String> = None;
    let mut failing = Failing::new(&shard);
    let mut next_read = Instant::now();
    loop {
        if !reading.wait_until(next_read).await {
            return Ok(ShardEnd::Done);
        }
        let draining = *reading.mode.borrow() == Mode::Drain;
        next_read = Instant::now() + reading.poll;
        let given = iterator.take();
        let was_given = given.is_some();
        let output = match reading.read(&shard, &position, given).await {
            Ok(output) => output,
            Err((_, failure)) if failure.kind == FailureKind::Expired => continue,
            // The stream may not be the one it was. An iterator that was just taken is one of this stream.
            Err((Some(_), failure)) if failure.kind == FailureKind::Rejected && was_given => continue,
            // It is another one: what it has now is new, and what the other one still had is lost.
            Err((None, failure)) if failure.kind == FailureKind::Rejected && matches!(position, Position::After(_)) => {
                tracing::warn!(
                    shard = &*shard,
                    detail = failure.detail,
                    "the stream was made anew; reading from its start"
                );
                position = Position::Start(Start::TrimHorizon);
                continue;
            }
            Err((kept, failure)) => {
                iterator = kept;
                sleep(failing.pause(&reading.stream, failure)?).await;
                continue;
            }
        };
        failing.reset();
        let read_us = reading.clock.now_us();
        let millis_behind = output.millis_behind_latest().unwrap_or(0);
        iterator = output.next_shard_iterator().map(str::to_owned);
        let records: Vec<ArrivedRecord> = output.records.into_iter().map(arrived).collect();
        let empty = records.is_empty();
        if let Some(last) = records.last() {
            position = Position::After(last.sequence_number.clone());
            let batch = ShardBatch { shard: Arc::clone(&shard), records, read_us, millis_behind };
            if !reading.hand_on(batch).await {
                return Ok(ShardEnd::Done);
            }
        }
        if iterator.is_none() {
            return Ok(ShardEnd::Closed(shard));
        }
        if draining && empty && millis_behind == 0 {
            return Ok(ShardEnd::Done);
        }
    }
}

impl Reading {
    /// One read, with a new iterator where there is none. A failure gives back the iterator to try again with.
    async fn read(
        &self,
        shard: &str,
        position: &Position,
        iterator: Option<String>,
    ) -> Result<GetRecordsOutput, (Option<String>, Failure)> {
        let iterator = match iterator {
            Some(iterator) => iterator,
            None => self.iterator(shard, position).await.map_err(|failure| (None, failure))?,
        };
        let call = self.stream.client.get_records().shard_iterator(&iterator).limit(RECORDS_PER_CALL);
        call.send().await.map_err(|error| (Some(iterator), Failure::of(error)))
    }

    async fn iterator(&self, shard: &str, position: &Position) -> Result<String, Failure> {
        let call = self.stream.client.get_shard_iterator().stream_name(&*self.stream.stream).shard_id(shard);
        let call = match position {
            Position::Start(Start::TrimHorizon) => call.shard_iterator_type(ShardIteratorType::TrimHorizon),
            Position::Start(Start::Latest) => call.shard_iterator_type(ShardIteratorType::Latest),
            Position::Start(Start::AtTimestamp(us)) => {
                let millis = i64::try_from(us / 1_000).unwrap_or(i64::MAX);
                call.shard_iterator_type(ShardIteratorType::AtTimestamp).timestamp(DateTime::from_millis(millis))
            }
            Position::After(sequence_number) => call
                .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
                .starting_sequence_number(sequence_number),
        };
        let output = call.send().await.map_err(Failure::of)?;
        output.shard_iterator.ok_or_else(|| Failure {
            kind: FailureKind::Server,
            cause: "malformed answer".to_owned(),
            detail: "GetShardIterator gave no iterator".to_owned(),
        })
    }

    /// Waits for the next read; false when reading is to stop.
    async fn wait_until(&mut self, instant: Instant) -> bool {
        tokio::select! {
            biased;
            () = stopped(&mut self.mode) => false,
            () = sleep_until(instant) => true,
        }
    }

    /// Hands a batch on, waiting while the channel is full; false when reading is to stop or nobody takes it.
    async fn hand_on(&mut self, batch: ShardBatch) -> bool {
        tokio::select! {
            sent = self.output.send(batch) => sent.is_ok(),
            () = stopped(&mut self.mode) => false,
        }
    }
}

/// Returns when reading is to stop, also because its owner has gone.
async fn stopped(mode: &mut watch::Receiver<Mode>) {
    // An error means that the sender was dropped, which is a stop as well.
    let _ = mode.wait_for(|mode| *mode == Mode::Stop).await;
}

/// Failures of one shard in a row.
#[derive(Debug)]
struct Failing {
    seed: u64,
    count: u32,
    since: Option<Instant>,
}

impl Failing {
    fn new(shard: &str) -> Self {
        // Shards throttled together must not come back together.
        let seed = shard.bytes().fold(0, |hash: u64, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
        Self { seed, count: 0, since: None }
    }

    fn reset(&mut self) {
        self.count = 0;
        self.since = None;
    }

    /// The pause before the next read, or the error that ends the reading.
    fn pause(&mut self, stream: &StreamClient, failure: Failure) -> Result<Duration, LoadError> {
        if !failure.is_passing() {
            return Err(stream.error("GetRecords", failure));
        }
        if failure.kind == FailureKind::Throttled {
            self.since = None;
        } else if self.since.get_or_insert_with(Instant::now).elapsed() >= PATIENCE {
            return Err(stream.error("GetRecords", failure));
        }
        tracing::debug!(cause = failure.cause, detail = failure.detail, "read refused");
        self.count = self.count.saturating_add(1);
        let longest = PAUSE_BASE.saturating_mul(1 << self.count.min(10)).min(PAUSE_CAP);
        Ok(longest.mul_f64(Draws::new(self.seed, Purpose::Pause, u64::from(self.count)).unit()))
    }
}

fn arrived(record: KinesisRecord) -> ArrivedRecord {
    // The SDK reads the wire's decimal fraction through a float and truncates: round to the microsecond it meant.
    let arrival_us = record.approximate_arrival_timestamp.map_or(0, |at| {
        at.secs().saturating_mul(1_000_000).saturating_add(i64::from((at.subsec_nanos() + 500) / 1_000))
    });
    ArrivedRecord {
        data: Bytes::from(record.data.into_inner()),
        partition_key: record.partition_key.unwrap_or_default(),
        sequence_number: record.sequence_number,
        arrival_us,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FakeKinesis;

    const POLL: Duration = Duration::from_millis(5);

    async fn read_all(fake: &FakeKinesis, start: Start) -> Vec<(String, String)> {
        let (output, mut batches) = mpsc::channel(1);
        let reader = ShardReader::spawn(fake.stream().await, POLL, start, Clock::start(), output);
        reader.stop_when_caught_up();
        let mut seen = Vec::new();
        while let Some(batch) = batches.recv().await {
            assert!(!batch.records.is_empty());
            for record in batch.records {
                assert!(record.arrival_us > 0);
                seen.push((batch.shard.to_string(), String::from_utf8(record.data.to_vec()).unwrap()));
            }
        }
        reader.finished().await.unwrap();
        seen.sort();
        seen
    }

    #[tokio::test]
    async fn every_shard_is_read_to_its_newest_record_and_then_the_reader_ends() {
        let fake = FakeKinesis::start(2).await;
        for n in 0..50 {
            fake.put(n % 2, &format!("{n:02}"));
        }
        let seen = read_all(&fake, Start::TrimHorizon).await;
        assert_eq!(seen.len(), 50);
        assert_eq!(seen[0], ("shardId-000000000000".to_owned(), "00".to_owned()));
        assert_eq!(seen[49], ("shardId-000000000001".to_owned(), "49".to_owned()));
    }

    #[tokio::test]
    async fn throttling_and_expired_iterators_neither_lose_nor_repeat_a_record() {
        let fake = FakeKinesis::start(1).await;
        fake.read_page(3);
        fake.read_errors([
            "ExpiredIteratorException",
            "ProvisionedThroughputExceededException",
            "InternalFailure",
            "",
            "",
            "ExpiredIteratorException",
            "",
            "ProvisionedThroughputExceededException",
        ]);
        for n in 0..20 {
            fake.put(0, &format!("{n:02}"));
        }
        let seen = read_all(&fake, Start::TrimHorizon).await;
        let texts: Vec<String> = seen.into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, (0..20).map(|n| format!("{n:02}")).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn child_shards_are_followed_after_a_split() {
        let fake = FakeKinesis::start(1).await;
        fake.put(0, "parent");
        fake.split(0);
        fake.put(1, "left child");
        fake.put(2, "right child");
        let seen = read_all(&fake, Start::TrimHorizon).await;
        let texts: Vec<&str> = seen.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["parent", "left child", "right child"]);
    }

    #[tokio::test]
    async fn a_full_channel_holds_the_reading_back_and_a_stop_ends_it() {
        let fake = FakeKinesis::start(1).await;
        fake.read_page(1);
        for n in 0..100 {
            fake.put(0, &n.to_string());
        }
        let (output, mut batches) = mpsc::channel(1);
        let reader = ShardReader::spawn(fake.stream().await, POLL, Start::TrimHorizon, Clock::start(), output);
        assert_eq!(batches.recv().await.unwrap().records.len(), 1);
        sleep(Duration::from_millis(100)).await;
        assert!(fake.reads() <= 4, "{} reads for one taken batch", fake.reads());
        reader.stop();
        reader.finished().await.unwrap();
    }

    #[tokio::test]
    async fn a_stream_that_is_not_there_ends_the_reading_with_its_name() {
        let fake = FakeKinesis::start(1).await;
        fake.read_errors(["ResourceNotFoundException"]);
        let (output, mut batches) = mpsc::channel(1);
        let reader = ShardReader::spawn(fake.stream().await, POLL, Start::Latest, Clock::start(), output);
        assert!(batches.recv().await.is_none());
        assert!(matches!(reader.finished().await, Err(LoadError::NoStream { .. })));
    }

    #[test]
    fn a_merged_shard_waits_for_both_parents() {
        let shard = |id: &str, parents: &[&str], closed| Shard {
            id: id.into(),
            parents: parents.iter().map(|p| Arc::from(*p)).collect(),
            first_hash: 0,
            last_hash: 0,
            closed,
        };
        let all = || vec![shard("a", &["gone"], true), shard("b", &[], true), shard("ab", &["a", "b"], false)];
        let mut plan = Plan::new(Start::TrimHorizon, all());
        let mut first: Vec<_> = plan.startable().into_iter().map(|(id, _)| id).collect();
        first.sort();
        assert_eq!(first, ["a".into(), "b".into()] as [Arc<str>; 2]);
        plan.close("a".into());
        assert!(plan.startable().is_empty());
        plan.close("b".into());
        assert_eq!(plan.startable(), [("ab".into(), Start::TrimHorizon)]);
        assert_eq!(Plan::new(Start::Latest, all()).startable(), [("ab".into(), Start::Latest)]);
    }
}

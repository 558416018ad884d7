//! The producer: sends batches with bounded concurrency, and sends again what the stream refused.
//!
//! One task owns everything and is told everything: batches from the pacer, answers of calls, retries that have become
//! due, the wish to stop. Only the calls themselves run elsewhere. What is held (waiting, under way, pausing) is
//! bounded in records and bytes; at the bound no more is taken from the pacer, whose hand-over then blocks. Due times do
//! not move for that: it shows as lag, and as waits for a free call. Nothing is dropped.

use std::{collections::VecDeque, future::pending, sync::Arc};

use millrace_scenarios::Load;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

mod batch;
mod call;
mod retry;
mod tally;

pub use batch::{Batch, Batcher, Limits, Record};
pub use retry::RetryPolicy;
pub(crate) use tally::{Produced, Recorders};

use crate::{
    client::{FailureKind, StreamClient},
    clock::Clock,
    error::LoadError,
    progress::LoadProgress,
    shards::ShardMap,
    timeline::Timeline,
};
use call::{Answer, CallResult};
use retry::RetryQueue;
use tally::Tally;

/// Records held at least, so that small batches still have a queue behind them.
const MIN_HELD_RECORDS: usize = 8_192;
/// Bytes held at most, whatever the batches; one batch may reach over it.
const MAX_HELD_BYTES: usize = 256 << 20;

/// How the producer sends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// Calls under way at once at most.
    pub(crate) in_flight: usize,
    /// What fits into a call.
    pub(crate) limits: Limits,
    /// When and how long a refused record is tried again.
    pub(crate) retry: RetryPolicy,
}

impl Settings {
    /// The settings of a scenario's `[load]`.
    pub(crate) fn new(load: &Load, seed: u64) -> Self {
        Self {
            in_flight: load.in_flight.max(1) as usize,
            limits: Limits::new(load),
            retry: RetryPolicy::new(load, seed),
        }
    }

    fn max_held_records(&self) -> usize {
        (2 * self.in_flight).saturating_mul(self.limits.records).max(MIN_HELD_RECORDS)
    }

    fn max_held_bytes(&self) -> usize {
        (2 * self.in_flight).saturating_mul(self.limits.bytes).min(MAX_HELD_BYTES)
    }
}

/// A batch that waits for a free call.
#[derive(Debug)]
struct Ready {
    batch: Batch,
    /// Whether a call was not free when it became ready.
    waited: bool,
}

/// Sends one load.
#[derive(Debug)]
pub(crate) struct Producer {
    settings: Settings,
    stream: StreamClient,
    shards: ShardMap,
    clock: Clock,
    timeline: Arc<Timeline>,
    progress: Arc<LoadProgress>,
    tally: Tally,
    ready: VecDeque<Ready>,
    retries: RetryQueue,
    calls: JoinSet<CallResult>,
    held_records: usize,
    held_bytes: usize,
    stopping: bool,
    /// When the endpoint last gave an answer of any kind; at first, when the load began.
    answered_us: u64,
    ever_answered: bool,
}

impl Producer {
    /// A producer that writes what it learns into `recorders`, `timeline` and `progress`.
    pub(crate) fn new(
        settings: Settings,
        stream: StreamClient,
        shards: ShardMap,
        clock: Clock,
        timeline: Arc<Timeline>,
        progress: Arc<LoadProgress>,
        recorders: Recorders,
    ) -> Self {
        Self {
            settings,
            stream,
            shards,
            clock,
            timeline,
            progress,
            tally: Tally::new(recorders),
            ready: VecDeque::new(),
            retries: RetryQueue::default(),
            calls: JoinSet::new(),
            held_records: 0,
            held_bytes: 0,
            stopping: false,
            answered_us: clock.now_us(),
            ever_answered: false,
        }
    }

    /// Sends every batch until the channel closes and each record is accepted or given up. After `stop` a refused
    /// record is not tried again.
    ///
    /// # Errors
    /// [`LoadError::Unreachable`] when nothing answered for a record's whole deadline, [`LoadError::NoStream`] and
    /// [`LoadError::Denied`] at once.
    pub(crate) async fn run(
        mut self,
        mut batches: mpsc::Receiver<Batch>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<Produced, LoadError> {
        let mut open = true;
        loop {
            self.start_calls();
            if !open && self.ready.is_empty() && self.calls.is_empty() && self.retries.is_empty() {
                break;
            }
            let next_retry = self.retries.next_us().map(|us| Instant::from_std(self.clock.instant(us)));
            tokio::select! {
                Some(done) = self.calls.join_next(), if !self.calls.is_empty() => {
                    self.settle(done.map_err(|_| LoadError::Stopped { part: "producer's call" })?)?;
                }
                () = wait_until(next_retry), if next_retry.is_some() => self.wake_retries(),
                batch = batches.recv(), if open && self.has_room() => match batch {
                    Some(batch) => self.take(batch),
                    None => open = false,
                },
                () = stopped(&mut stop), if !self.stopping => {
                    self.stopping = true;
                    self.wake_all_retries();
                }
            }
        }
        if !self.ever_answered && self.tally.sent() > 0 {
            return Err(self.unreachable("no call was answered".to_owned()));
        }
        self.tally.finish()
    }

    fn has_room(&self) -> bool {
        self.held_records < self.settings.max_held_records() && self.held_bytes < self.settings.max_held_bytes()
    }

    fn take(&mut self, batch: Batch) {
        self.held_records += batch.records.len();
        self.held_bytes += batch.records.iter().map(Record::size).sum::<usize>();
        self.ready.push_back(Ready { batch, waited: false });
    }

    fn release(&mut self, record: &Record) {
        self.held_records -= 1;
        self.held_bytes -= record.size();
    }

    /// Starts a call for each batch that is ready, oldest first, while calls are free.
    fn start_calls(&mut self) {
        while self.calls.len() < self.settings.in_flight {
            let Some(Ready { batch, waited }) = self.ready.pop_front() else { break };
            let now_us = self.clock.now_us();
            if waited {
                self.tally.waited(now_us.saturating_sub(batch.ready_us));
            }
            self.calls.spawn(call::put(self.stream.clone(), batch.records, self.clock));
            self.note_in_flight(now_us);
        }
        for ready in self.ready.iter_mut().rev().take_while(|ready| !ready.waited) {
            ready.waited = true;
        }
    }

    fn note_in_flight(&self, now_us: u64) {
        let calls = self.calls.len() as u64;
        self.timeline.in_flight(now_us, calls);
        self.progress.set_in_flight(calls);
    }

    fn wake_retries(&mut self) {
        let now_us = self.clock.now_us();
        let records = self.retries.take_due(now_us);
        self.requeue(records, now_us);
    }

    fn wake_all_retries(&mut self) {
        let records = self.retries.take_due(u64::MAX);
        self.requeue(records, self.clock.now_us());
    }

    /// Makes records ready again; they are held already.
    fn requeue(&mut self, records: Vec<Record>, ready_us: u64) {
        for records in self.settings.limits.split(records) {
            self.ready.push_back(Ready { batch: Batch { records, ready_us }, waited: false });
        }
    }

    /// Takes in the answer of one call.
    fn settle(&mut self, result: CallResult) -> Result<(), LoadError> {
        let before = self.tally.counts();
        let CallResult { records, send_us, ack_us, answer } = result;
        self.tally.called(&records, send_us);
        match answer {
            Answer::Output(output) => {
                self.answered(ack_us);
                for (record, entry) in records.into_iter().zip(output.records()) {
                    match (entry.shard_id(), entry.error_code()) {
                        (Some(shard), None) => {
                            self.release(&record);
                            self.tally.accepted(&record, shard, send_us, ack_us);
                        }
                        (_, code) => {
                            let shard = self.shards.shard_of(&record.key).cloned();
                            self.refuse(record, shard, code.unwrap_or("unknown"), ack_us);
                        }
                    }
                }
            }
            Answer::Failed(failure) => {
                self.tally.call_failed();
                match failure.kind {
                    FailureKind::Connection | FailureKind::Timeout => {
                        if ack_us.saturating_sub(self.answered_us) >= self.settings.retry.deadline_us {
                            return Err(self.unreachable(failure.detail));
                        }
                    }
                    FailureKind::NotFound | FailureKind::Denied => {
                        return Err(self.stream.error("PutRecords", failure));
                    }
                    _ => self.answered(ack_us),
                }
                tracing::debug!(cause = failure.cause, detail = failure.detail, records = records.len(), "call failed");
                if failure.kind == FailureKind::Rejected {
                    self.narrow(records, &failure.cause, ack_us);
                } else {
                    for record in records {
                        self.refuse(record, None, &failure.cause, ack_us);
                    }
                }
            }
        }
        let after = self.tally.counts();
        let (accepted, refusals) = (after.accepted - before.accepted, after.refusals - before.refusals);
        self.progress.add_answered(accepted, refusals, after.refused - before.refused);
        self.timeline.answered(ack_us, accepted, refusals, self.calls.len() as u64);
        self.progress.set_in_flight(self.calls.len() as u64);
        if let Some(interval) = self.tally.last_response_interval() {
            self.progress.set_response(interval);
        }
        Ok(())
    }

    /// One record that the endpoint rejects takes its whole call with it: halves the call until the culprits are
    /// alone, and gives those up.
    fn narrow(&mut self, mut records: Vec<Record>, cause: &str, now_us: u64) {
        for _ in &records {
            self.tally.refusal(None, cause);
        }
        if records.len() > 1 && !self.stopping {
            let half = records.split_off(records.len() / 2);
            self.requeue(records, now_us);
            self.requeue(half, now_us);
        } else {
            for record in records {
                self.give_up(&record, None, cause);
            }
        }
    }

    /// Counts a refusal; then the record pauses for another attempt, or is given up.
    fn refuse(&mut self, record: Record, shard: Option<Arc<str>>, cause: &str, now_us: u64) {
        self.tally.refusal(shard.as_ref(), cause);
        match self.settings.retry.ready_us(&record, now_us) {
            Some(ready_us) if !self.stopping => self.retries.push(ready_us, record),
            _ => self.give_up(&record, shard.as_ref(), cause),
        }
    }

    fn give_up(&mut self, record: &Record, shard: Option<&Arc<str>>, cause: &str) {
        self.release(record);
        self.tally.given_up(shard, cause);
    }

    fn answered(&mut self, now_us: u64) {
        self.answered_us = self.answered_us.max(now_us);
        self.ever_answered = true;
    }

    fn unreachable(&self, detail: String) -> LoadError {
        LoadError::Unreachable { endpoint: self.stream.endpoint.to_string(), detail }
    }
}

async fn wait_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => pending().await,
    }
}

/// Returns when `stop` becomes true; never when nobody can stop any more.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        pending().await
    }
}

#[cfg(test)]
mod tests;

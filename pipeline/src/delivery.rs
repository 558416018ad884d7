//! Delivery: lands a stream in a lake the way Firehose does.
//!
//! Records are routed to a lane (their partition, or the error prefix), buffered and compressed there, and written as
//! one object when the buffer is full or old enough. The caller reads the stream, [`offer`](Delivery::offer)s what it
//! reads and [`tick`](Delivery::tick)s; nothing here starts a task, reads the wall clock or draws from the system.
//!
//! **Nothing is lost silently.** A record taken is in a buffer, in a sealed object, or in the store; [`Progress`] counts
//! each. A write that fails is tried again; when it is given up, the object is kept, the error says how many records it
//! holds, and the next call writes it under the same key. Until it is written nothing more is taken, so the stream, which
//! keeps records, is where they wait.
//!
//! **Memory** is at most [`Limits::memory_bytes`] and one offered batch: when the buffers together reach the limit, the
//! largest are written early. An open buffer costs about 0.4 MiB of compressor state and its compressed records.
//!
//! In a local folder an object appears whole under its name (staged, then renamed), but `object_store` does not sync it
//! to the disk: after a power failure, unlike after a crash of the process, an object may be missing or short.

mod buffer;
mod error;
mod instant;
mod object;
mod partition;
mod pattern;
mod plan;
mod prefix;
mod progress;
mod refusal;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use bytes::Bytes;
use futures::{StreamExt, future::BoxFuture, stream};
use millrace_reports::{
    latency::HopRecorder,
    record::{DeliveryRecord, HopLatency},
};
use object_store::{ObjectStore, path::Path};
use rand::{SeedableRng, rngs::StdRng};

pub use error::DeliveryError;
pub use object::RetryPolicy;
pub use partition::KeyPathError;
pub use pattern::PatternError;
pub use prefix::PrefixError;
pub use progress::Progress;

use self::{
    buffer::Buffer,
    instant::now_us,
    object::{Failure, Kind, Object},
    plan::{Lane, Plan},
    refusal::{ErrorType, Refusal},
};
use crate::stream::Clock;

/// Other tasks of the runtime get a turn after this many bytes were compressed, about a millisecond.
const BYTES_BETWEEN_YIELDS: usize = 64 << 10;

/// A record read from the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveredRecord {
    /// The payload.
    pub data: Bytes,
    /// The stream's approximate arrival timestamp, microseconds since 1970.
    pub arrival_us: i64,
    /// When the record was due, microseconds since 1970; absent for a record that is not of this run.
    pub due_us: Option<i64>,
}

/// What bounds a delivery's use of memory and of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Partitions with an open buffer at most (Firehose: 500); records of further ones go to the error prefix.
    pub active_partitions: usize,
    /// Bytes that buffers may hold together before the largest are written early.
    pub memory_bytes: usize,
    /// Objects written at once at most.
    pub writes_at_once: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { active_partitions: 500, memory_bytes: 256 << 20, writes_at_once: 8 }
    }
}

/// Everything a delivery needs.
#[derive(Debug)]
pub struct DeliveryConfig {
    /// The stream's name; object names begin with it.
    pub stream: String,
    /// The scenario's `[delivery]` section.
    pub spec: millrace_scenarios::Delivery,
    /// Where the lake is, for the record: a folder or a URL without credentials.
    pub lake: String,
    /// The store that holds the lake.
    pub store: Arc<dyn ObjectStore>,
    /// The lake's place inside the store.
    pub root: Path,
    /// The wall clock; it decides buffer ages and landed latencies.
    pub clock: Arc<dyn Clock>,
    /// Seed of object names and random strings. It must differ between runs that may write to one lake.
    pub seed: u64,
    /// Takes due-to-landed latencies of records in good objects.
    pub landed: Option<HopRecorder>,
    /// How often a write is tried.
    pub retry: RetryPolicy,
    /// What bounds memory and writes.
    pub limits: Limits,
}

/// A delivery at work. Its calls finish what they began; a call that is dropped half-way leaves the records it had not
/// buffered yet in flight for good.
#[derive(Debug)]
pub struct Delivery {
    plan: Plan,
    buffer_bytes: u64,
    buffer_interval_us: i64,
    store: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    random: StdRng,
    retry: RetryPolicy,
    limits: Limits,
    buffers: BTreeMap<Lane, Buffer>,
    /// Sealed and not in the store.
    pending: Vec<Arc<Object>>,
    landed: Option<HopRecorder>,
    progress: Arc<Progress>,
}

/// Checks a `[delivery]` section as far as it can be without records.
///
/// # Errors
/// [`DeliveryError::Prefix`] or [`DeliveryError::PartitionKey`] with the key at fault and what to write instead.
pub fn check(spec: &millrace_scenarios::Delivery, stream: &str) -> Result<(), DeliveryError> {
    Plan::new(spec, stream, Path::ROOT).map(drop)
}

impl Delivery {
    /// Sets a delivery up. Nothing is written and the store is not asked.
    ///
    /// # Errors
    /// As [`check`].
    pub fn new(config: DeliveryConfig) -> Result<Self, DeliveryError> {
        Ok(Self {
            plan: Plan::new(&config.spec, &config.stream, config.root)?,
            buffer_bytes: config.spec.buffer_size.bytes(),
            buffer_interval_us: i64::try_from(config.spec.buffer_interval.as_us()).unwrap_or(i64::MAX),
            store: config.store,
            clock: config.clock,
            random: StdRng::seed_from_u64(config.seed),
            retry: config.retry,
            limits: config.limits,
            buffers: BTreeMap::new(),
            pending: Vec::new(),
            landed: config.landed,
            progress: Arc::new(Progress::new(config.lake)),
        })
    }

    /// The live counts.
    #[must_use]
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Takes records, and writes the buffers they fill.
    ///
    /// # Errors
    /// [`DeliveryError::Write`] when an object could not be written. If it was sealed by an earlier call, no record of
    /// this call was taken or counted: read them again. Else all were.
    pub fn offer(&mut self, records: Vec<DeliveredRecord>) -> BoxFuture<'_, Result<(), DeliveryError>> {
        Box::pin(async move {
            self.land().await?;
            self.progress.taken(records.len());
            let mut compressed = 0;
            for record in &records {
                self.take(record)?;
                compressed += record.data.len();
                if compressed >= BYTES_BETWEEN_YIELDS {
                    compressed = 0;
                    tokio::task::yield_now().await;
                }
            }
            self.relieve_memory()?;
            self.land().await
        })
    }

    /// Writes the buffers that are old enough. Call it a few times per buffer interval.
    ///
    /// # Errors
    /// [`DeliveryError::Write`] when an object could not be written; it is tried again by the next call.
    pub fn tick(&mut self) -> BoxFuture<'_, Result<(), DeliveryError>> {
        Box::pin(async move {
            let opened_by = now_us(&*self.clock).saturating_sub(self.buffer_interval_us);
            self.seal_where(|buffer| buffer.opened_us() <= opened_by)?;
            self.land().await
        })
    }

    /// Writes everything that was taken.
    ///
    /// # Errors
    /// [`DeliveryError::Write`] when an object could not be written; it is tried again by the next call.
    pub fn flush(&mut self) -> BoxFuture<'_, Result<(), DeliveryError>> {
        Box::pin(async move {
            self.seal_where(|_| true)?;
            self.land().await
        })
    }

    /// Sums up without writing: for a run that reports what it has after [`flush`](Self::flush) failed.
    ///
    /// # Errors
    /// [`DeliveryError::Latency`] when the landed latencies could not be written to their log.
    pub fn finish(self) -> Result<(DeliveryRecord, Option<HopLatency>), DeliveryError> {
        let latency = self.landed.map(HopRecorder::finish).transpose()?;
        Ok((self.progress.record(), latency))
    }

    /// Writes everything that was taken and sums up.
    ///
    /// # Errors
    /// As [`flush`](Self::flush) and [`finish`](Self::finish). The counts stay readable through
    /// [`progress`](Self::progress).
    pub fn close(mut self) -> BoxFuture<'static, Result<(DeliveryRecord, Option<HopLatency>), DeliveryError>> {
        Box::pin(async move {
            self.flush().await?;
            self.finish()
        })
    }

    /// Puts one record into its buffer, or its error line into the buffer of its kind of error.
    fn take(&mut self, record: &DeliveredRecord) -> Result<(), DeliveryError> {
        match self.route(record) {
            Ok(lane) => {
                // Due times are kept only when somebody times them.
                let due_us = record.due_us.filter(|_| self.landed.is_some());
                self.push(lane, &record.data, record.arrival_us, due_us)
            }
            Err(refusal) => {
                let line = refusal
                    .line(&record.data, record.arrival_us, now_us(&*self.clock))
                    .map_err(|source| DeliveryError::Encode { source })?;
                self.push(Lane::Error(refusal.error_type), &line, record.arrival_us, None)
            }
        }
    }

    /// The record's lane, if it is open or may be opened.
    fn route(&mut self, record: &DeliveredRecord) -> Result<Lane, Refusal> {
        let lane = self.plan.lane(&record.data)?;
        if self.buffers.contains_key(&lane) {
            return Ok(lane);
        }
        let active = self.buffers.keys().filter(|lane| matches!(lane, Lane::Good(_))).count();
        if active >= self.limits.active_partitions {
            let message = format!("{active} partitions are active, no more are allowed");
            return Err(Refusal { error_type: ErrorType::ActivePartitionExceeded, message });
        }
        self.plan.admit(&lane, record.arrival_us, &mut self.random)?;
        Ok(lane)
    }

    fn push(&mut self, lane: Lane, data: &[u8], arrival_us: i64, due_us: Option<i64>) -> Result<(), DeliveryError> {
        let mut entry = match self.buffers.entry(lane) {
            Entry::Occupied(entry) => entry,
            Entry::Vacant(entry) => entry.insert_entry(Buffer::open(now_us(&*self.clock))),
        };
        entry.get_mut().push(data, arrival_us, due_us).map_err(|source| DeliveryError::Encode { source })?;
        if entry.get().raw_bytes() >= self.buffer_bytes {
            let (lane, buffer) = entry.remove_entry();
            self.seal(&lane, buffer)?;
        }
        Ok(())
    }

    /// Makes an object of a buffer.
    fn seal(&mut self, lane: &Lane, buffer: Buffer) -> Result<(), DeliveryError> {
        let sealed = buffer.seal().map_err(|source| DeliveryError::Encode { source })?;
        let kind = match lane {
            Lane::Good(_) => Kind::Good,
            Lane::Error(_) => Kind::Error,
        };
        self.pending.push(Arc::new(Object {
            location: self.plan.location(lane, sealed.oldest_us, &mut self.random)?,
            kind,
            body: sealed.body,
            records: sealed.records,
            raw_bytes: sealed.raw_bytes,
            due_us: sealed.due_us,
        }));
        Ok(())
    }

    fn seal_where(&mut self, due: impl Fn(&Buffer) -> bool) -> Result<(), DeliveryError> {
        let ready: Vec<_> = self.buffers.extract_if(.., |_, buffer| due(buffer)).collect();
        ready.into_iter().try_for_each(|(lane, buffer)| self.seal(&lane, buffer))
    }

    /// Seals the largest buffers until the rest is within the limit.
    fn relieve_memory(&mut self) -> Result<(), DeliveryError> {
        let mut held: usize = self.buffers.values().map(Buffer::held_bytes).sum();
        while held > self.limits.memory_bytes {
            let largest =
                self.buffers.iter().max_by_key(|(_, buffer)| buffer.held_bytes()).map(|(lane, _)| lane.clone());
            let Some((lane, buffer)) = largest.and_then(|lane| self.buffers.remove_entry(&lane)) else { break };
            held -= buffer.held_bytes();
            tracing::debug!(?lane, "memory limit reached, written early");
            self.seal(&lane, buffer)?;
        }
        Ok(())
    }

    /// Writes what is sealed, several objects at once. After the first that is given up the others are left for the next
    /// call: a store that is down is waited for once, not once for each object.
    async fn land(&mut self) -> Result<(), DeliveryError> {
        let writes = self.pending.clone().into_iter().map(|object| {
            let (store, clock, progress) =
                (Arc::clone(&self.store), Arc::clone(&self.clock), Arc::clone(&self.progress));
            let retry = self.retry;
            async move {
                let result = object::write(&*store, &object, retry, &progress).await;
                (object, now_us(&*clock), result)
            }
        });
        let mut writes = stream::iter(writes).buffer_unordered(self.limits.writes_at_once.max(1));
        while let Some((object, landed_us, result)) = writes.next().await {
            match result {
                Ok(()) => {
                    self.pending.retain(|other| !Arc::ptr_eq(other, &object));
                    self.progress.landed(&object);
                    record_latencies(self.landed.as_mut(), &object, landed_us);
                }
                Err(failure) => return Err(unlanded(&self.pending, &object, failure)),
            }
        }
        Ok(())
    }
}

fn record_latencies(landed: Option<&mut HopRecorder>, object: &Object, landed_us: i64) {
    let Some(landed) = landed else { return };
    let seen_us = u64::try_from(landed_us).unwrap_or_default();
    for due_us in &object.due_us {
        landed.record(u64::try_from(*due_us).unwrap_or_default(), seen_us, landed_us.saturating_sub(*due_us), 1);
    }
}

fn unlanded(pending: &[Arc<Object>], object: &Object, failure: Failure) -> DeliveryError {
    DeliveryError::Write {
        object: object.location.to_string(),
        attempts: failure.attempts,
        objects: pending.len() as u64,
        records: pending.iter().map(|o| o.records).sum(),
        source: failure.source,
    }
}

#[cfg(test)]
mod tests;

//! One delivery stream: a bounded queue, and the task that feeds its delivery from it.
//!
//! When the lake is slower than the clients, or refuses, the queue fills and further calls are told to slow down; what
//! was taken waits.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinHandle},
};

use crate::{
    delivery::{DeliveredRecord, Delivery, DeliveryConfig, DeliveryError, Progress},
    stream::{
        account::ACCOUNT_ID,
        clock::Clock,
        error::{ApiError, ErrorKind},
        firehose::{Landed, Witness},
    },
};

/// Calls that may wait for the delivery; 64 MiB of records at most.
const CALLS_AHEAD: usize = 16;
/// How often buffers are looked at for their age.
const TICK: Duration = Duration::from_millis(200);
/// How long a lake that refused is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// Where records go in.
#[derive(Debug)]
pub(super) struct Inlet {
    spec: millrace_scenarios::Delivery,
    lake: String,
    clock: Arc<dyn Clock>,
    created_us: u64,
    next_id: AtomicU64,
    progress: Arc<Progress>,
    witness: Option<Arc<dyn Witness>>,
    /// Absent once it is closed.
    working: Mutex<Option<Working>>,
}

#[derive(Debug)]
struct Working {
    queue: mpsc::Sender<Vec<DeliveredRecord>>,
    task: JoinHandle<Result<Landed, DeliveryError>>,
}

impl Inlet {
    pub(super) fn open(config: DeliveryConfig, witness: Option<Arc<dyn Witness>>) -> Result<Self, DeliveryError> {
        let (spec, lake, clock) = (config.spec.clone(), config.lake.clone(), Arc::clone(&config.clock));
        let delivery = Delivery::new(config)?;
        let progress = delivery.progress();
        let (queue, calls) = mpsc::channel(CALLS_AHEAD);
        let working = Working { queue, task: tokio::spawn(deliver(delivery, calls)) };
        let created_us = clock.now_us();
        let (next_id, working) = (AtomicU64::new(0), Mutex::new(Some(working)));
        Ok(Self { spec, lake, clock, created_us, next_id, progress, witness, working })
    }

    /// Takes the records of a call, all or none; gives them their numbers.
    pub(super) fn put(&self, records: Vec<Bytes>) -> Result<Range<u64>, ApiError> {
        let arrival_us = i64::try_from(self.clock.now_us()).unwrap_or(i64::MAX);
        let count = records.len() as u64;
        let witness = self.witness.as_deref();
        let seen = if witness.is_some() { records.clone() } else { Vec::new() };
        let due_us = |data: &Bytes| witness.and_then(|witness| witness.due_us(data));
        let record = |data| DeliveredRecord { due_us: due_us(&data), data, arrival_us };
        let records = records.into_iter().map(record).collect();
        let working = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = working.as_ref().is_some_and(|working| working.queue.try_send(records).is_ok());
        if !taken {
            return Err(ApiError::new(ErrorKind::SlowDown, "Slow down."));
        }
        if let Some(witness) = witness {
            witness.taken(&seen.iter().map(|data| &**data).collect::<Vec<_>>());
        }
        let first = self.next_id.fetch_add(count, Relaxed);
        Ok(first..first + count)
    }

    /// The name of a record that was taken: of all that were ever taken no other has it.
    pub(super) fn record_id(&self, number: u64) -> String {
        format!("{:016x}{number:016x}", self.created_us)
    }

    pub(super) const fn created_us(&self) -> u64 {
        self.created_us
    }

    /// The lake as Firehose describes an S3 destination. A folder has no ARN, but the member has to be there.
    pub(super) fn destination(&self) -> Value {
        let bucket = self.lake.strip_prefix("s3://").and_then(|rest| rest.split('/').next()).unwrap_or("lake");
        json!({
            "RoleARN": format!("arn:aws:iam::{ACCOUNT_ID}:role/millrace"),
            "BucketARN": format!("arn:aws:s3:::{bucket}"),
            "Prefix": self.spec.prefix,
            "ErrorOutputPrefix": self.spec.error_prefix,
            "BufferingHints": {
                "SizeInMBs": (self.spec.buffer_size.bytes() >> 20).max(1),
                "IntervalInSeconds": self.spec.buffer_interval.as_us() / 1_000_000,
            },
            "CompressionFormat": "GZIP",
            "EncryptionConfiguration": { "NoEncryptionConfig": "NoEncryption" },
        })
    }

    /// What was taken and what has landed so far.
    pub(super) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Takes no more, and waits until what was taken has landed. Closing again does nothing.
    pub(super) async fn close(&self) -> Result<Result<Option<Landed>, DeliveryError>, JoinError> {
        let working = self.working.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Working { queue, task }) = working else { return Ok(Ok(None)) };
        drop(queue);
        Ok(task.await?.map(Some))
    }
}

/// Feeds the delivery until the queue is closed and empty, then writes every buffer.
async fn deliver(
    mut delivery: Delivery,
    mut calls: mpsc::Receiver<Vec<DeliveredRecord>>,
) -> Result<Landed, DeliveryError> {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        let records = tokio::select! {
            records = calls.recv() => match records {
                Some(records) => records,
                None => break,
            },
            _ = ticks.tick() => Vec::new(),
        };
        // A delivery that holds what it could not write takes nothing more. After a tick that went well it takes it all.
        while let Err(error) = delivery.tick().await {
            if calls.is_closed() {
                return Err(error);
            }
            tracing::warn!(%error, "the lake refuses; records wait");
            tokio::time::sleep(PAUSE).await;
        }
        if let Err(error) = delivery.offer(records).await {
            tracing::warn!(%error, "the lake refuses; records wait");
        }
    }
    delivery.close().await
}

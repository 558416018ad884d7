//! The producer: sends calls with bounded concurrency, and sends again what the stream refused.
//!
//! Two threads share it. The one that paces writes a call the moment it is due, on a free connection; see `desk`. The
//! other, the `courier`, reads answers, counts what became of each record and sends again what was refused, shard by
//! shard (`lanes`). Neither knows an executor: a call is due now, not when a task is scheduled.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use millrace_scenarios::{Load, Order, Retry, Span};
use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};

pub(crate) mod api;
pub(crate) mod call;
mod cbor;
mod courier;
pub(crate) mod desk;
pub(crate) mod key_order;
mod lanes;
pub(crate) mod packer;
mod retry;
pub(crate) mod tally;

pub use retry::RetryPolicy;
pub(crate) use tally::{Counts, Produced, Recorders};

use crate::{
    client::StreamClient, clock::Clock, error::LoadError, live_shards::LiveShards, progress::LoadProgress,
    timeline::Timeline,
};
use api::Api;
use call::Limits;
use courier::Courier;
use desk::{Desk, Room};

/// Records held at least, so that small calls still have a queue behind them.
const MIN_HELD_RECORDS: usize = 8_192;
/// Bytes held at most, whatever the calls; one call may reach over it.
const MAX_HELD_BYTES: usize = 32 << 20;

/// How long a load waits for its last connection once it has the first.
const ALL_OPEN: Duration = Duration::from_millis(50);

/// How the producer sends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// Calls under way at once at most.
    pub(crate) in_flight: usize,
    /// Calls of one shard that send again what was refused, at most.
    pub(crate) in_flight_per_shard: usize,
    /// What fits into a call.
    pub(crate) limits: Limits,
    /// When and how long a refused record is tried again.
    pub(crate) retry: RetryPolicy,
    /// Memory for what waits to be tried again.
    pub(crate) retry_window_bytes: usize,
    /// A record that would be sent later than this after it was due is not sent.
    pub(crate) shed_after_us: Option<u64>,
    /// Whether calls are signed.
    pub(crate) signs: bool,
    /// What is sent again of a call that was refused in part.
    pub(crate) retry_kind: Retry,
    /// Whether the records of a key keep their order.
    pub(crate) ordered: bool,
}

impl Settings {
    /// The settings of a scenario's `[load]` for this operation.
    pub(crate) fn new(load: &Load, seed: u64, api: &Api) -> Self {
        let in_flight = load.in_flight.max(1) as usize;
        let bytes = |size: millrace_scenarios::ByteSize| usize::try_from(size.bytes()).unwrap_or(usize::MAX);
        let entries = (load.batch_records as usize).clamp(1, api.most_entries());
        Self {
            in_flight,
            in_flight_per_shard: load.in_flight_per_shard.map_or((in_flight / 4).max(1), |calls| calls.max(1) as usize),
            limits: Limits { entries, bytes: bytes(load.batch_bytes).clamp(1, api.most_bytes()) },
            retry: RetryPolicy::new(load, seed),
            retry_window_bytes: bytes(load.retry_window),
            shed_after_us: load.shed_after.map(Span::as_us),
            signs: load.sign,
            retry_kind: load.retry,
            ordered: load.order == Order::Key,
        }
    }

    fn room(&self) -> Room {
        let calls = 2 * self.in_flight;
        Room {
            records: calls.saturating_mul(self.limits.entries).max(MIN_HELD_RECORDS),
            bytes: calls.saturating_mul(self.limits.bytes).min(MAX_HELD_BYTES),
        }
    }
}

/// What the producer writes into while it works.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) timeline: Arc<Timeline>,
    pub(crate) progress: Arc<LoadProgress>,
    pub(crate) recorders: Recorders,
}

/// A producer at work.
#[derive(Debug)]
pub(crate) struct Producer {
    desk: Arc<Desk>,
    open: watch::Receiver<usize>,
    connections: usize,
    produced: oneshot::Receiver<Result<Produced, LoadError>>,
    thread: JoinHandle<()>,
}

impl Producer {
    /// Opens the connections and starts the thread that reads answers.
    ///
    /// # Errors
    /// [`LoadError::Thread`] when it cannot be started.
    pub(crate) fn start(
        settings: Settings,
        api: Api,
        stream: StreamClient,
        shards: Arc<LiveShards>,
        clock: Clock,
        stop: watch::Receiver<bool>,
        books: Books,
    ) -> Result<Self, LoadError> {
        let failed = |source| LoadError::Thread { thread: "wire", source };
        let poll = mio::Poll::new().map_err(failed)?;
        let waker = mio::Waker::new(poll.registry(), courier::WAKER).map_err(failed)?;
        let route = Arc::clone(&stream.route);
        let Settings { in_flight, signs, ordered, .. } = settings;
        let desk = Arc::new(Desk::new(in_flight, settings.room(), waker, api, route, signs, ordered, clock));
        let (opened, open) = watch::channel(0);
        let (done, produced) = oneshot::channel();
        let courier = Courier::new(settings, stream, shards, Arc::clone(&desk), poll, opened, stop, books);
        let thread = thread::Builder::new()
            .name("millrace-wire".to_owned())
            .spawn(move || {
                // Nobody waits for the account of a load that was abandoned.
                let _ = done.send(courier.run());
            })
            .map_err(failed)?;
        Ok(Self { desk, open, connections: in_flight, produced, thread })
    }

    /// Where calls are handed over.
    pub(crate) fn desk(&self) -> Arc<Desk> {
        Arc::clone(&self.desk)
    }

    /// Waits until every connection is open, or the producer has ended. An endpoint that opens one and not all of them
    /// is waited for no longer than [`ALL_OPEN`]: the load then begins with those that there are.
    pub(crate) async fn opened(&mut self) {
        // An error means that the thread has ended; its account says why.
        let connections = self.connections;
        if self.open.wait_for(|open| *open > 0).await.is_ok() {
            let _ = timeout(ALL_OPEN, self.open.wait_for(|open| *open >= connections)).await;
        }
    }

    /// The account, once the desk is closed and every record is accepted or given up.
    ///
    /// # Errors
    /// [`LoadError`] when a latency could not be written down.
    pub(crate) async fn finished(&mut self) -> Result<Produced, LoadError> {
        (&mut self.produced).await.map_err(|_| LoadError::Stopped { part: "producer" })?
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        if !self.thread.is_finished() {
            self.desk.end();
            self.desk.close();
        }
    }
}

/// Returns when `stop` becomes true; never when nobody can stop any more.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests;

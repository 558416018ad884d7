//! A subscription of one consumer to one shard: records are pushed as they arrive, at the consumer's own rate.
//!
//! [`Pump`] decides what comes next at a given time and never waits, so all of it is tested on a clock that stands still;
//! [`Subscription::events`] waits on its behalf. One event is made when the connection asks for it: a client that reads
//! slowly holds back the pump and no memory.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{Stream, stream};
use serde_json::Value;
use tokio::sync::{Notify, watch};

use super::{
    account::Account,
    data_stream::DataStream,
    delivered::push_records,
    error::{ApiError, ErrorKind},
    meta::StreamStatus,
    operations::child_shards,
    quota::FanOutQuota,
    sequence::SequenceNumber,
    shard::{ReadBatch, Shard},
};

/// How long a subscription lasts (AWS: 5 minutes).
const LIFETIME_US: u64 = 300_000_000;
/// After so long without records an event without records is sent (seen on AWS: about 5 s).
const HEARTBEAT_US: u64 = 5_000_000;
/// A subscription of this age or more is taken over by the next; before, the next is refused (AWS: 5 s).
const TAKE_OVER_US: u64 = 5_000_000;
/// Bytes of records of an event at most: half a second's worth, so that the rate is even.
const EVENT_BYTES: usize = 1 << 20;
/// The longest real time between two looks at the injected clock.
const LONGEST_NAP: Duration = Duration::from_millis(250);

/// What the pump sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The first of every subscription, without it clients refuse the rest.
    InitialResponse,
    /// A `SubscribeToShardEvent` as JSON.
    Records(Vec<u8>),
    /// The end, and why.
    Exception(ApiError),
}

/// What the pump wants.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Send(Event),
    /// Nothing before this time unless the shard changes.
    WaitUntil(u64),
    End,
}

/// A consumer's open subscription to a shard, as the next one finds it.
#[derive(Debug)]
struct Seat {
    opened_us: u64,
    taken_over: AtomicBool,
    changed: Notify,
}

/// All open subscriptions of an account, by consumer ARN and shard.
#[derive(Debug, Default)]
pub(crate) struct Seats(Mutex<HashMap<(String, u32), Arc<Seat>>>);

impl Seats {
    /// Takes the seat of a consumer on a shard. One that was taken less than five seconds ago is in use; an older one
    /// is taken over.
    fn take(&self, consumer_arn: &str, shard: u32, now_us: u64) -> Option<Arc<Seat>> {
        let mut seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let young = |seat: &Seat| now_us < seat.opened_us.saturating_add(TAKE_OVER_US);
        seats.retain(|_, seat| young(seat) || Arc::strong_count(seat) > 1);
        let key = (consumer_arn.to_owned(), shard);
        if let Some(seat) = seats.get(&key) {
            if young(seat) {
                return None;
            }
            seat.taken_over.store(true, Ordering::Release);
            seat.changed.notify_waiters();
        }
        let seat = Arc::new(Seat { opened_us: now_us, taken_over: AtomicBool::new(false), changed: Notify::new() });
        seats.insert(key, Arc::clone(&seat));
        Some(seat)
    }
}

/// Decides what a subscription sends.
#[derive(Debug)]
pub(crate) struct Pump {
    account: Arc<Account>,
    stream: Arc<DataStream>,
    shard: Arc<Shard>,
    consumer: String,
    seat: Arc<Seat>,
    position: u64,
    /// Where to subscribe again, after this number.
    continuation: SequenceNumber,
    pace: FanOutQuota,
    last_sent_us: Option<u64>,
    ended: bool,
    /// Tells that the shard has changed since it was last read.
    changes: watch::Receiver<()>,
}

impl Pump {
    /// Takes the consumer's seat on the shard and starts at a position.
    ///
    /// # Errors
    /// `ResourceInUseException` when the seat was taken less than five seconds ago.
    pub(crate) fn open(
        account: &Arc<Account>,
        stream: Arc<DataStream>,
        shard: Arc<Shard>,
        (consumer, consumer_arn): (&str, &str),
        position: u64,
    ) -> Result<Self, ApiError> {
        let now_us = account.clock.now_us();
        let seat = account.seats.take(consumer_arn, shard.number, now_us).ok_or_else(|| {
            let text =
                format!("Another active subscription exists for this consumer: {consumer_arn} and shard: {}", shard.id);
            ApiError::new(ErrorKind::ResourceInUse, text)
        })?;
        // The number before the position: AFTER it comes the first record that was not sent.
        let continuation = shard.sequence(position.saturating_sub(1), now_us);
        let changes = shard.watch();
        Ok(Self {
            account: Arc::clone(account),
            stream,
            shard,
            consumer: consumer.to_owned(),
            seat,
            position,
            continuation,
            pace: FanOutQuota::default(),
            last_sent_us: None,
            ended: false,
            changes,
        })
    }

    /// What to do at this time.
    pub(crate) fn step(&mut self, now_us: u64) -> Step {
        if self.ended {
            return Step::End;
        }
        let Some(last_sent_us) = self.last_sent_us else {
            return self.send(now_us, Event::InitialResponse);
        };
        if let Some(error) = self.broken(now_us) {
            self.ended = true;
            return Step::Send(Event::Exception(error));
        }
        let over_us = self.seat.opened_us.saturating_add(LIFETIME_US);
        if now_us >= over_us {
            self.ended = true;
            return Step::End;
        }
        let heartbeat_us = last_sent_us.saturating_add(HEARTBEAT_US);
        let wait = Step::WaitUntil(heartbeat_us.min(over_us).min(self.pace.free_us().max(now_us + 1)));
        if now_us < self.pace.free_us() {
            return wait;
        }
        // What changes from here on wakes the wait that follows.
        self.changes.mark_unchanged();
        let batch = self.shard.read_fan_out(now_us, self.position, EVENT_BYTES);
        if batch.len() > 0 || batch.ended {
            let event = self.event(&batch);
            self.advance(now_us, &batch);
            return self.send(now_us, event);
        }
        if now_us >= heartbeat_us {
            let event = self.event(&batch);
            return self.send(now_us, event);
        }
        Step::WaitUntil(heartbeat_us.min(over_us))
    }

    /// Why the subscription cannot go on.
    fn broken(&self, now_us: u64) -> Option<ApiError> {
        if self.seat.taken_over.load(Ordering::Acquire) {
            let text =
                format!("Another subscription of the consumer {} to {} took over.", self.consumer, self.shard.id);
            return Some(ApiError::new(ErrorKind::ResourceInUse, text));
        }
        let meta = self.stream.meta();
        if matches!(meta.status(now_us), None | Some(StreamStatus::Deleting)) {
            return Some(ApiError::not_found(format!("Stream {} is being deleted.", meta.name)));
        }
        let registered = meta.consumers.get(&self.consumer).and_then(|consumer| consumer.status(now_us));
        match registered {
            Some(StreamStatus::Active) => None,
            _ => Some(ApiError::not_found(format!("Consumer {} is being deregistered.", self.consumer))),
        }
    }

    fn send(&mut self, now_us: u64, event: Event) -> Step {
        self.last_sent_us = Some(now_us);
        Step::Send(event)
    }

    fn advance(&mut self, now_us: u64, batch: &ReadBatch) {
        self.pace.charge(now_us, batch.size());
        self.position = batch.next;
        self.ended = batch.ended;
    }

    /// The event of a batch. At the end of a shard it names the children and no number to continue after.
    fn event(&mut self, batch: &ReadBatch) -> Event {
        if let Some(last) = batch.slices.last() {
            self.continuation = self.shard.sequence(batch.next - 1, last.arrival_us());
        }
        let mut out = Vec::new();
        out.extend_from_slice(b"{\"Records\":");
        let encryption = self.stream.meta().encryption.clone();
        push_records(&mut out, &self.shard, batch, &encryption);
        out.extend_from_slice(format!(",\"MillisBehindLatest\":{}", batch.millis_behind).as_bytes());
        let last = if batch.ended {
            format!(",\"ChildShards\":{}}}", Value::from(child_shards(&self.stream.topology(), self.shard.number)))
        } else {
            format!(",\"ContinuationSequenceNumber\":\"{}\"}}", self.continuation)
        };
        out.extend_from_slice(last.as_bytes());
        Event::Records(out)
    }

    /// Waits until the shard or the seat changes, or until the time; not longer than a short nap, because the clock that
    /// counts is the injected one.
    async fn wait_until(&mut self, until_us: u64) {
        let now_us = self.account.clock.now_us();
        let nap = Duration::from_micros(until_us.saturating_sub(now_us)).min(LONGEST_NAP);
        let seat = Arc::clone(&self.seat);
        let mut seat_changed = pin!(seat.changed.notified());
        seat_changed.as_mut().enable();
        // A take-over between the look and the wait is not waited for.
        if seat.taken_over.load(Ordering::Acquire) {
            return;
        }
        // Who may not be sent anything yet need not know that there is more.
        let paced = now_us < self.pace.free_us();
        tokio::select! {
            _ = self.changes.changed(), if !paced => {}
            () = seat_changed => {}
            () = tokio::time::sleep(nap) => {}
        }
    }
}

/// An answer that goes on.
#[derive(Debug)]
pub(crate) struct Subscription(pub(crate) Pump);

impl Subscription {
    /// The events, each made when it is asked for.
    pub(crate) fn events(self) -> impl Stream<Item = Event> + Send {
        stream::unfold(self.0, |mut pump| async move {
            loop {
                match pump.step(pump.account.clock.now_us()) {
                    Step::Send(event) => return Some((event, pump)),
                    Step::WaitUntil(until_us) => pump.wait_until(until_us).await,
                    Step::End => return None,
                }
            }
        })
    }
}

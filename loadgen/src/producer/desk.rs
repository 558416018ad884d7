//! Where the thread that paces and the thread that reads answers meet: free connections, and calls that wait for one.
//!
//! What is held (waiting, under way, pausing) is bounded in records and bytes. At the bound the pacing thread waits: due
//! times do not move for that, it shows as lag. Nothing is dropped.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use mio::Waker;

use super::{
    api::Api,
    call::{Call, NewEntry, Parcel},
    key_order::{KeyId, KeyOrder},
};
use crate::{
    clock::Clock,
    wire::{connection::Connection, route::Route, sign},
};

/// Empty calls kept for another use, for each connection.
const SPARE: usize = 2;
/// How often a wait for room looks whether it should stop.
const LOOK: Duration = Duration::from_millis(20);

/// How much may be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

/// What became of a hand-over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandedOver {
    /// It is on its way, or next.
    Taken,
    /// The load is over; the call was not taken.
    Over,
}

/// A call that waits for a free connection.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) call: Box<Call>,
    /// Whether no connection was free when it was ready.
    pub(crate) waited: bool,
}

/// What both threads see.
#[derive(Debug, Default)]
pub(crate) struct DeskState {
    /// Free connections.
    pub(crate) idle: Vec<usize>,
    /// New calls that wait, oldest first.
    pub(crate) ready: VecDeque<Waiting>,
    held_records: usize,
    held_bytes: usize,
    /// Records that were due too long ago to be sent, not yet counted.
    pub(crate) shed: u64,
    /// No new call will come.
    pub(crate) closed: bool,
    /// The wire has ended; nothing is taken any more.
    pub(crate) ended: bool,
    #[expect(clippy::vec_box, reason = "calls are handed from thread to thread, and are large")]
    spare: Vec<Box<Call>>,
}

/// The desk.
#[derive(Debug)]
pub(crate) struct Desk {
    state: Mutex<DeskState>,
    room: Condvar,
    most: Room,
    pub(crate) connections: Box<[Mutex<Connection>]>,
    under_way: AtomicU64,
    over: AtomicBool,
    pub(crate) waker: Waker,
    pub(crate) api: Api,
    pub(crate) route: Arc<Route>,
    signs: bool,
    /// What waits for an earlier record of its key; absent when keys need no order.
    order: Option<Mutex<KeyOrder>>,
    pub(crate) clock: Clock,
}

impl Desk {
    /// A desk for this many connections.
    #[expect(clippy::too_many_arguments, reason = "each is one thing the desk is made of")]
    pub(crate) fn new(
        connections: usize,
        most: Room,
        waker: Waker,
        api: Api,
        route: Arc<Route>,
        signs: bool,
        ordered: bool,
        clock: Clock,
    ) -> Self {
        Self {
            state: Mutex::default(),
            room: Condvar::new(),
            most,
            connections: (0..connections).map(|_| Mutex::default()).collect(),
            under_way: AtomicU64::new(0),
            over: AtomicBool::new(false),
            waker,
            api,
            route,
            signs,
            order: ordered.then(Mutex::default),
            clock,
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, DeskState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn connection(&self, at: usize) -> MutexGuard<'_, Connection> {
        self.connections[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self) -> Option<MutexGuard<'_, KeyOrder>> {
        self.order.as_ref().map(|order| order.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts a record into a call; or behind an earlier one of its key, where order matters. Returns whether it waits.
    pub(crate) fn place(&self, call: &mut Call, entry: NewEntry<'_>) -> bool {
        let Some(mut order) = self.order() else {
            call.push(&self.api, entry);
            return false;
        };
        let key = KeyId::of(entry.key);
        if order.take(key) {
            call.push_ordered(&self.api, entry, Some(key));
            return false;
        }
        let mut state = self.state();
        state.held_records += entry.records.len();
        state.held_bytes += entry.size();
        order.wait(key, Parcel::new(&self.api, entry, key));
        true
    }

    /// The record that waits behind one that is accepted or given up.
    pub(crate) fn follower(&self, key: Option<KeyId>) -> Option<Parcel> {
        let parcel = self.order()?.next(key?)?;
        self.release(parcel.records.len(), parcel.bytes as usize);
        Some(parcel)
    }

    /// Everything that waits behind another record.
    pub(crate) fn followers(&self) -> Vec<Parcel> {
        let parcels = self.order().map(|mut order| order.drain()).unwrap_or_default();
        for parcel in &parcels {
            self.release(parcel.records.len(), parcel.bytes as usize);
        }
        parcels
    }

    /// Calls under way.
    pub(crate) fn calls_under_way(&self) -> u64 {
        self.under_way.load(Relaxed)
    }

    /// Wakes the wire.
    pub(crate) fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::warn!(%error, "the wire could not be woken; it looks by itself in a moment");
        }
    }

    /// An empty call.
    pub(crate) fn empty_call(&self) -> Box<Call> {
        let spare = self.state().spare.pop();
        let mut call = spare.unwrap_or_else(|| Box::new(Call::new()));
        call.hashes = self.signs;
        call
    }

    /// Makes everything of a request that can be made before it is due.
    pub(crate) fn prepare(&self, call: &mut Call) {
        if call.head().is_empty() {
            call.seal(&self.api);
            let sha256 = if self.signs { call.body_sha256() } else { String::new() };
            let credentials = self.signs.then(|| self.route.credentials());
            let (bytes, operation) = (call.body().len(), (self.api.target(), self.api.content_type()));
            let (now_us, credentials) = (self.clock.now_us(), credentials.as_deref());
            if let Err(error) = sign::head(&self.route, operation, bytes, &sha256, credentials, now_us, call.head_mut())
            {
                // Sent as far as it came, the endpoint's refusal says the rest.
                tracing::error!(%error, "a call goes out without a signature");
            }
        }
    }

    /// Waits until there is room for another call, or `stop` says so, or the wire has ended.
    pub(crate) fn wait_for_room(&self, stop: impl Fn() -> bool) -> HandedOver {
        let mut state = self.state();
        while !state.ended && (state.held_records >= self.most.records || state.held_bytes >= self.most.bytes) {
            if stop() {
                return HandedOver::Over;
            }
            state = self.room.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.ended { HandedOver::Over } else { HandedOver::Taken }
    }

    /// Hands a new call over: on a free connection it leaves at once, in this thread.
    pub(crate) fn send(&self, mut call: Box<Call>) -> HandedOver {
        self.prepare(&mut call);
        let mut state = self.state();
        if state.ended {
            return HandedOver::Over;
        }
        state.held_records += call.records().len();
        state.held_bytes += call.bytes();
        match state.idle.pop() {
            Some(at) => {
                drop(state);
                self.start(at, call);
            }
            None => state.ready.push_back(Waiting { call, waited: true }),
        }
        HandedOver::Taken
    }

    /// Starts a call on a connection that is not in the list of free ones.
    pub(crate) fn start(&self, at: usize, call: Box<Call>) {
        self.under_way.fetch_add(1, Relaxed);
        if self.connection(at).start(call, self.clock).is_err() {
            // Only the wire settles what has failed; it finds it by looking at every connection.
            self.wake();
        }
    }

    /// Notes that a call is over.
    pub(crate) fn call_ended(&self) {
        self.under_way.fetch_sub(1, Relaxed);
    }

    /// Records are no longer held.
    pub(crate) fn release(&self, records: usize, bytes: usize) {
        if records > 0 || bytes > 0 {
            let mut state = self.state();
            state.held_records = state.held_records.saturating_sub(records);
            state.held_bytes = state.held_bytes.saturating_sub(bytes);
            drop(state);
            self.room.notify_one();
        }
    }

    /// Takes an empty call back.
    pub(crate) fn recycle(&self, mut call: Box<Call>) {
        call.clear();
        let mut state = self.state();
        if state.spare.len() < SPARE * self.connections.len() {
            state.spare.push(call);
        }
    }

    /// Counts records that were due too long ago to be sent.
    pub(crate) fn shed(&self, records: u64) {
        self.state().shed += records;
    }

    /// Whether nothing is taken any more.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    /// Says that no new call will come.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.wake();
    }

    /// Says that nothing is taken any more.
    pub(crate) fn end(&self) {
        self.over.store(true, Relaxed);
        self.state().ended = true;
        self.room.notify_all();
    }
}

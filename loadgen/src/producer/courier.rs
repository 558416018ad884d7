//! The courier: reads answers, counts what became of each record, and sends again what was refused.
//!
//! One thread owns the account. It sleeps in one place, until a socket speaks, a pause ends or something is handed in.
//! Answers are taken from every socket first, with the time they came; only then are they read and counted, so that no
//! acknowledgement is timed late because another one was being read.

mod settle;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use mio::{Events, Poll, Token};
use tokio::sync::watch;

use super::{
    Books, Produced, Settings,
    call::{Call, Delivered, Entry, RecordMeta},
    desk::{Desk, Waiting},
    lanes::Lanes,
    tally::Tally,
};
use crate::{
    client::{CALL_TIMEOUT, CONNECT_TIMEOUT, StreamClient},
    clock::Clock,
    error::LoadError,
    live_shards::LiveShards,
    progress::LoadProgress,
    timeline::Timeline,
    wire::connection::Happened,
};

/// The token of the desk's bell; connections have their place as theirs.
pub(super) const WAKER: Token = Token(usize::MAX);
/// Longest sleep: how often waits, time-outs and the wish to stop are looked at.
const LONGEST_SLEEP_US: u64 = 50_000;
/// First pause before a connection that could not be opened is tried again; doubles up to the longest.
const REOPEN_PAUSE_US: u64 = 20_000;
const LONGEST_REOPEN_PAUSE_US: u64 = 1_000_000;
/// The cause of records that could not be kept for another attempt.
const WINDOW_FULL: &str = "retry window full";
/// The cause of records that were too late to be sent.
const SHED: &str = "shed";

/// Why records that were never sent are given up.
const NO_CONNECTION: &str = "connection";
const NO_FREE_CALL: &str = "no free call";

pub(super) struct Courier {
    settings: Settings,
    stream: StreamClient,
    shards: Arc<LiveShards>,
    desk: Arc<Desk>,
    clock: Clock,
    poll: Poll,
    tally: Tally,
    timeline: Arc<Timeline>,
    progress: Arc<LoadProgress>,
    lanes: Lanes,
    opened: watch::Sender<usize>,
    stop: watch::Receiver<bool>,
    stopping: bool,
    addresses: Vec<SocketAddr>,
    next_address: usize,
    open_connections: usize,
    /// When no connection was open for the last time.
    down_until_us: u64,
    /// When each connection that is down is opened again.
    reopen_us: Vec<u64>,
    reopen_pause_us: u64,
    looked_us: u64,
    /// When the endpoint last gave an answer of any kind; at first, when the load began.
    answered_us: u64,
    ever_answered: bool,
    failure: Option<LoadError>,
}

impl Courier {
    #[expect(clippy::too_many_arguments, reason = "each is one thing the courier needs once")]
    pub(super) fn new(
        settings: Settings,
        stream: StreamClient,
        shards: Arc<LiveShards>,
        desk: Arc<Desk>,
        poll: Poll,
        opened: watch::Sender<usize>,
        stop: watch::Receiver<bool>,
        books: Books,
    ) -> Self {
        let clock = desk.clock;
        let connections = desk.connections.len();
        Self {
            lanes: Lanes::new(settings.in_flight_per_shard, settings.retry_window_bytes),
            settings,
            stream,
            tally: Tally::new(books.recorders, Arc::clone(&shards)),
            shards,
            desk,
            clock,
            poll,
            timeline: books.timeline,
            progress: books.progress,
            opened,
            stop,
            stopping: false,
            addresses: Vec::new(),
            next_address: 0,
            open_connections: 0,
            down_until_us: 0,
            reopen_us: vec![0; connections],
            reopen_pause_us: REOPEN_PAUSE_US,
            looked_us: 0,
            answered_us: clock.now_us(),
            ever_answered: false,
            failure: None,
        }
    }

    /// Works until the desk is closed and each record is accepted or given up.
    pub(super) fn run(mut self) -> Result<Produced, LoadError> {
        let mut events = Events::with_capacity(256);
        loop {
            self.look_around();
            if self.is_done() {
                break;
            }
            if let Err(error) = self.poll.poll(&mut events, Some(self.sleep()))
                && error.kind() != io::ErrorKind::Interrupted
            {
                self.over(LoadError::Thread { thread: "wire", source: error });
            }
            let mut delivered = Vec::new();
            for event in &events {
                if event.token() == WAKER {
                    self.proceed_failed(&mut delivered);
                } else {
                    self.proceed(event.token().0, &mut delivered);
                }
            }
            self.dispatch();
            for delivered in delivered {
                self.settle(delivered);
            }
        }
        self.desk.end();
        if self.failure.is_none() && !self.ever_answered && self.tally.sent() > 0 {
            self.failure = Some(self.unreachable("no call was answered".to_owned()));
        }
        self.tally.finish(self.failure)
    }

    /// How long nothing has to be done but what sockets ask for.
    fn sleep(&self) -> Duration {
        let now_us = self.clock.now_us();
        let wake_us = self.lanes.next_us().unwrap_or(u64::MAX).min(now_us + LONGEST_SLEEP_US);
        // Whole milliseconds are what the poll can wait; rounding up wakes it once and not twice.
        Duration::from_millis(wake_us.saturating_sub(now_us).div_ceil(1_000))
    }

    fn is_done(&self) -> bool {
        let state = self.desk.state();
        state.closed && state.ready.is_empty() && self.desk.calls_under_way() == 0 && self.lanes.is_empty()
            || self.failure.is_some() && self.desk.calls_under_way() == 0
    }

    /// Everything that time brings: the wish to stop, retries, time-outs, connections to open.
    fn look_around(&mut self) {
        let now_us = self.clock.now_us();
        if !self.stopping && *self.stop.borrow() {
            self.stopping = true;
            self.wake_lanes(u64::MAX);
        }
        if self.lanes.next_us().is_some_and(|next_us| next_us <= now_us) {
            self.wake_lanes(now_us);
        }
        if now_us.saturating_sub(self.looked_us) >= LONGEST_SLEEP_US / 2 {
            self.looked_us = now_us;
            self.time_out(now_us);
            self.expire(now_us);
            self.open_connections(now_us);
        }
        self.count_shed();
        self.dispatch();
    }

    fn wake_lanes(&mut self, until_us: u64) {
        let desk = Arc::clone(&self.desk);
        self.lanes.wake(until_us, &desk.api, self.settings.limits, || desk.empty_call());
    }

    /// Opens every connection that is down and whose pause is over.
    fn open_connections(&mut self, now_us: u64) {
        let down: Vec<usize> = (0..self.reopen_us.len())
            .filter(|at| self.reopen_us[*at] <= now_us && self.desk.connection(*at).is_down())
            .collect();
        if down.is_empty() {
            return;
        }
        if self.addresses.is_empty() {
            match self.desk.route.addresses() {
                Ok(addresses) if !addresses.is_empty() => self.addresses = addresses,
                Ok(_) => return self.could_not_open(&down, "the name stands for no address".to_owned(), now_us),
                Err(error) => return self.could_not_open(&down, error.to_string(), now_us),
            }
        }
        for at in down {
            let address = self.addresses[self.next_address % self.addresses.len()];
            self.next_address += 1;
            let opening =
                self.desk.connection(at).open(&self.desk.route, address, self.poll.registry(), Token(at), now_us);
            if let Err(why) = opening {
                self.could_not_open(&[at], why, now_us);
            }
        }
    }

    fn could_not_open(&mut self, connections: &[usize], why: String, now_us: u64) {
        for at in connections {
            self.reopen_us[*at] = now_us + self.reopen_pause_us;
        }
        self.reopen_pause_us = (2 * self.reopen_pause_us).min(LONGEST_REOPEN_PAUSE_US);
        // The name may stand for other addresses by now.
        self.addresses.clear();
        self.no_answer(why, now_us);
    }

    /// An attempt to reach the endpoint failed. When nothing else is heard of it for a record's deadline, it is over.
    fn no_answer(&mut self, detail: String, now_us: u64) {
        let waits = self.tally.sent() > 0 || !self.desk.state().ready.is_empty();
        if waits && now_us.saturating_sub(self.answered_us) >= self.settings.retry.deadline_us {
            self.over(self.unreachable(detail));
        }
    }

    /// Lets a connection go on.
    fn proceed(&mut self, at: usize, delivered: &mut Vec<Delivered>) {
        let Some(connection) = self.desk.connections.get(at) else { return };
        let happened = connection.lock().unwrap_or_else(std::sync::PoisonError::into_inner).proceed(self.clock);
        self.note(at, happened, delivered);
    }

    /// Lets those go on whose call failed at its start, in another thread.
    fn proceed_failed(&mut self, delivered: &mut Vec<Delivered>) {
        for at in 0..self.desk.connections.len() {
            if self.desk.connection(at).has_failed() {
                self.proceed(at, delivered);
            }
        }
    }

    fn note(&mut self, at: usize, happened: Happened, delivered: &mut Vec<Delivered>) {
        match happened {
            Happened::Nothing => {}
            Happened::Opened => {
                if self.open_connections == 0 {
                    self.down_until_us = self.clock.now_us();
                }
                self.open_connections += 1;
                self.reopen_pause_us = REOPEN_PAUSE_US;
                self.desk.state().idle.push(at);
                self.opened.send_replace(self.open_connections);
            }
            Happened::Lost(why) => {
                let was_idle = {
                    let mut state = self.desk.state();
                    let before = state.idle.len();
                    state.idle.retain(|idle| *idle != at);
                    state.idle.len() < before
                };
                if was_idle {
                    self.open_connections = self.open_connections.saturating_sub(1);
                    self.looked_us = 0;
                } else {
                    self.could_not_open(&[at], why, self.clock.now_us());
                }
            }
            Happened::Delivered { delivered: done, open } => {
                self.desk.call_ended();
                self.lanes.call_ended(done.call.lane);
                if open {
                    self.desk.state().idle.push(at);
                } else {
                    self.open_connections = self.open_connections.saturating_sub(1);
                    self.looked_us = 0;
                }
                delivered.push(*done);
            }
        }
    }

    /// Starts calls on free connections: what has waited longest first, new or sent again.
    fn dispatch(&mut self) {
        loop {
            let (at, waiting) = {
                let mut state = self.desk.state();
                let Some(at) = state.idle.last().copied() else { break };
                let new_us = state.ready.front().map(|waiting| waiting.call.ready_us);
                let again_us = self.lanes.oldest_us();
                let waiting = match (new_us, again_us) {
                    (None, None) => break,
                    (Some(new_us), again_us) if again_us.is_none_or(|again_us| new_us <= again_us) => {
                        state.ready.pop_front()
                    }
                    _ => self.lanes.take_oldest().map(|call| Waiting { call, waited: false }),
                };
                state.idle.pop();
                (at, waiting)
            };
            let Some(Waiting { mut call, waited }) = waiting else { break };
            let now_us = self.clock.now_us();
            if waited && call.ready_us > self.down_until_us {
                self.tally.waited(now_us.saturating_sub(call.ready_us));
            }
            if call.lane.is_none() {
                self.shed(&mut call, now_us);
            }
            if call.is_empty() {
                self.desk.recycle(call);
                self.desk.state().idle.push(at);
                continue;
            }
            self.desk.prepare(&mut call);
            self.desk.start(at, call);
        }
        let under_way = self.desk.calls_under_way();
        self.progress.set_in_flight(under_way);
    }

    /// Takes the records out of a call that are too late to be sent.
    fn shed(&mut self, call: &mut Call, now_us: u64) {
        let Some(shed_after_us) = self.settings.shed_after_us else { return };
        let (before, bytes) = (call.records().len(), call.bytes());
        let in_time = |records: &[RecordMeta]| {
            records.first().is_some_and(|record| record.due_us.saturating_add(shed_after_us) >= now_us)
        };
        call.retain(&self.desk.api, in_time, |_| {});
        let shed = before - call.records().len();
        if shed > 0 {
            self.tally.given_up(None, SHED, shed as u64);
            self.progress.add_answered(0, 0, shed as u64);
            self.desk.release(shed, bytes - call.bytes());
        }
    }

    /// Counts what the pacing thread has shed.
    fn count_shed(&mut self) {
        let shed = std::mem::take(&mut self.desk.state().shed);
        if shed > 0 {
            self.tally.given_up(None, SHED, shed);
            self.progress.add_answered(0, 0, shed);
        }
    }

    /// Gives up calls that took too long, and openings.
    fn time_out(&mut self, now_us: u64) {
        let us = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let mut delivered = Vec::new();
        for at in 0..self.desk.connections.len() {
            let mut connection = self.desk.connection(at);
            let limit_us = if connection.is_opening() { us(CONNECT_TIMEOUT) } else { us(CALL_TIMEOUT) };
            if connection.waits_since_before(now_us.saturating_sub(limit_us)) {
                let happened = connection.give_up("no answer in time".to_owned(), true, self.clock);
                drop(connection);
                self.note(at, happened, &mut delivered);
            }
        }
        for delivered in delivered {
            self.settle(delivered);
        }
    }

    /// Gives up what waited for a connection until its deadline.
    fn expire(&mut self, now_us: u64) {
        let deadline_us = self.settings.retry.deadline_us;
        let over = |call: &Call| call.records().iter().all(|record| record.due_us.saturating_add(deadline_us) < now_us);
        let mut late = self.lanes.take_calls(over);
        {
            let mut state = self.desk.state();
            while state.ready.front().is_some_and(|waiting| over(&waiting.call)) {
                late.extend(state.ready.pop_front().map(|waiting| waiting.call));
            }
        }
        let cause = if self.open_connections == 0 { NO_CONNECTION } else { NO_FREE_CALL };
        for call in late {
            self.give_up_call(call, cause);
        }
    }

    fn give_up_call(&mut self, call: Box<Call>, cause: &str) {
        let records = call.records().len();
        self.give_up(None, cause, call.records());
        for entry in call.entries() {
            self.follow(entry);
        }
        if call.lane.is_none() {
            self.desk.release(records, call.bytes());
        }
        self.desk.recycle(call);
    }

    /// Counts records that are not tried again. One that was taken before, when its call was sent again as a whole, is
    /// not lost for that.
    fn give_up(&mut self, shard: Option<&Arc<str>>, cause: &str, records: &[RecordMeta]) {
        let lost = self.tally.not_accepted(records);
        self.tally.given_up(shard, cause, lost);
        self.progress.add_answered(0, 0, lost);
    }

    /// Lets the record go that waited for this one.
    fn follow(&mut self, entry: &Entry) {
        let mut key = entry.key;
        while let Some(parcel) = self.desk.follower(key) {
            let now_us = self.clock.now_us();
            let cause = match self.failure {
                Some(_) => NO_CONNECTION,
                None => WINDOW_FULL,
            };
            match if self.failure.is_some() { Err(parcel) } else { self.lanes.push(None, now_us, parcel) } {
                Ok(()) => return,
                Err(parcel) => {
                    self.give_up(None, cause, &parcel.records);
                    key = parcel.key;
                }
            }
        }
    }

    /// Ends the load for this reason: what is held is given up, what is under way is waited for no longer.
    fn over(&mut self, why: LoadError) {
        if self.failure.is_some() {
            return;
        }
        let cause = why.cause();
        self.failure = Some(why);
        self.stopping = true;
        self.desk.end();
        let waiting: Vec<_> = self.desk.state().ready.drain(..).map(|waiting| waiting.call).collect();
        self.wake_lanes(u64::MAX);
        for call in waiting.into_iter().chain(self.lanes.take_calls(|_| true)) {
            self.give_up_call(call, cause);
        }
        for parcel in self.desk.followers() {
            self.give_up(None, cause, &parcel.records);
        }
        for at in 0..self.desk.connections.len() {
            let mut delivered = Vec::new();
            let happened = self.desk.connection(at).give_up(cause.to_owned(), false, self.clock);
            self.note(at, happened, &mut delivered);
            for delivered in delivered {
                self.settle(delivered);
            }
        }
    }
}

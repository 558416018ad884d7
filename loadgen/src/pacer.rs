//! The pacer: a thread of its own that sends each call when it is due, and not a moment for the target's sake.
//!
//! Which records share a call follows from the schedule: a call is opened by a record, takes those that are due within
//! its linger time, and is due when that is over or when it is full. So a call is made, encoded and signed before it is
//! due, and at its due time only the write is left, in this thread. When the producer takes no more, the hand-over waits:
//! records then go late, their due times stand, and the lag says so. What has become overdue meanwhile shares calls.

use std::{io, sync::Arc, thread};

use millrace_reports::{record::TraceRecord, window::MeasuredWindow};
use tokio::{
    runtime::Handle,
    sync::{oneshot, watch},
};

use crate::{
    clock::{Clock, sharpen_timers},
    error::LoadError,
    fingerprint::{Fingerprint, RecordPrint},
    key_counter::KeyCounter,
    keys::KeyPlan,
    producer::{
        call::{Call, Limits, NewEntry, RecordMeta},
        desk::{Desk, HandedOver},
        packer::Packer,
    },
    progress::LoadProgress,
    slice::Slice,
    stamp::Stamper,
    timeline::Timeline,
    timetable::{Cue, Feed, Timetable},
    window::WindowCount,
};

/// Longest sleep before the thread looks whether it should stop.
const LONGEST_SLEEP_US: u64 = 50_000;
/// What must be left over, beside twice the time that composing took, to compose a call before another is due.
const SPARE_US: u64 = 50;

/// Everything a pacer needs.
pub(crate) struct Pacer {
    pub(crate) feed: Feed,
    pub(crate) timetable: Timetable,
    /// Which of the timetable's records are handed over.
    pub(crate) slice: Slice,
    pub(crate) keys: KeyPlan,
    pub(crate) stamper: Stamper,
    pub(crate) limits: Limits,
    /// Packs small records together; absent when each goes on its own.
    pub(crate) packer: Option<Packer>,
    pub(crate) linger_us: u64,
    /// Records that would go later than this after they were due do not go.
    pub(crate) shed_after_us: Option<u64>,
    /// How long before a call is due the thread stops sleeping and looks at the clock only.
    pub(crate) spin_us: u64,
    pub(crate) clock: Clock,
    /// The wall time of offset 0.
    pub(crate) first_due_us: u64,
    /// How long after the schedule's end a hand-over still counts as offered in time.
    pub(crate) grace_us: u64,
    pub(crate) window: MeasuredWindow,
    pub(crate) desk: Arc<Desk>,
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) timeline: Arc<Timeline>,
    pub(crate) progress: Arc<LoadProgress>,
}

/// What the pacer did.
#[derive(Debug)]
pub(crate) struct Paced {
    /// Records due while the load lasted.
    pub(crate) due: u64,
    /// Of those, not handed over: the load ended before.
    pub(crate) not_sent: u64,
    /// Records handed over by the end of the schedule and its grace.
    pub(crate) offered_in_time: u64,
    /// The same over the measured window.
    pub(crate) window: WindowCount,
    /// Bytes of data and keys in the records that were made, which are all that were due unless the load was stopped.
    pub(crate) due_bytes: u64,
    /// How much of a trace could not be kept as it was; absent where there is none.
    pub(crate) trace: Option<TraceRecord>,
    /// Length of the schedule, cut where the source ended or the load was stopped.
    pub(crate) schedule_us: u64,
    /// Rows the source kept out.
    pub(crate) rejected_rows: u64,
    /// The fingerprint of the records.
    pub(crate) fingerprint: Fingerprint,
    /// Whether the load was stopped before its end.
    pub(crate) interrupted: bool,
    /// The hottest keys of all records made.
    pub(crate) keys: KeyCounter,
    /// Why it ended early; absent when it did not, or was told to.
    pub(crate) failure: Option<LoadError>,
}

/// Why pacing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Schedule,
    Source,
    Stopped,
}

/// A record that is made and waits for its place in a call.
#[derive(Debug, Default)]
struct Made {
    meta: RecordMeta,
    data: Vec<u8>,
    key: String,
    explicit_hash: Option<u128>,
}

impl Made {
    fn entry(&self) -> NewEntry<'_> {
        let records = std::slice::from_ref(&self.meta);
        NewEntry { data: &self.data, key: &self.key, explicit_hash: self.explicit_hash, records }
    }
}

/// What one pacer goes through, record by record.
struct Course {
    next_sequence: u64,
    /// Size of the record made last.
    last_bytes: u64,
    /// Of all records made.
    bytes: u64,
    /// The next record, when it is made.
    next: Option<Made>,
    /// Why there is no next record.
    end: Option<End>,
    last_due_us: u64,
    fingerprint: Fingerprint,
    keys: KeyCounter,
    offered: u64,
    in_time: u64,
    window: WindowCount,
    /// Records that were due and that nobody took.
    not_taken: u64,
    /// How long the last call took to compose.
    composing_us: u64,
}

/// A call that is made, and what was kept out of it.
struct Composed {
    call: Box<Call>,
    /// When it is due.
    send_us: u64,
    /// Records that were too late for it.
    shed: u64,
    /// Records that wait for an earlier one of their key, not yet counted as offered.
    behind: u64,
    /// Why the source gave no more; what it gave before is still sent.
    failure: Option<LoadError>,
}

impl Pacer {
    /// Starts the thread. The receiver gets its account when it ends.
    pub(crate) fn spawn(self) -> io::Result<oneshot::Receiver<Paced>> {
        let (done, account) = oneshot::channel();
        // A source may want to run asynchronous work; it finds the runtime through the thread's context.
        let runtime = Handle::try_current().ok();
        thread::Builder::new().name("millrace-pacer".to_owned()).spawn(move || {
            let _context = runtime.as_ref().map(Handle::enter);
            sharpen_timers();
            let desk = Arc::clone(&self.desk);
            let paced = self.run();
            desk.close();
            // Nobody waits for the account of a load that was abandoned.
            let _ = done.send(paced);
        })?;
        Ok(account)
    }

    fn run(mut self) -> Paced {
        let mut course = Course {
            next_sequence: 0,
            last_bytes: 0,
            bytes: 0,
            next: None,
            end: None,
            last_due_us: 0,
            fingerprint: Fingerprint::default(),
            keys: KeyCounter::default(),
            offered: 0,
            in_time: 0,
            window: WindowCount::new(self.window, self.first_due_us.saturating_add(self.total_us()), self.grace_us),
            not_taken: 0,
            composing_us: 0,
        };
        let ended = self.pace(&mut course);
        let finished = self.feed.finish().map_err(LoadError::from);
        let failure = ended.and(finished).err();
        if failure.is_some() {
            course.end = Some(End::Stopped);
        }
        Paced { failure, ..self.account(course) }
    }

    fn pace(&mut self, course: &mut Course) -> Result<(), LoadError> {
        let mut next = self.compose_next(course)?;
        while let Some(composed) = next {
            // Two records that are due a few microseconds apart leave so when the second call is made before the first goes.
            let has_time = composed.failure.is_none() && self.has_time(course, composed.send_us);
            let ahead = if has_time { self.compose_next(course) } else { Ok(None) };
            let stop = self.stop.clone();
            let handed_over = match self.wait_until(composed.send_us) {
                true => self.desk.wait_for_room(|| *stop.borrow()),
                false => HandedOver::Over,
            };
            if handed_over == HandedOver::Over {
                course.end = Some(End::Stopped);
                let last = self.last_words(course, composed);
                return last.and(ahead?.map_or(Ok(()), |ahead| self.last_words(course, ahead)));
            }
            self.hand_over(course, composed)?;
            next = match ahead? {
                None => self.compose_next(course)?,
                ahead => ahead,
            };
        }
        Ok(())
    }

    /// Whether another call can be composed before one that is due at `send_us` is sent or waited for without sleep.
    fn has_time(&self, course: &Course, send_us: u64) -> bool {
        self.clock.now_us() + self.spin_us + SPARE_US + 2 * course.composing_us < send_us
    }

    /// Makes the next call, if there is a record for it.
    fn compose_next(&mut self, course: &mut Course) -> Result<Option<Composed>, LoadError> {
        Ok(if self.make_next(course)? { Some(self.compose(course)) } else { None })
    }

    /// Makes the next record if it is not made; whether there is one.
    fn make_next(&mut self, course: &mut Course) -> Result<bool, LoadError> {
        if course.next.is_some() {
            return Ok(true);
        }
        if course.end.is_some() {
            return Ok(false);
        }
        let (offset_us, payload) = match self.feed.next(course.last_bytes)? {
            Cue::Due { offset_us, payload } => (offset_us, payload),
            Cue::ScheduleEnd => {
                course.end = Some(End::Schedule);
                return Ok(false);
            }
            Cue::SourceEnd => {
                course.end = Some(End::Source);
                return Ok(false);
            }
        };
        let sequence = course.next_sequence;
        let k = self.slice.k(sequence);
        let mut data = payload.json;
        let mut key = String::new();
        let explicit_hash = self.keys.choose(k, offset_us, &data, &mut key);
        course.keys.add(&key);
        course.fingerprint.add(&RecordPrint {
            payload: &data,
            key: &key,
            explicit_hash_key: explicit_hash,
            offset_us,
            k,
        });
        let due_us = self.first_due_us.saturating_add(offset_us);
        course.window.made(due_us);
        self.stamper
            .stamp(&mut data, payload.txn_timestamp, k, due_us)
            .map_err(|source| LoadError::Stamp { sequence: k, source })?;
        course.last_bytes = (data.len() + key.len()) as u64;
        course.bytes += course.last_bytes;
        course.next = Some(Made { meta: RecordMeta { sequence, due_us }, data, key, explicit_hash });
        course.next_sequence += 1;
        course.last_due_us = offset_us;
        Ok(true)
    }

    /// Makes a call, beginning with the record that is made.
    fn compose(&mut self, course: &mut Course) -> Composed {
        let now_us = self.clock.now_us();
        let call = self.desk.empty_call();
        let mut composed = Composed { call, send_us: 0, shed: 0, behind: 0, failure: None };
        if let Err(failure) = self.fill(course, &mut composed, now_us) {
            composed.send_us = 0;
            composed.failure = Some(failure);
        }
        if let Some(packer) = &mut self.packer {
            packer.finish(&self.desk.api, &mut composed.call);
        }
        self.desk.prepare(&mut composed.call);
        course.composing_us = self.clock.now_us().saturating_sub(now_us);
        composed
    }

    /// Fills a call with the records that are due together.
    fn fill(&mut self, course: &mut Course, composed: &mut Composed, now_us: u64) -> Result<(), LoadError> {
        let call = &mut composed.call;
        let mut closes_us = 0;
        let mut last_due_us = 0;
        let mut packed = false;
        while let Some(made) = course.next.as_ref() {
            let due_us = made.meta.due_us;
            if call.is_empty() && !packed {
                closes_us = due_us.saturating_add(self.linger_us);
            } else if due_us > closes_us.max(now_us) {
                break;
            } else if !self.fits(call, made.entry()) {
                // Only this record shows that the call is full.
                closes_us = closes_us.min(due_us);
                break;
            }
            last_due_us = due_us;
            if self.shed_after_us.is_some_and(|shed_after_us| due_us.saturating_add(shed_after_us) < now_us) {
                composed.shed += 1;
            } else if let Some(packer) = &mut self.packer {
                packer.add(&self.desk.api, call, made.entry());
                packed = true;
            } else if self.desk.place(call, made.entry()) {
                composed.behind += 1;
                self.timeline.offered(std::iter::once(due_us), 0, now_us.max(due_us));
            }
            course.next = None;
            if call.is_full(self.limits) {
                closes_us = closes_us.min(due_us);
                break;
            }
            self.make_next(course)?;
        }
        composed.send_us = closes_us.max(last_due_us);
        Ok(())
    }

    fn fits(&self, call: &Call, entry: NewEntry<'_>) -> bool {
        match &self.packer {
            Some(packer) => packer.fits(call, &entry, self.limits),
            None => call.fits(entry.size(), self.limits),
        }
    }

    /// Hands a call over; what was too late for it is counted as well.
    fn hand_over(&self, course: &mut Course, composed: Composed) -> Result<(), LoadError> {
        let Composed { mut call, shed, behind, failure, .. } = composed;
        let now_us = self.clock.now_us();
        call.ready_us = now_us;
        let count = call.records().len() as u64 + shed + behind;
        self.timeline.offered(call.records().iter().map(|record| record.due_us), shed, now_us);
        if shed > 0 {
            self.desk.shed(shed);
        }
        course.window.handed_over(call.records().iter().map(|record| record.due_us), now_us);
        let in_time_until_us = self.first_due_us.saturating_add(self.total_us()).saturating_add(self.grace_us);
        course.offered += count;
        course.in_time += if now_us <= in_time_until_us { count } else { 0 };
        self.progress.add_offered(count);
        if call.is_empty() {
            self.desk.recycle(call);
        } else {
            self.desk.send(call);
        }
        failure.map_or(Ok(()), Err)
    }

    /// After a stop: what was due by now is handed over, as long as somebody takes it.
    fn last_words(&self, course: &mut Course, mut composed: Composed) -> Result<(), LoadError> {
        let now_us = self.clock.now_us();
        let is_due = |records: &[RecordMeta]| records.iter().all(|record| record.due_us <= now_us);
        composed.call.retain(&self.desk.api, is_due, |_| {});
        if !self.desk.is_over() {
            return self.hand_over(course, composed);
        }
        course.not_taken += composed.call.records().len() as u64 + composed.shed + composed.behind;
        composed.failure.map_or(Ok(()), Err)
    }

    /// Length of the schedule. Where only the source knows the end, nothing comes after it.
    fn total_us(&self) -> u64 {
        self.timetable.total_us().unwrap_or(u64::MAX)
    }

    fn account(&mut self, mut course: Course) -> Paced {
        let total_us = self.total_us();
        // What is made from here on is counted, and never sent.
        let (fingerprint, keys) = (std::mem::take(&mut course.fingerprint), std::mem::take(&mut course.keys));
        let (due_bytes, trace, rejected_rows) = (course.bytes, self.feed.trace_counts(), self.feed.rejected_rows());
        let (window, interrupted) = (course.window, course.end == Some(End::Stopped));
        let (schedule_us, more_due) = match course.end {
            None | Some(End::Schedule) => (total_us, 0),
            Some(End::Source) => (course.last_due_us, 0),
            // The record that was made next, and whatever else was due by the time of the stop.
            Some(End::Stopped) => {
                let stopped_us = self.clock.now_us().saturating_sub(self.first_due_us);
                let made = course.next.iter().filter(|made| made.meta.due_us <= self.first_due_us + stopped_us).count();
                (stopped_us, made as u64 + self.due_later(&mut course, stopped_us))
            }
        };
        Paced {
            due: course.offered + course.not_taken + more_due,
            not_sent: course.not_taken + more_due,
            offered_in_time: course.in_time,
            window,
            due_bytes,
            trace,
            schedule_us: schedule_us.min(total_us).max(1),
            rejected_rows,
            fingerprint,
            keys,
            interrupted,
            failure: None,
        }
    }

    /// How many records after those that were made were due by the time of a stop.
    fn due_later(&mut self, course: &mut Course, stopped_us: u64) -> u64 {
        if let Some(schedule) = self.timetable.known() {
            let later = self.slice.of(schedule.iter());
            let later = later.skip(usize::try_from(course.next_sequence).unwrap_or(usize::MAX));
            return later.take_while(|offset_us| *offset_us <= stopped_us).count() as u64;
        }
        // Due times that follow from the records are had by making the records.
        course.end = None;
        let mut made = 0;
        while course.last_due_us <= stopped_us {
            course.next = None;
            if !self.make_next(course).unwrap_or(false) {
                return made;
            }
            made += 1;
        }
        // The last one was made to see that it is later; with none made, that had been seen before.
        made.saturating_sub(1)
    }

    /// Sleeps until `send_us`; `false` when the load is to stop, or nobody takes anything any more.
    fn wait_until(&self, send_us: u64) -> bool {
        loop {
            if *self.stop.borrow() || self.desk.is_over() {
                return false;
            }
            let now_us = self.clock.now_us();
            if send_us <= now_us {
                return true;
            }
            let wake_us = send_us.saturating_sub(self.spin_us);
            if wake_us > now_us {
                self.clock.sleep_until(wake_us.min(now_us + LONGEST_SLEEP_US));
            } else {
                std::hint::spin_loop();
            }
        }
    }
}

#[cfg(test)]
mod tests;

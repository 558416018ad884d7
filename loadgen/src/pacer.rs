//! The pacer: a thread of its own that hands each record over when it is due, and not a moment for the target's sake.
//!
//! The next record is made before the thread sleeps, so that at its due time only a push into the open batch is left.
//! The batch is filled here, in the same thread, because a linger time is a deadline like a due time and both want the
//! same precise sleep; what crosses to the producer is a whole batch, one wake-up instead of hundreds. When the producer
//! takes no more, the hand-over blocks: records then go late, their due times stand, and the lag says so.

use std::{io, sync::Arc, thread};

use sha2::{Digest, Sha256};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot, watch},
};

use crate::{
    clock::{Clock, sharpen_timers},
    error::LoadError,
    keys::KeyChooser,
    producer::{Batch, Batcher, Record},
    progress::LoadProgress,
    schedule::Schedule,
    source::PayloadSource,
    stamp::Stamper,
    timeline::Timeline,
};

/// Longest sleep before the thread looks whether it should stop.
const LONGEST_SLEEP_US: u64 = 50_000;

/// Everything a pacer needs.
pub(crate) struct Pacer {
    pub(crate) source: Box<dyn PayloadSource>,
    pub(crate) schedule: Schedule,
    pub(crate) keys: KeyChooser,
    pub(crate) stamper: Stamper,
    pub(crate) batcher: Batcher,
    pub(crate) clock: Clock,
    /// The wall time of offset 0.
    pub(crate) first_due_us: u64,
    /// How long after the schedule's end a hand-over still counts as offered in time.
    pub(crate) grace_us: u64,
    pub(crate) output: mpsc::Sender<Batch>,
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) timeline: Arc<Timeline>,
    pub(crate) progress: Arc<LoadProgress>,
}

/// What the pacer did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Paced {
    /// Records due while the load lasted.
    pub(crate) due: u64,
    /// Records handed over.
    pub(crate) offered: u64,
    /// Records handed over by the end of the schedule and its grace.
    pub(crate) offered_in_time: u64,
    /// Length of the schedule, cut where the source ended or the load was stopped.
    pub(crate) schedule_us: u64,
    /// Rows the source kept out.
    pub(crate) rejected_rows: u64,
    /// SHA-256 (hex) over payload, key and due offset of every record.
    pub(crate) fingerprint: String,
    /// Whether the load was stopped before its end.
    pub(crate) interrupted: bool,
}

/// Why pacing ended.
enum End {
    Schedule,
    Source,
    Stopped,
}

impl Pacer {
    /// Starts the thread. The receiver gets its account when it ends.
    pub(crate) fn spawn(self) -> io::Result<oneshot::Receiver<Result<Paced, LoadError>>> {
        let (done, account) = oneshot::channel();
        // A source may want to run asynchronous work; it finds the runtime through the thread's context.
        let runtime = Handle::try_current().ok();
        thread::Builder::new().name("millrace-pacer".to_owned()).spawn(move || {
            let _context = runtime.as_ref().map(Handle::enter);
            sharpen_timers();
            // Nobody waits for the account of a load that was abandoned.
            let _ = done.send(self.run());
        })?;
        Ok(account)
    }

    fn run(mut self) -> Result<Paced, LoadError> {
        let mut fingerprint = Fingerprint::default();
        let mut due = self.schedule.iter();
        let (mut offered, mut in_time, mut last_due_us) = (0, 0, 0);
        let in_time_until_us = self.first_due_us.saturating_add(self.schedule.total_us()).saturating_add(self.grace_us);
        let mut hand_over = |pacer: &Self, batch: Option<Batch>| -> bool {
            let Some(batch) = batch else { return true };
            let count = batch.records.len() as u64;
            let due_us: Vec<u64> = batch.records.iter().map(|record| record.due_us).collect();
            let taken = pacer.output.blocking_send(batch).is_ok();
            let now_us = pacer.clock.now_us();
            if taken {
                offered += count;
                in_time += if now_us <= in_time_until_us { count } else { 0 };
                pacer.timeline.offered(due_us.into_iter(), now_us);
                pacer.progress.add_offered(count);
            }
            taken
        };
        let mut sequence = 0;
        let end = loop {
            let Some(offset_us) = due.next() else { break End::Schedule };
            let Some(record) = self.prepare(sequence, offset_us, &mut fingerprint)? else { break End::Source };
            let Some(now_us) = self.wait_for(record.due_us, &mut hand_over) else { break End::Stopped };
            let batch = self.batcher.push(record, now_us);
            if !hand_over(&self, batch) {
                break End::Stopped;
            }
            last_due_us = offset_us;
            sequence += 1;
        };
        let stopped_us = self.clock.now_us().saturating_sub(self.first_due_us);
        let rest = if self.wait_for_linger() { self.batcher.take(self.clock.now_us()) } else { None };
        hand_over(&self, rest);
        self.source.finish()?;
        let (schedule_us, more_due) = match end {
            End::Schedule => (self.schedule.total_us(), 0),
            End::Source => (last_due_us.max(1), 0),
            // The record that was waited for, and whatever else was due by the time of the stop.
            End::Stopped => {
                let by_then = self.schedule.iter().skip(usize::try_from(sequence).unwrap_or(usize::MAX));
                (stopped_us.max(1), by_then.take_while(|offset_us| *offset_us <= stopped_us).count() as u64)
            }
        };
        Ok(Paced {
            due: sequence + more_due,
            offered,
            offered_in_time: in_time,
            schedule_us: schedule_us.min(self.schedule.total_us()).max(1),
            rejected_rows: self.source.rejected_rows(),
            fingerprint: fingerprint.hex(),
            interrupted: matches!(end, End::Stopped),
        })
    }

    /// Makes record `sequence`, complete with key and stamp; absent when the source has no more.
    fn prepare(&mut self, sequence: u64, offset_us: u64, seen: &mut Fingerprint) -> Result<Option<Record>, LoadError> {
        let Some(payload) = self.source.next()? else { return Ok(None) };
        let mut data = payload.json;
        let key = self.keys.key(sequence, &data);
        seen.add(&data, &key, offset_us);
        let due_us = self.first_due_us.saturating_add(offset_us);
        self.stamper
            .stamp(&mut data, payload.txn_timestamp, sequence, due_us)
            .map_err(|source| LoadError::Stamp { sequence, source })?;
        Ok(Some(Record { sequence, due_us, data, key, attempts: 0 }))
    }

    /// Sleeps until `due_us`, handing over the open batch when its linger time is up meanwhile. Returns the time, or
    /// nothing when the load is to stop.
    fn wait_for(&mut self, due_us: u64, hand_over: &mut impl FnMut(&Self, Option<Batch>) -> bool) -> Option<u64> {
        loop {
            if *self.stop.borrow() {
                return None;
            }
            let now_us = self.clock.now_us();
            let closes_us = self.batcher.closes_us();
            if closes_us.is_some_and(|closes_us| closes_us <= now_us) {
                let batch = self.batcher.take(now_us);
                if !hand_over(self, batch) {
                    return None;
                }
            } else if due_us <= now_us {
                return Some(now_us);
            } else {
                let until_us = due_us.min(closes_us.unwrap_or(u64::MAX)).min(now_us + LONGEST_SLEEP_US);
                self.clock.sleep_until(until_us);
            }
        }
    }

    /// Lets the last batch linger as any other; a stop ends that. Returns whether a batch is open.
    fn wait_for_linger(&self) -> bool {
        let Some(closes_us) = self.batcher.closes_us() else { return false };
        while self.clock.now_us() < closes_us && !*self.stop.borrow() {
            self.clock.sleep_until(closes_us.min(self.clock.now_us() + LONGEST_SLEEP_US));
        }
        true
    }
}

/// The running hash of what is sent, before stamping: equal for equal seeds whatever the run's id and start.
#[derive(Default)]
struct Fingerprint(Sha256);

impl Fingerprint {
    fn add(&mut self, payload: &[u8], key: &str, offset_us: u64) {
        // Lengths keep payload and key apart: without them ("ab", "c") and ("a", "bc") would be one.
        self.0.update((payload.len() as u64).to_le_bytes());
        self.0.update(payload);
        self.0.update((key.len() as u64).to_le_bytes());
        self.0.update(key.as_bytes());
        self.0.update(offset_us.to_le_bytes());
    }

    fn hex(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use millrace_scenarios::{Arrival, Keys, Load, Span, Stage};

    use super::*;
    use crate::{
        producer::Limits,
        source::{Payload, SourceError},
        stamp,
    };

    /// `{"n":0}`, `{"n":1}`, ... up to a last one.
    struct Counting {
        next: u64,
        end: u64,
    }

    impl PayloadSource for Counting {
        fn next(&mut self) -> Result<Option<Payload>, SourceError> {
            self.next += 1;
            let json = format!("{{\"n\":{}}}", self.next - 1).into_bytes();
            Ok((self.next <= self.end).then_some(Payload { json, txn_timestamp: false }))
        }
        fn rejected_rows(&self) -> u64 {
            3
        }
        fn finish(&mut self) -> Result<(), SourceError> {
            Ok(())
        }
    }

    struct Setup {
        pacer: Pacer,
        batches: mpsc::Receiver<Batch>,
        stop: watch::Sender<bool>,
    }

    fn setup(rate: f64, ms: u64, linger_us: u64, source_end: u64, first_due_in_us: u64) -> Setup {
        let mut load: Load = serde_json::from_value(serde_json::json!({"stages": []})).unwrap();
        load.arrival = Arrival::Constant;
        load.stages = vec![Stage { rate, duration: Span::from_millis(ms) }];
        let keys: Keys = serde_json::from_value(serde_json::json!({"kind": "uniform"})).unwrap();
        let clock = Clock::start();
        let first_due_us = clock.now_us() + first_due_in_us;
        let (output, batches) = mpsc::channel(1);
        let (stop, stop_receiver) = watch::channel(false);
        let pacer = Pacer {
            source: Box::new(Counting { next: 0, end: source_end }),
            schedule: Schedule::new(&load, 1),
            keys: KeyChooser::new(&keys, 1).unwrap(),
            stamper: Stamper::new("run"),
            batcher: Batcher::new(Limits { records: 10, bytes: 1 << 20 }, linger_us),
            clock,
            first_due_us,
            grace_us: linger_us,
            output,
            stop: stop_receiver,
            timeline: Arc::new(Timeline::new(first_due_us, Duration::from_secs(1))),
            progress: Arc::default(),
        };
        Setup { pacer, batches, stop }
    }

    fn drain(mut batches: mpsc::Receiver<Batch>) -> Vec<Batch> {
        std::iter::from_fn(|| batches.blocking_recv()).collect()
    }

    #[test]
    fn every_record_is_handed_over_in_order_and_never_before_it_is_due() {
        let Setup { pacer, batches, stop: _stop } = setup(2_000.0, 100, 2_000, u64::MAX, 1_000);
        let (first_due_us, timeline) = (pacer.first_due_us, Arc::clone(&pacer.timeline));
        let account = pacer.spawn().unwrap();
        let batches = drain(batches);
        let paced = account.blocking_recv().unwrap().unwrap();
        for batch in &batches {
            assert!(batch.records.iter().all(|record| record.due_us <= batch.ready_us));
        }
        let records: Vec<Record> = batches.into_iter().flat_map(|batch| batch.records).collect();
        assert_eq!(records.len(), 200);
        for (k, record) in records.iter().enumerate() {
            assert_eq!((record.sequence, record.due_us), (k as u64, first_due_us + k as u64 * 500));
            let stamp = stamp::read(&record.data).unwrap();
            assert_eq!((stamp.sequence, stamp.due_us, &*stamp.run), (record.sequence, record.due_us, "run"));
        }
        assert_eq!((paced.due, paced.offered, paced.schedule_us), (200, 200, 100_000));
        assert_eq!((paced.rejected_rows, paced.interrupted), (3, false));
        assert_eq!(timeline.finish(first_due_us + 100_000).iter().map(|row| row.due).sum::<u64>(), 200);
    }

    #[test]
    fn due_times_stand_still_while_nobody_takes_the_records() {
        let Setup { pacer, batches, stop: _stop } = setup(10_000.0, 50, 0, u64::MAX, 0);
        let first_due_us = pacer.first_due_us;
        let account = pacer.spawn().unwrap();
        thread::sleep(Duration::from_millis(120));
        let batches = drain(batches);
        let paced = account.blocking_recv().unwrap().unwrap();
        let records: Vec<Record> = batches.into_iter().flat_map(|batch| batch.records).collect();
        assert_eq!(records.len(), 500, "nothing is skipped");
        assert!(records.iter().enumerate().all(|(k, r)| r.due_us == first_due_us + k as u64 * 100));
        assert!(paced.offered_in_time < paced.offered, "late hand-overs are told: {paced:?}");
    }

    #[test]
    fn a_source_that_ends_early_ends_the_schedule_there() {
        let Setup { pacer, batches, stop: _stop } = setup(1_000.0, 60_000, 1_000, 30, 0);
        let account = pacer.spawn().unwrap();
        let records: usize = drain(batches).iter().map(|batch| batch.records.len()).sum();
        let paced = account.blocking_recv().unwrap().unwrap();
        assert_eq!((records, paced.due, paced.offered, paced.schedule_us), (30, 30, 30, 29_000));
        assert!(!paced.interrupted);
    }

    #[test]
    fn a_stop_ends_a_long_wait_and_hands_over_what_is_open() {
        let Setup { pacer, batches, stop } = setup(1.0, 3_600_000, 60_000_000, u64::MAX, 0);
        let account = pacer.spawn().unwrap();
        thread::sleep(Duration::from_millis(100));
        stop.send(true).unwrap();
        let records: usize = drain(batches).iter().map(|batch| batch.records.len()).sum();
        let paced = account.blocking_recv().unwrap().unwrap();
        assert!(paced.interrupted);
        assert_eq!(paced.offered, records as u64);
        assert!(paced.due < 3_600);
    }

    #[test]
    fn the_fingerprint_depends_on_what_is_sent_and_not_on_when_the_run_began() {
        let of = |rate| {
            let Setup { pacer, batches, stop: _stop } = setup(rate, 20, 0, u64::MAX, 0);
            let account = pacer.spawn().unwrap();
            drain(batches);
            account.blocking_recv().unwrap().unwrap().fingerprint
        };
        assert_eq!(of(1_000.0), of(1_000.0));
        assert_ne!(of(1_000.0), of(2_000.0));
        let mut ab = Fingerprint::default();
        ab.add(b"ab", "c", 0);
        let mut a = Fingerprint::default();
        a.add(b"a", "bc", 0);
        assert_ne!(ab.hex(), a.hex());
    }

    #[test]
    fn a_producer_that_has_gone_ends_the_pacer() {
        let Setup { pacer, batches, stop: _stop } = setup(1_000.0, 3_600_000, 0, u64::MAX, 0);
        drop(batches);
        assert!(pacer.spawn().unwrap().blocking_recv().unwrap().unwrap().interrupted);
    }
}

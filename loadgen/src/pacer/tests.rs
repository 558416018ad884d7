//! Pacing against a desk whose calls are taken by hand.

use std::time::Duration;

use millrace_scenarios::{Arrival, Keys, Load, Span, Stage};

use super::*;
use crate::{
    source::{Payload, PayloadSource, SourceError},
    stamp,
    testing::{BareDesk, SentCall},
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
        Ok((self.next <= self.end).then_some(Payload { json, txn_timestamp: false, event_us: None }))
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
    bare: BareDesk,
    stop: watch::Sender<bool>,
}

fn setup(rate: f64, ms: u64, linger_us: u64, source_end: u64, first_due_in_us: u64) -> Setup {
    let mut load: Load = serde_json::from_value(serde_json::json!({"stages": []})).unwrap();
    load.arrival = Arrival::Constant;
    load.stages = vec![Stage::constant(rate, Span::from_millis(ms))];
    let timetable = Timetable::new(&load, 1);
    let keys: Keys = serde_json::from_value(serde_json::json!({"kind": "uniform"})).unwrap();
    let clock = Clock::start();
    let bare = BareDesk::new(clock);
    let first_due_us = clock.now_us() + first_due_in_us;
    let (stop, stop_receiver) = watch::channel(false);
    let timeline = Arc::new(Timeline::new(Duration::from_secs(1)));
    timeline.begin(first_due_us);
    let pacer = Pacer {
        feed: Feed::new(Box::new(Counting { next: 0, end: source_end }), &timetable, Slice::default()),
        timetable,
        slice: Slice::default(),
        keys: KeyPlan::new(&keys, &[], 1, &Default::default()).unwrap(),
        stamper: Stamper::new("run"),
        limits: Limits { entries: 10, bytes: 1 << 20 },
        packer: None,
        linger_us,
        shed_after_us: None,
        spin_us: 0,
        clock,
        first_due_us,
        grace_us: linger_us,
        window: MeasuredWindow::new(first_due_us, 0, 0, 0),
        desk: bare.desk(),
        stop: stop_receiver,
        timeline,
        progress: Arc::default(),
    };
    Setup { pacer, bare, stop }
}

fn records(calls: &[SentCall]) -> Vec<RecordMeta> {
    calls.iter().flat_map(|call| call.records.iter().copied()).collect()
}

#[test]
fn every_record_is_handed_over_in_order_and_never_before_it_is_due() {
    let Setup { pacer, bare, stop: _stop } = setup(2_000.0, 100, 2_000, u64::MAX, 1_000);
    let (first_due_us, timeline) = (pacer.first_due_us, Arc::clone(&pacer.timeline));
    let account = pacer.spawn().unwrap();
    let calls = bare.take_all();
    let paced = account.blocking_recv().unwrap();
    assert!(calls.iter().all(|call| call.records.iter().all(|record| record.due_us <= call.ready_us)));
    // Five records are due within two milliseconds of the first; what was overdue may join, and leaves less at the end.
    let (_, all_but_last) = calls.split_last().unwrap();
    assert!(all_but_last.iter().all(|call| (5..=10).contains(&call.records.len())), "{calls:?}");
    let records = records(&calls);
    assert_eq!(records.len(), 200);
    for (k, record) in records.iter().enumerate() {
        assert_eq!((record.sequence, record.due_us), (k as u64, first_due_us + k as u64 * 500));
    }
    let data: Vec<&Vec<u8>> = calls.iter().flat_map(|call| &call.data).collect();
    for (k, data) in data.iter().enumerate() {
        let stamp = stamp::read(data).unwrap();
        assert_eq!((stamp.sequence, stamp.due_us, &*stamp.run), (k as u64, records[k].due_us, "run"));
    }
    assert_eq!((paced.due, paced.offered_in_time, paced.schedule_us), (200, 200, 100_000));
    assert_eq!((paced.rejected_rows, paced.interrupted), (3, false));
    assert_eq!(timeline.finish(first_due_us + 100_000).iter().map(|row| row.due).sum::<u64>(), 200);
}

#[test]
fn due_times_stand_still_while_nobody_takes_the_records() {
    let Setup { pacer, bare, stop: _stop } = setup(10_000.0, 50, 0, u64::MAX, 0);
    let first_due_us = pacer.first_due_us;
    bare.hold_back(Duration::from_millis(120));
    let account = pacer.spawn().unwrap();
    let calls = bare.take_all();
    let paced = account.blocking_recv().unwrap();
    let records = records(&calls);
    assert_eq!(records.len(), 500, "nothing is skipped");
    assert!(records.iter().enumerate().all(|(k, r)| r.due_us == first_due_us + k as u64 * 100));
    assert!(paced.offered_in_time < paced.due, "late hand-overs are told: {paced:?}");
    assert!(calls.len() < 300, "what was overdue shares calls: {}", calls.len());
}

#[test]
fn records_too_late_are_shed_and_counted() {
    let Setup { mut pacer, bare, stop: _stop } = setup(10_000.0, 50, 0, u64::MAX, 0);
    pacer.shed_after_us = Some(20_000);
    bare.hold_back(Duration::from_millis(120));
    let desk = bare.desk();
    let account = pacer.spawn().unwrap();
    let sent = records(&bare.take_all()).len() as u64;
    let paced = account.blocking_recv().unwrap();
    let shed = desk.state().shed;
    assert_eq!((paced.due, sent + shed), (500, 500));
    assert!(shed > 300, "{shed}");
}

#[test]
fn a_source_that_ends_early_ends_the_schedule_there() {
    let Setup { pacer, bare, stop: _stop } = setup(1_000.0, 60_000, 1_000, 30, 0);
    let account = pacer.spawn().unwrap();
    let records = records(&bare.take_all()).len();
    let paced = account.blocking_recv().unwrap();
    assert_eq!((records, paced.due, paced.schedule_us), (30, 30, 29_000));
    assert!(!paced.interrupted);
}

#[test]
fn a_stop_ends_a_long_wait_and_hands_over_what_is_due() {
    let Setup { pacer, bare, stop } = setup(10.0, 3_600_000, 60_000_000, u64::MAX, 0);
    let account = pacer.spawn().unwrap();
    thread::sleep(Duration::from_millis(250));
    stop.send(true).unwrap();
    let records = records(&bare.take_all()).len() as u64;
    let paced = account.blocking_recv().unwrap();
    assert!(paced.interrupted);
    assert_eq!(paced.due, records);
    assert!((3..36_000).contains(&paced.due), "{}", paced.due);
}

#[test]
fn the_fingerprint_depends_on_what_is_sent_and_not_on_when_the_run_began() {
    let of = |rate| {
        let Setup { pacer, bare, stop: _stop } = setup(rate, 20, 0, u64::MAX, 0);
        let account = pacer.spawn().unwrap();
        bare.take_all();
        account.blocking_recv().unwrap().fingerprint
    };
    assert_eq!(of(1_000.0), of(1_000.0));
    assert_ne!(of(1_000.0), of(2_000.0));
}

#[test]
fn the_records_of_all_workers_are_those_of_one() {
    let of = |slice| {
        let Setup { mut pacer, bare, stop: _stop } = setup(1_000.0, 20, 0, u64::MAX, 0);
        pacer.slice = slice;
        let source = Box::new(Counting { next: 0, end: u64::MAX });
        pacer.feed = Feed::new(source, &pacer.timetable, slice);
        let account = pacer.spawn().unwrap();
        bare.take_all();
        account.blocking_recv().unwrap()
    };
    let workers: Vec<_> = (0..3).map(|index| of(Slice::new(index, 3).unwrap())).collect();
    let mut sum = Fingerprint::default();
    workers.iter().for_each(|paced| sum.merge(paced.fingerprint));
    assert_eq!(sum, of(Slice::default()).fingerprint);
    assert_eq!(workers.iter().map(|paced| paced.due).collect::<Vec<_>>(), [7, 7, 6]);
}

#[test]
fn a_producer_that_has_gone_ends_the_pacer() {
    let Setup { pacer, bare, stop: _stop } = setup(1_000.0, 3_600_000, 0, u64::MAX, 0);
    bare.desk().end();
    assert!(pacer.spawn().unwrap().blocking_recv().unwrap().interrupted);
}

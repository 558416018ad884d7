//! Live counts of a load, for whoever shows them: written by the load's parts, read at any time without a lock.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use millrace_reports::record::LatencyInterval;

use crate::{slice::Slice, timetable::Timetable};

/// The counts of one load, shared.
#[derive(Debug, Default)]
pub struct LoadProgress {
    timetable: OnceLock<(Timetable, Slice, u64)>,
    offered: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    refusals: AtomicU64,
    read: AtomicU64,
    in_flight: AtomicU64,
    response_p50_us: AtomicU64,
    response_p99_us: AtomicU64,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProgressSnapshot {
    /// Microseconds since the first due time, at most the schedule's length; zero before it.
    pub elapsed_us: u64,
    /// Length of the schedule, microseconds; absent when it ends with its source.
    pub schedule_us: Option<u64>,
    /// Records due by now, on average; absent where that follows from the records themselves.
    pub due: Option<u64>,
    /// Records the pacer has handed over.
    pub offered: u64,
    /// Records the stream has accepted.
    pub accepted: u64,
    /// Records given up.
    pub refused: u64,
    /// Answers that refused a record.
    pub refusals: u64,
    /// Different records the consumer has read.
    pub read: u64,
    /// PutRecords calls under way.
    pub in_flight: u64,
    /// Records per second the schedule asks for now; absent where that follows from the records themselves.
    pub target_rate: Option<f64>,
    /// Median response time in the last complete interval, microseconds.
    pub response_p50_us: u64,
    /// 99th percentile of response time in the last complete interval, microseconds.
    pub response_p99_us: u64,
}

impl LoadProgress {
    /// The counts at `now_us` (wall clock, microseconds since 1970).
    #[must_use]
    pub fn snapshot(&self, now_us: u64) -> ProgressSnapshot {
        let mut snapshot = ProgressSnapshot {
            offered: self.offered.load(Relaxed),
            accepted: self.accepted.load(Relaxed),
            refused: self.refused.load(Relaxed),
            refusals: self.refusals.load(Relaxed),
            read: self.read.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            response_p50_us: self.response_p50_us.load(Relaxed),
            response_p99_us: self.response_p99_us.load(Relaxed),
            ..ProgressSnapshot::default()
        };
        if let Some((timetable, slice, first_due_us)) = self.timetable.get() {
            let offset_us = now_us.saturating_sub(*first_due_us);
            let workers = f64::from(slice.count());
            snapshot.schedule_us = timetable.total_us();
            snapshot.elapsed_us = offset_us.min(timetable.total_us().unwrap_or(u64::MAX));
            if let Some(schedule) = timetable.known() {
                let rate = if now_us < *first_due_us { 0.0 } else { schedule.rate_at(offset_us) };
                snapshot.due = Some((schedule.expected_by(offset_us) / workers) as u64);
                snapshot.target_rate = Some(rate / workers);
            }
        }
        snapshot
    }

    pub(crate) fn begin(&self, timetable: Timetable, slice: Slice, first_due_us: u64) {
        // A progress that is used for a second load keeps the first one's timetable.
        let _ = self.timetable.set((timetable, slice, first_due_us));
    }

    pub(crate) fn add_offered(&self, records: u64) {
        self.offered.fetch_add(records, Relaxed);
    }

    pub(crate) fn add_answered(&self, accepted: u64, refusals: u64, refused: u64) {
        self.accepted.fetch_add(accepted, Relaxed);
        self.refusals.fetch_add(refusals, Relaxed);
        self.refused.fetch_add(refused, Relaxed);
    }

    pub(crate) fn set_in_flight(&self, calls: u64) {
        self.in_flight.store(calls, Relaxed);
    }

    pub(crate) fn set_read(&self, records: u64) {
        self.read.store(records, Relaxed);
    }

    pub(crate) fn set_response(&self, interval: &LatencyInterval) {
        self.response_p50_us.store(interval.p50_us, Relaxed);
        self.response_p99_us.store(interval.p99_us, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use millrace_scenarios::{Load, Span, Stage};

    use super::*;

    #[test]
    fn a_snapshot_says_what_is_due_by_now() {
        let mut load: Load = serde_json::from_value(serde_json::json!({"stages": []})).unwrap();
        load.stages = vec![Stage::constant(100.0, Span::from_secs(10))];
        let progress = LoadProgress::default();
        assert_eq!(progress.snapshot(5), ProgressSnapshot::default());
        progress.begin(Timetable::new(&load, 1), Slice::default(), 1_000_000);
        progress.add_offered(7);
        let before = progress.snapshot(999_999);
        assert_eq!((before.due, before.elapsed_us, before.target_rate), (Some(0), 0, Some(0.0)));
        let during = progress.snapshot(3_000_000);
        assert_eq!((during.due, during.offered, during.target_rate), (Some(200), 7, Some(100.0)));
        let after = progress.snapshot(60_000_000);
        assert_eq!((after.due, after.elapsed_us, after.target_rate), (Some(1_000), 10_000_000, Some(0.0)));
    }
}

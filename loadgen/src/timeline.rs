//! The load's course over time: one row of counts per interval, shared by the pacer and the producer.
//!
//! It is touched once per batch or answer, not per record, so a mutex costs nothing here.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use millrace_reports::record::LoadInterval;

/// Counts by interval from the first due time on.
#[derive(Debug)]
pub(crate) struct Timeline {
    origin_us: AtomicU64,
    interval_us: u64,
    rows: Mutex<Vec<LoadInterval>>,
}

/// Most rows kept; later counts go to the last one, so that an absurd clock cannot take the memory.
const MAX_ROWS: usize = 1_000_000;

impl Timeline {
    /// Rows of `interval`, from [`Timeline::begin`] on.
    pub(crate) fn new(interval: Duration) -> Self {
        let interval_us = u64::try_from(interval.as_micros()).unwrap_or(u64::MAX).max(1);
        Self { origin_us: AtomicU64::new(0), interval_us, rows: Mutex::default() }
    }

    /// Fixes the origin (wall clock, microseconds since 1970), before anything is counted.
    pub(crate) fn begin(&self, origin_us: u64) {
        self.origin_us.store(origin_us, Relaxed);
    }

    fn since_origin(&self, wall_us: u64) -> u64 {
        wall_us.saturating_sub(self.origin_us.load(Relaxed))
    }

    /// Counts records by the interval they were due in, and as offered at `now_us`; `shed` more were offered too late.
    pub(crate) fn offered(&self, due_us: impl Iterator<Item = u64>, shed: u64, now_us: u64) {
        let mut rows = self.lock();
        let mut count = 0;
        for due_us in due_us {
            self.row(&mut rows, due_us).due += 1;
            count += 1;
        }
        let row = self.row(&mut rows, now_us);
        row.offered += count + shed;
        row.due += shed;
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, now_us: u64, accepted: u64, refusals: u64, in_flight: u64) {
        let mut rows = self.lock();
        let row = self.row(&mut rows, now_us);
        row.accepted += accepted;
        row.refusals += refusals;
        row.in_flight = in_flight;
    }

    /// The rows, the last one cut at `end_us` (wall clock). A last row of less than half an interval joins the one
    /// before it: a rate over a few milliseconds would be noise drawn as a peak.
    pub(crate) fn finish(&self, end_us: u64) -> Vec<LoadInterval> {
        let mut rows = std::mem::take(&mut *self.lock());
        if let Some(mut last) = rows.pop() {
            let end = self.since_origin(end_us);
            last.length_us = end.saturating_sub(last.start_us).clamp(1, self.interval_us);
            match rows.last_mut() {
                Some(before) if last.length_us < self.interval_us / 2 => {
                    before.length_us += last.length_us;
                    before.due += last.due;
                    before.offered += last.offered;
                    before.accepted += last.accepted;
                    before.refusals += last.refusals;
                    before.in_flight = last.in_flight;
                }
                _ => rows.push(last),
            }
        }
        rows
    }

    fn lock(&self) -> MutexGuard<'_, Vec<LoadInterval>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The row of a wall time; rows before it are made, and carry on with the calls then under way.
    fn row<'a>(&self, rows: &'a mut Vec<LoadInterval>, wall_us: u64) -> &'a mut LoadInterval {
        let index = usize::try_from(self.since_origin(wall_us) / self.interval_us).unwrap_or(usize::MAX);
        let index = index.min(MAX_ROWS - 1);
        while rows.len() <= index {
            let in_flight = rows.last().map_or(0, |row| row.in_flight);
            rows.push(LoadInterval {
                start_us: rows.len() as u64 * self.interval_us,
                length_us: self.interval_us,
                due: 0,
                offered: 0,
                accepted: 0,
                refusals: 0,
                in_flight,
            });
        }
        &mut rows[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(origin_us: u64) -> Timeline {
        let timeline = Timeline::new(Duration::from_secs(1));
        timeline.begin(origin_us);
        timeline
    }

    #[test]
    fn counts_land_in_their_interval_and_quiet_ones_are_there() {
        let timeline = timeline(1_000_000);
        timeline.offered([1_000_000, 1_999_999, 2_000_000].into_iter(), 0, 2_100_000);
        timeline.answered(2_200_000, 2, 1, 3);
        timeline.answered(4_500_000, 1, 0, 0);
        let rows = timeline.finish(4_600_000);
        assert_eq!(rows.len(), 4);
        assert_eq!(rows.iter().map(|r| r.due).collect::<Vec<_>>(), [2, 1, 0, 0]);
        assert_eq!(rows.iter().map(|r| r.offered).collect::<Vec<_>>(), [0, 3, 0, 0]);
        assert_eq!(rows.iter().map(|r| r.accepted).collect::<Vec<_>>(), [0, 2, 0, 1]);
        assert_eq!(rows.iter().map(|r| r.in_flight).collect::<Vec<_>>(), [0, 3, 3, 0]);
        assert_eq!(rows.iter().map(|r| r.length_us).collect::<Vec<_>>(), [1_000_000, 1_000_000, 1_000_000, 600_000]);
    }

    #[test]
    fn a_last_row_too_short_for_a_rate_joins_the_one_before() {
        let timeline = timeline(0);
        timeline.answered(1_500_000, 800, 0, 1);
        timeline.answered(2_020_000, 16, 1, 0);
        let rows = timeline.finish(2_020_000);
        let last = &rows[1];
        assert_eq!((rows.len(), last.length_us, last.accepted, last.refusals), (2, 1_020_000, 816, 1));
        assert_eq!(last.in_flight, 0);
    }

    #[test]
    fn a_time_before_the_origin_counts_in_the_first_row() {
        let timeline = timeline(5_000_000);
        timeline.answered(1, 0, 0, 2);
        assert_eq!(timeline.finish(5_000_000).len(), 1);
    }
}

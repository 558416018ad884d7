//! The hiccup meter: a thread that does nothing but sleep one millisecond, and notes how late it is woken.
//!
//! What it oversleeps, no measurement on the machine can be more exact than. It sees what no counter shows: a stopped
//! process, a paused virtual machine, a burst of somebody else's work. Once per interval it also notes what the process
//! used, so that a late record can be held against what the machine did at that moment. One interval's histogram and
//! the total are held, and one row per interval.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use hdrhistogram::Histogram;
use millrace_reports::{
    ReportError,
    latency::{LatencyLog, histogram},
    record::{HarnessInterval, HarnessRecord},
};

use super::{
    LoadEvidence, limits,
    proc::{MachineTicks, Memory},
};
use crate::{
    clock::{Clock, Usage, sharpen_timers},
    error::LoadError,
};

/// How long the meter sleeps.
const SLEEP_US: u64 = 1_000;
/// The meter's tag in the latency log.
const TAG: &str = "hiccup";

/// Watches the process and the machine while a load runs. Dropping it ends its thread.
#[derive(Debug)]
pub struct HarnessMeter {
    clock: Clock,
    start_us: u64,
    start: Reading,
    ended: Arc<AtomicBool>,
    watch: Option<JoinHandle<Watched>>,
}

impl HarnessMeter {
    /// Starts the meter and its thread; its intervals count from `first_due_us` (wall clock) and go to `log`.
    ///
    /// # Errors
    /// [`LoadError::Thread`] when the thread cannot be started.
    pub fn start(clock: Clock, first_due_us: u64, interval: Duration, log: Arc<LatencyLog>) -> Result<Self, LoadError> {
        let ended = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&ended);
        let watch = thread::Builder::new()
            .name("millrace-hiccup".to_owned())
            .spawn(move || watch(Course::new(clock, first_due_us, interval, log), &until))
            .map_err(|source| LoadError::Thread { thread: "hiccup", source })?;
        Ok(Self { clock, start_us: clock.now_us(), start: Reading::take(), ended, watch: Some(watch) })
    }

    /// Ends the watch and judges.
    ///
    /// # Errors
    /// [`LoadError::Report`] when an interval could not be written to the log.
    pub fn finish(mut self, evidence: &LoadEvidence) -> Result<HarnessRecord, LoadError> {
        let wall_us = self.clock.now_us().saturating_sub(self.start_us);
        let now = Reading::take();
        self.ended.store(true, Relaxed);
        let watched = self.watch.take().and_then(|thread| thread.join().ok());
        let watched = watched.ok_or(LoadError::Stopped { part: "hiccup meter" })?;
        if let Some(failure) = watched.failure {
            return Err(failure.into());
        }
        let mut record = HarnessRecord {
            cpu_us: now.usage.cpu_us.saturating_sub(self.start.usage.cpu_us),
            cpu_share: now.cpu_share_since(&self.start, wall_us),
            steal_share: now.steal_share_since(&self.start),
            max_rss_bytes: now.memory.unwrap_or_default().max_rss_bytes,
            in_flight_waits: evidence.in_flight_waits,
            in_flight_longest_wait_us: evidence.in_flight_longest_wait_us,
            excess_lag_p99_us: evidence.lag_p99_us.saturating_sub(evidence.linger_us),
            target_down_records: evidence.target_down_records,
            hiccup_p99_us: watched.total.value_at_quantile(0.99),
            hiccup_max_us: watched.total.max(),
            hiccup_count: watched.total.len(),
            intervals: watched.intervals,
            limited_by: Vec::new(),
        };
        record.limited_by = limits(&record, evidence);
        Ok(record)
    }
}

impl Drop for HarnessMeter {
    fn drop(&mut self) {
        self.ended.store(true, Relaxed);
    }
}

fn watch(mut course: Course, ended: &AtomicBool) -> Watched {
    sharpen_timers();
    let clock = course.clock;
    while !ended.load(Relaxed) {
        let until_us = clock.now_us() + SLEEP_US;
        clock.sleep_until(until_us);
        let woken_us = clock.now_us();
        course.woken(woken_us, woken_us.saturating_sub(until_us));
    }
    course.finish()
}

/// What the kernel says of process and machine at one moment.
#[derive(Debug, Clone, Copy)]
struct Reading {
    usage: Usage,
    machine: Option<MachineTicks>,
    memory: Option<Memory>,
}

impl Reading {
    fn take() -> Self {
        Self { usage: Usage::now(), machine: MachineTicks::read(), memory: Memory::read() }
    }

    fn cpu_share_since(&self, before: &Self, wall_us: u64) -> f64 {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let cpu_us = self.usage.cpu_us.saturating_sub(before.usage.cpu_us);
        (cpu_us as f64 / (wall_us.max(1) as f64 * cores as f64)).min(1.0)
    }

    fn steal_share_since(&self, before: &Self) -> Option<f64> {
        before.machine.zip(self.machine).and_then(|(before, after)| after.steal_share_since(before))
    }
}

/// What the thread brings home.
#[derive(Debug)]
struct Watched {
    total: Histogram<u64>,
    intervals: Vec<HarnessInterval>,
    failure: Option<ReportError>,
}

/// The open interval and those behind it.
#[derive(Debug)]
struct Course {
    clock: Clock,
    origin_us: u64,
    interval_us: u64,
    log: Arc<LatencyLog>,
    /// When the open interval began (wall clock), and what was read then.
    opened_us: u64,
    opened: Reading,
    index: u64,
    current: Histogram<u64>,
    watched: Watched,
}

impl Course {
    fn new(clock: Clock, origin_us: u64, interval: Duration, log: Arc<LatencyLog>) -> Self {
        Self {
            clock,
            origin_us,
            interval_us: u64::try_from(interval.as_micros()).unwrap_or(u64::MAX).max(1),
            log,
            opened_us: clock.now_us(),
            opened: Reading::take(),
            index: 0,
            current: histogram(),
            watched: Watched { total: histogram(), intervals: Vec::new(), failure: None },
        }
    }

    /// Takes one sleep. It belongs to the interval that it began in: a pause of many intervals is one long row.
    fn woken(&mut self, now_us: u64, overslept_us: u64) {
        self.current.saturating_record(overslept_us);
        let index = now_us.saturating_sub(self.origin_us) / self.interval_us;
        if index > self.index {
            self.close(now_us);
            self.index = index;
        }
    }

    fn close(&mut self, now_us: u64) {
        if self.current.is_empty() {
            return;
        }
        let now = Reading::take();
        let start_us = self.index * self.interval_us;
        let length_us = now_us.saturating_sub(self.opened_us.max(self.origin_us)).max(1);
        if let Err(failure) = self.log.append(TAG, start_us, Duration::from_micros(length_us), &self.current) {
            self.watched.failure.get_or_insert(failure);
        }
        let since = |of: fn(&Usage) -> u64| of(&now.usage).saturating_sub(of(&self.opened.usage));
        self.watched.intervals.push(HarnessInterval {
            start_us,
            length_us,
            hiccup_count: self.current.len(),
            hiccup_p50_us: self.current.value_at_quantile(0.5),
            hiccup_p99_us: self.current.value_at_quantile(0.99),
            hiccup_max_us: self.current.max(),
            cpu_share: now.cpu_share_since(&self.opened, now_us.saturating_sub(self.opened_us)),
            steal_share: now.steal_share_since(&self.opened),
            voluntary_switches: since(|usage| usage.voluntary_switches),
            involuntary_switches: since(|usage| usage.involuntary_switches),
            rss_bytes: now.memory.unwrap_or_default().rss_bytes,
        });
        if self.watched.total.add(&self.current).is_err() {
            unreachable!("both histograms have the same bounds");
        }
        self.current.reset();
        (self.opened_us, self.opened) = (now_us, now);
    }

    fn finish(mut self) -> Watched {
        self.close(self.clock.now_us());
        self.watched
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::cpu_us;

    const SECOND_US: u64 = 1_000_000;

    fn course(origin_us: u64) -> Course {
        Course::new(Clock::start(), origin_us, Duration::from_secs(1), LatencyLog::discard(origin_us))
    }

    #[test]
    fn sleeps_fall_into_the_interval_they_began_in_and_sum_to_the_total() {
        let origin_us = Clock::start().now_us() + 10 * SECOND_US;
        let mut course = course(origin_us);
        course.woken(origin_us - 500_000, 7);
        course.woken(origin_us + 400_000, 20);
        course.woken(origin_us + SECOND_US, 30);
        // Stopped in second 1, woken in second 4.
        course.woken(origin_us + 4 * SECOND_US + 250_000, 3_000_000);
        course.woken(origin_us + 4 * SECOND_US + 300_000, 40);
        course.close(origin_us + 4 * SECOND_US + 500_000);
        let watched = course.watched;
        let rows: Vec<_> =
            watched.intervals.iter().map(|r| (r.start_us, r.length_us, r.hiccup_count, r.hiccup_max_us)).collect();
        let three_seconds = histogram().highest_equivalent(3_000_000);
        assert_eq!(
            rows,
            [(0, SECOND_US, 3, 30), (SECOND_US, 3_250_000, 1, three_seconds), (4 * SECOND_US, 250_000, 1, 40)]
        );
        assert_eq!(watched.intervals.iter().map(|row| row.hiccup_count).sum::<u64>(), watched.total.len());
    }

    #[test]
    fn a_row_tells_what_the_process_used_in_it() {
        let clock = Clock::start();
        let mut course = course(clock.now_us());
        let before_us = cpu_us();
        while cpu_us() < before_us + 20_000 {
            std::hint::spin_loop();
        }
        course.woken(clock.now_us(), 1);
        let row = &course.finish().intervals[0];
        assert!(row.cpu_share > 0.0 && row.cpu_share <= 1.0, "{row:?}");
        if cfg!(target_os = "linux") {
            assert!(row.rss_bytes > 1 << 20, "{row:?}");
        }
    }

    fn meter() -> HarnessMeter {
        let clock = Clock::start();
        let log = LatencyLog::discard(clock.now_us());
        HarnessMeter::start(clock, clock.now_us(), Duration::from_millis(10), log).unwrap()
    }

    #[test]
    fn the_linger_is_not_lag() {
        let evidence = LoadEvidence { lag_p99_us: 25_000, linger_us: 20_000, ..LoadEvidence::default() };
        assert_eq!(meter().finish(&evidence).unwrap().excess_lag_p99_us, 5_000);
    }

    #[test]
    fn the_meter_times_sleeps_and_counts_cpu_and_memory() {
        let meter = meter();
        let before = cpu_us();
        while cpu_us() < before + 20_000 {
            std::hint::spin_loop();
        }
        thread::sleep(Duration::from_millis(30));
        let record = meter.finish(&LoadEvidence::default()).unwrap();
        assert!(record.cpu_us >= 20_000 && record.cpu_share > 0.0 && record.cpu_share <= 1.0);
        assert!(record.hiccup_count > 0 && record.hiccup_max_us >= record.hiccup_p99_us);
        assert_eq!(record.intervals.iter().map(|row| row.hiccup_count).sum::<u64>(), record.hiccup_count);
        assert!(record.intervals.iter().map(|row| row.voluntary_switches).sum::<u64>() > 0, "every sleep is one");
        if cfg!(target_os = "linux") {
            assert!(record.max_rss_bytes > 1 << 20);
        }
    }
}

//! The harness accuses itself first: what it used, how the machine kept time, and whether it was the limit.
//!
//! A thread that does nothing but sleep one millisecond shows how late any sleeper on this machine is woken: what it
//! oversleeps, no measurement on the machine can be more exact than.

use std::{
    fs, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
};

use hdrhistogram::Histogram;
use millrace_reports::{latency::histogram, record::HarnessRecord};

use crate::{
    clock::{Clock, cpu_us, sharpen_timers},
    error::LoadError,
};

/// Lag beyond the linger that still counts as on time, at the 99th percentile. Fifty milliseconds are a hundred times
/// what an idle pacer needs, and visible in any latency that is worth a gate.
pub const MAX_EXCESS_LAG_P99_US: u64 = 50_000;
/// Largest share of the due records that may be offered after the schedule's end.
pub const MAX_RATE_ERROR: f64 = 0.01;
/// Largest oversleep at the 99th percentile. Beyond it acknowledgements are timed that late as well.
pub const MAX_HICCUP_P99_US: u64 = 50_000;
/// From here on the processor is named as a reason for lag.
const BUSY_CPU_SHARE: f64 = 0.9;
/// From here on the host is named as a reason for lag.
const NOTABLE_STEAL_SHARE: f64 = 0.1;
/// From here on oversleeping is named as a reason for lag.
const NOTABLE_HICCUP_P99_US: u64 = 10_000;
/// How long the hiccup meter sleeps.
const HICCUP_SLEEP_US: u64 = 1_000;

/// What the load knows about its own part.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LoadEvidence {
    /// Records due.
    pub due: u64,
    /// Records offered by the end of the schedule and its linger.
    pub offered_in_time: u64,
    /// 99th percentile of lag, microseconds.
    pub lag_p99_us: u64,
    /// The scenario's linger, microseconds.
    pub linger_us: u64,
    /// Batches that waited for a free call.
    pub in_flight_waits: u64,
    /// The longest such wait, microseconds.
    pub in_flight_longest_wait_us: u64,
}

/// Watches the process and the machine while a load runs. Dropping it ends its thread.
#[derive(Debug)]
pub struct HarnessMeter {
    clock: Clock,
    start_us: u64,
    start_cpu_us: u64,
    start_machine: Option<MachineTicks>,
    ended: Arc<AtomicBool>,
    hiccups: Option<JoinHandle<Histogram<u64>>>,
}

impl HarnessMeter {
    /// Starts the meter and its thread.
    ///
    /// # Errors
    /// [`LoadError::Thread`] when the thread cannot be started.
    pub fn start(clock: Clock) -> Result<Self, LoadError> {
        let ended = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&ended);
        let hiccups = thread::Builder::new()
            .name("millrace-hiccup".to_owned())
            .spawn(move || measure_hiccups(clock, &until))
            .map_err(|source| LoadError::Thread { thread: "hiccup", source })?;
        Ok(Self {
            clock,
            start_us: clock.now_us(),
            start_cpu_us: cpu_us(),
            start_machine: MachineTicks::read(),
            ended,
            hiccups: Some(hiccups),
        })
    }

    /// Ends the watch and judges.
    #[must_use]
    pub fn finish(mut self, evidence: &LoadEvidence) -> HarnessRecord {
        let wall_us = self.clock.now_us().saturating_sub(self.start_us).max(1);
        let cpu_us = cpu_us().saturating_sub(self.start_cpu_us);
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let machine = self.start_machine.zip(MachineTicks::read());
        self.ended.store(true, Relaxed);
        let hiccups = self.hiccups.take().and_then(|thread| thread.join().ok()).unwrap_or_else(histogram);
        let mut record = HarnessRecord {
            cpu_us,
            cpu_share: (cpu_us as f64 / (wall_us as f64 * cores as f64)).min(1.0),
            steal_share: machine.and_then(|(before, after)| after.steal_share_since(before)),
            max_rss_bytes: max_rss_bytes().unwrap_or(0),
            in_flight_waits: evidence.in_flight_waits,
            in_flight_longest_wait_us: evidence.in_flight_longest_wait_us,
            excess_lag_p99_us: evidence.lag_p99_us.saturating_sub(evidence.linger_us),
            hiccup_p99_us: hiccups.value_at_quantile(0.99),
            hiccup_max_us: hiccups.max(),
            hiccup_count: hiccups.len(),
            limited_by: Vec::new(),
        };
        record.limited_by = limits(&record, evidence);
        record
    }
}

impl Drop for HarnessMeter {
    fn drop(&mut self) {
        self.ended.store(true, Relaxed);
    }
}

fn measure_hiccups(clock: Clock, ended: &AtomicBool) -> Histogram<u64> {
    sharpen_timers();
    let mut hiccups = histogram();
    while !ended.load(Relaxed) {
        let until_us = clock.now_us() + HICCUP_SLEEP_US;
        clock.sleep_until(until_us);
        hiccups.saturating_record(clock.now_us().saturating_sub(until_us));
    }
    hiccups
}

/// Why the harness was the limit, each in a sentence with its numbers; empty when it was not.
///
/// Lag up to the linger is the scenario's own wish and never counts. Lag beyond it is the harness's by definition,
/// whatever the reason: the sentence names the reasons that the record shows. A target so slow that all calls are under
/// way makes the loop a closed one; that too is the harness's limit, because it could not offer what was due.
#[must_use]
pub fn limits(record: &HarnessRecord, evidence: &LoadEvidence) -> Vec<String> {
    let ms = |us: u64| format!("{:.1} ms", us as f64 / 1e3);
    let mut limits = Vec::new();
    if record.excess_lag_p99_us > MAX_EXCESS_LAG_P99_US {
        limits.push(format!(
            "records were sent late: 99th percentile of lag beyond the linger is {}, at most {} is valid; {}",
            ms(record.excess_lag_p99_us),
            ms(MAX_EXCESS_LAG_P99_US),
            reasons(record)
        ));
    }
    if evidence.due > 0 {
        let error = 1.0 - evidence.offered_in_time as f64 / evidence.due as f64;
        if error > MAX_RATE_ERROR {
            limits.push(format!(
                "the rate was not offered: {} of {} due records were handed over by the end of the schedule, {:.2} % \
                 too few, at most {:.0} % is valid; {}",
                evidence.offered_in_time,
                evidence.due,
                error * 100.0,
                MAX_RATE_ERROR * 100.0,
                reasons(record)
            ));
        }
    }
    if record.hiccup_p99_us > MAX_HICCUP_P99_US {
        limits.push(format!(
            "the machine does not keep time: of {} sleeps of 1 ms, one in a hundred ended {} late or more, at most {} \
             is valid",
            record.hiccup_count,
            ms(record.hiccup_p99_us),
            ms(MAX_HICCUP_P99_US)
        ));
    }
    limits
}

/// What the record shows that makes records late.
fn reasons(record: &HarnessRecord) -> String {
    let mut reasons = Vec::new();
    if record.in_flight_waits > 0 {
        reasons.push(format!(
            "{} batches waited for a free call, up to {:.1} ms (load.in_flight, or a target that is too slow for it)",
            record.in_flight_waits,
            record.in_flight_longest_wait_us as f64 / 1e3
        ));
    }
    if record.cpu_share > BUSY_CPU_SHARE {
        reasons.push(format!("the process used {:.0} % of all cores", record.cpu_share * 100.0));
    }
    if let Some(steal) = record.steal_share.filter(|steal| *steal > NOTABLE_STEAL_SHARE) {
        reasons.push(format!("the host gave {:.0} % of the machine to others", steal * 100.0));
    }
    if record.hiccup_p99_us > NOTABLE_HICCUP_P99_US {
        reasons.push(format!("sleeping threads overslept by {:.1} ms (p99)", record.hiccup_p99_us as f64 / 1e3));
    }
    if reasons.is_empty() {
        reasons.push("waits, CPU, steal and oversleeping do not explain it: other programs on this machine, or a slow payload source".to_owned());
    }
    reasons.join("; ")
}

/// The machine's ticks since it started, from the first line of /proc/stat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct MachineTicks {
    total: u64,
    steal: u64,
}

impl MachineTicks {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// `cpu  user nice system idle iowait irq softirq steal guest guest_nice` (proc(5)); guest time is in user already.
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.lines().next()?.split_ascii_whitespace();
        if words.next() != Some("cpu") {
            return None;
        }
        let ticks: Vec<u64> = words.take(8).map_while(|word| word.parse().ok()).collect();
        Some(Self { total: ticks.iter().sum(), steal: *ticks.get(7)? })
    }

    fn steal_share_since(self, before: Self) -> Option<f64> {
        let total = self.total.checked_sub(before.total).filter(|total| *total > 0)?;
        Some(self.steal.saturating_sub(before.steal) as f64 / total as f64)
    }
}

/// The largest resident size the process has had; absent where /proc does not tell.
fn max_rss_bytes() -> Option<u64> {
    status_kib(&fs::read_to_string("/proc/self/status").ok()?).ok().map(|kib| kib * 1024)
}

fn status_kib(text: &str) -> io::Result<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|number| number.trim().parse().ok())
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> (HarnessRecord, LoadEvidence) {
        let record = HarnessRecord { hiccup_count: 1_000, hiccup_p99_us: 200, ..HarnessRecord::default() };
        let evidence =
            LoadEvidence { due: 10_000, offered_in_time: 10_000, linger_us: 20_000, ..LoadEvidence::default() };
        (record, evidence)
    }

    fn only(limits: Vec<String>) -> String {
        assert_eq!(limits.len(), 1, "{limits:?}");
        limits.into_iter().next().unwrap()
    }

    #[test]
    fn a_harness_on_time_is_not_the_limit_however_busy() {
        let (mut record, evidence) = good();
        record.cpu_share = 1.0;
        record.steal_share = Some(0.5);
        record.in_flight_waits = 7;
        record.excess_lag_p99_us = MAX_EXCESS_LAG_P99_US;
        record.hiccup_p99_us = MAX_HICCUP_P99_US;
        assert!(limits(&record, &evidence).is_empty());
    }

    #[test]
    fn lag_is_the_harness_s_and_its_reasons_are_named() {
        let (mut record, evidence) = good();
        record.excess_lag_p99_us = 80_000;
        assert!(
            only(limits(&record, &evidence))
                .contains("80.0 ms, at most 50.0 ms is valid; waits, CPU, steal and oversleeping do not")
        );
        record.in_flight_waits = 3;
        record.in_flight_longest_wait_us = 12_500;
        assert!(only(limits(&record, &evidence)).contains("3 batches waited for a free call, up to 12.5 ms"));
        record.cpu_share = 0.95;
        record.steal_share = Some(0.2);
        record.hiccup_p99_us = 11_000;
        let text = only(limits(&record, &evidence));
        for part in ["95 % of all cores", "20 % of the machine", "overslept by 11.0 ms"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_rate_that_was_not_offered_is_the_limit() {
        let (record, mut evidence) = good();
        evidence.offered_in_time = 9_901;
        assert!(limits(&record, &evidence).is_empty());
        evidence.offered_in_time = 9_800;
        assert!(only(limits(&record, &evidence)).contains("9800 of 10000 due records"));
        assert!(limits(&record, &LoadEvidence::default()).is_empty(), "nothing due, nothing missed");
    }

    #[test]
    fn a_machine_that_oversleeps_is_the_limit() {
        let (mut record, evidence) = good();
        record.hiccup_p99_us = 60_000;
        assert!(only(limits(&record, &evidence)).contains("of 1000 sleeps of 1 ms"));
    }

    #[test]
    fn the_linger_is_not_lag() {
        let meter = HarnessMeter::start(Clock::start()).unwrap();
        let evidence = LoadEvidence { lag_p99_us: 25_000, linger_us: 20_000, ..LoadEvidence::default() };
        assert_eq!(meter.finish(&evidence).excess_lag_p99_us, 5_000);
    }

    #[test]
    fn the_meter_times_sleeps_and_counts_cpu_and_memory() {
        let meter = HarnessMeter::start(Clock::start()).unwrap();
        let before = cpu_us();
        while cpu_us() < before + 20_000 {
            std::hint::spin_loop();
        }
        thread::sleep(std::time::Duration::from_millis(30));
        let record = meter.finish(&LoadEvidence::default());
        assert!(record.cpu_us >= 20_000 && record.cpu_share > 0.0 && record.cpu_share <= 1.0);
        assert!(record.hiccup_count > 0 && record.hiccup_max_us >= record.hiccup_p99_us);
        if cfg!(target_os = "linux") {
            assert!(record.max_rss_bytes > 1 << 20);
        }
    }

    #[test]
    fn proc_is_read_as_documented_and_nonsense_is_absent() {
        let before = MachineTicks::parse("cpu  10 0 10 70 0 0 0 10 5 0\ncpu0 1 2 3\n").unwrap();
        let after = MachineTicks::parse("cpu  20 0 20 140 0 0 0 20 5 0\n").unwrap();
        assert_eq!(before, MachineTicks { total: 100, steal: 10 });
        assert_eq!(after.steal_share_since(before), Some(0.1));
        assert_eq!(before.steal_share_since(before), None);
        assert_eq!(MachineTicks::parse("cpu 1 2 3\n"), None);
        assert_eq!(MachineTicks::parse(""), None);
        assert_eq!(status_kib("Name:\tx\nVmHWM:\t   2048 kB\n").unwrap(), 2_048);
        assert!(status_kib("VmHWM: many").is_err());
    }
}

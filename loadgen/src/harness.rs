//! The harness accuses itself first: what it used, how the machine kept time, and whether it was the limit.
//!
//! `meter` watches, `proc` reads what the kernel tells, and [`limits`] judges: a pure function, so that
//! the same numbers are judged the same way again.

mod meter;
mod proc;

use millrace_reports::record::HarnessRecord;

pub use meter::HarnessMeter;

/// Lag beyond the linger that still counts as on time, at the 99th percentile. Fifty milliseconds are a hundred times
/// what an idle pacer needs, and visible in any latency that is worth a gate.
pub const MAX_EXCESS_LAG_P99_US: u64 = 50_000;
/// Largest share of the due records that may be offered after the schedule's end.
pub const MAX_RATE_ERROR: f64 = 0.01;
/// Largest oversleep at the 99th percentile. Beyond it acknowledgements are timed that late as well.
pub const MAX_HICCUP_P99_US: u64 = 50_000;
/// Largest share of calls that may wait because `in_flight` calls were under way, once one of them has waited longer
/// than [`MAX_EXCESS_LAG_P99_US`]: from there on the cap, not the target, makes the tail of the response time.
pub const MAX_IN_FLIGHT_WAIT_SHARE: f64 = 0.01;
/// Largest share of all cores that the process may use while [`BUSY_EXCESS_LAG_P99_US`] is passed as well. A harness
/// that is busy and on time is not the limit.
pub const MAX_CPU_SHARE: f64 = 0.9;
/// Lag beyond the linger, at the 99th percentile, that a busy processor may not explain.
pub const BUSY_EXCESS_LAG_P99_US: u64 = 10_000;
/// From here on the host is named as a reason for lag.
const NOTABLE_STEAL_SHARE: f64 = 0.1;
/// From here on oversleeping is named as a reason for lag.
const NOTABLE_HICCUP_P99_US: u64 = 10_000;

/// What the load knows about its own part.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LoadEvidence {
    /// Records due.
    pub due: u64,
    /// Records offered by the end of the schedule and its linger.
    pub offered_in_time: u64,
    /// 99th percentile of lag, microseconds, without the records below.
    pub lag_p99_us: u64,
    /// Records that waited for a target without an open connection.
    pub target_down_records: u64,
    /// The scenario's linger, microseconds.
    pub linger_us: u64,
    /// PutRecords calls.
    pub calls: u64,
    /// Batches that waited for a free call.
    pub in_flight_waits: u64,
    /// The longest such wait, microseconds.
    pub in_flight_longest_wait_us: u64,
}

/// Why the harness was the limit, each in a sentence with its numbers; empty when it was not.
///
/// Lag up to the linger is the scenario's own wish and never counts. Lag of records that were due while the target had no
/// open connection is the target's: nobody could have sent them. Any other lag is the harness's by definition, whatever
/// the reason: the sentence names the reasons that the record shows. A target so slow that all calls are under
/// way makes the loop a closed one; that too is the harness's limit, because it could not offer what was due.
#[must_use]
pub fn limits(record: &HarnessRecord, evidence: &LoadEvidence) -> Vec<String> {
    let ms = |us: u64| format!("{:.1} ms", us as f64 / 1e3);
    let mut limits = Vec::new();
    let late = record.excess_lag_p99_us > MAX_EXCESS_LAG_P99_US;
    if late {
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
    // Where lag itself is too long, calls and processor are named with it.
    let waits = record.in_flight_waits as f64 / evidence.calls.max(1) as f64;
    if !late && waits > MAX_IN_FLIGHT_WAIT_SHARE && record.in_flight_longest_wait_us > MAX_EXCESS_LAG_P99_US {
        limits.push(format!(
            "load.in_flight is too low for this target: {} of {} calls waited for a free one, {:.1} %, at most {:.0} % is \
             valid, the longest for {}, at most {}",
            record.in_flight_waits,
            evidence.calls,
            waits * 100.0,
            MAX_IN_FLIGHT_WAIT_SHARE * 100.0,
            ms(record.in_flight_longest_wait_us),
            ms(MAX_EXCESS_LAG_P99_US)
        ));
    }
    if !late && record.cpu_share > MAX_CPU_SHARE && record.excess_lag_p99_us > BUSY_EXCESS_LAG_P99_US {
        limits.push(format!(
            "the processor was full: the process used {:.0} % of all cores, at most {:.0} % is valid while the 99th \
             percentile of lag beyond the linger, {}, is above {}",
            record.cpu_share * 100.0,
            MAX_CPU_SHARE * 100.0,
            ms(record.excess_lag_p99_us),
            ms(BUSY_EXCESS_LAG_P99_US)
        ));
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
    if record.cpu_share > MAX_CPU_SHARE {
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
        record.excess_lag_p99_us = BUSY_EXCESS_LAG_P99_US;
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
    fn a_cap_that_calls_wait_at_is_the_limit_once_the_wait_is_long() {
        let (mut record, mut evidence) = good();
        (evidence.calls, record.in_flight_waits) = (1_000, 11);
        record.in_flight_longest_wait_us = 50_000;
        assert!(limits(&record, &evidence).is_empty());
        record.in_flight_longest_wait_us = 50_001;
        assert!(only(limits(&record, &evidence)).contains("11 of 1000 calls waited for a free one, 1.1 %"));
        record.in_flight_waits = 10;
        assert!(limits(&record, &evidence).is_empty());
    }

    #[test]
    fn a_full_processor_is_the_limit_once_it_makes_records_late() {
        let (mut record, evidence) = good();
        (record.cpu_share, record.excess_lag_p99_us) = (0.91, 10_001);
        assert!(only(limits(&record, &evidence)).contains("91 % of all cores, at most 90 % is valid"));
        record.cpu_share = 0.9;
        assert!(limits(&record, &evidence).is_empty());
    }

    #[test]
    fn a_machine_that_oversleeps_is_the_limit() {
        let (mut record, evidence) = good();
        record.hiccup_p99_us = 60_000;
        assert!(only(limits(&record, &evidence)).contains("of 1000 sleeps of 1 ms"));
    }
}

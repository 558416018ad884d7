//! When a refused record is tried again: after a pause with full jitter, until its deadline.

use std::collections::BTreeMap;

use millrace_scenarios::Load;

use super::Record;
use crate::draws::{Draws, Purpose};

/// Retries become due on a grid this fine, so that records refused together can share a call again.
const SLOT_US: u64 = 10_000;

/// How refused records are tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The longest first pause.
    pub base_us: u64,
    /// The longest pause.
    pub cap_us: u64,
    /// How long after its due time a record may still be tried.
    pub deadline_us: u64,
    /// The seed of the jitter.
    pub seed: u64,
}

impl RetryPolicy {
    /// The policy of a scenario's `[load]`.
    #[must_use]
    pub fn new(load: &Load, seed: u64) -> Self {
        Self {
            base_us: load.retry_base.as_us(),
            cap_us: load.retry_cap.as_us(),
            deadline_us: load.deadline.as_us(),
            seed,
        }
    }

    /// The pause before the next attempt: uniform from 0 to `min(cap, base * 2^attempts)` ("full jitter", AWS
    /// Architecture Blog 2015), a pure function of seed, record and attempt. `attempts` is how often it was sent, from 1.
    #[must_use]
    pub fn pause_us(&self, sequence: u64, attempts: u32) -> u64 {
        let doubled = self.base_us.saturating_mul(1_u64.checked_shl(attempts.saturating_sub(1)).unwrap_or(u64::MAX));
        let longest = doubled.min(self.cap_us);
        let mut draws = Draws::new(self.seed ^ u64::from(attempts), Purpose::Pause, sequence);
        (draws.unit() * longest as f64) as u64
    }

    /// When a record refused at `now_us` is tried again; absent when that would be past its deadline.
    #[must_use]
    pub fn ready_us(&self, record: &Record, now_us: u64) -> Option<u64> {
        let pause_us = self.pause_us(record.sequence, record.attempts);
        let ready_us = now_us.saturating_add(pause_us).div_ceil(SLOT_US).saturating_mul(SLOT_US);
        (ready_us <= record.due_us.saturating_add(self.deadline_us)).then_some(ready_us)
    }
}

/// Records that pause, by the time they are tried again.
#[derive(Debug, Default)]
pub(super) struct RetryQueue {
    slots: BTreeMap<u64, Vec<Record>>,
}

impl RetryQueue {
    pub(super) fn push(&mut self, ready_us: u64, record: Record) {
        self.slots.entry(ready_us).or_default().push(record);
    }

    pub(super) fn next_us(&self) -> Option<u64> {
        self.slots.first_key_value().map(|(ready_us, _)| *ready_us)
    }

    /// Takes what is due by `now_us`.
    pub(super) fn take_due(&mut self, now_us: u64) -> Vec<Record> {
        let later = match now_us.checked_add(1) {
            Some(after) => self.slots.split_off(&after),
            None => BTreeMap::new(),
        };
        std::mem::replace(&mut self.slots, later).into_values().flatten().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy { base_us: 100_000, cap_us: 5_000_000, deadline_us: 30_000_000, seed: 1 };

    fn record(sequence: u64, due_us: u64, attempts: u32) -> Record {
        Record { sequence, due_us, data: Vec::new(), key: String::new(), attempts }
    }

    #[test]
    fn pauses_double_up_to_the_cap_and_are_uniform_below_it() {
        for (attempts, longest) in [(1, 100_000_u64), (2, 200_000), (6, 3_200_000), (7, 5_000_000), (400, 5_000_000)] {
            let pauses: Vec<u64> = (0..20_000).map(|s| POLICY.pause_us(s, attempts)).collect();
            let mean = pauses.iter().sum::<u64>() as f64 / pauses.len() as f64;
            assert!(pauses.iter().all(|p| *p < longest), "attempt {attempts}");
            assert!((mean / longest as f64 - 0.5).abs() < 0.02, "attempt {attempts}: mean {mean}");
        }
        assert_eq!(POLICY.pause_us(3, 2), POLICY.pause_us(3, 2));
    }

    #[test]
    fn a_record_is_given_up_when_its_next_attempt_would_miss_the_deadline() {
        assert_eq!(POLICY.ready_us(&record(1, 0, 1), 30_000_000), None);
        let ready = POLICY.ready_us(&record(1, 0, 1), 1_000_000).unwrap();
        assert!((1_000_000..=1_110_000).contains(&ready));
        assert_eq!(ready % SLOT_US, 0);
    }

    #[test]
    fn what_is_due_comes_out_and_the_rest_stays() {
        let mut queue = RetryQueue::default();
        for (ready, sequence) in [(30, 3), (10, 1), (20, 2), (10, 4)] {
            queue.push(ready, record(sequence, 0, 1));
        }
        assert_eq!(queue.next_us(), Some(10));
        assert_eq!(queue.take_due(20).iter().map(|r| r.sequence).collect::<Vec<_>>(), [1, 4, 2]);
        assert_eq!(queue.take_due(20), []);
        assert_eq!(queue.take_due(u64::MAX).len(), 1);
        assert!(queue.is_empty());
    }
}

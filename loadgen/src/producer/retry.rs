//! When a refused record is tried again: after a pause with full jitter, until its deadline.

use millrace_scenarios::Load;

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

    /// When a record that was refused at `now_us` after so many attempts is tried again; absent when that would be past
    /// its deadline.
    #[must_use]
    pub fn ready_us(&self, sequence: u64, due_us: u64, attempts: u32, now_us: u64) -> Option<u64> {
        let pause_us = self.pause_us(sequence, attempts);
        let ready_us = now_us.saturating_add(pause_us).div_ceil(SLOT_US).saturating_mul(SLOT_US);
        (ready_us <= due_us.saturating_add(self.deadline_us)).then_some(ready_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy { base_us: 100_000, cap_us: 5_000_000, deadline_us: 30_000_000, seed: 1 };

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
        assert_eq!(POLICY.ready_us(1, 0, 1, 30_000_000), None);
        let ready = POLICY.ready_us(1, 0, 1, 1_000_000).unwrap();
        assert!((1_000_000..=1_110_000).contains(&ready));
        assert_eq!(ready % SLOT_US, 0);
    }
}

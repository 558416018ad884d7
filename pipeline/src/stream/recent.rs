//! What may happen only so often in a day.

use serde::{Deserialize, Serialize};

const DAY_US: u64 = 24 * 3_600 * 1_000_000;

/// The times of something in the last 24 hours, oldest first. AWS counts "per rolling 24-hour period", so each time
/// counts until it is a day old. Bounded by the limit it is asked with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecentDay(Vec<u64>);

impl RecentDay {
    /// Notes one more, unless there were `max` in the last 24 hours. What is refused does not count.
    pub(crate) fn admit(&mut self, now_us: u64, max: usize) -> bool {
        self.0.retain(|time_us| now_us.saturating_sub(*time_us) < DAY_US);
        let admitted = self.0.len() < max;
        if admitted {
            self.0.push(now_us);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_counts_until_it_is_a_day_old_and_a_refusal_does_not_count() {
        let mut recent = RecentDay::default();
        assert!(recent.admit(5, 2) && recent.admit(100, 2));
        assert!(!recent.admit(101, 2) && !recent.admit(DAY_US + 4, 2));
        assert!(recent.admit(DAY_US + 5, 2));
        assert!(!recent.admit(DAY_US + 99, 2));
        assert!(recent.admit(DAY_US + 100, 2));
    }
}

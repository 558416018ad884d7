//! The part of a load that its verdict is drawn from: what is due between warm-up and cool-down.
//!
//! A record belongs to it by its due time alone. Caches fill and connections open in the warm-up, and the load ends in
//! the cool-down while the last answers are still on their way; both are measured, and neither is judged.

/// A span of due times (wall clock, microseconds since 1970).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeasuredWindow {
    from_us: u64,
    until_us: u64,
}

impl MeasuredWindow {
    /// The window of a schedule that begins at `first_due_us` and is `total_us` long.
    #[must_use]
    pub fn new(first_due_us: u64, total_us: u64, warm_up_us: u64, cool_down_us: u64) -> Self {
        let from_us = match warm_up_us {
            0 => 0,
            _ => first_due_us.saturating_add(warm_up_us),
        };
        let until_us = match cool_down_us {
            0 => u64::MAX,
            _ => first_due_us.saturating_add(total_us.saturating_sub(cool_down_us)),
        };
        Self { from_us, until_us }
    }

    /// Whether a record due then is judged.
    #[must_use]
    pub fn contains(&self, due_us: u64) -> bool {
        (self.from_us..self.until_us).contains(&due_us)
    }

    /// The first moment after the window; the end of time without a cool-down.
    #[must_use]
    pub fn until_us(&self) -> u64 {
        self.until_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_belongs_to_the_window_by_its_due_time() {
        let window = MeasuredWindow::new(1_000, 100, 10, 20);
        assert_eq!([1_009, 1_010, 1_079, 1_080].map(|due_us| window.contains(due_us)), [false, true, true, false]);
        let whole = MeasuredWindow::new(1_000, 100, 0, 0);
        assert!([0, 1_000, 1_100, u64::MAX - 1].into_iter().all(|due_us| whole.contains(due_us)));
    }
}

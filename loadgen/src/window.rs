//! How much of the measured window was offered: the rate is promised for the window, not for warm-up and cool-down.

use millrace_reports::window::MeasuredWindow;

/// Counts of the pacing thread over the measured window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WindowCount {
    window: MeasuredWindow,
    /// Until when a hand-over is in time.
    in_time_until_us: u64,
    due: u64,
    late: u64,
}

impl WindowCount {
    /// Nothing due yet; a hand-over counts as in time up to `grace_us` after the end of the window, or of the schedule
    /// (`end_us`, wall clock) when the window is open.
    pub(crate) fn new(window: MeasuredWindow, end_us: u64, grace_us: u64) -> Self {
        let in_time_until_us = window.until_us().min(end_us).saturating_add(grace_us);
        Self { window, in_time_until_us, due: 0, late: 0 }
    }

    /// Counts a record that was made.
    pub(crate) fn made(&mut self, due_us: u64) {
        self.due += u64::from(self.window.contains(due_us));
    }

    /// Counts records that were handed over.
    pub(crate) fn handed_over(&mut self, due_us: impl Iterator<Item = u64>, now_us: u64) {
        if now_us > self.in_time_until_us {
            self.late += due_us.filter(|due_us| self.window.contains(*due_us)).count() as u64;
        }
    }

    /// Records due in the window.
    pub(crate) fn due(&self) -> u64 {
        self.due
    }

    /// Of those, handed over by its end and grace.
    pub(crate) fn offered_in_time(&self) -> u64 {
        self.due.saturating_sub(self.late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_records_of_the_window_count_and_only_late_ones_are_missing() {
        let mut count = WindowCount::new(MeasuredWindow::new(1_000, 100, 10, 10), 1_100, 5);
        let due_us = [1_000, 1_010, 1_050, 1_089, 1_090];
        due_us.iter().for_each(|due_us| count.made(*due_us));
        count.handed_over(due_us[..2].iter().copied(), 1_095);
        assert_eq!((count.due(), count.offered_in_time()), (3, 3), "up to the grace it is in time");
        count.handed_over(due_us[2..].iter().copied(), 1_096);
        assert_eq!((count.due(), count.offered_in_time()), (3, 1));
    }

    #[test]
    fn without_a_cool_down_the_schedules_end_is_the_windows() {
        let mut count = WindowCount::new(MeasuredWindow::new(1_000, 100, 0, 0), 1_100, 5);
        [1_000, 1_050].iter().for_each(|due_us| count.made(*due_us));
        count.handed_over([1_000].into_iter(), 1_105);
        count.handed_over([1_050].into_iter(), 1_106);
        assert_eq!((count.due(), count.offered_in_time()), (2, 1));
    }
}

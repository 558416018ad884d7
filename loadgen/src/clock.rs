//! One clock for a run: wall time that never steps, and sleeps that end when they should.
//!
//! Wall time is read once, when the run starts; from there it advances with the monotonic clock. All latencies of a
//! run are differences on this one line, so a step of the system clock cannot bend them. Sleeping goes through
//! `clock_nanosleep` with an absolute time, because a timer wheel with 1 ms slots is 1 ms late by construction.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

mod os;

pub use os::{Usage, cpu_us};

/// Microseconds since 1970 that advance with the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
    origin_wall_us: u64,
    origin_monotonic_ns: u64,
}

impl Clock {
    /// Reads both clocks and ties them together.
    #[must_use]
    pub fn start() -> Self {
        let origin = Instant::now();
        let origin_monotonic_ns = os::monotonic_ns();
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let origin_wall_us = u64::try_from(since_1970.as_micros()).unwrap_or(u64::MAX);
        Self { origin, origin_wall_us, origin_monotonic_ns }
    }

    /// Now, in microseconds since 1970.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        let elapsed_us = u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.origin_wall_us.saturating_add(elapsed_us)
    }

    /// Blocks the calling thread until [`Clock::now_us`] has reached `wall_us`; returns at once when it has already.
    pub fn sleep_until(&self, wall_us: u64) {
        // The clock floors to microseconds, so the sleep may have to be asked for twice around the boundary.
        while self.now_us() < wall_us {
            let offset_ns = wall_us.saturating_sub(self.origin_wall_us).saturating_mul(1_000);
            os::sleep_until_ns(self.origin_monotonic_ns.saturating_add(offset_ns));
        }
    }

    /// The instant at which [`Clock::now_us`] reads `wall_us`, for asynchronous timers.
    #[must_use]
    pub fn instant(&self, wall_us: u64) -> Instant {
        self.origin + Duration::from_micros(wall_us.saturating_sub(self.origin_wall_us))
    }
}

/// Asks the kernel to wake the calling thread as precisely as it can. Call it once in a thread that paces.
pub fn sharpen_timers() {
    os::set_timer_slack_ns(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_never_ends_before_its_time() {
        sharpen_timers();
        let clock = Clock::start();
        for step in 1..=20 {
            let target = clock.now_us() + step * 50;
            clock.sleep_until(target);
            assert!(clock.now_us() >= target);
        }
    }

    #[test]
    fn a_sleep_until_the_past_returns() {
        let clock = Clock::start();
        clock.sleep_until(clock.now_us() - 1_000_000);
        clock.sleep_until(0);
    }

    #[test]
    fn the_clock_agrees_with_the_wall_and_never_goes_back() {
        let clock = Clock::start();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
        assert!(clock.now_us().abs_diff(wall) < 60_000_000);
        let mut last = 0;
        for _ in 0..10_000 {
            let now = clock.now_us();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn an_instant_maps_back_to_its_wall_time() {
        let clock = Clock::start();
        let ahead = clock.now_us() + 1_000_000;
        let gap = clock.instant(ahead) - Instant::now();
        assert!(gap <= Duration::from_secs(1));
    }

    #[test]
    fn cpu_time_grows_with_work() {
        let before = cpu_us();
        let mut sum = 0_u64;
        while cpu_us() < before + 1_000 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(cpu_us() > before);
    }
}

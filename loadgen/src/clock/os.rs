//! The only unsafe corner: four calls to the C library that the standard library does not offer.
//!
//! Each passes plain numbers and pointers to locals that outlive the call; none keeps a pointer.

use std::ptr;

/// The monotonic clock, in nanoseconds.
#[cfg(target_os = "linux")]
pub(super) fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    #[expect(unsafe_code, reason = "the standard library hides the clock's raw value, which absolute sleeps need")]
    // SAFETY: `now` is a valid timespec that outlives the call. CLOCK_MONOTONIC exists on every Linux.
    unsafe {
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now);
    }
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// Sleeps until the monotonic clock reads `ns`. May return early when a signal arrives; the caller looks at the clock.
#[cfg(target_os = "linux")]
pub(super) fn sleep_until_ns(ns: u64) {
    let until = libc::timespec {
        tv_sec: libc::time_t::try_from(ns / 1_000_000_000).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::try_from(ns % 1_000_000_000).unwrap_or(0),
    };
    #[expect(unsafe_code, reason = "no safe wrapper offers an absolute sleep")]
    // SAFETY: `until` is a valid timespec that outlives the call; with TIMER_ABSTIME the remainder is not written.
    unsafe {
        libc::clock_nanosleep(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &raw const until, ptr::null_mut());
    }
}

/// Sets how late the kernel may wake the calling thread in order to join wake-ups.
#[cfg(target_os = "linux")]
pub(super) fn set_timer_slack_ns(ns: libc::c_ulong) {
    #[expect(unsafe_code, reason = "no safe wrapper offers PR_SET_TIMERSLACK")]
    // SAFETY: PR_SET_TIMERSLACK takes one integer and touches only the calling thread's timer slack.
    unsafe {
        libc::prctl(libc::PR_SET_TIMERSLACK, ns);
    }
}

#[cfg(not(target_os = "linux"))]
mod portable {
    //! Elsewhere the standard library's relative sleep has to do; what it oversleeps shows in the lag.

    use std::{
        sync::OnceLock,
        thread,
        time::{Duration, Instant},
    };

    static START: OnceLock<Instant> = OnceLock::new();

    pub(in super::super) fn monotonic_ns() -> u64 {
        u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub(in super::super) fn sleep_until_ns(ns: u64) {
        thread::sleep(Duration::from_nanos(ns.saturating_sub(monotonic_ns())));
    }

    pub(in super::super) fn set_timer_slack_ns(_ns: libc::c_ulong) {}
}
#[cfg(not(target_os = "linux"))]
pub(super) use portable::{monotonic_ns, set_timer_slack_ns, sleep_until_ns};

/// What the process has used since it began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time, user and system, microseconds.
    pub cpu_us: u64,
    /// Times a thread gave up the processor by itself: a sleep, a lock, a wait for data.
    pub voluntary_switches: u64,
    /// Times a thread was taken off the processor although it had more to do.
    pub involuntary_switches: u64,
}

impl Usage {
    /// Reads the counters.
    #[must_use]
    pub fn now() -> Self {
        #[expect(unsafe_code, reason = "/proc counts CPU time in steps of 10 ms; getrusage has no safe wrapper here")]
        // SAFETY: a zeroed rusage is a valid value of this plain C struct, and it outlives the call that fills it.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
            usage
        };
        let us = |time: libc::timeval| {
            u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(time.tv_usec).unwrap_or(0)
        };
        Self {
            cpu_us: us(usage.ru_utime) + us(usage.ru_stime),
            voluntary_switches: u64::try_from(usage.ru_nvcsw).unwrap_or(0),
            involuntary_switches: u64::try_from(usage.ru_nivcsw).unwrap_or(0),
        }
    }
}

/// CPU time the process has used, user and system, in microseconds.
#[must_use]
pub fn cpu_us() -> u64 {
    Usage::now().cpu_us
}

//! CPU time of this process: the cost of a pass or a query that a busy machine does not distort.

/// User and system CPU time of the whole process so far, in microseconds (`getrusage(2)`, `RUSAGE_SELF`).
#[must_use]
pub fn process_cpu_us() -> u64 {
    // SAFETY: `rusage` is plain data for which all zeros is a value, and `getrusage` writes only into it.
    #[expect(unsafe_code, reason = "getrusage has no safe wrapper in the standard library")]
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let micros = |time: libc::timeval| {
        u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(time.tv_usec).unwrap_or(0)
    };
    micros(usage.ru_utime) + micros(usage.ru_stime)
}

/// CPU time of the thread that asks so far, in microseconds (`clock_gettime(2)`, `CLOCK_THREAD_CPUTIME_ID`). The counters
/// of `getrusage` move on only when the scheduler looks, which is too seldom for work of less than a millisecond.
#[must_use]
pub fn thread_cpu_us() -> u64 {
    // SAFETY: `timespec` is plain data for which all zeros is a value, and `clock_gettime` writes only into it.
    #[expect(unsafe_code, reason = "a thread's own clock has no safe wrapper in the standard library")]
    let time = unsafe {
        let mut time = std::mem::zeroed::<libc::timespec>();
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time);
        time
    };
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_grows_with_work_and_never_shrinks() {
        let before = process_cpu_us();
        let mut sum = 0_u64;
        while process_cpu_us() < before + 20_000 {
            sum = (0..100_000_u64).fold(sum, u64::wrapping_add);
        }
        assert!(std::hint::black_box(sum) > 0);
        assert!(process_cpu_us() >= before + 20_000);
    }

    #[test]
    fn a_threads_time_is_fine_grained_and_its_own() {
        let before = thread_cpu_us();
        let other = std::thread::spawn(|| {
            let start = thread_cpu_us();
            while thread_cpu_us() < start + 50_000 {}
        });
        other.join().unwrap();
        assert!(thread_cpu_us() < before + 50_000, "another thread's work is not this one's");
        let mut steps = Vec::new();
        while thread_cpu_us() < before + 60_000 {
            steps.push(thread_cpu_us());
        }
        steps.dedup();
        assert!(steps.len() > 1_000, "{} steps in 10 ms", steps.len());
    }
}

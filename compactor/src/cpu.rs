//! CPU time of this process: the cost of a pass or a query that a busy machine does not distort.

/// User and system CPU time of the whole process so far, in microseconds (`getrusage(2)`, `RUSAGE_SELF`).
#[must_use]
pub fn process_cpu_us() -> u64 {
    cpu_us(libc::RUSAGE_SELF)
}

/// The same of the thread that asks, where the system tells it; elsewhere 0.
#[must_use]
pub fn thread_cpu_us() -> u64 {
    if cfg!(target_os = "linux") { cpu_us(RUSAGE_THREAD) } else { 0 }
}

/// `RUSAGE_THREAD` of Linux, which has no name on other systems.
const RUSAGE_THREAD: libc::c_int = 1;

fn cpu_us(of: libc::c_int) -> u64 {
    // SAFETY: `rusage` is plain data for which all zeros is a value, and `getrusage` writes only into it.
    #[expect(unsafe_code, reason = "getrusage has no safe wrapper in the standard library")]
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        libc::getrusage(of, &raw mut usage);
        usage
    };
    let micros = |time: libc::timeval| {
        u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(time.tv_usec).unwrap_or(0)
    };
    micros(usage.ru_utime) + micros(usage.ru_stime)
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
}

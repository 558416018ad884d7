//! CPU time of this process: the cost of a pass or a query that a busy machine does not distort.

use std::{os::unix::thread::JoinHandleExt, thread::JoinHandle};

/// A processor clock, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(libc::clockid_t);

/// What the whole process used.
const PROCESS: Clock = Clock(libc::CLOCK_PROCESS_CPUTIME_ID);
/// What the thread that asks used.
const THREAD: Clock = Clock(libc::CLOCK_THREAD_CPUTIME_ID);

impl Clock {
    /// The clock of a thread.
    pub(crate) fn of<T>(thread: &JoinHandle<T>) -> Self {
        let mut id = libc::CLOCK_THREAD_CPUTIME_ID;
        // SAFETY: a thread that can still be joined has a name to the system, and the call writes only into `id`.
        #[expect(unsafe_code, reason = "another thread's clock has no safe wrapper in the standard library")]
        unsafe {
            libc::pthread_getcpuclockid(thread.as_pthread_t(), &raw mut id);
        }
        Self(id)
    }

    /// The time so far; zero when its thread has ended.
    pub(crate) fn us(self) -> u64 {
        // SAFETY: `timespec` is plain data for which all zeros is a value, and `clock_gettime` writes only into it.
        #[expect(unsafe_code, reason = "processor clocks have no safe wrapper in the standard library")]
        let time = unsafe {
            let mut time = std::mem::zeroed::<libc::timespec>();
            libc::clock_gettime(self.0, &raw mut time);
            time
        };
        u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000
    }
}

/// User and system CPU time of the whole process so far, in microseconds. The counters of `getrusage(2)` move on only when
/// the scheduler looks, which is too seldom for work of less than a millisecond; these do not.
#[must_use]
pub fn process_cpu_us() -> u64 {
    PROCESS.us()
}

/// CPU time of the thread that asks so far, in microseconds.
#[must_use]
pub fn thread_cpu_us() -> u64 {
    THREAD.us()
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
        let (done, wait) = (std::sync::mpsc::channel(), std::sync::mpsc::channel::<()>());
        let other = std::thread::spawn(move || {
            let start = thread_cpu_us();
            while thread_cpu_us() < start + 50_000 {}
            done.0.send(()).unwrap();
            let _ = wait.1.recv();
        });
        done.1.recv().unwrap();
        assert!(Clock::of(&other).us() >= 50_000, "others may read it");
        drop(wait.0);
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

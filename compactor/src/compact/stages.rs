//! Where the time of a pass goes, so that the next wall is known. Stages that run on worker threads count those threads'
//! processor time; listing and committing mostly wait, so they count the time that passed.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use millrace_reports::record::StageTimes;

use crate::cpu::thread_cpu_us;

/// Time by stage, added to from any thread.
#[derive(Debug, Default)]
pub(super) struct Stages {
    list_us: AtomicU64,
    inflate_us: AtomicU64,
    decode_us: AtomicU64,
    dedupe_us: AtomicU64,
    encode_us: AtomicU64,
    commit_us: AtomicU64,
}

/// Adds the processor time of this thread to a stage, from its making to its end. Work that waits in between must be
/// done by one thread (`block_on`).
pub(super) struct Working<'a> {
    to: &'a AtomicU64,
    since_us: u64,
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.to.fetch_add(thread_cpu_us().saturating_sub(self.since_us), Ordering::Relaxed);
    }
}

/// Adds the time that passes to a stage.
pub(super) struct Passing<'a> {
    to: &'a AtomicU64,
    since: Instant,
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        let passed = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.to.fetch_add(passed, Ordering::Relaxed);
    }
}

/// What work is done for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// From objects to columns; what of it is decompression is told by [`Stages::inflated`].
    Decode,
    /// Finding rows that are the same.
    Dedupe,
    /// From columns to Parquet.
    Encode,
}

impl Stages {
    pub(super) fn working(&self, stage: Stage) -> Working<'_> {
        let to = match stage {
            Stage::Decode => &self.decode_us,
            Stage::Dedupe => &self.dedupe_us,
            Stage::Encode => &self.encode_us,
        };
        Working { to, since_us: thread_cpu_us() }
    }

    pub(super) fn listing(&self) -> Passing<'_> {
        Passing { to: &self.list_us, since: Instant::now() }
    }

    pub(super) fn committing(&self) -> Passing<'_> {
        Passing { to: &self.commit_us, since: Instant::now() }
    }

    /// So much of a decoding job's time went to decompression.
    pub(super) fn inflated(&self, inflate_us: u64) {
        self.inflate_us.fetch_add(inflate_us, Ordering::Relaxed);
    }

    /// What was added since the last call.
    pub(super) fn take(&self) -> StageTimes {
        let take = |stage: &AtomicU64| stage.swap(0, Ordering::Relaxed);
        let (inflate_us, decode_us) = (take(&self.inflate_us), take(&self.decode_us));
        StageTimes {
            list_us: take(&self.list_us),
            inflate_us,
            decode_us: decode_us.saturating_sub(inflate_us),
            dedupe_us: take(&self.dedupe_us),
            encode_us: take(&self.encode_us),
            commit_us: take(&self.commit_us),
        }
    }
}

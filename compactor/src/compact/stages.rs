//! Where the processor time of a pass goes, so that the next wall is known. Jobs on worker threads count what those threads
//! used. What all other threads used (the runtime's and its blocking ones, where files are opened, listed and synced)
//! counts for what the pass is at; it is one thing at a time. The stages together are all that the process used.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use millrace_reports::record::StageTimes;

use crate::cpu::{Clock, process_cpu_us, thread_cpu_us};

/// Time by stage, added to from any thread.
#[derive(Debug, Default)]
pub(super) struct Stages {
    list_us: AtomicU64,
    inflate_us: AtomicU64,
    decode_us: AtomicU64,
    dedupe_us: AtomicU64,
    encode_us: AtomicU64,
    commit_us: AtomicU64,
    /// The clocks of the worker threads, which live as long as this does.
    workers: Mutex<Vec<Clock>>,
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

/// Adds the processor time of all threads but the workers to a stage, from its making to its end.
pub(super) struct Passing<'a> {
    stages: &'a Stages,
    to: &'a AtomicU64,
    since_us: u64,
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        self.to.fetch_add(self.stages.others_us().saturating_sub(self.since_us), Ordering::Relaxed);
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

    /// The pass lists the lake.
    pub(super) fn listing(&self) -> Passing<'_> {
        self.passing(&self.list_us)
    }

    /// The pass writes data files; the workers' part is counted for itself.
    pub(super) fn writing(&self) -> Passing<'_> {
        self.passing(&self.encode_us)
    }

    /// The pass brings what was written into the table.
    pub(super) fn committing(&self) -> Passing<'_> {
        self.passing(&self.commit_us)
    }

    fn passing<'a>(&'a self, to: &'a AtomicU64) -> Passing<'a> {
        Passing { stages: self, to, since_us: self.others_us() }
    }

    /// This thread is a worker: what it uses counts for its jobs.
    pub(super) fn add_worker<T>(&self, thread: &JoinHandle<T>) {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).push(Clock::of(thread));
    }

    /// What all threads but the workers used so far.
    fn others_us(&self) -> u64 {
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let workers_us: u64 = workers.iter().map(|clock| clock.us()).sum();
        process_cpu_us().saturating_sub(workers_us)
    }

    /// So much of a decoding job's time went to decompression.
    pub(super) fn inflated(&self, inflate_us: u64) {
        self.inflate_us.fetch_add(inflate_us, Ordering::Relaxed);
    }

    /// What was added since the last call, of `cpu_us` in all; what no stage counted is other work.
    pub(super) fn take(&self, cpu_us: u64) -> StageTimes {
        let take = |stage: &AtomicU64| stage.swap(0, Ordering::Relaxed);
        let (inflate_us, decode_us) = (take(&self.inflate_us), take(&self.decode_us));
        let mut times = StageTimes {
            list_us: take(&self.list_us),
            inflate_us,
            decode_us: decode_us.saturating_sub(inflate_us),
            dedupe_us: take(&self.dedupe_us),
            encode_us: take(&self.encode_us),
            commit_us: take(&self.commit_us),
            other_us: 0,
        };
        let counted =
            [times.list_us, times.inflate_us, times.decode_us, times.dedupe_us, times.encode_us, times.commit_us];
        times.other_us = cpu_us.saturating_sub(counted.iter().sum());
        times
    }
}

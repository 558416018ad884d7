//! The threads that do the work: one a core, for as long as the compactor lives. What one of them allocated for a batch it
//! finds again for the next, which is why the runtime's own blocking threads, of which there are many, are not used.
//!
//! A job never waits for another job, so one thread is enough.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use tokio::sync::oneshot;

use super::stages::{Stage, Stages};
use crate::error::CompactError;

type Job = Box<dyn FnOnce() + Send>;

/// Threads that do jobs, and the time these took.
#[derive(Debug)]
pub(super) struct Workers {
    jobs: Sender<Job>,
    /// Jobs that can be done at once.
    pub(super) count: usize,
    pub(super) stages: Arc<Stages>,
}

impl Workers {
    /// One thread for each core. They end when this and all its jobs are gone.
    ///
    /// # Errors
    /// [`CompactError::Worker`] when a thread cannot be started.
    pub(super) fn start() -> Result<Self, CompactError> {
        let count = thread::available_parallelism().map_or(1, usize::from);
        let (jobs, taken) = channel();
        let (taken, stages) = (Arc::new(Mutex::new(taken)), Arc::<Stages>::default());
        for number in 0..count {
            let taken = Arc::clone(&taken);
            let thread = thread::Builder::new().name(format!("compact-{number}")).spawn(move || work(&taken));
            stages.add_worker(&thread.map_err(|e| CompactError::Worker(e.to_string()))?);
        }
        Ok(Self { jobs, count, stages })
    }

    /// Has a job done; its processor time counts for `stage`.
    ///
    /// # Errors
    /// What the job returns, or [`CompactError::Worker`] when it panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        stage: Stage,
        job: impl FnOnce() -> Result<T, CompactError> + Send + 'static,
    ) -> Result<T, CompactError> {
        let (done, result) = oneshot::channel();
        let stages = Arc::clone(&self.stages);
        let job = move || {
            let clock = stages.working(stage);
            let result = catch_unwind(AssertUnwindSafe(job));
            drop(clock);
            // Who asked may be gone: then the result is of no use.
            let _ = done.send(result);
        };
        let ended = |_| CompactError::Worker("a thread ended".to_owned());
        self.jobs.send(Box::new(job)).map_err(|_| CompactError::Worker("the threads ended".to_owned()))?;
        match result.await.map_err(ended)? {
            Ok(result) => result,
            Err(panic) => {
                let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
                Err(CompactError::Worker(format!("a job panicked: {}", text.as_deref().unwrap_or("without a word"))))
            }
        }
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        job();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_that_panics_is_an_error_and_the_next_one_is_done() {
        let workers = Workers::start().unwrap();
        for _ in 0..2 * workers.count {
            let failed = workers.run(Stage::Dedupe, || -> Result<(), _> { panic!("so {}", "it is") }).await;
            assert!(matches!(failed, Err(CompactError::Worker(text)) if text.contains("so it is")));
        }
        assert_eq!(workers.run(Stage::Dedupe, || Ok(7)).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn the_time_of_a_job_counts_for_its_stage() {
        let workers = Workers::start().unwrap();
        let job = || {
            let until_us = crate::cpu::thread_cpu_us() + 20_000;
            while crate::cpu::thread_cpu_us() < until_us {}
            Ok(())
        };
        workers.run(Stage::Encode, job).await.unwrap();
        let times = workers.stages.take(1_000_000);
        assert!(times.encode_us >= 20_000 && times.dedupe_us == 0, "{times:?}");
        assert_eq!(times.encode_us + times.other_us, 1_000_000, "what no stage counted is told as such");
        assert_eq!(workers.stages.take(0).encode_us, 0, "time is told once");
    }

    #[tokio::test]
    async fn what_other_threads_use_counts_for_what_the_pass_is_at_and_the_workers_part_does_not() {
        let burn = |us: u64| {
            let until_us = crate::cpu::thread_cpu_us() + us;
            while crate::cpu::thread_cpu_us() < until_us {}
        };
        let workers = Workers::start().unwrap();
        let clock = workers.stages.committing();
        let job = move || {
            burn(60_000);
            Ok(())
        };
        workers.run(Stage::Encode, job).await.unwrap();
        tokio::task::spawn_blocking(move || burn(20_000)).await.unwrap();
        drop(clock);
        let times = workers.stages.take(0);
        assert!(times.encode_us >= 60_000 && times.commit_us >= 20_000, "{times:?}");
    }
}

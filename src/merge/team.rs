//! The records that are to be joined: whether they are the workers of one run, and who is not among them.

use std::path::{Path, PathBuf};

use millrace_reports::{
    RunRecord,
    latency::LoggedLatency,
    record::{LoadRecord, Outcome, PromiseKind, WorkerRecord},
};

use crate::{failure::Failure, report};

/// One worker's record and log.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) folder: PathBuf,
    pub(super) record: RunRecord,
    pub(super) load: LoadRecord,
    pub(super) worker: WorkerRecord,
    pub(super) latency: LoggedLatency,
}

/// The workers of one run, by index.
#[derive(Debug)]
pub(super) struct Team {
    pub(super) parts: Vec<Part>,
    pub(super) count: u32,
}

impl Part {
    /// Reads what a worker wrote into its folder.
    pub(super) fn read(folder: &Path) -> Result<Self, Failure> {
        let record = report::read(folder)?;
        let latency = LoggedLatency::read(&folder.join("latency.hlog")).map_err(|e| Failure::of(&e, true))?;
        let alone = || {
            Failure::configuration(
                format!("{}: not the record of a worker", folder.display()),
                "give the folders that `millrace load --worker I/N` wrote",
            )
        };
        let load = record.load.clone().ok_or_else(alone)?;
        let worker = load.worker.ok_or_else(alone)?;
        Ok(Self { folder: folder.to_owned(), record, load, worker, latency })
    }

    /// How it is called in what is said about it.
    pub(super) fn name(&self) -> String {
        format!("worker {} of {}", self.worker.index, self.worker.count)
    }

    /// Why its environment failed, when it did.
    fn failure(&self) -> Option<String> {
        let verdict = &self.record.verdict;
        let reason = verdict.promises.iter().find(|p| p.kind == PromiseKind::Environment && !p.kept);
        (verdict.outcome == Outcome::Failed)
            .then(|| format!("{}: {}", self.name(), reason.map_or("it failed", |promise| &promise.detail)))
    }

    /// What makes a record one of another run, with its value here.
    fn identity(&self) -> [(&'static str, String); 5] {
        let run = &self.record.run;
        [
            ("run id", run.id.clone()),
            ("scenario", run.scenario.clone()),
            ("seed", run.seed.to_string()),
            ("number of workers", self.worker.count.to_string()),
            ("scenario's text", self.record.scenario.to_string()),
        ]
    }
}

impl Team {
    /// Puts the workers in order. Records of different runs, and the same worker twice, cannot be joined.
    pub(super) fn of(mut parts: Vec<Part>) -> Result<Self, Failure> {
        parts.sort_by_key(|part| part.worker.index);
        let Some(first) = parts.first() else {
            return Err(Failure::configuration("there is nothing to join", "give the folders of a run's workers"));
        };
        let help = "join the workers of one run only: same --run-id, scenario, overrides, seed and number of workers";
        for part in &parts[1..] {
            for ((name, here), (_, there)) in first.identity().into_iter().zip(part.identity()) {
                if here != there {
                    let (a, b) = (first.folder.display(), part.folder.display());
                    // A scenario is pages long; that it differs is enough.
                    let values =
                        if name == "scenario's text" { String::new() } else { format!(": {here} and {there}") };
                    return Err(Failure::configuration(format!("{a} and {b} differ in their {name}{values}"), help));
                }
            }
        }
        if let Some(twice) = parts.windows(2).find(|pair| pair[0].worker.index == pair[1].worker.index) {
            let (a, b) = (twice[0].folder.display(), twice[1].folder.display());
            let message = format!("{} is there twice: {a} and {b}", twice[0].name());
            return Err(Failure::configuration(message, "give each worker's folder once"));
        }
        let count = first.worker.count;
        Ok(Self { parts, count })
    }

    /// The workers whose record is not here.
    pub(super) fn missing(&self) -> Vec<u32> {
        (0..self.count).filter(|index| !self.parts.iter().any(|part| part.worker.index == *index)).collect()
    }

    /// Why the run as a whole is not complete: a worker is missing, or its environment failed.
    pub(super) fn failure(&self) -> Option<String> {
        let missing = self.missing().into_iter().map(|index| format!("worker {index} of {} is missing", self.count));
        let reasons: Vec<_> = missing.chain(self.parts.iter().filter_map(Part::failure)).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    /// Whether a signal ended a worker.
    pub(super) fn interrupted(&self) -> bool {
        self.parts.iter().any(|part| part.record.verdict.outcome == Outcome::Interrupted)
    }
}

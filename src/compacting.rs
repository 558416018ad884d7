//! The compactor beside a running load: a pass every now and then, and a last one when everything has landed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use millrace_compactor::{Clock, CompactError, Compactor, CompactorConfig, Location};
use millrace_reports::{
    latency::{HopRecorder, LatencyLog},
    record::{CompactionRecord, HopLatency},
};
use millrace_scenarios::{Hop, Scenario};
use tokio::{sync::watch, task::JoinHandle};

use crate::failure::{Failure, chain};

/// A compactor at work.
pub(crate) struct Compacting {
    /// Rows in the table so far.
    pub(crate) rows: Arc<AtomicU64>,
    landed: watch::Sender<bool>,
    task: JoinHandle<Compacted>,
}

/// What the compactor did, whether or not it came to its end.
#[derive(Debug)]
pub(crate) struct Compacted {
    pub(crate) record: CompactionRecord,
    pub(crate) latency: Option<HopLatency>,
    pub(crate) failure: Option<String>,
}

impl Compacting {
    /// Opens the table and starts to look for objects every `table.every`.
    pub(crate) async fn start(
        lake: Location,
        table: Location,
        scenario: &Scenario,
        run: &str,
        log: &Arc<LatencyLog>,
        interval: Duration,
    ) -> Result<Self, Failure> {
        let compactor = open(config(lake, table, scenario).with_run(run)).await?;
        let recorder = HopRecorder::new(Hop::Committed, Arc::clone(log), interval);
        let rows = Arc::new(AtomicU64::new(0));
        let (landed, all_landed) = watch::channel(false);
        let every = scenario.table.every.duration();
        let task = tokio::spawn(work(compactor, recorder, every, all_landed, Arc::clone(&rows)));
        Ok(Self { rows, landed, task })
    }

    /// Everything has landed: a last pass, then the sum.
    pub(crate) async fn finish(self) -> Compacted {
        self.landed.send_replace(true);
        self.task.await.unwrap_or_else(|panic| Compacted {
            record: CompactionRecord::default(),
            latency: None,
            failure: Some(format!("the compactor stopped: {panic}")),
        })
    }
}

/// What the scenario says to the compactor.
pub(crate) fn config(lake: Location, table: Location, scenario: &Scenario) -> CompactorConfig {
    CompactorConfig::new(lake, table, scenario.table.clone(), Clock::system())
        .with_error_prefix(&scenario.delivery.error_prefix)
}

/// Opens lake and table, finishing what a crash left undone.
pub(crate) async fn open(config: CompactorConfig) -> Result<Compactor, Failure> {
    Compactor::open(config).await.map_err(|e| Failure::of(&e, e.is_configuration()))
}

async fn work(
    mut compactor: Compactor,
    mut recorder: HopRecorder,
    every: Duration,
    mut all_landed: watch::Receiver<bool>,
    rows: Arc<AtomicU64>,
) -> Compacted {
    let failure = loop {
        let last = tokio::select! {
            () = tokio::time::sleep(every) => false,
            _ = all_landed.wait_for(|landed| *landed) => true,
        };
        let pass: Result<_, CompactError> = compactor.pass(Some(&mut recorder)).await;
        rows.store(compactor.record().table_rows, Ordering::Relaxed);
        match pass {
            Err(error) => break Some(chain(&error)),
            Ok(_) if last => break None,
            Ok(_) => {}
        }
    };
    let record = compactor.record();
    match recorder.finish() {
        Ok(latency) => Compacted { record, latency: Some(latency), failure },
        Err(error) => Compacted { record, latency: None, failure: failure.or(Some(chain(&error))) },
    }
}

//! A load without a stream before it: the local delivery stream that takes PutRecordBatch, and lands what it took.

use std::sync::{Arc, Mutex, PoisonError};

use millrace_compactor::store::Location;
use millrace_loadgen::{ledger::Ledger, stamp};
use millrace_pipeline::{
    delivery::{DeliveryConfig, Limits, Progress, RetryPolicy},
    stream::{Firehose, FirehoseWitness, SystemClock},
};
use millrace_reports::latency::{HopRecorder, LatencyLog};
use millrace_scenarios::{Hop, PutCall, Scenario};

use crate::{
    failure::{Failure, chain},
    landing::Landed,
    pace,
    run_folder::RunFolder,
};

/// Whether a scenario's load goes to a delivery stream directly.
pub(crate) fn is_meant(scenario: &Scenario) -> bool {
    scenario.load.call == PutCall::PutRecordBatch
}

/// The delivery stream of a run in this process.
pub(crate) struct Direct {
    pub(crate) firehose: Firehose,
    pub(crate) progress: Arc<Progress>,
    /// The records of this run that it took.
    pub(crate) ledger: Arc<Mutex<Ledger>>,
    register: Arc<Register>,
}

impl Direct {
    /// Opens a delivery stream with the name of the scenario's stream, into `lake`.
    pub(crate) fn start(
        scenario: &Scenario,
        folder: &RunFolder,
        lake: &Location,
        log: &Arc<LatencyLog>,
    ) -> Result<Self, Failure> {
        let config = DeliveryConfig {
            stream: scenario.stream.name.clone(),
            spec: scenario.delivery.clone(),
            lake: lake.url.to_string(),
            store: Arc::clone(&lake.store),
            root: lake.root.clone(),
            clock: Arc::new(SystemClock),
            seed: scenario.seed ^ folder.started_us,
            landed: Some(HopRecorder::new(Hop::Landed, Arc::clone(log), pace::interval(scenario))),
            retry: RetryPolicy::default(),
            limits: Limits::default(),
        };
        let ledger = Arc::<Mutex<Ledger>>::default();
        let register = Arc::new(Register::new(&folder.id, Arc::clone(&ledger)));
        let witness = Arc::clone(&register);
        let started = Firehose::start_witnessed(config, witness);
        let (firehose, progress) = started.map_err(|e| Failure::of(&e, e.is_configuration()))?;
        Ok(Self { firehose, progress, ledger, register })
    }

    /// Takes no more, waits until everything has landed, and sums up.
    pub(crate) async fn finish(&self) -> Landed {
        let closed = self.firehose.close().await;
        let foreign = self.register.foreign();
        match closed {
            Ok(landed) => {
                let (record, latency) = landed.into_iter().next().unwrap_or_else(|| (self.progress.record(), None));
                Landed { record, latency, foreign, failure: None }
            }
            Err(error) => {
                let (record, failure) = (self.progress.record(), Some(chain(&error)));
                Landed { record, latency: None, foreign, failure }
            }
        }
    }
}

/// Ticks off what the delivery stream takes.
#[derive(Debug)]
struct Register {
    run_id: String,
    /// The ledger's name of a place without shards.
    no_shard: Arc<str>,
    ledger: Arc<Mutex<Ledger>>,
    foreign: Mutex<u64>,
}

impl Register {
    fn new(run_id: &str, ledger: Arc<Mutex<Ledger>>) -> Self {
        Self { run_id: run_id.to_owned(), no_shard: "".into(), ledger, foreign: Mutex::default() }
    }

    /// Records of other runs and producers.
    fn foreign(&self) -> u64 {
        *self.foreign.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stamp<'a>(&self, data: &'a [u8]) -> Option<stamp::Stamp<'a>> {
        stamp::read(data).filter(|stamp| stamp.run == self.run_id)
    }
}

impl FirehoseWitness for Register {
    fn due_us(&self, data: &[u8]) -> Option<i64> {
        self.stamp(data).and_then(|stamp| i64::try_from(stamp.due_us).ok())
    }

    fn taken(&self, records: &[&[u8]]) {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        for record in records {
            match self.stamp(record) {
                Some(stamp) => drop(ledger.tick(&self.no_shard, stamp.sequence)),
                None => *self.foreign.lock().unwrap_or_else(PoisonError::into_inner) += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use millrace_loadgen::stamp::Stamper;

    use super::*;

    #[test]
    fn what_was_taken_twice_or_is_somebody_elses_is_told_apart() {
        let ledger = Arc::<Mutex<Ledger>>::default();
        let register = Register::new("mine", Arc::clone(&ledger));
        let stamped = |run: &str, sequence, due_us| {
            let mut json = b"{}".to_vec();
            Stamper::new(run).stamp(&mut json, false, sequence, due_us).unwrap();
            json
        };
        let records = [stamped("mine", 0, 10), stamped("other", 1, 20), b"no stamp".to_vec(), stamped("mine", 0, 10)];
        assert_eq!(records.each_ref().map(|record| register.due_us(record)), [Some(10), None, None, Some(10)]);
        register.taken(&records.each_ref().map(Vec::as_slice));
        let account = ledger.lock().unwrap().account(&millrace_loadgen::ledger::IntervalSet::default());
        assert_eq!((account.unacknowledged, account.duplicated, register.foreign()), (1, 1, 2));
    }
}

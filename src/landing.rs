//! The stream into the lake. The rooms do not know each other: here the load generator's reader feeds the delivery.

use std::{sync::Arc, time::Duration};

use millrace_compactor::store::Location;
use millrace_loadgen::{
    Clock, aggregation,
    client::StreamClient,
    reader::{ShardBatch, ShardReader, Start},
    stamp,
};
use millrace_pipeline::{
    delivery::{DeliveredRecord, Delivery, DeliveryConfig, Limits, Progress, RetryPolicy},
    stream::SystemClock,
};
use millrace_reports::{
    latency::{HopRecorder, LatencyLog},
    record::{DeliveryRecord, HopLatency},
};
use millrace_scenarios::{Hop, Scenario};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{
    failure::{Failure, chain},
    run_folder::RunFolder,
};

/// How often buffers are looked at for their age.
const TICK: Duration = Duration::from_millis(200);
/// Batches between reader and delivery; when delivery falls behind, the reader waits and the stream keeps the records.
const BATCHES_AHEAD: usize = 16;

/// A delivery at work.
pub(crate) struct Landing {
    pub(crate) progress: Arc<Progress>,
    reader: ShardReader,
    failed: watch::Receiver<bool>,
    task: JoinHandle<Landed>,
}

/// What delivery did, whether or not it came to its end.
#[derive(Debug)]
pub(crate) struct Landed {
    pub(crate) record: DeliveryRecord,
    pub(crate) latency: Option<HopLatency>,
    /// Records that carry another run's stamp or none.
    pub(crate) foreign: u64,
    /// Why records are missing from the lake.
    pub(crate) failure: Option<String>,
}

impl Landing {
    /// Starts to read `stream` and to write the lake. Only records from `folder`'s start on are read.
    pub(crate) fn start(
        scenario: &Scenario,
        folder: &RunFolder,
        stream: &StreamClient,
        lake: &Location,
        log: &Arc<LatencyLog>,
        interval: Duration,
    ) -> Result<Self, Failure> {
        let config = DeliveryConfig {
            stream: scenario.stream.name.clone(),
            spec: scenario.delivery.clone(),
            lake: lake.url.to_string(),
            store: Arc::clone(&lake.store),
            root: lake.root.clone(),
            clock: Arc::new(SystemClock),
            seed: scenario.seed ^ folder.started_us,
            landed: Some(HopRecorder::new(Hop::Landed, Arc::clone(log), interval)),
            retry: RetryPolicy::default(),
            limits: Limits::default(),
        };
        let delivery = Delivery::new(config).map_err(|e| Failure::of(&e, e.is_configuration()))?;
        let (batches, arriving) = mpsc::channel(BATCHES_AHEAD);
        // Earlier runs' records stay where they are.
        let start = Start::AtTimestamp(folder.started_us);
        let reader =
            ShardReader::spawn(stream.clone(), scenario.delivery.poll.duration(), start, Clock::start(), batches);
        let progress = delivery.progress();
        let (fail, failed) = watch::channel(false);
        let task = tokio::spawn(land(delivery, arriving, folder.id.clone(), fail));
        Ok(Self { progress, reader, failed, task })
    }

    /// The caller's `stop`, which also turns true when nothing more can land: there is no point in loading on.
    pub(crate) fn stop_when_failed(&self, stop: &watch::Receiver<bool>) -> watch::Receiver<bool> {
        let (either, stopped) = watch::channel(*stop.borrow());
        let (mut stop, mut failed) = (stop.clone(), self.failed.clone());
        tokio::spawn(async move {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => {}
                _ = failed.wait_for(|failed| *failed) => {}
            }
            either.send_replace(true);
        });
        stopped
    }

    /// Reads to the tip of every shard, unless the stream is `gone`; then writes every buffer, and sums up.
    pub(crate) async fn finish(self, gone: bool) -> Landed {
        if gone {
            self.reader.stop();
        } else {
            self.reader.stop_when_caught_up();
        }
        let read = self.reader.finished().await;
        let mut landed = self.task.await.unwrap_or_else(|panic| Landed {
            record: self.progress.record(),
            latency: None,
            foreign: 0,
            failure: Some(format!("delivery stopped: {panic}")),
        });
        if let Err(error) = read {
            landed.failure.get_or_insert_with(|| chain(&error));
        }
        landed
    }
}

/// Offers what arrives until the reader ends, then flushes. A lake that refuses for longer than delivery's patience ends it.
async fn land(
    mut delivery: Delivery,
    mut arriving: mpsc::Receiver<ShardBatch>,
    run_id: String,
    fail: watch::Sender<bool>,
) -> Landed {
    let mut ticks = tokio::time::interval(TICK);
    let mut foreign = 0;
    let mut failure = None;
    loop {
        let step = tokio::select! {
            batch = arriving.recv() => match batch {
                Some(batch) => delivery.offer(delivered(batch, &run_id, &mut foreign)).await,
                None => break,
            },
            _ = ticks.tick() => delivery.tick().await,
        };
        if let Err(error) = step {
            failure = Some(chain(&error));
            fail.send_replace(true);
            break;
        }
    }
    // Whatever failed, every record that was taken gets one more chance to land.
    if let Err(error) = delivery.flush().await {
        failure.get_or_insert_with(|| chain(&error));
    }
    let progress = delivery.progress();
    match delivery.finish() {
        Ok((record, latency)) => Landed { record, latency, foreign, failure },
        Err(error) => {
            Landed { record: progress.record(), latency: None, foreign, failure: failure.or(Some(chain(&error))) }
        }
    }
}

/// The batch as delivery takes it; the stamp says when each record was due, for the landed latency. What comes packed by
/// the Kinesis Producer Library is taken apart first, as Firehose does it.
fn delivered(batch: ShardBatch, run_id: &str, foreign: &mut u64) -> Vec<DeliveredRecord> {
    let mut records = Vec::with_capacity(batch.records.len());
    let mut deliver = |data, arrival_us| {
        let mut record = DeliveredRecord { data, arrival_us, due_us: None };
        record.due_us = stamp::read(&record.data)
            .filter(|stamp| stamp.run == run_id)
            .and_then(|stamp| i64::try_from(stamp.due_us).ok());
        *foreign += u64::from(record.due_us.is_none());
        records.push(record);
    };
    for record in batch.records {
        if let Some(packed) = aggregation::deaggregate(&record.data) {
            packed.for_each(|user| deliver(record.data.slice_ref(user.data), record.arrival_us));
        } else {
            deliver(record.data, record.arrival_us);
        }
    }
    records
}

#[cfg(test)]
mod tests {
    use millrace_loadgen::{aggregation::Aggregator, reader::ArrivedRecord, stamp::Stamper};

    use super::*;

    #[test]
    fn an_aggregate_is_delivered_record_by_record() {
        let stamped = |run: &str, sequence, due_us| {
            let mut json = b"{}".to_vec();
            Stamper::new(run).stamp(&mut json, false, sequence, due_us).unwrap();
            json
        };
        let users = [stamped("mine", 0, 10), stamped("other", 0, 20), stamped("mine", 1, 30)];
        let mut aggregator = Aggregator::new(10_000);
        users.iter().for_each(|user| aggregator.push("k", None, user));
        let mut blob = Vec::new();
        aggregator.finish(&mut blob);
        let broken = blob[..blob.len() - 1].to_vec();
        let arrived = |(index, data): (usize, Vec<u8>)| ArrivedRecord {
            data: data.into(),
            partition_key: "k".to_owned(),
            sequence_number: index.to_string(),
            arrival_us: 100 + index as i64,
        };
        let plain = stamped("mine", 2, 40);
        let records = [blob, broken.clone(), plain.clone()].into_iter().enumerate().map(arrived).collect();
        let batch = ShardBatch { shard: "s".into(), records, read_us: 200, millis_behind: 0 };
        let mut foreign = 0;
        let delivered = delivered(batch, "mine", &mut foreign);
        let seen: Vec<_> = delivered.iter().map(|r| (r.data.to_vec(), r.arrival_us, r.due_us)).collect();
        let [a, b, c] = users;
        let expected =
            [(a, 100, Some(10)), (b, 100, None), (c, 100, Some(30)), (broken, 101, None), (plain, 102, Some(40))];
        assert_eq!(seen, expected);
        assert_eq!(foreign, 2, "another run's, and one that is none");
    }
}

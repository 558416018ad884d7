//! The leg: source, pacer, producer, consumer and harness meter, started, joined and summed up.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use millrace_reports::{
    latency::LatencyLog,
    record::{HarnessRecord, HopLatency, LedgerShard, LoadRecord, WorkerRecord},
    window::MeasuredWindow,
};
use millrace_scenarios::{Order, PutCall, Scenario, event::rate_changes};
use tokio::sync::watch;

use crate::{
    client::StreamClient,
    clock::Clock,
    consumer::{Consumer, Patience},
    error::LoadError,
    events::Events,
    fingerprint::Fingerprint,
    harness::{HarnessMeter, LoadEvidence, MAX_EXCESS_LAG_P99_US},
    keys::KeyPlan,
    ledger::Ledger,
    live_shards::LiveShards,
    pacer::Pacer,
    producer::{Books, Producer, Recorders, Settings, api::Api, packer::Packer, stopped},
    progress::LoadProgress,
    reader::Start,
    shards::{self, ShardMap},
    slice::Slice,
    source::{self, PayloadSource},
    stamp::Stamper,
    timeline::Timeline,
    timetable::{Feed, Timetable},
};

mod outcome;

use outcome::{Learnt, outcome};

/// How far ahead of a load that is prepared its first due time is: the pacer has yet to make its first call.
pub const LEAD_US: u64 = 20_000;
/// How far before the load the consumer begins to read. A fixed LATEST would race with the first record, and the
/// stream's clock may be behind ours; records of others in between are told by their run.
const READ_BACK_US: u64 = 60_000_000;
/// How long an interrupted load waits for what it sent.
const INTERRUPTED_PATIENCE: Patience = Patience { quiet: Duration::from_secs(2), total: Duration::from_secs(5) };

/// Who says what the target took.
#[derive(Debug, Clone)]
pub enum Witness {
    /// A consumer of the stream, which is part of the load.
    Consumer,
    /// Somebody else, who ticks off in this ledger what has come: a delivery stream in this process.
    Other(Arc<Mutex<Ledger>>),
    /// Nobody: nothing is said about what was kept.
    Nobody,
}

/// One load, ready to run.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    /// What to send, and how.
    pub scenario: Arc<Scenario>,
    /// The run's id, written into every record.
    pub run_id: String,
    /// The run's folder; it exists.
    pub run_dir: PathBuf,
    /// The stream, at an endpoint that was [reached](crate::client::connect).
    pub stream: StreamClient,
    /// Who says what the target took.
    pub witness: Witness,
    /// Which of the schedule's records this worker sends.
    pub slice: Slice,
    /// When the stream became usable, microseconds since 1970.
    pub ready_us: u64,
    /// The run's latency log; its origin becomes the first due time.
    pub log: Arc<LatencyLog>,
    /// Length of the intervals of every course over time.
    pub interval: Duration,
    /// The run's clock.
    pub clock: Clock,
}

/// What a load did.
#[derive(Debug)]
pub struct LoadOutcome {
    /// Counts and rates.
    pub record: LoadRecord,
    /// Lag, service, response, arrival and read.
    pub latency: Vec<HopLatency>,
    /// Records accepted but never read.
    pub lost: u64,
    /// Records read more than once, counted each time too often.
    pub duplicated: u64,
    /// Records read that were never acknowledged.
    pub unacknowledged: u64,
    /// The first hundred ranges of lost sequence numbers, inclusive.
    pub lost_ranges: Vec<(u64, u64)>,
    /// Accepted against read, by shard.
    pub shards: Vec<LedgerShard>,
    /// Different records of this run that the [`Witness`] has seen; absent when there was none.
    pub read: Option<u64>,
    /// Records of other runs and producers that were read.
    pub foreign: u64,
    /// Records of this run that were read and that another worker sent.
    pub siblings: u64,
    /// How the harness itself did.
    pub harness: HarnessRecord,
    /// The fingerprint of what was sent, before stamping.
    pub fingerprint: Fingerprint,
    /// Whether the caller stopped the load before its end.
    pub interrupted: bool,
    /// Why the load could not go on; everything else here is what was known by then.
    pub failure: Option<LoadError>,
    /// The wall time of the first due instant, microseconds since 1970.
    pub first_due_us: u64,
}

/// A load with everything at its place: the source open, the stream's shards known, connections up, the consumer reading.
pub struct PreparedLoad {
    plan: LoadPlan,
    timetable: Timetable,
    feed: Feed,
    keys: KeyPlan,
    shard_map: ShardMap,
    live: Arc<LiveShards>,
    consumer: Option<Consumer>,
    producer: Producer,
    settings: Settings,
    timeline: Arc<Timeline>,
    progress: Arc<LoadProgress>,
    /// Stops pacer and producer, and how they hear of it.
    halt: watch::Sender<bool>,
    halted: watch::Receiver<bool>,
}

/// Prepares a load, so that between its start and its first record there is nothing left to wait for.
///
/// # Errors
/// [`LoadError`]; see [`LoadError::is_configuration`].
pub fn prepare(plan: LoadPlan, progress: Arc<LoadProgress>) -> BoxFuture<'static, Result<PreparedLoad, LoadError>> {
    Box::pin(async move {
        let scenario = Arc::clone(&plan.scenario);
        let timetable = timetable(&scenario);
        let feed = Feed::new(open_source(&plan).await?, &timetable, plan.slice);
        let stream = plan.stream.clone();
        let direct = scenario.load.call == PutCall::PutRecordBatch;
        let shard_map = if direct { ShardMap::default() } else { ShardMap::new(shards::list(&stream).await?) };
        let keys = open_keys(&scenario, shard_map.clone()).await?;

        let clock = plan.clock;
        let consumer = matches!(plan.witness, Witness::Consumer).then(|| {
            Consumer::start(
                stream.clone(),
                scenario.stream.consumer_poll.duration(),
                Start::AtTimestamp(clock.now_us().saturating_sub(READ_BACK_US)),
                &plan.run_id,
                plan.slice,
                clock,
                &plan.log,
                plan.interval,
                Arc::clone(&progress),
                scenario.load.order == Order::Key,
            )
        });

        let timeline = Arc::new(Timeline::new(plan.interval));
        let api = Api::of(&scenario.load, &stream.stream);
        // Workers that share a seed must not try again in step.
        let settings = Settings::new(&scenario.load, scenario.seed.wrapping_add(plan.slice.index().into()), &api);
        // A part that fails stops the others, as the caller does.
        let (halt, halted) = watch::channel(false);
        let books = Books {
            timeline: Arc::clone(&timeline),
            progress: Arc::clone(&progress),
            recorders: Recorders::new(&plan.log, plan.interval),
        };
        let live = Arc::new(LiveShards::new(shard_map.clone()));
        let shards = Arc::clone(&live);
        let mut producer = Producer::start(settings, api, stream, shards, clock, halted.clone(), books)?;
        producer.opened().await;
        Ok(PreparedLoad {
            plan,
            timetable,
            feed,
            keys,
            shard_map,
            live,
            consumer,
            producer,
            settings,
            timeline,
            progress,
            halt,
            halted,
        })
    })
}

/// Prepares a load and runs it from the origin of its log on, or as soon as it is ready.
///
/// # Errors
/// [`LoadError`]; see [`LoadError::is_configuration`].
pub fn run(
    plan: LoadPlan,
    progress: Arc<LoadProgress>,
    stop: watch::Receiver<bool>,
) -> BoxFuture<'static, Result<LoadOutcome, LoadError>> {
    Box::pin(async move {
        let (log, clock) = (Arc::clone(&plan.log), plan.clock);
        let prepared = prepare(plan, progress).await?;
        let soonest_us = clock.now_us() + LEAD_US;
        prepared.run(log.begin(soonest_us).max(soonest_us), stop).await
    })
}

impl PreparedLoad {
    /// Runs the load from `first_due_us` (wall clock, microseconds since 1970) to its end, or until `stop` becomes true;
    /// then what is under way is finished and accounted for.
    ///
    /// # Errors
    /// [`LoadError`]; see [`LoadError::is_configuration`].
    pub fn run(
        self,
        first_due_us: u64,
        stop: watch::Receiver<bool>,
    ) -> BoxFuture<'static, Result<LoadOutcome, LoadError>> {
        Box::pin(self.run_unboxed(first_due_us, stop))
    }

    async fn run_unboxed(self, first_due_us: u64, mut stop: watch::Receiver<bool>) -> Result<LoadOutcome, LoadError> {
        let Self { plan, timetable, feed, keys, shard_map, live, mut consumer, mut producer, .. } = self;
        let (settings, timeline, progress, halt, halted) =
            (self.settings, self.timeline, self.progress, self.halt, self.halted);
        let (scenario, clock, slice) = (Arc::clone(&plan.scenario), plan.clock, plan.slice);
        let linger_us = scenario.load.linger.as_us();
        plan.log.begin(first_due_us);
        timeline.begin(first_due_us);
        let (warm_up_us, cool_down_us) = (scenario.load.warm_up.as_us(), scenario.load.cool_down.as_us());
        // A load of unknown length has no last part.
        let total_us = timetable.total_us().unwrap_or(u64::MAX);
        let window = MeasuredWindow::new(first_due_us, total_us, warm_up_us, cool_down_us);
        plan.log.measure_within(window);
        let aggregate_bytes = usize::try_from(scenario.load.aggregate_bytes.bytes()).unwrap_or(usize::MAX);
        let packer = scenario.load.aggregate.then(|| Packer::new(Arc::clone(&live), aggregate_bytes));
        progress.begin(timetable.clone(), slice, first_due_us);
        // What is done to the stream is done once: by the first worker.
        let events = if slice.index() == 0 { &scenario.event[..] } else { &[] };
        let events = Events::start(events, plan.stream.clone(), live, clock, first_due_us);
        let meter = HarnessMeter::start(clock, first_due_us, plan.interval, Arc::clone(&plan.log))?;
        let pacer = Pacer {
            feed,
            timetable,
            slice,
            keys: keys.clone(),
            stamper: Stamper::new(&plan.run_id),
            limits: settings.limits,
            packer,
            linger_us,
            shed_after_us: settings.shed_after_us,
            spin_us: scenario.load.spin.as_us(),
            clock,
            first_due_us,
            // What the lag rule still calls on time must not count as missing at the very end.
            grace_us: linger_us.saturating_add(MAX_EXCESS_LAG_P99_US),
            window,
            desk: producer.desk(),
            stop: halted,
            timeline: Arc::clone(&timeline),
            progress: Arc::clone(&progress),
        };
        let paced = pacer.spawn().map_err(|source| LoadError::Thread { thread: "pacer", source })?;

        let mut failure = None;
        let mut halting = false;
        let mut produced = loop {
            tokio::select! {
                produced = producer.finished() => break produced?,
                error = failed(&mut consumer), if failure.is_none() => {
                    failure = Some(error);
                    halt.send_replace(true);
                }
                () = stopped(&mut stop), if !halting => {
                    halting = true;
                    halt.send_replace(true);
                }
            }
        };
        let events = events.finish().await?;
        let mut paced = paced.await.map_err(|_| LoadError::Stopped { part: "pacer" })?;
        let harness = meter.finish(&LoadEvidence {
            due: paced.window.due(),
            offered_in_time: paced.window.offered_in_time(),
            lag_p99_us: produced.own_lag_p99_us,
            target_down_records: produced.counts.target_down_records,
            linger_us,
            calls: produced.counts.calls,
            in_flight_waits: produced.counts.in_flight_waits,
            in_flight_longest_wait_us: produced.counts.longest_wait_us,
        })?;
        let patience = if paced.interrupted { INTERRUPTED_PATIENCE } else { Patience::default() };
        let mut consumed = match consumer {
            Some(consumer) => Some(consumer.drain(Arc::new(produced.accepted.clone()), patience).await?),
            None => None,
        };
        // The first reason counts; what the others say follows from it.
        let failure = failure
            .or(produced.failure.take())
            .or(paced.failure.take())
            .or(consumed.as_mut().and_then(|c| c.failure.take()));
        let interrupted = paced.interrupted && failure.is_none();

        let end_us = produced.counts.last_ack_us.max(first_due_us);
        let first_send_us = Some(produced.counts.first_send_us).filter(|us| *us > 0);
        let intervals = timeline.finish(end_us);
        let witnessed = match &plan.witness {
            Witness::Other(ledger) => Some(ledger.lock().unwrap_or_else(PoisonError::into_inner).clone()),
            Witness::Consumer | Witness::Nobody => None,
        };
        let learnt =
            Learnt { first_due_us, intervals, shard_map, keys, events, paced, produced, consumed, witnessed, harness };
        // Placing a million names takes a moment.
        let summed = tokio::task::spawn_blocking(move || outcome(&scenario, learnt));
        let mut outcome = summed.await.map_err(|_| LoadError::Stopped { part: "account" })?;
        outcome.record.first_send_after_ready_us = first_send_us.map(|sent_us| sent_us.saturating_sub(plan.ready_us));
        tracing::debug!(us = outcome.record.first_send_after_ready_us, "first send after the stream was ready");
        if !slice.is_whole() {
            let (index, count, siblings) = (slice.index(), slice.count(), outcome.siblings);
            outcome.record.worker = Some(WorkerRecord { index, count, siblings });
            // The ledger counts the worker's own records; what it names is a number in the schedule.
            for (first, last) in &mut outcome.lost_ranges {
                (*first, *last) = (slice.k(*first), slice.k(*last));
            }
        }
        Ok(LoadOutcome { interrupted, failure, ..outcome })
    }
}

/// Resolves when the consumer has failed; never without one.
async fn failed(consumer: &mut Option<Consumer>) -> LoadError {
    match consumer {
        Some(consumer) => consumer.failed().await,
        None => std::future::pending().await,
    }
}

/// Opens the source where blocking is allowed: it may write a file first.
async fn open_source(plan: &LoadPlan) -> Result<Box<dyn PayloadSource>, LoadError> {
    let (scenario, run_dir) = (Arc::clone(&plan.scenario), plan.run_dir.clone());
    let opened = tokio::task::spawn_blocking(move || source::open(&scenario.source, scenario.seed, &run_dir));
    Ok(opened.await.map_err(|_| LoadError::Stopped { part: "payload source" })??)
}

/// What says when records are due, with the new rates of the events in it.
fn timetable(scenario: &Scenario) -> Timetable {
    Timetable::new(&scenario.load, scenario.seed).with_rate_changes(&rate_changes(&scenario.event))
}

/// Opens the keys where blocking is allowed: they may come from a file.
async fn open_keys(scenario: &Arc<Scenario>, shards: ShardMap) -> Result<KeyPlan, LoadError> {
    let scenario = Arc::clone(scenario);
    let opened =
        tokio::task::spawn_blocking(move || KeyPlan::new(&scenario.keys, &scenario.event, scenario.seed, &shards));
    Ok(opened.await.map_err(|_| LoadError::Stopped { part: "choice of keys" })??)
}

#[cfg(test)]
mod tests;

//! The leg: source, pacer, producer, consumer and harness meter, started, joined and summed up.

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use millrace_reports::{
    latency::LatencyLog,
    record::{
        Aggregation, EventRecord, HarnessRecord, HopLatency, LedgerShard, LoadInterval, LoadRecord, LoadWindow, Packed,
        ShardLoad, SkewRecord, WorkerRecord,
    },
    window::MeasuredWindow,
};
use millrace_scenarios::{Arrival, Order, PutCall, Scenario, event::rate_changes};
use tokio::sync::watch;

use crate::{
    client::StreamClient,
    clock::Clock,
    consumer::{Consumed, Consumer, Patience},
    error::LoadError,
    events::Events,
    fingerprint::Fingerprint,
    harness::{HarnessMeter, LoadEvidence, MAX_EXCESS_LAG_P99_US},
    keys::KeyPlan,
    ledger::Ledger,
    live_shards::LiveShards,
    pacer::{Paced, Pacer},
    producer::{Books, Counts, Produced, Producer, Recorders, Settings, api::Api, packer::Packer, stopped},
    progress::LoadProgress,
    reader::Start,
    shards::{self, ShardMap},
    skew::skew,
    slice::Slice,
    source::{self, PayloadSource},
    stamp::Stamper,
    timeline::Timeline,
    timetable::{Feed, Timetable},
};

/// How far ahead of a load that is prepared its first due time is: the pacer has yet to make its first call.
pub const LEAD_US: u64 = 20_000;
/// How far before the load the consumer begins to read. A fixed LATEST would race with the first record, and the
/// stream's clock may be behind ours; records of others in between are told by their run.
const READ_BACK_US: u64 = 60_000_000;
/// How long an interrupted load waits for what it sent.
const INTERRUPTED_PATIENCE: Patience = Patience { quiet: Duration::from_secs(2), total: Duration::from_secs(5) };

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
    /// Whether records are read back. When they are not, nothing is said about what the stream kept.
    pub reads_back: bool,
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
    /// Different records of this run that were read.
    pub read: u64,
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
        let shard_map = ShardMap::new(shards::list(&stream).await?);
        let keys = open_keys(&scenario, shard_map.clone()).await?;

        let clock = plan.clock;
        let consumer = plan.reads_back.then(|| {
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
        let api = match scenario.load.call {
            PutCall::PutRecords => Api::put_records(&stream.stream),
            PutCall::PutRecord => Api::put_record(&stream.stream),
        };
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
            lag_p99_us: produced.latency[0].value_at(99.0),
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
        // Placing a million names takes a moment.
        let summed = tokio::task::spawn_blocking(move || {
            let nothing = Ledger::default();
            let ledger = consumed.as_ref().map_or(&nothing, |consumed| &consumed.ledger);
            let shards = shard_loads(&shard_map, &produced, ledger);
            let skew = skew(&keys, &shard_map, &shards, &paced.keys);
            let account = (shards, skew, events);
            outcome(&scenario, first_due_us, intervals, account, paced, produced, consumed, harness)
        });
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

#[expect(clippy::too_many_arguments, reason = "this is where everything that was learnt comes together")]
fn outcome(
    scenario: &Scenario,
    first_due_us: u64,
    intervals: Vec<LoadInterval>,
    (shards, skew, events): (Vec<ShardLoad>, SkewRecord, Vec<EventRecord>),
    paced: Paced,
    produced: Produced,
    consumed: Option<Consumed>,
    harness: HarnessRecord,
) -> LoadOutcome {
    let counts = produced.counts;
    let per_second = |records: u64, us: u64| if us == 0 { 0.0 } else { records as f64 / (us as f64 / 1e6) };
    let elapsed_us = counts.last_ack_us.saturating_sub(first_due_us);
    // Without a consumer nothing was seen, and nothing is missed either.
    let account = consumed.as_ref().map(|c| c.ledger.account(&produced.accepted)).unwrap_or_default();
    let (ledger, foreign, siblings, packed, read_latency, order) = consumed
        .map_or_else(Default::default, |c| (c.ledger, c.foreign, c.siblings, c.packed, c.latency.to_vec(), c.order));
    let accepted_by_shard = produced.shards.iter().map(|(shard, c)| (Arc::clone(shard), c.accepted)).collect();
    let record = LoadRecord {
        arrival: arrival_name(scenario.load.arrival).to_owned(),
        due: paced.due,
        sent: counts.sent,
        not_sent: paced.not_sent,
        accepted: counts.accepted,
        accepted_bytes: counts.accepted_bytes,
        refused: counts.refused,
        rejected_rows: paced.rejected_rows,
        calls: counts.calls,
        failed_calls: counts.failed_calls,
        refusals: produced.refusals.clone(),
        attempts: produced.attempts.clone(),
        order,
        elapsed_us,
        schedule_us: paced.schedule_us,
        target_rate: per_second(paced.due, paced.schedule_us),
        due_bytes: paced.due_bytes,
        trace: paced.trace,
        offered_rate: per_second(paced.offered_in_time, paced.schedule_us),
        accepted_rate: per_second(counts.accepted, elapsed_us),
        window: load_window(scenario, &paced, &produced),
        intervals,
        pooled_response: produced.pooled_response,
        shards,
        skew: Some(skew),
        events,
        aggregation: Aggregation { sent: packed_by(scenario, &counts), read: packed },
        first_send_after_ready_us: None,
        worker: None,
    };
    LoadOutcome {
        record,
        latency: produced.latency.into_iter().chain(read_latency).collect(),
        lost: account.lost,
        duplicated: account.duplicated,
        unacknowledged: account.unacknowledged,
        lost_ranges: account.lost_ranges,
        shards: ledger.shard_rows(&accepted_by_shard),
        read: ledger.seen().len(),
        foreign,
        siblings,
        harness,
        fingerprint: paced.fingerprint,
        interrupted: paced.interrupted,
        failure: None,
        first_due_us,
    }
}

/// What the producer packed.
fn packed_by(scenario: &Scenario, counts: &Counts) -> Packed {
    match scenario.load.aggregate {
        true => Packed { kinesis_records: counts.accepted_entries, user_records: counts.accepted },
        false => Packed::default(),
    }
}

/// What is judged, when not all is. Each record due is accepted or given up in the end, so what was due in the window
/// and has no response time was given up.
fn load_window(scenario: &Scenario, paced: &Paced, produced: &Produced) -> Option<LoadWindow> {
    let (warm_up_us, cool_down_us) = (scenario.load.warm_up.as_us(), scenario.load.cool_down.as_us());
    (warm_up_us > 0 || cool_down_us > 0).then(|| LoadWindow {
        from_us: warm_up_us,
        // A load of unknown length has no last part, and ended where it ended.
        until_us: timetable(scenario).total_us().unwrap_or(paced.schedule_us).saturating_sub(cool_down_us),
        due: paced.window.due(),
        offered_in_time: paced.window.offered_in_time(),
        refused: paced.window.due().saturating_sub(produced.latency[2].count),
    })
}

/// The arrival process as scenarios write it.
const fn arrival_name(arrival: Arrival) -> &'static str {
    match arrival {
        Arrival::Constant => "constant",
        Arrival::Poisson => "poisson",
        Arrival::Trace => "trace",
    }
}

/// One row per shard, by name; an idle shard has a row too, or the hottest one's share would flatter.
fn shard_loads(shard_map: &ShardMap, produced: &Produced, ledger: &Ledger) -> Vec<ShardLoad> {
    let open = shard_map.open().iter().map(|shard| &shard.id);
    let mut names: Vec<&Arc<str>> = open.chain(produced.shards.keys()).chain(ledger.shards().keys()).collect();
    names.sort_unstable();
    names.dedup();
    let total = produced.counts.accepted.max(1) as f64;
    let row = |name: &Arc<str>| {
        let counts = produced.shards.get(name).copied().unwrap_or_default();
        ShardLoad {
            shard: name.to_string(),
            accepted: counts.accepted,
            accepted_bytes: counts.accepted_bytes,
            refusals: counts.refusals,
            read: ledger.shards().get(name).map_or(0, |reads| reads.read),
            share: counts.accepted as f64 / total,
            response: produced.shard_responses.get(name).copied(),
        }
    };
    names.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use millrace_reports::record::TraceRecord;
    use serde_json::json;

    use super::*;
    use crate::testing::{FakeKinesis, PutStep};

    async fn plan(fake: &FakeKinesis, folder: &std::path::Path, load: serde_json::Value) -> LoadPlan {
        let scenario = json!({
            "name": "demo",
            "source": {"kind": "sensors"},
            "load": load,
            "keys": {"kind": "uniform", "distinct": 50},
            "stream": {"name": "demo", "consumer_poll": "10ms"},
        });
        let clock = Clock::start();
        let stream = fake.stream().await;
        LoadPlan {
            scenario: Arc::new(serde_json::from_value(scenario).unwrap()),
            run_id: "demo-1".to_owned(),
            run_dir: folder.to_owned(),
            stream,
            reads_back: true,
            slice: Slice::default(),
            ready_us: clock.now_us(),
            log: LatencyLog::discard(clock.now_us() + 100_000),
            interval: Duration::from_millis(200),
            clock,
        }
    }

    #[tokio::test]
    async fn a_load_accounts_for_every_record_through_refusals_and_failures() {
        let fake = FakeKinesis::start(3).await;
        let code = "ProvisionedThroughputExceededException";
        fake.put_steps([PutStep::Refuse(vec![0, 2], code), PutStep::Error("InternalFailure", 500), PutStep::Drop]);
        fake.put(0, "somebody else's record");
        let folder = tempfile::tempdir().unwrap();
        let load = json!({"stages": [{"rate": 2000.0, "for": "400ms"}], "retry_base": "20ms", "arrival": "constant"});
        let plan = plan(&fake, folder.path(), load).await;
        let (origin_us, progress) = (plan.log.begin(0), Arc::new(LoadProgress::default()));
        let (_stop, stop) = watch::channel(false);
        let outcome = run(plan, Arc::clone(&progress), stop).await.unwrap();

        let record = &outcome.record;
        assert_eq!((record.due, record.sent, record.accepted, record.refused), (800, 800, 800, 0));
        assert_eq!((outcome.lost, outcome.unacknowledged, outcome.duplicated), (0, 0, 0));
        assert_eq!((outcome.read, outcome.foreign, outcome.interrupted), (800, 1, false));
        assert_eq!(outcome.first_due_us, origin_us);
        assert_eq!((record.schedule_us, record.target_rate), (400_000, 2_000.0));
        assert_eq!(record.intervals.iter().map(|row| row.due).sum::<u64>(), 800);
        assert_eq!(record.intervals.iter().map(|row| row.accepted).sum::<u64>(), 800);
        assert_eq!(record.shards.iter().map(|row| row.accepted).sum::<u64>(), 800);
        assert!((record.shards.iter().map(|row| row.share).sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(outcome.shards.iter().all(|row| row.accepted == row.read));
        assert_eq!(record.failed_calls, 2);
        let by_shard: u64 = record.refusals.iter().filter(|r| r.shard.is_some()).map(|r| r.refusals).sum();
        assert_eq!(by_shard, 2);
        assert!(outcome.latency.iter().all(|hop| hop.count == 800), "every hop timed every record");
        assert!(record.first_send_after_ready_us.is_some_and(|us| us > 0 && us < 60_000_000), "{record:?}");
        assert_eq!(record.worker, None);
        let snapshot = progress.snapshot(origin_us + 10_000_000);
        assert_eq!((snapshot.due, snapshot.offered, snapshot.accepted, snapshot.read), (Some(800), 800, 800, 800));
    }

    #[tokio::test]
    async fn warm_up_and_cool_down_are_loaded_and_not_judged() {
        let fake = FakeKinesis::start(2).await;
        // Only the warm-up meets a slow and refusing target.
        fake.put_steps([PutStep::Stall(Duration::from_millis(300)), PutStep::Error("InternalFailure", 500)]);
        let folder = tempfile::tempdir().unwrap();
        let load = json!({"stages": [{"rate": 1000.0, "for": "1s"}], "arrival": "constant", "retry_base": "10ms",
            "warm_up": "400ms", "cool_down": "100ms"});
        let plan = plan(&fake, folder.path(), load).await;
        let (_stop, stop) = watch::channel(false);
        let outcome = run(plan, Arc::default(), stop).await.unwrap();
        let window = outcome.record.window.unwrap();
        assert_eq!((window.from_us, window.until_us, window.due), (400_000, 900_000, 500));
        assert_eq!((outcome.record.due, window.refused), (1_000, 0));
        for hop in &outcome.latency {
            assert_eq!((hop.count, hop.outside.unwrap().count), (500, 500), "{}", hop.hop);
        }
        let response = outcome.latency.iter().find(|hop| hop.hop == millrace_scenarios::Hop::Response).unwrap();
        assert!(response.outside.unwrap().max_us >= 300_000);
        let by_shard = outcome.record.shards.iter().filter_map(|shard| shard.response);
        assert_eq!(by_shard.map(|response| response.count).sum::<u64>(), 1_000);
    }

    #[tokio::test]
    async fn workers_of_one_run_send_it_once_and_know_each_others_records() {
        let fake = FakeKinesis::start(3).await;
        let load = json!({"stages": [{"rate": 2000.0, "for": "200ms"}], "arrival": "constant"});
        let folder = tempfile::tempdir().unwrap();
        let mut sum = Fingerprint::default();
        let (mut accepted, mut siblings) = (0, 0);
        for index in 0..3 {
            let mut plan = plan(&fake, folder.path(), load.clone()).await;
            plan.slice = Slice::new(index, 3).unwrap();
            let (_stop, stop) = watch::channel(false);
            let outcome = run(plan, Arc::default(), stop).await.unwrap();
            assert_eq!((outcome.lost, outcome.duplicated, outcome.unacknowledged, outcome.foreign), (0, 0, 0, 0));
            assert_eq!(outcome.read, outcome.record.accepted);
            // One after the other: each finds on the stream what those before it sent.
            siblings += accepted;
            let worker = WorkerRecord { index, count: 3, siblings: accepted };
            assert_eq!((outcome.record.worker, outcome.siblings), (Some(worker), accepted));
            accepted += outcome.record.accepted;
            sum.merge(outcome.fingerprint);
        }
        assert_eq!((accepted, siblings), (400, 134 + 267));
        let (_stop, stop) = watch::channel(false);
        let alone = FakeKinesis::start(3).await;
        let one = run(plan(&alone, folder.path(), load).await, Arc::default(), stop).await.unwrap();
        assert_eq!(sum, one.fingerprint);
    }

    #[tokio::test]
    async fn what_a_worker_lost_is_named_by_its_number_in_the_schedule() {
        let fake = FakeKinesis::start(1).await;
        fake.lose("\"millrace_seq\":7,");
        let folder = tempfile::tempdir().unwrap();
        let load = json!({"stages": [{"rate": 100.0, "for": "200ms"}], "arrival": "constant"});
        let mut plan = plan(&fake, folder.path(), load).await;
        plan.slice = Slice::new(1, 3).unwrap();
        let (_stop, stop) = watch::channel(false);
        let outcome = run(plan, Arc::default(), stop).await.unwrap();
        assert_eq!((outcome.lost, outcome.lost_ranges, outcome.record.accepted), (1, vec![(7, 7)], 7));
    }

    #[tokio::test]
    async fn an_interrupted_load_is_accounted_for_and_says_so() {
        let fake = FakeKinesis::start(1).await;
        let folder = tempfile::tempdir().unwrap();
        let plan = plan(&fake, folder.path(), json!({"stages": [{"rate": 500.0, "for": "1h"}]})).await;
        let (stop, stop_receiver) = watch::channel(false);
        let running = tokio::spawn(run(plan, Arc::default(), stop_receiver));
        tokio::time::sleep(Duration::from_millis(400)).await;
        stop.send(true).unwrap();
        let outcome = running.await.unwrap().unwrap();
        assert!(outcome.interrupted);
        let record = &outcome.record;
        assert!(record.due < 1_800_000 && record.sent <= record.due);
        assert_eq!(record.sent, record.accepted + record.refused);
        assert_eq!((outcome.lost, outcome.read), (0, record.accepted));
    }

    #[tokio::test]
    async fn a_record_whose_acknowledgement_was_lost_is_found_and_its_second_copy_too() {
        let fake = FakeKinesis::start(1).await;
        fake.put_steps([PutStep::KeepAndDrop]);
        let folder = tempfile::tempdir().unwrap();
        let load = json!({"stages": [{"rate": 100.0, "for": "200ms"}], "retry_base": "20ms", "arrival": "constant"});
        let plan = plan(&fake, folder.path(), load).await;
        let (_stop, stop) = watch::channel(false);
        let outcome = run(plan, Arc::default(), stop).await.unwrap();
        assert_eq!((outcome.record.accepted, outcome.lost), (20, 0));
        assert!(outcome.duplicated > 0);
    }

    #[tokio::test]
    async fn a_stream_that_loses_records_is_caught() {
        let fake = FakeKinesis::start(1).await;
        fake.lose("\"millrace_seq\":7,");
        let folder = tempfile::tempdir().unwrap();
        let load = json!({"stages": [{"rate": 100.0, "for": "200ms"}], "arrival": "constant"});
        let mut plan = plan(&fake, folder.path(), load).await;
        plan.interval = Duration::from_secs(1);
        let (_stop, stop) = watch::channel(false);
        let outcome = run(plan, Arc::default(), stop).await.unwrap();
        assert_eq!((outcome.lost, outcome.lost_ranges), (1, vec![(7, 7)]));
        assert_eq!(outcome.record.accepted, 20);
    }

    /// Three sensors read once a minute, 600 times as fast: two of three readings share their time with another.
    #[tokio::test]
    async fn a_trace_is_replayed_at_its_speed_and_says_what_it_met() {
        let fake = FakeKinesis::start(1).await;
        let folder = tempfile::tempdir().unwrap();
        let load = json!({"arrival": "trace", "trace_speed": 600.0, "trace_for": "950ms"});
        let mut plan = plan(&fake, folder.path(), load).await;
        Arc::make_mut(&mut plan.scenario).source.sensors = 3;
        let (_stop, stop) = watch::channel(false);
        let record = run(plan, Arc::default(), stop).await.unwrap().record;
        // A round each 100 ms, from 0 to 900 ms.
        assert_eq!((record.due, record.accepted, record.arrival.as_str()), (30, 30, "trace"));
        assert_eq!(record.trace, Some(TraceRecord { out_of_order: 0, simultaneous: 20, untimed: 0 }));
        assert_eq!(record.schedule_us, 950_000);
    }

    #[tokio::test]
    async fn a_rate_in_bytes_offers_that_many_bytes() {
        let fake = FakeKinesis::start(1).await;
        let folder = tempfile::tempdir().unwrap();
        let load = json!({"arrival": "constant", "unit": "bytes", "stages": [{"rate": 100_000, "for": "500ms"}]});
        let plan = plan(&fake, folder.path(), load).await;
        let (_stop, stop) = watch::channel(false);
        let record = run(plan, Arc::default(), stop).await.unwrap().record;
        // The last record begins within the 50,000 bytes; one of them is below 300 bytes.
        assert!((50_000..50_300).contains(&record.due_bytes), "{}", record.due_bytes);
        assert_eq!((record.due_bytes, record.due), (record.accepted_bytes, record.accepted));
        assert_eq!((record.target_rate, record.trace), (record.due as f64 * 2.0, None));
    }

    #[tokio::test]
    async fn a_stopped_byte_schedule_knows_what_was_due_by_then() {
        let fake = FakeKinesis::start(1).await;
        let folder = tempfile::tempdir().unwrap();
        let load = json!({"arrival": "constant", "unit": "bytes", "stages": [{"rate": 50_000, "for": "1h"}]});
        let plan = plan(&fake, folder.path(), load).await;
        let (stop, stop_receiver) = watch::channel(false);
        let running = tokio::spawn(run(plan, Arc::default(), stop_receiver));
        tokio::time::sleep(Duration::from_millis(400)).await;
        stop.send(true).unwrap();
        let outcome = running.await.unwrap().unwrap();
        assert!(outcome.interrupted && outcome.record.accepted > 0);
        // What was due by the stop, at the mean size of what was made.
        let record = &outcome.record;
        let size = record.due_bytes as f64 / record.accepted as f64;
        let expected = record.schedule_us as f64 * 0.05 / size;
        assert!((record.due as f64 - expected).abs() < 3.0 + expected * 0.05, "{} {expected}", record.due);
    }

    #[tokio::test]
    async fn bad_keys_are_a_configuration_error() {
        let fake = FakeKinesis::start(1).await;
        let folder = tempfile::tempdir().unwrap();
        let mut plan = plan(&fake, folder.path(), json!({"stages": []})).await;
        Arc::make_mut(&mut plan.scenario).keys.distinct = 0;
        let (_stop, stop) = watch::channel(false);
        assert!(run(plan, Arc::default(), stop).await.unwrap_err().is_configuration());
    }
}

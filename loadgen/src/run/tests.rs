//! Loads against a stream whose answers are known.

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
        witness: Witness::Consumer,
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
    assert_eq!((outcome.read, outcome.foreign, outcome.interrupted), (Some(800), 1, false));
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
        assert_eq!(outcome.read, Some(outcome.record.accepted));
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
    assert_eq!((outcome.lost, outcome.read), (0, Some(record.accepted)));
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
    // What was due by the stop, at the mean size of what was taken; more was made by then.
    let record = &outcome.record;
    let size = record.accepted_bytes as f64 / record.accepted as f64;
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

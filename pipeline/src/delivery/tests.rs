//! Delivery from end to end: what is offered is what can be read back from the store, whatever the store does.

mod faulty_store;

use std::{io::Read, time::Duration};

use base64::Engine;
use flate2::read::MultiGzDecoder;
use futures::TryStreamExt;
use millrace_reports::latency::LatencyLog;
use millrace_scenarios::{ByteSize, Delivery as Spec, Hop, Span};
use object_store::{ObjectStoreExt, local::LocalFileSystem, memory::InMemory};
use proptest::prelude::*;
use serde_json::Value;

use self::faulty_store::FaultyStore;
use super::*;
use crate::stream::ManualClock;

/// 2018-08-27 10:30 UTC.
const START_US: u64 = 1_535_365_800_000_000;
const ARRIVAL_US: i64 = 1_535_365_800_000_000;
const SECOND_US: i64 = 1_000_000;

/// A delivery with a clock that stands still, and the store it writes to.
struct Rig {
    delivery: Delivery,
    store: Arc<dyn ObjectStore>,
    clock: Arc<ManualClock>,
}

impl Rig {
    fn new(spec: Spec) -> Self {
        Self::on(Arc::new(InMemory::new()), spec)
    }

    fn on(store: Arc<dyn ObjectStore>, spec: Spec) -> Self {
        Self::with(store, spec, Limits::default(), None)
    }

    fn with(store: Arc<dyn ObjectStore>, spec: Spec, limits: Limits, landed: Option<HopRecorder>) -> Self {
        let clock = Arc::new(ManualClock::new(START_US));
        let delivery = Delivery::new(DeliveryConfig {
            stream: "cars".to_owned(),
            spec,
            lake: "the lake".to_owned(),
            store: Arc::clone(&store),
            root: Path::from("lake"),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            seed: 7,
            landed,
            retry: RetryPolicy { attempts: 4, first_pause: Duration::ZERO, longest_pause: Duration::ZERO },
            limits,
        });
        Self { delivery: delivery.unwrap(), store, clock }
    }

    async fn offer(&mut self, payloads: &[&str]) {
        self.delivery.offer(payloads.iter().map(|p| record(p)).collect()).await.unwrap();
    }

    /// Every object: its key below the lake and its decompressed text, in order of key.
    async fn objects(&self) -> Vec<(String, String)> {
        read_all(&*self.store).await
    }
}

async fn read_all(store: &dyn ObjectStore) -> Vec<(String, String)> {
    let mut objects = Vec::new();
    for meta in store.list(None).try_collect::<Vec<_>>().await.unwrap() {
        let bytes = store.get(&meta.location).await.unwrap().bytes().await.unwrap();
        let mut text = String::new();
        MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
        objects.push((meta.location.to_string().strip_prefix("lake/").unwrap().to_owned(), text));
    }
    objects.sort();
    objects
}

fn record(payload: &str) -> DeliveredRecord {
    DeliveredRecord { data: Bytes::copy_from_slice(payload.as_bytes()), arrival_us: ARRIVAL_US, due_us: None }
}

fn by_city() -> Spec {
    Spec {
        prefix: "city=!{partitionKeyFromQuery:city}/!{timestamp:yyyy}/".to_owned(),
        partition_keys: [("city".to_owned(), ".city".to_owned())].into(),
        ..Spec::default()
    }
}

fn folder(key: &str) -> &str {
    key.rsplit_once('/').unwrap().0
}

#[tokio::test]
async fn what_is_offered_is_read_back_byte_for_byte_in_order() {
    let mut rig = Rig::new(Spec::default());
    rig.offer(&["{\"a\":1}", "{\"a\":2}\n"]).await;
    rig.offer(&["not json", "", "{\"a\":\"é\"}"]).await;
    assert!(rig.objects().await.is_empty());
    assert_eq!(rig.delivery.progress().in_flight(), 5);

    let store = Arc::clone(&rig.store);
    let (counts, latency) = rig.delivery.close().await.unwrap();
    let text = "{\"a\":1}\n{\"a\":2}\nnot json\n\n{\"a\":\"é\"}\n";
    let objects = read_all(&*store).await;
    assert_eq!(objects.len(), 1);
    assert!(
        objects[0].0.starts_with("year=2018/month=08/day=27/hour=10/cars-1-2018-08-27-10-30-00-"),
        "{}",
        objects[0].0
    );
    assert_eq!(objects[0].1, text);
    let size = store.list(None).try_collect::<Vec<_>>().await.unwrap()[0].size;
    let want = DeliveryRecord {
        lake: "the lake".to_owned(),
        records_read: 5,
        records_delivered: 5,
        objects: 1,
        raw_bytes: text.len() as u64,
        object_bytes: size,
        ..DeliveryRecord::default()
    };
    assert_eq!((counts, latency), (want, None));
}

#[tokio::test]
async fn a_folder_holds_whole_objects_under_names_that_hive_readers_decode() {
    let folder_of_test = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalFileSystem::new_with_prefix(folder_of_test.path()).unwrap());
    let mut rig = Rig::on(store, by_city());
    rig.offer(&[r#"{"city":"Turbine 001/é"}"#, r#"{"city":"50%"}"#, r#"{"city":"Turbine 001/é","n":2}"#]).await;
    rig.delivery.flush().await.unwrap();

    let lake = folder_of_test.path().join("lake");
    let mut names: Vec<_> =
        std::fs::read_dir(&lake).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["city=50%25", "city=Turbine 001%2F%C3%A9"]);
    let files: Vec<_> = std::fs::read_dir(lake.join("city=Turbine 001%2F%C3%A9/2018")).unwrap().collect();
    assert_eq!(files.len(), 1, "no staging file is left behind");
    assert_eq!(rig.objects().await[1].1, "{\"city\":\"Turbine 001/é\"}\n{\"city\":\"Turbine 001/é\",\"n\":2}\n");
}

#[tokio::test]
async fn a_buffer_is_written_when_it_is_full_before_compression() {
    let mut rig = Rig::new(Spec { buffer_size: ByteSize::from_bytes(24), ..Spec::default() });
    rig.offer(&["1234567", "1234567"]).await;
    assert_eq!(rig.objects().await.len(), 0, "16 bytes of 24");
    rig.offer(&["1234567", "7654321", "7654321"]).await;
    let objects = rig.objects().await;
    assert_eq!(objects.len(), 1);
    assert_eq!(objects[0].1, "1234567\n1234567\n1234567\n");
    assert_eq!(rig.delivery.progress().in_flight(), 2);
}

#[tokio::test]
async fn a_buffer_is_written_when_it_is_old_enough_and_not_before() {
    let mut rig = Rig::new(by_city());
    rig.offer(&[r#"{"city":"A"}"#]).await;
    rig.clock.advance_us(6_000_000);
    rig.offer(&[r#"{"city":"A","n":2}"#, r#"{"city":"B"}"#]).await;
    rig.clock.advance_us(3_999_999);
    rig.delivery.tick().await.unwrap();
    assert!(rig.objects().await.is_empty(), "one microsecond short of ten seconds");
    rig.clock.advance_us(1);
    rig.delivery.tick().await.unwrap();
    let objects = rig.objects().await;
    assert_eq!(objects.len(), 1, "only the buffer that was opened first");
    assert_eq!(objects[0].1, "{\"city\":\"A\"}\n{\"city\":\"A\",\"n\":2}\n");
}

#[tokio::test]
async fn the_oldest_arrival_decides_the_prefix_even_when_it_comes_last() {
    let mut rig = Rig::new(Spec::default());
    let hour_before = DeliveredRecord { arrival_us: ARRIVAL_US - 3_600 * SECOND_US, ..record("late") };
    rig.delivery.offer(vec![record("first"), hour_before]).await.unwrap();
    rig.delivery.flush().await.unwrap();
    assert!(rig.objects().await[0].0.starts_with("year=2018/month=08/day=27/hour=09/cars-1-2018-08-27-09-30-00-"));
}

#[tokio::test]
async fn records_of_one_partition_share_objects_and_values_stay_apart() {
    let mut rig = Rig::new(by_city());
    let cities = ["London", "a=b", "..", "%2F", "/", "São Paulo", "x\\ny", "12", "東京"];
    let payloads: Vec<_> = (0..27).map(|n| format!("{{\"n\":{n},\"city\":\"{}\"}}", cities[n % 9])).collect();
    rig.offer(&payloads.iter().map(String::as_str).collect::<Vec<_>>()).await;
    rig.offer(&[r#"{"city":12,"n":27}"#]).await;
    rig.delivery.flush().await.unwrap();
    let objects = rig.objects().await;
    let folders: Vec<_> = objects.iter().map(|(key, _)| folder(key)).collect();
    let mut want = [
        "city=%252F/2018",
        "city=%2F/2018",
        "city=%2E%2E/2018",
        "city=12/2018",
        "city=London/2018",
        "city=S%C3%A3o Paulo/2018",
        "city=a=b/2018",
        "city=x%0Ay/2018",
        "city=%E6%9D%B1%E4%BA%AC/2018",
    ];
    want.sort_unstable();
    assert_eq!(folders, want);
    let twelve = objects.iter().find(|(key, _)| key.starts_with("city=12/")).unwrap();
    assert_eq!(twelve.1.lines().count(), 4, "a number and its text are one partition");
}

#[tokio::test]
async fn records_without_a_readable_key_are_kept_under_the_error_prefix() {
    let mut rig = Rig::new(by_city());
    let long = format!(r#"{{"city":"{}"}}"#, "x".repeat(300));
    let bad = ["plain text\n", r#"{"town":"A"}"#, r#"{"city":null}"#, r#"{"city":{"a":1}}"#, long.as_str()];
    rig.offer(&bad).await;
    rig.offer(&[r#"{"city":"A"}"#]).await;
    rig.clock.advance_us(1_500_000);
    rig.delivery.flush().await.unwrap();

    let objects = rig.objects().await;
    assert_eq!(
        objects.iter().map(|(key, _)| folder(key)).collect::<Vec<_>>(),
        ["city=A/2018", "errors/processing-failed"]
    );
    let lines: Vec<Value> = objects[1].1.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), bad.len());
    for (line, raw) in lines.iter().zip(bad) {
        let data = base64::engine::general_purpose::STANDARD.decode(line["rawData"].as_str().unwrap()).unwrap();
        assert_eq!(data, raw.as_bytes());
        assert_eq!(line["errorCode"], "DynamicPartitioning.MetadataExtractionFailed");
        assert_eq!(line["arrivalTimestamp"], ARRIVAL_US / 1_000);
        assert_eq!(line["attemptEndingTimestamp"], ARRIVAL_US / 1_000, "when it was tried, not when it was written");
    }
    let counts = rig.delivery.progress().record();
    assert_eq!((counts.records_read, counts.records_delivered, counts.records_errored), (6, 1, 5));
    assert_eq!((counts.objects, counts.error_objects), (1, 1));
}

#[tokio::test]
async fn partitions_beyond_the_limit_go_to_the_error_prefix_until_one_is_written() {
    let limits = Limits { active_partitions: 2, ..Limits::default() };
    let mut rig = Rig::with(Arc::new(InMemory::new()), by_city(), limits, None);
    rig.offer(&[r#"{"city":"A"}"#, "bad", r#"{"city":"B"}"#, r#"{"city":"C"}"#, r#"{"city":"A","n":2}"#]).await;
    rig.delivery.flush().await.unwrap();
    rig.offer(&[r#"{"city":"C","n":2}"#]).await;
    rig.delivery.flush().await.unwrap();
    let objects = rig.objects().await;
    let folders: Vec<_> = objects.iter().map(|(key, _)| folder(key)).collect();
    assert_eq!(
        folders,
        ["city=A/2018", "city=B/2018", "city=C/2018", "errors/activePartitionExceeded", "errors/processing-failed"]
    );
    assert!(objects[3].1.contains(r#""errorCode":"DynamicPartitioning.ActivePartitionsLimitExceeded""#));
    assert_eq!(objects[2].1, "{\"city\":\"C\",\"n\":2}\n");
}

#[tokio::test]
async fn a_store_that_recovers_gets_every_object_once_and_the_retries_are_counted() {
    let store = Arc::new(FaultyStore::default());
    let mut rig = Rig::on(Arc::clone(&store) as Arc<dyn ObjectStore>, Spec::default());
    store.refuse(3);
    rig.offer(&["one"]).await;
    rig.delivery.flush().await.unwrap();
    assert_eq!(store.puts(), 4);
    assert_eq!(rig.delivery.progress().record().write_retries, 3);
    assert_eq!(rig.objects().await.len(), 1);
}

#[tokio::test]
async fn a_store_that_fails_for_good_leaves_records_in_flight_and_a_later_call_lands_them() {
    let store = Arc::new(FaultyStore::default());
    let mut rig = Rig::on(Arc::clone(&store) as Arc<dyn ObjectStore>, by_city());
    store.refuse(u64::MAX);
    rig.offer(&[r#"{"city":"A"}"#, r#"{"city":"B"}"#, r#"{"city":"A","n":2}"#]).await;
    let error = rig.delivery.flush().await.unwrap_err();
    assert!(!error.is_configuration());
    let DeliveryError::Write { object, attempts, objects, records, .. } = &error else { panic!("{error}") };
    assert!(object.starts_with("lake/city="), "{object}");
    assert_eq!((*attempts, *objects, *records), (4, 2, 3));
    assert!(error.to_string().contains("3 records in 2 objects are not landed"), "{error}");

    let refused = rig.delivery.offer(vec![record(r#"{"city":"C"}"#)]).await;
    assert!(matches!(refused, Err(DeliveryError::Write { .. })));
    let counts = rig.delivery.progress();
    assert_eq!((counts.records_read(), counts.in_flight()), (3, 3), "nothing is taken that could not be landed");

    store.refuse(0);
    rig.delivery.tick().await.unwrap();
    assert_eq!((counts.records_delivered(), counts.in_flight()), (3, 0));
    let objects = rig.objects().await;
    assert_eq!(objects.len(), 2);
    assert_eq!(objects[0].1, "{\"city\":\"A\"}\n{\"city\":\"A\",\"n\":2}\n");
}

#[tokio::test]
async fn after_a_failed_close_the_counts_are_still_there() {
    let store = Arc::new(FaultyStore::default());
    let mut rig = Rig::on(Arc::clone(&store) as Arc<dyn ObjectStore>, Spec::default());
    store.refuse(u64::MAX);
    rig.offer(&["one", "two"]).await;
    let progress = rig.delivery.progress();
    rig.delivery.close().await.unwrap_err();
    let counts = progress.record();
    assert_eq!((counts.records_read, counts.records_delivered, counts.records_errored), (2, 0, 0));
    assert_eq!(progress.in_flight(), 2);
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_reported_at_once_with_its_object() {
    let folder_of_test = tempfile::tempdir().unwrap();
    std::fs::write(folder_of_test.path().join("lake"), "a file where the lake should be").unwrap();
    let store = Arc::new(LocalFileSystem::new_with_prefix(folder_of_test.path()).unwrap());
    let mut rig = Rig::on(store, Spec::default());
    rig.offer(&["one"]).await;
    let error = rig.delivery.flush().await.unwrap_err();
    let DeliveryError::Write { object, attempts: 1, records: 1, .. } = &error else { panic!("{error}") };
    assert!(object.starts_with("lake/year=2018/"), "{object}");
}

#[tokio::test]
async fn memory_is_bounded_by_writing_the_largest_buffers_early() {
    let limits = Limits { memory_bytes: 10 * buffer::ENCODER_BYTES, ..Limits::default() };
    let mut rig = Rig::with(Arc::new(InMemory::new()), by_city(), limits, None);
    let payloads: Vec<_> = (0..40).map(|n| format!("{{\"city\":\"{n:02}\"}}")).collect();
    for batch in payloads.chunks(10) {
        rig.offer(&batch.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let held: usize = rig.delivery.buffers.values().map(Buffer::held_bytes).sum();
        assert!(held <= limits.memory_bytes, "{held}");
        assert!(rig.delivery.pending.is_empty());
    }
    assert!(rig.delivery.progress().objects() >= 30);
    rig.delivery.flush().await.unwrap();
    assert_eq!(rig.delivery.progress().records_delivered(), 40);
    assert_eq!(rig.objects().await.len(), 40);
}

#[tokio::test]
async fn the_landed_latency_runs_from_due_time_to_the_object_in_the_store() {
    let recorder = HopRecorder::new(Hop::Landed, LatencyLog::discard(START_US), Duration::from_secs(1));
    let mut rig = Rig::with(Arc::new(InMemory::new()), by_city(), Limits::default(), Some(recorder));
    let due = |payload, due_us| DeliveredRecord { due_us, ..record(payload) };
    rig.delivery
        .offer(vec![
            due(r#"{"city":"A"}"#, Some(ARRIVAL_US - 1_000)),
            due(r#"{"city":"A"}"#, Some(ARRIVAL_US + 1_000_000)),
            due(r#"{"city":"A"}"#, None),
            due("not landed as data", Some(ARRIVAL_US)),
        ])
        .await
        .unwrap();
    rig.clock.advance_us(10_000_000);
    rig.delivery.tick().await.unwrap();
    let (_, latency) = rig.delivery.close().await.unwrap();
    let latency = latency.unwrap();
    assert_eq!((latency.hop, latency.count, latency.negative), (Hop::Landed, 2, 0));
    for (got, want) in [(latency.min_us, 9_000_000), (latency.max_us, 10_001_000)] {
        assert!(got.abs_diff(want) * 1_000 <= want, "{got} is not within 0.1 % of {want}");
    }
    assert_eq!(latency.intervals[0].start_us, 10_000_000, "counted in the interval it was landed in");
}

#[test]
fn a_scenario_at_fault_is_told_before_anything_is_written() {
    assert!(check(&by_city(), "cars").is_ok());
    let spec = Spec { error_prefix: String::new(), ..by_city() };
    let error = check(&spec, "cars").unwrap_err();
    assert!(error.is_configuration());
    assert!(error.to_string().starts_with("delivery.error_prefix \"\": an error prefix is needed"), "{error}");
}

#[tokio::test]
async fn a_delivery_may_run_in_a_task_of_its_own() {
    let mut rig = Rig::new(Spec::default());
    let task = tokio::spawn(async move {
        rig.delivery.offer(vec![record("one")]).await?;
        rig.delivery.tick().await?;
        rig.delivery.close().await
    });
    assert_eq!(task.await.unwrap().unwrap().0.records_delivered, 1);
}

/// One record of a random run: which partition, how large, or one that cannot be partitioned.
fn any_payload() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => (0..9_u8, 0..400_usize).prop_map(|(city, size)| format!(r#"{{"city":"{city}","pad":"{}"}}"#, "x".repeat(size))),
        1 => "[ -~]{0,40}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_record_taken_is_delivered_errored_or_in_flight(
        batches in prop::collection::vec((prop::collection::vec(any_payload(), 0..30), 0..4_u64, 0..8_u64), 1..8),
        buffer_bytes in 1..3_000_u64,
        partitions in 1..12_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let store = Arc::new(FaultyStore::default());
            let spec = Spec {
                buffer_size: ByteSize::from_bytes(buffer_bytes),
                buffer_interval: Span::from_secs(3),
                ..by_city()
            };
            let limits = Limits { active_partitions: partitions, memory_bytes: 4 << 20, writes_at_once: 3 };
            let mut rig = Rig::with(Arc::clone(&store) as Arc<dyn ObjectStore>, spec, limits, None);
            let progress = rig.delivery.progress();
            let mut taken = Vec::new();
            for (batch, seconds, refusals) in &batches {
                let before = progress.records_read();
                store.refuse(*refusals);
                let outcome = rig.delivery.offer(batch.iter().map(|p| record(p)).collect()).await;
                let counted = progress.records_read() - before;
                assert!(counted == batch.len() as u64 || (counted == 0 && outcome.is_err()));
                if counted > 0 {
                    taken.extend(batch.iter().cloned());
                }
                rig.clock.advance_us(seconds * 1_000_000);
                store.refuse(*refusals);
                let _given_up = rig.delivery.tick().await;

                let buffered: u64 = rig.delivery.buffers.values().map(Buffer::records).sum();
                let pending: u64 = rig.delivery.pending.iter().map(|o| o.records).sum();
                assert_eq!(progress.in_flight(), buffered + pending);
            }
            store.refuse(0);
            rig.delivery.flush().await.unwrap();
            assert_eq!(progress.in_flight(), 0);

            let mut landed = Vec::new();
            let (mut good, mut errored, mut raw_bytes) = (0, 0, 0);
            for (key, text) in rig.objects().await {
                raw_bytes += text.len() as u64;
                for line in text.lines() {
                    if key.starts_with("errors/") {
                        let line: Value = serde_json::from_str(line).unwrap();
                        let data = base64::engine::general_purpose::STANDARD.decode(line["rawData"].as_str().unwrap());
                        landed.push(String::from_utf8(data.unwrap()).unwrap());
                        errored += 1;
                    } else {
                        landed.push(line.to_owned());
                        good += 1;
                    }
                }
            }
            landed.sort();
            taken.sort();
            assert_eq!(landed, taken);
            let counts = progress.record();
            assert_eq!((counts.records_delivered, counts.records_errored, counts.raw_bytes), (good, errored, raw_bytes));
        });
    }
}

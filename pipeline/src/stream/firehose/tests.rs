//! The calls of Firehose on an injected clock, into a store in memory.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, local::LocalFileSystem, memory::InMemory, path::Path};

use super::*;
use crate::{
    delivery::{Limits, RetryPolicy},
    stream::ManualClock,
};

const T0_US: u64 = 1_700_000_000_123_456;

fn open(names: &[&str], store: &Arc<dyn ObjectStore>) -> (Firehose, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(T0_US));
    let configs = names.iter().map(|name| DeliveryConfig {
        stream: (*name).to_owned(),
        spec: millrace_scenarios::Delivery::default(),
        lake: "s3://lake/raw".to_owned(),
        store: Arc::clone(store),
        root: Path::ROOT,
        clock: Arc::<ManualClock>::clone(&clock),
        seed: 1,
        landed: None,
        retry: RetryPolicy { attempts: 1, ..RetryPolicy::default() },
        limits: Limits::default(),
    });
    (Firehose::start(configs).unwrap(), clock)
}

fn call(firehose: &Firehose, operation: &str, body: &Value) -> Result<Value, ApiError> {
    let answer = firehose.answer(&format!("Firehose_20150804.{operation}"), body.to_string().as_bytes())?;
    Ok(serde_json::from_slice(&answer).unwrap())
}

fn put(name: &str, data: &[u8]) -> Value {
    json!({ "DeliveryStreamName": name, "Record": { "Data": STANDARD.encode(data) } })
}

fn batch(name: &str, data: &[&[u8]]) -> Value {
    let records: Vec<_> = data.iter().map(|data| json!({ "Data": STANDARD.encode(data) })).collect();
    json!({ "DeliveryStreamName": name, "Records": records })
}

/// The lines of every object.
async fn lines(store: &Arc<dyn ObjectStore>) -> Vec<String> {
    let objects: Vec<_> = store.list(None).try_collect().await.unwrap();
    let mut lines = Vec::new();
    for object in objects {
        let body = store.get(&object.location).await.unwrap().bytes().await.unwrap();
        let text = std::io::read_to_string(flate2::read::MultiGzDecoder::new(&*body)).unwrap();
        lines.extend(text.lines().map(str::to_owned));
    }
    lines
}

#[tokio::test]
async fn what_is_put_lands_in_its_order_and_every_record_has_its_own_id() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (firehose, _) = open(&["clicks"], &store);
    let one = call(&firehose, "PutRecord", &put("clicks", b"{\"n\":0}")).unwrap();
    let two = call(&firehose, "PutRecordBatch", &batch("clicks", &[b"{\"n\":1}\n", b"{\"n\":2}"])).unwrap();
    assert_eq!((&one["Encrypted"], &two["Encrypted"]), (&json!(false), &json!(false)));
    assert_eq!(two["FailedPutCount"], 0);
    let ids = [&one["RecordId"], &two["RequestResponses"][0]["RecordId"], &two["RequestResponses"][1]["RecordId"]];
    assert!(ids.iter().all(|id| id.is_string()) && ids[0] != ids[1] && ids[1] != ids[2], "{ids:?}");
    assert_eq!(two["RequestResponses"].as_array().unwrap().len(), 2);
    firehose.close().await.unwrap();
    assert_eq!(lines(&store).await, ["{\"n\":0}", "{\"n\":1}", "{\"n\":2}"]);
    let closed = call(&firehose, "PutRecord", &put("clicks", b"{}")).unwrap_err();
    assert_eq!((closed.kind.name(), closed.kind.status()), ("ServiceUnavailableException", 500));
    firehose.close().await.unwrap();
}

#[tokio::test]
async fn a_buffer_lands_when_it_is_old_enough() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (firehose, clock) = open(&["clicks"], &store);
    call(&firehose, "PutRecord", &put("clicks", b"{}")).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(lines(&store).await, [""; 0], "the clock stands still");
    clock.advance_us(10_000_000);
    while lines(&store).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(lines(&store).await, ["{}"]);
}

#[tokio::test]
async fn calls_out_of_bounds_are_refused_in_the_words_of_aws() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (firehose, _) = open(&["clicks"], &store);
    let large = vec![b'x'; MAX_DATA_BYTES + 1];
    let within: &[u8] = &large[..MAX_DATA_BYTES];
    let cases: [(&str, Value, &str, &str); 12] = [
        ("PutRecord", put("nobody", b"x"), "ResourceNotFoundException", "Firehose nobody under account"),
        ("PutRecord", put("a b", b"x"), "ValidationException", "'deliveryStreamName' failed to satisfy"),
        ("PutRecord", put(&"x".repeat(65), b"x"), "ValidationException", "less than or equal to 64"),
        ("PutRecord", json!({}), "ValidationException", "2 validation errors detected"),
        ("PutRecord", put("clicks", &large), "ValidationException", "less than or equal to 1024000"),
        ("PutRecordBatch", batch("clicks", &[]), "ValidationException", "greater than or equal to 1"),
        ("PutRecordBatch", batch("clicks", &[&b"x"[..]; 501]), "ValidationException", "less than or equal to 500"),
        ("PutRecordBatch", batch("clicks", &[b"x", &large]), "ValidationException", "'records.2.member.data'"),
        ("PutRecordBatch", batch("clicks", &[within; 5]), "InvalidArgumentException", "4 MB limit"),
        (
            "PutRecord",
            json!({ "DeliveryStreamName": "clicks", "Record": { "Data": "no base64!" } }),
            "SerializationException",
            "'record.data' is not a base64",
        ),
        ("ListDeliveryStreams", json!({ "Limit": 0 }), "ValidationException", "'limit' failed to satisfy"),
        ("CreateDeliveryStream", json!({}), "UnknownOperationException", "Firehose_20150804.CreateDeliveryStream"),
    ];
    for (operation, body, kind, message) in cases {
        let error = call(&firehose, operation, &body).unwrap_err();
        assert_eq!(error.kind.name(), kind, "{operation}: {error}");
        assert!(error.message.contains(message), "{operation}: {error}");
    }
    call(&firehose, "PutRecordBatch", &batch("clicks", &[within, within, within, within, b"x"])).unwrap();
    firehose.close().await.unwrap();
    assert_eq!(lines(&store).await.len(), 5, "nothing of a call that was refused");
}

#[tokio::test]
async fn delivery_streams_are_described_and_listed_page_by_page() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (firehose, _) = open(&["b", "a", "c"], &store);
    let answer = call(&firehose, "DescribeDeliveryStream", &json!({ "DeliveryStreamName": "b" })).unwrap();
    let description = &answer["DeliveryStreamDescription"];
    assert_eq!(description["DeliveryStreamARN"], "arn:aws:firehose:us-east-1:000000000000:deliverystream/b");
    assert_eq!(description["CreateTimestamp"], 1_700_000_000.123);
    let destination = &description["Destinations"][0]["ExtendedS3DestinationDescription"];
    assert_eq!(destination["BucketARN"], "arn:aws:s3:::lake");
    assert_eq!(destination["BufferingHints"], json!({ "SizeInMBs": 5, "IntervalInSeconds": 10 }));
    let list = |body: Value| {
        let answer = call(&firehose, "ListDeliveryStreams", &body).unwrap();
        (answer["DeliveryStreamNames"].clone(), answer["HasMoreDeliveryStreams"].clone())
    };
    assert_eq!(list(json!({})), (json!(["a", "b", "c"]), json!(false)));
    assert_eq!(list(json!({ "Limit": 2 })), (json!(["a", "b"]), json!(true)));
    assert_eq!(list(json!({ "ExclusiveStartDeliveryStreamName": "b" })), (json!(["c"]), json!(false)));
    assert_eq!(list(json!({ "DeliveryStreamType": "MSKAsSource" })), (json!([]), json!(false)));
}

#[tokio::test]
async fn a_lake_that_refuses_slows_the_clients_down_and_loses_nothing_unsaid() {
    // The lake is inside a folder that cannot be made, because a file is in its place.
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("lake")).unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new_with_prefix(folder.path().join("lake")).unwrap());
    std::fs::remove_dir(folder.path().join("lake")).unwrap();
    std::fs::write(folder.path().join("lake"), "").unwrap();
    let (firehose, _) = open(&["clicks"], &store);
    let line = vec![b'x'; MAX_DATA_BYTES];
    let full = batch("clicks", &[&line, &line, &line, &line]);
    let mut taken = 0;
    let refused = loop {
        match call(&firehose, "PutRecordBatch", &full) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(taken < 200, "the queue is bounded");
    };
    assert_eq!((refused.kind.name(), &*refused.message), ("ServiceUnavailableException", "Slow down."));
    assert!(taken >= 16, "{taken}");
    let lost = firehose.close().await.unwrap_err().to_string();
    assert!(lost.contains("clicks could not land all it took"), "{lost}");
}

//! Faults on the wire, over HTTP/1.1 and HTTP/2, on an injected clock.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, client::conn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{SECOND_US, T0_US};
use crate::stream::{FaultPlan, ManualClock, ServerConfig, StreamServer};

/// A server whose faults began a moment ago and last for a second.
fn server(fault: Value) -> (StreamServer, Arc<ManualClock>) {
    let mut whole = json!({ "at": "0s", "for": "1s" });
    whole.as_object_mut().unwrap().extend(fault.as_object().unwrap().clone());
    let faults = FaultPlan::new(&[serde_json::from_value(whole).unwrap()], 42).unwrap();
    let clock = Arc::new(ManualClock::new(T0_US));
    let streams = vec![("s".to_owned(), 1)];
    let config = ServerConfig { streams, faults, clock: Arc::<ManualClock>::clone(&clock), ..ServerConfig::default() };
    let server = StreamServer::bind(config).unwrap();
    server.start_faults(T0_US);
    (server, clock)
}

fn call(server: &StreamServer, operation: &str, body: &'static str) -> Request<Full<Bytes>> {
    Request::post(server.endpoint())
        .header("host", "localhost")
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", format!("Kinesis_20131202.{operation}"))
        .body(Full::new(Bytes::from_static(body.as_bytes())))
        .unwrap()
}

const PUT: &str = r#"{"StreamName":"s","PartitionKey":"k","Data":"eA=="}"#;

/// A put on a connection of its own: the answer, or how the client saw its end.
async fn put(server: &StreamServer) -> Result<(u16, Value), hyper::Error> {
    let socket = TcpStream::connect(server.address()).await.unwrap();
    let (mut sender, connection) = conn::http1::handshake(TokioIo::new(socket)).await?;
    tokio::spawn(connection);
    let answer = sender.send_request(call(server, "PutRecord", PUT)).await?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await?.to_bytes();
    Ok((status, serde_json::from_slice(&body).unwrap()))
}

fn stored(server: &StreamServer) -> u64 {
    server.metrics().streams[0].shards[0].records
}

#[tokio::test]
async fn a_failing_service_answers_500_or_503_in_the_words_of_aws_and_nothing_happens() {
    for (status, name, message) in [
        (
            500,
            "InternalFailure",
            "The request processing has failed because of an unknown error, exception or failure.",
        ),
        (503, "ServiceUnavailable", "The request has failed due to a temporary failure of the server."),
    ] {
        let (server, clock) = server(json!({ "kind": "error", "status": status }));
        let error = put(&server).await.unwrap();
        assert_eq!(error, (status, json!({ "__type": name, "message": message })));
        assert_eq!((stored(&server), server.faults()[0].calls), (0, 1));
        clock.advance_us(SECOND_US);
        assert_eq!(put(&server).await.unwrap().0, 200);
        assert_eq!((stored(&server), server.faults()[0].calls), (1, 1));
    }
}

#[tokio::test]
async fn a_connection_cut_before_the_operation_stores_nothing_and_one_cut_after_it_stores_the_record() {
    for (when, records) in [("before", 0), ("after", 1)] {
        let (server, _clock) = server(json!({ "kind": "drop", "when": when }));
        let error = put(&server).await.unwrap_err();
        assert!(error.is_incomplete_message(), "{error:?}");
        assert_eq!((stored(&server), server.faults()[0].calls), (records, 1), "{when}");
    }
}

#[tokio::test]
async fn on_http_2_a_cut_resets_the_call_and_leaves_the_others_of_the_connection_alone() {
    let (server, _clock) = server(json!({ "kind": "drop", "when": "after", "operations": ["PutRecord"] }));
    let socket = TcpStream::connect(server.address()).await.unwrap();
    let (mut sender, connection) = conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    assert!(sender.send_request(call(&server, "PutRecord", PUT)).await.is_err());
    let answer = sender.send_request(call(&server, "ListStreams", "{}")).await.unwrap();
    assert_eq!((answer.status().as_u16(), stored(&server)), (200, 1));
}

#[tokio::test]
async fn a_late_call_is_answered_no_sooner_than_its_latency_and_does_happen() {
    let (server, _clock) = server(json!({ "kind": "latency", "latency": "30ms" }));
    let sent = tokio::time::Instant::now();
    assert_eq!(put(&server).await.unwrap().0, 200);
    assert!(sent.elapsed() >= Duration::from_millis(30));
    assert_eq!(stored(&server), 1);
}

#[tokio::test]
async fn a_stalled_call_waits_for_the_end_of_the_fault() {
    let (server, clock) = server(json!({ "kind": "stall" }));
    clock.advance_us(SECOND_US - 40_000);
    let sent = tokio::time::Instant::now();
    assert_eq!(put(&server).await.unwrap().0, 200);
    assert!(sent.elapsed() >= Duration::from_millis(40));
    assert_eq!(stored(&server), 1);
}

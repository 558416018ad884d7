//! The wire: raw HTTP/1.1 and HTTP/2 against a bound port.

use std::{collections::BTreeSet, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, Response, client::conn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use millrace_scenarios::StateAfter;

use super::entries;
use crate::stream::{Quotas, ServeError, ServerConfig, StreamServer};

const JSON: &str = "application/x-amz-json-1.1";

fn server(quotas: Quotas) -> StreamServer {
    let streams = vec![("s".to_owned(), 4)];
    StreamServer::bind(ServerConfig { streams, quotas, ..ServerConfig::default() }).unwrap()
}

fn call(operation: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post("/")
        .header("host", "localhost")
        .header("content-type", JSON)
        .header("x-amz-target", format!("Kinesis_20131202.{operation}"))
        .body(Full::new(body.into()))
        .unwrap()
}

async fn send(server: &StreamServer, request: Request<Full<Bytes>>) -> (Response<()>, Bytes) {
    let socket = TcpStream::connect(server.address()).await.unwrap();
    let (mut sender, connection) = conn::http1::handshake(TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
    (Response::from_parts(parts, ()), body.collect().await.unwrap().to_bytes())
}

async fn error_of(server: &StreamServer, request: Request<Full<Bytes>>) -> (u16, Value) {
    let (head, body) = send(server, request).await;
    (head.status().as_u16(), serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn an_answer_has_the_headers_of_aws() {
    let server = server(Quotas::off());
    let (head, body) = send(&server, call("ListStreams", "{}")).await;
    assert_eq!(head.status(), 200);
    assert_eq!(head.headers()["content-type"], JSON);
    assert_eq!(head.headers()["content-length"], body.len().to_string().as_str());
    assert_eq!(head.headers()["x-amzn-requestid"].len(), 36);
    assert_eq!(STANDARD.decode(&head.headers()["x-amz-id-2"]).unwrap().len(), 72);
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["StreamNames"], json!(["s"]));
}

#[tokio::test]
async fn a_call_without_an_answer_has_an_empty_body() {
    let server = server(Quotas::off());
    let (head, body) = send(&server, call("DeleteStream", r#"{"StreamName":"s"}"#)).await;
    assert_eq!((head.status().as_u16(), body.len()), (200, 0));
    assert_eq!(head.headers()["content-length"], "0");
}

#[tokio::test]
async fn malformed_bodies_are_serialization_exceptions() {
    let server = server(Quotas::off());
    let bodies: [&[u8]; 6] = [b"", b"{", b"[]", b"{\"StreamName\":\"s\xff\"}", b"{\"StreamName\":5}", b"not json"];
    for body in bodies {
        let (status, error) = error_of(&server, call("PutRecord", body)).await;
        assert_eq!((status, &error["__type"]), (400, &json!("SerializationException")), "{body:?}");
        assert!(error["Message"].is_string());
    }
    let body = r#"{"StreamName":"s","PartitionKey":"k","Data":"%%%"}"#;
    let (status, error) = error_of(&server, call("PutRecord", body)).await;
    assert_eq!((status, &error["__type"]), (400, &json!("SerializationException")));
}

#[tokio::test]
async fn modelled_errors_are_400_with_type_and_message() {
    let server = server(Quotas::off());
    let (status, error) = error_of(&server, call("DescribeStream", r#"{"StreamName":"none"}"#)).await;
    let message = "Stream none under account 000000000000 not found.";
    assert_eq!((status, error), (400, json!({ "__type": "ResourceNotFoundException", "message": message })));
    let (status, error) = error_of(&server, call("CreateChannel", "{}")).await;
    assert_eq!((status, &error["__type"]), (400, &json!("UnknownOperationException")));
    let mut without_target = call("PutRecord", "{}");
    without_target.headers_mut().remove("x-amz-target");
    assert_eq!(error_of(&server, without_target).await.1["__type"], "UnknownOperationException");
}

#[tokio::test]
async fn a_body_over_the_cap_is_413_and_the_server_lives_on() {
    let server = server(Quotas::off());
    let (status, error) = error_of(&server, call("PutRecords", vec![b' '; (16 << 20) + 1])).await;
    assert_eq!((status, &error["__type"]), (413, &json!("RequestEntityTooLargeException")));
    assert_eq!(send(&server, call("ListStreams", "{}")).await.0.status(), 200);
}

#[tokio::test]
async fn the_largest_legal_call_fits_under_the_cap() {
    let server = server(Quotas::off());
    let records = entries(10, &"x".repeat((1 << 20) - 5));
    let body = json!({ "StreamName": "s", "Records": records }).to_string();
    let (head, answer) = send(&server, call("PutRecords", body)).await;
    assert_eq!(head.status(), 200);
    assert_eq!(serde_json::from_slice::<Value>(&answer).unwrap()["FailedRecordCount"], 0);
}

#[tokio::test]
async fn wrong_methods_paths_and_languages_are_answered_in_xml() {
    let server = server(Quotas::off());
    let mut put = call("PutRecord", "{}");
    *put.method_mut() = Method::PUT;
    let mut elsewhere = call("PutRecord", "{}");
    *elsewhere.uri_mut() = "/elsewhere".parse().unwrap();
    let mut ion = call("PutRecord", "{}");
    ion.headers_mut().insert("content-type", "application/x-amz-ion-1.0".parse().unwrap());
    let mut stranger = ion.clone();
    stranger.headers_mut().remove("x-amz-target");
    for (request, status, name) in [
        (put, 404, "UnknownOperationException"),
        (elsewhere, 404, "UnknownOperationException"),
        (ion, 404, "UnknownOperationException"),
        (stranger, 403, "AccessDeniedException"),
    ] {
        let (head, body) = send(&server, request).await;
        assert_eq!(head.status().as_u16(), status);
        assert!(std::str::from_utf8(&body).unwrap().contains(name));
        assert!(head.headers().contains_key("x-amzn-requestid"));
    }
}

#[tokio::test]
async fn health_is_answered_on_get() {
    let server = server(Quotas::off());
    for path in ["/", "/health"] {
        let request = Request::get(path).header("host", "localhost").body(Full::default()).unwrap();
        let (head, body) = send(&server, request).await;
        assert_eq!((head.status().as_u16(), &body[..]), (200, &b"ok"[..]));
    }
}

#[tokio::test]
async fn http_2_by_prior_knowledge_is_served_on_the_same_port() {
    let server = server(Quotas::off());
    let socket = TcpStream::connect(server.address()).await.unwrap();
    let handshake = conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket));
    let (sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let calls = (0..20).map(|i| {
        let mut sender = sender.clone();
        let body = json!({ "StreamName": "s", "PartitionKey": i.to_string(), "Data": "QQ==" }).to_string();
        let mut request = call("PutRecord", body);
        *request.uri_mut() = format!("{}/", server.endpoint()).parse().unwrap();
        request.headers_mut().remove("host");
        async move { sender.send_request(request).await.unwrap().status().as_u16() }
    });
    assert_eq!(futures::future::join_all(calls).await, [200; 20]);
    let stored: u64 = server.metrics().stream("s").unwrap().shards.iter().map(|shard| shard.records).sum();
    assert_eq!(stored, 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writers_get_different_numbers_and_lose_nothing() {
    let server = std::sync::Arc::new(server(Quotas::off()));
    let writers = (0..8).map(|_| {
        let server = std::sync::Arc::clone(&server);
        tokio::spawn(async move {
            let mut numbers = Vec::new();
            for _ in 0..5 {
                let body = json!({ "StreamName": "s", "Records": entries(100, "x") }).to_string();
                let answer: Value = serde_json::from_slice(&send(&server, call("PutRecords", body)).await.1).unwrap();
                let records = answer["Records"].as_array().unwrap();
                numbers.extend(records.iter().map(|r| (r["ShardId"].to_string(), r["SequenceNumber"].to_string())));
            }
            numbers
        })
    });
    let numbers: Vec<_> = futures::future::join_all(writers).await.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(numbers.len(), 4_000);
    assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), 4_000);
    let metrics = server.metrics();
    assert_eq!(metrics.streams[0].shards.iter().map(|shard| shard.stored_records).sum::<u64>(), 4_000);
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_it() {
    let first = server(Quotas::off());
    let config = ServerConfig { address: first.address(), ..ServerConfig::default() };
    let error = StreamServer::bind(config).unwrap_err();
    assert!(matches!(&error, ServeError::Listen { address, .. } if *address == first.address()));
    assert!(error.to_string().contains(&first.address().to_string()), "{error}");
}

#[tokio::test]
async fn a_configured_stream_with_a_bad_name_or_no_shards_is_an_error() {
    for (name, shards) in [("a b", 1), ("", 1), ("s", 0), ("s", 30_000)] {
        let config = ServerConfig { streams: vec![(name.to_owned(), shards)], ..ServerConfig::default() };
        assert!(matches!(StreamServer::bind(config), Err(ServeError::Stream { .. })), "{name} {shards}");
    }
}

#[test]
fn outside_a_runtime_the_server_says_so() {
    assert!(matches!(StreamServer::bind(ServerConfig::default()), Err(ServeError::NoRuntime(_))));
}

#[tokio::test]
async fn shutdown_frees_the_port_even_with_an_idle_connection() {
    let server = server(Quotas::off());
    let address = server.address();
    let socket = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = conn::http1::handshake(TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let answer = sender.send_request(call("ListStreams", "{}")).await.unwrap();
    drop(answer.into_body().collect().await.unwrap());
    server.shutdown().await;
    assert!(TcpStream::connect(address).await.is_err());
    StreamServer::bind(ServerConfig { address, ..ServerConfig::default() }).unwrap();
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_given_up_and_others_are_not_kept_waiting() {
    let config = ServerConfig { patience: Duration::from_millis(200), ..ServerConfig::default() };
    let server = StreamServer::bind(config).unwrap();
    let mut slow = TcpStream::connect(server.address()).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: Kinesis_20131202.ListStreams\r\n\
                content-type: application/x-amz-json-1.1\r\ncontent-length: 2\r\n\r\n{";
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut prompt = TcpStream::connect(server.address()).await.unwrap();
    let request = "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    prompt.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    prompt.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("millrace_memory_used_bytes 0"), "{answer}");
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("RequestTimeoutException"), "{answer}");
}

/// What the server answers to these bytes until it closes the connection.
async fn answer_to(server: &StreamServer, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(server.address()).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _closed_or_reset = socket.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off_and_others_are_not_kept_waiting() {
    let config = ServerConfig { patience: Duration::from_millis(300), ..ServerConfig::default() };
    let server = StreamServer::bind(config).unwrap();
    let mut slow = TcpStream::connect(server.address()).await.unwrap();
    let dripping = async {
        for byte in b"POST / HTTP/1.1\r\nx-endless: ".iter().chain([b'a'].iter().cycle()) {
            if slow.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let others = async {
        let (head, _) = send(&server, call("ListStreams", "{}")).await;
        assert_eq!(head.status(), 200);
    };
    // Only the server can end the first.
    tokio::join!(dripping, others);
}

#[tokio::test]
async fn a_client_may_be_silent_for_longer_than_a_head_may_take() {
    let patience = Duration::from_secs(1);
    let server = StreamServer::bind(ServerConfig { patience, ..ServerConfig::default() }).unwrap();
    let connect = || async { TokioIo::new(TcpStream::connect(server.address()).await.unwrap()) };
    let (mut first, connection) = conn::http1::handshake(connect().await).await.unwrap();
    tokio::spawn(connection);
    let (mut second, connection) = conn::http2::handshake(TokioExecutor::new(), connect().await).await.unwrap();
    tokio::spawn(connection);
    let mut over_h2 = call("ListStreams", "{}");
    *over_h2.uri_mut() = format!("{}/", server.endpoint()).parse().unwrap();
    over_h2.headers_mut().remove("host");
    // Before the first call, and between calls.
    for _ in 0..2 {
        tokio::time::sleep(patience + patience / 2).await;
        let answer = first.send_request(call("ListStreams", "{}")).await.unwrap();
        assert_eq!(answer.status(), 200);
        drop(answer.into_body().collect().await.unwrap());
        assert_eq!(second.send_request(over_h2.clone()).await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_head_that_is_not_finished_is_cut_off_also_after_a_call_and_in_the_preface_of_http_2() {
    let patience = Duration::from_millis(300);
    let server = StreamServer::bind(ServerConfig { patience, ..ServerConfig::default() }).unwrap();
    let begun = b"GET /health HTTP/1.1\r\nhost: h\r\n\r\nGET /health HTTP/1.1\r\nho";
    let mut socket = TcpStream::connect(server.address()).await.unwrap();
    let (whole, rest) = begun.split_at(35);
    socket.write_all(whole).await.unwrap();
    let mut answer = vec![0; 1];
    socket.read_exact(&mut answer).await.unwrap();
    socket.write_all(rest).await.unwrap();
    let _closed_or_reset = socket.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "only the first is answered: {answer}");
    assert!(!answer_to(&server, b"PRI * HTTP/2.0\r\n").await.starts_with("HTTP/1.1 2"));
}

#[tokio::test]
async fn garbage_is_answered_or_cut_off_and_the_server_lives_on() {
    let config = ServerConfig { patience: Duration::from_millis(300), ..ServerConfig::default() };
    let server = StreamServer::bind(config).unwrap();
    let long_line = [b"GET /".as_slice(), &[b'a'; 1 << 20], b" HTTP/1.1\r\n\r\n"].concat();
    let garbage: [&[u8]; 6] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"\0\0\0\0\r\n\r\n",
        b"POST / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"POST / HTTP/1.1\r\ncontent-length: -5\r\n\r\n",
        &long_line,
    ];
    for bytes in garbage {
        let answer = answer_to(&server, bytes).await;
        assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    }
    let (head, _) = send(&server, call("ListStreams", "{}")).await;
    assert_eq!(head.status(), 200);
}

#[tokio::test]
async fn requests_sent_before_the_answers_came_are_answered_in_order() {
    let server = server(Quotas::off());
    let request = |operation: &str, more: &str, body: &str| {
        format!(
            "POST / HTTP/1.1\r\nhost: h\r\nx-amz-target: Kinesis_20131202.{operation}\r\ncontent-type: {JSON}\r\n\
             {more}content-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let three = request("ListStreams", "", "{}")
        + &request("DescribeLimits", "", "{}")
        + &request("NoSuchThing", "connection: close\r\n", "{}");
    let answer = answer_to(&server, three.as_bytes()).await;
    let places: Vec<_> =
        ["StreamNames", "ShardLimit", "UnknownOperationException"].map(|said| answer.find(said).unwrap()).into();
    assert!(places.is_sorted(), "{answer}");
}

#[tokio::test]
async fn a_client_that_waits_to_be_told_to_go_on_is_told() {
    let server = server(Quotas::off());
    let mut socket = TcpStream::connect(server.address()).await.unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: h\r\nx-amz-target: Kinesis_20131202.ListStreams\r\ncontent-type: {JSON}\r\n\
         expect: 100-continue\r\nconnection: close\r\ncontent-length: 2\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut told = [0; 25];
    socket.read_exact(&mut told).await.unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(b"{}").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_compressed_body_is_one_that_cannot_be_read() {
    let server = server(Quotas::off());
    let mut request = call("ListStreams", vec![0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3]);
    request.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    let (status, error) = error_of(&server, request).await;
    assert_eq!((status, &error["__type"]), (400, &json!("SerializationException")));
}

#[tokio::test]
async fn too_many_calls_that_manage_streams_are_refused_at_the_door() {
    let server = server(Quotas::aws());
    for call_number in 0..20 {
        let (status, error) = error_of(&server, call("DescribeLimits", "{}")).await;
        if status == 400 {
            assert_eq!(error["__type"], "LimitExceededException");
            assert_eq!(error["message"], "Rate exceeded for account 000000000000.");
            return;
        }
        assert!(call_number < 19, "twenty calls in a row and one a second is allowed");
    }
}

/// Puts until one is acknowledged, as a client that tries again does, and gives the number.
async fn put_patiently(server: &StreamServer) -> String {
    loop {
        let Ok(socket) = TcpStream::connect(server.address()).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let Ok((mut sender, connection)) = conn::http1::handshake(TokioIo::new(socket)).await else { continue };
        tokio::spawn(connection);
        let put = call("PutRecord", r#"{"StreamName":"s","PartitionKey":"k","Data":"QQ=="}"#);
        if let Ok(answer) = sender.send_request(put).await {
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            let answer: Value = serde_json::from_slice(&body).unwrap();
            return answer["SequenceNumber"].as_str().unwrap().to_owned();
        }
    }
}

#[tokio::test]
async fn a_killed_server_cuts_its_connections_and_comes_back_on_its_port_with_or_without_its_records() {
    let server = server(Quotas::off());
    put_patiently(&server).await;
    for (state, stored) in [(StateAfter::Kept, 2), (StateAfter::Lost, 1)] {
        let mut idle = TcpStream::connect(server.address()).await.unwrap();
        let patience = Duration::from_secs(60);
        tokio::time::sleep(Duration::from_millis(50)).await;
        server.kill(Duration::from_secs(2), state);
        let ended = tokio::time::timeout(patience, idle.read(&mut [0])).await.expect("the connection is cut");
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
        assert!(TcpStream::connect(server.address()).await.is_err(), "nobody listens");
        put_patiently(&server).await;
        let metrics = server.metrics();
        let shards = &metrics.stream("s").unwrap().shards;
        assert_eq!(shards.len(), 4);
        assert_eq!(shards.iter().map(|shard| shard.stored_records).sum::<u64>(), stored, "{state:?}");
    }
    tokio::time::timeout(Duration::from_secs(60), server.shutdown()).await.expect("it ends");
}

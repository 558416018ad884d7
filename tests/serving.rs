//! `millrace serve` under load and under a crowd.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use base64::Engine as _;
use support::{at, measure, millrace, number, python, record, server::Server};

#[test]
fn a_load_on_a_served_stream_accounts_for_every_record_of_its_own_run() {
    let server = Server::millrace(&["--stream", "sensor-stream:1"]);
    let folder = tempfile::tempdir().unwrap();
    for run in ["first", "second"] {
        let out = folder.path().join(run);
        let mut command = millrace();
        command.args(["load", "sensors", "--rate", "300", "--for", "3s", "--set", "stream.name=sensor-stream"]);
        command.args(["--set", "delivery.buffer_interval=1s", "--target", &server.url, "--out"]);
        let (record, _) = measure(command.arg(&out), &out);
        assert_eq!(number(&record, "ledger.lost"), 0);
        assert_eq!(at(&record, "load.shards").as_array().unwrap().len(), 1, "the stream that was there is used");
        assert_eq!(at(&record, "run.target"), server.url.as_str());
        assert_eq!(number(&record, "delivery.records_delivered"), number(&record, "load.accepted"));
    }
}

#[test]
fn an_overloaded_shard_refuses_and_every_refusal_is_counted_by_shard_and_cause() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut command = millrace();
    command.args(["load", "sensors", "--rate", "2500", "--for", "4s", "--set", "stream.shards=1"]);
    command.args([
        "--set",
        "load.deadline=1s",
        "--set",
        "load.arrival=constant",
        "--set",
        "delivery.buffer_interval=1s",
    ]);
    // SLOs of the shipped scenario do not hold here; the ledger has to.
    let output = support::run(command.arg("--out").arg(&out));
    let record = record(&out);
    assert!(matches!(output.status.code(), Some(1 | 4)), "an SLO is missed or the harness waited: {:?}", output.status);
    let (due, accepted, refused) =
        (number(&record, "load.due"), number(&record, "load.accepted"), number(&record, "load.refused"));
    assert_eq!(due, 10_000);
    assert_eq!(due, accepted + refused);
    // A full tank of 1,000 and 1,000 a second for the schedule and the deadline after it.
    assert!((4_500..=6_500).contains(&accepted), "{accepted} accepted");
    for hop in at(&record, "ledger.hops").as_array().unwrap() {
        assert_eq!(hop["difference"], 0, "{hop}");
    }
    let refusals = at(&record, "load.refusals").as_array().unwrap();
    let given_up: u64 = refusals.iter().map(|r| number(r, "records")).sum();
    assert_eq!(given_up, refused, "{refusals:?}");
    let throttled = refusals.iter().find(|r| r["cause"] == "ProvisionedThroughputExceededException").unwrap();
    assert!(throttled["shard"].as_str().unwrap().starts_with("shardId-"));
    assert!(number(throttled, "refusals") >= number(throttled, "records"));
}

/// The answer to a PutRecord of this many bytes: status and body.
fn put(server: &Server, bytes: usize) -> (u16, String) {
    let data = base64::engine::general_purpose::STANDARD.encode(vec![b'x'; bytes]);
    let body = format!(r#"{{"StreamName":"s","PartitionKey":"k","Data":"{data}"}}"#);
    let mut socket = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: h\r\nconnection: close\r\nx-amz-target: Kinesis_20131202.PutRecord\r\n\
         content-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all((head + &body).as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn a_server_holds_no_more_than_it_was_given_and_says_so() {
    let server = Server::millrace(&["--stream", "s:1", "--capacity", "1MiB", "--retention", "48h", "--quota", "off"]);
    for _ in 0..2 {
        assert_eq!(put(&server, 400 << 10).0, 200);
    }
    let (status, said) = put(&server, 400 << 10);
    assert_eq!(status, 500);
    assert!(said.contains("InternalFailure") && said.contains("1048576"), "{said}");
    assert_eq!(put(&server, 100 << 10).0, 200, "what still fits is taken");
}

#[test]
fn ten_thousand_connections_leave_room_for_an_application_and_cost_little() {
    let server = Server::millrace(&[]);
    let seen = python::ask("crowd.py", &[&server.url, &server.id().to_string(), "10000"]);
    println!("{seen}");
    assert_eq!((number(&seen, "alone"), number(&seen, "crowded")), (500, 500));
    // Fewer only where the machine's hard limit of open files is lower.
    assert!(number(&seen, "connections") > 900, "{seen}");
    assert!(number(&seen, "bytes_each") < 32 << 10, "{seen}");
    assert_eq!(server.stop(), Some(0), "SIGTERM ends it gracefully though they are still open");
}

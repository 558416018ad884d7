//! Firehose from both ends: our calls to a stand-in that others wrote (moto, with a delivery stream that boto3 made), and
//! boto3's calls to ours.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    collections::HashSet,
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use millrace_loadgen::firehose::{self, Outcome};
use serde_json::{Value, json};
use support::{at, expect_exit, measure, millrace, number, python, record, server::Server};

/// Posts a body to Firehose and gives status and body of the answer.
fn post(url: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let host = url.strip_prefix("http://").unwrap();
    // The stand-in finds the service in the scope of the signature, and does not check the signature itself.
    let scope = "Credential=test/20250101/us-east-1/firehose/aws4_request, SignedHeaders=host";
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nX-Amz-Target: {}\r\nContent-Type: {}\r\n\
         X-Amz-Date: 20250101T000000Z\r\nAuthorization: AWS4-HMAC-SHA256 {scope}, Signature={}\r\n\
         Content-Length: {}\r\n\r\n",
        firehose::TARGET,
        firehose::CONTENT_TYPE,
        "0".repeat(64),
        body.len()
    );
    let mut connection = TcpStream::connect(host).unwrap();
    connection.write_all(head.as_bytes()).unwrap();
    connection.write_all(body).unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("the answer has a head") + 4;
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    assert!(!head.contains("transfer-encoding"), "{head}");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_off(end))
}

#[test]
fn another_firehose_takes_our_calls_and_we_read_its_answers() {
    let moto = Server::moto();
    let made = python::ask("firehose.py", &[&moto.url, "create", "clicks", "lake"]);
    assert!(made["arn"].as_str().unwrap().ends_with("deliverystream/clicks"), "{made}");

    let records: Vec<Vec<u8>> =
        (0..500_u32).map(|i| format!("{{\"n\":{i},\"é\":\"\u{1F600}\"}}\n").into_bytes()).collect();
    let mut body = Vec::new();
    firehose::encode("clicks", records.iter().map(Vec::as_slice), &mut body).unwrap();
    let (status, answer) = post(&moto.url, &body);
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    let outcomes = firehose::parse(&answer, records.len()).unwrap();
    let ids: HashSet<_> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Accepted { record_id } => record_id.clone(),
            Outcome::Refused { code, message } => panic!("{code}: {message}"),
        })
        .collect();
    assert_eq!(ids.len(), 500, "each record has its own");

    let landed = python::ask("firehose.py", &[&moto.url, "landed", "clicks", "lake"]);
    assert_eq!(landed["objects"], json!([BASE64.encode(records.concat())]), "what lands is what was sent");

    body.clear();
    firehose::encode("nobody", [&b"x"[..]], &mut body).unwrap();
    let (status, answer) = post(&moto.url, &body);
    assert_eq!(status, 400);
    assert!(firehose::parse(&answer, 1).is_err(), "{}", String::from_utf8_lossy(&answer));
}

/// Every line of every object of a lake in a folder.
fn lines(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            lines.extend(self::lines(&path));
        } else {
            let text = std::io::read_to_string(flate2::read::MultiGzDecoder::new(fs::File::open(&path).unwrap()));
            lines.extend(text.unwrap().lines().map(str::to_owned));
        }
    }
    lines
}

#[test]
fn boto3_delivers_through_our_firehose_into_the_lake() {
    let folder = tempfile::tempdir().unwrap();
    let lake = folder.path().join("lake");
    let server = Server::millrace(&["--firehose", "sensors", "--lake", lake.to_str().unwrap()]);
    let seen = python::ask("firehose_conversation.py", &[&server.url, "sensors"]);
    assert_eq!(
        (&seen["listed"], &seen["status"], &seen["type"]),
        (&json!(["sensors"]), &json!("ACTIVE"), &json!("DirectPut"))
    );
    assert!(seen["prefix"].as_str().unwrap().contains("!{timestamp:yyyy}"), "{seen}");
    assert_eq!((&seen["failed"], &seen["ids"]), (&json!(0), &json!(501)));
    assert_eq!(
        (&seen["missing"], &seen["too_many"]),
        (&json!("ResourceNotFoundException"), &json!("ValidationException"))
    );
    assert_eq!(seen["unserved"], "UnknownOperationException");
    assert_eq!(server.stop(), Some(0), "what was taken lands before the end");
    let mut numbers: Vec<u64> =
        lines(&lake).iter().map(|line| serde_json::from_str::<Value>(line).unwrap()["n"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..=500).collect::<Vec<_>>());
}

#[test]
fn our_own_calls_are_taken_by_our_own_firehose() {
    let folder = tempfile::tempdir().unwrap();
    let lake = folder.path().join("lake");
    let server = Server::millrace(&["--firehose", "sensors", "--lake", lake.to_str().unwrap()]);
    let mut body = Vec::new();
    firehose::encode("sensors", [&b"{\"n\":1}"[..], b"{\"n\":2}"], &mut body).unwrap();
    let (status, answer) = post(&server.url, &body);
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    assert!(firehose::parse(&answer, 2).unwrap().iter().all(|outcome| matches!(outcome, Outcome::Accepted { .. })));
    assert_eq!(server.stop(), Some(0));
    assert_eq!(lines(&lake).len(), 2);
}

/// A load of 3 s at 500 records a second, put into the delivery stream of the scenario's stream.
fn direct(verb: &str, out: &Path) -> std::process::Command {
    let mut command = millrace();
    command.args([verb, "sensors", "--rate", "500", "--for", "3s", "--set", "load.call=put_record_batch"]);
    command.args(["--set", "load.arrival=constant", "--set", "delivery.buffer_interval=1s"]);
    command.arg("--out").arg(out);
    command
}

/// Where the stream is in this process, every record is followed from its due time into the table.
#[test]
fn a_load_on_the_local_delivery_stream_is_followed_to_the_table() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let (record, said) = measure(&mut direct("run", &out), &out);
    for hop in ["producer", "stream", "delivery", "table", "whole way"] {
        assert!(said.contains(&format!("✓ {hop}")), "{said}");
    }
    assert_eq!((number(&record, "load.accepted"), number(&record, "delivery.records_delivered")), (1_500, 1_500));
    assert_eq!(lines(&out.join("lake")).len(), 1_500);
    let hops = at(&record, "latency").as_array().unwrap();
    let timed = |hop: &str| hops.iter().find(|one| one["hop"] == hop).map_or(0, |one| one["count"].as_u64().unwrap());
    assert_eq!(["lag", "service", "response", "landed"].map(timed), [1_500; 4]);
    assert_eq!(["arrival", "read"].map(timed), [0; 2], "nobody reads a stream that is not there");
    assert!(at(&record, "load.shards").as_array().unwrap().is_empty() && record["load"]["skew"].is_null());
}

/// Where it is elsewhere, nobody can read back, and the record claims nothing about it. What landed, its owner says.
#[test]
fn a_load_on_another_delivery_stream_claims_nothing_that_was_not_seen() {
    let moto = Server::moto();
    let made = python::ask("firehose.py", &[&moto.url, "create", "clicks", "lake"]);
    assert!(made["arn"].as_str().unwrap().ends_with("deliverystream/clicks"), "{made}");
    let folder = tempfile::tempdir().unwrap();
    let to = |name: &str, out: &Path| {
        let mut command = direct("load", out);
        command.args(["--target", &moto.url, "--set", &format!("stream.name={name}"), "--set", "slo=[]"]);
        command
    };
    let out = folder.path().join("run");
    let (found, said) = measure(&mut to("clicks", &out), &out);
    assert!(said.contains("not measured, nobody could read what the target took"), "{said}");
    assert!(!said.contains("lost 0"), "{said}");
    assert_eq!((number(&found, "load.due"), number(&found, "load.accepted")), (1_500, 1_500));
    let hops: Vec<_> = at(&found, "ledger.hops").as_array().unwrap().iter().map(|hop| &hop["hop"]).collect();
    assert_eq!(hops, ["producer"]);
    let not_measured = at(&found, "not_measured").to_string();
    assert!(not_measured.contains("lets nobody read"), "{not_measured}");
    let landed = python::ask("firehose.py", &[&moto.url, "landed", "clicks", "lake"]);
    let landed = landed["objects"].as_array().unwrap().iter().map(|one| BASE64.decode(one.as_str().unwrap()).unwrap());
    let text = String::from_utf8(landed.flatten().collect()).unwrap();
    assert_eq!(text.matches("\"millrace_seq\":").count(), 1_500);

    // This stand-in does not say that the stream is missing; a load of which nothing was taken passes nothing.
    let nothing = folder.path().join("nobody");
    let status = to("nobody", &nothing).status().unwrap();
    assert!(matches!(status.code(), Some(1 | 4)), "{status}");
    let promises = at(&record(&nothing), "verdict.promises").to_string();
    assert!(promises.contains("not one of 1,500 due records was accepted"), "{promises}");
    let server = Server::millrace(&["--firehose", "sensors", "--lake", folder.path().join("lake").to_str().unwrap()]);
    let mut missing = direct("load", &folder.path().join("missing"));
    missing.args(["--target", &server.url, "--set", "stream.name=missing"]);
    let (said, _) = expect_exit(&mut missing, 3);
    assert!(said.contains("missing"), "{said}");
    let (_, said) = expect_exit(direct("run", &folder.path().join("no")).args(["--target", &moto.url]), 2);
    assert!(said.contains("millrace load"), "{said}");
}

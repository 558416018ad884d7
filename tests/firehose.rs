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
use support::{python, server::Server};

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

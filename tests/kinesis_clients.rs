//! The local stream as other people's clients use it, against the served binary.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;
use support::{number, python, server::Server};

#[test]
fn boto3_holds_a_whole_conversation() {
    let server = Server::millrace(&["--stream", "clicks:2"]);
    let seen = python::ask("kinesis_conversation.py", &[&server.url]);
    a_whole_conversation(&seen);
    assert_eq!(server.stop(), Some(0), "SIGTERM ends it gracefully");
}

#[test]
fn boto3_holds_the_same_conversation_over_tls_with_a_server_that_knows_its_secret() {
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("authority.pem");
    let server = Server::millrace_behind_tls(&["--stream", "clicks:2"], &authority);
    assert!(server.url.starts_with("https://"), "{}", server.url);
    let seen = python::ask("kinesis_conversation.py", &[&server.url, authority.to_str().unwrap()]);
    a_whole_conversation(&seen);
}

/// What the conversation found is what AWS would have said.
fn a_whole_conversation(seen: &Value) {
    for claim in ["covers", "routed", "explicit", "read", "ordered", "at", "after", "timestamp"] {
        assert_eq!(seen[claim], true, "{claim} in {seen:#}");
    }
    assert_eq!(seen["summary"], 3);
    assert_eq!(seen["failed"], 0);
    assert_eq!(seen["latest"], serde_json::json!(["late"]));
    assert_eq!(seen["again"], "ResourceInUseException");
    assert_eq!(seen["missing"], "ResourceNotFoundException");
    assert_eq!(seen["bad_iterator"], "InvalidArgumentException");
    assert!(seen["too_many"] == "ValidationException" || seen["too_many"] == "InvalidArgumentException", "{seen:#}");
    // 3,000 records at once for one shard that takes 1,000 a second: a tank of them goes in, the rest is refused.
    let accepted = number(seen, "burst.accepted");
    let refused = number(seen, "burst.ProvisionedThroughputExceededException");
    assert_eq!(accepted + refused, 3_000);
    assert!(accepted >= 1_000 - 110, "the tank was full but for what the conversation put before: {seen:#}");
    assert!(refused > 0, "{seen:#}");
}

#[test]
fn boto3_follows_a_shard_and_its_children_by_fan_out() {
    let server = Server::millrace(&["--stream", "talk:1"]);
    let seen = python::ask("kinesis_fan_out.py", &[&server.url, "talk"]);
    for claim in ["ended", "same", "parents", "AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER", "AT_TIMESTAMP"] {
        assert_eq!(seen[claim], true, "{claim} in {seen:#}");
    }
    assert_eq!(seen["twice"], "ResourceInUseException");
    assert_eq!(
        seen["consumers"],
        serde_json::json!(["AFTER_SEQUENCE_NUMBER", "AT_SEQUENCE_NUMBER", "AT_TIMESTAMP", "reader"])
    );
}

#[test]
fn every_bound_of_the_service_model_is_checked_and_every_answer_keeps_to_it() {
    let server = Server::millrace(&["--quota", "off"]);
    let seen = python::ask("kinesis_model.py", &[&server.url]);
    for differences in ["bounds", "answers"] {
        assert_eq!(seen[differences], serde_json::json!([]), "{differences}");
    }
    assert!(number(&seen, "tried") > 1_000, "{seen}");
    let (served, unserved) = (seen["served"].as_array().unwrap().len(), seen["unserved"].as_array().unwrap());
    assert_eq!(served, 40);
    assert!(unserved.iter().all(|o| o.as_str().unwrap().contains("Channel") || o.as_str().unwrap().contains("Queue")));
}

/// Runs a command of the AWS CLI that has to succeed; gives what it printed as JSON.
fn aws(server: &Server, arguments: &[&str]) -> Value {
    let mut command = Command::new(python::python());
    command.args(["-m", "awscli", "kinesis", "--endpoint-url", &server.url, "--region", "us-east-1"]);
    command.args(["--output", "json"]).args(arguments);
    command.env("AWS_ACCESS_KEY_ID", "any").env("AWS_SECRET_ACCESS_KEY", "any").env("AWS_MAX_ATTEMPTS", "3");
    let output = support::run(&mut command);
    assert!(output.status.success(), "aws kinesis {arguments:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

#[test]
fn the_aws_cli_holds_a_whole_conversation() {
    let server = Server::millrace(&["--settle", "500ms"]);
    let said = |arguments: &str| aws(&server, &arguments.split(' ').collect::<Vec<_>>());
    said("create-stream --stream-name talk --shard-count 1");
    said("wait stream-exists --stream-name talk");
    let put = said("put-record --stream-name talk --partition-key k --data hello");
    assert_eq!(put["ShardId"], "shardId-000000000000");
    said("split-shard --stream-name talk --shard-to-split shardId-000000000000 --new-starting-hash-key 7");
    said("wait stream-exists --stream-name talk");
    let shards = said("list-shards --stream-name talk");
    let parents: Vec<_> = shards["Shards"].as_array().unwrap().iter().map(|s| s["ParentShardId"].as_str()).collect();
    assert_eq!(parents, [None, Some("shardId-000000000000"), Some("shardId-000000000000")]);
    let position = "get-shard-iterator --stream-name talk --shard-id shardId-000000000000 --shard-iterator-type";
    let iterator = said(&format!("{position} TRIM_HORIZON"))["ShardIterator"].as_str().unwrap().to_owned();
    let page = said(&format!("get-records --shard-iterator {iterator}"));
    assert_eq!(page["Records"][0]["Data"], "aGVsbG8=", "{page:#}");
    assert_eq!(page["ChildShards"].as_array().map(Vec::len), Some(2), "{page:#}");
    assert!(page.get("NextShardIterator").is_none_or(Value::is_null), "the shard is read to its end: {page:#}");
    said("delete-stream --stream-name talk");
    said("wait stream-not-exists --stream-name talk");
}

#[test]
fn records_packed_by_the_producer_library_come_back_as_they_were() {
    let server = Server::millrace(&["--stream", "packed:3"]);
    let seen = python::ask("kinesis_aggregation.py", &[&server.url, "packed"]);
    assert_eq!((&seen["same"], number(&seen, "unpacked")), (&Value::Bool(true), 1_000), "{seen}");
    let packed = number(&seen, "packed");
    assert!((5..100).contains(&packed), "many user records to one of the stream: {seen}");
}

/// What one application of the Kinesis Client Library noted, against what was put.
fn check_library(mode: &str, seen: &Value) {
    let text = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();
    let by_shard = |records: &[&Value]| {
        let mut shards: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
        for record in records {
            let entry = (text(record, "data"), text(record, "sequence"));
            shards.entry(text(record, "shard")).or_default().push(entry);
        }
        shards
    };
    let put: Vec<_> = seen["put"].as_array().unwrap().iter().collect();
    let events: Vec<_> = seen[mode].as_array().unwrap().iter().collect();
    let records: Vec<_> = events.iter().filter(|e| e["event"] == "record").copied().collect();
    assert_eq!(put.len(), 400);
    assert_eq!(by_shard(&records), by_shard(&put), "{mode}: every record once, in its shard's order");

    let place = |wanted: &dyn Fn(&Value) -> bool| events.iter().position(|e| wanted(e));
    let parent = &seen["parent"];
    let ended = place(&|e| e["event"] == "ended" && e["shard"] == *parent).expect("the split shard came to its end");
    let children = seen["children"].as_array().unwrap();
    assert_eq!(children.len(), 2);
    for child in children {
        let began = place(&|e| e["shard"] == *child).expect("the child was read");
        assert!(began > ended, "{mode}: {child} began before its parent had ended");
    }
    let clock = |end: usize| seen["clock"][end].as_f64().unwrap();
    let arrivals: Vec<_> = records.iter().map(|r| r["arrived"].as_f64().unwrap()).collect();
    assert!(arrivals.iter().all(|a| (clock(0) - 0.001..=clock(1)).contains(a)), "{mode}: arrival times are true");
    let fractions: BTreeSet<_> = arrivals.iter().map(|a| (a.fract() * 1e3).round() as u32).collect();
    assert!(fractions.len() > 3, "{mode}: arrival times have milliseconds: {fractions:?}");
}

#[test]
fn the_kinesis_client_library_reads_every_record_once_across_a_split() {
    let (server, others) = (Server::millrace(&["--settle", "500ms"]), Server::moto());
    let folder = tempfile::tempdir().unwrap();
    let (java, folder) = (python::java().display().to_string(), folder.path().display().to_string());
    let seen = python::ask("kcl.py", &[&server.url, &others.url, &java, &folder, "POLLING", "FANOUT"]);
    println!("{}", seen["seconds"]);
    check_library("polling", &seen);
    check_library("fanout", &seen);
    assert_eq!(seen["consumers"], serde_json::json!([["talk-fanout", "ACTIVE"]]));
}

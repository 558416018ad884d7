//! The load generator and the ways a target can be: throttled, ordered, behind TLS, or gone.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::Value;
use support::{
    at, expect_exit, measure, millrace, number, record,
    server::{Server, signal},
};

/// A load of sensors without SLOs, with settings of its own.
fn load(rate: u32, seconds: u32, settings: &[&str], out: &Path) -> Command {
    let mut command = millrace();
    command.args(["load", "sensors", "--rate", &rate.to_string(), "--for", &format!("{seconds}s"), "--set", "slo=[]"]);
    command.args(["--set", "load.arrival=constant", "--set", "delivery.buffer_interval=1s"]);
    for setting in settings {
        command.args(["--set", setting]);
    }
    command.arg("--out").arg(out);
    command
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    (folder, out)
}

fn every_hop_closes(record: &Value) {
    for hop in at(record, "ledger.hops").as_array().unwrap() {
        assert_eq!(hop["difference"], 0, "{hop}");
    }
}

#[test]
fn aggregated_records_pass_where_as_many_plain_ones_would_be_throttled() {
    let (_folder, out) = folder();
    // Two shards take 2,000 records a second.
    let settings = ["stream.shards=2", "load.aggregate=true", "keys={ kind = \"uniform\", distinct = 1000 }"];
    let (record, said) = measure(&mut load(5_000, 3, &settings, &out), &out);
    assert_eq!((number(&record, "load.accepted"), number(&record, "ledger.lost")), (15_000, 0));
    assert!(said.contains("aggregated: 15,000 records in "), "{said}");
    assert_eq!(number(&record, "load.aggregation.sent.user_records"), 15_000);
    assert_eq!(number(&record, "load.aggregation.read.user_records"), 15_000);
    let packed = number(&record, "load.aggregation.sent.kinesis_records");
    assert!(packed > 0 && packed < 1_500, "{packed}");
    assert_eq!(number(&record, "delivery.records_delivered"), 15_000, "delivery takes aggregates apart");
    every_hop_closes(&record);
}

#[test]
fn the_order_of_keys_holds_through_refusals_and_is_checked() {
    let (_folder, out) = folder();
    let fault = "fault=[{ kind = \"throttle\", at = \"500ms\", for = \"1s\", share = 0.3 }]";
    let keys = "keys={ kind = \"uniform\", distinct = 200 }";
    let (record, _) = measure(&mut load(500, 3, &["load.order=key", "load.retry_base=20ms", fault, keys], &out), &out);
    assert!(!at(&record, "load.refusals").as_array().unwrap().is_empty(), "something was refused");
    assert_eq!(number(&record, "load.order.out_of_order"), 0);
    assert_eq!(number(&record, "load.order.checked"), number(&record, "load.accepted"));
    every_hop_closes(&record);
}

/// What CBOR says of records, the stream's own reader understands, and refusals in CBOR are tried again as any other.
#[test]
fn a_load_in_cbor_is_taken_refused_and_tried_again_like_one_in_json() {
    for call in ["put_records", "put_record"] {
        let (_folder, out) = folder();
        let fault = "fault=[{ kind = \"throttle\", at = \"300ms\", for = \"700ms\", share = 0.3 }]";
        let settings = ["load.body=cbor", &format!("load.call={call}"), "load.retry_base=20ms", fault];
        // Placed by hash key, so that each entry has one.
        let placed = "keys={ kind = \"uniform\", distinct = 100, hot_shard = 0.5 }";
        let (record, _) = measure(load(300, 2, &settings, &out).args(["--set", placed]), &out);
        assert_eq!((number(&record, "load.accepted"), number(&record, "ledger.lost")), (600, 0), "{call}");
        let refusals = at(&record, "load.refusals").as_array().unwrap();
        assert!(!refusals.is_empty(), "something was refused");
        if call == "put_records" {
            assert!(refusals.iter().all(|row| row["shard"].is_string()), "its shard is known: {refusals:?}");
        }
        every_hop_closes(&record);
    }
}

#[test]
fn a_target_that_dies_leaves_a_record_that_accounts_for_everything() {
    let server = Server::millrace(&["--stream", "gone:2"]);
    let (_folder, out) = folder();
    let mut command = load(500, 20, &["stream.name=gone", "load.deadline=2s"], &out);
    let mut child = command.args(["--target", &server.url]).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(4));
    signal(server.id(), "KILL");
    assert_eq!(child.wait().unwrap().code(), Some(3));
    let record = record(&out);
    assert_eq!(at(&record, "verdict.outcome"), "failed");
    let producer = &at(&record, "ledger.hops").as_array().unwrap()[0];
    assert_eq!((&producer["hop"], &producer["difference"]), (&"producer".into(), &0.into()), "{producer}");
    assert!(number(&record, "load.accepted") > 0 && number(&record, "load.refused") > 0);
    assert!(number(&record, "load.due") < 10_000, "it ended when it was over");
}

#[test]
fn a_load_is_signed_and_speaks_tls_and_a_wrong_secret_is_told() {
    let (folder, out) = folder();
    let authority = folder.path().join("authority.pem");
    let server = Server::millrace_behind_tls(&["--stream", "safe:2"], &authority);
    let through = |secret: &str, out: &Path| {
        let mut command = load(300, 2, &["stream.name=safe"], out);
        command.env("SSL_CERT_FILE", &authority).env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", secret);
        command.args(["--target", &server.url]);
        command
    };
    let (record, _) = measure(&mut through("test", &out), &out);
    assert_eq!(number(&record, "load.accepted"), 600);
    let (_, said) = expect_exit(&mut through("a wrong one", &folder.path().join("denied")), 3);
    assert!(said.contains("denies") && said.contains("InvalidSignatureException"), "{said}");
    assert!(!said.contains("a wrong one"), "no secret in an error");
}

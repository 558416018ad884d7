//! `millrace serve` under load and under a crowd.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

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

//! Several workers of one run: what they send together is what one would send, and their records join to one.

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

use chrono::{SecondsFormat, Utc};
use serde_json::Value;
use support::{at, expect_exit, measure, millrace, number, python, record, root, server::Server};

/// A short load of a file with rows that cannot be read, so that what is rejected has to add up too.
const LOAD: [&str; 6] = ["load", "us-accidents", "--rate", "400", "--seed", "11"];

/// What every load of these tests is told: no promise about speed, since three workers share this machine with others.
fn load(server: &Server, length: &str) -> Command {
    let mut command = millrace();
    command.args(LOAD).args(["--for", length, "--target", &server.url]);
    command.args(["--set", "stream.name=shared", "--set", "slo=[]", "--set", "delivery.buffer_interval=1s"]);
    command.args(["--set", "source.rows=500"]);
    command
}

/// Worker `index` of `count` of the run `id`, in its default folder below `home`.
fn worker(server: &Server, home: &Path, id: &str, index: u32, count: u32, length: &str) -> Command {
    let mut command = load(server, length);
    command.current_dir(home).args(["--run-id", id, "--worker", &format!("{index}/{count}")]);
    command
}

fn folder(home: &Path, id: &str, index: u32, count: u32) -> PathBuf {
    home.join(format!("runs/{id}/worker-{index}-of-{count}"))
}

/// Runs three workers side by side from one instant on.
fn three_workers(server: &Server, home: &Path, id: &str, length: &str) -> Vec<Value> {
    let start = (Utc::now() + Duration::from_secs(3)).to_rfc3339_opts(SecondsFormat::Micros, true);
    let started = |index| worker(server, home, id, index, 3, length).args(["--start-at", &start]).spawn().unwrap();
    let children: Vec<_> = (0..3).map(started).collect();
    for mut child in children {
        let code = child.wait().unwrap().code();
        assert!(matches!(code, Some(0 | 4)), "a worker ended with {code:?}");
    }
    (0..3).map(|index| record(&folder(home, id, index, 3))).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn three_workers_send_what_one_would_and_their_records_join_exactly() {
    let server = Server::millrace(&["--stream", "shared:2", "--quota", "off"]);
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let alone = home.join("alone");
    let (one, _) = measure(load(&server, "3s").arg("--out").arg(&alone), &alone);
    let parts = three_workers(&server, home, "together", "3s");

    let mut command = millrace();
    command.current_dir(home).arg("merge").args((0..3).rev().map(|index| folder(home, "together", index, 3)));
    let output = support::run(&mut command);
    assert!(matches!(output.status.code(), Some(0 | 4)), "{}", output.status);
    let whole = home.join("runs/together");
    let merged = record(&whole);

    // What was sent is what one generator sends: each record once, and the same due times, keys and payloads.
    assert_eq!(at(&merged, "run.fingerprint"), at(&one, "run.fingerprint"));
    assert_eq!(number(&merged, "load.due"), number(&one, "load.due"));
    assert!(parts.iter().all(|part| at(part, "run.fingerprint") != at(&one, "run.fingerprint")));
    assert_eq!(number(&merged, "load.rejected_rows"), number(&one, "load.rejected_rows"));

    // Counts are sums.
    for field in ["due", "sent", "accepted", "accepted_bytes", "refused", "rejected_rows", "calls", "failed_calls"] {
        let field = format!("load.{field}");
        assert_eq!(number(&merged, &field), parts.iter().map(|part| number(part, &field)).sum::<u64>(), "{field}");
    }
    for column in ["due", "offered", "accepted", "refusals"] {
        let sum = |record: &Value| -> u64 {
            at(record, "load.intervals").as_array().unwrap().iter().map(|row| number(row, column)).sum()
        };
        assert_eq!(sum(&merged), parts.iter().map(sum).sum::<u64>(), "{column}");
    }
    let share: f64 = at(&merged, "load.shards").as_array().unwrap().iter().map(|s| s["share"].as_f64().unwrap()).sum();
    assert!((share - 1.0).abs() < 1e-9, "{share}");
    assert_eq!(number(&merged, "ledger.lost"), 0);
    for hop in at(&merged, "ledger.hops").as_array().unwrap() {
        assert_eq!(hop["difference"], 0, "{hop}");
    }
    assert_eq!(at(&merged, "run.id"), "together");
    assert_eq!(at(&merged, "load.worker"), &Value::Null);
    for (index, part) in parts.iter().enumerate() {
        assert_eq!((number(part, "load.worker.index"), number(part, "load.worker.count")), (index as u64, 3));
        assert!(number(part, "load.worker.siblings") > 0, "workers see each other's records on the stream");
        assert_eq!(at(part, "delivery"), &Value::Null);
        assert!(number(part, "load.first_send_after_ready_us") > 0);
    }

    // Histograms are added, and every curve is drawn from the sum: an independent reader adds them too.
    let logs: Vec<_> = (0..3).map(|index| folder(home, "together", index, 3).join("latency.hlog")).collect();
    let added = python::ask("hlog.py", &logs.iter().map(|log| text(log)).collect::<Vec<_>>());
    let written = python::ask("hlog.py", &[text(&whole.join("latency.hlog"))]);
    assert_eq!(added, written);
    let hops = at(&merged, "latency").as_array().unwrap();
    // And the oversleeps of each machine, which are in the logs only.
    assert_eq!(hops.len() + 1, added.as_object().unwrap().len());
    assert_eq!(added["hiccup"]["count"], number(&merged, "harness.hiccup_count"), "{added}");
    for hop in hops {
        let sum = &added[hop["hop"].as_str().unwrap()];
        assert_eq!((&sum["count"], &sum["max"]), (&hop["count"], &hop["max_us"]), "{hop}");
        assert_eq!(number(hop, "count"), number(&merged, "load.accepted"), "{hop}");
        for (percentile, name) in [(50.0, "p50"), (90.0, "p90"), (99.0, "p99")] {
            let curve = hop["curve"].as_array().unwrap();
            let point = curve.iter().find(|point| point["percentile"] == percentile).expect("a point of the curve");
            assert_eq!(point["value_us"], sum[name], "{name} of {}", hop["hop"]);
        }
        let rows: u64 = hop["intervals"].as_array().unwrap().iter().map(|row| number(row, "count")).sum();
        assert_eq!(rows, number(hop, "count"));
    }

    // The joined record is a record like any other.
    let answer =
        python::ask("validate.py", &[text(&root().join("docs/run.schema.json")), text(&whole.join("run.json"))]);
    assert_eq!(answer["errors"], serde_json::json!([]));
    assert!(std::fs::read_to_string(whole.join("report.html")).unwrap().contains("together"));
}

#[test]
fn a_worker_that_is_missing_or_there_twice_or_of_another_run_is_named() {
    let server = Server::millrace(&["--stream", "shared:1", "--quota", "off"]);
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    three_workers(&server, home, "run-a", "1s");
    let of = |index| folder(home, "run-a", index, 3);
    let merge = |folders: &[PathBuf], out: &str, code| {
        let mut command = millrace();
        expect_exit(command.current_dir(home).arg("merge").args(folders).args(["--out", out]), code).1
    };

    merge(&[of(0), of(1)], "two", 3);
    let two = record(&home.join("two"));
    assert_eq!((at(&two, "verdict.outcome"), number(&two, "verdict.exit_code")), (&Value::from("failed"), 3));
    assert!(at(&two, "verdict.summary").as_str().unwrap().contains("worker 2 of 3 is missing"), "{two:#}");
    let sent = [0, 1].map(|index| number(&record(&of(index)), "load.accepted")).iter().sum::<u64>();
    assert_eq!(number(&two, "load.accepted"), sent, "what is there is joined all the same");

    let twice = merge(&[of(0), of(1), of(1), of(2)], "twice", 2);
    assert!(twice.contains("worker 1 of 3 is there twice"), "{twice}");

    expect_exit(&mut worker(&server, home, "run-b", 2, 3, "1s"), 0);
    let mixed = merge(&[of(0), of(1), folder(home, "run-b", 2, 3)], "mixed", 2);
    assert!(mixed.contains("run id") && mixed.contains("run-a") && mixed.contains("run-b"), "{mixed}");

    let alone = home.join("alone");
    measure(load(&server, "1s").arg("--out").arg(&alone), &alone);
    assert!(merge(&[alone], "no-worker", 2).contains("not the record of a worker"));

    // A log that lost its last line can be read, and is found out by the count.
    let log = of(2).join("latency.hlog");
    let whole = std::fs::read_to_string(&log).unwrap();
    let cut = whole.trim_end().rfind('\n').unwrap();
    std::fs::write(&log, &whole[..=cut]).unwrap();
    let short = merge(&[of(0), of(1), of(2)], "short", 2);
    assert!(short.contains("latency.hlog holds") && short.contains("cut off"), "{short}");
    std::fs::write(&log, format!("{whole}nonsense\n")).unwrap();
    let line = format!("line {}", whole.lines().count() + 1);
    let nonsense = merge(&[of(0), of(1), of(2)], "nonsense", 2);
    assert!(nonsense.contains(&line), "{nonsense}");
}

#[test]
fn what_cannot_be_asked_of_a_worker_is_refused_with_a_reason() {
    let home = tempfile::tempdir().unwrap();
    let refused = |arguments: &[&str]| {
        let mut command = millrace();
        expect_exit(command.current_dir(home.path()).args(["load", "sensors"]).args(arguments), 2).1
    };
    assert!(refused(&["--worker", "3/3"]).contains("I from 0 to N - 1"));
    assert!(refused(&["--worker", "0/2", "--target", "http://127.0.0.1:1"]).contains("--run-id"));
    assert!(refused(&["--worker", "0/2", "--run-id", "a"]).contains("millrace serve"));
    assert!(refused(&["--run-id", "../a"]).contains("names a folder"));
    assert!(refused(&["--start-at", "tomorrow"]).contains("RFC 3339"));
    assert!(refused(&["--start-at", "2020-01-01T00:00:00Z"]).contains("has passed"));
    assert!(!home.path().join("runs").exists(), "nothing was begun");
}

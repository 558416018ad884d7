//! Interrupts, kills and full disks: what was promised still holds.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use support::{
    at, expect_exit, lake, millrace, number, python, record,
    server::{Server, signal},
};

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let patience = Instant::now();
    while !done() {
        assert!(patience.elapsed() < Duration::from_secs(60), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_interrupted_run_is_drained_reported_and_exits_with_130() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut command = millrace();
    command.args(["run", "sensors", "--rate", "200", "--for", "60s", "--set", "delivery.buffer_interval=1s", "--out"]);
    let mut child: Child = command.arg(&out).stdout(Stdio::null()).spawn().unwrap();
    wait_for("the first object", || walk(&out.join("lake")) > 0);
    signal(child.id(), "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let record = record(&out);
    assert_eq!(at(&record, "verdict.outcome"), "interrupted");
    assert!(number(&record, "load.accepted") < number(&record, "load.due") || number(&record, "load.due") < 12_000);
    for hop in at(&record, "ledger.hops").as_array().unwrap() {
        assert_eq!(hop["difference"], 0, "{hop}");
    }
    assert_eq!(number(&record, "compaction.lines"), number(&record, "load.accepted"));
}

/// Files below a folder.
fn walk(folder: &std::path::Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries.flatten().map(|e| if e.path().is_dir() { walk(&e.path()) } else { 1 }).sum()
}

#[test]
fn a_compaction_killed_at_any_moment_is_finished_by_the_next_one_exactly_once() {
    let folder = tempfile::tempdir().unwrap();
    let lake_folder = folder.path().join("lake");
    let (objects, lines) = (100_u64, 4_000_u64);
    for object in 0..objects {
        let text: String = (0..lines)
            .map(|k| lake::reading(1 + (object % 10) as u32, (k * 7 % 86_400) as u32, object * lines + k) + "\n")
            .collect();
        lake::object(&lake_folder, &format!("2025/{object:03}.gz"), text.as_bytes());
    }
    let table = folder.path().join("table");
    let command = |out: Option<&str>| {
        let mut command = millrace();
        command.args(["compact", "sensors", "--lake"]).arg(&lake_folder).arg("--table").arg(&table);
        if let Some(out) = out {
            command.arg("--out").arg(folder.path().join(out));
        }
        command
    };
    // Each attempt lives a little longer than the one before; sooner or later one comes through.
    let mut kills = 0;
    for attempt in 0..200_u64 {
        let mut child = command(None).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(5 + attempt * 12));
        if child.try_wait().unwrap().is_some() {
            break;
        }
        signal(child.id(), "KILL");
        child.wait().unwrap();
        kills += 1;
    }
    println!("killed {kills} times");
    assert!(kills >= 10, "most were killed at work: {kills}");
    expect_exit(&mut command(Some("last")), 0);
    let last = record(&folder.path().join("last"));
    let (lake_path, table_path) = (lake_folder.to_str().unwrap(), table.to_str().unwrap());
    let found = python::ask("lake_and_table.py", &[lake_path, table_path, "sensor_id,timestamp"]);
    assert_eq!(number(&found, "lines"), objects * lines);
    assert_eq!(number(&found, "rows"), number(&found, "distinct"), "{found:#}");
    assert_eq!(number(&found, "rows"), number(&found, "distinct_rows"));
    assert_eq!(number(&last, "compaction.table_rows"), number(&found, "rows"));
}

#[test]
fn a_full_disk_ends_the_run_with_3_and_says_what_is_not_landed() {
    // A tmpfs of 1 MiB needs a mount; where that is not allowed, a file-size limit gives the same refusal.
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let script = format!(
        "ulimit -f 64; exec '{}' load us-accidents --rate 800 --for 5s --set delivery.buffer_interval=1s --out '{}'",
        env!("CARGO_BIN_EXE_millrace"),
        out.display()
    );
    let mut command = std::process::Command::new("bash");
    command.args(["-c", &format!("trap '' XFSZ; {script}")]);
    let (_, stderr) = expect_exit(&mut command, 3);
    assert!(stderr.contains(out.to_str().unwrap()) || stderr.contains("lake"), "the path is named: {stderr}");
}

/// A run of 4 s under one fault; its record and what it said of the fault. Exit 4 says the machine was busy.
fn faulty(fault: &str) -> (serde_json::Value, String) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut command = millrace();
    command.args(["load", "sensors", "--rate", "200", "--for", "4s", "--set", "slo=[]"]);
    command.args(["--set", r#"keys={kind = "uniform", distinct = 1000}"#]);
    command.args(["--set", "delivery.buffer_interval=1s", "--set", &format!("fault=[{{{fault}}}]"), "--out"]);
    let output = support::run(command.arg(&out));
    assert!(matches!(output.status.code(), Some(0 | 4)), "{}", output.status);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = stderr.lines().find(|line| line.starts_with("fault ")).expect("the fault is told of").to_owned();
    let record = record(&out);
    for hop in at(&record, "ledger.hops").as_array().unwrap() {
        assert_eq!(hop["difference"], 0, "{hop}");
    }
    assert_eq!(number(&record, "ledger.lost"), 0);
    assert_eq!(number(&record, "load.accepted") + number(&record, "load.refused"), number(&record, "load.due"));
    assert!(!line.ends_with(" 0 calls touched"), "{line}");
    (record, line)
}

#[test]
fn a_load_survives_late_stalled_and_failing_calls_without_a_loss() {
    for (fault, said) in [
        ("kind = \"latency\", at = \"1s\", for = \"2s\", latency = \"30ms\"", "fault latency from 1 s to 3 s"),
        ("kind = \"stall\", at = \"1s\", for = \"1s\"", "fault stall from 1 s to 2 s"),
        ("kind = \"error\", at = \"1s\", for = \"2s\", share = 0.3", "fault error from 1 s to 3 s"),
        ("kind = \"drop\", when = \"before\", at = \"1s\", for = \"2s\", share = 0.3", "fault drop from 1 s to 3 s"),
    ] {
        let (record, line) = faulty(fault);
        assert!(line.starts_with(said), "{line}");
        assert_eq!(number(&record, "ledger.duplicated"), 0, "{fault}");
    }
}

#[test]
fn a_connection_cut_after_the_put_makes_duplicates_that_are_counted_and_loses_nothing() {
    let fault =
        "kind = \"drop\", when = \"after\", at = \"1s\", for = \"2s\", share = 0.3, operations = [\"PutRecords\"]";
    let (record, _) = faulty(fault);
    assert!(number(&record, "ledger.duplicated") > 0);
}

#[test]
fn a_throttled_shard_refuses_and_the_others_do_not_and_everything_arrives_in_the_end() {
    let fault = "kind = \"throttle\", shard = 2, at = \"1s\", for = \"1s\", operations = [\"PutRecords\"]";
    let (record, _) = faulty(fault);
    assert_eq!(number(&record, "load.refused"), 0, "a second of refusals is shorter than the deadline");
    for shard in at(&record, "load.shards").as_array().unwrap() {
        let throttled = shard["shard"] == "shardId-000000000002";
        assert_eq!(number(shard, "refusals") > 0, throttled, "{shard}");
    }
}

#[test]
fn a_server_killed_in_mid_load_comes_back_with_everything_it_had_acknowledged() {
    let (record, line) = faulty("kind = \"kill\", at = \"1s\", for = \"1s\"");
    assert!(line.ends_with(" 1 calls touched"), "{line}");
    assert_eq!(number(&record, "load.refused"), 0);
    // At 200 a second, some 200 records and those of the pause before the next attempt waited for it: not the harness's lag.
    let waited = number(&record, "harness.target_down_records");
    assert!((150..=500).contains(&waited), "{waited}");
    let lag = at(&record, "latency").as_array().unwrap().iter().find(|hop| hop["hop"] == "lag").unwrap();
    let longest_us = lag["max_us"].as_u64().unwrap();
    assert!(longest_us > 800_000 && number(&record, "harness.excess_lag_p99_us") < longest_us / 2, "{longest_us}");
}

#[test]
fn what_a_killed_server_forgets_is_counted_as_lost_and_breaks_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut command = millrace();
    command.args(["load", "sensors", "--rate", "200", "--for", "4s", "--set", "slo=[]"]);
    // The first look is before the load, the second after the kill: what came between is forgotten unread.
    command.args(["--set", "delivery.buffer_interval=1s", "--set", "stream.consumer_poll=4s", "--set"]);
    command.arg("fault=[{ kind = \"kill\", state = \"lost\", at = \"2s\", for = \"500ms\" }]");
    expect_exit(command.arg("--out").arg(&out), 1);
    let record = record(&out);
    assert!(number(&record, "ledger.lost") > 200, "{}", number(&record, "ledger.lost"));
    assert_eq!(number(&record, "load.accepted") + number(&record, "load.refused"), number(&record, "load.due"));
}

/// What is later than the scenario allows is not sent, and counted by its cause: the equation closes all the same.
#[test]
fn records_that_a_stall_makes_too_late_are_shed_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut command = millrace();
    command.args([
        "load",
        "sensors",
        "--rate",
        "500",
        "--for",
        "4s",
        "--set",
        "slo=[]",
        "--set",
        "load.shed_after=200ms",
    ]);
    // Two calls under way: the stall leaves nothing for those that come after, for a second.
    command.args(["--set", "load.in_flight=2", "--set", "load.arrival=constant"]);
    command.args(["--set", "delivery.buffer_interval=1s", "--set"]);
    command.arg("fault=[{ kind = \"stall\", at = \"1s\", for = \"1s\" }]");
    command.arg("--out").arg(&out);
    let status = command.status().unwrap();
    // The cap on calls is the harness's own limit, and it says so.
    assert_eq!(status.code(), Some(4));
    let record = record(&out);
    let causes = at(&record, "load.refusals").as_array().unwrap();
    let shed = causes.iter().find(|row| row["cause"] == "shed").map_or(0, |row| number(row, "records"));
    // Of the second, 800 ms were too late; what waited in the two calls and their batches was not.
    assert!((250..=490).contains(&shed), "{causes:?}");
    let (due, accepted, refused) =
        (number(&record, "load.due"), number(&record, "load.accepted"), number(&record, "load.refused"));
    assert_eq!((due, refused), (accepted + refused, shed));
    assert_eq!(number(&record, "ledger.lost"), 0);
}

#[test]
fn a_served_stream_fails_as_its_file_says() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("faults.toml");
    std::fs::write(&file, "[[fault]]\nkind = \"error\"\nat = \"0s\"\nfor = \"10m\"\nstatus = 503\n").unwrap();
    let server = Server::millrace(&["--stream", "s:1", "--faults", file.to_str().unwrap()]);
    let mut command = std::process::Command::new(python::python());
    command.args([
        "-c",
        "import sys, urllib.request as u\nr = u.Request(sys.argv[1], b'{}', {'x-amz-target': \
        'Kinesis_20131202.ListStreams', 'content-type': 'application/x-amz-json-1.1'})\ntry:\n    u.urlopen(r)\nexcept \
        u.HTTPError as e:\n    print(e.code, e.read().decode())",
    ]);
    let output = command.arg(&server.url).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.starts_with("503") && said.contains("ServiceUnavailable"), "{said} {output:?}");

    let serve = |text: &str, more: &[&str]| {
        std::fs::write(&file, text).unwrap();
        let mut command = millrace();
        command.args(["serve", "--port", "0", "--faults"]).arg(&file).args(more);
        expect_exit(&mut command, 2).1
    };
    let said = serve("[[fault]]\nkind = \"eror\"\nat = \"0s\"\nfor = \"1s\"\n", &[]);
    assert!(said.contains("faults.toml:2:8") && said.contains("error"), "{said}");
    let lost = "[[fault]]\nkind = \"kill\"\nstate = \"lost\"\nat = \"0s\"\nfor = \"1s\"\n";
    let said = serve(lost, &["--data", folder.path().to_str().unwrap()]);
    assert!(said.contains("cannot lose its state"), "{said}");
}

#[test]
fn faults_of_a_stream_elsewhere_are_a_configuration_error() {
    let mut command = millrace();
    command.args(["load", "sensors", "--target", "http://127.0.0.1:9"]);
    command.args(["--set", "fault=[{ kind = \"stall\", at = \"1s\", for = \"1s\" }]"]);
    let (_, stderr) = expect_exit(command.current_dir(tempfile::tempdir().unwrap().path()), 2);
    assert!(stderr.contains("local stream only"), "{stderr}");
}

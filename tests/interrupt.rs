//! Ctrl-C: the first ends a load in order, with its record; the second ends it at once.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    path::Path,
    process::{Child, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use support::{
    at, millrace, number, record,
    server::{Server, signal},
};

/// No test waits longer than this for a process that should have ended: it is hung, not slow.
const HUNG: Duration = Duration::from_secs(120);

/// A load of an hour that is under way: its first interval has been measured.
fn hour(target: &str, out: &Path) -> Child {
    let mut command = millrace();
    command.args(["run", "sensors", "--rate", "200", "--for", "1h", "--target", target]);
    // An interval of an hour's load is 12 s; what tells that it is under way is the lake.
    command.args(["--set", "delivery.buffer_interval=1s", "--out"]).arg(out);
    let child = command.stdout(Stdio::null()).spawn().unwrap();
    wait_until("the first object is in the lake", || has_objects(&out.join("lake")));
    child
}

fn has_objects(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() { has_objects(&path) } else { path.extension().is_some_and(|end| end == "gz") }
    })
}

fn wait_until(what: &str, mut met: impl FnMut() -> bool) {
    let patience = Instant::now();
    while !met() {
        assert!(patience.elapsed() < HUNG, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn ended(child: &mut Child) -> ExitStatus {
    let mut status = None;
    wait_until("the process ended", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap()
}

#[test]
fn a_load_that_is_interrupted_drains_accounts_for_what_it_sent_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut child = hour("local", &out);
    signal(child.id(), "INT");
    assert_eq!(ended(&mut child).code(), Some(130));
    let record = record(&out);
    assert_eq!(at(&record, "verdict.outcome"), "interrupted");
    assert_eq!(number(&record, "verdict.exit_code"), 130);
    let (due, sent, accepted) =
        (number(&record, "load.due"), number(&record, "load.sent"), number(&record, "load.accepted"));
    assert!(accepted > 0 && sent == accepted && sent <= due && due < 720_000, "due {due}, sent {sent}");
    assert_eq!(number(&record, "ledger.lost"), 0);
    let hops = at(&record, "ledger.hops").as_array().unwrap();
    assert!(hops.len() >= 4, "{hops:?}");
    for hop in hops {
        assert_eq!(hop["difference"], 0, "{hop}");
    }
    assert_eq!(number(&record, "delivery.records_delivered"), accepted, "what was sent is in the lake");
    assert!(out.join("report.html").exists());
}

#[test]
fn a_second_interrupt_ends_a_load_that_cannot_drain() {
    let server = Server::millrace(&["--stream", "sensors:1"]);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut child = hour(&server.url, &out);
    // A stream that no longer answers: nothing drains until the calls time out.
    signal(server.id(), "STOP");
    std::thread::sleep(Duration::from_millis(500));
    signal(child.id(), "INT");
    std::thread::sleep(Duration::from_millis(500));
    assert!(child.try_wait().unwrap().is_none(), "the first interrupt waits for what was sent");
    signal(child.id(), "INT");
    assert_eq!(ended(&mut child).code(), Some(130));
    assert!(!out.join("run.json").exists(), "a run that was cut off has no record");
    signal(server.id(), "CONT");
}

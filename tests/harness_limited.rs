//! A run in which the harness or its machine was the limit says so, exits with 4, and passes no gate.
//!
//! Each limit of `docs/measurement.md` is provoked here from outside, on the built binary: it is starved, stopped,
//! capped and asked for more than the machine makes.

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
    process::{Child, Command, Stdio},
    sync::{PoisonError, RwLock, RwLockReadGuard},
    thread,
    time::Duration,
};

use serde_json::Value;
use support::{at, millrace, number, record, server::signal};

/// A load with an SLO that always holds.
fn load(rate: u64, seconds: u64, out: &Path) -> Command {
    let mut command = millrace();
    command.args(["load", "sensors", "--rate", &rate.to_string(), "--for", &format!("{seconds}s"), "--set"]);
    command.args(["slo=[{ metric = \"response_p50_ms\", max = 3600000.0 }]", "--set", "load.arrival=constant"]);
    command.args(["--set", "delivery.buffer_interval=1s", "--out"]).arg(out).stdout(Stdio::null());
    command
}

/// The record of a run that said it was limited; its reasons in one text.
fn limited(status: Option<i32>, out: &Path) -> (Value, String) {
    let record = record(out);
    let reasons: Vec<_> = at(&record, "harness.limited_by").as_array().unwrap().iter().map(text).collect();
    let reasons = reasons.join("\n");
    assert_eq!(status, Some(4), "{reasons}");
    assert_eq!(at(&record, "verdict.outcome"), "harness_limited");
    println!("{reasons}");
    (record, reasons)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Held by every test here, and alone by the one that needs all cores.
static CORES: RwLock<()> = RwLock::new(());

fn folder() -> (tempfile::TempDir, PathBuf, RwLockReadGuard<'static, ()>) {
    let cores = CORES.read().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    (folder, out, cores)
}

/// Ends its process when the test does.
struct Burner(Child);

impl Drop for Burner {
    fn drop(&mut self) {
        // It runs until it is ended; there is nothing to learn from it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_starved_harness_is_late_and_says_so() {
    let (_folder, out, _cores) = folder();
    let cores = thread::available_parallelism().unwrap().get();
    let burner = || Burner(Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap());
    let load = load(300, 12, &out);
    let mut nice = Command::new("nice");
    nice.args(["-n", "19"]).arg(load.get_program()).args(load.get_args()).stdout(Stdio::null());
    let mut child = nice.spawn().unwrap();
    // The load has begun by then; from here on it gets what the others leave.
    thread::sleep(Duration::from_secs(4));
    let burners: Vec<Burner> = (0..4 * cores).map(|_| burner()).collect();
    thread::sleep(Duration::from_secs(6));
    drop(burners);
    let (record, reasons) = limited(child.wait().unwrap().code(), &out);
    assert!(reasons.contains("records were sent late"), "{reasons}");
    assert!(number(&record, "harness.excess_lag_p99_us") > 50_000);
}

#[test]
fn a_harness_that_is_stopped_again_and_again_does_not_keep_time() {
    let (_folder, out, _cores) = folder();
    let mut child = load(300, 4, &out).spawn().unwrap();
    // Awake for less than a hundred sleeps of a millisecond between two stops: more than one in a hundred is late.
    while child.try_wait().unwrap().is_none() {
        signal(child.id(), "STOP");
        thread::sleep(Duration::from_millis(100));
        signal(child.id(), "CONT");
        thread::sleep(Duration::from_millis(50));
    }
    let (_, reasons) = limited(child.wait().unwrap().code(), &out);
    assert!(reasons.contains("the machine does not keep time"), "{reasons}");
}

#[test]
fn the_hiccup_meter_sees_one_stop_and_when_it_was() {
    let (_folder, out, _cores) = folder();
    let mut child = load(300, 6, &out).spawn().unwrap();
    thread::sleep(Duration::from_secs(4));
    signal(child.id(), "STOP");
    thread::sleep(Duration::from_millis(200));
    signal(child.id(), "CONT");
    assert!(matches!(child.wait().unwrap().code(), Some(0 | 4)));
    let record = record(&out);
    let rows = at(&record, "harness.intervals").as_array().unwrap();
    let seen: Vec<_> = rows.iter().filter(|row| number(row, "hiccup_max_us") >= 190_000).collect();
    assert!(!seen.is_empty(), "{rows:#?}");
    assert!(number(&record, "harness.hiccup_max_us") >= 190_000);
    let sleeps: u64 = rows.iter().map(|row| number(row, "hiccup_count")).sum();
    assert_eq!(sleeps, number(&record, "harness.hiccup_count"));
    let log = std::fs::read_to_string(out.join("latency.hlog")).unwrap();
    assert_eq!(log.lines().filter(|line| line.starts_with("Tag=hiccup,")).count(), rows.len());
}

#[test]
fn a_cap_on_calls_that_a_slow_target_fills_is_named() {
    let (_folder, out, _cores) = folder();
    let mut command = load(300, 3, &out);
    command.args(["--set", "load.in_flight=1", "--set", "load.batch_records=1", "--set"]);
    command.arg("fault=[{ kind = \"latency\", latency = \"20ms\", at = \"0s\", for = \"3s\" }]");
    let (record, reasons) = limited(command.status().unwrap().code(), &out);
    assert!(reasons.contains("waited for a free call, up to"), "{reasons}");
    assert!(number(&record, "harness.in_flight_waits") > 100);
}

#[test]
fn a_rate_that_the_machine_cannot_make_is_not_offered_and_passes_no_gate() {
    let (_folder, out, _cores) = folder();
    let mut command = load(1_000_000, 1, &out);
    command.args(["--set", "load.in_flight=64"]);
    let (record, reasons) = limited(command.status().unwrap().code(), &out);
    assert!(reasons.contains("the rate was not offered"), "{reasons}");
    let kept = |kind: &str| {
        let promises = at(&record, "verdict.promises").as_array().unwrap();
        promises.iter().filter(|promise| promise["kind"] == kind).all(|promise| promise["kept"] == true)
    };
    assert!(kept("slo"), "even though every SLO holds");
}

/// What a machine gives to others it cannot give to this process: a run that did not get nine tenths of it is made again.
#[test]
fn a_process_that_fills_every_core_and_is_late_says_how_full_they_were() {
    let _alone = CORES.write().unwrap_or_else(PoisonError::into_inner);
    let share = (1..=5).find_map(|_| {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("run");
        let mut command = load(60_000, 1, &out);
        // Calls of one record, so many at once that a thread of generator, stream or consumer always has something to do.
        command.args(["--set", "load.batch_records=1", "--set", "load.in_flight=256", "--set", "load.spin=1s"]);
        command.args(["--set", "stream.shards=256"]);
        command.args(["--set", "keys={ kind = \"uniform\", distinct = 1000000 }"]);
        let (record, reasons) = limited(command.status().unwrap().code(), &out);
        let share = at(&record, "harness.cpu_share").as_f64().unwrap();
        let said = reasons.contains(&format!("the process used {:.0} % of all cores", 100.0 * share));
        assert_eq!(said, share > 0.9, "{share}: {reasons}");
        (share > 0.9).then_some(share)
    });
    assert!(share.is_some(), "the machine never gave this process nine tenths of its cores");
}

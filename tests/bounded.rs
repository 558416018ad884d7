//! Memory does not grow with the time a load lasts, the rate it runs at, or the lake that is compacted.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use support::{at, lake, millrace, number, record, server::Server};

const MIB: u64 = 1 << 20;

/// Peak resident bytes of a load on a stream in another process.
fn peak_of_load(server: &Server, rate: &str, duration: &str) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut command = millrace();
    command.args(["load", "sensors", "--rate", rate, "--for", duration, "--set", "slo=[]"]);
    command.args(["--set", "stream.name=bounded", "--set", "delivery.buffer_interval=1s", "--target", &server.url]);
    support::run(command.arg("--out").arg(&out));
    let record = record(&out);
    assert_eq!(number(&record, "ledger.lost"), 0);
    number(&record, "harness.max_rss_bytes")
}

#[test]
fn a_load_six_times_as_long_or_fast_needs_no_more_memory() {
    let server = Server::millrace(&["--stream", "bounded:8"]);
    let short = peak_of_load(&server, "1000", "3s");
    let long = peak_of_load(&server, "1000", "18s");
    let fast = peak_of_load(&server, "6000", "3s");
    println!("peak resident: short {} MiB, long {} MiB, fast {} MiB", short / MIB, long / MIB, fast / MIB);
    // 15,000 records more of 300 bytes are 4 MiB; kept as objects in memory they would be several times that.
    assert!(long < short + 8 * MIB, "{short} -> {long}");
    assert!(fast < short + 32 * MIB, "{short} -> {fast}");
}

#[test]
fn a_lake_three_times_as_large_needs_no_more_memory_to_compact() {
    let peak_of = |objects: u32| {
        let folder = tempfile::tempdir().unwrap();
        let (lake_folder, out) = (folder.path().join("lake"), folder.path().join("out"));
        for object in 0..objects {
            let first = u64::from(object) * 20_000;
            let line = |k: u64| lake::reading(1 + (k % 400) as u32, (k / 400 % 86_400) as u32, k) + "\n";
            let text: String = (first..first + 20_000).map(line).collect();
            lake::object(&lake_folder, &format!("{object:04}.gz"), text.as_bytes());
        }
        let mut command = millrace();
        command
            .args(["compact", "sensors", "--lake"])
            .arg(&lake_folder)
            .arg("--table")
            .arg(folder.path().join("table"));
        support::expect_exit(command.arg("--out").arg(&out), 0);
        let record = record(&out);
        assert_eq!(number(&record, "compaction.lines"), u64::from(objects) * 20_000);
        assert_eq!(at(&record, "compaction.quarantined"), 0);
        number(&record, "harness.max_rss_bytes")
    };
    // The small lake fills more than one batch already.
    let (small, large) = (peak_of(80), peak_of(240));
    println!("peak resident: 80 objects {} MiB, 240 objects {} MiB", small / MIB, large / MIB);
    assert!(large < small + small / 4, "{small} -> {large}");
}

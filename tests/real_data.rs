//! Real files, where they lie beside the project: every row is sent or kept with its reason.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::fs;

use support::{measure, millrace, number, real_data};

/// Replays a file once, flat out enough, and gives (sent, rejected, table rows).
fn replay(file: &str, rate: &str, seconds: &str) -> Option<(u64, u64, u64)> {
    let csv = real_data(file)?;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut command = millrace();
    command.args(["run", "us-accidents", "--rate", rate, "--for", seconds, "--set", "source.at_end=stop"]);
    command.args(["--set", "stream.shards=16", "--set", "delivery.buffer_interval=2s", "--set", "slo=[]"]);
    command.arg("--set").arg(format!("source.path={}", csv.display())).arg("--out").arg(&out);
    let (record, _) = measure(&mut command, &out);
    let rejected = fs::read_to_string(out.join("rejects.ndjson")).map_or(0, |text| text.lines().count() as u64);
    assert_eq!(rejected, number(&record, "load.rejected_rows"));
    println!("{file}: sent {}, rejected {rejected}", number(&record, "load.accepted"));
    Some((number(&record, "load.accepted"), rejected, number(&record, "compaction.table_rows")))
}

#[test]
fn every_row_of_the_newest_schema_is_sent_or_rejected() {
    let Some((sent, rejected, rows)) = replay("us-accidents/march23-10k.csv", "2000", "30s") else { return };
    assert_eq!(sent + rejected, 10_000);
    assert_eq!(rows, sent, "IDs are unique in this file");
}

#[test]
fn every_row_of_the_older_schema_is_sent_or_rejected() {
    let Some((sent, rejected, rows)) = replay("us-accidents/may19-10k.csv", "2000", "30s") else { return };
    assert_eq!(sent + rejected, 10_000);
    assert_eq!(rows, sent, "IDs are unique in this file");
}

#[test]
fn every_row_of_the_tutorials_sample_is_sent_or_rejected() {
    let Some((sent, rejected, rows)) = replay("us-accidents/dec20-tutorial-99.csv", "100", "20s") else { return };
    assert_eq!(sent + rejected, 99);
    assert_eq!(rows, sent);
}

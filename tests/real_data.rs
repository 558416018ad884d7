//! Real files, where they lie beside the project: every row is sent or kept with its reason.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::{fs, path::Path};

use support::{measure, millrace, number, python, real_data};

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

/// What every scenario needs and `compact` does not use.
const IDLE: &str = r#"
name = "idle"
[source]
kind = "sensors"
[load]
stages = [{ rate = 1, for = "1s" }]
[keys]
kind = "uniform"
[stream]
name = "idle"
"#;

/// A scenario that declares no column and sends nothing: what is read is inferred.
fn inferred(folder: &Path, nested: &str) -> String {
    let path = folder.join(format!("{nested}.toml"));
    let text = format!("{IDLE}[table.read]\nnested = \"{nested}\"\nnew_columns = \"add\"\n");
    fs::write(&path, text).unwrap();
    path.to_string_lossy().into_owned()
}

/// Compacts every file of a folder, nested values both ways, and compares the tables with the files.
fn every_record_is_in_the_table(folder: &str, key: &str, records: u64) {
    let Some(lake) = real_data(folder) else { return };
    let home = tempfile::tempdir().unwrap();
    for nested in ["text", "struct"] {
        let (table, out) = (home.path().join(format!("{nested}-table")), home.path().join(nested));
        let mut command = millrace();
        command.arg("compact").arg(inferred(home.path(), nested)).arg("--lake").arg(&lake).arg("--table").arg(&table);
        command.arg("--out").arg(&out);
        let (record, _) = measure(&mut command, &out);
        let quarantined = number(&record, "compaction.quarantined");
        println!(
            "{folder}, nested as {nested}: {quarantined} quarantined {}",
            record["compaction"]["quarantine_reasons"]
        );
        assert_eq!(number(&record, "compaction.rows") + quarantined, records);
        let found = python::ask("compacted.py", &[lake.to_str().unwrap(), table.to_str().unwrap(), key]);
        assert_eq!((number(&found, "records"), number(&found, "missing")), (records, quarantined), "{found:#}");
        // Structs are as the first records have them: what came later in another shape is kept aside, no text ever is.
        assert!(quarantined == 0 || nested == "struct" && quarantined < records / 10);
        let unknown = record["compaction"]["unknown_fields"].as_array().unwrap();
        println!("unknown: {unknown:?}; {found:#}");
        // Fields that the sample did not have become columns; those that cannot be are left out, and each is counted.
        let counted: u64 = unknown.iter().map(|field| field["records"].as_u64().unwrap()).sum();
        assert!(number(&found, "differences") <= counted, "{found:#}");
        assert_eq!(found["protocol"].as_array().unwrap()[0], 1);
    }
}

#[test]
fn every_record_that_firehose_wrote_is_read_back_as_it_was() {
    every_record_is_in_the_table("firehose", "name", 88);
}

#[test]
fn every_event_of_an_hour_is_read_back_as_it_was() {
    every_record_is_in_the_table("gharchive", "id", 7_702);
}

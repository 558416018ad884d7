//! `millrace compact` on places that fail it: the message names the place, the exit code says who has to act, and once
//! the place is well again nothing is lost.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
};

use support::{at, expect_exit, lake, millrace, number, record};

const SCENARIO: &str = r#"
name = "places"

[source]
kind = "sensors"
sensors = 1
epoch = "2025-01-01T00:00:00Z"
interval = "1s"

[load]
stages = [{ rate = 1, for = "1s" }]

[keys]
kind = "uniform"

[stream]
name = "places"
shards = 1

[table]
columns = { sensor_id = "string", timestamp = "timestamp", temperature = "number", millrace_seq = "integer" }
"#;

/// A reading of a sensor whose name no compressor guesses, so that a data file has some size.
fn reading(number: u64) -> String {
    let name = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_mul(number | 1);
    let second = number % 60;
    format!(
        "{{\"sensor_id\":\"{name:016x}\",\"timestamp\":\"2025-01-01T00:00:{second:02}Z\",\"temperature\":20.5,\
         \"millrace_seq\":{number}}}\n"
    )
}

struct World {
    home: tempfile::TempDir,
}

impl World {
    fn new(objects: u32) -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(home.path().join("s.toml"), SCENARIO).unwrap();
        for object in 0..objects {
            let lines: Vec<String> = (0..2000).map(|line| reading(u64::from(object * 2000 + line))).collect();
            lake::object(&home.path().join("lake"), &format!("{object}.gz"), lines.concat().as_bytes());
        }
        Self { home }
    }

    fn table(&self) -> PathBuf {
        self.home.path().join("table")
    }

    fn arguments(&self) -> Vec<String> {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let home = self.home.path();
        let (scenario, lake, table) = (text(&home.join("s.toml")), text(&home.join("lake")), text(&self.table()));
        let batches = ["--batch-objects", "1"].map(str::to_owned);
        [["compact".to_owned(), scenario], ["--lake".to_owned(), lake], ["--table".to_owned(), table], batches].concat()
    }

    fn compact(&self) -> Command {
        let mut command = millrace();
        command.args(self.arguments());
        command
    }
}

#[test]
fn a_disk_that_is_full_in_the_middle_of_a_file_costs_nothing_once_there_is_room() {
    let world = World::new(3);
    // No file may be larger than 4 KiB: the manifest and the log fit, a data file does not.
    let mut full = Command::new("bash");
    full.args(["-c", "trap '' XFSZ; ulimit -f 4; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_millrace")]);
    full.args(world.arguments());
    let (_, error) = expect_exit(&mut full, 3);
    assert!(error.contains("File too large") && error.contains("table"), "{error}");
    let (out, _) = expect_exit(&mut world.compact(), 0);
    assert!(out.contains("6,000"), "{out}");
}

#[test]
fn a_table_folder_that_cannot_be_written_is_named() {
    if !fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0) {
        println!("only root can become someone who may not write");
        return;
    }
    let world = World::new(1);
    fs::create_dir(world.table()).unwrap();
    let mut nobody = world.compact();
    nobody.uid(65_534).gid(65_534);
    let Ok(output) = nobody.output() else {
        println!("the binary lies where only root can run it");
        return;
    };
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(error.contains("ermission denied") && error.contains("table"), "{error}");
    assert_eq!(fs::read_dir(world.table()).unwrap().count(), 0);
}

#[test]
fn a_table_deleted_between_two_passes_is_made_again_from_the_lake() {
    let world = World::new(3);
    expect_exit(&mut world.compact(), 0);
    fs::remove_dir_all(world.table()).unwrap();
    let (out, _) = expect_exit(&mut world.compact(), 0);
    assert!(out.contains("6,000"), "{out}");
    // Only the log is gone: what the manifests name is done again, and nothing else is new.
    fs::remove_dir_all(world.table().join("_delta_log")).unwrap();
    let (out, _) = expect_exit(&mut world.compact(), 0);
    assert!(out.contains("6,000"), "{out}");
    assert_eq!(fs::read_dir(world.table().join("_millrace/manifests")).unwrap().count(), 3);
}

#[test]
fn a_table_that_someone_else_made_with_another_schema_is_refused_and_left_alone() {
    let world = World::new(1);
    let log = world.table().join("_delta_log");
    fs::create_dir_all(&log).unwrap();
    let schema = r#"{\"type\":\"struct\",\"fields\":[{\"name\":\"sensor_id\",\"type\":\"long\",\"nullable\":true,\"metadata\":{}}]}"#;
    let entry = format!(
        "{{\"protocol\":{{\"minReaderVersion\":1,\"minWriterVersion\":2}}}}\n{{\"metaData\":{{\"id\":\"b5b1c1d4-5a0e-4a3c-9d6f-3a1d5c9c2f11\",\
         \"format\":{{\"provider\":\"parquet\",\"options\":{{}}}},\"schemaString\":\"{schema}\",\"partitionColumns\":[],\
         \"configuration\":{{}},\"createdTime\":1750000000000}}}}\n"
    );
    fs::write(log.join("00000000000000000000.json"), entry).unwrap();
    let (_, error) = expect_exit(&mut world.compact(), 2);
    assert!(error.contains("exists with another schema") && error.contains("/table"), "{error}");
    assert!(error.contains("it has no"), "the difference is told: {error}");
    assert_eq!(fs::read_dir(world.table()).unwrap().count(), 1, "nothing is written beside the log");
    assert_eq!(fs::read_dir(log).unwrap().count(), 1);
}

#[test]
fn records_of_64_mb_and_of_many_levels_are_rows_or_in_quarantine_and_their_neighbours_are_kept() {
    let world = World::new(0);
    let long = |bytes: usize| format!("{{\"millrace_seq\":1,\"note\":\"{}\"}}\n", "x".repeat(bytes));
    let deep = |levels: usize| {
        format!("{{\"millrace_seq\":2,\"note\":{}{}}}\n", "{\"a\":".repeat(levels) + "1", "}".repeat(levels))
    };
    let lake_folder = world.home.path().join("lake");
    let lines = [reading(0), long(60 << 20), reading(1), long(64 << 20), reading(2)].concat();
    lake::object(&lake_folder, "long.gz", lines.as_bytes());
    let lines = [reading(3), deep(127), deep(128), deep(100_000), reading(4)].concat();
    lake::object(&lake_folder, "deep.gz", lines.as_bytes());
    let out = world.home.path().join("out");
    expect_exit(world.compact().args(["--set", "table.read.new_columns=ignore", "--out"]).arg(&out), 0);
    let record = record(&out);
    let reasons = &at(&record, "compaction.quarantine_reasons").to_string();
    let (lines, rows) = (number(&record, "compaction.lines"), number(&record, "compaction.rows"));
    assert_eq!((lines, rows + number(&record, "compaction.quarantined")), (10, 10), "{reasons}");
    assert!(rows >= 8 && reasons.contains("too_long"), "{rows} rows; {reasons}");
}

#[test]
fn optimize_and_vacuum_from_the_command_line() {
    let world = World::new(6);
    expect_exit(&mut world.compact(), 0);
    let run = |arguments: &[&str], code| {
        expect_exit(millrace().arg(arguments[0]).arg(world.table()).args(&arguments[1..]), code)
    };
    let (dry, _) = run(&["optimize", "--dry-run"], 0);
    assert!(dry.contains("12000 rows in 6 files") && dry.contains("a run would write 6 files"), "{dry}");
    assert!(dry.contains("advice: 6 of 6 files are small"), "{dry}");
    let (done, _) = run(&["optimize"], 0);
    assert!(done.contains("6 files written as 1") && done.contains("in 1 commits"), "{done}");
    let (again, _) = run(&["optimize"], 0);
    assert!(again.contains("0 files written as 0"), "{again}");
    let (_, refused) = run(&["vacuum", "--retention", "1s"], 2);
    assert!(refused.contains("604800 s") && refused.contains("--allow-short-retention"), "{refused}");
    let (vacuum, _) = run(&["vacuum", "--retention", "0s", "--allow-short-retention"], 0);
    assert!(vacuum.contains("6 files"), "{vacuum}");
    let (_, none) = expect_exit(millrace().arg("optimize").arg(world.home.path().join("lake")), 2);
    assert!(none.contains("there is no Delta table at"), "{none}");
}

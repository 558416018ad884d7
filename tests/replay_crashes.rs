//! `millrace quarantine replay` is killed with SIGKILL, at every named point of the protocol and at random moments. What it
//! brings into the table is there once, whoever finishes it.
//!
//! `MILLRACE_CRASHES=1000` is the long form.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../compactor/tests/it/reader.rs"]
mod reader;
mod support;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use reader::read_table;
use support::{expect_exit, lake, millrace};

const POINTS: [&str; 6] =
    ["after-manifest", "after-data-files", "after-quarantine", "before-commit", "after-commit", "after-seen"];
const KILLS_ON_A_TABLE: usize = 12;

/// A scenario in which a field that is no column makes a record bad, or does not.
fn scenario(new_columns: &str) -> String {
    format!(
        r#"
name = "replays"

[source]
kind = "sensors"
sensors = 1
epoch = "2025-01-01T00:00:00Z"
interval = "1s"

[load]
stages = [{{ rate = 1, for = "1s" }}]

[keys]
kind = "uniform"

[stream]
name = "replays"
shards = 1

[table]
columns = {{ id = "integer" }}
read = {{ new_columns = "{new_columns}" }}
"#
    )
}

struct World {
    home: tempfile::TempDir,
    /// Records so far, good and bad.
    records: u64,
    objects: u64,
}

impl World {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("strict.toml"), scenario("quarantine")).unwrap();
        fs::write(home.path().join("lax.toml"), scenario("ignore")).unwrap();
        Self { home, records: 0, objects: 0 }
    }

    /// Every second record has a field that is no column.
    fn put(&mut self) {
        let record = |id: u64| {
            if id.is_multiple_of(2) { format!("{{\"id\":{id}}}\n") } else { format!("{{\"id\":{id},\"x\":1}}\n") }
        };
        let lines: String = (self.records..self.records + 6).map(record).collect();
        lake::object(&self.home.path().join("lake"), &format!("{:04}.gz", self.objects), lines.as_bytes());
        self.records += 6;
        self.objects += 1;
    }

    fn command(&self, words: &[&str], scenario: &str) -> Command {
        let mut command = millrace();
        command.args(words).arg(self.home.path().join(scenario));
        command.arg("--lake").arg(self.home.path().join("lake")).arg("--table").arg(self.home.path().join("table"));
        command
    }

    /// How often each id is in the table.
    fn ids(&self) -> BTreeMap<u64, u64> {
        let mut ids = BTreeMap::new();
        for row in read_table(&self.home.path().join("table")) {
            *ids.entry(row["id"].parse().unwrap()).or_default() += 1;
        }
        ids
    }
}

fn draw(state: &mut u64, end: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % end
}

#[test]
fn a_replay_that_is_killed_anywhere_brings_every_piece_once() {
    let wanted: usize = std::env::var("MILLRACE_CRASHES").map_or(24, |text| text.parse().unwrap());
    let (mut state, mut usual, started) = (7, Duration::from_millis(60), Instant::now());
    let mut kills: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut tables, mut records, mut ended_before) = (0, 0, 0);
    while kills.values().sum::<usize>() < wanted {
        let mut world = World::new();
        for kill in 0..KILLS_ON_A_TABLE {
            world.put();
            let new = world.records - 6..world.records;
            expect_exit(&mut world.command(&["compact"], "strict.toml"), 0);
            let before = world.ids();
            let mut replay = world.command(&["quarantine", "replay"], "lax.toml");
            replay.stdout(Stdio::null()).stderr(Stdio::piped());
            let point = POINTS.get(kill % (2 * POINTS.len()));
            let what = if let Some(point) = point {
                let mut child = replay.args(["--hold-at", point]).spawn().unwrap();
                let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
                assert!(lines.any(|line| line.contains("held at")), "{point} was not come by");
                child.kill().unwrap();
                child.wait().unwrap();
                *point
            } else {
                let mut child = replay.spawn().unwrap();
                std::thread::sleep(usual.mul_f64(draw(&mut state, 1000) as f64 / 900.0));
                child.kill().unwrap();
                if child.wait().unwrap().code().is_some() { "" } else { "a random moment" }
            };
            match what {
                "" => ended_before += 1,
                _ => *kills.entry(what).or_default() += 1,
            }
            // All of the new pieces, or none.
            let now = world.ids();
            assert!(now.values().all(|times| *times == 1), "after {what}: {now:?}");
            let gained = new.clone().filter(|id| id % 2 == 1 && now.contains_key(id)).count();
            assert!(gained == 0 || gained == 3, "after {what}: {gained} of 3");
            assert!(before.keys().all(|id| now.contains_key(id)), "after {what}: a row is gone");
            // A pass finishes it as well as a replay.
            if draw(&mut state, 2) == 0 {
                expect_exit(&mut world.command(&["compact"], "strict.toml"), 0);
            }
            let began = Instant::now();
            expect_exit(&mut world.command(&["quarantine", "replay"], "lax.toml"), 0);
            usual = began.elapsed();
            assert_eq!(world.ids(), (0..world.records).map(|id| (id, 1)).collect(), "after {what}");
        }
        tables += 1;
        records += world.records;
    }
    let total: usize = kills.values().sum();
    println!(
        "{total} replays killed on {tables} tables of {records} records in {:?}: {kills:?}; {ended_before} ended before \
         their moment; 0 records lost, 0 doubled",
        started.elapsed()
    );
}

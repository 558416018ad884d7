//! `millrace compact` is killed with SIGKILL, at every named point of its protocol and at random moments, alone and with
//! a second compactor at work. After every kill a reader sees the rows of whole commits and nothing else; in the end
//! table and quarantine are what a plain loop over the lake's lines says.
//!
//! `MILLRACE_CRASHES=5000` is the long form.

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
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use reader::{Row, read_table};
use support::{lake, millrace};

/// Every point at which a process can be held, in the order of the protocol.
const POINTS: [&str; 7] = [
    "after-create",
    "after-manifest",
    "after-data-files",
    "after-quarantine",
    "before-commit",
    "after-commit",
    "after-seen",
];
/// Kills on one table before the next one is begun.
const KILLS_ON_A_TABLE: usize = 10;

const SCENARIO: &str = r#"
name = "crashes"

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
name = "crashes"
shards = 1

[table]
columns = { id = "string", seq = "integer", city = "string", at = "timestamp" }
derive = [{ name = "date", from = "at", part = "date" }]
partition_by = ["city", "date"]

[table.dedup]
key = ["id"]
keep = "first"
order_by = "seq"

[[table.dedup.aggregate]]
name = "first_at"
function = "min"
of = "at"

[[table.dedup.aggregate]]
name = "last_at"
function = "max"
of = "at"

[[table.dedup.aggregate]]
name = "times"
function = "count"
"#;

/// Draws that a failing test can repeat.
struct Draws(u64);

impl Draws {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// A bad line: its object, its number and its bytes.
type Bad = (String, String, String);

/// A lake whose lines are known, and the table made of it.
struct World {
    home: tempfile::TempDir,
    /// Lines by object.
    lines: BTreeMap<String, Vec<String>>,
}

impl World {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("lake")).unwrap();
        fs::write(home.path().join("scenario.toml"), SCENARIO).unwrap();
        Self { home, lines: BTreeMap::new() }
    }

    fn table(&self) -> PathBuf {
        self.home.path().join("table")
    }

    /// Puts one more object: new keys, keys of other objects again, and sometimes a line that is no record.
    fn put(&mut self, draws: &mut Draws) {
        let name = format!("{:02}/{:03}.gz", draws.below(3), self.lines.len());
        let lines: Vec<String> = (0..1 + draws.below(5))
            .map(|line| {
                if draws.below(6) == 0 {
                    return format!("no record {name} {line}");
                }
                // No two are equal: of equal ones the row that was committed first stays, and a kill moves commits.
                let seq = draws.below(50) * 10_000 + self.lines.len() as u64 * 10 + line;
                let at = format!("2025-01-{:02}T{:02}:00:00Z", 1 + draws.below(2), draws.below(24));
                let city = ["Hull", "York"][draws.below(2) as usize];
                json!({"id": format!("id{}", draws.below(25)), "seq": seq, "city": city, "at": at}).to_string()
            })
            .collect();
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        lake::object(&self.home.path().join("lake"), &name, text.as_bytes());
        self.lines.insert(name, lines);
    }

    fn compact(&self, batch_objects: u64) -> Command {
        let mut command = millrace();
        let home = self.home.path();
        command.arg("compact").arg(home.join("scenario.toml"));
        command.arg("--lake").arg(home.join("lake")).arg("--table").arg(self.table());
        command.args(["--batch-objects", &batch_objects.to_string()]);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// What a table of these objects holds, by a plain loop: the first row of a key by `seq`, then object, then line.
    fn truth(&self, objects: &BTreeSet<String>) -> (Vec<Row>, Vec<Bad>) {
        let mut rows: BTreeMap<String, (u64, Row)> = BTreeMap::new();
        let mut bad = Vec::new();
        for (object, lines) in self.lines.iter().filter(|(object, _)| objects.contains(*object)) {
            for (number, line) in (1..).zip(lines) {
                let Ok(record) = serde_json::from_str::<Value>(line) else {
                    bad.push((object.clone(), number.to_string(), line.clone()));
                    continue;
                };
                let text = |name: &str| record[name].as_str().unwrap().to_owned();
                let (id, at, seq) = (text("id"), text("at"), record["seq"].as_u64().unwrap());
                let new = BTreeMap::from([
                    ("id".to_owned(), id.clone()),
                    ("seq".to_owned(), seq.to_string()),
                    ("city".to_owned(), text("city")),
                    ("date".to_owned(), at[..10].to_owned()),
                    ("at".to_owned(), at.clone()),
                    ("first_at".to_owned(), at.clone()),
                    ("last_at".to_owned(), at.clone()),
                    ("times".to_owned(), "1".to_owned()),
                ]);
                let Some((held_seq, held)) = rows.get_mut(&id) else {
                    rows.insert(id, (seq, new));
                    continue;
                };
                let aggregates = [
                    ("first_at", held["first_at"].clone().min(at.clone())),
                    ("last_at", held["last_at"].clone().max(at)),
                    ("times", (held["times"].parse::<u64>().unwrap() + 1).to_string()),
                ];
                if seq < *held_seq {
                    (*held_seq, *held) = (seq, new);
                }
                held.extend(aggregates.map(|(name, value)| (name.to_owned(), value)));
            }
        }
        let mut rows: Vec<Row> = rows.into_values().map(|(_, row)| row).collect();
        rows.sort();
        bad.sort();
        (rows, bad)
    }

    /// The objects that manifests up to this number name.
    fn taken(&self, until: u64) -> BTreeSet<String> {
        let mut objects = BTreeSet::new();
        for number in 1..=until {
            let path = self.table().join(format!("_millrace/manifests/{number:020}.json"));
            let Ok(text) = fs::read_to_string(path) else { continue };
            let manifest: Value = serde_json::from_str(&text).unwrap();
            for object in manifest["objects"].as_array().unwrap() {
                let key = object["key"].as_str().unwrap().to_owned();
                assert!(objects.insert(key.clone()), "{key} is in two manifests");
            }
        }
        objects
    }

    fn quarantine(&self) -> Vec<Bad> {
        let folder = self.home.path().join("table-quarantine");
        if !folder.join("_delta_log").exists() {
            return Vec::new();
        }
        let place = |row: Row| (row["object"].clone(), row["line"].clone(), row["raw"].clone());
        let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        let mut rows: Vec<Bad> = read_table(&folder).into_iter().map(place).collect();
        // Bytes are shown as hexadecimal digits.
        for row in &mut rows {
            let line = &self.lines[&row.0][row.1.parse::<usize>().unwrap() - 1];
            if row.2 == hex(line) {
                row.2 = line.clone();
            }
        }
        rows.sort();
        rows
    }

    /// What a reader sees right now: the rows of the manifests up to the table's transaction, no more and no less.
    fn check_what_is_visible(&self, after: &str) {
        let Some(committed) = transaction(&self.table()) else { return };
        let (rows, bad) = self.truth(&self.taken(committed));
        assert_eq!(read_table(&self.table()), rows, "rows after {after}");
        // Bad pieces are committed just before their rows.
        let quarantine = self.quarantine();
        if quarantine != bad {
            assert_eq!(quarantine, self.truth(&self.taken(committed + 1)).1, "quarantine after {after}");
        }
    }

    /// Lets a compactor come to its end and compares with the truth.
    fn finish(&self) -> Duration {
        let started = Instant::now();
        let output = self.compact(1000).output().unwrap();
        let took = started.elapsed();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let (rows, bad) = self.truth(&self.lines.keys().cloned().collect());
        assert_eq!(read_table(&self.table()), rows);
        assert_eq!(self.quarantine(), bad);
        took
    }
}

/// The transaction that the table's log is at; `None` when there is no table yet.
fn transaction(table: &Path) -> Option<u64> {
    let mut last = 0;
    fs::metadata(table.join("_delta_log/00000000000000000000.json")).ok()?;
    for entry in fs::read_dir(table.join("_delta_log")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        for line in fs::read_to_string(path).unwrap().lines() {
            let action: Value = serde_json::from_str(line).unwrap();
            last = last.max(action["txn"]["version"].as_u64().unwrap_or(0));
        }
    }
    Some(last)
}

/// Waits until the process is held or gone; true when it is held.
fn is_held(child: &mut Child) -> bool {
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    lines.map_while(Result::ok).any(|line| line.contains("held at"))
}

#[test]
fn a_compactor_that_is_killed_anywhere_loses_nothing_and_doubles_nothing() {
    let wanted: usize = std::env::var("MILLRACE_CRASHES").map_or(90, |text| text.parse().unwrap());
    let seed: u64 = std::env::var("MILLRACE_SEED").map_or(7, |text| text.parse().unwrap());
    let started = Instant::now();
    let mut draws = Draws(seed);
    let mut kills: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut tables, mut objects, mut beside, mut unheld) = (0, 0, 0, 0);
    let mut usual = Duration::from_millis(60);
    while kills.values().sum::<usize>() < wanted {
        let mut world = World::new();
        for kill in 0..KILLS_ON_A_TABLE {
            for _ in 0..2 + draws.below(3) {
                world.put(&mut draws);
            }
            // The first point is passed once in a table's life.
            let point = if kill == 0 && tables % 2 == 0 { 0 } else { draws.below(14) as usize };
            let second = (draws.below(4) == 0).then(|| world.compact(1 + draws.below(2)).spawn().unwrap());
            beside += usize::from(second.is_some());
            let mut command = world.compact(1 + draws.below(2));
            let what = match POINTS.get(point) {
                Some(point) => {
                    command.args([
                        "--hold-at",
                        &format!("{point}:{}", 1 + draws.below(2) * u64::from(*point != POINTS[0])),
                    ]);
                    let mut child = command.spawn().unwrap();
                    let held = is_held(&mut child);
                    child.kill().unwrap();
                    child.wait().unwrap();
                    unheld += usize::from(!held);
                    if held { *point } else { "" }
                }
                None => {
                    let mut child = command.spawn().unwrap();
                    std::thread::sleep(usual.mul_f64(draws.below(1000) as f64 / 800.0));
                    child.kill().unwrap();
                    let ended = child.wait().unwrap().code().is_some();
                    unheld += usize::from(ended);
                    if ended { "" } else { "a random moment" }
                }
            };
            if let Some(mut second) = second {
                assert!(second.wait().unwrap().success(), "the second compactor beside one killed at {what:?}");
            }
            if !what.is_empty() {
                *kills.entry(what).or_default() += 1;
            }
            world.check_what_is_visible(what);
        }
        usual = world.finish();
        // Nothing is left to do.
        let version = fs::read_dir(world.table().join("_delta_log")).unwrap().count();
        world.finish();
        assert_eq!(fs::read_dir(world.table().join("_delta_log")).unwrap().count(), version);
        tables += 1;
        objects += world.lines.len();
    }
    let total: usize = kills.values().sum();
    println!(
        "{total} kills on {tables} tables of {objects} objects in {:?} (seed {seed}): {kills:?}; {beside} with a second \
         compactor beside, {unheld} ended before their moment; 0 rows lost, 0 doubled, 0 seen too early",
        started.elapsed()
    );
    for point in POINTS {
        assert!(kills.get(point).is_some_and(|count| *count >= wanted / 50), "{point} was hit too seldom: {kills:?}");
    }
}

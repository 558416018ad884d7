//! Every shipped scenario, end to end: the built binary runs it, and engines it does not use check what it left behind.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{at, browser, expect_exit, measure, millrace, number, python, record, root};

/// A finished run of a shipped scenario at a small size.
struct Run {
    folder: tempfile::TempDir,
    record: Value,
    stdout: String,
}

impl Run {
    fn of(scenario: &str, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = root().join("scenarios").join(scenario);
        let mut command = millrace();
        command.arg("run").arg(&path).arg("--out").arg(folder.path().join("run"));
        command.args(["--rate", "250", "--for", "6s", "--set", "delivery.buffer_interval=2s"]).args(more);
        let (record, stdout) = measure(&mut command, &folder.path().join("run"));
        Self { folder, record, stdout }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    fn lake(&self) -> PathBuf {
        self.path().join("lake")
    }

    fn table(&self) -> PathBuf {
        self.path().join("table")
    }

    /// What DuckDB, delta-rs for Python and Polars find in the lake and the table.
    fn independent(&self, keys: &str) -> Value {
        python::ask("lake_and_table.py", &[text(&self.lake()), text(&self.table()), keys])
    }

    fn check(&self, scenario: &str, keys: &str) -> Value {
        self.ledger_closes();
        self.files_are_there();
        self.hlog_agrees();
        self.schema_holds();
        self.page_shows_the_record();
        let found = self.independent(keys);
        assert_eq!(
            number(&found, "lines"),
            number(&self.record, "load.accepted"),
            "every accepted record is in the lake"
        );
        assert_eq!(number(&found, "rows"), number(&found, "distinct"), "the table has one row per distinct key");
        assert_eq!(number(&found, "rows"), number(&found, "distinct_rows"));
        assert_eq!(number(&found, "rows"), number(&self.record, "compaction.table_rows"));
        assert_eq!(number(&found, "reader"), 1, "any Delta reader can read it");
        assert_eq!(number(&found, "writer"), 2);
        self.queries_agree();
        self.second_compaction_adds_nothing(scenario, number(&found, "version"));
        found
    }

    fn ledger_closes(&self) {
        assert!(number(&self.record, "load.due") > 1_000, "the load happened");
        for hop in at(&self.record, "ledger.hops").as_array().unwrap() {
            assert_eq!(hop["difference"], 0, "{hop}");
        }
        let hops: Vec<_> =
            at(&self.record, "ledger.hops").as_array().unwrap().iter().map(|h| h["hop"].as_str().unwrap()).collect();
        assert_eq!(hops, ["producer", "stream", "delivery", "table", "whole way"]);
        assert_eq!(number(&self.record, "ledger.lost"), 0);
        assert_eq!(number(&self.record, "ledger.duplicated"), 0);
        for hop in ["lag", "service", "response", "arrival", "read", "landed", "committed"] {
            let latency = latency(&self.record, hop);
            assert_eq!(number(latency, "count"), number(&self.record, "load.accepted"), "{hop} times every record");
        }
    }

    fn files_are_there(&self) {
        for name in ["run.json", "latency.hlog", "report.html"] {
            assert!(self.path().join(name).metadata().unwrap().len() > 0, "{name}");
        }
        assert!(self.stdout.contains("report.html"), "the page's path is printed");
        for line in self.stdout.lines() {
            assert!(line.chars().count() <= 100, "{} columns: {line}", line.chars().count());
            assert!(!line.contains('\u{1b}'), "no colour into a pipe: {line}");
        }
    }

    /// The interval log, read by HdrHistogram for Python, sums to what run.json says.
    fn hlog_agrees(&self) {
        let log = python::ask("hlog.py", &[text(&self.path().join("latency.hlog"))]);
        for latency in at(&self.record, "latency").as_array().unwrap() {
            let hop = latency["hop"].as_str().unwrap();
            assert_eq!(log[hop]["count"], latency["count"], "{hop}");
            assert_eq!(log[hop]["max"], latency["max_us"], "{hop}");
        }
    }

    fn schema_holds(&self) {
        let schema = root().join("docs/run.schema.json");
        let answer = python::ask("validate.py", &[text(&schema), text(&self.path().join("run.json"))]);
        assert_eq!(answer["errors"], serde_json::json!([]));
    }

    /// The page opens without a word on the console, and every number it marks is the record's.
    fn page_shows_the_record(&self) {
        let page = browser::open(&self.path().join("report.html"));
        assert_eq!(page.console, Vec::<String>::new());
        let shown = browser::fields(&page.dom);
        assert!(shown.len() >= 10, "the page marks its key numbers: {shown:?}");
        for (field, value) in &shown {
            let recorded = match field.strip_prefix("latency.") {
                Some(rest) => {
                    let (hop, _) = rest.split_once('.').unwrap();
                    assert!(rest.ends_with("p99_us"), "{field}");
                    p99_us(latency(&self.record, hop)).into()
                }
                None => at(&self.record, field).clone(),
            };
            assert_eq!(&recorded.to_string(), value, "{field}");
        }
        for field in ["load.accepted", "ledger.lost", "compaction.rows", "latency.response.p99_us"] {
            assert!(shown.iter().any(|(shown, _)| shown == field), "{field} is on the page");
        }
    }

    fn queries_agree(&self) {
        let queries = at(&self.record, "queries").as_array().unwrap();
        assert!(!queries.is_empty());
        for query in queries {
            let measurements = query["measurements"].as_array().unwrap();
            assert_eq!(measurements.len(), 4, "two layouts by two engines");
            for measurement in measurements {
                assert_eq!(measurement["error"], Value::Null, "{query:#}");
                assert_eq!(measurement["answer"], measurements[0]["answer"], "{query:#}");
                assert!(measurement["bytes"].as_u64().unwrap() > 0);
            }
            assert_eq!(query["same_answer"], true);
        }
    }

    fn second_compaction_adds_nothing(&self, scenario: &str, version: u64) {
        let mut command = millrace();
        command.arg("compact").arg(root().join("scenarios").join(scenario));
        command.arg("--lake").arg(self.lake()).arg("--table").arg(self.table());
        command.arg("--out").arg(self.path().join("again"));
        expect_exit(&mut command, 0);
        let again = record(&self.path().join("again"));
        assert_eq!(number(&again, "compaction.objects"), 0);
        assert_eq!(number(&again, "compaction.rows"), 0);
        assert_eq!(number(&again, "compaction.version"), version, "no new table version");
        assert_eq!(number(&again, "compaction.table_rows"), number(&self.record, "compaction.table_rows"));
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn latency<'a>(record: &'a Value, hop: &str) -> &'a Value {
    let all = at(record, "latency").as_array().unwrap();
    all.iter().find(|l| l["hop"] == hop).unwrap_or_else(|| panic!("{hop} was not measured"))
}

fn p99_us(latency: &Value) -> u64 {
    let curve = latency["curve"].as_array().unwrap();
    let point = curve.iter().find(|p| p["percentile"].as_f64().unwrap() >= 99.0).unwrap();
    point["value_us"].as_u64().unwrap()
}

#[test]
fn us_accidents_arrive_whole_and_once() {
    let run = Run::of("us-accidents.toml", &["--set", "source.rows=900"]);
    let found = run.check("us-accidents.toml", "ID");
    assert_eq!(number(&found, "rows"), 900, "the file was looped over and every row is there once");
    assert_eq!(found["types"]["Severity"], "Int64");
    assert_eq!(found["types"]["Amenity"], "Boolean");
    assert_eq!(found["types"]["Temperature(F)"], "Float64");
    assert!(found["types"]["Start_Time"].as_str().unwrap().starts_with("Datetime(time_unit='us'"));
}

#[test]
fn sensors_arrive_whole_and_once() {
    let run = Run::of("sensors.toml", &[]);
    let found = run.check("sensors.toml", "sensor_id,timestamp");
    assert_eq!(number(&found, "rows"), number(&run.record, "load.accepted"), "no reading is repeated");
}

#[test]
fn weather_readings_are_folded_with_first_collection_and_count() {
    let run = Run::of("weather.toml", &[]);
    let found = run.check("weather.toml", "city,temperature,measurement_time,source");
    assert_eq!(found["partition_values"], serde_json::json!(["Edinburgh", "London", "Manchester"]));
    let folded = python::ask("weather.py", &[text(&run.lake()), text(&run.table())]);
    assert_eq!(folded["different"], 0, "DuckDB's group-by of the lake equals the table: {folded}");
    assert_eq!(number(&folded, "counted"), number(&run.record, "load.accepted"));
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_does_not() {
    let fingerprint = |seed: &str| {
        let folder = tempfile::tempdir().unwrap();
        let mut command = millrace();
        command.args(["load", "sensors", "--rate", "500", "--for", "2s", "--seed", seed, "--out"]);
        let out = folder.path().join("run");
        let (record, _) = measure(command.arg(&out), &out);
        at(&record, "run.fingerprint").as_str().unwrap().to_owned()
    };
    let first = fingerprint("7");
    assert_eq!(first.len(), 64);
    assert_eq!(first, fingerprint("7"));
    assert_ne!(first, fingerprint("8"));
}

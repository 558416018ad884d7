//! Two compactors, an optimize after the other, and Python's delta-rs appending and deleting, all on one table at once:
//! what it holds in the end is what each of them would have made of it alone, one after the other.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::{collections::BTreeMap, fs};

use serde_json::{Value, json};

use support::{at, expect_exit, lake, millrace, python::ask};

const SCENARIO: &str = r#"
name = "foreign"

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
name = "foreign"
shards = 1

[table]
columns = { id = "string", seq = "integer", city = "string", at = "timestamp" }
derive = [{ name = "date", from = "at", part = "date" }]
partition_by = ["city", "date"]

[table.dedup]
key = ["id"]
keep = "first"
order_by = "seq"
"#;

#[test]
fn compactors_an_optimize_and_a_foreign_writer_make_of_one_table_what_they_would_one_by_one() {
    let home = tempfile::tempdir().unwrap();
    let (scenario, lake_folder, table) =
        (home.path().join("s.toml"), home.path().join("lake"), home.path().join("table"));
    fs::write(&scenario, SCENARIO).unwrap();
    // The lowest `seq` of each id, whatever the order.
    let mut truth: BTreeMap<String, u64> = BTreeMap::new();
    let mut put = |object: u64| {
        let lines: Vec<String> = (0..20)
            .map(|line| {
                let (id, seq) =
                    (format!("id{}", (object * 7 + line * 3) % 90), (object * 37 + line * 11) % 500 * 1000 + object);
                let least = truth.entry(id.clone()).or_insert(seq);
                *least = seq.min(*least);
                let city = ["Hull", "York"][usize::from(id.ends_with(['1', '3', '5']))];
                json!({"id": id, "seq": seq, "city": city, "at": "2025-01-01T00:00:00Z"}).to_string() + "\n"
            })
            .collect();
        lake::object(&lake_folder, &format!("{object:03}.gz"), lines.concat().as_bytes());
    };
    (0..6).for_each(&mut put);
    let mut compact = millrace();
    compact.arg("compact").arg(&scenario).arg("--lake").arg(&lake_folder).arg("--table").arg(&table);
    compact.args(["--batch-objects", "2"]);
    expect_exit(&mut compact, 0);
    (6..46).for_each(&mut put);

    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let arguments = [text(&table), env!("CARGO_BIN_EXE_millrace").to_owned(), text(&lake_folder), text(&scenario)];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let found = ask("foreign_writer.py", &arguments);
    for key in ["stale_delete_refused", "stale_optimize_refused", "conflicts", "optimizes", "version", "errors"] {
        println!("{key}: {}", found[key]);
    }
    assert_eq!(found["stale_delete_is_right"], true, "a delete begun before an optimize");
    assert_eq!(found["stale_optimize_is_right"], true, "a rewrite begun before an optimize");
    assert!(at(&found, "errors").as_array().unwrap().is_empty(), "{:#}", found["errors"]);
    expect_exit(&mut compact, 0);

    // What the foreign writer deleted comes again only with a later object.
    let held: Vec<Value> = found["held"].as_array().unwrap().clone();
    let mut expected: Vec<Value> = truth.iter().map(|(id, seq)| json!([id, seq])).collect();
    expected.extend(found["mine"].as_array().unwrap().iter().cloned());
    let deleted = found["deleted"].as_str().unwrap_or_default();
    let without = |rows: Vec<Value>| {
        let mut rows: Vec<String> = rows.iter().filter(|row| row[0] != deleted).map(Value::to_string).collect();
        rows.sort();
        rows
    };
    assert_eq!(without(held), without(expected));
}

#[test]
fn a_table_in_order_stays_so_with_a_foreign_writer_and_comes_out_as_plain_parquet() {
    let home = tempfile::tempdir().unwrap();
    let (scenario, lake_folder, table) =
        (home.path().join("s.toml"), home.path().join("lake"), home.path().join("table"));
    fs::write(&scenario, SCENARIO).unwrap();
    for object in 0..4_u64 {
        let line = |line: u64| {
            let (seq, city) = ((line * 4 + object) * 50, ["Hull", "York"][usize::from(line % 2 == 1)]);
            json!({"id": format!("id{seq}"), "seq": seq, "city": city, "at": "2025-01-01T00:00:00Z"}).to_string() + "\n"
        };
        lake::object(&lake_folder, &format!("{object}.gz"), (0..10_000).map(line).collect::<String>().as_bytes());
    }
    let mut compact = millrace();
    compact.arg("compact").arg(&scenario).arg("--lake").arg(&lake_folder).arg("--table").arg(&table);
    expect_exit(compact.args(["--batch-objects", "1"]), 0);
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let out = home.path().join("plain");
    let arguments = [text(&table), env!("CARGO_BIN_EXE_millrace").to_owned(), text(&out)];
    let found = ask("clustered.py", &arguments.each_ref().map(String::as_str));
    println!("{found:#}");
    let lines = |step: &str, key: &str| -> Vec<String> {
        let lines = found[step][key].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned());
        lines.filter(|line| line.starts_with("plan: ")).collect()
    };
    for step in ["first", "second"] {
        assert_eq!((&found[step]["same"], &found[step]["idle"]), (&json!(true), &json!(true)), "{step}");
        assert!(found[step]["before"]["overlaps"].as_u64().unwrap() > 0, "{step}");
        assert_eq!(found[step]["after"]["overlaps"], 0, "{step}");
        assert!(!lines(step, "dry").is_empty());
        assert_eq!((lines(step, "run"), lines(step, "again")), (lines(step, "dry"), vec![]), "{step}");
    }
    // The partition in which the foreign writer was not is left alone.
    assert_eq!((lines("first", "run").len(), lines("second", "run").len()), (2, 1));
    assert!(found["first"]["after"]["files"].as_u64().unwrap() > 4, "files of the target size");
    assert_eq!((&found["export_same"], &found["export_columns"]), (&json!(true), &json!(true)));
    assert!(found["export"].as_str().unwrap().starts_with("40,400 rows of version"), "{}", found["export"]);
    let mark: Value = serde_json::from_slice(&fs::read(out.join("_SUCCESS")).unwrap()).unwrap();
    assert_eq!(mark["rows"], 40_400);

    let mut export = millrace();
    let (_, there) = expect_exit(export.arg("export").arg(&table).arg("--to").arg(&out), 2);
    assert!(there.contains("is there already"), "{there}");
    let cluster = |columns: &str| {
        let (_, error) = expect_exit(millrace().arg("optimize").arg(&table).args(["--cluster-by", columns]), 2);
        // Where its lines are broken depends on the table's path.
        error.replace('│', " ").split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(cluster("sequence").contains("there is no such column; there are "), "{}", cluster("sequence"));
    assert!(cluster("city").contains("partitioned by it") && cluster("seq,seq").contains("there twice"));
}

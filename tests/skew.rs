//! Keys and shards that are uneven on purpose, and a stream whose shards change while it is loaded.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use serde_json::Value;
use support::{at, millrace, number, record};

/// A run of `millrace load` with these settings, whose ledger must close; its record.
fn load(rate: &str, length: &str, settings: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut command = millrace();
    command.args(["load", "sensors", "--rate", rate, "--for", length, "--set", "slo=[]"]);
    command.args(["--set", "delivery.buffer_interval=1s"]);
    for setting in settings {
        command.args(["--set", setting]);
    }
    let output = support::run(command.arg("--out").arg(&out));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{text}");
    let record = record(&out);
    assert_eq!((number(&record, "ledger.lost"), number(&record, "ledger.unacknowledged")), (0, 0));
    assert_eq!(number(&record, "load.due"), number(&record, "load.accepted") + number(&record, "load.refused"));
    for hop in at(&record, "ledger.hops").as_array().unwrap() {
        assert_eq!(hop["difference"], 0, "{hop}");
    }
    record
}

fn share(row: &Value, key: &str) -> f64 {
    row[key].as_f64().unwrap_or_else(|| panic!("no {key} in {row}"))
}

#[test]
fn a_split_of_the_hottest_shard_in_mid_run_divides_its_load_and_loses_nothing() {
    let record = load(
        "800",
        "6s",
        &[
            "load.arrival=constant",
            "keys={kind = \"uniform\", distinct = 1000, hot_shard = 0.7, hot_shard_index = 2}",
            "event=[{ at = \"3s\", split_shard = \"hottest\" }]",
        ],
    );
    let event = &at(&record, "load.events").as_array().unwrap()[0];
    assert_eq!(event["error"], Value::Null, "{event}");
    assert_eq!(event["action"], "split the hottest shard");
    assert_eq!(event["shards"], serde_json::json!(["shardId-000000000002"]));
    let began_us = number(event, "began_us");
    assert!((3_000_000..4_500_000).contains(&began_us), "{began_us}");
    let opened: Vec<&str> = event["opened"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    assert_eq!(opened.len(), 2);
    let of = |side: &str, shard: &str| {
        let row = event[side].as_array().unwrap().iter().find(|row| row["shard"] == shard).cloned();
        row.map_or(0.0, |row| share(&row, "share"))
    };
    assert!((of("before", "shardId-000000000002") - 0.7).abs() < 0.01, "{event}");
    let still_to_the_parent = of("after", "shardId-000000000002");
    assert!(still_to_the_parent < 0.1, "{event}");
    for child in opened {
        assert_eq!(of("before", child), 0.0);
        assert!((of("after", child) - 0.35 * (1.0 - still_to_the_parent)).abs() < 0.05, "{child}: {event}");
        let row = at(&record, "load.shards").as_array().unwrap().iter().find(|row| row["shard"] == child).unwrap();
        assert_eq!(row["read"], row["accepted"], "the reader follows the children: {row}");
    }
    assert_eq!(at(&record, "load.skew.asked_distance"), &Value::Null, "shards changed, so there is no one distance");
}

#[test]
fn asked_shares_are_got_by_hash_key_and_by_name() {
    for place in ["hash_key", "name"] {
        let keys = format!("keys={{kind = \"zipf\", shards = [0.1, 0.4, 0.2, 0.3], place = \"{place}\", salt = 4}}");
        let record = load("2500", "4s", &["load.arrival=constant", "stream.shards=4", &keys]);
        let skew = at(&record, "load.skew");
        let distance = skew["asked_distance"].as_f64().unwrap();
        println!("{place}: asked and got differ by {distance}");
        assert!(distance <= 0.005, "{place}: {skew}");
        assert_eq!(number(&record, "load.accepted"), 10_000);
        let hottest = &skew["keys"][0];
        // key-0 has 1 / H(1000) = 0.1336 of the records, in four names, and by name also in four shards.
        let (most, name) = if place == "name" { (0.1336 / 4.0 * 0.4, "#") } else { (0.1336 / 4.0, "key-0#") };
        assert!(hottest["key"].as_str().unwrap().contains(name), "{hottest}");
        assert!((share(hottest, "asked") - most).abs() < 0.000_1 && share(hottest, "got") < 1.3 * most, "{hottest}");
    }
}

#[test]
fn events_change_keys_rate_and_shard_count_and_a_wrong_one_is_told() {
    let record = load(
        "500",
        "4s",
        &[
            "load.arrival=constant",
            "stream.shards=2",
            "keys={kind = \"hot_set\", distinct = 1000, hot_share = 0.9}",
            "event=[{ at = \"1s\", rate = 2.0 }, { at = \"1s\", keys = { kind = \"uniform\", place = \"spread\" } }, \
             { at = \"2s\", update_shard_count = 4 }, { at = \"3s\", split_shard = 99 }]",
        ],
    );
    assert_eq!(number(&record, "load.due"), 500 + 3 * 1_000);
    let events = at(&record, "load.events").as_array().unwrap();
    let errors: Vec<&Value> = events.iter().map(|event| &event["error"]).collect();
    assert_eq!(errors[..3], [&Value::Null; 3], "{events:?}");
    assert!(errors[3].as_str().unwrap().contains("no open shard 99"), "{events:?}");
    assert_eq!(events[2]["opened"].as_array().unwrap().len(), 4, "{}", events[2]);
    let hottest = |event: &Value, side: &str| {
        event[side].as_array().unwrap().iter().map(|row| share(row, "share")).fold(0.0, f64::max)
    };
    assert!(hottest(&events[0], "before") > 0.85, "{}", events[0]);
    assert!((hottest(&events[1], "after") - 0.5).abs() < 0.05, "{}", events[1]);
    assert!(hottest(&events[2], "after") < 0.4, "{}", events[2]);
    assert_eq!(at(&record, "load.skew")["not_expected"], "the keys changed during the load");
}

#[test]
fn merged_shards_are_read_to_their_end_and_their_child_too() {
    let settings = ["keys={kind = \"uniform\"}", "event=[{ at = \"1500ms\", merge_shards = \"coldest\" }]"];
    let record = load("500", "3s", &settings);
    let event = &at(&record, "load.events").as_array().unwrap()[0];
    assert_eq!(event["error"], Value::Null, "{event}");
    assert_eq!((event["shards"].as_array().unwrap().len(), event["opened"].as_array().unwrap().len()), (2, 1));
}

#[test]
fn shares_for_another_number_of_shards_are_refused_with_the_number_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = millrace();
    command.args(["load", "sensors", "--for", "1s", "--set", "stream.shards=3"]);
    command.args(["--set", "keys={kind = \"uniform\", shards = [0.5, 0.5]}"]);
    let output = command.arg("--out").arg(folder.path().join("run")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("3 open shards") && text.contains("write 3 shares"), "{text}");
}

#[test]
fn a_bad_line_in_a_file_of_keys_is_named_and_a_good_file_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.csv");
    std::fs::write(&path, "key,weight\nDane,3\nCook,much\n").unwrap();
    let keys = format!("keys={{kind = \"file\", path = \"{}\"}}", path.display());
    let mut command = millrace();
    command.args(["load", "sensors", "--for", "1s", "--set", &keys]);
    let output = command.arg("--out").arg(folder.path().join("run")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("line 3") && text.contains("the weight is \"much\""), "{text}");

    std::fs::write(&path, "key,weight\nDane,3\nCook,1\n").unwrap();
    let record = load("1000", "2s", &["load.arrival=constant", &keys]);
    let rows = at(&record, "load.skew.keys").as_array().unwrap();
    assert_eq!((rows[0]["key"].as_str(), rows[0]["asked"].as_f64(), rows.len()), (Some("Dane"), Some(0.75), 2));
    // 2,000 draws: a binomial's standard deviation is 0.0097.
    assert!((share(&rows[0], "got") - 0.75).abs() < 0.05, "{rows:?}");
}

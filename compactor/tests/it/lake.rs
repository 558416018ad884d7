//! What is found in a lake, and what becomes of each kind of record.

use std::{collections::BTreeMap, fs, time::Duration};

use millrace_compactor::{CompactError, Compactor, StoreError, store};
use millrace_reports::latency::{HopRecorder, LatencyLog};
use millrace_scenarios::{ColumnType, Hop, Keep, NewColumns, Reading, Table, stamp};

use crate::support::{NOW_US, World, column, gzip, reading, readings};

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_bad_piece_is_in_quarantine_with_place_and_bytes_and_every_good_row_in_the_table() {
    let world = World::new();
    let spec = readings(Keep::First, false);
    let good = |k: u64| reading(&format!("id{k}"), k, "Leeds");
    world.put_lines("a.gz", &[good(1), "not json".to_owned(), good(2), r#"{"id":7}"#.to_owned(), "[1]".to_owned()]);
    world.put("b.gz", b"\x1f is no gzip");
    world.put("b.json.gz", good(3).as_bytes());
    let text: String = (10..500).map(|k| good(k) + "\n").collect();
    let cut = gzip(text.as_bytes());
    world.put("c.gz", &cut[..cut.len() - 200]);
    world.put("d.json", format!("{}{}\n", good(4), good(5)).as_bytes());
    world.put("e.gz", b"");
    let mut damaged = gzip(good(6).as_bytes());
    let end = damaged.len();
    damaged[end - 5] ^= 0xff;
    world.put("f.gz", &damaged);

    let report = world.pass(&spec).await;
    let bad = world.quarantine();
    let places: Vec<_> =
        ["object", "line", "offset", "length", "reason", "column"].iter().map(|name| column(&bad, name)).collect();
    let mut rows: Vec<Vec<&str>> =
        (0..bad.len()).map(|row| places.iter().map(|values| values[row].as_str()).collect()).collect();
    rows.sort();
    let line1 = (good(1).len() + 1).to_string();
    let line4 = (good(1).len() + good(2).len() + 11).to_string();
    let line5 = (good(1).len() + good(2).len() + 20).to_string();
    let damaged_length = end.to_string();
    assert_eq!(rows[0], ["a.gz", "2", &line1, "8", "not_json", "-"]);
    assert_eq!(rows[1], ["a.gz", "4", &line4, "8", "wrong_type", "id"]);
    assert_eq!(rows[2], ["a.gz", "5", &line5, "3", "not_object", "-"]);
    assert_eq!(rows[3], ["b.gz", "1", "0", "12", "not_gzip", "-"]);
    assert_eq!((rows[4][0], rows[4][4]), ("c.gz", "truncated_gzip"));
    assert_eq!(rows[5], ["f.gz", "1", "0", &damaged_length, "corrupt_gzip", "-"]);
    assert_eq!(rows.len(), 6);
    let raw: BTreeMap<_, _> = column(&bad, "offset").into_iter().zip(column(&bad, "raw")).collect();
    assert_eq!(raw[&line1], "6e6f74206a736f6e", "the bytes, as hex");

    let salvaged = rows[4][1].parse::<u64>().unwrap() - 1;
    assert!(salvaged > 300 && salvaged < 490);
    assert_eq!(report.rows, 5 + salvaged);
    assert_eq!(world.rows().len() as u64, report.rows);
    assert_eq!(report.lines, report.rows + report.duplicates + report.quarantined_lines());
    assert_eq!(report.quarantined_lines(), 6);
    assert_eq!((report.objects, report.table_rows), (7, report.rows));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_new_records_objects_are_taken_and_a_second_pass_adds_nothing() {
    let world = World::new();
    let spec = readings(Keep::First, false);
    world.put_lines("location=Hull 3%2Fé/x y.gz", &[reading("a", 1, "Hull")]);
    world.put_lines("no-extension", &[reading("b", 2, "Hull")]);
    world.put_lines("errors/processing-failed/x.gz", &[reading("c", 3, "Hull")]);
    world.put_lines("_tmp/x.gz", &[reading("d", 4, "Hull")]);
    world.put_lines(".x.gz", &[reading("e", 5, "Hull")]);
    world.put("x.parquet", b"PAR1");
    let mut compactor = world.open(&spec).await;
    let first = compactor.pass(None).await.unwrap();
    assert_eq!((first.objects, first.rows, first.error_objects, first.skipped_objects), (2, 2, 1, 1));
    let version = first.version;
    for report in [compactor.pass(None).await.unwrap(), world.pass(&spec).await] {
        assert_eq!((report.commits, report.objects, report.rows, report.version), (0, 0, 0, version));
        assert_eq!(report.table_rows, 2);
    }
    assert_eq!(column(&world.rows(), "id"), ["a", "b"]);
    world.put_lines("no-extension-2", &[reading("f", 6, "Hull"), reading("a", 7, "Hull")]);
    let third = compactor.pass(None).await.unwrap();
    assert_eq!((third.objects, third.rows, third.duplicates), (1, 1, 1));
    let record = compactor.record();
    assert_eq!((record.passes, record.objects, record.rows, record.duplicates, record.table_rows), (2, 3, 3, 1, 3));
    let now = compactor.progress().now();
    assert_eq!((now.objects, now.found_objects, now.is_all_found), (3, 3, true));
    assert_eq!(
        (now.read_bytes, now.found_bytes, now.raw_bytes),
        (record.object_bytes, record.object_bytes, record.raw_bytes)
    );
    assert_eq!((now.lines, now.rows, now.duplicates, now.quarantined), (4, 3, 1, 0));
    assert_eq!(now.left(Duration::from_secs(9)), Some(Duration::ZERO));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_inside_the_lake_is_not_read_as_part_of_it() {
    let world = World::new();
    let spec = readings(Keep::First, false);
    world.put_lines("a.gz", &[reading("a", 1, "Hull")]);
    let lake = store::open(world.lake().to_str().unwrap(), false).await.unwrap();
    let table = store::open(world.lake().join("table").to_str().unwrap(), true).await.unwrap();
    let mut config = world.config(&spec).await;
    (config.lake, config.table) = (lake.clone(), table);
    let mut compactor = Compactor::open(config.clone()).await.unwrap();
    assert_eq!(compactor.pass(None).await.unwrap().rows, 1);
    assert_eq!(compactor.pass(None).await.unwrap().skipped_objects, 0);
    config.table = lake;
    assert!(Compactor::open(config).await.err().unwrap().is_configuration());
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_partition_values_come_back_and_are_found_again() {
    let world = World::new();
    let mut spec = readings(Keep::First, true);
    spec.dedup.as_mut().unwrap().key = vec!["city".to_owned()];
    let cities = ["St. Ives / é", "a b", "50%", "%2F", "x=y", "q?#&:", "", "São Paulo", "\u{1f600}", "a\"b'c"];
    let lines: Vec<_> = cities.iter().zip(0..).map(|(city, k)| reading(&format!("id{k}"), k, city)).collect();
    world.put_lines("a.gz", &lines);
    world.pass(&spec).await;
    world.put_lines("b.gz", &lines);
    let report = world.pass(&spec).await;
    assert_eq!((report.rows, report.duplicates, report.files_removed), (0, 10, 10));
    let rows = world.rows();
    let mut got = column(&rows, "city");
    got.sort();
    let mut want: Vec<_> = cities.iter().map(|c| if c.is_empty() { "-".to_owned() } else { (*c).to_owned() }).collect();
    want.sort();
    assert_eq!(got, want, "an empty text is null in a partition column");
    assert_eq!(column(&rows, "times"), vec!["2"; 10]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_is_inferred_once_and_kept_by_the_table() {
    let world = World::new();
    let read = Reading { new_columns: NewColumns::Ignore, ..Reading::default() };
    let spec = Table { read, ..Table::default() };
    let mut compactor = world.open(&spec).await;
    assert_eq!(compactor.pass(None).await.unwrap().version, None, "an empty lake tells nothing");
    assert!(compactor.schema().is_none());
    world.put_lines(
        "a.gz",
        &[
            r#"{"n":1,"when":"2025-01-01T00:00:00Z","mixed":1,"nested":{"x":[1]}}"#,
            r#"{"n":2.5,"when":null,"mixed":"a","nested":null}"#,
        ],
    );
    assert_eq!(compactor.pass(None).await.unwrap().rows, 2);
    // What comes later is measured by the schema that was found, also by another process.
    world.put_lines("b.gz", &[r#"{"n":3,"mixed":true,"new":1}"#, r#"{"n":"three"}"#, r#"{"when":"2025-01-02"}"#]);
    let report = world.pass(&spec).await;
    assert_eq!((report.rows, report.quarantined_lines(), report.unknown["new"]), (2, 1, 1));
    let rows = world.rows();
    let mut mixed = column(&rows, "mixed");
    mixed.sort();
    assert_eq!(mixed, ["-", "1", "a", "true"]);
    assert!(column(&rows, "nested").contains(&r#"{"x":[1]}"#.to_owned()));
    assert!(column(&rows, "when").contains(&"2025-01-02T00:00:00Z".to_owned()), "{:?}", column(&rows, "when"));
    let mut declared = spec.clone();
    declared.columns.insert("n".to_owned(), ColumnType::Integer);
    let error = Compactor::open(world.config(&declared).await).await.err().unwrap();
    assert!(matches!(error, CompactError::OtherSchema { .. }) && error.is_configuration(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_every_row_is_kept() {
    let world = World::new();
    let mut spec = readings(Keep::First, false);
    spec.dedup = None;
    world.put_lines("a.gz", &[reading("a", 1, "Hull"), reading("a", 1, "Hull")]);
    world.put_lines("b.gz", &[reading("a", 1, "Hull")]);
    let report = world.pass(&spec).await;
    assert_eq!((report.rows, report.duplicates, report.files_added), (3, 0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stamped_record_is_timed_to_its_commit_also_when_it_is_a_duplicate() {
    let world = World::new();
    let mut spec = readings(Keep::First, false);
    spec.columns.insert(stamp::DUE_FIELD.to_owned(), ColumnType::Integer);
    let due = |id: &str, us: u64| format!(r#"{{"id":"{id}","seq":1,"{}":{us}}}"#, stamp::DUE_FIELD);
    world.put_lines("a.gz", &[due("a", NOW_US - 5_000_000), due("a", NOW_US - 7_000_000), r#"{"id":"b"}"#.to_owned()]);
    let mut recorder =
        HopRecorder::new(Hop::Committed, LatencyLog::discard(NOW_US - 10_000_000), Duration::from_secs(1));
    world.open(&spec).await.pass(Some(&mut recorder)).await.unwrap();
    let latency = recorder.finish().unwrap();
    assert_eq!((latency.count, latency.negative), (2, 0));
    let near = |got: u64, want: u64| got.abs_diff(want) <= want / 1_000;
    assert!(near(latency.min_us, 5_000_000) && near(latency.max_us, 7_000_000), "{latency:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lake_and_table_can_move_together() {
    let world = World::new();
    let spec = readings(Keep::First, false);
    world.put_lines("a.gz", &[reading("a", 1, "Hull")]);
    world.pass(&spec).await;
    let moved = World { home: tempfile::tempdir().unwrap() };
    fs::rename(world.lake(), moved.lake()).unwrap();
    fs::rename(world.table(), moved.table()).unwrap();
    assert_eq!(moved.pass(&spec).await.objects, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_that_is_not_there_is_a_configuration_error() {
    let error = store::open("/nowhere/at/all", false).await.unwrap_err();
    assert!(matches!(error, StoreError::NoFolder { .. }));
    assert!(CompactError::from(error).is_configuration());
}

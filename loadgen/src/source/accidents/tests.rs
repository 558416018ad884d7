//! Whole files in, rows and rejects out.

use std::{collections::BTreeMap, fs, path::Path};

use chrono::NaiveDateTime;
use proptest::prelude::*;
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::source::field;

const HEADER: &str = "ID,Severity,Start_Time,Start_Lat,City,Bump";

/// What one pass over a file gave.
struct Drained {
    rows: Vec<Value>,
    rejects: Vec<Value>,
    counted: u64,
}

impl Drained {
    fn ids(&self) -> Vec<&str> {
        self.rows.iter().map(|row| row["ID"].as_str().unwrap()).collect()
    }

    fn reasons(&self) -> Vec<(u64, &str, Option<&str>)> {
        let place = |r: &Value| r["line"].as_u64().unwrap();
        self.rejects.iter().map(|r| (place(r), r["reason"].as_str().unwrap(), r["column"].as_str())).collect()
    }
}

fn read_rejects(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("rejects.ndjson")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn drain_file(path: &Path) -> Drained {
    let folder = tempfile::tempdir().unwrap();
    let mut source = AccidentRows::open(path, folder.path()).unwrap();
    let mut rows = Vec::new();
    while let Some(json) = source.next_row().unwrap() {
        rows.push(serde_json::from_slice(&json).unwrap());
    }
    source.finish().unwrap();
    Drained { rows, rejects: read_rejects(folder.path()), counted: source.rejected() }
}

fn write(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("accidents.csv");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn drain(bytes: &[u8]) -> Drained {
    let (_folder, path) = write(bytes);
    drain_file(&path)
}

fn row(id: u64) -> String {
    format!("A-{id},2,2016-02-08 05:46:00,39.5,Dayton,False")
}

fn file(rows: &[String]) -> Vec<u8> {
    format!("{HEADER}\n{}\n", rows.join("\n")).into_bytes()
}

fn open_error(bytes: &[u8]) -> SourceError {
    let (folder, path) = write(bytes);
    AccidentRows::open(&path, folder.path()).err().unwrap()
}

#[test]
fn a_row_becomes_typed_json_in_the_order_of_the_header() {
    let (folder, path) = write(&file(&["A-1,3,2/8/2016 5:46,39.865147,\"Day,\"\"ton\"\"\",TRUE".to_owned()]));
    let mut rows = AccidentRows::open(&path, folder.path()).unwrap();
    let expected = r#"{"ID":"A-1","Severity":3,"Start_Time":"2016-02-08T05:46:00","Start_Lat":39.865147,"City":"Day,\"ton\"","Bump":true}"#;
    assert_eq!(String::from_utf8(rows.next_row().unwrap().unwrap()).unwrap(), expected);
    assert_eq!(rows.next_row().unwrap(), None);
}

#[test]
fn a_byte_order_mark_and_carriage_returns_leave_no_trace() {
    let found = drain(format!("\u{feff}{HEADER}\r\n{}\r\n", row(1)).as_bytes());
    assert_eq!(found.rows[0]["Bump"], Value::Bool(false));
    assert_eq!(found.ids(), ["A-1"]);
    assert_eq!(found.counted, 0);
}

#[test]
fn rows_that_cannot_be_read_are_kept_with_line_reason_and_column() {
    let mut bytes = file(&[
        row(1),
        "A-2,2,2016-02-08 05:46:00,39.5,Dayton".to_owned(),
        "A-3,high,2016-02-08 05:46:00,39.5,Dayton,False".to_owned(),
        "A-4,2,yesterday,39.5,Dayton,False".to_owned(),
        "A-5,2,2016-02-08 05:46:00,north,Dayton,False".to_owned(),
        "A-6,2,2016-02-08 05:46:00,39.5,Dayton,maybe".to_owned(),
        ",2,2016-02-08 05:46:00,39.5,Dayton,False".to_owned(),
        "A-8,2,2016-02-08 05:46:00,39.5,\"Dayton,False".to_owned(),
        "A-9,2,2016-02-08 05:46:00,39.5,\"Day\"ton,False".to_owned(),
        row(10),
    ]);
    bytes.extend_from_slice(b"A-11,2,2016-02-08 05:46:00,39.5,Day\xffton,False\n");
    bytes.extend_from_slice(b"A-12,2,2016-02-08 05:46:00,39");
    let found = drain(&bytes);
    assert_eq!(found.ids(), ["A-1", "A-10"]);
    assert_eq!(
        found.reasons(),
        [
            (3, "field_count", None),
            (4, "bad_integer", Some("Severity")),
            (5, "bad_timestamp", Some("Start_Time")),
            (6, "bad_number", Some("Start_Lat")),
            (7, "bad_boolean", Some("Bump")),
            (8, "empty_id", Some("ID")),
            (9, "unclosed_quote", None),
            (10, "stray_quote", None),
            (12, "not_utf8", Some("City")),
            (13, "cut_record", None),
        ]
    );
    assert_eq!(found.counted, 10);
    for reject in &found.rejects {
        let at = reject["byte"].as_u64().unwrap() as usize;
        let raw = reject["raw"].as_str().unwrap();
        assert!(String::from_utf8_lossy(&bytes[at..]).starts_with(raw), "{reject}");
    }
}

#[test]
fn a_file_cut_inside_its_last_quoted_field_loses_that_row_only() {
    let whole = file(&[row(1), row(2), "A-3,2,2016-02-08 05:46:00,39.5,\"Dayton, OH\",False".to_owned()]);
    let cut = whole.len() - "OH\",False\n".len();
    let found = drain(&whole[..cut]);
    assert_eq!(found.ids(), ["A-1", "A-2"]);
    assert_eq!(found.reasons(), [(4, "cut_record", None)]);
}

#[test]
fn a_last_row_without_a_line_end_is_a_row() {
    assert_eq!(drain(format!("{HEADER}\n{}", row(1)).as_bytes()).ids(), ["A-1"]);
}

#[test]
fn the_raw_text_of_an_absurd_row_is_cut_short() {
    let found = drain(&file(&[format!("A-1,2,{}", "x".repeat(3 << 20)), row(2)]));
    assert_eq!(found.ids(), ["A-2"]);
    assert_eq!(found.reasons(), [(2, "too_long", None)]);
    assert_eq!(found.rejects[0]["raw"].as_str().unwrap().len(), 4 << 10);
}

#[test]
fn files_that_are_no_accident_files_are_configuration_errors_that_say_so() {
    for (bytes, says) in [
        (&b""[..], "the file has no header; expected a US-Accidents CSV whose first column is ID"),
        (b"\xef\xbb\xbf\r\n\n", "the file has no header"),
        (b"Id;Name\n1;2\n", "the first column is \"Id;Name\"; expected a US-Accidents CSV whose first column is ID"),
        (b"ID,City,City\n", "the column \"City\" appears twice"),
        (b"ID,millrace_seq\n", "the column \"millrace_seq\" has the name of a field that Millrace adds"),
        (b"ID,\"City\n", "the header cannot be read (unclosed_quote)"),
        (b"ID,Ci\xffty\n", "the header cannot be read (not_utf8)"),
    ] {
        let error = open_error(bytes);
        assert!(error.to_string().contains(says), "{error}");
        assert!(error.to_string().contains("accidents.csv: "), "{error}");
        assert!(error.is_configuration());
    }
}

#[test]
fn an_output_that_cannot_be_written_is_an_environment_error_with_its_path() {
    let (_folder, path) = write(&file(&[row(1)]));
    let error = AccidentRows::open(&path, Path::new("/nonexistent/run")).err().unwrap();
    assert!(error.to_string().starts_with("/nonexistent/run/rejects.ndjson: "), "{error}");
    assert!(!error.is_configuration());
}

#[test]
fn a_loop_repeats_the_same_bytes_and_counts_rejects_once() {
    let (folder, path) = write(&file(&[row(1), "A-2,bad".to_owned(), row(3)]));
    let mut source = Accidents::open(&path, AtEnd::Loop, folder.path()).unwrap();
    let taken: Vec<Payload> = (0..6).map(|_| source.next().unwrap().unwrap()).collect();
    assert_eq!(taken[..2], taken[2..4]);
    assert_eq!(taken[..2], taken[4..]);
    assert!(taken[0].txn_timestamp);
    assert_eq!(source.rejected_rows(), 1);
    source.finish().unwrap();
    assert_eq!(read_rejects(folder.path()).len(), 1);
}

#[test]
fn a_stop_ends_with_the_file() {
    let (folder, path) = write(&file(&[row(1)]));
    let mut source = Accidents::open(&path, AtEnd::Stop, folder.path()).unwrap();
    assert!(source.next().unwrap().is_some());
    assert!(source.next().unwrap().is_none());
    assert!(source.next().unwrap().is_none());
}

#[test]
fn a_loop_over_a_file_without_one_readable_row_ends_with_an_error() {
    for rows in [&["A-1,bad".to_owned(), "A-2,bad".to_owned()][..], &[]] {
        let (folder, path) = write(&file(rows));
        let error = Accidents::open(&path, AtEnd::Loop, folder.path()).unwrap().next().err().unwrap();
        assert!(matches!(error, SourceError::NoUsableRow { rejected, .. } if rejected == rows.len() as u64), "{error}");
        assert!(error.is_configuration());
    }
}

/// The real files, where they are at hand.
fn real_file(name: &str) -> Option<PathBuf> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/us-accidents")).join(name);
    if !path.exists() {
        println!("skipped: {} is not on this machine", path.display());
    }
    path.exists().then_some(path)
}

#[test]
fn every_row_of_the_real_files_is_emitted_or_rejected() {
    for (name, rows, columns) in
        [("march23-10k.csv", 10_000, 46), ("may19-10k.csv", 10_000, 47), ("dec20-tutorial-99.csv", 99, 47)]
    {
        let Some(path) = real_file(name) else { continue };
        let found = drain_file(&path);
        let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
        for (_, reason, _) in found.reasons() {
            *reasons.entry(reason).or_default() += 1;
        }
        println!("{name}: {} emitted, {} rejected {reasons:?}", found.rows.len(), found.counted);
        assert_eq!(found.rows.len() as u64 + found.counted, rows, "{name}");
        assert_eq!(found.counted, 0, "{name}: {reasons:?}");
        assert!(found.rows.iter().all(|row| row.as_object().unwrap().len() == columns));
    }
}

/// A time cell as chrono reads it: the oracle for the shapes in the real files.
fn chrono_reads(cell: &str) -> Option<NaiveDateTime> {
    ["%Y-%m-%d %H:%M:%S%.f", "%m/%d/%Y %H:%M"].iter().find_map(|shape| NaiveDateTime::parse_from_str(cell, shape).ok())
}

/// An independent reading of the same cells: `csv` alone, numbers as written, times through chrono.
#[test]
fn the_real_cells_keep_their_values() {
    for name in ["march23-10k.csv", "may19-10k.csv", "dec20-tutorial-99.csv"] {
        let Some(path) = real_file(name) else { continue };
        let folder = tempfile::tempdir().unwrap();
        let mut rows = AccidentRows::open(&path, folder.path()).unwrap();
        let mut reader = csv::Reader::from_path(&path).unwrap();
        let header = reader.headers().unwrap().clone();
        for record in reader.records() {
            let json = rows.next_row().unwrap().unwrap();
            for (column, cell) in header.iter().zip(&record.unwrap()) {
                let value = field(&json, column);
                let agrees = match (&value, column) {
                    (None, _) => cell.is_empty(),
                    (Some(text), "Start_Time" | "End_Time" | "Weather_Timestamp") => {
                        chrono_reads(cell).is_some() && text.parse().ok() == chrono_reads(cell)
                    }
                    (Some(text), _) if matches!(&**text, "true" | "false") => text.eq_ignore_ascii_case(cell),
                    (Some(text), _) => text == cell,
                };
                assert!(agrees, "{name}: {column} {cell:?} became {value:?}");
            }
        }
        assert_eq!(rows.next_row().unwrap(), None);
    }
}

#[test]
fn every_timestamp_shape_of_the_synthetic_file_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = crate::source::synthetic::generate(2_000, 42, folder.path()).unwrap();
    let found = drain_file(&path);
    assert_eq!((found.rows.len(), found.counted), (2_000, 0));
    assert!(found.rows.iter().all(|row| row.as_object().unwrap().len() == 46));
}

proptest! {
    /// Damage to one row never costs another one, whatever quotes the others contain.
    #[test]
    fn one_damaged_row_never_costs_another(
        cities in proptest::collection::vec("[a-z\", ]{0,8}|[a-z]{0,3}\n[a-z]{0,3}", 2..12),
        damaged: prop::sample::Index, place: prop::sample::Index, damage in "[\",\n]|,\"|\",|\"\"\""
    ) {
        let mut rows: Vec<String> = cities.iter().enumerate().map(|(id, city)| {
            format!("A-{id},2,2016-02-08 05:46:00,39.5,\"{}\",False", city.replace('"', "\"\""))
        }).collect();
        let damaged = damaged.index(rows.len());
        let at = place.index(rows[damaged].len() + 1);
        rows[damaged].insert_str(at, &damage);
        let found = drain(&file(&rows));
        for id in (0..rows.len()).filter(|id| *id != damaged) {
            prop_assert!(found.ids().contains(&format!("A-{id}").as_str()), "A-{} lost: {:?}", id, rows);
        }
    }
}

#[test]
fn workers_share_the_rows_and_the_rejects_of_a_file_between_them() {
    // Rejects before the first row, between rows and after the last one; two passes and a bit.
    let mut rows: Vec<String> = (1..=7).map(row).collect();
    for place in [7, 4, 4, 0] {
        rows.insert(place, "A-bad,2".to_owned());
    }
    let (_folder, path) = write(&file(&rows));
    let of = |slice: crate::slice::Slice| {
        let folder = tempfile::tempdir().unwrap();
        let mut source = Accidents::open(&path, AtEnd::Loop, folder.path()).unwrap();
        let taken: Vec<_> = (0..17_u64)
            .filter_map(|k| slice.place(k).map(|place| (k, place)))
            .map(|(k, place)| {
                source.skip(slice.gap_before(place)).unwrap();
                (k, source.next().unwrap().unwrap().json)
            })
            .collect();
        source.finish().unwrap();
        (taken, read_rejects(folder.path()).len(), source.rejected_rows())
    };
    let (alone, written, counted) = of(crate::slice::Slice::default());
    assert_eq!((written, counted), (4, 4));
    let parts: Vec<_> = (0..3).map(|index| of(crate::slice::Slice::new(index, 3).unwrap())).collect();
    assert_eq!(parts.iter().map(|(_, written, _)| written).sum::<usize>(), 4);
    assert_eq!(parts.iter().map(|(_, _, counted)| counted).sum::<u64>(), 4);
    let mut together: Vec<_> = parts.into_iter().flat_map(|(taken, _, _)| taken).collect();
    together.sort();
    assert_eq!(together, alone);
}

#[test]
fn skipping_past_the_end_of_a_file_ends_the_source() {
    let (_folder, path) = write(&file(&[row(1), row(2)]));
    let folder = tempfile::tempdir().unwrap();
    let mut source = Accidents::open(&path, AtEnd::Stop, folder.path()).unwrap();
    source.skip(5).unwrap();
    assert_eq!(source.next().unwrap(), None);
}

//! Decoding against hand-made objects with known places, and the grammar against `serde_json`.

use std::io::Write;

use arrow::{
    array::{Array, AsArray},
    datatypes::{Float64Type, Int64Type, TimestampMicrosecondType},
};
use flate2::{Compression, write::GzEncoder};
use millrace_scenarios::{ColumnType, Reading, Table, TimeShape};
use proptest::prelude::*;

use super::*;

mod repeats;

fn schema() -> Arc<TableSchema> {
    schema_of(Reading { new_columns: NewColumns::Ignore, ..Reading::default() })
}

fn schema_of(read: Reading) -> Arc<TableSchema> {
    let columns = [
        ("b", ColumnType::Boolean),
        ("i", ColumnType::Integer),
        ("n", ColumnType::Number),
        ("s", ColumnType::String),
        ("t", ColumnType::Timestamp),
    ];
    let columns = columns.into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect();
    Arc::new(TableSchema::declared(&Table { columns, read, ..Table::default() }).unwrap().unwrap())
}

#[derive(Debug, Default)]
struct Read {
    /// Line, offset, i, s of each row.
    rows: Vec<(u64, u64, Option<i64>, Option<String>)>,
    bad: Vec<BadLine>,
    report: ObjectReport,
}

impl Read {
    fn i(&self) -> Vec<Option<i64>> {
        self.rows.iter().map(|row| row.2).collect()
    }

    fn bad_places(&self) -> Vec<(&str, u64, u64, u64)> {
        self.bad.iter().map(|b| (b.reason.name(), b.line, b.offset, b.length)).collect()
    }
}

fn read(bytes: impl AsRef<[u8]>, object: &str) -> Read {
    let mut read = Read::default();
    let mut decoder = Decoder::new(schema());
    let mut rows = Vec::new();
    let mut bad = Vec::new();
    read.report = decoder
        .decode_object(Bytes::copy_from_slice(bytes.as_ref()), object, &mut |chunk| {
            let i = chunk.batch.column_by_name("i").unwrap().as_primitive::<Int64Type>().clone();
            let s = chunk.batch.column_by_name("s").unwrap().as_string::<i32>().clone();
            for row in 0..chunk.batch.num_rows() {
                let i = i.is_valid(row).then(|| i.value(row));
                let s = s.is_valid(row).then(|| s.value(row).to_owned());
                rows.push((chunk.lines[row], chunk.offsets[row], i, s));
            }
            bad.extend(chunk.bad);
            Ok(())
        })
        .unwrap();
    (read.rows, read.bad) = (rows, bad);
    if read.report.corrupt.is_none() {
        assert_eq!(read.report.rows, read.rows.len() as u64);
        assert_eq!(read.report.bad, read.bad.len() as u64);
        assert_eq!(read.report.lines, read.report.rows + read.report.bad);
    }
    read
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn every_form_firehose_writes_is_read_with_its_places() {
    let text = "\u{feff}{\"i\":1}\r\n\r\n  {\"i\":2}{\"i\":3} {\"i\":4}\n{\n  \"i\": 5,\n  \"s\": \"x\"\n}\n{\"i\":6}";
    for bytes in [text.as_bytes().to_vec(), gzip(text.as_bytes())] {
        let got = read(&bytes, "o");
        assert_eq!(got.bad, []);
        let places: Vec<_> = got.rows.iter().map(|row| (row.0, row.1, row.2)).collect();
        let offset = |pattern: &str| text.find(pattern).unwrap() as u64;
        assert_eq!(
            places,
            [
                (1, 3, Some(1)),
                (3, offset("{\"i\":2"), Some(2)),
                (3, offset("{\"i\":3"), Some(3)),
                (3, offset("{\"i\":4"), Some(4)),
                (4, offset("{\n"), Some(5)),
                (8, offset("{\"i\":6"), Some(6)),
            ]
        );
        assert_eq!(got.report.raw_bytes, text.len() as u64);
    }
}

#[test]
fn values_come_back_exactly() {
    let text = r#"{"b":true,"i":-9223372036854775808,"n":0.1,"s":"a\"\u00e9\ud83d\ude00\n/","t":"2024-02-29T23:59:59.123456Z"}
{"b":false,"i":3.0,"n":5e-324,"s":"","t":"2024-02-29 23:59:59+01:00"}
{"b":null,"i":1e3,"n":9007199254740993,"s":"é","t":"2024-02-29"}
{"t":"2025-01-01T00:15"}"#;
    let mut decoder = Decoder::new(schema());
    let mut chunks = Vec::new();
    let report = decoder
        .decode_object(Bytes::from(text), "o", &mut |chunk| {
            chunks.push(chunk);
            Ok(())
        })
        .unwrap();
    assert_eq!((report.rows, report.bad), (4, 0), "{:?}", chunks[0].bad);
    let batch = &chunks[0].batch;
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let i: Vec<_> = column("i").as_primitive::<Int64Type>().iter().collect();
    assert_eq!(i, [Some(i64::MIN), Some(3), Some(1_000), None]);
    let n: Vec<_> = column("n").as_primitive::<Float64Type>().iter().collect();
    assert_eq!(n, [Some(0.1), Some(5e-324), Some(9_007_199_254_740_992.0), None]);
    let s: Vec<_> = column("s").as_string::<i32>().iter().collect();
    assert_eq!(s, [Some("a\"é😀\n/"), Some(""), Some("é"), None]);
    let b: Vec<_> = column("b").as_boolean().iter().collect();
    assert_eq!(b, [Some(true), Some(false), None, None]);
    let t: Vec<_> = column("t").as_primitive::<TimestampMicrosecondType>().iter().collect();
    let day = 1_709_164_800_000_000;
    assert_eq!(t, [Some(day + 86_399_123_456), Some(day + 82_799_000_000), Some(day), Some(1_735_690_500_000_000)]);
}

#[test]
fn each_bad_line_is_named_with_its_place_and_costs_no_other() {
    let lines = [
        r#"{"i":1}"#,
        r#"{"i":1"#,
        "not json",
        r#"{"i":"one"}"#,
        "[1,2]",
        r#"{"i":2} tail"#,
        r#"{"i":9223372036854775808}"#,
        r#"{"s":7}"#,
        r#"{"t":"yesterday"}"#,
        r#"{"i":1.5}"#,
        r#"{"i":2}"#,
    ];
    let text = lines.join("\n");
    let got = read(&text, "o.json");
    assert_eq!(got.i(), [Some(1), Some(2)]);
    let start = |line: usize| lines[..line].iter().map(|l| l.len() as u64 + 1).sum::<u64>();
    let want: Vec<_> = [
        ("not_json", 1),
        ("not_json", 2),
        ("wrong_type", 3),
        ("not_object", 4),
        ("not_json", 5),
        ("wrong_type", 6),
        ("wrong_type", 7),
        ("wrong_type", 8),
        ("wrong_type", 9),
    ]
    .map(|(reason, line)| (reason, line as u64 + 1, start(line), lines[line].len() as u64))
    .to_vec();
    assert_eq!(got.bad_places(), want);
    for (bad, (_, line, ..)) in got.bad.iter().zip(want) {
        assert_eq!(bad.raw, lines[line as usize - 1].as_bytes());
        assert_eq!(bad.object, "o.json");
    }
    let columns: Vec<_> = got.bad.iter().filter_map(|bad| bad.reason.column()).collect();
    assert_eq!(columns, ["i", "i", "s", "t", "i"]);
}

#[test]
fn a_broken_record_ends_where_the_next_can_start() {
    // A record whose line breaks off swallows neither the next line nor the one after it.
    let got = read("{\"i\":\n{\"i\":2}\n{\"i\":3}\n", "o");
    assert_eq!(got.i(), [Some(2), Some(3)]);
    assert_eq!(got.bad_places(), [("not_json", 1, 0, 5)]);
    // A broken record over several lines is one piece.
    let got = read("{\n  \"i\": 1,\n  \"s\": oops\n}\n{\"i\":3}\n", "o");
    assert_eq!(got.i(), [Some(3)]);
    assert_eq!(got.bad_places(), [("not_json", 1, 0, 25)]);
    // A record of the wrong type over several lines, too; and what follows it on its line is read.
    let got = read("{\n\"i\": \"x\"\n}{\"i\":3}\n", "o");
    assert_eq!(got.i(), [Some(3)]);
    assert_eq!(got.bad_places(), [("wrong_type", 1, 0, 12)]);
    assert_eq!(got.rows[0].0, 3);
}

/// Every case: the text, the records that are kept, and the pieces that are not.
#[test]
fn a_bad_record_among_others_without_newlines_costs_none_of_them() {
    let cases: [(&str, &[i64], &[&str]); 16] = [
        (r#"{"i":1}{"i":oops}{"i":2}{"i":3}"#, &[1, 2, 3], &[r#"{"i":oops}"#]),
        (r#"{"i":1}{"i":2,"s":"open}{"i":3}"#, &[1, 3], &[r#"{"i":2,"s":"open}"#]),
        (r#"{"i":1}{"i":2,"x":{"y":1}{"i":3}{"i":4}"#, &[1, 3, 4], &[r#"{"i":2,"x":{"y":1}"#]),
        (r#"{"i":1{"i":2}{"i":3}"#, &[2, 3], &[r#"{"i":1"#]),
        (r#"xx{"i":1}yy{"i":2}"#, &[1, 2], &["xx", "yy"]),
        ("{\"i\":1}\0\0{\"i\":2}\0", &[1, 2], &["\0\0", "\0"]),
        (r#"{"i":1}}{"i":2}"#, &[2], &[r#"{"i":1}}"#]),
        (r#"{"i":1},"s":"a"}{"i":2}"#, &[2], &[r#"{"i":1},"s":"a"}"#]),
        (r#"{"i":1}{"i":"no"}{"i":2}"#, &[1, 2], &[r#"{"i":"no"}"#]),
        // What is inside a broken record is no record, at its end either.
        (r#"{"i":1,"x":{"i":2}"#, &[], &[r#"{"i":1,"x":{"i":2}"#]),
        (r#"{"i":1,oops,"x":[{"i":2},{"i":3}]}{"i":4}"#, &[4], &[r#"{"i":1,oops,"x":[{"i":2},{"i":3}]}"#]),
        (r#"{"i":1,"s":"a {} b}{} c"#, &[], &[r#"{"i":1,"s":"a {} b}{} c"#]),
        (r#"[{"i":1},{"i":2}]"#, &[], &[r#"[{"i":1},{"i":2}]"#]),
        // Over several lines, as a real object of Firehose has it.
        ("{\n \"i\":1\n}{\n \"i\":x\n}{\n \"i\":2\n}{\n \"i\":3\n}", &[1, 2, 3], &["{\n \"i\":x\n}"]),
        // Two bad ones in a row are one piece, as nothing tells them apart.
        (r#"{"i":1}{"i":?}{"i":!}{"i":2}"#, &[1, 2], &[r#"{"i":?}{"i":!}"#]),
        ("\u{feff}{\"i\":1}\u{feff}{\"i\":2}\n\u{feff}{\"i\":3}", &[1, 2, 3], &[]),
    ];
    for (text, good, bad) in cases {
        for bytes in [text.as_bytes().to_vec(), gzip(text.as_bytes())] {
            let got = read(&bytes, "o");
            assert_eq!(got.i().into_iter().flatten().collect::<Vec<_>>(), good, "{text}");
            let pieces: Vec<_> = got.bad.iter().map(|b| String::from_utf8(b.raw.clone()).unwrap()).collect();
            assert_eq!(pieces, bad, "{text}");
            for piece in &got.bad {
                assert_eq!(&text.as_bytes()[piece.offset as usize..][..piece.length as usize], piece.raw);
                assert_eq!(piece.line as usize, 1 + text[..piece.offset as usize].matches('\n').count());
            }
        }
    }
}

#[test]
fn neighbours_of_a_bad_record_are_found_across_reads() {
    // Bad records of every length around the size of a read, so that braces and ends fall on both sides of its border.
    let mut text = String::new();
    for k in 0..400 {
        text += &format!("{{\"i\":{k}}}{{\"i\":?,\"s\":\"{}\"}}", "x".repeat(k * 41 % 9_001));
    }
    assert!(text.len() > 3 * READ_BYTES);
    let got = read(gzip(text.as_bytes()), "o");
    assert_eq!(got.i(), (0..400).map(Some).collect::<Vec<_>>());
    assert_eq!(got.bad.len(), 400);
}

#[test]
fn bad_pieces_name_their_gzip_member() {
    let mut bytes = gzip(b"{\"i\":1}\n");
    bytes.extend(gzip(b""));
    bytes.extend(gzip(b"oops\n{\"i\":2}\n{\"i\""));
    bytes.extend(gzip(b":?}\n[]\n"));
    let got = read(&bytes, "o");
    assert_eq!(got.i(), [Some(1), Some(2)]);
    let members: Vec<_> = got.bad.iter().map(|b| (b.reason.name(), b.member)).collect();
    assert_eq!(members, [("not_json", 3), ("not_json", 3), ("not_object", 4)]);
    assert_eq!(read(b"oops", "o").bad[0].member, 0);
    let mut garbage = gzip(b"");
    garbage.extend(b"garbage");
    assert_eq!(read(&garbage, "o").bad[0].member, 0);
}

#[test]
fn what_is_not_utf8_is_refused_wherever_it_stands() {
    for bytes in [&b"{\"s\":\"\xff\"}\n"[..], b"{\"x\":\"\xff\"}\n", b"\xff\xfe{\x00\n", b"{\"s\":\"\xff\n"] {
        let got = read(bytes, "o");
        assert_eq!(got.rows, []);
        assert_eq!(got.bad.iter().map(|b| b.reason.name()).collect::<Vec<_>>(), ["not_utf8"], "{bytes:?}");
        assert_eq!(got.bad[0].raw, bytes[..bytes.len() - 1]);
    }
}

#[test]
fn a_cut_gzip_keeps_whole_records_and_quarantines_the_rest() {
    let text: String = (0..5_000).map(|k| format!("{{\"i\":{k},\"s\":\"{:x}\"}}\n", k * 7_919 % 65_537)).collect();
    let whole = gzip(text.as_bytes());
    let half = read(&whole[..whole.len() / 2], "o.gz");
    let good = half.rows.len();
    assert!(good > 1_000 && good < 4_999, "{good}");
    assert_eq!(half.i(), (0..good as i64).map(Some).collect::<Vec<_>>());
    assert_eq!(half.bad.len(), 1);
    let tail = &half.bad[0];
    assert_eq!((tail.reason.name(), tail.line), ("truncated_gzip", good as u64 + 1));
    let start = text.lines().take(good).map(|l| l.len() + 1).sum::<usize>();
    assert_eq!(tail.offset, start as u64);
    assert_eq!(tail.raw, text.as_bytes()[start..half.report.raw_bytes as usize]);
    // Cut in the checksum: every record is there, and it is still said that the end is missing.
    let end = read(&whole[..whole.len() - 3], "o.gz");
    assert_eq!(end.rows.len(), 5_000);
    assert_eq!(end.bad_places(), [("truncated_gzip", 5_001, text.len() as u64, 0)]);
    // Cut in the header.
    assert_eq!(read(&whole[..5], "o.gz").bad_places(), [("truncated_gzip", 1, 0, 0)]);
}

#[test]
fn a_damaged_gzip_gives_no_row() {
    let text: String = (0..1_000).map(|k| format!("{{\"i\":{k}}}\n")).collect();
    let mut bytes = gzip(text.as_bytes());
    let end = bytes.len();
    bytes[end - 6] ^= 1;
    let got = read(&bytes, "o.gz");
    let corrupt = got.report.corrupt.unwrap();
    assert_eq!((corrupt.reason.name(), corrupt.length), ("corrupt_gzip", end as u64));
    assert_eq!((got.report.lines, got.report.rows, got.report.bad), (1, 0, 1));
    assert_eq!(corrupt.raw, bytes);
}

#[test]
fn a_decoder_is_clean_after_a_damaged_object() {
    let mut bytes = gzip(b"{\"i\":1,\"x\":1}\n");
    let end = bytes.len();
    bytes[end - 6] ^= 1;
    let mut decoder = Decoder::new(schema());
    decoder.decode_object(Bytes::from(bytes), "a.gz", &mut |_| Ok(())).unwrap();
    let mut rows = 0;
    let report = decoder
        .decode_object(Bytes::from_static(b"{\"i\":2}"), "b", &mut |chunk| {
            rows += chunk.batch.num_rows();
            Ok(())
        })
        .unwrap();
    assert_eq!((rows, report.rows, report.unknown.len()), (1, 1, 0));
}

#[test]
fn what_is_named_gz_and_is_not_is_read_when_it_is_text_and_kept_whole_when_not() {
    assert_eq!(read(b"{\"i\":1}\n{\"i\":2}\n", "o.gz").i(), [Some(1), Some(2)]);
    assert_eq!(read(b"\xef\xbb\xbf\n{\"i\":1}", "o.gz").i(), [Some(1)]);
    let got = read(b"\x1f\x00{\"i\":1}\n{\"i\":2}\n", "o.gz");
    assert_eq!(got.bad_places(), [("not_gzip", 1, 0, 18)]);
    assert_eq!(got.bad[0].raw, b"\x1f\x00{\"i\":1}\n{\"i\":2}\n");
    let big = vec![b'x'; RAW_LIMIT + 10];
    let got = read(&big, "o.gz");
    assert_eq!((got.bad[0].length, got.bad[0].raw.len()), (RAW_LIMIT as u64 + 10, RAW_LIMIT));
    let mut padded = gzip(b"{\"i\":1}\n");
    let end = padded.len() as u64;
    padded.extend_from_slice(b"garbage");
    let got = read(&padded, "o.gz");
    assert_eq!(got.i(), [Some(1)]);
    assert_eq!(got.bad_places(), [("not_gzip", 2, end, 7)]);
}

#[test]
fn members_of_a_gzip_follow_each_other_even_inside_a_record() {
    let mut bytes = gzip(b"{\"i\":1}\n{\"i\"");
    bytes.extend(gzip(b":2}\n"));
    bytes.extend(gzip(b""));
    bytes.extend(gzip(b"{\"i\":3}"));
    assert_eq!(read(&bytes, "o.gz").i(), [Some(1), Some(2), Some(3)]);
}

#[test]
fn nothing_is_no_line() {
    for bytes in [Vec::new(), b"\n\r\n  ".to_vec(), gzip(b"")] {
        assert_eq!(read(&bytes, "o.gz.json").report.lines, 0);
    }
    assert_eq!(read(b"", "o.gz").report.lines, 0);
}

#[test]
fn missing_and_null_are_null_and_the_last_of_a_repeated_field_counts() {
    let got = read("{\"i\":1,\"i\":null,\"s\":\"a\"}\n{\"i\":1,\"i\":2}\n{}\n", "o");
    let values: Vec<_> = got.rows.iter().map(|row| (row.2, row.3.clone())).collect();
    assert_eq!(values, [(None, Some("a".to_owned())), (Some(2), None), (None, None)]);
}

#[test]
fn unless_the_scenario_says_otherwise_a_record_with_a_new_field_is_kept_aside_and_the_stamp_is_none() {
    let text = br#"{"i":1,"millrace_seq":7}{"i":2,"millrace_seq":8,"x":null}{"millrace_run":"r","i":3}"#;
    let (mut rows, mut bad) = (0, Vec::new());
    let report =
        Decoder::new(schema_of(Reading::default())).decode_object(Bytes::from_static(text), "o", &mut |chunk| {
            rows += chunk.batch.num_rows();
            bad.extend(chunk.bad);
            Ok(())
        });
    assert_eq!((rows, report.unwrap().unknown.len()), (2, 2));
    let told: Vec<_> = bad.iter().map(|piece| (piece.reason.name(), piece.reason.column())).collect();
    assert_eq!(told, [("new_column", Some("x"))]);
}

#[test]
fn timestamps_are_read_in_iso_8601_and_in_the_shape_that_the_scenario_says_and_in_no_other() {
    let text = concat!(
        r#"{"t":1163438041250}{"t":"1163438041250"}{"t":"2006-11-13 17:14:01.25"}"#,
        r#"{"t":1.16343804125e12}{"t":"11/13/2006 5:14 PM"}{"t":true}"#,
    );
    for (shape, moments, rows) in
        [(None, 1, 1), (Some(TimeShape::EpochMillis), 4, 4), (Some(TimeShape::MonthFirst), 1, 2)]
    {
        let timestamps = shape.map(|shape| ("t".to_owned(), shape)).into_iter().collect();
        let (mut times, mut bad) = (Vec::new(), 0);
        let schema = schema_of(Reading { timestamps, ..Reading::default() });
        let read = Decoder::new(schema).decode_object(Bytes::from_static(text.as_bytes()), "o", &mut |chunk| {
            times.extend(chunk.batch["t"].as_primitive::<TimestampMicrosecondType>().values().to_vec());
            bad += chunk.bad.iter().filter(|piece| piece.reason.name() == "wrong_type").count();
            Ok(())
        });
        assert_eq!((read.unwrap().lines, times.len(), bad), (6, rows, 6 - rows), "{shape:?}");
        assert_eq!(times.iter().filter(|us| **us == 1_163_438_041_250_000).count(), moments, "{shape:?}");
        assert!(times.iter().all(|us| [1_163_438_041_250_000, 1_163_438_040_000_000].contains(us)), "{times:?}");
    }
}

#[test]
fn unknown_fields_are_counted_in_good_records_only() {
    let got = read("{\"x\":1,\"i\":1}\n{\"x\":{\"i\":[]},\"y\":2}\n{\"x\":1,\"i\":\"bad\"}\n", "o");
    let unknown: Vec<_> = got.report.unknown.into_iter().collect();
    assert_eq!(unknown, [("x".to_owned(), 2), ("y".to_owned(), 1)]);
}

#[test]
fn deep_nesting_is_no_danger() {
    let deep = format!("{{\"x\":{}{},\"i\":1}}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    assert_eq!(read(&deep, "o").i(), [Some(1)]);
}

#[test]
fn a_record_beyond_the_limit_is_told_and_the_next_is_read() {
    // Just beyond, and far beyond, where its end is not even waited for.
    for more in [0, 40 << 20] {
        too_long(&format!("{{\"i\":1,\"s\":\"{}\"}}", "x".repeat(RECORD_LIMIT + more)));
    }
}

#[test]
fn a_record_beyond_the_limit_costs_no_neighbour_without_a_newline() {
    for more in [0, 40 << 20] {
        let long = format!("{{\"i\":1,\"s\":\"{}\"}}", "x".repeat(RECORD_LIMIT + more));
        let got = read(format!("{{\"i\":0}}{long}{{\"i\":2}}{{\"i\":3}}"), "o");
        assert_eq!(got.i(), [Some(0), Some(2), Some(3)]);
        assert_eq!(got.bad_places(), [("too_long", 1, 7, long.len() as u64)]);
    }
}

fn too_long(long: &str) {
    let got = read(format!("{{\"i\":0}}\n{long}\n{{\"i\":2}}\n"), "o");
    assert_eq!(got.i(), [Some(0), Some(2)]);
    assert_eq!(got.bad_places(), [("too_long", 2, 8, long.len() as u64)]);
    assert_eq!(got.rows[1].0, 3);
    assert_eq!(got.bad[0].raw, long.as_bytes()[..RAW_LIMIT]);
}

#[test]
fn records_of_any_length_cross_the_reads_unharmed() {
    let text: String = (0..3_000)
        .map(|k| format!("{{\"i\":{k},\"s\":\"{}\"}}{}", "é".repeat(k * 37 % 2_000), ["\n", "", "\r\n"][k % 3]))
        .collect();
    assert!(text.len() > 4 * READ_BYTES);
    let got = read(gzip(text.as_bytes()), "o.gz");
    assert_eq!(got.bad, []);
    for (k, (_, offset, i, s)) in got.rows.iter().enumerate() {
        assert_eq!(*i, Some(k as i64));
        assert_eq!(s.as_ref().unwrap().chars().count(), k * 37 % 2_000);
        assert!(text[*offset as usize..].starts_with(&format!("{{\"i\":{k},")));
    }
    assert_eq!(got.rows.len(), 3_000);
}

/// Text that is JSON or nearly so.
fn nearly_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("-0".to_owned()),
        "-?[0-9]{1,20}",
        "-?[0-9]{1,3}\\.[0-9]{1,18}([eE][+-]?[0-9]{1,2})?",
        "\"[a-zé ]{0,6}\"",
        "\"\\\\[\"\\\\/bfnrtu]0041\"",
    ];
    let value = leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|v| format!("[{}]", v.join(" , "))),
            prop::collection::vec(("[binstx]", inner), 0..4).prop_map(|members| {
                let members: Vec<_> = members.iter().map(|(k, v)| format!("\"{k}\" :{v}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    });
    let object = prop::collection::vec(("[binstx]", value), 0..5).prop_map(|members| {
        let members: Vec<_> = members.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect();
        format!("{{{}}}", members.join(","))
    });
    // Half of the time one character is taken out or put in.
    (object, any::<prop::sample::Index>(), 0..4_u8, "[\\]\\[{},:\"0-9.eE\\\\-]").prop_map(|(text, at, change, put)| {
        let mut characters: Vec<char> = text.chars().collect();
        let at = at.index(characters.len());
        match change {
            0 => drop(characters.remove(at)),
            1 => characters.insert(at, put.chars().next().unwrap()),
            _ => {}
        }
        characters.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn the_grammar_is_that_of_serde_json(text in nearly_json()) {
        let mut columns = Columns::new(&schema());
        let ours = if text.starts_with('{') {
            json::object(text.as_bytes(), 0, &mut columns, &mut Scratch::default())
        } else {
            Err(Fault::Syntax)
        };
        let mut theirs = serde_json::Deserializer::from_str(&text).into_iter::<serde::de::IgnoredAny>();
        let first = theirs.next();
        let theirs = match first {
            Some(Ok(_)) if text.starts_with('{') => Ok(theirs.byte_offset()),
            Some(Err(error)) if error.is_eof() && text.starts_with('{') => Err(Fault::Incomplete),
            _ => Err(Fault::Syntax),
        };
        let ours = match ours {
            Err(Fault::WrongType { end, .. }) => Ok(end),
            other => other,
        };
        prop_assert_eq!(ours, theirs, "{}", text);
    }

    #[test]
    fn what_is_taken_is_what_serde_json_reads(text in nearly_json()) {
        let Ok(want) = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text) else { return Ok(()) };
        let got = read(&text, "o");
        let fits = |name: &str, value: &serde_json::Value| match (name, value) {
            (_, serde_json::Value::Null) => true,
            ("i", serde_json::Value::Number(n)) => {
                n.is_i64() || n.as_f64().is_some_and(|v| !n.is_u64() && v.fract() == 0.0 && v.abs() <= 9_007_199_254_740_992.0)
            }
            ("n", value) => value.is_number(),
            ("s", value) => value.is_string(),
            ("b", value) => value.is_boolean(),
            ("i" | "t", _) => false,
            _ => true,
        };
        // A repeated field is looked at each time, so only objects without one can be compared.
        let names = text.matches("\":").count();
        if names != want.len() || text.contains("\" :") {
            return Ok(());
        }
        if want.iter().all(|(name, value)| fits(name, value)) {
            prop_assert_eq!(got.rows.len(), 1, "{}", text);
            let text_of = |name: &str| want.get(name).and_then(|v| v.as_str()).map(str::to_owned);
            prop_assert_eq!(&got.rows[0].3, &text_of("s"));
            if want.get("i").is_none_or(|v| v.is_i64()) {
                prop_assert_eq!(got.rows[0].2, want.get("i").and_then(|v| v.as_i64()));
            }
        } else {
            prop_assert_eq!(got.bad.len(), 1, "{}", text);
        }
    }

    #[test]
    fn no_bytes_are_lost_whatever_they_are(pieces in prop::collection::vec(prop_oneof![
        Just("{\"i\":1}".to_owned()), Just("\n".to_owned()), Just("{".to_owned()), Just("}".to_owned()),
        Just(" ".to_owned()), Just("x".to_owned()), Just("{\"i\":\"\n".to_owned()), Just("\"".to_owned()),
    ], 0..30)) {
        let text = pieces.concat();
        let got = read(&text, "o");
        // Rows and bad pieces lie apart, in order, and what is between them is white space.
        let mut spans: Vec<(usize, usize)> = got.bad.iter().map(|b| (b.offset as usize, b.length as usize)).collect();
        spans.extend(got.rows.iter().map(|row| {
            let mut record = serde_json::Deserializer::from_str(&text[row.1 as usize..]).into_iter::<serde::de::IgnoredAny>();
            assert!(record.next().unwrap().is_ok());
            (row.1 as usize, record.byte_offset())
        }));
        spans.sort_unstable();
        let mut at = 0;
        for (offset, length) in spans {
            prop_assert!(text[at..offset].trim().is_empty(), "{:?} in {:?}", &text[at..offset], text);
            at = offset + length;
        }
        prop_assert!(text[at..].trim().is_empty());
    }
}

//! What objects may look like: lines of fields, columns in keys, nested values, fields that are new.

use std::collections::BTreeMap;

use millrace_compactor::CompactError;
use millrace_scenarios::{ColumnType, Nested, NewColumns, Reading, RecordFormat, Table, TimeShape};

use crate::support::{Row, World, column, gzip};

fn table(columns: &[(&str, ColumnType)], read: Reading) -> Table {
    let columns = columns.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
    Table { columns, read, ..Table::default() }
}

/// Reason, line and offset of every piece in quarantine, with what is kept of it.
fn bad(world: &World) -> Vec<(String, String, String, String)> {
    let rows = world.quarantine();
    let text = |row: &Row, name: &str| row.get(name).cloned().unwrap_or_default();
    let raw = |row: &Row| {
        let hex = text(row, "raw");
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        String::from_utf8_lossy(&(0..hex.len()).step_by(2).map(byte).collect::<Vec<_>>()).into_owned()
    };
    let mut pieces: Vec<_> =
        rows.iter().map(|row| (text(row, "object"), text(row, "reason"), text(row, "line"), raw(row))).collect();
    pieces.sort();
    pieces
}

fn piece(object: &str, reason: &str, line: u32, raw: &str) -> (String, String, String, String) {
    (object.to_owned(), reason.to_owned(), line.to_string(), raw.to_owned())
}

const TELEMETRY: [(&str, ColumnType); 5] = [
    ("record_id", ColumnType::Integer),
    ("timestamp", ColumnType::Timestamp),
    ("vin", ColumnType::String),
    ("lat", ColumnType::Number),
    ("speed", ColumnType::Number),
];

fn lines(format: RecordFormat) -> Reading {
    let fields = ["record_id", "timestamp", "vin", "lat", "lon", "speed"];
    Reading { format, fields: fields.map(str::to_owned).to_vec(), ..Reading::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn comma_separated_lines_follow_rfc_4180_and_bad_ones_cost_no_other() {
    let world = World::new();
    let text = "1,2025-01-01T00:00:00Z,V1,51.5,-0.1,30\r\n\
        2,2025-01-01 00:00:01,\"V \"\"2\"\", two\nlines\",51.5,-0.1,\r\n\
        \r\n\
        3,2025-01-01T00:00:02Z,V3,51.5,-0.1\n\
        x,2025-01-01T00:00:03Z,V4,51.5,-0.1,4\n\
        5,2025-01-01T00:00:04Z,\"V5\"x,51.5,-0.1,5\n\
        6,2025-01-01T00:00:05Z,\"\",51.5,-0.1,6.5\n\
        7,2025-01-01T00:00:06Z,V\u{e9}7,51.5,-0.1,7";
    world.put("a.csv.gz", &gzip(text.as_bytes()));
    let mut broken = b"8,2025-01-01T00:00:07Z,\"open,51.5,-0.1,8\n9,2025-01-01T00:00:08Z,V9,51.5,-0.1,9\n".to_vec();
    broken.extend(b"10,2025-01-01T00:00:09Z,\xff,51.5,-0.1,10\n11,2025-01-01T00:00:10Z,V11,51.5,-0.1,11\n");
    world.put("b", &broken);
    let report = world.pass(&table(&TELEMETRY, lines(RecordFormat::Csv))).await;
    let rows = world.rows();
    let mut ids = column(&rows, "record_id");
    ids.sort();
    assert_eq!(ids, ["1", "11", "2", "6", "7", "9"]);
    assert_eq!((report.rows, report.unknown["lon"]), (6, 6));
    let of = |id: &str| rows.iter().find(|row| row["record_id"] == id).unwrap().clone();
    assert_eq!(of("2")["vin"], "V \"2\", two\nlines");
    assert_eq!((of("2").get("speed"), of("6").get("vin").map(String::as_str)), (None, Some("")));
    assert_eq!(
        bad(&world),
        [
            piece("a.csv.gz", "field_count", 5, "3,2025-01-01T00:00:02Z,V3,51.5,-0.1"),
            piece("a.csv.gz", "not_csv", 7, "5,2025-01-01T00:00:04Z,\"V5\"x,51.5,-0.1,5"),
            piece("a.csv.gz", "wrong_type", 6, "x,2025-01-01T00:00:03Z,V4,51.5,-0.1,4"),
            piece("b", "not_csv", 1, "8,2025-01-01T00:00:07Z,\"open,51.5,-0.1,8"),
            piece("b", "not_utf8", 3, "10,2025-01-01T00:00:09Z,\u{fffd},51.5,-0.1,10"),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn text_lines_are_split_at_any_number_of_spaces_and_a_header_has_to_fit() {
    let world = World::new();
    world.put("a", b"1  2025-01-01T00:00:00Z V1 51.5 -0.1 30\n 2 2025-01-01T00:00:01Z V2 51.5 -0.1 31 \n3 short\n");
    let spec = table(&TELEMETRY, lines(RecordFormat::Text));
    assert_eq!(world.pass(&spec).await.rows, 2);
    assert_eq!(bad(&world), [piece("a", "field_count", 3, "3 short")]);

    let world = World::new();
    let read = Reading { header: true, delimiter: Some(';'), ..lines(RecordFormat::Csv) };
    world.put("good", b"\xef\xbb\xbf\"record_id\";timestamp;vin;lat;lon;speed\r\n1;2025-01-01;V;1;2;3\r\n");
    world.put("only-header", b"record_id;timestamp;vin;lat;lon;speed");
    world.put("empty", b"\n");
    world.put("other.csv", b"timestamp;record_id;vin;lat;lon;speed\n2025-01-01;1;V;1;2;3\n");
    let report = world.pass(&table(&TELEMETRY, read)).await;
    assert_eq!((report.rows, report.lines), (1, 2));
    let whole = "timestamp;record_id;vin;lat;lon;speed\n2025-01-01;1;V;1;2;3\n";
    assert_eq!(bad(&world), [piece("other.csv", "other_header", 1, whole)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_come_from_the_key_and_a_record_that_disagrees_is_kept_aside() {
    let world = World::new();
    let read = Reading { path_columns: vec!["location".to_owned(), "year".to_owned()], ..Reading::default() };
    let columns = [("location", ColumnType::String), ("year", ColumnType::Integer), ("n", ColumnType::Integer)];
    let mut spec = table(&columns, read);
    spec.partition_by = vec!["location".to_owned()];
    world.put(
        "location=London/year=2025/a",
        br#"{"n":1}{"n":2,"location":"London","year":2025}{"n":3,"location":null}"#,
    );
    world.put("location=London/year=2025/b", br#"{"n":4,"location":"Leeds"}{"n":5,"year":2024}{"n":6}"#);
    world.put("location=S%C3%A3o%20Paulo/year=2025/c", br#"{"n":7}"#);
    world.put("location=St. Ives/d", br#"{"n":8,"year":1999}"#);
    world.put("location=M\u{fc}nchen/year=MMXXV/e", br#"{"n":9}"#);
    world.put("location=__HIVE_DEFAULT_PARTITION__/2025/01/31/f", br#"{"n":10}"#);
    let report = world.pass(&spec).await;
    let mut rows: Vec<_> = world
        .rows()
        .iter()
        .map(|row| ["n", "location", "year"].map(|name| row.get(name).cloned().unwrap_or_default()).join(" "))
        .collect();
    rows.sort();
    assert_eq!(
        rows,
        [
            "1 London 2025",
            "10  ",
            "2 London 2025",
            "3 London 2025",
            "6 London 2025",
            "7 S\u{e3}o Paulo 2025",
            "8 St. Ives 1999"
        ]
    );
    assert_eq!(report.quarantined, BTreeMap::from([("path_conflict".to_owned(), 3)]));
    let conflicts: Vec<_> = world.quarantine().iter().map(|row| row["column"].clone()).collect();
    assert_eq!(conflicts.iter().filter(|column| *column == "year").count(), 2);
    // Inferred, they are text, as a crawler has them.
    let world = World::new();
    world.put("location=London/a", br#"{"n":1}"#);
    let read = Reading { path_columns: vec!["location".to_owned()], ..Reading::default() };
    world.pass(&table(&[], read)).await;
    assert_eq!(column(&world.rows(), "location"), ["London"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn structs_and_lists_stay_what_they_are_and_other_shapes_are_kept_aside() {
    let world = World::new();
    let read = Reading { nested: Nested::Struct, new_columns: NewColumns::Ignore, ..Reading::default() };
    let mut spec = table(&[], read);
    spec.dedup = Some(millrace_scenarios::Dedup {
        key: vec!["id".to_owned()],
        keep: millrace_scenarios::Keep::Last,
        order_by: "id".to_owned(),
        aggregate: Vec::new(),
    });
    world.put(
        "a",
        br#"{"id":1,"p":{"at":"2025-01-01T00:00:00Z","tags":["a","b"],"size":{"x":1,"y":2.5}}}
            {"id":2,"p":{"at":null,"tags":[],"size":null}}{"id":3,"p":null}{"id":4}"#,
    );
    assert_eq!(world.pass(&spec).await.rows, 4);
    let p = column(&world.rows(), "p");
    assert_eq!(
        p,
        ["{at: 2025-01-01T00:00:00Z, size: {x: 1, y: 2.5}, tags: [a, b]}", "{at: , size: , tags: []}", "-", "-"]
    );
    // Another process, by the table's own schema; a key is looked for among rows with nested values too.
    world.put("b", br#"{"id":5,"p":{"tags":[1]}}{"id":6,"p":{"new":1,"tags":["c"]}}{"id":7,"p":[]}{"id":8,"p":{"size":{"x":1.5}}}"#);
    world.put("c", format!(r#"{{"id":9,"p":{}{}}}"#, "[".repeat(200), "]".repeat(200)).as_bytes());
    let report = world.pass(&spec).await;
    assert_eq!((report.rows, report.quarantined["wrong_type"], report.unknown["p.new"]), (1, 4, 1));
    world.put("d", br#"{"id":1,"p":{"tags":["z"]}}"#);
    let report = world.pass(&spec).await;
    assert_eq!((report.rows, report.duplicates), (0, 1));
    assert_eq!(column(&world.rows(), "id").len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_field_becomes_a_column_or_is_left_out_or_kept_aside_as_the_scenario_says() {
    let columns = [("id", ColumnType::Integer)];
    for (choice, rows, new) in [
        (NewColumns::Ignore, 4, &["-", "-", "-", "-"][..]),
        (NewColumns::Add, 3, &["-", "-", "2.5"]),
        (NewColumns::Quarantine, 1, &["-"]),
    ] {
        let world = World::new();
        let spec = table(&columns, Reading { new_columns: choice, ..Reading::default() });
        world.put("a", br#"{"id":1}"#);
        assert_eq!(world.pass(&spec).await.rows, 1);
        world.put("b", br#"{"id":2,"speed":null}{"id":3,"speed":2.5,"Id":7}"#);
        world.put("c", br#"{"id":4,"speed":"fast"}"#);
        let mut compactor = world.open(&spec).await;
        let report = compactor.pass(None).await.unwrap();
        assert_eq!(report.rows + 1, rows, "{choice:?}");
        assert_eq!(column(&world.rows(), "speed"), new, "{choice:?}");
        let reasons = report.quarantined.into_iter().collect::<Vec<_>>();
        match choice {
            NewColumns::Ignore => assert_eq!((reasons, report.unknown["speed"]), (vec![], 3)),
            NewColumns::Add => {
                // What the first object with it says is the type; a name in another case is no column of its own.
                assert_eq!(reasons, [("wrong_type".to_owned(), 1)]);
                assert_eq!(report.unknown, BTreeMap::from([("Id".to_owned(), 1)]));
            }
            NewColumns::Quarantine => assert_eq!(reasons, [("new_column".to_owned(), 3)]),
        }
        // The table stays readable by the same scenario, and by no other than one that allows what it has.
        assert_eq!(world.pass(&spec).await.objects, 0);
        let strict =
            millrace_compactor::Compactor::open(world.config(&table(&columns, Reading::default())).await).await;
        let refused = matches!(strict.err(), Some(CompactError::OtherSchema { .. }));
        assert_eq!(refused, choice == NewColumns::Add);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_column_is_added_to_a_table_that_has_it_not() {
    let world = World::new();
    let read = Reading { new_columns: NewColumns::Add, ..Reading::default() };
    world.put("a", br#"{"id":1}"#);
    world.pass(&table(&[("id", ColumnType::Integer)], read.clone())).await;
    world.put("b", br#"{"id":2,"at":"2025-01-01"}"#);
    let wider = table(&[("id", ColumnType::Integer), ("at", ColumnType::Timestamp)], read);
    assert_eq!(world.pass(&wider).await.rows, 1);
    assert_eq!(column(&world.rows(), "at"), ["2025-01-01T00:00:00Z", "-"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_column_comes_in_the_middle_of_a_batch_and_no_object_is_lost() {
    let world = World::new();
    let spec = table(&[("id", ColumnType::Integer)], Reading { new_columns: NewColumns::Add, ..Reading::default() });
    for k in 0..40 {
        let more = if k % 10 == 9 { format!(r#","x{k}":{k}"#) } else { String::new() };
        world.put(&format!("{k:02}"), format!(r#"{{"id":{k}{more}}}"#).as_bytes());
    }
    let report = world.pass(&spec).await;
    assert_eq!((report.rows, report.objects, report.unknown.len()), (40, 40, 0));
    let rows = world.rows();
    for k in [9, 19, 29, 39] {
        let with: Vec<_> = rows.iter().filter_map(|row| row.get(&format!("x{k}"))).collect();
        assert_eq!(with, [&k.to_string()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_of_timestamps_has_one_shape_for_good_and_a_declared_one_is_inferred_too() {
    let world = World::new();
    let shaped = |shape: Option<TimeShape>| {
        let timestamps = shape.map(|shape| ("at".to_owned(), shape)).into_iter().collect();
        table(&[], Reading { timestamps, ..Reading::default() })
    };
    let time = Table { columns: [("at".to_owned(), ColumnType::Timestamp)].into(), ..shaped(None) };
    world.put("a", br#"{"at":"2/8/2016 5:46"}{"at":"2016-02-08T05:46"}"#);
    let report = world.pass(&time).await;
    assert_eq!((report.rows, report.quarantined["wrong_type"]), (1, 1));
    // A shape that was not said before takes in what was kept aside.
    let month_first = shaped(Some(TimeShape::MonthFirst));
    let report = world.open(&month_first).await.replay().await.unwrap();
    assert_eq!((report.pass.rows, report.bad), (1, 0));
    assert_eq!(column(&world.rows(), "at"), ["2016-02-08T05:46:00Z"; 2]);
    // Another one would read the same text as another day.
    let other = millrace_compactor::Compactor::open(world.config(&shaped(Some(TimeShape::DayFirst))).await).await;
    let error = other.err().unwrap();
    assert!(error.is_configuration() && error.to_string().contains("month_first"), "{error}");

    let world = World::new();
    world.put("a", br#"{"at":1163438041250,"n":1}{"at":null}"#);
    world.pass(&shaped(Some(TimeShape::EpochMillis))).await;
    assert_eq!(column(&world.rows(), "at"), ["-", "2006-11-13T17:14:01.250Z"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_a_struct_has_not_makes_it_wider_or_is_kept_aside_as_the_scenario_says() {
    let spec = |new_columns| {
        let dedup = millrace_scenarios::Dedup {
            key: vec!["id".to_owned()],
            keep: millrace_scenarios::Keep::First,
            order_by: "id".to_owned(),
            aggregate: Vec::new(),
        };
        let read = Reading { nested: Nested::Struct, new_columns, ..Reading::default() };
        Table { dedup: Some(dedup), ..table(&[], read) }
    };
    for choice in [NewColumns::Add, NewColumns::Quarantine] {
        let world = World::new();
        world.put("a", br#"{"id":1,"p":{"a":1,"list":[{"x":1}]}}{"id":2,"p":null}"#);
        world.pass(&spec(choice)).await;
        world.put(
            "b",
            br#"{"id":3,"p":{"a":2}}{"id":4,"p":{"b":{"c":"new"},"list":[{"x":2,"y":"z"}]}}{"id":5,"p":{"A":7}}"#,
        );
        world.put("c", br#"{"id":6,"p":{"a":3,"b":{"c":5}}}{"id":7,"p":{"b":{"d":null},"e":null}}"#);
        // A key that is there already is looked for among rows of the narrower struct.
        world.put("d", br#"{"id":1,"p":{"a":9}}"#);
        let report = world.pass(&spec(choice)).await;
        let ids = column(&world.rows(), "id").join("");
        let aside = report.quarantined.into_iter().collect::<Vec<_>>();
        if choice == NewColumns::Quarantine {
            assert_eq!((ids.as_str(), aside), ("123", vec![("new_column".to_owned(), 4)]));
            // What was kept aside goes in when it may; the struct grows with it.
            let replayed = world.open(&spec(NewColumns::Add)).await.replay().await.unwrap();
            assert_eq!((replayed.pass.rows, replayed.bad), (3, 1));
        } else {
            assert_eq!((ids.as_str(), report.duplicates), ("123457", 1));
            assert_eq!(aside, [("wrong_type".to_owned(), 1)]);
            let left_out: Vec<_> = report.unknown.keys().map(String::as_str).collect();
            assert_eq!(left_out, ["p.A", "p.b.d", "p.e"], "a name in another case, and what was only null");
        }
        let p = column(&world.rows(), "p");
        let with = p.iter().find(|p| p.contains("new")).unwrap();
        assert_eq!(with, "{a: , list: [{x: 2, y: z}], b: {c: new}}", "{choice:?}");
        // The table is one: files of both widths are read and put together, and the next process goes on.
        let place = millrace_compactor::store::open(world.table().to_str().unwrap(), false).await.unwrap();
        let clock = millrace_compactor::Clock::system();
        let (rows, names) = (world.rows().len(), |rows: &[Row]| column(rows, "id"));
        let before = names(&world.rows());
        let done = millrace_compactor::compact::maintain::optimize(&place, 1 << 20, false, &clock).await.unwrap();
        assert_eq!(done.done.unwrap().files_added, 1);
        assert_eq!((world.rows().len(), names(&world.rows())), (rows, before));
        assert_eq!(world.pass(&spec(NewColumns::Add)).await.objects, 0);
    }
}

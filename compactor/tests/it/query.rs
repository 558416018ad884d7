//! Queries on a lake made by hand and on the table compacted from it: answers worked out by hand, costs counted by hand.

use std::{collections::BTreeMap, io::Write, path::Path};

use flate2::{Compression, write::GzEncoder};
use millrace_compactor::{
    Clock, Compactor, CompactorConfig, Location,
    query::{self, QuerySources},
    store,
};
use millrace_reports::record::{Engine, Layout, Measurement, QueryRecord};
use millrace_scenarios::{
    Aggregate, AggregateFunction, ColumnType, Dedup, Derive, Keep, NewColumns, Overrides, Query, Reading, RecordFormat,
    Table, TimePart, TimeShape,
};

const ERROR_PREFIX: &str = "errors/!{firehose:error-output-type}/";

/// Nine good records of five keys in four objects, with a bad piece of every kind between them.
const NDJSON: &str = concat!(
    r#"{"city":"London","at":"2025-01-31T23:59:59Z","seq":1,"temperature":-1.5,"ok":true,"unknown":{"a":[1]}}"#,
    "\n",
    r#"{"city":"London","at":"2025-01-31T23:59:59Z","seq":4,"temperature":2.25}"#,
    "\r\n",
    "this is no record\n",
    r#"{"city":"London","at":"2025-01-31T23:59:59Z","seq":"five","temperature":99.0}"#,
    "\n",
    r#"{"city":7,"seq":99}"#,
    "\n\n",
    r#"{"city":"São Paulo","at":"2025-02-01T01:00:00+01:00","seq":2,"temperature":30,"ok":false}"#,
    "\n",
);
const CONCATENATED: &str = concat!(
    r#"{"city":"São Paulo","at":"2025-02-01 00:00:00","seq":5,"temperature":29.125}"#,
    r#"{"city":"a/b c","at":"2025-02-01T12:00:00.250Z","seq":6,"temperature":0.0}"#,
    "{\n  \"city\": null,\n  \"at\": null,\n  \"seq\": 7\n}\n",
    r#"{"city":null,"at":null,"seq":8.0,"temperature":1e1}"#,
);
const TRUNCATED: &str =
    concat!(r#"{"city":"York","at":"2025-03-01","seq":9,"ok":true}"#, "\n", r#"{"city":"York","seq":1"#);
const PLAIN: &str = concat!("\u{feff}", r#"{"city":"London","at":"2025-01-31T23:59:59Z","seq":3,"temperature":1}"#);

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// A gzip stream that ends in the middle: all of the text can be read from it, and its checksum is missing.
fn cut(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.flush().unwrap();
    encoder.get_ref().clone()
}

fn spec(dedup: Option<Dedup>) -> Table {
    let columns = [
        ("at", ColumnType::Timestamp),
        ("city", ColumnType::String),
        ("ok", ColumnType::Boolean),
        ("seq", ColumnType::Integer),
        ("temperature", ColumnType::Number),
    ];
    Table {
        columns: columns.map(|(name, kind)| (name.to_owned(), kind)).into(),
        derive: vec![Derive { name: "month".to_owned(), from: "at".to_owned(), part: TimePart::Month }],
        partition_by: vec!["city".to_owned(), "month".to_owned()],
        dedup,
        read: Reading { new_columns: NewColumns::Ignore, ..Reading::default() },
        ..Table::default()
    }
}

fn dedup(keep: Keep) -> Dedup {
    let aggregate = |name: &str, function, of: Option<&str>| Aggregate {
        name: name.to_owned(),
        function,
        of: of.map(str::to_owned),
    };
    Dedup {
        key: vec!["city".to_owned(), "at".to_owned()],
        keep,
        order_by: "seq".to_owned(),
        aggregate: vec![
            aggregate("coldest", AggregateFunction::Min, Some("temperature")),
            aggregate("last_seq", AggregateFunction::Max, Some("seq")),
            aggregate("polls", AggregateFunction::Count, None),
            aggregate("warmth", AggregateFunction::Sum, Some("temperature")),
            aggregate("seqs", AggregateFunction::Sum, Some("seq")),
            aggregate("any_ok", AggregateFunction::Any, Some("ok")),
        ],
    }
}

struct Bench {
    folder: tempfile::TempDir,
    lake: Location,
    table: Location,
    spec: Table,
    object_bytes: u64,
}

impl Bench {
    async fn new(spec: Table) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let open = async |name: &str| store::open(folder.path().join(name).to_str().unwrap(), true).await.unwrap();
        let (lake, table) = (open("lake").await, open("table").await);
        let mut bench = Self { lake, table, spec, object_bytes: 0, folder };
        bench.put("year=2025/a.gz", &gzip(NDJSON));
        bench.put("year=2025/b.gz", &gzip(CONCATENATED));
        bench.put("year=2025/c.gz", &cut(TRUNCATED));
        bench.put("d.json", PLAIN.as_bytes());
        bench.put("e.gz", b"not gzip at all");
        let counted = bench.object_bytes;
        bench.put("errors/processing-failed/f.gz", &gzip(r#"{"city":"London","seq":1000}"#));
        bench.put("_SUCCESS", b"");
        bench.object_bytes = counted;
        bench
    }

    fn put(&mut self, name: &str, bytes: &[u8]) {
        let path = self.folder.path().join("lake").join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        std::fs::write(path, bytes).unwrap();
        self.object_bytes += bytes.len() as u64;
    }

    async fn compact(&self) {
        let config = CompactorConfig::new(self.lake.clone(), self.table.clone(), self.spec.clone(), Clock::system());
        let mut compactor = Compactor::open(config.with_error_prefix(ERROR_PREFIX)).await.unwrap();
        compactor.pass(None).await.unwrap();
    }

    async fn ask(&self, statements: &[&str]) -> Vec<QueryRecord> {
        let queries: Vec<_> =
            statements.iter().map(|sql| Query { name: "q".to_owned(), sql: (*sql).to_owned() }).collect();
        let sources =
            QuerySources { lake: &self.lake, table: &self.table, spec: &self.spec, error_prefix: ERROR_PREFIX };
        query::run(&queries, sources, &query::prices().unwrap()).await.unwrap()
    }

    fn table_bytes(&self) -> u64 {
        fn sum(folder: &Path) -> u64 {
            let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            let bytes = |path: std::path::PathBuf| match path.is_dir() {
                true => sum(&path),
                false if path.extension().is_some_and(|e| e == "parquet") => path.metadata().unwrap().len(),
                false => 0,
            };
            entries.map(bytes).sum()
        }
        sum(&self.folder.path().join("table"))
    }
}

fn of(record: &QueryRecord, layout: Layout, engine: Engine) -> &Measurement {
    record.measurements.iter().find(|m| m.layout == layout && m.engine == engine).unwrap()
}

/// All four answers are there and are one, and the table's rows are `expected`, in any order.
fn assert_answers(record: &QueryRecord, expected: &[&[&str]]) {
    for measurement in &record.measurements {
        assert_eq!(measurement.error, None, "{:?} {:?} on {}", measurement.engine, measurement.layout, record.sql);
    }
    let mut rows: Vec<_> = record.preview.iter().skip(1).map(|row| row.join(" ")).collect();
    let mut wanted: Vec<_> = expected.iter().map(|row| row.join(" ")).collect();
    rows.sort();
    wanted.sort();
    assert_eq!(rows, wanted, "{}", record.sql);
    let answers: BTreeMap<_, _> =
        record.measurements.iter().map(|m| (format!("{:?} {:?}", m.engine, m.layout), (&m.answer, m.rows))).collect();
    assert!(record.same_answer, "{}: {answers:?}", record.sql);
    assert_eq!(record.measurements.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_deduplication_four_answers_are_the_one_worked_out_by_hand() {
    let bench = Bench::new(spec(None)).await;
    bench.compact().await;
    let records = bench
        .ask(&[
            "SELECT COUNT(*) AS n, SUM(seq) AS sum, MIN(temperature) AS low, MAX(temperature) AS high FROM records",
            "SELECT city, COUNT(*) AS n, AVG(temperature) AS mean FROM records GROUP BY city ORDER BY city",
            "SELECT month, seq FROM records WHERE temperature >= 29 AND ok IS NULL",
            "SELECT * FROM records WHERE city = 'a/b c'",
            "SELECT COUNT(*) AS n FROM records WHERE at >= '2025-02-01T00:00:00' AND month = '2025-02'",
        ])
        .await;
    assert_answers(&records[0], &[&["9", "45", "-1.5", "30"]]);
    assert_answers(
        &records[1],
        &[
            &["London", "3", "0.5833333333333334"],
            &["São Paulo", "2", "29.5625"],
            &["York", "1", "null"],
            &["a/b c", "1", "0"],
            &["null", "2", "10"],
        ],
    );
    assert_answers(&records[2], &[&["2025-02", "5"]]);
    assert_answers(&records[3], &[&["2025-02-01T12:00:00.250Z", "a/b c", "null", "6", "0", "2025-02"]]);
    assert_eq!(records[3].preview[0], ["at", "city", "ok", "seq", "temperature", "month"]);
    assert_answers(&records[4], &[&["3"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_view_keeps_the_rows_and_aggregates_that_the_compactor_keeps() {
    let sql = "SELECT city, month, seq, temperature, coldest, last_seq, polls, warmth, seqs, any_ok FROM records";
    let first = Bench::new(spec(Some(dedup(Keep::First)))).await;
    first.compact().await;
    assert_answers(
        &first.ask(&[sql]).await[0],
        &[
            &["London", "2025-01", "1", "-1.5", "-1.5", "4", "3", "1.75", "8", "true"],
            &["São Paulo", "2025-02", "2", "30", "29.125", "5", "2", "59.125", "7", "false"],
            &["a/b c", "2025-02", "6", "0", "0", "6", "1", "0", "6", "null"],
            &["null", "null", "7", "null", "10", "8", "2", "10", "15", "null"],
            &["York", "2025-03", "9", "null", "null", "9", "1", "null", "9", "true"],
        ],
    );
    let last = Bench::new(spec(Some(dedup(Keep::Last)))).await;
    last.compact().await;
    assert_answers(
        &last.ask(&[sql]).await[0],
        &[
            &["London", "2025-01", "4", "2.25", "-1.5", "4", "3", "1.75", "8", "true"],
            &["São Paulo", "2025-02", "5", "29.125", "29.125", "5", "2", "59.125", "7", "false"],
            &["a/b c", "2025-02", "6", "0", "0", "6", "1", "0", "6", "null"],
            &["null", "null", "8", "10", "10", "8", "2", "10", "15", "null"],
            &["York", "2025-03", "9", "null", "null", "9", "1", "null", "9", "true"],
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ties_are_broken_by_object_and_place_and_minus_zero_is_zero() {
    let rule =
        |keep| Dedup { key: vec!["temperature".to_owned()], keep, order_by: "ok".to_owned(), aggregate: Vec::new() };
    for (keep, seq) in [(Keep::First, "20"), (Keep::Last, "22")] {
        let mut bench = Bench::new(Table { partition_by: Vec::new(), ..spec(Some(rule(keep))) }).await;
        bench.put("z1.json", b"{\"seq\":20,\"ok\":true,\"temperature\":-0.0}\n{\"seq\":21,\"temperature\":0.0}\n");
        bench.put("z2.json", b"{\"seq\":22,\"ok\":true,\"temperature\":0.0}\n");
        bench.compact().await;
        assert_answers(&bench.ask(&["SELECT seq FROM records WHERE seq >= 20 OR seq = 6"]).await[0], &[&[seq]]);
    }
    // Records that follow each other on one line have the same line and not the same place.
    for (keep, seq) in [(Keep::First, "30"), (Keep::Last, "39")] {
        let mut bench = Bench::new(Table { partition_by: Vec::new(), ..spec(Some(rule(keep))) }).await;
        let line: String = (30..40).map(|seq| format!("{{\"seq\":{seq},\"ok\":true,\"temperature\":7.5}}")).collect();
        bench.put("z3.json", line.as_bytes());
        bench.compact().await;
        assert_answers(&bench.ask(&["SELECT seq FROM records WHERE seq >= 30"]).await[0], &[&[seq]]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_query_reads_every_object_once_and_pays_the_minimum() {
    let bench = Bench::new(spec(None)).await;
    bench.compact().await;
    let records = bench.ask(&["SELECT COUNT(*) AS n FROM records WHERE seq = 1", "SELECT seq FROM records"]).await;
    for record in &records {
        assert!(record.same_answer);
        for engine in [Engine::Datafusion, Engine::Polars] {
            let raw = of(record, Layout::Raw, engine);
            assert_eq!((raw.bytes, raw.gets, raw.lists, raw.heads), (bench.object_bytes, 5, 1, 0), "{engine:?}");
            assert_eq!(raw.billed_bytes, 10 << 20);
            let by_hand = 10.0 / 1_048_576.0 * 5.0 + 5.0 * 0.000_000_4 + 0.000_005;
            assert!((raw.cost_usd - by_hand).abs() < 1e-12, "{}", raw.cost_usd);
        }
        let polars = of(record, Layout::Table, Engine::Polars);
        assert!(polars.bytes > bench.table_bytes(), "whole files and the log");
        let table = of(record, Layout::Table, Engine::Datafusion);
        assert!(table.bytes > 0 && table.gets > 0 && table.lists > 0, "{table:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_filter_reads_only_that_partition_of_the_table() {
    let bench = Bench::new(spec(None)).await;
    bench.compact().await;
    let sql = ["SELECT SUM(seq) AS s FROM records WHERE city = 'York'", "SELECT SUM(seq) AS s FROM records"];
    let records = bench.ask(&sql).await;
    assert_answers(&records[0], &[&["9"]]);
    let bytes = |record| of(record, Layout::Table, Engine::Datafusion).bytes;
    assert!(bytes(&records[0]) < bytes(&records[1]), "{} and {}", bytes(&records[0]), bytes(&records[1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_an_engine_refuses_is_told_in_its_words_and_is_no_answer() {
    let bench = Bench::new(spec(None)).await;
    bench.compact().await;
    let records = bench
        .ask(&[
            "SELECT nothing FROM records",
            "SELEKT 1",
            "DROP TABLE records",
            "SELECT to_char(at, '%Y') AS y FROM records",
        ])
        .await;
    for record in &records {
        assert!(!record.same_answer, "{}", record.sql);
        let raw = of(record, Layout::Raw, Engine::Polars);
        assert!(
            raw.error.as_ref().is_some_and(|e| e.starts_with("Polars")) || record.sql.starts_with("DROP"),
            "{raw:?}"
        );
    }
    for record in &records[..3] {
        let table = of(record, Layout::Table, Engine::Datafusion);
        assert!(table.error.as_ref().is_some_and(|e| e.starts_with("DataFusion: ")), "{table:?}");
        assert_eq!((table.rows, table.answer.as_str()), (0, ""));
        assert!(record.preview.is_empty());
    }
    let dialect = &records[3];
    assert_eq!(of(dialect, Layout::Table, Engine::Datafusion).rows, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_lacks_a_record_of_the_lake_is_found_out() {
    let mut bench = Bench::new(spec(None)).await;
    bench.compact().await;
    bench.put("late.gz", &gzip(r#"{"city":"Bath","seq":10}"#));
    let records = bench.ask(&["SELECT COUNT(*) AS n FROM records", "SELECT MIN(seq) AS n FROM records"]).await;
    assert!(!records[0].same_answer);
    let answer = |layout, engine| of(&records[0], layout, engine).answer.as_str();
    assert_eq!(answer(Layout::Raw, Engine::Datafusion), answer(Layout::Raw, Engine::Polars));
    assert_eq!(answer(Layout::Table, Engine::Datafusion), answer(Layout::Table, Engine::Polars));
    assert_answers(&records[1], &[&["1"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_table_or_with_another_one_nothing_is_asked() {
    let bench = Bench::new(spec(None)).await;
    let sources =
        QuerySources { lake: &bench.lake, table: &bench.table, spec: &bench.spec, error_prefix: ERROR_PREFIX };
    let prices = query::prices().unwrap();
    let error = query::run(&[], sources, &prices).await.unwrap_err();
    assert!(error.to_string().contains(bench.table.url.as_str()), "{error}");
    bench.compact().await;
    let mut other = bench.spec.clone();
    other.columns.insert("more".to_owned(), ColumnType::String);
    let error = query::run(&[], QuerySources { spec: &other, ..sources }, &prices).await.unwrap_err();
    assert!(error.is_configuration() && error.to_string().contains("\"more\""), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn inferred_columns_of_mixed_type_read_the_same_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let open = async |name: &str| store::open(folder.path().join(name).to_str().unwrap(), true).await.unwrap();
    let (lake, table) = (open("lake").await, open("table").await);
    let text = concat!(
        r#"{"k":1,"v":"text","t":"2025-01-01T00:00:00Z"}"#,
        "\n",
        r#"{"k":2,"v":1.50,"t":"2025-01-02T00:00:00Z"}"#,
        "\n",
        r#"{"k":3,"v":{"a": [1, "x"]},"t":null}"#,
        "\n",
    );
    std::fs::write(folder.path().join("lake/a.json"), text).unwrap();
    let spec = Table::default();
    let config = CompactorConfig::new(lake.clone(), table.clone(), spec.clone(), Clock::system());
    Compactor::open(config).await.unwrap().pass(None).await.unwrap();
    let sources = QuerySources { lake: &lake, table: &table, spec: &spec, error_prefix: "" };
    let queries = [Query { name: "all".to_owned(), sql: "SELECT k, v, t FROM records".to_owned() }];
    let records = query::run(&queries, sources, &query::prices().unwrap()).await.unwrap();
    assert_answers(
        &records[0],
        &[
            &["1", "text", "2025-01-01T00:00:00Z"],
            &["2", "1.50", "2025-01-02T00:00:00Z"],
            &["3", r#"{"a": [1, "x"]}"#, "null"],
        ],
    );
}

/// A record with a value in every column.
fn full_record(columns: &BTreeMap<String, ColumnType>) -> String {
    let value = |kind: &ColumnType| match kind {
        ColumnType::String => serde_json::json!("London"),
        ColumnType::Integer => serde_json::json!(4),
        ColumnType::Number => serde_json::json!(-39.5),
        ColumnType::Boolean => serde_json::json!(true),
        ColumnType::Timestamp => serde_json::json!("2025-01-01T23:15:00Z"),
    };
    let fields = columns.iter().map(|(name, kind)| (name.clone(), value(kind)));
    serde_json::Value::Object(fields.collect()).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shipped_query_is_answered_alike_by_both_engines() {
    for (file, text) in millrace_scenarios::shipped() {
        let scenario = millrace_scenarios::parse(file, text, &Overrides::default()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let open = async |name: &str| store::open(folder.path().join(name).to_str().unwrap(), true).await.unwrap();
        let (lake, table) = (open("lake").await, open("table").await);
        let full = full_record(&scenario.table.columns);
        std::fs::write(folder.path().join("lake/a.json"), format!("{full}\n{full}\n{{}}\n")).unwrap();
        let config = CompactorConfig::new(lake.clone(), table.clone(), scenario.table.clone(), Clock::system());
        Compactor::open(config).await.unwrap().pass(None).await.unwrap();
        let sources = QuerySources { lake: &lake, table: &table, spec: &scenario.table, error_prefix: ERROR_PREFIX };
        let records = query::run(&scenario.query, sources, &query::prices().unwrap()).await.unwrap();
        assert!(!records.is_empty(), "{} asks nothing", scenario.name);
        for record in &records {
            for measurement in &record.measurements {
                assert_eq!(measurement.error, None, "{}: {}", scenario.name, record.sql);
            }
            assert!(record.same_answer, "{}: {record:#?}", scenario.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_query_leaves_out_what_quarantine_holds_and_goes_on_at_the_next_record() {
    let mut bench = Bench::new(Table { read: Reading::default(), ..spec(None) }).await;
    let tangled = concat!(
        r#"{"seq":20}{"seq":?}{"seq":21}{"seq":22,"new":1}{"seq":23,"millrace_seq":5}"#,
        "junk {\"seq\":24} junk\n",
        r#"{"city":"a"{"seq":25}{"seq":[1,{"seq":26}]}"#,
        "\n  {\"seq\":27}",
        r#"{"seq":28"#,
    );
    bench.put("tangled.json", tangled.as_bytes());
    bench.put("named-so.gz", br#"{"seq":29}"#);
    bench.compact().await;
    let records = bench.ask(&["SELECT COUNT(*) AS n FROM records", "SELECT seq FROM records WHERE seq >= 20"]).await;
    assert_answers(&records[1], &[&["20"], &["21"], &["23"], &["25"], &["27"], &["29"]]);
    // Of the nine records that are good otherwise, the one with a field that is no column is left out.
    assert_answers(&records[0], &[&["14"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_lines_of_fields_keys_and_other_timestamps_are_asked_alike() {
    let columns = [
        ("at", ColumnType::Timestamp),
        ("id", ColumnType::Integer),
        ("ok", ColumnType::Boolean),
        ("region", ColumnType::String),
        ("speed", ColumnType::Number),
        ("vin", ColumnType::String),
    ];
    let csv = concat!(
        "id,at,vin,speed,ok,other\r\n",
        "1,2/8/2016 5:46,\"V, \"\"1\"\"\nx\",30,true,-\r\n",
        "2.0,2016-02-08 05:46:00,,.5,,-\n",
        "3,8.2.2016,V3,1,true\n",
        "x,2/8/2016,V4,1,true,-\n",
        "5,2/30/2016,V5,1,true,-\n",
        "6,2/8/2016 1:00:00 PM,\"\",1e3,false,-\n",
        "7,2/8/2016,\"V7\"x,1,true,-",
    );
    let text = "  8   1454910360000 V8  1 true - \n9 1454910360000 V9 1 true\n10 soon V10 1 true -\n";
    let fields = ["id", "at", "vin", "speed", "ok", "other"].map(str::to_owned).to_vec();
    let city = "S\u{e3}o Paulo";
    let of_csv = vec![
        ["1", "2016-02-08T05:46:00Z", "V, \"1\"\nx", "30", "true", city],
        ["2", "2016-02-08T05:46:00Z", "null", "0.5", "null", city],
        ["6", "2016-02-08T13:00:00Z", "", "1000", "false", city],
    ];
    let of_text = vec![["8", "2016-02-08T05:46:00Z", "V8", "1", "true", city]];
    for (format, shape, lines, expected) in [
        (RecordFormat::Csv, TimeShape::MonthFirst, csv, of_csv),
        (RecordFormat::Text, TimeShape::EpochMillis, text, of_text),
    ] {
        let spec = Table {
            columns: columns.map(|(name, kind)| (name.to_owned(), kind)).into(),
            read: Reading {
                format,
                fields: fields.clone(),
                header: format == RecordFormat::Csv,
                path_columns: vec!["region".to_owned()],
                timestamps: [("at".to_owned(), shape)].into(),
                ..Reading::default()
            },
            ..Table::default()
        };
        let folder = tempfile::tempdir().unwrap();
        let open = async |name: &str| store::open(folder.path().join(name).to_str().unwrap(), true).await.unwrap();
        let (lake, table) = (open("lake").await, open("table").await);
        let object = folder.path().join("lake/region=S%C3%A3o%20Paulo/a.gz");
        std::fs::create_dir_all(object.parent().unwrap()).unwrap();
        std::fs::write(object, gzip(lines)).unwrap();
        let config = CompactorConfig::new(lake.clone(), table.clone(), spec.clone(), Clock::system());
        Compactor::open(config).await.unwrap().pass(None).await.unwrap();
        let sources = QuerySources { lake: &lake, table: &table, spec: &spec, error_prefix: "" };
        let sql = "SELECT id, at, vin, speed, ok, region FROM records".to_owned();
        let queries = [Query { name: "all".to_owned(), sql }];
        let records = query::run(&queries, sources, &query::prices().unwrap()).await.unwrap();
        assert_answers(&records[0], &expected.iter().map(|row| &row[..]).collect::<Vec<_>>());
    }
}

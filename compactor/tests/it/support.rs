//! Lakes made by hand and tables read by hand.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use arrow::array::Array;
use flate2::{Compression, write::GzEncoder};
use millrace_compactor::{Clock, Compactor, CompactorConfig, PassReport, compact::FailPoint, store};
use millrace_scenarios::{Aggregate, AggregateFunction, ColumnType, Dedup, Derive, Keep, Table, TimePart};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use tempfile::TempDir;

/// What every test's clock says.
pub(crate) const NOW_US: u64 = 1_750_000_000_000_000;

/// A row as text, by column; null is absent.
pub(crate) type Row = BTreeMap<String, String>;

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A folder with a lake and a table.
pub(crate) struct World {
    pub(crate) home: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("lake")).unwrap();
        Self { home }
    }

    pub(crate) fn lake(&self) -> PathBuf {
        self.home.path().join("lake")
    }

    pub(crate) fn table(&self) -> PathBuf {
        self.home.path().join("table")
    }

    pub(crate) fn put(&self, key: &str, bytes: &[u8]) {
        let path = self.lake().join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Puts a gzip object of these lines.
    pub(crate) fn put_lines<T: AsRef<str>>(&self, key: &str, lines: &[T]) {
        let text: String = lines.iter().map(|line| format!("{}\n", line.as_ref())).collect();
        self.put(key, &gzip(text.as_bytes()));
    }

    pub(crate) async fn config(&self, spec: &Table) -> CompactorConfig {
        let lake = store::open(self.lake().to_str().unwrap(), false).await.unwrap();
        let table = store::open(self.table().to_str().unwrap(), true).await.unwrap();
        CompactorConfig::new(lake, table, spec.clone(), Clock::new(|| NOW_US))
    }

    /// A new compactor, as a new process would have.
    pub(crate) async fn open(&self, spec: &Table) -> Compactor {
        Compactor::open(self.config(spec).await).await.unwrap()
    }

    /// One pass by a new compactor.
    pub(crate) async fn pass(&self, spec: &Table) -> PassReport {
        self.open(spec).await.pass(None).await.unwrap()
    }

    /// One pass by a new compactor that ends at the given point.
    pub(crate) async fn pass_until(&self, spec: &Table, point: FailPoint) {
        let mut config = self.config(spec).await;
        config.fail_at = Some(point);
        let outcome = Compactor::open(config).await.unwrap().pass(None).await;
        assert_eq!(outcome.is_ok(), point == FailPoint::LostAnswer, "{point:?}: {outcome:?}");
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        read_table(&self.table())
    }

    pub(crate) fn quarantine(&self) -> Vec<Row> {
        let folder = self.home.path().join("table-quarantine");
        if folder.exists() { read_table(&folder) } else { Vec::new() }
    }
}

/// The rows of a Delta table, sorted. Fails when the log is not in order: a file added twice, one removed that is not
/// there, a transaction that does not rise, a protocol beyond reader 1 and writer 2.
pub(crate) fn read_table(folder: &Path) -> Vec<Row> {
    let mut log: Vec<PathBuf> = fs::read_dir(folder.join("_delta_log"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    log.sort();
    let mut files: BTreeMap<String, Value> = BTreeMap::new();
    let mut ever = BTreeSet::new();
    let mut transactions: BTreeMap<String, i64> = BTreeMap::new();
    for path in log {
        for line in fs::read_to_string(&path).unwrap().lines() {
            let action: Value = serde_json::from_str(line).unwrap();
            if let Some(protocol) = action.get("protocol") {
                assert_eq!(
                    (protocol["minReaderVersion"].as_i64(), protocol["minWriterVersion"].as_i64()),
                    (Some(1), Some(2))
                );
            }
            if let Some(txn) = action.get("txn") {
                // The quarantine's transactions name the table they belong to.
                let application = txn["appId"].as_str().unwrap();
                assert_eq!(application.split('/').next(), Some("millrace-compactor"));
                let version = txn["version"].as_i64().unwrap();
                let before = transactions.insert(application.to_owned(), version).unwrap_or(0);
                assert!(version > before, "transaction {version} after {before}");
            }
            if let Some(remove) = action.get("remove") {
                assert!(files.remove(remove["path"].as_str().unwrap()).is_some(), "{line}");
            }
            if let Some(add) = action.get("add") {
                let path = add["path"].as_str().unwrap().to_owned();
                assert!(ever.insert(path.clone()), "{path} is added twice");
                files.insert(path, add.clone());
            }
        }
    }
    let mut rows: Vec<Row> = files.iter().flat_map(|(path, add)| read_file(folder, path, add)).collect();
    rows.sort();
    rows
}

fn read_file(folder: &Path, path: &str, add: &Value) -> Vec<Row> {
    let file = fs::File::open(folder.join(percent_decoded(path))).unwrap();
    assert_eq!(file.metadata().unwrap().len(), add["size"].as_u64().unwrap());
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let partition: Row = add["partitionValues"]
        .as_object()
        .unwrap()
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect();
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.unwrap();
        for row in 0..batch.num_rows() {
            let mut values = partition.clone();
            for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
                if column.is_valid(row) {
                    let text = arrow::util::display::array_value_to_string(column, row).unwrap();
                    values.insert(field.name().clone(), text);
                }
            }
            rows.push(values);
        }
    }
    let stats: Value = serde_json::from_str(add["stats"].as_str().unwrap()).unwrap();
    assert_eq!(stats["numRecords"].as_u64().unwrap(), rows.len() as u64);
    rows
}

/// As the Delta protocol has it: paths in the log are URL-encoded.
fn percent_decoded(path: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), path.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&after[..2]).unwrap(), 16).unwrap());
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// Values of one column, in the order of the rows; null is `-`.
pub(crate) fn column(rows: &[Row], name: &str) -> Vec<String> {
    rows.iter().map(|row| row.get(name).cloned().unwrap_or_else(|| "-".to_owned())).collect()
}

/// Columns `id`, `seq`, `city`, `at`; partitioned by city and date; one row per id.
pub(crate) fn readings(keep: Keep, aggregate: bool) -> Table {
    let columns = [
        ("id", ColumnType::String),
        ("seq", ColumnType::Integer),
        ("city", ColumnType::String),
        ("at", ColumnType::Timestamp),
    ];
    let make = |name: &str, function, of: Option<&str>| Aggregate {
        name: name.to_owned(),
        function,
        of: of.map(str::to_owned),
    };
    Table {
        columns: columns.into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect(),
        derive: vec![Derive { name: "date".to_owned(), from: "at".to_owned(), part: TimePart::Date }],
        partition_by: vec!["city".to_owned(), "date".to_owned()],
        dedup: Some(Dedup {
            key: vec!["id".to_owned()],
            keep,
            order_by: "seq".to_owned(),
            aggregate: if aggregate {
                vec![
                    make("first_at", AggregateFunction::Min, Some("at")),
                    make("last_at", AggregateFunction::Max, Some("at")),
                    make("times", AggregateFunction::Count, None),
                ]
            } else {
                Vec::new()
            },
        }),
        ..Table::default()
    }
}

/// A record of [`readings`].
pub(crate) fn reading(id: &str, seq: u64, city: &str) -> String {
    let at = format!("2025-01-{:02}T{:02}:00:00Z", 1 + seq % 3, seq % 24);
    serde_json::json!({"id": id, "seq": seq, "city": city, "at": at}).to_string()
}

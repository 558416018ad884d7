//! Lakes made by hand and tables read by hand.

use std::{fs, io::Write, path::PathBuf};

use flate2::{Compression, write::GzEncoder};
use millrace_compactor::{Clock, Compactor, CompactorConfig, PassReport, compact::FailPoint, store};
use millrace_scenarios::{Aggregate, AggregateFunction, ColumnType, Dedup, Derive, Keep, Table, TimePart};
use tempfile::TempDir;

/// What every test's clock says.
pub(crate) const NOW_US: u64 = 1_750_000_000_000_000;

pub(crate) use crate::reader::{Row, read_table};

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
                    make("total", AggregateFunction::Sum, Some("seq")),
                    make("some_city", AggregateFunction::Any, Some("city")),
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

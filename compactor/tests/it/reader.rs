//! Tables read by hand: the log's JSON line by line, the Parquet files by themselves. Shared with the tests of the binary.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use arrow::array::Array;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

/// A row as text, by column; null is absent.
pub(crate) type Row = BTreeMap<String, String>;

/// The rows of a Delta table, sorted. Fails when the log is not in order: a file added twice, one removed that is not
/// there, a transaction that does not rise, a protocol beyond reader 1 and writer 2. What files have beside the table's
/// columns is left out, as any reader of Delta does.
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
    let mut columns: Vec<Value> = Vec::new();
    for path in log {
        for line in fs::read_to_string(&path).unwrap().lines() {
            let action: Value = serde_json::from_str(line).unwrap();
            if let Some(protocol) = action.get("protocol") {
                assert_eq!(
                    (protocol["minReaderVersion"].as_i64(), protocol["minWriterVersion"].as_i64()),
                    (Some(1), Some(2))
                );
            }
            if let Some(metadata) = action.get("metaData") {
                let schema: Value = serde_json::from_str(metadata["schemaString"].as_str().unwrap()).unwrap();
                columns = schema["fields"].as_array().unwrap().iter().map(|field| field["name"].clone()).collect();
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
    rows.iter_mut().for_each(|row| row.retain(|name, _| columns.contains(&json!(name))));
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

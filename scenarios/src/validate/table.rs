//! `[table]`: columns that are declared, computed, partitioned by and deduplicated by have to fit together.
//!
//! The stamp's fields can always order and deduplicate rows, declared or not, because every record carries them. While
//! no column is declared, the table's columns are inferred from the data and only what is known now is checked.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    error::Fault,
    model::{AggregateFunction, ColumnType, Dedup, Nested, RecordFormat, Table},
    nearest::nearest,
    stamp::{self, is_stamp},
    tree::Node,
    usage,
    validate::{listed, place, source::idle},
};

/// The stamp's fields and their types.
const STAMP: [(&str, ColumnType); 3] = [
    (stamp::RUN_FIELD, ColumnType::String),
    (stamp::SEQUENCE_FIELD, ColumnType::Integer),
    (stamp::DUE_FIELD, ColumnType::Integer),
];

/// What a data file can be told to have, bytes.
const FILE_BYTES: std::ops::RangeInclusive<u64> = 1 << 20..=10 << 30;

pub(super) fn check(table: &Table, node: &Node) -> Vec<Fault> {
    let mut faults: Vec<Fault> = place(table.location.as_deref(), node.at("location")).into_iter().collect();
    faults.extend(columns(&table.columns, node.at("columns")));
    faults.extend(derived(table, node.at("derive")));
    faults.extend(partitions(table, node.at("partition_by")));
    if let Some(dedup) = &table.dedup {
        faults.extend(deduplication(dedup, table, node.at("dedup")));
    }
    faults.extend(reading(table, node.at("read")));
    faults.extend(timestamps(table, node.at("read").at("timestamps")));
    faults.extend(in_files("bloom_filter", &table.bloom_filter, table, node));
    faults.extend(in_files("sort_by", &table.sort_by, table, node));
    if table.file_size.is_some_and(|size| !FILE_BYTES.contains(&size.bytes())) {
        let help = "write \"1MiB\" to \"10GiB\", such as \"100MiB\"";
        faults.push(node.at("file_size").fault("a data file has 1 MiB to 10 GiB", help));
    }
    if table.every.is_zero() {
        faults.push(node.at("every").fault("the compactor needs a pause", "write a span of time, such as \"15s\""));
    }
    faults
}

fn columns(columns: &BTreeMap<String, ColumnType>, node: &Node) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut seen = BTreeMap::new();
    for (name, column) in columns {
        let node = node.at(name);
        if name.is_empty() {
            faults.push(node.key_fault("a column has no name", "write the name of a field of the payload"));
        }
        // Delta compares column names without regard to case.
        if let Some(other) = seen.insert(name.to_lowercase(), name) {
            let message = format!("the columns `{other}` and `{name}` differ in case only");
            faults.push(node.key_fault(message, "a Delta table holds one of them: remove the other"));
        }
        if let Some((_, wanted)) = STAMP.iter().find(|(stamp, wanted)| stamp == name && wanted != column) {
            let wanted = format!("{wanted:?}").to_lowercase();
            faults.push(node.fault(format!("`{name}` is part of the stamp"), format!("its type is \"{wanted}\"")));
        }
    }
    faults
}

/// Whether a column of this name comes from the data, as far as that is known.
fn may_exist(table: &Table, name: &str) -> bool {
    table.columns.is_empty() || table.columns.contains_key(name)
}

fn is_derived(table: &Table, name: &str) -> bool {
    table.derive.iter().any(|derive| derive.name == name)
}

/// Whether it is a column of integers or numbers, as far as columns are known.
fn may_be_summed(table: &Table, name: &str) -> bool {
    let kind = table.columns.get(name);
    table.columns.is_empty() || matches!(kind, Some(ColumnType::Integer | ColumnType::Number))
}

/// What to say about a column that is not there.
fn no_column(table: &Table, name: &str, node: &Node) -> Fault {
    let known: BTreeSet<&str> =
        table.columns.keys().chain(table.derive.iter().map(|derive| &derive.name)).map(String::as_str).collect();
    let near = nearest(name, known.iter().copied()).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
    let help = format!("{near}columns: {}", listed(known));
    node.fault(format!("there is no column `{name}`"), help).labelled("unknown column")
}

fn derived(table: &Table, node: &Node) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, derive) in table.derive.iter().enumerate() {
        let node = node.item(index);
        let name = &derive.name;
        let clash = name.is_empty()
            || is_stamp(name)
            || table.columns.contains_key(name)
            || table.derive[..index].iter().any(|earlier| earlier.name == *name);
        if clash {
            faults.push(taken(name, node.at("name")));
        }
        match table.columns.get(&derive.from) {
            Some(ColumnType::Timestamp) => {}
            None if may_exist(table, &derive.from) => {}
            None => faults.push(no_column(table, &derive.from, node.at("from"))),
            Some(_) => {
                let times = table.columns.iter().filter(|(_, column)| **column == ColumnType::Timestamp);
                let help = format!("timestamps: {}", listed(times.map(|(name, _)| name.as_str())));
                faults.push(node.at("from").fault(format!("`{}` is not a timestamp", derive.from), help));
            }
        }
    }
    faults
}

fn taken(name: &str, node: &Node) -> Fault {
    node.fault(format!("a computed column cannot be named \"{name}\""), "choose a name that no other column has")
}

fn partitions(table: &Table, node: &Node) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, name) in table.partition_by.iter().enumerate() {
        let node = node.item(index);
        if !may_exist(table, name) && !is_derived(table, name) {
            faults.push(no_column(table, name, node));
        }
        if table.partition_by[..index].contains(name) {
            faults.push(node.fault(format!("`{name}` is there twice"), "name each partition column once"));
        }
    }
    let width = table.columns.len() + table.derive.len();
    if !table.columns.is_empty() && table.partition_by.len() >= width {
        faults.push(node.fault("no column is left for the files", "partition by fewer columns"));
    }
    faults
}

/// Queries are asked of the raw lake too, where engines have no one way to write structs.
pub(super) fn check_queries(table: &Table, query: &Node) -> Option<Fault> {
    (table.read.nested == Nested::Struct).then(|| {
        let message = "with `table.read.nested = \"struct\"` the raw lake cannot be asked what the table is asked";
        query.item(0).fault(message, "remove the query, or `nested`")
    })
}

/// How objects are read: keys that the format does not use, fields that are named, columns that the path holds.
fn reading(table: &Table, node: &Node) -> Vec<Fault> {
    let read = &table.read;
    let mut faults: Vec<Fault> =
        usage::unused_read(read).filter_map(|(key, users)| idle("table.read", "format", key, users, node)).collect();
    if read.format != RecordFormat::Json {
        if read.fields.is_empty() {
            let help = "name the fields of a line in their order, such as fields = [\"record_id\", \"timestamp\"]";
            faults.push(node.at("fields").fault("lines of fields say nothing without their names", help));
        }
        if table.columns.is_empty() {
            let help = "declare the columns and their types in [table.columns]";
            faults.push(node.at("format").fault("fields of a line have no types of their own", help));
        }
        if read.delimiter.is_some_and(|c| !c.is_ascii() || c.is_ascii_alphanumeric() || "\"\r\n\0".contains(c)) {
            let help = "write one ASCII character, such as \";\" or \"\\t\"";
            faults.push(node.at("delimiter").fault("this cannot stand between fields", help));
        }
    }
    for (key, names) in [("fields", &read.fields), ("path_columns", &read.path_columns)] {
        for (index, name) in names.iter().enumerate() {
            let node = node.at(key).item(index);
            if names[..index].contains(name) {
                faults.push(node.fault(format!("`{name}` is there twice"), "name each one once"));
            } else if key == "path_columns" && !may_exist(table, name) {
                faults.push(no_column(table, name, node));
            }
        }
    }
    faults
}

/// Shapes are said of columns that are timestamps, as far as columns are known.
fn timestamps(table: &Table, node: &Node) -> Vec<Fault> {
    let mut faults = Vec::new();
    for name in table.read.timestamps.keys() {
        match table.columns.get(name) {
            Some(ColumnType::Timestamp) => {}
            None if may_exist(table, name) => {}
            None => faults.push(no_column(table, name, node.at(name))),
            Some(_) => {
                let help = format!("write {name:?} = \"timestamp\" in [table.columns]");
                faults.push(node.at(name).key_fault(format!("`{name}` is not a timestamp"), help));
            }
        }
    }
    faults
}

/// What is asked of columns that are in the files: partition columns are in their paths. Aggregates change after their row
/// was written, so rows cannot lie in order of them.
fn in_files(key: &str, columns: &[String], table: &Table, node: &Node) -> Vec<Fault> {
    let mut faults = Vec::new();
    let aggregates = || table.dedup.iter().flat_map(|dedup| &dedup.aggregate).filter(|_| key == "bloom_filter");
    for (index, name) in columns.iter().enumerate() {
        let node = node.at(key).item(index);
        if columns[..index].contains(name) {
            faults.push(node.fault(format!("`{name}` is there twice"), "name each column once"));
        } else if table.partition_by.contains(name) {
            let help = "remove it: a partition column is in the files' paths, not in the files";
            faults.push(node.fault(format!("`{name}` is partitioned by"), help));
        } else if !may_exist(table, name) && !is_derived(table, name) && !aggregates().any(|a| a.name == *name) {
            faults.push(no_column(table, name, node));
        }
    }
    faults
}

fn deduplication(dedup: &Dedup, table: &Table, node: &Node) -> Vec<Fault> {
    let mut faults = Vec::new();
    let exists = |name: &str| may_exist(table, name) || is_derived(table, name) || is_stamp(name);
    let whole = dedup.key.is_empty();
    for key in ["keep", "order_by"] {
        if let Some(there) = node.child(key).filter(|_| whole) {
            let help = format!("remove `{key}`, or name the columns that make two rows the same: key = [\"id\"]");
            faults.push(there.key_fault("rows that are equal as a whole are in no order", help));
        }
    }
    for (index, name) in dedup.key.iter().enumerate() {
        let node = node.at("key").item(index);
        if !exists(name) {
            faults.push(no_column(table, name, node));
        }
        if dedup.key[..index].contains(name) {
            faults.push(node.fault(format!("`{name}` is there twice"), "name each column of the key once"));
        }
    }
    if !whole && !exists(&dedup.order_by) {
        faults.push(no_column(table, &dedup.order_by, node.at("order_by")));
    }
    for (index, aggregate) in dedup.aggregate.iter().enumerate() {
        let node = node.at("aggregate").item(index);
        let name = &aggregate.name;
        let clash = name.is_empty()
            || is_stamp(name)
            || is_derived(table, name)
            || table.columns.contains_key(name)
            || dedup.aggregate[..index].iter().any(|earlier| earlier.name == *name);
        if clash {
            faults.push(taken(name, node.at("name")));
        }
        match (aggregate.function, &aggregate.of) {
            (AggregateFunction::Count, None) => {}
            (AggregateFunction::Count, Some(_)) => {
                faults.push(node.at("of").key_fault("`count` counts rows, not a column", "remove `of`"));
            }
            (_, None) => {
                let message = "`min`, `max`, `sum` and `any` need a column";
                faults.push(node.fault(message, "add for example of = \"timestamp\""));
            }
            (_, Some(of)) if !exists(of) => faults.push(no_column(table, of, node.at("of"))),
            (AggregateFunction::Sum, Some(of)) if !may_be_summed(table, of) => {
                let help = "name a column of integers or numbers";
                faults.push(node.at("of").fault(format!("`{of}` has no sum"), help));
            }
            (_, Some(_)) => {}
        }
    }
    faults
}

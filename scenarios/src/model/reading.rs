//! `[table.read]`: how the lake's objects are read.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::is_default;

/// How records are written in the objects of the lake.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordFormat {
    /// JSON objects, with newlines between them or with nothing.
    #[default]
    Json,
    /// Lines of fields with one delimiter between them, quoted as RFC 4180 has it.
    Csv,
    /// Lines of fields with any number of delimiters between them, without quotes.
    Text,
}

/// What becomes of objects and lists inside a record, in columns that are inferred.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Nested {
    /// They are kept as their JSON text.
    #[default]
    Text,
    /// They become structs and lists. What mixes types inside them stays JSON text.
    Struct,
}

/// What becomes of a field that is no column of the table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NewColumns {
    /// Its record goes to quarantine, from where it can be replayed once there is a column for it.
    #[default]
    Quarantine,
    /// The table gets a column for it, with the type of the values it was first met with.
    Add,
    /// It is left out, and counted.
    Ignore,
}

/// How timestamps of a column are written where they are not in ISO-8601, which is always read as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeShape {
    /// Seconds since 1970 in UTC, with or without a fraction, as a number or as text.
    EpochSeconds,
    /// Milliseconds since 1970 in UTC.
    EpochMillis,
    /// Microseconds since 1970 in UTC.
    EpochMicros,
    /// Month, day, year, as spreadsheets in the USA write it: `5/21/2015 0:00`, `03/25/2017 8:55:43 AM`.
    MonthFirst,
    /// Day, month, year: `21/5/2015 0:00`, `21.05.2015 18:30:00`.
    DayFirst,
}

/// `[table.read]`: how the lake's objects are read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Reading {
    /// How records are written.
    pub format: RecordFormat,
    /// What stands between the fields of a `csv` or `text` line. Absent: a comma for `csv`, a space for `text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &";")]
    pub delimiter: Option<char>,
    /// The first line of every `csv` or `text` object names its fields. It has to name `fields`, in their order.
    #[serde(skip_serializing_if = "is_default")]
    pub header: bool,
    /// The fields of a `csv` or `text` line, in order. One that is no column is left out, and counted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = example_fields())]
    pub fields: Vec<String>,
    /// Columns that stand in the objects' keys, Hive-style: `city=London/year=2025/...`. A record that has the field too
    /// must agree, or it goes to quarantine; an object whose key lacks the part leaves the column to its records.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = example_path_columns())]
    pub path_columns: Vec<String>,
    /// What becomes of objects and lists inside a JSON record, in columns that are inferred.
    #[serde(skip_serializing_if = "is_default")]
    pub nested: Nested,
    /// What becomes of a field of a JSON record that is no column. The stamp's own fields are left out in any case.
    #[serde(skip_serializing_if = "is_default")]
    pub new_columns: NewColumns,
    /// Timestamp columns that are not only written in ISO-8601, and how. Which of day and month comes first is not guessed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(example = example_timestamps())]
    pub timestamps: BTreeMap<String, TimeShape>,
}

fn example_fields() -> [&'static str; 3] {
    ["record_id", "timestamp", "speed"]
}
fn example_path_columns() -> [&'static str; 1] {
    ["city"]
}
fn example_timestamps() -> serde_json::Value {
    serde_json::json!({ "time": "epoch_millis" })
}

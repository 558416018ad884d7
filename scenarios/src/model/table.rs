//! `[table]`: what the lake is compacted into.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ColumnType, Dedup, Derive, Reading, is_default};
use crate::units::{ByteSize, Span};

/// `[table]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Table {
    /// The table: a folder or an `s3://bucket/prefix` URL. Absent: `table` in the run's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"s3://my-bucket/table")]
    pub location: Option<String>,
    /// Column name to type, in order of name. Empty: inferred from the first objects. `read.new_columns` says what
    /// becomes of a field that is not a column.
    pub columns: BTreeMap<String, ColumnType>,
    /// Columns computed from timestamps.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub derive: Vec<Derive>,
    /// Hive-style partition columns, outermost first.
    pub partition_by: Vec<String>,
    /// When two rows are the same. Absent: every row is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dedup: Option<Dedup>,
    /// How the lake's objects are read.
    #[serde(skip_serializing_if = "is_default")]
    pub read: Reading,
    /// Columns whose data files get a bloom filter, by which a query for single values passes over files. They take room
    /// in every file, and pay for columns of many values in no order, such as ids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = example_bloom_filter())]
    pub bloom_filter: Vec<String>,
    /// Columns that the rows of each data file lie in order of, ascending, null last. Absent: the order of the objects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = example_sort_by())]
    pub sort_by: Vec<String>,
    /// A data file of about this size is ended and another one begun. Absent: what the table says
    /// (`delta.targetFileSize`), which is 100 MiB if it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"32MiB")]
    pub file_size: Option<ByteSize>,
    /// How often the compactor looks for new objects while the load runs.
    pub every: Span,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            location: None,
            columns: BTreeMap::new(),
            derive: Vec::new(),
            partition_by: Vec::new(),
            dedup: None,
            read: Reading::default(),
            bloom_filter: Vec::new(),
            sort_by: Vec::new(),
            file_size: None,
            every: Span::from_secs(15),
        }
    }
}

fn example_bloom_filter() -> [&'static str; 1] {
    ["ID"]
}

fn example_sort_by() -> [&'static str; 2] {
    ["City", "Start_Time"]
}

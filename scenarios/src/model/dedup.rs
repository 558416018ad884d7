//! `[table.dedup]`: which rows are one row, and what is computed over those that are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which of several rows with one key stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// The row with the smallest `order_by`.
    #[default]
    First,
    /// The row with the largest `order_by`.
    Last,
}

/// What is computed over all rows that share a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AggregateFunction {
    /// The smallest value of the column.
    Min,
    /// The largest value of the column.
    Max,
    /// How many rows there were.
    Count,
    /// The sum of the column's values, without nulls: an integer of integers (it stops at the ends of 64 bits), else a
    /// number, whose last digits depend on the order of the rows.
    Sum,
    /// A value of the column that is not null, if there is one. Any would do; it is the smallest, so that the order of
    /// rows does not show.
    Any,
}

/// An extra column of the table, computed over the rows that share a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Aggregate {
    /// The new column's name.
    #[schemars(example = &"first_seen")]
    pub name: String,
    /// What is computed.
    #[schemars(example = AggregateFunction::Min)]
    pub function: AggregateFunction,
    /// The column it is computed over; not used by `count`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"timestamp")]
    pub of: Option<String>,
}

/// `[table.dedup]`: rows with an equal key are one row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dedup {
    /// The columns that make two rows the same. Null equals null. Absent or empty: all columns of the records, so that only
    /// rows that are equal as a whole are the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = example_key())]
    pub key: Vec<String>,
    /// Which row stays; of rows that are equal as a whole, one.
    #[serde(default)]
    pub keep: Keep,
    /// The column that orders rows with one key; its ties are broken by object name, then line.
    #[serde(default = "default_order_by")]
    pub order_by: String,
    /// Columns computed over all rows with one key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aggregate: Vec<Aggregate>,
}

fn example_key() -> [&'static str; 1] {
    ["ID"]
}
fn default_order_by() -> String {
    crate::stamp::SEQUENCE_FIELD.to_owned()
}

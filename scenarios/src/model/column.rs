//! The table's columns: their types, and those computed from others.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A column's type in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// UTF-8 text.
    String,
    /// 64-bit signed integer.
    Integer,
    /// 64-bit floating point.
    Number,
    /// True or false.
    Boolean,
    /// Microseconds since 1970 in UTC, read from ISO-8601 text, and from what `read.timestamps`
    /// says; without an offset it is taken as UTC.
    Timestamp,
}

/// Which part of a timestamp a derived column holds, as text that sorts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimePart {
    /// `2025`
    Year,
    /// `2025-01`
    Month,
    /// `2025-01-31`
    Date,
    /// `2025-01-31-23`
    Hour,
}

/// A column computed from a timestamp column, made to partition by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Derive {
    /// The new column's name. It is a string.
    #[schemars(example = &"event_hour")]
    pub name: String,
    /// The timestamp column it is computed from.
    #[schemars(example = &"timestamp")]
    pub from: String,
    /// Which part it holds.
    #[schemars(example = TimePart::Hour)]
    pub part: TimePart,
}

//! What is said about a piece of an object that became no row.

use serde::{Deserialize, Serialize};

/// Bytes of a bad piece that are kept; its full length is always told.
pub const RAW_LIMIT: usize = 1 << 20;

/// Why a piece of an object is in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Reason {
    /// It is no JSON, or something follows the object on its line.
    NotJson,
    /// It is JSON, but no object.
    NotObject,
    /// A declared column holds a value of another type.
    WrongType {
        /// The column.
        column: String,
    },
    /// It is not UTF-8.
    NotUtf8,
    /// The gzip stream ends early: this is what follows the last whole record, which may be nothing.
    TruncatedGzip,
    /// The gzip stream is damaged: no byte of the object can be trusted, so all of it is here.
    CorruptGzip,
    /// The object is named `.gz` and is not gzip, or something that is not gzip follows its last member.
    NotGzip,
    /// A line of fields whose quotes do not close where a field ends.
    NotCsv,
    /// A line with more or fewer fields than the scenario names.
    FieldCount,
    /// The object's first line does not name the fields that the scenario names: no line can be trusted, so all of it is
    /// here.
    OtherHeader,
    /// A column that the object's key gives another value, or one of another type.
    PathConflict {
        /// The column.
        column: String,
    },
    /// A field that is no column, where the scenario wants such records here.
    NewColumn {
        /// The field.
        column: String,
    },
    /// The record is longer than [`super::RECORD_LIMIT`].
    TooLong,
}

impl Reason {
    /// The short name written to quarantine and to the record.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::NotObject => "not_object",
            Self::WrongType { .. } => "wrong_type",
            Self::NotUtf8 => "not_utf8",
            Self::TruncatedGzip => "truncated_gzip",
            Self::CorruptGzip => "corrupt_gzip",
            Self::NotGzip => "not_gzip",
            Self::NotCsv => "not_csv",
            Self::FieldCount => "field_count",
            Self::OtherHeader => "other_header",
            Self::PathConflict { .. } => "path_conflict",
            Self::NewColumn { .. } => "new_column",
            Self::TooLong => "too_long",
        }
    }

    /// The same as a sentence, for people.
    #[must_use]
    pub fn message(&self) -> String {
        let text = match self {
            Self::NotJson => "this is no JSON, or something follows the record on its line",
            Self::NotObject => "this is JSON, but no object",
            Self::WrongType { column } => return format!("the value of {column:?} is not of the column's type"),
            Self::NotUtf8 => "this is not UTF-8",
            Self::TruncatedGzip => "the gzip stream ends early, behind this",
            Self::CorruptGzip => "the gzip stream is damaged, so no byte of the object can be trusted",
            Self::NotGzip => "this is not gzip",
            Self::NotCsv => "a quote does not close where a field ends",
            Self::FieldCount => "this line has more or fewer fields than the scenario names",
            Self::OtherHeader => "the first line does not name the scenario's fields in their order",
            Self::PathConflict { column } => {
                return format!("the object's key and the record do not agree on {column:?}");
            }
            Self::NewColumn { column } => return format!("the table has no column for the field {column:?}"),
            Self::TooLong => return format!("the record is longer than {} bytes", super::RECORD_LIMIT),
        };
        text.to_owned()
    }

    /// The column at fault, where one is.
    #[must_use]
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::WrongType { column } | Self::PathConflict { column } | Self::NewColumn { column } => Some(column),
            _ => None,
        }
    }
}

/// A piece of an object that became no row, with its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadLine {
    /// The object's key.
    pub object: String,
    /// Number of the gzip member that holds its first byte, from 1; 0 where there is none.
    pub member: u64,
    /// Line of its first byte, from 1.
    pub line: u64,
    /// Byte offset of its first byte after decompression; in the object itself for `not_gzip` and `corrupt_gzip`.
    pub offset: u64,
    /// Its length in bytes, in the same terms.
    pub length: u64,
    /// Why it is no row.
    pub reason: Reason,
    /// Its bytes, at most [`RAW_LIMIT`] of them.
    pub raw: Vec<u8>,
}

/// Where a piece starts; see [`BadLine`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) member: u64,
    pub(super) line: u64,
    pub(super) offset: u64,
}

impl Place {
    /// The first byte of an object as it lies in the lake.
    pub(super) const FIRST: Self = Self { member: 0, line: 1, offset: 0 };
}

impl BadLine {
    pub(super) fn new(object: &str, place: Place, reason: Reason, bytes: &[u8]) -> Self {
        Self {
            object: object.to_owned(),
            member: place.member,
            line: place.line,
            offset: place.offset,
            length: bytes.len() as u64,
            reason,
            raw: bytes[..bytes.len().min(RAW_LIMIT)].to_vec(),
        }
    }
}

//! What was landed in the lake and what was compacted into the table.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What delivery did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryRecord {
    /// Where the lake is.
    pub lake: String,
    /// Records read from the stream.
    pub records_read: u64,
    /// Records written to good objects.
    pub records_delivered: u64,
    /// Records written under the error prefix.
    pub records_errored: u64,
    /// Good objects written.
    pub objects: u64,
    /// Error objects written.
    pub error_objects: u64,
    /// Bytes before compression.
    pub raw_bytes: u64,
    /// Bytes of the objects.
    pub object_bytes: u64,
    /// Writes that failed and were tried again.
    pub write_retries: u64,
}

/// What the compactor did, summed over all its passes of this run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CompactionRecord {
    /// Where the table is.
    pub table: String,
    /// The table's version at the end.
    pub version: u64,
    /// Passes that found something to do.
    pub passes: u64,
    /// Objects compacted.
    pub objects: u64,
    /// Objects that were gone between listing and reading, or were being written just then; those that are there again are
    /// taken later. Zero in records from before it was counted.
    #[serde(default)]
    pub unread: u64,
    /// Commits that were begun and given up, because an object was gone or another one by then. What the lake still has of
    /// their objects is taken by other commits. Zero in records from before it was counted.
    #[serde(default)]
    pub withdrawn: u64,
    /// Bytes of the objects compacted.
    pub object_bytes: u64,
    /// Bytes after decompression.
    pub raw_bytes: u64,
    /// Lines read.
    pub lines: u64,
    /// Rows written to the table, net of rows that replaced one with the same key.
    pub rows: u64,
    /// Rows that were the same as another by the deduplication key.
    pub duplicates: u64,
    /// Lines and pieces of objects in quarantine.
    pub quarantined: u64,
    /// Quarantined by reason.
    pub quarantine_reasons: Vec<QuarantineReason>,
    /// Fields of records that are no column of the table: name and how often.
    pub unknown_fields: Vec<UnknownField>,
    /// Files added to the table.
    pub files_added: u64,
    /// Files removed from the table.
    pub files_removed: u64,
    /// Bytes of the files added.
    pub file_bytes: u64,
    /// Rows in the table at the end.
    pub table_rows: u64,
    /// Wall time in passes, microseconds.
    pub elapsed_us: u64,
    /// CPU time of the process in passes, microseconds.
    pub cpu_us: u64,
    /// Where the time went; all zero in records from before it was measured.
    #[serde(default)]
    pub stages: StageTimes,
}

/// Where the compactor's processor time went, microseconds. Together the stages are the whole of it (`cpu_us`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StageTimes {
    /// Listing the lake.
    pub list_us: u64,
    /// Decompressing objects.
    pub inflate_us: u64,
    /// From text to columns.
    pub decode_us: u64,
    /// Finding rows that are the same, in the batch and in the table.
    pub dedupe_us: u64,
    /// From columns to Parquet.
    pub encode_us: u64,
    /// Quarantine, syncing and committing.
    pub commit_us: u64,
    /// Everything else: opening objects, handing work over, manifests. Zero in records from before it was measured.
    #[serde(default)]
    pub other_us: u64,
}

/// How often a reason for quarantine was met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QuarantineReason {
    /// The reason's short name.
    pub reason: String,
    /// How many lines.
    pub lines: u64,
}

/// A field that is no column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnknownField {
    /// The field's name.
    pub name: String,
    /// How many records had it.
    pub records: u64,
}

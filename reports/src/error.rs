//! What can go wrong with a record and its files.

use std::path::PathBuf;

/// A record or one of its files could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A histogram could not be encoded.
    #[error("the {tag} histogram could not be encoded: {reason}")]
    Histogram {
        /// Whose, as it is tagged in the log.
        tag: String,
        /// Why.
        reason: String,
    },
    /// A line of a latency log is not as Millrace writes it.
    #[error("{}: line {line}: {reason}", path.display())]
    LogLine {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A file is not a run record: not JSON, cut off, or of another shape.
    #[error("{}: not a run record: {source}", path.display())]
    NotARecord {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A run record of another major version, which this build would misread.
    #[error(
        "{}: the record has schema version {found}, this Millrace reads {supported}; read it with the Millrace that wrote it",
        path.display()
    )]
    Version {
        /// Which file.
        path: PathBuf,
        /// The version in the file.
        found: String,
        /// The version this build writes.
        supported: &'static str,
    },
    /// A record could not be written as JSON.
    #[error("the run record could not be encoded: {0}")]
    Encode(serde_json::Error),
}

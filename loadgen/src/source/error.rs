//! What can go wrong with a source, split by who can mend it: the author of the scenario, or the environment.

use std::path::PathBuf;

/// A source could not be opened or could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The file to replay does not exist.
    #[error("{}: no such file; set source.path to a US-Accidents CSV, or leave it out to use the synthetic file", path.display())]
    MissingFile {
        /// Which file.
        path: PathBuf,
    },
    /// The file to replay is a folder.
    #[error("{}: is a folder; set source.path to a US-Accidents CSV file", path.display())]
    Folder {
        /// Which folder.
        path: PathBuf,
    },
    /// The file to replay is empty.
    #[error("{}: the file has no header; expected a US-Accidents CSV whose first column is ID", path.display())]
    NoHeader {
        /// Which file.
        path: PathBuf,
    },
    /// The file's first line is no header of a known kind.
    #[error("{}: the first column is {found:?}; expected a US-Accidents CSV whose first column is ID", path.display())]
    NotAccidents {
        /// Which file.
        path: PathBuf,
        /// The first column's name, cut short.
        found: String,
    },
    /// The file's first line cannot be read as CSV.
    #[error("{}: the header cannot be read ({reason}); expected a US-Accidents CSV whose first column is ID", path.display())]
    UnreadableHeader {
        /// Which file.
        path: PathBuf,
        /// A reject reason, as in `rejects.ndjson`.
        reason: &'static str,
    },
    /// A column would appear twice in the JSON object.
    #[error("{}: the column {column:?} appears twice; rename or remove one", path.display())]
    DuplicateColumn {
        /// Which file.
        path: PathBuf,
        /// The name.
        column: String,
    },
    /// A column has a name that Millrace adds to every record.
    #[error("{}: the column {column:?} has the name of a field that Millrace adds; rename it", path.display())]
    ReservedColumn {
        /// Which file.
        path: PathBuf,
        /// The name.
        column: String,
    },
    /// A whole pass over a looping file gave no record.
    #[error(
        "{}: no row could be read in a whole pass ({rejected} rejected, reasons in rejects.ndjson), so there is nothing to loop over",
        path.display()
    )]
    NoUsableRow {
        /// Which file.
        path: PathBuf,
        /// Rows rejected in the first pass.
        rejected: u64,
    },
    /// The epoch is not a time.
    #[error("source.epoch = {text:?} is not an RFC 3339 time ({source}); write for example \"2025-01-01T00:00:00Z\"")]
    Epoch {
        /// What the scenario says.
        text: String,
        /// Why it is not one.
        source: chrono::ParseError,
    },
    /// A sensor source without sensors.
    #[error("source.sensors is 0; at least one sensor is needed")]
    NoSensors,
    /// Event times ran past the year 9999.
    #[error("record {sequence} would have an event time outside the years 0 to 9999; choose a smaller source.interval")]
    EventTime {
        /// Which payload, from 0.
        sequence: u64,
    },
    /// The live API's address is not a URL.
    #[error("source.url = {url:?} is not an http or https address: {reason}")]
    Url {
        /// What the scenario says.
        url: String,
        /// Why it is not one.
        reason: String,
    },
    /// The live API gave no usable answer.
    #[error("{url}: no usable answer after {attempts} attempts: {source}")]
    Live {
        /// The address asked.
        url: String,
        /// How often it was asked.
        attempts: u32,
        /// What the last attempt met.
        source: LiveError,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl SourceError {
    /// Whether the scenario or the file it names has to change; otherwise the environment failed.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        !matches!(self, Self::Live { .. } | Self::Io { .. })
    }
}

/// What one attempt to ask the live API met.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LiveError {
    /// No answer in time.
    #[error("no answer within {0:?}")]
    TimedOut(std::time::Duration),
    /// No connection, or it broke.
    #[error("{0}")]
    Transport(String),
    /// An answer that is not 200.
    #[error("status {0}")]
    Status(u16),
    /// An answer larger than any reading.
    #[error("an answer of more than {0} bytes")]
    TooLarge(usize),
    /// An answer without a reading in it.
    #[error("the answer has no current_weather reading: {0}")]
    Malformed(String),
}

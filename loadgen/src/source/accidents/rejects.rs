//! Rows that could not be read: counted, and kept in `rejects.ndjson` with their place, the reason and the raw text.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use serde::{Serialize, Serializer};

use super::frames::Frame;
use crate::source::SourceError;

/// The file's name in the run's folder.
const FILE_NAME: &str = "rejects.ndjson";

/// The most of a row that is kept.
const RAW_BYTES: usize = 4 << 10;

/// Why a row could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// More or fewer fields than the header has.
    FieldCount,
    /// The file ends in the middle of the row.
    CutRecord,
    /// A quote is opened and never closed.
    UnclosedQuote,
    /// Text stands behind a closing quote.
    StrayQuote,
    /// One line is longer than any row may be.
    TooLong,
    /// Bytes that are not UTF-8.
    NotUtf8,
    /// No ID.
    EmptyId,
    /// Not a whole number.
    BadInteger,
    /// Not a number.
    BadNumber,
    /// Not true or false.
    BadBoolean,
    /// Not a time in any known shape, or one that does not exist.
    BadTimestamp,
}

impl Reason {
    /// The reason as it is written.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::FieldCount => "field_count",
            Self::CutRecord => "cut_record",
            Self::UnclosedQuote => "unclosed_quote",
            Self::StrayQuote => "stray_quote",
            Self::TooLong => "too_long",
            Self::NotUtf8 => "not_utf8",
            Self::EmptyId => "empty_id",
            Self::BadInteger => "bad_integer",
            Self::BadNumber => "bad_number",
            Self::BadBoolean => "bad_boolean",
            Self::BadTimestamp => "bad_timestamp",
        }
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A reason, and the column it was found in when it is one column's fault.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rejection {
    pub(super) reason: Reason,
    pub(super) column: Option<String>,
}

impl From<Reason> for Rejection {
    fn from(reason: Reason) -> Self {
        Self { reason, column: None }
    }
}

/// One line of `rejects.ndjson`.
#[derive(Serialize)]
struct Entry<'a> {
    line: u64,
    byte: u64,
    reason: Reason,
    column: Option<&'a str>,
    raw: Cow<'a, str>,
}

/// The open `rejects.ndjson`. After [`close`](Self::close) further rejects are dropped: they are repetitions.
///
/// It is written row by row rather than replaced at the end, so that what was rejected is known after a crash too.
pub(super) struct Rejects {
    path: PathBuf,
    file: Option<BufWriter<File>>,
    count: u64,
}

impl Rejects {
    pub(super) fn create(run_dir: &Path) -> Result<Self, SourceError> {
        let path = run_dir.join(FILE_NAME);
        match File::create(&path) {
            Ok(file) => Ok(Self { path, file: Some(BufWriter::new(file)), count: 0 }),
            Err(source) => Err(SourceError::Io { path, source }),
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn add(&mut self, frame: &Frame<'_>, rejection: &Rejection) -> Result<(), SourceError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let entry = Entry {
            line: frame.line,
            byte: frame.byte,
            reason: rejection.reason,
            column: rejection.column.as_deref(),
            raw: String::from_utf8_lossy(&frame.bytes[..frame.bytes.len().min(RAW_BYTES)]),
        };
        self.count += 1;
        serde_json::to_writer(&mut *file, &entry)
            .map_err(io::Error::from)
            .and_then(|()| file.write_all(b"\n"))
            .map_err(|source| SourceError::Io { path: self.path.clone(), source })
    }

    /// Brings everything added to the disk.
    pub(super) fn sync(&mut self) -> Result<(), SourceError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.flush()
            .and_then(|()| file.get_ref().sync_all())
            .map_err(|source| SourceError::Io { path: self.path.clone(), source })
    }

    /// The first pass is over: nothing is added any more.
    pub(super) fn close(&mut self) -> Result<(), SourceError> {
        self.sync()?;
        self.file = None;
        Ok(())
    }
}

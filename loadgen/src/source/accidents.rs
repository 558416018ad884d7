//! US-Accidents rows from a CSV file, replayed as typed JSON.
//!
//! The header decides: every schema of the data set (46 to 49 columns, `ID` first) is read by the names of its columns.
//! Lines are framed here rather than by the `csv` crate, so that one quote that is never closed costs one row and not
//! the rest of the file; `csv` then takes each framed row apart. Memory is one fixed window, whatever the file's size.

mod columns;
mod frames;
mod rejects;

use std::{
    fs::File,
    io::{self, Read, Seek},
    path::{Path, PathBuf},
};

use csv::{ByteRecord, Reader, ReaderBuilder, Terminator};
use millrace_scenarios::{
    AtEnd,
    stamp::{DUE_FIELD, RUN_FIELD, SEQUENCE_FIELD},
};

use self::{
    columns::Column,
    frames::{Frame, Frames},
    rejects::{Reason, Rejection, Rejects},
};
use super::{Payload, PayloadSource, SourceError, event_time::Moment, json};
use crate::stamp::TXN_FIELD;

/// The longest first column name an error repeats.
const NAME_SHOWN_CHARS: usize = 80;

/// The column that says when an accident began: the time of the event, for a trace.
const EVENT_COLUMN: &str = "Start_Time";

/// The rows of one accident file as JSON objects, pass by pass.
pub struct AccidentRows {
    path: PathBuf,
    frames: Frames<File>,
    splitter: Splitter,
    columns: Vec<Column>,
    rejects: Rejects,
    /// Rows given out in this pass.
    emitted: u64,
    /// Size of the last row, a good guess for the next.
    json_bytes: usize,
}

impl AccidentRows {
    /// Opens the file, reads its header and starts an empty `rejects.ndjson` in `run_dir`.
    ///
    /// # Errors
    /// A configuration [`SourceError`] when the file is missing, a folder, empty, or its header is not that of an accident
    /// file; [`SourceError::Io`] when it cannot be read or `rejects.ndjson` cannot be written.
    pub fn open(path: &Path, run_dir: &Path) -> Result<Self, SourceError> {
        let io = |source: io::Error| SourceError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => SourceError::MissingFile { path: path.to_owned() },
            _ => io(source),
        })?;
        if file.metadata().map_err(io)?.is_dir() {
            return Err(SourceError::Folder { path: path.to_owned() });
        }
        let mut frames = Frames::new(file).map_err(io)?;
        let mut splitter = Splitter::new();
        let columns = match frames.next().map_err(io)? {
            Some(frame) => read_header(path, &frame, &mut splitter)?,
            None => return Err(SourceError::NoHeader { path: path.to_owned() }),
        };
        frames.expect_columns(columns.len());
        let rejects = Rejects::create(run_dir)?;
        Ok(Self { path: path.to_owned(), frames, splitter, columns, rejects, emitted: 0, json_bytes: 1_024 })
    }

    /// The next readable row as one JSON object; `None` at the end of the file. Unreadable rows before it are rejected.
    ///
    /// # Errors
    /// [`SourceError::Io`] when the file cannot be read or `rejects.ndjson` cannot be written.
    pub fn next_row(&mut self) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.row(true)?.map(|row| row.json))
    }

    /// Passes over the next readable row. What is rejected on the way is left to whoever takes that row.
    fn skip_row(&mut self) -> Result<bool, SourceError> {
        self.row(false).map(|row| row.is_some())
    }

    fn row(&mut self, note_rejects: bool) -> Result<Option<Row>, SourceError> {
        loop {
            let frame = self.frames.next().map_err(|source| SourceError::Io { path: self.path.clone(), source })?;
            let Some(frame) = frame else { return Ok(None) };
            match read_row(&frame, &mut self.splitter, &self.columns, self.json_bytes) {
                Ok(row) => {
                    self.emitted += 1;
                    self.json_bytes = row.json.len();
                    return Ok(Some(row));
                }
                Err(rejection) if note_rejects => self.rejects.add(&frame, &rejection)?,
                Err(_) => {}
            }
        }
    }

    /// Goes back to the first row. Rejects of later passes are neither counted nor written again.
    ///
    /// # Errors
    /// [`SourceError::NoUsableRow`] when the pass that ends gave no row at all; [`SourceError::Io`] when the file cannot
    /// be read twice, as a pipe cannot.
    pub fn rewind(&mut self) -> Result<(), SourceError> {
        self.rejects.close()?;
        if self.emitted == 0 {
            return Err(SourceError::NoUsableRow { path: self.path.clone(), rejected: self.rejected() });
        }
        self.emitted = 0;
        let io = |source: io::Error| SourceError::Io { path: self.path.clone(), source };
        self.frames.restart(|file| file.rewind()).map_err(io)?;
        self.frames.next().map_err(io)?;
        self.frames.expect_columns(self.columns.len());
        Ok(())
    }

    /// Rows rejected in the first pass so far.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejects.count()
    }

    /// Brings `rejects.ndjson` to the disk.
    ///
    /// # Errors
    /// [`SourceError::Io`] when it cannot be written.
    pub fn finish(&mut self) -> Result<(), SourceError> {
        self.rejects.sync()
    }
}

/// An accident file as a payload source.
pub(super) struct Accidents {
    rows: AccidentRows,
    at_end: AtEnd,
}

impl Accidents {
    pub(super) fn open(path: &Path, at_end: AtEnd, run_dir: &Path) -> Result<Self, SourceError> {
        Ok(Self { rows: AccidentRows::open(path, run_dir)?, at_end })
    }
}

impl PayloadSource for Accidents {
    fn next(&mut self) -> Result<Option<Payload>, SourceError> {
        loop {
            match (self.rows.row(true)?, self.at_end) {
                (Some(Row { json, event_us }), _) => {
                    return Ok(Some(Payload { json, txn_timestamp: true, event_us }));
                }
                (None, AtEnd::Stop) => return Ok(None),
                (None, AtEnd::Loop) => self.rows.rewind()?,
            }
        }
    }

    fn skip(&mut self, count: u64) -> Result<(), SourceError> {
        let mut left = count;
        while left > 0 {
            match (self.rows.skip_row()?, self.at_end) {
                (true, _) => left -= 1,
                (false, AtEnd::Stop) => break,
                (false, AtEnd::Loop) => self.rows.rewind()?,
            }
        }
        Ok(())
    }

    fn rejected_rows(&self) -> u64 {
        self.rows.rejected()
    }

    fn finish(&mut self) -> Result<(), SourceError> {
        self.rows.finish()
    }
}

/// A row as it is sent, and when its accident began.
struct Row {
    json: Vec<u8>,
    event_us: Option<i64>,
}

/// Takes framed rows apart with one `csv` reader, which is handed exactly one row at a time.
struct Splitter {
    reader: Reader<Slot>,
    fields: ByteRecord,
}

/// One row on its way into the `csv` reader.
#[derive(Default)]
struct Slot {
    row: Vec<u8>,
    read: usize,
}

impl Read for Slot {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = (&self.row[self.read..]).read(out)?;
        self.read += count;
        Ok(count)
    }
}

impl Splitter {
    fn new() -> Self {
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            // A carriage return inside a field is data; the one that ends a line is taken off by the framing.
            .terminator(Terminator::Any(b'\n'))
            .from_reader(Slot::default());
        Self { reader, fields: ByteRecord::new() }
    }

    fn split(&mut self, row: &[u8]) -> Result<&ByteRecord, Reason> {
        let slot = self.reader.get_mut();
        slot.row.clear();
        slot.row.extend_from_slice(row);
        slot.row.push(b'\n');
        slot.read = 0;
        match self.reader.read_byte_record(&mut self.fields) {
            Ok(true) => Ok(&self.fields),
            Ok(false) | Err(_) => Err(Reason::FieldCount),
        }
    }
}

fn read_header(path: &Path, frame: &Frame<'_>, splitter: &mut Splitter) -> Result<Vec<Column>, SourceError> {
    let unreadable = |reason: Reason| SourceError::UnreadableHeader { path: path.to_owned(), reason: reason.name() };
    frame.fault.map_or(Ok(()), |reason| Err(unreadable(reason)))?;
    let fields = splitter.split(frame.bytes).map_err(unreadable)?;
    let first = String::from_utf8_lossy(fields.get(0).unwrap_or_default()).trim().to_owned();
    if first != "ID" {
        let found = first.chars().take(NAME_SHOWN_CHARS).collect();
        return Err(SourceError::NotAccidents { path: path.to_owned(), found });
    }
    let mut columns: Vec<Column> = Vec::with_capacity(fields.len());
    for name in fields {
        let name = std::str::from_utf8(name).map_err(|_| unreadable(Reason::NotUtf8))?.trim();
        let (path, column) = (path.to_owned(), name.to_owned());
        if [RUN_FIELD, SEQUENCE_FIELD, DUE_FIELD, TXN_FIELD].contains(&name) {
            return Err(SourceError::ReservedColumn { path, column });
        }
        if columns.iter().any(|known| known.name == name) {
            return Err(SourceError::DuplicateColumn { path, column });
        }
        columns.push(Column::new(name, columns.is_empty()));
    }
    Ok(columns)
}

fn read_row(
    frame: &Frame<'_>,
    splitter: &mut Splitter,
    columns: &[Column],
    json_bytes: usize,
) -> Result<Row, Rejection> {
    if let Some(reason) = frame.fault {
        return Err(reason.into());
    }
    let fields = splitter.split(frame.bytes)?;
    if fields.len() != columns.len() {
        return Err(if frame.terminated { Reason::FieldCount } else { Reason::CutRecord }.into());
    }
    let mut out = Vec::with_capacity(json_bytes + 64 + json::STAMP_ROOM);
    let mut event_us = None;
    for (column, value) in columns.iter().zip(fields) {
        let reject = |reason| Rejection { reason, column: Some(column.name.clone()) };
        let value = std::str::from_utf8(value).map_err(|_| reject(Reason::NotUtf8))?;
        column.push(value, &mut out).map_err(reject)?;
        if column.name == EVENT_COLUMN {
            event_us = Moment::parse(value.trim()).and_then(|moment| moment.as_us());
        }
    }
    out.push(b'}');
    Ok(Row { json: out, event_us })
}

#[cfg(test)]
mod tests;

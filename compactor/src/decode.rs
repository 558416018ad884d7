//! From an object's bytes to rows: decompressed, framed, typed, and every piece that is no row named with its place.
//!
//! Firehose writes records as it was handed them: with or without newlines between, with CRLF, a BOM, blank lines, over
//! several lines. A record here is therefore whatever object starts at the next `{`, not a line. What cannot be read is
//! cut out up to the next place where a record can start: the next line, or on the same line a brace that can be no part
//! of what is broken (it opens with a name, and no colon, comma or bracket stands before it) and from which a record can
//! be read. So one bad record costs none of its neighbours, whether newlines stand between them or nothing.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::RecordBatch;
use bytes::Bytes;

mod bad;
mod column;
mod columns;
mod frame;
mod inflate;
mod json;
mod lines;
mod nested;
mod path;
#[cfg(test)]
mod tests;
mod text;
mod time;

pub use bad::{BadLine, RAW_LIMIT, Reason};
pub(crate) use path::values as path_values;
pub(crate) use text::{head, text_of};
pub(crate) use time::{shaped_us, timestamp_us};

use crate::{cpu::thread_cpu_us, error::CompactError, schema::TableSchema};
use bad::Place;
use columns::Columns;
use frame::{End, Follows, Frame, Pending, Piece};
use inflate::{GZIP_MAGIC, Input, Read1, Whole};
use json::{Fault, Scratch};
use lines::{LineFault, Lines};
use millrace_scenarios::NewColumns;
use text::looks_like_records;

/// Bytes read at a time, ...
const READ_BYTES: usize = 512 << 10;
/// ... and while a longer record makes the buffer grow.
const READ_BYTES_MOST: usize = 16 << 20;
/// Longest record, in bytes. Longer ones go to quarantine as `too_long`.
pub const RECORD_LIMIT: usize = 64 << 20;
/// A chunk is handed on when it has this many rows ...
pub const CHUNK_ROWS: usize = 8_192;
/// ... or this much text, in bytes, whichever comes first.
pub const CHUNK_TEXT_BYTES: usize = 4 << 20;
/// What some editors put before UTF-8.
const BOM: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// Some rows of an object, with their places, and the bad pieces met among them.
#[derive(Debug)]
pub struct DecodedChunk {
    /// The rows, with the columns of [`TableSchema::arrow_decoded`].
    pub batch: RecordBatch,
    /// The line of each row's first byte, from 1.
    pub lines: Vec<u64>,
    /// The byte offset of each row's first byte, after decompression.
    pub offsets: Vec<u64>,
    /// What became no row.
    pub bad: Vec<BadLine>,
}

/// What was in an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectReport {
    /// Rows and bad pieces.
    pub lines: u64,
    /// Rows.
    pub rows: u64,
    /// Bad pieces.
    pub bad: u64,
    /// Bytes after decompression.
    pub raw_bytes: u64,
    /// Fields that are no column: name and how many records had it.
    pub unknown: BTreeMap<String, u64>,
    /// Set when the gzip stream proved damaged: no row of the object may be used, those handed over before included.
    /// This one entry stands for the whole object, and the counts above say so.
    pub corrupt: Option<BadLine>,
}

/// Decodes objects, one after the other, keeping its buffers.
#[derive(Debug)]
pub struct Decoder {
    schema: Arc<TableSchema>,
    columns: Columns,
    scratch: Scratch,
    buffer: Vec<u8>,
    /// How lines of fields are written, where records are no JSON.
    lines: Option<Lines>,
    /// A quoted field's text.
    bare: Vec<u8>,
    /// Absent while it is at work.
    whole: Option<Whole>,
    /// What was found in objects before and not handed on.
    pending: Pending,
    inflate_us: u64,
}

impl Decoder {
    /// A decoder for records of this schema.
    #[must_use]
    pub fn new(schema: Arc<TableSchema>) -> Self {
        let (columns, lines) = (Columns::new(&schema), Lines::new(schema.read()));
        Self {
            schema,
            columns,
            scratch: Scratch::default(),
            buffer: Vec::new(),
            lines,
            bare: Vec::new(),
            whole: None,
            pending: Pending::default(),
            inflate_us: 0,
        }
    }

    /// Decodes one object, gzip (any number of members) or plain, and hands its rows on chunk by chunk.
    ///
    /// Memory is bounded by one chunk and the longest record, not by the object's size after decompression.
    ///
    /// # Errors
    /// What `sink` returns; bad data is not an error.
    pub fn decode_object(
        &mut self,
        bytes: Bytes,
        object: &str,
        sink: &mut dyn FnMut(DecodedChunk) -> Result<(), CompactError>,
    ) -> Result<ObjectReport, CompactError> {
        if let Some(report) = self.decode_whole(&bytes, object, sink)? {
            self.hand_on(sink)?;
            return Ok(report);
        }
        self.decode_parts(bytes, object, sink)
    }

    /// Decodes an object that is one gzip member of moderate size; `None` when it is not. Its last rows may stay here until
    /// [`Self::hand_on`], so that many small objects make one chunk. No row of a corrupt one is handed on.
    ///
    /// # Errors
    /// What `sink` returns.
    pub(crate) fn decode_whole(
        &mut self,
        bytes: &Bytes,
        object: &str,
        sink: &mut dyn FnMut(DecodedChunk) -> Result<(), CompactError>,
    ) -> Result<Option<ObjectReport>, CompactError> {
        let mut whole = self.whole.take().unwrap_or_default();
        let since_us = thread_cpu_us();
        let text = whole.read(bytes);
        self.inflate_us += thread_cpu_us().saturating_sub(since_us);
        let report = text.map(|text| {
            self.columns.set_path(path::values(object, &self.schema));
            let mut frame = Frame::new(object, std::mem::take(&mut self.pending));
            frame.end = End::Whole;
            frame.member_starts(0);
            frame.report.raw_bytes = text.len() as u64;
            let Some(from) = self.take_header(text, &mut frame) else {
                self.pending = frame.pending;
                return Ok(give_up(bytes, object, Reason::OtherHeader));
            };
            self.scan(text, from, &mut frame, sink)?;
            Ok(self.end(frame))
        });
        self.whole = Some(whole);
        report.transpose()
    }

    /// Decodes any object, part by part, and hands on all its rows and none of another. Nothing may be left of one before.
    ///
    /// # Errors
    /// What `sink` returns.
    pub(crate) fn decode_parts(
        &mut self,
        bytes: Bytes,
        object: &str,
        sink: &mut dyn FnMut(DecodedChunk) -> Result<(), CompactError>,
    ) -> Result<ObjectReport, CompactError> {
        self.buffer.clear();
        self.columns.set_path(path::values(object, &self.schema));
        let magic = bytes.starts_with(&GZIP_MAGIC);
        if object.ends_with(".gz") && !magic && !bytes.is_empty() && self.lines.is_none() && !looks_like_records(&bytes)
        {
            let bad = BadLine::new(object, Place::FIRST, Reason::NotGzip, &bytes);
            let report = ObjectReport { lines: 1, bad: 1, raw_bytes: bytes.len() as u64, ..ObjectReport::default() };
            self.pending.bad.push(bad);
            return self.hand_on(sink).map(|()| report);
        }
        let mut frame = Frame::new(object, Pending::default());
        let mut input = Input::new(bytes.clone(), magic);
        loop {
            let want = self.buffer.len().clamp(READ_BYTES, READ_BYTES_MOST);
            let held = self.buffer.len();
            let since_us = thread_cpu_us();
            let read = input.read(&mut self.buffer, want, &mut |at| frame.member_starts(at));
            self.inflate_us += thread_cpu_us().saturating_sub(since_us);
            frame.report.raw_bytes += (self.buffer.len() - held) as u64;
            frame.end = match read {
                Read1::More => End::Open,
                Read1::End { .. } => End::Whole,
                Read1::Truncated => End::Truncated,
                Read1::Corrupt => {
                    // Its rows may be wrong without looking wrong.
                    self.columns = Columns::new(&self.schema);
                    return Ok(give_up(&bytes, object, Reason::CorruptGzip));
                }
            };
            let buffer = std::mem::take(&mut self.buffer);
            let from = self.take_header(&buffer, &mut frame);
            let done = from.map(|from| self.scan(&buffer, from, &mut frame, sink)).transpose();
            self.buffer = buffer;
            let Some(done) = done? else { return Ok(give_up(&bytes, object, Reason::OtherHeader)) };
            self.buffer.drain(..done);
            match read {
                Read1::More => {}
                Read1::End { garbage: Some(at) } => {
                    let place = Place { member: 0, line: frame.line, offset: at as u64 };
                    let tail = BadLine::new(object, place, Reason::NotGzip, &bytes[at..]);
                    frame.add_bad(tail);
                    break;
                }
                _ => break,
            }
        }
        let report = self.end(frame);
        self.hand_on(sink)?;
        Ok(report)
    }

    /// Processor time that decompression took since the last call, microseconds.
    pub fn take_inflate_us(&mut self) -> u64 {
        std::mem::take(&mut self.inflate_us)
    }

    /// The end of an object; what it left is kept.
    fn end(&mut self, mut frame: Frame<'_>) -> ObjectReport {
        frame.close();
        frame.report.unknown = self.columns.take_unknown().collect();
        frame.report.lines = frame.report.rows + frame.report.bad;
        self.pending = frame.pending;
        frame.report
    }

    /// Rows that are not handed on yet.
    pub(crate) fn rows_left(&self) -> usize {
        self.columns.rows()
    }

    /// Hands on what is left of the objects before.
    ///
    /// # Errors
    /// What `sink` returns.
    pub(crate) fn hand_on(
        &mut self,
        sink: &mut dyn FnMut(DecodedChunk) -> Result<(), CompactError>,
    ) -> Result<(), CompactError> {
        let pending = std::mem::take(&mut self.pending);
        self.flush(pending, sink)
    }

    /// Takes every record out of the buffer that can be told, from `at` on; returns how much of it is done with.
    fn scan(
        &mut self,
        buffer: &[u8],
        mut at: usize,
        frame: &mut Frame<'_>,
        sink: &mut dyn FnMut(DecodedChunk) -> Result<(), CompactError>,
    ) -> Result<usize, CompactError> {
        // Looked at once for all records: those before the first fault need no look of their own.
        frame.utf8_end = simdutf8::compat::from_utf8(buffer).map_or_else(|fault| fault.valid_up_to(), str::len);
        frame.hope = None;
        self.columns.begin_text();
        let spaces = self.lines.as_ref().is_none_or(Lines::skips_spaces);
        while let Some(start) = self.skip_long(buffer, at, frame) {
            at = frame.blank(buffer, start, spaces);
            let next = match self.lines.is_some() {
                true => self.step_line(buffer, at, frame),
                false => self.step(buffer, at, frame),
            };
            let Some(next) = next else { break };
            frame.pending.taken_bytes += next - at;
            at = next;
            // No column can hold more text than was taken.
            if self.columns.rows() >= CHUNK_ROWS || frame.pending.taken_bytes >= CHUNK_TEXT_BYTES {
                self.flush(std::mem::take(&mut frame.pending), sink)?;
            }
        }
        let at = frame.rest(buffer, at);
        frame.base += at as u64;
        Ok(at)
    }

    /// Takes one record, good or bad, that starts at `start`; returns where it ended, or `None` when it takes more bytes
    /// to say.
    fn step(&mut self, buffer: &[u8], start: usize, frame: &mut Frame<'_>) -> Option<usize> {
        if *buffer.get(start)? != b'{' {
            let piece = self.piece(buffer, start, frame)?;
            let text = &buffer[start..piece.end];
            let reason = if json::is_value(text) { Reason::NotObject } else { not_json(text) };
            frame.bad_piece(buffer, start, piece.end, reason);
            return Some(frame.pass(buffer, start, piece.next));
        }
        let mut outcome = json::object(buffer, start, &mut self.columns, &mut self.scratch);
        let whole = match outcome {
            Ok(end) | Err(Fault::WrongType { end, .. }) => match frame.follows(buffer, end) {
                Some(Follows::Boundary) => Some(Some(end)),
                Some(Follows::More) => Some(None),
                Some(Follows::Junk) => {
                    self.columns.drop_row();
                    let piece = self.piece(buffer, end, frame)?;
                    // More records on the line: they are not told apart by lines, and this one is not part of the junk.
                    outcome = json::object(buffer, start, &mut self.columns, &mut self.scratch);
                    Some(piece.is_resumed.then_some(end))
                }
                None => None,
            },
            Err(Fault::Incomplete) if frame.end == End::Open => None,
            Err(_) => Some(None),
        };
        let Some(Some(end)) = whole else {
            self.columns.drop_row();
            whole?;
            let piece = self.piece(buffer, start, frame)?;
            frame.bad_piece(buffer, start, piece.end, not_json(&buffer[start..piece.end]));
            return Some(frame.pass(buffer, start, piece.next));
        };
        let wrong = match outcome {
            Err(Fault::WrongType { column, .. }) => Some(column),
            _ => None,
        };
        if self.judge(buffer, (start, end), wrong, frame) {
            frame.line += self.scratch.lines;
            return Some(end);
        }
        Some(frame.pass(buffer, start, end))
    }

    /// Takes the line of fields that starts at `start`; otherwise like [`Self::step`].
    fn step_line(&mut self, buffer: &[u8], start: usize, frame: &mut Frame<'_>) -> Option<usize> {
        buffer.get(start)?;
        let lines = self.lines.as_ref()?;
        let (line, _) = frame.line_end(buffer, start)?;
        let outcome = lines.record(buffer, start, &mut self.columns, &mut self.bare);
        let is_open = |end: usize| frame.end == End::Open && end + 1 >= buffer.len();
        let (end, reason) = match outcome {
            // A quoted field may have led beyond the line, to where more is to come.
            Ok(end) | Err(LineFault::WrongType { end, .. } | LineFault::Count { end }) if is_open(end) => {
                self.columns.drop_row();
                return None;
            }
            Ok(end) | Err(LineFault::WrongType { end, .. }) => (end, None),
            Err(LineFault::Incomplete) if frame.end == End::Open && buffer.len() - start <= RECORD_LIMIT => {
                self.columns.drop_row();
                return None;
            }
            Err(LineFault::Count { end }) => (end, Some(Reason::FieldCount)),
            // The line is cut at its first break, which may be inside the quotes: the next one is read for itself.
            Err(LineFault::Incomplete | LineFault::Quotes) => (line, Some(Reason::NotCsv)),
        };
        match reason {
            None => {
                let wrong = match outcome {
                    Err(LineFault::WrongType { column, .. }) => Some(column),
                    _ => None,
                };
                self.judge(buffer, (start, end), wrong, frame);
                Some(frame.pass(buffer, start, end))
            }
            Some(reason) => {
                self.columns.drop_row();
                let utf8 = std::str::from_utf8(&buffer[start..end]).is_ok();
                frame.bad_piece(buffer, start, end, if utf8 { reason } else { Reason::NotUtf8 });
                Some(frame.pass(buffer, start, end))
            }
        }
    }

    /// Keeps the row that was read from `start..end`, or drops it and says false; the value of the column `wrong` has another
    /// type.
    fn judge(
        &mut self,
        buffer: &[u8],
        (start, end): (usize, usize),
        wrong: Option<usize>,
        frame: &mut Frame<'_>,
    ) -> bool {
        let name = |column: usize| self.schema.columns()[column].name.clone();
        let reason = if end - start > RECORD_LIMIT {
            Some(Reason::TooLong)
        } else if !frame.is_utf8(buffer, start, end) {
            Some(Reason::NotUtf8)
        } else if let Some(column) = wrong {
            Some(Reason::WrongType { column: name(column) })
        } else if let Err(column) = self.columns.agree_with_path() {
            Some(Reason::PathConflict { column: name(column) })
        } else if self.lines.is_none() && self.schema.read().new_columns == NewColumns::Quarantine {
            self.columns.first_unknown().map(|field| Reason::NewColumn { column: field.to_owned() })
        } else {
            None
        };
        // What is cut off may look whole: the last field of a line, the last line of a quoted one.
        let is_cut = self.lines.is_some() && frame.end == End::Truncated && end == buffer.len();
        match reason.or(is_cut.then_some(Reason::TruncatedGzip)) {
            None => {
                self.columns.keep_row();
                frame.row(start);
                true
            }
            Some(reason) => {
                self.columns.drop_row();
                frame.bad_piece(buffer, start, end, reason);
                false
            }
        }
    }

    /// Passes the line that names the fields, where objects begin with one; `None` when it names others.
    fn take_header(&self, buffer: &[u8], frame: &mut Frame<'_>) -> Option<usize> {
        let Some(lines) = self.lines.as_ref().filter(|_| !frame.is_begun) else { return Some(0) };
        let first_line = frame.line;
        let start = frame.blank(buffer, 0, false);
        let line = std::mem::replace(&mut frame.line, first_line);
        let Some((end, next)) = frame.line_end(buffer, start) else { return Some(0) };
        frame.is_begun = true;
        match lines.is_header(&buffer[start..end]) {
            Some(true) => {
                frame.line = line;
                Some(frame.pass(buffer, start, next))
            }
            Some(false) if start < buffer.len() => None,
            _ => Some(0),
        }
    }

    /// Where the bad piece that starts at `start` ends: at the end of its line, or before on that line where a record can
    /// be read whose brace cannot be a part of what is broken. A broken record that goes on over more lines takes them
    /// along. `None` when it takes more bytes to say.
    fn piece(&mut self, buffer: &[u8], start: usize, frame: &mut Frame<'_>) -> Option<Piece> {
        if self.lines.is_some() {
            return frame.line_end(buffer, start).map(|(end, next)| Piece { end, next, is_resumed: false });
        }
        let line = frame.broken_end(buffer, start);
        let limit = line.map_or(buffer.len(), |(end, _)| end);
        let mut at = start + 1;
        while let Some(found) = json::next_start(buffer, at, limit) {
            let outcome = json::object(buffer, found, &mut self.columns, &mut self.scratch);
            self.columns.drop_row();
            let is_record = match outcome {
                Ok(end) | Err(Fault::WrongType { end, .. }) => frame.follows(buffer, end).map(|f| f != Follows::More),
                Err(Fault::Incomplete) if frame.end == End::Open => None,
                Err(_) => Some(false),
            };
            match is_record {
                Some(true) => return Some(Piece { end: found, next: found, is_resumed: true }),
                Some(false) => at = found + 1,
                None => {
                    frame.hope = Some(found);
                    return None;
                }
            }
        }
        line.map(|(end, next)| Piece { end, next, is_resumed: false })
    }

    /// Passes the rest of a record that is too long; `None` while it has not ended.
    fn skip_long(&mut self, buffer: &[u8], at: usize, frame: &mut Frame<'_>) -> Option<usize> {
        if !frame.is_long() || at >= buffer.len() {
            return (!frame.is_long() || frame.end != End::Open).then(|| frame.end_long(buffer, at, at));
        }
        let piece = self.piece(buffer, at, frame)?;
        Some(frame.end_long(buffer, at, piece.end))
    }

    fn flush(
        &mut self,
        pending: Pending,
        sink: &mut dyn FnMut(DecodedChunk) -> Result<(), CompactError>,
    ) -> Result<(), CompactError> {
        if self.columns.rows() == 0 && pending.bad.is_empty() {
            return Ok(());
        }
        let Pending { lines, offsets, bad, .. } = pending;
        sink(DecodedChunk { batch: self.columns.finish(&self.schema)?, lines, offsets, bad })
    }
}

/// An object whose rows may be wrong without looking wrong: all of it is one bad piece.
fn give_up(bytes: &Bytes, object: &str, reason: Reason) -> ObjectReport {
    let bad = BadLine::new(object, Place::FIRST, reason, bytes);
    ObjectReport { lines: 1, bad: 1, corrupt: Some(bad), ..ObjectReport::default() }
}

fn not_json(text: &[u8]) -> Reason {
    if std::str::from_utf8(text).is_err() { Reason::NotUtf8 } else { Reason::NotJson }
}

//! From an object's bytes to rows: decompressed, framed, typed, and every piece that is no row named with its place.
//!
//! Firehose writes records as it was handed them: with or without newlines between, with CRLF, a BOM, blank lines, over
//! several lines. A record here is therefore whatever object starts at the next `{`, not a line. What cannot be read is
//! cut out up to the next line that can start a record, so that one bad record costs no record on another line. Where
//! records follow each other without a newline, the piece runs to the end of the line: a fault of syntax there costs the
//! records behind it on that line, which are one piece in quarantine, its bytes kept up to [`RAW_LIMIT`].

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::RecordBatch;
use bytes::Bytes;

mod bad;
mod columns;
mod inflate;
mod json;
#[cfg(test)]
mod tests;
mod time;

pub use bad::{BadLine, RAW_LIMIT, Reason};
pub(crate) use time::timestamp_us;

use crate::{cpu::thread_cpu_us, error::CompactError, schema::TableSchema};
use columns::Columns;
use inflate::{GZIP_MAGIC, Input, Read1, Whole};
use json::{Fault, Scratch};

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
    whole: Whole,
    inflate_us: u64,
}

impl Decoder {
    /// A decoder for records of this schema.
    #[must_use]
    pub fn new(schema: Arc<TableSchema>) -> Self {
        Self {
            columns: Columns::new(&schema),
            schema,
            scratch: Scratch::default(),
            buffer: Vec::new(),
            whole: Whole::default(),
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
        self.buffer.clear();
        let magic = bytes.starts_with(&GZIP_MAGIC);
        if object.ends_with(".gz") && !magic && !bytes.is_empty() {
            let bad = BadLine::new(object, (1, 0), Reason::NotGzip, &bytes);
            let report = ObjectReport { lines: 1, bad: 1, raw_bytes: bytes.len() as u64, ..ObjectReport::default() };
            let chunk = self.chunk(Vec::new(), Vec::new(), vec![bad])?;
            return sink(chunk).map(|()| report);
        }
        let mut frame = Frame::new(object);
        let mut whole = std::mem::take(&mut self.whole);
        let since_us = thread_cpu_us();
        let text = whole.read(&bytes);
        self.inflate_us += thread_cpu_us().saturating_sub(since_us);
        if let Some(text) = text {
            frame.end = End::Whole;
            frame.report.raw_bytes = text.len() as u64;
            self.scan(text, &mut frame, sink)?;
            self.whole = whole;
            return self.finish(frame, sink);
        }
        self.whole = whole;
        let mut input = Input::new(bytes.clone(), magic);
        loop {
            let want = self.buffer.len().clamp(READ_BYTES, READ_BYTES_MOST);
            let held = self.buffer.len();
            let since_us = thread_cpu_us();
            let read = input.read(&mut self.buffer, want);
            self.inflate_us += thread_cpu_us().saturating_sub(since_us);
            frame.report.raw_bytes += (self.buffer.len() - held) as u64;
            frame.end = match read {
                Read1::More => End::Open,
                Read1::End { .. } => End::Whole,
                Read1::Truncated => End::Truncated,
                Read1::Corrupt => return Ok(self.give_up(&bytes, object)),
            };
            let buffer = std::mem::take(&mut self.buffer);
            let done = self.scan(&buffer, &mut frame, sink)?;
            self.buffer = buffer;
            self.buffer.drain(..done);
            match read {
                Read1::More => {}
                Read1::End { garbage: Some(at) } => {
                    let tail = BadLine::new(object, (frame.line, at as u64), Reason::NotGzip, &bytes[at..]);
                    frame.bad.push(tail);
                    break;
                }
                _ => break,
            }
        }
        self.finish(frame, sink)
    }

    /// Processor time that decompression took since the last call, microseconds.
    pub fn take_inflate_us(&mut self) -> u64 {
        std::mem::take(&mut self.inflate_us)
    }

    /// The end of an object.
    fn finish(
        &mut self,
        mut frame: Frame<'_>,
        sink: &mut dyn FnMut(DecodedChunk) -> Result<(), CompactError>,
    ) -> Result<ObjectReport, CompactError> {
        frame.close();
        self.flush(&mut frame, sink)?;
        frame.report.unknown = self.columns.take_unknown().collect();
        frame.report.lines = frame.report.rows + frame.report.bad;
        Ok(frame.report)
    }

    /// A damaged stream: earlier bytes may be wrong too without looking wrong, so the whole object is one bad piece.
    fn give_up(&mut self, bytes: &Bytes, object: &str) -> ObjectReport {
        self.columns = Columns::new(&self.schema);
        let bad = BadLine::new(object, (1, 0), Reason::CorruptGzip, bytes);
        ObjectReport { lines: 1, bad: 1, corrupt: Some(bad), ..ObjectReport::default() }
    }

    /// Takes every record out of the buffer that can be told; returns how much of it is done with.
    fn scan(
        &mut self,
        buffer: &[u8],
        frame: &mut Frame<'_>,
        sink: &mut dyn FnMut(DecodedChunk) -> Result<(), CompactError>,
    ) -> Result<usize, CompactError> {
        let mut at = 0;
        // Looked at once for all records: those before the first fault need no look of their own.
        frame.utf8_end = std::str::from_utf8(buffer).map_or_else(|fault| fault.valid_up_to(), str::len);
        while let Some(start) = frame.skip_long(buffer, at) {
            at = frame.blank(buffer, start);
            let Some(next) = self.step(buffer, at, frame) else { break };
            frame.taken_bytes += next - at;
            at = next;
            // No column can hold more text than was taken.
            if self.columns.rows() >= CHUNK_ROWS || frame.taken_bytes >= CHUNK_TEXT_BYTES {
                self.flush(frame, sink)?;
            }
        }
        let at = frame.rest(buffer, at);
        frame.base += at as u64;
        Ok(at)
    }

    /// Takes one record, good or bad, that starts at `start`; returns where it ended, or `None` when it takes more bytes
    /// to say.
    fn step(&mut self, buffer: &[u8], start: usize, frame: &mut Frame<'_>) -> Option<usize> {
        let first = *buffer.get(start)?;
        if first != b'{' {
            let (end, next) = frame.line_end(buffer, start)?;
            let text = &buffer[start..end];
            let reason = if json::is_value(text) { Reason::NotObject } else { not_json(text) };
            frame.bad_piece(buffer, start, end, reason);
            return Some(frame.pass(buffer, start, next));
        }
        let outcome = json::object(buffer, start, &mut self.columns, &mut self.scratch);
        let ended = match outcome {
            Ok(end) | Err(Fault::WrongType { end, .. }) => {
                frame.ends_cleanly(buffer, end).map(|clean| clean.then_some(end))
            }
            Err(Fault::Incomplete) if frame.end == End::Open => None,
            Err(_) => Some(None),
        };
        let Some(ended) = ended else {
            self.columns.drop_row();
            return None;
        };
        match (ended, outcome) {
            (Some(end), _) if end - start > RECORD_LIMIT => {
                self.columns.drop_row();
                frame.bad_piece(buffer, start, end, Reason::TooLong);
                Some(frame.pass(buffer, start, end))
            }
            (Some(end), Ok(_)) if frame.is_utf8(buffer, start, end) => {
                self.columns.keep_row();
                frame.row(start);
                frame.line += self.scratch.lines;
                Some(end)
            }
            (Some(end), outcome) => {
                self.columns.drop_row();
                let reason = match outcome {
                    Err(Fault::WrongType { column, .. }) if frame.is_utf8(buffer, start, end) => {
                        Reason::WrongType { column: self.schema.columns()[column].name.clone() }
                    }
                    _ => Reason::NotUtf8,
                };
                frame.bad_piece(buffer, start, end, reason);
                Some(frame.pass(buffer, start, end))
            }
            (None, _) => {
                self.columns.drop_row();
                let (end, next) = frame.broken_end(buffer, start)?;
                frame.bad_piece(buffer, start, end, not_json(&buffer[start..end]));
                Some(frame.pass(buffer, start, next))
            }
        }
    }

    fn flush(
        &mut self,
        frame: &mut Frame<'_>,
        sink: &mut dyn FnMut(DecodedChunk) -> Result<(), CompactError>,
    ) -> Result<(), CompactError> {
        if self.columns.rows() == 0 && frame.bad.is_empty() {
            return Ok(());
        }
        let (lines, offsets) = (std::mem::take(&mut frame.lines), std::mem::take(&mut frame.offsets));
        frame.report.rows += lines.len() as u64;
        frame.report.bad += frame.bad.len() as u64;
        frame.taken_bytes = 0;
        let chunk = self.chunk(lines, offsets, std::mem::take(&mut frame.bad))?;
        sink(chunk)
    }

    fn chunk(&mut self, lines: Vec<u64>, offsets: Vec<u64>, bad: Vec<BadLine>) -> Result<DecodedChunk, CompactError> {
        Ok(DecodedChunk { batch: self.columns.finish(&self.schema)?, lines, offsets, bad })
    }
}

/// The first bytes of an object after decompression, as far as they can be read.
pub(crate) fn head(bytes: Bytes, limit: usize) -> Vec<u8> {
    let gzip = bytes.starts_with(&GZIP_MAGIC);
    let mut input = Input::new(bytes, gzip);
    let mut text = Vec::new();
    input.read(&mut text, limit);
    if text.starts_with(&BOM) { text.split_off(BOM.len()) } else { text }
}

fn not_json(text: &[u8]) -> Reason {
    if std::str::from_utf8(text).is_err() { Reason::NotUtf8 } else { Reason::NotJson }
}

/// Whether more bytes are to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Whole,
    Truncated,
}

/// Where in the object the decoder is, and what it has found there.
#[derive(Debug)]
struct Frame<'a> {
    object: &'a str,
    end: End,
    /// Offset of the buffer's first byte.
    base: u64,
    /// Line of the byte that is looked at next.
    line: u64,
    /// The buffer is UTF-8 up to here.
    utf8_end: usize,
    /// A record that is too long and whose end has not come yet.
    long: Option<BadLine>,
    tail_told: bool,
    lines: Vec<u64>,
    offsets: Vec<u64>,
    bad: Vec<BadLine>,
    /// Bytes of records taken since the last chunk was handed on.
    taken_bytes: usize,
    report: ObjectReport,
}

impl<'a> Frame<'a> {
    fn new(object: &'a str) -> Self {
        Self {
            object,
            end: End::Open,
            base: 0,
            line: 1,
            utf8_end: 0,
            long: None,
            tail_told: false,
            lines: Vec::new(),
            offsets: Vec::new(),
            bad: Vec::new(),
            taken_bytes: 0,
            report: ObjectReport::default(),
        }
    }

    /// Counts the lines that end in `from..to`, and gives `to` back.
    fn pass(&mut self, buffer: &[u8], from: usize, to: usize) -> usize {
        self.line += memchr::memchr_iter(b'\n', &buffer[from..to]).count() as u64;
        to
    }

    fn is_utf8(&self, buffer: &[u8], start: usize, end: usize) -> bool {
        end <= self.utf8_end || std::str::from_utf8(&buffer[start..end]).is_ok()
    }

    /// Passes what is between records.
    fn blank(&mut self, buffer: &[u8], mut at: usize) -> usize {
        if self.base == 0 && at == 0 && buffer.starts_with(&BOM) {
            at = BOM.len();
        }
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = buffer.get(at) {
            self.line += u64::from(buffer[at] == b'\n');
            at += 1;
        }
        at
    }

    /// Whether only the end of the line or another record follows an object; `None` when the buffer does not say.
    fn ends_cleanly(&self, buffer: &[u8], mut at: usize) -> Option<bool> {
        while let Some(b' ' | b'\t' | b'\r') = buffer.get(at) {
            at += 1;
        }
        match buffer.get(at) {
            Some(byte) => Some(matches!(byte, b'\n' | b'{')),
            None if self.end == End::Open => None,
            None => Some(true),
        }
    }

    /// The end of the line without its line break, and where the next one starts.
    fn line_end(&self, buffer: &[u8], start: usize) -> Option<(usize, usize)> {
        match memchr::memchr(b'\n', &buffer[start..]) {
            Some(length) => {
                let end = start + length;
                Some((if buffer[end - usize::from(end > start)] == b'\r' { end - 1 } else { end }, end + 1))
            }
            None if self.end == End::Open => None,
            None => Some((buffer.len(), buffer.len())),
        }
    }

    /// The end of a broken record: that of its line, and of the lines after it that can only continue one.
    fn broken_end(&self, buffer: &[u8], start: usize) -> Option<(usize, usize)> {
        let (mut end, mut next) = self.line_end(buffer, start)?;
        loop {
            match buffer.get(next) {
                Some(b' ' | b'\t' | b'}' | b']') => (end, next) = self.line_end(buffer, next)?,
                None if self.end == End::Open => return None,
                _ => return Some((end, next)),
            }
        }
    }

    fn row(&mut self, start: usize) {
        self.lines.push(self.line);
        self.offsets.push(self.base + start as u64);
    }

    fn bad_piece(&mut self, buffer: &[u8], start: usize, end: usize, reason: Reason) {
        let cut = self.end == End::Truncated && end == buffer.len();
        self.tail_told |= cut;
        let reason = if cut { Reason::TruncatedGzip } else { reason };
        let place = (self.line, self.base + start as u64);
        self.bad.push(BadLine::new(self.object, place, reason, &buffer[start..end]));
    }

    /// Passes the rest of a record that is too long; `None` while its line has not ended.
    fn skip_long(&mut self, buffer: &[u8], at: usize) -> Option<usize> {
        let Some(long) = &mut self.long else { return Some(at) };
        let newline = memchr::memchr(b'\n', &buffer[at..]);
        let end = newline.map_or(buffer.len(), |length| at + length);
        long.length += (end - at) as u64;
        if newline.is_none() && self.end == End::Open {
            return None;
        }
        self.tail_told |= newline.is_none() && self.end == End::Truncated;
        self.bad.extend(self.long.take());
        Some(end)
    }

    /// How much of the buffer is done with when no more records can be told. A record beyond the limit starts being
    /// thrown away here.
    fn rest(&mut self, buffer: &[u8], at: usize) -> usize {
        if self.long.is_some() {
            return buffer.len();
        }
        let waiting = buffer.len() - at;
        if waiting <= RECORD_LIMIT || self.end != End::Open {
            return at;
        }
        let piece = BadLine::new(self.object, (self.line, self.base + at as u64), Reason::TooLong, &buffer[at..]);
        self.pass(buffer, at, buffer.len());
        self.long = Some(piece);
        buffer.len()
    }

    /// The end of the object: a stream cut exactly between records is still cut, and says so.
    fn close(&mut self) {
        if self.end == End::Truncated && !self.tail_told {
            let place = (self.line, self.report.raw_bytes);
            self.bad.push(BadLine::new(self.object, place, Reason::TruncatedGzip, &[]));
        }
    }
}

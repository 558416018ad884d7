//! Where the decoder is in an object: lines, offsets and gzip members, what is between records, and where a piece that
//! is no record ends.

use super::{BOM, BadLine, ObjectReport, RECORD_LIMIT, Reason, bad::Place};

/// Bytes before a possible start of a record that are kept while a longer piece is thrown away.
const LOOK_BACK: usize = 64;

/// Whether more bytes are to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Open,
    Whole,
    Truncated,
}

/// Where in the object the decoder is, and what it has found there.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) object: &'a str,
    pub(super) end: End,
    /// Offset of the buffer's first byte.
    pub(super) base: u64,
    /// Line of the byte that is looked at next.
    pub(super) line: u64,
    /// The buffer is UTF-8 up to here.
    pub(super) utf8_end: usize,
    /// A record that is too long and whose end has not come yet.
    long: Option<BadLine>,
    /// Where a record may start whose end has not come yet, while what is before it is bad.
    pub(super) hope: Option<usize>,
    /// Where the text of each gzip member starts.
    members: Vec<u64>,
    /// Whether the first line has been looked at.
    pub(super) is_begun: bool,
    tail_told: bool,
    pub(super) pending: Pending,
    pub(super) report: ObjectReport,
}

/// What was found since the last chunk was handed on. Small objects share a chunk, so it goes from one to the next.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) lines: Vec<u64>,
    pub(super) offsets: Vec<u64>,
    pub(super) bad: Vec<BadLine>,
    /// Bytes of the records taken.
    pub(super) taken_bytes: usize,
}

/// What stands behind an object that is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follows {
    /// The end of the line or of the object in the lake, the next record, or padding.
    Boundary,
    /// What can only be more of the same text: it was no record after all.
    More,
    /// Something that belongs to no JSON.
    Junk,
}

/// Where a bad piece ends.
pub(super) struct Piece {
    /// Behind its last byte.
    pub(super) end: usize,
    /// Where to go on.
    pub(super) next: usize,
    /// Whether a record follows on its line.
    pub(super) is_resumed: bool,
}

impl<'a> Frame<'a> {
    pub(super) fn new(object: &'a str, pending: Pending) -> Self {
        Self {
            object,
            end: End::Open,
            base: 0,
            line: 1,
            utf8_end: 0,
            long: None,
            hope: None,
            members: Vec::new(),
            is_begun: false,
            tail_told: false,
            pending,
            report: ObjectReport::default(),
        }
    }

    /// Counts the lines that end in `from..to`, and gives `to` back.
    pub(super) fn pass(&mut self, buffer: &[u8], from: usize, to: usize) -> usize {
        self.line += memchr::memchr_iter(b'\n', &buffer[from..to]).count() as u64;
        to
    }

    pub(super) fn is_utf8(&self, buffer: &[u8], start: usize, end: usize) -> bool {
        end <= self.utf8_end || std::str::from_utf8(&buffer[start..end]).is_ok()
    }

    /// Passes what is between records: line breaks, and `spaces` where they mean nothing.
    pub(super) fn blank(&mut self, buffer: &[u8], mut at: usize, spaces: bool) -> usize {
        loop {
            match buffer.get(at) {
                Some(b'\n') => self.line += 1,
                Some(b'\r') => {}
                Some(b' ' | b'\t') if spaces => {}
                // Files that were put one behind the other bring one each.
                Some(_) if buffer[at..].starts_with(&BOM) => at += BOM.len() - 1,
                _ => return at,
            }
            at += 1;
        }
    }

    /// What follows an object that is whole; `None` when the buffer does not say.
    pub(super) fn follows(&self, buffer: &[u8], mut at: usize) -> Option<Follows> {
        while let Some(b' ' | b'\t' | b'\r') = buffer.get(at) {
            at += 1;
        }
        match buffer.get(at) {
            // A NUL is padding: no text, so no part of the line either.
            Some(b'\n' | b'{' | 0) => Some(Follows::Boundary),
            Some(b',' | b':' | b'"' | b']' | b'}') => Some(Follows::More),
            Some(_) => Some(Follows::Junk),
            None if self.end == End::Open => None,
            None => Some(Follows::Boundary),
        }
    }

    /// The end of the line without its line break, and where the next one starts.
    pub(super) fn line_end(&self, buffer: &[u8], start: usize) -> Option<(usize, usize)> {
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
    pub(super) fn broken_end(&self, buffer: &[u8], start: usize) -> Option<(usize, usize)> {
        let (mut end, mut next) = self.line_end(buffer, start)?;
        loop {
            match buffer.get(next) {
                Some(b' ' | b'\t' | b'}' | b']') => (end, next) = self.line_end(buffer, next)?,
                None if self.end == End::Open => return None,
                _ => return Some((end, next)),
            }
        }
    }

    pub(super) fn row(&mut self, start: usize) {
        self.pending.lines.push(self.line);
        self.pending.offsets.push(self.base + start as u64);
        self.report.rows += 1;
    }

    pub(super) fn add_bad(&mut self, piece: BadLine) {
        self.pending.bad.push(piece);
        self.report.bad += 1;
    }

    pub(super) fn bad_piece(&mut self, buffer: &[u8], start: usize, end: usize, reason: Reason) {
        let cut = self.end == End::Truncated && end == buffer.len();
        self.tail_told |= cut;
        let reason = if cut { Reason::TruncatedGzip } else { reason };
        let piece = self.piece(reason, start, &buffer[start..end]);
        self.add_bad(piece);
    }

    /// A bad piece that starts at `start` of the buffer, which is where the count of lines has to stand.
    fn piece(&self, reason: Reason, start: usize, bytes: &[u8]) -> BadLine {
        let offset = self.base + start as u64;
        let place = Place { member: self.member(offset), line: self.line, offset };
        BadLine::new(self.object, place, reason, bytes)
    }

    /// Notes that a gzip member's text starts at `at` of the buffer.
    pub(super) fn member_starts(&mut self, at: usize) {
        self.members.push(self.base + at as u64);
    }

    /// The number of the gzip member that holds the byte at `offset`: the last one that starts there or before.
    pub(super) fn member(&self, offset: u64) -> u64 {
        self.members.partition_point(|start| *start <= offset) as u64
    }

    /// How much of the buffer is done with when no more records can be told. A record beyond the limit starts being
    /// thrown away here, all but what the start of the next record may be told by.
    pub(super) fn rest(&mut self, buffer: &[u8], at: usize) -> usize {
        let waiting = buffer.len() - at;
        if self.end != End::Open || (self.long.is_none() && waiting <= RECORD_LIMIT) {
            return at;
        }
        let wanted = self.hope.take().filter(|start| buffer.len() - start <= RECORD_LIMIT).unwrap_or(buffer.len());
        let kept = wanted.saturating_sub(LOOK_BACK).max(at);
        match &mut self.long {
            Some(long) => long.length += (kept - at) as u64,
            None => self.long = Some(self.piece(Reason::TooLong, at, &buffer[at..kept])),
        }
        self.pass(buffer, at, kept)
    }

    /// Ends a record that is too long, `end` bytes into what is left of it.
    pub(super) fn end_long(&mut self, buffer: &[u8], at: usize, end: usize) -> usize {
        if let Some(mut long) = self.long.take() {
            long.length += (end - at) as u64;
            self.tail_told |= end == buffer.len() && self.end == End::Truncated;
            self.add_bad(long);
        }
        self.pass(buffer, at, end)
    }

    pub(super) const fn is_long(&self) -> bool {
        self.long.is_some()
    }

    /// The end of the object: a stream cut exactly between records is still cut, and says so.
    pub(super) fn close(&mut self) {
        if self.end == End::Truncated && !self.tail_told {
            let offset = self.report.raw_bytes;
            let place = Place { member: self.member(offset), line: self.line, offset };
            self.add_bad(BadLine::new(self.object, place, Reason::TruncatedGzip, &[]));
        }
    }
}

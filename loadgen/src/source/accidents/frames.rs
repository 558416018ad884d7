//! Rows framed out of a byte stream, with a cap, so that no input can make the reader hold more than one window.
//!
//! A quote that is never closed looks like a field of many lines until something contradicts it. What contradicts it:
//! the end of the file, the size cap, a closing quote followed by anything but a comma or line end, the wrong number of
//! fields, or a line inside the field that is a whole row by itself. In each case only the first line is given up, and
//! framing resumes at the line after it, so rows behind the bad one are not lost.

use std::io::{self, Read};

use super::rejects::Reason;

/// The largest row, with its line end. The real ones are below 1 KiB.
pub(super) const ROW_CAP_BYTES: usize = 1 << 20;

/// Two windows: moving what is left to the front then costs at most one copied byte per byte read.
const BUFFER_BYTES: usize = 2 * ROW_CAP_BYTES;

/// How far a row swallowed by an open quote is looked for.
const LOOK_AHEAD_BYTES: usize = 64 << 10;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// One row as it stands in the file, or one line that is no row.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    /// The line it starts on, from 1.
    pub(super) line: u64,
    /// The byte it starts at, from 0.
    pub(super) byte: u64,
    /// Its bytes without the line end; the first of them when it is longer than the cap.
    pub(super) bytes: &'a [u8],
    /// Whether a line end follows; only the file's last row can be without.
    pub(super) terminated: bool,
    /// Why it is no row.
    pub(super) fault: Option<Reason>,
}

/// The rows of a byte stream. Empty lines are passed over.
pub(super) struct Frames<R> {
    input: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    input_ended: bool,
    /// Place of `buffer[start]`.
    line: u64,
    byte: u64,
    /// Set after a line over the cap: its rest is still to be passed over.
    inside_long_line: bool,
    columns: Option<usize>,
}

/// What one row takes up in the window.
struct Extent {
    /// Bytes of the row, without its line end.
    row: usize,
    /// Bytes to the next row.
    whole: usize,
    lines: u64,
    fault: Option<Reason>,
}

impl<R: Read> Frames<R> {
    /// Starts at the first byte, after a byte order mark if there is one.
    pub(super) fn new(input: R) -> io::Result<Self> {
        let mut frames = Self {
            input,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            input_ended: false,
            line: 1,
            byte: 0,
            inside_long_line: false,
            columns: None,
        };
        frames.skip_bom()?;
        Ok(frames)
    }

    /// How many fields a row has from here on, which tells a swallowed row from a field of several lines.
    pub(super) fn expect_columns(&mut self, columns: usize) {
        self.columns = Some(columns);
    }

    /// Goes back to the first byte, after `rewind` has taken the input there.
    pub(super) fn restart(&mut self, rewind: impl FnOnce(&mut R) -> io::Result<()>) -> io::Result<()> {
        rewind(&mut self.input)?;
        (self.start, self.end, self.input_ended) = (0, 0, false);
        (self.line, self.byte, self.inside_long_line, self.columns) = (1, 0, false, None);
        self.skip_bom()
    }

    /// The next row or faulty line; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Frame<'_>>> {
        if self.inside_long_line {
            self.finish_long_line()?;
        }
        loop {
            let Some(extent) = self.measure()? else { return Ok(None) };
            let (start, line, byte) = (self.start, self.line, self.byte);
            self.advance(extent.whole, extent.lines);
            self.inside_long_line = extent.fault == Some(Reason::TooLong);
            let terminated = extent.whole > extent.row;
            let row = &self.buffer[start..start + extent.row];
            let row_bytes = row.strip_suffix(b"\r").unwrap_or(row).len();
            if row_bytes > 0 {
                let bytes = &self.buffer[start..start + row_bytes];
                return Ok(Some(Frame { line, byte, bytes, terminated, fault: extent.fault }));
            }
        }
    }

    /// Finds where the row at the start of the window ends, reading on as far as that takes.
    fn measure(&mut self) -> io::Result<Option<Extent>> {
        loop {
            let window = self.window();
            let scan = scan_row(window);
            // Anything but a plain one-line row is judged on the whole window, so that the verdict does not depend on
            // how the bytes happened to arrive.
            let plain = scan.end == End::Line && scan.lines == 1;
            if !plain && window.len() < ROW_CAP_BYTES && self.fill()? {
                continue;
            }
            let window = self.window();
            return Ok((!window.is_empty()).then(|| self.judge(window, &scan)));
        }
    }

    fn judge(&self, window: &[u8], scan: &Scan) -> Extent {
        let all_read = window.len() < ROW_CAP_BYTES;
        let complete = match scan.end {
            End::Line => true,
            End::Window { quoted } => all_read && !quoted,
            End::StrayQuote => false,
        };
        if complete && (scan.lines == 1 || self.is_field_of_several_lines(window, scan)) {
            let terminator = usize::from(scan.end == End::Line);
            let lines = scan.lines - 1 + terminator as u64;
            return Extent { row: scan.bytes, whole: scan.bytes + terminator, lines, fault: None };
        }
        let stray = scan.end == End::StrayQuote && scan.lines == 1;
        match window.iter().position(|byte| *byte == b'\n') {
            Some(row) => {
                let reason = if stray { Reason::StrayQuote } else { Reason::UnclosedQuote };
                Extent { row, whole: row + 1, lines: 1, fault: Some(reason) }
            }
            None => {
                let reason = match (all_read, stray) {
                    (false, _) => Reason::TooLong,
                    (true, true) => Reason::StrayQuote,
                    (true, false) => Reason::CutRecord,
                };
                Extent { row: window.len(), whole: window.len(), lines: 0, fault: Some(reason) }
            }
        }
    }

    /// Whether a complete row of several lines is what its quotes say, rather than rows swallowed by an open quote.
    fn is_field_of_several_lines(&self, window: &[u8], scan: &Scan) -> bool {
        let Some(columns) = self.columns else { return true };
        let line_ends = window[..scan.bytes].iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        scan.fields == columns && !line_ends.map(|(at, _)| at + 1).any(|start| is_row(&window[start..], columns))
    }

    fn finish_long_line(&mut self) -> io::Result<()> {
        self.inside_long_line = false;
        loop {
            let rest = &self.buffer[self.start..self.end];
            match rest.iter().position(|byte| *byte == b'\n') {
                Some(at) => {
                    self.advance(at + 1, 1);
                    return Ok(());
                }
                None => self.advance(rest.len(), 0),
            }
            if !self.fill()? {
                return Ok(());
            }
        }
    }

    fn skip_bom(&mut self) -> io::Result<()> {
        while self.end - self.start < BOM.len() && self.fill()? {}
        if self.window().starts_with(BOM) {
            self.advance(BOM.len(), 0);
        }
        Ok(())
    }

    fn window(&self) -> &[u8] {
        &self.buffer[self.start..self.end.min(self.start + ROW_CAP_BYTES)]
    }

    fn advance(&mut self, bytes: usize, lines: u64) {
        self.start += bytes;
        self.byte += bytes as u64;
        self.line += lines;
    }

    /// Reads more behind what is there; false at the end of the input. Called only while less than a window is there.
    fn fill(&mut self) -> io::Result<bool> {
        if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        while !self.input_ended {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.input_ended = true,
                Ok(count) => {
                    self.end += count;
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}

/// How far a row reaches by its quotes alone.
struct Scan {
    bytes: usize,
    fields: usize,
    lines: u64,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// At a line end outside quotes.
    Line,
    /// Nowhere in the bytes at hand.
    Window { quoted: bool },
    /// A closing quote has text behind it.
    StrayQuote,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    Plain,
    Quoted,
    /// Behind a quote that either closes the field or is the first of a doubled one.
    AfterQuote,
    /// Behind a closing quote and a carriage return: only the line end may follow.
    AfterReturn,
}

/// RFC 4180, with quotes inside an unquoted field taken as text.
fn scan_row(bytes: &[u8]) -> Scan {
    let mut state = State::FieldStart;
    let (mut fields, mut lines) = (1, 1);
    for (at, byte) in bytes.iter().enumerate() {
        state = match (state, byte) {
            (State::Quoted, b'"') => State::AfterQuote,
            (State::Quoted, byte) => {
                lines += u64::from(*byte == b'\n');
                State::Quoted
            }
            (_, b'\n') => return Scan { bytes: at, fields, lines, end: End::Line },
            (State::FieldStart | State::AfterQuote, b'"') => State::Quoted,
            (State::AfterQuote, b'\r') => State::AfterReturn,
            (State::FieldStart | State::Plain | State::AfterQuote, b',') => {
                fields += 1;
                State::FieldStart
            }
            (State::AfterQuote | State::AfterReturn, _) => {
                return Scan { bytes: at, fields, lines, end: End::StrayQuote };
            }
            (State::FieldStart | State::Plain, _) => State::Plain,
        };
    }
    Scan { bytes: bytes.len(), fields, lines, end: End::Window { quoted: state == State::Quoted } }
}

/// Whether a whole row starts here. Looks no further than any real row reaches. A quote at the start is far more often
/// the end of a field of several lines than a quoted first column; and where all columns are quoted, an open quote runs
/// into the next row's opening quote and is a [`End::StrayQuote`] there.
fn is_row(bytes: &[u8], columns: usize) -> bool {
    if bytes.starts_with(b"\"") {
        return false;
    }
    let scan = scan_row(&bytes[..bytes.len().min(LOOK_AHEAD_BYTES)]);
    scan.fields == columns && matches!(scan.end, End::Line | End::Window { quoted: false })
}

#[cfg(test)]
mod tests {
    use proptest::{collection, prelude::*};

    use super::*;

    /// Gives one byte at a time, as the slowest pipe would.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = out.len().min(1);
            self.0.read(&mut out[..count])
        }
    }

    type Found = (u64, u64, String, Option<Reason>);

    fn frames(input: impl Read, columns: Option<usize>) -> Vec<Found> {
        let mut frames = Frames::new(input).unwrap();
        frames.columns = columns;
        let mut found = Vec::new();
        while let Some(frame) = frames.next().unwrap() {
            found.push((frame.line, frame.byte, String::from_utf8_lossy(frame.bytes).into_owned(), frame.fault));
        }
        found
    }

    fn good(line: u64, byte: u64, text: &str) -> Found {
        (line, byte, text.to_owned(), None)
    }

    fn bad(line: u64, byte: u64, text: &str, reason: Reason) -> Found {
        (line, byte, text.to_owned(), Some(reason))
    }

    #[test]
    fn rows_know_their_line_and_byte_whatever_ends_their_lines() {
        let input = b"\xef\xbb\xbfa,b\r\n\r\n\n2,\"x\ny\"\r\nlast,3";
        let expected = [good(1, 3, "a,b"), good(4, 11, "2,\"x\ny\""), good(6, 20, "last,3")];
        assert_eq!(frames(&input[..], Some(2)), expected);
        assert_eq!(frames(Trickle(input), Some(2)), expected);
    }

    #[test]
    fn a_quote_open_until_the_end_of_the_file_costs_its_own_line_only() {
        let input = b"a,\"b\nc,d\ne,f\n";
        let expected = [bad(1, 0, "a,\"b", Reason::UnclosedQuote), good(2, 5, "c,d"), good(3, 9, "e,f")];
        assert_eq!(frames(&input[..], Some(2)), expected);
        assert_eq!(frames(Trickle(input), Some(2)), expected);
    }

    #[test]
    fn a_quote_closed_by_a_later_row_costs_its_own_line_only() {
        for later in ["\"c\",d", "c,\"d\"", "c,\"d,\nd\"", "c\",d", "\",\",d"] {
            let input = format!("a,\"b\n{later}\n");
            let found = frames(input.as_bytes(), Some(2));
            assert_eq!(found, [bad(1, 0, "a,\"b", Reason::UnclosedQuote), good(2, 5, later)], "{later}");
        }
    }

    #[test]
    fn a_line_over_the_cap_is_passed_over_in_constant_memory() {
        let long = "x".repeat(5 * ROW_CAP_BYTES);
        for open in ["", "\""] {
            let input = format!("a,b\n{open}{long},y\nc,d\n");
            let found = frames(input.as_bytes(), Some(2));
            assert_eq!(found.len(), 3);
            assert_eq!((found[1].0, found[1].1, found[1].3), (2, 4, Some(Reason::TooLong)));
            assert_eq!(found[1].2.len(), ROW_CAP_BYTES);
            assert_eq!(found[2], good(3, (input.len() - 4) as u64, "c,d"));
        }
    }

    #[test]
    fn a_quote_open_for_longer_than_the_cap_costs_its_own_line_only() {
        let rows = ROW_CAP_BYTES / 4 * 3;
        let input = format!("a,\"b\n{}", "c,d\n".repeat(rows));
        let found = frames(input.as_bytes(), None);
        assert_eq!(found[0], bad(1, 0, "a,\"b", Reason::UnclosedQuote));
        assert_eq!(found.len(), rows + 1);
        assert_eq!(found[rows], good(rows as u64 + 1, input.len() as u64 - 4, "c,d"));
    }

    #[test]
    fn text_behind_a_closing_quote_and_a_file_cut_inside_quotes_are_faults() {
        assert_eq!(
            frames(&b"\"a\"b,c\nd,\"e"[..], Some(2)),
            [bad(1, 0, "\"a\"b,c", Reason::StrayQuote), bad(2, 7, "d,\"e", Reason::CutRecord)]
        );
        assert_eq!(frames(&b"\"a\"b"[..], Some(2)), [bad(1, 0, "\"a\"b", Reason::StrayQuote)]);
        assert_eq!(frames(&b"a\"b,c"[..], Some(2)), [good(1, 0, "a\"b,c")]);
    }

    fn any_cell() -> impl Strategy<Value = String> {
        "[a\",\n\r ]{0,6}"
    }

    proptest! {
        #[test]
        fn what_the_csv_crate_writes_is_framed_row_for_row(rows in collection::vec(collection::vec(any_cell(), 3), 0..8)) {
            let mut writer = csv::WriterBuilder::new().quote_style(csv::QuoteStyle::Always).from_writer(Vec::new());
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let bytes = writer.into_inner().unwrap();
            for found in [frames(&bytes[..], None), frames(Trickle(&bytes), None)] {
                prop_assert_eq!(found.len(), rows.len());
                for ((_, byte, text, fault), row) in found.iter().zip(&rows) {
                    prop_assert_eq!(*fault, None);
                    prop_assert!(bytes[*byte as usize..].starts_with(text.as_bytes()));
                    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
                    let read: Vec<String> = reader.records().next().unwrap().unwrap().iter().map(str::to_owned).collect();
                    prop_assert_eq!(&read, row);
                }
            }
        }

        #[test]
        fn every_byte_is_in_exactly_one_frame_or_a_line_end(input in "[a\",\n\r]{0,60}", columns in 1_usize..4) {
            let found = frames(input.as_bytes(), Some(columns));
            let mut at = 0;
            for (line, byte, text, _) in &found {
                let byte = *byte as usize;
                prop_assert!(input[at..byte].bytes().all(|b| b == b'\n' || b == b'\r'), "lost bytes before {}", byte);
                prop_assert_eq!(*line as usize, input[..byte].matches('\n').count() + 1);
                prop_assert!(input[byte..].starts_with(text.as_str()));
                at = byte + text.len();
            }
            prop_assert!(input[at..].bytes().all(|b| b == b'\n' || b == b'\r'));
            prop_assert_eq!(frames(Trickle(input.as_bytes()), Some(columns)), found);
        }
    }
}

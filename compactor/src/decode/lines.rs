//! One line of fields, straight into columns: comma-separated as RFC 4180 has it, or text with any number of delimiters
//! between two fields. Which field is which column is not in the line, so the scenario says it.

use millrace_scenarios::{Reading, RecordFormat};

use super::columns::{Columns, Slot};

/// Why no row could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineFault {
    /// The text ends inside a quoted field.
    Incomplete,
    /// A quote does not close where a field ends.
    Quotes,
    /// The line, up to `end`, has another number of fields.
    Count { end: usize },
    /// The line, up to `end`, has a value of another type in `column`.
    WrongType { column: usize, end: usize },
}

/// How lines are written.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    delimiter: u8,
    quotes: bool,
    fields: Vec<String>,
    header: Option<Vec<u8>>,
}

impl Lines {
    /// `None` for JSON.
    pub(super) fn new(read: &Reading) -> Option<Self> {
        let (usual, quotes) = match read.format {
            RecordFormat::Json => return None,
            RecordFormat::Csv => (b',', true),
            RecordFormat::Text => (b' ', false),
        };
        let delimiter = read.delimiter.and_then(|delimiter| u8::try_from(delimiter).ok()).unwrap_or(usual);
        let fields = read.fields.clone();
        let header = read.header.then(|| fields.join(char::from(delimiter).encode_utf8(&mut [0; 4])).into_bytes());
        Some(Self { delimiter, quotes, fields, header })
    }

    /// Whether spaces at the start of a line mean nothing.
    pub(super) const fn skips_spaces(&self) -> bool {
        !self.quotes
    }

    /// Whether the line is the one that every object begins with; `None` when objects have no such line.
    pub(super) fn is_header(&self, line: &[u8]) -> Option<bool> {
        let header = self.header.as_ref()?;
        // A header's own quotes mean nothing here.
        let bare: Vec<u8> = line.iter().copied().filter(|byte| *byte != b'"').collect();
        Some(bare == *header)
    }

    /// Reads the line at `text[start]` into the current row; returns the end of its last field. The row is neither kept
    /// nor dropped. `text` has to hold the line's end, or be the end itself.
    pub(super) fn record(
        &self,
        text: &[u8],
        start: usize,
        columns: &mut Columns,
        bare: &mut Vec<u8>,
    ) -> Result<usize, LineFault> {
        let (mut at, mut ordinal, mut wrong) = (start, 0, None);
        let mut is_last = false;
        while !is_last {
            if !self.quotes {
                at += text[at..].iter().take_while(|byte| **byte == self.delimiter).count();
                if ordinal > 0 && matches!(text.get(at), None | Some(b'\n' | b'\r')) {
                    break;
                }
            }
            let is_quoted = self.quotes && text.get(at) == Some(&b'"');
            let (from, to) = if is_quoted {
                at = quoted(text, at + 1, bare)?;
                (0, bare.len())
            } else {
                let length = text[at..].iter().take_while(|b| **b != self.delimiter && **b != b'\n').count();
                let from = at;
                at += length;
                // A carriage return belongs to the line's end.
                let is_line_end = text.get(at) != Some(&self.delimiter);
                at -= usize::from(is_line_end && length > 0 && text[at - 1] == b'\r');
                (from, at)
            };
            is_last = match text.get(at) {
                Some(byte) if *byte == self.delimiter => false,
                None | Some(b'\n') => true,
                Some(b'\r') if matches!(text.get(at + 1), None | Some(b'\n')) => true,
                Some(_) => return Err(LineFault::Quotes),
            };
            let value = if is_quoted { &bare[from..to] } else { &text[from..to] };
            if let Some(name) = self.fields.get(ordinal) {
                match columns.slot(name.as_bytes()) {
                    Slot::Column(column) if value.is_empty() && !is_quoted => columns.set_null(column),
                    Slot::Column(column) => {
                        if !columns.set_bare(column, value) {
                            wrong.get_or_insert(column);
                        }
                    }
                    Slot::Unknown(field) => columns.note_unknown(field),
                }
            }
            ordinal += 1;
            at += usize::from(!is_last);
        }
        match wrong {
            _ if ordinal != self.fields.len() => Err(LineFault::Count { end: at }),
            Some(column) => Err(LineFault::WrongType { column, end: at }),
            None => Ok(at),
        }
    }
}

/// Reads a quoted field whose inside starts at `at`; returns the position behind its closing quote.
fn quoted(text: &[u8], mut at: usize, bare: &mut Vec<u8>) -> Result<usize, LineFault> {
    bare.clear();
    loop {
        let length = text[at..].iter().position(|byte| *byte == b'"').ok_or(LineFault::Incomplete)?;
        bare.extend_from_slice(&text[at..at + length]);
        at += length + 1;
        if text.get(at) != Some(&b'"') {
            return Ok(at);
        }
        bare.push(b'"');
        at += 1;
    }
}

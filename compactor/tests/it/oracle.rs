//! What the decoder makes of an object, against a second reading of the same bytes that leans on `serde_json` alone.
//!
//! The fuzz target and the bounded corpus share it. Nothing may panic, the two may not differ, and no byte may get lost:
//! rows, pieces in quarantine and what is between records make up the text.

use std::sync::Arc;

use bytes::Bytes;
use millrace_compactor::{
    TableSchema,
    decode::{Decoder, RAW_LIMIT, RECORD_LIMIT},
};
use millrace_scenarios::{ColumnType, NewColumns, Reading, Table};
use serde::de::IgnoredAny;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// A record or a bad piece of a text: where it starts and ends, and whether it is a whole object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    /// Its first byte.
    pub(crate) start: usize,
    /// Behind its last byte.
    pub(crate) end: usize,
    /// Whether it is a whole object.
    pub(crate) whole: bool,
}

/// Reason, member, line, offset, length and kept bytes of a bad piece.
pub(crate) type Bad = (&'static str, u64, u64, u64, u64, Vec<u8>);

/// What the decoder finds in an object.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Line and offset of each row.
    pub(crate) rows: Vec<(u64, u64)>,
    /// Each bad piece.
    pub(crate) bad: Vec<Bad>,
}

/// Decodes one object. `None` when its gzip is damaged: then no row of it counts.
pub(crate) fn decode(object: &[u8]) -> Option<Found> {
    let columns = [
        ("b", ColumnType::Boolean),
        ("i", ColumnType::Integer),
        ("n", ColumnType::Number),
        ("s", ColumnType::String),
        ("t", ColumnType::Timestamp),
    ];
    let columns = columns.into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect();
    let read = Reading { new_columns: NewColumns::Ignore, ..Reading::default() };
    let schema = TableSchema::declared(&Table { columns, read, ..Table::default() }).unwrap().unwrap();
    let mut found = Found::default();
    let report = Decoder::new(Arc::new(schema))
        .decode_object(Bytes::copy_from_slice(object), "o", &mut |chunk| {
            assert_eq!(chunk.batch.num_rows(), chunk.offsets.len());
            found.rows.extend(chunk.lines.into_iter().zip(chunk.offsets));
            found
                .bad
                .extend(chunk.bad.into_iter().map(|b| (b.reason.name(), b.member, b.line, b.offset, b.length, b.raw)));
            Ok(())
        })
        .unwrap();
    if report.corrupt.is_some() {
        return None;
    }
    assert_eq!((report.rows, report.bad), (found.rows.len() as u64, found.bad.len() as u64));
    Some(found)
}

/// Checks the decoder on a text that is not compressed.
pub(crate) fn check(text: &[u8]) {
    if text.starts_with(&[0x1f, 0x8b]) {
        decode(text);
        return;
    }
    let Some(want) = spans(text) else { return };
    let found = decode(text).unwrap();
    let mut got: Vec<Span> = Vec::new();
    for (line, offset) in &found.rows {
        let start = usize::try_from(*offset).unwrap();
        assert_eq!(*line, line_of(text, start));
        got.push(Span { start, end: whole(text, start).unwrap().unwrap(), whole: true });
    }
    for (reason, member, line, offset, length, raw) in &found.bad {
        let start = usize::try_from(*offset).unwrap();
        let end = start + usize::try_from(*length).unwrap();
        assert_eq!((*member, *line), (0, line_of(text, start)));
        assert_eq!(*raw, text[start..end.min(start + RAW_LIMIT)]);
        let is_object = whole(text, start) == Some(Some(end)) && *reason != "not_json";
        got.push(Span { start, end, whole: is_object });
    }
    got.sort_unstable();
    assert_eq!(got, want, "{:?}", String::from_utf8_lossy(text));
    let mut at = 0;
    for span in got {
        assert_eq!(blank(text, at), span.start, "bytes between {at} and {} are lost", span.start);
        at = span.end;
    }
    assert_eq!(blank(text, at), text.len(), "bytes from {at} on are lost");
}

fn line_of(text: &[u8], at: usize) -> u64 {
    1 + text[..at].iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Where the object that starts here ends; `Some(None)` when there is none, `None` when it nests too deep to say.
fn whole(text: &[u8], at: usize) -> Option<Option<usize>> {
    if text.get(at) != Some(&b'{') {
        return Some(None);
    }
    // The decoder looks at UTF-8 by itself, later.
    let bare: Vec<u8> = text[at..].iter().map(|byte| if byte.is_ascii() { *byte } else { b'x' }).collect();
    let mut objects = serde_json::Deserializer::from_slice(&bare).into_iter::<IgnoredAny>();
    match objects.next() {
        Some(Ok(_)) => Some(Some(at + objects.byte_offset())),
        Some(Err(error)) if error.to_string().contains("recursion") => None,
        _ => Some(None),
    }
}

/// Where what is no blank starts.
fn blank(text: &[u8], mut at: usize) -> usize {
    loop {
        match text.get(at) {
            Some(b' ' | b'\t' | b'\r' | b'\n') => at += 1,
            Some(_) if text[at..].starts_with(BOM) => at += BOM.len(),
            _ => return at,
        }
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// What stands behind a whole object: the next record or line, more of the same text, or something else.
fn behind(text: &[u8], end: usize) -> char {
    let next = text[end..].iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r'));
    match next {
        None | Some(b'\n' | b'{' | 0) => 'b',
        Some(b',' | b':' | b'"' | b']' | b'}') => 'm',
        Some(_) => 'j',
    }
}

/// The end of the line without its line break, and where the next one starts.
fn line_end(text: &[u8], at: usize) -> (usize, usize) {
    match text[at..].iter().position(|byte| *byte == b'\n') {
        None => (text.len(), text.len()),
        Some(length) => {
            let end = at + length;
            (end - usize::from(length > 0 && text[end - 1] == b'\r'), end + 1)
        }
    }
}

/// The end of the bad piece that starts here, and whether a record follows on its line.
fn piece(text: &[u8], start: usize) -> Option<(usize, bool)> {
    let (mut limit, mut next) = line_end(text, start);
    while let Some(b' ' | b'\t' | b'}' | b']') = text.get(next) {
        (limit, next) = line_end(text, next);
    }
    for at in start + 1..limit {
        let is_name = text[at + 1..].iter().find(|b| !is_space(**b)).is_none_or(|b| *b == b'"');
        let is_inside = text[..at].iter().rfind(|b| !is_space(**b)).is_none_or(|b| matches!(b, b':' | b',' | b'['));
        if text[at] != b'{' || !is_name || is_inside {
            continue;
        }
        if let Some(end) = whole(text, at)?
            && behind(text, end) != 'm'
        {
            return Some((at, true));
        }
    }
    Some((limit, false))
}

/// All records and bad pieces of a text; `None` where `serde_json` cannot say.
fn spans(text: &[u8]) -> Option<Vec<Span>> {
    let (mut spans, mut at) = (Vec::new(), 0);
    loop {
        let start = blank(text, at);
        if start >= text.len() {
            return Some(spans);
        }
        let kept = match whole(text, start)? {
            Some(end) => match behind(text, end) {
                'b' => Some(end),
                'm' => None,
                _ => piece(text, end)?.1.then_some(end),
            },
            None => None,
        };
        assert!(text.len() <= RECORD_LIMIT, "the corpus is of short records");
        let (end, whole) = match kept {
            Some(end) => (end, true),
            None => (piece(text, start)?.0, false),
        };
        spans.push(Span { start, end, whole });
        at = end;
    }
}

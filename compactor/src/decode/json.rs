//! One JSON object, straight into columns: no tree, no copy of what is not wanted, and it knows where it stopped, which is
//! what concatenated, pretty-printed and broken records are told apart by. The grammar is RFC 8259.

use millrace_scenarios::ColumnType;

use super::columns::{Columns, Slot};

/// Why no object could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The text ends inside the object: it is the beginning of one.
    Incomplete,
    /// It is no JSON object.
    Syntax,
    /// It is one, up to `end`, but the value of `column` has the wrong type.
    WrongType { column: usize, end: usize },
}

/// Largest integer up to which every whole `f64` is exact.
pub(super) const EXACT: f64 = 9_007_199_254_740_992.0;

/// Reads the object that starts at `text[start]`, which must be `{`, into the current row of `columns`; returns the
/// position after it. The row is neither kept nor dropped.
pub(super) fn object(text: &[u8], start: usize, columns: &mut Columns, scratch: &mut Scratch) -> Result<usize, Fault> {
    let mut reader = Reader { text, at: start, lines: 0 };
    let mut wrong = None;
    reader.expect(b'{')?;
    reader.space();
    if reader.peek()? == b'}' {
        scratch.lines = reader.lines;
        return Ok(reader.at + 1);
    }
    for ordinal in 0.. {
        let slot = match columns.expected(ordinal, &text[reader.at..]) {
            Some((slot, length)) => {
                reader.at += length;
                slot
            }
            None => {
                let (from, lines) = (reader.at, reader.lines);
                let name = reader.string()?;
                let slot = match name.plain(text) {
                    Some(name) => columns.slot(name),
                    None => columns.slot(scratch.unescape(name.inside(text))?),
                };
                reader.space();
                reader.expect(b':')?;
                reader.space();
                // What is expected is passed without counting its lines.
                if reader.lines == lines {
                    columns.expect(ordinal, &text[from..reader.at], slot);
                }
                slot
            }
        };
        reader.space();
        match slot {
            Slot::Column(column) => {
                if !value(&mut reader, column, columns, scratch)? {
                    wrong.get_or_insert(column);
                }
            }
            Slot::Unknown(field) => {
                reader.skip(&mut scratch.open)?;
                columns.note_unknown(field);
            }
        }
        reader.space();
        match reader.next()? {
            b',' => reader.space(),
            b'}' => break,
            _ => return Err(Fault::Syntax),
        }
    }
    scratch.lines = reader.lines;
    wrong.map_or(Ok(reader.at), |column| Err(Fault::WrongType { column, end: reader.at }))
}

/// Reads a value into a column; false when it is well-formed but of another type.
fn value(reader: &mut Reader<'_>, column: usize, columns: &mut Columns, scratch: &mut Scratch) -> Result<bool, Fault> {
    let (text, start, first) = (reader.text, reader.at, reader.peek()?);
    if let Some(length) = columns.repeat(column, text, start) {
        reader.at += length;
        return Ok(true);
    }
    if first == b'n' {
        reader.word(b"null")?;
        columns.set_null(column);
        return Ok(true);
    }
    if columns.is_nested(column) {
        reader.skip(&mut scratch.open)?;
        return Ok(columns.set_nested(column, &text[start..reader.at]));
    }
    match (columns.kind(column), first) {
        ((ColumnType::String, _), b'"') => {
            let string = reader.string()?;
            match string.plain(text) {
                Some(plain) => columns.set_text(column, plain),
                None => columns.set_text(column, scratch.unescape(string.inside(text))?),
            }
        }
        ((ColumnType::String, true), _) => {
            reader.skip(&mut scratch.open)?;
            columns.set_text(column, &text[start..reader.at]);
            return Ok(true);
        }
        ((ColumnType::Timestamp, _), b'"') => {
            let string = reader.string()?;
            let inside = match string.plain(text) {
                Some(plain) => plain,
                None => scratch.unescape(string.inside(text))?,
            };
            if !columns.set_time(column, inside) {
                return Ok(false);
            }
        }
        ((ColumnType::Timestamp, _), b'-' | b'0'..=b'9') => {
            reader.number()?;
            if !columns.set_time(column, &text[start..reader.at]) {
                return Ok(false);
            }
        }
        ((ColumnType::Boolean, _), b't') => {
            reader.word(b"true")?;
            columns.set_boolean(column, true);
            return Ok(true);
        }
        ((ColumnType::Boolean, _), b'f') => {
            reader.word(b"false")?;
            columns.set_boolean(column, false);
            return Ok(true);
        }
        ((ColumnType::Integer, _), b'-' | b'0'..=b'9') => {
            let read = reader.number()?;
            let Some(value) = integer(&text[start..reader.at], read) else { return Ok(false) };
            columns.set_whole(column, value);
        }
        ((ColumnType::Number, _), b'-' | b'0'..=b'9') => {
            let read = reader.number()?;
            let Some(value) = number(&text[start..reader.at], read) else { return Ok(false) };
            columns.set_number(column, value);
        }
        _ => {
            reader.skip(&mut scratch.open)?;
            return Ok(false);
        }
    }
    columns.read_from(column, start, reader.at);
    Ok(true)
}

/// Powers of ten that a double holds exactly.
const TENS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// The number nearest to the text. Digits and power of ten that are both exact need one division, which rounds once
/// (Clinger, "How to Read Floating Point Numbers Accurately", 1990); the standard library reads the others.
fn number(text: &[u8], read: Number) -> Option<f64> {
    let value = match TENS.get(usize::from(read.fraction)) {
        Some(power) if read.is_plain && read.digits <= 1 << 53 => {
            let size = read.digits as f64 / power;
            if text.starts_with(b"-") { -size } else { size }
        }
        _ => std::str::from_utf8(text).ok()?.parse().ok()?,
    };
    Some(value).filter(|value: &f64| value.is_finite())
}

/// An integer, also when it is written like `3.0` or `1e3`, as long as nothing is lost.
fn integer(text: &[u8], read: Number) -> Option<i64> {
    if read.is_whole {
        return match i64::try_from(read.digits) {
            Ok(size) if read.is_plain => Some(if text.starts_with(b"-") { -size } else { size }),
            _ => std::str::from_utf8(text).ok()?.parse().ok(),
        };
    }
    let value = number(text, read)?;
    (value.fract() == 0.0 && value.abs() <= EXACT).then_some(value as i64)
}

/// What was seen of a number while it was passed.
#[derive(Debug, Clone, Copy)]
struct Number {
    /// Its digits without sign, point and power.
    digits: u64,
    /// How many of them come after the point.
    fraction: u16,
    /// It is written as an integer.
    is_whole: bool,
    /// `digits` and `fraction` are all of it: no power, and no more digits than fit.
    is_plain: bool,
}

/// Digits that a `u64` holds whatever they are.
const DIGITS: usize = 19;

/// Buffers that live as long as the decoder.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    text: Vec<u8>,
    /// Lines that ended within the last object that was read to its end.
    pub(super) lines: u64,
    /// The brackets open around a value that is skipped.
    open: Vec<u8>,
}

impl Scratch {
    /// The text that an escaped string stands for. Its escapes were checked when it was read; a lone surrogate is left.
    fn unescape(&mut self, inside: &[u8]) -> Result<&[u8], Fault> {
        self.text.clear();
        let mut rest = inside;
        while let Some(at) = rest.iter().position(|b| *b == b'\\') {
            self.text.extend_from_slice(&rest[..at]);
            rest = &rest[at + 1..];
            let (escape, after) = rest.split_first().ok_or(Fault::Syntax)?;
            rest = after;
            match escape {
                b'b' => self.text.push(8),
                b'f' => self.text.push(12),
                b'n' => self.text.push(b'\n'),
                b'r' => self.text.push(b'\r'),
                b't' => self.text.push(b'\t'),
                b'u' => {
                    let mut code = hex4(rest)?;
                    rest = &rest[4..];
                    if (0xD800..0xDC00).contains(&code) {
                        let low = rest.strip_prefix(b"\\u").ok_or(Fault::Syntax).and_then(hex4)?;
                        if !(0xDC00..0xE000).contains(&low) {
                            return Err(Fault::Syntax);
                        }
                        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
                        rest = &rest[6..];
                    }
                    let character = char::from_u32(code).ok_or(Fault::Syntax)?;
                    self.text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                other => self.text.push(*other),
            }
        }
        self.text.extend_from_slice(rest);
        Ok(&self.text)
    }
}

fn hex4(text: &[u8]) -> Result<u32, Fault> {
    let digits = text.get(..4).filter(|d| d.iter().all(u8::is_ascii_hexdigit)).ok_or(Fault::Syntax)?;
    std::str::from_utf8(digits).ok().and_then(|d| u32::from_str_radix(d, 16).ok()).ok_or(Fault::Syntax)
}

/// How many bytes at the start of the text stand for themselves in a string: no quote, no backslash, no control
/// character. Eight bytes at a time: a byte of `x - 0x01..` borrows from bit 7 only where that byte of `x` was zero
/// (or followed one that was, which does not change which comes first).
fn ordinary(text: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    let (words, rest) = text.as_chunks::<8>();
    for (place, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quote = word ^ (ONES * b'"' as u64);
        let backslash = word ^ (ONES * b'\\' as u64);
        let found = (quote.wrapping_sub(ONES) & !quote)
            | (backslash.wrapping_sub(ONES) & !backslash)
            | (word.wrapping_sub(ONES * 0x20) & !word);
        if found & TOPS != 0 {
            return place * 8 + ((found & TOPS).trailing_zeros() / 8) as usize;
        }
    }
    let special = |b: &u8| *b == b'"' || *b == b'\\' || *b < 0x20;
    words.len() * 8 + rest.iter().position(special).unwrap_or(rest.len())
}

/// A string's place: its bytes without the quotes, and whether it has escapes.
struct Quoted {
    from: usize,
    to: usize,
    escaped: bool,
}

impl Quoted {
    fn inside<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        &text[self.from..self.to]
    }

    fn plain<'a>(&self, text: &'a [u8]) -> Option<&'a [u8]> {
        (!self.escaped).then(|| self.inside(text))
    }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    /// Lines that ended so far. A line ends only between what an object is made of: no string holds a bare line break.
    lines: u64,
}

impl Reader<'_> {
    fn peek(&self) -> Result<u8, Fault> {
        self.text.get(self.at).copied().ok_or(Fault::Incomplete)
    }

    fn next(&mut self) -> Result<u8, Fault> {
        let byte = self.peek()?;
        self.at += 1;
        Ok(byte)
    }

    fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.next()? == byte { Ok(()) } else { Err(Fault::Syntax) }
    }

    fn space(&mut self) {
        while let Some(blank @ (b' ' | b'\n' | b'\r' | b'\t')) = self.text.get(self.at) {
            self.lines += u64::from(*blank == b'\n');
            self.at += 1;
        }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Fault> {
        word.iter().try_for_each(|byte| self.expect(*byte))
    }

    fn string(&mut self) -> Result<Quoted, Fault> {
        self.expect(b'"')?;
        let (from, mut escaped) = (self.at, false);
        loop {
            self.at += ordinary(&self.text[self.at..]);
            match self.next()? {
                b'"' => return Ok(Quoted { from, to: self.at - 1, escaped }),
                b'\\' => {
                    escaped = true;
                    match self.next()? {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                        b'u' => {
                            for _ in 0..4 {
                                if !self.next()?.is_ascii_hexdigit() {
                                    return Err(Fault::Syntax);
                                }
                            }
                        }
                        _ => return Err(Fault::Syntax),
                    }
                }
                _ => return Err(Fault::Syntax),
            }
        }
    }

    /// Passes digits, at least one, and appends them to `value`; says how many there were.
    fn digits(&mut self, value: &mut u64) -> Result<usize, Fault> {
        let from = self.at;
        while let Some(digit @ b'0'..=b'9') = self.text.get(self.at) {
            *value = value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            self.at += 1;
        }
        // A number that the text ends with may go on.
        self.peek()?;
        if self.at == from { Err(Fault::Syntax) } else { Ok(self.at - from) }
    }

    /// Passes a number.
    fn number(&mut self) -> Result<Number, Fault> {
        let mut number = Number { digits: 0, fraction: 0, is_whole: true, is_plain: true };
        let (mut count, mut fraction) = (1, 0);
        if self.peek()? == b'-' {
            self.at += 1;
        }
        if self.peek()? == b'0' {
            self.at += 1;
        } else {
            count = self.digits(&mut number.digits)?;
        }
        if self.peek()? == b'.' {
            number.is_whole = false;
            self.at += 1;
            fraction = self.digits(&mut number.digits)?;
        }
        number.is_plain = count + fraction <= DIGITS;
        number.fraction = u16::try_from(fraction).unwrap_or(u16::MAX);
        if matches!(self.peek()?, b'e' | b'E') {
            (number.is_whole, number.is_plain) = (false, false);
            self.at += 1;
            if matches!(self.peek()?, b'+' | b'-') {
                self.at += 1;
            }
            self.digits(&mut 0)?;
        }
        Ok(number)
    }

    /// Passes any value. Not recursive, so no nesting is too deep for the stack.
    fn skip(&mut self, open: &mut Vec<u8>) -> Result<(), Fault> {
        open.clear();
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                }
                b'-' | b'0'..=b'9' => {
                    self.number()?;
                }
                b't' => self.word(b"true")?,
                b'f' => self.word(b"false")?,
                b'n' => self.word(b"null")?,
                bracket @ (b'{' | b'[') => {
                    self.at += 1;
                    self.space();
                    if self.peek()? == bracket + 2 {
                        self.at += 1;
                    } else {
                        open.push(bracket);
                        self.name(bracket)?;
                        continue;
                    }
                }
                _ => return Err(Fault::Syntax),
            }
            // A value has ended: close what ends with it, or go to the next one.
            loop {
                let Some(bracket) = open.last().copied() else { return Ok(()) };
                self.space();
                match self.next()? {
                    b',' => {
                        self.space();
                        self.name(bracket)?;
                        break;
                    }
                    byte if byte == bracket + 2 => {
                        open.pop();
                    }
                    _ => return Err(Fault::Syntax),
                }
            }
        }
    }

    /// Passes a member's name and colon when inside an object.
    fn name(&mut self, bracket: u8) -> Result<(), Fault> {
        if bracket == b'{' {
            self.string()?;
            self.space();
            self.expect(b':')?;
            self.space();
        }
        Ok(())
    }
}

/// Whether the text is one JSON value and nothing else.
pub(super) fn is_value(text: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
}

/// The next brace in `from..limit` that may start a record and can be no part of a broken one before it: a name follows,
/// which no string can hold, and nothing stands before it that an object inside another has before it.
pub(super) fn next_start(text: &[u8], from: usize, limit: usize) -> Option<usize> {
    let is_space = |byte: &&u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
    let mut at = from;
    loop {
        let found = at + text.get(at..limit)?.iter().position(|byte| *byte == b'{')?;
        let after = text[found + 1..].iter().find(|byte| !is_space(byte));
        let before = text[..found].iter().rfind(|byte| !is_space(byte));
        if matches!(after, Some(b'"') | None) && before.is_some_and(|byte| !matches!(byte, b':' | b',' | b'[')) {
            return Some(found);
        }
        at = found + 1;
    }
}

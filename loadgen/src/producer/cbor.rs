//! CBOR (RFC 8949), as far as Kinesis speaks it: what a call is written in, and a reader of answers.
//!
//! Data goes as bytes and not as base64, so a body is a quarter shorter, and with it what has to be hashed and sent.

use super::api::{Malformed, Outcome};

/// Opens a map or list that goes on until [`BREAK`].
pub(super) const MAP: u8 = 0xBF;
pub(super) const LIST: u8 = 0x9F;
pub(super) const BREAK: u8 = 0xFF;
const NULL: u8 = 0xF6;

/// Major types.
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ITEMS: u8 = 4;
const FIELDS: u8 = 5;
const TAG: u8 = 6;
/// Values inside values at most.
const DEPTH: u32 = 32;

/// The first bytes of an item: its major type, and its length or count.
fn push_head(major: u8, argument: usize, out: &mut Vec<u8>) {
    let major = major << 5;
    match argument {
        0..=23 => out.push(major | argument as u8),
        24..=0xFF => out.extend_from_slice(&[major | 24, argument as u8]),
        0x100..=0xFFFF => {
            out.push(major | 25);
            out.extend_from_slice(&(argument as u16).to_be_bytes());
        }
        _ => {
            out.push(major | 26);
            out.extend_from_slice(&(argument as u32).to_be_bytes());
        }
    }
}

/// A map of so many fields.
pub(super) fn push_map(fields: usize, out: &mut Vec<u8>) {
    push_head(FIELDS, fields, out);
}

pub(super) fn push_text(text: &str, out: &mut Vec<u8>) {
    push_head(TEXT, text.len(), out);
    out.extend_from_slice(text.as_bytes());
}

pub(super) fn push_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    push_head(BYTES, bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// The entries of an answer of PutRecords.
pub(super) fn read_records(body: &[u8]) -> Result<Vec<Outcome<'_>>, Malformed> {
    let mut outcomes = Vec::new();
    let mut found = false;
    let read = Reader::whole(body).fields(&mut |reader, name| {
        if name != "Records" {
            return reader.skip(DEPTH);
        }
        found = true;
        reader.items(&mut |reader| {
            outcomes.push(reader.outcome()?);
            Some(())
        })
    });
    match read {
        Some(()) if found => Ok(outcomes),
        Some(()) => Err(Malformed("it has no Records".to_owned())),
        None => Err(Malformed("it is not the CBOR it should be".to_owned())),
    }
}

/// The answer of PutRecord.
pub(super) fn read_record(body: &[u8]) -> Result<Outcome<'_>, Malformed> {
    Reader::whole(body).outcome().ok_or_else(|| Malformed("it is not the CBOR it should be".to_owned()))
}

/// The texts of a map of these names; absent where the map has none of the name, or something else than a text.
pub(super) fn read_texts<'a, const N: usize>(body: &'a [u8], names: [&str; N]) -> [Option<&'a str>; N] {
    let mut texts = [None; N];
    // What was read before something that is no CBOR counts.
    let _ = Reader::whole(body).texts_until_end(&names, &mut texts);
    texts
}

/// Reads item after item. Every step gives `None` for what is not there or not of the type.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    const fn whole(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(taken)
    }

    /// Major type and argument; no argument where the item goes on until its break.
    fn head(&mut self) -> Option<(u8, Option<u64>)> {
        let first = self.byte()?;
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let argument = match first & 31 {
            short @ 0..=23 => Some(u64::from(short)),
            long @ 24..=27 => Some(number(self.take(1 << (long - 24))?)),
            31 => None,
            _ => return None,
        };
        Some((first >> 5, argument))
    }

    fn at_break(&mut self) -> Option<bool> {
        let over = *self.rest.first()? == BREAK;
        if over {
            self.byte()?;
        }
        Some(over)
    }

    /// Whether another item follows in a container of so many, of which `done` were read.
    fn more(&mut self, count: Option<u64>, done: u64) -> Option<bool> {
        match count {
            Some(count) => Some(done < count),
            None => self.at_break().map(|over| !over),
        }
    }

    fn text(&mut self) -> Option<&'a str> {
        match self.head()? {
            (TEXT, Some(length)) => std::str::from_utf8(self.take(usize::try_from(length).ok()?)?).ok(),
            _ => None,
        }
    }

    fn fields(&mut self, each: &mut dyn FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        let (FIELDS, count) = self.head()? else { return None };
        let mut done = 0;
        while self.more(count, done)? {
            let name = self.text()?;
            each(self, name)?;
            done += 1;
        }
        Some(())
    }

    fn items(&mut self, each: &mut dyn FnMut(&mut Self) -> Option<()>) -> Option<()> {
        let (ITEMS, count) = self.head()? else { return None };
        let mut done = 0;
        while self.more(count, done)? {
            each(self)?;
            done += 1;
        }
        Some(())
    }

    /// A text, or whatever else stands there and is passed.
    fn text_or_skip(&mut self) -> Option<Option<&'a str>> {
        match self.rest.first()? {
            first if first >> 5 == TEXT && first & 31 != 31 => self.text().map(Some),
            &NULL => self.byte().map(|_| None),
            _ => self.skip(DEPTH).map(|()| None),
        }
    }

    fn texts_until_end(&mut self, names: &[&str], texts: &mut [Option<&'a str>]) -> Option<()> {
        self.fields(&mut |reader, name| {
            let text = reader.text_or_skip()?;
            if let Some(place) = names.iter().position(|wanted| *wanted == name) {
                texts[place] = text;
            }
            Some(())
        })
    }

    fn outcome(&mut self) -> Option<Outcome<'a>> {
        let mut texts = [None; 2];
        self.texts_until_end(&["ShardId", "ErrorCode"], &mut texts)?;
        Some(match texts {
            [Some(shard), None] => Outcome::Accepted { shard: shard.into() },
            [_, code] => Outcome::Refused { code: code.unwrap_or("unknown").into() },
        })
    }

    fn skip(&mut self, depth: u32) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        let (major, count) = self.head()?;
        match major {
            BYTES | TEXT => match count {
                Some(length) => self.take(usize::try_from(length).ok()?).map(|_| ()),
                None => {
                    while !self.at_break()? {
                        self.skip(depth)?;
                    }
                    Some(())
                }
            },
            ITEMS | FIELDS => {
                let each = u64::from(major == FIELDS) + 1;
                let mut done = 0;
                while self.more(count, done)? {
                    (0..each).try_for_each(|_| self.skip(depth))?;
                    done += 1;
                }
                Some(())
            }
            TAG => self.skip(depth),
            // Numbers and words are their head; a break of its own belongs nowhere.
            _ => count.map(|_| ()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        push_text(text, &mut out);
        out
    }

    fn map(fields: &[(&str, Vec<u8>)], open: bool) -> Vec<u8> {
        let mut out = Vec::new();
        if open {
            out.push(MAP)
        } else {
            push_map(fields.len(), &mut out)
        }
        for (name, value) in fields {
            out.extend(text(name));
            out.extend(value);
        }
        if open {
            out.push(BREAK);
        }
        out
    }

    /// The examples of RFC 8949, appendix A.
    #[test]
    fn heads_are_those_of_the_standard() {
        assert_eq!(text("IETF"), b"\x64IETF");
        let mut out = Vec::new();
        push_bytes(&[1, 2, 3, 4], &mut out);
        assert_eq!(out, [0x44, 1, 2, 3, 4]);
        for (length, head) in
            [(23, &[0x57][..]), (24, &[0x58, 24]), (500, &[0x59, 1, 0xF4]), (70_000, &[0x5A, 0, 1, 0x11, 0x70])]
        {
            let mut out = Vec::new();
            push_bytes(&vec![0; length], &mut out);
            assert!(out.starts_with(head) && out.len() == head.len() + length, "{length}");
        }
    }

    #[test]
    fn answers_are_read_with_and_without_lengths() {
        for open in [false, true] {
            let taken =
                map(&[("SequenceNumber", text("1")), ("ShardId", text("shardId-0")), ("ErrorCode", vec![NULL])], open);
            let refused = map(&[("ErrorCode", text("Slow")), ("ErrorMessage", text("é"))], open);
            let nothing = map(&[], open);
            let mut list = if open { vec![LIST] } else { vec![0x83] };
            list.extend([taken.clone(), refused, nothing].concat());
            list.extend(open.then_some(BREAK));
            // A tagged number, a float and a list stand between.
            let other = vec![0xC1, 0x1A, 0x51, 0x4B, 0x67, 0xB0];
            let fields = [
                ("Time", other),
                ("F", vec![0xFB, 0, 0, 0, 0, 0, 0, 0, 0]),
                ("L", vec![0x82, 1, 0x20]),
                ("Records", list),
            ];
            let body = map(&fields, open);
            let refused = |code: &'static str| Outcome::Refused { code: code.into() };
            let accepted = Outcome::Accepted { shard: "shardId-0".into() };
            assert_eq!(read_records(&body).unwrap(), [accepted.clone(), refused("Slow"), refused("unknown")]);
            assert_eq!(read_record(&taken).unwrap(), accepted);
            for cut in 0..body.len() {
                assert!(read_records(&body[..cut]).is_err(), "cut after {cut}");
            }
        }
        assert!(read_records(&map(&[], false)).is_err() && read_records(b"{}").is_err());
    }

    #[test]
    fn an_error_is_read_as_far_as_it_goes() {
        let error = map(&[("__type", text("ResourceNotFoundException")), ("message", text("no"))], true);
        assert_eq!(read_texts(&error, ["__type", "message"]), [Some("ResourceNotFoundException"), Some("no")]);
        assert_eq!(read_texts(&error[..error.len() - 2], ["__type", "message"])[0], Some("ResourceNotFoundException"));
        assert_eq!(read_texts(b"<html>", ["__type"]), [None]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let _ = (read_records(&bytes), read_record(&bytes), read_texts(&bytes, ["a"]));
        }
    }
}

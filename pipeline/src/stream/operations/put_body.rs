//! The body of PutRecords as nearly every client writes it, read in one pass and without copying anything.
//!
//! Only plain bodies are read here: known members, each once, texts without escapes, everything within its bounds. Of any
//! other body this says nothing, and the general reader in `write` says what it is or what is wrong with it.

use memchr::memchr;

use crate::stream::{
    blob::Blob,
    placement::ToStore,
    routing::hash_of_key,
    validate::{StreamTarget, is_number},
};

use super::write::{MAX_CALL_BYTES, MAX_DATA_BYTES, MAX_RECORDS};

/// A call whose fields are sound. What needs the stream is still to be checked, and the base64 to be decoded.
#[derive(Debug)]
pub(super) struct PutBody<'a> {
    pub(super) target: StreamTarget<'a>,
    pub(super) records: Vec<ToStore<'a>>,
    /// The largest of the records, data and partition key, bytes.
    pub(super) largest_bytes: usize,
}

impl<'a> PutBody<'a> {
    /// The call, if the body is a plain one.
    pub(super) fn read(body: &'a [u8]) -> Option<Self> {
        let mut scanner = Scanner { rest: body };
        let mut target = StreamTarget { name: None, arn: None };
        let mut records = Vec::new();
        scanner.object(|scanner, member| match member {
            b"StreamName" => set(&mut target.name, scanner.plain_text()?),
            b"StreamARN" => set(&mut target.arn, scanner.plain_text()?),
            b"Records" if records.is_empty() => scanner.records(&mut records),
            _ => None,
        })?;
        scanner.skip_space();
        let call_bytes: usize = records.iter().map(ToStore::size).sum();
        let largest_bytes = records.iter().map(ToStore::size).max()?;
        (scanner.rest.is_empty() && call_bytes <= MAX_CALL_BYTES).then_some(Self { target, records, largest_bytes })
    }
}

/// Notes a member that may come once.
fn set<T>(member: &mut Option<T>, value: T) -> Option<()> {
    member.replace(value).is_none().then_some(())
}

/// What is still to be read. Every step gives `None` for what it does not know.
struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    fn skip_space(&mut self) {
        while let Some((b' ' | b'\n' | b'\r' | b'\t', rest)) = self.rest.split_first() {
            self.rest = rest;
        }
    }

    /// The next byte that is not space.
    fn token(&mut self) -> Option<u8> {
        self.skip_space();
        let (token, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*token)
    }

    fn expect(&mut self, token: u8) -> Option<()> {
        (self.token()? == token).then_some(())
    }

    /// What stands between two quotes. The caller has no use for texts with a backslash, so the first quote ends it.
    fn text(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let (text, rest) = self.rest.split_at(memchr(b'"', self.rest)?);
        self.rest = &rest[1..];
        Some(text)
    }

    /// A text that stands for itself.
    fn plain_text(&mut self) -> Option<&'a str> {
        let text = self.text()?;
        let plain = text.iter().all(|byte| *byte >= b' ' && *byte != b'\\');
        std::str::from_utf8(text).ok().filter(|_| plain)
    }

    /// An object with at least one member; `member` reads the value.
    fn object(&mut self, mut member: impl FnMut(&mut Self, &'a [u8]) -> Option<()>) -> Option<()> {
        self.expect(b'{')?;
        loop {
            let name = self.text()?;
            self.expect(b':')?;
            member(self, name)?;
            match self.token()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    fn records(&mut self, records: &mut Vec<ToStore<'a>>) -> Option<()> {
        records.reserve(MAX_RECORDS);
        self.expect(b'[')?;
        while records.len() < MAX_RECORDS {
            records.push(self.record()?);
            match self.token()? {
                b',' => {}
                b']' => return Some(()),
                _ => return None,
            }
        }
        None
    }

    fn record(&mut self) -> Option<ToStore<'a>> {
        let (mut data, mut key, mut explicit) = (None, None, None);
        self.object(|scanner, member| match member {
            b"Data" => set(&mut data, Blob::base64(scanner.text()?).filter(|blob| blob.len() <= MAX_DATA_BYTES)?),
            b"PartitionKey" => set(&mut key, scanner.plain_text().filter(|key| is_partition_key(key))?),
            b"ExplicitHashKey" => set(&mut explicit, scanner.plain_text().filter(|text| is_number(text, 39))?),
            _ => None,
        })?;
        let key = key?;
        let hash = match explicit {
            Some(text) => text.parse().ok()?,
            None => hash_of_key(key),
        };
        Some(ToStore { hash, key, data: data? })
    }
}

fn is_partition_key(key: &str) -> bool {
    // Bytes bound characters, so short keys need no count.
    !key.is_empty() && (key.len() <= 256 || key.chars().count() <= 256)
}

//! The body of PutRecords as nearly every client writes it, read in one pass and without copying anything.
//!
//! Only plain bodies are read here: known members, each once, texts without escapes, everything within its bounds. Of any
//! other body this says nothing, and the general reader in `write` says what it is or what is wrong with it.

use memchr::memchr;

use crate::stream::{
    blob::Blob,
    key_hash::{LANES, hash_of_keys},
    placement::ToStore,
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
        let mut entries = Vec::new();
        scanner.object(|scanner, member| match member {
            b"StreamName" => set(&mut target.name, scanner.plain_text()?),
            b"StreamARN" => set(&mut target.arn, scanner.plain_text()?),
            b"Records" if entries.is_empty() => scanner.entries(&mut entries),
            _ => None,
        })?;
        scanner.skip_space();
        let records = hashed(&entries);
        let call_bytes: usize = records.iter().map(ToStore::size).sum();
        let largest_bytes = records.iter().map(ToStore::size).max()?;
        (scanner.rest.is_empty() && call_bytes <= MAX_CALL_BYTES).then_some(Self { target, records, largest_bytes })
    }
}

/// A record as the body has it.
struct Entry<'a> {
    key: &'a str,
    data: Blob<'a>,
    explicit_hash: Option<u128>,
}

/// The records with their hash keys.
fn hashed<'a>(entries: &[Entry<'a>]) -> Vec<ToStore<'a>> {
    let mut records = Vec::with_capacity(entries.len());
    for several in entries.chunks(LANES) {
        // A key whose hash is given explicitly is not looked at.
        let key = |entry: &Entry<'a>| entry.explicit_hash.map_or(entry.key, |_| "");
        let hashes = hash_of_keys(std::array::from_fn(|lane| several.get(lane).map_or("", key)));
        records.extend(several.iter().zip(hashes).map(|(entry, hash)| ToStore {
            hash: entry.explicit_hash.unwrap_or(hash),
            key: entry.key,
            data: entry.data,
        }));
    }
    records
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

    fn entries(&mut self, entries: &mut Vec<Entry<'a>>) -> Option<()> {
        entries.reserve(MAX_RECORDS);
        self.expect(b'[')?;
        while entries.len() < MAX_RECORDS {
            entries.push(self.entry()?);
            match self.token()? {
                b',' => {}
                b']' => return Some(()),
                _ => return None,
            }
        }
        None
    }

    fn entry(&mut self) -> Option<Entry<'a>> {
        let (mut data, mut key, mut explicit) = (None, None, None::<&str>);
        self.object(|scanner, member| match member {
            b"Data" => set(&mut data, Blob::base64(scanner.text()?).filter(|blob| blob.len() <= MAX_DATA_BYTES)?),
            b"PartitionKey" => set(&mut key, scanner.plain_text().filter(|key| is_partition_key(key))?),
            b"ExplicitHashKey" => set(&mut explicit, scanner.plain_text().filter(|text| is_number(text, 39))?),
            _ => None,
        })?;
        let explicit_hash = match explicit {
            Some(text) => Some(text.parse().ok()?),
            None => None,
        };
        Some(Entry { key: key?, data: data?, explicit_hash })
    }
}

fn is_partition_key(key: &str) -> bool {
    // Bytes bound characters, so short keys need no count.
    !key.is_empty() && (key.len() <= 256 || key.chars().count() <= 256)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys of the records, if the body is a plain one.
    fn keys(body: &str) -> Option<Vec<&str>> {
        Some(PutBody::read(body.as_bytes())?.records.into_iter().map(|record| record.key).collect())
    }

    #[test]
    fn bodies_as_clients_write_them_are_plain() {
        let boto3 = r#"{"Records": [{"Data": "QQ==", "PartitionKey": "k1"}, {"Data": "", "PartitionKey": "k2"}], "StreamName": "s"}"#;
        assert_eq!(keys(boto3), Some(vec!["k1", "k2"]));
        let rust = r#"{"Records":[{"Data":"QQ==","ExplicitHashKey":"7","PartitionKey":"kü"}],"StreamARN":"arn:aws:kinesis:r:123456789012:stream/s"}"#;
        assert_eq!(keys(rust), Some(vec!["kü"]));
        assert_eq!(PutBody::read(rust.as_bytes()).unwrap().records[0].hash, 7);
    }

    #[test]
    fn whatever_is_not_plain_is_left_to_the_general_reader() {
        let record = r#"{"Data":"QQ==","PartitionKey":"k"}"#;
        let with = |record: &str| format!(r#"{{"StreamName":"s","Records":[{record}]}}"#);
        assert!(keys(&with(record)).is_some());
        for odd in [
            "",
            "{}",
            r#"{"Data":"QQ==","PartitionKey":"k\n"}"#,
            r#"{"Data":"QQ==","PartitionKey":""}"#,
            r#"{"Data":"QQ=","PartitionKey":"k"}"#,
            r#"{"Data":"QQ==","PartitionKey":null}"#,
            r#"{"Data":"QQ==","PartitionKey":"k","PartitionKey":"k"}"#,
            r#"{"Data":"QQ==","PartitionKey":"k","ExplicitHashKey":"01"}"#,
            r#"{"Data":"QQ==","PartitionKey":"k","New":1}"#,
            r#"{"Data":"QQ==","PartitionKey":"k",}"#,
            r#"{"Data":"QQ==","PartitionKey":"k"},"#,
        ] {
            assert_eq!(keys(&with(odd)), None, "{odd}");
        }
        assert!(keys(&with(&vec![record; MAX_RECORDS].join(","))).is_some());
        assert_eq!(keys(&with(&vec![record; MAX_RECORDS + 1].join(","))), None);
        assert_eq!(keys(&format!("{} x", with(record))), None);
    }
}

//! Unpacking: an aggregate taken apart, or left alone when it is none.

use md5::{Digest, Md5};

use super::{
    DIGEST_BYTES, MAGIC, field,
    varint::{Fields, Value},
};

/// One record of an aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserRecord<'a> {
    /// Its partition key.
    pub key: &'a str,
    /// Its explicit hash key, if it has one.
    pub hash: Option<u128>,
    /// Its data.
    pub data: &'a [u8],
}

/// The records of an aggregate, in the order in which they were packed.
///
/// `None` says that `blob` is no aggregate but a record like any other: it begins otherwise, its digest is not that of
/// its message, its message is broken or without a record, or names a key that it does not have. No record of the stream
/// disappears that way. A record like any other costs the comparison of its first four bytes.
#[must_use]
pub fn deaggregate(blob: &[u8]) -> Option<impl ExactSizeIterator<Item = UserRecord<'_>>> {
    let rest = blob.strip_prefix(&MAGIC)?;
    let (message, digest) = rest.split_at_checked(rest.len().checked_sub(DIGEST_BYTES)?)?;
    if <[u8; DIGEST_BYTES]>::from(Md5::digest(message)) != *digest {
        return None;
    }
    let (mut keys, mut hashes, mut records) = (Vec::new(), Vec::new(), Vec::new());
    for field in Fields::of(message) {
        match field? {
            (field::PARTITION_KEY_TABLE, Value::Bytes(key)) => keys.push(std::str::from_utf8(key).ok()?),
            (field::HASH_KEY_TABLE, Value::Bytes(hash)) => hashes.push(hash_key(hash)?),
            (field::RECORDS, Value::Bytes(record)) => records.push(Indexed::of(record)?),
            (field::PARTITION_KEY_TABLE | field::HASH_KEY_TABLE | field::RECORDS, _) => return None,
            // A later format may say more.
            _ => {}
        }
    }
    if records.is_empty() {
        return None;
    }
    // The tables may come after the records.
    let named = records.into_iter().map(|record| record.named(&keys, &hashes));
    Some(named.collect::<Option<Vec<_>>>()?.into_iter())
}

/// A record whose keys are still places in the tables.
struct Indexed<'a> {
    key: u64,
    hash: Option<u64>,
    data: &'a [u8],
}

impl<'a> Indexed<'a> {
    /// As protobuf has it, a field that comes twice counts as it came last. Tags are checked to be fields and left out.
    fn of(record: &'a [u8]) -> Option<Self> {
        let (mut key, mut hash, mut data) = (None, None, None);
        for field in Fields::of(record) {
            match field? {
                (field::PARTITION_KEY_INDEX, Value::Number(index)) => key = Some(index),
                (field::HASH_KEY_INDEX, Value::Number(index)) => hash = Some(index),
                (field::DATA, Value::Bytes(bytes)) => data = Some(bytes),
                (field::PARTITION_KEY_INDEX | field::HASH_KEY_INDEX | field::DATA, _) => return None,
                _ => {}
            }
        }
        Some(Self { key: key?, hash, data: data? })
    }

    fn named(self, keys: &[&'a str], hashes: &[u128]) -> Option<UserRecord<'a>> {
        let key = keys.get(usize::try_from(self.key).ok()?).copied()?;
        let hash = match self.hash {
            Some(index) => Some(hashes.get(usize::try_from(index).ok()?).copied()?),
            None => None,
        };
        Some(UserRecord { key, hash, data: self.data })
    }
}

/// An explicit hash key, which is written as the stream takes it: a number without sign.
fn hash_key(digits: &[u8]) -> Option<u128> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

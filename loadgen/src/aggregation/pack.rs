//! Packing: records in, one aggregate out.

use std::io::Write;

use md5::{Digest, Md5};

use super::{
    DIGEST_BYTES, FRAME_BYTES, MAGIC, field,
    table::{Place, Table},
    varint::{field_length, length, write_head, write_number},
};

/// Digits of the largest explicit hash key.
const HASH_DIGITS: usize = 39;

/// Packs records into one aggregate after the other. It keeps its memory between them.
#[derive(Debug)]
pub struct Aggregator {
    limit_bytes: usize,
    keys: Table,
    hashes: Table,
    /// The records as the message has them.
    records: Vec<u8>,
    count: usize,
    /// The explicit hash key of the first record.
    first_hash: Option<u128>,
}

impl Aggregator {
    /// What the Kinesis Producer Library packs at most, unless told otherwise (its `AggregationMaxSize`).
    pub const DEFAULT_LIMIT_BYTES: usize = 50 << 10;

    /// An empty aggregate of at most `limit_bytes`, with its magic and digest.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            keys: Table::new(field::PARTITION_KEY_TABLE),
            hashes: Table::new(field::HASH_KEY_TABLE),
            records: Vec::new(),
            count: 0,
            first_hash: None,
        }
    }

    /// Whether a record with this key, explicit hash key, and so many bytes of data has room. An empty aggregate says
    /// no to a record that is too large to be packed at all: it has to be sent as it is.
    #[must_use]
    pub fn fits(&self, key: &str, hash: Option<u128>, data_len: usize) -> bool {
        let room = self.limit_bytes.saturating_sub(self.size_bytes().max(FRAME_BYTES));
        // Far from the limit there is no need to look for the key.
        let most = added_bytes((key.len(), Place::UNKNOWN), hash.map(|_| (HASH_DIGITS, Place::UNKNOWN)), data_len);
        if most <= room {
            return true;
        }
        let mut digits = [0; HASH_DIGITS];
        let hash = hash.map(|hash| decimal(hash, &mut digits)).map(|hash| (hash.len(), self.hashes.place(hash)));
        added_bytes((key.len(), self.keys.place(key)), hash, data_len) <= room
    }

    /// Packs a record. One that does not [fit](Self::fits) is packed all the same, and the aggregate exceeds its limit.
    pub fn push(&mut self, key: &str, hash: Option<u128>, data: &[u8]) {
        if self.count == 0 {
            self.first_hash = hash;
        }
        let key = self.keys.add(key, self.keys.place(key));
        let mut digits = [0; HASH_DIGITS];
        let hash = hash.map(|hash| decimal(hash, &mut digits));
        let hash = hash.map(|hash| self.hashes.add(hash, self.hashes.place(hash)));
        write_head(field::RECORDS, record_length(key, hash, data.len()), &mut self.records);
        write_number(field::PARTITION_KEY_INDEX, key.into(), &mut self.records);
        if let Some(hash) = hash {
            write_number(field::HASH_KEY_INDEX, hash.into(), &mut self.records);
        }
        write_head(field::DATA, data.len(), &mut self.records);
        self.records.extend_from_slice(data);
        self.count += 1;
    }

    /// How many records are packed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing is packed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many bytes [`finish`](Self::finish) would append.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        if self.is_empty() {
            return 0;
        }
        FRAME_BYTES + self.keys.encoded().len() + self.hashes.encoded().len() + self.records.len()
    }

    /// The partition key of the first record, with which the aggregate is to be sent.
    #[must_use]
    pub fn first_key(&self) -> Option<&str> {
        self.keys.first()
    }

    /// The explicit hash key of the first record, with which the aggregate is to be sent if there is one.
    #[must_use]
    pub fn first_hash(&self) -> Option<u128> {
        self.first_hash
    }

    /// Appends the aggregate to `out`, and begins an empty one. Of an empty aggregate there is nothing to append.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.is_empty() {
            return;
        }
        out.reserve(self.size_bytes());
        out.extend_from_slice(&MAGIC);
        let message = out.len();
        for part in [self.keys.encoded(), self.hashes.encoded(), &self.records] {
            out.extend_from_slice(part);
        }
        let digest: [u8; DIGEST_BYTES] = Md5::digest(&out[message..]).into();
        out.extend_from_slice(&digest);
        self.keys.clear();
        self.hashes.clear();
        self.records.clear();
        self.count = 0;
        self.first_hash = None;
    }
}

/// How much longer a message becomes by a record with this key and explicit hash key: length and place of each.
fn added_bytes(key: (usize, Place), hash: Option<(usize, Place)>, data_len: usize) -> usize {
    let entry = |(length, place): (usize, Place)| if place.new { field_length(length) } else { 0 };
    let record = record_length(key.1.index, hash.map(|(_, place)| place.index), data_len);
    entry(key) + hash.map_or(0, entry) + field_length(record)
}

/// The length of a record in the message, without its own head.
fn record_length(key: u32, hash: Option<u32>, data_len: usize) -> usize {
    let number = |index: u32| 1 + length(index.into());
    number(key) + hash.map_or(0, number) + field_length(data_len)
}

/// The number as text.
fn decimal(number: u128, digits: &mut [u8; HASH_DIGITS]) -> &str {
    let mut free = &mut digits[..];
    // The largest number has just so many digits.
    let _ = write!(free, "{number}");
    let length = HASH_DIGITS - free.len();
    std::str::from_utf8(&digits[..length]).unwrap_or_default()
}

//! A set of keys, each numbered in the order it was met. Keys lie in one buffer; the hash finds candidates, the bytes decide.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, DefaultHasher, Hasher},
};

/// No further key with this hash.
const END: u32 = u32::MAX;

/// Hashes that are hashed already.
#[derive(Debug, Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// Keys as bytes, numbered from 0.
#[derive(Debug, Default)]
pub(super) struct Keys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    heads: HashMap<u64, u32, BuildHasherDefault<Identity>>,
    /// For each key, the next one with the same hash.
    next: Vec<u32>,
}

impl Keys {
    fn key(&self, number: u32) -> &[u8] {
        let number = number as usize;
        let start = if number == 0 { 0 } else { self.ends[number - 1] };
        &self.bytes[start..self.ends[number]]
    }

    fn hash(key: &[u8]) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write(key);
        hasher.finish()
    }

    fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        let mut number = *self.heads.get(&hash)?;
        while number != END {
            if self.key(number) == key {
                return Some(number);
            }
            number = self.next[number as usize];
        }
        None
    }

    /// The number of a key that was met.
    pub(super) fn get(&self, key: &[u8]) -> Option<u32> {
        self.find(Self::hash(key), key)
    }

    /// The key's number, and whether it is met for the first time.
    pub(super) fn insert(&mut self, key: &[u8]) -> (u32, bool) {
        self.insert_hashed(Self::hash(key), key)
    }

    fn insert_hashed(&mut self, hash: u64, key: &[u8]) -> (u32, bool) {
        if let Some(number) = self.find(hash, key) {
            return (number, false);
        }
        let number = u32::try_from(self.ends.len()).unwrap_or(END);
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
        self.next.push(self.heads.insert(hash, number).unwrap_or(END));
        (number, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_with_the_same_hash_stay_apart() {
        let mut keys = Keys::default();
        assert_eq!(keys.insert_hashed(7, b"a"), (0, true));
        assert_eq!(keys.insert_hashed(7, b"b"), (1, true));
        assert_eq!(keys.insert_hashed(7, b""), (2, true));
        assert_eq!(keys.insert_hashed(7, b"a"), (0, false));
        assert_eq!(keys.find(7, b""), Some(2));
        assert_eq!(keys.find(7, b"c"), None);
        assert_eq!(keys.find(8, b"a"), None);
    }

    #[test]
    fn a_key_is_found_under_its_number() {
        let mut keys = Keys::default();
        for k in 0..1_000_u32 {
            assert_eq!(keys.insert(&k.to_le_bytes()), (k, true));
        }
        for k in 0..1_000_u32 {
            assert_eq!(keys.get(&k.to_le_bytes()), Some(k));
        }
        assert_eq!(keys.get(&1_000_u32.to_le_bytes()), None);
    }
}

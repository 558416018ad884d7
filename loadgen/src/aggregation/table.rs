//! A table of texts without duplicates, written as the field of a message while it grows.
//!
//! It keeps its memory from one aggregate to the next, so that packing allocates nothing once it is warm.

use std::{
    hash::{BuildHasher, RandomState},
    ops::Range,
};

use super::varint;

/// A slot that names no text.
const FREE: u32 = u32::MAX;

/// Texts, each once, numbered in the order they came.
#[derive(Debug)]
pub(super) struct Table {
    field: u64,
    hasher: RandomState,
    encoded: Vec<u8>,
    /// Where each text is in `encoded`.
    texts: Vec<Range<usize>>,
    /// Numbers of texts, each at the first free slot from its hash on; a power of two of them, at most half in use.
    slots: Vec<u32>,
}

/// Where a text is, or where it would go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    slot: usize,
    /// The number the text has or would have.
    pub(super) index: u32,
    /// Whether the text is not there yet.
    pub(super) new: bool,
}

impl Place {
    /// The place of a text that was not looked for: no place needs more bytes in a message.
    pub(super) const UNKNOWN: Self = Self { slot: 0, index: u32::MAX, new: true };
}

impl Table {
    /// An empty table, to be written as this field.
    pub(super) fn new(field: u64) -> Self {
        Self { field, hasher: RandomState::new(), encoded: Vec::new(), texts: Vec::new(), slots: vec![FREE; 16] }
    }

    /// Where this text is, or would go.
    pub(super) fn place(&self, text: &str) -> Place {
        let mask = self.slots.len() - 1;
        let mut slot = self.hasher.hash_one(text.as_bytes()) as usize & mask;
        loop {
            let index = self.slots[slot];
            if index == FREE {
                return Place { slot, index: self.texts.len() as u32, new: true };
            }
            if self.text(index) == text.as_bytes() {
                return Place { slot, index, new: false };
            }
            slot = (slot + 1) & mask;
        }
    }

    /// The number of this text, which is added if it is new. `place` is what [`place`](Self::place) said of it just now.
    pub(super) fn add(&mut self, text: &str, place: Place) -> u32 {
        if place.new {
            varint::write_head(self.field, text.len(), &mut self.encoded);
            let start = self.encoded.len();
            self.encoded.extend_from_slice(text.as_bytes());
            self.texts.push(start..self.encoded.len());
            self.slots[place.slot] = place.index;
            if self.texts.len() * 2 > self.slots.len() {
                self.grow();
            }
        }
        place.index
    }

    /// The texts so far, as the message has them.
    pub(super) fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// The text that came first.
    pub(super) fn first(&self) -> Option<&str> {
        let range = self.texts.first()?;
        std::str::from_utf8(&self.encoded[range.clone()]).ok()
    }

    pub(super) fn clear(&mut self) {
        self.encoded.clear();
        self.texts.clear();
        self.slots.fill(FREE);
    }

    fn text(&self, index: u32) -> &[u8] {
        &self.encoded[self.texts[index as usize].clone()]
    }

    fn grow(&mut self) {
        let mask = self.slots.len() * 2 - 1;
        let mut slots = vec![FREE; mask + 1];
        for index in 0..self.texts.len() as u32 {
            let mut slot = self.hasher.hash_one(self.text(index)) as usize & mask;
            while slots[slot] != FREE {
                slot = (slot + 1) & mask;
            }
            slots[slot] = index;
        }
        self.slots = slots;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_numbered_once_through_growth_and_clearing() {
        let mut table = Table::new(1);
        for _ in 0..2 {
            for i in 0..1_000_u32 {
                let text = format!("key-{i}");
                let place = table.place(&text);
                assert!(place.new);
                assert_eq!(table.add(&text, place), i);
                assert_eq!(table.place(&text), Place { new: false, ..table.place(&text) });
            }
            for i in (0..1_000_u32).rev() {
                let place = table.place(&format!("key-{i}"));
                assert_eq!((place.index, place.new), (i, false));
            }
            assert_eq!(table.first(), Some("key-0"));
            assert!(table.encoded().starts_with(b"\x0A\x05key-0\x0A\x05key-1"));
            table.clear();
            assert_eq!((table.first(), table.encoded()), (None, &[][..]));
        }
    }
}

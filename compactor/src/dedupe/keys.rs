//! Which number a key has. The table holds no keys, only part of their hash beside the number; whoever asks compares the
//! keys themselves where they lie.

/// Slots at first.
const SLOTS: usize = 1_024;

/// Numbers by hash, in one open table: a slot is the upper half of the hash and the number plus one; zero is free.
#[derive(Debug)]
pub(super) struct Keys {
    slots: Vec<u64>,
    held: usize,
}

impl Default for Keys {
    fn default() -> Self {
        Self { slots: vec![0; SLOTS], held: 0 }
    }
}

const fn slot(hash: u64, number: u32) -> u64 {
    (hash & !0xFFFF_FFFF) | (number as u64 + 1)
}

impl Keys {
    /// Makes room for so many keys at once.
    pub(super) fn reserve(&mut self, more: usize) {
        let slots = ((self.held + more) * 4 / 3).next_power_of_two();
        if slots > self.slots.len() {
            let old = std::mem::replace(&mut self.slots, vec![0; slots]);
            for taken in old.into_iter().filter(|slot| *slot != 0) {
                let free = self.free(taken);
                self.slots[free] = taken;
            }
        }
    }

    /// Where a search for the hash begins: its upper half is all that a slot remembers.
    fn start(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.slots.len() - 1)
    }

    fn free(&self, hash: u64) -> usize {
        let mut at = self.start(hash);
        while self.slots[at] != 0 {
            at = (at + 1) & (self.slots.len() - 1);
        }
        at
    }

    /// The number of a key that was met; `same` says whether a number's key is the one.
    pub(super) fn get(&self, hash: u64, same: impl Fn(u32) -> bool) -> Option<u32> {
        self.find(hash, same).ok()
    }

    /// The number of the key, or the slot where it would be.
    fn find(&self, hash: u64, same: impl Fn(u32) -> bool) -> Result<u32, usize> {
        let mut at = self.start(hash);
        loop {
            let taken = self.slots[at];
            if taken == 0 {
                return Err(at);
            }
            let number = (taken as u32).wrapping_sub(1);
            if taken >> 32 == hash >> 32 && same(number) {
                return Ok(number);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    /// The key's number, or none when it is met for the first time and is number `next` from now on.
    pub(super) fn insert(&mut self, hash: u64, next: u32, same: impl Fn(u32) -> bool) -> Option<u32> {
        match self.find(hash, same) {
            Ok(number) => Some(number),
            Err(free) => {
                self.slots[free] = slot(hash, next);
                self.held += 1;
                if self.held * 4 > self.slots.len() * 3 {
                    self.reserve(self.held);
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_with_the_same_hash_stay_apart() {
        let mut keys = Keys::default();
        let names = ["a", "b", "", "c"];
        for (number, name) in (0..3).zip(names) {
            assert_eq!(keys.insert(7 << 32, number, |n| names[n as usize] == name), None);
        }
        assert_eq!(keys.insert(7 << 32, 3, |n| names[n as usize] == "a"), Some(0));
        assert_eq!(keys.get(7 << 32, |n| names[n as usize].is_empty()), Some(2));
        assert_eq!(keys.get(7 << 32, |n| names[n as usize] == "c"), None);
        assert_eq!(keys.get(8 << 32, |_| true), None);
    }

    #[test]
    fn a_key_is_found_under_its_number_however_the_table_grows() {
        for reserved in [0, 100_000] {
            let mut keys = Keys::default();
            keys.reserve(reserved);
            let hash = |k: u32| u64::from(k).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            for k in 0..100_000_u32 {
                assert_eq!(keys.insert(hash(k), k, |n| n == k), None);
            }
            for k in 0..100_000_u32 {
                assert_eq!(keys.get(hash(k), |n| n == k), Some(k));
            }
            assert_eq!(keys.get(hash(100_000), |n| n == 100_000), None);
        }
    }
}

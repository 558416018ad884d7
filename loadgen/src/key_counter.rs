//! The hottest keys of a load of any size, in memory for a thousand: Space-Saving (Metwally, Agrawal and El Abbadi 2005).
//!
//! A key that is not among the thousand takes the place of the coldest and inherits its count, which is remembered as
//! how far the new count may be too high. Slots stay sorted by count, so that the coldest is the last one and a count
//! goes up by trading places with the first of its equals.

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
};

/// Keys held at once.
pub(crate) const MOST_KEYS: usize = 1_000;

type Hashing = BuildHasherDefault<DefaultHasher>;

/// A key with its count: seen at most `count` and at least `count - error` times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counted {
    hash: u64,
    pub(crate) key: String,
    pub(crate) count: u64,
    pub(crate) error: u64,
}

/// Counts keys. They are told apart by a hash of 64 bits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KeyCounter {
    slots: Vec<Counted>,
    places: HashMap<u64, usize, Hashing>,
    total: u64,
}

impl KeyCounter {
    /// Counts one record with this key.
    pub(crate) fn add(&mut self, key: &str) {
        self.total += 1;
        let hash = Hashing::default().hash_one(key);
        let place = match self.places.get(&hash) {
            Some(place) => *place,
            None if self.slots.len() < MOST_KEYS => {
                self.slots.push(Counted { hash, key: key.to_owned(), count: 0, error: 0 });
                self.slots.len() - 1
            }
            None => {
                let last = self.slots.len() - 1;
                let slot = &mut self.slots[last];
                self.places.remove(&slot.hash);
                slot.hash = hash;
                slot.key.clear();
                slot.key.push_str(key);
                slot.error = slot.count;
                last
            }
        };
        let count = self.slots[place].count;
        let first = self.slots.partition_point(|slot| slot.count > count);
        self.slots.swap(place, first);
        self.slots[first].count += 1;
        self.places.insert(self.slots[place].hash, place);
        self.places.insert(hash, first);
    }

    /// Adds what another counter saw. The bounds stay true: a key that one of them does not hold may have had as many
    /// records there as its coldest.
    #[cfg_attr(not(test), expect(dead_code, reason = "one thread chooses all keys so far"))]
    pub(crate) fn merge(&mut self, other: &Self) {
        let (own_floor, other_floor) = (self.floor(), other.floor());
        let own = std::mem::take(self);
        let mut merged: HashMap<u64, Counted, Hashing> = HashMap::default();
        for slot in &other.slots {
            let mut slot = slot.clone();
            slot.count += own_floor;
            slot.error += own_floor;
            merged.insert(slot.hash, slot);
        }
        for mut slot in own.slots {
            match merged.get_mut(&slot.hash) {
                Some(both) => {
                    both.count = both.count - own_floor + slot.count;
                    both.error = both.error - own_floor + slot.error;
                }
                None => {
                    slot.count += other_floor;
                    slot.error += other_floor;
                    merged.insert(slot.hash, slot);
                }
            }
        }
        self.total = own.total + other.total;
        self.slots = merged.into_values().collect();
        self.slots.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.key.cmp(&b.key)));
        self.slots.truncate(MOST_KEYS);
        self.places = self.slots.iter().enumerate().map(|(place, slot)| (slot.hash, place)).collect();
    }

    /// How often a key that is not held can have been seen.
    fn floor(&self) -> u64 {
        if self.slots.len() < MOST_KEYS { 0 } else { self.slots.last().map_or(0, |slot| slot.count) }
    }

    /// Records counted.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The keys with the highest counts, highest first; ties by name.
    pub(crate) fn top(&self, most: usize) -> Vec<&Counted> {
        let mut top: Vec<&Counted> = self.slots.iter().collect();
        top.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.key.cmp(&b.key)));
        top.truncate(most);
        top
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draws::{Draws, Purpose};

    /// A heavy-tailed key: about 1 / r of the draws go beyond rank r, of 100,000.
    fn key(k: u64) -> u64 {
        let unit = Draws::new(1, Purpose::Key, k).unit();
        (1e5_f64.powf(unit)) as u64
    }

    fn holds(counter: &KeyCounter, truth: &HashMap<String, u64>, total: u64) {
        assert_eq!(counter.total(), total);
        assert!(counter.slots.len() <= MOST_KEYS);
        assert!(counter.slots.is_sorted_by(|a, b| a.count >= b.count));
        for slot in &counter.slots {
            let seen = truth[&slot.key];
            assert!(slot.count - slot.error <= seen && seen <= slot.count, "{slot:?}: {seen}");
        }
        let mut hottest: Vec<_> = truth.iter().collect();
        hottest.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        let top = counter.top(10);
        for ((key, _), found) in hottest.iter().zip(&top) {
            assert_eq!(**key, found.key);
        }
    }

    fn truth(range: impl Iterator<Item = u64>) -> HashMap<String, u64> {
        let mut truth = HashMap::new();
        range.for_each(|k| *truth.entry(key(k).to_string()).or_default() += 1);
        truth
    }

    #[test]
    fn counts_are_within_their_bounds_and_the_hottest_keys_are_found() {
        let mut counter = KeyCounter::default();
        (0..500_000).for_each(|k| counter.add(&key(k).to_string()));
        holds(&counter, &truth(0..500_000), 500_000);
        assert!(counter.slots.iter().all(|slot| slot.error <= 500_000 / MOST_KEYS as u64));
        assert_eq!(counter.places.len(), MOST_KEYS);
    }

    #[test]
    fn few_keys_are_counted_exactly() {
        let mut counter = KeyCounter::default();
        (0..30_000_u64).for_each(|k| counter.add(&(k % 600).to_string()));
        assert!(counter.slots.iter().all(|slot| (slot.count, slot.error) == (50, 0)));
        assert_eq!(counter.slots.len(), 600);
    }

    #[test]
    fn counters_of_several_workers_add_up() {
        let mut workers = [0, 1, 2].map(|worker| {
            let mut counter = KeyCounter::default();
            (worker..300_000).step_by(3).for_each(|k| counter.add(&key(k).to_string()));
            counter
        });
        let [first, rest @ ..] = &mut workers;
        rest.iter().for_each(|other| first.merge(other));
        holds(first, &truth(0..300_000), 300_000);
        first.add("1");
        assert_eq!(first.top(1)[0].key, "1");
    }
}

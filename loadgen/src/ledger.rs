//! The ledger: which sequence numbers were seen, kept as ranges, so that memory follows the gaps and not the records.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::Arc,
};

use millrace_reports::record::LedgerShard;

/// Whether a sequence number was new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It had not been seen before.
    First,
    /// It had.
    Again,
}

/// A set of numbers as disjoint ranges that never touch: inserting costs O(log ranges).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IntervalSet {
    /// First number of a range to its last.
    ranges: BTreeMap<u64, u64>,
    count: u64,
}

impl IntervalSet {
    /// Adds a number.
    pub fn insert(&mut self, number: u64) -> Seen {
        let after = number.checked_add(1);
        let near = self.ranges.range_mut(..=after.unwrap_or(number)).next_back();
        if let Some((start, end)) = near
            && *start <= number
        {
            if number <= *end {
                return Seen::Again;
            }
            // What comes in order, as nearly everything does, costs one look.
            if *end + 1 == number {
                *end = number;
                self.count += 1;
                return Seen::First;
            }
        }
        let before = self.ranges.range(..=number).next_back().map(|(start, end)| (*start, *end));
        let start = match before {
            Some((start, end)) if end + 1 == number => start,
            _ => number,
        };
        let end = after.and_then(|next| self.ranges.remove(&next)).unwrap_or(number);
        self.ranges.insert(start, end);
        self.count += 1;
        Seen::First
    }

    /// How many numbers are in the set.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many ranges hold them: what the set costs.
    #[must_use]
    pub fn ranges_held(&self) -> usize {
        self.ranges.len()
    }

    /// Whether a number is in the set.
    #[must_use]
    pub fn contains(&self, number: u64) -> bool {
        self.ranges.range(..=number).next_back().is_some_and(|(_, end)| number <= *end)
    }

    /// The ranges, rising, first and last number inclusive.
    pub fn ranges(&self) -> impl Iterator<Item = (u64, u64)> {
        self.ranges.iter().map(|(start, end)| (*start, *end))
    }

    /// The numbers of `within` that are not in the set, as rising inclusive ranges.
    pub fn missing(&self, within: Range<u64>) -> impl Iterator<Item = (u64, u64)> {
        let last = within.end.checked_sub(1).filter(|last| *last >= within.start);
        last.into_iter().flat_map(move |last| gaps(self, within.start, last))
    }

    /// The numbers of this set that are not in `other`, as rising inclusive ranges.
    pub fn difference<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (u64, u64)> + 'a {
        self.ranges().flat_map(move |(start, end)| gaps(other, start, end))
    }
}

/// What `set` leaves free between `start` and `end`, both inclusive.
fn gaps(set: &IntervalSet, start: u64, end: u64) -> impl Iterator<Item = (u64, u64)> {
    // From the range that may reach into `start` to the last one that begins by `end`.
    let first = set.ranges.range(..=start).next_back().map_or(start, |(from, _)| *from);
    let mut held = set.ranges.range(first..=end);
    let mut next = Some(start);
    std::iter::from_fn(move || {
        loop {
            let from = next.filter(|n| *n <= end)?;
            match held.next() {
                Some((_, last)) if *last < from => {}
                Some((first, last)) => {
                    next = last.checked_add(1);
                    if *first > from {
                        return Some((from, first - 1));
                    }
                }
                None => {
                    next = None;
                    return Some((from, end));
                }
            }
        }
    })
}

/// How many numbers inclusive ranges hold.
pub fn size(ranges: impl Iterator<Item = (u64, u64)>) -> u64 {
    ranges.map(|(start, end)| end - start + 1).sum()
}

/// Counts of one shard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShardReads {
    /// Different records read.
    pub read: u64,
    /// Records read again.
    pub duplicated: u64,
}

/// What the consumer saw of one run.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    seen: IntervalSet,
    shards: HashMap<Arc<str>, ShardReads>,
}

/// What became of the accepted records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Accepted, never seen.
    pub lost: u64,
    /// The first hundred ranges of the lost, inclusive.
    pub lost_ranges: Vec<(u64, u64)>,
    /// Seen, never acknowledged as accepted.
    pub unacknowledged: u64,
    /// Seen more than once: how often too often.
    pub duplicated: u64,
}

/// How many lost ranges an [`Account`] names.
const LOST_RANGES_NAMED: usize = 100;

impl Ledger {
    /// Ticks a record off.
    pub fn tick(&mut self, shard: &Arc<str>, sequence: u64) -> Seen {
        let seen = self.seen.insert(sequence);
        if !self.shards.contains_key(shard) {
            self.shards.insert(Arc::clone(shard), ShardReads::default());
        }
        if let Some(reads) = self.shards.get_mut(shard) {
            match seen {
                Seen::First => reads.read += 1,
                Seen::Again => reads.duplicated += 1,
            }
        }
        seen
    }

    /// The numbers seen.
    #[must_use]
    pub fn seen(&self) -> &IntervalSet {
        &self.seen
    }

    /// Counts by shard.
    #[must_use]
    pub fn shards(&self) -> &HashMap<Arc<str>, ShardReads> {
        &self.shards
    }

    /// Whether every accepted record was seen.
    #[must_use]
    pub fn has_all(&self, accepted: &IntervalSet) -> bool {
        accepted.difference(&self.seen).next().is_none()
    }

    /// Holds the seen against the accepted.
    #[must_use]
    pub fn account(&self, accepted: &IntervalSet) -> Account {
        Account {
            lost: size(accepted.difference(&self.seen)),
            lost_ranges: accepted.difference(&self.seen).take(LOST_RANGES_NAMED).collect(),
            unacknowledged: size(self.seen.difference(accepted)),
            duplicated: self.shards.values().map(|reads| reads.duplicated).sum(),
        }
    }

    /// One row per shard, by name: what the producer was told is stored on it against what was read from it.
    #[must_use]
    pub fn shard_rows(&self, accepted: &HashMap<Arc<str>, u64>) -> Vec<LedgerShard> {
        let mut names: Vec<&Arc<str>> = accepted.keys().chain(self.shards.keys()).collect();
        names.sort_unstable();
        names.dedup();
        let row = |name: &Arc<str>| {
            let reads = self.shards.get(name).copied().unwrap_or_default();
            LedgerShard {
                shard: name.to_string(),
                accepted: accepted.get(name).copied().unwrap_or(0),
                read: reads.read,
                duplicated: reads.duplicated,
            }
        };
        names.into_iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn set(numbers: impl IntoIterator<Item = u64>) -> IntervalSet {
        let mut set = IntervalSet::default();
        for number in numbers {
            set.insert(number);
        }
        set
    }

    #[test]
    fn runs_join_when_their_gap_is_filled() {
        let mut numbers = set([1, 2, 5, 6, 3]);
        assert_eq!(numbers.ranges().collect::<Vec<_>>(), [(1, 3), (5, 6)]);
        assert_eq!(numbers.insert(4), Seen::First);
        assert_eq!(numbers.insert(4), Seen::Again);
        assert_eq!(numbers.ranges().collect::<Vec<_>>(), [(1, 6)]);
        assert_eq!(numbers.missing(0..9).collect::<Vec<_>>(), [(0, 0), (7, 8)]);
        assert_eq!(numbers.missing(2..5).count(), 0);
        assert_eq!(numbers.missing(5..5).count(), 0);
    }

    #[test]
    fn the_largest_number_is_a_number_like_any_other() {
        let numbers = set([u64::MAX, u64::MAX - 1, 0]);
        assert_eq!(numbers.ranges().collect::<Vec<_>>(), [(0, 0), (u64::MAX - 1, u64::MAX)]);
        assert!(numbers.contains(u64::MAX) && !numbers.contains(1));
    }

    #[test]
    fn ten_million_records_with_a_thousand_gaps_cost_a_thousand_ranges() {
        let mut numbers = IntervalSet::default();
        for number in 0..10_000_000 {
            if number % 10_000 != 5_000 {
                numbers.insert(number);
            }
        }
        assert_eq!(numbers.ranges_held(), 1_001);
        assert_eq!(numbers.len(), 9_999_000);
        assert_eq!(size(numbers.missing(0..10_000_000)), 1_000);
    }

    #[test]
    fn lost_duplicated_and_unacknowledged_are_told_apart() {
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut ledger = Ledger::default();
        for sequence in [0, 1, 1, 4] {
            ledger.tick(&a, sequence);
        }
        assert_eq!(ledger.tick(&b, 1), Seen::Again);
        let accepted = set([0, 1, 2, 3, 6]);
        assert!(!ledger.has_all(&accepted));
        let want = Account { lost: 3, lost_ranges: vec![(2, 3), (6, 6)], unacknowledged: 1, duplicated: 2 };
        assert_eq!(ledger.account(&accepted), want);
        let rows = ledger.shard_rows(&HashMap::from([(Arc::from("c"), 9)]));
        let names: Vec<_> = rows.iter().map(|r| (r.shard.as_str(), r.accepted, r.read, r.duplicated)).collect();
        assert_eq!(names, [("a", 0, 3, 1), ("b", 0, 0, 1), ("c", 9, 0, 0)]);
    }

    proptest! {
        #[test]
        fn the_set_agrees_with_a_plain_one(
            left in prop::collection::vec(0_u64..60, 0..120),
            right in prop::collection::vec(0_u64..60, 0..120),
        ) {
            let (mut plain, mut ours) = (BTreeSet::new(), IntervalSet::default());
            for number in &left {
                let first = plain.insert(*number);
                prop_assert_eq!(ours.insert(*number) == Seen::First, first);
            }
            prop_assert_eq!(ours.len(), plain.len() as u64);
            let expand = |ranges: Vec<(u64, u64)>| -> Vec<u64> { ranges.into_iter().flat_map(|(a, b)| a..=b).collect() };
            prop_assert_eq!(expand(ours.ranges().collect()), plain.iter().copied().collect::<Vec<_>>());
            let gaps: Vec<u64> = (3..50).filter(|n| !plain.contains(n)).collect();
            prop_assert_eq!(expand(ours.missing(3..50).collect()), gaps);
            let other: BTreeSet<u64> = right.iter().copied().collect();
            let difference: Vec<u64> = plain.difference(&other).copied().collect();
            prop_assert_eq!(expand(ours.difference(&set(right)).collect()), difference);
            for (a, b) in ours.ranges().zip(ours.ranges().skip(1)) {
                prop_assert!(a.1 + 1 < b.0, "ranges never touch");
            }
        }
    }
}

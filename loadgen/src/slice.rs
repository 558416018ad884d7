//! Which records of a schedule are one worker's: those whose number leaves the worker's index when it is divided by
//! the number of workers.
//!
//! A worker counts its own records without gaps, from 0 on. That count, not the number in the schedule, is what the
//! producer and the ledger hold: a set of every third number would be as many ranges as numbers.

use std::{
    fmt,
    iter::{Skip, StepBy},
    str::FromStr,
};

/// Worker `index` of `count`, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    index: u32,
    count: u32,
}

/// Text or numbers that name no slice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no worker: write I/N with I from 0 to N - 1, such as 0/3 for the first of three")]
pub struct NoSlice(String);

impl Default for Slice {
    /// The one worker that has everything.
    fn default() -> Self {
        Self { index: 0, count: 1 }
    }
}

impl Slice {
    /// Worker `index` of `count`.
    ///
    /// # Errors
    /// [`NoSlice`] unless `index` is below `count`.
    pub fn new(index: u32, count: u32) -> Result<Self, NoSlice> {
        if index < count { Ok(Self { index, count }) } else { Err(NoSlice(format!("{index}/{count}"))) }
    }

    /// Which worker it is, from 0.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.index
    }

    /// How many workers there are.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.count
    }

    /// Whether one worker has everything.
    #[must_use]
    pub const fn is_whole(self) -> bool {
        self.count == 1
    }

    /// The number in the schedule of the worker's record `place`.
    #[must_use]
    pub fn k(self, place: u64) -> u64 {
        place.saturating_mul(self.count.into()).saturating_add(self.index.into())
    }

    /// The place of record `k` among the worker's own; absent when it is another worker's.
    #[must_use]
    pub fn place(self, k: u64) -> Option<u64> {
        let count = u64::from(self.count);
        (k % count == u64::from(self.index)).then_some(k / count)
    }

    /// How many records of others lie between the worker's record `place` and its own before that.
    #[must_use]
    pub const fn gap_before(self, place: u64) -> u64 {
        if place == 0 { self.index as u64 } else { self.count as u64 - 1 }
    }

    /// The worker's own of what there is one of for every record.
    pub fn of<I: Iterator>(self, all: I) -> StepBy<Skip<I>> {
        all.skip(self.index as usize).step_by(self.count as usize)
    }
}

impl fmt::Display for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {} of {}", self.index, self.count)
    }
}

impl FromStr for Slice {
    type Err = NoSlice;

    fn from_str(text: &str) -> Result<Self, NoSlice> {
        let no = || NoSlice(format!("{text:?}"));
        let (index, count) = text.split_once('/').ok_or_else(no)?;
        let number = |text: &str| text.parse().map_err(|_| no());
        Self::new(number(index)?, number(count)?).map_err(|_| no())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_slice_is_written_as_index_and_count() {
        assert_eq!("2/4".parse::<Slice>().unwrap(), Slice::new(2, 4).unwrap());
        for text in ["", "1", "4/4", "0/0", "-1/2", "1/2/3", "a/b", "1/4294967296"] {
            let error = text.parse::<Slice>().unwrap_err().to_string();
            assert!(error.contains("from 0 to N - 1"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn every_record_is_exactly_one_workers(count in 1_u32..9, records in 0_u64..100) {
            let mut seen = Vec::new();
            for index in 0..count {
                let slice = Slice::new(index, count).unwrap();
                let mut walked = 0;
                for (place, k) in slice.of(0..records).enumerate() {
                    walked += slice.gap_before(place as u64);
                    prop_assert_eq!(walked, k, "the gaps lead to the worker's records");
                    walked += 1;
                    prop_assert_eq!((slice.k(place as u64), slice.place(k)), (k, Some(place as u64)));
                    seen.push(k);
                }
                for k in (0..records).filter(|k| k % u64::from(count) != u64::from(index)) {
                    prop_assert_eq!(slice.place(k), None);
                }
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..records).collect::<Vec<_>>());
        }
    }
}

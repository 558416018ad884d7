//! How an on-demand stream grows: a pure plan of what was written to its shards and when.
//!
//! AWS documents three rules, and this has them all:
//!
//! - a shard that takes more than 500 KB/s is split evenly, within 15 minutes
//!   (<https://docs.aws.amazon.com/streams/latest/dev/how-do-i-size-a-stream.html>);
//! - the stream has room for double the peak of the last 30 days;
//! - keys are not looked at, so one hot key stays on one shard however often that is split.
//!
//! How AWS measures the traffic within those 15 minutes is published nowhere. Here a rate is a mean over a fifteenth of
//! them, and a shard is split when every such mean of that time was too high: the latest that AWS promises. Days and
//! minutes may pass faster than the clock's, so that an experiment need not last as long; rates stay what they are.

use std::collections::{BTreeMap, VecDeque};

mod scaling;

pub(crate) use scaling::Scaling;

/// What a shard takes (AWS), which is what the room of a stream is counted in.
const SHARD_BYTES_PER_S: f64 = (1 << 20) as f64;
const SHARD_RECORDS_PER_S: f64 = 1_000.0;
/// Means that have to be too high one after another.
const SPANS: u64 = 15;
const DAY_US: u64 = 24 * 3_600_000_000;
/// How long a peak counts.
const PEAK_DAYS: u64 = 30;

/// When an on-demand stream gets more shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct OnDemandRules {
    /// A shard that takes more bytes a second than this is split (AWS: 500 KB/s).
    pub split_above_bytes_per_s: u32,
    /// For how long it has to take more (AWS: within 15 minutes), microseconds of emulated time.
    pub after_us: u64,
    /// How many emulated seconds pass in one of the clock's; at least 1.
    pub time_scale: u32,
}

impl OnDemandRules {
    /// 500 KB/s for 15 minutes, in real time.
    pub const AWS: Self = Self { split_above_bytes_per_s: 500_000, after_us: 900_000_000, time_scale: 1 };

    /// Emulated time, microseconds.
    fn emulated_us(&self, clock_us: u64) -> u64 {
        clock_us.saturating_mul(u64::from(self.time_scale))
    }

    /// How long a rate is averaged, microseconds of the clock.
    pub(crate) fn span_us(&self) -> u64 {
        (self.after_us / SPANS / u64::from(self.time_scale.max(1))).max(1)
    }
}

/// What was written to one open shard since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) shard: u32,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    /// It holds more than one hash key.
    pub(crate) divisible: bool,
}

/// What is remembered of one stream: a line per open shard, and one per day.
#[derive(Debug)]
pub(crate) struct Growth {
    rules: OnDemandRules,
    /// When this began, microseconds of the clock.
    began_us: u64,
    /// When the span under way began. Absent: nothing was looked at yet.
    span_began_us: Option<u64>,
    shards: BTreeMap<u32, Watched>,
    /// The highest mean of each day, oldest first.
    peaks: VecDeque<Peak>,
    /// Spans without room for double the peak, one after another.
    narrow_spans: u64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Watched {
    records: u64,
    bytes: u64,
    /// Spans above the limit, one after another.
    high_spans: u64,
    /// Bytes a second of the last span.
    rate: f64,
}

#[derive(Debug, Clone, Copy)]
struct Peak {
    day: u64,
    bytes_per_s: f64,
    records_per_s: f64,
}

impl Growth {
    pub(crate) fn new(rules: OnDemandRules, now_us: u64) -> Self {
        Self {
            rules,
            began_us: now_us,
            span_began_us: None,
            shards: BTreeMap::new(),
            peaks: VecDeque::new(),
            narrow_spans: 0,
        }
    }

    /// Takes the counts of all open shards and says which to split in the middle, in order of number. To be called once
    /// in a span or more often.
    pub(crate) fn observe(&mut self, now_us: u64, written: &[Written]) -> Vec<u32> {
        let Some(began_us) = self.span_began_us else {
            // What was written before is nobody's rate.
            self.shards = written.iter().map(|one| (one.shard, Watched::at(one))).collect();
            self.span_began_us = Some(now_us);
            return Vec::new();
        };
        let span_us = now_us.saturating_sub(began_us);
        if span_us < self.rules.span_us() {
            return Vec::new();
        }
        let seconds = span_us as f64 / 1e6;
        let before = std::mem::take(&mut self.shards);
        let (mut bytes, mut records) = (0.0, 0.0);
        for one in written {
            // A shard that was not there counts from its beginning.
            let old = before.get(&one.shard).copied().unwrap_or_default();
            let rate = one.bytes.saturating_sub(old.bytes) as f64 / seconds;
            bytes += rate;
            records += one.records.saturating_sub(old.records) as f64 / seconds;
            let high = rate > f64::from(self.rules.split_above_bytes_per_s);
            let high_spans = if high { old.high_spans + self.spans_in(span_us) } else { 0 };
            self.shards.insert(one.shard, Watched { rate, high_spans, ..Watched::at(one) });
        }
        self.span_began_us = Some(now_us);
        self.remember(now_us, bytes, records);
        self.plan(span_us, written)
    }

    /// How many spans the time stands for: a late look counts for those it missed.
    fn spans_in(&self, span_us: u64) -> u64 {
        span_us / self.rules.span_us()
    }

    fn remember(&mut self, now_us: u64, bytes_per_s: f64, records_per_s: f64) {
        let day = self.rules.emulated_us(now_us.saturating_sub(self.began_us)) / DAY_US;
        match self.peaks.back_mut().filter(|peak| peak.day == day) {
            Some(peak) => {
                peak.bytes_per_s = peak.bytes_per_s.max(bytes_per_s);
                peak.records_per_s = peak.records_per_s.max(records_per_s);
            }
            None => self.peaks.push_back(Peak { day, bytes_per_s, records_per_s }),
        }
        while self.peaks.front().is_some_and(|peak| peak.day + PEAK_DAYS <= day) {
            self.peaks.pop_front();
        }
    }

    /// Shards that have room for double the peak.
    fn needed(&self) -> usize {
        let highest = |of: fn(&Peak) -> f64| self.peaks.iter().map(of).fold(0.0, f64::max);
        let by_bytes = 2.0 * highest(|peak| peak.bytes_per_s) / SHARD_BYTES_PER_S;
        let by_records = 2.0 * highest(|peak| peak.records_per_s) / SHARD_RECORDS_PER_S;
        by_bytes.max(by_records).ceil() as usize
    }

    fn plan(&mut self, span_us: u64, written: &[Written]) -> Vec<u32> {
        let divisible = |shard: u32| written.iter().any(|one| one.shard == shard && one.divisible);
        let mut plan: Vec<u32> = self
            .shards
            .iter()
            .filter(|(shard, watched)| watched.high_spans >= SPANS && divisible(**shard))
            .map(|(shard, _)| *shard)
            .collect();
        let missing = self.needed().saturating_sub(written.len() + plan.len());
        self.narrow_spans = if missing > 0 { self.narrow_spans + self.spans_in(span_us) } else { 0 };
        if self.narrow_spans >= SPANS {
            let mut others: Vec<_> =
                self.shards.iter().filter(|(shard, _)| !plan.contains(shard) && divisible(**shard)).collect();
            others.sort_by(|(_, a), (_, b)| b.rate.total_cmp(&a.rate));
            plan.extend(others.into_iter().take(missing).map(|(shard, _)| *shard));
            self.narrow_spans = 0;
        }
        plan.sort_unstable();
        // A split that fails is not tried again before its time has passed again.
        for shard in &plan {
            if let Some(watched) = self.shards.get_mut(shard) {
                watched.high_spans = 0;
            }
        }
        plan
    }
}

impl Watched {
    fn at(one: &Written) -> Self {
        Self { records: one.records, bytes: one.bytes, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE_US: u64 = 60_000_000;
    const T0_US: u64 = 1_700_000_000_000_000;

    /// Shards that are split as planned, and what is written to each in a second.
    struct Stream {
        growth: Growth,
        now_us: u64,
        shards: BTreeMap<u32, Written>,
        next: u32,
    }

    impl Stream {
        fn new(rules: OnDemandRules, shards: u32) -> Self {
            // What was written before this began is nothing to grow for.
            let shard = |shard| (shard, Written { shard, records: 1 << 40, bytes: 1 << 50, divisible: true });
            let shards: BTreeMap<_, _> = (0..shards).map(shard).collect();
            let mut growth = Growth::new(rules, T0_US);
            assert!(growth.observe(T0_US, &shards.values().copied().collect::<Vec<_>>()).is_empty());
            Self { growth, now_us: T0_US, next: shards.len() as u32, shards }
        }

        /// Lets time pass in steps, with so many bytes a second in records of two kilobytes, and splits as planned. Gives
        /// how many shards were split.
        fn pass(&mut self, steps: u64, step_us: u64, bytes_per_s: impl Fn(u32, usize) -> u64) -> usize {
            let mut splits = 0;
            for _ in 0..steps {
                self.now_us += step_us;
                let open = self.shards.len();
                for written in self.shards.values_mut() {
                    let bytes = bytes_per_s(written.shard, open) * step_us / 1_000_000;
                    written.bytes += bytes;
                    written.records += bytes / 2_000;
                }
                let written: Vec<_> = self.shards.values().copied().collect();
                for shard in self.growth.observe(self.now_us, &written) {
                    self.shards.remove(&shard);
                    for child in [self.next, self.next + 1] {
                        self.shards.insert(child, Written { shard: child, records: 0, bytes: 0, divisible: true });
                    }
                    self.next += 2;
                    splits += 1;
                }
            }
            splits
        }
    }

    /// What each of the open shards gets of an even load.
    fn evenly(bytes_per_s: u64) -> impl Fn(u32, usize) -> u64 {
        move |_, open| bytes_per_s / open as u64
    }

    #[test]
    fn four_shards_of_510_kilobytes_a_second_are_eight_after_fifteen_minutes_and_stay_eight() {
        let mut stream = Stream::new(OnDemandRules::AWS, 4);
        assert_eq!(stream.pass(14, MINUTE_US, evenly(4 * 510_000)), 0);
        assert_eq!(stream.pass(1, MINUTE_US, evenly(4 * 510_000)), 4);
        assert_eq!(stream.shards.len(), 8);
        assert_eq!(stream.pass(600, MINUTE_US, evenly(4 * 510_000)), 0);
    }

    #[test]
    fn four_shards_of_500_kilobytes_a_second_have_room_for_twice_that_and_stay() {
        let mut stream = Stream::new(OnDemandRules::AWS, 4);
        assert_eq!(stream.pass(600, MINUTE_US, evenly(4 * 500_000)), 0);
    }

    #[test]
    fn a_minute_of_rest_begins_the_count_again() {
        let mut stream = Stream::new(OnDemandRules::AWS, 4);
        for _ in 0..10 {
            assert_eq!(stream.pass(14, MINUTE_US, evenly(4 * 510_000)), 0);
            assert_eq!(stream.pass(1, MINUTE_US, evenly(0)), 0);
        }
    }

    #[test]
    fn a_hot_shard_is_split_alone_and_the_child_with_the_hot_key_again_and_again() {
        let mut stream = Stream::new(OnDemandRules::AWS, 4);
        // All of one key: whichever child holds it is as hot as the parent was.
        for round in 0..5 {
            let hot = if round == 0 { 2 } else { stream.next - 1 };
            let splits = stream.pass(15, MINUTE_US, |shard, _| if shard == hot { 900_000 } else { 0 });
            assert_eq!((splits, stream.shards.len()), (1, 5 + round));
            assert!(!stream.shards.contains_key(&hot));
        }
    }

    #[test]
    fn a_shard_of_one_hash_key_is_left_as_it_is() {
        let mut stream = Stream::new(OnDemandRules::AWS, 4);
        stream.shards.get_mut(&1).unwrap().divisible = false;
        assert_eq!(stream.pass(60, MINUTE_US, |shard, _| if shard == 1 { 1_000_000 } else { 0 }), 0);
    }

    #[test]
    fn small_records_beyond_half_of_the_limit_make_room_too() {
        let rules = OnDemandRules::AWS;
        let mut growth = Growth::new(rules, T0_US);
        // 600 records a second and shard, of 100 bytes each.
        let at = |minute: u64| -> Vec<Written> {
            let of =
                |shard| Written { shard, records: 600 * 60 * minute, bytes: 60_000 * 60 * minute, divisible: true };
            (0..4).map(of).collect()
        };
        growth.observe(T0_US, &at(0));
        let plans: Vec<_> = (1..=15).map(|minute| growth.observe(T0_US + minute * MINUTE_US, &at(minute))).collect();
        assert!(plans[..14].iter().all(Vec::is_empty), "{plans:?}");
        // 2,400 records a second twice are 4.8 shards.
        assert_eq!(plans[14].len(), 1);
    }

    #[test]
    fn a_peak_counts_for_thirty_days_and_costs_no_more_than_a_line_a_day() {
        let mut stream = Stream::new(OnDemandRules::AWS, 4);
        stream.pass(5, MINUTE_US, evenly(3_000_000));
        assert_eq!(stream.growth.needed(), 6);
        stream.pass(29 * 24, 60 * MINUTE_US, evenly(100_000));
        assert_eq!(stream.growth.needed(), 6);
        stream.pass(48, 60 * MINUTE_US, evenly(100_000));
        assert_eq!(stream.growth.needed(), 1);
        assert!(stream.growth.peaks.len() <= 31, "{}", stream.growth.peaks.len());
    }

    #[test]
    fn time_may_run_faster_and_rates_stay_what_they_are() {
        let rules = OnDemandRules { time_scale: 60, ..OnDemandRules::AWS };
        let mut fast = Stream::new(rules, 4);
        assert_eq!(fast.pass(14, 1_000_000, evenly(4 * 510_000)), 0);
        assert_eq!(fast.pass(1, 1_000_000, evenly(4 * 510_000)), 4);
        let mut slow = Stream::new(rules, 4);
        assert_eq!(slow.pass(600, 1_000_000, evenly(4 * 490_000)), 0);
    }

    proptest! {
        /// However uneven the load and however irregular the looks, what is not taken is never split, and no shard is
        /// split before its fifteen minutes are over.
        #[test]
        fn no_shard_is_split_early_or_for_nothing(
            rates in prop::collection::vec(0_u64..1_100_000, 4),
            steps in prop::collection::vec(1_000_000_u64..90_000_000, 1..200),
        ) {
            let mut stream = Stream::new(OnDemandRules::AWS, 4);
            for step_us in steps {
                let before = stream.shards.len();
                let splits = stream.pass(1, step_us, |shard, _| rates.get(shard as usize).copied().unwrap_or(0));
                let hot = rates.iter().filter(|rate| **rate > 500_000).count();
                let needed = stream.growth.needed().saturating_sub(before);
                prop_assert!(splits <= hot + needed);
                prop_assert!(splits == 0 || stream.now_us - T0_US >= 15 * MINUTE_US);
            }
        }
    }
}

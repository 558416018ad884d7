//! AWS's per-shard limits as token buckets on an injected clock.
//!
//! AWS describes each shard as a capacity tank that refills continuously (1000 records/s and 1 MiB/s), so a bucket holds
//! one second's worth and refills by the microsecond. A fixed one-second window would admit twice the limit across its
//! edge and nothing after a burst. A refused record or call costs nothing.

use std::sync::Arc;

use super::on_demand::OnDemandRules;

mod account;
mod fan_out;

pub use account::AccountLimits;
pub(crate) use fan_out::FanOutQuota;

/// What the local stream enforces. The default is what AWS documents.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quotas {
    /// Limits of writing, per shard; absent: none.
    pub write: Option<WriteLimits>,
    /// Limits of reading, per shard; absent: none.
    pub read: Option<ReadLimits>,
    /// Whether calls that manage streams are limited to so many a second.
    pub control: bool,
    /// What the account and its streams may have.
    pub account: AccountLimits,
    /// How on-demand streams grow; absent: they do not.
    pub on_demand: Option<OnDemandRules>,
    /// Shards with limits of their own.
    pub(crate) shards: Arc<[ShardQuota]>,
}

/// The limits of one shard that differ from the others'.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShardQuota {
    pub(crate) stream: String,
    pub(crate) number: u32,
    pub(crate) write: WriteLimits,
    pub(crate) read: ReadLimits,
}

/// What one shard takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteLimits {
    /// Records per second; the bucket holds one second's worth.
    pub records_per_s: u32,
    /// Bytes of data and partition keys per second.
    pub bytes_per_s: u32,
    /// Bytes that the tank holds; absent: one second's worth. It always holds one record of the stream's largest size
    /// (<https://docs.aws.amazon.com/streams/latest/dev/large-records.html>), or that record would be refused for ever.
    pub burst_bytes: Option<u32>,
}

/// What one shard gives to all its polling readers together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimits {
    /// GetRecords calls per second, and GetShardIterator calls per second; each bucket holds one second's worth.
    pub calls_per_s: u32,
    /// Bytes of data and partition keys per second.
    pub bytes_per_s: u32,
}

impl WriteLimits {
    /// 1000 records/s and 1 MiB/s
    /// (<https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>).
    pub const AWS: Self = Self { records_per_s: 1_000, bytes_per_s: 1 << 20, burst_bytes: None };

    /// How much the tank of bytes holds.
    fn tank_bytes(&self, max_record_bytes: u64) -> u64 {
        u64::from(self.burst_bytes.unwrap_or(self.bytes_per_s)).max(max_record_bytes)
    }
}

impl ReadLimits {
    /// 5 calls/s and 2 MiB/s
    /// (<https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>).
    pub const AWS: Self = Self { calls_per_s: 5, bytes_per_s: 2 << 20 };
}

impl Quotas {
    /// The limits of a shard as AWS documents them: 1000 records/s and 1 MiB/s in, 5 calls/s and 2 MiB/s out; and the
    /// growth of on-demand streams.
    #[must_use]
    pub fn aws() -> Self {
        Self {
            write: Some(WriteLimits::AWS),
            read: Some(ReadLimits::AWS),
            control: true,
            account: AccountLimits::AWS,
            on_demand: Some(OnDemandRules::AWS),
            shards: Arc::default(),
        }
    }

    /// No limits on traffic and calls; what an account may have stays. On-demand streams do not grow: nothing stands in
    /// their way.
    #[must_use]
    pub fn off() -> Self {
        Self {
            write: None,
            read: None,
            control: false,
            account: AccountLimits::AWS,
            on_demand: None,
            shards: Arc::default(),
        }
    }

    /// What one shard of a stream takes and gives.
    pub(crate) fn of_shard(&self, stream: &str, number: u32) -> (Option<WriteLimits>, Option<ReadLimits>) {
        let own = self.shards.iter().find(|shard| shard.number == number && shard.stream == stream);
        own.map_or((self.write, self.read), |shard| (Some(shard.write), Some(shard.read)))
    }
}

impl Default for Quotas {
    fn default() -> Self {
        Self::aws()
    }
}

/// A tank in millionths of a token, so that a refill of `rate` per second is exactly `rate` per microsecond.
#[derive(Debug)]
pub(crate) struct Bucket {
    capacity: i64,
    rate: i64,
    level: i64,
    filled_us: u64,
}

impl Bucket {
    const TOKEN: i64 = 1_000_000;

    /// A full bucket.
    pub(crate) fn new(capacity: u64, rate_per_s: u32, now_us: u64) -> Self {
        let capacity = millionths(capacity);
        Self { capacity, rate: i64::from(rate_per_s), level: capacity, filled_us: now_us }
    }

    /// Adds what has flowed in since the last time. A clock that steps back adds nothing and takes nothing.
    fn refill(&mut self, now_us: u64) {
        let elapsed = i64::try_from(now_us.saturating_sub(self.filled_us)).unwrap_or(i64::MAX);
        self.level = self.level.saturating_add(elapsed.saturating_mul(self.rate)).min(self.capacity);
        self.filled_us = self.filled_us.max(now_us);
    }

    const fn holds(&self, tokens: i64) -> bool {
        self.level >= tokens
    }

    /// Takes one whole token, if there is one.
    pub(crate) fn take_one(&mut self, now_us: u64) -> bool {
        self.refill(now_us);
        let taken = self.holds(Self::TOKEN);
        self.level -= if taken { Self::TOKEN } else { 0 };
        taken
    }

    /// Whether a new bucket would be no fuller.
    pub(crate) fn is_full(&mut self, now_us: u64) -> bool {
        self.refill(now_us);
        self.level >= self.capacity
    }
}

fn millionths(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX).saturating_mul(Bucket::TOKEN)
}

/// Both write limits of one shard.
#[derive(Debug)]
pub(crate) struct WriteQuota(Option<Tanks>);

#[derive(Debug)]
struct Tanks {
    records: Bucket,
    bytes: Bucket,
    limits: WriteLimits,
}

impl WriteQuota {
    pub(crate) fn new(limits: Option<WriteLimits>, max_record_bytes: u64, now_us: u64) -> Self {
        Self(limits.map(|limits| Tanks {
            records: Bucket::new(u64::from(limits.records_per_s), limits.records_per_s, now_us),
            bytes: Bucket::new(limits.tank_bytes(max_record_bytes), limits.bytes_per_s, now_us),
            limits,
        }))
    }

    /// A stream of larger records lets a shard take more at once; what is in the tank stays, up to its new size.
    pub(crate) fn set_max_record_bytes(&mut self, max_record_bytes: u64) {
        if let Some(Tanks { bytes, limits, .. }) = &mut self.0 {
            bytes.capacity = millionths(limits.tank_bytes(max_record_bytes));
            bytes.level = bytes.level.min(bytes.capacity);
        }
    }

    /// Takes one record of this size from both buckets, or nothing from either.
    pub(crate) fn admit(&mut self, now_us: u64, record_bytes: usize) -> bool {
        let Some(Tanks { records, bytes, .. }) = &mut self.0 else { return true };
        let size = millionths(record_bytes as u64);
        records.refill(now_us);
        bytes.refill(now_us);
        let admitted = records.holds(Bucket::TOKEN) && bytes.holds(size);
        if admitted {
            records.level -= Bucket::TOKEN;
            bytes.level -= size;
        }
        admitted
    }
}

/// The read limits of one shard, shared by all its readers.
#[derive(Debug)]
pub(crate) struct ReadQuota(Option<ReadBuckets>);

#[derive(Debug)]
struct ReadBuckets {
    calls: Bucket,
    iterators: Bucket,
    bytes: Bucket,
}

impl ReadQuota {
    pub(crate) fn new(limits: Option<ReadLimits>, now_us: u64) -> Self {
        Self(limits.map(|limits| {
            let calls = || Bucket::new(u64::from(limits.calls_per_s), limits.calls_per_s, now_us);
            let bytes = Bucket::new(u64::from(limits.bytes_per_s), limits.bytes_per_s, now_us);
            ReadBuckets { calls: calls(), iterators: calls(), bytes }
        }))
    }

    /// Takes one GetRecords call, unless the calls are used up or an earlier answer is still being paid for.
    pub(crate) fn admit_call(&mut self, now_us: u64) -> bool {
        let Some(buckets) = &mut self.0 else { return true };
        buckets.calls.refill(now_us);
        buckets.bytes.refill(now_us);
        let admitted = buckets.calls.holds(Bucket::TOKEN) && buckets.bytes.holds(0);
        if admitted {
            buckets.calls.level -= Bucket::TOKEN;
        }
        admitted
    }

    /// Charges an answer, whose size is known only after the call was admitted. An answer of more than a second's worth
    /// forfeits what was saved, so that 10 MiB block the shard for the 5 s that AWS documents and not for 4.
    pub(crate) fn charge(&mut self, answer_bytes: usize) {
        let Some(ReadBuckets { bytes, .. }) = &mut self.0 else { return };
        let size = millionths(answer_bytes as u64);
        let saved = if size > bytes.capacity { bytes.level.min(0) } else { bytes.level };
        bytes.level = saved.saturating_sub(size);
    }

    /// Takes one GetShardIterator call.
    pub(crate) fn admit_iterator(&mut self, now_us: u64) -> bool {
        let Some(ReadBuckets { iterators, .. }) = &mut self.0 else { return true };
        iterators.take_one(now_us)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START_US: u64 = 1_700_000_000_000_000;
    const MIB: u64 = 1 << 20;

    fn aws_write(now_us: u64) -> WriteQuota {
        WriteQuota::new(Quotas::aws().write, MIB, now_us)
    }

    #[test]
    fn a_full_shard_takes_a_thousand_records_at_once_then_one_per_millisecond() {
        let mut quota = aws_write(START_US);
        let burst = (0..3_000).filter(|_| quota.admit(START_US, 1)).count();
        assert_eq!(burst, 1_000);
        assert!(!quota.admit(START_US + 999, 1));
        assert!(quota.admit(START_US + 1_000, 1));
        assert!(!quota.admit(START_US + 1_999, 1));
    }

    #[test]
    fn of_five_records_of_a_mebibyte_the_first_is_taken() {
        let mut quota = aws_write(START_US);
        let taken: Vec<_> = (0..5).map(|_| quota.admit(START_US, MIB as usize)).collect();
        assert_eq!(taken, [true, false, false, false, false]);
    }

    #[test]
    fn a_record_refused_for_its_bytes_costs_no_record_token() {
        let mut quota = aws_write(START_US);
        assert!(quota.admit(START_US, MIB as usize));
        for _ in 0..5_000 {
            assert!(!quota.admit(START_US, 100));
        }
        let taken = (0..2_000).filter(|_| quota.admit(START_US, 0)).count();
        assert_eq!(taken, 999);
    }

    #[test]
    fn a_stream_of_large_records_can_take_one_of_the_largest() {
        let mut quota = WriteQuota::new(Quotas::aws().write, 10 * MIB, START_US);
        assert!(quota.admit(START_US, 10 << 20));
        assert!(!quota.admit(START_US + 1_000_000, (1 << 20) + 1));
        assert!(quota.admit(START_US + 1_000_001, (1 << 20) + 1));
    }

    #[test]
    fn a_deeper_tank_takes_more_at_once_and_no_more_in_the_long_run() {
        let limits = WriteLimits { burst_bytes: Some(3 << 20), ..WriteLimits::AWS };
        let mut quota = WriteQuota::new(Some(limits), MIB, START_US);
        let burst = (0..10).filter(|_| quota.admit(START_US, 1 << 20)).count();
        assert_eq!(burst, 3);
        assert!(!quota.admit(START_US + 999_999, 1 << 20));
        assert!(quota.admit(START_US + 1_000_000, 1 << 20));
        // A tank that one record does not fit in would refuse it for ever.
        quota.set_max_record_bytes(5 << 20);
        assert!(quota.admit(START_US + 6_000_000, 5 << 20));
        quota.set_max_record_bytes(MIB);
        assert!(!quota.admit(START_US + 60_000_000, (3 << 20) + 1));
        assert!(quota.admit(START_US + 60_000_000, 3 << 20));
    }

    #[test]
    fn a_clock_that_steps_back_neither_gives_nor_takes() {
        let mut quota = aws_write(START_US);
        while quota.admit(START_US, 1) {}
        assert!(!quota.admit(START_US - 5_000_000, 1));
        assert!(!quota.admit(START_US, 1));
        assert!(quota.admit(START_US + 1_000, 1));
    }

    #[test]
    fn an_idle_century_fills_the_bucket_once() {
        let mut quota = aws_write(0);
        let taken = (0..3_000).filter(|_| quota.admit(u64::MAX, 1)).count();
        assert_eq!(taken, 1_000);
    }

    #[test]
    fn a_shard_answers_five_calls_then_one_every_fifth_of_a_second() {
        let mut quota = ReadQuota::new(Quotas::aws().read, START_US);
        assert_eq!((0..30).filter(|_| quota.admit_call(START_US)).count(), 5);
        assert!(!quota.admit_call(START_US + 199_999));
        assert!(quota.admit_call(START_US + 200_000));
    }

    #[test]
    fn a_consumer_and_a_delivery_reading_five_times_a_second_are_never_refused() {
        let mut quota = ReadQuota::new(Quotas::aws().read, START_US);
        for tick in 0..400 {
            let now_us = START_US + tick * 250_000;
            assert!(quota.admit_call(now_us), "consumer at tick {tick}");
            quota.charge(200_000);
            if tick % 4 == 0 {
                assert!(quota.admit_call(now_us), "delivery at tick {tick}");
                quota.charge(800_000);
            }
        }
    }

    #[test]
    fn an_answer_of_ten_mebibytes_blocks_the_shard_for_five_seconds() {
        let mut quota = ReadQuota::new(Quotas::aws().read, START_US);
        assert!(quota.admit_call(START_US));
        quota.charge(10 << 20);
        assert!(!quota.admit_call(START_US + 4_999_999));
        assert!(quota.admit_call(START_US + 5_000_000));
    }

    #[test]
    fn with_quotas_off_nothing_is_refused() {
        let mut write = WriteQuota::new(Quotas::off().write, MIB, START_US);
        let mut read = ReadQuota::new(Quotas::off().read, START_US);
        for _ in 0..10_000 {
            assert!(write.admit(START_US, 1 << 20) && read.admit_call(START_US) && read.admit_iterator(START_US));
            read.charge(10 << 20);
        }
    }

    /// The same rule told differently: every microsecond is walked, tokens are whole numbers of millionths.
    struct Walked {
        limits: WriteLimits,
        burst_bytes: u64,
        records: u64,
        bytes: u64,
        now_us: u64,
    }

    impl Walked {
        fn admit(&mut self, now_us: u64, size: u64) -> bool {
            while self.now_us < now_us {
                self.now_us += 1;
                let full = u64::from(self.limits.records_per_s) * 1_000_000;
                self.records = (self.records + u64::from(self.limits.records_per_s)).min(full);
                self.bytes = (self.bytes + u64::from(self.limits.bytes_per_s)).min(self.burst_bytes * 1_000_000);
            }
            if self.records < 1_000_000 || self.bytes < size * 1_000_000 {
                return false;
            }
            self.records -= 1_000_000;
            self.bytes -= size * 1_000_000;
            true
        }
    }

    /// The read limits told differently: lists of what was admitted, looked at from the beginning each time.
    #[derive(Default)]
    struct Remembered {
        calls: Vec<u64>,
        answers: Vec<(u64, u64)>,
    }

    impl Remembered {
        /// What is left of a tank of `capacity` that took these amounts, in millionths. `forfeits`: what is above the
        /// capacity leaves nothing saved.
        fn left(capacity: u64, rate: u64, taken: &[(u64, u64)], now_us: u64, forfeits: bool) -> i128 {
            let full = i128::from(capacity) * 1_000_000;
            let mut level = full;
            let mut last_us = START_US;
            for &(at_us, amount) in taken.iter().chain([&(now_us, 0)]) {
                level = (level + i128::from(at_us - last_us) * i128::from(rate)).min(full);
                let amount = i128::from(amount) * 1_000_000;
                level = if forfeits && amount > full { level.min(0) } else { level } - amount;
                last_us = at_us;
            }
            level
        }

        fn admit(&mut self, limits: ReadLimits, now_us: u64) -> bool {
            let ones: Vec<_> = self.calls.iter().map(|at_us| (*at_us, 1)).collect();
            let (calls, bytes) = (u64::from(limits.calls_per_s), u64::from(limits.bytes_per_s));
            let admitted = Self::left(calls, calls, &ones, now_us, false) >= 1_000_000
                && Self::left(bytes, bytes, &self.answers, now_us, true) >= 0;
            if admitted {
                self.calls.push(now_us);
            }
            admitted
        }
    }

    proptest! {
        #[test]
        fn every_read_equals_what_the_whole_past_says(
            calls_per_s in 1_u32..20,
            bytes_per_s in 1_000_u32..4_000_000,
            reads in prop::collection::vec((0_u64..600_000, 0_usize..10 << 20), 1..120),
        ) {
            let limits = ReadLimits { calls_per_s, bytes_per_s };
            let mut quota = ReadQuota::new(Some(limits), START_US);
            let mut remembered = Remembered::default();
            let mut now_us = START_US;
            for (gap_us, answer_bytes) in reads {
                now_us += gap_us;
                let admitted = quota.admit_call(now_us);
                prop_assert_eq!(admitted, remembered.admit(limits, now_us));
                if admitted {
                    quota.charge(answer_bytes);
                    remembered.answers.push((now_us, answer_bytes as u64));
                }
            }
        }

        #[test]
        fn every_decision_equals_a_walk_through_each_microsecond(
            records_per_s in 1_u32..2_000,
            bytes_per_s in 1_u32..100_000,
            max_record in 1_u64..5_000,
            arrivals in prop::collection::vec((0_u64..3_000, 0_u64..5_000), 1..300),
        ) {
            let limits = WriteLimits { records_per_s, bytes_per_s, burst_bytes: None };
            let burst_bytes = u64::from(bytes_per_s).max(max_record);
            let mut quota = WriteQuota::new(Some(limits), max_record, START_US);
            let mut walked = Walked {
                limits,
                burst_bytes,
                records: u64::from(records_per_s) * 1_000_000,
                bytes: burst_bytes * 1_000_000,
                now_us: START_US,
            };
            let mut now_us = START_US;
            for (gap_us, size) in arrivals {
                now_us += gap_us;
                prop_assert_eq!(quota.admit(now_us, size as usize), walked.admit(now_us, size));
            }
        }

        #[test]
        fn no_window_of_any_length_admits_more_than_a_bucket_and_its_refill(
            gaps in prop::collection::vec(0_u64..5_000, 1..400),
        ) {
            let limits = WriteLimits { records_per_s: 50, bytes_per_s: 1 << 20, burst_bytes: None };
            let mut quota = WriteQuota::new(Some(limits), 0, START_US);
            let mut admitted = Vec::new();
            let mut now_us = START_US;
            for gap_us in gaps {
                now_us += gap_us;
                if quota.admit(now_us, 10) {
                    admitted.push(now_us);
                }
            }
            for (i, from) in admitted.iter().enumerate() {
                for (j, to) in admitted.iter().enumerate().skip(i) {
                    let most = 50.0 + (to - from) as f64 * 50.0 / 1e6;
                    prop_assert!((j - i + 1) as f64 <= most + 1e-9);
                }
            }
        }
    }
}

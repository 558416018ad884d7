//! Response times by shard, for the few shards that carry the most: a hot one must not hide in the whole stream's tail.
//!
//! Memory is bounded whatever the number of shards. Sixteen have a histogram of their own; all others share one. Which
//! sixteen is only known while the load runs: a pooled shard that has taken twice as many records as the coolest of the
//! sixteen takes its place, and what that one had goes to the pool. Each exchange needs a doubling, so there are few.

use hdrhistogram::Histogram;
use millrace_reports::{
    latency::MAX_LATENCY_US,
    record::{PooledResponse, ShardResponse},
};

/// Shards with a histogram of their own.
pub const MOST_SHARDS: usize = 16;
/// Significant decimal digits kept: a value is at most 1 % off.
const SIGNIFICANT_DIGITS: u8 = 2;

fn histogram() -> Histogram<u64> {
    match Histogram::new_with_bounds(1, MAX_LATENCY_US, SIGNIFICANT_DIGITS) {
        Ok(histogram) => histogram,
        Err(_) => unreachable!("the bounds are constants that satisfy the constructor"),
    }
}

/// A shard with a histogram of its own.
#[derive(Debug)]
struct Own {
    shard: usize,
    values: Histogram<u64>,
}

/// Takes the response times of every shard; shards are told apart by a small number of the caller's choice.
#[derive(Debug, Default)]
pub struct ShardLatencies {
    own: Vec<Own>,
    /// Place in `own` by shard.
    places: Vec<Option<usize>>,
    /// Records taken by shard.
    counts: Vec<u64>,
    pool: Option<Histogram<u64>>,
}

impl ShardLatencies {
    /// Takes `count` records of one shard that were answered `response_us` after they were due.
    pub fn record(&mut self, shard: usize, response_us: u64, count: u64) {
        if self.counts.len() <= shard {
            self.counts.resize(shard + 1, 0);
            self.places.resize(shard + 1, None);
        }
        self.counts[shard] += count;
        if self.places[shard].is_none() {
            self.seek_place(shard);
        }
        let values = match self.places[shard] {
            Some(place) => &mut self.own[place].values,
            None => self.pool.get_or_insert_with(histogram),
        };
        values.saturating_record_n(response_us.min(MAX_LATENCY_US), count);
    }

    /// Gives a shard a histogram of its own if one is free, or if it is twice as busy as the coolest that has one.
    fn seek_place(&mut self, shard: usize) {
        if self.own.len() < MOST_SHARDS {
            self.places[shard] = Some(self.own.len());
            self.own.push(Own { shard, values: histogram() });
            return;
        }
        let counts = &self.counts;
        let Some((place, coolest)) = self.own.iter_mut().enumerate().min_by_key(|(_, own)| counts[own.shard]) else {
            return;
        };
        if counts[shard] <= 2 * counts[coolest.shard] {
            return;
        }
        if self.pool.get_or_insert_with(histogram).add(&coolest.values).is_err() {
            unreachable!("both histograms have the same bounds");
        }
        self.places[coolest.shard] = None;
        coolest.shard = shard;
        coolest.values.reset();
        self.places[shard] = Some(place);
    }

    /// The shards with response times of their own, and the others together.
    #[must_use]
    pub fn finish(self) -> (Vec<(usize, ShardResponse)>, Option<PooledResponse>) {
        let of = |own: &Own| {
            let values = &own.values;
            let response = ShardResponse {
                count: values.len(),
                p50_us: values.value_at_quantile(0.5),
                p99_us: values.value_at_quantile(0.99),
                max_us: values.max(),
            };
            (own.shard, response)
        };
        let pooled = self.pool.filter(|pool| !pool.is_empty()).map(|pool| PooledResponse {
            count: pool.len(),
            p50_us: pool.value_at_quantile(0.5),
            p99_us: pool.value_at_quantile(0.99),
            max_us: pool.max(),
        });
        (self.own.iter().filter(|own| !own.values.is_empty()).map(of).collect(), pooled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_shards_have_their_own_times_to_a_hundredth() {
        let mut latencies = ShardLatencies::default();
        for k in 1..=10_000 {
            latencies.record(3, k * 10, 1);
            latencies.record(5, 70, 2);
        }
        let (own, pooled) = latencies.finish();
        assert_eq!(
            own.iter().map(|(shard, found)| (*shard, found.count)).collect::<Vec<_>>(),
            [(3, 10_000), (5, 20_000)]
        );
        for (got, want) in [(own[0].1.p50_us, 50_000.0), (own[0].1.p99_us, 99_000.0), (own[0].1.max_us, 100_000.0)] {
            assert!((got as f64 / want - 1.0).abs() < 0.01, "{got} {want}");
        }
        assert_eq!((own[1].1.p50_us, own[1].1.max_us), (70, 70));
        assert_eq!(pooled, None);
    }

    #[test]
    fn a_shard_that_becomes_hot_gets_its_own_times_and_nothing_is_lost() {
        let mut latencies = ShardLatencies::default();
        for round in 0..100 {
            for shard in 0..40 {
                latencies.record(shard, 1_000 + round, 1);
            }
        }
        for _ in 0..5_000 {
            latencies.record(39, 80_000, 1);
        }
        let (own, pooled) = latencies.finish();
        assert_eq!(own.len(), MOST_SHARDS);
        let hot = own.iter().find(|(shard, _)| *shard == 39).unwrap().1;
        assert!(hot.count > 4_800 && hot.p50_us.abs_diff(80_000) < 800, "{hot:?}");
        let all = own.iter().map(|(_, found)| found.count).sum::<u64>() + pooled.unwrap().count;
        assert_eq!(all, 9_000);
    }

    #[test]
    fn memory_is_that_of_seventeen_histograms_for_ten_thousand_shards() {
        let mut latencies = ShardLatencies::default();
        for k in 0..200_000_usize {
            latencies.record(k % 10_000, 1_000, 1);
        }
        assert_eq!(latencies.own.len(), MOST_SHARDS);
        let (own, pooled) = latencies.finish();
        assert!(own.len() <= MOST_SHARDS);
        assert!(pooled.unwrap().count >= 199_000);
    }
}

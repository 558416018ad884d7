//! What payloads draw: whole numbers, choices and weights, the same on every machine and in every version.
//!
//! Any place in the sequence is reached without walking there, which is what makes payload k a pure function of k.

use crate::draws::{Draws, mix};

/// Keeps the draws of different purposes apart. Part of the payload format: never renumber.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    Accident = 1,
    Sensor = 2,
    WeatherJitter = 3,
    WeatherDay = 4,
    WeatherQuarter = 5,
}

/// A short sequence of draws that belongs to one place.
#[derive(Debug, Clone)]
pub(super) struct Draw(Draws);

impl Draw {
    /// The draws of place `k` for one purpose under one seed.
    pub(super) fn at(seed: u64, purpose: Purpose, k: u64) -> Self {
        Self(Draws::from_counter(mix(mix(seed ^ mix(purpose as u64)) ^ k)))
    }

    /// 64 random bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0.bits()
    }

    /// Uniform over `0..n`; 0 when `n` is 0. The bias of the multiply-shift is below n / 2^64.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }

    /// Uniform over `low..=high`.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low) as u64 + 1) as i64
    }

    /// True in `n` of a thousand draws.
    pub(super) fn per_mille(&mut self, n: u64) -> bool {
        self.below(1_000) < n
    }

    /// One of `items`, which must not be empty, all equally likely.
    pub(super) fn pick<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len() as u64) as usize]
    }

    /// An index, the i-th with weight `weights[i]`.
    pub(super) fn weighted(&mut self, weights: &[u64]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (index, weight) in weights.iter().enumerate() {
            if left < *weight {
                return index;
            }
            left -= weight;
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_gives_the_published_splitmix64_sequence() {
        let mut draw = Draw(Draws::from_counter(1_234_567));
        let found: [u64; 3] = std::array::from_fn(|_| draw.bits());
        assert_eq!(found, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn draws_stay_in_their_range_and_meet_both_ends() {
        let mut draw = Draw::at(1, Purpose::Sensor, 0);
        let found: Vec<i64> = (0..1_000).map(|_| draw.between(-2, 2)).collect();
        assert_eq!((found.iter().min(), found.iter().max()), (Some(&-2), Some(&2)));
        assert_eq!(draw.below(0), 0);
    }

    #[test]
    fn weights_are_met_within_five_standard_errors() {
        let mut draw = Draw::at(1, Purpose::Accident, 0);
        let mut counts = [0_f64; 3];
        for _ in 0..10_000 {
            counts[draw.weighted(&[1, 0, 3])] += 1.0;
        }
        assert_eq!(counts[1], 0.0);
        assert!((counts[0] - 2_500.0).abs() < 5.0 * (10_000.0_f64 * 0.25 * 0.75).sqrt(), "{counts:?}");
    }
}

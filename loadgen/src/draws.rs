//! Random draws as pure functions: draw k of a purpose depends on the seed, the purpose and k, and on nothing else.
//!
//! That is what lets any worker make any slice of a schedule. The generator is SplitMix64 (Steele, Lea and Flood,
//! OOPSLA 2014), which is a counter passed through a mixer, started at a mixed (seed, purpose, k).

use std::convert::Infallible;

use rand::TryRng;

/// What a draw is for; equal seeds give independent draws for different purposes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The gap before a record.
    Gap = 1,
    /// A record's key.
    Key = 2,
    /// The pause before a record is tried again.
    Pause = 3,
    /// Which of a key's names a record gets.
    Salt = 10,
    /// Where over the hash keys a record goes.
    Place = 11,
}

pub(crate) const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's finaliser (variant 13 of Stafford's mixers).
pub(crate) const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The random numbers that belong to one k of one purpose.
#[derive(Debug, Clone)]
pub(crate) struct Draws {
    counter: u64,
}

impl Draws {
    /// The numbers for `k`.
    pub(crate) const fn new(seed: u64, purpose: Purpose, k: u64) -> Self {
        let start = mix(seed.wrapping_add(GOLDEN)) ^ mix((purpose as u64).wrapping_mul(GOLDEN));
        Self { counter: mix(start.wrapping_add(k.wrapping_mul(GOLDEN))) }
    }

    /// The generator's own sequence from this counter on.
    pub(crate) const fn from_counter(counter: u64) -> Self {
        Self { counter }
    }

    /// The next 64 random bits.
    pub(crate) const fn bits(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(GOLDEN);
        mix(self.counter)
    }

    /// A number in [0, 1) with 53 random bits.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A whole number in [0, n); its bias is below n / 2^64. Zero for n = 0.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }
}

impl TryRng for Draws {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.bits() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.bits())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.bits().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_draws_of_a_seed_never_change() {
        let mut draws = Draws::new(42, Purpose::Key, 7);
        assert_eq!([draws.bits(), draws.bits()], [0x375ac75a07647942, 0xe37b05de63fa3270]);
    }

    #[test]
    fn seed_purpose_and_number_each_give_other_draws() {
        let first = |seed, purpose, k| Draws::new(seed, purpose, k).bits();
        let all = [
            first(42, Purpose::Key, 7),
            first(43, Purpose::Key, 7),
            first(42, Purpose::Gap, 7),
            first(42, Purpose::Key, 8),
        ];
        assert_eq!(std::collections::BTreeSet::from(all).len(), 4);
    }

    #[test]
    fn first_draws_of_successive_k_are_uniform_and_uncorrelated() {
        let n = 200_000_u64;
        let units: Vec<f64> = (0..n).map(|k| Draws::new(1, Purpose::Gap, k).unit()).collect();
        let mut bins = [0_f64; 100];
        for unit in &units {
            bins[(unit * 100.0) as usize] += 1.0;
        }
        let expected = n as f64 / 100.0;
        let chi2: f64 = bins.iter().map(|b| (b - expected).powi(2) / expected).sum();
        // 99 degrees of freedom: mean 99, standard deviation 14.1; five of them above is one in a million.
        assert!(chi2 < 99.0 + 5.0 * 14.1, "{chi2}");
        let lag: f64 = units.windows(2).map(|w| (w[0] - 0.5) * (w[1] - 0.5)).sum::<f64>() / (n as f64 / 12.0);
        assert!(lag.abs() < 5.0 / (n as f64).sqrt(), "{lag}");
    }

    #[test]
    fn below_stays_below_and_reaches_both_ends() {
        let mut draws = Draws::new(5, Purpose::Key, 0);
        let seen: std::collections::BTreeSet<u64> = (0..1_000).map(|_| draws.below(10)).collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
        assert_eq!(draws.below(0), 0);
    }
}

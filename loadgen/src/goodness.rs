//! Goodness of fit: are these gaps those of a Poisson process? Two statistics against the unit exponential distribution,
//! for tests of due times and for benchmarks of what was really offered.
//!
//! With the n gaps sorted, `F(x) = 1 - e^-x`, and i from 1 to n:
//!
//! ```text
//!   Kolmogorov-Smirnov   D  = max over i of  max( i/n - F(x_i), F(x_i) - (i-1)/n )
//!   Anderson-Darling     A² = -n - 1/n Σ (2i - 1) ( ln F(x_i) + ln(1 - F(x_{n+1-i})) )
//! ```
//!
//! D sees a shift in the middle, A² sees the tails as well. The critical values are those of a fully specified
//! distribution (Stephens, JASA 69, 1974: "case 0"): nothing here was estimated from the sample, so gaps must be
//! rescaled to mean 1 by the rate that was asked for, never by their own mean.

/// D √n above which Kolmogorov-Smirnov refuses at 1 %, for a large n.
pub const KS_CRITICAL_1_PERCENT: f64 = 1.628;
/// A² above which Anderson-Darling refuses at 1 %, for n of 5 or more.
pub const AD_CRITICAL_1_PERCENT: f64 = 3.857;

/// How well a sample of gaps fits the unit exponential distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    /// How many gaps there were.
    pub gaps: usize,
    /// The Kolmogorov-Smirnov distance D, 0 to 1.
    pub ks_distance: f64,
    /// The Anderson-Darling statistic A².
    pub ad_squared: f64,
}

impl Fit {
    /// Measures gaps that were rescaled to mean 1. A gap of zero or less, which a clock of whole microseconds can show, is
    /// taken as the smallest there is. An empty sample fits anything.
    #[must_use]
    pub fn of_unit_exponential(gaps: &[f64]) -> Self {
        let mut sorted: Vec<f64> = gaps.iter().map(|gap| gap.max(f64::MIN_POSITIVE)).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let n = sorted.len() as f64;
        let (mut distance, mut sum) = (0.0_f64, 0.0);
        for (i, (gap, opposite)) in sorted.iter().zip(sorted.iter().rev()).enumerate() {
            // `exp_m1` keeps the digits that 1 - e^-x loses for small gaps; ln(1 - F(x)) is -x itself.
            let below = -libm::expm1(-gap);
            let rank = i as f64;
            distance = distance.max((rank + 1.0) / n - below).max(below - rank / n);
            sum += (2.0 * rank + 1.0) * (libm::log(below) - opposite);
        }
        let ad_squared = if sorted.is_empty() { 0.0 } else { -n - sum / n };
        Self { gaps: sorted.len(), ks_distance: distance, ad_squared }
    }

    /// Whether Kolmogorov-Smirnov lets the sample pass at 1 %.
    #[must_use]
    pub fn passes_ks(&self) -> bool {
        self.ks_distance * (self.gaps as f64).sqrt() <= KS_CRITICAL_1_PERCENT
    }

    /// Whether Anderson-Darling lets the sample pass at 1 %.
    #[must_use]
    pub fn passes_ad(&self) -> bool {
        self.ad_squared <= AD_CRITICAL_1_PERCENT
    }

    /// Whether both let the sample pass at 1 %.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.passes_ks() && self.passes_ad()
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::LN_2;

    use rand_distr::{Distribution, Exp1};

    use super::*;
    use crate::draws::{Draws, Purpose};

    fn exponential(seed: u64, count: u64) -> Vec<f64> {
        (0..count).map(|k| Exp1.sample(&mut Draws::new(seed, Purpose::Gap, k))).collect()
    }

    fn uniform(seed: u64, count: u64) -> impl Iterator<Item = f64> {
        (0..count).map(move |k| Draws::new(seed, Purpose::Gap, k).unit())
    }

    #[test]
    fn both_statistics_of_small_samples_are_those_worked_out_by_hand() {
        // One gap at the median: F = 1/2, so D = 1/2 and A² = -1 + 2 ln 2.
        let fit = Fit::of_unit_exponential(&[LN_2]);
        assert!((fit.ks_distance - 0.5).abs() < 1e-15);
        assert!((fit.ad_squared - (2.0 * LN_2 - 1.0)).abs() < 1e-15);
        // At the quartiles, F = 1/4 and 3/4: D = 1/4, A² = -2 - 1/2 (2 ln 1/4 + 6 ln 3/4).
        let fit = Fit::of_unit_exponential(&[4.0_f64.ln(), (4.0_f64 / 3.0).ln()]);
        assert!((fit.ks_distance - 0.25).abs() < 1e-15);
        let by_hand = -2.0 - (2.0 * 0.25_f64.ln() + 6.0 * 0.75_f64.ln()) / 2.0;
        assert!((fit.ad_squared - by_hand).abs() < 1e-14, "{} {by_hand}", fit.ad_squared);
    }

    /// Of samples that do fit, one in a hundred is refused: the critical values are those of this formula.
    #[test]
    fn one_sample_of_a_hundred_is_refused_though_it_fits() {
        const SAMPLES: u64 = 4_000;
        let fits: Vec<Fit> = (0..SAMPLES).map(|seed| Fit::of_unit_exponential(&exponential(seed, 500))).collect();
        let refused_by_ks = fits.iter().filter(|fit| !fit.passes_ks()).count();
        let refused_by_ad = fits.iter().filter(|fit| !fit.passes_ad()).count();
        // 40 expected, with a standard deviation of 6.3.
        assert!((15..=65).contains(&refused_by_ks), "{refused_by_ks}");
        assert!((15..=65).contains(&refused_by_ad), "{refused_by_ad}");
    }

    #[test]
    fn gaps_that_are_not_exponential_are_refused_by_both() {
        let refused = |gaps: Vec<f64>, what: &str| {
            let fit = Fit::of_unit_exponential(&gaps);
            assert!(!fit.passes_ks() && !fit.passes_ad(), "{what}: {fit:?}");
        };
        refused(uniform(1, 1_000).map(|unit| 2.0 * unit).collect(), "uniform gaps with the right mean");
        refused(vec![1.0; 100], "even gaps");
        refused(exponential(1, 20_000).into_iter().map(|gap| gap * 1.05).collect(), "5 % too slow");
        refused(exponential(1, 20_000).into_iter().map(|gap| gap / 1.05).collect(), "5 % too fast");
    }

    /// One gap in 125 is a thousand times too short: records that are released together.
    #[test]
    fn anderson_darling_sees_a_tail_that_kolmogorov_smirnov_does_not() {
        let gaps: Vec<f64> = exponential(3, 20_000)
            .into_iter()
            .enumerate()
            .map(|(i, gap)| if i % 125 == 0 { gap / 1_000.0 } else { gap })
            .collect();
        let fit = Fit::of_unit_exponential(&gaps);
        assert!(fit.passes_ks() && !fit.passes_ad(), "{fit:?}");
    }

    #[test]
    fn a_sample_without_gaps_and_one_with_a_gap_of_zero_have_an_answer() {
        assert!(Fit::of_unit_exponential(&[]).passes());
        let mut gaps = exponential(1, 10_000);
        gaps[17] = 0.0;
        let fit = Fit::of_unit_exponential(&gaps);
        assert!(fit.ad_squared.is_finite() && fit.passes(), "{fit:?}");
    }
}

//! Draws that are pure functions: the same seed, fault and call give the same number, in whatever order they are asked.

use std::f64::consts::TAU;

/// The 0.99 quantile of the standard normal distribution.
const Z_99: f64 = 2.326_347_874_040_841;

/// Which of a call's draws.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    /// Whether the call is touched.
    Share,
    /// The first number of a distribution.
    Amount,
    /// The second one, where a distribution takes two.
    Angle,
    /// On which side of the operation the connection is cut.
    Side,
}

/// The draws of one call from one fault.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draws {
    state: u64,
}

impl Draws {
    pub(super) const fn new(seed: u64, fault: u64, call: u64) -> Self {
        Self { state: mix(mix(mix(seed) ^ fault) ^ call) }
    }

    /// Uniform, above 0 and below 1.
    pub(super) fn unit(self, purpose: Purpose) -> f64 {
        let bits = mix(self.state ^ (purpose as u64)) >> 11;
        (bits as f64 + 0.5) / (1_u64 << 53) as f64
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014), on the
/// next state.
const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// How long a call is held up, microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Latency {
    Constant { us: f64 },
    Lognormal { p50_us: f64, p99_us: f64 },
    Uniform { min_us: f64, max_us: f64 },
    Exponential { mean_us: f64 },
}

impl Latency {
    pub(super) fn draw_us(self, draws: Draws) -> u64 {
        let unit = draws.unit(Purpose::Amount);
        let us = match self {
            Self::Constant { us } => us,
            Self::Uniform { min_us, max_us } => min_us + (max_us - min_us) * unit,
            Self::Exponential { mean_us } => -mean_us * unit.ln(),
            // Box and Muller: two uniform numbers make a normal one, whose quantiles are known.
            Self::Lognormal { p50_us, p99_us } => {
                let normal = (-2.0 * unit.ln()).sqrt() * (TAU * draws.unit(Purpose::Angle)).cos();
                p50_us * ((p99_us / p50_us).ln() / Z_99 * normal).exp()
            }
        };
        // Saturates, and no latency is negative.
        us.round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The q-quantile of many draws, microseconds.
    fn quantiles(latency: Latency, seed: u64) -> impl Fn(f64) -> f64 {
        let mut drawn: Vec<u64> = (0..100_000).map(|call| latency.draw_us(Draws::new(seed, 0, call))).collect();
        drawn.sort_unstable();
        move |q| drawn[(q * (drawn.len() - 1) as f64) as usize] as f64
    }

    fn near(got: f64, wanted: f64, tolerance: f64) {
        assert!((got - wanted).abs() <= wanted * tolerance, "{got} is not {wanted} within {tolerance}");
    }

    // A quantile of n draws has the standard error sqrt(q (1 - q) / n) / density; five of them are below these bounds.
    #[test]
    fn a_lognormal_latency_has_the_p50_and_p99_it_was_given() {
        let at = quantiles(Latency::Lognormal { p50_us: 20_000.0, p99_us: 200_000.0 }, 7);
        near(at(0.5), 20_000.0, 0.025);
        near(at(0.99), 200_000.0, 0.06);
    }

    #[test]
    fn a_uniform_latency_is_between_its_bounds_and_an_exponential_one_has_the_quantiles_of_its_mean() {
        let at = quantiles(Latency::Uniform { min_us: 1_000.0, max_us: 3_000.0 }, 7);
        assert!(at(0.0) >= 1_000.0 && at(1.0) <= 3_000.0);
        near(at(0.5), 2_000.0, 0.01);
        near(at(0.99), 2_980.0, 0.01);
        let at = quantiles(Latency::Exponential { mean_us: 10_000.0 }, 7);
        near(at(0.5), 10_000.0 * 2.0_f64.ln(), 0.025);
        near(at(0.99), 10_000.0 * 100.0_f64.ln(), 0.04);
    }

    #[test]
    fn a_constant_latency_is_the_same_for_every_call() {
        let at = quantiles(Latency::Constant { us: 20_000.0 }, 1);
        assert_eq!((at(0.0), at(1.0)), (20_000.0, 20_000.0));
    }
}

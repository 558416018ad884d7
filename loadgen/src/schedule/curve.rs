//! One stretch of the rising line N(t), in closed form both ways.
//!
//! ```text
//!   constant   N = r t                                         t = m / r
//!   ramp       N = a t + (b - a) t² / 2T                       t = 2m / (a + √(a² + 2m (b - a) / T))
//!   sine       N = r (t + A p/2π (cos 2πφ - cos 2π(t/p + φ)))  t by Newton's method, kept between two bounds
//! ```
//!
//! The ramp's root is the form that does not cancel, for a falling line as for a rising one. The sine uses `libm`
//! rather than the machine's own library, so that every machine gives the same due times.

use std::f64::consts::TAU;

/// Newton's method on a sine needs four or five steps; at the foot of a full swing, where the rate is zero, more.
const MOST_STEPS: usize = 80;
/// A step this small, in microseconds, no longer moves a due time.
const SETTLED_US: f64 = 1e-5;

/// How the rate goes along one piece. Rates are per second, times are microseconds from the piece's start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Curve {
    /// One rate; zero for a pause.
    Constant { rate: f64 },
    /// A straight line from one rate to another.
    Ramp { from: f64, to: f64, length_us: f64 },
    /// A wave around a mean.
    Sine { mean: f64, amplitude: f64, period_us: f64, phase: f64 },
}

impl Curve {
    /// The part between two times, as a curve of its own, with all rates multiplied by a factor.
    pub(super) fn part(self, from_us: f64, to_us: f64, factor: f64) -> Self {
        match self {
            Self::Constant { rate } => Self::Constant { rate: rate * factor },
            Self::Ramp { .. } => Self::Ramp {
                from: self.rate_at(from_us) * factor,
                to: self.rate_at(to_us) * factor,
                length_us: to_us - from_us,
            },
            Self::Sine { mean, amplitude, period_us, phase } => {
                Self::Sine { mean: mean * factor, amplitude, period_us, phase: turn(phase + from_us / period_us) }
            }
        }
    }

    /// The rate at a time.
    pub(super) fn rate_at(self, t_us: f64) -> f64 {
        match self {
            Self::Constant { rate } => rate,
            Self::Ramp { from, to, length_us } => from + (to - from) * (t_us / length_us),
            Self::Sine { mean, amplitude, period_us, phase } => {
                mean * (1.0 + amplitude * libm::sin(TAU * turn(t_us / period_us + phase)))
            }
        }
    }

    /// How much is due from the piece's start to a time.
    pub(super) fn mass_by(self, t_us: f64) -> f64 {
        match self {
            // This order of operations is the one that recorded runs were made with.
            Self::Constant { rate } => rate * t_us / 1e6,
            Self::Ramp { from, to, length_us } => t_us / 1e6 * (from + (to - from) * (t_us / length_us) / 2.0),
            Self::Sine { mean, amplitude, period_us, phase } => {
                let waves = t_us / period_us;
                let whole = waves.floor();
                mean * (period_us / 1e6) * (whole + Wave { amplitude, phase }.mass_by(waves - whole))
            }
        }
    }

    /// When a mass is reached, to the nearest microsecond; nothing on a pause, which never comes to anything.
    pub(super) fn inverse_us(self, mass: f64) -> Option<f64> {
        match self {
            // Multiplying before dividing keeps whole answers exact: k * 1e6 is exact up to 9e9 records in one stage.
            Self::Constant { rate } => (rate > 0.0).then(|| (mass * 1e6 / rate).round()),
            Self::Ramp { from, to, length_us } => {
                // A mass past the end of a line that falls to zero has no root; the end is the answer.
                let square = from * from + 2e6 * mass * (to - from) / length_us;
                let sum = from + square.max(0.0).sqrt();
                let t_us = if mass > 0.0 { 2e6 * mass / sum } else { 0.0 };
                t_us.is_finite().then(|| t_us.min(length_us).round())
            }
            Self::Sine { mean, amplitude, period_us, phase } => {
                let waves = mass / (mean * (period_us / 1e6));
                if !waves.is_finite() {
                    return None;
                }
                let whole = waves.floor();
                let wave = Wave { amplitude, phase };
                Some(((whole + wave.inverse(waves - whole, SETTLED_US / period_us)) * period_us).round())
            }
        }
    }
}

/// The part of a number after the point, so that a sine is asked about one turn only.
fn turn(turns: f64) -> f64 {
    turns - turns.floor()
}

/// One wave of a sine with mean rate 1 and length 1, which therefore holds a mass of 1.
#[derive(Clone, Copy)]
struct Wave {
    amplitude: f64,
    phase: f64,
}

impl Wave {
    fn mass_by(self, t: f64) -> f64 {
        t + self.amplitude / TAU * (libm::cos(TAU * turn(self.phase)) - libm::cos(TAU * turn(t + self.phase)))
    }

    /// A pure function of the mass: the start is always the same, whichever record was asked for before.
    fn inverse(self, mass: f64, settled: f64) -> f64 {
        let start = self.amplitude / TAU * libm::cos(TAU * turn(self.phase));
        let (mut low, mut high, mut t) = (0.0, 1.0, mass);
        for _ in 0..MOST_STEPS {
            let (sin, cos) = libm::sincos(TAU * turn(t + self.phase));
            let off = t + start - self.amplitude / TAU * cos - mass;
            if off > 0.0 {
                high = t;
            } else {
                low = t;
            }
            let newton = t - off / (1.0 + self.amplitude * sin);
            // Not a number, where the rate is zero, is not between the bounds either.
            let next = if newton >= low && newton <= high { newton } else { f64::midpoint(low, high) };
            let step = (next - t).abs();
            t = next;
            if step <= settled {
                break;
            }
        }
        t
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_ramp_is_a_parabola_with_known_points() {
        // 0 to 100 per second over 10 s: N = 5 t².
        let up = Curve::Ramp { from: 0.0, to: 100.0, length_us: 1e7 };
        for (mass, t_us) in [(0.0, 0.0), (5.0, 1e6), (45.0, 3e6), (125.0, 5e6), (500.0, 1e7)] {
            assert_eq!(up.inverse_us(mass), Some(t_us));
            assert!((up.mass_by(t_us) - mass).abs() < 1e-9);
        }
        // 100 to 0: what is left at t is 5 (10 - t)².
        let down = Curve::Ramp { from: 100.0, to: 0.0, length_us: 1e7 };
        for (left, t_us) in [(500.0, 0.0), (405.0, 1e6), (5.0, 9e6), (0.0, 1e7)] {
            assert_eq!(down.inverse_us(500.0 - left), Some(t_us));
        }
        assert_eq!(down.inverse_us(500.1), Some(1e7), "past the end is the end");
        assert_eq!((up.rate_at(5e6), down.rate_at(9e6)), (50.0, 10.0));
        let flat = Curve::Ramp { from: 50.0, to: 50.0, length_us: 1e7 };
        assert_eq!(flat.inverse_us(100.0), Some(2e6));
    }

    #[test]
    fn a_sine_holds_its_mean_in_each_wave_and_is_fastest_at_its_crest() {
        let sine = Curve::Sine { mean: 100.0, amplitude: 0.5, period_us: 4e6, phase: 0.0 };
        for (mass, t_us) in [(0.0, 0.0), (400.0, 4e6), (4_000.0, 4e7)] {
            assert!((sine.mass_by(t_us) - mass).abs() < 1e-9);
            assert_eq!(sine.inverse_us(mass), Some(t_us));
        }
        // The first half wave: 100 (2 + 0.5 * 4/2π * 2) = 200 + 400/2π.
        assert!((sine.mass_by(2e6) - (200.0 + 400.0 / TAU)).abs() < 1e-9);
        for (t_us, rate) in [(0.0, 100.0), (1e6, 150.0), (2e6, 100.0), (3e6, 50.0), (5e6, 150.0)] {
            assert!((sine.rate_at(t_us) - rate).abs() < 1e-9, "{t_us}");
        }
        let trough = Curve::Sine { mean: 100.0, amplitude: 0.5, period_us: 4e6, phase: 0.75 };
        assert!((trough.rate_at(0.0) - 50.0).abs() < 1e-9);
    }

    #[test]
    fn a_pause_is_never_over_by_mass() {
        assert_eq!(Curve::Constant { rate: 0.0 }.inverse_us(1.0), None);
        assert_eq!(Curve::Ramp { from: 0.0, to: 0.0, length_us: 1e6 }.inverse_us(1.0), None);
        assert_eq!(Curve::Sine { mean: 0.0, amplitude: 1.0, period_us: 1e6, phase: 0.0 }.inverse_us(1.0), None);
    }

    proptest! {
        /// Even at the foot of a full swing, where the rate is zero and Newton's method crawls.
        #[test]
        fn the_inverse_of_a_sine_is_exact_to_a_microsecond(
            mean in 1.0_f64..200_000.0,
            amplitude in 0.0_f64..=1.0,
            full: bool,
            period_ms in 1_u32..100_000_000,
            phase in 0.0_f64..=1.0,
            share in 0.0_f64..50.0,
        ) {
            let amplitude = if full { 1.0 } else { amplitude };
            let period_us = f64::from(period_ms) * 1e3;
            let sine = Curve::Sine { mean, amplitude, period_us, phase };
            let mass = share * mean * period_us / 1e6;
            let t_us = sine.inverse_us(mass).unwrap();
            // Rounding of N itself, which is all that a difference of large masses can promise.
            let noise = mass * 1e-14 + mean * period_us / 1e6 * 1e-14;
            prop_assert!(sine.mass_by((t_us - 1.0).max(0.0)) <= mass + noise, "{} is late", t_us);
            prop_assert!(sine.mass_by(t_us + 1.0) >= mass - noise, "{} is early", t_us);
        }
    }
}

//! When each record is due: a pure function of its number, never of how fast the target is.
//!
//! The stages' rates integrate to N(t), the number of records due by time t: a rising line with a bend at each stage.
//! A record is due where N reaches its mass, so due times are `N⁻¹(mass)`:
//!
//! ```text
//!   N(t)                       constant   mass of record k = k
//!    |            ____/        Poisson    mass of record k = E₀ + E₁ + ... + E_k,
//!    |       ____/                        E_i independent exponentials with mean 1
//!    |  ____/
//!    | /                       (time rescaling: N⁻¹ of a unit-rate Poisson process is a
//!    +-------------- t          Poisson process with the stages' rates)
//! ```
//!
//! `E_i` is a pure function of seed and i, and only their running sum is held, so a schedule of any length costs no
//! memory. The number of records of a Poisson schedule is itself random, with the mean and variance of N at the end.

use millrace_scenarios::{Arrival, Load};
use rand_distr::{Distribution, Exp1};

use crate::draws::{Draws, Purpose};

/// A stage as a piece of the line N(t).
#[derive(Debug, Clone, Copy, PartialEq)]
struct Piece {
    /// Where it starts, microseconds.
    start_us: u64,
    /// N at its start.
    start_mass: f64,
    /// Records per second; zero for a pause.
    rate: f64,
}

/// The due times of a load, as offsets in microseconds from the start of the schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    arrival: Arrival,
    seed: u64,
    pieces: Vec<Piece>,
    total_us: u64,
    total_mass: f64,
}

impl Schedule {
    /// The schedule of a scenario's `[load]`. A rate that is not a positive number makes its stage a pause.
    #[must_use]
    pub fn new(load: &Load, seed: u64) -> Self {
        let mut schedule = Self {
            arrival: load.arrival,
            seed,
            pieces: Vec::with_capacity(load.stages.len()),
            total_us: 0,
            total_mass: 0.0,
        };
        for stage in &load.stages {
            let rate = if stage.rate.is_finite() { stage.rate.max(0.0) } else { 0.0 };
            schedule.pieces.push(Piece { start_us: schedule.total_us, start_mass: schedule.total_mass, rate });
            schedule.total_us = schedule.total_us.saturating_add(stage.duration.as_us());
            schedule.total_mass += rate * stage.duration.as_secs_f64();
        }
        schedule
    }

    /// Length of the schedule, microseconds.
    #[must_use]
    pub fn total_us(&self) -> u64 {
        self.total_us
    }

    /// How many records are due over the whole schedule: exact up to the last one for constant arrivals, the mean for
    /// Poisson arrivals.
    #[must_use]
    pub fn expected_records(&self) -> f64 {
        self.total_mass
    }

    /// N(t): how many records are due by `offset_us`, on average.
    #[must_use]
    pub fn expected_by(&self, offset_us: u64) -> f64 {
        let offset_us = offset_us.min(self.total_us);
        match self.pieces.iter().rev().find(|piece| piece.start_us <= offset_us) {
            Some(piece) => piece.start_mass + piece.rate * (offset_us - piece.start_us) as f64 / 1e6,
            None => 0.0,
        }
    }

    /// Records per second asked for at `offset_us`; zero after the end.
    #[must_use]
    pub fn rate_at(&self, offset_us: u64) -> f64 {
        if offset_us >= self.total_us {
            return 0.0;
        }
        self.pieces.iter().rev().find(|piece| piece.start_us <= offset_us).map_or(0.0, |piece| piece.rate)
    }

    /// Records per second asked for over the whole schedule.
    #[must_use]
    pub fn target_rate(&self) -> f64 {
        if self.total_us == 0 { 0.0 } else { self.total_mass / (self.total_us as f64 / 1e6) }
    }

    /// The due times in order, from record 0.
    #[must_use]
    pub fn iter(&self) -> DueTimes {
        DueTimes { schedule: self.clone(), piece: 0, k: 0, mass: 0.0 }
    }

    /// When record `k` of a constant schedule is due, in closed form; absent past its end, and for Poisson arrivals,
    /// where it is a running sum.
    #[must_use]
    pub fn due_us(&self, k: u64) -> Option<u64> {
        match self.arrival {
            Arrival::Constant => {
                let piece = self.pieces.iter().rposition(|piece| piece.start_mass <= k as f64)?;
                self.inverse(piece, k as f64)
            }
            Arrival::Poisson => None,
        }
    }

    /// `N⁻¹(mass)` on one piece; absent past the schedule's end, and on a pause, which holds no mass.
    fn inverse(&self, piece: usize, mass: f64) -> Option<u64> {
        let piece = self.pieces.get(piece).filter(|piece| piece.rate > 0.0)?;
        // Multiplying before dividing keeps whole answers exact: k * 1e6 is exact up to 9e9 records in one stage.
        let offset_us = ((mass - piece.start_mass) * 1e6 / piece.rate).round();
        let due_us = piece.start_us.saturating_add(offset_us as u64);
        (due_us < self.total_us).then_some(due_us)
    }
}

/// The due times of a [`Schedule`], streamed.
#[derive(Debug, Clone)]
pub struct DueTimes {
    schedule: Schedule,
    piece: usize,
    k: u64,
    mass: f64,
}

impl Iterator for DueTimes {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let mass = match self.schedule.arrival {
            Arrival::Constant => self.k as f64,
            Arrival::Poisson => {
                let gap: f64 = Exp1.sample(&mut Draws::new(self.schedule.seed, Purpose::Gap, self.k));
                self.mass + gap
            }
        };
        let pieces = &self.schedule.pieces;
        while pieces.get(self.piece + 1).is_some_and(|next| next.start_mass <= mass) {
            self.piece += 1;
        }
        let due_us = self.schedule.inverse(self.piece, mass)?;
        self.mass = mass;
        self.k += 1;
        Some(due_us)
    }
}

#[cfg(test)]
mod tests {
    use millrace_scenarios::{Span, Stage};
    use proptest::prelude::*;

    use super::*;

    fn schedule(arrival: Arrival, stages: &[(f64, u64)], seed: u64) -> Schedule {
        let stages: Vec<Stage> =
            stages.iter().map(|(rate, ms)| Stage { rate: *rate, duration: Span::from_millis(*ms) }).collect();
        let mut load: Load = serde_json::from_value(serde_json::json!({"stages": []})).unwrap();
        load.arrival = arrival;
        load.stages = stages;
        Schedule::new(&load, seed)
    }

    #[test]
    fn constant_due_times_are_exact_and_stages_chain_without_a_gap() {
        let s = schedule(Arrival::Constant, &[(1_000.0, 3), (0.0, 2), (500.0, 6)], 1);
        assert_eq!(s.iter().collect::<Vec<_>>(), [0, 1_000, 2_000, 5_000, 7_000, 9_000]);
        assert_eq!(s.total_us(), 11_000);
        assert_eq!(s.expected_records(), 6.0);
        for (k, due) in s.iter().enumerate() {
            assert_eq!(s.due_us(k as u64), Some(due));
        }
        assert_eq!(s.due_us(6), None);
        assert_eq!((s.rate_at(0), s.rate_at(3_500), s.rate_at(5_000), s.rate_at(11_000)), (1_000.0, 0.0, 500.0, 0.0));
    }

    #[test]
    fn a_rate_that_does_not_divide_a_second_does_not_drift() {
        let s = schedule(Arrival::Constant, &[(3.0, 3_600_000)], 1);
        assert_eq!(s.iter().count(), 10_800);
        assert_eq!(s.due_us(10_799), Some(3_599_666_667));
        assert_eq!(s.due_us(3_000), Some(1_000_000_000));
    }

    #[test]
    fn an_empty_or_silent_schedule_is_over_at_once() {
        assert_eq!(schedule(Arrival::Constant, &[], 1).iter().count(), 0);
        assert_eq!(schedule(Arrival::Poisson, &[(0.0, 1_000), (f64::NAN, 1_000)], 1).iter().count(), 0);
        assert_eq!(schedule(Arrival::Poisson, &[], 1).target_rate(), 0.0);
        assert_eq!(schedule(Arrival::Constant, &[(10.0, 1_000), (0.0, 500)], 1).iter().count(), 10);
    }

    #[test]
    fn the_same_seed_gives_the_same_times_and_another_seed_does_not() {
        let of = |seed| schedule(Arrival::Poisson, &[(1_000.0, 2_000)], seed).iter().collect::<Vec<_>>();
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
    }

    #[test]
    fn the_first_poisson_times_of_a_seed_never_change() {
        let s = schedule(Arrival::Poisson, &[(1_000.0, 60_000)], 42);
        assert_eq!(s.iter().take(4).collect::<Vec<_>>(), [1_420, 1_548, 1_686, 3_145]);
    }

    /// Kolmogorov-Smirnov at 1 %: the largest distance to the exponential distribution stays below 1.63 / √n.
    #[test]
    fn poisson_gaps_pass_kolmogorov_smirnov_at_one_percent() {
        for seed in [1, 42, 99] {
            let s = schedule(Arrival::Poisson, &[(10.0, 10_000_000)], seed);
            let due: Vec<u64> = s.iter().collect();
            let mut gaps: Vec<f64> = due.windows(2).map(|w| (w[1] - w[0]) as f64 / 100_000.0).collect();
            gaps.sort_by(f64::total_cmp);
            let n = gaps.len() as f64;
            let distance = gaps
                .iter()
                .enumerate()
                .map(|(i, gap)| {
                    let cdf = 1.0 - (-gap).exp();
                    (cdf - i as f64 / n).abs().max(((i + 1) as f64 / n - cdf).abs())
                })
                .fold(0.0, f64::max);
            assert!(distance < 1.63 / n.sqrt(), "seed {seed}: {distance} of {n}");
        }
    }

    #[test]
    fn poisson_counts_have_the_mean_and_variance_of_their_stage() {
        let counts: Vec<f64> = (0..400)
            .map(|seed| {
                let s = schedule(Arrival::Poisson, &[(50.0, 2_000), (1_000.0, 500)], seed);
                s.iter().filter(|due| *due >= 2_000_000).count() as f64
            })
            .collect();
        let n = counts.len() as f64;
        let mean = counts.iter().sum::<f64>() / n;
        let variance = counts.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / (n - 1.0);
        // 500 expected; the mean of 400 has a standard deviation of 1.12, the variance one of 35.
        assert!((mean - 500.0).abs() < 5.0 * 1.12, "{mean}");
        assert!((variance - 500.0).abs() < 5.0 * 35.4, "{variance}");
    }

    proptest! {
        #[test]
        fn n_of_a_due_time_gives_back_its_number(rates in prop::collection::vec((0.5_f64..5_000.0, 1_u64..3_000), 1..5)) {
            let s = schedule(Arrival::Constant, &rates, 1);
            let mut last = None;
            for (k, due) in s.iter().enumerate() {
                let rate = s.rate_at(due).max(1.0);
                // A due time is rounded by half a microsecond, and around a bend the other stage's rate counts.
                let slack = rates.iter().map(|r| r.0).fold(rate, f64::max) * 1e-6 + 1e-6;
                prop_assert!((s.expected_by(due) - k as f64).abs() <= slack, "{} at {}", k, due);
                prop_assert!(last.is_none_or(|l| due > l), "strictly increasing");
                prop_assert!(due < s.total_us());
                last = Some(due);
            }
            let count = last.map_or(0, |_| s.iter().count()) as f64;
            prop_assert!((count - s.expected_records()).abs() <= 1.0);
        }

        #[test]
        fn poisson_times_never_go_back_and_stay_inside(rate in 0.5_f64..20_000.0, seed: u64) {
            let s = schedule(Arrival::Poisson, &[(rate, 100), (rate / 2.0, 200)], seed);
            let due: Vec<u64> = s.iter().collect();
            prop_assert!(due.is_sorted());
            prop_assert!(due.last().is_none_or(|d| *d < s.total_us()));
        }
    }
}

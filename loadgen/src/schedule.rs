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
//!
//! Where rates are bytes per second, N(t) is the bytes due by t, and record k has the mass of the bytes before it:
//! `w₀ + ... + w_{k-1}` (constant), or `E₁ w₀ + ... + E_k w_{k-1}` (Poisson: a gap has the mean that the size before it
//! asks for). The first record is due at once.

mod curve;
mod pieces;

use millrace_scenarios::{Arrival, Load, RateUnit};
use rand_distr::{Distribution, Exp1};

use self::pieces::Line;
use crate::draws::{Draws, Purpose};

/// The due times of a load's stages, as offsets in microseconds from the start of the schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    poisson: bool,
    unit: RateUnit,
    seed: u64,
    line: Line,
}

impl Schedule {
    /// The schedule of a scenario's `[load]`. A rate that is not a positive number makes its stage a pause. A trace has
    /// no stages, and its schedule is over at once; see [`Timetable`](crate::timetable::Timetable).
    #[must_use]
    pub fn new(load: &Load, seed: u64) -> Self {
        let poisson = load.arrival == Arrival::Poisson;
        Self { poisson, unit: load.unit, seed, line: Line::new(&load.stages) }
    }

    /// The same, with all rates from each time (microseconds, in order) on multiplied by a factor. A stage that a time
    /// falls into is cut there; it keeps its length, and a count is scaled with the rate.
    #[must_use]
    pub fn with_rate_changes(mut self, changes: &[(u64, f64)]) -> Self {
        self.line = self.line.with_rate_changes(changes);
        self
    }

    /// What its masses and rates count.
    #[must_use]
    pub fn unit(&self) -> RateUnit {
        self.unit
    }

    /// Length of the schedule, microseconds.
    #[must_use]
    pub fn total_us(&self) -> u64 {
        self.line.total_us
    }

    /// How much is due over the whole schedule: records, or bytes where the unit is bytes. Exact up to the last record
    /// for constant arrivals, the mean for Poisson arrivals.
    #[must_use]
    pub fn expected_total(&self) -> f64 {
        self.line.total_mass
    }

    /// N(t): how much is due by `offset_us`, on average.
    #[must_use]
    pub fn expected_by(&self, offset_us: u64) -> f64 {
        let offset_us = offset_us.min(self.line.total_us);
        self.line.at(offset_us).map_or(0.0, |piece| {
            (piece.start_mass + piece.curve.mass_by((offset_us - piece.start_us) as f64)).min(piece.end_mass)
        })
    }

    /// The rate asked for at `offset_us`, per second; zero after the end.
    #[must_use]
    pub fn rate_at(&self, offset_us: u64) -> f64 {
        if offset_us >= self.line.total_us {
            return 0.0;
        }
        self.line.at(offset_us).map_or(0.0, |piece| piece.curve.rate_at((offset_us - piece.start_us) as f64))
    }

    /// The rate asked for over the whole schedule, per second.
    #[must_use]
    pub fn target_rate(&self) -> f64 {
        if self.total_us() == 0 { 0.0 } else { self.expected_total() / (self.total_us() as f64 / 1e6) }
    }

    /// The due times in order, from record 0.
    #[must_use]
    pub fn iter(&self) -> DueTimes {
        DueTimes { schedule: self.clone(), piece: 0, k: 0, mass: Mass::default(), last_us: 0 }
    }

    /// Number and due time of every record of one worker of `workers`: those whose number leaves `worker` when divided.
    /// Workers are staggered by construction, and together they send exactly this schedule. Nobody, when `worker` is not
    /// one of them. Where rates are bytes, due times follow from the sizes of all records, so every worker has to walk
    /// them all with [`DueTimes::next_due`].
    pub fn slice(&self, worker: u64, workers: u64) -> impl Iterator<Item = (u64, u64)> + use<> {
        let mine = usize::try_from(worker).ok().zip(usize::try_from(workers).ok()).filter(|(i, n)| i < n);
        let due = mine.map(|(i, n)| self.iter().skip(i).step_by(n));
        due.into_iter().flatten().enumerate().map(move |(turn, due_us)| (turn as u64 * workers + worker, due_us))
    }

    /// When record `k` of a constant schedule is due, in closed form; absent past its end, and for Poisson arrivals,
    /// where it is a running sum. Where rates are bytes, `k` is the bytes before the record.
    #[must_use]
    pub fn due_us(&self, k: u64) -> Option<u64> {
        if self.poisson {
            return None;
        }
        let piece = self.line.pieces.partition_point(|piece| piece.start_mass <= k as f64).checked_sub(1)?;
        self.inverse(piece, k as f64)
    }

    /// `N⁻¹(mass)` on one piece; absent past the schedule's end, and on a pause, which holds no mass.
    fn inverse(&self, piece: usize, mass: f64) -> Option<u64> {
        let piece = self.line.pieces.get(piece)?;
        let offset_us = piece.curve.inverse_us(mass - piece.start_mass)?;
        let due_us = piece.start_us.saturating_add(offset_us as u64);
        (due_us < self.line.total_us).then_some(due_us)
    }
}

/// What the records so far weigh. The whole part is counted apart, so that it stays exact.
#[derive(Debug, Clone, Copy, Default)]
struct Mass {
    /// Bytes before the record; constant arrivals.
    bytes: u64,
    /// The running sum; Poisson arrivals.
    random: f64,
}

/// The due times of a [`Schedule`], streamed. As an iterator, where rates are bytes, every record weighs one byte.
/// Skipping (`nth`, `skip`, `step_by`) costs nothing for constant arrivals, and a draw a record for Poisson arrivals.
#[derive(Debug, Clone)]
pub struct DueTimes {
    schedule: Schedule,
    piece: usize,
    /// The next record.
    k: u64,
    /// Of the record before it.
    mass: Mass,
    last_us: u64,
}

impl DueTimes {
    /// When the next record is due; `previous_bytes` is the size of the record before it, data and key, and counts only
    /// where rates are bytes.
    pub fn next_due(&mut self, previous_bytes: u64) -> Option<u64> {
        let mass = self.mass_after(previous_bytes);
        let at = self.at(mass);
        let pieces = &self.schedule.line.pieces;
        while pieces.get(self.piece + 1).is_some_and(|next| next.start_mass <= at) {
            self.piece += 1;
        }
        // A sine's inverse is exact to far less than a microsecond, which is still more than nothing.
        let due_us = self.schedule.inverse(self.piece, at)?.max(self.last_us);
        self.mass = mass;
        self.k += 1;
        self.last_us = due_us;
        Some(due_us)
    }

    /// The mass of the next record.
    fn mass_after(&self, previous_bytes: u64) -> Mass {
        let weight = match self.schedule.unit {
            RateUnit::Records => 1,
            RateUnit::Bytes if self.k == 0 => 0,
            RateUnit::Bytes => previous_bytes,
        };
        if self.schedule.poisson {
            let gap: f64 = Exp1.sample(&mut Draws::new(self.schedule.seed, Purpose::Gap, self.k));
            Mass { random: self.mass.random + gap * weight as f64, ..self.mass }
        } else {
            Mass { bytes: self.mass.bytes.saturating_add(weight), ..self.mass }
        }
    }

    /// Where on the line a mass is. Record k of a constant schedule stands at k, not at k + 1.
    fn at(&self, mass: Mass) -> f64 {
        match (self.schedule.poisson, self.schedule.unit) {
            (true, _) => mass.random,
            (false, RateUnit::Records) => self.k as f64,
            (false, RateUnit::Bytes) => mass.bytes as f64,
        }
    }
}

impl Iterator for DueTimes {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.next_due(1)
    }

    fn nth(&mut self, skipped: usize) -> Option<u64> {
        if self.schedule.poisson {
            for _ in 0..skipped {
                self.mass = self.mass_after(1);
                self.k += 1;
                // Well past the end nothing more comes; without this, a skip by usize::MAX would never return.
                if self.mass.random > self.schedule.expected_total() + 1.0 {
                    return None;
                }
            }
        } else {
            let skipped = skipped as u64;
            let weighed = skipped.saturating_sub(u64::from(self.k == 0));
            self.mass.bytes = self.mass.bytes.saturating_add(weighed);
            self.k = self.k.saturating_add(skipped);
        }
        self.next()
    }
}

#[cfg(test)]
mod tests;

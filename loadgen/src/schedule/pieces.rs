//! The stages as pieces of one line N(t): steps and spikes are several constant pieces, every other stage is one.

use std::time::Duration;

use millrace_scenarios::{Stage, StageShape};

use super::curve::Curve;

/// A piece of the line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Piece {
    /// Where it starts, microseconds.
    pub(super) start_us: u64,
    /// N at its start.
    pub(super) start_mass: f64,
    /// N at its end, which is N at the next piece's start.
    pub(super) end_mass: f64,
    /// How the rate goes.
    pub(super) curve: Curve,
}

/// The pieces of all stages, in order, and where they end.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Line {
    pub(super) pieces: Vec<Piece>,
    pub(super) total_us: u64,
    pub(super) total_mass: f64,
}

impl Line {
    pub(super) fn new(stages: &[Stage]) -> Self {
        let mut line = Self { pieces: Vec::with_capacity(stages.len()), ..Self::default() };
        for stage in stages {
            line.add(stage);
        }
        line
    }

    fn add(&mut self, stage: &Stage) {
        let start_mass = self.total_mass;
        let length_us = stage.length_us();
        let rate = known(Some(stage.rate));
        match stage.shape {
            StageShape::Constant => self.push(Curve::Constant { rate }, length_us),
            StageShape::Ramp => {
                let ramp = Curve::Ramp { from: rate, to: known(stage.to), length_us: length_us as f64 };
                self.push(ramp, length_us);
            }
            StageShape::Steps => self.add_stairs(rate, known(stage.to), stage.steps.unwrap_or(1), length_us),
            StageShape::Spike => {
                let width_us = stage.width.map_or(0, |width| width.as_us()).min(length_us);
                let before_us = (length_us - width_us) / 2;
                self.push(Curve::Constant { rate }, before_us);
                self.push(Curve::Constant { rate: known(stage.peak) }, width_us);
                self.push(Curve::Constant { rate }, length_us - width_us - before_us);
            }
            StageShape::Sine => {
                let sine = Curve::Sine {
                    mean: rate,
                    amplitude: known(stage.amplitude).min(1.0),
                    period_us: stage.period.map_or(1.0, |period| period.as_us().max(1) as f64),
                    phase: known(stage.phase),
                };
                self.push(sine, length_us);
            }
        }
        // A count is kept to the record, although the length that follows from it is rounded to a microsecond.
        if let (Some(count), None, Some(last)) = (stage.count, stage.duration, self.pieces.last_mut()) {
            last.end_mass = (start_mass + count as f64).max(last.start_mass);
            self.total_mass = last.end_mass;
        }
    }

    /// Ends of stairs rather than their lengths are rounded, so that they fill the stage.
    fn add_stairs(&mut self, from: f64, to: f64, steps: u32, length_us: u64) {
        let end_us = |step: u32| u64::try_from(u128::from(length_us) * u128::from(step) / u128::from(steps.max(1)));
        for step in 0..steps {
            let (start_us, end_us) = (end_us(step).unwrap_or(length_us), end_us(step + 1).unwrap_or(length_us));
            let rate = from + (to - from) * f64::from(step) / f64::from(steps.max(2) - 1);
            self.push(Curve::Constant { rate }, end_us - start_us);
        }
    }

    /// The line with all rates from each time on multiplied by a factor. Without a change it is the very same line.
    pub(super) fn with_rate_changes(self, changes: &[(u64, f64)]) -> Self {
        if changes.is_empty() {
            return self;
        }
        let mut line = Self::default();
        for (index, piece) in self.pieces.iter().enumerate() {
            let end_us = self.pieces.get(index + 1).map_or(self.total_us, |next| next.start_us);
            let mut from_us = piece.start_us;
            while from_us < end_us {
                let before = changes.iter().filter(|(at_us, _)| *at_us <= from_us);
                let factor = before.map(|(_, factor)| factor).product();
                let next_us = changes.iter().map(|(at_us, _)| *at_us).find(|at_us| *at_us > from_us);
                let to_us = next_us.unwrap_or(end_us).min(end_us);
                let within = |us: u64| (us - piece.start_us) as f64;
                line.push(piece.curve.part(within(from_us), within(to_us), factor), to_us - from_us);
                from_us = to_us;
            }
        }
        line
    }

    fn push(&mut self, curve: Curve, length_us: u64) {
        let mass = match curve {
            Curve::Constant { rate } => rate * Duration::from_micros(length_us).as_secs_f64(),
            Curve::Ramp { .. } | Curve::Sine { .. } => curve.mass_by(length_us as f64),
        };
        let start_mass = self.total_mass;
        self.total_mass += mass;
        self.pieces.push(Piece { start_us: self.total_us, start_mass, end_mass: self.total_mass, curve });
        self.total_us = self.total_us.saturating_add(length_us);
    }

    /// The piece at a time, or the last one after the end.
    pub(super) fn at(&self, offset_us: u64) -> Option<&Piece> {
        let after = self.pieces.partition_point(|piece| piece.start_us <= offset_us);
        self.pieces.get(after.checked_sub(1)?)
    }
}

/// A rate or share; what is not a positive number is none.
fn known(value: Option<f64>) -> f64 {
    value.filter(|value| value.is_finite()).unwrap_or(0.0).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(stages: serde_json::Value) -> Line {
        Line::new(&serde_json::from_value::<Vec<Stage>>(stages).unwrap())
    }

    #[test]
    fn stairs_fill_their_stage_and_go_from_one_rate_to_the_other() {
        let line = line(serde_json::json!([{"shape": "steps", "rate": 10, "to": 40, "steps": 4, "for": "10s"}]));
        let found: Vec<_> = line.pieces.iter().map(|piece| (piece.start_us, piece.curve)).collect();
        let stair = |start_us, rate| (start_us, Curve::Constant { rate });
        assert_eq!(found, [stair(0, 10.0), stair(2_500_000, 20.0), stair(5_000_000, 30.0), stair(7_500_000, 40.0)]);
        assert_eq!((line.total_us, line.total_mass), (10_000_000, 250.0));
    }

    #[test]
    fn stairs_that_do_not_divide_a_stage_lose_no_microsecond() {
        let steps = serde_json::json!([{"shape": "steps", "rate": 10, "to": 40, "steps": 7, "for": "10s"}]);
        assert_eq!(line(steps).total_us, 10_000_000);
    }

    #[test]
    fn a_new_rate_cuts_the_piece_it_falls_into_and_scales_all_that_follows() {
        let constant = |stages: &[(f64, u64)]| {
            let stage = |(rate, s): &(f64, u64)| Stage::constant(*rate, millrace_scenarios::Span::from_secs(*s));
            Line::new(&stages.iter().map(stage).collect::<Vec<_>>())
        };
        let changes = [(5_000_000, 4.0), (15_000_000, 0.5)];
        let changed = constant(&[(10.0, 10), (100.0, 20)]).with_rate_changes(&changes);
        assert_eq!(changed, constant(&[(10.0, 5), (40.0, 5), (400.0, 5), (200.0, 15)]));
        let one = || constant(&[(10.0, 10)]);
        assert_eq!(one().with_rate_changes(&[(10_000_000, 4.0)]), one());
        assert_eq!(one().with_rate_changes(&[(0, 4.0)]), constant(&[(40.0, 10)]));
    }

    #[test]
    fn a_new_rate_leaves_the_course_of_a_ramp_and_of_a_wave() {
        for stage in [
            serde_json::json!([{"shape": "ramp", "rate": 10, "to": 90, "for": "10s"}]),
            serde_json::json!([{"shape": "sine", "rate": 50, "amplitude": 0.9, "period": "7s", "phase": 0.3, "for": "10s"}]),
        ] {
            let plain = line(stage);
            let changed = plain.clone().with_rate_changes(&[(3_000_000, 2.0)]);
            assert_eq!((changed.pieces.len(), changed.total_us), (2, plain.total_us));
            for us in (0..10_000_000).step_by(333_333) {
                let rate =
                    |line: &Line| line.at(us).map(|piece| piece.curve.rate_at((us - piece.start_us) as f64)).unwrap();
                let factor = if us < 3_000_000 { 1.0 } else { 2.0 };
                assert!((rate(&changed) - factor * rate(&plain)).abs() < 1e-9, "at {us}");
            }
            let by_3s = plain.pieces[0].curve.mass_by(3e6);
            assert!((changed.total_mass - (2.0 * plain.total_mass - by_3s)).abs() < 1e-9);
        }
    }

    #[test]
    fn a_spike_is_in_the_middle() {
        let line = line(serde_json::json!([{"shape": "spike", "rate": 10, "peak": 100, "width": "2s", "for": "10s"}]));
        let found: Vec<_> = line.pieces.iter().map(|piece| (piece.start_us, piece.curve.rate_at(0.0))).collect();
        assert_eq!(found, [(0, 10.0), (4_000_000, 100.0), (6_000_000, 10.0)]);
        assert_eq!((line.total_us, line.total_mass), (10_000_000, 280.0));
    }

    #[test]
    fn a_count_is_kept_to_the_record_in_the_middle_of_a_chain() {
        let line = line(serde_json::json!([
            {"rate": 3, "count": 7},
            {"shape": "steps", "rate": 10, "to": 31, "steps": 7, "count": 11},
            {"shape": "ramp", "rate": 0, "to": 13, "count": 5},
            {"rate": 1, "for": "1s"},
        ]));
        assert_eq!(line.total_mass, 7.0 + 11.0 + 5.0 + 1.0);
        assert_eq!(line.pieces[1].start_mass, 7.0);
        assert_eq!(line.pieces.last().unwrap().start_mass, 23.0);
    }
}

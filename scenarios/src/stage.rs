//! A stage of the load: how its rate goes, how long it lasts, and how much is due in it.
//!
//! Length, mean and peak are worked out here, where the language is, because validation, overrides, the cost estimate
//! and the schedule all need the same answer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Span;

/// How a stage's rate goes over time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StageShape {
    /// One rate all along.
    #[default]
    Constant,
    /// A straight line from `rate` to `to`.
    Ramp,
    /// Equal stairs, the first at `rate`, the last at `to`.
    Steps,
    /// `rate`, but `peak` for the middle `width` of the stage.
    Spike,
    /// A wave around `rate`: a day with its night.
    Sine,
}

impl StageShape {
    /// The shape as scenarios write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Ramp => "ramp",
            Self::Steps => "steps",
            Self::Spike => "spike",
            Self::Sine => "sine",
        }
    }

    // Serde asks with a reference.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if wants a reference")]
    const fn is_constant(&self) -> bool {
        matches!(self, Self::Constant)
    }
}

/// One stretch of load. Stages follow each other without a gap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Records per second (bytes per second where the load's `unit` is bytes): all along (constant), at the start (ramp,
    /// steps), outside the spike (spike), on average (sine). Zero is a pause.
    #[schemars(example = 500)]
    pub rate: f64,
    /// How long the stage lasts. Every stage has this or `count`.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = Span::from_secs(30))]
    pub duration: Option<Span>,
    /// constant, ramp, steps: how many records (or bytes) are due in the stage, instead of `for`; its length follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 10_000)]
    pub count: Option<u64>,
    /// How the rate goes.
    #[serde(default, skip_serializing_if = "StageShape::is_constant")]
    pub shape: StageShape,
    /// ramp, steps: the rate at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 1_000)]
    pub to: Option<f64>,
    /// steps: how many stairs there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 5)]
    pub steps: Option<u32>,
    /// spike: the rate in the middle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 2_000)]
    pub peak: Option<f64>,
    /// spike: how long the middle lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = Span::from_secs(5))]
    pub width: Option<Span>,
    /// sine: how far the rate swings to both sides, as a share of `rate`, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 0.8)]
    pub amplitude: Option<f64>,
    /// sine: how long one wave is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = Span::from_secs(20))]
    pub period: Option<Span>,
    /// sine: how much of the first wave is over at the start, 0 to 1. Absent: 0, at `rate` and rising; 0.25 starts at the
    /// crest, 0.75 in the trough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 0.75)]
    pub phase: Option<f64>,
}

impl Stage {
    /// A stage of one rate.
    #[must_use]
    pub fn constant(rate: f64, duration: Span) -> Self {
        Self { rate, duration: Some(duration), ..Self::default() }
    }

    /// How long it lasts, microseconds: what `for` says, or what `count` takes at the stage's mean rate.
    #[must_use]
    pub fn length_us(&self) -> u64 {
        match (self.duration, self.count) {
            (Some(duration), _) => duration.as_us(),
            // A rate of zero would take forever; validation refuses it.
            (None, Some(count)) if self.line_mean() > 0.0 => (count as f64 * 1e6 / self.line_mean()).round() as u64,
            (None, _) => 0,
        }
    }

    /// The highest rate in it.
    #[must_use]
    pub fn highest_rate(&self) -> f64 {
        match self.shape {
            StageShape::Constant => self.rate,
            StageShape::Ramp | StageShape::Steps => self.rate.max(self.to.unwrap_or(self.rate)),
            StageShape::Spike => self.rate.max(self.peak.unwrap_or(self.rate)),
            StageShape::Sine => self.rate * (1.0 + self.amplitude.unwrap_or(0.0)),
        }
    }

    /// The mean rate of the shapes that `count` may measure.
    fn line_mean(&self) -> f64 {
        match self.shape {
            StageShape::Ramp | StageShape::Steps => (self.rate + self.to.unwrap_or(self.rate)) / 2.0,
            StageShape::Constant | StageShape::Spike | StageShape::Sine => self.rate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(toml: &str) -> Stage {
        toml::from_str(toml).unwrap()
    }

    #[test]
    fn a_count_lasts_as_long_as_the_mean_rate_takes() {
        assert_eq!(stage("rate = 3\ncount = 7").length_us(), 2_333_333);
        assert_eq!(stage("rate = 0\nto = 100\ncount = 500\nshape = \"ramp\"").length_us(), 10_000_000);
        assert_eq!(stage("rate = 50\nto = 150\nsteps = 3\ncount = 500\nshape = \"steps\"").length_us(), 5_000_000);
        assert_eq!(stage("rate = 0\ncount = 7").length_us(), 0);
        assert_eq!(stage("rate = 5\nfor = \"2s\"").length_us(), 2_000_000);
    }

    #[test]
    fn the_highest_rate_is_the_one_the_shape_reaches() {
        for (toml, highest) in [
            ("rate = 5", 5.0),
            ("rate = 5\nto = 3\nshape = \"ramp\"", 5.0),
            ("rate = 5\nto = 8\nsteps = 2\nshape = \"steps\"", 8.0),
            ("rate = 5\npeak = 9\nshape = \"spike\"", 9.0),
            ("rate = 10\namplitude = 0.5\nshape = \"sine\"", 15.0),
        ] {
            assert_eq!(stage(toml).highest_rate(), highest, "{toml}");
        }
    }

    #[test]
    fn a_constant_stage_is_written_as_it_always_was() {
        let written = toml::to_string(&Stage::constant(5.0, Span::from_secs(2))).unwrap();
        assert_eq!(written, "rate = 5.0\nfor = \"2s\"\n");
    }

    #[test]
    fn a_shape_is_named_as_it_is_written() {
        for shape in [StageShape::Constant, StageShape::Ramp, StageShape::Steps, StageShape::Spike, StageShape::Sine] {
            assert_eq!(serde_json::to_value(shape).unwrap(), shape.name());
        }
    }
}

//! Two runs side by side, when they are runs of the same experiment.
//!
//! What differs between unlike scenarios says nothing about the system, so such pairs are refused with the keys that
//! differ. A pair of like runs shows differences with sample sizes and no verdict: one pair is not statistics.

mod metrics;

use std::fmt;

use millrace_scenarios::Scenario;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    humanize::{NOT_AVAILABLE, bytes, count, decimal, duration_us, percent, rate, usd},
    record::{Outcome, RunInfo, RunRecord},
    text::{
        MAX_WIDTH,
        layout::{Align, Ink, Page},
    },
};

/// Keys of a scenario that may differ between like runs: which draw it was, and where its output went.
const MAY_DIFFER: [&str; 3] = ["seed", "delivery.lake", "table.location"];

/// Said under every comparison.
pub const ONE_PAIR: &str = "One pair of runs is not statistics: a difference here may be noise. Repeat both, interleaved, before believing it.";

/// Two runs that can be compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The first run.
    pub a: RunInfo,
    /// The second run.
    pub b: RunInfo,
    /// What a reader has to know before the numbers: other machine, other version, a run that is not valid.
    pub notes: Vec<String>,
    /// Every metric that at least one of the runs has.
    pub metrics: Vec<MetricPair>,
}

/// One metric in both runs.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricPair {
    /// What is measured: `response p99`.
    pub name: String,
    /// Its unit.
    pub unit: Unit,
    /// The first run's value; absent when it was not measured or its sample is too small.
    pub a: Option<Sample>,
    /// The second run's value.
    pub b: Option<Sample>,
}

/// A value and how many records, calls or rows it was taken from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// The value in the metric's unit.
    pub value: f64,
    /// The sample size.
    pub n: u64,
}

/// What a metric's number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Records, objects, rows.
    Count,
    /// Microseconds.
    Microseconds,
    /// Bytes.
    Bytes,
    /// Records per second.
    PerSecond,
    /// A share of one.
    Share,
    /// US dollars.
    Usd,
}

/// Why two runs cannot be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlike {
    /// Every key of the scenario that differs.
    pub differences: Vec<Difference>,
}

/// One key of the scenario in both runs, as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The key's path: `load.stages[0].rate`.
    pub key: String,
    /// Its value in the first run; absent when the key is.
    pub a: Option<String>,
    /// Its value in the second run.
    pub b: Option<String>,
}

/// Sets two runs of one scenario side by side.
///
/// # Errors
/// [`Unlike`] when the scenarios differ in anything but the seed, `delivery.lake` and `table.location`.
pub fn compare(a: &RunRecord, b: &RunRecord) -> Result<Comparison, Unlike> {
    let mut differences = Vec::new();
    differing("", Some(&complete(&a.scenario)), Some(&complete(&b.scenario)), &mut differences);
    if !differences.is_empty() {
        return Err(Unlike { differences });
    }
    Ok(Comparison { a: a.run.clone(), b: b.run.clone(), notes: notes(a, b), metrics: metrics::pairs(a, b) })
}

/// The scenario with every key in it: one that is younger than the record is as it was without it, at its default.
fn complete(scenario: &Value) -> Value {
    let typed = Scenario::deserialize(scenario).and_then(serde_json::to_value);
    typed.unwrap_or_else(|_| scenario.clone())
}

fn differing(path: &str, a: Option<&Value>, b: Option<&Value>, found: &mut Vec<Difference>) {
    if a == b || MAY_DIFFER.contains(&path) {
        return;
    }
    match (a, b) {
        (Some(Value::Object(left)), Some(Value::Object(right))) => {
            let keys: std::collections::BTreeSet<_> = left.keys().chain(right.keys()).collect();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                differing(&path, left.get(key), right.get(key), found);
            }
        }
        (Some(Value::Array(left)), Some(Value::Array(right))) => {
            for n in 0..left.len().max(right.len()) {
                differing(&format!("{path}[{n}]"), left.get(n), right.get(n), found);
            }
        }
        _ => {
            let text = |value: Option<&Value>| value.map(ToString::to_string);
            found.push(Difference { key: path.to_owned(), a: text(a), b: text(b) });
        }
    }
}

fn notes(a: &RunRecord, b: &RunRecord) -> Vec<String> {
    let mut notes = Vec::new();
    for (side, record) in [("a", a), ("b", b)] {
        let outcome = record.verdict.outcome;
        if matches!(outcome, Outcome::HarnessLimited | Outcome::Interrupted | Outcome::Failed) {
            notes.push(format!("{side} is {}: its numbers are not a valid measurement.", outcome.word()));
        }
    }
    let mut differs = |what: &str, left: &str, right: &str| {
        if left != right {
            notes.push(format!("{what} differs: a {left}, b {right}."));
        }
    };
    differs("The target", &a.run.target, &b.run.target);
    differs("The version", &a.run.millrace_version, &b.run.millrace_version);
    differs("The seed", &a.run.seed.to_string(), &b.run.seed.to_string());
    differs("The legs run", &a.run.legs.join(" "), &b.run.legs.join(" "));
    let keys: std::collections::BTreeSet<_> = a.run.host.keys().chain(b.run.host.keys()).collect();
    for key in keys {
        let of = |run: &RunInfo| run.host.get(key).cloned().unwrap_or_else(|| NOT_AVAILABLE.to_owned());
        differs(&format!("The host's {key}"), &of(&a.run), &of(&b.run));
    }
    if a.run.seed == b.run.seed && a.load.is_some() && b.load.is_some() && a.run.fingerprint != b.run.fingerprint {
        notes.push(
            "The records sent differ although the seed is the same: the source's data or the generator changed."
                .to_owned(),
        );
    }
    notes
}

impl MetricPair {
    /// How much larger the second value is than the first, as a share of the first; absent when either value is, or
    /// when something is measured against nothing.
    #[must_use]
    pub fn difference(&self) -> Option<f64> {
        let (a, b) = (self.a?.value, self.b?.value);
        let share = if a == b { 0.0 } else { (b - a) / a };
        share.is_finite().then_some(share)
    }
}

impl Unit {
    /// The value as people read it.
    #[must_use]
    pub fn show(self, value: f64) -> String {
        let whole = value.max(0.0).round() as u64;
        match self {
            Self::Count => count(whole),
            Self::Microseconds => duration_us(whole),
            Self::Bytes => bytes(whole),
            Self::PerSecond => rate(value),
            Self::Share => percent(value),
            Self::Usd => usd(value),
        }
    }
}

impl Comparison {
    /// The comparison for a terminal: no line wider than `width` (40 to [`MAX_WIDTH`] columns).
    #[must_use]
    pub fn text(&self, width: usize, color: bool) -> String {
        let mut page = Page::new(width.clamp(40, MAX_WIDTH), color);
        page.spans(&[(Ink::Plain, "a  "), (Ink::Bold, &self.a.id)]);
        page.spans(&[(Ink::Plain, "b  "), (Ink::Bold, &self.b.id)]);
        for note in &self.notes {
            page.wrapped(Ink::Warn, "!  ", note);
        }
        let right = Align::Right;
        let header = ["metric", "a", "n", "b", "n", "b against a"].map(str::to_owned).to_vec();
        let rows = self.metrics.iter().map(|metric| {
            let show =
                |side: Option<Sample>| side.map_or_else(|| NOT_AVAILABLE.to_owned(), |s| metric.unit.show(s.value));
            let n = |side: Option<Sample>| side.map_or_else(|| NOT_AVAILABLE.to_owned(), |s| count(s.n));
            vec![metric.name.clone(), show(metric.a), n(metric.a), show(metric.b), n(metric.b), difference(metric)]
        });
        page.table(header, rows.collect(), &[Align::Left, right, right, right, right, right]);
        page.heading("note");
        page.wrapped(Ink::Plain, "", ONE_PAIR);
        page.finish()
    }
}

fn difference(metric: &MetricPair) -> String {
    match metric.difference() {
        None => NOT_AVAILABLE.to_owned(),
        Some(0.0) => "same".to_owned(),
        Some(share) => format!("{}{} %", if share > 0.0 { "+" } else { "" }, decimal(share * 100.0)),
    }
}

impl fmt::Display for Unlike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "these are runs of different experiments; the scenarios differ in ")?;
        for (n, difference) in self.differences.iter().enumerate() {
            let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "absent".to_owned());
            let comma = if n > 0 { ", " } else { "" };
            write!(f, "{comma}{} (a: {}, b: {})", difference.key, side(&difference.a), side(&difference.b))?;
        }
        Ok(())
    }
}

impl std::error::Error for Unlike {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn metric<'a>(comparison: &'a Comparison, name: &str) -> &'a MetricPair {
        comparison.metrics.iter().find(|m| m.name == name).unwrap_or_else(|| panic!("{name} is not compared"))
    }

    #[test]
    fn unlike_scenarios_are_refused_by_the_keys_that_differ() {
        let (a, mut b) = (sample::full(), sample::full());
        b.scenario["load"]["stages"][0]["rate"] = 900.0.into();
        b.scenario["source"]["path"] = "other.csv".into();
        b.scenario["slo"].as_array_mut().unwrap().pop();
        let unlike = compare(&a, &b).unwrap_err();
        let keys: Vec<_> = unlike.differences.iter().map(|d| d.key.as_str()).collect();
        assert_eq!(keys, ["load.stages[0].rate", "slo[1]", "source.path"]);
        let text = unlike.to_string();
        assert!(
            text.contains("load.stages[0].rate (a: 500.0, b: 900.0)") && text.contains("source.path (a: absent"),
            "{text}"
        );
    }

    #[test]
    fn a_key_that_is_younger_than_a_record_has_its_default_there() {
        let (mut a, mut b) = (sample::full(), sample::full());
        assert!(a.scenario["load"].as_object_mut().unwrap().remove("in_flight").is_some());
        assert!(compare(&a, &b).is_ok());
        b.scenario["load"]["in_flight"] = 17.into();
        let unlike = compare(&a, &b).unwrap_err().to_string();
        assert!(unlike.contains("load.in_flight (a: 16, b: 17)"), "{unlike}");
    }

    #[test]
    fn seed_and_places_may_differ() {
        let (a, mut b) = (sample::full(), sample::full());
        b.scenario["seed"] = 7.into();
        b.run.seed = 7;
        b.scenario["delivery"]["lake"] = "s3://elsewhere/lake".into();
        b.scenario["table"]["location"] = "/elsewhere".into();
        let comparison = compare(&a, &b).unwrap();
        assert_eq!(comparison.notes, ["The seed differs: a 42, b 7."]);
    }

    #[test]
    fn a_known_change_is_shown_as_its_percentage_with_sample_sizes() {
        let (a, mut b) = (sample::full(), sample::full());
        b.load.as_mut().unwrap().accepted_rate = a.load.as_ref().unwrap().accepted_rate * 1.5;
        b.queries[0].measurements[2].bytes = a.queries[0].measurements[2].bytes / 4;
        let comparison = compare(&a, &b).unwrap();
        let rate = metric(&comparison, "accepted rate");
        assert!((rate.difference().unwrap() - 0.5).abs() < 1e-9);
        assert_eq!(rate.a.unwrap().n, 29_988);
        assert_eq!(metric(&comparison, "by severity: table bytes").difference(), Some(-0.75));
        assert_eq!(metric(&comparison, "response p99").difference(), Some(0.0));
        let text = comparison.text(100, false);
        assert!(text.contains("+50 %") && text.contains("-75 %") && text.contains("is not statistics"), "{text}");
        assert!(text.lines().all(|l| l.chars().count() <= 100), "{text}");
    }

    #[test]
    fn a_change_from_nothing_has_no_percentage() {
        let sample = |value| Some(Sample { value, n: 1 });
        let pair = |a, b| MetricPair { name: String::new(), unit: Unit::Count, a, b };
        assert_eq!(pair(sample(0.0), sample(5.0)).difference(), None);
        assert_eq!(pair(sample(0.0), sample(0.0)).difference(), Some(0.0));
        assert_eq!(pair(None, sample(5.0)).difference(), None);
    }

    #[test]
    fn an_invalid_run_another_machine_and_another_fingerprint_are_said_first() {
        let (a, mut b) = (sample::full(), sample::limited());
        b.run.host.insert("cores".to_owned(), "64".to_owned());
        b.run.fingerprint = "00".to_owned();
        let text = compare(&a, &b).unwrap().text(100, false);
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part:?} is not in\n{text}"));
        assert!(at("b is HARNESS-LIMITED") < at("accepted rate"));
        assert!(at("The host's cores differs: a 2, b 64.") < at("The records sent differ"));
    }

    #[test]
    fn a_leg_that_only_one_run_has_is_not_available_in_the_other() {
        let comparison = compare(&sample::full(), &sample::load_only()).unwrap();
        let committed = metric(&comparison, "committed p99");
        assert!(committed.a.is_some() && committed.b.is_none() && committed.difference().is_none());
        assert!(comparison.text(80, false).contains(NOT_AVAILABLE));
        let nothing = compare(&sample::zero(), &sample::compact_only()).unwrap();
        assert!(!nothing.text(100, true).contains("NaN"));
    }
}

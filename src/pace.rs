//! The load in a few words, and how finely it is shown over time.

use std::time::Duration;

use millrace_loadgen::timetable::Timetable;
use millrace_scenarios::{Arrival, RateUnit, Scenario, Span, Stage, StageShape};

/// A run's rows over time: at least a second each, and at most this many.
const MOST_INTERVALS: u64 = 300;
/// The length of a row where nobody knows how long the load will last.
const OPEN_INTERVAL: Duration = Duration::from_secs(10);

/// The length of one row over time.
pub(crate) fn interval(scenario: &Scenario) -> Duration {
    match Timetable::new(&scenario.load, scenario.seed).total_us() {
        Some(total_us) => Duration::from_secs((total_us / 1_000_000).div_ceil(MOST_INTERVALS).max(1)),
        None => OPEN_INTERVAL,
    }
}

/// The load as it is announced: `800 rec/s for 30s`, stage by stage.
pub(crate) fn announced(scenario: &Scenario) -> String {
    let load = &scenario.load;
    if load.arrival == Arrival::Trace {
        let limit = load.trace_for.map(|limit| format!(" for {limit}")).unwrap_or_default();
        return format!("a trace at {} times its speed{limit}", load.trace_speed);
    }
    let stages: Vec<_> = load.stages.iter().map(|stage| described(stage, load.unit)).collect();
    let changes = scenario.event.iter().filter_map(|event| Some((event.at, event.rate?)));
    let changes: String = changes.map(|(at, factor)| format!("; from {at} on, {factor} times that")).collect();
    stages.join(", then ") + &changes
}

fn described(stage: &Stage, unit: RateUnit) -> String {
    let (per_second, noun) = match unit {
        RateUnit::Records => ("rec/s", "records"),
        RateUnit::Bytes => ("B/s", "bytes"),
    };
    let rate = stage.rate;
    let to = stage.to.unwrap_or(rate);
    let span = |span: Option<Span>| span.map_or_else(String::new, |span| span.to_string());
    let rates = match stage.shape {
        StageShape::Constant => format!("{rate} {per_second}"),
        StageShape::Ramp => format!("{rate} to {to} {per_second}"),
        StageShape::Steps => format!("{rate} to {to} {per_second} in {} steps", stage.steps.unwrap_or(1)),
        StageShape::Spike => {
            format!("{rate} {per_second} with {} for {} in the middle", stage.peak.unwrap_or(rate), span(stage.width))
        }
        StageShape::Sine => {
            let swing = stage.amplitude.unwrap_or(0.0) * 100.0;
            format!("{rate} {per_second} ± {swing:.0} % every {}", span(stage.period))
        }
    };
    match (stage.duration, stage.count) {
        (Some(duration), _) => format!("{rates} for {duration}"),
        (None, Some(count)) => format!("{rates} until {count} {noun}"),
        (None, None) => rates,
    }
}

#[cfg(test)]
mod tests {
    use millrace_scenarios::{Overrides, read};

    use super::*;

    fn scenario(set: &[&str]) -> Scenario {
        let set = set.iter().map(ToString::to_string).collect();
        read(std::path::Path::new("sensors"), &Overrides { set, ..Overrides::default() }).unwrap()
    }

    #[test]
    fn every_shape_is_announced_in_its_own_words() {
        for (stage, words) in [
            (r#"{ rate = 800, for = "30s" }"#, "800 rec/s for 30s"),
            (r#"{ rate = 5, count = 20 }"#, "5 rec/s until 20 records"),
            (r#"{ shape = "ramp", rate = 0, to = 9.5, for = "2m" }"#, "0 to 9.5 rec/s for 2m"),
            (r#"{ shape = "steps", rate = 1, to = 9, steps = 3, for = "2m" }"#, "1 to 9 rec/s in 3 steps for 2m"),
            (
                r#"{ shape = "spike", rate = 1, peak = 9, width = "1s", for = "5s" }"#,
                "1 rec/s with 9 for 1s in the middle for 5s",
            ),
            (
                r#"{ shape = "sine", rate = 10, amplitude = 0.5, period = "1m", for = "5m" }"#,
                "10 rec/s ± 50 % every 1m for 5m",
            ),
        ] {
            assert_eq!(announced(&scenario(&[&format!("load.stages=[{stage}]")])), words);
        }
        let chain = r#"load.stages=[{ rate = 1, for = "1s" }, { rate = 0, for = "2s" }]"#;
        assert_eq!(announced(&scenario(&[chain, "load.unit=bytes"])), "1 B/s for 1s, then 0 B/s for 2s");
        let event = "event=[{ at = \"500ms\", rate = 3.0 }]";
        let words = "1 rec/s for 1s, then 0 rec/s for 2s; from 500ms on, 3 times that";
        assert_eq!(announced(&scenario(&[chain, event])), words);
    }

    #[test]
    fn a_row_is_a_second_or_a_three_hundredth_and_ten_seconds_where_nobody_knows() {
        let stages = |span: &str| format!("load.stages=[{{ rate = 1, for = \"{span}\" }}]");
        for (span, seconds) in [("10ms", 1), ("300s", 1), ("301s", 2), ("24h", 288)] {
            assert_eq!(interval(&scenario(&[&stages(span)])), Duration::from_secs(seconds), "{span}");
        }
        let mut open = scenario(&[]);
        open.load.arrival = Arrival::Trace;
        assert_eq!((interval(&open), announced(&open).as_str()), (OPEN_INTERVAL, "a trace at 1 times its speed"));
        open.load.trace_for = Some(Span::from_secs(600));
        assert_eq!(interval(&open), Duration::from_secs(2));
        assert_eq!(announced(&open), "a trace at 1 times its speed for 10m");
    }
}

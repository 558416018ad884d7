//! `--rate` and `--for`: one factor for all stages, so that a scenario keeps its form at another size.
//!
//! The stages are scaled in the tree, before typing, so that what comes out obeys the same checks as the file.

use crate::{
    error::{Fault, Origin, Text},
    overrides::{Overrides, add_flag},
    stage::Stage,
    tree::{Data, Node},
    units::Span,
};

impl Overrides {
    /// Scales the load by `--rate` and `--for`. The tree has the right shape by now. Where a stage has no rate or length
    /// to scale (zero or less), it stays as it is, and validation refuses it.
    pub(crate) fn scale(&self, root: &mut Node, texts: &mut Vec<Text>) -> Vec<Fault> {
        let mut faults = Vec::new();
        let Some(load) = entry_mut(root, "load") else { return faults };
        let trace = matches!(&load.at("arrival").data, Data::Text(arrival) if arrival == "trace");
        if let Some(rate) = self.rate {
            let flag = add_flag(texts, "--rate", &rate.to_string());
            if trace {
                let help = "set its speed instead: --set load.trace_speed=3600";
                faults.push(Fault::new(&flag, "a trace has no rate of its own", help));
            } else if rate.is_finite() && rate > 0.0 {
                scale_rates(stages(load), rate, &flag);
            } else {
                faults.push(Fault::new(&flag, "the rate must be above zero", "write records per second, such as 500"));
            }
        }
        if let Some(duration) = self.duration {
            let flag = add_flag(texts, "--for", &duration.to_string());
            if duration.is_zero() {
                faults.push(Fault::new(
                    &flag,
                    "the load must last longer than nothing",
                    "write a span of time such as 30s",
                ));
            } else if trace {
                put(load, "trace_for", Data::Text(duration.to_string()), &flag);
            } else {
                scale_spans(stages(load), duration, &flag);
            }
        }
        faults
    }
}

fn entry_mut<'n>(node: &'n mut Node, key: &str) -> Option<&'n mut Node> {
    match &mut node.data {
        Data::Table(entries) => entries.get_mut(key),
        _ => None,
    }
}

fn stages(load: &mut Node) -> &mut [Node] {
    match entry_mut(load, "stages").map(|stages| &mut stages.data) {
        Some(Data::List(stages)) => stages,
        _ => &mut [],
    }
}

fn put(node: &mut Node, key: &str, data: Data, flag: &Origin) {
    if let Data::Table(entries) = &mut node.data {
        entries.insert(key.to_owned(), Node::leaf(data, flag));
    }
}

/// The stage as typed data. What has no type yet is left for validation, as is what makes no sense.
fn typed(stage: &Node) -> Stage {
    serde_json::from_value(stage.to_json()).unwrap_or_default()
}

fn number(node: &Node) -> Option<f64> {
    match node.data {
        Data::Integer(number) => Some(number as f64),
        Data::Float(number) => Some(number),
        _ => None,
    }
}

/// A sine is as high as its crest; its amplitude is a share, and stays.
fn scale_rates(stages: &mut [Node], rate: f64, flag: &Origin) {
    let highest = stages.iter().map(|stage| typed(stage).highest_rate()).fold(0.0, f64::max);
    for stage in stages {
        for key in ["rate", "to", "peak"] {
            if let Some(own) = stage.child(key).and_then(number).filter(|own| *own > 0.0) {
                put(stage, key, Data::Float(rate * (own / highest)), flag);
            }
        }
    }
}

/// Scales the ends of the stages rather than their lengths, so that rounding to microseconds never adds up. Spikes and
/// waves within a stage are scaled with it. A stage that had a count has a length afterwards.
fn scale_spans(stages: &mut [Node], duration: Span, flag: &Origin) {
    let total: u128 = stages.iter().map(|stage| u128::from(typed(stage).length_us())).sum();
    let scaled = |us: u128| (us * u128::from(duration.as_us()) + total / 2) / total;
    let (mut end_us, mut scaled_us) = (0, 0);
    for stage in stages {
        let own = typed(stage);
        if own.length_us() == 0 {
            continue;
        }
        end_us += u128::from(own.length_us());
        let end = scaled(end_us);
        let length_us = end - scaled_us;
        scaled_us = end;
        put(stage, "for", Data::Text(format!("{length_us}us")), flag);
        if let Data::Table(entries) = &mut stage.data {
            entries.remove("count");
        }
        for (key, span) in [("width", own.width), ("period", own.period)] {
            if let Some(span) = span {
                put(stage, key, Data::Text(format!("{}us", scaled(u128::from(span.as_us())))), flag);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scaled(stages: &[(f64, u64)], overrides: &Overrides) -> Vec<(f64, u64)> {
        let text: Vec<_> = stages.iter().map(|(rate, us)| format!("{{rate = {rate:?}, for = \"{us}us\"}}")).collect();
        let mut root = Node::parse(&format!("[load]\nstages = [{}]", text.join(", ")), 0).unwrap();
        assert!(overrides.scale(&mut root, &mut Vec::new()).is_empty());
        stages_of(&root)
    }

    fn stages_of(root: &Node) -> Vec<(f64, u64)> {
        let Data::List(stages) = &root.at("load").at("stages").data else { panic!() };
        stages.iter().map(typed).map(|stage| (stage.rate, stage.length_us())).collect()
    }

    fn typed_load(toml: &str, overrides: &Overrides) -> crate::Load {
        let mut root = Node::parse(toml, 0).unwrap();
        assert!(overrides.scale(&mut root, &mut Vec::new()).is_empty());
        serde_json::from_value(root.at("load").to_json()).unwrap()
    }

    #[test]
    fn every_rate_of_a_shape_is_scaled_and_a_sine_is_as_high_as_its_crest() {
        let rate = Overrides { rate: Some(100.0), ..Default::default() };
        let load = typed_load(
            "[load]\nstages = [{ rate = 0, to = 50, shape = \"ramp\", for = \"1s\" }, \
             { rate = 10, peak = 40, width = \"1s\", shape = \"spike\", for = \"3s\" }]",
            &rate,
        );
        assert_eq!((load.stages[0].rate, load.stages[0].to), (0.0, Some(100.0)));
        assert_eq!((load.stages[1].rate, load.stages[1].peak), (20.0, Some(80.0)));
        let sine =
            "[load]\nstages = [{ rate = 10, amplitude = 0.25, period = \"8s\", shape = \"sine\", for = \"8s\" }]";
        let stage = typed_load(sine, &rate).stages[0];
        assert_eq!((stage.rate, stage.amplitude, stage.highest_rate()), (80.0, Some(0.25), 100.0));
    }

    #[test]
    fn spikes_and_waves_are_scaled_with_their_stage_and_a_count_becomes_a_length() {
        let overrides = Overrides { duration: Some(Span::from_secs(4)), ..Default::default() };
        let load = typed_load(
            "[load]\nstages = [{ rate = 10, peak = 40, width = \"3s\", shape = \"spike\", for = \"9s\" }, \
             { rate = 10, amplitude = 1, period = \"1s\", shape = \"sine\", for = \"20s\" }, \
             { rate = 10, to = 30, shape = \"ramp\", count = 220 }]",
            &overrides,
        );
        let us = |span: Option<Span>| span.map(Span::as_us);
        assert_eq!((us(load.stages[0].duration), us(load.stages[0].width)), (Some(900_000), Some(300_000)));
        assert_eq!((us(load.stages[1].duration), us(load.stages[1].period)), (Some(2_000_000), Some(100_000)));
        assert_eq!((us(load.stages[2].duration), load.stages[2].count), (Some(1_100_000), None));
    }

    #[test]
    fn a_trace_is_cut_by_its_flag_and_has_no_rate() {
        let toml = "[load]\narrival = \"trace\"\n";
        let overrides = Overrides { duration: Some(Span::from_secs(4)), ..Default::default() };
        assert_eq!(typed_load(toml, &overrides).trace_for, Some(Span::from_secs(4)));
        let mut root = Node::parse(toml, 0).unwrap();
        let faults = Overrides { rate: Some(5.0), ..Default::default() }.scale(&mut root, &mut Vec::new());
        assert!(faults[0].message.contains("no rate"), "{faults:?}");
    }

    #[test]
    fn rate_is_exact_for_one_stage_and_the_peak_of_several() {
        let overrides = Overrides { rate: Some(300.0), ..Default::default() };
        assert_eq!(scaled(&[(7.3, 1)], &overrides), [(300.0, 1)]);
        assert_eq!(scaled(&[(50.0, 1), (100.0, 2), (25.0, 3)], &overrides), [(150.0, 1), (300.0, 2), (75.0, 3)]);
    }

    #[test]
    fn stages_without_a_rate_or_length_are_left_for_validation_to_refuse() {
        let overrides = Overrides { rate: Some(3.0), duration: Some(Span::from_secs(1)), ..Default::default() };
        assert_eq!(scaled(&[(0.0, 0)], &overrides), [(0.0, 0)]);
        assert_eq!(scaled(&[], &overrides), []);
    }

    proptest! {
        #[test]
        fn scaled_lengths_sum_to_exactly_what_was_asked(
            lengths in proptest::collection::vec(1_u64..10_000_000_000, 1..8),
            asked_ms in 1_u64..10_000_000,
        ) {
            let stages: Vec<_> = lengths.iter().map(|us| (1.0, *us)).collect();
            let overrides = Overrides { duration: Some(Span::from_millis(asked_ms)), ..Default::default() };
            let got = scaled(&stages, &overrides);
            prop_assert_eq!(got.iter().map(|(_, us)| us).sum::<u64>(), asked_ms * 1000);
            let total: u64 = lengths.iter().sum();
            for ((_, us), own) in got.iter().zip(&lengths) {
                let exact = *own as f64 * (asked_ms * 1000) as f64 / total as f64;
                prop_assert!((*us as f64 - exact).abs() <= 1.0 + exact * 1e-12, "{} {}", us, exact);
            }
        }
    }
}

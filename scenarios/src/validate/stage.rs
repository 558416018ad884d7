//! The stages and what takes their place in a trace: which keys a shape or an arrival process needs, and what they may
//! say.

use crate::{
    error::Fault,
    model::{Arrival, AtEnd, Load, RateUnit, Source, SourceKind},
    stage::{Stage, StageShape},
    tree::Node,
    units::Span,
    usage,
    validate::source::idle,
};

/// Records per second above which a rate is a slip of the pen: ten thousand shards take no more.
const MAX_RECORD_RATE: f64 = 10_000_000.0;
/// The same for bytes per second: a MiB for each of those shards.
const MAX_BYTE_RATE: f64 = 10_485_760_000.0;
/// More stairs than this are a ramp.
const STAIRS: std::ops::RangeInclusive<u32> = 2..=1_000;
/// The shortest wave: below it, a due time of whole microseconds no longer follows.
const SHORTEST_PERIOD: Span = Span::from_millis(1);

/// The stages of a schedule, or what a trace says instead.
pub(super) fn check(load: &Load, source: &Source, node: &Node) -> Vec<Fault> {
    // An empty list says nothing, which lets a flag make a trace of a scenario that has stages: --set load.stages=[].
    let mut faults: Vec<Fault> = usage::unused_load(load)
        .filter(|(key, _)| *key != "stages" || !load.stages.is_empty())
        .filter_map(|(key, users)| idle("load", "arrival", key, users, node))
        .collect();
    if load.arrival == Arrival::Trace {
        faults.extend(trace(load, source, node));
        return faults;
    }
    let stages = node.at("stages");
    if load.stages.is_empty() {
        let help = "add a stage: stages = [{ rate = 500, for = \"30s\" }]";
        faults.push(stages.fault("there is nothing to send", help));
    }
    let of_stages: Vec<Fault> =
        load.stages.iter().enumerate().flat_map(|(index, s)| stage(s, load.unit, stages.item(index))).collect();
    // A stage may be a pause, but not every stage.
    if of_stages.is_empty() && !load.stages.is_empty() && load.stages.iter().all(|stage| stage.highest_rate() <= 0.0) {
        let help = "write a rate such as 500 in one of the stages; zero is a pause";
        faults.push(stages.item(0).at("rate").fault("the rate must be above zero in one stage", help));
    }
    faults.extend(of_stages);
    faults
}

fn stage(stage: &Stage, unit: RateUnit, node: &Node) -> Vec<Fault> {
    let mut faults: Vec<Fault> =
        usage::unused_stage(stage).filter_map(|(key, users)| idle("load.stages", "shape", key, users, node)).collect();
    let is = |shape| stage.shape == shape;
    for (shapes, key, written, example) in [
        (&[StageShape::Ramp, StageShape::Steps][..], "to", stage.to.is_some(), "to = 1000"),
        (&[StageShape::Steps], "steps", stage.steps.is_some(), "steps = 5"),
        (&[StageShape::Spike], "peak", stage.peak.is_some(), "peak = 2000"),
        (&[StageShape::Spike], "width", stage.width.is_some(), "width = \"5s\""),
        (&[StageShape::Sine], "amplitude", stage.amplitude.is_some(), "amplitude = 0.8"),
        (&[StageShape::Sine], "period", stage.period.is_some(), "period = \"20s\""),
    ] {
        if shapes.contains(&stage.shape) && !written {
            let message = format!("a stage of shape = \"{}\" has no `{key}`", stage.shape.name());
            faults.push(node.fault(message, format!("add {example}")));
        }
    }
    faults.extend(rates(stage, unit, node));
    let lengths = length(stage, node);
    // A stage of no length has room for nothing; that is said once.
    let length_us = if lengths.is_empty() { stage.length_us() } else { u64::MAX };
    faults.extend(lengths);
    let mut refuse = |wrong: bool, key: &str, message: &str, help: &str| {
        if wrong {
            faults.push(node.at(key).fault(message, help));
        }
    };
    let share = |value: Option<f64>| value.is_some_and(|value| !(0.0..=1.0).contains(&value));
    refuse(
        is(StageShape::Steps) && stage.steps.is_some_and(|steps| !STAIRS.contains(&steps)),
        "steps",
        "a stair has 2 to 1000 steps",
        "write 2 to 1000, or shape = \"ramp\" for a straight line",
    );
    refuse(
        is(StageShape::Spike) && stage.width.is_some_and(|width| width.is_zero() || width.as_us() >= length_us),
        "width",
        "the spike does not fit in its stage",
        "write a span above zero and shorter than `for`",
    );
    refuse(
        is(StageShape::Sine) && share(stage.amplitude),
        "amplitude",
        "the swing is a share of the rate, 0 to 1",
        "write for example 0.8: from a fifth of the rate to nine fifths of it",
    );
    refuse(
        is(StageShape::Sine) && stage.period.is_some_and(|period| period < SHORTEST_PERIOD),
        "period",
        "the wave is too short to follow",
        "write \"1ms\" or more",
    );
    refuse(
        is(StageShape::Sine) && share(stage.phase),
        "phase",
        "the phase is a share of the period, 0 to 1",
        "write for example 0.75 to start in the trough",
    );
    faults
}

fn rates(stage: &Stage, unit: RateUnit, node: &Node) -> Vec<Fault> {
    let (limit, noun) = match unit {
        RateUnit::Records => (MAX_RECORD_RATE, "records"),
        RateUnit::Bytes => (MAX_BYTE_RATE, "bytes"),
    };
    let mut faults = Vec::new();
    for (key, rate) in [("rate", Some(stage.rate)), ("to", stage.to), ("peak", stage.peak)] {
        let Some(rate) = rate else { continue };
        let node = node.at(key);
        if rate < 0.0 {
            faults.push(node.fault("the rate must be above zero", format!("write {noun} per second, such as 500")));
        }
        if rate > limit {
            faults.push(node.fault("the rate is out of reach", format!("write at most {limit} {noun} per second")));
        }
    }
    faults
}

/// Exactly one of `for` and `count`, and a stage that takes time.
fn length(stage: &Stage, node: &Node) -> Vec<Fault> {
    // A count under a shape that has none is refused as such.
    let counted = stage.count.is_some() && !usage::unused_stage(stage).any(|(key, _)| key == "count");
    match (stage.duration, counted) {
        (None, false) => vec![node.fault("a stage has no `for`", "add a span of time, such as for = \"30s\"")],
        (Some(_), true) => {
            let help = "keep `for` for a length or `count` for a number; the rate gives the other";
            vec![node.at("count").key_fault("a stage has `for` and `count`", help)]
        }
        (None, true) if stage.count == Some(0) => {
            vec![node.at("count").fault("the stage has no length", "write how many are due in it, 1 or more")]
        }
        (None, true) if stage.highest_rate() <= 0.0 => {
            vec![node.at("count").fault("a pause never comes to a count", "write a rate above zero, or `for`")]
        }
        _ if stage.length_us() == 0 => {
            vec![
                node.at(if counted { "count" } else { "for" })
                    .fault("the stage has no length", "write a span of time, such as \"30s\""),
            ]
        }
        _ => Vec::new(),
    }
}

fn trace(load: &Load, source: &Source, node: &Node) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut refuse = |wrong: bool, key: &str, message: &str, help: &str| {
        if wrong {
            faults.push(node.at(key).fault(message, help));
        }
    };
    refuse(
        load.trace_speed <= 0.0,
        "trace_speed",
        "a trace moves on",
        "write seconds of event time per second: 1 for real time, 3600 for an hour a second",
    );
    refuse(
        load.trace_for.is_some_and(Span::is_zero),
        "trace_for",
        "the load must last longer than nothing",
        "write a span of time, such as \"30s\"",
    );
    refuse(
        source.kind != SourceKind::Accidents && load.trace_for.is_none(),
        "arrival",
        "this source never ends, and neither would its trace",
        "add how long it is replayed, such as trace_for = \"30s\"",
    );
    // A file that starts again jumps back in time: nobody knows when its second pass should be due.
    refuse(
        source.kind == SourceKind::Accidents && source.at_end == AtEnd::Loop,
        "arrival",
        "a trace has one pass, and the source loops",
        "add at_end = \"stop\" to [source]",
    );
    faults
}

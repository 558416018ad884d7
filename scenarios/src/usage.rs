//! Which keys a kind of source or of keys uses: one table for validation, which refuses a key that would do nothing,
//! and for printing, which leaves it out.

use crate::{
    fault::{FaultKind, InjectedFault},
    model::{Arrival, KeyKind, Keys, Load, Reading, RecordFormat, Scenario, Source, SourceKind},
    stage::{Stage, StageShape},
};

const SOURCE: [(&str, &[SourceKind]); 8] = [
    ("path", &[SourceKind::Accidents]),
    ("rows", &[SourceKind::Accidents]),
    ("at_end", &[SourceKind::Accidents]),
    ("sensors", &[SourceKind::Sensors]),
    ("epoch", &[SourceKind::Sensors, SourceKind::Weather]),
    ("interval", &[SourceKind::Sensors, SourceKind::Weather]),
    ("live", &[SourceKind::Weather]),
    ("url", &[SourceKind::Weather]),
];

const KEYS: [(&str, &[KeyKind]); 6] = [
    ("field", &[KeyKind::Field]),
    ("distinct", &[KeyKind::Uniform, KeyKind::Zipf, KeyKind::HotSet, KeyKind::Latest, KeyKind::Sequential]),
    ("exponent", &[KeyKind::Zipf, KeyKind::Latest]),
    ("hot", &[KeyKind::HotSet]),
    ("hot_share", &[KeyKind::HotSet]),
    ("path", &[KeyKind::File]),
];

const LOAD: [(&str, &[Arrival]); 4] = [
    ("stages", &[Arrival::Constant, Arrival::Poisson]),
    ("unit", &[Arrival::Constant, Arrival::Poisson]),
    ("trace_speed", &[Arrival::Trace]),
    ("trace_for", &[Arrival::Trace]),
];

const STAGE: [(&str, &[StageShape]); 8] = [
    ("count", &[StageShape::Constant, StageShape::Ramp, StageShape::Steps]),
    ("to", &[StageShape::Ramp, StageShape::Steps]),
    ("steps", &[StageShape::Steps]),
    ("peak", &[StageShape::Spike]),
    ("width", &[StageShape::Spike]),
    ("amplitude", &[StageShape::Sine]),
    ("period", &[StageShape::Sine]),
    ("phase", &[StageShape::Sine]),
];

const FAULT: [(&str, &[FaultKind]); 13] = [
    ("operations", &[FaultKind::Latency, FaultKind::Stall, FaultKind::Drop, FaultKind::Error, FaultKind::Throttle]),
    ("share", &[FaultKind::Latency, FaultKind::Drop, FaultKind::Error, FaultKind::Throttle]),
    ("latency", &[FaultKind::Latency]),
    ("distribution", &[FaultKind::Latency]),
    ("p50", &[FaultKind::Latency]),
    ("p99", &[FaultKind::Latency]),
    ("min", &[FaultKind::Latency]),
    ("max", &[FaultKind::Latency]),
    ("mean", &[FaultKind::Latency]),
    ("when", &[FaultKind::Drop]),
    ("status", &[FaultKind::Error]),
    ("shard", &[FaultKind::Throttle]),
    ("state", &[FaultKind::Kill]),
];

const READ: [(&str, &[RecordFormat]); 5] = [
    ("delimiter", &[RecordFormat::Csv, RecordFormat::Text]),
    ("header", &[RecordFormat::Csv, RecordFormat::Text]),
    ("fields", &[RecordFormat::Csv, RecordFormat::Text]),
    ("nested", &[RecordFormat::Json]),
    ("new_columns", &[RecordFormat::Json]),
];

/// Keys of `[table.read]` that its format does not use, each with the formats that do.
pub(crate) fn unused_read(reading: &Reading) -> impl Iterator<Item = (&'static str, &'static [RecordFormat])> {
    let format = reading.format;
    READ.into_iter().filter(move |(_, users)| !users.contains(&format))
}

/// Keys of `[source]` that its kind does not use, each with the kinds that do.
pub(crate) fn unused_source(source: &Source) -> impl Iterator<Item = (&'static str, &'static [SourceKind])> {
    let kind = source.kind;
    SOURCE.into_iter().filter(move |(_, users)| !users.contains(&kind))
}

/// Keys of `[keys]` that its kind does not use, each with the kinds that do.
pub(crate) fn unused_keys(keys: &Keys) -> impl Iterator<Item = (&'static str, &'static [KeyKind])> {
    let kind = keys.kind;
    KEYS.into_iter().filter(move |(_, users)| !users.contains(&kind))
}

/// Keys of `[load]` that do nothing as long as records are not aggregated.
pub(crate) fn unused_packing(load: &Load) -> Option<&'static str> {
    (!load.aggregate).then_some("aggregate_bytes")
}

/// Keys of `[load]` that its arrival process does not use, each with those that do.
pub(crate) fn unused_load(load: &Load) -> impl Iterator<Item = (&'static str, &'static [Arrival])> {
    let arrival = load.arrival;
    LOAD.into_iter().filter(move |(_, users)| !users.contains(&arrival))
}

/// Keys of a stage that its shape does not use, each with the shapes that do.
pub(crate) fn unused_stage(stage: &Stage) -> impl Iterator<Item = (&'static str, &'static [StageShape])> {
    let shape = stage.shape;
    STAGE.into_iter().filter(move |(_, users)| !users.contains(&shape))
}

/// Keys of a `[[fault]]` that its kind does not use, each with the kinds that do.
pub(crate) fn unused_fault(fault: &InjectedFault) -> impl Iterator<Item = (&'static str, &'static [FaultKind])> {
    let kind = fault.kind;
    FAULT.into_iter().filter(move |(_, users)| !users.contains(&kind))
}

/// Section and key of everything that does nothing in this scenario.
pub(crate) fn unused(scenario: &Scenario) -> impl Iterator<Item = (&'static str, &'static str)> {
    let source = unused_source(&scenario.source).map(|(key, _)| ("source", key));
    let load = unused_load(&scenario.load).map(|(key, _)| key).chain(unused_packing(&scenario.load));
    let load = load.map(|key| ("load", key));
    source.chain(load).chain(unused_keys(&scenario.keys).map(|(key, _)| ("keys", key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_but_kind_is_in_the_table() {
        let schema = crate::schema::schema();
        let names = |section: &str| -> Vec<String> {
            let properties = schema["$defs"][section]["properties"].as_object().unwrap();
            properties.keys().filter(|name| *name != "kind").cloned().collect()
        };
        let mut source: Vec<_> = SOURCE.iter().map(|(key, _)| (*key).to_owned()).collect();
        let mut keys: Vec<_> = KEYS.iter().map(|(key, _)| (*key).to_owned()).collect();
        source.sort();
        keys.sort();
        let sorted = |mut names: Vec<String>| {
            names.sort();
            names
        };
        assert_eq!(source, sorted(names("Source")));
        let every_kind_has = ["shards", "hot_shard", "hot_shard_index", "place", "salt"].map(str::to_owned);
        assert_eq!(sorted(keys.into_iter().chain(every_kind_has).collect()), sorted(names("Keys")));
        let every_stage_has = ["rate", "for", "shape"].map(str::to_owned);
        let stage = STAGE.iter().map(|(key, _)| (*key).to_owned()).chain(every_stage_has).collect();
        assert_eq!(sorted(stage), sorted(names("Stage")));
        let load = names("Load");
        assert!(LOAD.iter().all(|(key, _)| load.iter().any(|name| name == key)), "{load:?}");
        let every_fault_has = ["at", "for"].map(str::to_owned);
        let faults = FAULT.iter().map(|(key, _)| (*key).to_owned()).chain(every_fault_has).collect();
        assert_eq!(sorted(faults), sorted(names("InjectedFault")));
    }
}

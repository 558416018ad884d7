//! `[load]` and `[stream]`: how records are sent, and the limits of a Kinesis stream.

use crate::{
    error::Fault,
    model::{Arrival, Load, Order, Retry, Source, Stream},
    tree::Node,
    units::Span,
    usage,
    validate::stage,
};

/// Records in a PutRecords call (AWS quota).
const MAX_BATCH_RECORDS: u32 = 500;
/// Bytes of data and keys in a PutRecords call (AWS quota since October 2025; 5 MiB before).
const MAX_BATCH_BYTES: u64 = 10 << 20;
/// Bytes of an aggregate (the KPL's bounds of `AggregationMaxSize`).
const AGGREGATE_BYTES: std::ops::RangeInclusive<u64> = 64..=1 << 20;
/// Shards of a stream (the ceiling of UpdateShardCount).
const MAX_SHARDS: u32 = 10_000;
/// Hours that a stream keeps a record (AWS quota).
const RETENTION_HOURS: std::ops::RangeInclusive<u64> = 24..=8760;

pub(super) fn check(load: &Load, source: &Source, node: &Node) -> Vec<Fault> {
    let mut faults = stage::check(load, source, node);
    let mut refuse = |wrong: bool, key: &str, message: &str, help: &str| {
        if wrong {
            faults.push(node.at(key).fault(message, help));
        }
    };
    refuse(
        !(1..=MAX_BATCH_RECORDS).contains(&load.batch_records),
        "batch_records",
        "a PutRecords call takes 1 to 500 records",
        "write 1 to 500",
    );
    refuse(
        !(1..=MAX_BATCH_BYTES).contains(&load.batch_bytes.bytes()),
        "batch_bytes",
        "a PutRecords call takes up to 10 MiB",
        "write at most \"10MiB\"",
    );
    let staged_us = load.stages.iter().fold(0_u64, |sum, stage| sum.saturating_add(stage.length_us()));
    // A trace may last as long as its source; its last part is known only where its length is.
    let traced_us = load.trace_for.map_or(if load.cool_down.is_zero() { u64::MAX } else { 0 }, Span::as_us);
    let total_us = if load.arrival == Arrival::Trace { traced_us } else { staged_us };
    let unjudged_us = load.warm_up.as_us().saturating_add(load.cool_down.as_us());
    refuse(
        unjudged_us > 0 && unjudged_us >= total_us,
        if load.warm_up >= load.cool_down { "warm_up" } else { "cool_down" },
        "warm-up and cool-down leave nothing to judge",
        "make them shorter than the stages together, or the stages longer",
    );
    refuse(load.in_flight == 0, "in_flight", "without a call under way nothing is sent", "write 1 or more");
    refuse(load.retry_base.is_zero(), "retry_base", "a retry needs a pause", "write a span of time, such as \"100ms\"");
    refuse(
        load.retry_cap < load.retry_base,
        "retry_cap",
        "the longest pause is shorter than the first",
        &format!("write at least \"{}\", which is `retry_base`", load.retry_base),
    );
    refuse(
        load.deadline.is_zero(),
        "deadline",
        "no record can be accepted in no time",
        "write a span of time, such as \"30s\"",
    );
    refuse(
        load.shed_after.is_some_and(|shed_after| shed_after >= load.deadline),
        "shed_after",
        "a record is given up at its deadline already",
        &format!("write less than \"{}\", which is `deadline`", load.deadline),
    );
    faults.extend(aggregate_faults(load, node));
    if load.order == Order::Key && load.aggregate {
        let help = "remove it, or write aggregate = false";
        faults.push(node.at("order").fault("records that share an aggregate cannot wait for each other", help));
    }
    if load.order == Order::Key && load.retry == Retry::Call {
        let help = "write retry = \"record\"";
        faults.push(node.at("retry").fault("a call sent again as a whole breaks the order of keys", help));
    }
    if load.in_flight_per_shard == Some(0) {
        let help = "write 1 or more, or remove it";
        faults.push(node.at("in_flight_per_shard").fault("nothing would be tried again", help));
    }
    faults
}

/// What is wrong with `aggregate` and `aggregate_bytes`.
fn aggregate_faults(load: &Load, node: &Node) -> Option<Fault> {
    let (bytes, at) = (load.aggregate_bytes.bytes(), node.at("aggregate_bytes"));
    if let Some(key) = usage::unused_packing(load) {
        let message = format!("`load.{key}` is used with aggregate = true only");
        return node.child(key).map(|key| key.key_fault(message, "remove it, or write aggregate = true"));
    }
    if !AGGREGATE_BYTES.contains(&bytes) {
        return Some(at.fault("an aggregate has 64 bytes to 1 MiB", "write \"64B\" to \"1MiB\", such as \"50KiB\""));
    }
    let help = format!("write at most \"{}\", which is `batch_bytes`", load.batch_bytes);
    (bytes > load.batch_bytes.bytes()).then(|| at.fault("an aggregate is larger than a PutRecords call", help))
}

pub(super) fn check_stream(stream: &Stream, node: &Node) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut refuse = |wrong: bool, key: &str, message: &str, help: &str| {
        if wrong {
            faults.push(node.at(key).fault(message, help));
        }
    };
    let fits = |name: &str| {
        (1..=128).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
    };
    refuse(
        !fits(&stream.name),
        "name",
        "this cannot be a stream's name",
        "write 1 to 128 letters, digits, `_`, `.` and `-`",
    );
    refuse(!(1..=MAX_SHARDS).contains(&stream.shards), "shards", "a stream has 1 to 10000 shards", "write 1 to 10000");
    let hours = stream.retention.as_us() / 3_600_000_000;
    let whole = stream.retention.as_us().is_multiple_of(3_600_000_000);
    refuse(
        !RETENTION_HOURS.contains(&hours) || !whole,
        "retention",
        "a stream keeps records for 24 to 8760 whole hours",
        "write \"24h\" to \"365d\"",
    );
    refuse(
        stream.consumer_poll.is_zero(),
        "consumer_poll",
        "reading without a pause would starve the load",
        "write \"200ms\" or more",
    );
    faults
}

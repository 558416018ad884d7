//! Which numbers of a record are compared, each with its unit and its sample size.

use super::{MetricPair, Sample, Unit};
use crate::record::{Engine, HopLatency, Layout, Measurement, RunRecord};

/// Every metric that at least one of the records has, in the order of the first, then what only the second has.
pub(super) fn pairs(a: &RunRecord, b: &RunRecord) -> Vec<MetricPair> {
    let (left, right) = (metrics(a), metrics(b));
    let find = |side: &[Metric], name: &str| side.iter().find(|m| m.name == name).map(|m| m.sample);
    let only_right = right.iter().filter(|m| find(&left, &m.name).is_none());
    left.iter()
        .chain(only_right)
        .map(|m| MetricPair { name: m.name.clone(), unit: m.unit, a: find(&left, &m.name), b: find(&right, &m.name) })
        .collect()
}

struct Metric {
    name: String,
    unit: Unit,
    sample: Sample,
}

fn metric(name: impl Into<String>, unit: Unit, value: f64, n: u64) -> Metric {
    Metric { name: name.into(), unit, sample: Sample { value, n } }
}

fn metrics(record: &RunRecord) -> Vec<Metric> {
    let mut all = Vec::new();
    load(record, &mut all);
    record.latency.iter().for_each(|hop| latency(hop, &mut all));
    lake(record, &mut all);
    queries(record, &mut all);
    all.retain(|m| m.sample.value.is_finite());
    all
}

fn load(record: &RunRecord, all: &mut Vec<Metric>) {
    let Some(load) = &record.load else { return };
    let (ledger, harness) = (&record.ledger, &record.harness);
    let refusals: u64 = load.refusals.iter().map(|r| r.refusals).sum();
    all.extend([
        metric("offered rate", Unit::PerSecond, load.offered_rate, load.due),
        metric("accepted rate", Unit::PerSecond, load.accepted_rate, load.accepted),
        metric("refusals", Unit::Count, refusals as f64, load.sent),
        metric("refused share", Unit::Share, load.refused as f64 / load.due as f64, load.due),
        metric("lost", Unit::Count, ledger.lost as f64, load.accepted),
        metric("duplicated", Unit::Count, ledger.duplicated as f64, load.accepted),
        metric("harness: CPU share", Unit::Share, harness.cpu_share, 1),
        metric("harness: resident memory", Unit::Bytes, harness.max_rss_bytes as f64, 1),
        metric("harness: excess lag p99", Unit::Microseconds, harness.excess_lag_p99_us as f64, load.sent),
    ]);
}

fn latency(hop: &HopLatency, all: &mut Vec<Metric>) {
    for (name, percentile) in [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9), ("max", 100.0)] {
        if hop.supports(percentile) {
            let value = hop.value_at(percentile) as f64;
            all.push(metric(format!("{} {name}", hop.hop), Unit::Microseconds, value, hop.count));
        }
    }
}

fn lake(record: &RunRecord, all: &mut Vec<Metric>) {
    if let Some(delivery) = &record.delivery {
        all.extend([
            metric("delivery: objects", Unit::Count, delivery.objects as f64, delivery.records_delivered),
            metric("delivery: bytes", Unit::Bytes, delivery.object_bytes as f64, delivery.records_delivered),
        ]);
    }
    if let Some(compaction) = &record.compaction {
        all.extend([
            metric("compaction: wall", Unit::Microseconds, compaction.elapsed_us as f64, compaction.lines),
            metric("compaction: CPU", Unit::Microseconds, compaction.cpu_us as f64, compaction.lines),
            metric("compaction: bytes written", Unit::Bytes, compaction.file_bytes as f64, compaction.rows),
            metric("compaction: quarantined", Unit::Count, compaction.quarantined as f64, compaction.lines),
        ]);
    }
}

/// Wall, CPU, bytes and price by the engine whose cost is quoted, one measurement each.
fn queries(record: &RunRecord, all: &mut Vec<Metric>) {
    for query in &record.queries {
        for layout in [Layout::Raw, Layout::Table] {
            let Some(m) = query.answered(layout, Engine::Datafusion) else { continue };
            let short = if layout == Layout::Raw { "raw" } else { "table" };
            let mut push = |what: &str, unit, value: fn(&Measurement) -> f64| {
                all.push(metric(format!("{}: {short} {what}", query.name), unit, value(m), 1));
            };
            push("bytes", Unit::Bytes, |m| m.bytes as f64);
            push("wall", Unit::Microseconds, |m| m.wall_us as f64);
            push("CPU", Unit::Microseconds, |m| m.cpu_us as f64);
            push("price", Unit::Usd, |m| m.cost_usd);
        }
    }
}

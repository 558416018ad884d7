//! One SLO against what was found: value, bound and sample size, or the reason there is no value.

use millrace_scenarios::{Hop, Slo, SloMetric};

use super::Evidence;
use crate::{
    humanize::{count, counted, decimal},
    record::{Promise, PromiseKind},
};

/// A value with what it was computed from.
struct Found {
    value: f64,
    basis: String,
}

/// The promise that `slo` makes. What was not measured is not kept.
pub(super) fn promise(slo: &Slo, evidence: &Evidence<'_>) -> Promise {
    let unit = if matches!(slo.metric, SloMetric::Latency { .. }) { " ms" } else { "" };
    let bound = format!("at most {}{unit}", decimal(slo.max));
    let (kept, detail) = match measure(slo.metric, evidence) {
        Ok(found) => (found.value <= slo.max, format!("{}{unit}, {bound} ({})", decimal(found.value), found.basis)),
        Err(reason) => (false, format!("not measured: {reason}; {bound} was asked")),
    };
    Promise { kind: PromiseKind::Slo, name: slo.metric.to_string(), kept, detail }
}

fn measure(metric: SloMetric, evidence: &Evidence<'_>) -> Result<Found, String> {
    let load = || evidence.load.ok_or_else(|| "no load ran".to_owned());
    match metric {
        SloMetric::Latency { hop, percentile } => latency(hop, percentile, evidence),
        SloMetric::RefusedShare => {
            let load = load()?;
            match &load.window {
                Some(window) => share(window.refused, window.due, "due between warm-up and cool-down"),
                None => share(load.refused, load.due, "due"),
            }
        }
        SloMetric::LostRecords => {
            Ok(Found { value: evidence.ledger.lost as f64, basis: format!("n = {} accepted", count(load()?.accepted)) })
        }
        SloMetric::DuplicatedRecords => Ok(Found {
            value: evidence.ledger.duplicated as f64,
            basis: format!("n = {} accepted", count(load()?.accepted)),
        }),
        SloMetric::QuarantinedRecords => {
            let compaction = evidence.compaction.ok_or_else(|| "nothing was compacted".to_owned())?;
            Ok(Found {
                value: compaction.quarantined as f64,
                basis: format!("n = {} compacted", counted(compaction.lines, "line", "lines")),
            })
        }
        SloMetric::RateErrorShare => {
            let load = load()?;
            if let Some(window) = &load.window {
                let missing = window.due.saturating_sub(window.offered_in_time);
                let found = share(missing, window.due, "due between warm-up and cool-down")?;
                return Ok(Found { basis: format!("not offered in time: {}", found.basis), ..found });
            }
            let value = (load.offered_rate / load.target_rate - 1.0).abs();
            if !value.is_finite() {
                return Err("the target rate is zero".to_owned());
            }
            let (offered, target) = (decimal(load.offered_rate), decimal(load.target_rate));
            Ok(Found { value, basis: format!("offered {offered}/s of {target}/s, n = {} due", count(load.due)) })
        }
    }
}

fn latency(hop: Hop, percentile: f64, evidence: &Evidence<'_>) -> Result<Found, String> {
    let measured = evidence.hop(hop).ok_or_else(|| format!("the {hop} hop has no samples"))?;
    let mut basis = format!("n = {}", count(measured.count));
    if !measured.supports(percentile) {
        basis.push_str(", too few for this percentile, so the largest value stands for it");
    }
    Ok(Found { value: measured.value_at(percentile) as f64 / 1e3, basis })
}

fn share(part: u64, whole: u64, of: &str) -> Result<Found, String> {
    if whole == 0 {
        return Err(format!("no record was {of}"));
    }
    Ok(Found { value: part as f64 / whole as f64, basis: format!("{} of {} {of}", count(part), count(whole)) })
}

/// Splits the scenario's SLOs by whether the legs that ran (`load`, `compact`, `query`) can answer them: the first list
/// is judged, the second says in sentences for `not_measured` what was asked and could not be known.
#[must_use]
pub fn answerable(slos: &[Slo], legs: &[String]) -> (Vec<Slo>, Vec<String>) {
    let ran = |leg: &str| legs.iter().any(|l| l == leg);
    let (judged, rest): (Vec<Slo>, Vec<Slo>) =
        slos.iter().cloned().partition(|slo| needs(slo.metric).iter().all(|leg| ran(leg)));
    let sentences = rest
        .iter()
        .map(|slo| {
            let missing: Vec<_> = needs(slo.metric).iter().copied().filter(|leg| !ran(leg)).collect();
            format!("{} was not judged, because the {} leg did not run.", slo.metric, missing.join(" and the "))
        })
        .collect();
    (judged, sentences)
}

const fn needs(metric: SloMetric) -> &'static [&'static str] {
    match metric {
        SloMetric::Latency { hop: Hop::Committed, .. } => &["load", "compact"],
        SloMetric::QuarantinedRecords => &["compact"],
        SloMetric::Latency { .. }
        | SloMetric::RefusedShare
        | SloMetric::LostRecords
        | SloMetric::DuplicatedRecords
        | SloMetric::RateErrorShare => &["load"],
    }
}

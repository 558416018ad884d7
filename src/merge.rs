//! `millrace merge`: the records of all workers of one run, joined exactly and judged anew.
//!
//! Nothing of a worker's verdict is taken over but that its environment failed or a signal ended it: the promises of the
//! scenario are about the whole run, so they are looked at on the whole run's evidence.

mod skew;
mod sum;
mod team;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use millrace_loadgen::{Fingerprint, Slice};
use millrace_reports::{
    RunRecord,
    latency::{self, JoinedLatency, LatencyLog},
    record::{HopLatency, Ledger, RunInfo, SCHEMA_VERSION},
    verdict,
};
use millrace_scenarios::Scenario;

use self::team::{Part, Team};
use crate::{
    conservation::{self, Counted},
    failure::Failure,
    findings::{self, unjudged},
    run_folder::{RunFolder, now_us},
    worker,
};

/// Why the course over time of several workers is only as good as their clocks.
const CLOCKS: &str = "Clock error between the workers' machines: intervals are placed by each worker's own clock; totals do not depend on it.";

/// Joins the records in `folders` and writes the whole run's into `out`, or into `runs/` and the run's id.
pub(crate) fn merge(folders: &[PathBuf], out: Option<&Path>) -> Result<u8, Failure> {
    let parts: Result<Vec<_>, _> = folders.iter().map(|folder| Part::read(folder)).collect();
    let team = Team::of(parts?)?;
    let id = team.parts[0].record.run.id.clone();
    let path = out.map_or_else(|| worker::folder(&id, Slice::default()), Path::to_owned);
    let folder = RunFolder::named(id, path, now_us())?;
    let record = join(&team, &folder.path)?;
    findings::publish(&record, &folder.path)
}

/// The record of the whole run; its latency log is written into `folder`.
fn join(team: &Team, folder: &Path) -> Result<RunRecord, Failure> {
    let parts = &team.parts;
    let first = &parts[0].record;
    let scenario: Scenario = serde_json::from_value(first.scenario.clone()).map_err(|e| {
        Failure::configuration(
            format!("the workers' scenario cannot be read: {e}"),
            "merge with the Millrace that loaded",
        )
    })?;
    let log = LatencyLog::create(&folder.join("latency.hlog")).map_err(|e| Failure::of(&e, false))?;
    let logs: Vec<_> = parts.iter().map(|part| part.latency.clone()).collect();
    let joined = latency::join(&logs, &log).map_err(|e| Failure::of(&e, true))?;
    check_counts(parts, &joined)?;

    let load = sum::load(parts, log.begin(0));
    let ledger = with_equations(sum::ledger(parts), &load);
    let legs = first.run.legs.clone();
    let (slos, _) = worker::answerable(&scenario.slo, &legs);
    let mut record = RunRecord {
        schema_version: SCHEMA_VERSION.to_owned(),
        run: info(parts)?,
        scenario: first.scenario.clone(),
        verdict: unjudged(),
        load: Some(load),
        latency: with_clamped(joined.hops, parts),
        ledger,
        delivery: None,
        compaction: None,
        queries: Vec::new(),
        prices: None,
        harness: sum::harness(parts, log.begin(0)),
        not_measured: not_measured(team),
    };
    let failure = team.failure();
    let evidence = verdict::Evidence {
        interrupted: team.interrupted() && team.missing().is_empty(),
        failure: failure.as_deref(),
        ..verdict::Evidence::of(&record, &slos)
    };
    record.verdict = verdict::judge(&evidence);
    Ok(record)
}

/// A log that was cut off after a whole line can be read, but it does not hold what its record says.
fn check_counts(parts: &[Part], joined: &JoinedLatency) -> Result<(), Failure> {
    for (part, counts) in parts.iter().zip(&joined.counts) {
        for (hop, logged) in counts {
            let said =
                part.record.latency.iter().find(|latency| latency.hop == *hop).map_or(0, |latency| latency.count);
            if said != *logged {
                let folder = part.folder.display();
                return Err(Failure::configuration(
                    format!("{folder}: latency.hlog holds {logged} records of the hop {hop}, run.json {said}"),
                    "the two files are not of one run, or the log was cut off; give the folder as the worker left it",
                ));
            }
        }
    }
    Ok(())
}

fn with_equations(mut ledger: Ledger, load: &millrace_reports::record::LoadRecord) -> Ledger {
    let counted = Counted {
        load: Some(load),
        read: Some(ledger.shards.iter().map(|shard| shard.read).sum()),
        lost: ledger.lost,
        duplicated: ledger.duplicated,
        unacknowledged: ledger.unacknowledged,
        ..Counted::default()
    };
    ledger.hops = conservation::equations(&counted);
    ledger
}

/// What the logs do not hold: how many values were below zero or above the range.
fn with_clamped(mut hops: Vec<HopLatency>, parts: &[Part]) -> Vec<HopLatency> {
    for hop in &mut hops {
        for of in parts.iter().flat_map(|part| &part.record.latency).filter(|of| of.hop == hop.hop) {
            hop.negative += of.negative;
            hop.clamped += of.clamped;
        }
    }
    hops
}

/// Who, when and where, over all workers. Machines that differ are all named.
fn info(parts: &[Part]) -> Result<RunInfo, Failure> {
    let runs = || parts.iter().map(|part| &part.record.run);
    let mut fingerprint = Fingerprint::default();
    for part in parts {
        let text = &part.record.run.fingerprint;
        let one = text.parse().map_err(|e| {
            Failure::configuration(format!("{}: {e}", part.folder.display()), "load again with this Millrace")
        })?;
        fingerprint.merge(one);
    }
    let mut host: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (name, value) in runs().flat_map(|run| &run.host) {
        host.entry(name.clone()).or_default().insert(value);
    }
    let targets: BTreeSet<&str> = runs().map(|run| run.target.as_str()).collect();
    let all = |values: BTreeSet<&str>| values.into_iter().collect::<Vec<_>>().join("; ");
    // RFC 3339 in UTC with the same number of digits: the order of the texts is that of the times.
    let earliest = runs().map(|run| run.started_at.clone()).min().unwrap_or_default();
    let latest = runs().map(|run| run.ended_at.clone()).max().unwrap_or_default();
    Ok(RunInfo {
        started_at: earliest,
        ended_at: latest,
        fingerprint: fingerprint.to_string(),
        target: all(targets),
        host: host.into_iter().map(|(name, values)| (name, all(values))).collect(),
        ..parts[0].record.run.clone()
    })
}

/// What only the workers' own records say.
const PER_WORKER: &str = "Response time shard by shard, and the course of warm-up and cool-down over time: they are in the workers' own records.";

/// What no worker measured, and what joining adds to it.
fn not_measured(team: &Team) -> Vec<String> {
    let mut sentences: Vec<String> = Vec::new();
    for sentence in team.parts.iter().flat_map(|part| &part.record.not_measured) {
        if !sentences.contains(sentence) {
            sentences.push(sentence.clone());
        }
    }
    sentences.push(CLOCKS.to_owned());
    sentences.push(PER_WORKER.to_owned());
    for index in team.missing() {
        sentences
            .push(format!("Everything that worker {index} of {} sent; the fingerprint leaves it out too.", team.count));
    }
    sentences
}

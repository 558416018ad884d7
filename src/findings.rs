//! What the legs of a run found, gathered into the one record.

use std::path::Path;

use millrace_loadgen::LoadOutcome;
use millrace_reports::{
    RunRecord, record as shapes,
    record::{HarnessRecord, HopLatency, Ledger, Outcome, PriceSheet, QueryRecord, RunInfo, Verdict},
    text, verdict,
};
use millrace_scenarios::{Hop, Scenario};

use crate::{
    compacting::Compacted,
    conservation::{self, Counted},
    failure::Failure,
    host,
    landing::Landed,
    output::{WIDTH, color},
    report,
    run_folder::{RunFolder, now_us, rfc3339},
    worker,
};

/// What a record says when nobody could look at what the target took.
const NOT_READ: &str =
    "Whether what was accepted is there: a delivery stream elsewhere lets nobody read; its lake is not looked at.";

/// What each leg left; a leg that did not run is absent.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) legs: Vec<&'static str>,
    pub(crate) target: String,
    pub(crate) load: Option<LoadOutcome>,
    pub(crate) landed: Option<Landed>,
    pub(crate) compacted: Option<Compacted>,
    pub(crate) queries: Vec<QueryRecord>,
    pub(crate) prices: Option<PriceSheet>,
    /// Why the environment ended the run early; the first reason counts.
    pub(crate) failure: Option<String>,
    pub(crate) interrupted: bool,
}

impl Findings {
    /// Notes a failure of the environment; later ones are consequences.
    pub(crate) fn failed(&mut self, why: String) {
        self.failure.get_or_insert(why);
    }

    /// The record, judged.
    pub(crate) fn into_record(self, scenario: &Scenario, id: &str, started_us: u64) -> RunRecord {
        let legs: Vec<_> = self.legs.iter().map(|leg| (*leg).to_owned()).collect();
        let ledger = self.ledger();
        let latency = self.latency();
        let mut not_measured = not_measured(&latency, &legs);
        let worker = self.load.as_ref().is_some_and(|load| load.record.worker.is_some());
        let judge = if worker { worker::answerable } else { verdict::answerable };
        let (slos, unanswerable) = judge(&scenario.slo, &legs);
        not_measured.extend(unanswerable);
        if self.load.as_ref().is_some_and(|load| load.read.is_none()) {
            not_measured.push(NOT_READ.to_owned());
        }
        if worker {
            not_measured.push(worker::LOAD_ONLY.to_owned());
        }
        let (fingerprint, mut harness) = self.load.as_ref().map_or_else(
            || (String::new(), HarnessRecord::default()),
            |l| (l.fingerprint.to_string(), l.harness.clone()),
        );
        // The legs after the load count too.
        harness.max_rss_bytes = host::max_rss_bytes().unwrap_or(harness.max_rss_bytes);
        let mut record = RunRecord {
            schema_version: shapes::SCHEMA_VERSION.to_owned(),
            run: RunInfo {
                id: id.to_owned(),
                scenario: scenario.name.clone(),
                description: scenario.description.clone(),
                legs,
                started_at: rfc3339(started_us),
                ended_at: rfc3339(now_us()),
                millrace_version: env!("CARGO_PKG_VERSION").to_owned(),
                seed: scenario.seed,
                fingerprint,
                target: self.target,
                host: host::describe(),
            },
            scenario: serde_json::to_value(scenario).unwrap_or_default(),
            verdict: unjudged(),
            load: self.load.map(|l| l.record),
            latency,
            ledger,
            delivery: self.landed.map(|l| l.record),
            compaction: self.compacted.map(|c| c.record),
            queries: self.queries,
            prices: self.prices,
            harness,
            not_measured,
        };
        let evidence = verdict::Evidence {
            interrupted: self.interrupted,
            failure: self.failure.as_deref(),
            ..verdict::Evidence::of(&record, &slos)
        };
        record.verdict = verdict::judge(&evidence);
        record
    }

    fn ledger(&self) -> Ledger {
        let load = self.load.as_ref();
        let counted = Counted {
            load: load.map(|l| &l.record),
            read: load.and_then(|l| l.read),
            lost: load.map_or(0, |l| l.lost),
            duplicated: load.map_or(0, |l| l.duplicated),
            unacknowledged: load.map_or(0, |l| l.unacknowledged),
            delivery: self.landed.as_ref().map(|l| &l.record),
            foreign: self.landed.as_ref().map_or(0, |l| l.foreign),
            compaction: self.compacted.as_ref().map(|c| &c.record),
        };
        Ledger {
            hops: conservation::equations(&counted),
            shards: load.map(|l| l.shards.clone()).unwrap_or_default(),
            lost: counted.lost,
            duplicated: counted.duplicated,
            unacknowledged: counted.unacknowledged,
            lost_ranges: load.map(|l| l.lost_ranges.clone()).unwrap_or_default(),
        }
    }

    fn latency(&self) -> Vec<HopLatency> {
        let mut latency = self.load.as_ref().map(|l| l.latency.clone()).unwrap_or_default();
        latency.extend(self.landed.as_ref().and_then(|l| l.latency.clone()));
        latency.extend(self.compacted.as_ref().and_then(|c| c.latency.clone()));
        latency.retain(|hop| hop.count > 0);
        latency.sort_by_key(|hop| hop.hop);
        latency
    }
}

/// A verdict's place until the judge has spoken.
pub(crate) fn unjudged() -> Verdict {
    let outcome = Outcome::Failed;
    Verdict { outcome, exit_code: outcome.exit_code(), summary: String::new(), promises: Vec::new() }
}

/// Everything a reader might take for granted and must not.
fn not_measured(latency: &[HopLatency], legs: &[String]) -> Vec<String> {
    let mut missing: Vec<_> = Hop::ALL
        .into_iter()
        .filter(|hop| !latency.iter().any(|l| l.hop == *hop))
        .map(|hop| format!("Latency of the hop {hop}: no record of this run was timed there."))
        .collect();
    if legs.iter().any(|leg| leg == "load") {
        missing.push(
            "Clock error between this machine and the stream: arrival times are the stream's own, in milliseconds."
                .to_owned(),
        );
        missing.push("Network cost and S3 PUT cost: only what the queries read is priced.".to_owned());
    }
    if legs.iter().any(|leg| leg == "query") {
        missing.push(
            "Cold reads: each query ran once, with the operating system's page cache as the run left it.".to_owned(),
        );
    }
    missing
}

/// Writes run.json and report.html, prints the verdict and the page's path, and gives the exit code.
pub(crate) fn publish(record: &RunRecord, folder: &Path) -> Result<u8, Failure> {
    let environment = |e: &millrace_reports::ReportError| Failure::of(e, false);
    print!("{}", text::verdict_table(record, WIDTH, color()));
    record.write(folder).map_err(|e| environment(&e))?;
    let page = report::draw(folder, record).map_err(|e| environment(&e))?;
    println!("{}", page.display());
    Ok(record.verdict.exit_code)
}

/// Publishes what a leg alone found; without a folder only the verdict is printed.
pub(crate) fn publish_leg(
    findings: Findings,
    scenario: &Scenario,
    out: Option<&Path>,
    started_us: u64,
) -> Result<u8, Failure> {
    match out {
        Some(out) => {
            let folder = RunFolder::create(&scenario.name, scenario.seed, Some(out))?;
            publish(&findings.into_record(scenario, &folder.id, started_us), &folder.path)
        }
        None => {
            let record = findings.into_record(scenario, &scenario.name, started_us);
            print!("{}", text::verdict_table(&record, WIDTH, color()));
            Ok(record.verdict.exit_code)
        }
    }
}

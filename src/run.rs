//! `millrace run` and `millrace load`: one run from the scenario to the record.

use std::{sync::Arc, time::Duration};

use millrace_loadgen::{Clock, LoadPlan, LoadProgress};
use millrace_reports::latency::LatencyLog;
use millrace_scenarios::{Scenario, event::staged};
use tokio::sync::watch;

use crate::{
    asking,
    cli::RunArgs,
    compacting::Compacting,
    failure::{Failure, chain},
    findings::{self, Findings},
    landing::Landing,
    place,
    progress::{ProgressLine, Watched},
    run_folder::{RunFolder, now_us},
    scenario, signals,
    target::{self, Connected},
};

/// A run's rows over time: at least a second each, and at most this many.
const MOST_INTERVALS: u64 = 300;

/// How far ahead the first due time is: readers, delivery and compactor are at their places by then.
const LEAD_US: u64 = 1_000_000;

/// How far a run goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Load and delivery.
    Lake,
    /// All the way to the queries.
    Query,
}

pub(crate) async fn run(args: RunArgs, reach: Reach) -> Result<u8, Failure> {
    let scenario = scenario::read(&args.scenario)?;
    let folder = RunFolder::create(&scenario.name, scenario.seed, args.out.as_deref())?;
    let connected = target::connect(&scenario, &args).await?;
    let stop = signals::watch_for_stop();
    eprintln!("{}: {} on {}, into {}", scenario.name, pace(&scenario), connected.name, folder.path.display());
    let result = walk(&scenario, &folder, &connected, &stop, reach).await;
    for fault in connected.faults() {
        let (from_s, to_s) = (fault.from_us as f64 / 1e6, fault.to_us as f64 / 1e6);
        eprintln!("fault {} from {from_s} s to {to_s} s: {} calls touched", fault.kind, fault.calls);
    }
    connected.close().await;
    let record = result?.into_record(&scenario, &folder.id, folder.started_us);
    findings::publish(&record, &folder.path)
}

/// The way of the records; what fails after the first was sent is a finding, not an early return.
async fn walk(
    scenario: &Scenario,
    folder: &RunFolder,
    connected: &Connected,
    stop: &watch::Receiver<bool>,
    reach: Reach,
) -> Result<Findings, Failure> {
    let mut findings = Findings { legs: vec!["load"], target: connected.name.clone(), ..Findings::default() };
    let interval = interval(scenario);
    let lake = place::lake_of_run(scenario, &folder.path).await?;
    let table = match reach {
        Reach::Query => Some(place::table_of_run(scenario, &folder.path).await?),
        Reach::Lake => None,
    };

    let first_due_us = now_us() + LEAD_US;
    let log =
        LatencyLog::create(&folder.path.join("latency.hlog"), first_due_us).map_err(|e| Failure::of(&e, false))?;
    connected.start_faults(first_due_us);
    let landing = Landing::start(scenario, folder, &connected.stream, &lake, &log, interval)?;
    let compacting = match &table {
        Some(table) => Some(Compacting::start(lake.clone(), table.clone(), scenario, &log, interval).await?),
        None => None,
    };
    let load = Arc::new(LoadProgress::default());
    let line = ProgressLine::start(Watched {
        load: Arc::clone(&load),
        delivery: Arc::clone(&landing.progress),
        compacted: compacting.as_ref().map(|c| Arc::clone(&c.rows)),
    });

    let plan = LoadPlan {
        scenario: Arc::new(scenario.clone()),
        run_id: folder.id.clone(),
        run_dir: folder.path.clone(),
        stream: connected.stream.clone(),
        reads_back: true,
        log: Arc::clone(&log),
        interval,
        clock: Clock::start(),
    };
    let loaded = millrace_loadgen::run(plan, load, landing.stop_when_failed(stop)).await;
    let landed = landing.finish().await;
    if let Some(why) = &landed.failure {
        findings.failed(why.clone());
    }
    if let Some(compacting) = compacting {
        findings.legs.push("compact");
        let compacted = compacting.finish().await;
        if let Some(why) = &compacted.failure {
            findings.failed(why.clone());
        }
        findings.compacted = Some(compacted);
    }
    line.stop().await;
    findings.landed = Some(landed);
    match loaded {
        Ok(outcome) => {
            if let Some(why) = &outcome.failure {
                findings.failed(chain(why));
            }
            findings.load = Some(outcome);
        }
        // A load that could not begin has no outcome to put on record, only a reason.
        Err(error) => return Err(Failure::of(&error, error.is_configuration())),
    }
    findings.interrupted = *stop.borrow();
    log.sync().map_err(|e| Failure::of(&e, false))?;

    if let Some(table) = table
        && findings.failure.is_none()
        && !findings.interrupted
    {
        findings.legs.push("query");
        match asking::ask(scenario, &lake, &table).await {
            Ok((queries, prices)) => (findings.queries, findings.prices) = (queries, Some(prices)),
            Err(error) => findings.failed(chain(&error)),
        }
    }
    Ok(findings)
}

/// The length of one row over time.
fn interval(scenario: &Scenario) -> Duration {
    let seconds: u64 = scenario.load.stages.iter().map(|s| s.duration.duration().as_secs()).sum();
    Duration::from_secs(seconds.div_ceil(MOST_INTERVALS).max(1))
}

/// The load in a few words: `800 rec/s for 30s`, stage by stage.
fn pace(scenario: &Scenario) -> String {
    let stages = staged(&scenario.load.stages, &scenario.event);
    let stages: Vec<_> = stages.iter().map(|s| format!("{} rec/s for {}", s.rate, s.duration)).collect();
    stages.join(", then ")
}

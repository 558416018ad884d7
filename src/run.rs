//! `millrace run` and `millrace load`: one run from the scenario to the record.

use std::sync::Arc;

use millrace_compactor::store::Location;
use millrace_loadgen::{Clock, LEAD_US, LoadError, LoadPlan, LoadProgress, Witness};
use millrace_reports::latency::LatencyLog;
use millrace_scenarios::Scenario;
use tokio::sync::watch;

use crate::{
    asking,
    cli::RunArgs,
    compacting::Compacting,
    direct::{self, Direct},
    failure::{Failure, chain},
    findings::{self, Findings},
    landing::Landing,
    pace, place,
    progress::{ProgressLine, Watched},
    run_folder::{RunFolder, now_us},
    scenario, signals,
    target::{self, Connected, Target},
    worker::{self, RunId, StartAt},
};

/// How far a run goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The load and its reading back, as one worker of several does it.
    Stream,
    /// Load and delivery.
    Lake,
    /// All the way to the queries.
    Query,
}

pub(crate) async fn run(args: RunArgs, reach: Reach) -> Result<u8, Failure> {
    let scenario = scenario::read(&args.scenario)?;
    worker::check(&args, &scenario)?;
    let folder = match &args.run_id {
        None => RunFolder::create(&scenario.name, scenario.seed, args.out.as_deref())?,
        Some(RunId(id)) => {
            let path = args.out.clone().unwrap_or_else(|| worker::folder(id, args.worker));
            RunFolder::named(id.clone(), path, now_us())?
        }
    };
    let reach = if args.worker.is_whole() { reach } else { Reach::Stream };
    let reach = reach_of_direct(&scenario, &args, reach)?;
    let (lake, table) = places(&scenario, &folder, reach).await?;
    let log = LatencyLog::create(&folder.path.join("latency.hlog")).map_err(|e| Failure::of(&e, false))?;
    let direct = match &lake {
        Some(lake) if direct::is_meant(&scenario) => Some(Direct::start(&scenario, &folder, lake, &log)?),
        _ => None,
    };
    let firehose = direct.as_ref().map(|direct| direct.firehose.clone());
    let connected = target::connect(&scenario, &args, firehose).await?;
    let stop = signals::watch_for_stop();
    eprintln!(
        "{}: {} on {}, into {}",
        scenario.name,
        pace::announced(&scenario),
        connected.name,
        folder.path.display()
    );
    if !args.worker.is_whole() {
        let start = if args.start_at.is_some() { "" } else { ", which starts at once because there is no --start-at" };
        eprintln!("{} of this schedule{start}", args.worker);
    }
    let way = Way { lake, table, log, direct };
    let result = walk(&scenario, &folder, &connected, &stop, way, &args).await;
    for fault in connected.faults() {
        let (from_s, to_s) = (fault.from_us as f64 / 1e6, fault.to_us as f64 / 1e6);
        eprintln!("fault {} from {from_s} s to {to_s} s: {} calls touched", fault.kind, fault.calls);
    }
    connected.close().await;
    let record = result?.into_record(&scenario, &folder.id, folder.started_us);
    findings::publish(&record, &folder.path)
}

/// What a run leads through, as far as it goes.
struct Way {
    lake: Option<Location>,
    table: Option<Location>,
    log: Arc<LatencyLog>,
    /// The delivery stream of this process that the load goes to, instead of a stream.
    direct: Option<Direct>,
}

/// How far a load goes that no stream is before: what a delivery stream elsewhere lands is not here to be looked at.
fn reach_of_direct(scenario: &Scenario, args: &RunArgs, reach: Reach) -> Result<Reach, Failure> {
    if !direct::is_meant(scenario) || Target::parse(&args.target)? == Target::Local {
        return Ok(reach);
    }
    match reach {
        Reach::Query => Err(Failure::configuration(
            "what a delivery stream elsewhere lands is not here to be compacted and queried",
            "measure the calls with `millrace load`, and the lake with `millrace compact --lake`",
        )),
        Reach::Lake | Reach::Stream => Ok(Reach::Stream),
    }
}

/// The way of the records; what fails after the first was sent is a finding, not an early return.
async fn walk(
    scenario: &Scenario,
    folder: &RunFolder,
    connected: &Connected,
    stop: &watch::Receiver<bool>,
    way: Way,
    args: &RunArgs,
) -> Result<Findings, Failure> {
    let mut findings = Findings { legs: vec!["load"], target: connected.name.clone(), ..Findings::default() };
    let interval = pace::interval(scenario);
    let Way { lake, table, log, direct } = way;
    let load = Arc::new(LoadProgress::default());
    let plan = LoadPlan {
        scenario: Arc::new(scenario.clone()),
        run_id: folder.id.clone(),
        run_dir: folder.path.clone(),
        stream: connected.stream.clone(),
        witness: witness(scenario, direct.as_ref()),
        slice: args.worker,
        ready_us: connected.ready_us,
        log: Arc::clone(&log),
        interval,
        clock: Clock::start(),
    };
    let prepared = millrace_loadgen::prepare(plan, Arc::clone(&load)).await;
    let prepared = prepared.map_err(|error| Failure::of(&error, error.is_configuration()))?;
    let landing = match &lake {
        Some(lake) if direct.is_none() => {
            Some(Landing::start(scenario, folder, &connected.stream, lake, &log, interval)?)
        }
        _ => None,
    };
    let compacting = match (&lake, &table) {
        (Some(lake), Some(table)) => {
            Some(Compacting::start(lake.clone(), table.clone(), scenario, &folder.id, &log, interval).await?)
        }
        _ => None,
    };
    let line = ProgressLine::start(Watched {
        load,
        delivery: direct
            .as_ref()
            .map(|direct| &direct.progress)
            .or(landing.as_ref().map(|landing| &landing.progress))
            .map(Arc::clone),
        compacted: compacting.as_ref().map(|c| Arc::clone(&c.rows)),
    });

    let first_due_us = first_due_us(args.start_at);
    log.begin(first_due_us);
    connected.start_faults(first_due_us);
    let stop_load = landing.as_ref().map_or_else(|| stop.clone(), |landing| landing.stop_when_failed(stop));
    let loaded = prepared.run(first_due_us, stop_load).await;
    let landed = if let Some(landing) = landing {
        let why = loaded.as_ref().map_or_else(Some, |outcome| outcome.failure.as_ref());
        let gone = matches!(why, Some(LoadError::Unreachable { .. }));
        Some(landing.finish(gone).await)
    } else if let Some(direct) = direct {
        Some(direct.finish().await)
    } else {
        None
    };
    if let Some(landed) = landed {
        if let Some(why) = &landed.failure {
            findings.failed(why.clone());
        }
        findings.landed = Some(landed);
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

    if let (Some(lake), Some(table)) = (lake, table)
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

/// Who says what the target of the load took.
fn witness(scenario: &Scenario, direct: Option<&Direct>) -> Witness {
    match direct {
        Some(direct) => Witness::Other(Arc::clone(&direct.ledger)),
        None if direct::is_meant(scenario) => Witness::Nobody,
        None => Witness::Consumer,
    }
}

/// Where the lake and the table are, as far as the run reaches.
async fn places(
    scenario: &Scenario,
    folder: &RunFolder,
    reach: Reach,
) -> Result<(Option<Location>, Option<Location>), Failure> {
    if reach == Reach::Stream {
        return Ok((None, None));
    }
    let lake = place::lake_of_run(scenario, &folder.path).await?;
    let table = match reach {
        Reach::Query => Some(place::table_of_run(scenario, &folder.path).await?),
        Reach::Lake | Reach::Stream => None,
    };
    Ok((Some(lake), table))
}

/// The first due time: the one that was asked for, or as soon as can be.
fn first_due_us(start_at: Option<StartAt>) -> u64 {
    let ready_us = now_us();
    let Some(StartAt(start_us)) = start_at else { return ready_us + LEAD_US };
    if start_us < ready_us {
        let late_ms = (ready_us - start_us) / 1_000;
        eprintln!("ready {late_ms} ms after --start-at: the first records go out late, and their lag says so");
    }
    start_us
}

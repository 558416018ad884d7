//! `--worker`: one of several generators that share a schedule, a stream and a run's id, and what that asks for.

use std::{path::PathBuf, str::FromStr};

use chrono::DateTime;
use millrace_loadgen::{Slice, timetable::Timetable};
use millrace_reports::verdict;
use millrace_scenarios::{Hop, Scenario, Slo, SloMetric};

use crate::{
    cli::RunArgs,
    direct,
    failure::Failure,
    run_folder::{now_us, rfc3339},
    target::Target,
};

/// What a worker's record says about the legs that it leaves out.
pub(crate) const LOAD_ONLY: &str = "Delivery, table and queries: a worker only loads and reads back, because its records share the stream with those of \
     the other workers.";

/// Longest run id: it names a folder.
const MAX_ID_CHARS: usize = 128;

/// A run's id that was given: it names a folder and stands in every record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunId(pub(crate) String);

impl FromStr for RunId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let valid = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !starts_well || text.len() > MAX_ID_CHARS || !text.chars().all(valid) {
            return Err(format!(
                "a run's id names a folder: 1 to {MAX_ID_CHARS} letters, digits, '_', '.' or '-', the first a letter or digit"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// An instant, microseconds since 1970, written in RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StartAt(pub(crate) u64);

impl FromStr for StartAt {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let time = DateTime::parse_from_rfc3339(text).ok().and_then(|t| u64::try_from(t.timestamp_micros()).ok());
        time.map(Self).ok_or_else(|| "write a time as RFC 3339, such as 2030-01-31T12:00:00Z".to_owned())
    }
}

/// The default folder of a run, or of a worker's part of it.
pub(crate) fn folder(run_id: &str, slice: Slice) -> PathBuf {
    let run = PathBuf::from("runs").join(run_id);
    if slice.is_whole() { run } else { run.join(format!("worker-{}-of-{}", slice.index(), slice.count())) }
}

/// As [`verdict::answerable`], for a load leg without the delivery that is otherwise part of it.
pub(crate) fn answerable(slos: &[Slo], legs: &[String]) -> (Vec<Slo>, Vec<String>) {
    let (mut judged, mut sentences) = verdict::answerable(slos, legs);
    judged.retain(|slo| {
        let lands = matches!(slo.metric, SloMetric::Latency { hop: Hop::Landed, .. });
        if lands {
            sentences.push(format!("{} was not judged, because workers deliver nothing.", slo.metric));
        }
        !lands
    });
    (judged, sentences)
}

/// Whether what is asked of a worker can be: all of them need the same records, the same stream and the same id.
pub(crate) fn check(args: &RunArgs, scenario: &Scenario) -> Result<(), Failure> {
    if let Some(StartAt(at_us)) = args.start_at
        && at_us <= now_us()
    {
        let now = rfc3339(now_us());
        let message = format!("--start-at {} has passed, it is {now}", rfc3339(at_us));
        return Err(Failure::configuration(
            message,
            "give a time that every worker can prepare for, some seconds ahead",
        ));
    }
    if args.worker.is_whole() {
        return Ok(());
    }
    if args.run_id.is_none() {
        return Err(Failure::configuration(
            "--worker needs --run-id",
            "give every worker the same --run-id, so that each knows the records of the others",
        ));
    }
    if Timetable::new(&scenario.load, scenario.seed).known().is_none() {
        return Err(Failure::configuration(
            "a schedule in bytes and a trace cannot be shared by workers: each record's time follows from the one before it",
            "write load.unit = \"records\", or run it with one worker",
        ));
    }
    if Target::parse(&args.target)? == Target::Local {
        return Err(Failure::configuration(
            "--worker needs a stream that all workers share, and the local one is in this process",
            "start `millrace serve` and give its URL to every worker with --target",
        ));
    }
    if direct::is_meant(scenario) {
        return Err(Failure::configuration(
            "--worker needs records that can be read back, and a delivery stream lets nobody read",
            "write load.call = \"put_records\", or load with one generator",
        ));
    }
    if scenario.source.live {
        return Err(Failure::configuration(
            "--worker needs records that every worker can make, and a live feed cannot be asked twice",
            "take source.live out, or load with one generator",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_id_is_safe_as_a_folders_name() {
        assert_eq!("sensors-1.a_b".parse::<RunId>().unwrap().0, "sensors-1.a_b");
        for text in ["", ".", "..", "-x", "a/b", "a b", "é", &"x".repeat(129)] {
            assert!(text.parse::<RunId>().unwrap_err().contains("names a folder"), "{text}");
        }
    }

    #[test]
    fn a_start_is_an_instant_whatever_its_offset() {
        let utc: StartAt = "2025-01-01T00:00:00.000001Z".parse().unwrap();
        assert_eq!(utc, StartAt(1_735_689_600_000_001));
        assert_eq!("2025-01-01T01:00:00.000001+01:00".parse::<StartAt>().unwrap(), utc);
        for text in ["", "now", "2025-01-01", "1960-01-01T00:00:00Z"] {
            assert!(text.parse::<StartAt>().unwrap_err().contains("RFC 3339"), "{text}");
        }
    }

    #[test]
    fn a_worker_has_a_folder_of_its_own_in_the_runs() {
        assert_eq!(folder("a", Slice::default()), PathBuf::from("runs/a"));
        assert_eq!(folder("a", Slice::new(1, 3).unwrap()), PathBuf::from("runs/a/worker-1-of-3"));
    }
}

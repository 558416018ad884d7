//! A run's folder, its id and its clock.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use chrono::{DateTime, SecondsFormat, Utc};

use crate::failure::Failure;

/// Where a run writes, and when it began.
#[derive(Debug)]
pub(crate) struct RunFolder {
    pub(crate) id: String,
    pub(crate) path: PathBuf,
    pub(crate) started_us: u64,
}

impl RunFolder {
    /// Makes the folder of a run with a made id: `out`, or `runs/<id>`.
    pub(crate) fn create(scenario: &str, seed: u64, out: Option<&Path>) -> Result<Self, Failure> {
        let started_us = now_us();
        let id = run_id(scenario, seed, started_us);
        let path = out.map_or_else(|| Path::new("runs").join(&id), Path::to_owned);
        Self::named(id, path, started_us)
    }

    /// Makes the folder at `path` for the run `id`. A folder that already holds a run is refused.
    pub(crate) fn named(id: String, path: PathBuf, started_us: u64) -> Result<Self, Failure> {
        if path.join("run.json").exists() {
            let help = "give another folder with --out, or leave it out to get runs/<id>";
            return Err(Failure::configuration(format!("{} already holds a run", path.display()), help));
        }
        fs::create_dir_all(&path).and_then(|()| tempfile::tempfile_in(&path).map(drop)).map_err(|e| {
            Failure::environment(format!("{}: the run's folder cannot be written: {e}", path.display()))
        })?;
        Ok(Self { id, path, started_us })
    }
}

/// `<scenario>-<UTC start>-<4 hex>`: sorts by time, and two runs started in the same second still differ.
fn run_id(scenario: &str, seed: u64, started_us: u64) -> String {
    let start = instant(started_us).format("%Y%m%dT%H%M%S");
    let mixed = (seed ^ started_us).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48;
    format!("{scenario}-{start}-{mixed:04x}")
}

/// Wall clock, microseconds since 1970.
pub(crate) fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
}

/// RFC 3339 in UTC with microseconds.
pub(crate) fn rfc3339(us: u64) -> String {
    instant(us).to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn instant(us: u64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(i64::try_from(us).unwrap_or(i64::MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_scenario_and_start_and_differs_within_a_second() {
        let a = run_id("sensors", 1, 1_700_000_000_000_000);
        let b = run_id("sensors", 1, 1_700_000_000_000_900);
        assert!(a.starts_with("sensors-20231114T221320-"), "{a}");
        assert_ne!(a, b);
    }

    #[test]
    fn a_folder_that_holds_a_run_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("run.json"), "{}").unwrap();
        let error = RunFolder::create("x", 1, Some(folder.path())).unwrap_err();
        assert_eq!(error.exit_code(), crate::failure::CONFIGURATION);
    }
}

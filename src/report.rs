//! `millrace report`: the page again, from the record alone.

use std::path::Path;

use millrace_reports::{ReportError, RunRecord, files, page};

use crate::failure::Failure;

/// The page's file name in a run's folder.
const PAGE: &str = "report.html";

/// Writes `report.html` beside `run.json`; gives its path.
pub(crate) fn draw(folder: &Path, record: &RunRecord) -> Result<std::path::PathBuf, ReportError> {
    let path = folder.join(PAGE);
    files::write_atomic(&path, page::render(record).as_bytes())?;
    Ok(path)
}

/// Reads the record in a run's folder. What is there but is no record is the caller's mistake.
pub(crate) fn read(folder: &Path) -> Result<RunRecord, Failure> {
    RunRecord::read(&folder.join("run.json")).map_err(|e| Failure::of(&e, true))
}

pub(crate) fn report(folder: &Path) -> Result<u8, Failure> {
    let record = read(folder)?;
    let path = draw(folder, &record).map_err(|e| Failure::of(&e, false))?;
    println!("{}", path.display());
    Ok(0)
}

//! `millrace compare`: two runs of one scenario, side by side.

use std::path::Path;

use millrace_reports::compare;

use crate::{
    failure::Failure,
    output::{WIDTH, color},
    report,
};

pub(crate) fn compare(a: &Path, b: &Path) -> Result<u8, Failure> {
    let (a, b) = (report::read(a)?, report::read(b)?);
    let comparison = compare::compare(&a, &b).map_err(|e| Failure::of(&e, true))?;
    print!("{}", comparison.text(WIDTH, color()));
    Ok(0)
}

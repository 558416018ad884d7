//! Where the lake and the table are: on the command line, in the scenario, or in the run's folder.

use std::path::Path;

use millrace_compactor::store::{self, Location};
use millrace_scenarios::Scenario;

use crate::{cli::PlaceArgs, failure::Failure};

/// The lake of a run, made when it is not there.
pub(crate) async fn lake_of_run(scenario: &Scenario, folder: &Path) -> Result<Location, Failure> {
    open(scenario.delivery.lake.clone().unwrap_or_else(|| inside(folder, "lake")), true).await
}

/// The table of a run, made when it is not there.
pub(crate) async fn table_of_run(scenario: &Scenario, folder: &Path) -> Result<Location, Failure> {
    open(scenario.table.location.clone().unwrap_or_else(|| inside(folder, "table")), true).await
}

/// The lake that a leg alone was given; it has to be there.
pub(crate) async fn lake(scenario: &Scenario, args: &PlaceArgs) -> Result<Location, Failure> {
    open(asked(args.lake.as_ref(), scenario.delivery.lake.as_ref(), "lake", "delivery.lake")?, false).await
}

/// The lake that a delivery stream fills, made when it is not there.
pub(crate) async fn lake_to_fill(scenario: &Scenario, argument: Option<&String>) -> Result<Location, Failure> {
    open(asked(argument, scenario.delivery.lake.as_ref(), "lake", "delivery.lake")?, true).await
}

/// The table that a leg alone was given.
pub(crate) async fn table(scenario: &Scenario, args: &PlaceArgs, create: bool) -> Result<Location, Failure> {
    open(asked(args.table.as_ref(), scenario.table.location.as_ref(), "table", "table.location")?, create).await
}

fn asked(argument: Option<&String>, scenario: Option<&String>, flag: &str, key: &str) -> Result<String, Failure> {
    argument.or(scenario).cloned().ok_or_else(|| {
        let help = format!("add --{flag} with a folder or an s3:// URL, or set {key} in the scenario");
        Failure::configuration(format!("which {flag}?"), &help)
    })
}

fn inside(folder: &Path, name: &str) -> String {
    folder.join(name).to_string_lossy().into_owned()
}

async fn open(location: String, create: bool) -> Result<Location, Failure> {
    store::open(&location, create).await.map_err(|e| Failure::of(&e, e.is_configuration()))
}

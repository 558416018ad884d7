//! `millrace optimize`, `millrace vacuum` and `millrace export`: what is done with a table between compactions.

use millrace_compactor::{
    Clock, CompactError, Location,
    compact::{self, maintain},
    store,
};
use millrace_reports::humanize;

use crate::{
    cli::{ExportArgs, OptimizeArgs, VacuumArgs},
    failure::Failure,
};

pub(crate) async fn optimize(args: OptimizeArgs) -> Result<u8, Failure> {
    let table = open(&args.table).await?;
    let (target, dry_run, clock) = (args.target_size.bytes(), args.dry_run, Clock::system());
    let report = if args.cluster_by.is_empty() {
        maintain::optimize(&table, target, dry_run, &clock).await
    } else {
        maintain::cluster(&table, &args.cluster_by, target, dry_run, &clock).await
    };
    print!("{}", report.map_err(failure)?);
    Ok(0)
}

pub(crate) async fn export(args: ExportArgs) -> Result<u8, Failure> {
    let done = compact::export(&open(&args.table).await?, &args.to).await.map_err(failure)?;
    let (rows, files) = (humanize::counted(done.rows, "row", "rows"), humanize::counted(done.files, "file", "files"));
    println!("{rows} of version {} in {files} ({}) at {}", done.version, humanize::bytes(done.bytes), args.to);
    Ok(0)
}

pub(crate) async fn vacuum(args: VacuumArgs) -> Result<u8, Failure> {
    let table = open(&args.table).await?;
    let retention = args.retention.map(|span| span.duration());
    let (short, dry_run) = (args.allow_short_retention, args.dry_run);
    let report = maintain::vacuum(&table, retention, short, dry_run, &Clock::system()).await.map_err(failure)?;
    print!("{report}");
    // A table that names files that are not there has lost records.
    Ok(u8::from(!report.missing.is_empty()))
}

async fn open(table: &str) -> Result<Location, Failure> {
    store::open(table, false).await.map_err(|e| Failure::of(&e, e.is_configuration()))
}

fn failure(error: CompactError) -> Failure {
    Failure::of(&error, error.is_configuration())
}

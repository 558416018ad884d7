//! `millrace optimize` and `millrace vacuum`: care for a table between compactions.

use millrace_compactor::{Clock, CompactError, Location, compact::maintain, store};

use crate::{
    cli::{OptimizeArgs, VacuumArgs},
    failure::Failure,
};

pub(crate) async fn optimize(args: OptimizeArgs) -> Result<u8, Failure> {
    let table = open(&args.table).await?;
    let report = maintain::optimize(&table, args.target_size.bytes(), args.dry_run, &Clock::system()).await;
    print!("{}", report.map_err(failure)?);
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

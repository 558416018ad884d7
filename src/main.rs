//! `millrace`: the command line. Each subcommand is a file; this one parses, dispatches and turns failures into exit codes.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the binary's output is its purpose")]

mod asking;
mod cli;
mod compact;
mod compacting;
mod compaction_line;
mod compare;
mod conservation;
mod cost;
mod direct;
mod failure;
mod findings;
mod host;
mod landing;
mod maintain;
mod merge;
mod output;
mod pace;
mod place;
mod progress;
mod quarantine;
mod query;
mod report;
mod run;
mod run_folder;
mod scenario;
mod serve;
mod signals;
mod target;
mod worker;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

/// Records are made in one thread and freed in another all day long. The system's allocator keeps an arena per thread
/// and grows with every hand-over; this one gives freed memory back to where it came from.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    output::start_logging(cli.verbose);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("millrace: the runtime could not start: {error}");
            return ExitCode::from(failure::ENVIRONMENT);
        }
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Run(args) => run::run(args, run::Reach::Query).await,
            Command::Load(args) => run::run(args, run::Reach::Lake).await,
            Command::Merge { folders, out } => merge::merge(&folders, out.as_deref()),
            Command::Compact(args) => compact::compact(args).await,
            Command::Optimize(args) => maintain::optimize(args).await,
            Command::Export(args) => maintain::export(args).await,
            Command::Vacuum(args) => maintain::vacuum(args).await,
            Command::Quarantine(command) => quarantine::quarantine(command).await,
            Command::Query(args) => query::query(args).await,
            Command::Report { folder } => report::report(&folder),
            Command::Compare { a, b } => compare::compare(&a, &b),
            Command::Serve(args) => serve::serve(args).await,
            Command::Scenario(command) => scenario::scenario(command),
        }
    });
    // A second engine may still own a blocking thread; the answer is already out.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.print();
            ExitCode::from(failure.exit_code())
        }
    }
}

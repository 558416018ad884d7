//! The stream's speed beside its peers': the same bytes, the same client, in turns, on the same machine.
//!
//! `cargo bench --bench stream` builds the binary, installs the peers from their registries into the target folder, and
//! prints a table in Markdown. Every measurement has a server process of its own, started for it and ended after it; the
//! servers take turns inside a round, so that what else the machine does hits all of them alike. The client shares the
//! cores with the server, so it does nothing but copy bytes made before and look for the few it has to see.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a measurement that goes wrong must stop, and the table goes to the terminal"
)]
#![allow(unreachable_pub, reason = "modules of one program")]

mod client;
mod machine;
mod options;
mod servers;
mod table;
mod workload;

use options::Options;
use servers::Rival;
use table::Table;
use workload::{Measurement, Workload};

fn main() {
    let options = Options::from_arguments();
    let rivals: Vec<Rival> = servers::install(&options);
    let workloads: Vec<Workload> = workload::all(&options);
    println!("\n{}\n", machine::describe());
    let mut table = Table::new(&options);
    for round in 1..=options.rounds {
        for workload in &workloads {
            for rival in &rivals {
                let measured: Measurement = workload.measure(rival, &options);
                eprintln!("round {round}: {:<34} {:<26} {}", workload.name(), rival.name, measured.brief());
                table.add(workload, rival, measured);
            }
        }
    }
    println!("{table}");
}

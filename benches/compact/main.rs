//! The compactor's speed and memory beside its peers', on the same objects, in turns, on the same machine.
//!
//! `cargo bench --bench compact` makes lakes in the folder for temporary files and compacts each with the built binary.
//! Peers are the scripts in `peers/`. What each engine wrote is read again once by an independent reader; one that ends
//! with other rows than ours has done other work, and the benchmark stops.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a measurement that goes wrong must stop, and the table goes to the terminal"
)]
#![allow(unreachable_pub, reason = "modules of one program")]

mod child;
mod engines;
mod lakes;
mod options;
mod table;

use options::Options;

fn main() {
    let options = Options::from_arguments();
    let home = tempfile::tempdir().expect("a folder");
    let lakes = lakes::make(&options, home.path());
    let engines = engines::all(&options);
    println!("\n{}\n", child::describe_machine());
    let mut table = table::Table::default();
    for round in 1..=options.rounds {
        for lake in &lakes {
            for engine in engines.iter().filter(|engine| engine.can_read(lake)) {
                let reader = options.python.as_deref().filter(|_| round == 1);
                let measured = engine.compact(lake, home.path(), reader);
                eprintln!("round {round}: {:<12} {:<20} {}", lake.name, engine.name, measured.brief(lake));
                table.add(lake, engine, measured);
            }
        }
    }
    println!("{table}");
}

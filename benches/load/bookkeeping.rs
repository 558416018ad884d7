//! What it costs to know what became of a record: reading its answer and writing it down, without the network.

use millrace_loadgen::saturate::keep_books;
use tokio::runtime::Runtime;

use crate::{
    null_server::{NullServer, settle},
    one_load::run,
    options::Options,
};

/// Calls whose books are kept in a measurement, of 500 records each.
const CALLS: usize = 4_000;
const RATE: u64 = 10_000;

/// Prints nanoseconds a record, and what a whole load of full batches uses of a core.
pub fn measure(runtime: &Runtime, options: &Options) {
    println!(
        "\n| round | book-keeping, ns of CPU a record | of a core at {RATE}/s | records | whole load at {RATE}/s in full batches, of a core |"
    );
    println!("|---|---|---|---|---|");
    for round in 1..=options.rounds {
        let kept = keep_books(CALLS);
        let ns = kept.cpu.as_nanos() as f64 / kept.records as f64;
        let server = NullServer::start();
        settle();
        let load = serde_json::json!({"arrival": "constant", "linger": "200ms"});
        let loaded = run(runtime, &server, load, RATE, options.window);
        println!(
            "| {round} | {ns:.1} | {:.3} % | {} | {:.1} % |",
            ns * RATE as f64 / 1e7,
            kept.records,
            loaded.cpu_share * 100.0
        );
    }
    println!("\nThe whole load makes, stamps, signs and sends its records, and reads the answers.");
}

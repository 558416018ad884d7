//! The load generator's speed and punctuality beside its peers', against a server that does nothing.
//!
//! `cargo bench --bench load` starts this program a second time as a null server, which reads calls, counts their entries
//! and says that all were taken. Clients take turns inside a round, so that what else the machine does hits all alike.
//! What is compared is the client's processor time: the server shares the cores, and its share is not the client's.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a measurement that goes wrong must stop, and the table goes to the terminal"
)]
#![allow(unreachable_pub, reason = "modules of one program")]

mod bookkeeping;
mod gaps;
mod null_server;
mod one_load;
mod options;
mod pacing;
mod stamped;
mod throughput;

use options::Options;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    if std::env::var_os(null_server::ROLE).is_some() {
        null_server::serve();
    }
    let options = Options::from_arguments();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "\n{cores} cores shared with the server; load average at the start {}.",
        load.split(' ').next().unwrap_or("?")
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    if options.wants("throughput") {
        throughput::measure(&runtime, &options);
    }
    if options.wants("pacing") {
        pacing::measure(&runtime, &options);
    }
    if options.wants("gaps") {
        gaps::measure(&runtime, &options);
    }
    if options.wants("bookkeeping") {
        bookkeeping::measure(&runtime, &options);
    }
}

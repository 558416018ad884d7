//! What the operating system says about this machine and a process.

use std::{fs, time::Duration};

/// Linux counts a process's time in hundredths of a second, whatever the kernel's own tick is.
const TICKS_PER_SECOND: f64 = 100.0;

/// The machine in one line: a number without it means nothing.
pub fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or("unknown processor");
    let model = model.trim_start_matches([' ', '\t', ':']);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    format!("Machine: {cores} cores of {model}, shared by client and server; load average at the start {load}.")
}

/// The processor time a process has used, user and system, in seconds.
pub fn cpu_seconds(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("the process runs");
    // The second field is the name in parentheses and may hold anything; the fields after it count from 3.
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    let ticks = |place: usize| -> f64 {
        fields.split_ascii_whitespace().nth(place - 3).expect("the field is there").parse().expect("a count")
    };
    (ticks(14) + ticks(15)) / TICKS_PER_SECOND
}

/// Waits for as long as it is told, or until `enough` says so.
pub fn wait(window: Duration, enough: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while start.elapsed() < window && !enough() {
        std::thread::sleep(Duration::from_millis(20).min(window));
    }
}

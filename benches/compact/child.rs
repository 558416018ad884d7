//! What a child process cost, from the kernel's own counters.

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Linux counts a process's time in hundredths of a second, whatever the kernel's own tick is.
const TICKS_PER_SECOND: f64 = 100.0;
/// How often the child is looked at. Its peak of memory only grows, so that only what it adds after the last look is
/// missed.
const LOOK: Duration = Duration::from_millis(2);

/// What a child process cost, and what it said.
#[derive(Debug, Clone)]
pub struct Cost {
    /// From start to end.
    pub wall_s: f64,
    /// User and system.
    pub cpu_s: f64,
    /// The most memory that was resident.
    pub peak_bytes: u64,
    /// Its standard output.
    pub said: String,
}

/// Runs a program to its end.
pub fn run(command: &mut Command) -> Cost {
    let output = tempfile::NamedTempFile::new().expect("a file");
    let start = Instant::now();
    let child = command.stdout(output.reopen().expect("the file")).stderr(Stdio::inherit()).spawn();
    let mut child = child.unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let mut peak_bytes = 0;
    // An ended child keeps its times until it is waited for.
    while !ended(&child) {
        peak_bytes = peak_bytes.max(peak(&child));
        std::thread::sleep(LOOK);
    }
    let (wall_s, cpu_s) = (start.elapsed().as_secs_f64(), cpu_seconds(&child));
    let status = child.wait().expect("the child");
    let said = fs::read_to_string(output.path()).expect("its output");
    assert!(status.success(), "{command:?} ended with {status}: {said}");
    Cost { wall_s, cpu_s, peak_bytes, said }
}

/// The fields of `/proc/PID/stat` from the third on. The second is the name in parentheses and may hold anything.
fn stat(child: &Child) -> String {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("the child is there");
    stat.rsplit_once(") ").expect("a name in parentheses").1.to_owned()
}

fn ended(child: &Child) -> bool {
    stat(child).starts_with('Z')
}

fn cpu_seconds(child: &Child) -> f64 {
    let stat = stat(child);
    let ticks = |place: usize| -> f64 {
        stat.split_ascii_whitespace().nth(place - 3).expect("the field is there").parse().expect("a count")
    };
    (ticks(14) + ticks(15)) / TICKS_PER_SECOND
}

fn peak(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    kib.and_then(|kib| kib.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1_024
}

/// The machine in one line: a number without it means nothing.
pub fn describe_machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or("unknown processor");
    let model = model.trim_start_matches([' ', '\t', ':']);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    format!("Machine: {cores} cores of {model}; load average at the start {load}.")
}

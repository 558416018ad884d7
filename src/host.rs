//! The machine a run was made on, as far as `/proc` tells.

use std::{collections::BTreeMap, fs};

/// Operating system, kernel, CPU model, cores and memory. What cannot be read is left out.
pub(crate) fn describe() -> BTreeMap<String, String> {
    let mut host = BTreeMap::from([("os".to_owned(), std::env::consts::OS.to_owned())]);
    host.insert("arch".to_owned(), std::env::consts::ARCH.to_owned());
    let mut put = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            host.insert(name.to_owned(), value);
        }
    };
    put("kernel", fs::read_to_string("/proc/sys/kernel/osrelease").ok().map(|s| s.trim().to_owned()));
    put("cpu", field("/proc/cpuinfo", "model name"));
    put("cores", std::thread::available_parallelism().ok().map(|n| n.to_string()));
    put("memory", field("/proc/meminfo", "MemTotal"));
    host
}

/// Largest resident size of this process so far, bytes.
pub(crate) fn max_rss_bytes() -> Option<u64> {
    let text = field("/proc/self/status", "VmHWM")?;
    Some(text.split(' ').next()?.parse::<u64>().ok()? * 1024)
}

/// The value of the first `name : value` line of a file.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.split_whitespace().collect::<Vec<_>>().join(" "))
}

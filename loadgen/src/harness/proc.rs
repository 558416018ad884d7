//! What the kernel tells about the machine and the process, read from /proc; absent where there is none.

use std::fs;

/// The machine's ticks since it started, from the first line of /proc/stat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MachineTicks {
    total: u64,
    steal: u64,
}

impl MachineTicks {
    pub(super) fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// `cpu  user nice system idle iowait irq softirq steal guest guest_nice` (proc(5)); guest time is in user already.
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.lines().next()?.split_ascii_whitespace();
        if words.next() != Some("cpu") {
            return None;
        }
        let ticks: Vec<u64> = words.take(8).map_while(|word| word.parse().ok()).collect();
        Some(Self { total: ticks.iter().sum(), steal: *ticks.get(7)? })
    }

    pub(super) fn steal_share_since(self, before: Self) -> Option<f64> {
        let total = self.total.checked_sub(before.total).filter(|total| *total > 0)?;
        Some(self.steal.saturating_sub(before.steal) as f64 / total as f64)
    }
}

/// The process's resident memory, from /proc/self/status: it is in KiB there, whatever the size of a page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// Now, bytes.
    pub(super) rss_bytes: u64,
    /// The most the process has had, bytes.
    pub(super) max_rss_bytes: u64,
}

impl Memory {
    pub(super) fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/status").ok()?)
    }

    fn parse(status: &str) -> Option<Self> {
        let bytes = |name: &str| {
            let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
            rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
        };
        Some(Self { rss_bytes: bytes("VmRSS:")?, max_rss_bytes: bytes("VmHWM:")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read_as_documented_and_nonsense_is_absent() {
        let before = MachineTicks::parse("cpu  10 0 10 70 0 0 0 10 5 0\ncpu0 1 2 3\n").unwrap();
        let after = MachineTicks::parse("cpu  20 0 20 140 0 0 0 20 5 0\n").unwrap();
        assert_eq!(before, MachineTicks { total: 100, steal: 10 });
        assert_eq!(after.steal_share_since(before), Some(0.1));
        assert_eq!(before.steal_share_since(before), None);
        assert_eq!(MachineTicks::parse("cpu 1 2 3\n"), None);
        assert_eq!(MachineTicks::parse(""), None);
        let status = "Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t 1024 kB\n";
        assert_eq!(Memory::parse(status), Some(Memory { rss_bytes: 1 << 20, max_rss_bytes: 2 << 20 }));
        assert_eq!(Memory::parse("VmHWM: many\nVmRSS: 1 kB"), None);
    }
}

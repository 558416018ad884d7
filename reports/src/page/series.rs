//! Rows over time, few enough to draw: counts of merged rows are summed, percentiles are never averaged but give their worst.

use super::plot::Plot;
use crate::{
    humanize::clock_us,
    record::{HarnessInterval, LatencyInterval, LoadInterval, LoadRecord},
};

/// Rows a plot and its table hold at most; a plot is not wider than this many points can be told apart.
const MOST_ROWS: usize = 216;

/// Merged rows, and how many rows of the record each one holds.
pub(super) struct Merged<T> {
    pub(super) rows: Vec<T>,
    pub(super) each: usize,
}

impl<T> Merged<T> {
    /// The same, after what else is to be said.
    pub(super) fn note_after(&self, first: &str, rule: &str) -> String {
        format!("{first} {}", self.note(rule)).trim().to_owned()
    }

    /// What to say under the plot when rows were merged.
    pub(super) fn note(&self, rule: &str) -> String {
        match self.each {
            0 | 1 => String::new(),
            n => format!("Each point is {n} intervals of the record: {rule}."),
        }
    }
}

fn merge<T: Clone>(rows: &[T], add: impl Fn(T, &T) -> T) -> Merged<T> {
    let each = rows.len().div_ceil(MOST_ROWS).max(1);
    let rows = rows
        .chunks(each)
        .filter_map(|chunk| chunk.split_first().map(|(first, rest)| rest.iter().fold(first.clone(), &add)))
        .collect();
    Merged { rows, each }
}

/// Intervals of the load, summed where there are too many.
pub(super) fn load(rows: &[LoadInterval]) -> Merged<LoadInterval> {
    merge(rows, |a, b| LoadInterval {
        start_us: a.start_us,
        length_us: a.length_us + b.length_us,
        due: a.due + b.due,
        offered: a.offered + b.offered,
        accepted: a.accepted + b.accepted,
        refusals: a.refusals + b.refusals,
        in_flight: a.in_flight.max(b.in_flight),
    })
}

/// Intervals of a latency, the worst of each group where there are too many. Intervals without a record are left out.
pub(super) fn latency(rows: &[LatencyInterval]) -> Merged<LatencyInterval> {
    let rows: Vec<_> = rows.iter().filter(|r| r.count > 0).cloned().collect();
    merge(&rows, |a, b| LatencyInterval {
        start_us: a.start_us,
        count: a.count + b.count,
        p50_us: a.p50_us.max(b.p50_us),
        p99_us: a.p99_us.max(b.p99_us),
        max_us: a.max_us.max(b.max_us),
    })
}

/// Intervals of the harness: switches are summed, of all else the worst of each group is kept where there are too many.
pub(super) fn harness(rows: &[HarnessInterval]) -> Merged<HarnessInterval> {
    let worst = |a: Option<f64>, b: Option<f64>| a.zip(b).map(|(a, b)| a.max(b)).or(a).or(b);
    merge(rows, |a, b| HarnessInterval {
        start_us: a.start_us,
        length_us: a.length_us + b.length_us,
        hiccup_count: a.hiccup_count + b.hiccup_count,
        hiccup_p50_us: a.hiccup_p50_us.max(b.hiccup_p50_us),
        hiccup_p99_us: a.hiccup_p99_us.max(b.hiccup_p99_us),
        hiccup_max_us: a.hiccup_max_us.max(b.hiccup_max_us),
        cpu_share: a.cpu_share.max(b.cpu_share),
        steal_share: worst(a.steal_share, b.steal_share),
        voluntary_switches: a.voluntary_switches + b.voluntary_switches,
        involuntary_switches: a.involuntary_switches + b.involuntary_switches,
        rss_bytes: a.rss_bytes.max(b.rss_bytes),
    })
}

/// Points of a line over time; a gap of more than one and a half usual steps breaks the line.
pub(super) fn over_time(rows: &[LatencyInterval], value: impl Fn(&LatencyInterval) -> u64) -> Vec<Option<(f64, f64)>> {
    let mut steps: Vec<u64> = rows.windows(2).map(|w| w[1].start_us.saturating_sub(w[0].start_us)).collect();
    steps.sort_unstable();
    let usual = steps.get(steps.len() / 2).copied().unwrap_or(0) as f64;
    let mut points = Vec::with_capacity(rows.len());
    let mut before: Option<u64> = None;
    for row in rows {
        if before.is_some_and(|b| row.start_us.saturating_sub(b) as f64 > 1.5 * usual) {
            points.push(None);
        }
        points.push(Some((row.start_us as f64, value(row) as f64)));
        before = Some(row.start_us);
    }
    points
}

/// Shades warm-up and cool-down of a load on an axis that ends at `end_us`; says so for the note below the plot.
pub(super) fn shade(plot: &mut Plot, load: Option<&LoadRecord>, end_us: u64) -> &'static str {
    let Some(window) = load.and_then(|load| load.window) else { return "" };
    plot.shade(0.0, window.from_us as f64);
    plot.shade(window.until_us as f64, end_us.max(window.until_us) as f64);
    "Warm-up and cool-down are shaded: what was due in them is drawn and not judged."
}

/// Marks of a time axis that ends at `end_us`: four to nine, at round seconds, minutes or hours.
pub(super) fn time_ticks(end_us: u64) -> Vec<(f64, String)> {
    const STEPS_S: [u64; 16] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 21_600, 86_400];
    let seconds = (end_us / 1_000_000).max(1);
    let step = STEPS_S.into_iter().find(|s| seconds / s <= 8).unwrap_or(seconds.div_ceil(8));
    (0..=seconds / step).map(|n| n * step * 1_000_000).map(|us| (us as f64, clock_us(us))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: u64) -> Vec<LatencyInterval> {
        (0..count)
            .map(|n| LatencyInterval { start_us: n * 1_000_000, count: 2, p50_us: n, p99_us: 2 * n, max_us: 3 * n })
            .collect()
    }

    #[test]
    fn many_rows_become_few_with_the_same_sum_and_the_same_worst() {
        let merged = latency(&rows(10_000));
        assert!(merged.rows.len() <= MOST_ROWS && merged.each == 47);
        assert_eq!(merged.rows.iter().map(|r| r.count).sum::<u64>(), 20_000);
        assert_eq!(merged.rows.iter().map(|r| r.max_us).max(), Some(3 * 9_999));
        assert!(merged.note("the worst").contains("47 intervals"));
        assert_eq!(latency(&rows(100)).rows, rows(100));
        assert!(latency(&[]).rows.is_empty());
    }

    #[test]
    fn merged_load_keeps_every_record() {
        let row =
            LoadInterval { start_us: 0, length_us: 10, due: 3, offered: 2, accepted: 1, refusals: 4, in_flight: 5 };
        let merged = load(&vec![row; 1_001]);
        let sum = |of: fn(&LoadInterval) -> u64| merged.rows.iter().map(of).sum::<u64>();
        assert_eq!((sum(|r| r.due), sum(|r| r.accepted), sum(|r| r.length_us)), (3_003, 1_001, 10_010));
    }

    #[test]
    fn a_pause_breaks_the_line() {
        let mut rows = rows(10);
        rows.remove(5);
        let points = over_time(&rows, |r| r.max_us);
        assert_eq!(points.iter().position(Option::is_none), Some(5));
        assert_eq!(points.iter().flatten().count(), 9);
    }

    #[test]
    fn a_time_axis_has_round_marks_and_few_of_them() {
        let labels = |us| time_ticks(us).into_iter().map(|t| t.1).collect::<Vec<_>>();
        assert_eq!(labels(60_000_000), ["0:00", "0:10", "0:20", "0:30", "0:40", "0:50", "1:00"]);
        assert_eq!(labels(0), ["0:00", "0:01"]);
        for seconds in [1, 7, 59, 61, 3_599, 86_400, 10_000_000] {
            let marks = time_ticks(seconds * 1_000_000).len();
            assert!((2..=9).contains(&marks), "{seconds} s: {marks}");
        }
    }
}

//! The line that shows a compaction while it runs.

use std::{sync::Arc, time::Duration};

use millrace_compactor::compact::{Progress, Snapshot};
use millrace_reports::humanize;

use crate::{output::WIDTH, progress::ProgressLine};

/// Starts drawing to stderr.
pub(crate) fn start(progress: Arc<Progress>) -> ProgressLine {
    ProgressLine::drawing(move |elapsed| line(&progress.now(), elapsed))
}

/// One line of at most 100 columns.
fn line(now: &Snapshot, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    let megabytes = now.raw_bytes as f64 / 1e6 / seconds.max(1e-3);
    let more = if now.is_all_found { "" } else { "+" };
    let line = format!(
        "{seconds:>5.1}s  {}/{}{more} objects  {megabytes:.0} MB/s  {} rows  {} duplicates  {} quarantined  ETA {}",
        short(now.objects),
        short(now.found_objects),
        short(now.rows),
        short(now.duplicates),
        short(now.quarantined),
        now.left(elapsed).map_or_else(|| "-".to_owned(), clock),
    );
    if line.chars().count() > WIDTH { line.chars().take(WIDTH - 1).chain(['…']).collect() } else { line }
}

/// A count in nine columns at most.
fn short(count: u64) -> String {
    if count < 10_000_000 { humanize::count(count) } else { format!("{}M", humanize::count(count / 1_000_000)) }
}

fn clock(left: Duration) -> String {
    match left.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        seconds => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_done_and_what_is_left() {
        let mut now = Snapshot {
            objects: 30,
            found_objects: 120,
            read_bytes: 50,
            raw_bytes: 250_000_000,
            found_bytes: 200,
            is_all_found: true,
            rows: 1_234_567,
            duplicates: 89,
            quarantined: 1,
            ..Snapshot::default()
        };
        let elapsed = Duration::from_millis(25_000);
        let counts = "objects  10 MB/s  1,234,567 rows  89 duplicates  1 quarantined";
        assert_eq!(line(&now, elapsed), format!(" 25.0s  30/120 {counts}  ETA 1m15s"));
        now.is_all_found = false;
        assert_eq!(line(&now, elapsed), format!(" 25.0s  30/120+ {counts}  ETA -"));
        assert_eq!(line(&Snapshot::default(), Duration::ZERO).matches("ETA -").count(), 1);
    }

    #[test]
    fn no_line_is_wider_than_a_terminal() {
        let most = u64::MAX / 2;
        let now = Snapshot {
            objects: most,
            found_objects: most,
            read_bytes: 1,
            raw_bytes: most,
            found_bytes: most,
            is_all_found: true,
            lines: most,
            rows: most,
            duplicates: most,
            quarantined: most,
        };
        for seconds in [0, 59, 60, 3_600, 999_999] {
            assert!(line(&now, Duration::from_secs(seconds)).chars().count() <= WIDTH);
        }
        assert_eq!([5, 65, 7_322].map(|seconds| clock(Duration::from_secs(seconds))), ["5s", "1m05s", "2h02m"]);
    }
}

//! The line that shows a run while it runs: redrawn on a terminal, timed lines elsewhere.

use std::{
    io::{IsTerminal, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use millrace_loadgen::{LoadProgress, ProgressSnapshot};
use millrace_pipeline::delivery::Progress;
use millrace_reports::humanize;
use tokio::task::JoinHandle;

use crate::{output::WIDTH, run_folder::now_us};

/// How often a terminal's line is drawn again, and how often a line is printed elsewhere.
const REDRAW: Duration = Duration::from_millis(250);
const LINE_EVERY: Duration = Duration::from_secs(5);

/// What the line is made of.
#[derive(Clone)]
pub(crate) struct Watched {
    pub(crate) load: Arc<LoadProgress>,
    /// What was landed; absent when nothing is delivered.
    pub(crate) delivery: Option<Arc<Progress>>,
    /// Rows in the table; absent when nothing is compacted.
    pub(crate) compacted: Option<Arc<AtomicU64>>,
}

/// Draws until it is stopped.
pub(crate) struct ProgressLine(JoinHandle<()>);

impl ProgressLine {
    /// Starts drawing a run to stderr.
    pub(crate) fn start(watched: Watched) -> Self {
        let mut rate = Rate::default();
        Self::drawing(move |elapsed| {
            let now = watched.load.snapshot(now_us());
            line(&watched, &now, elapsed, rate.over_a_second(now.accepted))
        })
    }

    /// Starts drawing what `line` says after each span of time.
    pub(crate) fn drawing(line: impl FnMut(Duration) -> String + Send + 'static) -> Self {
        Self(tokio::spawn(draw(line, is_terminal())))
    }

    /// Stops, leaving the terminal on a fresh line.
    pub(crate) async fn stop(self) {
        self.0.abort();
        let _ = self.0.await;
        if is_terminal() {
            eprint!("\r\x1b[2K");
        }
    }
}

/// Whether a line can be drawn again in its place.
fn is_terminal() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

async fn draw(mut line: impl FnMut(Duration) -> String, terminal: bool) {
    let started = Instant::now();
    let mut ticks = tokio::time::interval(if terminal { REDRAW } else { LINE_EVERY });
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let line = line(started.elapsed());
        if terminal {
            eprint!("\r\x1b[2K{line}");
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("{line}");
        }
    }
}

/// Records per second over the last second or more, so that a line drawn often does not flicker.
struct Rate {
    since: Instant,
    accepted: u64,
    per_second: f64,
}

impl Default for Rate {
    fn default() -> Self {
        Self { since: Instant::now(), accepted: 0, per_second: 0.0 }
    }
}

impl Rate {
    fn over_a_second(&mut self, accepted: u64) -> f64 {
        let seconds = self.since.elapsed().as_secs_f64();
        if seconds >= 1.0 {
            self.per_second = accepted.saturating_sub(self.accepted) as f64 / seconds;
            (self.since, self.accepted) = (Instant::now(), accepted);
        }
        self.per_second
    }
}

/// One line of at most 100 columns.
fn line(watched: &Watched, load: &ProgressSnapshot, elapsed: Duration, rate: f64) -> String {
    let latency = if load.response_p99_us == 0 {
        "p50 -  p99 -".to_owned()
    } else {
        let (p50, p99) = (humanize::duration_us(load.response_p50_us), humanize::duration_us(load.response_p99_us));
        format!("p50 {p50}  p99 {p99}")
    };
    let target = load.target_rate.map_or_else(String::new, |target| format!("/{target:.0}"));
    let mut line = format!(
        "{:>5.1}s  {rate:.0}{target} rec/s  {latency}  refused {}",
        elapsed.as_secs_f64(),
        humanize::count(load.refused),
    );
    if let Some(delivery) = &watched.delivery {
        line.push_str(&format!("  delivered {}", humanize::count(delivery.records_delivered())));
    }
    if let Some(rows) = &watched.compacted {
        line.push_str(&format!("  compacted {}", humanize::count(rows.load(Ordering::Relaxed))));
    }
    if line.chars().count() > WIDTH {
        line = line.chars().take(WIDTH - 1).chain(['…']).collect();
    }
    line
}

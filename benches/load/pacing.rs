//! How late records leave: ours, beside a bare loop of the sleep that it is made of, in turns.

use hdrhistogram::Histogram;
use millrace_loadgen::{Clock, clock::sharpen_timers};
use millrace_reports::{latency::histogram, record::HopLatency};
use millrace_scenarios::Hop;
use tokio::runtime::Runtime;

use crate::{
    null_server::{NullServer, settle},
    one_load::run,
    options::Options,
};

/// One measurement: lateness in microseconds.
#[derive(Debug, Clone, Copy)]
struct Late {
    p50: u64,
    p99: u64,
    p999: u64,
    max: u64,
    count: u64,
    cpu_share: f64,
}

/// Measures 1,000 and 10,000 records a second, one record a call, and prints the table.
pub fn measure(runtime: &Runtime, options: &Options) {
    println!(
        "\n| rate | sender | late p50, us | p99, us | p99.9, us | max, us | CPU of a core | p50 to bare | records, rounds |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for rate in [1_000, 10_000] {
        let mut rows: Vec<(&str, Vec<Late>)> =
            ["bare clock_nanosleep", "millrace", "bare, spinning", "millrace, spin = 60us"]
                .map(|name| (name, Vec::new()))
                .to_vec();
        for round in 1..=options.rounds {
            for (name, all) in &mut rows {
                let late = match *name {
                    "bare clock_nanosleep" => bare(rate, 0, options),
                    "bare, spinning" => bare(rate, SPIN_US, options),
                    "millrace" => ours(runtime, rate, 0, options),
                    _ => ours(runtime, rate, SPIN_US, options),
                };
                eprintln!("round {round}, {rate}/s, {name}: {late:?}");
                all.push(late);
            }
        }
        let bare_p50 = |at: usize| median(&rows[at].1, |late| late.p50).max(1);
        let references = [bare_p50(0), bare_p50(0), bare_p50(2), bare_p50(2)];
        for ((name, all), reference) in rows.iter().zip(references) {
            let of = |figure: fn(&Late) -> u64| median(all, figure);
            println!(
                "| {rate}/s | {name} | {} | {} | {} | {} | {:.0} % | {:.2} x | {}, {} |",
                of(|l| l.p50),
                of(|l| l.p99),
                of(|l| l.p999),
                of(|l| l.max),
                100.0 * all.iter().map(|l| l.cpu_share).sum::<f64>() / all.len() as f64,
                of(|l| l.p50).max(1) as f64 / reference as f64,
                all.iter().map(|l| l.count).sum::<u64>(),
                all.len(),
            );
        }
    }
    println!(
        "\nMedians over rounds of each round's percentile. A record has a call of its own; lateness is send - due."
    );
}

const SPIN_US: u64 = 60;

fn median(all: &[Late], figure: impl Fn(&Late) -> u64) -> u64 {
    let mut figures: Vec<u64> = all.iter().map(figure).collect();
    figures.sort_unstable();
    figures[figures.len() / 2]
}

/// A loop that sleeps until each due time and looks at the clock.
fn bare(rate: u64, spin_us: u64, options: &Options) -> Late {
    sharpen_timers();
    let clock = Clock::start();
    let before = millrace_loadgen::clock::cpu_us();
    let start_us = clock.now_us() + 10_000;
    let count = (options.window.as_secs_f64() * rate as f64) as u64;
    let mut late = histogram();
    for k in 0..count {
        let due_us = start_us + k * 1_000_000 / rate;
        if clock.now_us() + spin_us < due_us {
            clock.sleep_until(due_us - spin_us);
        }
        let mut now_us = clock.now_us();
        while now_us < due_us {
            std::hint::spin_loop();
            now_us = clock.now_us();
        }
        late.saturating_record(now_us - due_us);
    }
    let cpu_us = millrace_loadgen::clock::cpu_us() - before;
    summary(&late, cpu_us as f64 / (clock.now_us() - start_us) as f64)
}

fn summary(late: &Histogram<u64>, cpu_share: f64) -> Late {
    let at = |q| late.value_at_quantile(q);
    Late { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: late.max(), count: late.len(), cpu_share }
}

/// A load of one record a call on the null server.
fn ours(runtime: &Runtime, rate: u64, spin_us: u64, options: &Options) -> Late {
    let server = NullServer::start();
    settle();
    let load = serde_json::json!({"arrival": "constant", "linger": "0s", "batch_records": 1, "in_flight": 64,
        "spin": format!("{spin_us}us")});
    let loaded = run(runtime, &server, load, rate, options.window);
    let lag: &HopLatency = loaded.outcome.latency.iter().find(|hop| hop.hop == Hop::Lag).expect("lag is timed");
    Late {
        p50: lag.value_at(50.0),
        p99: lag.value_at(99.0),
        p999: lag.value_at(99.9),
        max: lag.max_us,
        count: lag.count,
        cpu_share: loaded.cpu_share,
    }
}

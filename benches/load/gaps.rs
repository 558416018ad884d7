//! Are the gaps between records that were really sent those of a Poisson process? The kernel says when.

use millrace_loadgen::goodness::{AD_CRITICAL_1_PERCENT, Fit, KS_CRITICAL_1_PERCENT};
use tokio::runtime::Runtime;

use crate::{
    null_server::{NullServer, settle},
    one_load::run,
    options::Options,
};

const RATE: u64 = 1_000;

/// Sends Poisson arrivals one by one, sleeping only and with a last spin, and prints both statistics of the gaps between
/// the packets, which the kernel stamps to the nanosecond.
pub fn measure(runtime: &Runtime, options: &Options) {
    println!(
        "\n| Poisson, {RATE}/s | gaps | Kolmogorov-Smirnov, of {KS_CRITICAL_1_PERCENT} | Anderson-Darling, of {AD_CRITICAL_1_PERCENT} | at 1 % |"
    );
    println!("|---|---|---|---|---|");
    for round in 1..=options.rounds {
        for (name, spin) in [("millrace", "0us"), ("millrace, spin = 60us", "60us")] {
            let fit = sent(runtime, spin, options);
            println!(
                "| {name}, round {round} | {} | {:.3} | {:.3} | {} |",
                fit.gaps,
                fit.ks_distance * (fit.gaps as f64).sqrt(),
                fit.ad_squared,
                if fit.passes() { "passes" } else { "refused" },
            );
        }
    }
}

fn sent(runtime: &Runtime, spin: &str, options: &Options) -> Fit {
    let server = NullServer::start_stamped();
    settle();
    let load =
        serde_json::json!({"arrival": "poisson", "linger": "0s", "batch_records": 1, "in_flight": 8, "spin": spin});
    run(runtime, &server, load, RATE, options.window);
    let mut arrivals_ns = server.arrivals_ns();
    arrivals_ns.sort_unstable();
    let rescaled = |pair: &[i64]| (pair[1] - pair[0]) as f64 * RATE as f64 / 1e9;
    let gaps: Vec<f64> = arrivals_ns.windows(2).map(rescaled).collect();
    Fit::of_unit_exponential(&gaps)
}

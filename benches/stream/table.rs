//! The results as a table in Markdown.

use std::{collections::BTreeMap, fmt};

use crate::{
    options::Options,
    servers::Rival,
    workload::{Measurement, Workload},
};

/// Every measurement, by workload and then by server in the order they were first measured.
#[derive(Debug)]
pub struct Table {
    rows: BTreeMap<Workload, Vec<(String, Vec<Measurement>)>>,
    window_s: f64,
}

impl Table {
    /// An empty one.
    pub fn new(options: &Options) -> Self {
        Self { rows: BTreeMap::new(), window_s: options.window.as_secs_f64() }
    }

    /// Keeps a measurement.
    pub fn add(&mut self, workload: &Workload, rival: &Rival, measured: Measurement) {
        let servers = self.rows.entry(*workload).or_default();
        match servers.iter_mut().find(|(name, _)| *name == rival.name) {
            Some((_, all)) => all.push(measured),
            None => servers.push((rival.name.clone(), vec![measured])),
        }
    }
}

/// The middle one of some figures, or the mean of the middle two.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let half = figures.len() / 2;
    if figures.len() % 2 == 1 { figures[half] } else { (figures[half - 1] + figures[half]) / 2.0 }
}

/// `12345678` as `12,345,678`.
fn grouped(figure: f64) -> String {
    let digits = format!("{figure:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| workload | server | records/s: median (least to most) | MB/s | server CPU-s per million | \
             client CPU-s per million | p50 / p99 of a call, us | millrace is | records, rounds |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|---|")?;
        for (workload, servers) in &self.rows {
            let of = |all: &[Measurement], figure: fn(&Measurement) -> f64| median(all.iter().map(figure).collect());
            let ours = servers.first().map_or(f64::NAN, |(_, all)| of(all, |m| m.rate));
            for (server, all) in servers {
                let rate = of(all, |m| m.rate);
                let least = all.iter().map(|m| m.rate).fold(f64::INFINITY, f64::min);
                let most = all.iter().map(|m| m.rate).fold(0.0, f64::max);
                let latency = all.iter().all(|m| m.latency_us.is_some()).then(|| {
                    let p50 = of(all, |m| m.latency_us.map_or(f64::NAN, |l| l.0));
                    format!("{p50:.0} / {:.0}", of(all, |m| m.latency_us.map_or(f64::NAN, |l| l.1)))
                });
                let records: u64 = all.iter().map(|m| m.records).sum();
                writeln!(
                    f,
                    "| {} | {server} | {} ({} to {}) | {:.1} | {:.2} | {:.2} | {} | {:.2} x | {}, {} |",
                    workload.name(),
                    grouped(rate),
                    grouped(least),
                    grouped(most),
                    of(all, |m| m.megabytes),
                    of(all, |m| m.server_cpu),
                    of(all, |m| m.client_cpu),
                    latency.as_deref().unwrap_or(""),
                    ours / rate,
                    grouped(records as f64),
                    all.len()
                )?;
            }
        }
        writeln!(
            f,
            "\nA window lasts {} s after a warm-up of 0.5 s, or until 1.2 GiB are stored; a server process for each. Percentiles of \
             calls are the medians over rounds of each round's percentile.",
            self.window_s
        )
    }
}

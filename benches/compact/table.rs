//! The results as tables in Markdown.

use std::fmt;

use crate::{
    engines::{Engine, Measurement},
    lakes::Lake,
};

/// Every measurement, by lake and engine in the order they were first measured.
#[derive(Debug, Default)]
pub struct Table {
    lakes: Vec<Measured>,
}

#[derive(Debug)]
struct Measured {
    name: &'static str,
    about: String,
    json_bytes: u64,
    object_bytes: u64,
    engines: Vec<(String, Vec<Measurement>)>,
}

impl Table {
    /// Keeps a measurement. All engines must have found the same rows.
    pub fn add(&mut self, lake: &Lake, engine: &Engine, measured: Measurement) {
        let Some(of) = self.lakes.iter_mut().find(|of| of.name == lake.name) else {
            self.lakes.push(Measured {
                name: lake.name,
                about: lake.about.clone(),
                json_bytes: lake.json_bytes,
                object_bytes: lake.object_bytes,
                engines: vec![(engine.name.clone(), vec![measured])],
            });
            return;
        };
        if let (Some(first), Some(here)) = (&of.engines[0].1[0].digest, &measured.digest) {
            assert_eq!(here, first, "{} wrote other rows of {} than the first engine", engine.name, of.name);
        }
        match of.engines.iter_mut().find(|(name, _)| *name == engine.name) {
            Some((_, all)) => all.push(measured),
            None => of.engines.push((engine.name.clone(), vec![measured])),
        }
    }
}

/// The middle one of some figures, or the mean of the middle two.
fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let half = figures.len() / 2;
    if figures.len() % 2 == 1 { figures[half] } else { f64::midpoint(figures[half - 1], figures[half]) }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| lake | engine | MB of JSON per CPU-s | CPU-s | wall s | peak MiB | CPU, to ours | wall, to ours |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|")?;
        for lake in &self.lakes {
            let cpu_s = |all: &[Measurement]| median(all.iter().map(|m| m.cost.cpu_s));
            let wall_s = |all: &[Measurement]| median(all.iter().map(|m| m.cost.wall_s));
            let ours = &lake.engines[0].1;
            for (engine, all) in &lake.engines {
                writeln!(
                    f,
                    "| {} | {engine} | {:.0} | {:.2} | {:.2} | {:.0} | {:.2} x | {:.2} x |",
                    lake.name,
                    lake.json_bytes as f64 / 1e6 / cpu_s(all),
                    cpu_s(all),
                    wall_s(all),
                    median(all.iter().map(|m| m.cost.peak_bytes as f64)) / f64::from(1 << 20),
                    cpu_s(all) / cpu_s(ours),
                    wall_s(all) / wall_s(ours),
                )?;
            }
        }
        writeln!(f, "\nMedians of {} rounds.\n", self.lakes.first().map_or(0, |l| l.engines[0].1.len()))?;
        for lake in &self.lakes {
            let megabytes = |bytes: u64| bytes as f64 / 1e6;
            let (json, objects) = (megabytes(lake.json_bytes), megabytes(lake.object_bytes));
            writeln!(f, "- {}: {}; {json:.1} MB of JSON, {objects:.1} MB of objects.", lake.name, lake.about)?;
            if lake.engines.len() > 1
                && let Some(digest) = &lake.engines[0].1[0].digest
            {
                writeln!(f, "  Every engine wrote the same rows (count, sum of hashes): {digest}.")?;
            }
        }
        self.shares(f)
    }
}

impl Table {
    /// Where our processor time went: the share of each stage in that of the whole process.
    fn shares(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.lakes.first() else { return Ok(()) };
        let names: Vec<_> = first.engines[0].1[0].stages.iter().map(|(name, _)| name.clone()).collect();
        writeln!(f, "\n| lake | CPU-s | {} | outside of the pass |", names.join(" | "))?;
        writeln!(f, "|---|---|{}---|", "---|".repeat(names.len()))?;
        for lake in &self.lakes {
            let all = &lake.engines[0].1;
            let whole_us = median(all.iter().map(|m| m.cost.cpu_s * 1e6));
            let of = |m: &Measurement, name: &str| {
                m.stages.iter().find(|(n, _)| n == name).map_or(0.0, |(_, us)| *us as f64)
            };
            let shares: Vec<f64> =
                names.iter().map(|name| 100.0 * median(all.iter().map(|m| of(m, name))) / whole_us).collect();
            let rest = 100.0 - shares.iter().sum::<f64>();
            let shares: Vec<String> = shares.iter().map(|share| format!("{share:.0} %")).collect();
            writeln!(f, "| {} | {:.2} | {} | {rest:.0} % |", lake.name, whole_us / 1e6, shares.join(" | "))?;
        }
        Ok(())
    }
}

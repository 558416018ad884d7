//! Ours and the peers: how each is run, and how many rows it says it wrote.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    child::{self, Cost},
    lakes::Lake,
    options::Options,
};

/// Something that compacts a lake.
#[derive(Debug)]
pub struct Engine {
    /// Its name in the table.
    pub name: &'static str,
    program: PathBuf,
    /// The peer's script; ours has none.
    script: Option<PathBuf>,
}

/// What one compaction cost.
#[derive(Debug, Clone)]
pub struct Measurement {
    /// The process.
    pub cost: Cost,
    /// Rows in the table or the files.
    pub rows: u64,
    /// Ours: processor time by stage, microseconds.
    pub stages: Vec<(String, u64)>,
}

impl Measurement {
    /// For the progress line.
    pub fn brief(&self, lake: &Lake) -> String {
        let Cost { wall_s, cpu_s, peak_bytes, .. } = self.cost;
        let speed = lake.json_bytes as f64 / 1e6 / cpu_s;
        format!("{wall_s:.2} s, {cpu_s:.2} CPU-s, {speed:.0} MB/CPU-s, {} MiB, {} rows", peak_bytes >> 20, self.rows)
    }
}

/// Ours first, then the peers asked for.
pub fn all(options: &Options) -> Vec<Engine> {
    let this = PathBuf::from(env!("CARGO_BIN_EXE_millrace"));
    let mut engines = vec![Engine { name: "millrace", program: this, script: None }];
    let baseline = options.baseline.clone();
    engines.extend(baseline.map(|program| Engine { name: "millrace (baseline)", program, script: None }));
    let peer = |(name, script): &(&'static str, PathBuf)| Engine {
        name,
        program: options.python.clone(),
        script: Some(script.clone()),
    };
    engines.extend(options.peers.iter().map(peer));
    engines
}

impl Engine {
    /// Whether it knows the lake's shape.
    pub fn can_read(&self, lake: &Lake) -> bool {
        self.script.is_none() || lake.for_peers
    }

    /// Compacts the whole lake into a new folder.
    pub fn compact(&self, lake: &Lake, home: &Path) -> Measurement {
        let (table, out) = (home.join("table"), home.join("run"));
        let _ = fs::remove_dir_all(&table);
        let _ = fs::remove_dir_all(&out);
        let mut command = Command::new(&self.program);
        if let Some(script) = &self.script {
            let cost = child::run(command.arg(script).arg(&lake.folder).arg(&table));
            let rows = cost.said.split_ascii_whitespace().last().and_then(|rows| rows.parse().ok());
            return Measurement { rows: rows.expect("rows at the end of the output"), cost, stages: Vec::new() };
        }
        command.arg("compact").arg(&lake.scenario).arg("--lake").arg(&lake.folder);
        let cost = child::run(command.arg("--table").arg(&table).arg("--out").arg(&out));
        let record = fs::read(out.join("run.json")).expect("a run record");
        let record: Value = serde_json::from_slice(&record).expect("JSON");
        let compaction = &record["compaction"];
        assert_eq!(compaction["quarantined"], 0, "every record is good");
        let stages = compaction["stages"].as_object().into_iter().flatten();
        let stages = stages.map(|(name, us)| (name.clone(), us.as_u64().unwrap_or(0))).collect();
        Measurement { cost, rows: compaction["table_rows"].as_u64().expect("a count"), stages }
    }
}

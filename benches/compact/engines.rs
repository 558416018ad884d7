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
    pub name: String,
    program: PathBuf,
    /// The peer's script; ours has none.
    script: Option<PathBuf>,
}

/// What one compaction cost.
#[derive(Debug, Clone)]
pub struct Measurement {
    /// The process.
    pub cost: Cost,
    /// Rows and a sum over their values' hashes, as an independent reader finds them; looked at once for each engine.
    pub digest: Option<String>,
    /// Ours: processor time by stage, microseconds.
    pub stages: Vec<(String, u64)>,
}

impl Measurement {
    /// For the progress line.
    pub fn brief(&self, lake: &Lake) -> String {
        let Cost { wall_s, cpu_s, peak_bytes, .. } = self.cost;
        let speed = lake.json_bytes as f64 / 1e6 / cpu_s;
        format!("{wall_s:.2} s, {cpu_s:.2} CPU-s, {speed:.0} MB/CPU-s, {} MiB", peak_bytes >> 20)
    }
}

/// The folder of the peers' scripts.
fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/compact/peers")
}

/// Ours first, then the peers asked for.
pub fn all(options: &Options) -> Vec<Engine> {
    let this = PathBuf::from(env!("CARGO_BIN_EXE_millrace"));
    let mut engines = vec![Engine { name: "millrace".to_owned(), program: this, script: None }];
    let baseline = options.baseline.clone();
    engines.extend(baseline.map(|program| Engine { name: "millrace (baseline)".to_owned(), program, script: None }));
    let peer = |name: &String, python: &PathBuf| {
        let script = scripts().join(format!("{name}_engine.py"));
        Engine { name: name.clone(), program: python.clone(), script: Some(script) }
    };
    engines.extend(options.python.iter().flat_map(|python| options.peers.iter().map(move |name| peer(name, python))));
    engines
}

impl Engine {
    /// Whether it knows the lake's shape.
    pub fn can_read(&self, lake: &Lake) -> bool {
        self.script.is_none() || lake.shape.is_some()
    }

    /// Compacts the whole lake into a new folder. With a `reader`, a Python, what was written is read again.
    pub fn compact(&self, lake: &Lake, home: &Path, reader: Option<&Path>) -> Measurement {
        let (table, out) = (home.join("table"), home.join("run"));
        let _ = fs::remove_dir_all(&table);
        let _ = fs::remove_dir_all(&out);
        let mut command = Command::new(&self.program);
        let (mut stages, shape) = (Vec::new(), lake.shape.unwrap_or_default());
        let cost = if let Some(script) = &self.script {
            child::run(command.arg(script).arg(shape).arg(&lake.folder).arg(&table))
        } else {
            command.arg("compact").arg(&lake.scenario).arg("--lake").arg(&lake.folder);
            let cost = child::run(command.arg("--table").arg(&table).arg("--out").arg(&out));
            let record = fs::read(out.join("run.json")).expect("a run record");
            let record: Value = serde_json::from_slice(&record).expect("JSON");
            assert_eq!(record["compaction"]["quarantined"], 0, "every record is good");
            stages = stages_of(&record["compaction"]);
            cost
        };
        let digest = reader.filter(|_| lake.shape.is_some()).map(|python| {
            let mut read = Command::new(python);
            child::run(read.arg(scripts().join("digest.py")).arg(shape).arg(&table)).said.trim().to_owned()
        });
        Measurement { cost, digest, stages }
    }
}

/// Processor time by stage, of what the compaction itself counted.
fn stages_of(compaction: &Value) -> Vec<(String, u64)> {
    let stages = compaction["stages"].as_object().into_iter().flatten();
    stages.map(|(name, us)| (name.trim_end_matches("_us").to_owned(), us.as_u64().unwrap_or(0))).collect()
}

//! What can be asked of the benchmark.

use std::path::PathBuf;

const HELP: &str = "\
cargo bench --bench compact -- [options]
  --rounds N          how often everything is measured (5)
  --rows N            rows of the sensor lake (1000000)
  --only TEXT         only the lakes whose name contains TEXT
  --tenfold yes       also a sensor lake of ten times the rows
  --baseline PATH     another millrace binary, measured as a peer
  --python PATH       the Python that has the peers
  --duckdb SCRIPT     DuckDB's script
  --polars SCRIPT     Polars' script
  --chdb SCRIPT       chdb's script";

/// The options, from the command line.
#[derive(Debug)]
pub struct Options {
    /// How often everything is measured.
    pub rounds: usize,
    /// Rows of the sensor lake.
    pub rows: u64,
    /// What a lake's name has to contain.
    pub only: String,
    /// Whether there is a sensor lake of ten times the rows.
    pub tenfold: bool,
    /// Another build of this project.
    pub baseline: Option<PathBuf>,
    /// The Python that has the peers.
    pub python: PathBuf,
    /// Peers: name and script.
    pub peers: Vec<(&'static str, PathBuf)>,
}

impl Options {
    /// Reads the command line; anything unknown ends the program with the help.
    pub fn from_arguments() -> Self {
        let mut options = Self {
            rounds: 5,
            rows: 1_000_000,
            only: String::new(),
            tenfold: false,
            baseline: None,
            python: PathBuf::from("python3"),
            peers: Vec::new(),
        };
        // Cargo says --bench to every benchmark.
        let mut arguments = std::env::args().skip(1).filter(|a| a != "--bench");
        while let Some(name) = arguments.next() {
            let value = arguments.next();
            if options.set(&name, value.as_deref()).is_none() {
                eprintln!("{HELP}");
                std::process::exit(2);
            }
        }
        options
    }

    fn set(&mut self, name: &str, value: Option<&str>) -> Option<()> {
        let value = value?;
        match name {
            "--rounds" => self.rounds = value.parse().ok().filter(|n| *n > 0)?,
            "--rows" => self.rows = value.parse().ok().filter(|n| *n >= 100)?,
            "--only" => value.clone_into(&mut self.only),
            "--tenfold" => self.tenfold = value == "yes",
            "--baseline" => self.baseline = Some(PathBuf::from(value)),
            "--python" => self.python = PathBuf::from(value),
            "--duckdb" => self.peers.push(("DuckDB", PathBuf::from(value))),
            "--polars" => self.peers.push(("Polars", PathBuf::from(value))),
            "--chdb" => self.peers.push(("chdb", PathBuf::from(value))),
            _ => return None,
        }
        Some(())
    }
}

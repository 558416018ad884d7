//! What can be asked of the benchmark.

use std::path::PathBuf;

const HELP: &str = "\
cargo bench --bench compact -- [options]
  --rounds N          how often everything is measured (5)
  --rows N            rows of the sensor lake (1000000)
  --only TEXT         only the lakes whose name contains TEXT
  --large yes         also ten times the sensors and four times the nested events
  --gharchive PATH    also this object of the GH Archive
  --baseline PATH     another millrace binary, measured as a peer
  --python PATH       a Python with deltalake, duckdb, polars and chdb: the peers are measured as well
  --peers NAMES       which of them (duckdb,polars,chdb)";

/// Every peer there is a script for.
const PEERS: [&str; 3] = ["duckdb", "polars", "chdb"];

/// The options, from the command line.
#[derive(Debug)]
pub struct Options {
    /// How often everything is measured.
    pub rounds: usize,
    /// Rows of the sensor lake.
    pub rows: u64,
    /// What a lake's name has to contain.
    pub only: String,
    /// Whether there are large lakes too.
    pub large: bool,
    /// An hour of the GH Archive.
    pub gharchive: Option<PathBuf>,
    /// Another build of this project.
    pub baseline: Option<PathBuf>,
    /// The Python that has the peers; without it there are none.
    pub python: Option<PathBuf>,
    /// The peers' names.
    pub peers: Vec<String>,
}

impl Options {
    /// Reads the command line; anything unknown ends the program with the help.
    pub fn from_arguments() -> Self {
        let mut options = Self {
            rounds: 5,
            rows: 1_000_000,
            only: String::new(),
            large: false,
            gharchive: None,
            baseline: None,
            python: None,
            peers: PEERS.map(str::to_owned).to_vec(),
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
            "--large" => self.large = value == "yes",
            "--gharchive" => self.gharchive = Some(PathBuf::from(value)),
            "--baseline" => self.baseline = Some(PathBuf::from(value)),
            "--python" => self.python = Some(PathBuf::from(value)),
            "--peers" => {
                self.peers = value.split(',').map(str::to_owned).collect();
                return self.peers.iter().all(|name| PEERS.contains(&name.as_str())).then_some(());
            }
            _ => return None,
        }
        Some(())
    }
}

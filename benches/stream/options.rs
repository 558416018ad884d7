//! What can be asked of the benchmark.

use std::{path::PathBuf, time::Duration};

const HELP: &str = "\
cargo bench --bench stream -- [options]
  --rounds N          how often everything is measured (3)
  --seconds S         how long a measurement lasts (2.5)
  --only TEXT         only the workloads whose name contains TEXT
  --against A,B       peers among log (ours, with --data), ferrokinesis, kinesalite, none
                      (log,ferrokinesis,kinesalite)
  --baseline PATH     another millrace binary, measured as a peer";

/// The options, from the command line.
#[derive(Debug)]
pub struct Options {
    /// How often everything is measured.
    pub rounds: usize,
    /// How long the window of a measurement is.
    pub window: Duration,
    /// What a workload's name has to contain.
    pub only: String,
    /// The peers asked for.
    pub against: Vec<String>,
    /// Another build of this project.
    pub baseline: Option<PathBuf>,
}

impl Options {
    /// Reads the command line; anything unknown ends the program with the help.
    pub fn from_arguments() -> Self {
        let mut options = Self {
            rounds: 3,
            window: Duration::from_millis(2_500),
            only: String::new(),
            against: ["log", "ferrokinesis", "kinesalite"].map(str::to_owned).to_vec(),
            baseline: None,
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
            "--seconds" => self.window = Duration::try_from_secs_f64(value.parse().ok()?).ok()?,
            "--only" => value.clone_into(&mut self.only),
            "--against" => self.against = value.split(',').map(str::to_owned).collect(),
            "--baseline" => self.baseline = Some(PathBuf::from(value)),
            _ => return None,
        }
        Some(())
    }
}

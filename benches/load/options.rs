//! What can be asked of the benchmark.

use std::{path::PathBuf, time::Duration};

const HELP: &str = "\
cargo bench --bench load -- [options]
  --rounds N          how often everything is measured (3)
  --seconds S         how long a measurement lasts (3)
  --only NAME         throughput, pacing, gaps or bookkeeping
  --rival SCRIPT      a Python program that takes ENDPOINT STREAM SECONDS RECORD_BYTES PROCESSES THREADS, puts records
                      with boto3 as fast as it goes, and prints how many a second were accepted
  --python PROGRAM    the Python that has boto3 (python3)";

/// The options, from the command line.
#[derive(Debug)]
pub struct Options {
    /// How often everything is measured.
    pub rounds: usize,
    /// How long a measurement lasts.
    pub window: Duration,
    only: Option<String>,
    /// A peer in Python.
    pub rival: Option<PathBuf>,
    /// What runs it.
    pub python: PathBuf,
}

impl Options {
    /// Reads the command line; anything unknown ends the program with the help.
    pub fn from_arguments() -> Self {
        let mut options =
            Self { rounds: 3, window: Duration::from_secs(3), only: None, rival: None, python: "python3".into() };
        // Cargo says --bench to every benchmark.
        let mut arguments = std::env::args().skip(1).filter(|a| a != "--bench");
        while let Some(name) = arguments.next() {
            if options.set(&name, arguments.next()).is_none() {
                eprintln!("{HELP}");
                std::process::exit(2);
            }
        }
        options
    }

    fn set(&mut self, name: &str, value: Option<String>) -> Option<()> {
        let value = value?;
        match name {
            "--rounds" => self.rounds = value.parse().ok().filter(|n| *n > 0)?,
            "--seconds" => self.window = Duration::try_from_secs_f64(value.parse().ok()?).ok()?,
            "--only" => self.only = Some(value),
            "--rival" => self.rival = Some(value.into()),
            "--python" => self.python = value.into(),
            _ => return None,
        }
        Some(())
    }

    /// Whether this part was asked for.
    pub fn wants(&self, part: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only == part)
    }
}

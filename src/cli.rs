//! What can be typed. Exit codes are the table in the help's last lines.

use std::{net::IpAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use millrace_compactor::compact::HoldAt;
use millrace_loadgen::Slice;
use millrace_scenarios::{ByteSize, Span};

use crate::worker::{RunId, StartAt};

const EXIT_CODES: &str = "\
Exit codes:
  0    all promises kept
  1    a promise broken: a lost record, an SLO, different answers
  2    the configuration or the command line is wrong
  3    the environment failed: target unreachable, disk full, no permission
  4    harness-limited: the measurement is not valid
  130  interrupted: reported, never gated";

/// Load generator and benchmark harness for Kinesis-style streams, with a lakehouse compactor.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    /// Log more: -v for information, -vv for everything. Logs go to stderr.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a scenario end to end: load, land, compact, query, report.
    Run(RunArgs),
    /// Only the load and its delivery into the lake.
    Load(RunArgs),
    /// Join the records of all workers of one run into the record of the run, and judge it anew.
    Merge {
        /// The workers' folders, in any order.
        #[arg(required = true, value_name = "DIR")]
        folders: Vec<PathBuf>,
        /// The folder of the joined record; when not given, `runs/` and the run's id.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Only the compaction of a lake into a table.
    Compact(CompactArgs),
    /// Put the small files of a table together, or its rows in order, and say how it lies.
    Optimize(OptimizeArgs),
    /// Write a table as plain Parquet, without a log.
    Export(ExportArgs),
    /// Delete files of a table that no reader needs.
    Vacuum(VacuumArgs),
    /// What a table's quarantine holds, and bringing it into the table once it can be read.
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// Only the queries, on the raw lake and on the table.
    Query(QueryArgs),
    /// Draw report.html again from a run's run.json.
    Report {
        /// The run's folder.
        folder: PathBuf,
    },
    /// Compare two runs of one scenario.
    Compare {
        /// The folder of the run to compare with.
        a: PathBuf,
        /// The folder of the run to judge.
        b: PathBuf,
    },
    /// Serve the local Kinesis-compatible stream on a port.
    Serve(ServeArgs),
    /// Check, list or describe scenarios.
    #[command(subcommand)]
    Scenario(ScenarioCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum QuarantineCommand {
    /// Print every piece: its place, its length, why it is no row, and whether a replay has taken it.
    List(QuarantineArgs),
    /// Read every piece again as the scenario has it now. What is a record goes into the table, exactly once.
    Replay(QuarantineArgs),
}

#[derive(Debug, Args)]
pub(crate) struct QuarantineArgs {
    #[command(flatten)]
    pub(crate) scenario: ScenarioArgs,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    /// For tests: wait at this point of the protocol to be killed.
    #[arg(long, hide = true, value_name = "POINT[:N]")]
    pub(crate) hold_at: Option<HoldAt>,
}

/// What every leg that reads a scenario takes.
#[derive(Debug, Args)]
pub(crate) struct ScenarioArgs {
    /// The scenario: a file, or the name of a shipped one.
    pub(crate) scenario: PathBuf,
    /// Records per second, or bytes where the load counts those. The fastest moment of all stages gets this rate, and the
    /// others keep their proportion.
    #[arg(long, value_name = "R")]
    pub(crate) rate: Option<f64>,
    /// How long the load lasts, such as 30s; stages keep their proportion.
    #[arg(long = "for", value_name = "D")]
    pub(crate) duration: Option<Span>,
    /// Seed of every draw.
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Override a key of the scenario, such as source.path=accidents.csv. Can be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) scenario: ScenarioArgs,
    /// The run's folder; when not given, `runs/` and the run's id.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Where the stream is: `local` (in this process), the URL of an emulator, or `aws`.
    #[arg(long, default_value = "local", value_name = "local|URL|aws")]
    pub(crate) target: String,
    /// aws: go ahead without asking when the estimate is at most this many US dollars.
    #[arg(long, value_name = "USD")]
    pub(crate) max_cost: Option<f64>,
    /// Send only every N-th record, from record I on: worker I of N, from 0. A worker runs the load leg only, against a
    /// stream that all workers share; `millrace merge` joins their records.
    #[arg(long, default_value = "0/1", value_name = "I/N")]
    pub(crate) worker: Slice,
    /// When the first record is due, in RFC 3339. Without it a run starts as soon as it is ready.
    #[arg(long, value_name = "TIME")]
    pub(crate) start_at: Option<StartAt>,
    /// The run's id instead of a made one; the same for all workers of a run.
    #[arg(long, value_name = "ID")]
    pub(crate) run_id: Option<RunId>,
}

/// Where the lake and the table are, when not where the scenario says.
#[derive(Debug, Args)]
pub(crate) struct PlaceArgs {
    /// The lake: a folder or an s3:// URL.
    #[arg(long, value_name = "URL")]
    pub(crate) lake: Option<String>,
    /// The table: a folder or an s3:// URL.
    #[arg(long, value_name = "URL")]
    pub(crate) table: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CompactArgs {
    #[command(flatten)]
    pub(crate) scenario: ScenarioArgs,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    /// Also write run.json and report.html into this folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Objects in a commit at most.
    #[arg(long, hide = true, value_name = "N")]
    pub(crate) batch_objects: Option<usize>,
    /// For tests: wait at this point of the protocol to be killed.
    #[arg(long, hide = true, value_name = "POINT[:N]")]
    pub(crate) hold_at: Option<HoldAt>,
}

#[derive(Debug, Args)]
pub(crate) struct OptimizeArgs {
    /// The table: a folder or an s3:// URL.
    pub(crate) table: String,
    /// How large a file should be. Files under three quarters of it are put together.
    #[arg(long, default_value = "128MiB", value_name = "BYTES")]
    pub(crate) target_size: ByteSize,
    /// Put the rows of each partition in order of these columns instead, so that files do not overlap.
    #[arg(long, value_delimiter = ',', value_name = "COLUMNS")]
    pub(crate) cluster_by: Vec<String>,
    /// Only say what a run would do.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The table: a folder or an s3:// URL.
    pub(crate) table: String,
    /// Where to: a folder that is not there yet, or an s3:// URL under which nothing is.
    #[arg(long, value_name = "PLACE")]
    pub(crate) to: String,
}

#[derive(Debug, Args)]
pub(crate) struct VacuumArgs {
    /// The table: a folder or an s3:// URL.
    pub(crate) table: String,
    /// How old a file has to be; when not given, what the table says, a week by default.
    #[arg(long, value_name = "D")]
    pub(crate) retention: Option<Span>,
    /// Go below what the table says. Readers of older versions lose their files, and so does whoever is writing now.
    #[arg(long)]
    pub(crate) allow_short_retention: bool,
    /// Only say what a run would do.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    #[command(flatten)]
    pub(crate) scenario: ScenarioArgs,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    /// Ask the statement in this file instead of the scenario's queries.
    #[arg(long, value_name = "FILE")]
    pub(crate) sql: Option<PathBuf>,
    /// Also write run.json and report.html into this folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// A stream to create at the start. Can be given several times.
    #[arg(long = "stream", value_name = "NAME:SHARDS")]
    pub(crate) streams: Vec<StreamArg>,
    /// The port; 0 takes a free one.
    #[arg(long, default_value_t = 4567, value_name = "P")]
    pub(crate) port: u16,
    /// The address to listen on. Anything but loopback lets others write to the stream.
    #[arg(long, default_value = "127.0.0.1", value_name = "IP")]
    pub(crate) bind: IpAddr,
    /// A folder that keeps streams and records when the server ends, also when it is killed. A server that starts on
    /// it goes on where the last one ended. Power loss may cost what the system had not written to the disk yet.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Memory for all records, such as 512MiB. When it is full and nothing is old enough to go, records are refused.
    #[arg(long, default_value = "2GiB", value_name = "BYTES")]
    pub(crate) capacity: ByteSize,
    /// How long a record of a stream made at the start can be read.
    #[arg(long, default_value = "24h", value_name = "D")]
    pub(crate) retention: Span,
    /// Speak TLS, with a certificate for localhost that is made at the start.
    #[arg(long)]
    pub(crate) tls: bool,
    /// Speak TLS with this certificate, and those between it and its authority, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The key of that certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Where to write the certificate of the authority that signed a made one, for clients to trust.
    #[arg(long, value_name = "FILE", requires = "tls", conflicts_with = "tls_cert")]
    pub(crate) tls_ca_out: Option<PathBuf>,
    /// Answer only calls that are signed with `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` of this environment.
    #[arg(long)]
    pub(crate) require_credentials: bool,
    /// A TOML file of `[[fault]]` tables: what goes wrong on purpose, counted from the start of the server.
    #[arg(long, value_name = "FILE")]
    pub(crate) faults: Option<PathBuf>,
    /// Seed of the faults' draws.
    #[arg(long, default_value_t = 42, value_name = "N")]
    pub(crate) seed: u64,
    /// How long a stream stays CREATING, UPDATING or DELETING; on AWS it is some seconds.
    #[arg(long, default_value = "0s", value_name = "D")]
    pub(crate) settle: Span,
    /// Also serve Amazon Data Firehose: a delivery stream that lands as this scenario's `[delivery]` says. Its name is
    /// that of the scenario's stream.
    #[arg(long, value_name = "SCENARIO")]
    pub(crate) firehose: Option<PathBuf>,
    /// The lake of the delivery stream, when not where its scenario says: a folder or an s3:// URL.
    #[arg(long, value_name = "URL", requires = "firehose")]
    pub(crate) lake: Option<String>,
    /// What shards take and give: `on` for AWS's limits, `off` for none, or a TOML file with others.
    #[arg(long, default_value = "on", value_name = "on|off|FILE")]
    pub(crate) quota: String,
}

/// `NAME:SHARDS`
#[derive(Debug, Clone)]
pub(crate) struct StreamArg {
    pub(crate) name: String,
    pub(crate) shards: u32,
}

impl std::str::FromStr for StreamArg {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, shards) = text.rsplit_once(':').ok_or("write NAME:SHARDS, for example clicks:4")?;
        let valid = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if name.is_empty() || name.len() > 128 || !name.chars().all(valid) {
            return Err("a stream's name has 1 to 128 letters, digits, '_', '.' or '-'".to_owned());
        }
        match shards.parse() {
            Ok(shards @ 1..=10_000) => Ok(Self { name: name.to_owned(), shards }),
            _ => Err("the number of shards is between 1 and 10000".to_owned()),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum ScenarioCommand {
    /// Check a scenario and print it with every default filled in.
    Check(ScenarioArgs),
    /// List the shipped scenarios.
    List,
    /// Print the JSON schema of the scenario language.
    Schema,
}

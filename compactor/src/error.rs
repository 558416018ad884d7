//! What can go wrong between lake and table, split by who has to act.

use std::path::PathBuf;

use arrow::error::ArrowError;
use deltalake::DeltaTableError;
use parquet::errors::ParquetError;

/// A place could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The text is neither a folder nor an `s3://bucket/prefix` URL.
    #[error("{location:?} is not a place: {reason}; write a folder or s3://bucket/prefix")]
    Location {
        /// The text.
        location: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The folder does not exist and was not to be created.
    #[error("{}: no such folder", path.display())]
    NoFolder {
        /// The folder.
        path: PathBuf,
    },
    /// The folder could not be made or reached.
    #[error("{}: {source}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The endpoint in the environment cannot be used.
    #[error("the S3 endpoint {endpoint:?} cannot be used: {reason}")]
    Endpoint {
        /// The endpoint.
        endpoint: String,
        /// Why not.
        reason: String,
    },
    /// No region is configured and the bucket did not tell its own.
    #[error("no AWS region for s3://{bucket}: set AWS_REGION or a region in the AWS profile")]
    NoRegion {
        /// The bucket.
        bucket: String,
    },
    /// The SDK's chain found no credentials.
    #[error("no AWS credentials for s3://{bucket}: {reason}")]
    NoCredentials {
        /// The bucket.
        bucket: String,
        /// What the chain said.
        reason: String,
    },
    /// The bucket does not exist.
    #[error("the bucket s3://{bucket} does not exist")]
    NoBucket {
        /// The bucket.
        bucket: String,
    },
    /// The credentials may not use the bucket.
    #[error("access to s3://{bucket} is denied to these credentials (s3:ListBucket is needed)")]
    Denied {
        /// The bucket.
        bucket: String,
    },
    /// S3 did not answer, or with something unexpected.
    #[error("s3://{bucket} cannot be reached: {reason}")]
    Unreachable {
        /// The bucket.
        bucket: String,
        /// What happened.
        reason: String,
    },
    /// The store's client could not be made.
    #[error("{location}: {source}")]
    Client {
        /// The place.
        location: String,
        /// Why.
        source: object_store::Error,
    },
}

impl StoreError {
    /// Whether the scenario or the command line is at fault (exit 2), and not the environment (exit 3).
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        matches!(self, Self::Location { .. } | Self::NoFolder { .. } | Self::Endpoint { .. } | Self::NoRegion { .. })
    }
}

/// A pass over the lake failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompactError {
    /// A place could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The `[table]` section cannot be followed.
    #[error("[table] {0}")]
    Schema(String),
    /// The table that exists is not the one the scenario describes.
    #[error("{table} exists with another schema: {difference}; use another location, or make [table] agree with it")]
    OtherSchema {
        /// The table.
        table: String,
        /// The first difference.
        difference: String,
    },
    /// The table's rows were made by other rules than the scenario's.
    #[error(
        "{table} was written with other rules ({manifest}): {change}; give [table] the rules it had, or compact the \
         lake into another location"
    )]
    OtherRules {
        /// The table.
        table: String,
        /// The manifest that has the rules.
        manifest: String,
        /// What is different.
        change: String,
    },
    /// A store refused a request.
    #[error("{path}: {source}")]
    Object {
        /// Which object or prefix.
        path: String,
        /// Why.
        source: object_store::Error,
    },
    /// A local file or folder could not be read, or not be written through to the disk.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The Delta log could not be read or written.
    #[error("{table}: {source}")]
    Delta {
        /// The table.
        table: String,
        /// Why.
        source: Box<DeltaTableError>,
    },
    /// A data file of the table could not be read.
    #[error("{path}: {source}")]
    Parquet {
        /// The file.
        path: String,
        /// Why.
        source: ParquetError,
    },
    /// Rows could not be put together.
    #[error("rows could not be put together: {0}")]
    Arrow(#[from] ArrowError),
    /// Rows could not be put in order.
    #[error("rows could not be put in order: {0}")]
    Sort(Box<datafusion::error::DataFusionError>),
    /// Rows cannot lie in order of this column.
    #[error("{table} cannot be clustered by {column:?}: {reason}")]
    Cluster {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Why not, and what to write instead.
        reason: String,
    },
    /// There is something where an export is to go.
    #[error("{place} is there already; export to a place of its own, or remove it first")]
    ExportThere {
        /// The place.
        place: String,
    },
    /// A manifest cannot be understood.
    #[error("{path} is not a manifest this version understands: {reason}")]
    Manifest {
        /// Its path.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// Someone else commits to the same table faster than this process can.
    #[error("{table} is being written by someone else: commit {sequence} was refused {attempts} times")]
    Contended {
        /// The table.
        table: String,
        /// The commit's sequence number.
        sequence: u64,
        /// How often it was tried.
        attempts: u32,
    },
    /// There is no table to care for.
    #[error("there is no Delta table at {place}")]
    NoTable {
        /// The place.
        place: String,
    },
    /// Another process maintains the table.
    #[error(
        "{table} is being maintained by another process ({work}, until {until}); if that one is gone, delete {path}"
    )]
    LeaseHeld {
        /// The table.
        table: String,
        /// What the other does.
        work: String,
        /// When its lease runs out.
        until: String,
        /// The lease.
        path: String,
    },
    /// This process took longer than its lease and another one has gone on.
    #[error("{table}: the lease ran out before the work was done; what was committed stays, run it again for the rest")]
    LeaseLost {
        /// The table.
        table: String,
    },
    /// A vacuum that would take files from under readers.
    #[error(
        "{table} keeps replaced files for {least_s} s, and {asked_s} s were asked for; ask for more, or add \
         --allow-short-retention when no one reads an older version and no one writes"
    )]
    ShortRetention {
        /// The table.
        table: String,
        /// What was asked for, seconds.
        asked_s: u64,
        /// What the table wants at least, seconds.
        least_s: u64,
    },
    /// Maintenance changed, or found changed, what it must not.
    #[error("{table} does not add up: {reason}")]
    Audit {
        /// The table.
        table: String,
        /// What was found.
        reason: String,
    },
    /// Records went in that did not come out. Nothing was committed.
    #[error(
        "conservation broken in commit {sequence}: lines {lines} != rows {rows} + duplicates {duplicates} + quarantined {quarantined}"
    )]
    Conservation {
        /// The commit's sequence number.
        sequence: u64,
        /// Lines read.
        lines: u64,
        /// Rows the table gains, by the files' own statistics.
        rows: i64,
        /// Rows that were the same as another.
        duplicates: u64,
        /// Lines in quarantine.
        quarantined: u64,
    },
    /// A worker thread died.
    #[error("a worker thread died: {0}")]
    Worker(String),
    /// A test asked for the process to end here.
    #[error("stopped at {0:?}, as asked")]
    Stopped(crate::compact::FailPoint),
}

impl From<datafusion::error::DataFusionError> for CompactError {
    fn from(error: datafusion::error::DataFusionError) -> Self {
        Self::Sort(Box::new(error))
    }
}

impl CompactError {
    /// Whether the scenario or the command line is at fault (exit 2), and not the environment (exit 3).
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        match self {
            Self::Store(error) => error.is_configuration(),
            Self::Schema(_)
            | Self::OtherSchema { .. }
            | Self::OtherRules { .. }
            | Self::NoTable { .. }
            | Self::Cluster { .. }
            | Self::ExportThere { .. }
            | Self::ShortRetention { .. } => true,
            _ => false,
        }
    }

    /// Whether records cannot be accounted for (exit 1).
    #[must_use]
    pub const fn is_conservation(&self) -> bool {
        matches!(self, Self::Conservation { .. } | Self::Audit { .. })
    }

    pub(crate) fn object(path: impl ToString, source: object_store::Error) -> Self {
        Self::Object { path: path.to_string(), source }
    }

    pub(crate) fn delta(table: impl ToString, source: DeltaTableError) -> Self {
        Self::Delta { table: table.to_string(), source: Box::new(source) }
    }
}

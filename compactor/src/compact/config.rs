//! What a compactor is told.

use millrace_scenarios::Table;

use super::discover::plain_prefix;
use crate::{clock::Clock, store::Location};

/// A moment in a commit at which a test lets the process end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailPoint {
    /// The manifest is written, nothing else.
    AfterManifest,
    /// The data files are written.
    AfterDataFiles,
    /// The quarantine holds the bad pieces.
    AfterQuarantine,
    /// All is ready to be committed.
    BeforeCommit,
    /// The commit is in, and nothing that follows it has happened.
    AfterCommit,
    /// The commit is in, but its answer was an error. This one does not end the process: it has to cope.
    LostAnswer,
}

/// What a compactor is told.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CompactorConfig {
    /// Where the objects are.
    pub lake: Location,
    /// Where the table is, or is to be.
    pub table: Location,
    /// The scenario's `[table]`.
    pub spec: Table,
    /// The time.
    pub clock: Clock,
    /// Keys that start with this are not records (Firehose's error output). Empty: there is no such prefix.
    pub error_prefix: String,
    /// A batch is committed when it holds this many bytes in memory, rows and bad pieces, ...
    pub batch_bytes: usize,
    /// ... or this many objects.
    pub batch_objects: usize,
    /// The run on whose behalf it works, for the quarantine. Empty: none.
    pub run: String,
    /// For tests: end here.
    pub fail_at: Option<FailPoint>,
}

impl CompactorConfig {
    /// The defaults: batches of 40 MiB or 10,000 objects, errors under `errors/`.
    #[must_use]
    pub fn new(lake: Location, table: Location, spec: Table, clock: Clock) -> Self {
        Self {
            lake,
            table,
            spec,
            clock,
            error_prefix: "errors/".to_owned(),
            batch_bytes: 40 << 20,
            batch_objects: 10_000,
            run: String::new(),
            fail_at: None,
        }
    }

    /// Names the run in the quarantine.
    #[must_use]
    pub fn with_run(mut self, run: &str) -> Self {
        run.clone_into(&mut self.run);
        self
    }

    /// Leaves out what a Firehose error prefix expression leads to: its text before the first `!{`.
    #[must_use]
    pub fn with_error_prefix(mut self, expression: &str) -> Self {
        self.error_prefix = plain_prefix(expression).to_owned();
        self
    }
}

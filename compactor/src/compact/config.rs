//! What a compactor is told.

use std::{
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use millrace_scenarios::Table;

use super::discover::plain_prefix;
use crate::{clock::Clock, store::Location};

/// A moment of the protocol at which a test lets the process end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailPoint {
    /// The table is made, and holds nothing.
    AfterCreate,
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
    /// What was taken is written down as a set, where it was time for that.
    AfterSeen,
    /// The commit is in, but its answer was an error. This one does not end the process: it has to cope.
    LostAnswer,
}

impl FailPoint {
    /// Every moment at which a process can be held and killed, in the order of the protocol.
    pub const HELD: [Self; 7] = [
        Self::AfterCreate,
        Self::AfterManifest,
        Self::AfterDataFiles,
        Self::AfterQuarantine,
        Self::BeforeCommit,
        Self::AfterCommit,
        Self::AfterSeen,
    ];

    /// Its name on a command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AfterCreate => "after-create",
            Self::AfterManifest => "after-manifest",
            Self::AfterDataFiles => "after-data-files",
            Self::AfterQuarantine => "after-quarantine",
            Self::BeforeCommit => "before-commit",
            Self::AfterCommit => "after-commit",
            Self::AfterSeen => "after-seen",
            Self::LostAnswer => "lost-answer",
        }
    }
}

/// Where a process waits for ever, so that a test can kill it there: `POINT` or `POINT:N`, the N-th time it comes by.
#[derive(Debug, Clone)]
pub struct HoldAt {
    point: FailPoint,
    /// Times left to pass by.
    left: Arc<AtomicU64>,
}

impl HoldAt {
    /// Whether this is the moment.
    pub(super) fn is_now(&self, point: FailPoint) -> bool {
        self.point == point && self.left.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

impl FromStr for HoldAt {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, times) = text.split_once(':').unwrap_or((text, "1"));
        let names = || FailPoint::HELD.map(FailPoint::name).join(", ");
        let point = FailPoint::HELD.into_iter().find(|point| point.name() == name).ok_or_else(names)?;
        let times = times.parse().ok().filter(|times| *times > 0).ok_or("a number from 1 follows the colon")?;
        Ok(Self { point, left: Arc::new(AtomicU64::new(times)) })
    }
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
    /// For tests: wait here to be killed.
    pub hold_at: Option<HoldAt>,
}

impl CompactorConfig {
    /// The defaults: batches of 36 MiB or 10,000 objects, errors under `errors/`.
    #[must_use]
    pub fn new(lake: Location, table: Location, spec: Table, clock: Clock) -> Self {
        Self {
            lake,
            table,
            spec,
            clock,
            error_prefix: "errors/".to_owned(),
            batch_bytes: 36 << 20,
            batch_objects: 10_000,
            run: String::new(),
            fail_at: None,
            hold_at: None,
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

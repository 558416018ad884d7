//! What passes did, counted.

use std::collections::BTreeMap;

use millrace_reports::record::{CompactionRecord, QuarantineReason, StageTimes, UnknownField};

use super::{apply::Written, batch::Batch};

/// What one pass did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PassReport {
    /// Commits made.
    pub commits: u64,
    /// Of those, commits that an earlier process had begun.
    pub recovered: u64,
    /// Commits that an earlier process had begun and that were given up, because an object was gone or another by then.
    /// What the lake still has of their objects is taken by other commits.
    pub withdrawn: u64,
    /// Objects that were gone between listing and reading, or were being written just then.
    pub unread: u64,
    /// Objects taken.
    pub objects: u64,
    /// Their bytes.
    pub object_bytes: u64,
    /// Their bytes after decompression.
    pub raw_bytes: u64,
    /// Rows and bad pieces read.
    pub lines: u64,
    /// Rows that the table gained.
    pub rows: u64,
    /// Rows that were the same as another.
    pub duplicates: u64,
    /// Bad pieces, by reason.
    pub quarantined: BTreeMap<String, u64>,
    /// Fields that are no column, and how many records had them.
    pub unknown: BTreeMap<String, u64>,
    /// Data files added to the table.
    pub files_added: u64,
    /// Their bytes.
    pub file_bytes: u64,
    /// Data files removed from the table.
    pub files_removed: u64,
    /// Objects under the error prefix that are in the lake now.
    pub error_objects: u64,
    /// Objects in the lake now that are of a kind that is not read.
    pub skipped_objects: u64,
    /// The table's version at the end; absent while there is no table.
    pub version: Option<u64>,
    /// Rows in the table at the end.
    pub table_rows: u64,
    /// Wall time, microseconds.
    pub elapsed_us: u64,
    /// CPU time of the process, microseconds.
    pub cpu_us: u64,
    /// Where `cpu_us` went.
    pub stages: StageTimes,
}

impl PassReport {
    /// Bad pieces of any reason.
    #[must_use]
    pub fn quarantined_lines(&self) -> u64 {
        self.quarantined.values().sum()
    }

    /// Adds a commit that was made.
    pub(super) fn commit(&mut self, batch: &Batch, written: &Written) {
        self.commits += 1;
        self.objects += batch.objects.len() as u64;
        self.object_bytes += batch.object_bytes();
        self.raw_bytes += batch.raw_bytes;
        self.lines += batch.lines;
        self.rows += u64::try_from(written.gained).unwrap_or(0);
        self.duplicates += written.duplicates;
        self.files_added += written.added.len() as u64;
        self.file_bytes += written.file_bytes();
        self.files_removed += written.removed.len() as u64;
        for piece in &batch.bad {
            *self.quarantined.entry(piece.reason.name().to_owned()).or_default() += 1;
        }
        count_all(&mut self.unknown, &batch.unknown);
    }

    /// Adds what a later pass did; states (version, rows in the table, objects left out) are the later ones.
    pub(super) fn add(&mut self, later: &Self) {
        let counts = [
            (&mut self.commits, later.commits),
            (&mut self.recovered, later.recovered),
            (&mut self.withdrawn, later.withdrawn),
            (&mut self.unread, later.unread),
            (&mut self.objects, later.objects),
            (&mut self.object_bytes, later.object_bytes),
            (&mut self.raw_bytes, later.raw_bytes),
            (&mut self.lines, later.lines),
            (&mut self.rows, later.rows),
            (&mut self.duplicates, later.duplicates),
            (&mut self.files_added, later.files_added),
            (&mut self.file_bytes, later.file_bytes),
            (&mut self.files_removed, later.files_removed),
            (&mut self.elapsed_us, later.elapsed_us),
            (&mut self.cpu_us, later.cpu_us),
            (&mut self.stages.list_us, later.stages.list_us),
            (&mut self.stages.inflate_us, later.stages.inflate_us),
            (&mut self.stages.decode_us, later.stages.decode_us),
            (&mut self.stages.dedupe_us, later.stages.dedupe_us),
            (&mut self.stages.encode_us, later.stages.encode_us),
            (&mut self.stages.commit_us, later.stages.commit_us),
            (&mut self.stages.other_us, later.stages.other_us),
        ];
        counts.into_iter().for_each(|(sum, count)| *sum += count);
        count_all(&mut self.quarantined, &later.quarantined);
        count_all(&mut self.unknown, &later.unknown);
        self.error_objects = later.error_objects;
        self.skipped_objects = later.skipped_objects;
        self.version = later.version.or(self.version);
        self.table_rows = later.table_rows;
    }

    /// As the run record has it.
    pub(super) fn record(&self, table: String, passes: u64) -> CompactionRecord {
        let reason = |(reason, lines): (&String, &u64)| QuarantineReason { reason: reason.clone(), lines: *lines };
        let unknown = |(name, records): (&String, &u64)| UnknownField { name: name.clone(), records: *records };
        CompactionRecord {
            table,
            version: self.version.unwrap_or(0),
            passes,
            objects: self.objects,
            unread: self.unread,
            withdrawn: self.withdrawn,
            object_bytes: self.object_bytes,
            raw_bytes: self.raw_bytes,
            lines: self.lines,
            rows: self.rows,
            duplicates: self.duplicates,
            quarantined: self.quarantined_lines(),
            quarantine_reasons: self.quarantined.iter().map(reason).collect(),
            unknown_fields: self.unknown.iter().map(unknown).collect(),
            files_added: self.files_added,
            files_removed: self.files_removed,
            file_bytes: self.file_bytes,
            table_rows: self.table_rows,
            elapsed_us: self.elapsed_us,
            cpu_us: self.cpu_us,
            stages: self.stages,
        }
    }
}

fn count_all(sums: &mut BTreeMap<String, u64>, counts: &BTreeMap<String, u64>) {
    for (name, count) in counts {
        *sums.entry(name.clone()).or_default() += count;
    }
}

//! How far the compactor is, for a live display; may be read while a pass runs.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use super::{apply::Written, batch::Batch, manifest::Object};

/// Counts that a pass goes on adding to.
#[derive(Debug, Default)]
pub struct Progress {
    objects: AtomicU64,
    object_bytes: AtomicU64,
    raw_bytes: AtomicU64,
    lines: AtomicU64,
    rows: AtomicU64,
    duplicates: AtomicU64,
    quarantined: AtomicU64,
    found_objects: AtomicU64,
    found_bytes: AtomicU64,
    is_all_found: AtomicBool,
    read_bytes: AtomicU64,
    read_raw_bytes: AtomicU64,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Objects whose commit is made.
    pub objects: u64,
    /// Objects found so far, those included.
    pub found_objects: u64,
    /// Bytes of objects read, ...
    pub read_bytes: u64,
    /// ... after decompression, ...
    pub raw_bytes: u64,
    /// ... of so many found.
    pub found_bytes: u64,
    /// Whether the lake is listed to its end.
    pub is_all_found: bool,
    /// Rows and bad pieces read.
    pub lines: u64,
    /// Rows that the table gained.
    pub rows: u64,
    /// Rows that were the same as another.
    pub duplicates: u64,
    /// Bad pieces.
    pub quarantined: u64,
}

/// A rest that takes longer is not told: so early it is a guess.
const LONGEST_LEFT: Duration = Duration::from_secs(1_000 * 3_600);

impl Snapshot {
    /// How long the rest takes at the pace so far; `None` while that is not known, or longer than anyone waits.
    #[must_use]
    pub fn left(&self, elapsed: Duration) -> Option<Duration> {
        let rest = self.found_bytes.saturating_sub(self.read_bytes) as f64;
        let known = self.is_all_found && self.read_bytes > 0;
        let left = || Duration::try_from_secs_f64(elapsed.as_secs_f64() * rest / self.read_bytes as f64);
        if known { left().ok().filter(|left| *left < LONGEST_LEFT) } else { None }
    }
}

impl Progress {
    /// The lake is listed from its beginning: what was read and not committed is found again.
    pub(super) fn listing(&self) {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        self.found_objects.store(of(&self.objects), Ordering::Relaxed);
        self.found_bytes.store(of(&self.object_bytes), Ordering::Relaxed);
        self.read_bytes.store(of(&self.object_bytes), Ordering::Relaxed);
        self.read_raw_bytes.store(of(&self.raw_bytes), Ordering::Relaxed);
        self.is_all_found.store(false, Ordering::Relaxed);
    }

    pub(super) fn found(&self, objects: &[Object], is_all: bool) {
        self.found_objects.fetch_add(objects.len() as u64, Ordering::Relaxed);
        self.found_bytes.fetch_add(objects.iter().map(|object| object.size).sum(), Ordering::Relaxed);
        self.is_all_found.store(is_all, Ordering::Relaxed);
    }

    pub(super) fn read(&self, object_bytes: u64, raw_bytes: u64) {
        self.read_bytes.fetch_add(object_bytes, Ordering::Relaxed);
        self.read_raw_bytes.fetch_add(raw_bytes, Ordering::Relaxed);
    }

    pub(super) fn committed(&self, batch: &Batch, written: &Written) {
        let counts = [
            (&self.objects, batch.objects.len() as u64),
            (&self.object_bytes, batch.object_bytes()),
            (&self.raw_bytes, batch.raw_bytes),
            (&self.lines, batch.lines),
            (&self.rows, u64::try_from(written.gained).unwrap_or(0)),
            (&self.duplicates, written.duplicates),
            (&self.quarantined, batch.bad.len() as u64),
        ];
        for (sum, count) in counts {
            sum.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// The counts now.
    #[must_use]
    pub fn now(&self) -> Snapshot {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Snapshot {
            objects: of(&self.objects),
            found_objects: of(&self.found_objects).max(of(&self.objects)),
            read_bytes: of(&self.read_bytes).max(of(&self.object_bytes)),
            raw_bytes: of(&self.read_raw_bytes).max(of(&self.raw_bytes)),
            found_bytes: of(&self.found_bytes).max(of(&self.object_bytes)),
            is_all_found: self.is_all_found.load(Ordering::Relaxed),
            lines: of(&self.lines),
            rows: of(&self.rows),
            duplicates: of(&self.duplicates),
            quarantined: of(&self.quarantined),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_follows_from_what_is_read_once_all_is_found() {
        let object = |size| Object { key: "o".to_owned(), size, etag: None, crc32: None };
        let progress = Progress::default();
        progress.listing();
        progress.found(&[object(100), object(300)], false);
        progress.read(100, 1_000);
        let elapsed = Duration::from_secs(10);
        assert_eq!((progress.now().left(elapsed), progress.now().found_objects), (None, 2), "more may be found");
        progress.found(&[object(100)], true);
        assert_eq!(progress.now().left(elapsed), Some(Duration::from_secs(40)));
        let mut batch = Batch::default();
        (batch.objects, batch.raw_bytes, batch.lines) = (vec![object(100)], 1_000, 9);
        progress.committed(&batch, &Written { gained: 7, duplicates: 2, ..Written::default() });
        // Listed again after a commit, it finds what is left.
        progress.listing();
        progress.found(&[object(300), object(100)], true);
        let now = progress.now();
        assert_eq!((now.objects, now.found_objects, now.read_bytes, now.found_bytes), (1, 3, 100, 500));
        assert_eq!((now.raw_bytes, now.lines, now.rows, now.duplicates, now.quarantined), (1_000, 9, 7, 2, 0));
        assert_eq!(now.left(elapsed), Some(Duration::from_secs(40)));
    }
}

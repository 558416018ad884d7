//! Delivery's counts, shared so that progress can be shown, and a record written, while it works or after it failed.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use millrace_reports::record::DeliveryRecord;

use super::object::{Kind, Object};

/// What a delivery has done so far. Reading it costs nothing and never waits.
///
/// `records_read = delivered + errored + in_flight` at all times: a record is counted as read when it is taken, and as
/// delivered or errored when the object that holds it is in the store.
#[derive(Debug)]
pub struct Progress {
    lake: String,
    records_read: AtomicU64,
    records_delivered: AtomicU64,
    records_errored: AtomicU64,
    objects: AtomicU64,
    error_objects: AtomicU64,
    raw_bytes: AtomicU64,
    object_bytes: AtomicU64,
    write_retries: AtomicU64,
}

impl Progress {
    pub(super) const fn new(lake: String) -> Self {
        Self {
            lake,
            records_read: AtomicU64::new(0),
            records_delivered: AtomicU64::new(0),
            records_errored: AtomicU64::new(0),
            objects: AtomicU64::new(0),
            error_objects: AtomicU64::new(0),
            raw_bytes: AtomicU64::new(0),
            object_bytes: AtomicU64::new(0),
            write_retries: AtomicU64::new(0),
        }
    }

    pub(super) fn taken(&self, records: usize) {
        self.records_read.fetch_add(records as u64, Relaxed);
    }

    pub(super) fn retried(&self) {
        self.write_retries.fetch_add(1, Relaxed);
    }

    pub(super) fn landed(&self, object: &Object) {
        let (records, objects) = match object.kind {
            Kind::Good => (&self.records_delivered, &self.objects),
            Kind::Error => (&self.records_errored, &self.error_objects),
        };
        records.fetch_add(object.records, Relaxed);
        objects.fetch_add(1, Relaxed);
        self.raw_bytes.fetch_add(object.raw_bytes, Relaxed);
        self.object_bytes.fetch_add(object.body.len() as u64, Relaxed);
    }

    /// Records taken from the stream.
    #[must_use]
    pub fn records_read(&self) -> u64 {
        self.records_read.load(Relaxed)
    }

    /// Records in good objects that are in the store.
    #[must_use]
    pub fn records_delivered(&self) -> u64 {
        self.records_delivered.load(Relaxed)
    }

    /// Records in error objects that are in the store.
    #[must_use]
    pub fn records_errored(&self) -> u64 {
        self.records_errored.load(Relaxed)
    }

    /// Records taken that are not in the store yet.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        let landed = self.records_delivered() + self.records_errored();
        self.records_read().saturating_sub(landed)
    }

    /// Objects in the store, good and error.
    #[must_use]
    pub fn objects(&self) -> u64 {
        self.objects.load(Relaxed) + self.error_objects.load(Relaxed)
    }

    /// Bytes of those objects.
    #[must_use]
    pub fn object_bytes(&self) -> u64 {
        self.object_bytes.load(Relaxed)
    }

    /// Everything counted so far, for the run's record. Byte counts are of landed objects, good and error.
    #[must_use]
    pub fn record(&self) -> DeliveryRecord {
        DeliveryRecord {
            lake: self.lake.clone(),
            records_read: self.records_read(),
            records_delivered: self.records_delivered(),
            records_errored: self.records_errored(),
            objects: self.objects.load(Relaxed),
            error_objects: self.error_objects.load(Relaxed),
            raw_bytes: self.raw_bytes.load(Relaxed),
            object_bytes: self.object_bytes(),
            write_retries: self.write_retries.load(Relaxed),
        }
    }
}

//! Batches: records that share a call, within the limits of PutRecords and of the scenario.

use millrace_scenarios::Load;

/// Records in a PutRecords call at most (PutRecords API reference).
const MAX_RECORDS: usize = 500;

/// One record on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the schedule.
    pub sequence: u64,
    /// When it was due, microseconds since 1970.
    pub due_us: u64,
    /// Its stamped payload.
    pub data: Vec<u8>,
    /// Its partition key.
    pub key: String,
    /// How many calls have carried it so far.
    pub attempts: u32,
}

impl Record {
    /// Bytes as Kinesis counts them: data and partition key.
    #[must_use]
    pub fn size(&self) -> usize {
        self.data.len() + self.key.len()
    }
}

/// What fits into one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Records at most.
    pub records: usize,
    /// Bytes of data and keys at most; a larger record goes alone.
    pub bytes: usize,
}

impl Limits {
    /// The limits of a scenario's `[load]`.
    #[must_use]
    pub fn new(load: &Load) -> Self {
        let bytes = usize::try_from(load.batch_bytes.bytes()).unwrap_or(usize::MAX);
        Self { records: (load.batch_records as usize).clamp(1, MAX_RECORDS), bytes: bytes.max(1) }
    }

    /// Cuts records into runs that fit, in order.
    pub(crate) fn split(self, records: Vec<Record>) -> Vec<Vec<Record>> {
        let mut batcher = Batcher::new(self, 0);
        let mut batches: Vec<Batch> = records.into_iter().filter_map(|record| batcher.push(record, 0)).collect();
        batches.extend(batcher.take(0));
        batches.into_iter().map(|batch| batch.records).collect()
    }
}

/// Records that go in one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The records, never none.
    pub records: Vec<Record>,
    /// When the batch was ready to be sent, microseconds since 1970.
    pub ready_us: u64,
}

/// Fills batches: by count, by bytes, and by the time the first record has waited.
#[derive(Debug)]
pub struct Batcher {
    limits: Limits,
    linger_us: u64,
    open: Vec<Record>,
    open_bytes: usize,
    opened_us: u64,
}

impl Batcher {
    /// A batcher that lets a record wait for `linger_us` at most.
    #[must_use]
    pub fn new(limits: Limits, linger_us: u64) -> Self {
        Self { limits, linger_us, open: Vec::new(), open_bytes: 0, opened_us: 0 }
    }

    /// Adds a record at `now_us`; returns a batch when that completes one.
    pub fn push(&mut self, record: Record, now_us: u64) -> Option<Batch> {
        let size = record.size();
        let full = !self.open.is_empty() && self.open_bytes.saturating_add(size) > self.limits.bytes;
        let done = if full { self.take(now_us) } else { None };
        if self.open.is_empty() {
            self.opened_us = now_us;
        }
        self.open_bytes += size;
        self.open.push(record);
        // When the bytes closed a batch, the new one holds a single record: with a limit of one, none was open.
        if done.is_none() && self.open.len() >= self.limits.records { self.take(now_us) } else { done }
    }

    /// When the open batch has to go; absent while none is open.
    #[must_use]
    pub fn closes_us(&self) -> Option<u64> {
        (!self.open.is_empty()).then(|| self.opened_us.saturating_add(self.linger_us))
    }

    /// Takes the open batch as it is.
    pub fn take(&mut self, now_us: u64) -> Option<Batch> {
        self.open_bytes = 0;
        let records = std::mem::take(&mut self.open);
        (!records.is_empty()).then_some(Batch { records, ready_us: now_us })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(sequence: u64, bytes: usize) -> Record {
        Record { sequence, due_us: sequence, data: vec![b'x'; bytes], key: "k".to_owned(), attempts: 0 }
    }

    #[test]
    fn a_batch_closes_by_count_and_by_bytes() {
        let mut batcher = Batcher::new(Limits { records: 3, bytes: 100 }, 1_000);
        assert!(batcher.push(record(0, 10), 5).is_none());
        assert!(batcher.push(record(1, 10), 6).is_none());
        let by_count = batcher.push(record(2, 10), 7).unwrap();
        assert_eq!((by_count.records.len(), by_count.ready_us), (3, 7));
        assert!(batcher.push(record(3, 60), 8).is_none());
        let by_bytes = batcher.push(record(4, 60), 9).unwrap();
        assert_eq!(by_bytes.records[0].sequence, 3);
        assert_eq!(batcher.take(10).unwrap().records[0].sequence, 4);
        assert_eq!(batcher.take(11), None);
    }

    #[test]
    fn the_oldest_record_decides_when_a_batch_goes() {
        let mut batcher = Batcher::new(Limits { records: 500, bytes: 1_000 }, 20);
        assert_eq!(batcher.closes_us(), None);
        batcher.push(record(0, 1), 100);
        batcher.push(record(1, 1), 115);
        assert_eq!(batcher.closes_us(), Some(120));
    }

    #[test]
    fn batches_of_one_are_possible() {
        let mut batcher = Batcher::new(Limits { records: 1, bytes: 10 }, 20);
        assert_eq!(batcher.push(record(0, 50), 0).unwrap().records.len(), 1);
        assert_eq!(batcher.push(record(1, 50), 0).unwrap().records.len(), 1);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_reordered_or_over_the_limits(
            sizes in prop::collection::vec(0_usize..50, 0..200), records in 1_usize..20, bytes in 1_usize..200,
        ) {
            let limits = Limits { records, bytes };
            let all: Vec<Record> = sizes.iter().enumerate().map(|(i, size)| record(i as u64, *size)).collect();
            let batches = limits.split(all.clone());
            for batch in &batches {
                prop_assert!(!batch.is_empty() && batch.len() <= records);
                prop_assert!(batch.len() == 1 || batch.iter().map(Record::size).sum::<usize>() <= bytes);
            }
            prop_assert_eq!(batches.concat(), all);
        }
    }
}

//! The records of one shard in order of index, and nothing about limits: append, trim, find, read.

use std::{collections::VecDeque, sync::Arc};

/// One stored record: partition key and data in one allocation, shared with the answers that carry it.
#[derive(Debug, Clone)]
pub(crate) struct StoredRecord {
    /// When it arrived. Never less than the arrival of the record before it.
    pub(crate) arrival_us: u64,
    payload: Arc<[u8]>,
    key_bytes: u32,
}

/// Memory a record costs beyond its payload: its place in the log and the header of its allocation.
pub(crate) const RECORD_OVERHEAD_BYTES: u64 = size_of::<StoredRecord>() as u64 + 16;

impl StoredRecord {
    /// `payload` is the partition key followed by the data.
    pub(crate) fn new(arrival_us: u64, payload: &[u8], key_bytes: u32) -> Self {
        Self { arrival_us, payload: Arc::from(payload), key_bytes }
    }

    /// The partition key's UTF-8.
    pub(crate) fn partition_key(&self) -> &[u8] {
        &self.payload[..self.key_bytes as usize]
    }

    pub(crate) fn data(&self) -> &[u8] {
        &self.payload[self.key_bytes as usize..]
    }

    /// Bytes of data and partition key: what quotas and caps count.
    pub(crate) fn size(&self) -> usize {
        self.payload.len()
    }

    /// Bytes of memory held for it.
    pub(crate) fn cost(&self) -> u64 {
        memory_cost(self.payload.len())
    }
}

/// Bytes of memory that a record of this size will hold.
pub(crate) fn memory_cost(record_bytes: usize) -> u64 {
    record_bytes as u64 + RECORD_OVERHEAD_BYTES
}

/// The records between the trim horizon and the tip. Indices start at 1; 0 names the shard's start.
#[derive(Debug)]
pub(crate) struct Log {
    records: VecDeque<StoredRecord>,
    /// Index of the front record, or of the next to come when there is none.
    first: u64,
    cost: u64,
    size: u64,
}

impl Log {
    pub(crate) const fn new() -> Self {
        Self { records: VecDeque::new(), first: 1, cost: 0, size: 0 }
    }

    /// The index the next record will get: the position of LATEST.
    pub(crate) fn tip(&self) -> u64 {
        self.first + self.records.len() as u64
    }

    /// Memory held, bytes.
    pub(crate) const fn cost(&self) -> u64 {
        self.cost
    }

    /// Bytes of data and partition keys held.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// When the newest record arrived, or 0.
    pub(crate) fn last_arrival_us(&self) -> u64 {
        self.records.back().map_or(0, |record| record.arrival_us)
    }

    /// Adds a record at the tip and gives its index.
    pub(crate) fn push(&mut self, record: StoredRecord) -> u64 {
        let index = self.tip();
        self.cost += record.cost();
        self.size += record.size() as u64;
        self.records.push_back(record);
        index
    }

    /// Drops what arrived before the horizon and gives the memory that became free.
    pub(crate) fn trim(&mut self, horizon_us: u64) -> u64 {
        let before = self.cost;
        while let Some(record) = self.records.front().filter(|record| record.arrival_us < horizon_us) {
            self.cost -= record.cost();
            self.size -= record.size() as u64;
            self.records.pop_front();
            self.first += 1;
        }
        if self.records.is_empty() {
            self.records.shrink_to_fit();
        }
        before - self.cost
    }

    /// The index of the first record that arrived at or after the time; the tip when there is none.
    pub(crate) fn position_at(&self, time_us: u64) -> u64 {
        self.first + self.records.partition_point(|record| record.arrival_us < time_us) as u64
    }

    /// Records from the position on, which is moved up to the trim horizon if it lies before it. At most `max_records`
    /// and `max_bytes`, but always one if there is one. Gives the index of the first record beside the records.
    pub(crate) fn read(&self, position: u64, max_records: usize, max_bytes: usize) -> (u64, Vec<StoredRecord>) {
        let from = position.max(self.first);
        let skip = usize::try_from(from - self.first).unwrap_or(usize::MAX).min(self.records.len());
        let mut bytes = 0_usize;
        let taken = self.records.range(skip..).take(max_records).enumerate().take_while(|(taken, record)| {
            bytes += record.size();
            *taken == 0 || bytes <= max_bytes
        });
        (from, taken.map(|(_, record)| record.clone()).collect())
    }

    /// When the record at the index arrived; `None` at the tip and beyond.
    pub(crate) fn arrival_us_at(&self, index: u64) -> Option<u64> {
        let place = usize::try_from(index.checked_sub(self.first)?).ok()?;
        self.records.get(place).map(|record| record.arrival_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_of(arrivals: &[u64]) -> Log {
        let mut log = Log::new();
        for arrival_us in arrivals {
            log.push(StoredRecord::new(*arrival_us, b"key1234567", 3));
        }
        log
    }

    #[test]
    fn a_record_gives_back_its_key_and_data() {
        let record = StoredRecord::new(1, b"keydata", 3);
        assert_eq!((record.partition_key(), record.data(), record.size()), (&b"key"[..], &b"data"[..], 7));
    }

    #[test]
    fn a_position_in_time_is_the_first_record_at_or_after_it() {
        let log = log_of(&[10, 20, 20, 30]);
        let positions: Vec<_> = [0, 10, 11, 20, 30, 31].into_iter().map(|t| log.position_at(t)).collect();
        assert_eq!(positions, [1, 1, 2, 2, 4, 5]);
    }

    #[test]
    fn trimming_frees_memory_and_moves_old_positions_to_the_horizon() {
        let mut log = log_of(&[10, 20, 30]);
        let each = log.cost() / 3;
        assert_eq!(log.trim(25), 2 * each);
        assert_eq!((log.len(), log.cost(), log.size(), log.tip()), (1, each, 10, 4));
        let (from, records) = log.read(1, 10, 1 << 20);
        assert_eq!((from, records.len(), records[0].arrival_us), (3, 1, 30));
        assert_eq!(log.trim(31), each);
        assert_eq!((log.tip(), log.cost(), log.size()), (4, 0, 0));
        assert_eq!(log.push(StoredRecord::new(40, b"k", 1)), 4);
    }

    #[test]
    fn a_read_stops_at_either_cap_but_gives_one_record_at_least() {
        let log = log_of(&[1, 2, 3, 4]);
        assert_eq!(log.read(0, 3, 1 << 20).1.len(), 3);
        assert_eq!(log.read(0, 10, 25).1.len(), 2);
        assert_eq!(log.read(0, 10, 20).1.len(), 2);
        assert_eq!(log.read(0, 10, 1).1.len(), 1);
        assert_eq!(log.read(5, 10, 100).1.len(), 0);
        assert_eq!(log.read(99, 10, 100).0, 99);
    }

    #[test]
    fn an_arrival_is_known_for_stored_records_only() {
        let mut log = log_of(&[10, 20]);
        log.trim(15);
        assert_eq!([0, 1, 2, 3].map(|i| log.arrival_us_at(i)), [None, None, Some(20), None]);
    }
}

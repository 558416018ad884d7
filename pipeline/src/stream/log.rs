//! The records of one shard in order of index, and nothing about limits: append, trim, find, read.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use super::batch::{Batch, RecordRef};

/// The batches between the trim horizon and the tip. Indices start at 1; 0 names the shard's start.
#[derive(Debug)]
pub(crate) struct Log {
    /// Each begins at the index where the one before it ends, and arrived no earlier.
    batches: VecDeque<Arc<Batch>>,
    /// The index the next record will get.
    tip: u64,
    cost: u64,
    size: u64,
}

/// Some records of a batch, shared with the log.
#[derive(Debug, Clone)]
pub(crate) struct Slice {
    batch: Arc<Batch>,
    places: Range<usize>,
}

impl Slice {
    /// The index of the first record.
    pub(crate) fn first_index(&self) -> u64 {
        self.batch.first_index + self.places.start as u64
    }

    /// When all of them arrived.
    pub(crate) fn arrival_us(&self) -> u64 {
        self.batch.arrival_us
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Bytes of data and partition keys.
    pub(crate) fn size(&self) -> usize {
        self.batch.block.bytes_before(self.places.end) - self.batch.block.bytes_before(self.places.start)
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = RecordRef<'_>> {
        self.batch.block.records(self.places.clone())
    }
}

impl Log {
    /// A log without records, whose next record gets this index.
    pub(crate) const fn starting_at(index: u64) -> Self {
        Self { batches: VecDeque::new(), tip: index, cost: 0, size: 0 }
    }

    /// The index the next record will get: the position of LATEST.
    pub(crate) const fn tip(&self) -> u64 {
        self.tip
    }

    /// The index of the oldest record, or of the next to come when there is none.
    fn first(&self) -> u64 {
        self.batches.front().map_or(self.tip, |batch| batch.first_index)
    }

    /// Memory held, bytes.
    pub(crate) const fn cost(&self) -> u64 {
        self.cost
    }

    /// Bytes of data and partition keys held.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// Number of records.
    pub(crate) fn len(&self) -> u64 {
        self.tip - self.first()
    }

    /// When the newest record arrived, or 0.
    pub(crate) fn last_arrival_us(&self) -> u64 {
        self.batches.back().map_or(0, |batch| batch.arrival_us)
    }

    /// Adds a batch that begins at the tip. A log without records may begin anywhere.
    pub(crate) fn push(&mut self, batch: Batch) {
        debug_assert!(self.batches.is_empty() || batch.first_index == self.tip, "batches follow one another");
        self.tip = batch.end_index();
        self.cost += batch.cost();
        self.size += batch.block.payload_bytes() as u64;
        self.batches.push_back(Arc::new(batch));
    }

    /// Drops what arrived before the horizon and gives the memory that became free.
    pub(crate) fn trim(&mut self, horizon_us: u64) -> u64 {
        let before = self.cost;
        while let Some(batch) = self.batches.pop_front_if(|batch| batch.arrival_us < horizon_us) {
            self.cost -= batch.cost();
            self.size -= batch.block.payload_bytes() as u64;
        }
        // A ring that a burst has made large is given back once it is mostly empty.
        if before != self.cost && self.batches.capacity() > 64 && self.batches.len() < self.batches.capacity() / 4 {
            self.batches.shrink_to(self.batches.len() * 2);
        }
        before - self.cost
    }

    /// The index of the first record that arrived at or after the time; the tip when there is none.
    pub(crate) fn position_at(&self, time_us: u64) -> u64 {
        let place = self.batches.partition_point(|batch| batch.arrival_us < time_us);
        self.batches.get(place).map_or(self.tip, |batch| batch.first_index)
    }

    /// Records from the position on, which is moved up to the trim horizon if it lies before it. At most `max_records`
    /// and `max_bytes`, but always one if there is one. Gives the index of the first record beside the records.
    pub(crate) fn read(&self, position: u64, max_records: usize, max_bytes: usize) -> (u64, Vec<Slice>) {
        let from = position.max(self.first());
        let mut slices = Vec::new();
        let (mut records, mut bytes) = (max_records, max_bytes);
        for batch in self.batches.range(self.batch_at(from)..) {
            let block = &batch.block;
            // All batches but the first are read from their start.
            let start = usize::try_from(from.saturating_sub(batch.first_index)).unwrap_or(usize::MAX).min(block.len());
            let before = block.bytes_before(start);
            let fitting = block.records_within(before.saturating_add(bytes)).max(start);
            let fitting = if slices.is_empty() { fitting.max(start + 1) } else { fitting };
            let end = fitting.min(start.saturating_add(records)).min(block.len());
            if start == end {
                break;
            }
            records -= end - start;
            bytes = bytes.saturating_sub(block.bytes_before(end) - before);
            slices.push(Slice { batch: Arc::clone(batch), places: start..end });
            if end < block.len() {
                break;
            }
        }
        (from, slices)
    }

    /// When the record at the index arrived; `None` where there is none.
    pub(crate) fn arrival_us_at(&self, index: u64) -> Option<u64> {
        let batch = self.batches.get(self.batch_at(index))?;
        (batch.first_index <= index).then_some(batch.arrival_us)
    }

    /// The place of the first batch that ends after the index.
    fn batch_at(&self, index: u64) -> usize {
        self.batches.partition_point(|batch| batch.end_index() <= index)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stream::batch::tests::block_of;

    fn push(log: &mut Log, arrival_us: u64, records: &[(&str, &[u8])]) {
        log.push(Batch { first_index: log.tip(), arrival_us, block: block_of(records) });
    }

    /// One record of ten bytes per arrival.
    fn log_of(arrivals: &[u64]) -> Log {
        let mut log = Log::starting_at(1);
        arrivals.iter().for_each(|arrival_us| push(&mut log, *arrival_us, &[("key", b"1234567")]));
        log
    }

    /// The first index and what was read.
    fn read(log: &Log, position: u64, max_records: usize, max_bytes: usize) -> (u64, Vec<(u64, u64, String)>) {
        let (from, slices) = log.read(position, max_records, max_bytes);
        let mut found = Vec::new();
        for slice in &slices {
            let indices = slice.first_index()..;
            let text = |data: &[u8]| String::from_utf8(data.to_vec()).unwrap();
            assert_eq!(slice.records().count(), slice.len());
            assert_eq!(slice.records().map(|r| r.key.len() + r.data.len()).sum::<usize>(), slice.size());
            found.extend(indices.zip(slice.records()).map(|(index, r)| (index, slice.arrival_us(), text(r.data))));
        }
        (from, found)
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
        assert_eq!(read(&log, 1, 10, 1 << 20), (3, vec![(3, 30, "1234567".to_owned())]));
        assert_eq!(log.trim(31), each);
        assert_eq!((log.tip(), log.len(), log.cost(), log.size()), (4, 0, 0, 0));
        push(&mut log, 40, &[("k", b"")]);
        assert_eq!((log.tip(), log.position_at(0)), (5, 4));
    }

    #[test]
    fn a_read_stops_at_either_cap_but_gives_one_record_at_least() {
        let log = log_of(&[1, 2, 3, 4]);
        let count = |position, max_records, max_bytes| read(&log, position, max_records, max_bytes).1.len();
        assert_eq!([count(0, 3, 1 << 20), count(0, 10, 25), count(0, 10, 20), count(0, 10, 1)], [3, 2, 2, 1]);
        assert_eq!(count(5, 10, 100), 0);
        assert_eq!(log.read(99, 10, 100).0, 99);
    }

    #[test]
    fn an_arrival_is_known_for_stored_records_only() {
        let mut log = log_of(&[10, 20]);
        log.trim(15);
        assert_eq!([0, 1, 2, 3].map(|i| log.arrival_us_at(i)), [None, None, Some(20), None]);
    }

    #[test]
    fn a_log_may_begin_at_any_index() {
        let mut log = Log::starting_at(41);
        assert_eq!((log.tip(), log.position_at(0)), (41, 41));
        log.push(Batch { first_index: 77, arrival_us: 5, block: block_of(&[("k", b"a"), ("k", b"b")]) });
        assert_eq!(read(&log, 0, 10, 100), (77, vec![(77, 5, "a".to_owned()), (78, 5, "b".to_owned())]));
        assert_eq!((log.tip(), log.len()), (79, 2));
    }

    proptest! {
        /// Against a list of single records, whatever the calls they came in.
        #[test]
        fn a_read_is_the_same_as_of_a_list_of_records(
            calls in prop::collection::vec((0_u64..5, prop::collection::vec(0_usize..30, 1..6)), 0..12),
            horizon_us in 0_u64..40, position in 0_u64..60, max_records in 1_usize..20, max_bytes in 1_usize..200,
        ) {
            let mut log = Log::starting_at(1);
            let mut list = Vec::new();
            let mut now_us = 0;
            for (later_us, sizes) in &calls {
                now_us += later_us;
                let data: Vec<_> = (list.len()..).zip(sizes).map(|(n, size)| format!("{n:>size$}")).collect();
                let records: Vec<_> = data.iter().map(|data| ("k", data.as_bytes())).collect();
                push(&mut log, now_us, &records);
                list.extend(data.into_iter().map(|data| (now_us, data)));
            }
            let before = log.cost();
            let freed = log.trim(horizon_us);
            let mut list: Vec<_> = (1..).zip(list).map(|(index, (arrival_us, data))| (index, arrival_us, data)).collect();
            let tip = list.len() as u64 + 1;
            list.retain(|(_, arrival_us, _)| *arrival_us >= horizon_us);
            prop_assert_eq!((log.len(), log.tip(), before - freed), (list.len() as u64, tip, log.cost()));
            prop_assert_eq!(log.size(), list.iter().map(|(_, _, data)| data.len() as u64 + 1).sum::<u64>());

            let from = position.max(list.first().map_or(tip, |(index, _, _)| *index));
            let mut bytes = 0;
            let expected: Vec<_> = list
                .iter()
                .filter(|(index, _, _)| *index >= from)
                .take(max_records)
                .enumerate()
                .take_while(|(taken, (_, _, data))| {
                    bytes += data.len() + 1;
                    *taken == 0 || bytes <= max_bytes
                })
                .map(|(_, record)| record.clone())
                .collect();
            prop_assert_eq!(read(&log, position, max_records, max_bytes), (from, expected));
            let arrival = list.iter().find(|(index, _, _)| *index == position).map(|(_, arrival_us, _)| *arrival_us);
            prop_assert_eq!(log.arrival_us_at(position), arrival);
            let at = list.iter().find(|(_, arrival_us, _)| *arrival_us >= now_us / 2).map_or(tip, |(index, _, _)| *index);
            prop_assert_eq!(log.position_at(now_us / 2), at);
        }
    }
}

//! One shard: its log behind one lock, the limits in front of it, and what it counted.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64, atomic::Ordering};

use tokio::sync::watch;

use super::{
    batch::{Batch, Block},
    capacity::{Capacity, Reservation},
    faults::Injector,
    journal::Journal,
    log::{Log, Slice},
    meta::ShardMeta,
    metrics::ShardMetrics,
    operations::Operation,
    quota::{Quotas, ReadQuota, WriteQuota},
    routing::HashRange,
    sequence::SequenceNumber,
};

/// Records of one GetRecords answer at most (AWS).
pub(crate) const MAX_READ_RECORDS: usize = 10_000;
/// Bytes of data and partition keys of one GetRecords answer at most (AWS: 10 MiB).
pub(crate) const MAX_READ_BYTES: usize = 10 << 20;

/// What brings records to a shard.
const WRITES: [Operation; 2] = [Operation::PutRecord, Operation::PutRecords];

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Stored, under the next number after the one stored before it.
    Stored,
    /// Over the shard's write limits.
    Throttled,
    /// The server's memory is full.
    Full,
    /// The journal could not take it.
    Unwritten,
    /// The shard was closed meanwhile: another one takes the record now.
    Moved,
}

/// What a read found.
#[derive(Debug)]
pub(crate) struct ReadBatch {
    /// The records, in order.
    pub(crate) slices: Vec<Slice>,
    /// Where to go on.
    pub(crate) next: u64,
    /// Age of the oldest record not yet read; 0 only at the tip.
    pub(crate) millis_behind: u64,
    /// The shard is closed and nothing is left to read.
    pub(crate) ended: bool,
}

impl ReadBatch {
    /// Number of records.
    pub(crate) fn len(&self) -> usize {
        self.slices.iter().map(Slice::len).sum()
    }

    /// Bytes of data and partition keys.
    pub(crate) fn size(&self) -> usize {
        self.slices.iter().map(Slice::size).sum()
    }
}

/// The shard's read limits are used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReadThrottled;

/// What does not change in a shard's life, and the rest behind a lock that is never held across a wait.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) id: String,
    pub(crate) number: u32,
    pub(crate) range: HashRange,
    facts: ShardMeta,
    retention_us: Arc<AtomicU64>,
    capacity: Arc<Capacity>,
    journal: Option<Arc<dyn Journal>>,
    faults: Option<Arc<Injector>>,
    /// Tells those who wait that there is more to read, or that the shard was closed.
    changes: watch::Sender<()>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    log: Log,
    write: WriteQuota,
    read: ReadQuota,
    counts: Counts,
    /// The index of the ending sequence number, once there is one.
    end_index: Option<u64>,
}

#[derive(Debug, Default)]
struct Counts {
    records: u64,
    bytes: u64,
    throttled: u64,
    full: u64,
    read_records: u64,
    read_bytes: u64,
    throttled_reads: u64,
}

/// What all shards of a stream share.
#[derive(Debug, Clone)]
pub(crate) struct ShardSettings {
    pub(crate) retention_us: Arc<AtomicU64>,
    pub(crate) max_record_bytes: u64,
    pub(crate) stream: String,
    pub(crate) quotas: Quotas,
    /// What goes wrong on purpose; absent: nothing.
    pub(crate) faults: Option<Arc<Injector>>,
    pub(crate) capacity: Arc<Capacity>,
    pub(crate) journal: Option<Arc<dyn Journal>>,
}

/// The id of a shard by its number.
pub(crate) fn shard_id(number: u32) -> String {
    format!("shardId-{number:012}")
}

impl Shard {
    pub(crate) fn new(number: u32, facts: &ShardMeta, settings: &ShardSettings) -> Self {
        let (write, read) = settings.quotas.of_shard(&settings.stream, number);
        let now_us = facts.created_us;
        Self {
            id: shard_id(number),
            number,
            range: facts.range,
            facts: facts.clone(),
            retention_us: Arc::clone(&settings.retention_us),
            capacity: Arc::clone(&settings.capacity),
            journal: settings.journal.as_ref().map(Arc::clone),
            faults: settings.faults.clone(),
            changes: watch::Sender::new(()),
            state: Mutex::new(State {
                log: Log::starting_at(facts.closed.map_or(1, |closing| closing.end_index)),
                write: WriteQuota::new(write, settings.max_record_bytes, now_us),
                read: ReadQuota::new(read, now_us),
                counts: Counts::default(),
                end_index: facts.closed.map(|closing| closing.end_index),
            }),
        }
    }

    /// The number of the record with this index; index 0 is the shard's start.
    pub(crate) fn sequence(&self, index: u64, arrival_us: u64) -> SequenceNumber {
        self.facts.sequence(self.number, index, arrival_us)
    }

    /// The number that opens the shard's range of numbers.
    pub(crate) fn starting_sequence(&self) -> SequenceNumber {
        self.facts.starting_sequence(self.number)
    }

    /// The shards this one came from.
    pub(crate) fn parents(&self) -> impl Iterator<Item = u32> {
        self.facts.parents()
    }

    /// Whether the shard takes no more records.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().end_index.is_some()
    }

    /// Ends the shard and gives the index of its ending sequence number. A shard that is closed stays as it is.
    pub(crate) fn close(&self) -> u64 {
        let mut state = self.lock();
        let tip = state.log.tip();
        let end_index = *state.end_index.get_or_insert(tip);
        drop(state);
        self.tell();
        end_index
    }

    /// Takes back the closing of a shard: what was to come in its place could not be written down.
    pub(crate) fn reopen(&self) {
        self.lock().end_index = None;
    }

    /// A new largest record changes how much may be written at once.
    pub(crate) fn set_max_record_bytes(&self, bytes: u64) {
        self.lock().write.set_max_record_bytes(bytes);
    }

    /// Stores records in order, each as far as the limits allow, and notes each outcome in its place. Gives the number
    /// of the first one stored; the others stored have the numbers after it. Without a reservation of the block's cost
    /// none is stored and none costs anything.
    pub(crate) fn append(
        &self,
        now_us: u64,
        block: Block,
        reservation: Option<Reservation>,
        outcomes: &mut [Outcome],
    ) -> Option<SequenceNumber> {
        let mut state = self.lock();
        if state.end_index.is_some() {
            outcomes.fill(Outcome::Moved);
            return None;
        }
        let Some(mut reservation) = reservation else {
            state.counts.full += block.len() as u64;
            outcomes.fill(Outcome::Full);
            return None;
        };
        self.trim_locked(&mut state, now_us);
        let mut throttled = 0;
        for (size, outcome) in block.sizes().zip(outcomes.iter_mut()) {
            let admitted = !self.fails(now_us, &WRITES) && state.write.admit(now_us, size);
            throttled += usize::from(!admitted);
            *outcome = if admitted { Outcome::Stored } else { Outcome::Throttled };
        }
        state.counts.throttled += throttled as u64;
        let block = match throttled {
            0 => block,
            all if all == block.len() => return None,
            _ => block.filtered(|place| outcomes[place] == Outcome::Stored),
        };
        // The clock may step back; the log's order of arrival may not.
        let arrival_us = now_us.max(state.log.last_arrival_us());
        let batch = Batch { first_index: state.log.tip(), arrival_us, block };
        // The journal has said why.
        if self.journal.as_ref().is_some_and(|journal| journal.append(self.number, &batch).is_err()) {
            let admitted = outcomes.iter_mut().filter(|outcome| **outcome == Outcome::Stored);
            admitted.for_each(|outcome| *outcome = Outcome::Unwritten);
            return None;
        }
        reservation.keep(batch.cost());
        state.counts.records += batch.block.len() as u64;
        state.counts.bytes += batch.block.payload_bytes() as u64;
        let first = self.sequence(batch.first_index, arrival_us);
        state.log.push(batch);
        drop(state);
        self.tell();
        Some(first)
    }

    /// Whether a fault refuses what these operations bring.
    fn fails(&self, now_us: u64, operations: &[Operation]) -> bool {
        self.faults.as_ref().is_some_and(|faults| faults.throttles(now_us, operations, self.number))
    }

    /// Puts a batch back that a journal had kept. `false`: it does not fit into the memory. The shard's first may begin
    /// at any index; each other begins where the one before it ended.
    pub(crate) fn restore(&self, batch: Batch) -> bool {
        let Some(mut reservation) = self.capacity.reserve(batch.cost()) else { return false };
        reservation.keep(batch.cost());
        self.lock().log.push(batch);
        true
    }

    /// Goes on after this index although the records before it are no more.
    pub(crate) fn restore_tip(&self, tip: u64) {
        let mut state = self.lock();
        if state.log.len() == 0 {
            state.log = Log::starting_at(tip.max(state.log.tip()));
        }
    }

    /// Wakes when there is more to read than there was, or when the shard was closed. To miss nothing, ask before
    /// reading. It costs an append nothing while nobody waits.
    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Reads from a position within AWS's caps of GetRecords, and within the shard's limits for polling readers.
    pub(crate) fn read(&self, now_us: u64, position: u64, max_records: usize) -> Result<ReadBatch, ReadThrottled> {
        let mut state = self.lock();
        self.trim_locked(&mut state, now_us);
        if self.fails(now_us, &[Operation::GetRecords]) || !state.read.admit_call(now_us) {
            state.counts.throttled_reads += 1;
            return Err(ReadThrottled);
        }
        let batch = state.read(now_us, position, max_records.min(MAX_READ_RECORDS), MAX_READ_BYTES);
        let bytes = batch.size();
        state.read.charge(bytes);
        state.counts.read_records += batch.len() as u64;
        state.counts.read_bytes += bytes as u64;
        Ok(batch)
    }

    /// Reads from a position for a consumer with a throughput of its own: the limits of the other readers do not apply.
    pub(crate) fn read_fan_out(&self, now_us: u64, position: u64, max_bytes: usize) -> ReadBatch {
        let mut state = self.lock();
        self.trim_locked(&mut state, now_us);
        let batch = state.read(now_us, position, MAX_READ_RECORDS, max_bytes);
        state.counts.read_records += batch.len() as u64;
        state.counts.read_bytes += batch.size() as u64;
        batch
    }

    /// Takes one GetShardIterator call from the read limits.
    pub(crate) fn admit_iterator(&self, now_us: u64) -> Result<(), ReadThrottled> {
        let mut state = self.lock();
        if self.fails(now_us, &[Operation::GetShardIterator]) || !state.read.admit_iterator(now_us) {
            state.counts.throttled_reads += 1;
            return Err(ReadThrottled);
        }
        Ok(())
    }

    /// The index of the first record that arrived at or after the time.
    pub(crate) fn position_at(&self, now_us: u64, time_us: u64) -> u64 {
        let mut state = self.lock();
        self.trim_locked(&mut state, now_us);
        state.log.position_at(time_us)
    }

    /// The index the next record will get.
    pub(crate) fn tip(&self) -> u64 {
        self.lock().log.tip()
    }

    /// Drops what is older than the retention.
    pub(crate) fn trim(&self, now_us: u64) {
        self.trim_locked(&mut self.lock(), now_us);
    }

    /// Records and bytes stored since the shard was made.
    pub(crate) fn written(&self) -> (u64, u64) {
        let state = self.lock();
        (state.counts.records, state.counts.bytes)
    }

    pub(crate) fn metrics(&self) -> ShardMetrics {
        let state = self.lock();
        let Counts { records, bytes, throttled, full, read_records, read_bytes, throttled_reads } = state.counts;
        ShardMetrics {
            shard: self.id.clone(),
            records,
            bytes,
            throttled_records: throttled,
            full_records: full,
            read_records,
            read_bytes,
            throttled_reads,
            stored_records: state.log.len(),
            stored_bytes: state.log.size(),
        }
    }

    fn trim_locked(&self, state: &mut State, now_us: u64) {
        let freed = state.log.trim(now_us.saturating_sub(self.retention_us.load(Ordering::Relaxed)));
        if freed > 0 {
            self.capacity.release(freed);
        }
    }

    fn tell(&self) {
        if self.changes.receiver_count() > 0 {
            self.changes.send_replace(());
        }
    }

    /// A panic elsewhere cannot leave the log half changed: each step above completes or does not start.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn read(&self, now_us: u64, position: u64, max_records: usize, max_bytes: usize) -> ReadBatch {
        let (from, slices) = self.log.read(position, max_records, max_bytes);
        let next = from + slices.iter().map(Slice::len).sum::<usize>() as u64;
        // Behind by less than a millisecond is still behind: zero says that there is nothing left.
        let behind_us = self.log.arrival_us_at(next).map(|arrival_us| now_us.saturating_sub(arrival_us));
        let ended = self.end_index.is_some_and(|end| next >= end);
        ReadBatch { slices, next, millis_behind: behind_us.map_or(0, |us| (us / 1_000).max(1)), ended }
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.capacity.release(state.log.cost());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{
        batch::{memory_cost, tests::block_of},
        journal::JournalError,
        meta::StreamMeta,
    };

    const T0_US: u64 = 1_700_000_000_000_000;

    fn shard(quotas: Quotas, capacity_bytes: u64) -> Shard {
        journaled(quotas, capacity_bytes, None)
    }

    fn journaled(quotas: Quotas, capacity_bytes: u64, journal: Option<Arc<dyn Journal>>) -> Shard {
        let settings = ShardSettings {
            faults: None,
            retention_us: Arc::new(AtomicU64::new(60_000_000)),
            max_record_bytes: 1 << 20,
            stream: "s".to_owned(),
            quotas,
            capacity: Capacity::new(capacity_bytes),
            journal,
        };
        let range = HashRange { start: 0, end: u128::MAX };
        Shard::new(3, &ShardMeta::first(range, T0_US), &settings)
    }

    /// Puts records whose key is the first byte. Gives the number of the first that was stored, and all outcomes.
    fn put(shard: &Shard, now_us: u64, payloads: &[&[u8]]) -> (Option<SequenceNumber>, Vec<Outcome>) {
        let records: Vec<_> = payloads.iter().map(|payload| ("k", &payload[1..])).collect();
        let mut outcomes = vec![Outcome::Moved; payloads.len()];
        let block = block_of(&records);
        let reservation = shard.capacity.reserve(memory_cost(block.len(), block.payload_bytes()));
        (shard.append(now_us, block, reservation, &mut outcomes), outcomes)
    }

    fn outcomes(shard: &Shard, now_us: u64, payloads: &[&[u8]]) -> Vec<Outcome> {
        put(shard, now_us, payloads).1
    }

    #[test]
    fn sequence_numbers_rise_even_when_the_clock_steps_back() {
        let shard = shard(Quotas::off(), 1 << 20);
        let mut all = vec![shard.starting_sequence()];
        for now_us in [T0_US + 5_000_000, T0_US + 1, T0_US + 9_000_000] {
            let first = put(&shard, now_us, &[b"ka", b"kb"]).0.unwrap();
            all.extend([first, SequenceNumber { index: first.index + 1, ..first }]);
        }
        let all: Vec<_> = all.iter().map(SequenceNumber::to_string).collect();
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "{all:?}");
    }

    #[test]
    fn the_record_over_the_limit_is_refused_and_the_rest_of_the_call_is_judged_alone() {
        let shard = shard(Quotas::aws(), 1 << 30);
        let large = vec![b'x'; (1 << 20) - 10];
        let (first, outcomes) = put(&shard, T0_US, &[&large, &large, b"k12345678", b"k12"]);
        assert_eq!(first.unwrap().index, 1);
        assert_eq!(outcomes, [Outcome::Stored, Outcome::Throttled, Outcome::Stored, Outcome::Throttled]);
        let metrics = shard.metrics();
        assert_eq!((metrics.records, metrics.throttled_records), (2, 2));
        assert_eq!(metrics.bytes, (1 << 20) - 1);
        let batch = shard.read(T0_US, 0, 10).unwrap();
        let stored: Vec<_> = batch.slices.iter().flat_map(Slice::records).map(|record| record.data.len()).collect();
        assert_eq!(stored, [large.len() - 1, 8]);
    }

    #[test]
    fn a_full_memory_refuses_without_spending_quota_and_retention_makes_room() {
        let room_for_two = memory_cost(2, 20);
        let shard = shard(Quotas::aws(), room_for_two);
        assert_eq!(outcomes(&shard, T0_US, &[b"k123456789", b"k123456789"]), [Outcome::Stored; 2]);
        assert_eq!(put(&shard, T0_US, &[b"k123456789"]), (None, vec![Outcome::Full]));
        assert_eq!(shard.capacity.used(), room_for_two);
        shard.trim(T0_US + 60_000_001);
        assert_eq!(shard.capacity.used(), 0);
        assert_eq!(outcomes(&shard, T0_US + 60_000_001, &[b"k123456789"]), [Outcome::Stored]);
        assert_eq!(shard.metrics().full_records, 1);
    }

    #[test]
    fn a_throttled_record_gives_its_memory_back_and_so_does_a_dropped_shard() {
        let shard = shard(Quotas::aws(), 1 << 30);
        let large = vec![b'x'; 1 << 20];
        put(&shard, T0_US, &[&large, &large]);
        assert_eq!(shard.capacity.used(), memory_cost(1, 1 << 20));
        let capacity = Arc::clone(&shard.capacity);
        drop(shard);
        assert_eq!(capacity.used(), 0);
    }

    /// Keeps what it is given, and fails when it is told to.
    #[derive(Debug, Default)]
    struct Kept {
        batches: Mutex<Vec<Batch>>,
        fails: std::sync::atomic::AtomicBool,
    }

    impl Journal for Kept {
        fn append(&self, shard: u32, batch: &Batch) -> Result<(), JournalError> {
            assert_eq!(shard, 3);
            if self.fails.load(Ordering::Relaxed) {
                return Err(JournalError("no room".into()));
            }
            self.batches.lock().unwrap().push(batch.clone());
            Ok(())
        }

        fn facts(&self, _: &StreamMeta) -> Result<(), JournalError> {
            Ok(())
        }
    }

    #[test]
    fn records_that_cannot_be_written_down_are_refused_and_leave_nothing() {
        let kept = Arc::new(Kept::default());
        let shard = journaled(Quotas::off(), 1 << 20, Some(Arc::<Kept>::clone(&kept)));
        assert_eq!(outcomes(&shard, T0_US, &[b"ka"]), [Outcome::Stored]);
        let used = shard.capacity.used();
        kept.fails.store(true, Ordering::Relaxed);
        assert_eq!(put(&shard, T0_US, &[b"kb", b"kc"]), (None, vec![Outcome::Unwritten; 2]));
        assert_eq!((shard.tip(), shard.capacity.used(), shard.metrics().records), (2, used, 1));
        kept.fails.store(false, Ordering::Relaxed);
        assert_eq!(put(&shard, T0_US, &[b"kd"]).0.unwrap().index, 2);
    }

    #[test]
    fn a_shard_restored_from_its_journal_gives_the_same_records_and_goes_on() {
        let kept = Arc::new(Kept::default());
        let before = journaled(Quotas::aws(), 1 << 20, Some(Arc::<Kept>::clone(&kept)));
        put(&before, T0_US, &[b"ka", b"kb"]);
        put(&before, T0_US + 7, &[b"kc"]);
        let after = shard(Quotas::off(), 1 << 20);
        kept.batches.lock().unwrap().drain(..).for_each(|batch| assert!(after.restore(batch)));
        let read = |shard: &Shard| {
            let batch = shard.read(T0_US, 2, 10).unwrap();
            let slices = batch.slices.iter().map(|slice| {
                let data: Vec<_> = slice.records().map(|record| record.data.to_vec()).collect();
                (slice.first_index(), slice.arrival_us(), data)
            });
            slices.collect::<Vec<_>>()
        };
        assert_eq!(read(&after), read(&before));
        assert_eq!(after.capacity.used(), before.capacity.used());
        assert_eq!(put(&after, T0_US, &[b"kd"]).0.unwrap().index, 4);
        let empty = shard(Quotas::off(), 10);
        empty.restore_tip(12);
        assert_eq!(empty.tip(), 12);
        assert!(!empty.restore(Batch { first_index: 12, arrival_us: 1, block: block_of(&[("k", b"1")]) }));
    }

    #[test]
    fn a_waiting_reader_is_woken_by_records_and_by_the_end() {
        let shard = shard(Quotas::off(), 1 << 20);
        let mut changes = shard.watch();
        assert!(!changes.has_changed().unwrap());
        put(&shard, T0_US, &[b"ka"]);
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        shard.close();
        assert!(changes.has_changed().unwrap());
    }

    #[test]
    fn lag_is_the_age_of_the_next_unread_record_and_zero_only_at_the_tip() {
        let shard = shard(Quotas::off(), 1 << 20);
        put(&shard, T0_US, &[b"ka"]);
        put(&shard, T0_US + 2_000_000, &[b"kb"]);
        let behind = |now_us, position, max| shard.read(now_us, position, max).unwrap().millis_behind;
        assert_eq!(behind(T0_US + 5_000_000, 0, 1), 3_000);
        assert_eq!(behind(T0_US + 5_000_000, 0, 2), 0);
        assert_eq!(behind(T0_US + 2_000_000, 0, 1), 1);
        assert_eq!(behind(T0_US + 5_000_000, 3, 10), 0);
    }

    #[test]
    fn a_closed_shard_gives_what_it_holds_and_takes_nothing_more() {
        let shard = shard(Quotas::off(), 1 << 20);
        put(&shard, T0_US, &[b"ka", b"kb"]);
        assert_eq!((shard.close(), shard.close()), (3, 3));
        assert_eq!(outcomes(&shard, T0_US, &[b"kc"]), [Outcome::Moved]);
        let ended = |position, max| shard.read(T0_US, position, max).unwrap().ended;
        assert_eq!((ended(0, 1), ended(0, 2), ended(3, 1)), (false, true, true));
    }

    #[test]
    fn an_answer_holds_ten_mebibytes_at_most() {
        let shard = shard(Quotas::off(), 1 << 30);
        let large = vec![b'x'; 1 << 20];
        for _ in 0..14 {
            put(&shard, T0_US, &[&large]);
        }
        let batch = shard.read(T0_US, 0, MAX_READ_RECORDS).unwrap();
        assert_eq!((batch.len(), batch.size(), batch.next), (10, 10 << 20, 11));
        assert_eq!(shard.read(T0_US, batch.next, MAX_READ_RECORDS).unwrap().len(), 4);
        assert_eq!(shard.read_fan_out(T0_US, batch.next, 2 << 20).len(), 2);
    }
}

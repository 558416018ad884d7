//! One shard: its log behind one lock, the limits in front of it, and what it counted.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64, atomic::Ordering};

use tokio::sync::{Notify, futures::Notified};

use super::{
    capacity::{Capacity, Reservation},
    log::{Log, StoredRecord, memory_cost},
    meta::ShardMeta,
    metrics::ShardMetrics,
    quota::{Quotas, ReadQuota, WriteQuota},
    routing::HashRange,
    sequence::SequenceNumber,
};

/// Records of one GetRecords answer at most (AWS).
pub(crate) const MAX_READ_RECORDS: usize = 10_000;
/// Bytes of data and partition keys of one GetRecords answer at most (AWS: 10 MiB).
pub(crate) const MAX_READ_BYTES: usize = 10 << 20;

/// A record on its way into a shard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Incoming<'a> {
    /// Its place in the call, and in the outcomes.
    pub(crate) slot: usize,
    /// The place of its shard among the open ones of the topology it was routed on.
    pub(crate) place: usize,
    /// Partition key, then data.
    pub(crate) payload: &'a [u8],
    /// Bytes of the partition key.
    pub(crate) key_bytes: u32,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Stored under this number.
    Stored(SequenceNumber),
    /// Over the shard's write limits.
    Throttled,
    /// The server's memory is full.
    Full,
    /// The shard was closed meanwhile: another one takes the record now.
    Moved,
}

/// What a read found.
#[derive(Debug)]
pub(crate) struct ReadBatch {
    /// The index of the first record.
    pub(crate) first: u64,
    /// The records.
    pub(crate) records: Vec<StoredRecord>,
    /// Where to go on.
    pub(crate) next: u64,
    /// Age of the oldest record not yet read; 0 only at the tip.
    pub(crate) millis_behind: u64,
    /// The shard is closed and nothing is left to read.
    pub(crate) ended: bool,
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
    state: Mutex<State>,
    /// Tells who waits for records; costs next to nothing while nobody does.
    changed: Notify,
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
    pub(crate) quotas: Quotas,
    pub(crate) capacity: Arc<Capacity>,
}

/// The id of a shard by its number.
pub(crate) fn shard_id(number: u32) -> String {
    format!("shardId-{number:012}")
}

impl State {
    /// Records from a position on, counted, and their bytes.
    fn take(&mut self, now_us: u64, position: u64, max_records: usize, max_bytes: usize) -> (ReadBatch, usize) {
        let (first, records) = self.log.read(position, max_records, max_bytes);
        let bytes: usize = records.iter().map(StoredRecord::size).sum();
        self.counts.read_records += records.len() as u64;
        self.counts.read_bytes += bytes as u64;
        let next = first + records.len() as u64;
        // Behind by less than a millisecond is still behind: zero says that there is nothing left.
        let behind_us = self.log.arrival_us_at(next).map(|arrival_us| now_us.saturating_sub(arrival_us));
        let millis_behind = behind_us.map_or(0, |us| (us / 1_000).max(1));
        let ended = self.end_index.is_some_and(|end| next >= end);
        (ReadBatch { first, records, next, millis_behind, ended }, bytes)
    }
}

impl Shard {
    pub(crate) fn new(number: u32, facts: &ShardMeta, settings: &ShardSettings) -> Self {
        let now_us = facts.created_us;
        Self {
            id: shard_id(number),
            number,
            range: facts.range,
            facts: facts.clone(),
            retention_us: Arc::clone(&settings.retention_us),
            capacity: Arc::clone(&settings.capacity),
            state: Mutex::new(State {
                log: Log::new(),
                write: WriteQuota::new(settings.quotas.write, settings.max_record_bytes, now_us),
                read: ReadQuota::new(settings.quotas.read, now_us),
                counts: Counts::default(),
                end_index: facts.closed.map(|closing| closing.end_index),
            }),
            changed: Notify::new(),
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
        self.changed.notify_waiters();
        end_index
    }

    /// A new largest record changes how much may be written at once.
    pub(crate) fn set_max_record_bytes(&self, bytes: u64) {
        self.lock().write.set_max_record_bytes(bytes);
    }

    /// Memory these records will hold when all of them are stored.
    pub(crate) fn cost_of(records: &[Incoming<'_>]) -> u64 {
        records.iter().map(|record| memory_cost(record.payload.len())).sum()
    }

    /// Stores records in order, each as far as the limits allow, and notes each outcome in its slot. Without a
    /// reservation of [`Self::cost_of`] them none is stored and none costs anything.
    pub(crate) fn append(
        &self,
        now_us: u64,
        records: &[Incoming<'_>],
        reservation: Option<Reservation>,
        outcomes: &mut [Outcome],
    ) {
        let mut state = self.lock();
        if state.end_index.is_some() {
            records.iter().for_each(|record| outcomes[record.slot] = Outcome::Moved);
            return;
        }
        let Some(mut reservation) = reservation else {
            state.counts.full += records.len() as u64;
            records.iter().for_each(|record| outcomes[record.slot] = Outcome::Full);
            return;
        };
        self.trim_locked(&mut state, now_us);
        // The clock may step back; the log's order of arrival may not.
        let arrival_us = now_us.max(state.log.last_arrival_us());
        for record in records {
            outcomes[record.slot] = if state.write.admit(now_us, record.payload.len()) {
                let stored = StoredRecord::new(arrival_us, record.payload, record.key_bytes);
                reservation.keep(stored.cost());
                state.counts.records += 1;
                state.counts.bytes += stored.size() as u64;
                Outcome::Stored(self.sequence(state.log.push(stored), arrival_us))
            } else {
                state.counts.throttled += 1;
                Outcome::Throttled
            };
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Reads from a position within AWS's caps.
    pub(crate) fn read(&self, now_us: u64, position: u64, max_records: usize) -> Result<ReadBatch, ReadThrottled> {
        let mut state = self.lock();
        self.trim_locked(&mut state, now_us);
        if !state.read.admit_call(now_us) {
            state.counts.throttled_reads += 1;
            return Err(ReadThrottled);
        }
        let (batch, bytes) = state.take(now_us, position, max_records.min(MAX_READ_RECORDS), MAX_READ_BYTES);
        state.read.charge(bytes);
        Ok(batch)
    }

    /// Reads from a position for a consumer with a throughput of its own: the limits of the other readers do not apply.
    pub(crate) fn read_fan_out(&self, now_us: u64, position: u64, max_bytes: usize) -> ReadBatch {
        let mut state = self.lock();
        self.trim_locked(&mut state, now_us);
        state.take(now_us, position, MAX_READ_RECORDS, max_bytes).0
    }

    /// Takes one GetShardIterator call from the read limits.
    pub(crate) fn admit_iterator(&self, now_us: u64) -> Result<(), ReadThrottled> {
        let mut state = self.lock();
        if !state.read.admit_iterator(now_us) {
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

    /// Resolves when something was appended, or the shard was closed, after it was made.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// The index the next record will get.
    pub(crate) fn tip(&self) -> u64 {
        self.lock().log.tip()
    }

    /// Whether there is something to say to a reader at this position: a record, or that the shard has ended.
    pub(crate) fn has_from(&self, position: u64) -> bool {
        let state = self.lock();
        position < state.log.tip() || state.end_index.is_some()
    }

    /// Drops what is older than the retention.
    pub(crate) fn trim(&self, now_us: u64) {
        self.trim_locked(&mut self.lock(), now_us);
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
            stored_records: state.log.len() as u64,
            stored_bytes: state.log.size(),
        }
    }

    fn trim_locked(&self, state: &mut State, now_us: u64) {
        let freed = state.log.trim(now_us.saturating_sub(self.retention_us.load(Ordering::Relaxed)));
        if freed > 0 {
            self.capacity.release(freed);
        }
    }

    /// A panic elsewhere cannot leave the log half changed: each step above completes or does not start.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

    const T0_US: u64 = 1_700_000_000_000_000;

    fn shard(quotas: Quotas, capacity_bytes: u64) -> Shard {
        let settings = ShardSettings {
            retention_us: Arc::new(AtomicU64::new(60_000_000)),
            max_record_bytes: 1 << 20,
            quotas,
            capacity: Capacity::new(capacity_bytes),
        };
        let range = HashRange { start: 0, end: u128::MAX };
        Shard::new(3, &ShardMeta::first(range, T0_US), &settings)
    }

    fn put(shard: &Shard, now_us: u64, payloads: &[&[u8]]) -> Vec<Outcome> {
        let records: Vec<_> = payloads
            .iter()
            .enumerate()
            .map(|(slot, payload)| Incoming { slot, place: 0, payload, key_bytes: 1 })
            .collect();
        let mut outcomes = vec![Outcome::Full; records.len()];
        shard.append(now_us, &records, shard.capacity.reserve(Shard::cost_of(&records)), &mut outcomes);
        outcomes
    }

    fn numbers(outcomes: &[Outcome]) -> Vec<String> {
        let number = |outcome: &Outcome| match outcome {
            Outcome::Stored(number) => Some(number.to_string()),
            _ => None,
        };
        outcomes.iter().filter_map(number).collect()
    }

    #[test]
    fn sequence_numbers_rise_even_when_the_clock_steps_back() {
        let shard = shard(Quotas::off(), 1 << 20);
        let mut all = vec![shard.starting_sequence().to_string()];
        for now_us in [T0_US + 5_000_000, T0_US + 1, T0_US + 9_000_000] {
            all.extend(numbers(&put(&shard, now_us, &[b"ka", b"kb"])));
        }
        assert_eq!(all.len(), 7);
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "{all:?}");
    }

    #[test]
    fn the_record_over_the_limit_is_refused_and_the_rest_of_the_call_is_judged_alone() {
        let shard = shard(Quotas::aws(), 1 << 30);
        let large = vec![b'x'; (1 << 20) - 10];
        let outcomes = put(&shard, T0_US, &[&large, &large, b"k12345678", b"k12"]);
        let stored: Vec<_> = outcomes.iter().map(|o| matches!(o, Outcome::Stored(_))).collect();
        assert_eq!(stored, [true, false, true, false]);
        let metrics = shard.metrics();
        assert_eq!((metrics.records, metrics.throttled_records), (2, 2));
        assert_eq!(metrics.bytes, (1 << 20) - 1);
    }

    #[test]
    fn a_full_memory_refuses_without_spending_quota_and_retention_makes_room() {
        let room_for_two = 2 * memory_cost(10);
        let shard = shard(Quotas::aws(), room_for_two);
        assert_eq!(numbers(&put(&shard, T0_US, &[b"k123456789", b"k123456789"])).len(), 2);
        assert_eq!(put(&shard, T0_US, &[b"k123456789"]), [Outcome::Full]);
        assert_eq!(shard.capacity.used(), room_for_two);
        shard.trim(T0_US + 60_000_001);
        assert_eq!(shard.capacity.used(), 0);
        assert_eq!(numbers(&put(&shard, T0_US + 60_000_001, &[b"k123456789"])).len(), 1);
        assert_eq!(shard.metrics().full_records, 1);
    }

    #[test]
    fn a_throttled_record_gives_its_memory_back_and_so_does_a_dropped_shard() {
        let shard = shard(Quotas::aws(), 1 << 30);
        let large = vec![b'x'; 1 << 20];
        put(&shard, T0_US, &[&large, &large]);
        assert_eq!(shard.capacity.used(), memory_cost(1 << 20));
        let capacity = Arc::clone(&shard.capacity);
        drop(shard);
        assert_eq!(capacity.used(), 0);
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
        assert_eq!(put(&shard, T0_US, &[b"kc"]), [Outcome::Moved]);
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
        assert_eq!((batch.records.len(), batch.first, batch.next), (10, 1, 11));
        assert_eq!(shard.read(T0_US, batch.next, MAX_READ_RECORDS).unwrap().records.len(), 4);
    }
}

//! What is true of a stream apart from its records: one plain value, so that it can be written down and read back.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    consumer::ConsumerMeta,
    recent::RecentDay,
    reshard::OpenShard,
    routing::{HashRange, even_ranges},
    sequence::SequenceNumber,
};

/// The largest record of a stream that does not say otherwise, KiB (AWS).
pub(crate) const DEFAULT_MAX_RECORD_KIB: u32 = 1_024;

/// How the stream's capacity is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum StreamMode {
    Provisioned,
    OnDemand,
}

impl StreamMode {
    pub(crate) const NAMES: [&str; 2] = ["PROVISIONED", "ON_DEMAND"];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Provisioned => "PROVISIONED",
            Self::OnDemand => "ON_DEMAND",
        }
    }
}

/// Who decides on which shard a record goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Distribution {
    /// The producer, by the record's keys.
    #[default]
    UserPartitionKey,
    /// The stream, evenly: keys are ignored.
    Auto,
}

impl Distribution {
    pub(crate) const NAMES: [&str; 2] = ["AUTO", "USER_PARTITION_KEY"];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::UserPartitionKey => "USER_PARTITION_KEY",
            Self::Auto => "AUTO",
        }
    }

    /// The one of this name.
    pub(crate) fn named(name: &str) -> Self {
        if name == Self::Auto.name() { Self::Auto } else { Self::UserPartitionKey }
    }
}

/// The key under which records that arrive from a time on are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Encryption {
    pub(crate) since_us: u64,
    /// `None`: they are not encrypted.
    pub(crate) key_id: Option<String>,
}

impl Encryption {
    /// Whether a record that arrived at a time is kept under a key.
    pub(crate) fn covers(changes: &[Self], arrival_us: u64) -> bool {
        let last = changes.iter().take_while(|change| change.since_us <= arrival_us).last();
        last.is_some_and(|change| change.key_id.is_some())
    }
}

/// Where a stream is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum StreamStatus {
    Creating,
    Active,
    Updating,
    Deleting,
}

impl StreamStatus {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Creating => "CREATING",
            Self::Active => "ACTIVE",
            Self::Updating => "UPDATING",
            Self::Deleting => "DELETING",
        }
    }
}

/// A status that something was put into, and when it passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Transition {
    pub(crate) status: StreamStatus,
    /// From here on the stream is active, or gone if it was being deleted.
    pub(crate) settles_us: u64,
}

impl Transition {
    /// The status at a time. `None`: what was being deleted is gone.
    pub(crate) fn status(self, now_us: u64) -> Option<StreamStatus> {
        match self.status {
            status if now_us < self.settles_us => Some(status),
            StreamStatus::Deleting => None,
            _ => Some(StreamStatus::Active),
        }
    }
}

/// The facts of one stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StreamMeta {
    pub(crate) name: String,
    /// When it was made. With the name it tells this stream from a later one of the same name.
    pub(crate) created_us: u64,
    pub(crate) transition: Transition,
    pub(crate) mode: StreamMode,
    pub(crate) max_record_kib: u32,
    pub(crate) retention_us: u64,
    /// Every shard that is still listed, by number: the open ones and the closed ones within retention.
    pub(crate) shards: BTreeMap<u32, ShardMeta>,
    /// The number the next shard will get.
    pub(crate) next_shard: u32,
    /// The calls of UpdateShardCount that were accepted.
    #[serde(default)]
    pub(crate) shard_count_updates: RecentDay,
    /// The switches of the capacity mode.
    #[serde(default)]
    pub(crate) mode_switches: RecentDay,
    #[serde(default)]
    pub(crate) distribution: Distribution,
    /// What an on-demand stream was told to be ready for, MiB/s.
    #[serde(default)]
    pub(crate) warm_mibps: Option<u32>,
    /// The changes of encryption that records still bear, oldest first. Nothing is really encrypted.
    #[serde(default)]
    pub(crate) encryption: Vec<Encryption>,
    #[serde(default)]
    pub(crate) encryption_starts: RecentDay,
    #[serde(default)]
    pub(crate) encryption_stops: RecentDay,
    /// The resource policy: JSON, kept as it came.
    #[serde(default)]
    pub(crate) policy: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
    /// The registered consumers by name.
    #[serde(default)]
    pub(crate) consumers: BTreeMap<String, ConsumerMeta>,
    pub(crate) shard_level_metrics: BTreeSet<String>,
}

/// What a new stream is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StreamShape {
    pub(crate) mode: StreamMode,
    pub(crate) shards: u32,
    /// Largest record, data and partition key, KiB.
    pub(crate) max_record_kib: u32,
    /// How long a record can be read.
    pub(crate) retention_us: u64,
    pub(crate) distribution: Distribution,
    /// What an on-demand stream is to be ready for, MiB/s.
    pub(crate) warm_mibps: Option<u32>,
    pub(crate) tags: BTreeMap<String, String>,
}

impl StreamShape {
    /// A provisioned stream with nothing special about it.
    pub(crate) const fn provisioned(shards: u32, retention_us: u64) -> Self {
        Self {
            mode: StreamMode::Provisioned,
            shards,
            max_record_kib: DEFAULT_MAX_RECORD_KIB,
            retention_us,
            distribution: Distribution::UserPartitionKey,
            warm_mibps: None,
            tags: BTreeMap::new(),
        }
    }
}

/// The facts of one shard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ShardMeta {
    pub(crate) range: HashRange,
    pub(crate) created_us: u64,
    /// The second its sequence numbers begin with: later than its parents', so that its numbers are larger than theirs
    /// even when they were made in the same second.
    pub(crate) epoch_s: u64,
    pub(crate) parent: Option<u32>,
    /// The second parent of a merge.
    pub(crate) adjacent_parent: Option<u32>,
    pub(crate) closed: Option<Closing>,
}

/// The end of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Closing {
    pub(crate) at_us: u64,
    /// The index of the ending sequence number: one past the last record, so that it is larger than every record's.
    pub(crate) end_index: u64,
}

impl ShardMeta {
    /// A shard of a new stream.
    pub(crate) const fn first(range: HashRange, now_us: u64) -> Self {
        let epoch_s = now_us / 1_000_000;
        Self { range, created_us: now_us, epoch_s, parent: None, adjacent_parent: None, closed: None }
    }

    /// A sequence number of this shard, whose own number is `shard`. Index 0 is the shard's start.
    pub(crate) const fn sequence(&self, shard: u32, index: u64, arrival_us: u64) -> SequenceNumber {
        SequenceNumber { shard_created_s: self.epoch_s, shard, index, arrival_s: arrival_us / 1_000_000 }
    }

    /// The number that opens the shard's range of numbers.
    pub(crate) const fn starting_sequence(&self, shard: u32) -> SequenceNumber {
        self.sequence(shard, 0, self.created_us)
    }

    /// The number that closes the shard's range of numbers: larger than every record's. `None` while it is open.
    pub(crate) fn ending_sequence(&self, shard: u32) -> Option<SequenceNumber> {
        self.closed.map(|Closing { at_us, end_index }| self.sequence(shard, end_index, at_us))
    }

    /// The shards this one came from.
    pub(crate) fn parents(&self) -> impl Iterator<Item = u32> {
        [self.parent, self.adjacent_parent].into_iter().flatten()
    }
}

impl StreamMeta {
    /// A stream of this shape, made now, with even shards.
    pub(crate) fn new(name: &str, shape: StreamShape, transition: Transition, now_us: u64) -> Self {
        let first = |range| ShardMeta::first(range, now_us);
        Self {
            name: name.to_owned(),
            created_us: now_us,
            transition,
            mode: shape.mode,
            max_record_kib: shape.max_record_kib,
            retention_us: shape.retention_us,
            shards: (0..).zip(even_ranges(shape.shards).into_iter().map(first)).collect(),
            next_shard: shape.shards,
            shard_count_updates: RecentDay::default(),
            mode_switches: RecentDay::default(),
            distribution: shape.distribution,
            warm_mibps: shape.warm_mibps,
            encryption: Vec::new(),
            encryption_starts: RecentDay::default(),
            encryption_stops: RecentDay::default(),
            policy: None,
            tags: shape.tags,
            consumers: BTreeMap::new(),
            shard_level_metrics: BTreeSet::new(),
        }
    }

    /// The key new records are kept under.
    pub(crate) fn key_id(&self) -> Option<&str> {
        self.encryption.last()?.key_id.as_deref()
    }

    /// Keeps records that arrive from now on under a key, or under none.
    pub(crate) fn encrypt(&mut self, now_us: u64, key_id: Option<String>) {
        let horizon_us = now_us.saturating_sub(self.retention_us);
        // What came before the last change that is older than every record is of no record any more.
        let outlived = self.encryption.iter().take_while(|change| change.since_us <= horizon_us).count();
        self.encryption.drain(..outlived.saturating_sub(1));
        self.encryption.push(Encryption { since_us: now_us, key_id });
    }

    /// The status at a time. `None`: the stream has been deleted.
    pub(crate) fn status(&self, now_us: u64) -> Option<StreamStatus> {
        self.transition.status(now_us)
    }

    /// Largest record, data and partition key, bytes.
    pub(crate) const fn max_record_bytes(&self) -> usize {
        self.max_record_kib as usize * 1024
    }

    /// The open shards in order of hash range.
    pub(crate) fn open_ranges(&self) -> Vec<OpenShard> {
        let mut open: Vec<_> = self.open_shards().map(|(number, shard)| (number, shard.range)).collect();
        open.sort_unstable_by_key(|(_, range)| range.start);
        open
    }

    /// The first second that is later than those of these shards, and not before `now_us`.
    pub(crate) fn epoch_after(&self, parents: impl Iterator<Item = u32>, now_us: u64) -> u64 {
        let later = parents.filter_map(|number| self.shards.get(&number)).map(|parent| parent.epoch_s + 1);
        later.max().unwrap_or(0).max(now_us / 1_000_000)
    }

    /// When the first of the closed shards has outlived its records. `u64::MAX`: no shard is closed.
    pub(crate) fn next_forgotten_us(&self) -> u64 {
        let closed = self.shards.values().filter_map(|shard| shard.closed);
        closed.map(|closing| closing.at_us.saturating_add(self.retention_us)).min().unwrap_or(u64::MAX)
    }

    /// Leaves out the closed shards whose last record is older than the retention.
    pub(crate) fn forget_expired(&mut self, now_us: u64) {
        let retention_us = self.retention_us;
        let expired = |closing: Closing| closing.at_us.saturating_add(retention_us) <= now_us;
        self.shards.retain(|_, shard| !shard.closed.is_some_and(expired));
    }

    pub(crate) fn open_shards(&self) -> impl Iterator<Item = (u32, &ShardMeta)> {
        self.shards.iter().filter(|(_, shard)| shard.closed.is_none()).map(|(number, shard)| (*number, shard))
    }
}

/// The facts of the account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccountMeta {
    pub(crate) commitment: Option<Commitment>,
}

/// The promise to pay for a minimum of throughput (AWS: MinimumThroughputBillingCommitment).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Commitment {
    pub(crate) started_us: u64,
    /// When it ends or ended, if it was ended.
    pub(crate) ends_us: Option<u64>,
}

impl Commitment {
    /// It holds for a day at least (AWS).
    pub(crate) const fn earliest_end_us(self) -> u64 {
        self.started_us.saturating_add(24 * 3_600 * 1_000_000)
    }

    pub(crate) fn has_ended(self, now_us: u64) -> bool {
        self.ends_us.is_some_and(|ends_us| ends_us <= now_us)
    }
}

impl AccountMeta {
    /// Whether the commitment holds: it unlocks warm throughput.
    pub(crate) fn is_committed(&self, now_us: u64) -> bool {
        self.commitment.is_some_and(|commitment| !commitment.has_ended(now_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(status: StreamStatus, settles_us: u64) -> StreamMeta {
        let shard = ShardMeta {
            range: HashRange { start: 1 << 127, end: u128::MAX },
            created_us: 5,
            epoch_s: 6,
            parent: None,
            adjacent_parent: Some(7),
            closed: Some(Closing { at_us: 9, end_index: 3 }),
        };
        let shape = StreamShape {
            mode: StreamMode::OnDemand,
            tags: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
            warm_mibps: Some(7),
            ..StreamShape::provisioned(3, 1)
        };
        let mut meta = StreamMeta::new("s", shape, Transition { status, settles_us }, 5);
        meta.shards.insert(2, shard);
        meta.encrypt(6, Some("alias/aws/kinesis".to_owned()));
        assert!(meta.mode_switches.admit(6, 2));
        meta
    }

    #[test]
    fn changes_of_encryption_are_kept_for_as_long_as_records_bear_them() {
        let mut meta = meta(StreamStatus::Active, 0);
        meta.retention_us = 100;
        meta.encryption.clear();
        for (now_us, key) in [(1_000, Some("a")), (1_050, None), (1_120, Some("b")), (1_151, None)] {
            meta.encrypt(now_us, key.map(str::to_owned));
        }
        let changes: Vec<_> = meta.encryption.iter().map(|change| change.since_us).collect();
        assert_eq!((changes, meta.key_id()), (vec![1_050, 1_120, 1_151], None));
    }

    #[test]
    fn a_transition_passes_at_its_time() {
        let creating = meta(StreamStatus::Creating, 100);
        assert_eq!(
            (creating.status(99), creating.status(100)),
            (Some(StreamStatus::Creating), Some(StreamStatus::Active))
        );
        let deleting = meta(StreamStatus::Deleting, 100);
        assert_eq!((deleting.status(99), deleting.status(100)), (Some(StreamStatus::Deleting), None));
    }

    #[test]
    fn what_is_written_down_reads_back() {
        let meta = meta(StreamStatus::Updating, u64::MAX);
        let text = serde_json::to_vec(&meta).unwrap();
        assert_eq!(serde_json::from_slice::<StreamMeta>(&text).unwrap(), meta);
    }
}

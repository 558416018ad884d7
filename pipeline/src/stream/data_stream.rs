//! One stream: its facts, its shards, and the one way in which either changes.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, atomic::AtomicU64, atomic::Ordering},
};

use super::{
    capacity::Capacity,
    error::ApiError,
    faults::Injector,
    journal::{Journal, JournalError},
    meta::{Closing, ShardMeta, StreamMeta, StreamShape, StreamStatus, Transition},
    metrics::StreamCounts,
    quota::Quotas,
    reshard::Reshard,
    shard::{Shard, ShardSettings, shard_id},
    topology::Topology,
};

/// What a stream shares with the others of its account.
#[derive(Debug, Clone)]
pub(crate) struct StreamSettings {
    pub(crate) quotas: Quotas,
    /// What goes wrong on purpose; absent: nothing.
    pub(crate) faults: Option<Arc<Injector>>,
    pub(crate) capacity: Arc<Capacity>,
    /// Where its records are written down; absent: nowhere.
    pub(crate) journal: Option<Arc<dyn Journal>>,
}

/// A stream. Its facts change only through [`Self::change`] and [`Self::reshard`].
#[derive(Debug)]
pub(crate) struct DataStream {
    pub(crate) name: String,
    pub(crate) arn: String,
    pub(crate) created_us: u64,
    settings: StreamSettings,
    /// The retention of the facts again, where every shard can see it without a lock.
    retention_us: Arc<AtomicU64>,
    /// When the first closed shard has to be forgotten, so that asking costs no lock.
    next_forgotten_us: AtomicU64,
    /// Records that were spread without regard to their keys.
    spread: AtomicU64,
    meta: RwLock<StreamMeta>,
    topology: RwLock<Arc<Topology>>,
}

impl DataStream {
    pub(crate) fn new(
        name: &str,
        arn: String,
        shape: StreamShape,
        transition: Transition,
        now_us: u64,
        settings: StreamSettings,
    ) -> Self {
        let meta = StreamMeta::new(name, shape, transition, now_us);
        Self::of(meta, arn, settings)
    }

    /// The stream these facts describe, without records.
    pub(crate) fn of(meta: StreamMeta, arn: String, settings: StreamSettings) -> Self {
        let retention_us = Arc::new(AtomicU64::new(meta.retention_us));
        let shards = shard_settings(&meta, &settings, &retention_us);
        let shards = meta.shards.iter().map(|(number, shard)| (*number, Arc::new(Shard::new(*number, shard, &shards))));
        let topology = Topology::new(shards.collect());
        Self {
            name: meta.name.clone(),
            arn,
            created_us: meta.created_us,
            settings,
            retention_us,
            spread: AtomicU64::new(0),
            next_forgotten_us: AtomicU64::new(meta.next_forgotten_us()),
            meta: RwLock::new(meta),
            topology: RwLock::new(Arc::new(topology)),
        }
    }

    /// The facts, to be looked at and let go.
    pub(crate) fn meta(&self) -> RwLockReadGuard<'_, StreamMeta> {
        self.meta.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The shards as they are now.
    pub(crate) fn topology(&self) -> Arc<Topology> {
        Arc::clone(&self.topology.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The shards once a change under way is complete. After a closed shard this gives the ones in its place.
    pub(crate) fn settled_topology(&self) -> Arc<Topology> {
        let _no_change_is_under_way = self.meta();
        self.topology()
    }

    /// Changes the facts, apart from what [`Self::reshard`] does. Nothing changes when `change` fails.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut StreamMeta) -> Result<T, ApiError>) -> Result<T, ApiError> {
        let mut meta = self.meta.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = meta.clone();
        let outcome = change(&mut changed)?;
        self.write_down(&changed)?;
        self.commit(&mut meta, changed, self.topology().by_number().clone());
        Ok(outcome)
    }

    fn write_down(&self, changed: &StreamMeta) -> Result<(), JournalError> {
        self.settings.journal.as_ref().map_or(Ok(()), |journal| journal.facts(changed))
    }

    /// Closes shards and opens others in their place, in one step: `plan` looks at the facts and says which. The stream
    /// is UPDATING until it settles; what was on its way to a closed shard is routed again.
    pub(crate) fn reshard(
        &self,
        now_us: u64,
        settles_us: u64,
        plan: impl FnOnce(&mut StreamMeta) -> Result<Vec<Reshard>, ApiError>,
    ) -> Result<(), ApiError> {
        let mut meta = self.meta.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = meta.clone();
        let steps = plan(&mut changed)?;
        let mut shards = self.topology().by_number().clone();
        let settings = shard_settings(&changed, &self.settings, &self.retention_us);
        let mut closed = Vec::new();
        for step in steps {
            for number in [Some(step.parent), step.adjacent_parent].into_iter().flatten() {
                if let (Some(shard), Some(facts)) = (shards.get(&number), changed.shards.get_mut(&number)) {
                    closed.push(Arc::clone(shard));
                    facts.closed = Some(Closing { at_us: now_us, end_index: shard.close() });
                }
            }
            for range in step.children {
                let number = changed.next_shard;
                changed.next_shard += 1;
                let facts = ShardMeta {
                    range,
                    created_us: now_us,
                    epoch_s: changed
                        .epoch_after([Some(step.parent), step.adjacent_parent].into_iter().flatten(), now_us),
                    parent: Some(step.parent),
                    adjacent_parent: step.adjacent_parent,
                    closed: None,
                };
                shards.insert(number, Arc::new(Shard::new(number, &facts, &settings)));
                changed.shards.insert(number, facts);
            }
        }
        changed.transition = Transition { status: StreamStatus::Updating, settles_us };
        if let Err(error) = self.write_down(&changed) {
            // Who was told to look elsewhere waits for the facts, and finds the same shards again.
            closed.iter().for_each(|shard| shard.reopen());
            return Err(error.into());
        }
        self.commit(&mut meta, changed, shards);
        Ok(())
    }

    /// Makes the changed facts the facts. Every change of a stream passes here, with the lock on its facts held.
    fn commit(&self, meta: &mut StreamMeta, changed: StreamMeta, mut shards: BTreeMap<u32, Arc<Shard>>) {
        if changed.max_record_kib != meta.max_record_kib {
            shards.values().for_each(|shard| shard.set_max_record_bytes(changed.max_record_bytes() as u64));
        }
        self.retention_us.store(changed.retention_us, Ordering::Relaxed);
        self.next_forgotten_us.store(changed.next_forgotten_us(), Ordering::Relaxed);
        let same_shards = changed.shards.keys().eq(self.topology().by_number().keys());
        *meta = changed;
        if !same_shards {
            shards.retain(|number, _| meta.shards.contains_key(number));
            *self.topology.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Topology::new(shards));
        }
    }

    /// Forgets the closed shards whose records have outlived the retention, as AWS does.
    pub(crate) fn forget_expired(&self, now_us: u64) {
        if now_us >= self.next_forgotten_us.load(Ordering::Relaxed) {
            let forgotten = self.change(|meta| {
                meta.forget_expired(now_us);
                Ok(())
            });
            if let Err(error) = forgotten {
                tracing::warn!(stream = self.name, %error, "closed shards could not be forgotten yet");
            }
        }
    }

    /// A hash key for the next record of a stream that spreads its records itself. Multiples of the golden ratio fall
    /// evenly into ranges of equal size, however many there are.
    pub(crate) fn next_spread(&self) -> u128 {
        const GOLDEN: u128 = 0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835;
        u128::from(self.spread.fetch_add(1, Ordering::Relaxed)).wrapping_mul(GOLDEN)
    }

    /// The shard with this id. Like AWS it takes any `name-number`, so `shardId-0` is the first shard.
    pub(crate) fn shard(&self, id: &str) -> Result<Arc<Shard>, ShardLookup> {
        let number = shard_number(id).ok_or(ShardLookup::NotAShardId)?;
        let shard = self.topology().shard(number).map(Arc::clone);
        shard.ok_or_else(|| ShardLookup::NoSuchShard(shard_id(number)))
    }

    /// Drops what is older than the retention.
    pub(crate) fn trim(&self, now_us: u64) {
        self.forget_expired(now_us);
        self.topology().shards().for_each(|shard| shard.trim(now_us));
    }

    pub(crate) fn counts(&self) -> StreamCounts {
        let shards = self.topology().shards().map(|shard| shard.metrics()).collect();
        StreamCounts { stream: self.name.clone(), shards }
    }
}

fn shard_settings(meta: &StreamMeta, settings: &StreamSettings, retention_us: &Arc<AtomicU64>) -> ShardSettings {
    ShardSettings {
        retention_us: Arc::clone(retention_us),
        max_record_bytes: meta.max_record_bytes() as u64,
        stream: meta.name.clone(),
        quotas: settings.quotas.clone(),
        faults: settings.faults.clone(),
        capacity: Arc::clone(&settings.capacity),
        journal: settings.journal.as_ref().map(Arc::clone),
    }
}

/// Why there is no shard for an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ShardLookup {
    /// The text names no shard.
    NotAShardId,
    /// The stream has no shard of this (full) id.
    NoSuchShard(String),
}

/// The number in a shard id; at most 2^31 - 1, as on AWS.
pub(crate) fn shard_number(id: &str) -> Option<u32> {
    let (_, digits) = id.split_once('-')?;
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse::<u32>().ok()).flatten().filter(|number| *number <= i32::MAX as u32)
}

/// The id as the stream writes it, so that ids compare in order of number. Other text stays as it is.
pub(crate) fn full_shard_id(id: &str) -> String {
    shard_number(id).map_or_else(|| id.to_owned(), shard_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::routing::HashRange;

    #[test]
    fn short_shard_ids_are_accepted_as_on_aws() {
        for (id, number) in [("shardId-000000000002", Some(2)), ("shardId-0", Some(0)), ("anything-7", Some(7))] {
            assert_eq!(shard_number(id), number);
        }
        for id in ["shardId", "shardId-", "shardId-x", "shardId--1", "shardId-2147483648", "a-+1"] {
            assert_eq!(shard_number(id), None, "{id}");
        }
    }

    fn stream(shards: u32) -> DataStream {
        let shape = StreamShape::provisioned(shards, 3_600_000_000);
        let settings =
            StreamSettings { quotas: Quotas::off(), faults: None, capacity: Capacity::new(1 << 20), journal: None };
        let transition = Transition { status: StreamStatus::Active, settles_us: 0 };
        DataStream::new("s", "arn".to_owned(), shape, transition, 1_000_000, settings)
    }

    #[test]
    fn a_split_closes_the_parent_and_routes_its_keys_to_the_children() {
        let stream = stream(2);
        let parent = stream.meta().shards[&1].range;
        let middle = parent.start + (parent.end - parent.start) / 2;
        let children =
            vec![HashRange { start: parent.start, end: middle }, HashRange { start: middle + 1, end: parent.end }];
        let plan = |_: &mut StreamMeta| Ok(vec![Reshard { parent: 1, adjacent_parent: None, children }]);
        stream.reshard(2_000_000, 2_500_000, plan).unwrap();
        let topology = stream.topology();
        let open: Vec<_> = topology.open().iter().map(|shard| shard.number).collect();
        assert_eq!(open, [0, 2, 3]);
        let at = |hash| topology.open()[topology.route(hash)].number;
        assert_eq!((at(0), at(parent.start), at(middle), at(middle + 1), at(u128::MAX)), (0, 2, 2, 3, 3));
        assert_eq!(topology.children(1).map(|shard| shard.number).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(stream.meta().status(2_400_000), Some(StreamStatus::Updating));
        assert!(stream.shard("shardId-1").unwrap().is_closed());
    }

    #[test]
    fn a_change_that_fails_changes_nothing() {
        let stream = stream(1);
        let before = stream.meta().clone();
        let failed = stream.change(|meta| {
            meta.retention_us = 7;
            Err::<(), _>(ApiError::invalid_argument("no"))
        });
        assert_eq!((failed, &*stream.meta()), (Err(ApiError::invalid_argument("no")), &before));
    }
}

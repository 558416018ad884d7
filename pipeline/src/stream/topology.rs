//! The shards of a stream at one moment: found by number, or by the hash key they take records for.

use std::{collections::BTreeMap, sync::Arc};

use super::{routing::locate, shard::Shard};

/// A snapshot. A change of the shards makes a new one, so a call works on one topology from its start to its end.
#[derive(Debug)]
pub(crate) struct Topology {
    by_number: BTreeMap<u32, Arc<Shard>>,
    /// The open shards in order of hash range; together they cover every hash key.
    open: Vec<Arc<Shard>>,
    /// Where their ranges start: side by side, since every record is looked up here.
    starts: Vec<u128>,
}

impl Topology {
    pub(crate) fn new(by_number: BTreeMap<u32, Arc<Shard>>) -> Self {
        let mut open: Vec<_> = by_number.values().filter(|shard| !shard.is_closed()).map(Arc::clone).collect();
        open.sort_unstable_by_key(|shard| shard.range.start);
        let starts = open.iter().map(|shard| shard.range.start).collect();
        Self { by_number, open, starts }
    }

    /// The place among the open shards of the one that takes the hash key.
    pub(crate) fn route(&self, hash: u128) -> usize {
        locate(hash, &self.starts)
    }

    /// The open shards in order of hash range.
    pub(crate) fn open(&self) -> &[Arc<Shard>] {
        &self.open
    }

    /// Every listed shard in order of number.
    pub(crate) fn shards(&self) -> impl Iterator<Item = &Arc<Shard>> {
        self.by_number.values()
    }

    pub(crate) fn shard(&self, number: u32) -> Option<&Arc<Shard>> {
        self.by_number.get(&number)
    }

    /// The shards that a closed one was split or merged into, in order of number.
    pub(crate) fn children(&self, number: u32) -> impl Iterator<Item = &Arc<Shard>> {
        self.shards().filter(move |shard| shard.parents().any(|parent| parent == number))
    }

    pub(crate) fn by_number(&self) -> &BTreeMap<u32, Arc<Shard>> {
        &self.by_number
    }
}

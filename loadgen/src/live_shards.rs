//! The stream's shards while the load runs: which are open, and what each has taken so far.
//!
//! Written by whoever learns it (an event that changed the shards, the producer that was told where a record went), read
//! by whoever asks. Who counts asks for a shard's counter once; from then on counting is two additions and no lock.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::shards::ShardMap;

/// What a shard has taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

/// A shard's counts: one thread adds, any may look.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    records: AtomicU64,
    bytes: AtomicU64,
}

impl Counter {
    /// Counts records that the shard accepted.
    pub(crate) fn add(&self, records: u64, bytes: u64) {
        // With one writer a sum needs no locked instruction, of which each record would pay two.
        self.records.store(self.records.load(Relaxed) + records, Relaxed);
        self.bytes.store(self.bytes.load(Relaxed) + bytes, Relaxed);
    }
}

/// The shards of the stream that is loaded.
#[derive(Debug, Default)]
pub(crate) struct LiveShards {
    map: RwLock<Arc<ShardMap>>,
    taken: RwLock<HashMap<Arc<str>, Arc<Counter>>>,
}

impl LiveShards {
    pub(crate) fn new(map: ShardMap) -> Self {
        Self { map: RwLock::new(Arc::new(map)), taken: RwLock::default() }
    }

    /// The open shards as last seen.
    pub(crate) fn map(&self) -> Arc<ShardMap> {
        Arc::clone(&self.map.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Other shards are open from now on.
    pub(crate) fn replace(&self, map: ShardMap) {
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(map);
    }

    /// The counter of a shard.
    pub(crate) fn counter(&self, shard: &Arc<str>) -> Arc<Counter> {
        let mut taken = self.taken.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(taken.entry(Arc::clone(shard)).or_default())
    }

    /// What each shard has taken so far; a shard that took nothing is absent.
    pub(crate) fn taken(&self) -> HashMap<Arc<str>, Taken> {
        let taken = self.taken.read().unwrap_or_else(PoisonError::into_inner);
        let read = |c: &Arc<Counter>| Taken { records: c.records.load(Relaxed), bytes: c.bytes.load(Relaxed) };
        taken.iter().map(|(shard, counter)| (Arc::clone(shard), read(counter))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_writers_lose_no_count() {
        let shards = LiveShards::default();
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let shards = &shards;
                scope.spawn(move || {
                    let [a, b] = ["a", "b"].map(|name| shards.counter(&name.into()));
                    (0..10_000).for_each(|n| if (n + worker) % 4 == 0 { &a } else { &b }.add(1, 10));
                });
            }
        });
        let taken = shards.taken();
        assert_eq!(shards.counter(&"a".into()).records.load(Relaxed), 10_000);
        assert_eq!(taken["a"], Taken { records: 10_000, bytes: 100_000 });
        assert_eq!(taken["b"].records, 30_000);
    }
}

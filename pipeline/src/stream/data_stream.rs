//! One stream: its description, which does not change here, and its shards.

use std::sync::Arc;

use super::{
    capacity::Capacity,
    metrics::StreamCounts,
    quota::Quotas,
    routing::{even_ranges, locate},
    shard::{Shard, ShardSettings, shard_id},
};

/// How the stream's capacity is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// What a new stream is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamShape {
    pub(crate) mode: StreamMode,
    pub(crate) shards: u32,
    /// Largest record, data and partition key, KiB.
    pub(crate) max_record_kib: u32,
}

/// The largest record of a stream that does not say otherwise, KiB (AWS).
pub(crate) const DEFAULT_MAX_RECORD_KIB: u32 = 1_024;

/// A stream. It is active from its creation until it is deleted.
#[derive(Debug)]
pub(crate) struct DataStream {
    pub(crate) name: String,
    pub(crate) arn: String,
    pub(crate) created_us: u64,
    pub(crate) retention_us: u64,
    pub(crate) shape: StreamShape,
    /// In order of number, and so far of hash range too.
    pub(crate) shards: Vec<Shard>,
}

/// Where a stream lives and what holds for it.
#[derive(Debug, Clone)]
pub(crate) struct StreamSettings {
    pub(crate) created_us: u64,
    pub(crate) retention_us: u64,
    pub(crate) quotas: Quotas,
    pub(crate) capacity: Arc<Capacity>,
}

impl DataStream {
    pub(crate) fn new(name: &str, arn: String, shape: StreamShape, settings: StreamSettings) -> Self {
        let StreamSettings { created_us, retention_us, quotas, capacity } = settings;
        let max_record_bytes = u64::from(shape.max_record_kib) * 1024;
        let settings = ShardSettings { created_us, retention_us, max_record_bytes, quotas, capacity };
        let ranges = even_ranges(shape.shards).into_iter();
        let shards = (0..).zip(ranges).map(|(number, range)| Shard::new(number, range, &settings)).collect();
        Self { name: name.to_owned(), arn, created_us, retention_us, shape, shards }
    }

    /// The shard that holds the hash key.
    pub(crate) fn route(&self, hash: u128) -> &Shard {
        &self.shards[locate(hash, |i| self.shards[i].range.start, self.shards.len())]
    }

    /// The shard with this id. Like AWS it takes any `name-number`, so `shardId-0` is the first shard.
    pub(crate) fn shard(&self, id: &str) -> Result<&Shard, ShardLookup> {
        let number = shard_number(id).ok_or(ShardLookup::NotAShardId)?;
        self.shards.get(number as usize).ok_or_else(|| ShardLookup::NoSuchShard(shard_id(number)))
    }

    /// Largest record, data and partition key, bytes.
    pub(crate) const fn max_record_bytes(&self) -> usize {
        self.shape.max_record_kib as usize * 1024
    }

    pub(crate) fn trim(&self, now_us: u64) {
        self.shards.iter().for_each(|shard| shard.trim(now_us));
    }

    pub(crate) fn counts(&self) -> StreamCounts {
        StreamCounts { stream: self.name.clone(), shards: self.shards.iter().map(Shard::metrics).collect() }
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

    #[test]
    fn short_shard_ids_are_accepted_as_on_aws() {
        for (id, number) in [("shardId-000000000002", Some(2)), ("shardId-0", Some(0)), ("anything-7", Some(7))] {
            assert_eq!(shard_number(id), number);
        }
        for id in ["shardId", "shardId-", "shardId-x", "shardId--1", "shardId-2147483648", "a-+1"] {
            assert_eq!(shard_number(id), None, "{id}");
        }
    }
}

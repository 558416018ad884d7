//! The packer: small records of one shard share a record of the stream.
//!
//! Which shard a record goes to follows from its hash key and the shards that are open now. Should one have been split
//! meanwhile, an aggregate still goes to one shard as a whole, and the consumer takes it apart wherever it is.

use std::{collections::HashMap, sync::Arc};

use super::{
    api::Api,
    call::{Call, Limits, NewEntry, RecordMeta},
};
use crate::{aggregation::Aggregator, live_shards::LiveShards};

/// One aggregate that takes records.
#[derive(Debug)]
struct Open {
    aggregator: Aggregator,
    records: Vec<RecordMeta>,
}

/// Records of one shard that may be packed together: all with an explicit hash key, or all without.
type Kind = (Option<Arc<str>>, bool);

/// Packs the records of one call after the other.
#[derive(Debug)]
pub(crate) struct Packer {
    shards: Arc<LiveShards>,
    limit_bytes: usize,
    open: HashMap<Kind, Open>,
    blob: Vec<u8>,
}

impl Packer {
    /// A packer of aggregates of at most so many bytes.
    pub(crate) fn new(shards: Arc<LiveShards>, limit_bytes: usize) -> Self {
        Self { shards, limit_bytes, open: HashMap::new(), blob: Vec::new() }
    }

    /// Whether a call with what is packed for it has room for another record.
    pub(crate) fn fits(&self, call: &Call, entry: &NewEntry<'_>, limits: Limits) -> bool {
        let packed: usize = self.busy().map(|open| open.aggregator.size_bytes() + open.records.len()).sum();
        let entries = call.entries().len() + self.busy().count() + 1;
        // A record may need an aggregate, and an entry, of its own.
        let bytes = call.bytes() + packed + 2 * entry.size();
        entries == 1 || entries <= limits.entries && bytes <= limits.bytes
    }

    fn busy(&self) -> impl Iterator<Item = &Open> {
        self.open.values().filter(|open| !open.aggregator.is_empty())
    }

    /// Packs a record for this call.
    pub(crate) fn add(&mut self, api: &Api, call: &mut Call, entry: NewEntry<'_>) {
        let map = self.shards.map();
        let shard = map.shard_for(entry.key, entry.explicit_hash);
        let kind = (shard.map(|shard| Arc::clone(&shard.id)), entry.explicit_hash.is_some());
        let limit_bytes = self.limit_bytes;
        let open = self
            .open
            .entry(kind)
            .or_insert_with(|| Open { aggregator: Aggregator::new(limit_bytes), records: Vec::new() });
        if !open.aggregator.fits(entry.key, entry.explicit_hash, entry.data.len()) {
            close(api, call, open, &mut self.blob);
        }
        if open.aggregator.fits(entry.key, entry.explicit_hash, entry.data.len()) {
            open.aggregator.push(entry.key, entry.explicit_hash, entry.data);
            open.records.extend_from_slice(entry.records);
        } else {
            // Too large to be packed at all.
            call.push(api, entry);
        }
    }

    /// Puts every aggregate into the call.
    pub(crate) fn finish(&mut self, api: &Api, call: &mut Call) {
        let mut kinds: Vec<(&Kind, &mut Open)> = self.open.iter_mut().collect();
        // The same records give the same bytes on every machine.
        kinds.sort_by(|a, b| a.0.cmp(b.0));
        for (_, open) in kinds {
            close(api, call, open, &mut self.blob);
        }
    }
}

fn close(api: &Api, call: &mut Call, open: &mut Open, blob: &mut Vec<u8>) {
    let Some(key) = open.aggregator.first_key().map(str::to_owned) else { return };
    let explicit_hash = open.aggregator.first_hash();
    blob.clear();
    open.aggregator.finish(blob);
    call.push(api, NewEntry { data: blob, key: &key, explicit_hash, records: &open.records });
    open.records.clear();
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, prelude::BASE64_STANDARD};

    use super::*;
    use crate::{
        aggregation::deaggregate,
        shards::{Shard, ShardMap},
    };

    fn two_shards() -> Arc<LiveShards> {
        let half = u128::MAX / 2;
        let shard = |id: &str, first_hash, last_hash| Shard {
            id: id.into(),
            parents: Vec::new(),
            first_hash,
            last_hash,
            closed: false,
        };
        Arc::new(LiveShards::new(ShardMap::new(vec![shard("a", 0, half), shard("b", half + 1, u128::MAX)])))
    }

    #[test]
    fn records_of_one_shard_share_an_aggregate_and_come_back_with_their_keys() {
        let api = Api::put_records("s");
        let shards = two_shards();
        let (mut packer, mut call) = (Packer::new(Arc::clone(&shards), 50 << 10), Call::new());
        for k in 0..100_u64 {
            let (data, key) = (format!("record-{k}"), format!("key-{k}"));
            let records = [RecordMeta { sequence: k, due_us: k }];
            let explicit_hash = (k % 10 == 0).then_some(7);
            packer.add(
                &api,
                &mut call,
                NewEntry { data: data.as_bytes(), key: &key, explicit_hash, records: &records },
            );
        }
        packer.finish(&api, &mut call);
        assert_eq!(call.entries().len(), 3, "two shards, and the explicit hash keys of one");
        let mut seen = Vec::new();
        for entry in call.entries() {
            let json: serde_json::Value = serde_json::from_slice(call.json_of(entry)).unwrap();
            let blob = BASE64_STANDARD.decode(json["Data"].as_str().unwrap()).unwrap();
            let metas = call.records_of(entry);
            let mut homes = Vec::new();
            for (user, meta) in deaggregate(&blob).unwrap().zip(metas) {
                assert_eq!(user.data, format!("record-{}", meta.sequence).as_bytes());
                assert_eq!(user.key, format!("key-{}", meta.sequence));
                let map = shards.map();
                let home = map.shard_for(user.key, user.hash).unwrap();
                homes.push(Arc::clone(&home.id));
                seen.push(meta.sequence);
            }
            homes.dedup();
            assert_eq!(homes.len(), 1, "one shard");
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_large_record_goes_as_it_is_and_a_full_aggregate_makes_room() {
        let api = Api::put_records("s");
        let (mut packer, mut call) = (Packer::new(two_shards(), 1_000), Call::new());
        for (k, bytes) in [(0, 600), (1, 600), (2, 5_000)] {
            let data = vec![b'x'; bytes];
            let records = [RecordMeta { sequence: k, due_us: 0 }];
            let entry = NewEntry { data: &data, key: "k", explicit_hash: None, records: &records };
            assert!(packer.fits(&call, &entry, Limits { entries: 10, bytes: 1 << 20 }));
            assert!(k == 0 || !packer.fits(&call, &entry, Limits { entries: 1, bytes: 1 << 20 }));
            assert!(k == 0 || !packer.fits(&call, &entry, Limits { entries: 10, bytes: 1_200 }));
            packer.add(&api, &mut call, entry);
        }
        packer.finish(&api, &mut call);
        assert_eq!(call.entries().len(), 3);
        let last = call.entries().iter().find(|entry| call.records_of(entry)[0].sequence == 2).unwrap();
        assert_eq!(last.bytes, 5_001, "not packed");
    }
}

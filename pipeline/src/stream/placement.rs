//! A call's records on their way to the shards: routed, gathered into one block a shard, stored under one lock a shard.

use std::sync::Arc;

use super::{
    account::Account,
    batch::{Block, BlockBuilder, memory_cost},
    blob::{Blob, NotBase64},
    data_stream::DataStream,
    sequence::SequenceNumber,
    shard::{Outcome, Shard},
    topology::Topology,
};

/// A record that may be stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ToStore<'a> {
    pub(crate) hash: u128,
    pub(crate) key: &'a str,
    pub(crate) data: Blob<'a>,
}

impl ToStore<'_> {
    /// Bytes of data and partition key: what quotas and caps count.
    pub(crate) const fn size(&self) -> usize {
        self.key.len() + self.data.len()
    }
}

/// What became of a call's records.
#[derive(Debug)]
pub(crate) struct Placement {
    /// The shards that were asked.
    pub(crate) groups: Vec<Group>,
    /// For each record the place of its group, and its outcome.
    pub(crate) records: Vec<(u32, Outcome)>,
}

/// A shard that was asked to store some of the records.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) shard: Arc<Shard>,
    /// The number of the first record that it stored; the next has the next number.
    pub(crate) first: Option<SequenceNumber>,
}

/// A record's place in its call, below the place of its shard: in order, they are the groups in order of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Routed(u64);

impl Routed {
    const fn new(shard: usize, slot: usize) -> Self {
        Self(((shard as u64) << 32) | slot as u64)
    }

    const fn shard(self) -> usize {
        (self.0 >> 32) as usize
    }

    const fn slot(self) -> usize {
        self.0 as u32 as usize
    }
}

/// Stores the records, each shard's in their order. Data that cannot be decoded refuses all of them before any is stored.
pub(crate) fn store(account: &Account, stream: &DataStream, records: &[ToStore<'_>]) -> Result<Placement, NotBase64> {
    let mut topology = stream.topology();
    let mut placement = Placement { groups: Vec::new(), records: vec![(0, Outcome::Moved); records.len()] };
    let mut outcomes = Vec::new();
    loop {
        let routed = route(&topology, records, &placement);
        let groups = routed.chunk_by(|a, b| a.shard() == b.shard());
        let blocks = groups.clone().map(|group| gather(records, group)).collect::<Result<Vec<_>, _>>()?;
        let now_us = account.clock.now_us();
        for (group, block) in groups.zip(blocks) {
            let shard = &topology.open()[group[0].shard()];
            let reservation = account.reserve(memory_cost(block.len(), block.payload_bytes()));
            outcomes.clear();
            outcomes.resize(group.len(), Outcome::Moved);
            let first = shard.append(now_us, block, reservation, &mut outcomes);
            let place = u32::try_from(placement.groups.len()).unwrap_or(u32::MAX);
            for (record, outcome) in group.iter().zip(&outcomes) {
                placement.records[record.slot()] = (place, *outcome);
            }
            placement.groups.push(Group { shard: Arc::clone(shard), first });
        }
        if placement.records.iter().all(|(_, outcome)| *outcome != Outcome::Moved) {
            return Ok(placement);
        }
        // A shard was closed between the look and the append: its records go to the shards in its place.
        topology = stream.settled_topology();
    }
}

/// The records that have no place yet, in order of shard.
fn route(topology: &Topology, records: &[ToStore<'_>], placement: &Placement) -> Vec<Routed> {
    let to_place = placement.records.iter().zip(records).enumerate();
    let to_place = to_place.filter(|(_, ((_, outcome), _))| *outcome == Outcome::Moved);
    let mut routed: Vec<_> =
        to_place.map(|(slot, (_, record))| Routed::new(topology.route(record.hash), slot)).collect();
    routed.sort_unstable();
    routed
}

fn gather(records: &[ToStore<'_>], group: &[Routed]) -> Result<Block, NotBase64> {
    let payload_bytes = group.iter().map(|routed| records[routed.slot()].size()).sum();
    let mut block = BlockBuilder::new(group.len(), payload_bytes);
    for routed in group {
        let record = &records[routed.slot()];
        block.push(record.key, |out| record.data.append_to(out))?;
    }
    Ok(block.finish())
}

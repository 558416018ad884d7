//! `[[event]]`: one change each, and one that can be made.

use crate::{
    error::Fault,
    event::{Event, MergeChoice},
    model::Arrival,
    tree::Node,
    validate::source,
};

/// The ceiling of UpdateShardCount.
const MAX_SHARDS: u32 = 10_000;

pub(super) fn check(events: &[Event], arrival: Arrival, node: &Node) -> Vec<Fault> {
    events.iter().enumerate().flat_map(|(index, event)| one(event, arrival, node.item(index))).collect()
}

fn one(event: &Event, arrival: Arrival, node: &Node) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut refuse = |wrong: bool, key: &str, message: &str, help: &str| {
        if wrong {
            faults.push(node.at(key).fault(message, help));
        }
    };
    refuse(event.actions() == 0, "at", "nothing happens then", "add for example split_shard = \"hottest\"");
    refuse(
        event.actions() > 1,
        "at",
        "an event changes one thing",
        "make an [[event]] of each: split_shard, merge_shards, update_shard_count, rate or keys",
    );
    refuse(
        event.rate.is_some_and(|factor| !(factor.is_finite() && factor > 0.0)),
        "rate",
        "the factor must be above zero",
        "write for example 2.0 to double the rate",
    );
    refuse(
        event.rate.is_some() && arrival == Arrival::Trace,
        "rate",
        "a trace has no rate of its own",
        "remove the event, or replay all of it faster with load.trace_speed",
    );
    refuse(
        event.update_shard_count.is_some_and(|count| !(1..=MAX_SHARDS).contains(&count)),
        "update_shard_count",
        "a stream has 1 to 10000 shards",
        "write 1 to 10000",
    );
    refuse(
        matches!(event.merge_shards, Some(MergeChoice::Numbers([a, b])) if a == b),
        "merge_shards",
        "a shard cannot be merged with itself",
        "write the numbers of two shards that lie side by side, such as [0, 1]",
    );
    if let Some(keys) = &event.keys {
        faults.extend(source::check_keys(keys, node.at("keys")));
    }
    faults
}

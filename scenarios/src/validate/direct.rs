//! A load that goes to a delivery stream directly: what needs keys, shards or reading back cannot be asked of it.

use crate::{
    error::Fault,
    model::{BodyFormat, Order, PutCall, Scenario},
    tree::Node,
};

pub(super) fn check(scenario: &Scenario, root: &Node) -> Vec<Fault> {
    if scenario.load.call != PutCall::PutRecordBatch {
        return Vec::new();
    }
    let mut faults = Vec::new();
    let mut refuse = |wrong: bool, node: &Node, message: &str| {
        if wrong {
            let help = "remove it, or write call = \"put_records\" in [load]";
            faults.push(node.key_fault(format!("{message}: PutRecordBatch goes to a delivery stream"), help));
        }
    };
    let (load, keys) = (root.at("load"), root.at("keys"));
    refuse(scenario.load.aggregate, load.at("aggregate"), "only what reads a stream takes aggregates apart");
    refuse(scenario.load.body == BodyFormat::Cbor, load.at("body"), "Firehose speaks JSON only");
    refuse(scenario.load.order == Order::Key, load.at("order"), "nobody can read back whether keys kept their order");
    refuse(!scenario.keys.shards.is_empty(), keys.at("shards"), "there are no shards");
    refuse(scenario.keys.hot_shard.is_some(), keys.at("hot_shard"), "there are no shards");
    for (index, event) in scenario.event.iter().enumerate() {
        let node = root.at("event").item(index);
        refuse(event.split_shard.is_some(), node.at("split_shard"), "there are no shards");
        refuse(event.merge_shards.is_some(), node.at("merge_shards"), "there are no shards");
        refuse(event.update_shard_count.is_some(), node.at("update_shard_count"), "there are no shards");
    }
    faults
}

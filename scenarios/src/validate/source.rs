//! `[source]` and `[keys]`: which keys a kind uses, and what they may say.

use chrono::DateTime;
use serde::Serialize;

use crate::{
    error::Fault,
    model::{KeyKind, Keys, Place, Source},
    tree::Node,
    usage,
};

/// How far from 1 the sum of all shares may be: thirds written with four digits pass.
const MAX_SHARE_ERROR: f64 = 0.001;
/// Names per key at most: as many as a stream can have shards.
const MAX_SALT: u32 = 10_000;

pub(super) fn check(source: &Source, node: &Node) -> Vec<Fault> {
    let mut faults: Vec<Fault> =
        usage::unused_source(source).filter_map(|(key, users)| idle("source", "kind", key, users, node)).collect();
    let mut refuse = |wrong: bool, key: &str, message: &str, help: &str| {
        if wrong && !usage::unused_source(source).any(|(unused, _)| unused == key) {
            faults.push(node.at(key).fault(message, help));
        }
    };
    let empty_path = source.path.as_ref().is_some_and(|path| path.as_os_str().is_empty());
    refuse(empty_path, "path", "the path is empty", "name a CSV file, or leave the key out for a synthetic one");
    refuse(source.rows == 0, "rows", "a file without rows has nothing to replay", "write 1 or more");
    refuse(source.sensors == 0, "sensors", "without a sensor there is no reading", "write 1 or more");
    refuse(source.interval.is_zero(), "interval", "event time has to move on", "write a span such as \"1s\" or \"1m\"");
    refuse(
        DateTime::parse_from_rfc3339(&source.epoch).is_err(),
        "epoch",
        "this is not a time of RFC 3339",
        "write date, time and offset, such as \"2025-01-01T00:00:00Z\"",
    );
    let http =
        ["http://", "https://"].iter().any(|scheme| source.url.len() > scheme.len() && source.url.starts_with(scheme));
    refuse(!http, "url", "this is not an HTTP URL", "write for example \"https://api.open-meteo.com/v1/forecast\"");
    faults
}

pub(super) fn check_keys(keys: &Keys, node: &Node) -> Vec<Fault> {
    let mut faults: Vec<Fault> =
        usage::unused_keys(keys).filter_map(|(key, users)| idle("keys", "kind", key, users, node)).collect();
    let mut refuse = |wrong: bool, key: &str, message: &str, help: &str| {
        if wrong && !usage::unused_keys(keys).any(|(unused, _)| unused == key) {
            faults.push(node.at(key).fault(message, help));
        }
    };
    let field = keys.field.as_deref();
    refuse(
        keys.kind == KeyKind::Field && field.is_none(),
        "field",
        "kind = \"field\" needs to know which field",
        "add the name of a field of the payload, such as field = \"County\"",
    );
    refuse(
        field == Some(""),
        "field",
        "the field has no name",
        "write the name of a field of the payload, such as \"County\"",
    );
    refuse(keys.distinct == 0, "distinct", "there must be a key to draw", "write 1 or more");
    refuse(
        keys.exponent < 0.0,
        "exponent",
        "the exponent is below zero",
        "write 0 (uniform) or more; 1 is the usual Zipf law",
    );
    refuse(
        keys.hot == 0,
        "hot",
        "a hot set without a hot key is a uniform draw",
        "write 1 or more, or kind = \"uniform\"",
    );
    refuse(
        keys.hot >= keys.distinct,
        "hot",
        "not every key can be hot",
        &format!("write fewer than `distinct`, which is {}", keys.distinct),
    );
    refuse(
        !(0.0..=1.0).contains(&keys.hot_share),
        "hot_share",
        "a share is between 0 and 1",
        "write for example 0.5 for half of all records",
    );
    refuse(
        keys.kind == KeyKind::File && keys.path.as_ref().is_none_or(|path| path.as_os_str().is_empty()),
        "path",
        "kind = \"file\" needs to know which file",
        "add the name of a CSV file with the columns key and weight, such as path = \"keys.csv\"",
    );
    faults.extend(check_placement(keys, node));
    faults
}

/// Where the keys go: shares that are shares, said once, and a way that fits them.
fn check_placement(keys: &Keys, node: &Node) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut refuse = |wrong: bool, key: &str, message: &str, help: &str| {
        if wrong {
            faults.push(node.at(key).fault(message, help));
        }
    };
    let share = |share: &f64| (0.0..=1.0).contains(share);
    let total: f64 = keys.shards.iter().sum();
    refuse(
        !keys.shards.is_empty() && (!keys.shards.iter().all(share) || (total - 1.0).abs() > MAX_SHARE_ERROR),
        "shards",
        &format!("these shares make {total}, and a share is from 0 to 1"),
        "write one share per shard with the sum 1, such as [0.7, 0.1, 0.1, 0.1]",
    );
    refuse(
        keys.hot_shard.is_some_and(|hot| !share(&hot)),
        "hot_shard",
        "a share is between 0 and 1",
        "write for example 0.7 for seven tenths of all records",
    );
    refuse(
        keys.hot_shard.is_some() && !keys.shards.is_empty(),
        "hot_shard",
        "the shares of the shards are said twice",
        "keep `shards` for every shard's share, or `hot_shard` for that of one",
    );
    refuse(
        keys.hot_shard_index.is_some() && keys.hot_shard.is_none(),
        "hot_shard_index",
        "there is no hot shard that this could number",
        "add hot_shard = 0.7, or remove the line",
    );
    refuse(
        matches!(keys.place, Some(Place::HashKey | Place::Name)) && !keys.asks_for_shards(),
        "place",
        "there is no shard to bring records to",
        "add hot_shard = 0.7 or shards = [...], or write place = \"spread\"",
    );
    refuse(
        keys.place == Some(Place::Spread) && keys.asks_for_shards(),
        "place",
        "records that are spread over all hash keys have no shard to go to",
        "remove `shards` and `hot_shard`, or write place = \"hash_key\"",
    );
    refuse(
        !(1..=MAX_SALT).contains(&keys.salt),
        "salt",
        "a key has 1 to 10000 names",
        "write how many names each key is spread over, such as 8, or remove the line",
    );
    faults
}

/// A key that was written but does nothing under the choice that was made, where `chooser` is the key that chooses.
pub(super) fn idle<K: Serialize>(section: &str, chooser: &str, key: &str, users: &[K], node: &Node) -> Option<Fault> {
    let name = |kind: &K| serde_json::to_value(kind).ok()?.as_str().map(str::to_owned);
    let users: Vec<String> = users.iter().filter_map(name).collect();
    let users = users.join(" or ");
    node.child(key).map(|written| {
        written
            .key_fault(
                format!("`{section}.{key}` is used by {chooser} = {users} only"),
                format!("remove the line, or choose {chooser} = {users}"),
            )
            .labelled("does nothing here")
    })
}

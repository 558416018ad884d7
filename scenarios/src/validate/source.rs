//! `[source]` and `[keys]`: which keys a kind uses, and what they may say.

use chrono::DateTime;
use serde::Serialize;

use crate::{
    error::Fault,
    model::{KeyKind, Keys, Source},
    tree::Node,
    usage,
};

pub(super) fn check(source: &Source, node: &Node) -> Vec<Fault> {
    let mut faults: Vec<Fault> =
        usage::unused_source(source).filter_map(|(key, users)| idle("source", key, users, node)).collect();
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
        usage::unused_keys(keys).filter_map(|(key, users)| idle("keys", key, users, node)).collect();
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
    faults
}

/// A key that was written but does nothing under the kind that was chosen.
pub(super) fn idle<K: Serialize>(section: &str, key: &str, users: &[K], node: &Node) -> Option<Fault> {
    let name = |kind: &K| serde_json::to_value(kind).ok()?.as_str().map(str::to_owned);
    let users: Vec<String> = users.iter().filter_map(name).collect();
    let users = users.join(" or ");
    node.child(key).map(|written| {
        written
            .key_fault(
                format!("`{section}.{key}` is used by kind = {users} only"),
                format!("remove the line, or choose kind = {users}"),
            )
            .labelled("does nothing here")
    })
}

//! `[delivery]`: Firehose's rules for prefix expressions, partition keys and buffers.
//!
//! Rules: Amazon Data Firehose developer guide, "Understand custom prefixes for Amazon S3 objects" and "Dynamic
//! partitioning". Firehose takes buffers of 1 to 128 MiB; smaller ones are allowed here so that small tests see several
//! objects.

use std::ops::RangeInclusive;

use crate::{
    error::Fault,
    model::Delivery,
    nearest::nearest,
    tree::Node,
    validate::{listed, place},
};

const NAMESPACES: [&str; 3] = ["timestamp", "firehose", "partitionKeyFromQuery"];
const BUFFER_BYTES: RangeInclusive<u64> = 1 << 10..=128 << 20;
const MAX_BUFFER_SECONDS: u64 = 900;
const MAX_PARTITION_KEYS: usize = 50;
const MAX_PREFIX_CHARS: usize = 1024;

pub(super) fn check(delivery: &Delivery, node: &Node) -> Vec<Fault> {
    let mut faults: Vec<Fault> = place(delivery.lake.as_deref(), node.at("lake")).into_iter().collect();
    faults.extend(prefixes(delivery, node));
    faults.extend(partition_keys(delivery, node));
    let mut refuse = |wrong: bool, key: &str, message: &str, help: &str| {
        if wrong {
            faults.push(node.at(key).fault(message, help));
        }
    };
    refuse(
        !BUFFER_BYTES.contains(&delivery.buffer_size.bytes()),
        "buffer_size",
        "a buffer holds 1 KiB to 128 MiB",
        "write \"1KiB\" to \"128MiB\"; Firehose itself takes 1 MiB or more",
    );
    refuse(
        delivery.buffer_interval.is_zero() || delivery.buffer_interval.as_us() > MAX_BUFFER_SECONDS * 1_000_000,
        "buffer_interval",
        "a buffer waits for up to 15 minutes",
        "write a span of time up to \"900s\"",
    );
    refuse(
        delivery.poll.is_zero(),
        "poll",
        "reading without a pause would starve the load",
        "write \"1s\", as Firehose does",
    );
    faults
}

fn prefixes(delivery: &Delivery, node: &Node) -> Vec<Fault> {
    let good = node.at("prefix");
    let bad = node.at("error_prefix");
    let mut faults: Vec<Fault> = [(&delivery.prefix, good), (&delivery.error_prefix, bad)]
        .into_iter()
        .filter_map(|(text, node)| prefix_problem(text).map(|(message, help)| node.fault(message, help)))
        .collect();
    let in_prefix: Vec<_> = expressions(&delivery.prefix).flatten().collect();
    let in_error: Vec<_> = expressions(&delivery.error_prefix).flatten().collect();
    let error_type = ("firehose", "error-output-type");
    if in_prefix.contains(&error_type) {
        let help = "use !{firehose:error-output-type} in error_prefix";
        faults.push(good.fault("a good object has no error type", help));
    }
    if in_error.iter().any(|(namespace, _)| *namespace == "partitionKeyFromQuery") {
        let help = "a record comes here when its partition keys could not be read: use timestamp and firehose only";
        faults.push(bad.fault("error_prefix cannot use partition keys", help));
    }
    if !in_error.contains(&error_type)
        && (!in_error.is_empty() || (delivery.error_prefix.is_empty() && !in_prefix.is_empty()))
    {
        let help = "write for example \"errors/!{firehose:error-output-type}/\"";
        faults.push(bad.fault("error_prefix must say the error type", help));
    }
    faults
}

fn prefix_problem(prefix: &str) -> Option<(String, String)> {
    if prefix.chars().count() > MAX_PREFIX_CHARS {
        return Some(("the prefix is too long".into(), format!("write at most {MAX_PREFIX_CHARS} characters")));
    }
    if prefix.starts_with('/') || prefix.split('/').any(|part| part == "..") || prefix.chars().any(char::is_control) {
        let help = "write a path below the lake, such as \"year=!{timestamp:yyyy}/\"";
        return Some(("the prefix leaves the lake".into(), help.into()));
    }
    let example = "an expression is !{namespace:value}, such as !{timestamp:yyyy}";
    expressions(prefix).find_map(|expression| {
        let Some((namespace, value)) = expression else {
            return Some(("an expression is not complete".to_owned(), example.to_owned()));
        };
        if !NAMESPACES.contains(&namespace) {
            let near =
                nearest(namespace, NAMESPACES).map(|name| format!("did you mean `{name}`? ")).unwrap_or_default();
            let help = format!("{near}namespaces: {}", NAMESPACES.join(", "));
            return Some((format!("there is no namespace `{namespace}`"), help));
        }
        let known = ["random-string", "error-output-type"];
        if namespace == "firehose" && !known.contains(&value) {
            return Some((format!("`firehose` has no `{value}`"), format!("choices: {}", known.join(", "))));
        }
        if namespace == "timestamp" && value.matches('\'').count() % 2 == 1 {
            return Some(("a quote in the time pattern is not closed".into(), "write text as 'text'".into()));
        }
        None
    })
}

/// The `!{namespace:value}` expressions of a prefix; `None` for one that is not closed or has no namespace or value.
fn expressions(prefix: &str) -> impl Iterator<Item = Option<(&str, &str)>> {
    prefix.split("!{").skip(1).map(|rest| {
        let (inside, _) = rest.split_once('}')?;
        inside.split_once(':').filter(|(namespace, value)| !namespace.is_empty() && !value.is_empty())
    })
}

fn partition_keys(delivery: &Delivery, node: &Node) -> Vec<Fault> {
    let keys = &delivery.partition_keys;
    let written = node.at("partition_keys");
    let used: Vec<&str> = expressions(&delivery.prefix)
        .flatten()
        .filter(|(namespace, _)| *namespace == "partitionKeyFromQuery")
        .map(|(_, name)| name)
        .collect();
    let mut faults = Vec::new();
    for name in used.iter().filter(|name| !keys.contains_key(**name)) {
        let near = nearest(name, keys.keys().map(String::as_str));
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("add to [delivery.partition_keys]: {name} = \".{name}\""),
        };
        faults.push(node.at("prefix").fault(format!("there is no partition key `{name}`"), help));
    }
    for (name, path) in keys {
        let node = written.at(name);
        if !used.contains(&name.as_str()) {
            let help = format!("write !{{partitionKeyFromQuery:{name}}} in prefix, or remove the key");
            faults.push(node.key_fault(format!("the prefix does not use `{name}`"), help));
        }
        if !is_field_path(path) {
            faults.push(
                node.fault("this is not the path of a field", "write `.city`, or `.location.city` for a nested field"),
            );
        }
    }
    if keys.len() > MAX_PARTITION_KEYS {
        let help = format!("keep 50 of {}", listed(keys.keys().map(String::as_str)));
        faults.push(written.fault("Firehose takes 50 partition keys", help));
    }
    faults
}

/// `.a.b` with identifiers of jq between the dots.
fn is_field_path(path: &str) -> bool {
    let identifier = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    path.strip_prefix('.').is_some_and(|path| path.split('.').all(identifier))
}

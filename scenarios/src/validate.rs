//! Does a well-formed scenario make sense? Each check points at the key that breaks it and says what to write.
//!
//! Limits of AWS are checked even for the local stream, so that a scenario that runs locally runs there too.

use crate::{
    error::Fault,
    fault::InjectedFault,
    model::{Query, Scenario, Slo},
    tree::Node,
};

mod delivery;
mod direct;
mod event;
mod fault;
mod load;
mod source;
mod stage;
mod table;

/// Everything that makes no sense. `root` is the tree that the scenario was made of: it knows what was written where.
pub(crate) fn check(scenario: &Scenario, root: &Node) -> Vec<Fault> {
    let mut faults = Vec::new();
    faults.extend(name(&scenario.name, root.at("name"), "the name"));
    faults.extend(source::check(&scenario.source, root.at("source")));
    faults.extend(load::check(&scenario.load, &scenario.source, root.at("load")));
    faults.extend(source::check_keys(&scenario.keys, root.at("keys")));
    faults.extend(load::check_stream(&scenario.stream, root.at("stream")));
    faults.extend(delivery::check(&scenario.delivery, root.at("delivery")));
    faults.extend(table::check(&scenario.table, root.at("table")));
    faults.extend(queries(&scenario.query, root.at("query")));
    if !scenario.query.is_empty() {
        faults.extend(table::check_queries(&scenario.table, root.at("query")));
    }
    faults.extend(fault::check(&scenario.fault, root.at("fault")));
    faults.extend(event::check(&scenario.event, scenario.load.arrival, root.at("event")));
    faults.extend(direct::check(scenario, root));
    faults.extend(slos(&scenario.slo, root.at("slo")));
    faults
}

/// The same for faults alone.
pub(crate) fn check_faults(faults: &[InjectedFault], root: &Node) -> Vec<Fault> {
    fault::check(faults, root.at("fault"))
}

/// A name that is safe as part of a file name.
fn name(name: &str, node: &Node, what: &str) -> Option<Fault> {
    let fits = (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    (!fits).then(|| node.fault(format!("{what} cannot be \"{name}\""), "write 1 to 64 letters, digits, `-` and `_`"))
}

/// A folder or an `s3://bucket/prefix` URL.
fn place(place: Option<&str>, node: &Node) -> Option<Fault> {
    let place = place?;
    let fits = match place.split_once("://") {
        Some(("s3", rest)) => !rest.starts_with('/') && !rest.is_empty(),
        Some(_) => false,
        None => !place.is_empty(),
    };
    (!fits).then(|| {
        let help = "write a folder, or a URL of the shape s3://bucket/prefix";
        node.fault(format!("\"{place}\" is neither a folder nor an s3:// URL"), help)
    })
}

/// Names, such as `a`, `b` and `c`, as they stand in a help text.
fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names = names.into_iter();
    let shown: Vec<&str> = names.by_ref().take(60).collect();
    let more = if names.next().is_some() { ", ..." } else { "" };
    format!("{}{more}", shown.join(", "))
}

fn queries(queries: &[Query], node: &Node) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, query) in queries.iter().enumerate() {
        let node = node.item(index);
        faults.extend(name(&query.name, node.at("name"), "a query's name"));
        if queries[..index].iter().any(|earlier| earlier.name == query.name) {
            let message = format!("there are two queries named \"{}\"", query.name);
            faults.push(node.at("name").fault(message, "give each query its own name"));
        }
        faults.extend(sql_problem(&query.sql).map(|(message, help)| node.at("sql").fault(message, help)));
    }
    faults
}

/// A cheap look at the SQL; the engines say the rest.
fn sql_problem(sql: &str) -> Option<(&'static str, &'static str)> {
    let bare = without_quotes_and_comments(sql);
    let bare = bare.trim();
    let first = bare.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default().to_ascii_lowercase();
    let statement = bare.trim_end_matches(|c: char| c == ';' || c.is_whitespace());
    if first != "select" && first != "with" {
        Some(("a query only reads", "write one SELECT ... (or WITH ... SELECT ...)"))
    } else if statement.contains(';') {
        Some(("this is more than one statement", "write one SELECT; make a [[query]] of each further one"))
    } else if !statement
        .to_ascii_lowercase()
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .any(|w| w == "records")
    {
        Some(("this query does not read `records`", "the table is called records: SELECT COUNT(*) AS n FROM records"))
    } else {
        None
    }
}

/// The SQL with comments left out, strings emptied and quoted names without their quotes.
fn without_quotes_and_comments(sql: &str) -> String {
    let mut bare = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(c) = rest.chars().next() {
        let (skipped, kept) = match c {
            '-' if rest.starts_with("--") => (rest.find('\n').unwrap_or(rest.len()), " ".to_owned()),
            '/' if rest.starts_with("/*") => (rest.find("*/").map_or(rest.len(), |at| at + 2), " ".to_owned()),
            '\'' | '"' => {
                let inside = rest[1..].split(c).next().unwrap_or_default();
                // A quoted name counts as a word, but nothing inside it ends a statement.
                let name = if c == '"' { inside.replace(';', "_") } else { String::new() };
                ((inside.len() + 2).min(rest.len()), format!(" {name} "))
            }
            _ => (c.len_utf8(), c.to_string()),
        };
        bare.push_str(&kept);
        rest = &rest[skipped..];
    }
    bare
}

fn slos(slos: &[Slo], node: &Node) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, slo) in slos.iter().enumerate() {
        let node = node.item(index);
        if slo.max < 0.0 {
            faults.push(node.at("max").fault("no metric is below zero", "write 0 or more"));
        }
        if slos[..index].iter().any(|earlier| earlier.metric == slo.metric) {
            let message = format!("`{}` is bounded twice", slo.metric);
            faults.push(node.at("metric").fault(message, "keep the stricter of the two"));
        }
    }
    faults
}

#[cfg(test)]
mod tests;

//! `[[fault]]`: a fault lasts for a while, touches somebody, and says all that its kind needs and nothing else.

use crate::{
    error::Fault,
    fault::{Distribution, FaultKind, InjectedFault, OPERATIONS},
    nearest::nearest,
    tree::Node,
    units::Span,
    usage,
    validate::{listed, source::idle},
};

/// The longest latency that can be asked for: no client waits longer for an answer.
const MAX_LATENCY: Span = Span::from_secs(900);
const STATUSES: [u32; 2] = [500, 503];

pub(super) fn check(faults: &[InjectedFault], node: &Node) -> Vec<Fault> {
    faults.iter().enumerate().flat_map(|(index, fault)| one(fault, node.item(index))).collect()
}

fn one(fault: &InjectedFault, node: &Node) -> Vec<Fault> {
    let mut faults: Vec<Fault> =
        usage::unused_fault(fault).filter_map(|(key, users)| idle("fault", "kind", key, users, node)).collect();
    let mut refuse = |wrong: bool, key: &str, message: &str, help: &str| {
        if wrong {
            faults.push(node.at(key).fault(message, help));
        }
    };
    refuse(fault.duration.is_zero(), "for", "the fault has no length", "write a span of time, such as \"5s\"");
    refuse(
        fault.share.is_some_and(|share| !(share > 0.0 && share <= 1.0)),
        "share",
        "a share is above 0 and at most 1",
        "write for example 0.1 for one call of ten",
    );
    refuse(
        fault.status.is_some_and(|status| !STATUSES.contains(&status)),
        "status",
        "the service fails with 500 or 503",
        "write 500 for InternalFailure or 503 for ServiceUnavailable",
    );
    faults.extend(operations(&fault.operations, node.at("operations")));
    if fault.kind == FaultKind::Latency {
        faults.extend(latency(fault, node));
    }
    faults
}

fn operations(names: &[String], node: &Node) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, name) in names.iter().enumerate() {
        if !OPERATIONS.contains(&name.as_str()) {
            let near = nearest(name, OPERATIONS).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
            let help = format!("{near}operations: {}", listed(OPERATIONS));
            faults.push(node.item(index).fault(format!("\"{name}\" is not an operation of the stream"), help));
        } else if names[..index].contains(name) {
            faults.push(node.item(index).fault(format!("`{name}` is there twice"), "name each operation once"));
        }
    }
    faults
}

/// Either one latency, or a distribution with exactly its own parameters.
fn latency(fault: &InjectedFault, node: &Node) -> Vec<Fault> {
    let parameters =
        [("p50", fault.p50), ("p99", fault.p99), ("min", fault.min), ("max", fault.max), ("mean", fault.mean)];
    let (name, needed): (&str, &[&str]) = match (fault.latency, fault.distribution) {
        (None, None) => {
            let help = "add latency = \"20ms\", or distribution = \"lognormal\" with p50 and p99";
            return vec![node.fault("the latency is not said", help)];
        }
        (Some(_), Some(_)) => {
            let help = "keep `latency` for the same with every call, or `distribution` to draw it";
            return vec![node.at("distribution").key_fault("the latency is said twice", help)];
        }
        (Some(_), None) => ("latency", &[]),
        (None, Some(Distribution::Lognormal)) => ("lognormal", &["p50", "p99"]),
        (None, Some(Distribution::Uniform)) => ("uniform", &["min", "max"]),
        (None, Some(Distribution::Exponential)) => ("exponential", &["mean"]),
    };
    let mut faults = Vec::new();
    for (key, value) in parameters {
        match (value, needed.contains(&key)) {
            (None, true) => {
                let message = format!("distribution = \"{name}\" needs `{key}`");
                faults.push(node.at("distribution").fault(message, format!("add for example {key} = \"50ms\"")));
            }
            (Some(_), false) => {
                let message = format!("`{key}` says nothing beside {name}");
                faults.push(node.at(key).key_fault(message, "remove the line, or choose the distribution it is for"));
            }
            _ => {}
        }
    }
    for (key, value) in parameters.into_iter().chain([("latency", fault.latency)]) {
        let Some(value) = value else { continue };
        let may_be_zero = key == "min";
        if value > MAX_LATENCY || (value.is_zero() && !may_be_zero) {
            let help = "write a span of time above zero and up to \"15m\"";
            faults.push(node.at(key).fault("this latency cannot be added", help));
        }
    }
    for (low, high) in [("p50", "p99"), ("min", "max")] {
        let of = |key| parameters.iter().find(|(name, _)| *name == key).and_then(|(_, value)| *value);
        if let (Some(less), Some(more)) = (of(low), of(high))
            && more < less
        {
            let message = format!("`{high}` is less than `{low}`");
            faults.push(node.at(high).fault(message, format!("write at least \"{less}\"")));
        }
    }
    faults
}

//! Can I trust this: how the harness did, what was not measured, and exactly what ran where.

use super::{
    html::{details, escape, facts, state},
    machine,
};
use crate::{
    humanize::{NOT_AVAILABLE, bytes, count, counted, duration_us, percent},
    record::{HarnessRecord, RunRecord},
};

pub(super) fn section(record: &RunRecord) -> String {
    let mut out = String::from("<div class=\"pair\">\n");
    if record.load.is_some() {
        out.push_str(&harness(&record.harness));
    }
    out.push_str(&environment(record));
    out.push_str("</div>\n");
    out.push_str(&machine::usage(&record.harness));
    out.push_str("<h3>What was not measured</h3>\n");
    if record.not_measured.is_empty() {
        out.push_str("<p>The record names nothing that it left out.</p>\n");
    } else {
        let items: String = record.not_measured.iter().map(|s| format!("<li>{}</li>\n", escape(s))).collect();
        out.push_str(&format!("<ul class=\"missing\">\n{items}</ul>\n"));
    }
    let scenario = serde_json::to_string_pretty(&record.scenario).unwrap_or_default();
    out.push_str(&details(
        "Scenario as it was run, every default and override in place",
        &format!("<pre>{}</pre>\n", escape(&scenario)),
    ));
    out
}

fn harness(harness: &HarnessRecord) -> String {
    let mut out = String::from("<div>\n<h3>Harness</h3>\n<p>");
    if harness.limited_by.is_empty() {
        out.push_str(&state(true, "The harness was not the limit."));
    } else {
        out.push_str(&state(false, "The harness was the limit:"));
        out.push(' ');
        out.push_str(&escape(&harness.limited_by.join("; ")));
    }
    out.push_str("</p>\n");
    let waits = match harness.in_flight_waits {
        0 => "none".to_owned(),
        n => format!("{}, longest {}", count(n), duration_us(harness.in_flight_longest_wait_us)),
    };
    let hiccup = match harness.hiccup_count {
        0 => NOT_AVAILABLE.to_owned(),
        n => format!(
            "{}, max {} (n = {})",
            duration_us(harness.hiccup_p99_us),
            duration_us(harness.hiccup_max_us),
            count(n)
        ),
    };
    let down = match harness.target_down_records {
        0 => "none".to_owned(),
        n => format!("{}, no part of the lag above", counted(n, "record", "records")),
    };
    out.push_str(&facts(&[
        ("lag beyond the linger, p99", duration_us(harness.excess_lag_p99_us)),
        ("due while the target was down", down),
        ("oversleep (hiccup), p99", hiccup),
        ("waits for a call in flight", waits),
        ("CPU while loading", format!("{} of all cores, {}", percent(harness.cpu_share), duration_us(harness.cpu_us))),
        ("CPU stolen by the host", harness.steal_share.map_or_else(|| NOT_AVAILABLE.to_owned(), percent)),
        ("largest resident memory", bytes(harness.max_rss_bytes)),
    ]));
    out.push_str("</div>\n");
    out
}

fn environment(record: &RunRecord) -> String {
    let run = &record.run;
    let code = |text: &str| format!("<code>{}</code>", escape(text));
    let mut pairs = vec![
        ("scenario", escape(&run.scenario)),
        ("about", escape(&run.description)),
        ("legs", escape(&run.legs.join(", "))),
        ("target", escape(&run.target)),
        ("started", code(&run.started_at)),
        ("ended", code(&run.ended_at)),
        ("Millrace", escape(&run.millrace_version)),
        ("seed", run.seed.to_string()),
        ("fingerprint of the records", code(&run.fingerprint)),
    ];
    pairs.retain(|(_, value)| !value.is_empty() && value != "<code></code>");
    let host: Vec<(&str, String)> = run.host.iter().map(|(name, value)| (name.as_str(), escape(value))).collect();
    pairs.extend(host);
    format!("<div>\n<h3>Environment</h3>\n{}</div>\n", facts(&pairs))
}

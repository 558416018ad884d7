//! Which shard carried the load: each shard's share against the fair one, and what it refused.

use std::fmt::Write as _;

use super::{
    html::{Column, escape, figure, table},
    plot::svg,
};
use crate::{
    humanize::{NOT_AVAILABLE, bytes, count, counted, duration_us, percent, times},
    record::{KeyShare, LoadRecord, RunRecord, ShardLoad, ShardTaken},
    skew::{event_line, skew_lines},
};

/// Bars drawn at most; the table has every shard.
const MOST_BARS: usize = 48;
const WIDTH: f64 = 720.0;
const LEFT: f64 = 110.0;
const RIGHT: f64 = 180.0;
const ROW: f64 = 30.0;
const TOP: f64 = 30.0;

pub(super) fn section(record: &RunRecord) -> String {
    let Some(load) = &record.load else { return String::new() };
    let mut shards: Vec<_> = load.shards.iter().collect();
    if shards.is_empty() {
        return String::new();
    }
    shards.sort_by(|a, b| b.share.total_cmp(&a.share));
    let fair = 1.0 / shards.len() as f64;
    let finding = finding(&shards, fair);
    let drawn = &shards[..shards.len().min(MOST_BARS)];
    let asked = |shard: &ShardLoad| {
        let row = load.skew.as_ref().and_then(|skew| skew.shards.iter().find(|row| row.shard == shard.shard));
        row.and_then(|row| row.asked.or(row.expected)).map_or_else(|| NOT_AVAILABLE.to_owned(), percent)
    };
    let mut notes = load.skew.iter().flat_map(skew_lines).map(|line| line + ". ").collect::<String>();
    if let Some(reason) = load.skew.as_ref().and_then(|skew| skew.not_expected.as_ref()) {
        notes += &format!("No share was expected of a shard: {reason}. ");
    }
    if shards.len() > drawn.len() {
        let more = shards.len() - drawn.len();
        notes += &format!("The {MOST_BARS} busiest shards are drawn; {more} more are in the table. ");
    }
    for event in &load.events {
        notes += &format!("{}. ", event_line(event));
    }
    if let Some(pooled) = &load.pooled_response {
        notes.push_str(&format!(
            "Only the hottest shards have response times of their own; of the others together {} records were answered, \
             p50 {}, p99 {}, max {}.",
            count(pooled.count),
            duration_us(pooled.p50_us),
            duration_us(pooled.p99_us),
            duration_us(pooled.max_us)
        ));
    }
    let rows: Vec<_> = shards
        .iter()
        .map(|s| {
            vec![
                escape(&s.shard),
                percent(s.share),
                asked(s),
                count(s.accepted),
                bytes(s.accepted_bytes),
                count(s.refusals),
                count(s.read),
                match (s.response, load.pooled_response) {
                    (Some(response), _) => duration_us(response.p99_us),
                    (None, Some(_)) => "pooled".to_owned(),
                    (None, None) => NOT_AVAILABLE.to_owned(),
                },
            ]
        })
        .collect();
    let columns = [
        Column::Text("shard"),
        Column::Number("share"),
        Column::Number("expected"),
        Column::Number("accepted"),
        Column::Number("bytes"),
        Column::Number("refusals"),
        Column::Number("read"),
        Column::Number("response p99"),
    ];
    figure(
        "Share of accepted records by shard",
        &finding,
        &bars(drawn, fair, &finding),
        notes.trim_end(),
        &(table("Load per shard", &columns, &rows) + &keys(load) + &events(load)),
    )
}

/// The hottest keys, beside what their law gives them.
fn keys(load: &LoadRecord) -> String {
    let Some(skew) = load.skew.as_ref().filter(|skew| !skew.keys.is_empty()) else { return String::new() };
    let columns = [
        Column::Text("key"),
        Column::Number("share at most"),
        Column::Number("too high by at most"),
        Column::Number("by its law"),
    ];
    let row = |key: &KeyShare| {
        let asked = key.asked.map_or_else(|| NOT_AVAILABLE.to_owned(), percent);
        vec![escape(&key.key), percent(key.got), percent(key.error), asked]
    };
    table("Hottest keys", &columns, &skew.keys.iter().map(row).collect::<Vec<_>>())
}

/// What each event found and left behind.
fn events(load: &LoadRecord) -> String {
    if load.events.is_empty() {
        return String::new();
    }
    let columns =
        [Column::Text("event"), Column::Text("shard"), Column::Number("share before"), Column::Number("share after")];
    let mut rows = Vec::new();
    for event in &load.events {
        let share = |taken: &[ShardTaken], shard: &str| {
            let row = taken.iter().find(|row| row.shard == shard);
            row.map_or_else(|| NOT_AVAILABLE.to_owned(), |row| percent(row.share))
        };
        let mut names: Vec<&str> = event.before.iter().chain(&event.after).map(|row| row.shard.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        rows.extend(names.iter().map(|shard| {
            vec![escape(&event.action), escape(shard), share(&event.before, shard), share(&event.after, shard)]
        }));
    }
    table("Shares before and after each event", &columns, &rows)
}

fn finding(shards: &[&ShardLoad], fair: f64) -> String {
    let busiest = shards[0];
    if shards.iter().all(|s| s.accepted == 0) {
        return format!("No record was accepted on {}.", counted(shards.len() as u64, "shard", "shards"));
    }
    let refusals: u64 = shards.iter().map(|s| s.refusals).sum();
    let refused = match refusals {
        0 => "; no shard refused a record".to_owned(),
        n => {
            let most = shards.iter().max_by_key(|s| s.refusals).map_or("", |s| &s.shard);
            format!("; {}, most of them by {}", counted(n, "refusal", "refusals"), short(most))
        }
    };
    if shards.len() == 1 {
        return format!("One shard took every record{refused}.");
    }
    format!(
        "The busiest is {} with {} of the records, {} its fair share{refused}.",
        short(&busiest.shard),
        percent(busiest.share),
        times(busiest.share / fair)
    )
}

/// `shardId-000000000003` as `shard 3`; any other name as it is, cut to what fits beside its bar.
pub(super) fn short(shard: &str) -> String {
    match shard.strip_prefix("shardId-").map(|n| n.trim_start_matches('0')) {
        Some("") => "shard 0".to_owned(),
        Some(n) if n.chars().all(|c| c.is_ascii_digit()) => format!("shard {n}"),
        _ => shard.chars().take(14).collect(),
    }
}

fn bars(shards: &[&ShardLoad], fair: f64, finding: &str) -> String {
    let most = shards.iter().map(|s| s.share).fold(fair, f64::max);
    let px = |share: f64| LEFT + (share / most).clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT);
    let height = TOP + ROW * shards.len() as f64 + 6.0;
    let mut body = String::new();
    for (n, shard) in shards.iter().enumerate() {
        let y = TOP + ROW * n as f64;
        let end = px(shard.share).max(LEFT + 1.0);
        let class = if shard.refusals > 0 { "hot" } else { "s1" };
        let refused = match shard.refusals {
            0 => String::new(),
            n => format!(" · ✗<tspan class=\"alt\"> {}</tspan>", counted(n, "refusal", "refusals")),
        };
        let _ = write!(
            body,
            "<text class=\"y\" x=\"{:.0}\" y=\"{:.1}\">{}</text><path class=\"bar {class}\" d=\"M{LEFT} {:.1}H{end:.1}v18H{LEFT}z\"/>\
             <text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}{refused}</text>",
            LEFT - 10.0,
            y + 15.0,
            escape(&short(&shard.shard)),
            y + 1.0,
            end.max(px(fair)) + 10.0,
            y + 15.0,
            percent(shard.share),
        );
    }
    let x = px(fair);
    let _ = write!(
        body,
        "<path class=\"fair\" d=\"M{x:.1} {:.1}V{:.1}\"/><text class=\"x\" x=\"{x:.1}\" y=\"16\">fair share {}</text>",
        TOP - 8.0,
        height - 4.0,
        percent(fair)
    );
    svg(
        "shard-load",
        (WIDTH, height),
        finding,
        "A bar per shard with its share of the accepted records; the dashed line is the fair share, one over the number of shards.",
        &body,
    )
    .replacen("<svg ", "<svg class=\"wide\" ", 1)
}

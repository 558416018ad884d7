//! Did the load happen: throughput against target, and what was refused.

use super::{
    html::{Column, escape, facts, field, figure, table},
    plot::{Plot, Scale},
    series,
    shards::short,
};
use crate::{
    humanize::{bytes, clock_us, count, counted, decimal, duration_us, percent, rate},
    record::{LoadInterval, LoadRecord, RunRecord},
};

pub(super) fn section(record: &RunRecord) -> String {
    let Some(load) = &record.load else { return String::new() };
    let mut out = String::from("<div class=\"pair\">\n");
    out.push_str(&throughput(load));
    out.push_str("<div>\n");
    out.push_str(&facts(&[
        ("due", format!("{} records", field("load.due", load.due, &count(load.due)))),
        ("sent", format!("{} records", field("load.sent", load.sent, &count(load.sent)))),
        ("given up", format!("{} records", field("load.refused", load.refused, &count(load.refused)))),
        ("rows kept out", counted(load.rejected_rows, "row", "rows")),
        ("target rate", rate(load.target_rate)),
        ("offered rate", rate(load.offered_rate)),
        ("accepted rate", rate(load.accepted_rate)),
        ("accepted bytes", bytes(load.accepted_bytes)),
        ("calls", format!("{}, {} failed", count(load.calls), count(load.failed_calls))),
        ("schedule", format!("{}, {} arrivals", duration_us(load.schedule_us), escape(&load.arrival))),
        ("first due to last answer", duration_us(load.elapsed_us)),
    ]));
    if let Some(window) = &load.window {
        out.push_str(&format!(
            "<p class=\"note\">Judged: what was due from {} to {}, {} of {} records.</p>\n",
            clock_us(window.from_us),
            clock_us(window.until_us),
            count(window.due),
            count(load.due)
        ));
    }
    out.push_str(&refusals(load));
    out.push_str("</div>\n</div>\n");
    out
}

fn refusals(load: &LoadRecord) -> String {
    if load.refusals.is_empty() {
        return "<p class=\"note\">No record was refused, not even once.</p>\n".to_owned();
    }
    let rows: Vec<_> = load
        .refusals
        .iter()
        .map(|r| {
            let shard = r.shard.as_deref().map_or_else(|| "(not known)".to_owned(), short);
            vec![escape(&shard), escape(&r.cause), count(r.refusals), count(r.records)]
        })
        .collect();
    let columns =
        [Column::Text("shard"), Column::Text("cause"), Column::Number("refusals"), Column::Number("given up")];
    table("Refusals by shard and cause; a record refused twice counts twice", &columns, &rows)
}

fn throughput(load: &LoadRecord) -> String {
    let merged = series::load(&load.intervals);
    let rows: Vec<_> = merged.rows.iter().filter(|r| r.length_us > 0).collect();
    let finding = finding(load, &rows);
    let end_us = rows.last().map_or(load.schedule_us, |r| r.start_us + r.length_us);
    let peak = rows.iter().flat_map(|r| [per_second(r, r.due), per_second(r, r.accepted), per_second(r, r.refusals)]);
    let peak = peak.fold(load.target_rate, f64::max);
    let mut plot =
        Plot::new("throughput", Scale::Linear { from: 0.0, to: (end_us as f64).max(1.0) }, Scale::from_zero(peak));
    let shaded = series::shade(&mut plot, Some(load), end_us);
    plot.y_axis(decimal);
    plot.x_axis("time since the first due record (min:s)", &series::time_ticks(end_us));
    plot.bars(
        "bad",
        rows.iter().map(|r| (r.start_us as f64, (r.start_us + r.length_us) as f64, per_second(r, r.refusals))),
    );
    plot.line("s0", "due", &steps(&rows, |r| r.due));
    plot.line("s1", "accepted", &steps(&rows, |r| r.accepted));
    if rows.iter().any(|r| r.refusals > 0) {
        plot.label("bad", "refusals", 0.0);
    }
    let numbers: Vec<_> = rows
        .iter()
        .map(|r| {
            vec![
                clock_us(r.start_us),
                count(r.due),
                count(r.offered),
                count(r.accepted),
                count(r.refusals),
                count(r.in_flight),
            ]
        })
        .collect();
    let columns = [
        Column::Number("start"),
        Column::Number("due"),
        Column::Number("offered"),
        Column::Number("accepted"),
        Column::Number("refusals"),
        Column::Number("calls in flight"),
    ];
    figure(
        "Throughput against target (records/s)",
        &finding,
        &plot.finish(&finding, "Records per second over time: due as a grey line, accepted as a solid line, refusals as bars from the foot."),
        &merged.note_after(shaded, "counts are summed"),
        &table("Records per interval", &columns, &numbers),
    )
}

fn per_second(row: &LoadInterval, records: u64) -> f64 {
    records as f64 * 1e6 / row.length_us as f64
}

/// A rate holds over its whole interval, so the line runs in steps.
fn steps(rows: &[&LoadInterval], records: impl Fn(&LoadInterval) -> u64) -> Vec<Option<(f64, f64)>> {
    rows.iter()
        .flat_map(|r| {
            let value = per_second(r, records(r));
            [Some((r.start_us as f64, value)), Some(((r.start_us + r.length_us) as f64, value))]
        })
        .collect()
}

fn finding(load: &LoadRecord, rows: &[&LoadInterval]) -> String {
    if load.due == 0 {
        return "No record was due.".to_owned();
    }
    let reached = percent(load.accepted as f64 / load.due as f64);
    let mut finding = format!(
        "{} accepted of {} asked; {reached} of the records that were due.",
        rate(load.accepted_rate),
        rate(load.target_rate)
    );
    let refused: Vec<_> = rows.iter().filter(|r| r.refusals > 0).collect();
    if let (Some(first), Some(last)) = (refused.first(), refused.last()) {
        let refusals = load.intervals.iter().map(|r| r.refusals).sum();
        finding.push_str(&format!(
            " {} between {} and {}.",
            counted(refusals, "refusal", "refusals"),
            clock_us(first.start_us),
            clock_us(last.start_us + last.length_us)
        ));
    }
    finding
}

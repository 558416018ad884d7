//! How slow, for whom, and when: percentile curves, the course over time, and every hop in one table.

use millrace_scenarios::Hop;

use super::{
    html::{Column, escape, figure, table},
    machine,
    plot::{Plot, Scale},
    series,
};
use crate::{
    humanize::{NOT_AVAILABLE, clock_us, count, duration_us},
    record::{HopLatency, LatencyInterval, LoadRecord, RunRecord},
};

/// Hops drawn together in the second chart, after the first chart's response and service.
const LATER: [(Hop, &str); 4] = [(Hop::Arrival, "s1"), (Hop::Read, "s2"), (Hop::Landed, "s3"), (Hop::Committed, "s4")];

pub(super) fn section(record: &RunRecord) -> String {
    let hops: Vec<_> = record.latency.iter().filter(|h| h.count > 0).collect();
    if record.latency.is_empty() {
        return String::new();
    }
    let find = |hop| hops.iter().find(|h| h.hop == hop).copied();
    let named = |hops: &[(Hop, &'static str)]| -> Vec<(&HopLatency, &'static str)> {
        hops.iter().filter_map(|(hop, class)| find(*hop).map(|h| (h, *class))).collect()
    };
    let mut out = String::from("<div class=\"pair\">\n");
    out.push_str(&percentiles(
        "response-curve",
        "Response and service time by percentile",
        &named(&[(Hop::Response, "s1"), (Hop::Service, "s0 dots")]),
    ));
    if let Some(response) = find(Hop::Response) {
        let end_us = end_us(&series::latency(&response.intervals).rows);
        out.push_str("<div>\n");
        out.push_str(&over_time(response, record.load.as_ref()));
        out.push_str(&machine::hiccups(record, end_us, axis_label));
        out.push_str("</div>\n");
    }
    out.push_str(&percentiles("hops-curve", "Later hops by percentile, from due", &named(&LATER)));
    out.push_str(&hops_over_time(&named(&LATER), record.load.as_ref()));
    out.push_str("</div>\n");
    out.push_str(&hop_table(&record.latency));
    out
}

fn percentiles(id: &'static str, heading: &str, hops: &[(&HopLatency, &'static str)]) -> String {
    let Some((slowest, _)) = hops.iter().max_by_key(|(h, _)| h.value_at(50.0)) else { return String::new() };
    let finding = curve_finding(hops[0].0, slowest);
    // The curve's last point is the maximum; the line ends where percentiles still have samples above them.
    let supported = |h: &HopLatency| -> Vec<(f64, f64)> {
        h.curve
            .iter()
            .filter(|p| p.percentile < 100.0)
            .map(|p| (100.0 / (100.0 - p.percentile), p.value_us as f64))
            .collect()
    };
    let curves: Vec<_> = hops.iter().map(|(h, class)| (h, *class, supported(h))).collect();
    let right = curves.iter().flat_map(|c| &c.2).map(|p| p.0).fold(10.0, f64::max);
    let values = Scale::log(curves.iter().flat_map(|c| &c.2).map(|p| p.1));
    let mut plot = Plot::new(id, Scale::Log { from: 1.0, to: right }, values);
    plot.y_axis(axis_label);
    plot.x_axis("percentile, by 1/(1-p)", &percentile_ticks(right));
    for (hop, class, points) in &curves {
        plot.line(class, hop.hop.name(), &points.iter().copied().map(Some).collect::<Vec<_>>());
    }
    let asked = [50.0, 90.0, 99.0, 99.9, 99.99, 99.999];
    let rows: Vec<_> = asked
        .iter()
        .filter(|p| hops.iter().any(|(h, _)| h.supports(**p)))
        .map(|p| std::iter::once(format!("p{p}")).chain(hops.iter().map(|(h, _)| at(h, *p))).collect())
        .collect();
    let columns: Vec<_> = std::iter::once(Column::Text("percentile"))
        .chain(hops.iter().map(|(h, _)| Column::Number(h.hop.name())))
        .collect();
    let samples: Vec<_> = hops.iter().map(|(h, _)| format!("{} n = {}", h.hop, count(h.count))).collect();
    figure(
        heading,
        &finding,
        &plot.finish(&finding, "Latency (logarithmic, up is slower) by percentile; each step to the right has ten times fewer records above it."),
        &format!("{}. A line ends where fewer than ten samples lie above it.", samples.join(", ")),
        &table(heading, &columns, &rows),
    )
}

fn curve_finding(first: &HopLatency, slowest: &HopLatency) -> String {
    let tail = |h: &HopLatency| match h.supports(99.0) {
        true => format!("99 % within {}", duration_us(h.value_at(99.0))),
        false => format!("all within {}", duration_us(h.max_us)),
    };
    let mut finding =
        format!("{}: half within {}, {}.", name(first.hop), duration_us(first.value_at(50.0)), tail(first));
    if slowest.hop != first.hop {
        finding.push_str(&format!(
            " {} is the slowest: half within {}, {}.",
            name(slowest.hop),
            duration_us(slowest.value_at(50.0)),
            tail(slowest)
        ));
    }
    finding
}

fn name(hop: Hop) -> String {
    let name = hop.name();
    name[..1].to_uppercase() + &name[1..]
}

/// Where 50, 90, 99 ... stand on an axis of 1/(1-p).
fn percentile_ticks(right: f64) -> Vec<(f64, String)> {
    [
        ("0", 1.0),
        ("50", 2.0),
        ("90", 10.0),
        ("99", 1e2),
        ("99.9", 1e3),
        ("99.99", 1e4),
        ("99.999", 1e5),
        ("99.9999", 1e6),
    ]
    .into_iter()
    .filter(|(_, x)| *x <= right * 1.001)
    .map(|(label, x)| (x, format!("{label} %")))
    .collect()
}

/// A round value of a logarithmic axis: `5 ms` rather than `5.00 ms`.
fn axis_label(us: f64) -> String {
    let (value, unit) = match us {
        v if v < 1e3 => (v, "µs"),
        v if v < 1e6 => (v / 1e3, "ms"),
        v if v < 6e7 => (v / 1e6, "s"),
        v => return duration_us(v as u64),
    };
    format!("{} {unit}", crate::humanize::decimal(value))
}

fn over_time(hop: &HopLatency, load: Option<&LoadRecord>) -> String {
    let merged = series::latency(&hop.intervals);
    let rows = &merged.rows;
    let Some(worst) = rows.iter().max_by_key(|r| r.p99_us) else { return String::new() };
    let calmest = rows.iter().map(|r| r.p99_us).min().unwrap_or(worst.p99_us);
    let finding = format!(
        "The p99 of an interval lay between {} and {}; it was worst at {}.",
        duration_us(calmest),
        duration_us(worst.p99_us),
        clock_us(worst.start_us)
    );
    let end_us = end_us(rows);
    let values = Scale::log(rows.iter().flat_map(|r| [r.p50_us as f64, r.max_us as f64]));
    let mut plot = Plot::new("response-time", Scale::Linear { from: 0.0, to: end_us as f64 }, values);
    let shaded = series::shade(&mut plot, load, end_us);
    plot.y_axis(axis_label);
    plot.x_axis("time since the first due record (min:s)", &series::time_ticks(end_us));
    let mut line = |class, name: &str, value: fn(&LatencyInterval) -> u64| {
        plot.line(class, name, &series::over_time(rows, value));
    };
    line("s0 dots", "max", |r| r.max_us);
    line("s2", "p99", |r| r.p99_us);
    line("s1", "p50", |r| r.p50_us);
    let numbers: Vec<_> = rows
        .iter()
        .map(|r| {
            vec![
                clock_us(r.start_us),
                count(r.count),
                duration_us(r.p50_us),
                duration_us(r.p99_us),
                duration_us(r.max_us),
            ]
        })
        .collect();
    let columns = [
        Column::Number("start"),
        Column::Number("n"),
        Column::Number("p50"),
        Column::Number("p99"),
        Column::Number("max"),
    ];
    figure(
        "Response time over time",
        &finding,
        &plot.finish(
            &finding,
            "Median, 99th percentile and maximum of each interval over time, logarithmic, up is slower.",
        ),
        &merged.note_after(shaded, "each value is the worst of them, percentiles are never averaged"),
        &table("Response time per interval", &columns, &numbers),
    )
}

/// The tail of the later hops over time, together: where a record waited, and when.
fn hops_over_time(hops: &[(&HopLatency, &'static str)], load: Option<&LoadRecord>) -> String {
    let courses: Vec<_> = hops.iter().map(|(h, class)| (h.hop, *class, series::latency(&h.intervals))).collect();
    let Some((hop, worst)) = courses
        .iter()
        .filter_map(|(hop, _, merged)| Some((*hop, merged.rows.iter().max_by_key(|r| r.p99_us)?)))
        .max_by_key(|(_, row)| row.p99_us)
    else {
        return String::new();
    };
    let finding =
        format!("The worst p99 is that of {hop}: {} at {}.", duration_us(worst.p99_us), clock_us(worst.start_us));
    let end_us = courses.iter().map(|(_, _, merged)| end_us(&merged.rows)).max().unwrap_or(1_000_000);
    let values = Scale::log(courses.iter().flat_map(|(_, _, merged)| merged.rows.iter().map(|r| r.p99_us as f64)));
    let mut plot = Plot::new("hops-time", Scale::Linear { from: 0.0, to: end_us as f64 }, values);
    let shaded = series::shade(&mut plot, load, end_us);
    plot.y_axis(axis_label);
    plot.x_axis("time since the first due record (min:s)", &series::time_ticks(end_us));
    for (hop, class, merged) in &courses {
        plot.line(class, hop.name(), &series::over_time(&merged.rows, |r| r.p99_us));
    }
    let numbers: Vec<_> = courses
        .iter()
        .flat_map(|(hop, _, merged)| merged.rows.iter().map(move |r| (hop, r)))
        .map(|(hop, r)| vec![hop.name().to_owned(), clock_us(r.start_us), count(r.count), duration_us(r.p99_us)])
        .collect();
    let columns = [Column::Text("hop"), Column::Number("start"), Column::Number("n"), Column::Number("p99")];
    let merged = courses.iter().max_by_key(|course| course.2.each).map(|course| &course.2);
    let note = merged.map_or_else(String::new, |merged| merged.note_after(shaded, "each value is the worst of them"));
    figure(
        "Later hops over time, p99 of each interval, from due",
        &finding,
        &plot.finish(&finding, "99th percentile of each interval by hop over time, logarithmic, up is slower; a record counts when it was seen."),
        &note,
        &table("p99 per hop and interval", &columns, &numbers),
    )
}

fn end_us(rows: &[LatencyInterval]) -> u64 {
    rows.last().map_or(0, |r| r.start_us).max(1_000_000)
}

/// The value, or its upper bound when the sample is too small to state it.
fn at(hop: &HopLatency, percentile: f64) -> String {
    match (hop.count, hop.supports(percentile)) {
        (0, _) => NOT_AVAILABLE.to_owned(),
        (_, true) => duration_us(hop.value_at(percentile)),
        (_, false) => format!("≤ {}", duration_us(hop.value_at(percentile))),
    }
}

fn hop_table(hops: &[HopLatency]) -> String {
    let rows: Vec<_> = hops
        .iter()
        .map(|h| {
            let or_none = |text: String| if h.count == 0 { NOT_AVAILABLE.to_owned() } else { text };
            vec![
                format!("{} <span class=\"formula\">{}</span>", name(h.hop), escape(formula(h.hop))),
                count(h.count),
                or_none(duration_us(h.min_us)),
                at(h, 50.0),
                at(h, 90.0),
                at(h, 99.0),
                at(h, 99.9),
                or_none(duration_us(h.max_us)),
            ]
        })
        .collect();
    let columns = [
        Column::Text("hop"),
        Column::Number("n"),
        Column::Number("min"),
        Column::Number("p50"),
        Column::Number("p90"),
        Column::Number("p99"),
        Column::Number("p99.9"),
        Column::Number("max"),
    ];
    let mut out = String::from("<h3>Every hop</h3>\n");
    out.push_str(&table(
        "Latency of every hop; ≤ where fewer than ten samples lie above the percentile",
        &columns,
        &rows,
    ));
    for (hop, outside) in hops.iter().filter_map(|h| Some((h.hop, h.outside?))) {
        out.push_str(&format!(
            "<p class=\"note\">{}: {} more were due in warm-up or cool-down and are not in this table: p50 {}, p99 {}, max {}.</p>\n",
            name(hop),
            count(outside.count),
            duration_us(outside.p50_us),
            duration_us(outside.p99_us),
            duration_us(outside.max_us)
        ));
    }
    for hop in hops.iter().filter(|h| h.negative > 0 || h.clamped > 0) {
        out.push_str(&format!(
            "<p class=\"note\">{}: {} below zero (a stream's timestamps are whole milliseconds, or clocks disagree) counted as zero, {} above the range counted at its top.</p>\n",
            name(hop.hop),
            count(hop.negative),
            count(hop.clamped)
        ));
    }
    out
}

/// What a hop's latency is the difference of.
const fn formula(hop: Hop) -> &'static str {
    match hop {
        Hop::Lag => "send - due",
        Hop::Service => "ack - send",
        Hop::Response => "ack - due",
        Hop::Arrival => "stream's timestamp - due",
        Hop::Read => "read by the consumer - due",
        Hop::Landed => "object visible - due",
        Hop::Committed => "table version - due",
    }
}

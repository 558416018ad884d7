//! What the machine did meanwhile: how late it woke a sleeping thread, and what the process used.
//!
//! The hiccups stand under the response times and on the same axis: a peak in both at one moment is the machine's, a
//! peak above alone is the target's.

use super::{
    html::{Column, figure, table},
    plot::{Plot, Scale},
    series,
};
use crate::{
    humanize::{bytes, clock_us, count, duration_us, percent},
    record::{HarnessInterval, HarnessRecord, RunRecord},
};

const AXIS: &str = "time since the first due record (min:s)";

/// Oversleeps over time on an axis that ends at `end_us`; empty for a record without them.
pub(super) fn hiccups(record: &RunRecord, end_us: u64, label: fn(f64) -> String) -> String {
    let harness = &record.harness;
    let merged = series::harness(&harness.intervals);
    let rows = &merged.rows;
    let Some(worst) = rows.iter().max_by_key(|row| row.hiccup_max_us) else { return String::new() };
    let finding = format!(
        "A thread that sleeps 1 ms was woken {} late or less in 99 of 100 sleeps, and at worst {} late, at {}.",
        duration_us(harness.hiccup_p99_us),
        duration_us(worst.hiccup_max_us),
        clock_us(worst.start_us)
    );
    let values = Scale::log(rows.iter().flat_map(|row| [row.hiccup_p50_us as f64, row.hiccup_max_us as f64]));
    let mut plot = Plot::new("hiccups", Scale::Linear { from: 0.0, to: end_us as f64 }, values);
    let shaded = series::shade(&mut plot, record.load.as_ref(), end_us);
    plot.y_axis(label);
    plot.x_axis(AXIS, &series::time_ticks(end_us));
    plot.line("s0 dots", "max", &points(rows, |row| row.hiccup_max_us as f64));
    plot.line("s2", "p99", &points(rows, |row| row.hiccup_p99_us as f64));
    plot.line("s1", "p50", &points(rows, |row| row.hiccup_p50_us as f64));
    let numbers: Vec<_> = rows
        .iter()
        .map(|row| {
            vec![
                clock_us(row.start_us),
                count(row.hiccup_count),
                duration_us(row.hiccup_p50_us),
                duration_us(row.hiccup_p99_us),
                duration_us(row.hiccup_max_us),
            ]
        })
        .collect();
    let columns = [
        Column::Number("start"),
        Column::Number("sleeps"),
        Column::Number("p50"),
        Column::Number("p99"),
        Column::Number("max"),
    ];
    figure(
        "Oversleep (hiccup) over time",
        &finding,
        &plot.finish(&finding, "Median, 99th percentile and maximum of what a sleeping thread overslept in each interval over time, logarithmic."),
        &merged.note_after(shaded, "each value is the worst of them"),
        &table("Oversleep per interval", &columns, &numbers),
    )
}

/// CPU share and resident memory over time; empty for a record without them.
pub(super) fn usage(harness: &HarnessRecord) -> String {
    let merged = series::harness(&harness.intervals);
    let rows = &merged.rows;
    let Some(last) = rows.last() else { return String::new() };
    let end_us = last.start_us + last.length_us;
    let time = Scale::Linear { from: 0.0, to: end_us as f64 };

    let busiest = rows.iter().map(|row| row.cpu_share).fold(0.0, f64::max);
    let off: u64 = rows.iter().map(|row| row.involuntary_switches).sum();
    let cpu_finding =
        format!("At most {} of all cores; {} times a thread was taken off one.", percent(busiest), count(off));
    let mut cpu = Plot::new("cpu-time", time, Scale::Linear { from: 0.0, to: 1.0 });
    cpu.y_axis(percent);
    cpu.x_axis(AXIS, &series::time_ticks(end_us));
    cpu.line("s1", "process", &points(rows, |row| row.cpu_share));
    if rows.iter().any(|row| row.steal_share.is_some_and(|share| share > 0.0)) {
        cpu.line("s2", "stolen", &points(rows, |row| row.steal_share.unwrap_or(0.0)));
    }

    let largest = rows.iter().map(|row| row.rss_bytes).max().unwrap_or(0);
    let rss_finding = format!("At most {}, {} at the end.", bytes(largest), bytes(last.rss_bytes));
    let mut rss = Plot::new("rss-time", time, Scale::from_zero(largest as f64));
    rss.y_axis(|value| bytes(value as u64));
    rss.x_axis(AXIS, &series::time_ticks(end_us));
    rss.line("s1", "resident", &points(rows, |row| row.rss_bytes as f64));

    let numbers: Vec<_> = rows
        .iter()
        .map(|row| {
            vec![
                clock_us(row.start_us),
                percent(row.cpu_share),
                row.steal_share.map_or_else(|| "n/a".to_owned(), percent),
                count(row.voluntary_switches),
                count(row.involuntary_switches),
            ]
        })
        .collect();
    let columns = [
        Column::Number("start"),
        Column::Number("CPU"),
        Column::Number("stolen"),
        Column::Number("waited"),
        Column::Number("taken off"),
    ];
    let sizes: Vec<_> = rows.iter().map(|row| vec![clock_us(row.start_us), bytes(row.rss_bytes)]).collect();
    let note = merged.note("each share and size is the largest of them");
    format!(
        "<div class=\"pair\">\n{}{}</div>\n",
        figure(
            "CPU over time",
            &cpu_finding,
            &cpu.finish(&cpu_finding, "Share of all cores that the process used, and that the host gave to others."),
            &note,
            &table("CPU and context switches per interval", &columns, &numbers),
        ),
        figure(
            "Resident memory over time",
            &rss_finding,
            &rss.finish(&rss_finding, "Resident memory of the process over time."),
            &note,
            &table("Resident memory per interval", &[Column::Number("start"), Column::Number("resident")], &sizes),
        )
    )
}

fn points(rows: &[HarnessInterval], value: impl Fn(&HarnessInterval) -> f64) -> Vec<Option<(f64, f64)>> {
    rows.iter().map(|row| Some((row.start_us as f64, value(row)))).collect()
}

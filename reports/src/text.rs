//! The verdict as a terminal shows it: outcome, what broke, the equations, rates, latency, queries.

pub(crate) mod layout;

use crate::{
    humanize::{NOT_AVAILABLE, bytes, count, counted, duration_us, rate, signed, times, usd},
    record::{Engine, HopLatency, Layout, LedgerHop, LoadRecord, Outcome, QueryRecord, RunRecord},
    skew::{event_line, skew_lines},
};
use layout::{Align, Ink, Page};

/// The widest the verdict gets, however wide the terminal is.
pub const MAX_WIDTH: usize = 100;

/// The short verdict of a run. No line is wider than `width` columns (at most [`MAX_WIDTH`], at least 40): sentences
/// wrap, names that do not fit end in an ellipsis. Without `color` there are no escape codes.
#[must_use]
pub fn verdict_table(record: &RunRecord, width: usize, color: bool) -> String {
    let mut page = Page::new(width.clamp(40, MAX_WIDTH), color);
    verdict(record, &mut page);
    ledger(record, &mut page);
    if let Some(load) = &record.load {
        rates(load, &mut page);
    }
    latency(&record.latency, &mut page);
    queries(&record.queries, &mut page);
    page.finish()
}

fn verdict(record: &RunRecord, page: &mut Page) {
    let verdict = &record.verdict;
    let ink = match verdict.outcome {
        Outcome::Kept => Ink::Good,
        Outcome::Broken | Outcome::Failed => Ink::Bad,
        Outcome::HarnessLimited | Outcome::Interrupted => Ink::Warn,
    };
    page.spans(&[(ink, verdict.outcome.word()), (Ink::Plain, "  "), (Ink::Bold, &record.run.id)]);
    page.wrapped(Ink::Plain, "", &verdict.summary);
    for promise in verdict.promises.iter().filter(|p| !p.kept) {
        page.wrapped(Ink::Bad, "  ✗ ", &format!("{}: {}", promise.name, promise.detail));
    }
}

fn ledger(record: &RunRecord, page: &mut Page) {
    let ledger = &record.ledger;
    if ledger.hops.is_empty() {
        return;
    }
    page.heading("ledger");
    let name_width = ledger.hops.iter().map(|h| h.hop.chars().count()).max().unwrap_or(0).min(16);
    for hop in &ledger.hops {
        let (ink, mark) = if hop.closes() { (Ink::Good, "✓") } else { (Ink::Bad, "✗") };
        let label = layout::fit(&hop.hop, name_width);
        page.wrapped(ink, &format!("  {mark} {label:<name_width$}  "), &equation(hop));
    }
    if record.load.is_some() && !ledger.is_witnessed() {
        page.wrapped(Ink::Plain, "    ", "lost, duplicated: not measured, nobody could read what the target took");
    } else if record.load.is_some() {
        let found =
            [("lost", ledger.lost), ("duplicated", ledger.duplicated), ("unacknowledged", ledger.unacknowledged)];
        let found: Vec<_> = found.iter().map(|(name, n)| format!("{name} {}", count(*n))).collect();
        let ink = if ledger.lost == 0 { Ink::Plain } else { Ink::Bad };
        page.wrapped(ink, "    ", &found.join(" · "));
    }
}

fn equation(hop: &LedgerHop) -> String {
    let parts: Vec<_> = hop.parts.iter().map(|p| format!("{} {}", p.name, count(p.records))).collect();
    let sign = if hop.closes() { "=" } else { "≠" };
    let gap = if hop.closes() { String::new() } else { format!(" (difference {})", signed(hop.difference)) };
    format!("{} {} {sign} {}{gap}", hop.taken.name, count(hop.taken.records), parts.join(" + "))
}

fn rates(load: &LoadRecord, page: &mut Page) {
    let refusals: u64 = load.refusals.iter().map(|r| r.refusals).sum();
    page.heading("rate");
    page.wrapped(
        Ink::Plain,
        "  ",
        &format!(
            "target {} · offered {} · accepted {} over {} · {} · {} given up",
            rate(load.target_rate),
            rate(load.offered_rate),
            rate(load.accepted_rate),
            duration_us(load.elapsed_us),
            counted(refusals, "refusal", "refusals"),
            count(load.refused),
        ),
    );
    let packed = load.aggregation.sent;
    if packed.kinesis_records > 0 {
        let each = packed.user_records as f64 / packed.kinesis_records as f64;
        let text = format!(
            "aggregated: {} in {} of the stream, {each:.1} in each",
            counted(packed.user_records, "record", "records"),
            counted(packed.kinesis_records, "record", "records")
        );
        page.wrapped(Ink::Plain, "  ", &text);
    }
    for line in load.skew.iter().flat_map(skew_lines) {
        page.wrapped(Ink::Plain, "  ", &line);
    }
    for event in &load.events {
        let ink = if event.error.is_some() { Ink::Warn } else { Ink::Plain };
        page.wrapped(ink, "  ", &event_line(event));
    }
}

fn latency(hops: &[HopLatency], page: &mut Page) {
    if hops.is_empty() {
        return;
    }
    let header = ["latency", "n", "p50", "p90", "p99", "max"].map(str::to_owned).to_vec();
    let rows = hops.iter().map(|hop| {
        let at = |p| match (hop.count, hop.supports(p)) {
            (0, _) => NOT_AVAILABLE.to_owned(),
            (_, true) => duration_us(hop.value_at(p)),
            // The sample is too small to state it; the maximum is above it for certain.
            (_, false) => format!("≤ {}", duration_us(hop.value_at(p))),
        };
        vec![hop.hop.to_string(), count(hop.count), at(50.0), at(90.0), at(99.0), at(100.0)]
    });
    page.table(
        header,
        rows.collect(),
        &[Align::Left, Align::Right, Align::Right, Align::Right, Align::Right, Align::Right],
    );
}

fn queries(queries: &[QueryRecord], page: &mut Page) {
    if queries.is_empty() {
        return;
    }
    let header = ["query", "raw", "table", "raw/table", "raw USD", "table USD", "answer"].map(str::to_owned).to_vec();
    let rows = queries.iter().map(|query| {
        let cell = |layout, show: fn(&crate::record::Measurement) -> String| {
            query.answered(layout, Engine::Datafusion).map_or_else(|| NOT_AVAILABLE.to_owned(), show)
        };
        vec![
            query.name.clone(),
            cell(Layout::Raw, |m| bytes(m.bytes)),
            cell(Layout::Table, |m| bytes(m.bytes)),
            query.bytes_ratio().map_or_else(|| NOT_AVAILABLE.to_owned(), times),
            cell(Layout::Raw, |m| usd(m.cost_usd)),
            cell(Layout::Table, |m| usd(m.cost_usd)),
            if query.same_answer { "✓ same" } else { "✗ differs" }.to_owned(),
        ]
    });
    let right = Align::Right;
    page.table(header, rows.collect(), &[Align::Left, right, right, right, right, right, Align::Left]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sample;

    fn widest(text: &str) -> usize {
        text.lines().map(|l| l.chars().count()).max().unwrap_or(0)
    }

    #[test]
    fn a_full_run_shows_outcome_equations_rates_latency_and_queries() {
        let text = verdict_table(&sample::full(), 100, false);
        for part in [
            "PASS  us-accidents-20261120T020000Z-1a2b",
            "✓ producer       due 30,000 = accepted 29,988 + refused 12",
            "lost 0 · duplicated 0 · unacknowledged 0",
            "target 500/s · offered 499.9/s · accepted 499.6/s over 1 min 00 s · 1,840 refusals · 12 given up",
            "response",
            "by severity",
            "✓ same",
            "3.46 MiB",
            "40.2 KiB",
            "$0.0000477",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        assert!(!text.contains('✗'), "{text}");
    }

    #[test]
    fn broken_promises_are_listed_and_a_hop_that_does_not_close_is_marked() {
        let text = verdict_table(&sample::broken(), 100, false);
        assert!(text.starts_with("FAIL  "), "{text}");
        assert!(
            text.contains("✗ delivery ledger: read 29,988 ≠ delivered 29,987 + errored 0 (difference 1)"),
            "{text}"
        );
        assert!(text.contains("✗ differs"), "{text}");
    }

    #[test]
    fn no_line_is_wider_than_asked_nor_than_a_hundred_columns() {
        let mut long = sample::broken();
        long.run.id = "x".repeat(300);
        long.ledger.hops[0].hop = "a hop with an exceedingly long name that nobody would choose".to_owned();
        long.ledger.hops[0].taken.name = "y".repeat(150);
        long.queries[0].name = "every accident of every county in every year by severity, weather and road".to_owned();
        long.verdict.summary = "word ".repeat(90);
        long.verdict.promises[0].detail = "z".repeat(250);
        for record in
            [&long, &sample::full(), &sample::limited(), &sample::load_only(), &sample::compact_only(), &sample::zero()]
        {
            for width in [0, 40, 57, 80, 100, 400] {
                let text = verdict_table(record, width, false);
                assert!(widest(&text) <= width.clamp(40, MAX_WIDTH), "at {width}:\n{text}");
            }
        }
        assert!(verdict_table(&long, 100, false).contains('…'));
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let record = sample::broken();
        let (plain, coloured) = (verdict_table(&record, 90, false), verdict_table(&record, 90, true));
        assert!(!plain.contains('\u{1b}') && coloured.contains('\u{1b}'));
        let mut stripped = String::new();
        let mut escape = false;
        for c in coloured.chars() {
            match (escape, c) {
                (false, '\u{1b}') => escape = true,
                (true, 'm') => escape = false,
                (true, _) => {}
                (false, c) => stripped.push(c),
            }
        }
        assert_eq!(stripped, plain);
    }

    #[test]
    fn a_small_sample_is_bounded_by_its_maximum_and_no_sample_says_so() {
        let mut record = sample::full();
        let values = {
            let mut values = crate::latency::histogram();
            values.record_n(5_000, 50).unwrap();
            values
        };
        record.latency.truncate(2);
        (record.latency[0].count, record.latency[0].max_us) = (50, 5_000);
        record.latency[0].curve = crate::latency::curve(&values);
        (record.latency[1].count, record.latency[1].curve) = (0, Vec::new());
        let text = verdict_table(&record, 100, false);
        let line = |name: &str| text.lines().find(|l| l.trim_start().starts_with(name)).unwrap().to_owned();
        assert!(line("lag").contains("≤ 5.00 ms"), "{text}");
        assert!(line("service").contains(NOT_AVAILABLE), "{text}");
    }

    proptest! {
        #[test]
        fn any_name_at_any_width_fits(name in "\\PC{0,120}", width in 0_usize..200) {
            let mut record = sample::load_only();
            record.run.id.clone_from(&name);
            record.verdict.summary.clone_from(&name);
            record.ledger.hops[0].hop = name;
            prop_assert!(widest(&verdict_table(&record, width, false)) <= width.clamp(40, MAX_WIDTH));
        }
    }
}

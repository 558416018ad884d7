//! Conservation: the equation of every hop, and every shard, in full integers.

use super::html::{Column, details, escape, state, table};
use crate::{
    humanize::{count, counted, signed},
    record::{Ledger, LedgerHop, RunRecord},
};

pub(super) fn section(record: &RunRecord) -> String {
    let ledger = &record.ledger;
    if ledger.hops.is_empty() && ledger.shards.is_empty() {
        return String::new();
    }
    let mut out = String::from(
        "<p class=\"lead\">What went into each hop is what came out of it, by name and number. One record that cannot be \
         accounted for outranks every latency.</p>\n<ol class=\"equations\">\n",
    );
    ledger.hops.iter().for_each(|hop| out.push_str(&equation(hop)));
    out.push_str("</ol>\n");
    out.push_str(&losses(ledger));
    out.push_str(&shards(ledger));
    out
}

fn equation(hop: &LedgerHop) -> String {
    let part = |name: &str, records: u64| {
        format!("<span class=\"part\"><b>{}</b> <span>{}</span></span>", count(records), escape(name))
    };
    let parts: Vec<_> = hop.parts.iter().map(|p| part(&p.name, p.records)).collect();
    let sign = if hop.closes() { "=" } else { "≠" };
    let verdict = if hop.closes() {
        state(true, "closes")
    } else {
        state(false, &format!("difference {}", signed(hop.difference)))
    };
    format!(
        "<li><span class=\"hop\">{}</span> <span class=\"sum\">{} <span class=\"op\">{sign}</span> {}</span> {verdict}</li>\n",
        escape(&hop.hop),
        part(&hop.taken.name, hop.taken.records),
        parts.join(" <span class=\"op\">+</span> ")
    )
}

fn losses(ledger: &Ledger) -> String {
    let mut out = String::new();
    if ledger.unacknowledged > 0 {
        out.push_str(&format!(
            "<p class=\"note\">{} read although no call confirmed them: the answer was lost, the records were not.</p>\n",
            counted(ledger.unacknowledged, "record was", "records were")
        ));
    }
    if !ledger.lost_ranges.is_empty() {
        let ranges: Vec<_> = ledger
            .lost_ranges
            .iter()
            .map(|(first, last)| vec![count(*first), count(*last), count(last - first + 1)])
            .collect();
        let columns = [Column::Number("first sequence"), Column::Number("last sequence"), Column::Number("records")];
        out.push_str(&table("Lost records, the first hundred ranges", &columns, &ranges));
    }
    out
}

fn shards(ledger: &Ledger) -> String {
    if ledger.shards.is_empty() {
        return String::new();
    }
    let rows: Vec<_> = ledger
        .shards
        .iter()
        .map(|s| {
            let difference = i128::from(s.accepted) - i128::from(s.read);
            let difference = i64::try_from(difference).unwrap_or(i64::MAX);
            vec![escape(&s.shard), count(s.accepted), count(s.read), count(s.duplicated), signed(difference)]
        })
        .collect();
    let columns = [
        Column::Text("shard"),
        Column::Number("accepted"),
        Column::Number("read"),
        Column::Number("read again"),
        Column::Number("accepted - read"),
    ];
    let body = table("Accepted by the stream against read by the consumer, per shard (records)", &columns, &rows);
    details(&format!("Per shard: {}", counted(rows.len() as u64, "shard", "shards")), &body)
}

//! What was landed in the lake and what became of it in the table.

use super::html::{Column, escape, facts, field, table};
use crate::{
    humanize::{bytes, count, duration_us, times},
    record::{CompactionRecord, DeliveryRecord, RunRecord},
};

pub(super) fn section(record: &RunRecord) -> String {
    let parts = [record.delivery.as_ref().map(delivery), record.compaction.as_ref().map(compaction)];
    let parts: String = parts.into_iter().flatten().collect();
    if parts.is_empty() { parts } else { format!("<div class=\"pair\">\n{parts}</div>\n") }
}

fn delivery(delivery: &DeliveryRecord) -> String {
    let squeezed = match delivery.object_bytes {
        0 => String::new(),
        n => format!(", {} smaller", times(delivery.raw_bytes as f64 / n as f64)),
    };
    let facts = facts(&[
        ("records read from the stream", count(delivery.records_read)),
        ("delivered", format!("{} records", count(delivery.records_delivered))),
        ("under the error prefix", format!("{} records", count(delivery.records_errored))),
        ("objects", field("delivery.objects", delivery.objects, &count(delivery.objects))),
        ("error objects", count(delivery.error_objects)),
        ("before compression", bytes(delivery.raw_bytes)),
        ("as objects", format!("{}{squeezed}", bytes(delivery.object_bytes))),
        ("writes tried again", count(delivery.write_retries)),
        ("lake", format!("<code>{}</code>", escape(&delivery.lake))),
    ]);
    format!("<div>\n<h3>Delivery</h3>\n{facts}</div>\n")
}

fn compaction(compaction: &CompactionRecord) -> String {
    let mut out = String::from("<div>\n<h3>Compaction</h3>\n");
    out.push_str(&facts(&[
        ("objects compacted", format!("{} in {} passes", count(compaction.objects), count(compaction.passes))),
        ("objects gone or changed meanwhile", count(compaction.unread)),
        ("commits given up for that", count(compaction.withdrawn)),
        ("lines read", count(compaction.lines)),
        ("rows written", field("compaction.rows", compaction.rows, &count(compaction.rows))),
        ("duplicates by key", field("compaction.duplicates", compaction.duplicates, &count(compaction.duplicates))),
        ("quarantined", field("compaction.quarantined", compaction.quarantined, &count(compaction.quarantined))),
        ("rows in the table", format!("{}, version {}", count(compaction.table_rows), count(compaction.version))),
        ("objects, decompressed", format!("{}, {}", bytes(compaction.object_bytes), bytes(compaction.raw_bytes))),
        (
            "files",
            format!(
                "{} added ({}), {} removed",
                count(compaction.files_added),
                bytes(compaction.file_bytes),
                count(compaction.files_removed)
            ),
        ),
        ("time in passes", format!("{}, CPU {}", duration_us(compaction.elapsed_us), duration_us(compaction.cpu_us))),
        ("table", format!("<code>{}</code>", escape(&compaction.table))),
    ]));
    if !compaction.quarantine_reasons.is_empty() {
        let rows: Vec<_> =
            compaction.quarantine_reasons.iter().map(|r| vec![escape(&r.reason), count(r.lines)]).collect();
        out.push_str(&table("Quarantined by reason", &[Column::Text("reason"), Column::Number("lines")], &rows));
    }
    if !compaction.unknown_fields.is_empty() {
        let rows: Vec<_> = compaction.unknown_fields.iter().map(|f| vec![escape(&f.name), count(f.records)]).collect();
        let columns = [Column::Text("field"), Column::Number("records")];
        out.push_str(&table("Fields that are no column of the table", &columns, &rows));
    }
    out.push_str("</div>\n");
    out
}

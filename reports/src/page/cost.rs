//! What a question costs on the raw lake and on the table, and whether both give the same answer.

use super::html::{Column, details, escape, state, table};
use crate::{
    humanize::{bytes, count, counted, duration_us, times, usd},
    record::{Engine, Layout, Measurement, PriceSheet, QueryRecord, RunRecord},
};

pub(super) fn section(record: &RunRecord) -> String {
    if record.queries.is_empty() {
        return String::new();
    }
    // What went wrong is read first: other answers, then queries where the table lost, then the rest as written.
    let mut queries: Vec<_> = record.queries.iter().collect();
    queries.sort_by_key(|q| (q.same_answer, q.bytes_ratio().is_none_or(|r| r >= 1.0)));
    let mut out = String::from(
        "<p class=\"lead\">Every query is asked of the raw gzip JSON and of the table, by two independent engines. A cost \
         counts only where the answers are the same.</p>\n",
    );
    queries.iter().for_each(|q| out.push_str(&query(q)));
    if let Some(prices) = &record.prices {
        out.push_str(&price_note(prices));
    }
    out
}

fn query(query: &QueryRecord) -> String {
    let badge = if query.same_answer { state(true, "same answer") } else { state(false, "answers differ") };
    let mut out = format!(
        "<article class=\"query\">\n<h3>{} {badge}</h3>\n<p class=\"finding\">{}</p>\n",
        escape(&query.name),
        escape(&finding(query))
    );
    out.push_str(&meter(query));
    let rows: Vec<_> = query.measurements.iter().map(row).collect();
    let columns = [
        Column::Text("read by"),
        Column::Number("rows"),
        Column::Number("wall"),
        Column::Number("CPU"),
        Column::Number("bytes"),
        Column::Number("requests"),
        Column::Number("billed"),
        Column::Number("price"),
        Column::Text("answer"),
    ];
    out.push_str(&table(&format!("{}: every measurement", query.name), &columns, &rows));
    out.push_str(&details("SQL", &format!("<pre>{}</pre>\n", escape(&query.sql))));
    if let Some((header, rows)) = query.preview.split_first() {
        out.push_str(&details(
            &format!("Answer: first {}", counted(rows.len() as u64, "row", "rows")),
            &preview(header, rows),
        ));
    }
    out.push_str("</article>\n");
    out
}

fn finding(query: &QueryRecord) -> String {
    let read = |layout| query.answered(layout, Engine::Datafusion);
    let (Some(raw), Some(compacted)) = (read(Layout::Raw), read(Layout::Table)) else {
        return "Raw lake and table were not both measured.".to_owned();
    };
    let amounts = format!("{} against {}", bytes(compacted.bytes), bytes(raw.bytes));
    match query.bytes_ratio() {
        Some(ratio) if ratio >= 1.0 => format!("The table reads {} fewer bytes: {amounts}.", times(ratio)),
        Some(ratio) if ratio > 0.0 => format!("The table lost: it reads {} more bytes, {amounts}.", times(1.0 / ratio)),
        _ => format!("The table reads {amounts}."),
    }
}

/// Two bars from zero: the bytes read from the raw lake and from the table.
fn meter(query: &QueryRecord) -> String {
    let read = |layout| query.answered(layout, Engine::Datafusion).map(|m| m.bytes);
    let (Some(raw), Some(compacted)) = (read(Layout::Raw), read(Layout::Table)) else { return String::new() };
    let most = raw.max(compacted).max(1) as f64;
    let bar = |name: &str, class: &str, value: u64| {
        format!(
            "<div><span>{name}</span><span class=\"track\"><span class=\"fill {class}\" style=\"width:{:.2}%\"></span></span><b>{}</b></div>",
            (value as f64 / most * 100.0).max(0.25),
            bytes(value)
        )
    };
    format!("<div class=\"meter\">{}{}</div>\n", bar("raw lake", "s0", raw), bar("table", "s1", compacted))
}

fn row(m: &Measurement) -> Vec<String> {
    let who = format!("{} <span class=\"formula\">{}</span>", escape(m.layout.name()), m.engine.name());
    if let Some(error) = &m.error {
        let mut cells = vec![who];
        cells.extend(std::iter::repeat_n("n/a".to_owned(), 7));
        cells.push(format!("{} {}", state(false, "failed"), escape(error)));
        return cells;
    }
    let requests = format!("{} GET, {} LIST, {} HEAD", count(m.gets), count(m.lists), count(m.heads));
    vec![
        who,
        count(m.rows),
        duration_us(m.wall_us),
        duration_us(m.cpu_us),
        bytes(m.bytes),
        requests,
        bytes(m.billed_bytes),
        usd(m.cost_usd),
        format!("<code>{}</code>", escape(m.answer.get(..12).unwrap_or(&m.answer))),
    ]
}

fn preview(header: &[String], rows: &[Vec<String>]) -> String {
    let cells =
        |row: &[String], tag: &str| -> String { row.iter().map(|c| format!("<{tag}>{}</{tag}>", escape(c))).collect() };
    let body: String = rows.iter().map(|r| format!("<tr>{}</tr>\n", cells(r, "td"))).collect();
    format!(
        "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"First rows of the answer\"><table><thead><tr>{}</tr></thead><tbody>\n{body}</tbody></table></div>\n",
        cells(header, "th scope=\"col\"").replace("</th scope=\"col\">", "</th>")
    )
}

fn price_note(prices: &PriceSheet) -> String {
    format!(
        "<p class=\"note\">Prices of {} for {}: Athena {} per TB with at least {} billed per query, S3 {} per 1,000 GET and {} per \
         1,000 PUT or LIST ({}). Not included: storage, transfer, and the compaction itself.</p>\n",
        escape(&prices.date),
        escape(&prices.region),
        usd(prices.athena_usd_per_tb),
        bytes(prices.athena_min_bytes),
        usd(prices.s3_get_usd_per_1000),
        usd(prices.s3_put_usd_per_1000),
        escape(&prices.source)
    )
}

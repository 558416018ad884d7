//! `report.html`: one self-contained page drawn from the record and from nothing else.
//!
//! No network, no script, no font to fetch: every plot is inline SVG with its finding as title and its numbers in a table
//! beside it. The same record gives the same bytes. The record itself is embedded, and key numbers carry `data-field` and
//! `data-value`, so that a person or a test can hold page and record against each other.

mod cost;
mod html;
mod lake;
mod latency;
mod ledger;
mod load;
mod machine;
mod plot;
mod series;
mod shards;
mod trust;
mod verdict;

use crate::record::RunRecord;
use html::escape;

const STYLE: &str = include_str!("page/style.css");

/// Draws the body of a section; empty when the record has nothing for it.
type Draw = fn(&RunRecord) -> String;

/// Sections in the order a reader asks: did it pass, is anything lost, did the load happen, how slow, why, what does it
/// cost, can I trust it.
const SECTIONS: [(&str, &str, Draw); 7] = [
    ("ledger", "Ledger", ledger::section),
    ("load", "Load", load::section),
    ("latency", "Latency", latency::section),
    ("shards", "Shards", shards::section),
    ("lake", "Lake and table", lake::section),
    ("queries", "Query cost", cost::section),
    ("trust", "Trust", trust::section),
];

/// The page of a run. Parts that the run did not have are left out.
#[must_use]
pub fn render(record: &RunRecord) -> String {
    let mut links = String::from("<a href=\"#verdict\">Verdict</a>");
    let mut sections = String::new();
    for (id, title, draw) in SECTIONS {
        let body = draw(record);
        if !body.is_empty() {
            links.push_str(&format!("<a href=\"#{id}\">{title}</a>"));
            sections.push_str(&format!(
                "<section id=\"{id}\" aria-labelledby=\"{id}-h\">\n<h2 id=\"{id}-h\">{title}</h2>\n{body}</section>\n"
            ));
        }
    }
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n\
         <title>{word}: {id} · Millrace</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#verdict\">Skip to the verdict</a>\n\
         <header class=\"top\"><p class=\"brand\">Millrace <span>run report</span></p><nav aria-label=\"Sections\">{links}</nav></header>\n\
         <main>\n{verdict}{sections}</main>\n\
         <footer><p>Drawn by Millrace {version} from <code>run.json</code>, schema {schema}; the full histograms are in <code>latency.hlog</code>. \
         Times on plots count from the first due time.</p></footer>\n\
         <script type=\"application/json\" id=\"record\">{data}</script>\n</body>\n</html>\n",
        word = record.verdict.outcome.word(),
        id = escape(&record.run.id),
        verdict = verdict::section(record),
        version = escape(&record.run.millrace_version),
        schema = escape(&record.schema_version),
        data = embedded(record),
    )
}

/// The record as JSON that no HTML parser can end early: `<` only ever occurs inside JSON strings, where it may be escaped.
fn embedded(record: &RunRecord) -> String {
    // A record is made of strings, numbers and lists: it always has a JSON form.
    serde_json::to_string(record).unwrap_or_else(|_| "null".to_owned()).replace('<', "\\u003c")
}

#[cfg(test)]
mod tests;

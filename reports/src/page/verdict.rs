//! The first screen: did it pass, which promises broke, and the five numbers everybody asks for.

use millrace_scenarios::Hop;

use super::html::{escape, field};
use crate::{
    humanize::{count, counted, duration_us},
    record::{Outcome, Promise, RunRecord, Verdict},
};

pub(super) fn section(record: &RunRecord) -> String {
    let verdict = &record.verdict;
    let (class, mark) = look(verdict.outcome);
    let (broken, kept): (Vec<_>, Vec<_>) = verdict.promises.iter().partition(|p| !p.kept);
    let mut out = format!(
        "<section id=\"verdict\" class=\"verdict {class}\" aria-labelledby=\"verdict-h\">\n\
         <p class=\"run\"><code>{id}</code> · {target} · started {started} · {code}</p>\n\
         <h1 id=\"verdict-h\"><span class=\"word\"><span aria-hidden=\"true\">{mark}</span> {word}</span> {sentence}</h1>\n\
{summary}",
        id = escape(&record.run.id),
        target = escape(&record.run.target),
        started = escape(&started(&record.run.started_at)),
        code = field("verdict.exit_code", verdict.exit_code, &format!("exit code {}", verdict.exit_code)),
        word = verdict.outcome.word(),
        sentence = sentence(verdict.outcome, broken.len() as u64, verdict.promises.len() as u64),
        summary = summary(verdict),
    );
    out.push_str(&promises("broken", &broken));
    out.push_str(&tiles(record));
    out.push_str(&promises("kept", &kept));
    out.push_str("</section>\n");
    out
}

/// The verdict's sentence, except where the list of what broke says the same in full.
fn summary(verdict: &Verdict) -> String {
    match verdict.outcome {
        Outcome::Broken => String::new(),
        _ => format!("<p class=\"summary\">{}</p>\n", escape(&verdict.summary)),
    }
}

const fn look(outcome: Outcome) -> (&'static str, &'static str) {
    match outcome {
        Outcome::Kept => ("good", "✓"),
        Outcome::Broken | Outcome::Failed => ("bad", "✗"),
        Outcome::HarnessLimited | Outcome::Interrupted => ("warn", "!"),
    }
}

fn sentence(outcome: Outcome, broken: u64, all: u64) -> String {
    match outcome {
        Outcome::Kept => format!("All {} kept", counted(all, "promise", "promises")),
        Outcome::Broken => format!("{broken} of {} broken", counted(all, "promise", "promises")),
        Outcome::HarnessLimited => "The harness was the limit: not a valid measurement".to_owned(),
        Outcome::Failed => "The run did not reach its end".to_owned(),
        Outcome::Interrupted => "Stopped before its end: reported, not gated".to_owned(),
    }
}

/// `2026-11-20T02:00:00.000000Z` without the microseconds nobody reads.
fn started(text: &str) -> String {
    let (date, time) = text.split_once('T').unwrap_or((text, ""));
    let time = time.split_once('.').map_or(time, |(whole, _)| whole).trim_end_matches('Z');
    format!("{date} {time} UTC")
}

fn promises(class: &str, promises: &[&Promise]) -> String {
    if promises.is_empty() {
        return String::new();
    }
    let mut out = format!("<ul class=\"promises {class}\">\n");
    for promise in promises {
        let (state, mark, word) = if promise.kept { ("good", "✓", "kept") } else { ("bad", "✗", "broken") };
        out.push_str(&format!(
            "<li><span class=\"state {state}\"><span aria-hidden=\"true\">{mark}</span> {word}</span> \
             <b>{}</b> <span class=\"detail\">{}</span></li>\n",
            escape(&promise.name),
            escape(&promise.detail)
        ));
    }
    out.push_str("</ul>\n");
    out
}

fn tiles(record: &RunRecord) -> String {
    let mut tiles = Vec::new();
    if let Some(load) = &record.load {
        tiles.push(("accepted", field("load.accepted", load.accepted, &count(load.accepted)), "records"));
        let ledger = &record.ledger;
        if ledger.is_witnessed() {
            let duplicated = field("ledger.duplicated", ledger.duplicated, &count(ledger.duplicated));
            tiles.push(("lost", field("ledger.lost", ledger.lost, &count(ledger.lost)), "records"));
            tiles.push(("duplicated", duplicated, "records"));
        }
    }
    if let Some(response) = record.latency.iter().find(|h| h.hop == Hop::Response && h.count > 0) {
        let (p99, supported) = (response.value_at(99.0), response.supports(99.0));
        let text = format!("{}{}", if supported { "" } else { "≤ " }, duration_us(p99));
        tiles.push(("response p99", field("latency.response.p99_us", p99, &text), "from due to accepted"));
    }
    if let Some(compaction) = &record.compaction {
        tiles.push(("table", escape(&count(compaction.table_rows)), "rows at the end"));
    }
    if tiles.is_empty() {
        return String::new();
    }
    let tiles: String = tiles
        .iter()
        .map(|(name, value, unit)| format!("<div><dt>{name}</dt><dd><b>{value}</b> <span>{unit}</span></dd></div>"))
        .collect();
    format!("<dl class=\"tiles\">{tiles}</dl>\n")
}

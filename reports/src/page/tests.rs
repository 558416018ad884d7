use std::collections::BTreeMap;

use millrace_scenarios::Hop;

use super::*;
use crate::{
    record::{HarnessInterval, LatencyInterval, ShardLoad},
    sample,
};

fn every_sample() -> [(&'static str, RunRecord); 6] {
    [
        ("full", sample::full()),
        ("broken", sample::broken()),
        ("limited", sample::limited()),
        ("load_only", sample::load_only()),
        ("compact_only", sample::compact_only()),
        ("zero", sample::zero()),
    ]
}

/// Every `data-field` of a page with its `data-value`.
fn fields(page: &str) -> BTreeMap<String, String> {
    page.split("data-field=\"")
        .skip(1)
        .map(|rest| {
            let (name, rest) = rest.split_once('"').unwrap();
            let value = rest.split_once("data-value=\"").unwrap().1.split_once('"').unwrap().0;
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

fn embedded_record(page: &str) -> RunRecord {
    let start = "<script type=\"application/json\" id=\"record\">";
    let text = page.split_once(start).unwrap().1.split_once("</script>").unwrap().0;
    serde_json::from_str(text).unwrap()
}

#[test]
fn key_numbers_on_the_page_are_the_records() {
    let record = sample::full();
    let page = render(&record);
    let (load, compaction) = (record.load.as_ref().unwrap(), record.compaction.as_ref().unwrap());
    let p99 = record.latency.iter().find(|h| h.hop == Hop::Response).unwrap().value_at(99.0);
    let want = [
        ("load.due", load.due),
        ("load.sent", load.sent),
        ("load.accepted", load.accepted),
        ("load.refused", load.refused),
        ("ledger.lost", record.ledger.lost),
        ("ledger.duplicated", record.ledger.duplicated),
        ("compaction.rows", compaction.rows),
        ("compaction.duplicates", compaction.duplicates),
        ("compaction.quarantined", compaction.quarantined),
        ("delivery.objects", record.delivery.as_ref().unwrap().objects),
        ("latency.response.p99_us", p99),
        ("verdict.exit_code", u64::from(record.verdict.exit_code)),
    ];
    let want: BTreeMap<_, _> = want.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect();
    assert_eq!(fields(&page), want);
    assert_eq!(page.matches("data-field=").count(), want.len(), "each once");
    assert!(page.contains("data-value=\"29988\">29,988<"), "the text is the human form");
}

#[test]
fn the_record_in_the_page_is_the_record_even_when_it_tries_to_end_the_script() {
    let mut record = sample::full();
    record.run.description = "</script><script>alert(1)</script><!--".to_owned();
    record.verdict.promises[0].detail = "<img src=x onerror=alert(1)>".to_owned();
    let page = render(&record);
    assert_eq!(embedded_record(&page), record);
    assert_eq!(page.matches("<script").count(), 1);
    assert!(!page.contains("<img"));
}

#[test]
fn nothing_is_fetched_and_nothing_runs() {
    for (name, record) in every_sample() {
        let page = render(&record);
        let markup = page.split("<script type=\"application/json\"").next().unwrap();
        for forbidden in ["src=", "@import", "url(", "<link rel=\"stylesheet\"", "onload", "<iframe", "href=\"http"] {
            assert!(!markup.contains(forbidden), "{name}: {forbidden}");
        }
    }
}

#[test]
fn no_part_that_is_absent_or_zero_prints_a_number_that_is_none() {
    for (name, record) in every_sample() {
        let page = render(&record);
        for bad in ["NaN", "inf", "Infinity", "-0.0"] {
            let markup = page.split("<script").next().unwrap().split("</style>").nth(1).unwrap();
            let words = markup.split(|c: char| !c.is_alphanumeric() && c != '-' && c != '.');
            assert!(words.clone().all(|w| w != bad), "{name}: {bad}");
        }
        assert_eq!(embedded_record(&page), record, "{name}");
    }
    let empty = render(&sample::compact_only());
    for absent in ["id=\"load\"", "id=\"latency\"", "id=\"shards\"", "id=\"queries\""] {
        assert!(!empty.contains(absent), "{absent}");
    }
}

#[test]
fn elements_are_closed_in_order_and_ids_are_unique() {
    for (name, record) in every_sample() {
        let page = render(&record);
        let body = page.split_once("<body>").unwrap().1.split_once("<script").unwrap().0;
        let mut open: Vec<&str> = Vec::new();
        for tag in body.split('<').skip(1) {
            let tag = tag.split_once('>').unwrap().0;
            let word = tag.trim_start_matches('/').split([' ', '\n', '/']).next().unwrap();
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(word), "{name}: </{word}>");
            } else if !tag.ends_with('/') {
                open.push(word);
            }
        }
        assert!(open.is_empty(), "{name}: {open:?}");

        let mut ids: Vec<_> = page.split(" id=\"").skip(1).map(|r| r.split_once('"').unwrap().0).collect();
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "{name}");
    }
}

#[test]
fn every_plot_states_its_finding_describes_itself_and_has_its_numbers() {
    let page = render(&sample::full());
    let plots = page.matches("<svg ").count();
    assert_eq!(plots, 9);
    assert_eq!(page.matches("role=\"img\"").count(), plots);
    assert_eq!(page.matches("<title id=").count(), plots);
    assert_eq!(page.matches("<desc id=").count(), plots);
    assert_eq!(page.matches("<summary>Numbers</summary>").count(), plots);
    assert!(
        page.contains(
            "The busiest is shard 2 with 47 % of the records, 1.88× its fair share; 1,840 refusals, most of them by shard 2."
        )
    );
    assert!(page.contains("1,840 refusals between 0:25 and 0:35."));
}

#[test]
fn the_verdict_comes_first_and_broken_promises_before_kept_ones() {
    let page = render(&sample::broken());
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text:?} is not on the page"));
    assert!(page.contains("3 of 13 promises broken"));
    assert!(at("<h1") < at("promises broken\"") && at("promises broken\"") < at("promises kept\""));
    assert!(at("promises kept\"") < at("id=\"ledger\"") && at("id=\"ledger\"") < at("id=\"load\""));
    assert!(page.contains("answers differ") && page.contains("difference 1"));
    assert!(at("worst cities</h3>".trim_end_matches("</h3>")) < at("by severity <span class=\"state good\""));
    assert!(render(&sample::limited()).contains("HARNESS-LIMITED</span> The harness was the limit"));
}

#[test]
fn a_curve_stops_before_the_maximum() {
    let mut record = sample::full();
    record.latency.retain(|h| h.hop == Hop::Response);
    let (page, hop) = (render(&record), &record.latency[0]);
    let plot = page.split("id=\"response-curve-d\"").nth(1).unwrap().split("</svg>").next().unwrap();
    let line = plot.split("class=\"line s1\" d=\"").nth(1).unwrap().split('"').next().unwrap();
    let drawn = line.trim_start_matches('M').replace('L', " ").split_whitespace().count() / 2;
    assert_eq!(drawn, hop.curve.iter().filter(|p| p.percentile < 100.0).count());
}

#[test]
fn a_day_at_a_second_an_interval_over_a_thousand_shards_stays_a_page() {
    let mut record = sample::full();
    let load = record.load.as_mut().unwrap();
    let interval = load.intervals[0].clone();
    load.intervals =
        (0..86_400).map(|n| crate::record::LoadInterval { start_us: n * 1_000_000, ..interval.clone() }).collect();
    load.shards = (0..1_000)
        .map(|n| ShardLoad {
            shard: format!("shardId-{n:012}"),
            accepted: n,
            accepted_bytes: n,
            refusals: 0,
            read: n,
            share: n as f64 / 499_500.0,
            response: None,
        })
        .collect();
    for hop in &mut record.latency {
        hop.intervals = (0..86_400)
            .map(|n| LatencyInterval { start_us: n * 1_000_000, count: 9, p50_us: 10, p99_us: 20 + n, max_us: 30 + n })
            .collect();
    }
    let row = record.harness.intervals[0].clone();
    record.harness.intervals =
        (0..86_400).map(|n| HarnessInterval { start_us: n * 1_000_000, ..row.clone() }).collect();
    let page = render(&record);
    let drawn = page.split("<script type").next().unwrap().len();
    assert!(drawn < 600_000, "{drawn} bytes without the record");
    assert!(page.contains("400 intervals of the record") && page.contains("952 more are in the table"));
}

#[test]
fn the_same_record_gives_the_same_bytes() {
    assert_eq!(render(&sample::full()), render(&sample::full()));
}

/// Writes every sample's page where `MILLRACE_PAGES` says, to be looked at in a browser.
#[test]
fn pages_of_every_sample_can_be_written_for_a_look() {
    let folder = tempfile::tempdir().unwrap();
    let target = std::env::var_os("MILLRACE_PAGES").map_or_else(|| folder.path().to_owned(), Into::into);
    for (name, record) in every_sample() {
        let path = target.join(format!("{name}.html"));
        crate::files::write_atomic(&path, render(&record).as_bytes()).unwrap();
        record.write(&target).unwrap();
        assert!(path.metadata().unwrap().len() < 400_000, "{name}");
    }
}

use millrace_scenarios::SloMetric;

use super::*;
use crate::{
    record::{LedgerShard, OrderRecord},
    sample,
};

fn slo(metric: &str, max: f64) -> Slo {
    Slo { metric: metric.parse::<SloMetric>().unwrap(), max }
}

fn promise<'a>(verdict: &'a Verdict, name: &str) -> &'a Promise {
    verdict.promises.iter().find(|p| p.name == name).unwrap_or_else(|| panic!("no promise {name:?}: {verdict:?}"))
}

/// What can be wrong with a run, for the table of outcomes.
#[derive(Default, Clone, Copy)]
struct Faults {
    interrupted: bool,
    failed: bool,
    lost: bool,
    limited: bool,
    slow: bool,
}

fn outcome_of(faults: Faults) -> Outcome {
    let mut record = sample::full();
    if faults.lost {
        record.ledger.lost = 1;
    }
    if faults.limited {
        record.harness.limited_by = vec!["CPU 99 %".to_owned()];
    }
    let slos = [slo("response_p99_ms", if faults.slow { 0.001 } else { 1e6 })];
    let failure = faults.failed.then_some("disk full");
    judge(&Evidence { interrupted: faults.interrupted, failure, ..Evidence::of(&record, &slos) }).outcome
}

#[test]
fn the_worst_fault_decides_and_a_lost_record_outranks_the_harness_which_outranks_an_slo() {
    let none = Faults::default();
    let all = Faults { interrupted: true, failed: true, lost: true, limited: true, slow: true };
    for (faults, outcome, code) in [
        (none, Outcome::Kept, 0),
        (Faults { slow: true, ..none }, Outcome::Broken, 1),
        (Faults { limited: true, ..none }, Outcome::HarnessLimited, 4),
        (Faults { limited: true, slow: true, ..none }, Outcome::HarnessLimited, 4),
        (Faults { lost: true, ..none }, Outcome::Broken, 1),
        (Faults { lost: true, limited: true, slow: true, ..none }, Outcome::Broken, 1),
        (Faults { interrupted: false, ..all }, Outcome::Failed, 3),
        (all, Outcome::Interrupted, 130),
    ] {
        assert_eq!(outcome_of(faults), outcome);
        assert_eq!(outcome.exit_code(), code);
    }
}

#[test]
fn a_clean_run_keeps_every_promise_and_says_so_with_numbers() {
    let verdict = sample::full().verdict;
    assert_eq!((verdict.outcome, verdict.exit_code), (Outcome::Kept, 0));
    assert!(verdict.promises.iter().all(|p| p.kept), "{:#?}", verdict.promises);
    // Five ledger hops, the shards, no record lost, two answers, two SLOs, the harness, the environment.
    assert_eq!(verdict.promises.len(), 13);
    assert!(
        verdict.summary.starts_with("All 13 promises hold: 30,000 records due, 29,988 accepted, 0 lost"),
        "{}",
        verdict.summary
    );
}

#[test]
fn a_target_that_took_nothing_keeps_no_run() {
    let mut record = sample::full();
    if let Some(load) = &mut record.load {
        (load.accepted, load.refused) = (0, load.due);
    }
    let verdict = judge(&Evidence::of(&record, &[]));
    assert_eq!(verdict.outcome, Outcome::Broken);
    let broken = verdict.promises.iter().find(|promise| promise.kind == PromiseKind::Environment && !promise.kept);
    assert!(broken.unwrap().detail.starts_with("not one of 30,000 due records was accepted"), "{verdict:#?}");
}

#[test]
fn where_nobody_could_read_nothing_is_said_of_losses() {
    let mut record = sample::full();
    record.ledger.hops.retain(|hop| hop.hop == "producer");
    record.ledger.shards.clear();
    let verdict = judge(&Evidence::of(&record, &[]));
    assert!(verdict.promises.iter().all(|promise| !promise.name.contains("lost")), "{verdict:#?}");
    assert!(
        !verdict.summary.contains("0 lost") && verdict.summary.contains("nobody could read"),
        "{}",
        verdict.summary
    );
}

#[test]
fn the_order_of_keys_is_promised_where_it_was_asked_for() {
    let mut record = sample::full();
    let promise = |record: &RunRecord| {
        let promises = judge(&Evidence::of(record, &[])).promises;
        promises.into_iter().find(|promise| promise.kind == PromiseKind::Order)
    };
    assert_eq!(promise(&record), None);
    for (out_of_order, kept) in [(0, true), (3, false)] {
        record.load.as_mut().unwrap().order = Some(OrderRecord { keys: 310, checked: 29_988, out_of_order });
        let found = promise(&record).unwrap();
        assert_eq!(found.kept, kept);
        let detail = format!("{out_of_order} of 29,988 records read after a later one of their key, over 310 keys");
        assert_eq!(found.detail, detail);
    }
}

#[test]
fn broken_promises_come_first_and_the_summary_names_the_first() {
    let verdict = sample::broken().verdict;
    assert_eq!(verdict.outcome, Outcome::Broken);
    let broken: Vec<_> = verdict.promises.iter().take_while(|p| !p.kept).map(|p| p.name.as_str()).collect();
    assert_eq!(broken, ["delivery ledger", "worst cities answer", "response_p99_ms"]);
    assert!(verdict.promises[broken.len()..].iter().all(|p| p.kept));
    let want = "3 of 13 promises broken: delivery ledger: read 29,988 ≠ delivered 29,987 + errored 0 (difference 1); and 2 more.";
    assert_eq!(verdict.summary, want);
}

#[test]
fn an_slo_on_its_bound_is_kept_and_just_above_is_broken() {
    let mut record = sample::full();
    let load = record.load.as_mut().unwrap();
    (load.refused, load.window) = (30, None);
    for (max, kept) in [(0.001, true), (0.000_999, false)] {
        let slos = [slo("refused_share", max)];
        assert_eq!(promise(&judge(&Evidence::of(&record, &slos)), "refused_share").kept, kept);
    }
}

#[test]
fn every_metric_is_found_with_its_sample_size() {
    let mut record = sample::full();
    record.ledger.duplicated = 7;
    let load = record.load.as_mut().unwrap();
    (load.offered_rate, load.window) = (495.0, None);
    let p99 = record.latency.iter().find(|h| h.hop == Hop::Response).unwrap().value_at(99.0);
    let slos = [
        slo("response_p99_ms", 1e6),
        slo("refused_share", 0.01),
        slo("lost_records", 0.0),
        slo("duplicated_records", 5.0),
        slo("quarantined_records", 2.0),
        slo("rate_error_share", 0.02),
    ];
    let verdict = judge(&Evidence::of(&record, &slos));
    let response = promise(&verdict, "response_p99_ms");
    assert!(
        response
            .detail
            .starts_with(&format!("{} ms, at most 1,000,000 ms", crate::humanize::decimal(p99 as f64 / 1e3)))
    );
    assert!(response.detail.ends_with("(n = 29,988)"), "{}", response.detail);
    assert_eq!(promise(&verdict, "refused_share").detail, "0.0004, at most 0.01 (12 of 30,000 due)");
    assert!(promise(&verdict, "lost_records").kept);
    assert_eq!(promise(&verdict, "duplicated_records").detail, "7, at most 5 (n = 29,988 accepted)");
    assert_eq!(promise(&verdict, "quarantined_records").detail, "3, at most 2 (n = 29,988 lines compacted)");
    assert_eq!(
        promise(&verdict, "rate_error_share").detail,
        "0.01, at most 0.02 (offered 495/s of 500/s, n = 30,000 due)"
    );
}

#[test]
fn what_was_not_measured_is_broken_and_never_passes_silently() {
    let slos = [
        slo("response_p99_ms", 1e9),
        slo("committed_p50_ms", 1e9),
        slo("refused_share", 1.0),
        slo("quarantined_records", 1e9),
        slo("rate_error_share", 1e9),
    ];
    for record in [sample::zero(), sample::compact_only()] {
        let verdict = judge(&Evidence::of(&record, &slos));
        let found = |name| promise(&verdict, name);
        for name in ["response_p99_ms", "committed_p50_ms", "refused_share", "rate_error_share"] {
            assert!(!found(name).kept && found(name).detail.starts_with("not measured: "), "{:?}", found(name));
        }
        assert!(found("quarantined_records").kept);
        assert_eq!(verdict.outcome, Outcome::Broken);
    }
}

#[test]
fn a_percentile_beyond_the_sample_is_judged_by_the_maximum_and_says_so() {
    let record = sample::full();
    let slos = [slo("response_p99.9999_ms", 1e9)];
    let verdict = judge(&Evidence::of(&record, &slos));
    let detail = &promise(&verdict, "response_p99.9999_ms").detail;
    let max_us = record.latency.iter().find(|h| h.hop == Hop::Response).unwrap().max_us;
    assert!(detail.starts_with(&crate::humanize::decimal(max_us as f64 / 1e3)), "{detail}");
    assert!(detail.contains("too few for this percentile"), "{detail}");
}

#[test]
fn a_shard_that_gives_back_less_than_it_took_is_found_even_when_the_sum_is_right() {
    let mut record = sample::full();
    record.ledger.shards[0].read -= 5;
    record.ledger.shards[1].read += 5;
    let verdict = judge(&Evidence::of(&record, &[]));
    let shards = promise(&verdict, "shard ledger");
    assert!(!shards.kept && shards.detail.contains("1 of 4 shards gave back fewer"), "{shards:?}");

    let mut extra = sample::full();
    extra.ledger.shards.push(LedgerShard { shard: "x".to_owned(), accepted: 0, read: 9, duplicated: 0 });
    assert_eq!(judge(&Evidence::of(&extra, &[])).outcome, Outcome::Broken, "records that nobody sent");
    extra.ledger.unacknowledged = 9;
    assert_eq!(judge(&Evidence::of(&extra, &[])).outcome, Outcome::Kept, "explained by lost answers");
}

#[test]
fn a_lost_record_is_placed_in_the_sequence() {
    let mut record = sample::full();
    record.ledger.lost = 3;
    record.ledger.lost_ranges = vec![(1_200, 1_202)];
    let verdict = judge(&Evidence::of(&record, &[]));
    assert_eq!(
        promise(&verdict, "no record lost").detail,
        "3 records of 29,988 accepted never read, the first in sequence 1,200 to 1,202"
    );
}

#[test]
fn a_run_that_counted_nothing_proves_nothing() {
    let mut record = sample::full();
    record.ledger = Ledger::default();
    let verdict = judge(&Evidence::of(&record, &[]));
    assert_eq!(verdict.outcome, Outcome::Broken);
    assert!(!promise(&verdict, "ledger").kept);
}

#[test]
fn a_query_that_failed_or_was_not_asked_is_broken() {
    let mut record = sample::full();
    record.queries[0].measurements[1].error = Some("out of memory".to_owned());
    record.queries[1].measurements.clear();
    let verdict = judge(&Evidence::of(&record, &[]));
    assert_eq!(promise(&verdict, "by severity answer").detail, "Polars on raw lake failed: out of memory");
    assert!(!promise(&verdict, "worst cities answer").kept);
}

#[test]
fn the_harness_is_not_promised_where_no_load_ran() {
    let verdict = sample::compact_only().verdict;
    assert!(verdict.promises.iter().all(|p| p.kind != PromiseKind::Harness));
}

#[test]
fn interrupted_and_failed_runs_say_how_far_they_came() {
    let record = sample::full();
    let interrupted = judge(&Evidence { interrupted: true, ..Evidence::of(&record, &[]) });
    assert!(
        interrupted.summary.starts_with("The run was interrupted and is not gated; until then: 30,000 records due")
    );
    assert_eq!(interrupted.exit_code, 130);
    let failed = judge(&Evidence { failure: Some("disk full"), ..Evidence::of(&record, &[]) });
    assert!(failed.summary.starts_with("The run failed: disk full; until then: "), "{}", failed.summary);
    assert_eq!(promise(&failed, "run complete").detail, "disk full");
}

#[test]
fn slos_of_legs_that_did_not_run_are_set_aside_by_name() {
    let slos = [slo("response_p99_ms", 1.0), slo("committed_p50_ms", 1.0), slo("quarantined_records", 0.0)];
    let legs = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let (judged, aside) = answerable(&slos, &legs(&["compact"]));
    assert_eq!(judged, [slos[2].clone()]);
    assert_eq!(aside[0], "response_p99_ms was not judged, because the load leg did not run.");
    let (judged, aside) = answerable(&slos, &legs(&["load", "compact", "query"]));
    assert_eq!((judged.len(), aside.len()), (3, 0));
}

//! The plan by itself: windows, shares, and that nothing but seed and call number decides.

use millrace_scenarios::OPERATIONS;
use proptest::prelude::*;
use serde_json::json;

use super::*;

const SECOND_US: u64 = 1_000_000;

/// A plan of faults written as JSON, each from the first second to the third.
fn plan(faults: &[serde_json::Value], seed: u64) -> FaultPlan {
    let fault = |fault: &serde_json::Value| {
        let mut whole = json!({ "at": "1s", "for": "2s" });
        whole.as_object_mut().unwrap().extend(fault.as_object().unwrap().clone());
        serde_json::from_value(whole).unwrap()
    };
    FaultPlan::new(&faults.iter().map(fault).collect::<Vec<InjectedFault>>(), seed).unwrap()
}

fn at(plan: &FaultPlan, since_start_us: u64, call: u64) -> Decision {
    plan.decide(since_start_us, Operation::PutRecords, call, |_| {})
}

const UNTOUCHED: Decision = Decision { delay_us: 0, outcome: Outcome::Answered };

#[test]
fn a_fault_begins_and_ends_to_the_microsecond() {
    let plan = plan(&[json!({"kind": "error"})], 1);
    let failed = Decision { outcome: Outcome::Failed(ErrorKind::InternalFailure), ..UNTOUCHED };
    for (us, expected) in [
        (0, UNTOUCHED),
        (SECOND_US - 1, UNTOUCHED),
        (SECOND_US, failed),
        (3 * SECOND_US - 1, failed),
        (3 * SECOND_US, UNTOUCHED),
    ] {
        assert_eq!(at(&plan, us, 0), expected, "{us}");
    }
}

#[test]
fn a_stalled_call_waits_until_the_fault_is_over_and_is_answered_then() {
    let plan = plan(&[json!({"kind": "stall"})], 1);
    assert_eq!(at(&plan, 2 * SECOND_US + 1, 0), Decision { delay_us: SECOND_US - 1, ..UNTOUCHED });
}

#[test]
fn delays_add_up_and_the_first_end_that_is_written_is_taken_and_counted_alone() {
    let plan = plan(
        &[
            json!({"kind": "latency", "latency": "20ms"}),
            json!({"kind": "error", "status": 503}),
            json!({"kind": "drop"}),
            json!({"kind": "latency", "latency": "5ms"}),
        ],
        1,
    );
    let mut touched = Vec::new();
    let decision = plan.decide(SECOND_US, Operation::GetRecords, 0, |index| touched.push(index));
    let outcome = Outcome::Failed(ErrorKind::ServiceUnavailable);
    assert_eq!(decision, Decision { delay_us: 25_000, outcome });
    assert_eq!(touched, [0, 1, 3]);
}

#[test]
fn a_fault_that_is_narrowed_touches_no_other_operation() {
    let plan = plan(&[json!({"kind": "drop", "when": "after", "operations": ["GetRecords", "PutRecord"]})], 1);
    let outcome = |operation| plan.decide(SECOND_US, operation, 0, |_| {}).outcome;
    assert_eq!(outcome(Operation::GetRecords), Outcome::CutAfter);
    assert_eq!(outcome(Operation::PutRecord), Outcome::CutAfter);
    assert_eq!(outcome(Operation::PutRecords), Outcome::Answered);
}

#[test]
fn the_scenario_language_knows_every_operation_that_is_served_and_no_other() {
    for name in OPERATIONS {
        assert!(Operation::from_name(name).is_some(), "{name}");
    }
    let known: std::collections::BTreeSet<_> = OPERATIONS.into_iter().collect();
    assert_eq!(known.len(), Operation::COUNT);
}

#[test]
fn what_the_language_would_have_refused_is_an_error() {
    let fault: InjectedFault = serde_json::from_value(json!({"kind": "latency", "at": "1s", "for": "1s"})).unwrap();
    assert_eq!(FaultPlan::new(std::slice::from_ref(&fault), 1), Err(FaultPlanError::Latency));
    let fault = InjectedFault { kind: FaultKind::Stall, operations: vec!["PutAll".to_owned()], ..fault };
    assert_eq!(FaultPlan::new(&[fault], 1), Err(FaultPlanError::Operation("PutAll".to_owned())));
}

#[test]
fn nothing_goes_wrong_until_the_plan_begins_and_calls_are_counted_from_then() {
    let injector = Injector::new(plan(&[json!({"kind": "error"})], 1));
    assert_eq!(injector.decide(5 * SECOND_US, Operation::PutRecord), UNTOUCHED);
    injector.start(10 * SECOND_US);
    assert_eq!(injector.decide(10 * SECOND_US - 1, Operation::PutRecord), UNTOUCHED);
    assert_ne!(injector.decide(11 * SECOND_US, Operation::PutRecord), UNTOUCHED);
    assert_eq!(injector.decide(13 * SECOND_US, Operation::PutRecord), UNTOUCHED);
    let expected = FaultCount { kind: FaultKind::Error, from_us: SECOND_US, to_us: 3 * SECOND_US, calls: 1 };
    assert_eq!(injector.counts(), [expected]);
}

proptest! {
    #[test]
    fn a_share_of_calls_is_touched_within_the_bounds_of_a_binomial(seed: u64, percent in 1_u32..100) {
        let share = f64::from(percent) / 100.0;
        let plan = plan(&[json!({"kind": "drop", "share": share})], seed);
        let calls = 5_000;
        let outcomes: Vec<_> = (0..calls).map(|call| at(&plan, SECOND_US, call).outcome).collect();
        let count = |wanted: Outcome| outcomes.iter().filter(|outcome| **outcome == wanted).count() as f64;
        // Six standard deviations: one case of a billion lies beyond.
        let fits = |got: f64, p: f64| (got - calls as f64 * p).abs() <= 6.0 * (calls as f64 * p * (1.0 - p)).sqrt() + 1.0;
        prop_assert!(fits(count(Outcome::CutBefore) + count(Outcome::CutAfter), share));
        prop_assert!(fits(count(Outcome::CutBefore), share / 2.0));
        prop_assert!(fits(count(Outcome::CutAfter), share / 2.0));
    }

    #[test]
    fn the_same_seed_decides_the_same_and_another_seed_does_not(seed: u64) {
        let faults = [json!({"kind": "error", "share": 0.5}), json!({"kind": "latency", "distribution": "uniform",
            "min": "1ms", "max": "9ms", "share": 0.5})];
        let all = |seed| (0..200).map(|call| at(&plan(&faults, seed), SECOND_US, call)).collect::<Vec<_>>();
        prop_assert_eq!(all(seed), all(seed));
        prop_assert_ne!(all(seed), all(seed.wrapping_add(1)));
    }
}

#[test]
fn a_throttled_shard_refuses_its_share_while_the_fault_lasts_and_no_other_shard_does() {
    let throttle = |seed| {
        let fault = serde_json::json!({
            "kind": "throttle", "at": "10s", "for": "5s", "shard": 2, "share": 0.3, "operations": ["PutRecords"],
        });
        Injector::new(FaultPlan::new(&[serde_json::from_value(fault).unwrap()], seed).unwrap())
    };
    const ASKED: usize = 10_000;
    let refused = |injector: &Injector, at_us: u64, operation: Operation, shard: u32| -> Vec<bool> {
        (0..ASKED).map(|_| injector.throttles(at_us, &[Operation::PutRecord, operation], shard)).collect()
    };
    let count = |refused: &[bool]| refused.iter().filter(|refused| **refused).count();
    let injector = throttle(7);
    assert_eq!(count(&refused(&injector, 12_000_000, Operation::PutRecords, 2)), 0, "it has not begun");
    injector.start(0);
    let first = refused(&injector, 10_000_000, Operation::PutRecords, 2);
    // A binomial's five standard deviations are 229.
    assert!(count(&first).abs_diff(3_000) < 229, "{}", count(&first));
    assert_eq!(injector.counts()[0].calls, count(&first) as u64);
    for (at_us, operation, shard) in [
        (9_999_999, Operation::PutRecords, 2),
        (15_000_000, Operation::PutRecords, 2),
        (12_000_000, Operation::GetRecords, 2),
        (12_000_000, Operation::PutRecords, 1),
    ] {
        assert_eq!(count(&refused(&injector, at_us, operation, shard)), 0, "{at_us} {operation:?} {shard}");
    }
    let (same, other) = (throttle(7), throttle(8));
    same.start(0);
    other.start(0);
    assert_eq!(refused(&same, 14_999_999, Operation::PutRecords, 2), first);
    assert_ne!(refused(&other, 14_999_999, Operation::PutRecords, 2), first);
}

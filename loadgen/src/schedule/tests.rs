//! Known answers, closed forms against streams, and the statistics of what is random.

use millrace_scenarios::{Span, Stage};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::goodness::Fit;

/// A schedule as a scenario writes it.
fn of(load: serde_json::Value, seed: u64) -> Schedule {
    Schedule::new(&serde_json::from_value(load).unwrap(), seed)
}

fn constant(stages: serde_json::Value) -> Schedule {
    of(json!({"arrival": "constant", "stages": stages}), 1)
}

fn schedule(arrival: Arrival, stages: &[(f64, u64)], seed: u64) -> Schedule {
    let stages: Vec<Stage> = stages.iter().map(|(rate, ms)| Stage::constant(*rate, Span::from_millis(*ms))).collect();
    let mut load: Load = serde_json::from_value(serde_json::json!({"stages": []})).unwrap();
    load.arrival = arrival;
    load.stages = stages;
    Schedule::new(&load, seed)
}

#[test]
fn constant_due_times_are_exact_and_stages_chain_without_a_gap() {
    let s = schedule(Arrival::Constant, &[(1_000.0, 3), (0.0, 2), (500.0, 6)], 1);
    assert_eq!(s.iter().collect::<Vec<_>>(), [0, 1_000, 2_000, 5_000, 7_000, 9_000]);
    assert_eq!(s.total_us(), 11_000);
    assert_eq!(s.expected_total(), 6.0);
    for (k, due) in s.iter().enumerate() {
        assert_eq!(s.due_us(k as u64), Some(due));
    }
    assert_eq!(s.due_us(6), None);
    assert_eq!((s.rate_at(0), s.rate_at(3_500), s.rate_at(5_000), s.rate_at(11_000)), (1_000.0, 0.0, 500.0, 0.0));
}

#[test]
fn a_rate_that_does_not_divide_a_second_does_not_drift() {
    let s = schedule(Arrival::Constant, &[(3.0, 3_600_000)], 1);
    assert_eq!(s.iter().count(), 10_800);
    assert_eq!(s.due_us(10_799), Some(3_599_666_667));
    assert_eq!(s.due_us(3_000), Some(1_000_000_000));
}

#[test]
fn an_empty_or_silent_schedule_is_over_at_once() {
    assert_eq!(schedule(Arrival::Constant, &[], 1).iter().count(), 0);
    assert_eq!(schedule(Arrival::Poisson, &[(0.0, 1_000), (f64::NAN, 1_000)], 1).iter().count(), 0);
    assert_eq!(schedule(Arrival::Poisson, &[], 1).target_rate(), 0.0);
    assert_eq!(schedule(Arrival::Constant, &[(10.0, 1_000), (0.0, 500)], 1).iter().count(), 10);
}

#[test]
fn the_same_seed_gives_the_same_times_and_another_seed_does_not() {
    let of = |seed| schedule(Arrival::Poisson, &[(1_000.0, 2_000)], seed).iter().collect::<Vec<_>>();
    assert_eq!(of(7), of(7));
    assert_ne!(of(7), of(8));
}

#[test]
fn the_first_poisson_times_of_a_seed_never_change() {
    let s = schedule(Arrival::Poisson, &[(1_000.0, 60_000)], 42);
    assert_eq!(s.iter().take(4).collect::<Vec<_>>(), [1_420, 1_548, 1_686, 3_145]);
}

/// Gaps rescaled by N, which for a Poisson process of any rate are unit exponentials.
fn rescaled_gaps(s: &Schedule) -> Vec<f64> {
    let mass: Vec<f64> = s.iter().map(|due_us| s.expected_by(due_us)).collect();
    mass.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn poisson_gaps_of_every_shape_pass_both_tests_of_fit_at_one_percent() {
    // About 50,000 records each, slow enough that a microsecond is a small part of a gap.
    let shapes = [
        json!([{"rate": 10, "for": "5000s"}]),
        json!([{"shape": "ramp", "rate": 0, "to": 20, "for": "5000s"}]),
        json!([{"shape": "ramp", "rate": 20, "to": 0, "for": "5000s"}]),
        json!([{"shape": "steps", "rate": 1, "to": 19, "steps": 10, "for": "5000s"}]),
        json!([{"shape": "spike", "rate": 2, "peak": 30, "width": "1400s", "for": "5000s"}]),
        json!([{"shape": "sine", "rate": 10, "amplitude": 1, "period": "700s", "phase": 0.75, "for": "5000s"}]),
        json!([
            {"rate": 5, "for": "2000s"},
            {"rate": 0, "for": "100s"},
            {"shape": "ramp", "rate": 5, "to": 30, "count": 20_000},
            {"shape": "sine", "rate": 20, "amplitude": 0.5, "period": "60s", "for": "1000s"},
        ]),
    ];
    for stages in shapes {
        for seed in [1, 42, 99] {
            let s = of(json!({"stages": stages}), seed);
            let fit = Fit::of_unit_exponential(&rescaled_gaps(&s));
            assert!(fit.gaps > 40_000 && fit.passes(), "seed {seed} of {stages}: {fit:?}");
        }
    }
}

/// The same test refuses a process of the right mean and the wrong course: it can fail.
#[test]
fn gaps_rescaled_by_another_shape_are_refused() {
    let ramp = of(json!({"stages": [{"shape": "ramp", "rate": 0, "to": 20, "for": "5000s"}]}), 1);
    let flat = schedule(Arrival::Poisson, &[(10.0, 5_000_000)], 1);
    let mass: Vec<f64> = ramp.iter().map(|due_us| flat.expected_by(due_us)).collect();
    let gaps: Vec<f64> = mass.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let fit = Fit::of_unit_exponential(&gaps);
    assert!(!fit.passes_ks() && !fit.passes_ad(), "{fit:?}");
}

#[test]
fn poisson_counts_have_the_mean_and_variance_of_their_stage() {
    let counts: Vec<f64> = (0..400)
        .map(|seed| {
            let s = schedule(Arrival::Poisson, &[(50.0, 2_000), (1_000.0, 500)], seed);
            s.iter().filter(|due| *due >= 2_000_000).count() as f64
        })
        .collect();
    let n = counts.len() as f64;
    let mean = counts.iter().sum::<f64>() / n;
    let variance = counts.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / (n - 1.0);
    // 500 expected; the mean of 400 has a standard deviation of 1.12, the variance one of 35.
    assert!((mean - 500.0).abs() < 5.0 * 1.12, "{mean}");
    assert!((variance - 500.0).abs() < 5.0 * 35.4, "{variance}");
}

proptest! {
    #[test]
    fn n_of_a_due_time_gives_back_its_number(rates in prop::collection::vec((0.5_f64..5_000.0, 1_u64..3_000), 1..5)) {
        let s = schedule(Arrival::Constant, &rates, 1);
        let mut last = None;
        for (k, due) in s.iter().enumerate() {
            let rate = s.rate_at(due).max(1.0);
            // A due time is rounded by half a microsecond, and around a bend the other stage's rate counts.
            let slack = rates.iter().map(|r| r.0).fold(rate, f64::max) * 1e-6 + 1e-6;
            prop_assert!((s.expected_by(due) - k as f64).abs() <= slack, "{} at {}", k, due);
            prop_assert!(last.is_none_or(|l| due > l), "strictly increasing");
            prop_assert!(due < s.total_us());
            last = Some(due);
        }
        let count = last.map_or(0, |_| s.iter().count()) as f64;
        prop_assert!((count - s.expected_total()).abs() <= 1.0);
    }

    #[test]
    fn poisson_times_never_go_back_and_stay_inside(rate in 0.5_f64..20_000.0, seed: u64) {
        let s = schedule(Arrival::Poisson, &[(rate, 100), (rate / 2.0, 200)], seed);
        let due: Vec<u64> = s.iter().collect();
        prop_assert!(due.is_sorted());
        prop_assert!(due.last().is_none_or(|d| *d < s.total_us()));
    }
}

#[test]
fn the_due_times_of_every_shape_are_those_worked_out_by_hand() {
    let ms = |s: &Schedule| s.iter().map(|us| us / 1_000).collect::<Vec<_>>();
    // N = 2 t²: record k at √(k / 2) s.
    let up = constant(json!([{"shape": "ramp", "rate": 0, "to": 8, "for": "2s"}]));
    assert_eq!(ms(&up), [0, 707, 1_000, 1_224, 1_414, 1_581, 1_732, 1_870]);
    let steps = constant(json!([{"shape": "steps", "rate": 2, "to": 6, "steps": 3, "for": "3s"}]));
    assert_eq!(ms(&steps), [0, 500, 1_000, 1_250, 1_500, 1_750, 2_000, 2_166, 2_333, 2_500, 2_666, 2_833]);
    let spike = constant(json!([{"shape": "spike", "rate": 1, "peak": 4, "width": "1s", "for": "3s"}]));
    assert_eq!(ms(&spike), [0, 1_000, 1_250, 1_500, 1_750, 2_000]);
    // Half the records of a wave that starts in its trough are due in its first half, the first where t - 2/π sin(πt/2) = 1/100.
    let sine = constant(json!([
        {"shape": "sine", "rate": 100, "amplitude": 1, "period": "4s", "phase": 0.75, "for": "4s"}
    ]));
    assert_eq!((sine.iter().count(), sine.due_us(200)), (400, Some(2_000_000)));
    assert!((290_700..290_760).contains(&sine.due_us(1).unwrap()) && (sine.rate_at(2_000_000) - 200.0).abs() < 1e-9);
}

/// The due times of a run are the same on every machine, to the bit: its sines come from `libm`.
#[test]
fn the_due_times_of_a_sine_never_change() {
    let day = json!([{"shape": "sine", "rate": 700, "amplitude": 0.9, "period": "24h", "phase": 0.75, "for": "48h"}]);
    let s = constant(day);
    let found = [1, 1_000, 30_000_000, 60_480_000, 100_000_000].map(|k| s.due_us(k));
    assert_eq!(found, SINE_GOLDEN.map(Some));
}
/// Worked out apart from this code, by bisection of N in another language.
const SINE_GOLDEN: [u64; 5] = [14_286, 14_285_691, 43_019_546_419, 86_400_000_000, 136_726_541_739];

#[test]
fn a_long_fast_schedule_does_not_drift() {
    // Ten hours at 200,000 a second: record k is due at 5 k microseconds, also the last of 7.2 billion.
    let s = constant(json!([{"rate": 200_000, "for": "10h"}]));
    let mut due = s.iter();
    for (skipped, k) in [(0, 0), (999_999, 1_000_000), (7_198_999_998, 7_199_999_999_u64)] {
        assert_eq!((due.nth(skipped), s.due_us(k)), (Some(5 * k), Some(5 * k)), "{k}");
    }
    assert_eq!(due.next(), None);
    // An hour of a rate that does not divide a second, in three stages.
    let s =
        constant(json!([{"rate": 199_999, "count": 300_000_007}, {"rate": 0, "for": "1s"}, {"rate": 7, "for": "1s"}]));
    assert_eq!(s.iter().nth(300_000_006), Some((300_000_006_f64 * 1e6 / 199_999.0).round() as u64));
    assert_eq!(s.iter().skip(300_000_007).count(), 7);
}

#[test]
fn the_slices_of_all_workers_are_the_whole_schedule() {
    let stages =
        json!([{"rate": 300, "for": "2s"}, {"shape": "sine", "rate": 90, "amplitude": 1, "period": "1s", "for": "3s"}]);
    for arrival in ["constant", "poisson"] {
        let s = of(json!({"arrival": arrival, "stages": stages}), 5);
        let whole: Vec<(u64, u64)> = (0..).zip(s.iter()).collect();
        for workers in [1, 2, 3, 7, 2_000] {
            let mut union: Vec<(u64, u64)> = (0..workers).flat_map(|worker| s.slice(worker, workers)).collect();
            union.sort_unstable();
            assert_eq!(union, whole, "{workers} workers, {arrival}");
        }
        assert_eq!((s.slice(2, 2).count(), s.slice(0, 0).count()), (0, 0));
    }
    let even = constant(json!([{"rate": 1_000, "for": "1s"}]));
    assert!(even.slice(3, 4).all(|(k, due_us)| due_us == k * 1_000 && k % 4 == 3), "staggered by a fourth of the gap");
}

#[test]
fn a_byte_schedule_keeps_its_bytes_whatever_the_sizes() {
    // Sizes from 1 to 3,999 bytes at 50,000 bytes a second for 40 s: two million bytes.
    for arrival in ["constant", "poisson"] {
        let s = of(json!({"arrival": arrival, "unit": "bytes", "stages": [{"rate": 50_000, "for": "40s"}]}), 3);
        let (mut due, mut sent, mut last, mut size) = (s.iter(), 0, 0, 0);
        while let Some(due_us) = due.next_due(size) {
            if arrival == "constant" {
                assert_eq!(due_us, sent * 20, "the bytes before it take 20 us each");
            }
            assert!(due_us >= last);
            last = due_us;
            size = (sent * 7_919 + 1) % 3_999 + 1;
            sent += size;
        }
        // About 1,000 records; a Poisson count of bytes has a standard deviation of about √1000 · 2,300 bytes.
        let slack = if arrival == "constant" { 4_000.0 } else { 4.0 * 73_000.0 };
        assert!((sent as f64 - 2e6).abs() < slack, "{arrival}: {sent}");
    }
}

/// A stage of any shape, at most a few thousand records.
fn any_stage() -> impl Strategy<Value = serde_json::Value> {
    let rate = 0.0_f64..3_000.0;
    let span = (1_u64..800_000).prop_map(|us| format!("{us}us"));
    let length = prop_oneof![
        span.clone().prop_map(|span| ("for", json!(span))),
        (1_u64..2_000).prop_map(|count| ("count", json!(count))),
    ];
    let stage = |shape: &str, fields: serde_json::Value, (length, value): (&str, serde_json::Value)| {
        let mut stage = fields;
        stage["shape"] = json!(shape);
        stage[length] = value;
        stage
    };
    prop_oneof![
        (1.0_f64..3_000.0, length.clone()).prop_map(move |(r, l)| stage("constant", json!({"rate": r}), l)),
        span.clone().prop_map(move |s| stage("constant", json!({"rate": 0}), ("for", json!(s)))),
        (rate.clone(), 1.0_f64..3_000.0, length.clone()).prop_map(move |(r, to, l)| stage(
            "ramp",
            json!({"rate": r, "to": to}),
            l
        )),
        (1.0_f64..3_000.0, span.clone()).prop_map(move |(r, s)| stage(
            "ramp",
            json!({"rate": r, "to": 0}),
            ("for", json!(s))
        )),
        (rate.clone(), 1.0_f64..3_000.0, 2_u32..20, length).prop_map(move |(r, to, n, l)| stage(
            "steps",
            json!({"rate": r, "to": to, "steps": n}),
            l
        )),
        (rate.clone(), 1.0_f64..3_000.0, 2_u64..800_000, 0.01_f64..0.99).prop_map(move |(r, peak, us, share)| {
            let width = format!("{}us", ((us as f64 * share) as u64).max(1));
            stage("spike", json!({"rate": r, "peak": peak, "width": width}), ("for", json!(format!("{us}us"))))
        }),
        (1.0_f64..3_000.0, 0.0_f64..=1.0, 1_000_u64..2_000_000, 0.0_f64..=1.0, span).prop_map(
            move |(r, amplitude, period, phase, s)| {
                let period = format!("{period}us");
                let fields = json!({"rate": r, "amplitude": amplitude, "period": period, "phase": phase});
                stage("sine", fields, ("for", json!(s)))
            }
        ),
    ]
}

proptest! {
    #[test]
    fn any_chain_of_shapes_is_inverted_exactly_and_counts_its_integral(
        stages in prop::collection::vec(any_stage(), 1..6),
    ) {
        let s = constant(json!(stages));
        let typed: Vec<Stage> = serde_json::from_value(json!(stages)).unwrap();
        let highest = typed.iter().map(Stage::highest_rate).fold(1.0, f64::max);
        // Half a microsecond of rounding at the highest rate on either side of a bend, and the noise of sums.
        let slack = highest * 1e-6 + 1e-6;
        let mut last = None;
        let mut count = 0_u64;
        for (k, due) in (0_u64..).zip(s.iter()) {
            prop_assert!((s.expected_by(due) - k as f64).abs() <= slack, "{} at {}: {}", k, due, s.expected_by(due));
            prop_assert!(last.is_none_or(|last| due > last), "strictly increasing at {}", k);
            prop_assert!(due < s.total_us());
            prop_assert_eq!(s.due_us(k), Some(due), "the closed form of {}", k);
            (last, count) = (Some(due), k + 1);
        }
        prop_assert_eq!(s.due_us(count), None);
        prop_assert!((count as f64 - s.expected_total().ceil()).abs() <= f64::from(u8::from(
            (s.expected_total() - s.expected_total().round()).abs() < slack * 2.0
        )), "{} of {}", count, s.expected_total());
    }

    /// The integral worked out another way: the sum of the rate over small steps.
    #[test]
    fn n_is_the_integral_of_the_rate(stages in prop::collection::vec(any_stage(), 1..4)) {
        let s = constant(json!(stages));
        const STEPS: u64 = 20_000;
        let step_us = s.total_us() as f64 / STEPS as f64;
        let (mut sum, mut jumps) = (0.0, 0.0);
        let mut before = s.rate_at(0);
        for step in 0..STEPS {
            let rate = s.rate_at(((step as f64 + 0.5) * step_us) as u64);
            sum += rate * step_us / 1e6;
            // A step over a bend is off by at most the jump; a smooth one by far less.
            jumps += (rate - before).abs() * (step_us + 1.0) / 1e6;
            before = rate;
        }
        prop_assert!((sum - s.expected_total()).abs() <= jumps + 0.02 + sum * 1e-3, "{} {}", sum, s.expected_total());
    }

    #[test]
    fn poisson_times_of_any_chain_never_go_back_and_skipping_changes_nothing(
        stages in prop::collection::vec(any_stage(), 1..5), seed: u64, skipped in 0_usize..500, step in 1_usize..50,
    ) {
        for arrival in ["constant", "poisson"] {
            let s = of(json!({"arrival": arrival, "stages": stages}), seed);
            let due: Vec<u64> = s.iter().collect();
            prop_assert!(due.is_sorted() && due.last().is_none_or(|d| *d < s.total_us()));
            let found: Vec<u64> = s.iter().skip(skipped).step_by(step).collect();
            let expected: Vec<u64> = due.into_iter().skip(skipped).step_by(step).collect();
            prop_assert_eq!(found, expected);
        }
    }
}

//! The gate: while the target stands still, the records that were due go on to wait, and all of them are counted.
//!
//! A load generator that sends its next request when the last one is answered stops asking while the target stalls.
//! Its thousand requests then hold one slow one where a thousand users, who come when they come, would have met a
//! hundred: *coordinated omission*. Millrace measures from the time each record was **due**, so a stall must show as the
//! ramp that it is:
//!
//! ```text
//!   response
//!     L+S |        .                     each dot one record: due early in the stall, it waits
//!         |        |\                    long; due d before the stall's end, it waits d + S
//!         |        | \
//!         |        |  \        .
//!         |        |   \       |\
//!       S |________|    \______| \______________      S: time the target takes for any call
//!         +--------[-----]-----[--]-------------> due
//!                   stall L₁   stall L₂
//! ```
//!
//! The test is the target, so all of it can be worked out by hand. Of the records due in T, those whose response is
//! longer than x (above S) are those due in the first L + S - x of each stall:
//!
//! ```text
//!   share above x = ((L₁ + S - x)⁺ + (L₂ + S - x)⁺) / T        p50 = S, p99: share = 0.01, p99.9: share = 0.001
//! ```
//!
//! With few calls at once a queue builds up behind each stall; then the answers follow from [`queue`], four lines
//! of arithmetic. What Millrace measured must be within 2 % of it at p50, p99 and p99.9, however few calls it may have
//! under way; what a closed loop measures must not be, or this test could not fail.

#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used, reason = "a test")]

mod support;

use std::{
    sync::{LazyLock, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use millrace_loadgen::LoadOutcome;
use millrace_scenarios::Hop;
use serde_json::json;
use support::{Behaviour, Stall, Trial, hop};

/// Time the target takes for any call: 2 % of it is more than one call costs on two busy cores.
const SERVICE_US: u64 = 70_000;
/// The same for the closed loop, which needs a thousand calls to have a p99.
const CLOSED_SERVICE_US: u64 = 50_000;
/// Length of the load.
const TOTAL_US: u64 = 60_000_000;
/// The percentiles that are compared.
const PERCENTILES: [f64; 3] = [50.0, 99.0, 99.9];
/// How far a measured percentile may be off.
const TOLERANCE: f64 = 0.02;
/// A run on a machine that wakes one sleeper in a hundred later than this may be repeated: it is the machine that is
/// off by as much as p50 may be.
const HICCUP_BOUND_US: u64 = 1_000;
/// How often at most a run is made.
const ATTEMPTS: usize = 3;

/// Stalls of 1 s and 0.6 s. They begin between two due times, so that no record is due at the very edge.
fn behaviour(service_us: u64) -> Behaviour {
    let stall = |from_us: u64, length_us| Stall { from_us, until_us: from_us + length_us };
    let stalls = vec![stall(10_000_000 - 1_000, 1_000_000), stall(25_000_000 - 1_000, 600_000)];
    Behaviour { service_us, stalls }
}

/// The times of a constant load by hand, sorted.
struct ByHand {
    lag: Vec<u64>,
    response: Vec<u64>,
}

/// A record is sent when it is due, or when the call `in_flight` places before it is answered, whichever is later.
fn queue(rate: u64, in_flight: usize, service_us: u64) -> ByHand {
    let target = behaviour(service_us);
    let (mut answered, mut lag, mut response) = (Vec::new(), Vec::new(), Vec::new());
    for k in 0..rate * TOTAL_US / 1_000_000 {
        let due_us = k * 1_000_000 / rate;
        let free_us = answered.len().checked_sub(in_flight).map_or(0, |before| answered[before]);
        let sent_us = due_us.max(free_us);
        let answer_us = target.answer_us(sent_us);
        answered.push(answer_us);
        lag.push(sent_us - due_us);
        response.push(answer_us - due_us);
    }
    lag.sort_unstable();
    response.sort_unstable();
    ByHand { lag, response }
}

/// The value that `percentile` % of the sorted values do not exceed; the largest where fewer than ten lie above it, as
/// Millrace does.
fn at(sorted: &[u64], percentile: f64) -> f64 {
    let rank = (percentile / 100.0 * sorted.len() as f64).ceil() as usize;
    let supported = sorted.len() - rank >= 10;
    sorted[if supported { rank.max(1) } else { sorted.len() } - 1] as f64
}

/// The same from the formula in the head of this file, for a target that all records reach at once.
fn by_formula(percentile: f64) -> f64 {
    let above = (1.0 - percentile / 100.0) * TOTAL_US as f64;
    let ends: Vec<f64> =
        behaviour(SERVICE_US).stalls.iter().map(|stall| (stall.until_us - stall.from_us + SERVICE_US) as f64).collect();
    let longer_than = |x: f64| ends.iter().map(|end| (end - x).max(0.0)).sum::<f64>();
    (SERVICE_US..1_100_000).map(|x| x as f64).find(|x| longer_than(*x) <= above).unwrap()
}

fn run(rate: u64, in_flight: usize, service_us: u64) -> LoadOutcome {
    let load = json!({"arrival": "constant", "stages": [{"rate": rate, "for": "60s"}], "linger": "0s",
                      "batch_records": 1, "in_flight": in_flight});
    Trial { behaviour: behaviour(service_us), load, interval: Duration::from_secs(1) }.run()
}

/// How far each percentile of a hop is from what it should be, as a share of that.
fn errors(outcome: &LoadOutcome, which: Hop, want: &[u64]) -> [f64; 3] {
    let measured = hop(outcome, which);
    PERCENTILES.map(|percentile| {
        let (got, want) = (measured.value_at(percentile) as f64, at(want, percentile));
        println!("{which} p{percentile}: measured {:.2} ms, by hand {:.2} ms", got / 1e3, want / 1e3);
        got / want - 1.0
    })
}

/// A load of this file: its rate, its calls at once, and the time its target takes for any call.
type Case = (u64, usize, u64);
const OPEN: Case = (200, 1_000, SERVICE_US);
const FOUR_AT_ONCE: Case = (40, 4, SERVICE_US);
const CLOSED: Case = (18, 1, CLOSED_SERVICE_US);

type Running = (Case, Mutex<Option<JoinHandle<LoadOutcome>>>);
/// All of them run at once from the first test on: three loads are less than 300 calls a second, and take a minute each.
static LOADS: LazyLock<[Running; 3]> = LazyLock::new(|| {
    [OPEN, FOUR_AT_ONCE, CLOSED].map(|case| {
        let load = thread::spawn(move || run(case.0, case.1, case.2));
        (case, Mutex::new(Some(load)))
    })
});

/// The outcome of the case's first run.
fn first_run(case: Case) -> LoadOutcome {
    let (_, load) = LOADS.iter().find(|(of, _)| *of == case).unwrap();
    let load = load.lock().unwrap().take();
    load.unwrap().join().unwrap()
}

/// Runs until the response times are right; only a run on a machine that does not keep time may be made again. A run
/// that was merely late may not: with few calls at once lag is what must come out.
fn right_answers(case: Case) -> LoadOutcome {
    let (rate, in_flight, service_us) = case;
    let want = queue(rate, in_flight, service_us).response;
    for attempt in 1..=ATTEMPTS {
        let outcome = if attempt == 1 { first_run(case) } else { run(rate, in_flight, service_us) };
        let errors = errors(&outcome, Hop::Response, &want);
        if errors.iter().all(|error| error.abs() <= TOLERANCE) {
            return outcome;
        }
        let harness = &outcome.harness;
        println!("attempt {attempt}: off by {errors:.4?}, {harness:?}");
        assert!(harness.hiccup_p99_us > HICCUP_BOUND_US, "a fit machine measured wrong: {errors:.4?}");
    }
    panic!("the machine was never fit to measure");
}

#[test]
fn the_response_times_of_a_stalling_target_are_the_ones_worked_out_by_hand() {
    let (rate, in_flight, service_us) = OPEN;
    let want = queue(rate, in_flight, service_us).response;
    for percentile in PERCENTILES {
        let (formula, queue) = (by_formula(percentile), at(&want, percentile));
        assert!((queue / formula - 1.0).abs() < 0.01, "two ways to one answer: {formula} {queue}");
    }
    let outcome = right_answers(OPEN);
    assert_eq!(hop(&outcome, Hop::Response).count, 12_000);
    assert!(hop(&outcome, Hop::Response).supports(99.9), "enough samples for what is compared");
    assert!(outcome.harness.limited_by.is_empty(), "{:?}", outcome.harness);
}

#[test]
fn with_four_calls_at_once_lag_grows_and_the_response_times_stay_right() {
    let (rate, in_flight, service_us) = FOUR_AT_ONCE;
    let want = queue(rate, in_flight, service_us);
    let outcome = right_answers(FOUR_AT_ONCE);
    // The records that found no free call: lag says how long they waited for one.
    let [_, p99, _] = errors(&outcome, Hop::Lag, &want.lag);
    assert!(p99.abs() <= TOLERANCE, "{p99}");
    // Four calls per stall were slow, and no more: by service time the stalls all but vanish.
    let [_, p99, _] = errors(&outcome, Hop::Service, &want.response);
    assert!(p99 < -0.8, "{p99}");
    assert!(outcome.harness.limited_by[0].contains("waited for a free call"), "{:?}", outcome.harness);
}

#[test]
fn a_closed_loop_that_counts_service_times_is_wrong_by_far_and_fails_this_gate() {
    let (rate, in_flight, service_us) = CLOSED;
    let outcome = first_run(CLOSED);
    // One call per stall is slow. The users who came meanwhile are not asked.
    let [_, p99, _] = errors(&outcome, Hop::Service, &queue(rate, 1_000, service_us).response);
    assert!(p99 < -0.8, "the closed loop sees less than a fifth of what was waited: {p99}");
    // The same calls, timed from when their records were due, tell the truth.
    let [p50, p99, longest] = errors(&outcome, Hop::Response, &queue(rate, in_flight, service_us).response);
    assert!([p50, p99, longest].iter().all(|error| error.abs() <= TOLERANCE), "{p50} {p99} {longest}");
}

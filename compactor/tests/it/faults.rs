//! Every request to the table's store goes wrong once, in each way a request can; and the lake changes under the reader.
//!
//! Of the sweeps over requests every fifth is taken; `MILLRACE_FAULTS=all` takes every one.

use std::sync::atomic::Ordering;

use millrace_compactor::Compactor;
use millrace_scenarios::{Keep, Table};

use crate::{
    faulty::{Fault, FaultyStore},
    support::{Row, World, reading, readings},
};

/// Two waves of objects: the second updates rows of the first, so that its commit takes files out.
fn put(world: &World, wave: u64) {
    for object in 0..3 {
        let first = 100 - wave * 10 + object * 3;
        let lines = [
            reading(&format!("id{object}"), first, "Hull"),
            format!("bad {wave} {object}"),
            reading(&format!("id{wave}-{object}"), first + 1, "York"),
        ];
        world.put_lines(&format!("{wave}/{object}.gz"), &lines);
    }
}

fn quarantine(world: &World) -> Vec<(String, String)> {
    world.quarantine().into_iter().map(|row| (row["object"].clone(), row["line"].clone())).collect()
}

async fn undisturbed(spec: &Table) -> (Vec<Row>, Vec<(String, String)>) {
    let world = World::new();
    for wave in 0..2 {
        put(&world, wave);
        world.pass(spec).await;
    }
    (world.rows(), quarantine(&world))
}

/// The distance between the requests that are tried.
pub(crate) fn step() -> u64 {
    if std::env::var_os("MILLRACE_FAULTS").is_some() { 1 } else { 5 }
}

/// One pass with the `at`-th request gone wrong; whether so many were made, and whether the pass came through.
async fn disturbed(world: &World, spec: &Table, fault: Fault, at: u64) -> (bool, bool) {
    let mut config = world.config(spec).await;
    config.batch_objects = 2;
    let (table, requests) = FaultyStore::over(&config.table, fault, at);
    config.table = table;
    let outcome = match Compactor::open(config).await {
        Ok(mut compactor) => compactor.pass(None).await.map(|_| ()),
        Err(error) => Err(error),
    };
    if let Err(error) = &outcome {
        assert!(!error.is_configuration() && !error.is_conservation(), "{fault:?} at {at}: {error}");
    }
    (requests.load(Ordering::Relaxed) >= at, outcome.is_ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_request_fails_in_whichever_way_the_next_pass_ends_in_the_same_table() {
    let spec = readings(Keep::First, true);
    let (rows, bad) = undisturbed(&spec).await;
    for (number, fault) in [Fault::Refused, Fault::AnswerLost, Fault::Gone].into_iter().enumerate() {
        let (mut at, mut tried, mut survived) = (number as u64, 0, 0);
        loop {
            at += step();
            tried += 1;
            let world = World::new();
            put(&world, 0);
            let first = disturbed(&world, &spec, fault, at).await;
            put(&world, 1);
            // The same request of the next pass fails as well.
            let second = disturbed(&world, &spec, fault, at).await;
            world.pass(&spec).await;
            assert_eq!(world.rows(), rows, "{fault:?} at request {at}");
            assert_eq!(quarantine(&world), bad, "{fault:?} at request {at}");
            assert_eq!(world.pass(&spec).await.lines, 0, "{fault:?} at request {at}");
            survived += u64::from(first.1) + u64::from(second.1);
            if !first.0 && !second.0 {
                break;
            }
        }
        println!(
            "{fault:?}: {tried} of {at} requests failed in two passes each; {survived} passes came through all the same"
        );
        assert!(at > 30, "{fault:?}: only {at} requests");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_request_to_the_lake_fails_nothing_is_taken_by_halves() {
    let spec = readings(Keep::First, true);
    let (rows, bad) = undisturbed(&spec).await;
    for fault in [Fault::Refused, Fault::Gone] {
        for at in 1.. {
            let world = World::new();
            put(&world, 0);
            put(&world, 1);
            let mut config = world.config(&spec).await;
            config.batch_objects = 2;
            let (lake, requests) = FaultyStore::over(&config.lake, fault, at);
            config.lake = lake;
            let outcome = Compactor::open(config).await.unwrap().pass(None).await;
            let made = requests.load(Ordering::Relaxed) >= at;
            assert_eq!(outcome.is_err(), made, "{fault:?} at {at}: {outcome:?}");
            world.pass(&spec).await;
            assert_eq!((world.rows(), quarantine(&world)), (rows.clone(), bad.clone()), "{fault:?} at {at}");
            if !made {
                println!("lake, {fault:?}: each of {} requests failed once", at - 1);
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_rules_on_a_table_are_refused_and_the_old_ones_go_on() {
    let spec = readings(Keep::First, true);
    let world = World::new();
    put(&world, 0);
    world.pass(&spec).await;
    for (other, word) in
        [(readings(Keep::Last, true), "dedup"), (Table { derive: derived_otherwise(), ..spec.clone() }, "derive")]
    {
        let refused = Compactor::open(world.config(&other).await).await;
        let error = refused.err().expect("other rules");
        assert!(error.is_configuration(), "{error}");
        assert!(error.to_string().contains(word) && error.to_string().contains("00001.json"), "{error}");
    }
    put(&world, 1);
    assert_eq!(world.pass(&spec).await.objects, 3);
}

fn derived_otherwise() -> Vec<millrace_scenarios::Derive> {
    let mut derive = readings(Keep::First, true).derive;
    derive[0].part = millrace_scenarios::TimePart::Month;
    derive
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_compactors_that_finish_one_manifest_one_reports_it() {
    let spec = readings(Keep::First, true);
    for round in 0..8 {
        let world = World::new();
        put(&world, 0);
        world.pass_until(&spec, millrace_compactor::compact::FailPoint::AfterManifest).await;
        let (mut one, mut two) = (world.open(&spec).await, world.open(&spec).await);
        let (first, second) = tokio::join!(one.pass(None), two.pass(None));
        let (first, second) = (first.unwrap(), second.unwrap());
        let sum = |of: fn(&millrace_compactor::PassReport) -> u64| of(&first) + of(&second);
        assert_eq!(sum(|report| report.commits), 1, "round {round}: {first:?} {second:?}");
        assert_eq!(sum(|report| report.objects), 3, "round {round}");
        assert_eq!(sum(|report| report.rows), world.rows().len() as u64, "round {round}");
    }
}

//! The lake changes while it is being taken: objects come, go, and are overwritten. What the table and the quarantine hold
//! in the end is one content of each object, whole, and of what was there at the last pass nothing is missing.
//!
//! Of the requests of a withdrawal every fifth goes wrong once; `MILLRACE_FAULTS=all` tries every one.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use futures::FutureExt;
use millrace_compactor::{Compactor, compact::FailPoint};
use millrace_scenarios::{Keep, Table};

use crate::{
    faults::step,
    faulty::{Fault, FaultyStore},
    hooked::HookedStore,
    support::{Row, World, reading, readings},
};

/// What is done to `1.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Removed,
    Shorter,
    /// As many bytes as before, and other ones.
    SameLength,
}

const CHANGES: [Change; 3] = [Change::Removed, Change::Shorter, Change::SameLength];

/// Objects with good lines, a key of another object, and a bad line.
fn lines(object: u64, content: u64) -> String {
    let seq = 10 * object + 100 * content;
    let bad = format!("bad {object} {content}");
    [reading(&format!("id{object}{content}"), 500 + seq, "Hull"), bad, reading("shared", 600 + seq, "York")].join("\n")
}

fn put(world: &World) {
    for object in 0..3 {
        world.put(&format!("{object}.json"), lines(object, 0).as_bytes());
    }
}

impl Change {
    fn apply(self, lake: &Path) {
        let path = lake.join("1.json");
        let changed = lines(1, 1);
        assert_eq!(changed.len(), lines(1, 0).len());
        match self {
            Self::Removed => fs::remove_file(path).unwrap(),
            // Written whole under another name first, as who overwrites an object does.
            Self::Shorter => replace(&path, &changed.as_bytes()[..changed.find("\n").unwrap() + 6]),
            Self::SameLength => replace(&path, changed.as_bytes()),
        }
    }
}

fn replace(path: &PathBuf, bytes: &[u8]) {
    let new = path.with_extension("tmp");
    fs::write(&new, bytes).unwrap();
    fs::rename(new, path).unwrap();
}

type State = (Vec<Row>, Vec<(String, String, String)>);

fn state(world: &World) -> State {
    let place = |row: Row| (row["object"].clone(), row["line"].clone(), row["raw"].clone());
    let mut bad: Vec<_> = world.quarantine().into_iter().map(place).collect();
    bad.sort();
    (world.rows(), bad)
}

/// The state of a table made of the lake as it is, without any trouble.
async fn truth(lake: &Path, spec: &Table) -> State {
    let world = World::new();
    for entry in fs::read_dir(lake).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, world.lake().join(path.file_name().unwrap())).unwrap();
    }
    world.pass(spec).await;
    state(&world)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_between_listing_and_reading_is_taken_as_it_is_then() {
    let spec = readings(Keep::First, true);
    for change in CHANGES {
        for crash in [None, Some(FailPoint::AfterManifest), Some(FailPoint::AfterQuarantine)] {
            let world = World::new();
            put(&world);
            let mut config = world.config(&spec).await;
            let (lake, new) = (world.lake(), world.lake().join("0-late.json"));
            let meanwhile = async move {
                change.apply(&lake);
                fs::write(new, lines(7, 0)).unwrap();
            };
            // The listing is done when the first object is read.
            (config.lake, config.fail_at) = (HookedStore::over(&config.lake, 1, meanwhile.boxed()), crash);
            let outcome = Compactor::open(config).await.unwrap().pass(None).await;
            assert_eq!(outcome.is_err(), crash.is_some(), "{change:?} {crash:?}: {outcome:?}");
            if let Ok(report) = outcome {
                assert_eq!(report.objects, if change == Change::Removed { 2 } else { 3 }, "{change:?}");
                assert_eq!(report.unread, u64::from(change == Change::Removed), "{change:?}");
            }
            let report = world.pass(&spec).await;
            assert_eq!((report.recovered, report.withdrawn), (u64::from(crash.is_some()), 0), "{change:?} {crash:?}");
            assert_eq!(state(&world), truth(&world.lake(), &spec).await, "{change:?} {crash:?}");
            assert_eq!(world.pass(&spec).await.lines, 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_object_changed_before_it_was_finished_is_withdrawn_and_the_lake_taken_as_it_is() {
    let spec = readings(Keep::First, true);
    for change in CHANGES {
        for point in
            [FailPoint::AfterManifest, FailPoint::AfterDataFiles, FailPoint::AfterQuarantine, FailPoint::BeforeCommit]
        {
            let world = World::new();
            put(&world);
            world.pass_until(&spec, point).await;
            let before = fs::read(world.lake().join("1.json")).unwrap();
            change.apply(&world.lake());
            let report = world.pass(&spec).await;
            assert_eq!((report.withdrawn, report.recovered, report.commits), (1, 0, 1), "{change:?} {point:?}");
            assert_eq!(state(&world), truth(&world.lake(), &spec).await, "{change:?} {point:?}");
            // An object that comes back is new, one that was overwritten was taken.
            replace(&world.lake().join("1.json"), &before);
            let objects = u64::from(change == Change::Removed);
            assert_eq!(world.pass(&spec).await.objects, objects, "{change:?} {point:?}");
            if change == Change::Removed {
                assert_eq!(state(&world), truth(&world.lake(), &spec).await, "{change:?} {point:?}");
                // What was withdrawn stays so for a table that is made anew from the manifests.
                fs::remove_dir_all(world.table().join("_delta_log")).unwrap();
                world.pass(&spec).await;
                assert_eq!(world.rows(), truth(&world.lake(), &spec).await.0, "{point:?}");
            }
            assert_eq!(world.pass(&spec).await.lines, 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_of_a_lake_that_is_no_more_does_not_stop_another() {
    let spec = readings(Keep::First, true);
    let world = World::new();
    put(&world);
    let other = world.home.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("9.json"), lines(9, 0)).unwrap();
    let mut config = world.config(&spec).await;
    config.lake = millrace_compactor::store::open(other.to_str().unwrap(), false).await.unwrap();
    config.fail_at = Some(FailPoint::AfterManifest);
    Compactor::open(config.clone()).await.unwrap().pass(None).await.unwrap_err();
    fs::rename(&other, world.home.path().join("elsewhere")).unwrap();
    assert_eq!(world.pass(&spec).await.withdrawn, 1);
    assert_eq!(state(&world), truth(&world.lake(), &spec).await);
    fs::rename(world.home.path().join("elsewhere"), &other).unwrap();
    config.fail_at = None;
    assert_eq!(Compactor::open(config).await.unwrap().pass(None).await.unwrap().objects, 1);
    assert_eq!(world.pass(&spec).await.lines, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_request_of_a_withdrawal_fails_the_next_pass_makes_it_good() {
    let spec = readings(Keep::First, true);
    let world = World::new();
    put(&world);
    Change::SameLength.apply(&world.lake());
    let wanted = truth(&world.lake(), &spec).await;
    let (mut tried, mut requests_of_a_pass) = (0, 0);
    for (number, fault) in [Fault::Refused, Fault::AnswerLost, Fault::Gone].into_iter().enumerate() {
        let mut at = number as u64;
        loop {
            at += step();
            let world = World::new();
            put(&world);
            world.pass_until(&spec, FailPoint::BeforeCommit).await;
            Change::SameLength.apply(&world.lake());
            let mut config = world.config(&spec).await;
            let (table, requests) = FaultyStore::over(&config.table, fault, at);
            config.table = table;
            let _ = match Compactor::open(config).await {
                Ok(mut compactor) => compactor.pass(None).await,
                Err(error) => Err(error),
            };
            world.pass(&spec).await;
            assert_eq!(state(&world), wanted, "{fault:?} at {at}");
            assert_eq!(world.pass(&spec).await.lines, 0, "{fault:?} at {at}");
            tried += 1;
            requests_of_a_pass = requests.load(Ordering::Relaxed);
            if requests_of_a_pass < at {
                break;
            }
        }
    }
    println!("{tried} withdrawals with a request gone wrong");
    assert!(requests_of_a_pass > 15 && tried >= 9, "{tried} {requests_of_a_pass}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_process_that_has_the_old_content_and_one_that_has_the_new_one_wins_whole() {
    let spec = readings(Keep::First, true);
    let (mut old, mut new) = (0, 0);
    for at in 1.. {
        let world = World::new();
        put(&world);
        let before = truth(&world.lake(), &spec).await;
        let mut config = world.config(&spec).await;
        let (other, lake) = (world.config(&spec).await, world.lake());
        let (said, mut heard) = tokio::sync::oneshot::channel();
        let meanwhile = async move {
            Change::SameLength.apply(&lake);
            Compactor::open(other).await.unwrap().pass(None).await.unwrap();
            said.send(()).unwrap();
        };
        config.table = HookedStore::over(&config.table, at, meanwhile.boxed());
        Compactor::open(config).await.unwrap().pass(None).await.unwrap();
        let found = state(&world);
        if heard.try_recv().is_err() {
            break;
        }
        if found == before {
            old += 1;
        } else {
            assert_eq!(found, truth(&world.lake(), &spec).await, "at moment {at}");
            new += 1;
        }
        assert_eq!(world.pass(&spec).await.lines, 0, "at moment {at}");
    }
    println!("the old content {old} times, the new one {new} times");
    assert!(old > 0 && new > 5, "{old} {new}");
}

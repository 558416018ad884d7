//! Optimize and vacuum: the rows stay, a second run finds nothing, and the compactor's protocol goes on as before.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
    time::Duration,
};

use millrace_compactor::{Clock, CompactError, Compactor, Location, compact::maintain, store};
use millrace_scenarios::Keep;

use crate::{
    faulty::{Fault, FaultyStore},
    support::{World, reading, readings},
};

/// A table of many small files: eight commits over two cities and three days.
async fn small_files(world: &World) {
    let spec = readings(Keep::First, true);
    for wave in 0..8_u64 {
        let lines: Vec<String> = (0..12)
            .map(|k| reading(&format!("id{wave}-{k}"), wave * 12 + k, ["Hull", "York"][k as usize % 2]))
            .collect();
        world.put_lines(&format!("{wave}.gz"), &lines);
        world.pass(&spec).await;
    }
}

async fn place(world: &World) -> Location {
    store::open(world.table().to_str().unwrap(), false).await.unwrap()
}

fn data_files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() && !name.starts_with('_') {
            found.extend(data_files(&path));
        } else if name.ends_with(".parquet") {
            found.insert(path);
        }
    }
    found
}

fn system() -> Clock {
    Clock::system()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_what_the_run_does_and_a_second_run_does_nothing() {
    let world = World::new();
    small_files(&world).await;
    let (rows, place) = (world.rows(), place(&world).await);
    let before = data_files(&world.table());
    let dry = maintain::optimize(&place, 1 << 20, true, &system()).await.unwrap();
    assert_eq!(data_files(&world.table()), before);
    assert!(!world.table().join("_millrace/lease").exists(), "a dry run writes nothing");
    let run = maintain::optimize(&place, 1 << 20, false, &system()).await.unwrap();
    assert_eq!((&run.plan, &run.layout), (&dry.plan, &dry.layout));
    let done = run.done.unwrap();
    assert_eq!(done.files_removed as usize, dry.plan.files());
    assert_eq!(done.files_added as usize, dry.plan.groups.len());
    assert_eq!((dry.layout.partitions, done.files_added, done.commits), (6, 6, 1));
    assert_eq!(world.rows(), rows);

    let again = maintain::optimize(&place, 1 << 20, false, &system()).await.unwrap();
    assert_eq!((again.plan.files(), again.done.unwrap().commits), (0, 0));
    assert_eq!(again.layout.files, 6);

    // What the compactor had taken it knows still, and late rows find theirs in the files that were put together.
    let spec = readings(Keep::First, true);
    assert_eq!(world.pass(&spec).await.objects, 0);
    world.put_lines("late.gz", &[reading("id3-1", 1, "Hull"), reading("new", 7, "York")]);
    let report = world.pass(&spec).await;
    assert_eq!((report.rows, report.duplicates), (1, 1));
    assert_eq!(world.rows().len(), rows.len() + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vacuum_keeps_what_readers_may_need_and_takes_the_rest_when_it_is_old() {
    let world = World::new();
    small_files(&world).await;
    let (rows, place) = (world.rows(), place(&world).await);
    maintain::optimize(&place, 1 << 20, false, &system()).await.unwrap();
    fs::write(world.table().join("orphan.parquet"), b"left by a crash").unwrap();
    let all = data_files(&world.table());

    let kept = maintain::vacuum(&place, None, false, false, &system()).await.unwrap();
    // Beside the data files, the key sidecars of the eight commits: no file of the table names them any more.
    assert_eq!((kept.files.len(), kept.kept_young as usize), (0, all.len() - 6 + 8));
    let short = maintain::vacuum(&place, Some(Duration::from_secs(60)), false, false, &system()).await;
    let error = short.unwrap_err();
    assert!(
        matches!(error, CompactError::ShortRetention { asked_s: 60, least_s: 604_800, .. }) && error.is_configuration()
    );

    // A clock that runs ten days ahead does not make files old: the store dates them.
    let ahead = Clock::new(|| Clock::system().now_us() + 864_000_000_000);
    let fooled = maintain::vacuum(&place, None, false, false, &ahead).await.unwrap();
    assert_eq!(fooled.files.len(), 0);

    // The optimize above lets its lease go; so does every vacuum. The clock ahead left one that has run out or is free.
    let dry = maintain::vacuum(&place, Some(Duration::ZERO), true, true, &system()).await.unwrap();
    assert_eq!(data_files(&world.table()), all);
    let run = maintain::vacuum(&place, Some(Duration::ZERO), true, false, &system()).await.unwrap();
    assert_eq!((&run.files, run.bytes), (&dry.files, dry.bytes));
    assert!(run.files.contains(&"orphan.parquet".to_owned()) && run.missing.is_empty());
    assert_eq!(data_files(&world.table()).len(), 6);
    assert_eq!(world.rows(), rows);
    assert_eq!(world.pass(&readings(Keep::First, true)).await.objects, 0);

    let victim = data_files(&world.table()).into_iter().next().unwrap();
    fs::remove_file(&victim).unwrap();
    let missing = maintain::vacuum(&place, None, false, true, &system()).await.unwrap().missing;
    assert_eq!(missing.len(), 1);
    assert!(victim.to_str().unwrap().ends_with(missing[0].rsplit('/').next().unwrap()), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_one_maintains_another_is_refused_and_a_compactor_goes_on() {
    let spec = readings(Keep::First, true);
    for round in 0..6_u64 {
        let world = World::new();
        small_files(&world).await;
        let place = place(&world).await;
        // Late rows of every partition, so that the compactor takes out files that the others put together.
        let lines: Vec<String> = (0..8).map(|wave| reading(&format!("id{wave}-{round}"), 0, "Hull")).collect();
        for object in 0..4 {
            world.put_lines(&format!("late-{object}.gz"), &lines[object * 2..][..2]);
        }
        let mut config = world.config(&spec).await;
        config.batch_objects = 1;
        let mut compactor = Compactor::open(config).await.unwrap();
        let clock = system();
        let (pass, one, two) = tokio::join!(
            compactor.pass(None),
            maintain::optimize(&place, 1 << 20, false, &clock),
            maintain::optimize(&place, 1 << 20, false, &clock),
        );
        assert_eq!(pass.unwrap().objects, 4);
        for outcome in [one, two] {
            match outcome {
                Ok(_) | Err(CompactError::LeaseHeld { .. } | CompactError::LeaseLost { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        let serial = World::new();
        small_files(&serial).await;
        serial.put_lines("late.gz", &lines);
        serial.pass(&spec).await;
        assert_eq!(world.rows(), serial.rows(), "round {round}");
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_request_of_an_optimize_fails_no_row_is_lost_or_doubled_and_the_next_one_ends_it() {
    let original = World::new();
    small_files(&original).await;
    let rows = original.rows();
    // A lease that was not given back has run out.
    let later = Clock::new(|| Clock::system().now_us() + 3_600_000_000);
    let step = if std::env::var_os("MILLRACE_FAULTS").is_some() { 1 } else { 4 };
    for fault in [Fault::Refused, Fault::AnswerLost, Fault::Gone] {
        let mut at = 0;
        loop {
            at += step;
            let world = World::new();
            copy_folder(&original.table(), &world.table());
            let place = place(&world).await;
            let (faulty, requests) = FaultyStore::over(&place, fault, at);
            let outcome = maintain::optimize(&faulty, 1 << 20, false, &system()).await;
            assert_eq!(world.rows(), rows, "{fault:?} at {at}: {outcome:?}");
            maintain::optimize(&place, 1 << 20, false, &later).await.unwrap();
            assert_eq!(world.rows(), rows, "{fault:?} at {at}, done again");
            let done = maintain::optimize(&place, 1 << 20, true, &later).await.unwrap();
            assert_eq!((done.plan.files(), done.layout.files), (0, 6), "{fault:?} at {at}");
            if requests.load(Ordering::Relaxed) < at {
                break;
            }
        }
        println!("optimize, {fault:?}: every {step}. of {at} requests");
        assert!(at > 20, "{fault:?}: only {at} requests");
    }
}

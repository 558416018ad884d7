//! Optimize and vacuum: the rows stay, a second run finds nothing, and the compactor's protocol goes on as before.
//!
//! Of the requests of an optimize every ninth goes wrong once; `MILLRACE_FAULTS=all` tries every one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
    time::Duration,
};

use millrace_compactor::{Clock, CompactError, Compactor, Location, compact::maintain, store};
use millrace_scenarios::{Keep, Table};
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;

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
    let step = if std::env::var_os("MILLRACE_FAULTS").is_some() { 1 } else { 9 };
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

/// The columns that have a bloom filter in every data file of the table.
fn bloom_filters(folder: &Path) -> BTreeSet<Vec<String>> {
    let of = |path: &PathBuf| {
        let reader = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
        let columns = reader.metadata().row_group(0).columns().to_vec();
        let with = columns.iter().filter(|column| column.bloom_filter_offset().is_some());
        with.map(|column| column.column_path().string()).collect()
    };
    data_files(folder).iter().map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn chosen_columns_have_bloom_filters_and_keep_them_when_files_are_put_together() {
    let world = World::new();
    small_files(&world).await;
    assert_eq!(bloom_filters(&world.table()), [vec![]].into());
    let world = World::new();
    let spec = Table { bloom_filter: vec!["id".to_owned()], ..readings(Keep::First, true) };
    for wave in 0..3_u64 {
        world.put_lines(&format!("{wave}.gz"), &[reading(&format!("id{wave}"), wave * 3, "Hull")]);
        assert_eq!(world.pass(&spec).await.rows, 1);
    }
    assert_eq!(bloom_filters(&world.table()), [vec!["id".to_owned()]].into());
    maintain::optimize(&place(&world).await, 1 << 20, false, &system()).await.unwrap();
    assert_eq!((world.rows().len(), bloom_filters(&world.table())), (3, [vec!["id".to_owned()]].into()));
    let wrong = Table { bloom_filter: vec!["city".to_owned()], ..spec };
    let error = Compactor::open(world.config(&wrong).await).await.err().unwrap();
    assert!(error.is_configuration() && error.to_string().contains("bloom_filter"), "{error}");
}

/// The live files by path: partition, and the range of `seq` by the statistics in the log.
fn ranges(world: &World) -> BTreeMap<String, (String, i64, i64)> {
    let mut files = BTreeMap::new();
    let log = fs::read_dir(world.table().join("_delta_log")).unwrap().map(|entry| entry.unwrap().path());
    let mut log: Vec<_> = log.filter(|path| path.extension().is_some_and(|e| e == "json")).collect();
    log.sort();
    for entry in log {
        for line in fs::read_to_string(entry).unwrap().lines() {
            let action: Value = serde_json::from_str(line).unwrap();
            if let Some(path) = action["remove"]["path"].as_str() {
                files.remove(path);
            }
            if let Some(path) = action["add"]["path"].as_str() {
                let stats: Value = serde_json::from_str(action["add"]["stats"].as_str().unwrap()).unwrap();
                let edge = |kind: &str| stats[kind]["seq"].as_i64().unwrap();
                let partition = action["add"]["partitionValues"].to_string();
                files.insert(path.to_owned(), (partition, edge("minValues"), edge("maxValues")));
            }
        }
    }
    files
}

fn overlaps(world: &World) -> usize {
    let mut ranges: Vec<_> = ranges(world).into_values().collect();
    ranges.sort();
    ranges.windows(2).filter(|pair| pair[0].0 == pair[1].0 && pair[0].2 >= pair[1].1).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_in_order_of_columns_stay_the_same_rows_and_only_what_is_out_of_order_is_written_again() {
    let (world, spec) = (World::new(), Table { derive: Vec::new(), ..readings(Keep::First, true) });
    let spec = Table { partition_by: vec!["city".to_owned()], ..spec };
    for wave in 0..4_u64 {
        let line = |k: u64| reading(&format!("id{wave}-{k}"), k * 4 + wave, ["Hull", "York"][k as usize % 2]);
        world.put_lines(&format!("{wave}.gz"), &(0..10_000).map(line).collect::<Vec<_>>());
        world.pass(&spec).await;
    }
    let (rows, place, by) = (world.rows(), place(&world).await, ["seq".to_owned(), "id".to_owned()]);
    assert!(overlaps(&world) > 0);
    let dry = maintain::cluster(&place, &by, 4 << 10, true, &system()).await.unwrap();
    assert!(!world.table().join("_millrace/lease").exists(), "a dry run writes nothing");
    let run = maintain::cluster(&place, &by, 4 << 10, false, &system()).await.unwrap();
    assert_eq!((&run.plan, run.plan.groups.len()), (&dry.plan, 2));
    let done = run.done.unwrap();
    assert_eq!((done.files_removed, done.groups_overtaken), (8, 0));
    assert!(done.files_added >= 6, "{done:?}");
    assert!(done.bytes_added <= 2 * dry.plan.bytes(), "encodings are chosen anew: {done:?}, {}", dry.plan.bytes());
    assert_eq!((world.rows(), overlaps(&world)), (rows, 0));

    let files = ranges(&world);
    let again = maintain::cluster(&place, &by, 4 << 10, false, &system()).await.unwrap();
    assert_eq!((again.plan.files(), again.done.unwrap().commits), (0, 0));

    // One row in the middle: its neighbours are written again, and files that are far from it stay.
    world.put_lines("late.gz", &[reading("new", 1_001, "York"), reading("id1-1", 0, "York")]);
    let report = world.pass(&spec).await;
    assert_eq!((report.rows, report.duplicates), (1, 1));
    let rows = world.rows();
    maintain::cluster(&place, &by, 4 << 10, false, &system()).await.unwrap();
    assert_eq!((world.rows(), overlaps(&world)), (rows, 0));
    let now = ranges(&world);
    let kept = files.keys().filter(|path| now.contains_key(*path)).count();
    assert!(kept >= files.len() / 2, "{kept} of {} files stayed", files.len());
    let other = maintain::cluster(&place, &by[1..], 4 << 10, true, &system()).await.unwrap();
    assert_eq!(other.plan.groups.len(), 2, "by other columns all is out of order");
}

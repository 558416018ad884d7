//! Which data files a late duplicate makes the compactor read: the one that holds its key, and no other. Shown by taking
//! away every file that should not be needed.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use millrace_compactor::{
    Clock, Compactor, PassReport,
    compact::{FailPoint, maintain},
    store::{self, counting::CountingStore},
};
use millrace_scenarios::{Keep, Table};

use crate::support::{World, column, reading, readings};

const CITIES: [&str; 3] = ["Hull", "Leeds", "York"];

fn spec() -> Table {
    // By city alone: a file for each commit and city.
    Table { partition_by: vec!["city".to_owned()], ..readings(Keep::First, false) }
}

/// Every tenth key from `first` on, so that the ranges of any two objects overlap.
fn put(world: &World, object: &str, first: u64) {
    let row = |k: u64| reading(&format!("id{:06}", k * 10 + first), k, CITIES[(k % 3) as usize]);
    world.put_lines(object, &(0..300).map(row).collect::<Vec<_>>());
}

fn files_under(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_under(&path, extension));
        } else if path.extension().is_some_and(|here| here == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn data_files(world: &World) -> Vec<PathBuf> {
    files_under(&world.table(), "parquet")
        .into_iter()
        .filter(|path| !path.to_string_lossy().contains("_delta_log"))
        .collect()
}

fn sidecars(world: &World) -> Vec<PathBuf> {
    files_under(&world.table().join("_millrace/keys"), "bin")
}

/// A table of three commits and nine files.
async fn three_commits() -> World {
    let world = World::new();
    for first in 0..3 {
        put(&world, &format!("{first}.gz"), first);
        world.pass(&spec()).await;
    }
    assert_eq!((data_files(&world).len(), sidecars(&world).len()), (9, 3));
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn new_keys_in_old_ranges_read_no_data_file() {
    let world = three_commits().await;
    data_files(&world).iter().for_each(|path| fs::remove_file(path).unwrap());
    put(&world, "new.gz", 7);
    let mut config = world.config(&spec()).await;
    let store = CountingStore::new(Arc::clone(&config.table.store));
    config.table.store = Arc::new(store.clone());
    let mut compactor = Compactor::open(config).await.unwrap();
    let before = store.counts().data;
    let report = compactor.pass(None).await.unwrap();
    assert_eq!((report.rows, report.duplicates, report.files_removed), (300, 0, 0));
    let asked = store.counts().data;
    // The next manifest is looked for once; then come the sidecars of the three commits.
    assert_eq!((asked.gets - before.gets, asked.heads - before.heads, asked.lists - before.lists), (1 + 3, 0, 0));

    // What was read or written once is not asked for again.
    put(&world, "newer.gz", 8);
    assert_eq!(compactor.pass(None).await.unwrap().rows, 300);
    assert_eq!(store.counts().data.gets, asked.gets);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_duplicate_reads_the_one_file_that_holds_its_key() {
    let world = three_commits().await;
    let holds = data_files(&world).into_iter().filter(|path| path.to_string_lossy().contains("city=Leeds"));
    let holds = holds.collect::<Vec<_>>();
    let of_second = |path: &PathBuf| {
        let entry = fs::read_to_string(world.table().join("_delta_log/00000000000000000002.json")).unwrap();
        entry.contains(path.file_name().unwrap().to_str().unwrap())
    };
    let needed: Vec<_> = holds.into_iter().filter(of_second).collect();
    assert_eq!(needed.len(), 1);
    data_files(&world).iter().filter(|path| **path != needed[0]).for_each(|path| fs::remove_file(path).unwrap());
    // Key 1 of the second commit went to Leeds; it comes again for York, and loses.
    world.put_lines("late.gz", &[reading("id000011", 99, "York"), reading("id000015", 99, "York")]);
    let report = world.pass(&spec()).await;
    assert_eq!((report.rows, report.duplicates, report.files_added, report.files_removed), (1, 1, 1, 0));
}

/// Late duplicates that lose, that win, and keys that are new, in two passes.
async fn late(world: &World) -> (Vec<String>, [PassReport; 2]) {
    let row = |k: u64| reading(&format!("id{k:06}"), k % 7, CITIES[(k % 3) as usize]);
    world.put_lines("late/0.gz", &(500..900).map(row).collect::<Vec<_>>());
    let first = world.pass(&spec()).await;
    world.put_lines("late/1.gz", &(700..1_100).map(row).collect::<Vec<_>>());
    let second = world.pass(&spec()).await;
    let rows = world.rows();
    (column(&rows, "id").into_iter().zip(column(&rows, "seq")).map(|(id, seq)| id + &seq).collect(), [first, second])
}

fn numbers(reports: &[PassReport]) -> Vec<(u64, u64, u64)> {
    reports.iter().map(|report| (report.rows, report.duplicates, report.files_removed)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_sidecars_the_table_is_the_same() {
    let (with, reports) = late(&three_commits().await).await;
    assert!(reports.iter().all(|report| report.duplicates > 0 && report.rows > 0 && report.files_removed > 0));
    let world = three_commits().await;
    fs::remove_dir_all(world.table().join("_millrace/keys")).unwrap();
    let (without, same) = late(&world).await;
    assert_eq!((without, numbers(&same)), (with.clone(), numbers(&reports)));

    let world = three_commits().await;
    for (number, path) in sidecars(&world).iter().enumerate() {
        fs::write(path, &fs::read(path).unwrap()[..100 * number]).unwrap();
    }
    let (damaged, same) = late(&world).await;
    assert_eq!((damaged, numbers(&same)), (with, numbers(&reports)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_put_together_has_a_sidecar_and_the_old_ones_are_vacuumed() {
    let world = three_commits().await;
    let place = store::open(world.table().to_str().unwrap(), false).await.unwrap();
    let clock = Clock::system();
    let report = maintain::optimize(&place, 1 << 20, false, &clock).await.unwrap();
    assert_eq!(report.done.unwrap().files_added, 3);
    assert_eq!((data_files(&world).len(), sidecars(&world).len()), (9 + 3, 3 + 3));
    // One that belongs to a commit which never came about.
    world.put_lines("lost.gz", &[reading("lost", 1, "Hull")]);
    world.pass_until(&spec(), FailPoint::BeforeCommit).await;
    assert_eq!(sidecars(&world).len(), 7);

    let day = Some(std::time::Duration::from_secs(86_400));
    let kept = maintain::vacuum(&place, day, true, false, &clock).await.unwrap();
    assert_eq!((kept.files.len(), sidecars(&world).len()), (0, 7), "all are too young");
    let now = Some(std::time::Duration::ZERO);
    let planned = maintain::vacuum(&place, now, true, true, &clock).await.unwrap();
    let done = maintain::vacuum(&place, now, true, false, &clock).await.unwrap();
    assert_eq!(planned.files, done.files);
    assert_eq!((data_files(&world).len(), sidecars(&world).len()), (3, 3));

    let late_of = late(&three_commits().await).await;
    world.pass(&spec()).await;
    data_files(&world).iter().for_each(|path| fs::rename(path, path.with_extension("away")).unwrap());
    put(&world, "new.gz", 7);
    assert_eq!(world.pass(&spec()).await.rows, 300, "no data file is read");
    files_under(&world.table(), "away")
        .iter()
        .for_each(|path| fs::rename(path, path.with_extension("parquet")).unwrap());
    put(&world, "old.gz", 1);
    assert_eq!(world.pass(&spec()).await.duplicates, 300);
    let rows = late(&world).await.0.len();
    assert_eq!(rows, late_of.0.len() + 1 + 300 - (50..110).count(), "the keys that end in 7 were there already");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_keeps_what_files_say_of_their_keys() {
    let world = World::new();
    for object in 0..105_u64 {
        world.put_lines(&format!("{object:03}.gz"), &[reading(&format!("id{:06}", object * 10), object, "Hull")]);
    }
    let mut config = world.config(&spec()).await;
    config.batch_objects = 1;
    assert_eq!(Compactor::open(config).await.unwrap().pass(None).await.unwrap().commits, 105);
    assert_eq!(files_under(&world.table().join("_delta_log"), "parquet").len(), 1);
    data_files(&world).iter().for_each(|path| fs::remove_file(path).unwrap());
    world.put_lines(
        "new.gz",
        &(0..1_000).filter(|k| k % 10 != 0).map(|k| reading(&format!("id{k:06}"), k, "Hull")).collect::<Vec<_>>(),
    );
    assert_eq!(world.pass(&spec()).await.rows, 900);
}

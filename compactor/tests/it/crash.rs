//! A process may end anywhere: the next one finishes, and nothing is lost or there twice.

use std::fs;

use millrace_compactor::{Compactor, compact::FailPoint};
use millrace_scenarios::{Keep, NewColumns, Reading, Table};
use proptest::prelude::*;

use crate::support::{Row, World, column, reading, readings};

const POINTS: [FailPoint; 6] = [
    FailPoint::AfterManifest,
    FailPoint::AfterDataFiles,
    FailPoint::AfterQuarantine,
    FailPoint::BeforeCommit,
    FailPoint::AfterCommit,
    FailPoint::LostAnswer,
];

/// Good rows, late better rows, duplicates and bad lines.
fn put_wave(world: &World, wave: u64) {
    for object in 0..3 {
        let first = 100 - wave * 10 + object * 3;
        world.put_lines(
            &format!("{wave}/{object}.gz"),
            &[
                reading(&format!("id{object}"), first, "Hull"),
                format!("bad {wave} {object}"),
                reading(&format!("id{wave}-{object}"), first + 1, "York"),
                reading(&format!("id{object}"), first + 2, "York"),
            ],
        );
    }
}

/// Quarantine without the columns that say which process wrote it when.
fn places(rows: Vec<Row>) -> Vec<(String, String, String)> {
    // The rows come sorted as text, in which a tenth commit stands before the second.
    let place = |row: Row| (row["object"].clone(), row["line"].clone(), row["raw"].clone());
    let mut places: Vec<_> = rows.into_iter().map(place).collect();
    places.sort();
    places
}

/// Table and quarantine after waves without any crash.
async fn undisturbed(spec: &Table, waves: u64) -> (Vec<Row>, Vec<(String, String, String)>) {
    let world = World::new();
    for wave in 0..waves {
        put_wave(&world, wave);
        world.pass(spec).await;
    }
    (world.rows(), places(world.quarantine()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_point_of_the_first_or_a_later_commit_changes_nothing_in_the_end() {
    for (keep, aggregate) in [(Keep::First, false), (Keep::Last, true)] {
        let spec = readings(keep, aggregate);
        let (rows, bad) = undisturbed(&spec, 2).await;
        for first in POINTS {
            for second in
                [FailPoint::AfterManifest, FailPoint::AfterQuarantine, FailPoint::AfterCommit, FailPoint::LostAnswer]
            {
                let world = World::new();
                put_wave(&world, 0);
                world.pass_until(&spec, first).await;
                world.pass(&spec).await;
                put_wave(&world, 1);
                world.pass_until(&spec, second).await;
                let report = world.pass(&spec).await;
                let unfinished = !matches!(second, FailPoint::AfterCommit | FailPoint::LostAnswer);
                assert_eq!(report.recovered, u64::from(unfinished), "{first:?} {second:?}");
                assert_eq!(world.rows(), rows, "{first:?} {second:?}");
                assert_eq!(places(world.quarantine()), bad, "{first:?} {second:?}");
                let after = world.pass(&spec).await;
                assert_eq!((after.commits, after.lines), (0, 0));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 20, ..ProptestConfig::default() })]

    #[test]
    fn crash_after_crash_still_ends_in_the_same_table(crashes in prop::collection::vec((0..6_usize, any::<bool>()), 1..8)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let spec = readings(Keep::First, true);
        let waves = 1 + crashes.iter().filter(|(_, new_wave)| *new_wave).count() as u64;
        let (rows, bad) = runtime.block_on(undisturbed(&spec, waves));
        let world = World::new();
        runtime.block_on(async {
            put_wave(&world, 0);
            let mut wave = 1;
            for (point, new_wave) in crashes {
                let mut config = world.config(&spec).await;
                config.fail_at = Some(POINTS[point]);
                config.batch_objects = 2;
                let _ = Compactor::open(config).await.unwrap().pass(None).await;
                if new_wave {
                    put_wave(&world, wave);
                    wave += 1;
                }
            }
            world.pass(&spec).await;
        });
        prop_assert_eq!(world.rows(), rows);
        prop_assert_eq!(places(world.quarantine()), bad);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_on_one_table_take_each_object_once() {
    let spec = readings(Keep::First, true);
    let world = World::new();
    for wave in 0..6 {
        put_wave(&world, wave);
    }
    let mut config = world.config(&spec).await;
    config.batch_objects = 3;
    let mut one = Compactor::open(config.clone()).await.unwrap();
    let mut two = Compactor::open(config).await.unwrap();
    let (first, second) = tokio::join!(one.pass(None), two.pass(None));
    first.unwrap();
    second.unwrap();
    let undisturbed_world = World::new();
    for wave in 0..6 {
        put_wave(&undisturbed_world, wave);
    }
    undisturbed_world.pass(&spec).await;
    assert_eq!(world.rows(), undisturbed_world.rows());
    assert_eq!(places(world.quarantine()), places(undisturbed_world.quarantine()));
    assert_eq!(world.pass(&spec).await.commits, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_cannot_be_read_stops_the_pass_and_is_named() {
    let spec = readings(Keep::First, false);
    let world = World::new();
    put_wave(&world, 0);
    let mut compactor = world.open(&spec).await;
    let folder = world.table().join("_millrace/manifests");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("00000000000000000001.json"), b"{").unwrap();
    let error = compactor.pass(None).await.unwrap_err().to_string();
    assert!(error.contains("_millrace/manifests/00000000000000000001.json"), "{error}");
    assert!(world.rows().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_is_known_from_the_rolled_set_when_old_manifests_are_gone() {
    // More commits than a rolled set covers: what the first ones took is known from the set, not from manifests.
    let spec = readings(Keep::First, false);
    let world = World::new();
    for k in 0..70_u64 {
        world.put_lines(&format!("{k:03}.gz"), &[reading(&format!("id{k}"), k, "Hull")]);
    }
    let mut config = world.config(&spec).await;
    config.batch_objects = 1;
    let report = Compactor::open(config).await.unwrap().pass(None).await.unwrap();
    assert_eq!((report.commits, report.rows), (70, 70));
    let rolled: Vec<_> = fs::read_dir(world.table().join("_millrace/seen")).unwrap().collect();
    assert_eq!(rolled.len(), 1);
    for entry in fs::read_dir(world.table().join("_millrace/manifests")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap() <= "00000000000000000064.json" {
            fs::remove_file(path).unwrap();
        }
    }
    assert_eq!(world.pass(&spec).await.objects, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_was_begun_is_finished_by_the_reading_it_was_begun_with() {
    let world = World::new();
    let kept_aside = readings(Keep::First, false);
    let left_out = Table {
        read: Reading { new_columns: NewColumns::Ignore, ..Reading::default() },
        ..readings(Keep::First, false)
    };
    let extra = reading("new", 2, "Hull").replace('{', r#"{"extra":1,"#);
    world.put_lines("a.gz", &[reading("a", 1, "Hull"), extra]);
    world.pass_until(&kept_aside, FailPoint::AfterQuarantine).await;
    assert_eq!(world.quarantine().len(), 1);

    // With the other reading the record would be a row, and be brought in by a replay once more.
    let mut other = world.open(&left_out).await;
    let error = other.pass(None).await.unwrap_err();
    assert!(error.is_configuration() && error.to_string().contains("read was"), "{error}");
    drop(other);
    assert_eq!(world.pass(&kept_aside).await.recovered, 1);
    let mut other = world.open(&left_out).await;
    assert_eq!(other.pass(None).await.unwrap().commits, 0, "what is finished is no matter");
    assert_eq!(other.replay().await.unwrap().pass.rows, 1);
    assert_eq!(other.replay().await.unwrap().pass.rows, 0);
    assert_eq!(column(&world.rows(), "id"), ["a", "new"]);
}

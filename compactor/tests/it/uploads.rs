//! Data files that are so large that they are uploaded in parts: whichever request goes wrong, nothing of them is seen,
//! nothing panics, the next pass brings them, and what an upload leaves on the disk is found by a vacuum.
//!
//! Of the requests every second goes wrong in one way; `MILLRACE_FAULTS=all` tries every one in each.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use millrace_compactor::{Clock, Compactor, compact::maintain};
use millrace_scenarios::{ColumnType, Table};

use crate::{
    faults::step,
    faulty::{Fault, FaultyStore},
    support::World,
};

const ROWS: u64 = 26_000;

fn spec() -> Table {
    let columns = [("id", ColumnType::Integer), ("noise", ColumnType::String)];
    let columns = columns.map(|(name, kind)| (name.to_owned(), kind)).into_iter().collect();
    Table { columns, ..Table::default() }
}

/// Rows that no encoding makes small: some 6 MB, which is a whole part and a rest.
fn put(world: &World) {
    let mut draw = 0x9E37_79B9_7F4A_7C15_u64;
    let lines: Vec<String> = (0..ROWS)
        .map(|id| {
            let noise: String = (0..30)
                .map(|_| {
                    draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    format!("{:016x}", draw ^ (draw >> 29))
                })
                .collect();
            format!("{{\"id\":{id},\"noise\":\"{noise}\"}}\n")
        })
        .collect();
    world.put("0.json", lines.concat().as_bytes());
}

fn ids(world: &World) -> Vec<u64> {
    let mut ids: Vec<u64> = world.rows().iter().map(|row| row["id"].parse().unwrap()).collect();
    ids.sort_unstable();
    ids
}

/// Files under a folder that are not whole yet.
fn unfinished(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| if path.is_dir() { unfinished(&path) } else { usize::from(path.to_str().unwrap().contains('#')) })
        .sum()
}

static PANICS: AtomicU64 = AtomicU64::new(0);

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_parts_that_fails_anywhere_is_nowhere_seen_and_is_made_again() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.to_string();
        PANICS.fetch_add(u64::from(text.contains("shut down") || text.contains("object_store")), Ordering::Relaxed);
        before(panic);
    }));
    let (world, spec) = (World::new(), spec());
    put(&world);
    let (mut tried, mut left, mut failed, step) = (0, 0, 0, if step() == 1 { 1 } else { 6 });
    for (first, fault) in [(1, Fault::Refused), (3, Fault::AnswerLost), (5, Fault::Gone)] {
        for at in (first..).step_by(step) {
            let _ = fs::remove_dir_all(world.table());
            let mut config = world.config(&spec).await;
            let (table, requests) = FaultyStore::over(&config.table, fault, at);
            config.table = table;
            let outcome = match Compactor::open(config).await {
                Ok(mut compactor) => compactor.pass(None).await.map(|_| ()),
                Err(error) => Err(error),
            };
            let made = requests.load(Ordering::Relaxed);
            failed += u64::from(outcome.is_err());
            if world.table().join("_delta_log/00000000000000000000.json").exists() {
                let seen = ids(&world).len() as u64;
                assert!(seen == 0 || seen == ROWS, "{fault:?} at {at}: {seen} rows");
            }
            world.pass(&spec).await;
            assert!(ids(&world).into_iter().eq(0..ROWS), "{fault:?} at {at}");
            left += unfinished(&world.table());
            let place = world.config(&spec).await.table;
            let clock = Clock::system();
            maintain::vacuum(&place, Some(Duration::ZERO), true, false, &clock).await.unwrap();
            assert_eq!(unfinished(&world.table()), 0, "{fault:?} at {at}");
            assert!(ids(&world).into_iter().eq(0..ROWS), "{fault:?} at {at}");
            tried += 1;
            if made < at {
                break;
            }
        }
    }
    println!("{tried} requests failed, {failed} passes with them; {left} unfinished files were left for vacuum");
    assert!(tried >= 12 && failed >= 6, "{tried} {failed}");
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vacuum_takes_what_a_killed_process_was_writing_and_leaves_what_is_young() {
    let (world, spec) = (World::new(), spec());
    world.put("0.json", br#"{"id":1,"noise":"x"}"#);
    world.pass(&spec).await;
    for name in ["part-0.parquet#1", "_delta_log/00000000000000000009.json#2"] {
        fs::write(world.table().join(name), b"half").unwrap();
    }
    let place = world.config(&spec).await.table;
    let clock = Clock::system();
    let young = maintain::vacuum(&place, None, false, false, &clock).await.unwrap();
    assert_eq!((young.files.len(), young.kept_young), (0, 2));
    let dry = maintain::vacuum(&place, Some(Duration::ZERO), true, true, &clock).await.unwrap();
    assert_eq!((dry.files.len(), dry.bytes, unfinished(&world.table())), (2, 8, 2));
    let done = maintain::vacuum(&place, Some(Duration::ZERO), true, false, &clock).await.unwrap();
    assert_eq!((done.files, unfinished(&world.table())), (dry.files, 0));
    assert_eq!(ids(&world), [1]);
}

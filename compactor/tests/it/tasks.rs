//! The work of a commit, written down and done elsewhere, comes to the same table.

use std::{fs, thread};

use millrace_compactor::{
    Clock, Compactor, PassReport,
    compact::{Done, Task, maintain},
    store,
};
use millrace_scenarios::{Keep, Table};

use crate::support::{World, column, reading, readings};

fn spec() -> Table {
    readings(Keep::First, true)
}

/// Objects with duplicates within and between them, and something bad in each.
fn fill(world: &World) {
    for object in 0..7_u64 {
        let line = |at: u64| {
            reading(&format!("id{}", (object * 3 + at) % 11), object * 10 + at, ["Hull", "York"][at as usize % 2])
        };
        let mut lines: Vec<String> = (0..6).map(line).collect();
        lines.insert(3, format!("no record {object}"));
        world.put_lines(&format!("{object}.gz"), &lines);
    }
}

async fn driver(world: &World) -> Compactor {
    let mut config = world.config(&spec()).await;
    config.batch_objects = 2;
    Compactor::open(config).await.unwrap()
}

/// Does a task in a thread with a runtime of its own, which is handed text and gives text back.
fn elsewhere(task: &Task) -> Done {
    let text = serde_json::to_string(task).unwrap();
    let work = move || {
        let task: Task = serde_json::from_str(&text).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        serde_json::to_string(&runtime.block_on(task.perform()).unwrap()).unwrap()
    };
    serde_json::from_str(&thread::spawn(work).join().unwrap()).unwrap()
}

/// Names of all data files under the table, in it or not.
fn files(world: &World) -> usize {
    let mut folders = vec![world.table()];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let hidden = entry.file_name().unwrap().to_string_lossy().starts_with('_');
            match entry.is_dir() {
                true if !hidden => folders.push(entry),
                true => {}
                false => count += 1,
            }
        }
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tasks_do_elsewhere_is_what_passes_do() {
    let (by_tasks, by_pass) = (World::new(), World::new());
    fill(&by_tasks);
    fill(&by_pass);
    let mut driver = driver(&by_tasks).await;
    let (mut ids, mut reports) = (Vec::new(), Vec::new());
    while let Some(task) = driver.plan().await.unwrap() {
        ids.push((task.id(), task.objects()));
        reports.push(driver.accept(elsewhere(&task)).await.unwrap());
    }
    assert_eq!(ids, [(1, 2), (2, 2), (3, 2), (4, 1)]);
    let pass = by_pass.pass(&spec()).await;
    assert_eq!(by_tasks.rows(), by_pass.rows());
    let pieces = |world: &World| column(&world.quarantine(), "raw");
    assert_eq!(pieces(&by_tasks), pieces(&by_pass));
    let sum = |count: fn(&PassReport) -> u64| reports.iter().map(count).sum::<u64>();
    assert_eq!((sum(|r| r.commits), sum(|r| r.lines)), (4, pass.lines));
    assert_eq!((sum(|r| r.rows), sum(|r| r.duplicates)), (pass.rows, pass.duplicates));
    assert_eq!(driver.record().table_rows, pass.table_rows);
    assert_eq!(by_tasks.pass(&spec()).await.commits, 0, "a pass knows what tasks took");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_twice_or_too_late_is_in_no_table_and_leaves_no_file() {
    let world = World::new();
    fill(&world);
    let mut driver = driver(&world).await;
    let task = driver.plan().await.unwrap().unwrap();
    assert_eq!(driver.plan().await.unwrap().unwrap(), task, "what was begun comes first");
    let (first, second) = (elsewhere(&task), elsewhere(&task));
    assert_eq!(driver.accept(second).await.unwrap().commits, 1);
    let (rows, there) = (world.rows(), files(&world));
    assert_eq!(driver.accept(first).await.unwrap().commits, 0);
    assert_eq!(world.rows(), rows);
    assert!(files(&world) < there, "the files of the one that was not taken are deleted");

    for _ in 2..=3 {
        let task = driver.plan().await.unwrap().unwrap();
        assert_eq!(driver.accept(elsewhere(&task)).await.unwrap().commits, 1);
    }
    // The table moves on while the next one is done.
    let task = driver.plan().await.unwrap().unwrap();
    let done = elsewhere(&task);
    let place = store::open(world.table().to_str().unwrap(), false).await.unwrap();
    let moved = maintain::optimize(&place, 1 << 20, false, &Clock::system()).await.unwrap();
    assert!(moved.done.as_ref().is_some_and(|done| done.commits > 0), "{moved:?}");
    assert_eq!(driver.accept(done).await.unwrap().commits, 0);
    let again = driver.plan().await.unwrap().unwrap();
    assert_eq!((again.id(), again.objects()), (task.id(), task.objects()));
    assert_ne!(again, task, "it is compared with another version");
    assert_eq!(driver.accept(elsewhere(&again)).await.unwrap().commits, 1);
    while let Some(task) = driver.plan().await.unwrap() {
        driver.accept(elsewhere(&task)).await.unwrap();
    }
    let whole = World::new();
    fill(&whole);
    whole.pass(&spec()).await;
    assert_eq!(world.rows(), whole.rows());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_nobody_does_is_finished_by_the_next_pass_and_one_without_its_objects_is_withdrawn() {
    let world = World::new();
    fill(&world);
    driver(&world).await.plan().await.unwrap().unwrap();
    let report = world.pass(&spec()).await;
    assert_eq!((report.recovered, report.objects), (1, 7));

    world.put_lines("8.gz", &[reading("new", 1_000, "Hull")]);
    world.put_lines("9.gz", &[reading("gone", 1_001, "Hull")]);
    let mut driver = driver(&world).await;
    let task = driver.plan().await.unwrap().unwrap();
    fs::remove_file(world.lake().join("9.gz")).unwrap();
    let report = driver.accept(elsewhere(&task)).await.unwrap();
    assert_eq!((report.commits, report.withdrawn), (0, 1));
    let task = driver.plan().await.unwrap().unwrap();
    assert_eq!((task.id(), task.objects()), (4, 1));
    assert_eq!(driver.accept(elsewhere(&task)).await.unwrap().commits, 1);
    assert!(driver.plan().await.unwrap().is_none());
    let ids = column(&world.rows(), "id");
    assert!(ids.contains(&"new".to_owned()) && !ids.contains(&"gone".to_owned()));
}

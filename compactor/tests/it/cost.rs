//! What a commit costs follows what is new, not what is there: counted in requests, so that a busy machine changes nothing.

use std::{sync::Arc, time::Instant};

use millrace_compactor::{Compactor, Location, compact::PassReport, store::counting::CountingStore};
use millrace_scenarios::{Keep, Table};
use object_store::{ObjectStore, ObjectStoreExt, memory::InMemory, path::Path};
use url::Url;

use crate::support::{World, reading, readings};

/// A lake in memory.
fn memory_lake() -> Location {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    Location { store, url: Url::parse("memory:///lake/").unwrap(), root: Path::from("lake") }
}

fn counted(place: &Location) -> (Location, CountingStore) {
    let store = CountingStore::new(Arc::clone(&place.store));
    (Location { store: Arc::new(store.clone()), ..place.clone() }, store)
}

/// Requests to the table's store, of any kind.
fn requests(store: &CountingStore) -> u64 {
    let total = store.counts().total();
    total.gets + total.heads + total.lists + total.puts
}

fn without_dedup() -> Table {
    Table { dedup: None, ..readings(Keep::First, false) }
}

/// One compactor, one pass for each object; the requests and the report of each.
async fn commits(world: &World, spec: &Table, count: u64) -> Vec<(u64, PassReport)> {
    let lake = memory_lake();
    let mut config = world.config(spec).await;
    let (table, store) = counted(&config.table);
    (config.lake, config.table) = (lake.clone(), table);
    let mut compactor = Compactor::open(config).await.unwrap();
    let mut passes = Vec::new();
    for number in 0..count {
        let path = Path::from(format!("lake/{number:06}.json"));
        lake.store.put(&path, reading(&format!("id{number:06}"), 3, "Hull").into_bytes().into()).await.unwrap();
        let before = requests(&store);
        let report = compactor.pass(None).await.unwrap();
        assert_eq!(report.rows, 1);
        passes.push((requests(&store) - before, report));
        // Taken objects are listed as long as they lie in the lake; here it is the table that is looked at.
        lake.store.delete(&path).await.unwrap();
    }
    passes
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hundredth_commit_asks_as_much_as_the_tenth() {
    let world = World::new();
    let passes = commits(&world, &without_dedup(), 140).await;
    let sum = |from: usize| passes[from..from + 20].iter().map(|(requests, _)| requests).sum::<u64>();
    let (early, before, after) = (sum(10), sum(70), sum(112));
    println!(
        "requests of 20 passes with a commit each: {early} from the 10th, {before} from the 70th, {after} from the 112th"
    );
    // The log is checkpointed after a hundred, and the set of taken objects is written after every 64.
    assert!(before <= early + 2 && after <= early + 2, "{early} {before} {after}");
}

/// The requests that each commit after the first `few` of a pass of `many` costs, its data file one of them.
async fn requests_a_commit(spec: &Table, few: u64, many: u64) -> f64 {
    let mut totals = Vec::new();
    for objects in [few, many] {
        let (world, lake) = (World::new(), memory_lake());
        let mut config = world.config(spec).await;
        let (table, store) = counted(&config.table);
        (config.lake, config.table, config.batch_objects) = (lake.clone(), table, 1);
        for number in 0..objects {
            let path = Path::from(format!("lake/{number:06}.json"));
            lake.store.put(&path, reading(&format!("id{number}"), 3, "Hull").into_bytes().into()).await.unwrap();
        }
        let mut compactor = Compactor::open(config).await.unwrap();
        assert_eq!(compactor.pass(None).await.unwrap().commits, objects);
        totals.push(requests(&store));
    }
    (totals[1] - totals[0]) as f64 / (many - few) as f64
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_its_data_file_a_manifest_a_log_entry_and_a_key_sidecar() {
    let plain = requests_a_commit(&without_dedup(), 20, 50).await;
    let keyed = requests_a_commit(&readings(Keep::First, false), 20, 50).await;
    println!("requests for each commit: {plain} without keys, {keyed} with");
    assert!(plain <= 1.0 + 2.0, "{plain}");
    assert!(keyed <= 1.0 + 3.0, "{keyed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_do_not_read_the_log_back() {
    let each = requests_a_commit(&without_dedup(), 120, 320).await;
    println!("{each} requests for each commit, with two checkpoints and three sets of taken objects among 200");
    assert!(each <= 1.0 + 2.0 + 0.5, "{each}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_taken_objects_are_passed_over_with_a_few_requests() {
    let (world, lake, spec) = (World::new(), memory_lake(), without_dedup());
    let mut config = world.config(&spec).await;
    config.lake = lake.clone();
    for number in 0..100_000 {
        let path = Path::from(format!("lake/{number:06}.json"));
        lake.store.put(&path, reading(&format!("id{number}"), 3, "Hull").into_bytes().into()).await.unwrap();
    }
    assert_eq!(Compactor::open(config.clone()).await.unwrap().pass(None).await.unwrap().objects, 100_000);
    let (table, store) = counted(&config.table);
    config.table = table;
    let started = Instant::now();
    let report = Compactor::open(config).await.unwrap().pass(None).await.unwrap();
    let (took, counts) = (started.elapsed(), store.counts());
    println!("100,000 taken objects passed over in {took:?} with {} requests: {counts:?}", requests(&store));
    assert_eq!((report.objects, report.commits), (0, 0));
    // Ten manifests, and the eleven entries of a log without a checkpoint, which opening reads three times.
    assert!(requests(&store) <= 60, "{counts:?}");
}

/// Ten thousand commits; prints what they took. Run with `--ignored`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn ten_thousand_commits_stay_as_fast_as_the_first() {
    let world = World::new();
    let passes = commits(&world, &without_dedup(), 10_000).await;
    for (number, thousand) in passes.chunks(1000).enumerate() {
        let mut elapsed_us: Vec<u64> = thousand.iter().map(|(_, report)| report.elapsed_us).collect();
        elapsed_us.sort_unstable();
        let requests = thousand.iter().map(|(requests, _)| requests).sum::<u64>() as f64 / 1000.0;
        println!(
            "commits from {}000: {requests} requests, p50 {} us, p99 {} us",
            number, elapsed_us[500], elapsed_us[990]
        );
    }
}

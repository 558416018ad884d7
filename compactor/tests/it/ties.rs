//! Rows of one key that `order_by` does not tell apart: which one stays is a matter of the lake, whatever brought them.

use std::{collections::BTreeMap, fs, sync::Arc};

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray},
    datatypes::Schema,
};
use millrace_compactor::{
    Clock, Compactor,
    compact::{FailPoint, maintain},
    store,
};
use millrace_scenarios::{Aggregate, AggregateFunction, ColumnType, Dedup, Keep, NewColumns, Reading, Table};
use parquet::arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{World, column, gzip};

const CITIES: [&str; 3] = ["Hull", "York / é", ""];

fn spec(keep: Keep, key: &[&str]) -> Table {
    let columns = [("id", ColumnType::String), ("seq", ColumnType::Integer), ("city", ColumnType::String)];
    let columns = columns.into_iter().chain([("v", ColumnType::String)]);
    let count = Aggregate { name: "times".to_owned(), function: AggregateFunction::Count, of: None };
    Table {
        columns: columns.map(|(name, kind)| (name.to_owned(), kind)).collect(),
        partition_by: vec!["city".to_owned()],
        dedup: Some(Dedup {
            key: key.iter().map(|name| (*name).to_owned()).collect(),
            keep,
            order_by: "seq".to_owned(),
            aggregate: vec![count],
        }),
        ..Table::default()
    }
}

/// A record: key, order if it has one, and city.
type Record = (u8, Option<u8>, u8);

/// What happens once an object is there.
#[derive(Debug, Clone, Copy)]
enum Then {
    Nothing,
    Pass,
    /// By a process that knows nothing yet.
    PassAnew,
    Crash(FailPoint),
    Optimize,
    Cluster,
}

fn then() -> impl Strategy<Value = Then> {
    prop_oneof![
        2 => Just(Then::Nothing),
        3 => Just(Then::Pass),
        2 => Just(Then::PassAnew),
        1 => prop_oneof![Just(FailPoint::AfterManifest), Just(FailPoint::BeforeCommit), Just(FailPoint::AfterCommit)].prop_map(Then::Crash),
        1 => Just(Then::Optimize),
        1 => Just(Then::Cluster),
    ]
}

/// An object's rank among the names, what is in it, and what happens then.
type Arrival = Vec<(u8, Vec<Record>, Then)>;

/// The objects in order of arrival: names and lines. No two records are alike.
fn objects(arrival: &Arrival) -> Vec<(String, Vec<String>)> {
    let object = |(number, (rank, records, _)): (usize, &(u8, Vec<Record>, Then))| {
        let line = |(place, (key, order, city)): (usize, &Record)| {
            let (city, v) = (CITIES[*city as usize % 3], format!("{number}-{place}"));
            json!({"id": format!("k{key}"), "seq": order, "city": city, "v": v}).to_string()
        };
        (format!("{}/{rank:03}-{number}.gz", rank % 3), records.iter().enumerate().map(line).collect())
    };
    arrival.iter().enumerate().map(object).collect()
}

/// What the table has to hold, worked out from the lake alone: for each key the row that stays, and how many there were.
fn expected(objects: &[(String, Vec<String>)], keep: Keep, key: &[&str]) -> Vec<(String, usize)> {
    let mut groups: BTreeMap<String, Vec<(Value, String, usize)>> = BTreeMap::new();
    for (name, lines) in objects {
        let mut offset = 0;
        for line in lines {
            let record: Value = serde_json::from_str(line).unwrap();
            let of = key.iter().map(|column| record[*column].to_string()).collect::<Vec<_>>().join("|");
            groups.entry(of).or_default().push((record, name.clone(), offset));
            offset += line.len() + 1;
        }
    }
    let winner = |rows: Vec<(Value, String, usize)>| {
        let before = |a: &(Value, String, usize), b: &(Value, String, usize)| {
            let in_order = |a: i64, b: i64| if keep == Keep::Last { b.cmp(&a) } else { a.cmp(&b) };
            let by_order = match (a.0["seq"].as_i64(), b.0["seq"].as_i64()) {
                (Some(a), Some(b)) => in_order(a, b),
                (a, b) => a.is_none().cmp(&b.is_none()),
            };
            let by_place = (&a.1, a.2).cmp(&(&b.1, b.2));
            by_order.then(if keep == Keep::Last { by_place.reverse() } else { by_place })
        };
        let best = rows.iter().min_by(|a, b| before(a, b)).unwrap();
        (best.0["v"].as_str().unwrap().to_owned(), rows.len())
    };
    let mut all: Vec<_> = groups.into_values().map(winner).collect();
    all.sort();
    all
}

fn held(world: &World) -> Vec<(String, usize)> {
    let rows = world.rows();
    let times = column(&rows, "times").into_iter().map(|times| times.parse().unwrap());
    let mut all: Vec<_> = column(&rows, "v").into_iter().zip(times).collect();
    all.sort();
    all
}

/// Brings the objects in as they arrive.
async fn bring(world: &World, spec: &Table, arrival: &Arrival, batch_objects: usize) {
    let open = async |fail_at: Option<FailPoint>| {
        let mut config = world.config(spec).await;
        (config.batch_objects, config.fail_at) = (batch_objects, fail_at);
        Compactor::open(config).await.unwrap()
    };
    let mut compactor = open(None).await;
    let clock = Clock::system();
    for ((name, lines), (_, _, then)) in objects(arrival).iter().zip(arrival) {
        world.put_lines(name, lines);
        let place = store::open(world.table().to_str().unwrap(), false).await.unwrap();
        match then {
            Then::Nothing => {}
            Then::Pass => assert_eq!(compactor.pass(None).await.unwrap().quarantined_lines(), 0),
            Then::PassAnew => {
                compactor = open(None).await;
                compactor.pass(None).await.unwrap();
            }
            Then::Crash(point) => drop(open(Some(*point)).await.pass(None).await),
            Then::Optimize => drop(maintain::optimize(&place, 1 << 20, false, &clock).await.unwrap()),
            Then::Cluster => {
                let by = ["v".to_owned()];
                drop(maintain::cluster(&place, &by, 1 << 20, false, &clock).await.unwrap());
            }
        }
    }
    compactor.pass(None).await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn the_table_is_that_of_the_lake_however_its_objects_came_in(
        arrival in prop::collection::vec(
            (any::<u8>(), prop::collection::vec((0..4_u8, prop::option::weighted(0.8, 0..2_u8), 0..3_u8), 1..5), then()),
            2..8,
        ),
        last in any::<bool>(),
        by_city in any::<bool>(),
        batch_objects in 1..4_usize,
    ) {
        let (keep, key): (_, &[&str]) =
            (if last { Keep::Last } else { Keep::First }, if by_city { &["id", "city"] } else { &["id"] });
        let world = World::new();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(bring(&world, &spec(keep, key), &arrival, batch_objects));
        prop_assert_eq!(held(&world), expected(&objects(&arrival), keep, key));
    }
}

/// Three objects of three records with one key; the records of the mask have a field that is no column.
fn with_new_fields(mask: u32) -> Vec<(String, Vec<String>)> {
    let line = |object: u32, place: u32| {
        let v = format!("{object}-{place}");
        match mask >> (3 * object + place) & 1 {
            1 => json!({"id": "x", "seq": 1, "city": "Hull", "v": v, "new": 1}),
            _ => json!({"id": "x", "seq": 1, "city": "Hull", "v": v}),
        }
        .to_string()
    };
    (0..3).map(|object| (format!("{object}@7.gz"), (0..3).map(|place| line(object, place)).collect())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_replay_brings_comes_from_where_the_piece_lay() {
    for keep in [Keep::First, Keep::Last] {
        for mask in [0b000_000_001, 0b100_000_000, 0b111_111_111, 0b011_011_011, 0b000_111_000] {
            let world = World::new();
            let strict = Reading { new_columns: NewColumns::Quarantine, ..Reading::default() };
            let before = Table { read: strict, ..spec(keep, &["id"]) };
            let objects = with_new_fields(mask);
            world.put_lines(&objects[1].0, &objects[1].1);
            world.pass(&before).await;
            world.put_lines(&objects[0].0, &objects[0].1);
            let mut config = world.config(&before).await;
            config.fail_at = Some(FailPoint::AfterQuarantine);
            assert!(Compactor::open(config).await.unwrap().pass(None).await.is_err());
            world.pass(&before).await;
            let read = Reading { new_columns: NewColumns::Ignore, ..Reading::default() };
            let after = Table { read, ..spec(keep, &["id"]) };
            let replayed = world.open(&after).await.replay().await.unwrap();
            assert_eq!(replayed.bad, 0);
            world.put_lines(&objects[2].0, &objects[2].1);
            world.pass(&before).await;
            world.open(&after).await.replay().await.unwrap();
            assert_eq!(held(&world), expected(&objects, keep, &["id"]), "{keep:?} {mask:b}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_say_where_rows_come_from_and_neither_schema_nor_statistics_know() {
    let world = World::new();
    let row = |v: &str| json!({"id": v, "seq": 1, "city": "Hull", "v": v}).to_string();
    world.put("a", format!("{}\n{}", row("p"), row("q")).as_bytes());
    world.put("b.gz", &gzip(row("r").as_bytes()));
    world.pass(&spec(Keep::First, &["id"])).await;
    let log = fs::read_to_string(world.table().join("_delta_log/00000000000000000001.json")).unwrap();
    assert!(log.contains("numRecords") && !log.contains("_millrace_"), "{log}");
    let add: Value =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).find(|a: &Value| !a["add"].is_null()).unwrap();
    let file = fs::File::open(world.table().join(add["add"]["path"].as_str().unwrap())).unwrap();
    let batch = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap().next().unwrap().unwrap();
    let numbers = |name: &str| {
        batch.column_by_name(name).unwrap().as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec()
    };
    let commit = 1 << 24;
    assert_eq!(numbers("_millrace_object"), [commit, commit, commit + 1]);
    assert_eq!(numbers("_millrace_offset"), [0, row("p").len() as i64 + 1, 0]);
    let taken =
        Table { columns: [("_Millrace_x".to_owned(), ColumnType::String)].into_iter().collect(), ..Table::default() };
    let error = Compactor::open(World::new().config(&taken).await).await.err().unwrap();
    assert!(error.is_configuration() && error.to_string().contains("_Millrace_x"), "{error}");
}

/// Appends rows with one key, as a writer would that knows of the table only what its schema says.
fn append(world: &World, ids: &[&str]) {
    let text = |values: Vec<&str>| Arc::new(StringArray::from(values)) as ArrayRef;
    let numbers = |value: i64| Arc::new(Int64Array::from(vec![value; ids.len()])) as ArrayRef;
    let columns = [
        ("id", text(ids.to_vec())),
        ("seq", numbers(1)),
        ("v", text(vec!["theirs"; ids.len()])),
        ("times", numbers(1)),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap();
    let (name, mut bytes) = ("city=Hull/theirs.parquet", Vec::new());
    let mut writer = ArrowWriter::try_new(&mut bytes, Arc::new(Schema::clone(&batch.schema())), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    fs::create_dir_all(world.table().join("city=Hull")).unwrap();
    fs::write(world.table().join(name), &bytes).unwrap();
    let stats = json!({"numRecords": ids.len()}).to_string();
    let add = json!({"add": {"path": name, "partitionValues": {"city": "Hull"}, "size": bytes.len(), "modificationTime": 0,
        "dataChange": true, "stats": stats}});
    let log = world.table().join("_delta_log");
    let version = fs::read_dir(&log)
        .unwrap()
        .filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|e| e == "json"))
        .count();
    fs::write(log.join(format!("{version:020}.json")), add.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_which_no_one_knows_where_it_comes_from_stays_also_once_it_was_written_again() {
    for keep in [Keep::First, Keep::Last] {
        let (world, spec) = (World::new(), spec(keep, &["id"]));
        let row = |id: &str, seq: i64, v: &str| json!({"id": id, "seq": seq, "city": "Hull", "v": v}).to_string();
        world.put_lines("b.gz", &[row("own", 1, "b")]);
        world.pass(&spec).await;
        append(&world, &["x", "y"]);
        let place = store::open(world.table().to_str().unwrap(), false).await.unwrap();
        maintain::optimize(&place, 1 << 20, false, &Clock::system()).await.unwrap();
        for name in ["a.gz", "c.gz"] {
            let better = if keep == Keep::First { 0 } else { 2 };
            world.put_lines(name, &[row("x", 1, name), row("y", better, name), row("own", 1, name)]);
            world.pass(&spec).await;
        }
        let (first, last) = ("a.gz".to_owned(), "c.gz".to_owned());
        let own = if keep == Keep::First { first } else { last };
        let want = [(own.clone(), 3), (own, 3), ("theirs".to_owned(), 3)];
        assert_eq!(held(&world), want);
    }
}

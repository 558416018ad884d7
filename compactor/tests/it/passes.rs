//! The table does not depend on how its lake was cut into passes.

use std::collections::{BTreeMap, BTreeSet};

use millrace_compactor::Compactor;
use millrace_scenarios::{Dedup, Keep, NewColumns, Reading, Table};
use proptest::prelude::*;

use crate::support::{Row, World, column, reading, readings};

/// Objects, in the order they arrive, and after which of them a pass is made.
type Arrival = Vec<(Vec<(u8, u8)>, bool)>;

/// The objects of an arrival: `(key, city)` become records whose sequence number is their place in a fixed shuffle, so
/// that the order of a key's rows is total and has nothing to do with the order of arrival.
fn objects(arrival: &Arrival) -> Vec<(String, Vec<String>)> {
    let total = arrival.iter().map(|(rows, _)| rows.len() as u64).sum::<u64>();
    let mut place = 0;
    let mut made = Vec::new();
    for (number, (rows, _)) in arrival.iter().enumerate() {
        let mut lines = Vec::new();
        for (key, city) in rows {
            let sequence = (place * 7_919 + 3) % 104_729 % (total * 1_000 + 1) * 1_000 + place;
            lines.push(reading(&format!("key{key}"), sequence, ["Hull", "York / é", ""][*city as usize % 3]));
            place += 1;
        }
        // Names that do not follow the order of arrival.
        made.push((format!("{:03}-{number}.gz", (number * 37 + 11) % 101), lines));
    }
    made
}

async fn table_of(spec: &Table, arrival: &Arrival, in_passes: bool) -> (Vec<Row>, u64, u64) {
    let world = World::new();
    let mut config = world.config(spec).await;
    if in_passes {
        config.batch_objects = 2;
    }
    let mut compactor = Compactor::open(config).await.unwrap();
    let (mut lines, mut rows) = (0, 0);
    let last = arrival.len() - 1;
    for (number, ((key, records), (_, pass))) in objects(arrival).iter().zip(arrival).enumerate() {
        world.put_lines(key, records);
        if number == last || (in_passes && *pass) {
            let report = compactor.pass(None).await.unwrap();
            assert_eq!(report.lines, report.rows + report.duplicates);
            lines += report.lines;
            rows += report.rows;
            assert_eq!(report.table_rows, rows);
        }
    }
    (world.rows(), lines, rows)
}

/// What the table must hold of each key, computed the plain way: the number of the row that stays, how many there were,
/// the sum of their numbers, and the first of their cities by name.
fn expected(arrival: &Arrival, keep: Keep) -> Vec<[String; 5]> {
    let mut keys: BTreeMap<String, (Vec<u64>, BTreeSet<String>)> = BTreeMap::new();
    for line in objects(arrival).into_iter().flat_map(|(_, lines)| lines) {
        let record: serde_json::Value = serde_json::from_str(&line).unwrap();
        let text = |name: &str| record[name].as_str().unwrap().to_owned();
        let (numbers, cities) = keys.entry(text("id")).or_default();
        numbers.push(record["seq"].as_u64().unwrap());
        cities.extend(Some(text("city")).filter(|city| !city.is_empty()));
    }
    let winner = |all: &[u64]| match keep {
        Keep::First => *all.iter().min().unwrap(),
        Keep::Last => *all.iter().max().unwrap(),
    };
    let told = |(key, (all, cities)): (String, (Vec<u64>, BTreeSet<String>))| {
        let city = cities.first().cloned().unwrap_or_else(|| "-".to_owned());
        [key, winner(&all).to_string(), all.len().to_string(), all.iter().sum::<u64>().to_string(), city]
    };
    keys.into_iter().map(told).collect()
}

/// These columns of the rows, in order of the first one.
fn columns<const N: usize>(rows: &[Row], names: [&str; N]) -> Vec<[String; N]> {
    let columns = names.map(|name| column(rows, name));
    let mut rows: Vec<_> = (0..rows.len()).map(|row| std::array::from_fn(|of| columns[of][row].clone())).collect();
    rows.sort();
    rows
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 50, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_into_passes_gives_the_same_table(
        arrival in prop::collection::vec((prop::collection::vec((0..6_u8, 0..3_u8), 1..8), any::<bool>()), 1..7),
        last in any::<bool>(),
        aggregate in any::<bool>(),
    ) {
        let keep = if last { Keep::Last } else { Keep::First };
        let spec = readings(keep, aggregate);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (once, lines, rows) = runtime.block_on(table_of(&spec, &arrival, false));
        let (cut, lines_cut, rows_cut) = runtime.block_on(table_of(&spec, &arrival, true));
        prop_assert_eq!(&cut, &once);
        prop_assert_eq!((lines_cut, rows_cut), (lines, rows));

        let want = expected(&arrival, keep);
        if aggregate {
            prop_assert_eq!(columns(&once, ["id", "seq", "times", "total", "some_city"]), want);
        } else {
            let keys: Vec<_> = want.into_iter().map(|[key, sequence, ..]| [key, sequence]).collect();
            prop_assert_eq!(columns(&once, ["id", "seq"]), keys);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn weather_is_aggregated_across_passes() {
    let world = World::new();
    let spec = readings(Keep::First, true);
    let at = |id: &str, seq: u64, hour: u64| {
        format!(r#"{{"id":"{id}","seq":{seq},"city":"London","at":"2025-01-01T{hour:02}:00:00Z"}}"#)
    };
    world.put_lines("a.gz", &[at("x", 5, 10), at("x", 6, 9), at("y", 7, 1)]);
    world.pass(&spec).await;
    world.put_lines("b.gz", &[at("x", 2, 11), at("x", 9, 3)]);
    let second = world.pass(&spec).await;
    assert_eq!((second.rows, second.duplicates, second.files_removed), (0, 2, 1));
    world.put_lines("c.gz", &[at("x", 8, 20)]);
    world.pass(&spec).await;
    let rows = world.rows();
    let x = &rows[rows.iter().position(|row| row["id"] == "x").unwrap()];
    assert_eq!((x["seq"].as_str(), x["times"].as_str()), ("2", "5"));
    assert_eq!(
        (x["at"].as_str(), x["first_at"].as_str(), x["last_at"].as_str()),
        ("2025-01-01T11:00:00Z", "2025-01-01T03:00:00Z", "2025-01-01T20:00:00Z")
    );
    let y = &rows[rows.iter().position(|row| row["id"] == "y").unwrap()];
    assert_eq!((y["seq"].as_str(), y["times"].as_str()), ("7", "1"));
    assert_eq!(rows.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_rows_are_the_same_when_all_of_them_is_also_after_a_new_column() {
    let world = World::new();
    let dedup = readings(Keep::First, true).dedup.map(|rule| Dedup { key: Vec::new(), ..rule });
    let read = Reading { new_columns: NewColumns::Add, ..Reading::default() };
    let spec = Table { dedup, read, ..readings(Keep::First, true) };
    let extra = |text: String| text.replace('{', r#"{"extra":1,"#);
    let (a, b) = (reading("a", 1, "Hull"), reading("a", 2, "Hull"));
    world.put_lines("1.gz", &[a.clone(), a.clone(), b.clone()]);
    let first = world.pass(&spec).await;
    assert_eq!((first.rows, first.duplicates), (2, 1));
    world.put_lines("2.gz", &[a.clone(), extra(a.clone()), extra(reading("c", 3, "York"))]);
    let second = world.pass(&spec).await;
    assert_eq!((second.rows, second.duplicates), (2, 1));
    world.put_lines("3.gz", &[extra(a.clone()), a, b]);
    let third = world.pass(&spec).await;
    assert_eq!((third.rows, third.duplicates), (0, 3));
    let got = columns(&world.rows(), ["id", "seq", "extra", "times", "total"]);
    let want =
        [["a", "1", "-", "4", "4"], ["a", "1", "1", "2", "2"], ["a", "2", "-", "2", "4"], ["c", "3", "1", "1", "3"]];
    assert_eq!(got, want);
}

#[tokio::test(flavor = "multi_thread")]
async fn late_duplicates_change_no_file_when_the_row_in_the_table_stays() {
    let world = World::new();
    let spec = readings(Keep::First, false);
    world.put_lines("a.gz", &[reading("a", 1, "Hull"), reading("b", 2, "Hull")]);
    world.pass(&spec).await;
    world.put_lines("b.gz", &[reading("a", 3, "Hull"), reading("b", 4, "York")]);
    let report = world.pass(&spec).await;
    assert_eq!((report.duplicates, report.files_added, report.files_removed), (2, 0, 0));
    assert_eq!(report.commits, 1, "the objects are taken all the same");
    assert_eq!(world.pass(&spec).await.commits, 0);
}

//! How rows lie in data files: in order of chosen columns, and in files of about the size that is asked for.

use std::{
    fs,
    path::{Path, PathBuf},
};

use millrace_scenarios::{Keep, Table};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::support::{World, reading, readings};

/// The data files that the log adds at a version, and that are there.
fn added(world: &World, version: u64) -> Vec<PathBuf> {
    let entry = fs::read_to_string(world.table().join(format!("_delta_log/{version:020}.json"))).unwrap();
    let adds = entry.lines().filter_map(|line| {
        let action: Value = serde_json::from_str(line).unwrap();
        Some(world.table().join(action["add"]["path"].as_str()?))
    });
    adds.collect()
}

/// `at` and `id` of each row, as they lie in the file.
fn keys(file: &Path) -> Vec<(String, String)> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(file).unwrap()).unwrap().build().unwrap();
    let mut keys = Vec::new();
    for batch in reader {
        let batch = batch.unwrap();
        let text = |name: &str, row: usize| {
            arrow::util::display::array_value_to_string(batch.column_by_name(name).unwrap(), row).unwrap()
        };
        keys.extend((0..batch.num_rows()).map(|row| (text("at", row), text("id", row))));
    }
    keys
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_lie_in_order_of_the_chosen_columns_also_after_late_duplicates() {
    let world = World::new();
    let sort_by = vec!["at".to_owned(), "id".to_owned()];
    let spec = Table { sort_by, partition_by: vec!["city".to_owned()], ..readings(Keep::First, true) };
    let lines = |from: u64| {
        (0..300).map(|k| reading(&format!("id{:03}", k * 7 % 300), from + k * 5 % 24, "Hull")).collect::<Vec<_>>()
    };
    world.put_lines("a.gz", &lines(2));
    assert_eq!(world.pass(&spec).await.rows, 300);
    let first = added(&world, 1);
    assert_eq!(first.len(), 1);
    assert!(keys(&first[0]).is_sorted() && keys(&first[0]).len() == 300);

    // Each row is written again with what was computed over it and a later one, and stays in its place.
    let later: Vec<_> = lines(2).into_iter().map(|line| line.replace("\"seq\":", "\"seq\":9")).step_by(2).collect();
    world.put_lines("b.gz", &later);
    let report = world.pass(&spec).await;
    assert_eq!((report.duplicates, report.files_added, report.files_removed), (150, 1, 1));
    assert_eq!(keys(&added(&world, 2)[0]), keys(&first[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_ends_at_about_the_size_that_is_asked_for() {
    let mut sizes = Vec::new();
    for file_size in [None, Some("1MiB".parse().unwrap())] {
        let world = World::new();
        let spec =
            Table { file_size, partition_by: vec!["city".to_owned()], dedup: None, ..readings(Keep::First, false) };
        // Ids that do not compress.
        let id = |k: u64| {
            format!(
                "{:016x}{:016x}",
                k.wrapping_mul(0x9E37_79B9_7F4A_7C15),
                (k ^ 77).wrapping_mul(0xD6E8_FEB8_6659_FD93)
            )
        };
        let lines: Vec<_> = (0..120_000).map(|k| reading(&id(k), k, "Hull")).collect();
        world.put_lines("a.gz", &lines);
        assert_eq!(world.pass(&spec).await.rows, 120_000);
        sizes.push(added(&world, 1).iter().map(|file| fs::metadata(file).unwrap().len()).collect::<Vec<_>>());
    }
    println!("bytes of the files: {sizes:?}");
    assert_eq!(sizes[0].len(), 1, "{sizes:?}");
    let (last, full) = sizes[1].split_last().unwrap();
    assert!(!full.is_empty() && *last < 2 << 20, "{sizes:?}");
    assert!(full.iter().all(|size| (1 << 19..2 << 20).contains(size)), "{sizes:?}");
}

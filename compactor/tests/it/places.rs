//! Places and clocks that turn bad between two passes.

use std::fs;

use millrace_compactor::{Clock, CompactError, Compactor, compact::maintain, store};
use millrace_scenarios::{ColumnType, Keep, Table};

use crate::support::{NOW_US, World, reading, readings};

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_goes_back_changes_nothing() {
    let spec = readings(Keep::First, true);
    let world = World::new();
    for (wave, now_us) in [(0, NOW_US), (1, NOW_US - 86_400_000_000), (2, 0)] {
        world.put_lines(
            &format!("{}.gz", 9 - wave),
            &[reading("id", 5 - wave, "Hull"), reading(&format!("id{wave}"), 1, "York")],
        );
        let mut config = world.config(&spec).await;
        config.clock = Clock::new(move || now_us);
        assert_eq!(Compactor::open(config).await.unwrap().pass(None).await.unwrap().objects, 1);
    }
    let rows = world.rows();
    assert_eq!(rows.len(), 4);
    assert!(rows.iter().any(|row| row["id"] == "id" && row["seq"] == "3" && row["times"] == "3"), "{rows:?}");
    assert_eq!(world.pass(&spec).await.objects, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_deleted_under_a_compactor_is_an_error_and_the_next_one_makes_it_anew() {
    let spec = readings(Keep::First, false);
    let world = World::new();
    world.put_lines("0.gz", &[reading("a", 1, "Hull")]);
    world.pass(&spec).await;
    let mut compactor = world.open(&spec).await;
    fs::remove_dir_all(world.table()).unwrap();
    world.put_lines("1.gz", &[reading("b", 1, "Hull")]);
    let error = compactor.pass(None).await.unwrap_err();
    assert!(!error.is_configuration() && error.to_string().contains("/table"), "{error}");
    assert_eq!(world.pass(&spec).await.objects, 2);
    assert_eq!(world.rows().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_another_schema_is_refused_and_left_as_it_is() {
    let world = World::new();
    world.put_lines("0.gz", &[reading("a", 1, "Hull")]);
    world.pass(&readings(Keep::First, false)).await;
    let rows = world.rows();
    let mut other = readings(Keep::First, false);
    other.columns.insert("seq".to_owned(), ColumnType::String);
    let other = Table { dedup: None, ..other };
    let error = Compactor::open(world.config(&other).await).await.err().expect("another schema");
    assert!(matches!(error, CompactError::OtherSchema { .. }) && error.is_configuration(), "{error}");
    assert_eq!(world.rows(), rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_nothing_to_maintain_where_no_table_is() {
    let home = tempfile::tempdir().unwrap();
    let place = store::open(home.path().to_str().unwrap(), false).await.unwrap();
    let error = maintain::optimize(&place, 1 << 20, false, &Clock::system()).await.unwrap_err();
    assert!(matches!(error, CompactError::NoTable { .. }) && error.is_configuration(), "{error}");
    let error = maintain::vacuum(&place, None, false, false, &Clock::system()).await.unwrap_err();
    assert!(matches!(error, CompactError::NoTable { .. }), "{error}");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "nothing is written");
}

//! Pieces in quarantine, brought into the table once what made them bad is mended.

use millrace_compactor::{Compactor, compact::FailPoint};
use millrace_scenarios::{ColumnType, NewColumns, Reading, RecordFormat, Table};

use crate::support::{World, column, gzip};

fn spec(new_columns: NewColumns) -> Table {
    let columns = [("id".to_owned(), ColumnType::Integer)].into_iter().collect();
    Table { columns, read: Reading { new_columns, ..Reading::default() }, ..Table::default() }
}

/// Three good records, two with a field that is no column, and one that never will be one.
async fn world() -> World {
    let world = World::new();
    world.put("a", br#"{"id":1}{"id":2,"x":1}{"id":3}"#);
    world.put("b", br#"{"id":4,"x":2}{"id":5}{"id":?}"#);
    let report = world.pass(&spec(NewColumns::Quarantine)).await;
    assert_eq!((report.rows, report.quarantined_lines()), (3, 3));
    world
}

fn ids(world: &World) -> Vec<String> {
    let mut ids = column(&world.rows(), "id");
    ids.sort();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_brings_in_what_is_a_record_now_and_a_second_one_does_nothing() {
    for choice in [NewColumns::Ignore, NewColumns::Add] {
        let world = world().await;
        let mut compactor = world.open(&spec(choice)).await;
        let before = compactor.pieces().await.unwrap();
        let places: Vec<_> = before.iter().map(|p| (p.object.as_str(), p.offset, p.reason.as_str())).collect();
        assert_eq!(places, [("a", 8, "new_column"), ("b", 0, "new_column"), ("b", 22, "not_json")]);
        assert_eq!(before[0].column.as_deref(), Some("x"));
        let report = compactor.replay().await.unwrap();
        assert_eq!((report.pass.rows, report.bad, report.cut, report.replayed), (2, 1, 0, 0));
        assert_eq!(ids(&world), ["1", "2", "3", "4", "5"]);
        let x = column(&world.rows(), "x");
        assert_eq!(x.iter().filter(|x| *x != "-").count(), if choice == NewColumns::Add { 2 } else { 0 });

        let again = world.open(&spec(choice)).await.replay().await.unwrap();
        assert_eq!((again.pass.rows, again.pass.commits, again.bad, again.replayed), (0, 0, 1, 2));
        let after = world.open(&spec(choice)).await.pieces().await.unwrap();
        assert_eq!(after.iter().map(|p| p.replayed).collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(world.pass(&spec(choice)).await.objects, 0);
        assert_eq!(world.quarantine().len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_cut_short_anywhere_is_finished_once_by_whoever_comes_next() {
    for point in [
        FailPoint::AfterManifest,
        FailPoint::AfterDataFiles,
        FailPoint::AfterQuarantine,
        FailPoint::BeforeCommit,
        FailPoint::AfterCommit,
        FailPoint::LostAnswer,
    ] {
        for by_replay in [true, false] {
            let world = world().await;
            let mut config = world.config(&spec(NewColumns::Add)).await;
            config.fail_at = Some(point);
            let outcome = Compactor::open(config).await.unwrap().replay().await;
            assert_eq!(outcome.is_ok(), point == FailPoint::LostAnswer, "{point:?}: {outcome:?}");
            if by_replay {
                world.open(&spec(NewColumns::Add)).await.replay().await.unwrap();
            } else {
                world.put("c", br#"{"id":6}"#);
                world.pass(&spec(NewColumns::Add)).await;
                world.open(&spec(NewColumns::Add)).await.replay().await.unwrap();
            }
            let want = ["1", "2", "3", "4", "5", "6"];
            assert_eq!(ids(&world), want[..if by_replay { 5 } else { 6 }], "{point:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_key_says_and_how_lines_are_read_holds_for_pieces_too() {
    let world = World::new();
    let columns = ["id", "n"].map(|name| (name.to_owned(), ColumnType::Integer)).into_iter().collect();
    let read = |fields: &[&str], header| Reading {
        format: RecordFormat::Csv,
        fields: fields.iter().map(|name| (*name).to_owned()).collect(),
        path_columns: vec!["n".to_owned()],
        header,
        ..Reading::default()
    };
    let mut spec = Table { columns, read: read(&["id"], false), ..Table::default() };
    world.put("n=7/a", b"1\n2,late\n3\n");
    assert_eq!(world.pass(&spec).await.rows, 2);
    // The header that is asked for now was in no piece.
    spec.read = read(&["id", "comment"], true);
    let report = world.open(&spec).await.replay().await.unwrap();
    assert_eq!((report.pass.rows, report.pass.unknown["comment"]), (1, 1));
    assert_eq!(ids(&world), ["1", "2", "3"]);
    assert_eq!(column(&world.rows(), "n"), ["7", "7", "7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quarantine_there_is_nothing_to_replay() {
    let world = World::new();
    world.put("a", br#"{"id":1}"#);
    let spec = spec(NewColumns::Ignore);
    world.pass(&spec).await;
    let mut compactor = world.open(&spec).await;
    assert_eq!(compactor.pieces().await.unwrap(), []);
    assert_eq!(compactor.replay().await.unwrap().pass.commits, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_piece_that_is_too_long_to_be_kept_whole_is_read_again_where_it_came_from() {
    let long = "x".repeat(3 << 20);
    let object = |filler: &str| format!("{{\"id\":1}}\n{{\"id\":2,\"x\":\"{filler}\"}}{{\"id\":3}}");
    for (point, later) in
        [(None, object(&long)), (Some(FailPoint::AfterManifest), object(&long)), (None, object(&"y".repeat(3 << 20)))]
    {
        let world = World::new();
        world.put("a.gz", &gzip(object(&long).as_bytes()));
        let mut report = world.pass(&spec(NewColumns::Quarantine)).await;
        assert_eq!((report.rows, report.quarantined.remove("new_column")), (2, Some(1)));
        let there = world.open(&spec(NewColumns::Add)).await.pieces().await.unwrap();
        assert!(there[0].length > 3 << 20 && world.quarantine()[0]["raw"].len() == 2 << 20, "1 MiB is kept, in hex");
        world.put("a.gz", &gzip(later.as_bytes()));
        let is_same = later == object(&long);
        if point.is_some() {
            let mut config = world.config(&spec(NewColumns::Add)).await;
            config.fail_at = point;
            assert!(Compactor::open(config).await.unwrap().replay().await.is_err());
        }
        let replayed = world.open(&spec(NewColumns::Add)).await.replay().await.unwrap();
        // Of an object that was put anew with something else in that place, nothing is taken.
        let (rows, cut) = if is_same { (1, 0) } else { (0, 1) };
        assert_eq!((replayed.pass.rows, replayed.cut, replayed.bad), (rows, cut, 0));
        assert_eq!(ids(&world).len(), if is_same { 3 } else { 2 });
        let again = world.open(&spec(NewColumns::Add)).await.replay().await.unwrap();
        assert_eq!((again.pass.rows, again.replayed, again.cut), (0, rows, cut));
        std::fs::remove_file(world.lake().join("a.gz")).unwrap();
        let gone = world.open(&spec(NewColumns::Add)).await.replay().await.unwrap();
        assert_eq!((gone.pass.rows, gone.cut), (0, cut));
    }
}

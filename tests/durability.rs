//! `serve --data`: the server is killed in the middle of a load, and every acknowledged record is there afterwards.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    collections::HashMap,
    net::TcpListener,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_sdk_kinesis::{
    Client,
    primitives::Blob,
    types::{PutRecordsRequestEntry, ShardIteratorType},
};
use millrace_loadgen::client::{Endpoint, connect};

use support::{at, expect_exit, millrace, number, server::Server};

const WRITERS: usize = 4;
const RECORDS_PER_CALL: usize = 25;
const KILLS: usize = 4;

/// What was acknowledged: data by shard and sequence number.
type Acknowledged = Arc<Mutex<HashMap<(String, String), String>>>;

async fn client(server: &Server) -> Client {
    connect(&Endpoint::Local(server.url.clone())).await.unwrap().client
}

fn serve(folder: &Path) -> Server {
    let folder = folder.to_str().expect("a path of text");
    Server::millrace(&["--stream", "s:2", "--quota", "off", "--data", folder])
}

/// Puts records until the server is gone.
async fn write(client: Client, name: String, acknowledged: Acknowledged) {
    for call in 0.. {
        let data: Vec<_> = (0..RECORDS_PER_CALL).map(|record| format!("{name}.{call}.{record}")).collect();
        let entry = |data: &String| {
            PutRecordsRequestEntry::builder().partition_key(data).data(Blob::new(data.as_bytes())).build().unwrap()
        };
        let records = data.iter().map(entry).collect();
        let Ok(answer) = client.put_records().stream_name("s").set_records(Some(records)).send().await else { return };
        assert_eq!(answer.failed_record_count, Some(0));
        let mut acknowledged = acknowledged.lock().unwrap();
        for (data, record) in data.into_iter().zip(answer.records) {
            acknowledged.insert((record.shard_id.unwrap(), record.sequence_number.unwrap()), data);
        }
    }
}

/// Every record of the stream, by shard, in the order it is read.
async fn read(client: &Client) -> HashMap<String, Vec<(String, String)>> {
    let mut read = HashMap::new();
    for shard in client.list_shards().stream_name("s").send().await.unwrap().shards.unwrap() {
        let iterator = client.get_shard_iterator().stream_name("s").shard_id(&shard.shard_id);
        let iterator = iterator.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.unwrap();
        let (mut next, mut records) = (iterator.shard_iterator, Vec::new());
        while let Some(iterator) = next {
            let answer = client.get_records().shard_iterator(iterator).send().await.unwrap();
            let text = |data: &Blob| String::from_utf8(data.as_ref().to_vec()).unwrap();
            records.extend(answer.records.iter().map(|record| (record.sequence_number.clone(), text(&record.data))));
            next = answer.next_shard_iterator.filter(|_| answer.millis_behind_latest != Some(0));
        }
        read.insert(shard.shard_id, records);
    }
    read
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_acknowledged_is_there_after_the_server_was_killed_again_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let acknowledged = Acknowledged::default();
    for kill in 0..KILLS {
        let server = serve(folder.path());
        let client = client(&server).await;
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| tokio::spawn(write(client.clone(), format!("{kill}.{writer}"), Arc::clone(&acknowledged))))
            .collect();
        tokio::time::sleep(Duration::from_millis(250)).await;
        if kill == 1 {
            let middle = (1_u128 << 126).to_string();
            let split = client.split_shard().stream_name("s").shard_to_split("shardId-0").new_starting_hash_key(middle);
            split.send().await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
        // Dropping it kills it: no signal that it could answer.
        drop(server);
        for writer in writers {
            writer.await.unwrap();
        }
    }

    let server = serve(folder.path());
    let read = read(&client(&server).await).await;
    assert_eq!(read.len(), 4, "two shards, and the two that one was split into");
    let acknowledged = acknowledged.lock().unwrap();
    assert!(acknowledged.len() > KILLS * WRITERS * RECORDS_PER_CALL, "{} records", acknowledged.len());
    let mut found = HashMap::new();
    for (shard, records) in &read {
        assert!(records.windows(2).all(|pair| pair[0].0 < pair[1].0), "the numbers of {shard} rise");
        found.extend(records.iter().map(|(number, data)| ((shard.clone(), number.clone()), data.clone())));
    }
    let lost = acknowledged.iter().filter(|(place, data)| found.get(*place) != Some(*data)).count();
    assert_eq!(lost, 0, "of {} acknowledged records", acknowledged.len());
}

/// Puts one call of records of 4 KiB and gives what was acknowledged, by place, and how many were refused.
async fn put_large(client: &Client, call: usize) -> (HashMap<(String, String), String>, usize) {
    let data: Vec<_> = (0..RECORDS_PER_CALL).map(|record| format!("{call}.{record}.{:4096}", "")).collect();
    let entry = |data: &String| {
        let key = data.split(' ').next().unwrap();
        PutRecordsRequestEntry::builder().partition_key(key).data(Blob::new(data.as_bytes())).build().unwrap()
    };
    let records = data.iter().map(entry).collect();
    let answer = client.put_records().stream_name("s").set_records(Some(records)).send().await.unwrap();
    let mut acknowledged = HashMap::new();
    let mut refused = 0;
    for (data, record) in data.into_iter().zip(answer.records) {
        if let Some(code) = record.error_code {
            assert_eq!(code, "InternalFailure");
            refused += 1;
        } else {
            acknowledged.insert((record.shard_id.unwrap(), record.sequence_number.unwrap()), data);
        }
    }
    assert_eq!(answer.failed_record_count, Some(refused));
    (acknowledged, refused as usize)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_records_loses_none_and_is_worked_on_when_there_is_room_again() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let server = Server::millrace_on_a_small_disk(512, &["--stream", "s:2", "--quota", "off", "--data", data]);
    let of_server = client(&server).await;
    let mut acknowledged = HashMap::new();
    let mut full = 0;
    for call in 0..20 {
        let (taken, refused) = put_large(&of_server, call).await;
        acknowledged.extend(taken);
        full += refused;
    }
    println!("{} acknowledged, {full} refused", acknowledged.len());
    assert!(full > 0 && !acknowledged.is_empty(), "20 calls of 100 KiB do not fit into 512 KiB, the first does");
    server.allow_any_file();
    for call in 20..40 {
        let (taken, refused) = put_large(&of_server, call).await;
        assert_eq!(refused, 0);
        acknowledged.extend(taken);
    }
    drop(server);

    let found: HashMap<_, _> = read(&client(&serve(folder.path())).await)
        .await
        .into_iter()
        .flat_map(|(shard, records)| records.into_iter().map(move |(number, data)| ((shard.clone(), number), data)))
        .collect();
    assert!(found == acknowledged, "{} found of {} acknowledged", found.len(), acknowledged.len());
}

/// A load of six seconds whose server is killed half-way and started again on its port at once. Gives the exit code
/// and the record.
fn load_through_a_kill(data: &[&str]) -> (Option<i32>, serde_json::Value) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let serve = || Server::millrace_on(port, &[&["--stream", "s:2"], data].concat());
    let server = serve();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut command = millrace();
    command.args(["load", "sensors", "--rate", "400", "--for", "6s", "--target", &server.url, "--set", "slo=[]"]);
    command.args(["--set", "stream.name=s", "--set", "delivery.buffer_interval=1s", "--out"]).arg(&out);
    let load = std::thread::spawn(move || support::run(&mut command));
    std::thread::sleep(Duration::from_secs(4));
    // Dropping it kills it.
    drop(server);
    let _again = serve();
    let output = load.join().unwrap();
    (output.status.code(), support::record(&out))
}

#[test]
fn a_load_through_a_kill_counts_what_the_stream_forgot_as_lost() {
    let (code, record) = load_through_a_kill(&[]);
    assert_eq!(code, Some(1), "a lost record breaks a promise");
    assert!(number(&record, "ledger.lost") > 0);
    for hop in at(&record, "ledger.hops").as_array().unwrap().iter().filter(|hop| hop["hop"] != "delivery") {
        assert_eq!(hop["difference"], 0, "{hop}");
    }
}

#[test]
fn a_load_through_a_kill_loses_nothing_that_the_stream_wrote_down() {
    let folder = tempfile::tempdir().unwrap();
    let (code, record) = load_through_a_kill(&["--data", folder.path().to_str().unwrap()]);
    assert!(matches!(code, Some(0 | 4)), "{code:?}");
    assert_eq!(number(&record, "ledger.lost"), 0);
    assert_eq!(number(&record, "load.due"), number(&record, "load.accepted") + number(&record, "load.refused"));
    for hop in at(&record, "ledger.hops").as_array().unwrap() {
        assert_eq!(hop["difference"], 0, "{hop}");
    }
}

#[test]
fn a_folder_in_use_or_damaged_is_said_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let first = serve(folder.path());
    let data = folder.path().to_str().unwrap();
    let serve_again = || {
        let mut command = millrace();
        command.args(["serve", "--port", "0", "--data", data]);
        command
    };
    // The report is wrapped to the terminal's width.
    let said = |command: &mut Command| expect_exit(command, 3).1.replace("\n  │ ", " ");
    let reason = said(&mut serve_again());
    assert!(reason.contains("in use by another server"), "{reason}");
    assert_eq!(first.stop(), Some(0));

    let segment = folder.path().join("wal-0000000000000001.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[20] ^= 0xFF;
    std::fs::write(&segment, &bytes).unwrap();
    let reason = said(&mut serve_again());
    assert!(reason.contains("is damaged at byte 0") && reason.contains("0000000000000001.log"), "{reason}");
    assert_eq!(std::fs::read(&segment).unwrap(), bytes);
}

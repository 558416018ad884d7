//! An hour of load on an injected clock: what is older than the retention leaves, and the memory stays as it is.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use millrace_pipeline::stream::{Clock, ManualClock, Quotas, ServerConfig, StreamServer};

const SHARDS: u64 = 2;
/// What a shard takes by AWS's limits.
const RECORDS_PER_SECOND: u64 = 1_000;
const HOUR_S: u64 = 3_600;
const RETENTION_S: u64 = 60;
const RECORDS_PER_CALL: u64 = 500;
const DATA_BYTES: usize = 100;
const KEY: &str = "key";

/// One connection, one call at a time.
struct Client {
    socket: TcpStream,
    answer: Vec<u8>,
}

impl Client {
    /// The body of the answer, which has to be a good one.
    fn call(&mut self, operation: &str, body: &str) -> &str {
        let head = format!(
            "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-amz-json-1.1\r\n\
             x-amz-target: Kinesis_20131202.{operation}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.socket.write_all(&[head.as_bytes(), body.as_bytes()].concat()).unwrap();
        self.answer.clear();
        loop {
            let mut part = [0; 65_536];
            let count = self.socket.read(&mut part).unwrap();
            assert!(count > 0, "the connection was closed");
            self.answer.extend_from_slice(&part[..count]);
            let Some(end) = self.answer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
            let head = std::str::from_utf8(&self.answer[..end]).unwrap();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if self.answer.len() == end + 4 + length.parse::<usize>().unwrap() {
                let answer = std::str::from_utf8(&self.answer).unwrap();
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                return &answer[end + 4..];
            }
        }
    }
}

/// The text of a member that is a string.
fn member<'a>(answer: &'a str, name: &str) -> &'a str {
    let (_, rest) = answer.split_once(&format!("\"{name}\":\"")).unwrap();
    rest.split_once('"').unwrap().0
}

/// Memory of this process that is in use, bytes. `None` where the system does not say.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

fn put_body(shard: u64) -> String {
    // The upper half of the hash keys is the second shard's.
    let hash = (u128::MAX / 2 + 1) * u128::from(shard);
    let data = STANDARD.encode([7; DATA_BYTES]);
    let record = format!("{{\"Data\":\"{data}\",\"PartitionKey\":\"{KEY}\",\"ExplicitHashKey\":\"{hash}\"}}");
    let records = vec![record; usize::try_from(RECORDS_PER_CALL).unwrap()].join(",");
    format!("{{\"StreamName\":\"s\",\"Records\":[{records}]}}")
}

#[test]
fn an_hour_of_load_at_the_limit_is_taken_and_read_whole_and_memory_stays_flat() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let clock = Arc::new(ManualClock::new(1_700_000_000_000_000));
    let clock_of_server: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
    let config = ServerConfig {
        streams: vec![("s".to_owned(), u32::try_from(SHARDS).unwrap())],
        retention: Duration::from_secs(RETENTION_S),
        quotas: Quotas::aws(),
        clock: clock_of_server,
        ..ServerConfig::default()
    };
    let server = runtime.block_on(async { StreamServer::bind(config) }).unwrap();
    let mut client = Client { socket: TcpStream::connect(server.address()).unwrap(), answer: Vec::new() };
    let bodies: Vec<_> = (0..SHARDS).map(put_body).collect();
    let iterator_of = |shard| {
        format!("{{\"StreamName\":\"s\",\"ShardId\":\"shardId-{shard}\",\"ShardIteratorType\":\"TRIM_HORIZON\"}}")
    };
    let mut iterators: Vec<String> = (0..SHARDS)
        .map(|shard| member(client.call("GetShardIterator", &iterator_of(shard)), "ShardIterator").to_owned())
        .collect();

    let mut read = 0;
    let mut used = Vec::new();
    let mut resident = Vec::new();
    for second in 0..HOUR_S {
        for body in &bodies {
            for _ in 0..RECORDS_PER_SECOND / RECORDS_PER_CALL {
                let answer = client.call("PutRecords", body);
                assert!(answer.starts_with("{\"FailedRecordCount\":0,"), "second {second}: {}", &answer[..200]);
            }
        }
        for iterator in &mut iterators {
            let answer = client.call("GetRecords", &format!("{{\"ShardIterator\":\"{iterator}\"}}"));
            read += answer.matches("\"SequenceNumber\"").count() as u64;
            *iterator = member(answer, "NextShardIterator").to_owned();
        }
        if second >= 2 * RETENTION_S && second % 60 == 0 {
            used.push(server.metrics().used_bytes);
            resident.extend(resident_bytes());
        }
        clock.advance_us(1_000_000);
    }

    let counts = server.metrics();
    let shards = &counts.streams[0].shards;
    assert_eq!(shards.iter().map(|shard| shard.records).sum::<u64>(), SHARDS * RECORDS_PER_SECOND * HOUR_S);
    assert_eq!(shards.iter().map(|shard| shard.throttled_records).sum::<u64>(), 0);
    assert_eq!(read, SHARDS * RECORDS_PER_SECOND * HOUR_S);

    // The records of the second a minute ago are still there: 61 seconds' worth are held, each with a little overhead.
    let held = SHARDS * RECORDS_PER_SECOND * (RETENTION_S + 1) * (DATA_BYTES + KEY.len()) as u64;
    assert!(used.iter().all(|bytes| *bytes == used[0]), "{used:?}");
    assert!((held..held * 11 / 10).contains(&used[0]), "{} of {held} bytes", used[0]);
    // The whole hour would be 740 MB. What the allocator keeps back differs from run to run, but does not grow.
    if let (Some(first), Some(most)) = (resident.first(), resident.iter().max()) {
        assert!(most - first < 64 << 20, "{resident:?}");
        assert!(*most < 256 << 20, "{resident:?}");
    }
}

//! What is measured: puts and reads at full speed, and single puts one after another.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::{
    client::{Connection, find, member, request},
    machine::{cpu_seconds, wait},
    options::Options,
    servers::{Rival, Running},
};

const SHARDS: usize = 4;
/// Records of one PutRecords, AWS's limit.
const BATCH: usize = 500;
/// Different requests that each client thread sends in turn.
const BODIES: usize = 8;
/// Bytes of a partition key.
const KEY_BYTES: usize = 12;
/// Records of one GetRecords, AWS's limit.
const PAGE: usize = 10_000;
const WARM_UP: Duration = Duration::from_millis(500);
/// What one measurement may store, so that no server has to forget or refuse.
const STORED_BYTES: u64 = 1_200 << 20;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Workload {
    /// PutRecords of 500 records, each of so many bytes.
    Put { bytes: usize, threads: usize },
    /// GetRecords from the oldest record to the newest, again and again.
    Get { bytes: usize, threads: usize },
    /// PutRecord of 100 bytes, one at a time, on a server that does nothing else.
    Single,
}

/// One measurement of one server.
#[derive(Debug, Clone, Copy)]
pub struct Measurement {
    /// Records in the window.
    pub records: u64,
    /// Records a second.
    pub rate: f64,
    /// Payload and partition keys a second, 10^6 bytes.
    pub megabytes: f64,
    /// Processor seconds of the server, for a million records.
    pub server_cpu: f64,
    /// The same of the client.
    pub client_cpu: f64,
    /// Median and 99th percentile of a call, microseconds; only of single puts.
    pub latency_us: Option<(f64, f64)>,
}

/// Every workload whose name contains what was asked for.
pub fn all(options: &Options) -> Vec<Workload> {
    let mut all = Vec::new();
    for bytes in [100, 200, 1_024] {
        all.extend([1, 2].map(|threads| Workload::Put { bytes, threads }));
    }
    for bytes in [100, 1_024] {
        all.extend([1, 2].map(|threads| Workload::Get { bytes, threads }));
    }
    all.push(Workload::Single);
    all.retain(|w| w.name().contains(&options.only));
    assert!(!all.is_empty(), "no workload's name contains {:?}", options.only);
    all
}

impl Workload {
    /// Its name in the table.
    pub fn name(self) -> String {
        let plural = |threads: usize| if threads == 1 { "" } else { "s" };
        match self {
            Self::Put { bytes, threads: n } => format!("PutRecords 500 x {bytes} B, {n} client{}", plural(n)),
            Self::Get { bytes, threads: n } => format!("GetRecords {bytes} B, {n} client{}", plural(n)),
            Self::Single => "PutRecord 100 B, one at a time".to_owned(),
        }
    }

    /// Starts a server, measures it and ends it.
    pub fn measure(self, rival: &Rival, options: &Options) -> Measurement {
        let server = rival.start();
        create(server.address);
        match self {
            Self::Put { bytes, threads } => {
                let bodies: Vec<_> = (0..threads).map(|t| batches(bytes, t)).collect();
                let put = |thread: usize, goes: &Gate| put(server.address, &bodies[thread], goes);
                throughput(&server, (threads, bytes), options.window, STORED_BYTES, put)
            }
            Self::Get { bytes, threads } => {
                // Pages of a megabyte are served by every server alike; ten of them for each shard.
                let page = PAGE.min((1 << 20) / bytes);
                let tour = fill(server.address, bytes, page);
                let get = |thread: usize, goes: &Gate| get(server.address, &tour, thread, threads, goes);
                throughput(&server, (threads, bytes), options.window, u64::MAX, get)
            }
            Self::Single => single(&server, options.window),
        }
    }
}

/// What the client threads share.
#[derive(Debug, Default)]
struct Gate {
    records: AtomicU64,
    stop: AtomicBool,
}

impl Gate {
    /// Counts what one call did; `false` when it was the last one.
    fn count(&self, records: usize) -> bool {
        self.records.fetch_add(records as u64, Relaxed);
        !self.stop.load(Relaxed)
    }
}

/// Runs the client threads, lets them warm up, and counts what they do in a window, or until they moved `most_bytes`.
fn throughput(
    server: &Running,
    (threads, bytes): (usize, usize),
    window: Duration,
    most_bytes: u64,
    client: impl Fn(usize, &Gate) + Sync,
) -> Measurement {
    let gate = Gate::default();
    let record_bytes = (bytes + KEY_BYTES) as u64;
    thread::scope(|scope| {
        for thread in 0..threads {
            let (client, gate) = (&client, &gate);
            scope.spawn(move || client(thread, gate));
        }
        wait(WARM_UP, || false);
        let before = Sample::take(server, &gate);
        wait(window, || gate.records.load(Relaxed).saturating_mul(record_bytes) > most_bytes);
        let after = Sample::take(server, &gate);
        gate.stop.store(true, Relaxed);
        before.until(&after, record_bytes)
    })
}

/// The counters at one moment.
struct Sample {
    at: Instant,
    records: u64,
    server_cpu: f64,
    client_cpu: f64,
}

impl Sample {
    fn take(server: &Running, gate: &Gate) -> Self {
        Self {
            at: Instant::now(),
            records: gate.records.load(Relaxed),
            server_cpu: cpu_seconds(server.process()),
            client_cpu: cpu_seconds(std::process::id()),
        }
    }

    fn until(&self, end: &Self, record_bytes: u64) -> Measurement {
        let records = end.records - self.records;
        let rate = records as f64 / (end.at - self.at).as_secs_f64();
        let per_million = 1e6 / records as f64;
        Measurement {
            records,
            rate,
            megabytes: rate * record_bytes as f64 / 1e6,
            server_cpu: (end.server_cpu - self.server_cpu) * per_million,
            client_cpu: (end.client_cpu - self.client_cpu) * per_million,
            latency_us: None,
        }
    }
}

impl Measurement {
    /// It in half a line.
    pub fn brief(&self) -> String {
        let mut text = format!(
            "{:>9.0} records/s, {:>5.2} server CPU-s and {:>5.2} client CPU-s a million",
            self.rate, self.server_cpu, self.client_cpu
        );
        if let Some((p50, p99)) = self.latency_us {
            let _ = write!(text, ", p50 {p50:.0} us, p99 {p99:.0} us");
        }
        text
    }
}

fn create(address: SocketAddr) {
    let mut connection = Connection::open(address);
    let body = format!(r#"{{"StreamName":"bench","ShardCount":{SHARDS}}}"#);
    connection.expect(&request("CreateStream", &body));
    let ask = request("DescribeStreamSummary", r#"{"StreamName":"bench"}"#);
    let patience = Instant::now();
    while find(connection.expect(&ask), b"\"ACTIVE\"").is_none() {
        assert!(patience.elapsed() < Duration::from_secs(20), "the stream does not become active");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Bytes that no compressor, cache or branch predictor knows: SplitMix64 (Steele, Lea and Flood, 2014).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A member `Data` of so many bytes and a member `PartitionKey`.
    fn record(&mut self, bytes: usize) -> String {
        let data: Vec<u8> = (0..bytes).map(|_| self.next() as u8).collect();
        let key = format!("{:0KEY_BYTES$x}", self.next() >> 16);
        format!(r#""Data":"{}","PartitionKey":"{key}""#, BASE64_STANDARD.encode(data))
    }
}

fn batches(bytes: usize, thread: usize) -> Vec<Vec<u8>> {
    let mut noise = Noise(thread as u64);
    let body = |_| {
        let records: Vec<_> = (0..BATCH).map(|_| format!("{{{}}}", noise.record(bytes))).collect();
        request("PutRecords", &format!(r#"{{"StreamName":"bench","Records":[{}]}}"#, records.join(",")))
    };
    (0..BODIES).map(body).collect()
}

fn put(address: SocketAddr, bodies: &[Vec<u8>], gate: &Gate) {
    let mut connection = Connection::open(address);
    for body in bodies.iter().cycle() {
        put_all(&mut connection, body);
        if !gate.count(BATCH) {
            return;
        }
    }
}

/// A PutRecords that has to be taken whole.
fn put_all(connection: &mut Connection, body: &[u8]) {
    let answer = connection.expect(body);
    assert_eq!(member(answer, "FailedRecordCount"), Some("0"), "a record was refused");
}

/// A page of a shard, as it was when it was counted.
struct Page {
    records: usize,
    answer_bytes: usize,
}

/// The way through every shard from its oldest record on.
struct Tour {
    shards: Vec<(String, Vec<Page>)>,
    page: usize,
}

impl Tour {
    fn first(&self, connection: &mut Connection, shard: &str) -> String {
        let body = format!(r#"{{"StreamName":"bench","ShardId":"{shard}","ShardIteratorType":"TRIM_HORIZON"}}"#);
        let answer = connection.expect(&request("GetShardIterator", &body));
        member(answer, "ShardIterator").expect("an iterator").to_owned()
    }

    fn call(&self, iterator: &str) -> Vec<u8> {
        request("GetRecords", &format!(r#"{{"ShardIterator":"{iterator}","Limit":{}}}"#, self.page))
    }
}

/// Puts ten pages of records on each shard, then reads them once to know what an answer holds.
fn fill(address: SocketAddr, bytes: usize, page: usize) -> Tour {
    const PAGES: usize = 10;
    let (mut connection, mut noise) = (Connection::open(address), Noise(7));
    let mut tour = Tour { shards: Vec::new(), page };
    for shard in 0..SHARDS {
        let hash = (u128::MAX / SHARDS as u128 + 1) * shard as u128;
        let mut rest = PAGES * page;
        while rest > 0 {
            let batch = rest.min(BATCH);
            let entry = |_| format!(r#"{{{},"ExplicitHashKey":"{hash}"}}"#, noise.record(bytes));
            let records: Vec<_> = (0..batch).map(entry).collect();
            let body = format!(r#"{{"StreamName":"bench","Records":[{}]}}"#, records.join(","));
            put_all(&mut connection, &request("PutRecords", &body));
            rest -= batch;
        }
    }
    for shard in 0..SHARDS {
        let shard = format!("shardId-{shard:012}");
        let mut iterator = tour.first(&mut connection, &shard);
        let mut pages = Vec::new();
        for _ in 0..PAGES {
            let answer = connection.expect(&tour.call(&iterator));
            let records = answer.windows(16).filter(|w| *w == b"\"SequenceNumber\"").count();
            pages.push(Page { records, answer_bytes: answer.len() });
            member(answer, "NextShardIterator").expect("a next iterator").clone_into(&mut iterator);
        }
        let read: usize = pages.iter().map(|p| p.records).sum();
        assert_eq!(read, PAGES * page, "the shard holds what was put");
        tour.shards.push((shard, pages));
    }
    tour
}

fn get(address: SocketAddr, tour: &Tour, thread: usize, threads: usize, gate: &Gate) {
    let mut connection = Connection::open(address);
    for (shard, pages) in tour.shards.iter().skip(thread).step_by(threads).cycle() {
        let mut iterator = tour.first(&mut connection, shard);
        for page in pages {
            let answer = connection.expect(&tour.call(&iterator));
            // The iterators in it differ from tour to tour, by a few bytes at most.
            assert!(answer.len().abs_diff(page.answer_bytes) < 200, "a page differs from the first time");
            member(answer, "NextShardIterator").expect("a next iterator").clone_into(&mut iterator);
            if !gate.count(page.records) {
                return;
            }
        }
    }
}

fn single(server: &Running, window: Duration) -> Measurement {
    let mut noise = Noise(11);
    let calls: Vec<_> = (0..4_096)
        .map(|_| request("PutRecord", &format!(r#"{{"StreamName":"bench",{}}}"#, noise.record(100))))
        .collect();
    let mut connection = Connection::open(server.address);
    let (gate, mut turns) = (Gate::default(), calls.iter().cycle());
    let mut tick = || {
        let start = Instant::now();
        connection.expect(turns.next().expect("a cycle has no end"));
        gate.count(1);
        start.elapsed()
    };
    let warm_up = Instant::now();
    while warm_up.elapsed() < WARM_UP {
        tick();
    }
    let mut took = Vec::with_capacity(1 << 18);
    let before = Sample::take(server, &gate);
    while before.at.elapsed() < window {
        took.push(tick());
    }
    let after = Sample::take(server, &gate);
    took.sort_unstable();
    let quantile = |q: f64| took[((took.len() - 1) as f64 * q) as usize].as_secs_f64() * 1e6;
    let latency_us = Some((quantile(0.5), quantile(0.99)));
    Measurement { latency_us, ..before.until(&after, (100 + KEY_BYTES) as u64) }
}

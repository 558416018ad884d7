//! A stream with known answers: it takes every record, each call after a set time, and stalls when it is told to.
//!
//! Nothing of Millrace's own streams is in it. It is blocking sockets, one thread per connection and the few lines of
//! HTTP/1.1 and JSON that a producer and a consumer need, so that a reader can check it by eye. Each thread sleeps to an
//! absolute time, because a timer wheel of 1 ms slots would blur the very times that the tests compare.

#![allow(dead_code, reason = "each test uses its own part")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use millrace_loadgen::{
    Clock, LoadOutcome, LoadPlan, Slice, Witness,
    client::{Endpoint, StreamClient, connect},
    clock::sharpen_timers,
};
use millrace_reports::{latency::LatencyLog, record::HopLatency};
use millrace_scenarios::Hop;
use serde_json::{Value, json};
use tokio::sync::watch;

/// A span in which no call is begun: what arrives in it waits for its end. Microseconds after the first due time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stall {
    /// First moment.
    pub(crate) from_us: u64,
    /// First moment after it.
    pub(crate) until_us: u64,
}

/// How the stream answers PutRecords: each call takes `service_us`, begun at once or at the end of a stall.
#[derive(Debug, Clone, Default)]
pub(crate) struct Behaviour {
    /// Time from a call's beginning to its answer.
    pub(crate) service_us: u64,
    /// When no call is begun.
    pub(crate) stalls: Vec<Stall>,
}

impl Behaviour {
    /// When a call that arrives at `arrival_us` is answered; both after the first due time.
    pub(crate) fn answer_us(&self, arrival_us: u64) -> u64 {
        let held = self.stalls.iter().find(|stall| (stall.from_us..stall.until_us).contains(&arrival_us));
        held.map_or(arrival_us, |stall| stall.until_us) + self.service_us
    }
}

/// How long after its preparation a load begins: by then every part is at its place.
const LEAD_US: u64 = 400_000;

struct Stream {
    behaviour: Behaviour,
    clock: Clock,
    origin_us: u64,
    /// Data in base64 and key, as they came.
    records: Mutex<Vec<(Value, Value)>>,
}

impl Stream {
    fn records(&self) -> MutexGuard<'_, Vec<(Value, Value)>> {
        self.records.lock().unwrap()
    }

    /// Serves one connection until it closes.
    fn serve(&self, mut socket: TcpStream) -> std::io::Result<()> {
        sharpen_timers();
        socket.set_nodelay(true)?;
        let mut reader = BufReader::new(socket.try_clone()?);
        while let Some((operation, body)) = read_request(&mut reader)? {
            let arrival_us = self.clock.now_us();
            let answer = self.answer(&operation, &body).to_string();
            if operation == "PutRecords" {
                let offset_us = arrival_us.saturating_sub(self.origin_us);
                self.clock.sleep_until(self.origin_us + self.behaviour.answer_us(offset_us));
            }
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: ";
            socket.write_all(format!("{head}{}\r\n\r\n{answer}", answer.len()).as_bytes())?;
        }
        Ok(())
    }

    fn answer(&self, operation: &str, body: &Value) -> Value {
        let shard = "shardId-000000000000";
        match operation {
            "PutRecords" => {
                let mut records = self.records();
                let mut entries = Vec::new();
                for record in body["Records"].as_array().unwrap() {
                    records.push((record["Data"].clone(), record["PartitionKey"].clone()));
                    entries.push(json!({"ShardId": shard, "SequenceNumber": records.len().to_string()}));
                }
                json!({"FailedRecordCount": 0, "Records": entries})
            }
            "GetRecords" => {
                let place: usize = body["ShardIterator"].as_str().unwrap().parse().unwrap();
                let records = self.records();
                let entry = |(k, (data, key)): (usize, &(Value, Value))| {
                    json!({"Data": data, "PartitionKey": key, "SequenceNumber": (k + 1).to_string(),
                           "ApproximateArrivalTimestamp": (self.clock.now_us() / 1_000) as f64 / 1e3})
                };
                let page: Vec<Value> = records.iter().enumerate().skip(place).take(500).map(entry).collect();
                let next = place + page.len();
                let behind = if next < records.len() { 1 } else { 0 };
                json!({"Records": page, "NextShardIterator": next.to_string(), "MillisBehindLatest": behind})
            }
            "GetShardIterator" => json!({"ShardIterator": "0"}),
            "ListShards" => json!({"Shards": [{"ShardId": shard,
                "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": u128::MAX.to_string()},
                "SequenceNumberRange": {"StartingSequenceNumber": "0"}}]}),
            "DescribeStreamSummary" => json!({"StreamDescriptionSummary": {"StreamName": "demo",
                "StreamARN": "arn:aws:kinesis:us-east-1:0:stream/demo", "StreamStatus": "ACTIVE",
                "RetentionPeriodHours": 24, "StreamCreationTimestamp": 1.0, "EnhancedMonitoring": [],
                "OpenShardCount": 1}}),
            other => panic!("a load does not call {other}"),
        }
    }
}

/// The operation and the body of the next request; nothing when the client has closed the connection.
fn read_request(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<(String, Value)>> {
    let (mut operation, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            if line == "\r\n" {
                break;
            }
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "x-amz-target" => operation = value.rsplit('.').next().unwrap().to_owned(),
            "content-length" => length = value.parse().unwrap(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some((operation, serde_json::from_slice(&body).unwrap())))
}

/// A load of small readings with constant arrivals, against a stream that behaves like this.
pub(crate) struct Trial {
    /// How the stream answers.
    pub(crate) behaviour: Behaviour,
    /// The scenario's `[load]`.
    pub(crate) load: Value,
    /// Length of the intervals over time.
    pub(crate) interval: Duration,
}

impl Trial {
    /// Runs the load to its end.
    pub(crate) fn run(&self) -> LoadOutcome {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let clock = Clock::start();
        let origin_us = clock.now_us() + LEAD_US;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stream = Stream { behaviour: self.behaviour.clone(), clock, origin_us, records: Mutex::default() };
        let stream = Arc::new(stream);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let stream = Arc::clone(&stream);
                let serve = move || drop(stream.serve(socket));
                thread::Builder::new().stack_size(256 << 10).spawn(serve).unwrap();
            }
        });
        let scenario = json!({
            "name": "demo", "source": {"kind": "sensors"}, "load": self.load,
            "keys": {"kind": "uniform", "distinct": 50}, "stream": {"name": "demo", "consumer_poll": "200ms"},
        });
        let outcome = runtime.block_on(async {
            let reached = connect(&Endpoint::Local(url)).await.unwrap();
            let plan = LoadPlan {
                scenario: Arc::new(serde_json::from_value(scenario).unwrap()),
                run_id: "demo-1".to_owned(),
                run_dir: folder.path().to_owned(),
                stream: StreamClient::new(&reached, "demo"),
                witness: Witness::Consumer,
                slice: Slice::default(),
                ready_us: clock.now_us(),
                log: LatencyLog::discard(origin_us),
                interval: self.interval,
                clock,
            };
            let (_stop, stop) = watch::channel(false);
            millrace_loadgen::run(plan, Arc::default(), stop).await.unwrap()
        });
        assert_eq!(outcome.first_due_us, origin_us, "the load began when the stalls are counted from");
        assert_eq!((outcome.lost, outcome.duplicated, outcome.record.refused), (0, 0, 0));
        outcome
    }
}

/// The distribution of one hop.
pub(crate) fn hop(outcome: &LoadOutcome, hop: Hop) -> &HopLatency {
    outcome.latency.iter().find(|latency| latency.hop == hop).unwrap()
}

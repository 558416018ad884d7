//! A scripted stream on loopback for the tests: just enough of the Kinesis wire protocol, with faults on demand.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use md5::{Digest, Md5};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    client::{Endpoint, StreamClient, connect},
    clock::Clock,
    producer::{
        api::Api,
        call::RecordMeta,
        desk::{Desk, Room},
    },
    wire::route::Route,
};

/// What the next PutRecords call meets.
#[derive(Debug, Clone)]
pub(crate) enum PutStep {
    /// All records are taken.
    Accept,
    /// The records at these places are refused with this code.
    Refuse(Vec<usize>, &'static str),
    /// All records are taken after this long.
    Stall(Duration),
    /// The connection is closed without an answer.
    Drop,
    /// The records are taken, and then the connection is closed without an answer.
    KeepAndDrop,
    /// The call fails as a whole.
    Error(&'static str, u16),
}

#[derive(Debug, Default)]
struct FakeShard {
    parents: Vec<usize>,
    first: u128,
    last: u128,
    closed: bool,
    /// Data and key, both as text, and the arrival time in seconds.
    records: Vec<(Vec<u8>, String, f64)>,
}

#[derive(Debug, Default)]
struct State {
    shards: Vec<FakeShard>,
    errors: VecDeque<(&'static str, u16)>,
    puts: VecDeque<PutStep>,
    put_always: Option<PutStep>,
    put_calls: Vec<Vec<String>>,
    put_requests: Vec<PutRequest>,
    throttled_shard: Option<usize>,
    puts_under_way: usize,
    most_puts_under_way: usize,
    read_errors: VecDeque<&'static str>,
    read_page: Option<usize>,
    page_shards: bool,
    reads: usize,
    lose: Option<&'static str>,
    poison: Option<&'static str>,
}

/// A PutRecords call as it came.
#[derive(Debug, Clone)]
pub(crate) struct PutRequest {
    headers: HeaderMap,
    pub(crate) body: Value,
}

impl PutRequest {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// The server. It lives as long as the test's runtime.
#[derive(Debug, Clone)]
pub(crate) struct FakeKinesis {
    url: String,
    state: Arc<Mutex<State>>,
}

type Answer = (u16, Value);

/// The stream `demo` at `url`.
pub(crate) async fn local_stream(url: &str) -> StreamClient {
    StreamClient::new(&connect(&Endpoint::Local(url.to_owned())).await.unwrap(), "demo")
}

fn error(code: &str, status: u16) -> Answer {
    (status, json!({"__type": code, "message": "scripted"}))
}

fn shard_name(index: usize) -> String {
    format!("shardId-{index:012}")
}

fn shard_index(name: &Value) -> usize {
    name.as_str().unwrap().rsplit('-').next().unwrap().parse().unwrap()
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as f64 / 1e3
}

impl FakeKinesis {
    pub(crate) async fn start(shards: usize) -> Self {
        let width = u128::MAX / shards as u128;
        let shards = (0..shards)
            .map(|i| FakeShard {
                first: width * i as u128,
                last: if i + 1 == shards { u128::MAX } else { width * (i as u128 + 1) - 1 },
                ..FakeShard::default()
            })
            .collect();
        let state = Arc::new(Mutex::new(State { shards, ..State::default() }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let fake = Self { url, state };
        let server = fake.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let fake = server.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| fake.clone().serve(request));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        fake
    }

    pub(crate) async fn stream(&self) -> StreamClient {
        local_stream(&self.url).await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The next call of any kind fails.
    pub(crate) fn script_error(&self, code: &'static str, status: u16) {
        self.state().errors.push_back((code, status));
    }

    pub(crate) fn put_steps(&self, steps: impl IntoIterator<Item = PutStep>) {
        self.state().puts.extend(steps);
    }

    /// What every PutRecords call without a step of its own meets.
    pub(crate) fn put_always(&self, step: PutStep) {
        self.state().put_always = Some(step);
    }

    /// Payloads of each PutRecords call so far.
    pub(crate) fn put_calls(&self) -> Vec<Vec<String>> {
        self.state().put_calls.clone()
    }

    pub(crate) fn put_requests(&self) -> Vec<PutRequest> {
        self.state().put_requests.clone()
    }

    /// Refuses every record of this shard.
    pub(crate) fn throttle_shard(&self, shard: usize) {
        self.state().throttled_shard = Some(shard);
    }

    /// Data and key of every record that was taken, shard by shard in the order they were taken.
    pub(crate) fn stored(&self) -> Vec<(String, String)> {
        let state = self.state();
        let all = state.shards.iter().flat_map(|shard| &shard.records);
        all.map(|(data, key, _)| (String::from_utf8_lossy(data).into_owned(), key.clone())).collect()
    }

    pub(crate) fn most_puts_under_way(&self) -> usize {
        self.state().most_puts_under_way
    }

    /// Takes a record that holds this text, and forgets it.
    pub(crate) fn lose(&self, text: &'static str) {
        self.state().lose = Some(text);
    }

    /// Rejects every call with a record that holds this text.
    pub(crate) fn poison(&self, text: &'static str) {
        self.state().poison = Some(text);
    }

    /// Codes of the next GetRecords calls; an empty one lets the call pass.
    pub(crate) fn read_errors(&self, codes: impl IntoIterator<Item = &'static str>) {
        self.state().read_errors.extend(codes);
    }

    /// Records per GetRecords call at most.
    pub(crate) fn read_page(&self, records: usize) {
        self.state().read_page = Some(records);
    }

    pub(crate) fn reads(&self) -> usize {
        self.state().reads
    }

    /// One shard per ListShards page.
    pub(crate) fn page_shards(&self) {
        self.state().page_shards = true;
    }

    pub(crate) fn put(&self, shard: usize, text: &str) {
        self.put_bytes(shard, text.as_bytes());
    }

    pub(crate) fn put_bytes(&self, shard: usize, data: &[u8]) {
        self.state().shards[shard].records.push((data.into(), "k".to_owned(), now()));
    }

    /// Closes a shard and opens its two children.
    pub(crate) fn split(&self, shard: usize) {
        let mut state = self.state();
        let (first, last) = (state.shards[shard].first, state.shards[shard].last);
        let middle = first + (last - first) / 2;
        state.shards[shard].closed = true;
        for (first, last) in [(first, middle), (middle + 1, last)] {
            state.shards.push(FakeShard { parents: vec![shard], first, last, ..FakeShard::default() });
        }
    }

    async fn serve(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, DropConnection> {
        let target = request.headers()["x-amz-target"].to_str().unwrap().rsplit('.').next().unwrap().to_owned();
        let headers = request.headers().clone();
        let body = request.into_body().collect().await.map_err(|_| DropConnection)?.to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let scripted = self.state().errors.pop_front();
        let (status, answer) = match scripted {
            Some((code, status)) => error(code, status),
            None if target == "PutRecords" => {
                self.state().put_requests.push(PutRequest { headers, body: body.clone() });
                self.put_records(&body).await?
            }
            None => self.answer(&target, &body),
        };
        let response = Response::builder().status(status).header("content-type", "application/x-amz-json-1.1");
        Ok(response.body(Full::new(Bytes::from(answer.to_string()))).unwrap())
    }

    async fn put_records(&self, body: &Value) -> Result<Answer, DropConnection> {
        let records: Vec<(Vec<u8>, String)> = body["Records"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| {
                (STANDARD.decode(r["Data"].as_str().unwrap()).unwrap(), r["PartitionKey"].as_str().unwrap().into())
            })
            .collect();
        let step = {
            let mut state = self.state();
            state.put_calls.push(records.iter().map(|(d, _)| String::from_utf8_lossy(d).into_owned()).collect());
            state.puts_under_way += 1;
            state.most_puts_under_way = state.most_puts_under_way.max(state.puts_under_way);
            let poisoned = state.poison.is_some_and(|p| records.iter().any(|(d, _)| holds(d, p)));
            let step = state.puts.pop_front().or_else(|| state.put_always.clone()).unwrap_or(PutStep::Accept);
            if poisoned { PutStep::Error("InvalidArgumentException", 400) } else { step }
        };
        if let PutStep::Stall(length) = &step {
            tokio::time::sleep(*length).await;
        }
        let mut state = self.state();
        state.puts_under_way -= 1;
        match &step {
            PutStep::Drop => return Err(DropConnection),
            PutStep::Error(code, status) => return Ok(error(code, *status)),
            _ => {}
        }
        let mut failed = 0;
        let mut entries = Vec::new();
        for (i, (data, key)) in records.into_iter().enumerate() {
            if let PutStep::Refuse(places, code) = &step
                && places.contains(&i)
            {
                failed += 1;
                entries.push(json!({"ErrorCode": code, "ErrorMessage": "scripted"}));
                continue;
            }
            let hash = u128::from_be_bytes(Md5::digest(key.as_bytes()).into());
            let shard = state.shards.iter().position(|s| !s.closed && s.first <= hash && hash <= s.last).unwrap();
            if state.throttled_shard == Some(shard) {
                failed += 1;
                let code = "ProvisionedThroughputExceededException";
                entries.push(json!({"ErrorCode": code, "ErrorMessage": "scripted"}));
                continue;
            }
            let lost = state.lose.is_some_and(|text| holds(&data, text));
            if !lost {
                state.shards[shard].records.push((data, key, now()));
            }
            let sequence = state.shards[shard].records.len().to_string();
            entries.push(json!({"ShardId": shard_name(shard), "SequenceNumber": sequence}));
        }
        if matches!(step, PutStep::KeepAndDrop) {
            return Err(DropConnection);
        }
        Ok((200, json!({"FailedRecordCount": failed, "Records": entries})))
    }

    fn answer(&self, target: &str, body: &Value) -> Answer {
        let mut state = self.state();
        match target {
            "CreateStream" => (200, json!({})),
            "DescribeStreamSummary" => {
                let open = state.shards.iter().filter(|s| !s.closed).count();
                let summary = json!({"StreamName": "demo", "StreamARN": "arn:aws:kinesis:us-east-1:0:stream/demo",
                    "StreamStatus": "ACTIVE", "RetentionPeriodHours": 24, "StreamCreationTimestamp": 1.0,
                    "EnhancedMonitoring": [], "OpenShardCount": open});
                (200, json!({"StreamDescriptionSummary": summary}))
            }
            "ListShards" => state.list_shards(body),
            "GetShardIterator" => {
                let index = shard_index(&body["ShardId"]);
                let records = &state.shards[index].records;
                let place = match body["ShardIteratorType"].as_str().unwrap() {
                    "TRIM_HORIZON" => 0,
                    "LATEST" => records.len(),
                    "AT_TIMESTAMP" => {
                        records.iter().position(|r| r.2 >= body["Timestamp"].as_f64().unwrap()).unwrap_or(records.len())
                    }
                    _ => body["StartingSequenceNumber"].as_str().unwrap().parse().unwrap(),
                };
                (200, json!({"ShardIterator": format!("{index}:{place}")}))
            }
            "GetRecords" => state.get_records(body),
            other => error(other, 400),
        }
    }
}

impl State {
    fn list_shards(&self, body: &Value) -> Answer {
        assert!(body["StreamName"].is_null() || body["NextToken"].is_null(), "AWS takes one of the two");
        let from: usize = body["NextToken"].as_str().map_or(0, |token| token.parse().unwrap());
        let to = if self.page_shards { from + 1 } else { self.shards.len() };
        let shards: Vec<Value> = (from..to)
            .map(|i| {
                let shard = &self.shards[i];
                let mut json = json!({"ShardId": shard_name(i),
                    "HashKeyRange": {"StartingHashKey": shard.first.to_string(), "EndingHashKey": shard.last.to_string()},
                    "SequenceNumberRange": {"StartingSequenceNumber": "0"}});
                if shard.closed {
                    json["SequenceNumberRange"]["EndingSequenceNumber"] = "9".into();
                }
                for (name, parent) in ["ParentShardId", "AdjacentParentShardId"].iter().zip(&shard.parents) {
                    json[*name] = shard_name(*parent).into();
                }
                json
            })
            .collect();
        let mut answer = json!({"Shards": shards});
        if to < self.shards.len() {
            answer["NextToken"] = to.to_string().into();
        }
        (200, answer)
    }

    fn get_records(&mut self, body: &Value) -> Answer {
        self.reads += 1;
        if let Some(code) = self.read_errors.pop_front().filter(|code| !code.is_empty()) {
            return error(code, if code == "InternalFailure" { 500 } else { 400 });
        }
        let (index, place) = body["ShardIterator"].as_str().unwrap().split_once(':').unwrap();
        let (index, place): (usize, usize) = (index.parse().unwrap(), place.parse().unwrap());
        let shard = &self.shards[index];
        let end = shard.records.len().min(place + self.read_page.unwrap_or(10_000));
        let records: Vec<Value> = (place..end)
            .map(|i| {
                let (data, key, arrival) = &shard.records[i];
                json!({"Data": STANDARD.encode(data), "PartitionKey": key, "SequenceNumber": (i + 1).to_string(),
                    "ApproximateArrivalTimestamp": arrival})
            })
            .collect();
        let behind = if end < shard.records.len() { 1_000 } else { 0 };
        let mut answer = json!({"Records": records, "MillisBehindLatest": behind});
        if !(shard.closed && end == shard.records.len()) {
            answer["NextShardIterator"] = format!("{index}:{end}").into();
        }
        (200, answer)
    }
}

fn holds(data: &[u8], text: &str) -> bool {
    String::from_utf8_lossy(data).contains(text)
}

/// A desk without connections: calls wait at it, and the test takes them.
#[derive(Debug)]
pub(crate) struct BareDesk {
    desk: Arc<Desk>,
    held_back: Mutex<Duration>,
    _poll: mio::Poll,
}

/// A call that was handed over.
#[derive(Debug)]
pub(crate) struct SentCall {
    pub(crate) ready_us: u64,
    pub(crate) records: Vec<RecordMeta>,
    pub(crate) data: Vec<Vec<u8>>,
}

impl BareDesk {
    pub(crate) fn new(clock: Clock) -> Self {
        let poll = mio::Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let route = Arc::new(Route::nowhere());
        let room = Room { records: 1, bytes: 1 << 20 };
        let desk = Arc::new(Desk::new(1, room, waker, Api::put_records("demo"), route, false, false, clock));
        Self { desk, held_back: Mutex::default(), _poll: poll }
    }

    pub(crate) fn desk(&self) -> Arc<Desk> {
        Arc::clone(&self.desk)
    }

    /// Takes nothing for this long.
    pub(crate) fn hold_back(&self, length: Duration) {
        *self.held_back.lock().unwrap() = length;
    }

    /// Takes every call until the desk is closed.
    pub(crate) fn take_all(&self) -> Vec<SentCall> {
        std::thread::sleep(*self.held_back.lock().unwrap());
        let mut taken = Vec::new();
        loop {
            let (waiting, closed) = {
                let mut state = self.desk.state();
                (state.ready.pop_front(), state.closed)
            };
            let Some(waiting) = waiting else {
                if closed {
                    return taken;
                }
                std::thread::sleep(Duration::from_micros(200));
                continue;
            };
            let call = waiting.call;
            let data = |entry| {
                let json: Value = serde_json::from_slice(call.json_of(entry)).unwrap();
                STANDARD.decode(json["Data"].as_str().unwrap()).unwrap()
            };
            let data = call.entries().iter().map(data).collect();
            taken.push(SentCall { ready_us: call.ready_us, records: call.records().to_vec(), data });
            self.desk.release(call.records().len(), call.bytes());
        }
    }
}

/// Makes the server close the connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the script drops this connection")]
pub(crate) struct DropConnection;

impl From<Infallible> for DropConnection {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

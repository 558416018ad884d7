//! A server that takes everything and keeps nothing: what is left to measure is the client.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, MutexGuard},
    thread,
    time::Duration,
};

use crate::stamped;

/// The environment variable that makes this program the server.
pub const ROLE: &str = "MILLRACE_BENCH_NULL_SERVER";
const SHARDS: usize = 4;
/// What the variable says to a server that keeps the times of arrival.
const STAMPED: &str = "stamped";
/// What this server calls the question for the times of arrival.
const ARRIVALS: &str = "arrivals";
/// They themselves, in nanoseconds since 1970.
static ARRIVED_NS: Mutex<Vec<i64>> = Mutex::new(Vec::new());

fn arrivals() -> MutexGuard<'static, Vec<i64>> {
    ARRIVED_NS.lock().expect("no panic holds it")
}

/// The server's process; it ends with this, and with its parent.
#[derive(Debug)]
pub struct NullServer {
    child: Child,
    _alive: ChildStdin,
    /// Where it listens.
    pub address: SocketAddr,
}

impl NullServer {
    /// Starts it.
    pub fn start() -> Self {
        Self::start_as("plain")
    }

    /// Starts one that keeps when each call came, as the kernel stamped its packet: on the loopback that is done while the
    /// sender writes, so that no sleep of the server's is in it.
    pub fn start_stamped() -> Self {
        Self::start_as(STAMPED)
    }

    fn start_as(role: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        let mut child = command.env(ROLE, role).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("an address");
        let alive = child.stdin.take().expect("piped");
        Self { child, _alive: alive, address: line.trim().parse().expect("an address") }
    }

    /// When each PutRecords call came, nanoseconds since 1970.
    pub fn arrivals_ns(&self) -> Vec<i64> {
        let mut socket = TcpStream::connect(self.address).expect("reached");
        let head =
            format!("POST / HTTP/1.1\r\nx-amz-target: kinesis_20131202.{ARRIVALS}\r\ncontent-length: 1\r\n\r\n}}");
        socket.write_all(head.as_bytes()).expect("sent");
        let mut reader = BufReader::new(socket);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a head");
            match line.trim() {
                "" => break,
                line => length = line.strip_prefix("content-length: ").map_or(length, |n| n.parse().expect("a length")),
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a body");
        serde_json::from_slice(&body).expect("a list")
    }

    /// The endpoint.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for NullServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves until the parent is gone.
pub fn serve() -> ! {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    let stamped = std::env::var(ROLE).is_ok_and(|role| role == STAMPED);
    thread::spawn(move || wait_for_each(&listener, stamped));
    let _ = std::io::stdin().read(&mut [0]);
    std::process::exit(0)
}

/// A thread for each connection, asleep until something comes.
fn wait_for_each(listener: &TcpListener, stamped: bool) {
    for socket in listener.incoming().flatten() {
        thread::spawn(move || {
            let mut conversation = Conversation::new(socket, stamped);
            while conversation.step().is_some() {}
        });
    }
}

/// One connection.
struct Conversation {
    socket: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
    /// By number of entries.
    answers: Vec<Option<Vec<u8>>>,
}

impl Conversation {
    fn new(socket: TcpStream, stamped: bool) -> Self {
        socket.set_nodelay(true).expect("a socket");
        if stamped {
            stamped::ask(&socket).expect("the kernel stamps packets");
        }
        Self { socket, buffer: vec![0; 2 << 20], filled: 0, answers: vec![None; 501] }
    }

    /// Answers one call; `None` when the connection is over.
    fn step(&mut self) -> Option<()> {
        loop {
            let (read, came_ns) = stamped::read(&self.socket, &mut self.buffer[self.filled..]).ok()?;
            if read == 0 {
                return None;
            }
            self.filled += read;
            let head = self.buffer[..self.filled].windows(4).take(4_096).position(|w| w == b"\r\n\r\n");
            let Some(head) = head.map(|at| at + 4) else { continue };
            let end = head + content_length(&self.buffer[..head])?;
            if self.buffer.len() < end {
                self.buffer.resize(end, 0);
            }
            if self.filled >= end {
                self.answer(head, end, came_ns)?;
                self.buffer.copy_within(end..self.filled, 0);
                self.filled -= end;
                return Some(());
            }
        }
    }

    fn answer(&mut self, head: usize, end: usize, came_ns: Option<i64>) -> Option<()> {
        let text = String::from_utf8_lossy(&self.buffer[..head]).to_ascii_lowercase();
        let operation = text.split("kinesis_20131202.").nth(1)?.split("\r\n").next()?.to_owned();
        let (cbor, body) = (text.contains("x-amz-cbor"), &self.buffer[head..end]);
        let entries = match cbor {
            true => memchr::memmem::find_iter(body, b"lPartitionKey").count(),
            // Base64 and these keys hold no brace, so each entry has one, and the call has one more.
            false => body.iter().filter(|byte| **byte == b'}').count() - 1,
        };
        let answer: &[u8] = match operation.as_str() {
            "putrecords" => {
                arrivals().extend(came_ns);
                let make = || if cbor { taken_cbor(entries) } else { http(&taken(entries)) };
                self.answers[entries.min(500)].get_or_insert_with(make)
            }
            ARRIVALS => &http(&format!("{:?}", arrivals())),
            "listshards" => &http(&shards()),
            "describestreamsummary" => &http(&summary()),
            _ => &http("{}"),
        };
        self.socket.write_all(answer).ok()
    }
}

fn content_length(head: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    text.lines().find_map(|line| line.strip_prefix("content-length:"))?.trim().parse().ok()
}

fn http(body: &str) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: ";
    format!("{head}{}\r\n\r\n{body}", body.len()).into_bytes()
}

/// As long as an answer of AWS: 56 digits and the shard's name for each entry.
fn taken(entries: usize) -> String {
    let entry =
        |k: usize| format!(r#"{{"SequenceNumber":"495903382714901{k:041}","ShardId":"shardId-{:012}"}}"#, k % SHARDS);
    let entries: Vec<String> = (0..entries).map(entry).collect();
    format!(r#"{{"FailedRecordCount":0,"Records":[{}]}}"#, entries.join(","))
}

/// The same in CBOR.
fn taken_cbor(entries: usize) -> Vec<u8> {
    let text = |text: &str| [&[0x78, text.len() as u8], text.as_bytes()].concat();
    let mut body = [&[0xA1][..], &text("Records"), &[0x99], &(entries as u16).to_be_bytes()].concat();
    for k in 0..entries {
        body.push(0xA2);
        body.extend(text("SequenceNumber"));
        body.extend(text(&format!("495903382714901{k:041}")));
        body.extend(text("ShardId"));
        body.extend(text(&format!("shardId-{:012}", k % SHARDS)));
    }
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-cbor-1.1\r\ncontent-length: ";
    [format!("{head}{}\r\n\r\n", body.len()).as_bytes(), &body].concat()
}

fn shards() -> String {
    let width = u128::MAX / SHARDS as u128 + 1;
    let shard = |k: usize| {
        let first = width * k as u128;
        let last = first + (width - 1);
        format!(
            r#"{{"ShardId":"shardId-{k:012}","HashKeyRange":{{"StartingHashKey":"{first}","EndingHashKey":"{last}"}},"SequenceNumberRange":{{"StartingSequenceNumber":"1"}}}}"#
        )
    };
    let shards: Vec<String> = (0..SHARDS).map(shard).collect();
    format!(r#"{{"Shards":[{}]}}"#, shards.join(","))
}

fn summary() -> String {
    format!(
        r#"{{"StreamDescriptionSummary":{{"StreamName":"null","StreamARN":"arn:aws:kinesis:us-east-1:0:stream/null","StreamStatus":"ACTIVE","RetentionPeriodHours":24,"StreamCreationTimestamp":1.0,"EnhancedMonitoring":[],"OpenShardCount":{SHARDS}}}}}"#
    )
}

/// Waits a moment for the machine to settle.
pub fn settle() {
    thread::sleep(Duration::from_millis(200));
}

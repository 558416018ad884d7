//! A server that takes everything and keeps nothing: what is left to measure is the client.

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{LazyLock, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

/// The environment variable that makes this program the server.
pub const ROLE: &str = "MILLRACE_BENCH_NULL_SERVER";
const SHARDS: usize = 4;
/// What the variable says to a server that must not sleep.
const AWAKE: &str = "awake";
/// What this server calls the question for the times of arrival.
const ARRIVALS: &str = "arrivals";
/// What those count from, and they themselves.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
static ARRIVED_US: Mutex<Vec<u64>> = Mutex::new(Vec::new());

fn arrivals() -> MutexGuard<'static, Vec<u64>> {
    ARRIVED_US.lock().expect("no panic holds it")
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
        Self::start_as("asleep")
    }

    /// Starts one that looks at its sockets all the time and never sleeps.
    pub fn start_awake() -> Self {
        Self::start_as(AWAKE)
    }

    fn start_as(role: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        let mut child = command.env(ROLE, role).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("an address");
        let alive = child.stdin.take().expect("piped");
        Self { child, _alive: alive, address: line.trim().parse().expect("an address") }
    }

    /// When each PutRecords call came, microseconds since the server began.
    pub fn arrivals_us(&self) -> Vec<u64> {
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
    let awake = std::env::var(ROLE).is_ok_and(|role| role == AWAKE);
    thread::spawn(move || if awake { watch_all(&listener) } else { wait_for_each(&listener) });
    let _ = std::io::stdin().read(&mut [0]);
    std::process::exit(0)
}

/// A thread for each connection, asleep until something comes.
fn wait_for_each(listener: &TcpListener) {
    for socket in listener.incoming().flatten() {
        thread::spawn(move || {
            let mut conversation = Conversation::new(socket);
            while conversation.step().is_some() {}
        });
    }
}

/// One thread that looks at every connection in turn.
fn watch_all(listener: &TcpListener) {
    listener.set_nonblocking(true).expect("sockets need not block");
    let mut conversations: Vec<Conversation> = Vec::new();
    loop {
        if let Ok((socket, _)) = listener.accept() {
            socket.set_nonblocking(true).expect("sockets need not block");
            conversations.push(Conversation::new(socket));
        }
        conversations.retain_mut(|conversation| conversation.step().is_some());
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
    fn new(socket: TcpStream) -> Self {
        socket.set_nodelay(true).expect("a socket");
        Self { socket, buffer: vec![0; 2 << 20], filled: 0, answers: vec![None; 501] }
    }

    /// Reads what is there, and answers one call when it is whole; `None` when the connection is over.
    fn step(&mut self) -> Option<()> {
        loop {
            match self.socket.read(&mut self.buffer[self.filled..]) {
                Ok(0) => return None,
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(()),
                Err(_) => return None,
            }
            let came_us = ORIGIN.elapsed().as_micros() as u64;
            let head = self.buffer[..self.filled].windows(4).take(4_096).position(|w| w == b"\r\n\r\n");
            let Some(head) = head.map(|at| at + 4) else { continue };
            let end = head + content_length(&self.buffer[..head])?;
            if self.buffer.len() < end {
                self.buffer.resize(end, 0);
            }
            if self.filled >= end {
                self.answer(head, end, came_us)?;
                self.buffer.copy_within(end..self.filled, 0);
                self.filled -= end;
                return Some(());
            }
        }
    }

    fn answer(&mut self, head: usize, end: usize, came_us: u64) -> Option<()> {
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
                arrivals().push(came_us);
                let make = || if cbor { taken_cbor(entries) } else { http(&taken(entries)) };
                self.answers[entries.min(500)].get_or_insert_with(make)
            }
            ARRIVALS => &http(&format!("{:?}", arrivals())),
            "listshards" => &http(&shards()),
            "describestreamsummary" => &http(&summary()),
            _ => &http("{}"),
        };
        write_whole(&mut self.socket, answer)
    }
}

/// Writes all of it, also to a socket that does not block.
fn write_whole(socket: &mut TcpStream, mut rest: &[u8]) -> Option<()> {
    while !rest.is_empty() {
        match socket.write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
            Err(_) => return None,
        }
    }
    Some(())
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

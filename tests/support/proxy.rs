//! A proxy before an HTTP server, in which one request goes wrong: the only way to see what a client makes of an answer that
//! does not come.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// The server never sees it; the answer is 503.
    Refused,
    /// The server does it; the answer is 500.
    Denied,
    /// The server does it; the connection ends without an answer.
    Cut,
    /// The client is killed before the server sees it.
    KilledBefore,
    /// The client is killed when the server has done it.
    KilledAfter,
}

/// The `at`-th request (from 1) goes wrong.
struct Plan {
    wrong: Wrong,
    at: u64,
    /// The process to kill.
    client: Option<u32>,
}

/// A proxy on a free port, until the test's process ends.
pub struct Proxy {
    /// Its URL.
    pub url: String,
    requests: Arc<AtomicU64>,
    plan: Arc<Mutex<Option<Plan>>>,
}

impl Proxy {
    /// A proxy before the server at this URL.
    pub fn before(server: &str) -> Self {
        let server = server.strip_prefix("http://").expect("an http URL").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let (requests, plan): (Arc<AtomicU64>, Arc<Mutex<Option<Plan>>>) = Default::default();
        let (counted, planned) = (Arc::clone(&requests), Arc::clone(&plan));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (server, counted, planned) = (server.clone(), Arc::clone(&counted), Arc::clone(&planned));
                std::thread::spawn(move || serve(client, &server, &counted, &planned));
            }
        });
        Self { url, requests, plan }
    }

    /// Counts from zero; the `at`-th request goes wrong.
    pub fn plan(&self, wrong: Wrong, at: u64) {
        *self.plan.lock().expect("no panic") = Some(Plan { wrong, at, client: None });
        self.requests.store(0, Ordering::SeqCst);
    }

    /// Says whom to kill. It has to wait for this: until then its first request does.
    pub fn client(&self, id: u32) {
        if let Some(plan) = self.plan.lock().expect("no panic").as_mut() {
            plan.client = Some(id);
        }
    }

    /// Nothing goes wrong any more.
    pub fn forgive(&self) {
        *self.plan.lock().expect("no panic") = None;
    }

    /// Requests since the last plan.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }
}

/// One request and its answer; the connection ends with it.
fn serve(mut client: TcpStream, server: &str, requests: &AtomicU64, plan: &Mutex<Option<Plan>>) {
    let Some(request) = message(&mut client) else { return };
    let number = requests.fetch_add(1, Ordering::SeqCst) + 1;
    let planned = plan.lock().expect("no panic").as_ref().filter(|plan| plan.at == number).map(|plan| plan.wrong);
    let kill = || {
        let id = loop {
            match plan.lock().expect("no panic").as_ref().map(|plan| plan.client) {
                Some(Some(id)) => break id,
                Some(None) => std::thread::yield_now(),
                None => return,
            }
        };
        let _ = std::process::Command::new("kill").args(["-KILL", &id.to_string()]).status();
    };
    match planned {
        Some(Wrong::Refused) => answer(client, "503 Service Unavailable"),
        Some(Wrong::KilledBefore) => kill(),
        Some(Wrong::Denied) => {
            forward(server, &request);
            answer(client, "500 Internal Server Error");
        }
        Some(Wrong::Cut) => drop(forward(server, &request)),
        Some(Wrong::KilledAfter) => {
            forward(server, &request);
            kill();
        }
        None => {
            let _ = client.write_all(&forward(server, &request));
            let _ = client.shutdown(Shutdown::Write);
        }
    }
}

fn answer(mut client: TcpStream, status: &str) {
    let _ = write!(client, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}

/// A request with its body, its connection to be closed after it.
fn message(client: &mut TcpStream) -> Option<Vec<u8>> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 65_536]);
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        match client.read(&mut buffer).ok()? {
            0 => return None,
            read => bytes.extend_from_slice(&buffer[..read]),
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let value = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    };
    let length = head.lines().find_map(value).unwrap_or(0);
    while bytes.len() < end + length {
        match client.read(&mut buffer).ok()? {
            0 => return None,
            read => bytes.extend_from_slice(&buffer[..read]),
        }
    }
    let mut lines: Vec<&str> = head.trim_end().split("\r\n").collect();
    lines.retain(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    lines.push("Connection: close");
    Some([(lines.join("\r\n") + "\r\n\r\n").as_bytes(), &bytes[end..]].concat())
}

fn forward(server: &str, request: &[u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    if let Ok(mut server) = TcpStream::connect(server) {
        let _ = server.write_all(request);
        let _ = server.read_to_end(&mut answer);
    }
    answer
}

//! The protocol on S3, against a real S3 server on loopback: every request of a pass goes wrong once, the process is killed
//! with SIGKILL at every request, two compactors work at once, and the table is optimized and vacuumed. What the table
//! holds in the end is what a plain loop over the lake's lines says.
//!
//! Of the requests some are tried; `MILLRACE_FAULTS=all` tries every one, `MILLRACE_FAULTS=9` every ninth.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../compactor/tests/it/reader.rs"]
mod reader;
mod support;

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Output, Stdio},
};

use serde_json::json;

use reader::read_table;
use support::{
    millrace,
    proxy::{Proxy, Wrong},
    server::Server,
};

const SCENARIO: &str = r#"
name = "s3"

[source]
kind = "sensors"
sensors = 1
epoch = "2025-01-01T00:00:00Z"
interval = "1s"

[load]
stages = [{ rate = 1, for = "1s" }]

[keys]
kind = "uniform"

[stream]
name = "s3"
shards = 1

[table]
columns = { id = "string", seq = "integer", city = "string" }
partition_by = ["city"]

[table.dedup]
key = ["id"]
keep = "first"
order_by = "seq"
"#;

/// One bucket, its server and the proxy before it; a lake and a table under a prefix of their own.
struct World<'a> {
    server: &'a Server,
    proxy: &'a Proxy,
    home: tempfile::TempDir,
    prefix: String,
    /// The lowest `seq` of each id, whatever the order.
    truth: BTreeMap<String, u64>,
    /// Objects, and lines in them that are no records.
    objects: u64,
    bad: usize,
}

impl<'a> World<'a> {
    fn new(server: &'a Server, proxy: &'a Proxy, prefix: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("s.toml"), SCENARIO).unwrap();
        let mut world =
            Self { server, proxy, home, prefix: prefix.to_owned(), truth: BTreeMap::new(), objects: 0, bad: 0 };
        (0..3).for_each(|_| world.put());
        world
    }

    fn put(&mut self) {
        let object = self.objects;
        let mut text = String::new();
        for line in 0..6 {
            let (id, seq) =
                (format!("id{}", (object * 5 + line * 3) % 11), (object * 37 + line * 11) % 50 * 100 + object);
            let least = self.truth.entry(id.clone()).or_insert(seq);
            *least = seq.min(*least);
            let city = ["Hull", "York"][usize::from(id.ends_with(['1', '3', '5']))];
            text += &(json!({"id": id, "seq": seq, "city": city}).to_string() + "\n");
        }
        text += "no record\n";
        self.bad += 1;
        self.objects += 1;
        let key = format!("/mill/{}/lake/{object:03}.json", self.prefix);
        let (status, _) = http(&self.server.url, "PUT", &key, text.as_bytes());
        assert!(status.contains("200"), "{status}");
    }

    fn command(&self, endpoint: &str, arguments: &[&str]) -> Command {
        let mut command = millrace();
        command
            .env("AWS_ENDPOINT_URL_S3", endpoint)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .args(arguments);
        command
    }

    fn table(&self) -> String {
        format!("s3://mill/{}/table", self.prefix)
    }

    fn compact(&self, endpoint: &str) -> Command {
        let mut command = self.command(endpoint, &["compact"]);
        command.arg(self.home.path().join("s.toml"));
        command.args(["--batch-objects", "2", "--table", &self.table()]);
        command.args(["--lake", &format!("s3://mill/{}/lake", self.prefix)]);
        command
    }

    /// Rows of the table, and of the quarantine, read from a copy.
    fn rows(&self, table: &str) -> Vec<BTreeMap<String, String>> {
        let folder = tempfile::tempdir().unwrap();
        let prefix = format!("{}/{table}/", self.prefix);
        let mut after = String::new();
        loop {
            let query = format!("/mill?list-type=2&prefix={prefix}&start-after={after}");
            let (_, listing) = http(&self.server.url, "GET", &query, b"");
            let listing = String::from_utf8(listing).unwrap();
            let keys: Vec<&str> =
                listing.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next()).collect();
            let Some(last) = keys.last() else { break };
            after = (*last).to_owned();
            for key in keys {
                let (_, bytes) = http(&self.server.url, "GET", &format!("/mill/{}", key.replace('=', "%3D")), b"");
                let path = folder.path().join(key.strip_prefix(&prefix).unwrap());
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, bytes).unwrap();
            }
        }
        if folder.path().join("_delta_log").exists() { read_table(folder.path()) } else { Vec::new() }
    }

    fn check(&self, what: &str) {
        let held: Vec<(String, u64)> =
            self.rows("table").iter().map(|row| (row["id"].clone(), row["seq"].parse().unwrap())).collect();
        let mut held_sorted = held.clone();
        held_sorted.sort();
        let truth: Vec<(String, u64)> = self.truth.clone().into_iter().collect();
        assert_eq!(held_sorted, truth, "{what}");
        assert_eq!(self.rows("table-quarantine").len(), self.bad, "{what}");
    }
}

/// One request; moto looks at the key in the signature and not at the signature.
fn http(server: &str, method: &str, path: &str, body: &[u8]) -> (String, Vec<u8>) {
    let host = server.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    let length = body.len();
    let key = "AWS4-HMAC-SHA256 Credential=test/20250101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {key}\r\n").unwrap();
    write!(stream, "Content-Length: {length}\r\nConnection: close\r\n\r\n").unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let status = String::from_utf8_lossy(&answer[..end]).lines().next().unwrap().to_owned();
    (status, answer.split_off(end + 4))
}

fn text(output: &Output) -> String {
    format!("{}\n{}{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The distance between the requests that are tried.
fn step() -> u64 {
    std::env::var("MILLRACE_FAULTS").map_or(53, |text| text.parse().unwrap_or(1))
}

#[test]
fn a_request_that_fails_is_made_again_and_a_process_killed_at_it_is_replaced() {
    let server = Server::s3("mill");
    let proxy = Proxy::before(&server.url);
    let (mut tried, mut killed, mut came_through) = (0, 0, 0);
    let all = [Wrong::Refused, Wrong::Denied, Wrong::Cut, Wrong::KilledBefore, Wrong::KilledAfter];
    for (number, wrong) in all.into_iter().enumerate() {
        // Each way begins at another request.
        let mut at = 7 * number as u64 % step();
        loop {
            at += step();
            tried += 1;
            let mut world = World::new(&server, &proxy, &format!("{number}-{at}"));
            let mut made = 0;
            for wave in 0..2 {
                if wave > 0 {
                    (0..2).for_each(|_| world.put());
                }
                world.proxy.plan(wrong, at);
                let mut child = world.compact(&proxy.url).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
                world.proxy.client(child.id());
                let ended = child.wait().unwrap();
                killed += u64::from(ended.code().is_none());
                came_through += u64::from(ended.success());
                made = made.max(proxy.requests());
                world.proxy.forgive();
            }
            let last = world.compact(&server.url).output().unwrap();
            assert!(last.status.success(), "{wrong:?} at {at}: {}", text(&last));
            world.check(&format!("{wrong:?} at request {at}"));
            if made < at {
                break;
            }
        }
    }
    println!(
        "{tried} requests went wrong in two passes each: {killed} passes were killed, {came_through} came through; 0 rows \
         lost, 0 doubled"
    );
    assert!(killed >= 2 && came_through >= 6, "{killed} {came_through}");
}

#[test]
fn two_compactors_an_optimize_and_a_vacuum_work_on_one_table() {
    let server = Server::s3("mill");
    let proxy = Proxy::before(&server.url);
    let mut world = World::new(&server, &proxy, "both");
    for wave in 0..2 {
        (0..5).for_each(|_| world.put());
        let spawn = || world.compact(&server.url).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let both = [spawn(), spawn()];
        for child in both {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "wave {wave}: {}", text(&output));
        }
        world.check(&format!("wave {wave}"));
    }
    let run = |arguments: &[&str]| {
        let output = world.command(&server.url, arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        text(&output)
    };
    let table = world.table();
    let done = run(&["optimize", &table]);
    assert!(done.contains("files written as"), "{done}");
    world.check("after optimize");
    let again = run(&["optimize", &table]);
    assert!(again.contains("0 files written as 0"), "{again}");
    // A vacuum dates by the store's clock, which counts seconds.
    std::thread::sleep(std::time::Duration::from_secs(2));
    let vacuum = run(&["vacuum", &table, "--retention", "0s", "--allow-short-retention"]);
    assert!(vacuum.contains("deleted"), "{vacuum}");
    world.check("after vacuum");
    world.put();
    let last = world.compact(&server.url).output().unwrap();
    assert!(last.status.success(), "{}", text(&last));
    world.check("after one more object");
}

//! The cheapest client there is: bytes made before over one connection, and a look at the ends of the answer.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    ops::Range,
    time::Duration,
};

/// How far from either end of an answer its short members are looked for; the records lie between.
const END_BYTES: usize = 1_024;

/// One HTTP/1.1 connection that is kept.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer in the connection's buffer.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: &'a [u8],
}

/// A request for an operation, as it goes over the wire.
pub fn request(operation: &str, body: &str) -> Vec<u8> {
    // No server compared here checks the signature; kinesalite wants to see one of the right shape.
    format!(
        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-amz-json-1.1\r\n\
         X-Amz-Target: Kinesis_20131202.{operation}\r\nX-Amz-Date: 20260101T000000Z\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/kinesis/aws4_request, \
         SignedHeaders=host;x-amz-date;x-amz-target, Signature={:064x}\r\nContent-Length: {}\r\n\r\n{body}",
        0,
        body.len()
    )
    .into_bytes()
}

impl Connection {
    /// Connects.
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a socket option");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket option");
        Self { stream, buffer: vec![0; 64 << 10] }
    }

    /// Sends a request and waits for the whole answer.
    pub fn exchange(&mut self, request: &[u8]) -> Answer<'_> {
        self.stream.write_all(request).expect("the server takes the request");
        let (mut filled, mut head) = (0, None);
        let (status, body) = loop {
            if filled == self.buffer.len() {
                self.buffer.resize(2 * filled, 0);
            }
            let read = self.stream.read(&mut self.buffer[filled..]).expect("the server answers");
            assert!(read > 0, "the server closed the connection");
            filled += read;
            if head.is_none() {
                head = parse_head(&self.buffer[..filled]);
                if let Some((_, body)) = &head
                    && body.end > self.buffer.len()
                {
                    self.buffer.resize(body.end, 0);
                }
            }
            if let Some((status, body)) = head.take_if(|(_, body)| body.end <= filled) {
                break (status, body);
            }
        };
        Answer { status, body: &self.buffer[body] }
    }

    /// Sends a request that has to succeed; gives the body.
    pub fn expect(&mut self, request: &[u8]) -> &[u8] {
        let answer = self.exchange(request);
        let said = || String::from_utf8_lossy(&answer.body[..answer.body.len().min(500)]).into_owned();
        assert_eq!(answer.status, 200, "{}", said());
        answer.body
    }
}

/// Status and place of the body, once the head is whole.
fn parse_head(bytes: &[u8]) -> Option<(u16, Range<usize>)> {
    let end = find(bytes, b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).expect("a head in ASCII");
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status line");
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().expect("a length"))
    });
    Some((status, end..end + length.expect("every server compared here says its length")))
}

/// Where a short text first is.
pub fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|w| w == text)
}

/// What follows `"name":` near the start or the end of an answer, up to the next `,` or `}`, without quotation marks.
pub fn member<'a>(body: &'a [u8], name: &str) -> Option<&'a str> {
    let key = format!("\"{name}\":");
    let tail = body.len().saturating_sub(END_BYTES);
    let ends = [&body[..body.len().min(END_BYTES)], &body[tail..]];
    let rest = ends.iter().find_map(|end| find(end, key.as_bytes()).map(|at| &end[at + key.len()..]))?;
    let value = &rest[..rest.iter().position(|b| matches!(b, b',' | b'}'))?];
    std::str::from_utf8(value).ok().map(|v| v.trim().trim_matches('"'))
}

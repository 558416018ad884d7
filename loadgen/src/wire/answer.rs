//! HTTP/1.1 answers, read piece by piece from a socket that may stop anywhere.

/// Bytes of one answer at most: a hundred times what PutRecords answers.
const MAX_BYTES: usize = 16 << 20;
/// Headers of an answer at most.
const MAX_HEADERS: usize = 64;
const FIRST_BYTES: usize = 16 << 10;

/// What came is not HTTP, or too much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AnswerError {
    /// The head or a chunk is malformed.
    #[error("the answer is not HTTP/1.1")]
    Malformed,
    /// The answer does not end.
    #[error("the answer is larger than 16 MiB")]
    TooLarge,
}

/// The head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    status: u16,
    bytes: usize,
    body: Body,
    /// The connection ends with this answer.
    closes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Length(usize),
    Chunked,
    /// Up to the end of the connection.
    UntilClosed,
}

/// A complete answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
    /// The connection cannot be used for another call.
    pub(crate) closes: bool,
}

/// Takes in one answer after another.
#[derive(Debug, Default)]
pub(crate) struct AnswerReader {
    /// Always of its full length, so that reading into it initialises nothing.
    buffer: Vec<u8>,
    filled: usize,
    head: Option<Head>,
    decoded: Vec<u8>,
}

impl AnswerReader {
    /// Forgets the last answer.
    pub(crate) fn reset(&mut self) {
        self.filled = 0;
        self.head = None;
    }

    /// Whether nothing of an answer has come.
    pub(crate) fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Where the next bytes go; never empty.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        if self.filled == self.buffer.len() {
            self.buffer.resize((2 * self.filled).max(FIRST_BYTES), 0);
        }
        &mut self.buffer[self.filled..]
    }

    /// Says how many bytes were put there.
    pub(crate) fn advance(&mut self, bytes: usize) {
        self.filled = (self.filled + bytes).min(self.buffer.len());
    }

    /// The answer, when it is complete. `ended`: nothing more will come.
    pub(crate) fn answer(&mut self, ended: bool) -> Result<Option<Answer<'_>>, AnswerError> {
        let Some(head) = self.head()? else { return Ok(None) };
        let end = match head.body {
            Body::Length(length) => head.bytes + length,
            Body::UntilClosed if ended => self.filled,
            Body::UntilClosed => usize::MAX,
            Body::Chunked => {
                self.decoded.clear();
                let complete = decode_chunks(&self.buffer[head.bytes..self.filled], &mut self.decoded)?;
                let body = &self.decoded;
                return Ok(complete.then_some(Answer { status: head.status, body, closes: head.closes }));
            }
        };
        if end > MAX_BYTES && end != usize::MAX || self.filled > MAX_BYTES {
            return Err(AnswerError::TooLarge);
        }
        let body = self.buffer[..self.filled].get(head.bytes..end);
        Ok(body.map(|body| Answer { status: head.status, body, closes: head.closes }))
    }

    /// The head, read once; interim answers (1xx) before it are dropped.
    fn head(&mut self) -> Result<Option<Head>, AnswerError> {
        while self.head.is_none() {
            let Some(head) = read_head(&self.buffer[..self.filled])? else {
                return if self.filled > MAX_BYTES { Err(AnswerError::TooLarge) } else { Ok(None) };
            };
            if (100..200).contains(&head.status) {
                self.buffer.copy_within(head.bytes..self.filled, 0);
                self.filled -= head.bytes;
            } else {
                self.head = Some(head);
            }
        }
        Ok(self.head)
    }
}

fn read_head(bytes: &[u8]) -> Result<Option<Head>, AnswerError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(bytes).map_err(|_| AnswerError::Malformed)? else {
        return Ok(None);
    };
    let mut body = Body::UntilClosed;
    let mut closes = response.version == Some(0);
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") && body != Body::Chunked {
            let text = std::str::from_utf8(header.value).map_err(|_| AnswerError::Malformed)?;
            body = Body::Length(text.trim().parse().map_err(|_| AnswerError::Malformed)?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            body = Body::Chunked;
        } else if header.name.eq_ignore_ascii_case("connection") {
            closes = header.value.eq_ignore_ascii_case(b"close");
        }
    }
    let status = response.code.ok_or(AnswerError::Malformed)?;
    if matches!(status, 204 | 304) {
        body = Body::Length(0);
    }
    closes |= body == Body::UntilClosed;
    Ok(Some(Head { status, bytes: length, body, closes }))
}

/// Appends the data of every chunk; whether the last one is there (RFC 9112, section 7.1). Trailers are skipped.
fn decode_chunks(mut rest: &[u8], out: &mut Vec<u8>) -> Result<bool, AnswerError> {
    loop {
        let (start, size) = match httparse::parse_chunk_size(rest) {
            Ok(httparse::Status::Complete(chunk)) => chunk,
            Ok(httparse::Status::Partial) => return Ok(false),
            Err(_) => return Err(AnswerError::Malformed),
        };
        let size = usize::try_from(size).ok().filter(|size| *size <= MAX_BYTES).ok_or(AnswerError::TooLarge)?;
        rest = &rest[start..];
        if size == 0 {
            return Ok(rest.starts_with(b"\r\n") || rest.windows(4).any(|end| end == b"\r\n\r\n"));
        }
        let Some(chunk) = rest.get(..size + 2) else { return Ok(false) };
        if &chunk[size..] != b"\r\n" || out.len() + size > MAX_BYTES {
            return Err(AnswerError::Malformed);
        }
        out.extend_from_slice(&chunk[..size]);
        rest = &rest[size + 2..];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a reader makes of `bytes` that come in pieces of `step`, then the end.
    fn read(bytes: &[u8], step: usize) -> Result<Option<(u16, Vec<u8>, bool)>, AnswerError> {
        let mut reader = AnswerReader::default();
        for piece in bytes.chunks(step) {
            let mut rest = piece;
            while !rest.is_empty() {
                let space = reader.space();
                let n = rest.len().min(space.len());
                space[..n].copy_from_slice(&rest[..n]);
                reader.advance(n);
                rest = &rest[n..];
            }
            if let Some(answer) = reader.answer(false)? {
                return Ok(Some((answer.status, answer.body.to_vec(), answer.closes)));
            }
        }
        Ok(reader.answer(true)?.map(|answer| (answer.status, answer.body.to_vec(), answer.closes)))
    }

    #[test]
    fn a_body_ends_by_its_length_by_chunks_or_with_the_connection() {
        let answers: [(&str, &str, bool); 6] = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", false),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", "hello", false),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
                "hello",
                false,
            ),
            ("HTTP/1.1 200 OK\r\n\r\nhello", "hello", true),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello",
                "hello",
                true,
            ),
            ("HTTP/1.1 204 No Content\r\n\r\n", "", false),
        ];
        for (bytes, body, closes) in answers {
            for step in [1, 2, 7, 1_000] {
                let (_, got, got_closes) = read(bytes.as_bytes(), step).unwrap().unwrap();
                assert_eq!(
                    (String::from_utf8(got).unwrap().as_str(), got_closes),
                    (body, closes),
                    "{bytes:?} by {step}"
                );
            }
        }
    }

    #[test]
    fn half_an_answer_is_none_and_nonsense_is_an_error() {
        assert_eq!(read(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", 3), Ok(None));
        assert_eq!(read(b"HTTP/1.1 200 OK\r\nContent-Le", 3), Ok(None));
        assert_eq!(read(b"SSH-2.0-OpenSSH\r\n", 3), Err(AnswerError::Malformed));
        assert_eq!(read(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", 99), Err(AnswerError::Malformed));
        let huge = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n";
        assert_eq!(read(huge, 99), Err(AnswerError::TooLarge));
        let chunk = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
        assert_eq!(read(chunk, 99), Err(AnswerError::Malformed));
    }

    #[test]
    fn one_reader_takes_many_answers() {
        let mut reader = AnswerReader::default();
        for body in ["one", "two", ""] {
            reader.reset();
            let bytes = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            reader.space()[..bytes.len()].copy_from_slice(bytes.as_bytes());
            reader.advance(bytes.len());
            assert_eq!(reader.answer(false).unwrap().unwrap().body, body.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>, step in 1_usize..9) {
            let _ = read(&bytes, step);
            let _ = read(&[b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", &bytes[..]].concat(), step);
        }
    }
}

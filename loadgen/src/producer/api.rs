//! The calls that put records: how an entry is written and how an answer is read.
//!
//! Answers are read by a scanner that knows the plain shape the service writes, and by serde_json when they are of any
//! other shape.

mod scanner;

use std::borrow::Cow;

use millrace_scenarios::{BodyFormat, Load, PutCall};
use serde::Deserialize;

use self::scanner::Scanner;
use super::{call::NewEntry, cbor};
use crate::firehose;

/// The shard of records that are on none: a delivery stream has no shards.
pub(crate) const NO_SHARD: &str = "";

/// One operation on one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Api {
    operation: Operation,
    format: BodyFormat,
    body_start: Vec<u8>,
    body_end: &'static [u8],
}

/// Which operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::enum_variant_names, reason = "they are the names that AWS gave them")]
enum Operation {
    PutRecords,
    PutRecord,
    PutRecordBatch,
}

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome<'a> {
    /// It is on this shard.
    Accepted { shard: Cow<'a, str> },
    /// It was refused with this code.
    Refused { code: Cow<'a, str> },
}

/// The answer is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed answer: {0}")]
pub(crate) struct Malformed(pub(crate) String);

impl Api {
    /// PutRecords on this stream: 500 records and 10 MiB at most.
    pub(crate) fn put_records(stream: &str) -> Self {
        Self::new(Operation::PutRecords, stream, BodyFormat::Json)
    }

    /// The operation of a scenario's load on the stream of this name.
    pub(crate) fn of(load: &Load, name: &str) -> Self {
        match load.call {
            PutCall::PutRecords => Self::new(Operation::PutRecords, name, load.body),
            PutCall::PutRecord => Self::new(Operation::PutRecord, name, load.body),
            // Firehose speaks JSON only.
            PutCall::PutRecordBatch => Self::new(Operation::PutRecordBatch, name, BodyFormat::Json),
        }
    }

    fn new(operation: Operation, name: &str, format: BodyFormat) -> Self {
        let (body_start, body_end) = match format {
            BodyFormat::Json => json_frame(operation, name),
            BodyFormat::Cbor => cbor_frame(operation, name),
        };
        Self { operation, format, body_start, body_end }
    }

    /// The `Content-Type` header.
    pub(crate) const fn content_type(&self) -> &'static str {
        match self.format {
            BodyFormat::Json => "application/x-amz-json-1.1",
            BodyFormat::Cbor => "application/x-amz-cbor-1.1",
        }
    }

    /// What stands between two entries.
    pub(crate) const fn separator(&self) -> &'static [u8] {
        match self.format {
            BodyFormat::Json => b",",
            BodyFormat::Cbor => b"",
        }
    }

    /// The `X-Amz-Target` header.
    pub(crate) const fn target(&self) -> &'static str {
        match self.operation {
            Operation::PutRecords => "Kinesis_20131202.PutRecords",
            Operation::PutRecord => "Kinesis_20131202.PutRecord",
            Operation::PutRecordBatch => firehose::TARGET,
        }
    }

    /// The operation's name.
    pub(crate) const fn name(&self) -> &'static str {
        match self.operation {
            Operation::PutRecords => "PutRecords",
            Operation::PutRecord => "PutRecord",
            Operation::PutRecordBatch => "PutRecordBatch",
        }
    }

    /// Entries of a call at most.
    pub(crate) const fn most_entries(&self) -> usize {
        match self.operation {
            Operation::PutRecords => 500,
            Operation::PutRecord => 1,
            Operation::PutRecordBatch => firehose::MAX_RECORDS,
        }
    }

    /// Bytes of a call's records at most.
    pub(crate) const fn most_bytes(&self) -> usize {
        match self.operation {
            Operation::PutRecords | Operation::PutRecord => 10 << 20,
            Operation::PutRecordBatch => firehose::MAX_BYTES,
        }
    }

    pub(crate) fn body_start(&self) -> &[u8] {
        &self.body_start
    }

    pub(crate) const fn body_end(&self) -> &'static [u8] {
        self.body_end
    }

    /// Appends an entry.
    pub(crate) fn encode(&self, entry: NewEntry<'_>, out: &mut Vec<u8>) {
        match self.format {
            BodyFormat::Json => self.encode_json(entry, out),
            BodyFormat::Cbor => self.encode_cbor(entry, out),
        }
    }

    fn encode_cbor(&self, entry: NewEntry<'_>, out: &mut Vec<u8>) {
        if self.operation != Operation::PutRecord {
            cbor::push_map(2 + usize::from(entry.explicit_hash.is_some()), out);
        }
        cbor::push_text("Data", out);
        cbor::push_bytes(entry.data, out);
        cbor::push_text("PartitionKey", out);
        cbor::push_text(entry.key, out);
        if let Some(hash) = entry.explicit_hash {
            cbor::push_text("ExplicitHashKey", out);
            cbor::push_text(&hash.to_string(), out);
        }
    }

    /// The partition key of an entry that was encoded, and its explicit hash key; absent where it has none.
    pub(crate) fn key_of(&self, entry: &[u8]) -> Option<EntryKey> {
        if self.format == BodyFormat::Json {
            return EntryKey::read(entry);
        }
        let open = [&[cbor::MAP], entry, &[cbor::BREAK]].concat();
        let whole = if self.operation == Operation::PutRecord { &open } else { entry };
        let [key, hash] = cbor::read_texts(whole, ["PartitionKey", "ExplicitHashKey"]);
        Some(EntryKey { key: key?.to_owned(), explicit_hash: hash.map(str::to_owned) })
    }

    fn encode_json(&self, entry: NewEntry<'_>, out: &mut Vec<u8>) {
        let list = self.operation != Operation::PutRecord;
        out.extend_from_slice(if list { b"{\"Data\":\"" } else { b"\"Data\":\"" });
        base64_simd::STANDARD.encode_append(entry.data, out);
        if self.operation == Operation::PutRecordBatch {
            out.extend_from_slice(b"\"}");
            return;
        }
        out.extend_from_slice(b"\",\"PartitionKey\":");
        push_text(entry.key, out);
        if let Some(hash) = entry.explicit_hash {
            out.extend_from_slice(b",\"ExplicitHashKey\":\"");
            out.extend_from_slice(hash.to_string().as_bytes());
            out.push(b'"');
        }
        if list {
            out.push(b'}');
        }
    }

    /// What became of each of `entries` entries, in order.
    pub(crate) fn read_answer<'a>(&self, body: &'a [u8], entries: usize) -> Result<Vec<Outcome<'a>>, Malformed> {
        let cbor = self.format == BodyFormat::Cbor;
        if self.operation == Operation::PutRecord && cbor {
            return Ok(vec![cbor::read_record(body)?]);
        }
        if self.operation == Operation::PutRecord {
            return Ok(vec![read_json::<OneAnswer>(body)?.into()]);
        }
        if self.operation == Operation::PutRecordBatch {
            let outcomes = firehose::parse(body, entries).map_err(|error| Malformed(error.to_string()))?;
            return Ok(outcomes.into_iter().map(Outcome::from).collect());
        }
        let mut outcomes = Vec::with_capacity(entries);
        if cbor {
            outcomes = cbor::read_records(body)?;
        } else if Scanner::records(body, &mut outcomes).is_none() {
            outcomes = read_json::<AllAnswers>(body)?.records.into_iter().map(Outcome::from).collect();
        }
        match outcomes.len() {
            found if found == entries => Ok(outcomes),
            found => Err(Malformed(format!("{found} entries for {entries} records"))),
        }
    }
}

/// What stands before the entries of a call, and after them.
fn json_frame(operation: Operation, name: &str) -> (Vec<u8>, &'static [u8]) {
    let name = serde_json::Value::from(name);
    match operation {
        Operation::PutRecords => (format!("{{\"StreamName\":{name},\"Records\":[").into_bytes(), b"]}"),
        Operation::PutRecord => (format!("{{\"StreamName\":{name},").into_bytes(), b"}"),
        Operation::PutRecordBatch => (format!("{{\"DeliveryStreamName\":{name},\"Records\":[").into_bytes(), b"]}"),
    }
}

/// The same in CBOR; what is open until a break can be written without knowing how long it gets.
fn cbor_frame(operation: Operation, name: &str) -> (Vec<u8>, &'static [u8]) {
    let mut start = vec![cbor::MAP];
    cbor::push_text("StreamName", &mut start);
    cbor::push_text(name, &mut start);
    if operation == Operation::PutRecord {
        return (start, &[cbor::BREAK]);
    }
    cbor::push_text("Records", &mut start);
    start.push(cbor::LIST);
    (start, &[cbor::BREAK, cbor::BREAK])
}

impl<'a> From<firehose::Outcome<'a>> for Outcome<'a> {
    fn from(one: firehose::Outcome<'a>) -> Self {
        match one {
            firehose::Outcome::Accepted { .. } => Self::Accepted { shard: Cow::Borrowed(NO_SHARD) },
            firehose::Outcome::Refused { code, .. } => Self::Refused { code },
        }
    }
}

impl From<OneAnswer> for Outcome<'_> {
    fn from(one: OneAnswer) -> Self {
        match (one.shard_id, one.error_code) {
            (Some(shard), None) => Self::Accepted { shard: shard.into() },
            (_, code) => Self::Refused { code: code.map_or("unknown".into(), Cow::from) },
        }
    }
}

fn read_json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Malformed> {
    serde_json::from_slice(body).map_err(|error| Malformed(error.to_string()))
}

/// A JSON text. Keys are nearly always plain ASCII.
fn push_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        out.extend_from_slice(text.as_bytes());
    } else {
        let quoted = serde_json::Value::from(text).to_string();
        out.extend_from_slice(&quoted.as_bytes()[1..quoted.len() - 1]);
    }
    out.push(b'"');
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OneAnswer {
    shard_id: Option<String>,
    error_code: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AllAnswers {
    records: Vec<OneAnswer>,
}

/// An error answer's code and message, as the JSON protocol of AWS has them, and the CBOR protocol too.
pub(crate) fn read_error(body: &[u8]) -> (Option<String>, Option<String>) {
    #[derive(Deserialize, Default)]
    struct Error {
        #[serde(rename = "__type", alias = "code")]
        code: Option<String>,
        #[serde(alias = "Message")]
        message: Option<String>,
    }
    let error = match body.first() {
        Some(b'{') => serde_json::from_slice(body).unwrap_or_default(),
        _ => {
            let [code, message, capital] = cbor::read_texts(body, ["__type", "message", "Message"]);
            Error { code: code.map(str::to_owned), message: message.or(capital).map(str::to_owned) }
        }
    };
    // The code may stand after a namespace: com.amazonaws.kinesis#ResourceNotFoundException.
    let code = error.code.map(|code| code.rsplit('#').next().unwrap_or_default().to_owned());
    (code, error.message)
}

/// The partition key of an encoded entry, and its explicit hash key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct EntryKey {
    #[serde(rename = "PartitionKey")]
    pub(crate) key: String,
    #[serde(rename = "ExplicitHashKey", default)]
    explicit_hash: Option<String>,
}

impl EntryKey {
    /// Reads it back out of the entry's JSON.
    pub(crate) fn read(json: &[u8]) -> Option<Self> {
        match json.first() {
            Some(b'{') => serde_json::from_slice(json).ok(),
            _ => serde_json::from_slice(&[b"{", json, b"}"].concat()).ok(),
        }
    }

    /// The explicit hash key.
    pub(crate) fn explicit_hash(&self) -> Option<u128> {
        self.explicit_hash.as_ref()?.parse().ok()
    }
}

#[cfg(test)]
mod tests;

//! PutRecord and PutRecords: read, check everything, route, then store shard by shard.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::json;

use crate::stream::{
    account::{Account, throttle_text},
    data_stream::DataStream,
    error::{ApiError, ErrorKind},
    json::{self, Batch, Text, push_string},
    meta::Distribution,
    routing::hash_of_key,
    sequence::{DIGITS, SequenceNumber},
    shard::{Incoming, Outcome, Shard},
    validate::{Member, StreamTarget, Violations, is_number},
};

/// Records of a PutRecords call at most (AWS).
const MAX_RECORDS: usize = 500;
/// Bytes of data and partition keys of a PutRecords call at most (AWS since 2025-10-28).
const MAX_CALL_BYTES: usize = 10 << 20;
/// Bytes of one record's data in any stream at most (service model).
const MAX_DATA_BYTES: usize = 10 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecord<'a> {
    #[serde(borrow)]
    stream_name: Option<Text<'a>>,
    #[serde(borrow, rename = "StreamARN")]
    stream_arn: Option<Text<'a>>,
    #[serde(borrow)]
    stream_id: Option<Text<'a>>,
    dry_run: Option<bool>,
    #[serde(borrow)]
    data: Option<Text<'a>>,
    #[serde(borrow)]
    partition_key: Option<Text<'a>>,
    #[serde(borrow)]
    explicit_hash_key: Option<Text<'a>>,
    #[serde(borrow)]
    sequence_number_for_ordering: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecords<'a> {
    #[serde(borrow)]
    stream_name: Option<Text<'a>>,
    #[serde(borrow, rename = "StreamARN")]
    stream_arn: Option<Text<'a>>,
    #[serde(borrow)]
    stream_id: Option<Text<'a>>,
    dry_run: Option<bool>,
    #[serde(borrow)]
    records: Option<Batch<Entry<'a>, MAX_RECORDS>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    #[serde(borrow)]
    data: Option<Text<'a>>,
    #[serde(borrow)]
    partition_key: Option<Text<'a>>,
    #[serde(borrow)]
    explicit_hash_key: Option<Text<'a>>,
}

/// A record that was decoded into the call's block of payloads.
struct Decoded {
    start: usize,
    key_bytes: usize,
    end: usize,
    hash: HashKey,
}

/// Where a record is to go. Whether an explicit key is in range is judged only after all fields are known to be sound.
enum HashKey {
    OfPartitionKey(u128),
    Explicit(u128),
    TooLarge(String),
    /// Wherever the stream puts it.
    Anywhere,
}

/// The payloads of a call, one after the other: partition key, data, partition key, data.
#[derive(Default)]
struct Block {
    payloads: Vec<u8>,
    records: Vec<Decoded>,
    /// The stream spreads its records itself: keys are optional and say nothing about the shard.
    spread: bool,
}

pub(super) fn put_record(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: PutRecord<'_> = json::parse(body)?;
    let target = StreamTarget {
        name: request.stream_name.as_ref().map(Text::as_str),
        arn: request.stream_arn.as_ref().map(Text::as_str),
    };
    let mut violations = Violations::default();
    target.check(&mut violations);
    request.stream_id.iter().for_each(|id| violations.stream_id(id.as_str()));
    let entry = Entry {
        data: request.data,
        partition_key: request.partition_key,
        explicit_hash_key: request.explicit_hash_key,
    };
    let stream = target.resolve().and_then(|name| account.usable(name));
    let mut block = Block { spread: spreads(&stream), ..Block::default() };
    block.add(&entry, &mut violations, |field| field)?;
    let ordering = request.sequence_number_for_ordering.as_ref().map(Text::as_str);
    if let Some(number) = ordering {
        violations.pattern(number, "sequenceNumberForOrdering", is_number(number, 129), "0|([1-9]\\d{0,128})");
    }
    violations.finish()?;

    let stream = stream?;
    if let Some(number) = ordering.filter(|number| SequenceNumber::parse(number).is_none()) {
        return Err(ApiError::invalid_argument(format!(
            "ExclusiveMinimumSequenceNumber {number} used in PutRecord on stream {} is invalid.",
            stream.name
        )));
    }
    let records = block.records_for(&stream)?;
    if request.dry_run == Some(true) {
        return Err(ApiError::dry_run());
    }
    let placed = store(account, &stream, &records);
    let [Placed { shard, outcome }] = placed.as_slice() else {
        return Err(ApiError::new(ErrorKind::InternalFailure, "A PutRecord call holds one record."));
    };
    match outcome {
        Outcome::Stored(number) => {
            let mut answer = json!({ "ShardId": shard.id, "SequenceNumber": number.to_string() });
            if stream.meta().key_id().is_some() {
                answer["EncryptionType"] = json!("KMS");
            }
            json::answer(&answer)
        }
        Outcome::Throttled => Err(ApiError::new(ErrorKind::ThroughputExceeded, throttle_text(&stream.name, &shard.id))),
        Outcome::Full | Outcome::Moved => Err(ApiError::new(ErrorKind::InternalFailure, account.full_text())),
    }
}

pub(super) fn put_records(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: PutRecords<'_> = json::parse(body)?;
    let target = StreamTarget {
        name: request.stream_name.as_ref().map(Text::as_str),
        arn: request.stream_arn.as_ref().map(Text::as_str),
    };
    let mut violations = Violations::default();
    target.check(&mut violations);
    request.stream_id.iter().for_each(|id| violations.stream_id(id.as_str()));
    let stream = target.resolve().and_then(|name| account.usable(name));
    let block = decode(request.records.as_ref(), body.len(), spreads(&stream), &mut violations)?;
    violations.finish()?;

    let stream = stream?;
    let records = block.records_for(&stream)?;
    if request.dry_run == Some(true) {
        return Err(ApiError::dry_run());
    }
    let placed = store(account, &stream, &records);
    Ok(write_outcomes(account, &stream, &placed))
}

/// Whether the stream a call names spreads its records itself. That there is no such stream is said later.
fn spreads(stream: &Result<Arc<DataStream>, ApiError>) -> bool {
    stream.as_ref().is_ok_and(|stream| stream.meta().distribution == Distribution::Auto)
}

/// Decodes and checks every record of a call.
fn decode(
    records: Option<&Batch<Entry<'_>, MAX_RECORDS>>,
    body_bytes: usize,
    spread: bool,
    violations: &mut Violations,
) -> Result<Block, ApiError> {
    let Some(Batch { entries, count }) = records else {
        violations.null("records");
        return Ok(Block::default());
    };
    if *count == 0 {
        violations.add("[]", "records", "Member must have length greater than or equal to 1");
    } else if *count > MAX_RECORDS {
        let shown = format!("[{count} records]");
        violations.add(shown, "records", format_args!("Member must have length less than or equal to {MAX_RECORDS}"));
    }
    let mut block = Block {
        // Three bytes for every four of base64; keys and syntax make up the rest.
        payloads: Vec::with_capacity(body_bytes * 3 / 4),
        records: Vec::with_capacity(entries.len()),
        spread,
    };
    for (index, entry) in entries.iter().enumerate() {
        block.add(entry, violations, |field| Member { list: "records", index, field })?;
    }
    Ok(block)
}

impl Block {
    /// Decodes one record. Bad base64 refuses the call as AWS does, before any field is judged.
    fn add<At: std::fmt::Display>(
        &mut self,
        entry: &Entry<'_>,
        violations: &mut Violations,
        at: impl Fn(&'static str) -> At,
    ) -> Result<(), ApiError> {
        let key = entry.partition_key.as_ref().map(Text::as_str);
        match key {
            Some(key) => violations.length(key, at("partitionKey"), 1, 256),
            None if self.spread => {}
            None => violations.null(at("partitionKey")),
        }
        let key = key.unwrap_or_default();
        let start = self.payloads.len();
        self.payloads.extend_from_slice(key.as_bytes());
        match &entry.data {
            Some(data) => STANDARD.decode_vec(data.as_str(), &mut self.payloads).map_err(|error| {
                let text = format!("'{}' is not a base64 encoded blob: {error}", at("data"));
                ApiError::new(ErrorKind::Serialization, text)
            })?,
            None => violations.null(at("data")),
        }
        let data_bytes = self.payloads.len() - start - key.len();
        if data_bytes > MAX_DATA_BYTES {
            let shown = format!("java.nio.HeapByteBuffer[pos=0 lim={data_bytes} cap={data_bytes}]");
            let constraint = format!("Member must have length less than or equal to {MAX_DATA_BYTES}");
            violations.add(shown, at("data"), constraint);
        }
        let explicit = entry.explicit_hash_key.as_ref().map(Text::as_str);
        if let Some(text) = explicit {
            violations.pattern(text, at("explicitHashKey"), is_number(text, 39), "0|([1-9]\\d{0,38})");
        }
        let hash = match explicit {
            _ if self.spread => HashKey::Anywhere,
            None => HashKey::OfPartitionKey(hash_of_key(key)),
            Some(text) => text.parse().map_or_else(|_| HashKey::TooLarge(text.to_owned()), HashKey::Explicit),
        };
        self.records.push(Decoded { start, key_bytes: key.len(), end: self.payloads.len(), hash });
        Ok(())
    }

    /// The records, after the checks that need the stream.
    fn records_for(&self, stream: &DataStream) -> Result<Vec<ToStore<'_>>, ApiError> {
        if self.payloads.len() > MAX_CALL_BYTES {
            return Err(ApiError::invalid_argument("Records size exceeds 10 MB limit"));
        }
        let max_record_bytes = stream.meta().max_record_bytes();
        let checked = |(slot, record): (usize, &Decoded)| {
            let payload = &self.payloads[record.start..record.end];
            if payload.len() > max_record_bytes {
                return Err(ApiError::invalid_argument(format!(
                    "Record {} holds {} bytes of data and partition key; stream {} takes records of at most \
                     {max_record_bytes} bytes.",
                    slot + 1,
                    payload.len(),
                    stream.name,
                )));
            }
            let hash = match &record.hash {
                HashKey::OfPartitionKey(hash) | HashKey::Explicit(hash) => *hash,
                HashKey::Anywhere => stream.next_spread(),
                HashKey::TooLarge(text) => {
                    return Err(ApiError::invalid_argument(format!(
                        "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was {text}"
                    )));
                }
            };
            let key_bytes = u32::try_from(record.key_bytes).unwrap_or(u32::MAX);
            Ok(ToStore { hash, payload, key_bytes })
        };
        self.records.iter().enumerate().map(checked).collect()
    }
}

/// A record that may be stored.
struct ToStore<'a> {
    hash: u128,
    payload: &'a [u8],
    key_bytes: u32,
}

/// What became of a record, and on which shard.
#[derive(Clone)]
struct Placed {
    shard: Arc<Shard>,
    outcome: Outcome,
}

/// Stores the records, each shard's in their order under one lock, and gives what became of each.
fn store(account: &Account, stream: &DataStream, records: &[ToStore<'_>]) -> Vec<Placed> {
    let mut topology = stream.topology();
    let mut outcomes = vec![Outcome::Moved; records.len()];
    let mut shards = vec![0; records.len()];
    let mut placed = Vec::new();
    loop {
        let incoming = records.iter().enumerate().filter(|(slot, _)| outcomes[*slot] == Outcome::Moved);
        let mut incoming: Vec<_> = incoming
            .map(|(slot, record)| Incoming {
                slot,
                place: topology.route(record.hash),
                payload: record.payload,
                key_bytes: record.key_bytes,
            })
            .collect();
        incoming.sort_by_key(|record| record.place);
        for group in incoming.chunk_by(|a, b| a.place == b.place) {
            let shard = &topology.open()[group[0].place];
            let reservation = account.reserve(Shard::cost_of(group));
            shard.append(account.clock.now_us(), group, reservation, &mut outcomes);
            for record in group.iter().filter(|record| outcomes[record.slot] != Outcome::Moved) {
                shards[record.slot] = placed.len();
            }
            placed.push(Arc::clone(shard));
        }
        if !outcomes.contains(&Outcome::Moved) {
            break;
        }
        // A shard was closed between the look and the append. Its children are there as soon as the change is complete.
        std::thread::yield_now();
        topology = stream.topology();
    }
    let place = |(shard, outcome): (usize, Outcome)| Placed { shard: Arc::clone(&placed[shard]), outcome };
    shards.into_iter().zip(outcomes).map(place).collect()
}

/// The answer of PutRecords, one entry per record in the call's order.
fn write_outcomes(account: &Account, stream: &DataStream, placed: &[Placed]) -> Vec<u8> {
    let refused = placed.iter().filter(|placed| !matches!(placed.outcome, Outcome::Stored(_))).count();
    let mut out = String::with_capacity(64 + placed.len() * (DIGITS + 64) + refused * 192);
    out.push_str("{\"FailedRecordCount\":");
    out.push_str(&refused.to_string());
    out.push_str(",\"Records\":[");
    for Placed { shard, outcome } in placed {
        if !out.ends_with('[') {
            out.push(',');
        }
        match outcome {
            Outcome::Stored(number) => {
                out.push_str("{\"SequenceNumber\":\"");
                out.extend(number.digits().map(char::from));
                out.push_str("\",\"ShardId\":\"");
                out.push_str(&shard.id);
                out.push_str("\"}");
            }
            Outcome::Throttled => {
                push_refusal(&mut out, ErrorKind::ThroughputExceeded, &throttle_text(&stream.name, &shard.id));
            }
            Outcome::Full | Outcome::Moved => push_refusal(&mut out, ErrorKind::InternalFailure, &account.full_text()),
        }
    }
    out.push(']');
    if stream.meta().key_id().is_some() {
        out.push_str(",\"EncryptionType\":\"KMS\"");
    }
    out.push('}');
    out.into_bytes()
}

fn push_refusal(out: &mut String, kind: ErrorKind, text: &str) {
    out.push_str("{\"ErrorCode\":\"");
    out.push_str(kind.name());
    out.push_str("\",\"ErrorMessage\":");
    push_string(out, text);
    out.push('}');
}

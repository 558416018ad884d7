//! PutRecord and PutRecords: read, check everything, route, then store shard by shard.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;

use super::put_body::PutBody;
use crate::stream::{
    account::{Account, throttle_text},
    blob::Blob,
    data_stream::DataStream,
    error::{ApiError, ErrorKind},
    json::{self, Batch, Text, push_string_bytes},
    meta::Distribution,
    placement::{Placement, ToStore, store},
    routing::hash_of_key,
    sequence::{DIGITS, Numbered, SequenceNumber},
    shard::{Outcome, Shard},
    validate::{Member, StreamTarget, Violations, is_number},
};

/// Records of a PutRecords call at most (AWS).
pub(super) const MAX_RECORDS: usize = 500;
/// Bytes of data and partition keys of a PutRecords call at most (AWS since 2025-10-28).
pub(super) const MAX_CALL_BYTES: usize = 10 << 20;
/// Bytes of one record's data in any stream at most (service model).
pub(super) const MAX_DATA_BYTES: usize = 10 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecord<'a> {
    #[serde(borrow)]
    stream_name: Option<Text<'a>>,
    #[serde(borrow, rename = "StreamARN")]
    stream_arn: Option<Text<'a>>,
    #[serde(borrow)]
    data: Option<Text<'a>>,
    #[serde(borrow)]
    partition_key: Option<Text<'a>>,
    #[serde(borrow)]
    explicit_hash_key: Option<Text<'a>>,
    #[serde(borrow)]
    sequence_number_for_ordering: Option<Text<'a>>,
    #[serde(borrow)]
    stream_id: Option<Text<'a>>,
    dry_run: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecords<'a> {
    #[serde(borrow)]
    stream_name: Option<Text<'a>>,
    #[serde(borrow, rename = "StreamARN")]
    stream_arn: Option<Text<'a>>,
    #[serde(borrow)]
    records: Option<Batch<Entry<'a>, MAX_RECORDS>>,
    #[serde(borrow)]
    stream_id: Option<Text<'a>>,
    dry_run: Option<bool>,
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

/// A record whose fields were looked at one by one.
struct Checked<'a> {
    key: &'a str,
    data: Blob<'a>,
    hash: HashKey<'a>,
}

/// Where a record is to go. Whether an explicit key is in range is judged only after all fields are known to be sound.
enum HashKey<'a> {
    OfPartitionKey(u128),
    Explicit(u128),
    TooLarge(&'a str),
    /// Wherever the stream puts it.
    Anywhere,
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
    let checked = [check(&entry, spreads(&stream), &mut violations, |field| field)?];
    let ordering = request.sequence_number_for_ordering.as_ref().map(Text::as_str);
    if let Some(number) = ordering {
        violations.pattern(number, "sequenceNumberForOrdering", is_number(number, 129), "0|([1-9]\\d{0,128})");
    }
    violations.finish()?;

    let stream = stream?;
    let now_us = account.clock.now_us();
    if let Some(number) = ordering.filter(|number| !SequenceNumber::may_come_before(number, now_us)) {
        return Err(ApiError::invalid_argument(format!(
            "ExclusiveMinimumSequenceNumber {number} used in PutRecord on stream {} is invalid.",
            stream.name
        )));
    }
    let records = records_for(&stream, &checked)?;
    if request.dry_run == Some(true) {
        return Err(ApiError::dry_run());
    }
    let placement = place(account, &stream, &records)?;
    let ([group], [(_, outcome)]) = (placement.groups.as_slice(), placement.records.as_slice()) else {
        return Err(ApiError::new(ErrorKind::InternalFailure, "A PutRecord call holds one record."));
    };
    match (outcome, group.first) {
        (Outcome::Stored, Some(number)) => {
            let mut answer = json!({ "ShardId": group.shard.id, "SequenceNumber": number.to_string() });
            if stream.meta().key_id().is_some() {
                answer["EncryptionType"] = json!("KMS");
            }
            json::answer(&answer)
        }
        (outcome, _) => {
            let (kind, text) = refusal(account, &stream, &group.shard, *outcome);
            Err(ApiError::new(kind, text))
        }
    }
}

pub(super) fn put_records(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    match put_plain_records(account, body) {
        Some(answer) => Ok(answer),
        None => put_any_records(account, body),
    }
}

/// The short way: it takes a call that is as it should be, and leaves every other one as if it had not been here.
fn put_plain_records(account: &Account, body: &[u8]) -> Option<Vec<u8>> {
    let PutBody { target, records, largest_bytes } = PutBody::read(body)?;
    let mut violations = Violations::default();
    target.check(&mut violations);
    violations.finish().ok()?;
    let stream = account.usable(target.resolve().ok()?).ok()?;
    let plain = {
        let meta = stream.meta();
        largest_bytes <= meta.max_record_bytes() && meta.distribution != Distribution::Auto
    };
    if !plain {
        return None;
    }
    let placement = store(account, &stream, &records).ok()?;
    Some(write_outcomes(account, &stream, &placement))
}

/// The long way, which can say what is wrong with a call.
pub(crate) fn put_any_records(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: PutRecords<'_> = json::parse(body)?;
    let target = StreamTarget {
        name: request.stream_name.as_ref().map(Text::as_str),
        arn: request.stream_arn.as_ref().map(Text::as_str),
    };
    let mut violations = Violations::default();
    target.check(&mut violations);
    request.stream_id.iter().for_each(|id| violations.stream_id(id.as_str()));
    let stream = target.resolve().and_then(|name| account.usable(name));
    let checked = check_all(request.records.as_ref(), spreads(&stream), &mut violations)?;
    violations.finish()?;

    let stream = stream?;
    let records = records_for(&stream, &checked)?;
    if request.dry_run == Some(true) {
        return Err(ApiError::dry_run());
    }
    let placement = place(account, &stream, &records)?;
    Ok(write_outcomes(account, &stream, &placement))
}

/// Whether the stream a call names spreads its records itself. That there is no such stream is said later.
fn spreads(stream: &Result<Arc<DataStream>, ApiError>) -> bool {
    stream.as_ref().is_ok_and(|stream| stream.meta().distribution == Distribution::Auto)
}

/// Checks every record of a call.
fn check_all<'a>(
    records: Option<&'a Batch<Entry<'_>, MAX_RECORDS>>,
    spread: bool,
    violations: &mut Violations,
) -> Result<Vec<Checked<'a>>, ApiError> {
    let Some(Batch { entries, count }) = records else {
        violations.null("records");
        return Ok(Vec::new());
    };
    if *count == 0 {
        violations.add("[]", "records", "Member must have length greater than or equal to 1");
    } else if *count > MAX_RECORDS {
        let shown = format!("[{count} records]");
        violations.add(shown, "records", format_args!("Member must have length less than or equal to {MAX_RECORDS}"));
    }
    let entries = entries.iter().enumerate();
    let member = |index| move |field| Member { list: "records", index, field };
    entries.map(|(index, entry)| check(entry, spread, violations, member(index))).collect()
}

/// Checks one record; with `spread` its keys say nothing about its shard, and it may have none. Bad base64 refuses the
/// call as AWS does, before any field is judged.
fn check<'a, At: std::fmt::Display>(
    entry: &'a Entry<'_>,
    spread: bool,
    violations: &mut Violations,
    at: impl Fn(&'static str) -> At,
) -> Result<Checked<'a>, ApiError> {
    let key = entry.partition_key.as_ref().map(Text::as_str);
    match key {
        Some(key) => violations.length(key, at("partitionKey"), 1, 256),
        None if spread => {}
        None => violations.null(at("partitionKey")),
    }
    let key = key.unwrap_or_default();
    let data = entry.data.as_ref().map(Text::as_str);
    if data.is_none() {
        violations.null(at("data"));
    }
    let data = Blob::checked_base64(data.unwrap_or_default().as_bytes()).map_err(|error| {
        let text = format!("'{}' is not a base64 encoded blob: {error}", at("data"));
        ApiError::new(ErrorKind::Serialization, text)
    })?;
    if data.len() > MAX_DATA_BYTES {
        let shown = format!("java.nio.HeapByteBuffer[pos=0 lim={bytes} cap={bytes}]", bytes = data.len());
        let constraint = format!("Member must have length less than or equal to {MAX_DATA_BYTES}");
        violations.add(shown, at("data"), constraint);
    }
    let explicit = entry.explicit_hash_key.as_ref().map(Text::as_str);
    if let Some(text) = explicit {
        violations.pattern(text, at("explicitHashKey"), is_number(text, 39), "0|([1-9]\\d{0,38})");
    }
    let hash = match explicit {
        _ if spread => HashKey::Anywhere,
        None => HashKey::OfPartitionKey(hash_of_key(key)),
        Some(text) => text.parse().map_or(HashKey::TooLarge(text), HashKey::Explicit),
    };
    Ok(Checked { key, data, hash })
}

/// The records, after the checks that need the stream.
fn records_for<'a>(stream: &DataStream, checked: &[Checked<'a>]) -> Result<Vec<ToStore<'a>>, ApiError> {
    if checked.iter().map(|record| record.key.len() + record.data.len()).sum::<usize>() > MAX_CALL_BYTES {
        return Err(ApiError::invalid_argument("Records size exceeds 10 MB limit"));
    }
    let max_record_bytes = stream.meta().max_record_bytes();
    let to_store = |(slot, record): (usize, &Checked<'a>)| {
        let bytes = record.key.len() + record.data.len();
        if bytes > max_record_bytes {
            return Err(ApiError::invalid_argument(format!(
                "Record {} holds {bytes} bytes of data and partition key; stream {} takes records of at most \
                 {max_record_bytes} bytes.",
                slot + 1,
                stream.name,
            )));
        }
        let hash = match record.hash {
            HashKey::OfPartitionKey(hash) | HashKey::Explicit(hash) => hash,
            HashKey::Anywhere => stream.next_spread(),
            HashKey::TooLarge(text) => {
                return Err(ApiError::invalid_argument(format!(
                    "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was {text}"
                )));
            }
        };
        Ok(ToStore { hash, key: record.key, data: record.data })
    };
    checked.iter().enumerate().map(to_store).collect()
}

/// Stores records whose data was checked.
fn place(account: &Account, stream: &DataStream, records: &[ToStore<'_>]) -> Result<Placement, ApiError> {
    store(account, stream, records)
        .map_err(|_| ApiError::new(ErrorKind::Serialization, "A record's data is not a base64 encoded blob."))
}

/// Why a record was not stored.
fn refusal(account: &Account, stream: &DataStream, shard: &Shard, outcome: Outcome) -> (ErrorKind, String) {
    match outcome {
        Outcome::Throttled => (ErrorKind::ThroughputExceeded, throttle_text(&stream.name, &shard.id)),
        Outcome::Full => (ErrorKind::InternalFailure, account.full_text()),
        Outcome::Unwritten | Outcome::Moved | Outcome::Stored => {
            (ErrorKind::InternalFailure, "The record could not be written down.".to_owned())
        }
    }
}

/// The answer of PutRecords, one entry per record in the call's order.
fn write_outcomes(account: &Account, stream: &DataStream, placement: &Placement) -> Vec<u8> {
    let failed = placement.records.iter().filter(|(_, outcome)| *outcome != Outcome::Stored).count();
    let mut out = Vec::with_capacity(64 + placement.records.len() * (DIGITS + 64) + failed * 192);
    out.extend_from_slice(format!("{{\"FailedRecordCount\":{failed}").as_bytes());
    out.extend_from_slice(b",\"Records\":[");
    // A shard answers all of its records alike, but for the number.
    let entry = |shard: &Shard, first| {
        let after = format!("\",\"ShardId\":\"{}\"}},", shard.id);
        Numbered::new("{\"SequenceNumber\":\"", first, &after)
    };
    let mut stored: Vec<_> =
        placement.groups.iter().map(|group| group.first.map(|first| entry(&group.shard, first))).collect();
    let mut refused: Vec<Option<(Outcome, Vec<u8>)>> = vec![None; placement.groups.len()];
    for (group, outcome) in &placement.records {
        let group = *group as usize;
        match (outcome, &mut stored[group]) {
            (Outcome::Stored, Some(stored)) => out.extend_from_slice(stored.next_text()),
            _ => {
                let text = match &mut refused[group] {
                    Some((reason, text)) if *reason == *outcome => text,
                    other => {
                        let why = refusal(account, stream, &placement.groups[group].shard, *outcome);
                        &mut other.insert((*outcome, refused_entry(why))).1
                    }
                };
                out.extend_from_slice(text);
            }
        }
    }
    out.pop_if(|last| *last == b',');
    out.push(b']');
    if stream.meta().key_id().is_some() {
        out.extend_from_slice(b",\"EncryptionType\":\"KMS\"");
    }
    out.push(b'}');
    out
}

fn refused_entry((kind, text): (ErrorKind, String)) -> Vec<u8> {
    let mut out = format!("{{\"ErrorCode\":\"{}\",\"ErrorMessage\":", kind.name()).into_bytes();
    push_string_bytes(&mut out, &text);
    out.extend_from_slice(b"},");
    out
}

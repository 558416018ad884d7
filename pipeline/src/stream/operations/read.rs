//! GetShardIterator and GetRecords.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::stream::{
    account::{ACCOUNT_ID, Account, throttle_text},
    data_stream::{DataStream, ShardLookup},
    delivered::push_records,
    error::{ApiError, ErrorKind},
    iterator::{MAX_TOKEN_CHARS, ShardIterator},
    json::{self, Text, Timestamp},
    meta::Encryption,
    sequence::SequenceNumber,
    shard::{MAX_READ_RECORDS, ReadBatch, Shard, shard_id},
    topology::Topology,
    validate::{StreamTarget, Violations, is_number},
};

pub(super) const TYPES: [&str; 5] =
    ["AFTER_SEQUENCE_NUMBER", "LATEST", "AT_TIMESTAMP", "AT_SEQUENCE_NUMBER", "TRIM_HORIZON"];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetShardIterator<'a> {
    #[serde(borrow)]
    stream_name: Option<Text<'a>>,
    #[serde(borrow, rename = "StreamARN")]
    stream_arn: Option<Text<'a>>,
    #[serde(borrow)]
    shard_id: Option<Text<'a>>,
    #[serde(borrow)]
    shard_iterator_type: Option<Text<'a>>,
    #[serde(borrow)]
    starting_sequence_number: Option<Text<'a>>,
    timestamp: Option<Timestamp>,
    #[serde(borrow)]
    stream_id: Option<Text<'a>>,
    dry_run: Option<bool>,
}

/// Where an iterator is to start.
#[derive(Debug, Clone, Copy)]
pub(super) enum Start<'a> {
    TrimHorizon,
    Latest,
    AtTime(u64),
    AtNumber(&'a str),
    AfterNumber(&'a str),
}

pub(super) fn shard_iterator(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: GetShardIterator<'_> = json::parse(body)?;
    let target = StreamTarget {
        name: request.stream_name.as_ref().map(Text::as_str),
        arn: request.stream_arn.as_ref().map(Text::as_str),
    };
    let mut violations = Violations::default();
    target.check(&mut violations);
    request.stream_id.iter().for_each(|id| violations.stream_id(id.as_str()));
    let shard_id = request.shard_id.as_ref().map(Text::as_str);
    match shard_id {
        Some(id) => violations.name(id, "shardId"),
        None => violations.null("shardId"),
    }
    match &request.shard_iterator_type {
        Some(kind) => violations.one_of(kind.as_str(), "shardIteratorType", &TYPES),
        None => violations.null("shardIteratorType"),
    }
    if let Some(number) = &request.starting_sequence_number {
        let number = number.as_str();
        violations.pattern(number, "startingSequenceNumber", is_number(number, 129), "0|([1-9]\\d{0,128})");
    }
    violations.finish()?;

    let now_us = account.clock.now_us();
    let kind = request.shard_iterator_type.as_ref().map(Text::as_str).unwrap_or_default();
    let number = request.starting_sequence_number.as_ref().map(Text::as_str);
    let stream = account.usable(target.resolve()?)?;
    let shard = &*find_shard(&stream, shard_id.unwrap_or_default())?;
    let start = Start::of(kind, number, request.timestamp, now_us)?;
    // A number that is none of the shard's is refused before the call is counted.
    let position = start.position(&stream, shard, now_us)?;
    if request.dry_run == Some(true) {
        return Err(ApiError::dry_run());
    }
    shard.admit_iterator(now_us).map_err(|_| throttled(&stream, shard))?;
    let iterator = iterator_at(&stream, shard, position, now_us);
    json::answer(&json!({ "ShardIterator": iterator.seal(&account.sealer) }))
}

impl<'a> Start<'a> {
    /// The start a request asks for; what it gives beside the type has to fit the type.
    pub(super) fn of(
        kind: &str,
        number: Option<&'a str>,
        time: Option<Timestamp>,
        now_us: u64,
    ) -> Result<Self, ApiError> {
        match (kind, number, time) {
            ("AT_SEQUENCE_NUMBER", Some(number), _) => Ok(Start::AtNumber(number)),
            ("AFTER_SEQUENCE_NUMBER", Some(number), _) => Ok(Start::AfterNumber(number)),
            ("TRIM_HORIZON", None, _) => Ok(Start::TrimHorizon),
            ("LATEST", None, _) => Ok(Start::Latest),
            ("AT_TIMESTAMP", None, None) => Err(ApiError::invalid_argument(
                "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current request has no timestamp parameter.",
            )),
            ("AT_TIMESTAMP", None, Some(time)) if time.us / 1_000 > now_us / 1_000 => {
                Err(ApiError::invalid_argument(format!(
                    "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. \
                 timestampInMillis: {}, currentTimestampInMillis: {}",
                    time.us / 1_000,
                    now_us / 1_000
                )))
            }
            ("AT_TIMESTAMP", None, Some(time)) => Ok(Start::AtTime(time.us)),
            (kind, number, _) => Err(ApiError::invalid_argument(format!(
                "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or (2) \
             TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified {kind} and {}",
                if number.is_some() { "also a StartingSequenceNumber." } else { "no StartingSequenceNumber." }
            ))),
        }
    }

    /// The index of the first record to read. 0 means the trim horizon.
    pub(super) fn position(self, stream: &DataStream, shard: &Shard, now_us: u64) -> Result<u64, ApiError> {
        Ok(match self {
            Self::TrimHorizon => 0,
            Self::Latest => shard.tip(),
            Self::AtTime(time_us) => shard.position_at(now_us, time_us),
            Self::AtNumber(text) => numbered_position(stream, shard, text)?,
            Self::AfterNumber(text) => numbered_position(stream, shard, text)? + 1,
        })
    }
}

/// The index a number stands for: it has to be one that this shard has given out, or the shard's start.
fn numbered_position(stream: &DataStream, shard: &Shard, text: &str) -> Result<u64, ApiError> {
    let start = shard.starting_sequence();
    let used = format!(
        "StartingSequenceNumber {text} used in GetShardIterator on shard {} in stream {} under account {ACCOUNT_ID} is invalid",
        shard.id, stream.name
    );
    let Some(number) = SequenceNumber::parse(text) else { return Err(ApiError::invalid_argument(format!("{used}."))) };
    if number.shard != start.shard {
        let text = format!(
            "Invalid StartingSequenceNumber. It encodes {}, while it was used in a call to a shard with {}",
            shard_id(number.shard),
            shard.id
        );
        return Err(ApiError::invalid_argument(text));
    }
    if number.shard_created_s != start.shard_created_s {
        return Err(ApiError::invalid_argument(format!("{used} because it did not come from this stream.")));
    }
    if number.index >= shard.tip() {
        return Err(ApiError::invalid_argument(format!("{used}.")));
    }
    Ok(number.index)
}

pub(super) fn find_shard(stream: &DataStream, id: &str) -> Result<Arc<Shard>, ApiError> {
    stream.shard(id).map_err(|reason| match reason {
        ShardLookup::NotAShardId => ApiError::not_found(format!(
            "Could not find shard {id} in stream {} under account {ACCOUNT_ID}.",
            stream.name
        )),
        ShardLookup::NoSuchShard(id) => no_such_shard(stream, &id),
    })
}

fn no_such_shard(stream: &DataStream, id: &str) -> ApiError {
    ApiError::not_found(format!("Shard {id} in stream {} under account {ACCOUNT_ID} does not exist", stream.name))
}

fn iterator_at(stream: &DataStream, shard: &Shard, position: u64, now_us: u64) -> ShardIterator {
    ShardIterator {
        stream: stream.name.clone(),
        stream_created_us: stream.created_us,
        shard: shard.number,
        position,
        issued_us: now_us,
    }
}

fn throttled(stream: &DataStream, shard: &Shard) -> ApiError {
    ApiError::new(ErrorKind::ThroughputExceeded, throttle_text(&stream.name, &shard.id))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetRecords<'a> {
    #[serde(borrow)]
    shard_iterator: Option<Text<'a>>,
    #[serde(borrow, rename = "StreamARN")]
    stream_arn: Option<Text<'a>>,
    #[serde(borrow)]
    stream_id: Option<Text<'a>>,
    limit: Option<i64>,
    dry_run: Option<bool>,
}

pub(super) fn records(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: GetRecords<'_> = json::parse(body)?;
    let mut violations = Violations::default();
    let token = request.shard_iterator.as_ref().map(Text::as_str);
    match token {
        Some(token) => violations.length(token, "shardIterator", 1, MAX_TOKEN_CHARS),
        None => violations.null("shardIterator"),
    }
    let target = StreamTarget { name: None, arn: request.stream_arn.as_ref().map(Text::as_str) };
    target.check(&mut violations);
    request.stream_id.iter().for_each(|id| violations.stream_id(id.as_str()));
    let limit = request.limit.unwrap_or(MAX_READ_RECORDS as i64);
    violations.range(limit, "limit", 1, MAX_READ_RECORDS as i64);
    violations.finish()?;

    let now_us = account.clock.now_us();
    let iterator = ShardIterator::open(&account.sealer, token.unwrap_or_default(), now_us)?;
    if target.arn.is_some() && target.resolve()? != iterator.stream {
        return Err(ApiError::invalid_argument("The ShardIterator is not of the stream that StreamARN names."));
    }
    let stream = account.usable(&iterator.stream)?;
    let topology = stream.topology();
    if stream.created_us != iterator.stream_created_us {
        // The stream was deleted and made again: its shards are others.
        return Err(ApiError::invalid_argument("Invalid ShardIterator."));
    }
    let shard = topology.shard(iterator.shard).ok_or_else(|| no_such_shard(&stream, &shard_id(iterator.shard)))?;
    if request.dry_run == Some(true) {
        return Err(ApiError::dry_run());
    }
    let batch = shard.read(now_us, iterator.position, usize::try_from(limit).unwrap_or(0));
    let batch = batch.map_err(|_| throttled(&stream, shard))?;
    // A shard that has ended has nothing to go on with; its children have.
    let next = (!batch.ended).then(|| iterator_at(&stream, shard, batch.next, now_us).seal(&account.sealer));
    let children = if batch.ended { child_shards(&topology, shard.number) } else { Vec::new() };
    let encryption = stream.meta().encryption.clone();
    Ok(write_batch(shard, &batch, next.as_deref(), &children, &encryption))
}

/// The children of a shard as GetRecords and SubscribeToShard name them at its end.
pub(in crate::stream) fn child_shards(topology: &Topology, number: u32) -> Vec<Value> {
    let child = |shard: &Arc<Shard>| {
        json!({
            "ShardId": shard.id,
            "ParentShards": shard.parents().map(shard_id).collect::<Vec<_>>(),
            "HashKeyRange": {
                "StartingHashKey": shard.range.start.to_string(),
                "EndingHashKey": shard.range.end.to_string(),
            },
        })
    };
    topology.children(number).map(child).collect()
}

/// The answer of GetRecords.
fn write_batch(
    shard: &Shard,
    batch: &ReadBatch,
    next: Option<&str>,
    children: &[Value],
    encryption: &[Encryption],
) -> Vec<u8> {
    let mut out = format!("{{\"MillisBehindLatest\":{}", batch.millis_behind).into_bytes();
    if let Some(next) = next {
        out.extend_from_slice(format!(",\"NextShardIterator\":\"{next}\"").as_bytes());
    }
    if !children.is_empty() {
        out.extend_from_slice(format!(",\"ChildShards\":{}", Value::from(children)).as_bytes());
    }
    out.extend_from_slice(b",\"Records\":");
    push_records(&mut out, shard, batch, encryption);
    out.push(b'}');
    out
}

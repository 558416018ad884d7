//! Streams: create, delete, describe, list.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::stream::{
    account::Account,
    data_stream::{DataStream, StreamShape, full_shard_id},
    error::ApiError,
    json::{self, Text, seconds},
    meta::{DEFAULT_MAX_RECORD_KIB, ShardMeta, StreamMeta, StreamMode, StreamStatus},
    shard::shard_id,
    token::TokenKind,
    validate::{StreamTarget, Violations},
};

/// Shards of an on-demand stream at its start (AWS: 4).
const ON_DEMAND_SHARDS: u32 = 4;
/// Entries of a page when the caller names no limit (AWS).
const DEFAULT_LIMIT: i64 = 100;
/// The largest limit a caller may name, and the entries of a page at most whatever it is (AWS).
const MAX_LIMIT: i64 = 10_000;
const MAX_PAGE: i64 = 100;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateStream<'a> {
    #[serde(borrow)]
    stream_name: Option<Text<'a>>,
    shard_count: Option<i64>,
    #[serde(borrow)]
    stream_mode_details: Option<ModeDetails<'a>>,
    #[serde(rename = "MaxRecordSizeInKiB")]
    max_record_kib: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ModeDetails<'a> {
    #[serde(borrow)]
    stream_mode: Option<Text<'a>>,
}

pub(super) fn create(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: CreateStream<'_> = json::parse(body)?;
    let mut violations = Violations::default();
    let name = request.stream_name.as_ref().map(Text::as_str);
    match name {
        Some(name) => violations.name(name, "streamName"),
        None => violations.null("streamName"),
    }
    if let Some(count) = request.shard_count {
        violations.range(count, "shardCount", 1, i64::from(i32::MAX));
    }
    let mode = request.stream_mode_details.as_ref().map(|details| details.stream_mode.as_ref().map(Text::as_str));
    match mode {
        Some(Some(mode)) => violations.one_of(mode, "streamModeDetails.streamMode", &StreamMode::NAMES),
        Some(None) => violations.null("streamModeDetails.streamMode"),
        None => {}
    }
    let max_record_kib = request.max_record_kib.unwrap_or(i64::from(DEFAULT_MAX_RECORD_KIB));
    violations.range(max_record_kib, "maxRecordSizeInKiB", i64::from(DEFAULT_MAX_RECORD_KIB), 10_240);
    violations.finish()?;

    let on_demand = mode.flatten() == Some(StreamMode::OnDemand.name());
    let (mode, shards) = match (on_demand, request.shard_count) {
        (true, None) => (StreamMode::OnDemand, ON_DEMAND_SHARDS),
        (true, Some(_)) => {
            return Err(ApiError::invalid_argument("ShardCount must not be given for a stream in ON_DEMAND mode."));
        }
        (false, Some(count)) => (StreamMode::Provisioned, u32::try_from(count).unwrap_or(u32::MAX)),
        (false, None) => {
            return Err(ApiError::invalid_argument("ShardCount must be given for a stream in PROVISIONED mode."));
        }
    };
    let max_record_kib = u32::try_from(max_record_kib).unwrap_or(DEFAULT_MAX_RECORD_KIB);
    account.create(
        name.unwrap_or_default(),
        StreamShape { mode, shards, max_record_kib, retention_us: account.retention_us },
    )?;
    Ok(Vec::new())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NamedStream<'a> {
    #[serde(borrow)]
    stream_name: Option<Text<'a>>,
    #[serde(borrow, rename = "StreamARN")]
    stream_arn: Option<Text<'a>>,
    limit: Option<i64>,
    #[serde(borrow)]
    exclusive_start_shard_id: Option<Text<'a>>,
}

impl NamedStream<'_> {
    fn target(&self) -> StreamTarget<'_> {
        StreamTarget {
            name: self.stream_name.as_ref().map(Text::as_str),
            arn: self.stream_arn.as_ref().map(Text::as_str),
        }
    }
}

pub(super) fn delete(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: NamedStream<'_> = json::parse(body)?;
    let mut violations = Violations::default();
    request.target().check(&mut violations);
    violations.finish()?;
    account.delete(request.target().resolve()?)?;
    Ok(Vec::new())
}

pub(super) fn describe(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: NamedStream<'_> = json::parse(body)?;
    let mut violations = Violations::default();
    request.target().check(&mut violations);
    let limit = request.limit.unwrap_or(DEFAULT_LIMIT);
    violations.range(limit, "limit", 1, MAX_LIMIT);
    let after = request.exclusive_start_shard_id.as_ref().map(Text::as_str);
    if let Some(id) = after {
        violations.name(id, "exclusiveStartShardId");
    }
    violations.finish()?;

    let stream = account.stream(request.target().resolve()?)?;
    let mut description = description(account, &stream);
    let meta = stream.meta();
    let first = after.map_or(0, |id| first_after(&meta, id));
    let mut rest = meta.shards.range(first..).map(|(number, shard)| shard_value(*number, shard)).peekable();
    let page = rest.by_ref().take(usize::try_from(limit.min(MAX_PAGE)).unwrap_or(0)).collect();
    description["Shards"] = Value::Array(page);
    description["HasMoreShards"] = Value::Bool(rest.peek().is_some());
    json::answer(&json!({ "StreamDescription": description }))
}

pub(super) fn summarize(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: NamedStream<'_> = json::parse(body)?;
    let mut violations = Violations::default();
    request.target().check(&mut violations);
    violations.finish()?;

    let stream = account.stream(request.target().resolve()?)?;
    let mut summary = description(account, &stream);
    let meta = stream.meta();
    summary["OpenShardCount"] = json!(meta.open_shards().count());
    summary["ConsumerCount"] = json!(0);
    summary["MaxRecordSizeInKiB"] = json!(meta.max_record_kib);
    json::answer(&json!({ "StreamDescriptionSummary": summary }))
}

/// The number of the first shard whose id comes after this one. Text that is no shard's id is compared as text.
pub(super) fn first_after(meta: &StreamMeta, id: &str) -> u32 {
    let id = full_shard_id(id);
    meta.shards.keys().copied().take_while(|number| shard_id(*number) <= id).last().map_or(0, |number| number + 1)
}

/// What both descriptions say.
fn description(account: &Account, stream: &DataStream) -> Value {
    let meta = stream.meta();
    json!({
        "StreamName": stream.name,
        "StreamARN": stream.arn,
        "StreamStatus": status_name(account, &meta),
        "StreamModeDetails": { "StreamMode": meta.mode.name() },
        "RetentionPeriodHours": meta.retention_us.div_ceil(3_600_000_000),
        "StreamCreationTimestamp": seconds(stream.created_us),
        "EnhancedMonitoring": [{ "ShardLevelMetrics": meta.shard_level_metrics }],
        "EncryptionType": "NONE",
        "KeyId": null,
    })
}

/// The status as AWS writes it. A stream whose deletion settled between two looks is still being deleted.
fn status_name(account: &Account, meta: &StreamMeta) -> &'static str {
    meta.status(account.clock.now_us()).unwrap_or(StreamStatus::Deleting).name()
}

/// A shard as DescribeStream and ListShards show it.
pub(super) fn shard_value(number: u32, shard: &ShardMeta) -> Value {
    let mut value = json!({
        "ShardId": shard_id(number),
        "HashKeyRange": {
            "StartingHashKey": shard.range.start.to_string(),
            "EndingHashKey": shard.range.end.to_string(),
        },
        "SequenceNumberRange": { "StartingSequenceNumber": shard.starting_sequence(number).to_string() },
    });
    for (member, parent) in ["ParentShardId", "AdjacentParentShardId"].into_iter().zip(shard.parents()) {
        value[member] = json!(shard_id(parent));
    }
    if let Some(ending) = shard.ending_sequence(number) {
        value["SequenceNumberRange"]["EndingSequenceNumber"] = json!(ending.to_string());
    }
    value
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListStreams<'a> {
    limit: Option<i64>,
    #[serde(borrow)]
    exclusive_start_stream_name: Option<Text<'a>>,
    #[serde(borrow)]
    next_token: Option<Text<'a>>,
}

pub(super) fn list(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: ListStreams<'_> = json::parse(body)?;
    let mut violations = Violations::default();
    let limit = request.limit.unwrap_or(DEFAULT_LIMIT);
    violations.range(limit, "limit", 1, MAX_LIMIT);
    if let Some(name) = &request.exclusive_start_stream_name {
        violations.name(name.as_str(), "exclusiveStartStreamName");
    }
    if let Some(token) = &request.next_token {
        violations.length(token.as_str(), "nextToken", 1, 1_048_576);
    }
    violations.finish()?;

    let after = match (&request.exclusive_start_stream_name, &request.next_token) {
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid_argument(
                "NextToken and ExclusiveStartStreamName cannot be provided together.",
            ));
        }
        (Some(name), None) => Some(name.as_str().to_owned()),
        (None, Some(token)) => {
            let name = account.sealer.open(TokenKind::StreamPage, token.as_str());
            let name = name.and_then(|name| String::from_utf8(name).ok());
            Some(name.ok_or_else(|| ApiError::invalid_argument("Invalid NextToken."))?)
        }
        (None, None) => None,
    };
    let limit = usize::try_from(limit.min(MAX_PAGE)).unwrap_or(0);
    let mut streams = account.list(after.as_deref(), limit + 1);
    let has_more = streams.len() > limit;
    streams.truncate(limit);
    let names: Vec<_> = streams.iter().map(|stream| stream.name.as_str()).collect();
    let mut value = json!({
        "StreamNames": names,
        "HasMoreStreams": has_more,
        "StreamSummaries": streams.iter().map(|stream| summary(account, stream)).collect::<Vec<_>>(),
    });
    if let (true, Some(last)) = (has_more, names.last()) {
        value["NextToken"] = json!(account.sealer.seal(TokenKind::StreamPage, last.as_bytes()));
    }
    json::answer(&value)
}

fn summary(account: &Account, stream: &DataStream) -> Value {
    let meta = stream.meta();
    json!({
        "StreamName": stream.name,
        "StreamARN": stream.arn,
        "StreamStatus": status_name(account, &meta),
        "StreamModeDetails": { "StreamMode": meta.mode.name() },
        "StreamCreationTimestamp": seconds(stream.created_us),
    })
}

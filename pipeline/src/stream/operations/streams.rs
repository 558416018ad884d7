//! CreateStream, DeleteStream and ListStreams.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    describe::status_name,
    mode::{check_strategy, require_commitment, shards_for},
    request::{StreamRef, require_active},
    tags,
};
use crate::stream::{
    account::{ACCOUNT_ID, Account},
    data_stream::DataStream,
    error::{ApiError, ErrorKind},
    json::{self, Text, seconds},
    meta::{DEFAULT_MAX_RECORD_KIB, Distribution, StreamMode, StreamShape},
    token::TokenKind,
    validate::Violations,
};

/// Entries of a page when the caller names no limit, the largest limit a caller may name, and the entries of a page at
/// most whatever it is (AWS).
pub(super) const DEFAULT_LIMIT: i64 = 100;
pub(super) const MAX_LIMIT: i64 = 10_000;
pub(super) const MAX_PAGE: i64 = 100;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateStream {
    stream_name: Option<String>,
    shard_count: Option<i64>,
    stream_mode_details: Option<ModeDetails>,
    tags: Option<BTreeMap<String, Option<String>>>,
    #[serde(rename = "WarmThroughputMiBps")]
    warm_mibps: Option<i64>,
    #[serde(rename = "MaxRecordSizeInKiB")]
    max_record_kib: Option<i64>,
    record_distribution_strategy: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ModeDetails {
    stream_mode: Option<String>,
}

impl ModeDetails {
    /// Notes what is wrong with it, and gives the mode.
    pub(super) fn check(&self, violations: &mut Violations) -> StreamMode {
        match self.stream_mode.as_deref() {
            Some(mode) => violations.one_of(mode, "streamModeDetails.streamMode", &StreamMode::NAMES),
            None => violations.null("streamModeDetails.streamMode"),
        }
        match self.stream_mode.as_deref() {
            Some("ON_DEMAND") => StreamMode::OnDemand,
            _ => StreamMode::Provisioned,
        }
    }
}

pub(super) fn create(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: CreateStream = json::parse(body)?;
    let mut violations = Violations::default();
    let name = violations.required_name(request.stream_name.as_deref(), "streamName");
    if let Some(count) = request.shard_count {
        violations.range(count, "shardCount", 1, i64::from(i32::MAX));
    }
    let mode = request.stream_mode_details.as_ref().map(|details| details.check(&mut violations));
    if let Some(tags) = &request.tags {
        tags::check(tags, &mut violations);
    }
    if let Some(warm) = request.warm_mibps {
        violations.range(warm, "warmThroughputMiBps", 0, i64::from(i32::MAX));
    }
    let max_record_kib = request.max_record_kib.unwrap_or(i64::from(DEFAULT_MAX_RECORD_KIB));
    violations.range(max_record_kib, "maxRecordSizeInKiB", i64::from(DEFAULT_MAX_RECORD_KIB), 10_240);
    if let Some(strategy) = &request.record_distribution_strategy {
        violations.one_of(strategy, "recordDistributionStrategy", &Distribution::NAMES);
    }
    violations.finish()?;

    let mode = mode.unwrap_or(StreamMode::Provisioned);
    let warm_mibps = request.warm_mibps.map(|warm| u32::try_from(warm).unwrap_or(u32::MAX));
    if warm_mibps.is_some() {
        require_commitment(account, name, mode)?;
    }
    let shards = match (mode, request.shard_count) {
        (StreamMode::OnDemand, None) => shards_for(warm_mibps)?,
        (StreamMode::OnDemand, Some(_)) => {
            return Err(ApiError::invalid_argument("ShardCount must not be given for a stream in ON_DEMAND mode."));
        }
        (StreamMode::Provisioned, Some(count)) => u32::try_from(count).unwrap_or(u32::MAX),
        (StreamMode::Provisioned, None) => {
            return Err(ApiError::invalid_argument("ShardCount must be given for a stream in PROVISIONED mode."));
        }
    };
    let distribution = request.record_distribution_strategy.as_deref().map(Distribution::named).unwrap_or_default();
    check_strategy(name, mode, distribution)?;
    let mut tags = BTreeMap::new();
    tags::add(&mut tags, request.tags.unwrap_or_default(), &format!("stream {name}"))?;
    let shape = StreamShape {
        mode,
        max_record_kib: u32::try_from(max_record_kib).unwrap_or(DEFAULT_MAX_RECORD_KIB),
        distribution,
        warm_mibps,
        tags,
        ..StreamShape::provisioned(shards, account.retention_us)
    };
    account.create(name, shape)?;
    Ok(Vec::new())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DeleteStream {
    #[serde(flatten)]
    stream: StreamRef,
    enforce_consumer_deletion: Option<bool>,
}

pub(super) fn delete(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: DeleteStream = json::parse(body)?;
    let mut violations = Violations::default();
    request.stream.check(&mut violations);
    violations.finish()?;
    let enforced = request.enforce_consumer_deletion == Some(true);
    account.delete(request.stream.name()?, |meta, now_us| {
        require_active(meta, now_us)?;
        let registered = meta.consumers.values().any(|consumer| consumer.status(now_us).is_some());
        if registered && !enforced {
            let text = format!(
                "Stream {} under account {ACCOUNT_ID} has registered consumers; deregister them, or delete it with \
                 EnforceConsumerDeletion.",
                meta.name
            );
            return Err(ApiError::new(ErrorKind::ResourceInUse, text));
        }
        Ok(())
    })?;
    Ok(Vec::new())
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

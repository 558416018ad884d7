//! DescribeStream and DescribeStreamSummary: a stream's facts as AWS shows them.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    request::StreamRef,
    streams::{DEFAULT_LIMIT, MAX_LIMIT, MAX_PAGE},
};
use crate::stream::{
    account::Account,
    data_stream::{DataStream, shard_number},
    error::ApiError,
    json::{self, seconds},
    meta::{ShardMeta, StreamMeta, StreamMode, StreamStatus},
    shard::shard_id,
    validate::Violations,
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DescribeStream {
    #[serde(flatten)]
    stream: StreamRef,
    limit: Option<i64>,
    exclusive_start_shard_id: Option<String>,
}

pub(super) fn stream(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: DescribeStream = json::parse(body)?;
    let mut violations = Violations::default();
    request.stream.check(&mut violations);
    let limit = request.limit.unwrap_or(DEFAULT_LIMIT);
    violations.range(limit, "limit", 1, MAX_LIMIT);
    if let Some(id) = &request.exclusive_start_shard_id {
        violations.name(id, "exclusiveStartShardId");
    }
    violations.finish()?;

    let stream = request.stream.find(account)?;
    let meta = stream.meta();
    let mut description = description(account, &stream, &meta);
    let first = request.exclusive_start_shard_id.map_or(0, |id| first_after(&meta, &id));
    let mut rest = meta.shards.range(first..).map(|(number, shard)| shard_value(*number, shard)).peekable();
    let page = rest.by_ref().take(usize::try_from(limit.min(MAX_PAGE)).unwrap_or(0)).collect();
    description["Shards"] = Value::Array(page);
    description["HasMoreShards"] = Value::Bool(rest.peek().is_some());
    json::answer(&json!({ "StreamDescription": description }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DescribeStreamSummary {
    #[serde(flatten)]
    stream: StreamRef,
}

pub(super) fn summary(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: DescribeStreamSummary = json::parse(body)?;
    let mut violations = Violations::default();
    request.stream.check(&mut violations);
    violations.finish()?;

    let stream = request.stream.find(account)?;
    let meta = stream.meta();
    let mut summary = description(account, &stream, &meta);
    summary["OpenShardCount"] = json!(meta.open_shards().count());
    let now_us = account.clock.now_us();
    summary["ConsumerCount"] =
        json!(meta.consumers.values().filter(|consumer| consumer.status(now_us).is_some()).count());
    summary["MaxRecordSizeInKiB"] = json!(meta.max_record_kib);
    if meta.mode == StreamMode::OnDemand {
        summary["RecordDistributionStrategy"] = json!(meta.distribution.name());
        if account.meta().is_committed(now_us) {
            summary["WarmThroughput"] = warm_throughput(&meta);
        }
    }
    json::answer(&json!({ "StreamDescriptionSummary": summary }))
}

/// A shard takes 1 MiB/s, so that is how much the stream is ready for; the target is what was asked for.
pub(super) fn warm_throughput(meta: &StreamMeta) -> Value {
    let current = meta.open_shards().count();
    let target = meta.warm_mibps.map_or(current, |target| target as usize);
    json!({ "TargetMiBps": target, "CurrentMiBps": current })
}

/// The number of the first shard whose id comes after this one. Text that is no shard's id is compared as text.
pub(super) fn first_after(meta: &StreamMeta, id: &str) -> u32 {
    let later = |number: &u32| shard_id(*number).as_str() > id;
    shard_number(id).map_or_else(|| meta.shards.keys().copied().find(later).unwrap_or(u32::MAX), |number| number + 1)
}

/// What both descriptions say.
fn description(account: &Account, stream: &DataStream, meta: &StreamMeta) -> Value {
    json!({
        "StreamName": stream.name,
        "StreamARN": stream.arn,
        "StreamStatus": status_name(account, meta),
        "StreamModeDetails": { "StreamMode": meta.mode.name() },
        "RetentionPeriodHours": meta.retention_us.div_ceil(3_600_000_000),
        "StreamCreationTimestamp": seconds(stream.created_us),
        "EnhancedMonitoring": [{ "ShardLevelMetrics": meta.shard_level_metrics }],
        "EncryptionType": if meta.key_id().is_some() { "KMS" } else { "NONE" },
        "KeyId": meta.key_id(),
    })
}

/// The status as AWS writes it. A stream whose deletion settled between two looks is still being deleted.
pub(super) fn status_name(account: &Account, meta: &StreamMeta) -> &'static str {
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

//! SplitShard, MergeShards and UpdateShardCount.

use serde::Deserialize;
use serde_json::json;

use super::request::{StreamRef, require_active};
use crate::stream::{
    account::{ACCOUNT_ID, Account},
    data_stream::{full_shard_id, shard_number},
    error::{ApiError, ErrorKind},
    json,
    meta::{StreamMeta, StreamMode},
    reshard::{OpenShard, Reshard, uniform},
    shard::shard_id,
    validate::{Violations, is_number},
};

/// Shards of a stream at most by UpdateShardCount
/// (AWS: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateShardCount.html>).
const MAX_TARGET: u32 = 10_000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SplitShard {
    #[serde(flatten)]
    stream: StreamRef,
    shard_to_split: Option<String>,
    new_starting_hash_key: Option<String>,
}

pub(super) fn split(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: SplitShard = json::parse(body)?;
    let mut violations = Violations::default();
    request.stream.check(&mut violations);
    let id = violations.required_name(request.shard_to_split.as_deref(), "shardToSplit");
    let hash = request.new_starting_hash_key.as_deref();
    match hash {
        Some(hash) => violations.pattern(hash, "newStartingHashKey", is_number(hash, 39), "0|([1-9]\\d{0,38})"),
        None => violations.null("newStartingHashKey"),
    }
    violations.finish()?;

    let stream = request.stream.find(account)?;
    account.reshard(&stream, |meta, now_us| {
        require_active(meta, now_us)?;
        require_provisioned(meta)?;
        let shard = open_shard(meta, id)?;
        Ok(vec![Reshard::split(shard, inner_hash(meta, shard, hash.unwrap_or_default())?)])
    })?;
    Ok(Vec::new())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MergeShards {
    #[serde(flatten)]
    stream: StreamRef,
    shard_to_merge: Option<String>,
    adjacent_shard_to_merge: Option<String>,
}

pub(super) fn merge(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: MergeShards = json::parse(body)?;
    let mut violations = Violations::default();
    request.stream.check(&mut violations);
    let id = violations.required_name(request.shard_to_merge.as_deref(), "shardToMerge");
    let adjacent = violations.required_name(request.adjacent_shard_to_merge.as_deref(), "adjacentShardToMerge");
    violations.finish()?;

    let stream = request.stream.find(account)?;
    account.reshard(&stream, |meta, now_us| {
        require_active(meta, now_us)?;
        require_provisioned(meta)?;
        let merge = Reshard::merge(open_shard(meta, id)?, open_shard(meta, adjacent)?);
        let merge = merge.ok_or_else(|| {
            ApiError::invalid_argument(format!(
                "Shards {} and {} in stream {} under account {ACCOUNT_ID} are not an adjacent pair of shards eligible \
                 for merging",
                full_shard_id(id),
                full_shard_id(adjacent),
                meta.name
            ))
        })?;
        Ok(vec![merge])
    })?;
    Ok(Vec::new())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateShardCount {
    #[serde(flatten)]
    stream: StreamRef,
    target_shard_count: Option<i64>,
    scaling_type: Option<String>,
}

pub(super) fn update_count(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: UpdateShardCount = json::parse(body)?;
    let mut violations = Violations::default();
    request.stream.check(&mut violations);
    match request.target_shard_count {
        Some(target) => violations.range(target, "targetShardCount", 1, i64::from(i32::MAX)),
        None => violations.null("targetShardCount"),
    }
    match &request.scaling_type {
        Some(kind) => violations.one_of(kind, "scalingType", &["UNIFORM_SCALING"]),
        None => violations.null("scalingType"),
    }
    violations.finish()?;

    let target = request.target_shard_count.and_then(|target| u32::try_from(target).ok()).unwrap_or(u32::MAX);
    let stream = request.stream.find(account)?;
    let mut current = 0;
    account.reshard(&stream, |meta, now_us| {
        require_active(meta, now_us)?;
        require_provisioned(meta)?;
        let open = meta.open_ranges();
        current = u32::try_from(open.len()).unwrap_or(u32::MAX);
        within_steps(current, target)?;
        let most = account.limits().reshards_per_day;
        if !meta.shard_count_updates.admit(now_us, most as usize) {
            return Err(ApiError::new(
                ErrorKind::LimitExceeded,
                format!(
                    "Stream {} under account {ACCOUNT_ID} has already been scaled {most} times by \
                     UpdateShardCount in the last 24 hours.",
                    meta.name
                ),
            ));
        }
        Ok(uniform(&open, meta.next_shard, target))
    })?;
    json::answer(&json!({
        "StreamName": stream.name,
        "StreamARN": stream.arn,
        "CurrentShardCount": current,
        "TargetShardCount": target,
    }))
}

/// One call at most doubles or halves the open shards.
fn within_steps(current: u32, target: u32) -> Result<(), ApiError> {
    let refusal = if target > MAX_TARGET {
        format!("Target shard count or number of open shards cannot be greater than {MAX_TARGET}.")
    } else if u64::from(target) > 2 * u64::from(current) {
        "UpdateShardCount cannot scale up over double your current open shard count.".to_owned()
    } else if 2 * u64::from(target) < u64::from(current) {
        "UpdateShardCount cannot scale down below half your current open shard count.".to_owned()
    } else {
        return Ok(());
    };
    let text = format!("{refusal} Current open shard count: {current} Target shard count: {target}");
    Err(ApiError::new(ErrorKind::LimitExceeded, text))
}

/// AWS changes the shards of an on-demand stream itself.
fn require_provisioned(meta: &StreamMeta) -> Result<(), ApiError> {
    match meta.mode {
        StreamMode::Provisioned => Ok(()),
        StreamMode::OnDemand => Err(ApiError::new(
            ErrorKind::Validation,
            format!("Request is invalid. Stream {} under account {ACCOUNT_ID} is in On-Demand mode.", meta.name),
        )),
    }
}

/// The open shard of this id.
fn open_shard(meta: &StreamMeta, id: &str) -> Result<OpenShard, ApiError> {
    let number = shard_number(id);
    let found = number.and_then(|number| meta.shards.get(&number).map(|shard| (number, shard)));
    let id = full_shard_id(id);
    let (number, shard) = found.ok_or_else(|| {
        let text = format!("Could not find shard {id} in stream {} under account {ACCOUNT_ID}.", meta.name);
        ApiError::not_found(text)
    })?;
    if shard.closed.is_some() {
        return Err(ApiError::invalid_argument(format!(
            "Shard {id} in stream {} under account {ACCOUNT_ID} has already been merged or split, and thus is not \
             eligible for merging or splitting.",
            meta.name
        )));
    }
    Ok((number, shard.range))
}

/// Where to cut the shard. AWS leaves the lower child at least two hash keys, and the upper one as well.
fn inner_hash(meta: &StreamMeta, (number, range): OpenShard, hash: &str) -> Result<u128, ApiError> {
    let inside = |at: &u128| *at > range.start.saturating_add(1) && *at < range.end;
    hash.parse().ok().filter(inside).ok_or_else(|| {
        ApiError::invalid_argument(format!(
            "NewStartingHashKey {hash} used in SplitShard() on shard {} in stream {} under account {ACCOUNT_ID} is not \
             both greater than one plus the shard's StartingHashKey {} and less than the shard's EndingHashKey {}.",
            shard_id(number),
            meta.name,
            range.start,
            range.end
        ))
    })
}

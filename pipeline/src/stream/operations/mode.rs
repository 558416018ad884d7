//! How a stream's capacity is chosen and spread: UpdateStreamMode, UpdateStreamWarmThroughput and
//! UpdateStreamRecordDistributionStrategy.

use serde::Deserialize;
use serde_json::json;

use super::{
    describe::warm_throughput,
    request::{StreamRef, require_active},
    streams::ModeDetails,
};
use crate::stream::{
    account::{ACCOUNT_ID, Account},
    error::{ApiError, ErrorKind},
    json,
    meta::{Distribution, StreamMeta, StreamMode},
    reshard::{Reshard, uniform},
    validate::Violations,
};

/// Shards of an on-demand stream at its start (AWS: 4 MB/s and 4000 records/s,
/// <https://docs.aws.amazon.com/streams/latest/dev/how-do-i-size-a-stream.html>).
const ON_DEMAND_SHARDS: u32 = 4;
/// What a stream can be warmed to, MiB/s (AWS: 10 GiB/s,
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateStreamWarmThroughput.html>).
const MAX_WARM_MIBPS: u32 = 10 << 10;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateStreamMode {
    #[serde(flatten)]
    stream: StreamRef,
    stream_mode_details: Option<ModeDetails>,
    #[serde(rename = "WarmThroughputMiBps")]
    warm_mibps: Option<i64>,
}

pub(super) fn update(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: UpdateStreamMode = json::parse(body)?;
    let mut violations = Violations::default();
    request.stream.check_arn(&mut violations);
    let mode = match &request.stream_mode_details {
        Some(details) => details.check(&mut violations),
        None => {
            violations.null("streamModeDetails");
            StreamMode::Provisioned
        }
    };
    if let Some(warm) = request.warm_mibps {
        violations.range(warm, "warmThroughputMiBps", 0, i64::from(i32::MAX));
    }
    violations.finish()?;

    let stream = request.stream.find(account)?;
    let warm_mibps = request.warm_mibps.map(|warm| u32::try_from(warm).unwrap_or(u32::MAX));
    if warm_mibps.is_some() {
        require_commitment(account, &stream.name, mode)?;
    }
    let on_demand_streams = account.on_demand_streams();
    account.reshard(&stream, |meta, now_us| {
        require_active(meta, now_us)?;
        if meta.mode != mode {
            if mode == StreamMode::OnDemand {
                account.within_on_demand_limit(on_demand_streams)?;
            }
            let most = account.limits().mode_switches_per_day;
            if !meta.mode_switches.admit(now_us, most as usize) {
                return Err(ApiError::new(
                    ErrorKind::LimitExceeded,
                    format!(
                        "The mode of stream {} under account {ACCOUNT_ID} has already been switched \
                         {most} times in the last 24 hours.",
                        meta.name
                    ),
                ));
            }
        }
        meta.mode = mode;
        if mode == StreamMode::Provisioned {
            // Both belong to on-demand streams; the shards stay as they are.
            (meta.distribution, meta.warm_mibps) = (Distribution::default(), None);
        }
        warm(meta, warm_mibps)
    })?;
    Ok(Vec::new())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateStreamWarmThroughput {
    #[serde(flatten)]
    stream: StreamRef,
    #[serde(rename = "WarmThroughputMiBps")]
    warm_mibps: Option<i64>,
}

pub(super) fn update_warm_throughput(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: UpdateStreamWarmThroughput = json::parse(body)?;
    let mut violations = Violations::default();
    request.stream.check(&mut violations);
    match request.warm_mibps {
        Some(warm) => violations.range(warm, "warmThroughputMiBps", 0, i64::from(i32::MAX)),
        None => violations.null("warmThroughputMiBps"),
    }
    violations.finish()?;

    let stream = request.stream.find(account)?;
    let mode = stream.meta().mode;
    require_commitment(account, &stream.name, mode)?;
    let mut before = json!(null);
    account.reshard(&stream, |meta, now_us| {
        require_active(meta, now_us)?;
        let warm_mibps = request.warm_mibps.map(|warm| u32::try_from(warm).unwrap_or(u32::MAX));
        let plan = warm(meta, warm_mibps)?;
        before = warm_throughput(meta);
        Ok(plan)
    })?;
    json::answer(&json!({ "StreamName": stream.name, "StreamARN": stream.arn, "WarmThroughput": before }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateStreamRecordDistributionStrategy {
    #[serde(flatten)]
    stream: StreamRef,
    record_distribution_strategy: Option<String>,
}

pub(super) fn update_distribution(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: UpdateStreamRecordDistributionStrategy = json::parse(body)?;
    let mut violations = Violations::default();
    request.stream.check_arn(&mut violations);
    match &request.record_distribution_strategy {
        Some(strategy) => violations.one_of(strategy, "recordDistributionStrategy", &Distribution::NAMES),
        None => violations.null("recordDistributionStrategy"),
    }
    violations.finish()?;

    let distribution = Distribution::named(request.record_distribution_strategy.as_deref().unwrap_or_default());
    let stream = request.stream.find(account)?;
    let now_us = account.clock.now_us();
    // The change takes effect at once: the stream stays active.
    stream.change(|meta| {
        require_active(meta, now_us)?;
        check_strategy(&meta.name, meta.mode, distribution)?;
        meta.distribution = distribution;
        Ok(())
    })?;
    Ok(Vec::new())
}

/// Only an on-demand stream spreads its records itself.
pub(super) fn check_strategy(name: &str, mode: StreamMode, distribution: Distribution) -> Result<(), ApiError> {
    match (mode, distribution) {
        (StreamMode::Provisioned, Distribution::Auto) => Err(ApiError::invalid_argument(format!(
            "RecordDistributionStrategy AUTO is only supported for streams in ON_DEMAND mode. Stream {name} under account \
             {ACCOUNT_ID} is in PROVISIONED mode."
        ))),
        _ => Ok(()),
    }
}

/// Warm throughput belongs to on-demand streams of accounts with a minimum commitment.
pub(super) fn require_commitment(account: &Account, name: &str, mode: StreamMode) -> Result<(), ApiError> {
    let refusal = if mode == StreamMode::Provisioned {
        format!(
            "Warm throughput is only supported for streams in ON_DEMAND mode. Stream {name} under account {ACCOUNT_ID} is \
             in PROVISIONED mode."
        )
    } else if !account.meta().is_committed(account.clock.now_us()) {
        format!("Warm throughput needs MinimumThroughputBillingCommitment to be enabled for account {ACCOUNT_ID}.")
    } else {
        return Ok(());
    };
    Err(ApiError::new(ErrorKind::Validation, refusal))
}

/// The shards of an on-demand stream that is ready for this much.
pub(super) fn shards_for(warm_mibps: Option<u32>) -> Result<u32, ApiError> {
    match warm_mibps {
        Some(warm) if warm > MAX_WARM_MIBPS => Err(ApiError::new(
            ErrorKind::LimitExceeded,
            format!(
                "WarmThroughputMiBps {warm} is more than the {MAX_WARM_MIBPS} MiB/s that an on-demand stream can have."
            ),
        )),
        warm => Ok(warm.unwrap_or(0).max(ON_DEMAND_SHARDS)),
    }
}

/// Makes an on-demand stream ready for this much, or leaves it as it is.
fn warm(meta: &mut StreamMeta, warm_mibps: Option<u32>) -> Result<Vec<Reshard>, ApiError> {
    if warm_mibps.is_none() {
        return Ok(Vec::new());
    }
    meta.warm_mibps = warm_mibps;
    Ok(uniform(&meta.open_ranges(), meta.next_shard, shards_for(warm_mibps)?))
}

//! What can be set on a stream: retention, the largest record, shard-level metrics, encryption.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::json;

use super::request::{StreamRef, update};
use crate::stream::{
    account::{ACCOUNT_ID, Account},
    error::{ApiError, ErrorKind},
    json,
    meta::DEFAULT_MAX_RECORD_KIB,
    validate::Violations,
};

const HOUR_US: u64 = 3_600 * 1_000_000;
/// Retention, hours (AWS: <https://docs.aws.amazon.com/streams/latest/dev/kinesis-extended-retention.html>).
const MIN_RETENTION_H: i64 = 24;
const MAX_RETENTION_H: i64 = 8_760;
/// Starts, and stops, of encryption in a rolling day
/// (AWS: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_StartStreamEncryption.html>).
const MAX_KEY_CHANGES_PER_DAY: usize = 25;
/// The shard-level metrics in AWS's order.
const METRICS: [&str; 8] = [
    "IncomingBytes",
    "IncomingRecords",
    "OutgoingBytes",
    "OutgoingRecords",
    "WriteProvisionedThroughputExceeded",
    "ReadProvisionedThroughputExceeded",
    "IteratorAgeMilliseconds",
    "ALL",
];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RetentionPeriod {
    #[serde(flatten)]
    stream: StreamRef,
    retention_period_hours: Option<i64>,
}

pub(super) fn increase_retention(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    set_retention(account, body, |asked_us, existing_us| {
        (asked_us < existing_us).then_some(("shorter", "DecreaseRetentionPeriod"))
    })
}

pub(super) fn decrease_retention(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    set_retention(account, body, |asked_us, existing_us| {
        (asked_us > existing_us).then_some(("longer", "IncreaseRetentionPeriod"))
    })
}

/// Sets the retention unless it would go the `wrong` way. The same again is taken as AWS takes it.
fn set_retention(
    account: &Account,
    body: &[u8],
    wrong: impl FnOnce(u64, u64) -> Option<(&'static str, &'static str)>,
) -> Result<Vec<u8>, ApiError> {
    let request: RetentionPeriod = json::parse(body)?;
    let mut violations = Violations::default();
    request.stream.check(&mut violations);
    if request.retention_period_hours.is_none() {
        violations.null("retentionPeriodHours");
    }
    violations.finish()?;

    let hours = request.retention_period_hours.unwrap_or_default();
    let stream = request.stream.find(account)?;
    let refusal = |limit: String, how: &str| {
        let text = format!("{limit} hours. Requested retention period ({hours} hours) is too {how}.");
        Err(ApiError::invalid_argument(text))
    };
    if hours < MIN_RETENTION_H {
        return refusal(format!("Minimum allowed retention period is {MIN_RETENTION_H}"), "short");
    }
    if hours > MAX_RETENTION_H {
        return refusal(format!("Maximum allowed retention period is {MAX_RETENTION_H}"), "long");
    }
    // What has expired until now does not come back with a longer retention.
    stream.trim(account.clock.now_us());
    update(account, &stream, |meta, _| {
        let asked_us = u64::try_from(hours).unwrap_or_default() * HOUR_US;
        if let Some((how, other)) = wrong(asked_us, meta.retention_us) {
            return Err(ApiError::invalid_argument(format!(
                "Requested retention period ({hours} hours) for stream {} can not be {how} than existing retention period \
                 ({} hours). Use {other} API.",
                meta.name,
                meta.retention_us.div_ceil(HOUR_US)
            )));
        }
        meta.retention_us = asked_us;
        Ok(())
    })?;
    stream.trim(account.clock.now_us());
    Ok(Vec::new())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateMaxRecordSize {
    #[serde(flatten)]
    stream: StreamRef,
    #[serde(rename = "MaxRecordSizeInKiB")]
    max_record_kib: Option<i64>,
}

pub(super) fn update_max_record_size(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: UpdateMaxRecordSize = json::parse(body)?;
    let mut violations = Violations::default();
    request.stream.check(&mut violations);
    match request.max_record_kib {
        Some(kib) => violations.range(kib, "maxRecordSizeInKiB", i64::from(DEFAULT_MAX_RECORD_KIB), 10_240),
        None => violations.null("maxRecordSizeInKiB"),
    }
    violations.finish()?;

    let kib = request.max_record_kib.and_then(|kib| u32::try_from(kib).ok()).unwrap_or(DEFAULT_MAX_RECORD_KIB);
    let stream = request.stream.find(account)?;
    update(account, &stream, |meta, _| {
        meta.max_record_kib = kib;
        Ok(())
    })?;
    Ok(Vec::new())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EnhancedMonitoring {
    #[serde(flatten)]
    stream: StreamRef,
    shard_level_metrics: Option<Vec<String>>,
}

pub(super) fn enable_monitoring(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    set_monitoring(account, body, |on, asked| on.extend(asked))
}

pub(super) fn disable_monitoring(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    set_monitoring(account, body, |on, asked| on.retain(|metric| !asked.contains(metric)))
}

fn set_monitoring(
    account: &Account,
    body: &[u8],
    change: impl FnOnce(&mut BTreeSet<String>, BTreeSet<String>),
) -> Result<Vec<u8>, ApiError> {
    let request: EnhancedMonitoring = json::parse(body)?;
    let mut violations = Violations::default();
    request.stream.check(&mut violations);
    let asked = request.shard_level_metrics.unwrap_or_default();
    let shown = format!("[{}]", asked.join(", "));
    if asked.is_empty() {
        violations.add(shown, "shardLevelMetrics", "Member must have length greater than or equal to 1");
    } else if asked.len() > METRICS.len() - 1 {
        violations.add(shown, "shardLevelMetrics", "Member must have length less than or equal to 7");
    } else if asked.iter().any(|metric| !METRICS.contains(&metric.as_str())) {
        let names = METRICS.join(", ");
        let constraint = format!("Member must satisfy constraint: [Member must satisfy enum value set: [{names}]]");
        violations.add(shown, "shardLevelMetrics", constraint);
    }
    violations.finish()?;

    let all = asked.iter().any(|metric| metric == "ALL");
    let named = |metric: &&&str| all || asked.iter().any(|asked| asked == **metric);
    let asked = METRICS.iter().filter(|metric| **metric != "ALL").filter(named).map(|metric| (*metric).to_owned());
    let asked = asked.collect();
    let stream = request.stream.find(account)?;
    let (before, after) = update(account, &stream, |meta, _| {
        let before = meta.shard_level_metrics.clone();
        change(&mut meta.shard_level_metrics, asked);
        Ok((before, meta.shard_level_metrics.clone()))
    })?;
    let ordered = |on: &BTreeSet<String>| METRICS.into_iter().filter(|metric| on.contains(*metric)).collect::<Vec<_>>();
    json::answer(&json!({
        "StreamName": stream.name,
        "StreamARN": stream.arn,
        "CurrentShardLevelMetrics": ordered(&before),
        "DesiredShardLevelMetrics": ordered(&after),
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StreamEncryption {
    #[serde(flatten)]
    stream: StreamRef,
    encryption_type: Option<String>,
    key_id: Option<String>,
}

pub(super) fn start_encryption(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request = encryption_request(body)?;
    let stream = request.stream.find(account)?;
    update(account, &stream, |meta, now_us| {
        if !meta.encryption_starts.admit(now_us, MAX_KEY_CHANGES_PER_DAY) {
            return Err(too_many_key_changes(&meta.name, "started"));
        }
        meta.encrypt(now_us, request.key_id);
        Ok(())
    })?;
    Ok(Vec::new())
}

pub(super) fn stop_encryption(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request = encryption_request(body)?;
    let stream = request.stream.find(account)?;
    update(account, &stream, |meta, now_us| {
        if !meta.encryption_stops.admit(now_us, MAX_KEY_CHANGES_PER_DAY) {
            return Err(too_many_key_changes(&meta.name, "stopped"));
        }
        meta.encrypt(now_us, None);
        Ok(())
    })?;
    Ok(Vec::new())
}

fn encryption_request(body: &[u8]) -> Result<StreamEncryption, ApiError> {
    let request: StreamEncryption = json::parse(body)?;
    let mut violations = Violations::default();
    request.stream.check(&mut violations);
    match &request.encryption_type {
        Some(kind) => violations.one_of(kind, "encryptionType", &["KMS", "NONE"]),
        None => violations.null("encryptionType"),
    }
    match &request.key_id {
        Some(key) => violations.length(key, "keyId", 1, 2048),
        None => violations.null("keyId"),
    }
    violations.finish()?;
    if request.encryption_type.as_deref() != Some("KMS") {
        return Err(ApiError::invalid_argument("The only valid EncryptionType is KMS."));
    }
    Ok(request)
}

fn too_many_key_changes(name: &str, what: &str) -> ApiError {
    let text = format!(
        "Encryption of stream {name} under account {ACCOUNT_ID} has already been {what} {MAX_KEY_CHANGES_PER_DAY} times in \
         the last 24 hours."
    );
    ApiError::new(ErrorKind::LimitExceeded, text)
}

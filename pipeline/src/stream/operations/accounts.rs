//! The account: DescribeLimits, DescribeAccountSettings and UpdateAccountSettings.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::stream::{
    account::Account,
    error::ApiError,
    json::{self, seconds},
    meta::{AccountMeta, Commitment},
    validate::Violations,
};

/// A call that asks for nothing in particular.
#[derive(Deserialize)]
struct Nothing {}

pub(super) fn limits(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let Nothing {} = json::parse(body)?;
    json::answer(&json!({
        "ShardLimit": account.limits().shards,
        "OpenShardCount": account.open_shards(),
        "OnDemandStreamCount": account.on_demand_streams(),
        "OnDemandStreamCountLimit": account.limits().on_demand_streams,
    }))
}

pub(super) fn settings(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let Nothing {} = json::parse(body)?;
    json::answer(&settings_value(&account.meta(), account.clock.now_us()))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateAccountSettings {
    minimum_throughput_billing_commitment: Option<CommitmentInput>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CommitmentInput {
    status: Option<String>,
}

pub(super) fn update_settings(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: UpdateAccountSettings = json::parse(body)?;
    let mut violations = Violations::default();
    let at = "minimumThroughputBillingCommitment";
    let status = request.minimum_throughput_billing_commitment.as_ref().map(|input| input.status.as_deref());
    match status {
        Some(Some(status)) => violations.one_of(status, format_args!("{at}.status"), &["ENABLED", "DISABLED"]),
        Some(None) => violations.null(format_args!("{at}.status")),
        None => violations.null(at),
    }
    violations.finish()?;

    let now_us = account.clock.now_us();
    let enable = status.flatten() == Some("ENABLED");
    account.change(|meta| meta.commitment = committed(meta.commitment, enable, now_us))?;
    json::answer(&settings_value(&account.meta(), now_us))
}

/// A commitment begins at once and holds for a day at least: to end it sooner is to end it then, and to enable it before
/// that takes the end back.
fn committed(commitment: Option<Commitment>, enable: bool, now_us: u64) -> Option<Commitment> {
    let running = commitment.filter(|commitment| !commitment.has_ended(now_us));
    match (running, enable) {
        (Some(running), true) => Some(Commitment { ends_us: None, ..running }),
        (Some(running), false) => Some(Commitment { ends_us: Some(running.earliest_end_us().max(now_us)), ..running }),
        (None, true) => Some(Commitment { started_us: now_us, ends_us: None }),
        (None, false) => commitment,
    }
}

fn settings_value(meta: &AccountMeta, now_us: u64) -> Value {
    let commitment = match meta.commitment {
        None => json!({ "Status": "DISABLED" }),
        Some(ended) if ended.has_ended(now_us) => json!({
            "Status": "DISABLED",
            "StartedAt": seconds(ended.started_us),
            "EndedAt": ended.ends_us.map(seconds),
        }),
        Some(running) => json!({
            "Status": if running.ends_us.is_some() { "ENABLED_UNTIL_EARLIEST_ALLOWED_END" } else { "ENABLED" },
            "StartedAt": seconds(running.started_us),
            "EarliestAllowedEndAt": seconds(running.earliest_end_us()),
        }),
    };
    json!({ "MinimumThroughputBillingCommitment": commitment })
}

//! SubscribeToShard: checks a subscription and opens it.

use std::sync::Arc;

use serde::Deserialize;

use super::{
    Reply,
    consumers::{check_arn, find_by_arn},
    read::{Start, TYPES, find_shard},
};
use crate::stream::{
    account::{ACCOUNT_ID, Account},
    error::{ApiError, ErrorKind},
    json::{self, Text, Timestamp},
    meta::StreamStatus,
    subscription::{Pump, Subscription},
    validate::{Violations, is_number},
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SubscribeToShard<'a> {
    #[serde(borrow, rename = "ConsumerARN")]
    consumer_arn: Option<Text<'a>>,
    #[serde(borrow)]
    shard_id: Option<Text<'a>>,
    #[serde(borrow)]
    starting_position: Option<StartingPosition<'a>>,
    #[serde(borrow)]
    stream_id: Option<Text<'a>>,
    dry_run: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StartingPosition<'a> {
    #[serde(borrow, rename = "Type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    sequence_number: Option<Text<'a>>,
    timestamp: Option<Timestamp>,
}

pub(super) fn subscribe(account: &Arc<Account>, body: &[u8]) -> Result<Reply, ApiError> {
    let request: SubscribeToShard<'_> = json::parse(body)?;
    check(&request)?;
    let position = request.starting_position.as_ref();
    let kind = position.and_then(|position| position.kind.as_ref()).map(Text::as_str).unwrap_or_default();
    let number = position.and_then(|position| position.sequence_number.as_ref()).map(Text::as_str);
    let now_us = account.clock.now_us();
    let start = Start::of(kind, number, position.and_then(|position| position.timestamp), now_us)?;

    let found = find_by_arn(account, request.consumer_arn.as_ref().map(Text::as_str).unwrap_or_default())?;
    let stream = account.usable(&found.stream.name)?;
    let status = found.facts.status(now_us).unwrap_or(StreamStatus::Deleting);
    if status != StreamStatus::Active {
        let text = format!(
            "Consumer {}, stream {} under account {ACCOUNT_ID} not ACTIVE, instead in state {}",
            found.name,
            stream.name,
            status.name()
        );
        return Err(ApiError::new(ErrorKind::ResourceInUse, text));
    }
    let shard = find_shard(&stream, request.shard_id.as_ref().map(Text::as_str).unwrap_or_default())?;
    let position = start.position(&stream, &shard, now_us)?;
    if request.dry_run == Some(true) {
        return Err(ApiError::dry_run());
    }
    let pump = Pump::open(account, stream, shard, (&found.name, &found.arn), position)?;
    Ok(Reply::Events(Subscription(pump)))
}

fn check(request: &SubscribeToShard<'_>) -> Result<(), ApiError> {
    let mut violations = Violations::default();
    match &request.consumer_arn {
        Some(arn) => check_arn(arn.as_str(), &mut violations),
        None => violations.null("consumerARN"),
    }
    match &request.shard_id {
        Some(id) => violations.name(id.as_str(), "shardId"),
        None => violations.null("shardId"),
    }
    match &request.starting_position {
        None => violations.null("startingPosition"),
        Some(position) => {
            match &position.kind {
                Some(kind) => violations.one_of(kind.as_str(), "startingPosition.type", &TYPES),
                None => violations.null("startingPosition.type"),
            }
            if let Some(number) = position.sequence_number.as_ref().map(Text::as_str) {
                let sound = is_number(number, 129);
                violations.pattern(number, "startingPosition.sequenceNumber", sound, "0|([1-9]\\d{0,128})");
            }
        }
    }
    if let Some(id) = &request.stream_id {
        violations.stream_id(id.as_str());
    }
    violations.finish()
}

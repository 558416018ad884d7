//! Consumers with a throughput of their own: register, deregister, describe, list.

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    request::require_active,
    tags::{self, TagMap},
};
use crate::stream::{
    account::{ACCOUNT_ID, Account},
    consumer::{ConsumerMeta, ConsumerName, consumer_arn},
    data_stream::DataStream,
    error::{ApiError, ErrorKind},
    json::{self, Timestamp, seconds},
    meta::{StreamStatus, Transition},
    token::TokenKind,
    validate::{StreamTarget, Violations},
};

/// Consumers of a stream that may be CREATING at the same time (AWS: 5; RegisterStreamConsumer).
const MAX_CREATING: usize = 5;
/// Consumers of a page when the caller names no limit (AWS: 100).
const DEFAULT_PAGE: i64 = 100;

/// The members by which a call names a consumer: its ARN, or its stream's and its name.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ConsumerRef {
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    consumer_name: Option<String>,
    #[serde(rename = "ConsumerARN")]
    consumer_arn: Option<String>,
    stream_id: Option<String>,
}

/// A registered consumer and its stream.
pub(super) struct Found {
    pub(super) stream: Arc<DataStream>,
    pub(super) name: String,
    pub(super) arn: String,
    pub(super) facts: ConsumerMeta,
}

impl ConsumerRef {
    fn check(&self, violations: &mut Violations) {
        check_stream(self.stream_arn.as_deref(), self.stream_id.as_deref(), violations);
        if let Some(name) = &self.consumer_name {
            violations.name(name, "consumerName");
        }
        if let Some(arn) = &self.consumer_arn {
            check_arn(arn, violations);
        }
    }

    fn find(&self, account: &Account) -> Result<Found, ApiError> {
        match (&self.consumer_arn, &self.stream_arn, &self.consumer_name) {
            (Some(arn), None, None) => find_by_arn(account, arn),
            (None, Some(stream), Some(name)) => {
                let stream = account.stream(StreamTarget { name: None, arn: Some(stream) }.resolve()?)?;
                let missing = format!("Consumer {name}, stream {} under account {ACCOUNT_ID} not found.", stream.name);
                find_by_name(account, &stream, name, None).ok_or_else(|| ApiError::not_found(missing))
            }
            _ => Err(ApiError::invalid_argument(
                "Either ConsumerARN, or both StreamARN and ConsumerName should be provided, and not the three together.",
            )),
        }
    }
}

fn check_stream(arn: Option<&str>, id: Option<&str>, violations: &mut Violations) {
    StreamTarget { name: None, arn }.check(violations);
    if let Some(id) = id {
        violations.stream_id(id);
    }
}

/// Notes what is wrong with a consumer's ARN.
pub(super) fn check_arn(arn: &str, violations: &mut Violations) {
    let pattern = "^(arn):aws.*:kinesis:.*:\\d{12}:.*stream\\/[a-zA-Z0-9_.-]+\\/consumer\\/[a-zA-Z0-9_.-]+:[0-9]+";
    violations.pattern(arn, "consumerARN", ConsumerName::parse(arn).is_some(), pattern);
    violations.length(arn, "consumerARN", 1, 2048);
}

/// The consumer of an ARN.
pub(super) fn find_by_arn(account: &Account, arn: &str) -> Result<Found, ApiError> {
    let missing = || ApiError::not_found(format!("Consumer {arn} under account {ACCOUNT_ID} not found."));
    let named = ConsumerName::parse(arn).ok_or_else(missing)?;
    let stream = account.stream(named.stream)?;
    find_by_name(account, &stream, named.consumer, Some(named.created_s)).ok_or_else(missing)
}

fn find_by_name(account: &Account, stream: &Arc<DataStream>, name: &str, created_s: Option<u64>) -> Option<Found> {
    let facts = stream.meta().consumers.get(name)?.clone();
    facts.status(account.clock.now_us())?;
    if created_s.is_some_and(|created_s| created_s != facts.created_us / 1_000_000) {
        return None;
    }
    let arn = consumer_arn(&stream.arn, name, facts.created_us);
    Some(Found { stream: Arc::clone(stream), name: name.to_owned(), arn, facts })
}

/// A consumer as every answer shows it.
fn value(name: &str, arn: &str, facts: &ConsumerMeta, now_us: u64) -> Value {
    json!({
        "ConsumerName": name,
        "ConsumerARN": arn,
        "ConsumerStatus": facts.status(now_us).unwrap_or(StreamStatus::Deleting).name(),
        "ConsumerCreationTimestamp": seconds(facts.created_us),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Register {
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    consumer_name: Option<String>,
    stream_id: Option<String>,
    tags: Option<TagMap>,
}

pub(super) fn register(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: Register = json::parse(body)?;
    let mut violations = Violations::default();
    if request.stream_arn.is_none() {
        violations.null("streamARN");
    }
    check_stream(request.stream_arn.as_deref(), request.stream_id.as_deref(), &mut violations);
    match &request.consumer_name {
        Some(name) => violations.name(name, "consumerName"),
        None => violations.null("consumerName"),
    }
    if let Some(tags) = &request.tags {
        tags::check(tags, &mut violations);
    }
    violations.finish()?;

    let name = request.consumer_name.unwrap_or_default();
    let mut tags = BTreeMap::new();
    tags::add(&mut tags, request.tags.unwrap_or_default(), &format!("consumer {name}"))?;
    let stream = account.stream(StreamTarget { name: None, arn: request.stream_arn.as_deref() }.resolve()?)?;
    let now_us = account.clock.now_us();
    let transition = Transition { status: StreamStatus::Creating, settles_us: account.settles_us(now_us) };
    let facts = ConsumerMeta { created_us: now_us, transition, tags, policy: None };
    let arn = consumer_arn(&stream.arn, &name, now_us);
    stream.change(|meta| {
        require_active(meta, now_us)?;
        meta.consumers.retain(|_, consumer| consumer.status(now_us).is_some());
        if meta.consumers.contains_key(&name) {
            let text = format!("Consumer {name}, stream {} under account {ACCOUNT_ID} already exists.", meta.name);
            return Err(ApiError::new(ErrorKind::ResourceInUse, text));
        }
        let creating = |consumer: &&ConsumerMeta| consumer.status(now_us) == Some(StreamStatus::Creating);
        let most = account.limits().consumers_per_stream;
        if meta.consumers.len() >= most as usize || meta.consumers.values().filter(creating).count() >= MAX_CREATING {
            let text = format!(
                "This request would exceed the limit of {most} consumers, {MAX_CREATING} of them CREATING, of \
                 the stream {} under account {ACCOUNT_ID}.",
                meta.name
            );
            return Err(ApiError::new(ErrorKind::LimitExceeded, text));
        }
        meta.consumers.insert(name.clone(), facts.clone());
        Ok(())
    })?;
    // The answer is of the moment of the call, when the consumer is still being made.
    let mut answer = value(&name, &arn, &facts, now_us);
    answer["ConsumerStatus"] = json!(StreamStatus::Creating.name());
    json::answer(&json!({ "Consumer": answer }))
}

pub(super) fn deregister(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: ConsumerRef = json::parse(body)?;
    let mut violations = Violations::default();
    request.check(&mut violations);
    violations.finish()?;

    let found = request.find(account)?;
    let now_us = account.clock.now_us();
    let settles_us = account.settles_us(now_us);
    found.stream.change(|meta| {
        let consumer = meta.consumers.get_mut(&found.name);
        if let Some(consumer) = consumer.filter(|consumer| consumer.status(now_us) != Some(StreamStatus::Deleting)) {
            consumer.transition = Transition { status: StreamStatus::Deleting, settles_us };
        }
        meta.consumers.retain(|_, consumer| consumer.status(now_us).is_some());
        Ok::<_, ApiError>(())
    })?;
    Ok(Vec::new())
}

pub(super) fn describe(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: ConsumerRef = json::parse(body)?;
    let mut violations = Violations::default();
    request.check(&mut violations);
    violations.finish()?;

    let found = request.find(account)?;
    let mut description = value(&found.name, &found.arn, &found.facts, account.clock.now_us());
    description["StreamARN"] = json!(found.stream.arn);
    json::answer(&json!({ "ConsumerDescription": description }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct List {
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    stream_id: Option<String>,
    next_token: Option<String>,
    max_results: Option<i64>,
    stream_creation_timestamp: Option<Timestamp>,
}

pub(super) fn list(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: List = json::parse(body)?;
    let mut violations = Violations::default();
    if request.stream_arn.is_none() {
        violations.null("streamARN");
    }
    check_stream(request.stream_arn.as_deref(), request.stream_id.as_deref(), &mut violations);
    if let Some(token) = &request.next_token {
        violations.length(token, "nextToken", 1, 1_048_576);
    }
    let limit = request.max_results.unwrap_or(DEFAULT_PAGE);
    violations.range(limit, "maxResults", 1, 10_000);
    violations.finish()?;
    if request.next_token.is_some() && request.stream_creation_timestamp.is_some() {
        let text = "NextToken and StreamCreationTimestamp cannot be provided together.";
        return Err(ApiError::invalid_argument(text));
    }

    let stream = account.stream(StreamTarget { name: None, arn: request.stream_arn.as_deref() }.resolve()?)?;
    let created_s = stream.created_us / 1_000_000;
    if request.stream_creation_timestamp.is_some_and(|time| time.us / 1_000_000 != created_s) {
        let text = format!("Stream {} was not created at the given StreamCreationTimestamp.", stream.name);
        return Err(ApiError::not_found(text));
    }
    let after = match &request.next_token {
        None => None,
        Some(token) => {
            let name =
                account.sealer.open(TokenKind::ConsumerPage, token).and_then(|name| String::from_utf8(name).ok());
            Some(name.ok_or_else(|| ApiError::invalid_argument("Invalid NextToken."))?)
        }
    };
    let now_us = account.clock.now_us();
    let limit = usize::try_from(limit).unwrap_or(0);
    let meta = stream.meta();
    let mut rest = meta
        .consumers
        .iter()
        .filter(|(name, consumer)| after.as_ref() < Some(*name) && consumer.status(now_us).is_some())
        .peekable();
    let page: Vec<_> = rest.by_ref().take(limit).collect();
    let shown = |(name, facts): &(&String, &ConsumerMeta)| {
        value(name, &consumer_arn(&stream.arn, name, facts.created_us), facts, now_us)
    };
    let mut answer = json!({ "Consumers": page.iter().map(shown).collect::<Vec<_>>() });
    if let (Some(_), Some((last, _))) = (rest.peek(), page.last()) {
        answer["NextToken"] = json!(account.sealer.seal(TokenKind::ConsumerPage, last.as_bytes()));
    }
    json::answer(&answer)
}

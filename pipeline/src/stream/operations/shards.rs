//! ListShards, page by page.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;

use super::streams::{first_after, shard_value};
use crate::stream::{
    account::Account,
    data_stream::DataStream,
    error::{ApiError, ErrorKind},
    iterator::LIFETIME_US,
    json::{self, Text, Timestamp},
    token::TokenKind,
    validate::{StreamTarget, Violations},
};

/// Shards of a page at most, whatever the caller asks (AWS).
const MAX_PAGE: usize = 1_000;

const FILTERS: [&str; 6] =
    ["AFTER_SHARD_ID", "AT_TRIM_HORIZON", "FROM_TRIM_HORIZON", "AT_LATEST", "AT_TIMESTAMP", "FROM_TIMESTAMP"];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListShards<'a> {
    #[serde(borrow)]
    stream_name: Option<Text<'a>>,
    #[serde(borrow, rename = "StreamARN")]
    stream_arn: Option<Text<'a>>,
    #[serde(borrow)]
    next_token: Option<Text<'a>>,
    #[serde(borrow)]
    exclusive_start_shard_id: Option<Text<'a>>,
    max_results: Option<i64>,
    stream_creation_timestamp: Option<Timestamp>,
    #[serde(borrow)]
    shard_filter: Option<ShardFilter<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ShardFilter<'a> {
    #[serde(borrow, rename = "Type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    shard_id: Option<Text<'a>>,
    timestamp: Option<Timestamp>,
}

/// Where the next page starts, as its token carries it.
struct Page {
    stream: String,
    stream_created_us: u64,
    issued_us: u64,
    /// Number of the first shard of the page.
    from: u32,
}

pub(super) fn list(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: ListShards<'_> = json::parse(body)?;
    check(&request)?;
    let (stream, from) = match &request.next_token {
        Some(token) => page_of_token(account, &request, token.as_str())?,
        None => first_page(account, &request)?,
    };
    let limit = request.max_results.and_then(|max| usize::try_from(max).ok()).unwrap_or(MAX_PAGE).min(MAX_PAGE);
    let meta = stream.meta();
    let shards: Vec<_> = meta.shards.range(from..).take(limit + 1).collect();
    let page = &shards[..shards.len().min(limit)];
    let mut value =
        json!({ "Shards": page.iter().map(|(number, shard)| shard_value(**number, shard)).collect::<Vec<_>>() });
    if let Some((next, _)) = shards.get(limit) {
        value["NextToken"] = json!(token_of_page(account, &stream, **next));
    }
    json::answer(&value)
}

fn check(request: &ListShards<'_>) -> Result<(), ApiError> {
    let mut violations = Violations::default();
    target(request).check(&mut violations);
    if let Some(token) = &request.next_token {
        violations.length(token.as_str(), "nextToken", 1, 1_048_576);
    }
    if let Some(id) = &request.exclusive_start_shard_id {
        violations.name(id.as_str(), "exclusiveStartShardId");
    }
    if let Some(max) = request.max_results {
        violations.range(max, "maxResults", 1, 10_000);
    }
    if let Some(filter) = &request.shard_filter {
        match &filter.kind {
            Some(kind) => violations.one_of(kind.as_str(), "shardFilter.type", &FILTERS),
            None => violations.null("shardFilter.type"),
        }
        if let Some(id) = &filter.shard_id {
            violations.name(id.as_str(), "shardFilter.shardId");
        }
    }
    violations.finish()?;
    match request.shard_filter.as_ref().and_then(|filter| Some((filter.kind.as_ref()?.as_str(), filter))) {
        Some(("AFTER_SHARD_ID", ShardFilter { shard_id: None, .. })) => {
            Err(ApiError::invalid_argument("ShardId is required for a ShardFilter of type AFTER_SHARD_ID."))
        }
        Some((kind @ ("AT_TIMESTAMP" | "FROM_TIMESTAMP"), ShardFilter { timestamp: None, .. })) => {
            Err(ApiError::invalid_argument(format!("Timestamp is required for a ShardFilter of type {kind}.")))
        }
        _ => Ok(()),
    }
}

fn target<'a>(request: &'a ListShards<'_>) -> StreamTarget<'a> {
    StreamTarget {
        name: request.stream_name.as_ref().map(Text::as_str),
        arn: request.stream_arn.as_ref().map(Text::as_str),
    }
}

/// The stream and the first shard of a list that starts.
fn first_page(account: &Account, request: &ListShards<'_>) -> Result<(Arc<DataStream>, u32), ApiError> {
    if request.stream_name.is_none() && request.stream_arn.is_none() {
        return Err(ApiError::invalid_argument("Either NextToken or StreamName should be provided."));
    }
    let stream = account.stream(target(request).resolve()?)?;
    let created_s = stream.created_us / 1_000_000;
    if request.stream_creation_timestamp.is_some_and(|time| time.us / 1_000_000 != created_s) {
        let text = format!("Stream {} was not created at the given StreamCreationTimestamp.", stream.name);
        return Err(ApiError::not_found(text));
    }
    let filter = request.shard_filter.as_ref();
    let filter = filter.filter(|filter| filter.kind.as_ref().is_some_and(|kind| kind.as_str() == "AFTER_SHARD_ID"));
    let after_ids = [request.exclusive_start_shard_id.as_ref(), filter.and_then(|filter| filter.shard_id.as_ref())];
    let from = after_ids.into_iter().flatten().map(|id| first_after(&stream.meta(), id.as_str())).max().unwrap_or(0);
    Ok((stream, from))
}

/// The stream and the first shard of the page a token names. A token excludes everything else that names a start.
fn page_of_token(account: &Account, request: &ListShards<'_>, token: &str) -> Result<(Arc<DataStream>, u32), ApiError> {
    let others = [
        ("StreamName", request.stream_name.is_some()),
        ("StreamARN", request.stream_arn.is_some()),
        ("ExclusiveStartShardId", request.exclusive_start_shard_id.is_some()),
        ("StreamCreationTimestamp", request.stream_creation_timestamp.is_some()),
        ("ShardFilter", request.shard_filter.is_some()),
    ];
    if let Some((other, _)) = others.iter().find(|(_, given)| *given) {
        return Err(ApiError::invalid_argument(format!("NextToken and {other} cannot be provided together.")));
    }
    let page = account.sealer.open(TokenKind::ShardPage, token).and_then(|body| Page::decode(&body));
    let page = page.ok_or_else(|| ApiError::invalid_argument("Invalid NextToken."))?;
    if account.clock.now_us().saturating_sub(page.issued_us) > LIFETIME_US {
        return Err(ApiError::new(ErrorKind::ExpiredNextToken, "NextToken has expired: it is good for 300 seconds."));
    }
    let stream = account.stream(&page.stream)?;
    if stream.created_us != page.stream_created_us {
        return Err(ApiError::invalid_argument("Invalid NextToken."));
    }
    Ok((stream, page.from))
}

fn token_of_page(account: &Account, stream: &DataStream, from: u32) -> String {
    let page = Page {
        stream: stream.name.clone(),
        stream_created_us: stream.created_us,
        issued_us: account.clock.now_us(),
        from,
    };
    account.sealer.seal(TokenKind::ShardPage, &page.encode())
}

impl Page {
    fn encode(&self) -> Vec<u8> {
        let numbers =
            [&self.stream_created_us.to_be_bytes()[..], &self.issued_us.to_be_bytes(), &self.from.to_be_bytes()];
        [&numbers.concat(), self.stream.as_bytes()].concat()
    }

    fn decode(body: &[u8]) -> Option<Self> {
        let (created, rest) = body.split_first_chunk()?;
        let (issued, rest) = rest.split_first_chunk()?;
        let (from, name) = rest.split_first_chunk()?;
        Some(Self {
            stream: String::from_utf8(name.to_vec()).ok()?,
            stream_created_us: u64::from_be_bytes(*created),
            issued_us: u64::from_be_bytes(*issued),
            from: u32::from_be_bytes(*from),
        })
    }
}

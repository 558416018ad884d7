//! ListShards: the filters, and page by page.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;

use super::{
    describe::{first_after, shard_value},
    request::StreamRef,
};
use crate::stream::{
    account::Account,
    data_stream::DataStream,
    error::{ApiError, ErrorKind},
    iterator::LIFETIME_US,
    json::{self, Timestamp},
    meta::{ShardMeta, StreamMeta},
    token::TokenKind,
    validate::Violations,
};

/// Shards of a page at most, whatever the caller asks (AWS).
const MAX_PAGE: usize = 1_000;

const FILTERS: [&str; 6] =
    ["AFTER_SHARD_ID", "AT_TRIM_HORIZON", "FROM_TRIM_HORIZON", "AT_LATEST", "AT_TIMESTAMP", "FROM_TIMESTAMP"];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListShards {
    #[serde(flatten)]
    stream: StreamRef,
    next_token: Option<String>,
    exclusive_start_shard_id: Option<String>,
    max_results: Option<i64>,
    stream_creation_timestamp: Option<Timestamp>,
    shard_filter: Option<ShardFilter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ShardFilter {
    #[serde(rename = "Type")]
    kind: Option<String>,
    shard_id: Option<String>,
    timestamp: Option<Timestamp>,
}

/// Which shards a list shows. It is settled when the list begins, so that every page of it shows shards of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Selection {
    All,
    /// Open just after this time.
    OpenAfter(u64),
    /// Open at some time within this millisecond.
    OpenAt(u64),
    /// Open now, or closed within this millisecond or later.
    From(u64),
}

impl Selection {
    fn shows(self, shard: &ShardMeta) -> bool {
        let ms = |time_us: u64| time_us / 1_000;
        let closed = |is: &dyn Fn(u64) -> bool| shard.closed.is_none_or(|closing| is(closing.at_us));
        match self {
            Self::All => true,
            Self::OpenAfter(time_us) => shard.created_us <= time_us && closed(&|at_us| at_us > time_us),
            Self::OpenAt(time_us) => ms(shard.created_us) <= ms(time_us) && closed(&|at_us| ms(at_us) >= ms(time_us)),
            Self::From(time_us) => closed(&|at_us| ms(at_us) >= ms(time_us)),
        }
    }
}

/// Where the next page starts, as its token carries it.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    stream: String,
    stream_created_us: u64,
    issued_us: u64,
    /// Number of the first shard of the page.
    from: u32,
    selection: Selection,
}

pub(super) fn list(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: ListShards = json::parse(body)?;
    check(&request)?;
    let (stream, from, selection) = match &request.next_token {
        Some(token) => page_of_token(account, &request, token)?,
        None => first_page(account, &request)?,
    };
    let limit = request.max_results.and_then(|max| usize::try_from(max).ok()).unwrap_or(MAX_PAGE).min(MAX_PAGE);
    let meta = stream.meta();
    let mut shards = meta.shards.range(from..).filter(|(_, shard)| selection.shows(shard));
    let page: Vec<_> = shards.by_ref().take(limit).map(|(number, shard)| shard_value(*number, shard)).collect();
    let mut value = json!({ "Shards": page });
    if let Some((next, _)) = shards.next() {
        let page = Page {
            stream: stream.name.clone(),
            stream_created_us: stream.created_us,
            issued_us: account.clock.now_us(),
            from: *next,
            selection,
        };
        value["NextToken"] = json!(account.sealer.seal(TokenKind::ShardPage, &page.encode()));
    }
    json::answer(&value)
}

fn check(request: &ListShards) -> Result<(), ApiError> {
    let mut violations = Violations::default();
    request.stream.check(&mut violations);
    if let Some(token) = &request.next_token {
        violations.length(token, "nextToken", 1, 1_048_576);
    }
    if let Some(id) = &request.exclusive_start_shard_id {
        violations.name(id, "exclusiveStartShardId");
    }
    if let Some(max) = request.max_results {
        violations.range(max, "maxResults", 1, 10_000);
    }
    if let Some(filter) = &request.shard_filter {
        match &filter.kind {
            Some(kind) => violations.one_of(kind, "shardFilter.type", &FILTERS),
            None => violations.null("shardFilter.type"),
        }
        if let Some(id) = &filter.shard_id {
            violations.name(id, "shardFilter.shardId");
        }
    }
    violations.finish()?;
    request.shard_filter.as_ref().map_or(Ok(()), check_filter)
}

/// Each type of filter takes its own member and no other.
fn check_filter(filter: &ShardFilter) -> Result<(), ApiError> {
    let kind = filter.kind.as_deref().unwrap_or_default();
    let takes = match kind {
        "AFTER_SHARD_ID" => (true, false),
        "AT_TIMESTAMP" | "FROM_TIMESTAMP" => (false, true),
        _ => (false, false),
    };
    for (member, takes, given) in
        [("ShardId", takes.0, filter.shard_id.is_some()), ("Timestamp", takes.1, filter.timestamp.is_some())]
    {
        if takes && !given {
            return Err(ApiError::invalid_argument(format!("{member} is required for a ShardFilter of type {kind}.")));
        }
        if given && !takes {
            return Err(ApiError::invalid_argument(format!(
                "{member} cannot be used with a ShardFilter of type {kind}."
            )));
        }
    }
    Ok(())
}

/// The stream, the first shard and the selection of a list that starts.
fn first_page(account: &Account, request: &ListShards) -> Result<(Arc<DataStream>, u32, Selection), ApiError> {
    if request.stream.given().is_none() {
        return Err(ApiError::invalid_argument("Either NextToken or StreamName should be provided."));
    }
    let stream = request.stream.find(account)?;
    let created_s = stream.created_us / 1_000_000;
    if request.stream_creation_timestamp.is_some_and(|time| time.us / 1_000_000 != created_s) {
        let text = format!("Stream {} was not created at the given StreamCreationTimestamp.", stream.name);
        return Err(ApiError::not_found(text));
    }
    let filter = request.shard_filter.as_ref();
    let after = [request.exclusive_start_shard_id.as_ref(), filter.and_then(|filter| filter.shard_id.as_ref())];
    let meta = stream.meta();
    let from = after.into_iter().flatten().map(|id| first_after(&meta, id)).max().unwrap_or(0);
    let selection = filter.map_or(Selection::All, |filter| selection(&meta, filter, account.clock.now_us()));
    drop(meta);
    Ok((stream, from, selection))
}

fn selection(meta: &StreamMeta, filter: &ShardFilter, now_us: u64) -> Selection {
    // A stream younger than its retention has its trim horizon where it began.
    let horizon_us = now_us.saturating_sub(meta.retention_us).max(meta.created_us);
    let time_us = filter.timestamp.map_or(horizon_us, |time| time.us);
    match filter.kind.as_deref() {
        Some("AT_LATEST") => Selection::OpenAfter(now_us),
        Some("AT_TRIM_HORIZON") => Selection::OpenAfter(horizon_us),
        Some("AT_TIMESTAMP") => Selection::OpenAt(time_us),
        Some("FROM_TIMESTAMP") => Selection::From(time_us.max(horizon_us)),
        _ => Selection::All,
    }
}

/// The stream, the first shard and the selection of the page a token names. A token excludes everything else that names a
/// start.
fn page_of_token(
    account: &Account,
    request: &ListShards,
    token: &str,
) -> Result<(Arc<DataStream>, u32, Selection), ApiError> {
    let others = [
        (request.stream.given().unwrap_or_default(), request.stream.given().is_some()),
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
    Ok((stream, page.from, page.selection))
}

impl Page {
    fn encode(&self) -> Vec<u8> {
        let (kind, time_us) = match self.selection {
            Selection::All => (0_u8, 0),
            Selection::OpenAfter(time_us) => (1, time_us),
            Selection::OpenAt(time_us) => (2, time_us),
            Selection::From(time_us) => (3, time_us),
        };
        let numbers = [self.stream_created_us, self.issued_us, time_us].map(u64::to_be_bytes).concat();
        [&numbers[..], &self.from.to_be_bytes(), &[kind], self.stream.as_bytes()].concat()
    }

    fn decode(body: &[u8]) -> Option<Self> {
        let (created, rest) = body.split_first_chunk()?;
        let (issued, rest) = rest.split_first_chunk()?;
        let (time, rest) = rest.split_first_chunk()?;
        let (from, rest) = rest.split_first_chunk()?;
        let (kind, name) = rest.split_first()?;
        let time_us = u64::from_be_bytes(*time);
        Some(Self {
            stream: String::from_utf8(name.to_vec()).ok()?,
            stream_created_us: u64::from_be_bytes(*created),
            issued_us: u64::from_be_bytes(*issued),
            from: u32::from_be_bytes(*from),
            selection: match kind {
                0 => Selection::All,
                1 => Selection::OpenAfter(time_us),
                2 => Selection::OpenAt(time_us),
                3 => Selection::From(time_us),
                _ => return None,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_reads_back_with_its_selection() {
        for selection in [
            Selection::All,
            Selection::OpenAfter(7),
            Selection::OpenAt(u64::MAX),
            Selection::From(1_700_000_000_000_000),
        ] {
            let page =
                Page { stream: "s.-_".to_owned(), stream_created_us: 1, issued_us: 2, from: u32::MAX, selection };
            assert_eq!(Page::decode(&page.encode()), Some(page));
        }
        assert_eq!(Page::decode(b"short"), None);
    }
}

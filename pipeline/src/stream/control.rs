//! How often the calls that manage streams may be made: AWS counts them per account, or per stream.
//!
//! Every rate is that of the operation's own page,
//! `https://docs.aws.amazon.com/kinesis/latest/APIReference/API_NAME.html`, or of the page of quotas where the
//! operation's says nothing (<https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>). AWS does not
//! say how it counts within a second; a bucket of one second's calls that refills continuously is used, as for shards.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use serde::Deserialize;

use super::{
    account::ACCOUNT_ID,
    error::{ApiError, ErrorKind},
    json::{self, Text},
    operations::Operation,
    quota::Bucket,
};

/// The longest name of a stream.
const MAX_NAME_BYTES: usize = 128;
/// How often full buckets are looked for at most.
const SWEEP_US: u64 = 100_000;
/// Buckets that are kept; full ones are forgotten beyond, for a bucket that is made anew is full.
const MAX_BUCKETS: usize = 4_096;

/// What a rate is counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Account,
    Stream,
}

/// Calls per second, and what they are counted for. `None`: the calls that move records have limits of their own.
const fn rate(operation: Operation) -> Option<(u32, Scope)> {
    use Operation as Op;
    Some(match operation {
        Op::PutRecord | Op::PutRecords | Op::GetRecords | Op::GetShardIterator | Op::SubscribeToShard => return None,
        Op::ListShards => (1_000, Scope::Stream),
        Op::DescribeStreamSummary => (20, Scope::Account),
        Op::DescribeStreamConsumer => (20, Scope::Stream),
        Op::DescribeStream => (10, Scope::Account),
        Op::UpdateShardCount => (10, Scope::Account),
        Op::DescribeLimits => (1, Scope::Account),
        Op::AddTagsToStream
        | Op::CreateStream
        | Op::DeleteStream
        | Op::DescribeAccountSettings
        | Op::ListStreams
        | Op::ListTagsForResource
        | Op::ListTagsForStream
        | Op::MergeShards
        | Op::RemoveTagsFromStream
        | Op::SplitShard
        | Op::TagResource
        | Op::UntagResource
        | Op::UpdateAccountSettings => (5, Scope::Account),
        Op::DecreaseStreamRetentionPeriod
        | Op::DeleteResourcePolicy
        | Op::DeregisterStreamConsumer
        | Op::DisableEnhancedMonitoring
        | Op::EnableEnhancedMonitoring
        | Op::GetResourcePolicy
        | Op::IncreaseStreamRetentionPeriod
        | Op::ListStreamConsumers
        | Op::PutResourcePolicy
        | Op::RegisterStreamConsumer
        | Op::StartStreamEncryption
        | Op::StopStreamEncryption
        | Op::UpdateMaxRecordSize
        | Op::UpdateStreamMode
        | Op::UpdateStreamRecordDistributionStrategy
        | Op::UpdateStreamWarmThroughput => (5, Scope::Stream),
    })
}

/// The rates of an account.
#[derive(Debug)]
pub(crate) struct ControlQuota {
    enforced: bool,
    buckets: Mutex<Buckets>,
}

#[derive(Debug, Default)]
struct Buckets {
    /// By operation, and by stream where it is counted for each.
    kept: HashMap<(Operation, String), Bucket>,
    /// When the full ones were last looked for.
    swept_us: u64,
}

impl ControlQuota {
    pub(crate) fn new(enforced: bool) -> Self {
        Self { enforced, buckets: Mutex::default() }
    }

    /// Takes one call. `body` is the call's, in JSON, for the stream it names.
    pub(crate) fn admit(&self, operation: Operation, body: &[u8], now_us: u64) -> Result<(), ApiError> {
        let Some((per_s, scope)) = rate(operation).filter(|_| self.enforced) else { return Ok(()) };
        let stream = match scope {
            Scope::Account => String::new(),
            // What names no stream that there can be is refused for that.
            Scope::Stream => match stream_of(body).filter(|name| name.len() <= MAX_NAME_BYTES) {
                Some(stream) => stream,
                None => return Ok(()),
            },
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.kept.len() >= MAX_BUCKETS && now_us.saturating_sub(buckets.swept_us) >= SWEEP_US {
            buckets.swept_us = now_us;
            buckets.kept.retain(|_, bucket| !bucket.is_full(now_us));
        }
        let key = (operation, stream.clone());
        if buckets.kept.len() >= MAX_BUCKETS && !buckets.kept.contains_key(&key) {
            // Thousands of streams are managed within a second: what cannot be counted is let in.
            return Ok(());
        }
        let bucket = buckets.kept.entry(key).or_insert_with(|| Bucket::new(u64::from(per_s), per_s, now_us));
        if bucket.take_one(now_us) {
            return Ok(());
        }
        drop(buckets);
        let of = if stream.is_empty() { String::new() } else { format!("stream {stream} under ") };
        Err(ApiError::new(ErrorKind::LimitExceeded, format!("Rate exceeded for {of}account {ACCOUNT_ID}.")))
    }
}

/// The members that name a stream. An ARN ends with the stream's name, and a consumer's goes on after it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named<'a> {
    #[serde(borrow)]
    stream_name: Option<Text<'a>>,
    #[serde(borrow, rename = "StreamARN")]
    stream_arn: Option<Text<'a>>,
    #[serde(borrow, rename = "ConsumerARN")]
    consumer_arn: Option<Text<'a>>,
    #[serde(borrow, rename = "ResourceARN")]
    resource_arn: Option<Text<'a>>,
}

fn stream_of(body: &[u8]) -> Option<String> {
    let named: Named<'_> = json::parse(body).ok()?;
    let in_arn = |arn: &Text<'_>| arn.as_str().split("stream/").nth(1)?.split('/').next().map(str::to_owned);
    let arns = [&named.stream_arn, &named.consumer_arn, &named.resource_arn];
    let by_name = named.stream_name.as_ref().map(|name| name.as_str().to_owned());
    by_name.or_else(|| arns.into_iter().flatten().find_map(in_arn)).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const T0_US: u64 = 1_700_000_000_000_000;

    fn calls(quota: &ControlQuota, operation: Operation, stream: &str, now_us: u64) -> usize {
        let body = json!({ "StreamName": stream }).to_string();
        (0..2_000).take_while(|_| quota.admit(operation, body.as_bytes(), now_us).is_ok()).count()
    }

    #[test]
    fn calls_that_manage_streams_have_the_rates_of_their_pages() {
        let quota = ControlQuota::new(true);
        for (operation, at_once) in [
            (Operation::CreateStream, 5),
            (Operation::DescribeStream, 10),
            (Operation::DescribeStreamSummary, 20),
            (Operation::UpdateShardCount, 10),
            (Operation::DescribeLimits, 1),
            (Operation::ListShards, 1_000),
            (Operation::PutRecords, 2_000),
        ] {
            assert_eq!(calls(&quota, operation, "s", T0_US), at_once, "{operation:?}");
        }
        // A fifth of a second later one more stream may be created, and two more described.
        assert_eq!(calls(&quota, Operation::CreateStream, "s", T0_US + 200_000), 1);
        assert_eq!(calls(&quota, Operation::DescribeStream, "s", T0_US + 200_000), 2);
    }

    #[test]
    fn what_is_counted_per_stream_leaves_other_streams_alone_however_they_are_named() {
        let quota = ControlQuota::new(true);
        assert_eq!(calls(&quota, Operation::ListStreamConsumers, "a", T0_US), 5);
        assert_eq!(calls(&quota, Operation::ListStreamConsumers, "b", T0_US), 5);
        assert_eq!(calls(&quota, Operation::SplitShard, "a", T0_US), 5);
        assert_eq!(calls(&quota, Operation::SplitShard, "b", T0_US), 0, "counted per account");
        let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/a";
        for body in [json!({ "StreamARN": arn }), json!({ "ConsumerARN": format!("{arn}/consumer/c:1") })] {
            let error = quota.admit(Operation::ListStreamConsumers, body.to_string().as_bytes(), T0_US).unwrap_err();
            assert_eq!(error.kind, ErrorKind::LimitExceeded);
            assert_eq!(error.message, "Rate exceeded for stream a under account 000000000000.");
        }
        for body in ["", "{}", "[]", "{\"StreamName\":7}"] {
            assert_eq!(quota.admit(Operation::ListStreamConsumers, body.as_bytes(), T0_US), Ok(()), "{body}");
        }
    }

    #[test]
    fn buckets_are_forgotten_when_they_are_full_again() {
        let quota = ControlQuota::new(true);
        for stream in 0..3 * MAX_BUCKETS as u64 {
            calls(&quota, Operation::ListStreamConsumers, &stream.to_string(), T0_US + stream * 1_000);
        }
        let kept = quota.buckets.lock().unwrap().kept.len();
        assert!(kept <= MAX_BUCKETS, "{kept}");
        // Also when none is full again.
        let quota = ControlQuota::new(true);
        for stream in 0..2 * MAX_BUCKETS {
            calls(&quota, Operation::ListStreamConsumers, &stream.to_string(), T0_US);
        }
        assert_eq!(quota.buckets.lock().unwrap().kept.len(), MAX_BUCKETS);
        calls(&quota, Operation::ListStreamConsumers, &"x".repeat(10_000), T0_US + 10_000_000);
        assert!(quota.buckets.lock().unwrap().kept.keys().all(|(_, name)| name.len() <= MAX_NAME_BYTES));
    }

    #[test]
    fn nothing_is_counted_when_it_is_not_asked_for() {
        assert_eq!(calls(&ControlQuota::new(false), Operation::CreateStream, "s", T0_US), 2_000);
    }
}

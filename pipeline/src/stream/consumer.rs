//! A registered consumer: a reader with a throughput of its own on every shard.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::meta::{StreamStatus, Transition};

/// The facts of one consumer. Its statuses are CREATING, ACTIVE and DELETING.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ConsumerMeta {
    pub(crate) created_us: u64,
    pub(crate) transition: Transition,
    pub(crate) tags: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) policy: Option<String>,
}

impl ConsumerMeta {
    /// The status at a time. `None`: it has been deregistered.
    pub(crate) fn status(&self, now_us: u64) -> Option<StreamStatus> {
        self.transition.status(now_us)
    }
}

/// The ARN of a consumer; the second of its registration tells it from a later one of the same name.
pub(crate) fn consumer_arn(stream_arn: &str, name: &str, created_us: u64) -> String {
    format!("{stream_arn}/consumer/{name}:{}", created_us / 1_000_000)
}

/// What a consumer's ARN names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConsumerName<'a> {
    pub(crate) stream: &'a str,
    pub(crate) consumer: &'a str,
    pub(crate) created_s: u64,
}

impl<'a> ConsumerName<'a> {
    /// Takes an ARN of any region and account apart.
    pub(crate) fn parse(arn: &'a str) -> Option<Self> {
        let mut parts = arn.splitn(6, ':');
        let head = parts.next()? == "arn" && parts.next()?.starts_with("aws") && parts.next()? == "kinesis";
        let (_region, account) = (parts.next()?, parts.next()?);
        let (stream, rest) = parts.next()?.strip_prefix("stream/")?.split_once("/consumer/")?;
        let (consumer, created) = rest.split_once(':')?;
        let named = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        };
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let sound =
            head && account.len() == 12 && digits(account) && named(stream) && named(consumer) && digits(created);
        sound.then(|| created.parse().ok()).flatten().map(|created_s| Self { stream, consumer, created_s })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_names_what_it_was_made_of() {
        let arn = consumer_arn("arn:aws:kinesis:us-east-1:000000000000:stream/s", "c.1", 1_700_000_000_999_999);
        assert_eq!(arn, "arn:aws:kinesis:us-east-1:000000000000:stream/s/consumer/c.1:1700000000");
        let name = ConsumerName { stream: "s", consumer: "c.1", created_s: 1_700_000_000 };
        assert_eq!(ConsumerName::parse(&arn), Some(name));
        for bad in ["", "arn:aws:kinesis:r:000000000000:stream/s", "arn:aws:kinesis:r:0:stream/s/consumer/c:1"] {
            assert_eq!(ConsumerName::parse(bad), None, "{bad}");
        }
        assert_eq!(ConsumerName::parse(&arn.replace(":1700000000", ":x")), None);
    }
}

//! What a ResourceARN names: a stream, or a consumer of one.

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;

use super::{consumers::find_by_arn, request::require_settled};
use crate::stream::{
    account::Account, data_stream::DataStream, error::ApiError, meta::StreamMeta, validate::Violations,
};

/// The members by which a call names a resource.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ResourceRef {
    #[serde(rename = "ResourceARN")]
    arn: Option<String>,
    /// Reserved by AWS: its form is checked, and it names nothing.
    stream_id: Option<String>,
}

impl ResourceRef {
    /// Notes what is wrong with them.
    pub(super) fn check(&self, violations: &mut Violations) {
        match self.arn.as_deref() {
            Some(arn) => {
                let pattern = "arn:aws.*:kinesis:.*:\\d{12}:.*(stream|channel|queue)/\\S+";
                violations.pattern(arn, "resourceARN", is_resource(arn), pattern);
                violations.length(arn, "resourceARN", 1, 2048);
            }
            None => violations.null("resourceARN"),
        }
        if let Some(id) = &self.stream_id {
            violations.stream_id(id);
        }
    }

    /// The resource. An ARN of any region or account names what is here.
    pub(super) fn find(&self, account: &Account) -> Result<Resource, ApiError> {
        let arn = self.arn.as_deref().unwrap_or_default();
        let missing = || ApiError::not_found(format!("Resource {arn} not found."));
        let path = path_of(arn).and_then(|path| path.strip_prefix("stream/")).ok_or_else(missing)?;
        if path.contains("/consumer/") {
            let found = find_by_arn(account, arn)?;
            return Ok(Resource { arn: arn.to_owned(), stream: found.stream, consumer: Some(found.name) });
        }
        Ok(Resource { arn: arn.to_owned(), stream: account.stream(path)?, consumer: None })
    }
}

/// A stream, or a consumer of one.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) arn: String,
    stream: Arc<DataStream>,
    consumer: Option<String>,
}

/// What every kind of resource has.
#[derive(Debug)]
pub(super) struct Attributes<'a> {
    pub(super) tags: &'a mut BTreeMap<String, String>,
    pub(super) policy: &'a mut Option<String>,
}

impl Resource {
    /// The resource as texts name it.
    pub(super) fn owner(&self) -> String {
        match &self.consumer {
            Some(consumer) => format!("consumer {consumer}"),
            None => format!("stream {}", self.stream.name),
        }
    }

    pub(super) fn tags(&self) -> BTreeMap<String, String> {
        let meta = self.stream.meta();
        match &self.consumer {
            Some(consumer) => meta.consumers.get(consumer).map(|facts| facts.tags.clone()).unwrap_or_default(),
            None => meta.tags.clone(),
        }
    }

    pub(super) fn policy(&self) -> Option<String> {
        let meta = self.stream.meta();
        match &self.consumer {
            Some(consumer) => meta.consumers.get(consumer)?.policy.clone(),
            None => meta.policy.clone(),
        }
    }

    /// Changes its attributes. Nothing changes when `change` fails.
    pub(super) fn change(
        &self,
        account: &Account,
        change: impl FnOnce(Attributes<'_>) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        let now_us = account.clock.now_us();
        self.stream.change(|meta| {
            require_settled(meta, now_us)?;
            let StreamMeta { tags, policy, consumers, .. } = meta;
            let consumer = self.consumer.as_ref().and_then(|name| consumers.get_mut(name));
            match (consumer, &self.consumer) {
                (Some(facts), _) => change(Attributes { tags: &mut facts.tags, policy: &mut facts.policy }),
                (None, Some(_)) => Err(ApiError::not_found(format!("Resource {} not found.", self.arn))),
                (None, None) => change(Attributes { tags, policy }),
            }
        })
    }
}

/// What follows the account in an ARN of Kinesis.
fn path_of(arn: &str) -> Option<&str> {
    let mut parts = arn.splitn(6, ':');
    let head = parts.next()? == "arn" && parts.next()?.starts_with("aws") && parts.next()? == "kinesis";
    let (_region, account, path) = (parts.next()?, parts.next()?, parts.next()?);
    let account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
    (head && account).then_some(path)
}

fn is_resource(arn: &str) -> bool {
    path_of(arn).is_some_and(|path| {
        ["stream/", "channel/", "queue/"].iter().any(|kind| {
            let named = |(_, name): (&str, &str)| name.starts_with(|first: char| !first.is_whitespace());
            path.split_once(kind).is_some_and(named)
        }) && !path.contains(char::is_whitespace)
    })
}

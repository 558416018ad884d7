//! What most calls have in common: how they name their stream, and the rule that a stream has to be active to be changed.

use std::sync::Arc;

use serde::Deserialize;

use crate::stream::{
    account::{ACCOUNT_ID, Account, not_found},
    data_stream::DataStream,
    error::{ApiError, ErrorKind},
    meta::{StreamMeta, StreamStatus, Transition},
    validate::{StreamTarget, Violations},
};

/// The members by which a call names its stream.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StreamRef {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    /// Reserved by AWS: its form is checked, and it names nothing.
    stream_id: Option<String>,
}

impl StreamRef {
    fn target(&self) -> StreamTarget<'_> {
        StreamTarget { name: self.stream_name.as_deref(), arn: self.stream_arn.as_deref() }
    }

    /// Notes what is wrong with them.
    pub(super) fn check(&self, violations: &mut Violations) {
        self.target().check(violations);
        if let Some(id) = &self.stream_id {
            violations.stream_id(id);
        }
    }

    /// Notes what is wrong with them where the ARN is the one way to name the stream.
    pub(super) fn check_arn(&self, violations: &mut Violations) {
        self.check(violations);
        if self.stream_arn.is_none() {
            violations.null("streamARN");
        }
    }

    /// The name of the stream, whether there is one or not.
    pub(super) fn name(&self) -> Result<&str, ApiError> {
        self.target().resolve()
    }

    /// The stream, in whatever status it is.
    pub(super) fn find(&self, account: &Account) -> Result<Arc<DataStream>, ApiError> {
        account.stream(self.name()?)
    }

    /// The member that names a stream, if the call names one at all.
    pub(super) fn given(&self) -> Option<&'static str> {
        let by_arn = self.stream_arn.as_ref().map(|_| "StreamARN");
        self.stream_name.as_ref().map(|_| "StreamName").or(by_arn)
    }
}

/// Most changes need a stream that is active (AWS).
pub(super) fn require_active(meta: &StreamMeta, now_us: u64) -> Result<(), ApiError> {
    match meta.status(now_us) {
        Some(StreamStatus::Active) => Ok(()),
        Some(status) => Err(ApiError::new(
            ErrorKind::ResourceInUse,
            format!("Stream {} under account {ACCOUNT_ID} not ACTIVE, instead in state {}", meta.name, status.name()),
        )),
        None => Err(not_found(&meta.name)),
    }
}
/// What changes no shard needs only a stream that is there: neither CREATING nor DELETING.
pub(super) fn require_settled(meta: &StreamMeta, now_us: u64) -> Result<(), ApiError> {
    match meta.status(now_us) {
        Some(StreamStatus::Updating) => Ok(()),
        _ => require_active(meta, now_us),
    }
}

/// Changes the facts of an active stream, which is UPDATING until the change settles.
pub(super) fn update<T>(
    account: &Account,
    stream: &DataStream,
    change: impl FnOnce(&mut StreamMeta, u64) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    let now_us = account.clock.now_us();
    stream.change(|meta| {
        require_active(meta, now_us)?;
        let outcome = change(meta, now_us)?;
        meta.transition = Transition { status: StreamStatus::Updating, settles_us: account.settles_us(now_us) };
        Ok(outcome)
    })
}

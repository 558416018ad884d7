//! The operations of the API: from a target header to an answer. One file per family.

mod read;
mod shards;
mod streams;
mod write;

use std::sync::Arc;

use super::{
    account::Account,
    error::{ApiError, ErrorKind},
};

/// What a target header starts with.
pub(crate) const TARGET_PREFIX: &str = "Kinesis_20131202.";

/// What an operation answers.
#[derive(Debug)]
pub(crate) enum Reply {
    /// JSON; some answers are empty.
    Body(Vec<u8>),
}

/// The operations that are served. Every other answers `UnknownOperationException`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    CreateStream,
    DeleteStream,
    DescribeStream,
    DescribeStreamSummary,
    GetRecords,
    GetShardIterator,
    ListShards,
    ListStreams,
    PutRecord,
    PutRecords,
}

impl Operation {
    /// The operation a target header names.
    pub(crate) fn from_target(target: &str) -> Result<Self, ApiError> {
        let name = target.strip_prefix(TARGET_PREFIX).unwrap_or_default();
        Ok(match name {
            "CreateStream" => Self::CreateStream,
            "DeleteStream" => Self::DeleteStream,
            "DescribeStream" => Self::DescribeStream,
            "DescribeStreamSummary" => Self::DescribeStreamSummary,
            "GetRecords" => Self::GetRecords,
            "GetShardIterator" => Self::GetShardIterator,
            "ListShards" => Self::ListShards,
            "ListStreams" => Self::ListStreams,
            "PutRecord" => Self::PutRecord,
            "PutRecords" => Self::PutRecords,
            _ => {
                let shown: String = target.chars().take(128).collect();
                let text = format!("The operation {shown} is not served by the local stream.");
                return Err(ApiError::new(ErrorKind::UnknownOperation, text));
            }
        })
    }

    /// Runs it on a body of JSON.
    pub(crate) fn run(self, account: &Arc<Account>, body: &[u8]) -> Result<Reply, ApiError> {
        let answer = match self {
            Self::CreateStream => streams::create(account, body),
            Self::DeleteStream => streams::delete(account, body),
            Self::DescribeStream => streams::describe(account, body),
            Self::DescribeStreamSummary => streams::summarize(account, body),
            Self::ListStreams => streams::list(account, body),
            Self::ListShards => shards::list(account, body),
            Self::PutRecord => write::put_record(account, body),
            Self::PutRecords => write::put_records(account, body),
            Self::GetShardIterator => read::shard_iterator(account, body),
            Self::GetRecords => read::records(account, body),
        };
        answer.map(Reply::Body)
    }
}

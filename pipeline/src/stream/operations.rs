//! The operations of the API: from a target header to an answer. One file per family.

mod read;
mod request;
mod reshard;
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

impl From<Vec<u8>> for Reply {
    fn from(body: Vec<u8>) -> Self {
        Self::Body(body)
    }
}

/// One line per operation: its name on the wire, and what runs it.
macro_rules! operations {
    ($($name:ident => $run:path,)+) => {
        /// The operations that are served. Every other answers `UnknownOperationException`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Operation {
            $($name,)+
        }

        impl Operation {
            /// The operation of this name.
            fn from_name(name: &str) -> Option<Self> {
                match name {
                    $(stringify!($name) => Some(Self::$name),)+
                    _ => None,
                }
            }

            /// Runs it on a body of JSON.
            pub(crate) fn run(self, account: &Arc<Account>, body: &[u8]) -> Result<Reply, ApiError> {
                match self {
                    $(Self::$name => $run(account, body).map(Reply::from),)+
                }
            }
        }
    };
}

operations! {
    CreateStream => streams::create,
    DeleteStream => streams::delete,
    DescribeStream => streams::describe,
    DescribeStreamSummary => streams::summarize,
    GetRecords => read::records,
    GetShardIterator => read::shard_iterator,
    ListShards => shards::list,
    ListStreams => streams::list,
    MergeShards => reshard::merge,
    PutRecord => write::put_record,
    PutRecords => write::put_records,
    SplitShard => reshard::split,
    UpdateShardCount => reshard::update_count,
}

impl Operation {
    /// The operation a target header names.
    pub(crate) fn from_target(target: &str) -> Result<Self, ApiError> {
        target.strip_prefix(TARGET_PREFIX).and_then(Self::from_name).ok_or_else(|| {
            let shown: String = target.chars().take(128).collect();
            let text = format!("The operation {shown} is not served by the local stream.");
            ApiError::new(ErrorKind::UnknownOperation, text)
        })
    }
}

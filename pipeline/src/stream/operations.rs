//! The operations of the API: from a target header to an answer. One file per family.

mod accounts;
mod consumers;
mod describe;
mod mode;
mod policies;
mod put_body;
mod read;
mod request;
mod reshard;
mod resource;
mod settings;
mod shards;
mod streams;
mod subscribe;
mod tags;
mod write;

use std::sync::Arc;

use super::{
    account::Account,
    error::{ApiError, ErrorKind},
    subscription::Subscription,
};
pub(in crate::stream) use read::child_shards;

#[cfg(test)]
pub(crate) use write::put_any_records;

/// What a target header starts with.
pub(crate) const TARGET_PREFIX: &str = "Kinesis_20131202.";

/// What an operation answers.
#[derive(Debug)]
pub(crate) enum Reply {
    /// JSON; some answers are empty.
    Body(Vec<u8>),
    /// An answer that goes on.
    Events(Subscription),
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
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum Operation {
            $($name,)+
        }

        impl Operation {
            /// How many operations there are.
            #[cfg(test)]
            pub(crate) const COUNT: usize = [$(stringify!($name)),+].len();

            /// The operation of this name.
            pub(crate) fn from_name(name: &str) -> Option<Self> {
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
    AddTagsToStream => tags::add_to_stream,
    CreateStream => streams::create,
    DecreaseStreamRetentionPeriod => settings::decrease_retention,
    DeleteResourcePolicy => policies::delete,
    DeleteStream => streams::delete,
    DeregisterStreamConsumer => consumers::deregister,
    DescribeAccountSettings => accounts::settings,
    DescribeLimits => accounts::limits,
    DescribeStream => describe::stream,
    DescribeStreamConsumer => consumers::describe,
    DescribeStreamSummary => describe::summary,
    DisableEnhancedMonitoring => settings::disable_monitoring,
    EnableEnhancedMonitoring => settings::enable_monitoring,
    GetRecords => read::records,
    GetResourcePolicy => policies::get,
    GetShardIterator => read::shard_iterator,
    IncreaseStreamRetentionPeriod => settings::increase_retention,
    ListShards => shards::list,
    ListStreamConsumers => consumers::list,
    ListStreams => streams::list,
    ListTagsForResource => tags::list_for_resource,
    ListTagsForStream => tags::list_for_stream,
    MergeShards => reshard::merge,
    PutRecord => write::put_record,
    PutRecords => write::put_records,
    PutResourcePolicy => policies::put,
    RegisterStreamConsumer => consumers::register,
    RemoveTagsFromStream => tags::remove_from_stream,
    SplitShard => reshard::split,
    StartStreamEncryption => settings::start_encryption,
    StopStreamEncryption => settings::stop_encryption,
    SubscribeToShard => subscribe::subscribe,
    TagResource => tags::add_to_resource,
    UntagResource => tags::remove_from_resource,
    UpdateAccountSettings => accounts::update_settings,
    UpdateMaxRecordSize => settings::update_max_record_size,
    UpdateShardCount => reshard::update_count,
    UpdateStreamMode => mode::update,
    UpdateStreamRecordDistributionStrategy => mode::update_distribution,
    UpdateStreamWarmThroughput => mode::update_warm_throughput,
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

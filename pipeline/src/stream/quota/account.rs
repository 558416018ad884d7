//! What an account and its streams may have: numbers that are counted, not rates.

/// What an account and its streams may have. Some of it AWS raises on request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccountLimits {
    /// Open shards of all streams.
    pub shards: u32,
    /// Streams in on-demand mode.
    pub on_demand_streams: u32,
    /// Streams in the status CREATING at once.
    pub creating_streams: u32,
    /// Consumers of a stream.
    pub consumers_per_stream: u32,
    /// Accepted calls of UpdateShardCount for a stream in a rolling day.
    pub reshards_per_day: u32,
    /// Switches of a stream's mode in a rolling day.
    pub mode_switches_per_day: u32,
}

impl AccountLimits {
    /// The default quotas of us-east-1: 20,000 shards, 50 on-demand streams, 20 consumers of a stream, two switches of its
    /// mode a day (<https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>); 5 streams being created
    /// (<https://docs.aws.amazon.com/kinesis/latest/APIReference/API_CreateStream.html>); 10 changes of the shard
    /// count a day (<https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateShardCount.html>).
    pub const AWS: Self = Self {
        shards: 20_000,
        on_demand_streams: 50,
        creating_streams: 5,
        consumers_per_stream: 20,
        reshards_per_day: 10,
        mode_switches_per_day: 2,
    };
}

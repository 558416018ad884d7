//! What the server counted, as a snapshot.

/// All streams of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamMetrics {
    /// Memory held by stored records, bytes, their bookkeeping included.
    pub used_bytes: u64,
    /// Memory that may be held, bytes.
    pub capacity_bytes: u64,
    /// Every stream, in order of name.
    pub streams: Vec<StreamCounts>,
}

/// One stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamCounts {
    /// Its name.
    pub stream: String,
    /// Its shards, in order of number.
    pub shards: Vec<ShardMetrics>,
}

/// One shard since its creation. Sizes count data and partition keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardMetrics {
    /// The shard's id.
    pub shard: String,
    /// Records stored.
    pub records: u64,
    /// Bytes stored.
    pub bytes: u64,
    /// Answers that refused a record for the write limits.
    pub throttled_records: u64,
    /// Answers that refused a record because the memory was full.
    pub full_records: u64,
    /// Records given to readers; each reader counts.
    pub read_records: u64,
    /// Bytes given to readers.
    pub read_bytes: u64,
    /// GetRecords and GetShardIterator calls refused for the read limits.
    pub throttled_reads: u64,
    /// Records held now.
    pub stored_records: u64,
    /// Bytes held now.
    pub stored_bytes: u64,
}

impl StreamMetrics {
    /// The counts of one stream.
    #[must_use]
    pub fn stream(&self, name: &str) -> Option<&StreamCounts> {
        self.streams.iter().find(|counts| counts.stream == name)
    }
}

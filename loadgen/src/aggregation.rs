//! Many small records in one record of the stream, in the format of the Kinesis Producer Library.
//!
//! A stream counts records, so a sender of small ones packs them. What is packed is four magic bytes, a protobuf
//! message, and the message's MD5:
//!
//! ```text
//! message AggregatedRecord {
//!   repeated string partition_key_table     = 1;
//!   repeated string explicit_hash_key_table = 2;
//!   repeated Record records                 = 3;
//! }
//! message Record {
//!   required uint64 partition_key_index     = 1;
//!   optional uint64 explicit_hash_key_index = 2;
//!   required bytes  data                    = 3;
//!   repeated Tag    tags                    = 4;
//! }
//! ```
//!
//! The [`Aggregator`] packs, [`deaggregate`] unpacks. The message is small and settled since 2015, so its few varints
//! are read and written here, and no protobuf library is needed.
//!
//! An aggregate goes to one shard as a whole, that of its own partition key or explicit hash key: those of its first
//! record. Whoever packs therefore packs only records of one shard together. The Kinesis Client Library skips records
//! that would belong to another shard than the one it found them on; readers here keep them. Records with and without an
//! explicit hash key do not go together either: the libraries of AWS for Python and Node give those without one the first
//! of the table.

mod pack;
mod table;
mod unpack;
mod varint;

pub use pack::Aggregator;
pub use unpack::{UserRecord, deaggregate};

/// What every aggregate begins with.
const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];
/// Length of the MD5 that every aggregate ends with.
const DIGEST_BYTES: usize = 16;
/// An aggregate's magic and digest.
const FRAME_BYTES: usize = MAGIC.len() + DIGEST_BYTES;

/// Fields of the message, and of a record in it.
mod field {
    pub(super) const PARTITION_KEY_TABLE: u64 = 1;
    pub(super) const HASH_KEY_TABLE: u64 = 2;
    pub(super) const RECORDS: u64 = 3;
    pub(super) const PARTITION_KEY_INDEX: u64 = 1;
    pub(super) const HASH_KEY_INDEX: u64 = 2;
    pub(super) const DATA: u64 = 3;
}

#[cfg(test)]
mod tests;

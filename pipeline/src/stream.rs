//! The local stand-in for Kinesis Data Streams: a server on loopback that AWS's own clients talk to, with AWS's limits.
//!
//! It is in memory and bounded, kept in a folder too if asked (`wal`), and it exists to be measured against: arrival times are kept in microseconds, limits are
//! token buckets on an injected clock (`quota`), lag is true. From the outside in:
//!
//! ```text
//!   server      the port, HTTP/1.1 and HTTP/2 by prior knowledge; `tls` if asked, and a `head_limit` for each connection
//!   wire        a request to an operation, an outcome to a response; `json`, `cbor` and `error` are its language
//!   faults      what goes wrong on purpose, call by call
//!   operations  one file per family: streams, shards, write, read; `validate` has the words for what is wrong
//!   account     the streams by name and the memory they share (`capacity`)
//!   data_stream its facts (`meta`), its shards by hash key (`topology`, `routing`, `key_hash`) and how they change (`reshard`)
//!   placement   a call's records, gathered by shard
//!   shard       one lock: limits (`quota`), then the log; numbers from `sequence`
//!   log         the records in order, in `batch`es as they came; a `journal` may keep them elsewhere first
//! ```
//! `iterator` and `token` are what clients hold between calls; a `consumer` holds a `subscription`, whose events are framed
//! by `event_stream`. `firehose` is another service on the same port, with a queue into a delivery. `auth` looks at signatures, and checks them if asked.

mod account;
mod auth;
mod batch;
mod blob;
mod capacity;
mod cbor;
mod clock;
mod consumer;
mod control;
mod data_stream;
mod delivered;
mod error;
mod event_stream;
mod exposition;
mod faults;
mod firehose;
mod head_limit;
mod iterator;
mod journal;
mod json;
mod key_hash;
mod log;
mod meta;
mod metrics;
mod on_demand;
mod operations;
mod placement;
mod premises;
mod quota;
mod quota_file;
mod recent;
mod reshard;
mod routing;
mod sequence;
mod server;
mod shard;
mod subscription;
mod tls;
mod token;
mod topology;
mod validate;
mod wal;
mod wire;

#[cfg(test)]
mod tests;

pub use auth::Credentials;
pub use clock::{Clock, ManualClock, SystemClock};
pub use error::ServeError;
pub use faults::{FaultCount, FaultPlan, FaultPlanError};
pub use firehose::{Firehose, FirehoseError, Landed as FirehoseLanded, Witness as FirehoseWitness};
pub use metrics::{ShardMetrics, StreamCounts, StreamMetrics};
pub use on_demand::OnDemandRules;
pub use quota::{AccountLimits, Quotas, ReadLimits, WriteLimits};
pub use quota_file::QuotaFileError;
pub use server::{ServerConfig, StreamServer};
pub use tls::{TlsError, TlsIdentity};
pub use wal::WalError;

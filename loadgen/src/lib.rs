//! The load: payloads made, paced, sent, read back and accounted for.
//!
//! One record's way through this crate: [`source`] makes it, [`schedule`] says when it is due, [`keys`] names its
//! partition key, [`stamp`] writes run, number and due time into it, [`pacer`] hands it over on time, [`producer`]
//! sends it until the stream takes it or its deadline passes, [`reader`] brings it back, and [`consumer`] times it and
//! ticks it off the [`ledger`]. [`harness`] watches the machine meanwhile, and [`run`](run::run) joins the parts.

pub mod aggregation;
pub mod client;
pub mod clock;
pub mod consumer;
mod draws;
pub mod error;
mod events;
pub mod fingerprint;
pub mod firehose;
pub mod goodness;
pub mod harness;
mod key_counter;
pub mod keys;
pub mod ledger;
mod live_shards;
mod order_check;
pub mod pacer;
pub mod producer;
pub mod progress;
pub mod reader;
pub mod run;
pub mod saturate;
pub mod schedule;
pub mod shard_latency;
pub mod shards;
mod skew;
pub mod slice;
pub mod source;
pub mod stamp;
#[cfg(test)]
mod testing;
mod timeline;
pub mod timetable;
pub mod trace;
mod window;
pub mod wire;

pub use clock::Clock;
pub use error::LoadError;
pub use fingerprint::Fingerprint;
pub use progress::{LoadProgress, ProgressSnapshot};
pub use run::{LEAD_US, LoadOutcome, LoadPlan, PreparedLoad, Witness, prepare, run};
pub use slice::Slice;

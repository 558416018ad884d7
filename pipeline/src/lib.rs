//! The local stand-in for AWS: a Kinesis-compatible stream and the delivery that lands it in the lake.

pub mod delivery;
pub mod stream;

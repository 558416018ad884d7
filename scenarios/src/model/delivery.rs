//! `[delivery]`: how the stream is landed in the lake.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{ByteSize, Span};

/// `[delivery]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Delivery {
    /// The lake: a folder or an `s3://bucket/prefix` URL. Absent: `lake` in the run's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"s3://my-bucket/lake")]
    pub lake: Option<String>,
    /// Firehose prefix expression of good objects.
    pub prefix: String,
    /// Firehose prefix expression of records whose partition keys could not be read.
    pub error_prefix: String,
    /// Partition keys for `!{partitionKeyFromQuery:name}`: name to field path (`.city`, `.location.city`).
    pub partition_keys: BTreeMap<String, String>,
    /// An object is written when this many bytes, before compression, are buffered.
    pub buffer_size: ByteSize,
    /// ... or when its oldest record is this old, whichever comes first.
    pub buffer_interval: Span,
    /// How often delivery reads each shard (Firehose: once a second).
    pub poll: Span,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            lake: None,
            prefix: "year=!{timestamp:yyyy}/month=!{timestamp:MM}/day=!{timestamp:dd}/hour=!{timestamp:HH}/".to_owned(),
            error_prefix: "errors/!{firehose:error-output-type}/".to_owned(),
            partition_keys: BTreeMap::new(),
            buffer_size: ByteSize::from_bytes(5 << 20),
            buffer_interval: Span::from_secs(10),
            poll: Span::from_secs(1),
        }
    }
}

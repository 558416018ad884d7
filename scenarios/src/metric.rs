//! What an SLO may bound, and the hops a record's latency is taken at.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A point on a record's way where its latency is taken. All but `Service` and `Lag` count from the due time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Hop {
    /// send - due: what the harness itself added.
    Lag,
    /// ack - send of the call that was accepted.
    Service,
    /// ack - due.
    Response,
    /// The stream's own arrival timestamp - due. Milliseconds on AWS.
    Arrival,
    /// Read by the consumer - due.
    Read,
    /// The object that holds it is visible - due.
    Landed,
    /// The table version that holds it is committed - due.
    Committed,
}

impl Hop {
    /// Every hop, in the order a record meets them.
    pub const ALL: [Self; 7] =
        [Self::Lag, Self::Service, Self::Response, Self::Arrival, Self::Read, Self::Landed, Self::Committed];

    /// The name used in scenarios, records and pages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lag => "lag",
            Self::Service => "service",
            Self::Response => "response",
            Self::Arrival => "arrival",
            Self::Read => "read",
            Self::Landed => "landed",
            Self::Committed => "committed",
        }
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an SLO bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SloMetric {
    /// A percentile of a hop's latency in milliseconds, such as `response_p99.9_ms`.
    Latency {
        /// Which hop.
        hop: Hop,
        /// Which percentile, above 0 and up to 100.
        percentile: f64,
    },
    /// Records given up after retries, divided by records due.
    RefusedShare,
    /// Records accepted by the stream that the consumer never saw.
    LostRecords,
    /// Records the consumer saw more than once.
    DuplicatedRecords,
    /// Lines and records that could not be read on the way to the table.
    QuarantinedRecords,
    /// |offered / target - 1|
    RateErrorShare,
}

/// A metric name that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a metric; write <hop>_p<percent>_ms with a hop of lag, service, response, arrival, read, landed or \
     committed (response_p99_ms), or one of refused_share, lost_records, duplicated_records, quarantined_records, rate_error_share"
)]
pub struct UnknownMetric(String);

impl FromStr for SloMetric {
    type Err = UnknownMetric;
    fn from_str(text: &str) -> Result<Self, UnknownMetric> {
        let latency = || {
            let (hop, rest) = text.split_once("_p")?;
            let percentile = rest.strip_suffix("_ms")?.parse::<f64>().ok()?;
            let hop = Hop::ALL.into_iter().find(|h| h.name() == hop)?;
            (percentile > 0.0 && percentile <= 100.0).then_some(Self::Latency { hop, percentile })
        };
        match text {
            "refused_share" => Ok(Self::RefusedShare),
            "lost_records" => Ok(Self::LostRecords),
            "duplicated_records" => Ok(Self::DuplicatedRecords),
            "quarantined_records" => Ok(Self::QuarantinedRecords),
            "rate_error_share" => Ok(Self::RateErrorShare),
            _ => latency().ok_or_else(|| UnknownMetric(text.to_owned())),
        }
    }
}

impl fmt::Display for SloMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latency { hop, percentile } => write!(f, "{hop}_p{percentile}_ms"),
            Self::RefusedShare => f.write_str("refused_share"),
            Self::LostRecords => f.write_str("lost_records"),
            Self::DuplicatedRecords => f.write_str("duplicated_records"),
            Self::QuarantinedRecords => f.write_str("quarantined_records"),
            Self::RateErrorShare => f.write_str("rate_error_share"),
        }
    }
}

impl Serialize for SloMetric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SloMetric {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for SloMetric {
    fn schema_name() -> Cow<'static, str> {
        "SloMetric".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern":
            "^((lag|service|response|arrival|read|landed|committed)_p[0-9.]+_ms|refused_share|lost_records|duplicated_records|quarantined_records|rate_error_share)$"})
    }
}

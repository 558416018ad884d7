//! `[source]`: where payloads come from.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Span;

/// Which records are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// US-Accidents rows from a CSV file, or from the built-in generator when no path is given.
    Accidents,
    /// Temperature, humidity and pressure readings of a set of sensors.
    Sensors,
    /// One reading per city and poll, from a model or from the Open-Meteo API.
    Weather,
}

/// What happens when a file has no more rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AtEnd {
    /// Start again at the first row; the table's deduplication then has something to do.
    #[default]
    Loop,
    /// The load ends with the file.
    Stop,
}

/// `[source]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Which records are made.
    #[schemars(example = SourceKind::Accidents)]
    pub kind: SourceKind,
    /// accidents: the CSV file to replay. Absent: a synthetic file with the same schema is generated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"us-accidents.csv")]
    pub path: Option<PathBuf>,
    /// accidents: rows in the synthetic file.
    #[serde(default = "default_rows")]
    pub rows: u64,
    /// accidents: loop or stop at the end of the file.
    #[serde(default)]
    pub at_end: AtEnd,
    /// sensors: how many sensors take turns.
    #[serde(default = "default_sensors")]
    pub sensors: u32,
    /// sensors, weather: the event time of the first record (RFC 3339).
    #[serde(default = "default_epoch")]
    pub epoch: String,
    /// sensors, weather: event time between two rounds of readings.
    #[serde(default = "default_interval")]
    pub interval: Span,
    /// weather: ask the live API instead of the offline model. Leaves the machine.
    #[serde(default)]
    pub live: bool,
    /// weather: the API asked when `live` is true.
    #[serde(default = "default_weather_url")]
    pub url: String,
}

fn default_rows() -> u64 {
    20_000
}
fn default_sensors() -> u32 {
    10
}
fn default_epoch() -> String {
    "2025-01-01T00:00:00Z".to_owned()
}
fn default_interval() -> Span {
    Span::from_secs(60)
}
fn default_weather_url() -> String {
    "https://api.open-meteo.com/v1/forecast".to_owned()
}

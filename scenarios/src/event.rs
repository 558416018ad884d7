//! `[[event]]`: what is changed while the load runs: the stream's shards, the rate, or the keys.
//!
//! A new rate and new keys count from a due time, so they are part of the schedule and the same in every run. Shards are
//! changed by a call to the stream at that time; how long it takes and what it meets is up to the stream.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::{model::Keys, units::Span};

/// The shard at one end of the order by load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ByLoad {
    /// The shard, or the neighbours, with the most accepted bytes so far.
    Hottest,
    /// The shard, or the neighbours, with the fewest accepted bytes so far.
    Coldest,
}

/// One open shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ShardChoice {
    /// Found when the event begins.
    ByLoad(ByLoad),
    /// The shard with this number in its name: 3 is `shardId-000000000003`.
    Number(u32),
}

/// Two open shards side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MergeChoice {
    /// Found when the event begins.
    ByLoad(ByLoad),
    /// The shards with these numbers in their names.
    Numbers([u32; 2]),
}

impl JsonSchema for ShardChoice {
    fn schema_name() -> Cow<'static, str> {
        "ShardChoice".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "\"hottest\" or \"coldest\" by accepted bytes so far, or the number of an open shard.",
            "examples": ["hottest"],
            "type": ["string", "integer"],
        })
    }
}

impl JsonSchema for MergeChoice {
    fn schema_name() -> Cow<'static, str> {
        "MergeChoice".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "\"coldest\" or \"hottest\" neighbours by accepted bytes so far, or the numbers of two open shards.",
            "examples": ["coldest"],
            "type": ["string", "array"],
        })
    }
}

/// `[[event]]`: one change while the load runs. It says `at` and exactly one of the other keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// When, counted from the first due time of the load.
    #[schemars(example = Span::from_secs(10))]
    pub at: Span,
    /// Splits a shard in the middle of its hash keys: `hottest`, `coldest`, or its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split_shard: Option<ShardChoice>,
    /// Merges two shards that lie side by side: `coldest`, `hottest`, or their two numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge_shards: Option<MergeChoice>,
    /// Asks for this many shards (UpdateShardCount).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 8)]
    pub update_shard_count: Option<u32>,
    /// Multiplies the rate of all that is still to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 2.0)]
    pub rate: Option<f64>,
    /// Another `[keys]` section, for the records that are due from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Keys>,
}

impl Event {
    /// How many things it does; one, when it is right.
    #[must_use]
    pub fn actions(&self) -> usize {
        [
            self.split_shard.is_some(),
            self.merge_shards.is_some(),
            self.update_shard_count.is_some(),
            self.rate.is_some(),
            self.keys.is_some(),
        ]
        .into_iter()
        .filter(|is_there| *is_there)
        .count()
    }
}

impl fmt::Display for ByLoad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hottest => "hottest",
            Self::Coldest => "coldest",
        })
    }
}

/// What the event does, in a few words.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.split_shard, self.merge_shards, self.update_shard_count, self.rate, &self.keys) {
            (Some(ShardChoice::ByLoad(which)), ..) => write!(f, "split the {which} shard"),
            (Some(ShardChoice::Number(number)), ..) => write!(f, "split shard {number}"),
            (_, Some(MergeChoice::ByLoad(which)), ..) => write!(f, "merge the {which} shards"),
            (_, Some(MergeChoice::Numbers([a, b])), ..) => write!(f, "merge shards {a} and {b}"),
            (_, _, Some(count), ..) => write!(f, "update the shard count to {count}"),
            (_, _, _, Some(factor), _) => write!(f, "multiply the rate by {factor}"),
            (_, _, _, _, Some(_)) => f.write_str("change the keys"),
            _ => f.write_str("nothing"),
        }
    }
}

/// The new rates of these events: from when, and the factor that all rates before it are multiplied with, in order.
#[must_use]
pub fn rate_changes(events: &[Event]) -> Vec<(u64, f64)> {
    let mut changes: Vec<(u64, f64)> =
        events.iter().filter_map(|event| Some((event.at.as_us(), event.rate?))).collect();
    changes.sort_by_key(|(at_us, _)| *at_us);
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(json: &str) -> Event {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn new_rates_are_in_the_order_of_their_times() {
        let events = [
            event(r#"{"at": "15s", "rate": 0.5}"#),
            event(r#"{"at": "9s", "update_shard_count": 2}"#),
            event(r#"{"at": "5s", "rate": 4.0}"#),
        ];
        assert_eq!(rate_changes(&events), [(5_000_000, 4.0), (15_000_000, 0.5)]);
    }

    #[test]
    fn shards_are_chosen_by_load_or_by_number() {
        assert_eq!(event(r#"{"at": "1s", "split_shard": "hottest"}"#).to_string(), "split the hottest shard");
        assert_eq!(event(r#"{"at": "1s", "split_shard": 3}"#).split_shard, Some(ShardChoice::Number(3)));
        assert_eq!(event(r#"{"at": "1s", "merge_shards": [0, 1]}"#).to_string(), "merge shards 0 and 1");
        assert_eq!(event(r#"{"at": "1s", "merge_shards": "coldest"}"#).actions(), 1);
    }
}

//! The scenario as data: every section, every key, every default.
//!
//! The shapes here are the language: a doc comment on a field is what `scenario schema` publishes for it.
//! Optional fields that only some kinds use are checked in `validate.rs`, where the error can say which kind wants them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{event::Event, fault::InjectedFault};

mod column;
mod dedup;
mod delivery;
mod keys;
mod load;
mod query;
mod reading;
mod slo;
mod source;
mod stream;
mod table;

pub use column::*;
pub use dedup::*;
pub use delivery::*;
pub use keys::*;
pub use load::*;
pub use query::*;
pub use reading::*;
pub use slo::*;
pub use source::*;
pub use stream::*;
pub use table::*;

/// One experiment: what to send, how, through what, into which table, and what must hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Short name; also the start of the run's id. Letters, digits, `-` and `_`.
    #[schemars(example = &"my-scenario")]
    pub name: String,
    /// One sentence that says what the scenario shows.
    #[serde(default)]
    pub description: String,
    /// Seed of every draw: payloads, keys and due times are the same for the same seed.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Where payloads come from.
    pub source: Source,
    /// When records are due and how they are sent.
    pub load: Load,
    /// How a record gets its partition key.
    pub keys: Keys,
    /// The stream the records go to.
    pub stream: Stream,
    /// How the stream is landed in the lake.
    #[serde(default)]
    pub delivery: Delivery,
    /// What the lake is compacted into.
    #[serde(default)]
    pub table: Table,
    /// Questions asked of both the raw lake and the table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<Query>,
    /// What goes wrong with the local stream, and when. Another stream cannot be told to fail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fault: Vec<InjectedFault>,
    /// What is changed while the load runs, and when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub event: Vec<Event>,
    /// What must hold for the run to pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slo: Vec<Slo>,
}

fn default_seed() -> u64 {
    42
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

//! The scenario language: a TOML file that says what is sent, how, where to, and what must hold.
//!
//! [`model`] is the language as types, [`read()`] reads it from a file with overrides, and every mistake is
//! a [`ScenarioError`] that points at file, line and column and says what to write instead.

mod error;
pub mod event;
pub mod fault;
pub mod metric;
pub mod model;
mod nearest;
mod overrides;
mod read;
mod scale;
mod schema;
mod shape;
mod shipped;
pub mod stage;
pub mod stamp;
mod tree;
pub mod units;
mod usage;
mod validate;

pub use error::{Mistake, ScenarioError};
pub use event::{ByLoad, Event, MergeChoice, ShardChoice};
pub use fault::{CutWhen, Distribution, FaultKind, InjectedFault, OPERATIONS, StateAfter};
pub use metric::{Hop, SloMetric};
pub use model::*;
pub use overrides::Overrides;
pub use read::{parse, read, read_faults};
pub use schema::{effective, schema};
pub use shipped::{Listed, list, shipped};
pub use stage::{Stage, StageShape};
pub use units::{ByteSize, Span};

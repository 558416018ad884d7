//! The compactor on hand-made lakes: what goes in, what comes out, and what a crash leaves.
//!
//! Tables are read back without the library that wrote them: the log's JSON line by line, the Parquet files by themselves.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed, in its helpers too")]

#[path = "it/changing.rs"]
mod changing;
#[path = "it/cost.rs"]
mod cost;
#[path = "it/crash.rs"]
mod crash;
#[path = "it/faults.rs"]
mod faults;
#[path = "it/faulty.rs"]
mod faulty;
#[path = "it/forms.rs"]
mod forms;
#[path = "it/fuzz.rs"]
mod fuzz;
#[path = "it/hooked.rs"]
mod hooked;
#[path = "it/keys.rs"]
mod keys;
#[path = "it/lake.rs"]
mod lake;
#[path = "it/layout.rs"]
mod layout;
#[path = "it/maintain.rs"]
mod maintain;
#[path = "it/oracle.rs"]
mod oracle;
#[path = "it/passes.rs"]
mod passes;
#[path = "it/places.rs"]
mod places;
#[path = "it/query.rs"]
mod query;
#[path = "it/reader.rs"]
mod reader;
#[path = "it/replay.rs"]
mod replay;
#[path = "it/support.rs"]
mod support;
#[path = "it/tasks.rs"]
mod tasks;
#[path = "it/ties.rs"]
mod ties;
#[path = "it/uploads.rs"]
mod uploads;

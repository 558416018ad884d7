//! The run record, and everything drawn from it.
//!
//! [`record`] is the one contract: whatever is printed, drawn, compared or gated is read from it and from nothing else.
//! [`verdict`] judges it, [`text`] and [`page`] show it, [`compare`] sets two side by side, [`humanize`] spells its numbers.

pub mod compare;
pub mod error;
pub mod files;
pub mod humanize;
pub mod latency;
pub mod page;
pub mod record;
mod skew;
pub mod text;
pub mod verdict;
pub mod window;

#[cfg(test)]
mod sample;

pub use error::ReportError;
pub use record::RunRecord;

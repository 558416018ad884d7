//! The three fields every record carries so that any later hop can time and count it.

/// The run's id, a string.
pub const RUN_FIELD: &str = "millrace_run";
/// The record's place in the schedule, from 0: a 64-bit integer.
pub const SEQUENCE_FIELD: &str = "millrace_seq";
/// When the record was due, in microseconds since 1970 UTC: a 64-bit integer.
pub const DUE_FIELD: &str = "millrace_due_us";

/// Whether a field of this name is part of the stamp.
#[must_use]
pub fn is_stamp(name: &str) -> bool {
    [RUN_FIELD, SEQUENCE_FIELD, DUE_FIELD].contains(&name)
}

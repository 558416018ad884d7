//! What ends a load, told apart so that the caller can choose the exit code and say the fix.

use std::io;

use millrace_reports::ReportError;

use crate::{keys::KeyError, source::SourceError, stamp::StampError};

/// A load could not start or could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The payload source could not be opened or read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The scenario's keys cannot be drawn.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// A payload could not be stamped.
    #[error("record {sequence}: {source}")]
    Stamp {
        /// The record's place in the schedule.
        sequence: u64,
        /// Why.
        source: StampError,
    },
    /// A latency could not be written down.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// Nothing answers at the endpoint.
    #[error("{endpoint} cannot be reached: {detail}; check the address, and that the stream's server is running")]
    Unreachable {
        /// The endpoint's name, without credentials.
        endpoint: String,
        /// What the connection said.
        detail: String,
    },
    /// The endpoint refuses the caller.
    #[error("{endpoint} denies {operation}: {detail}; check the credentials and their permissions")]
    Denied {
        /// The endpoint's name, without credentials.
        endpoint: String,
        /// Which operation.
        operation: &'static str,
        /// The code and message of the answer.
        detail: String,
    },
    /// The stream is not there.
    #[error("{endpoint} has no stream named {stream}: {detail}; create it, or change stream.name")]
    NoStream {
        /// The endpoint's name, without credentials.
        endpoint: String,
        /// The stream's name.
        stream: String,
        /// The code and message of the answer.
        detail: String,
    },
    /// The stream is there but did not become usable in time.
    #[error("stream {stream} at {endpoint} was {status} for {waited_s} s; wait until it is ACTIVE and try again")]
    NotActive {
        /// The endpoint's name, without credentials.
        endpoint: String,
        /// The stream's name.
        stream: String,
        /// Its last status.
        status: String,
        /// How long was waited, seconds.
        waited_s: u64,
    },
    /// An operation failed for another reason, and trying again did not help.
    #[error("{operation} failed at {endpoint}: {detail}")]
    Call {
        /// The endpoint's name, without credentials.
        endpoint: String,
        /// Which operation.
        operation: &'static str,
        /// The code and message of the answer, or the connection's error.
        detail: String,
    },
    /// A thread of the harness could not be started.
    #[error("the {thread} thread could not be started: {source}")]
    Thread {
        /// Which thread.
        thread: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A part of the harness stopped without saying why: a defect.
    #[error("the {part} stopped unexpectedly; this is a defect in Millrace")]
    Stopped {
        /// Which part.
        part: &'static str,
    },
}

impl LoadError {
    /// The cause under which records are counted that this error left unsent.
    pub(crate) const fn cause(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "connection",
            Self::Denied { .. } => "denied",
            Self::NoStream { .. } => "no stream",
            _ => "load ended",
        }
    }

    /// Whether the scenario or the command line is wrong; otherwise the environment failed.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Source(error) => error.is_configuration(),
            Self::Keys(_) => true,
            _ => false,
        }
    }
}

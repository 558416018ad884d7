//! A record that cannot go where the prefix says, and the line that keeps it under the error prefix.
//!
//! The line is the one Firehose writes: newline-delimited JSON with the raw record in base64, so nothing is lost and
//! tools that replay Firehose errors can replay these.

use std::io;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;

/// The kind of error, `!{firehose:error-output-type}`; error objects of different kinds are different objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ErrorType {
    ProcessingFailed,
    ActivePartitionExceeded,
}

impl ErrorType {
    /// The name in the error prefix.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::ProcessingFailed => "processing-failed",
            Self::ActivePartitionExceeded => "activePartitionExceeded",
        }
    }

    /// The `errorCode` in the error line.
    const fn code(self) -> &'static str {
        match self {
            Self::ProcessingFailed => "DynamicPartitioning.MetadataExtractionFailed",
            Self::ActivePartitionExceeded => "DynamicPartitioning.ActivePartitionsLimitExceeded",
        }
    }
}

/// Why a record goes to the error prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) error_type: ErrorType,
    pub(super) message: String,
}

/// Times are milliseconds since 1970, as numbers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    attempts_made: u32,
    arrival_timestamp: i64,
    error_code: &'static str,
    error_message: &'a str,
    attempt_ending_timestamp: i64,
    raw_data: String,
}

impl Refusal {
    /// The line that keeps the record.
    pub(super) fn line(&self, data: &[u8], arrival_us: i64, now_us: i64) -> io::Result<Vec<u8>> {
        let line = Line {
            attempts_made: 1,
            arrival_timestamp: arrival_us.div_euclid(1000),
            error_code: self.error_type.code(),
            error_message: &self.message,
            attempt_ending_timestamp: now_us.div_euclid(1000),
            raw_data: STANDARD.encode(data),
        };
        Ok(serde_json::to_vec(&line)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_the_one_firehose_writes() {
        let refusal = Refusal { error_type: ErrorType::ProcessingFailed, message: "not \"JSON\"".to_owned() };
        let line = refusal.line(b"\xffoops\n", 1_627_921_286_181_999, 1_627_921_366_634_000).unwrap();
        assert_eq!(
            String::from_utf8(line).unwrap(),
            r#"{"attemptsMade":1,"arrivalTimestamp":1627921286181,"errorCode":"DynamicPartitioning.MetadataExtractionFailed","errorMessage":"not \"JSON\"","attemptEndingTimestamp":1627921366634,"rawData":"/29vcHMK"}"#
        );
    }
}

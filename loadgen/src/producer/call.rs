//! One PutRecords call.

use aws_sdk_kinesis::{operation::put_records::PutRecordsOutput, primitives::Blob, types::PutRecordsRequestEntry};

use super::Record;
use crate::{
    client::{Failure, FailureKind, StreamClient},
    clock::Clock,
};

/// What became of a call. The clock was read twice: just before it and just after.
#[derive(Debug)]
pub(super) struct CallResult {
    pub(super) records: Vec<Record>,
    pub(super) send_us: u64,
    pub(super) ack_us: u64,
    pub(super) answer: Answer,
}

/// The answer of a call.
#[derive(Debug)]
pub(super) enum Answer {
    /// One entry per record, in order.
    Output(PutRecordsOutput),
    /// The call failed as a whole.
    Failed(Failure),
}

/// Sends records in one call. The payloads are copied, because what is refused has to be sent again.
pub(super) async fn put(stream: StreamClient, mut records: Vec<Record>, clock: Clock) -> CallResult {
    let mut entries = Vec::with_capacity(records.len());
    for record in &mut records {
        record.attempts += 1;
        let entry = PutRecordsRequestEntry::builder().data(Blob::new(record.data.clone())).partition_key(&record.key);
        match entry.build() {
            Ok(entry) => entries.push(entry),
            Err(_) => unreachable!("data, the only required member, is set"),
        }
    }
    let call = stream.client.put_records().stream_name(&*stream.stream).set_records(Some(entries));
    let send_us = clock.now_us();
    let output = call.send().await;
    let ack_us = clock.now_us();
    let answer = match output {
        Ok(output) if output.records().len() == records.len() => Answer::Output(output),
        Ok(output) => Answer::Failed(Failure {
            kind: FailureKind::Server,
            cause: "malformed answer".to_owned(),
            detail: format!("{} entries for {} records", output.records().len(), records.len()),
        }),
        Err(error) => Answer::Failed(Failure::of(error)),
    };
    CallResult { records, send_us, ack_us, answer }
}

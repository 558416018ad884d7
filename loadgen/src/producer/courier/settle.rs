//! What an answer means: each entry is accepted, tried again, or given up.

use std::sync::Arc;

use millrace_scenarios::Retry;

use super::{Courier, WINDOW_FULL};
use crate::{
    client::{Failure, FailureKind},
    error::LoadError,
    producer::{
        api::{Outcome, read_error},
        call::{Call, Delivered, Entry},
    },
};

impl Courier {
    /// Takes in the answer of one call.
    pub(super) fn settle(&mut self, delivered: Delivered) {
        let Delivered { call, send_us, ack_us, result } = delivered;
        let before = self.tally.counts();
        self.tally.called();
        for entry in call.entries().iter().filter(|entry| entry.attempts == 1) {
            self.tally.sent_first(call.records_of(entry), send_us, self.down_until_us);
        }
        if call.lane.is_none() {
            self.desk.release(call.records().len(), call.bytes());
        }
        let desk = Arc::clone(&self.desk);
        let read = match &result {
            Ok((200, body)) => desk.api.read_answer(body, call.entries().len()).map_err(|error| Failure {
                kind: FailureKind::Server,
                cause: "malformed answer".to_owned(),
                detail: error.0,
            }),
            Ok((status, body)) => {
                let (code, message) = read_error(body);
                Err(Failure::of_answer(*status, code, message))
            }
            Err((why, timeout)) => Err(Failure::of_connection(why.clone(), *timeout)),
        };
        match read {
            Ok(outcomes) => {
                self.answered(ack_us);
                self.enter(&call, &outcomes, send_us, ack_us);
            }
            Err(failure) => self.failed(&call, failure, ack_us),
        }
        let after = self.tally.counts();
        let (accepted, refusals) = (after.accepted - before.accepted, after.refusals - before.refusals);
        let under_way = self.desk.calls_under_way();
        self.progress.add_answered(accepted, refusals, 0);
        self.timeline.answered(ack_us, accepted, refusals, under_way);
        if let Some(interval) = self.tally.last_response_interval() {
            self.progress.set_response(interval);
        }
        self.desk.recycle(call);
    }

    /// Enters what became of each entry of a call that was answered.
    fn enter(&mut self, call: &Call, outcomes: &[Outcome<'_>], send_us: u64, ack_us: u64) {
        let refused = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Refused { .. }));
        let again = refused && self.settings.retry_kind == Retry::Call && !self.stopping;
        for (entry, outcome) in call.entries().iter().zip(outcomes) {
            match outcome {
                Outcome::Accepted { shard } => {
                    self.tally.accepted(entry, call.records_of(entry), shard, send_us, ack_us);
                    match self.ready_us(call, entry, ack_us).filter(|_| again) {
                        // As clients do that do not look at the answer's entries: what was taken is taken again.
                        Some(ready_us) => drop(self.lanes.push(None, ready_us, call.parcel(entry))),
                        None => self.follow(entry),
                    }
                }
                Outcome::Refused { code } => {
                    let shard = self.desk.api.key_of(call.json_of(entry)).and_then(|key| {
                        let map = self.shards.map();
                        map.shard_for(&key.key, key.explicit_hash()).map(|shard| Arc::clone(&shard.id))
                    });
                    self.refuse(call, entry, shard.as_ref(), code, ack_us);
                }
            }
        }
    }

    /// A call failed as a whole.
    fn failed(&mut self, call: &Call, failure: Failure, ack_us: u64) {
        self.tally.call_failed();
        let records = call.records().len();
        tracing::debug!(cause = failure.cause, detail = failure.detail, records, "call failed");
        let fatal = matches!(failure.kind, FailureKind::NotFound | FailureKind::Denied);
        match failure.kind {
            FailureKind::Connection | FailureKind::Timeout => {}
            _ => self.answered(ack_us),
        }
        if failure.kind == FailureKind::Rejected {
            self.narrow(call, &failure.cause, ack_us);
        } else {
            // What the endpoint will never take is not tried again.
            self.stopping |= fatal;
            for entry in call.entries() {
                self.refuse(call, entry, None, &failure.cause, ack_us);
            }
        }
        match failure.kind {
            FailureKind::Connection | FailureKind::Timeout => self.no_answer(failure.detail, ack_us),
            _ if fatal => {
                let error = self.stream.error(self.desk.api.name(), failure);
                self.over(error);
            }
            _ => {}
        }
    }

    /// One entry that the endpoint rejects takes its whole call with it: halves the call until the culprits are alone,
    /// and gives those up.
    fn narrow(&mut self, call: &Call, cause: &str, now_us: u64) {
        let entries = call.entries();
        self.tally.refusal(None, cause, call.records().len() as u64);
        if entries.len() > 1 && !self.stopping {
            for half in [&entries[..entries.len() / 2], &entries[entries.len() / 2..]] {
                let mut again = self.desk.empty_call();
                again.ready_us = now_us;
                for entry in half {
                    again.push_again(&self.desk.api, &call.parcel(entry));
                }
                self.lanes.push_call(again);
            }
        } else {
            self.give_up(None, cause, call.records());
            for entry in entries {
                self.follow(entry);
            }
        }
    }

    /// Counts a refusal; then the entry pauses for another attempt, or is given up.
    fn refuse(&mut self, call: &Call, entry: &Entry, shard: Option<&Arc<str>>, cause: &str, now_us: u64) {
        let records = call.records_of(entry);
        self.tally.refusal(shard, cause, records.len() as u64);
        let cause = match self.ready_us(call, entry, now_us) {
            Some(ready_us) if !self.stopping => match self.lanes.push(shard, ready_us, call.parcel(entry)) {
                Ok(()) => return,
                Err(_) => WINDOW_FULL,
            },
            _ => cause,
        };
        self.give_up(shard, cause, records);
        self.follow(entry);
    }

    /// When an entry is sent again, if it is.
    fn ready_us(&self, call: &Call, entry: &Entry, now_us: u64) -> Option<u64> {
        let first = call.records_of(entry).first()?;
        match self.settings.retry_kind {
            Retry::None => None,
            _ => self.settings.retry.ready_us(first.sequence, first.due_us, entry.attempts, now_us),
        }
    }

    fn answered(&mut self, now_us: u64) {
        self.answered_us = self.answered_us.max(now_us);
        self.ever_answered = true;
    }

    pub(super) fn unreachable(&self, detail: String) -> LoadError {
        LoadError::Unreachable { endpoint: self.stream.endpoint.to_string(), detail }
    }
}

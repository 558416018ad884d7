//! What the producer has learnt: counts by shard and cause, latencies, and the numbers the stream accepted.

use std::{collections::HashMap, sync::Arc, time::Duration};

use millrace_reports::{
    latency::{HopRecorder, LatencyLog},
    record::{HopLatency, LatencyInterval, Refusals},
};
use millrace_scenarios::Hop;

use super::Record;
use crate::{error::LoadError, ledger::IntervalSet};

/// The hops that the producer times.
#[derive(Debug)]
pub(crate) struct Recorders {
    lag: HopRecorder,
    service: HopRecorder,
    response: HopRecorder,
}

impl Recorders {
    /// Recorders that write intervals of this length into `log`.
    pub(crate) fn new(log: &Arc<LatencyLog>, interval: Duration) -> Self {
        let recorder = |hop| HopRecorder::new(hop, Arc::clone(log), interval);
        Self { lag: recorder(Hop::Lag), service: recorder(Hop::Service), response: recorder(Hop::Response) }
    }
}

/// What one shard took and refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ShardCounts {
    pub(crate) accepted: u64,
    pub(crate) accepted_bytes: u64,
    pub(crate) refusals: u64,
}

/// Counts of the whole load.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    pub(crate) accepted: u64,
    pub(crate) accepted_bytes: u64,
    pub(crate) refused: u64,
    pub(crate) refusals: u64,
    pub(crate) calls: u64,
    pub(crate) failed_calls: u64,
    pub(crate) in_flight_waits: u64,
    pub(crate) longest_wait_us: u64,
    pub(crate) last_ack_us: u64,
}

/// The producer's account of a finished load.
#[derive(Debug)]
pub(crate) struct Produced {
    pub(crate) counts: Counts,
    pub(crate) shards: HashMap<Arc<str>, ShardCounts>,
    pub(crate) refusals: Vec<Refusals>,
    pub(crate) accepted: IntervalSet,
    /// Lag, service, response.
    pub(crate) latency: [HopLatency; 3],
}

/// Where and why records were refused: the shard, where it is known, and the code.
type Cause = (Option<Arc<str>>, String);

/// How often.
#[derive(Debug, Clone, Copy, Default)]
struct Refused {
    /// Answers that refused a record.
    refusals: u64,
    /// Records given up for it.
    records: u64,
}

#[derive(Debug)]
pub(super) struct Tally {
    counts: Counts,
    shards: HashMap<Arc<str>, ShardCounts>,
    refusals: HashMap<Cause, Refused>,
    accepted: IntervalSet,
    recorders: Recorders,
}

impl Tally {
    pub(super) fn new(recorders: Recorders) -> Self {
        Self {
            counts: Counts::default(),
            shards: HashMap::new(),
            refusals: HashMap::new(),
            accepted: IntervalSet::default(),
            recorders,
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn sent(&self) -> u64 {
        self.counts.sent
    }

    pub(super) fn last_response_interval(&self) -> Option<&LatencyInterval> {
        self.recorders.response.last_interval()
    }

    /// Counts a call, and the records that it sent for the first time.
    pub(super) fn called(&mut self, records: &[Record], send_us: u64) {
        self.counts.calls += 1;
        for record in records.iter().filter(|record| record.attempts == 1) {
            self.counts.sent += 1;
            self.recorders.lag.record(send_us, since(send_us, record.due_us), 1);
        }
    }

    pub(super) fn call_failed(&mut self) {
        self.counts.failed_calls += 1;
    }

    pub(super) fn waited(&mut self, wait_us: u64) {
        self.counts.in_flight_waits += 1;
        self.counts.longest_wait_us = self.counts.longest_wait_us.max(wait_us);
    }

    pub(super) fn accepted(&mut self, record: &Record, shard: &str, send_us: u64, ack_us: u64) {
        let bytes = record.size() as u64;
        self.counts.accepted += 1;
        self.counts.accepted_bytes += bytes;
        self.counts.last_ack_us = self.counts.last_ack_us.max(ack_us);
        let counts = self.shard(shard);
        counts.accepted += 1;
        counts.accepted_bytes += bytes;
        self.accepted.insert(record.sequence);
        self.recorders.service.record(ack_us, since(ack_us, send_us), 1);
        self.recorders.response.record(ack_us, since(ack_us, record.due_us), 1);
    }

    pub(super) fn refusal(&mut self, shard: Option<&Arc<str>>, cause: &str) {
        self.counts.refusals += 1;
        self.cause(shard, cause).refusals += 1;
        if let Some(shard) = shard {
            self.shard(shard).refusals += 1;
        }
    }

    pub(super) fn given_up(&mut self, shard: Option<&Arc<str>>, cause: &str) {
        self.counts.refused += 1;
        self.cause(shard, cause).records += 1;
    }

    /// Sums up.
    pub(super) fn finish(self) -> Result<Produced, LoadError> {
        let mut refusals: Vec<Refusals> = self
            .refusals
            .into_iter()
            .map(|((shard, cause), Refused { refusals, records })| Refusals {
                shard: shard.map(|shard| shard.to_string()),
                cause,
                refusals,
                records,
            })
            .collect();
        refusals.sort_by(|a, b| (&a.shard, &a.cause).cmp(&(&b.shard, &b.cause)));
        let Recorders { lag, service, response } = self.recorders;
        Ok(Produced {
            counts: self.counts,
            shards: self.shards,
            refusals,
            accepted: self.accepted,
            latency: [lag.finish()?, service.finish()?, response.finish()?],
        })
    }

    fn shard(&mut self, name: &str) -> &mut ShardCounts {
        if !self.shards.contains_key(name) {
            self.shards.insert(name.into(), ShardCounts::default());
        }
        match self.shards.get_mut(name) {
            Some(counts) => counts,
            None => unreachable!("inserted above"),
        }
    }

    fn cause(&mut self, shard: Option<&Arc<str>>, cause: &str) -> &mut Refused {
        self.refusals.entry((shard.cloned(), cause.to_owned())).or_default()
    }
}

/// `later - earlier`, below zero when the clocks disagree.
fn since(later: u64, earlier: u64) -> i64 {
    later.cast_signed().wrapping_sub(earlier.cast_signed())
}

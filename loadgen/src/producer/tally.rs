//! What the producer has learnt: counts by shard and cause, latencies, and the numbers the stream accepted.

use std::{collections::HashMap, sync::Arc, time::Duration};

use hdrhistogram::Histogram;
use millrace_reports::{
    latency::{HopRecorder, LatencyLog, MAX_LATENCY_US, histogram},
    record::{HopLatency, LatencyInterval, PooledResponse, Refusals, ShardResponse},
};
use millrace_scenarios::Hop;

use super::call::{Entry, RecordMeta};
use crate::{
    error::LoadError,
    ledger::{IntervalSet, Seen},
    live_shards::{Counter, LiveShards},
    shard_latency::ShardLatencies,
};

/// The hops that the producer times.
#[derive(Debug)]
pub(crate) struct Recorders {
    lag: HopRecorder,
    service: HopRecorder,
    response: HopRecorder,
    log: Arc<LatencyLog>,
    /// The part of lag that is the target's; absent until there is some.
    down_lag: Option<Box<Histogram<u64>>>,
}

impl Recorders {
    /// Recorders that write intervals of this length into `log`.
    pub(crate) fn new(log: &Arc<LatencyLog>, interval: Duration) -> Self {
        let recorder = |hop| HopRecorder::new(hop, Arc::clone(log), interval);
        Self {
            lag: recorder(Hop::Lag),
            service: recorder(Hop::Service),
            response: recorder(Hop::Response),
            log: Arc::clone(log),
            down_lag: None,
        }
    }

    /// Takes the lag of a record that waited for a target without an open connection.
    fn waited_for_target(&mut self, due_us: u64, send_us: u64) {
        if self.log.is_judged(due_us) {
            let values = self.down_lag.get_or_insert_with(|| Box::new(histogram()));
            values.saturating_record(send_us.saturating_sub(due_us).min(MAX_LATENCY_US));
        }
    }

    /// 99th percentile of the lag that is not the target's.
    fn own_lag_p99_us(&self) -> u64 {
        let mut own = self.lag.judged();
        if self.down_lag.as_ref().is_some_and(|down| own.subtract(down.as_ref()).is_err()) {
            unreachable!("what is taken out was put in");
        }
        own.value_at_quantile(0.99)
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
    /// Entries of calls, each a record or an aggregate.
    pub(crate) accepted_entries: u64,
    pub(crate) refused: u64,
    pub(crate) refusals: u64,
    pub(crate) calls: u64,
    pub(crate) failed_calls: u64,
    pub(crate) in_flight_waits: u64,
    pub(crate) longest_wait_us: u64,
    /// Records that waited for a target without an open connection.
    pub(crate) target_down_records: u64,
    pub(crate) last_ack_us: u64,
    /// When the first call went out; zero when none did.
    pub(crate) first_send_us: u64,
}

/// The producer's account of a finished load.
#[derive(Debug)]
pub(crate) struct Produced {
    pub(crate) counts: Counts,
    pub(crate) shards: HashMap<Arc<str>, ShardCounts>,
    /// Response times of the hottest shards, and of the others together.
    pub(crate) shard_responses: HashMap<Arc<str>, ShardResponse>,
    pub(crate) pooled_response: Option<PooledResponse>,
    pub(crate) refusals: Vec<Refusals>,
    pub(crate) accepted: IntervalSet,
    /// How many records were accepted at the first attempt, the second, and so on; the last counts all later ones.
    pub(crate) attempts: Vec<u64>,
    /// Lag, service, response.
    pub(crate) latency: [HopLatency; 3],
    /// 99th percentile of the lag that is not the target's.
    pub(crate) own_lag_p99_us: u64,
    /// Why the producer could not go on; absent when it came to its end.
    pub(crate) failure: Option<LoadError>,
}

/// Attempts told apart.
const MOST_ATTEMPTS: usize = 32;

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
pub(crate) struct Tally {
    counts: Counts,
    shards: Vec<ShardBook>,
    /// Place in `shards` by name; and by the number in a name as AWS gives them, which is what nearly all have.
    by_name: HashMap<Arc<str>, usize>,
    by_number: Vec<Option<u32>>,
    refusals: HashMap<Cause, Refused>,
    accepted: IntervalSet,
    attempts: Vec<u64>,
    recorders: Recorders,
    live: Arc<LiveShards>,
    /// By place in `shards`.
    shard_latencies: ShardLatencies,
}

/// One shard's counts: its own, and those that others may look at meanwhile.
#[derive(Debug)]
struct ShardBook {
    name: Arc<str>,
    counts: ShardCounts,
    taken: Arc<Counter>,
}

impl Tally {
    pub(crate) fn new(recorders: Recorders, live: Arc<LiveShards>) -> Self {
        Self {
            live,
            counts: Counts::default(),
            shards: Vec::new(),
            by_name: HashMap::new(),
            by_number: Vec::new(),
            refusals: HashMap::new(),
            accepted: IntervalSet::default(),
            attempts: Vec::new(),
            recorders,
            shard_latencies: ShardLatencies::default(),
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    pub(crate) fn sent(&self) -> u64 {
        self.counts.sent
    }

    pub(crate) fn last_response_interval(&self) -> Option<&LatencyInterval> {
        self.recorders.response.last_interval()
    }

    /// Counts a call.
    pub(crate) fn called(&mut self) {
        self.counts.calls += 1;
    }

    /// Counts records that were sent for the first time. `down_until_us` is when the target last had no open connection:
    /// what was due before and sent after waited for the target.
    pub(crate) fn sent_first(&mut self, records: &[RecordMeta], send_us: u64, down_until_us: u64) {
        self.counts.sent += records.len() as u64;
        let first_us = self.counts.first_send_us;
        self.counts.first_send_us = if first_us == 0 { send_us } else { first_us.min(send_us) };
        for record in records {
            self.recorders.lag.record(record.due_us, send_us, since(send_us, record.due_us), 1);
            if record.due_us <= down_until_us && down_until_us <= send_us {
                self.counts.target_down_records += 1;
                self.recorders.waited_for_target(record.due_us, send_us);
            }
        }
    }

    pub(crate) fn call_failed(&mut self) {
        self.counts.failed_calls += 1;
    }

    pub(crate) fn waited(&mut self, wait_us: u64) {
        self.counts.in_flight_waits += 1;
        self.counts.longest_wait_us = self.counts.longest_wait_us.max(wait_us);
    }

    /// Counts the records of an entry that the stream has taken. Those that it took before are duplicates, which the
    /// consumer counts.
    pub(crate) fn accepted(&mut self, entry: &Entry, records: &[RecordMeta], shard: &str, send_us: u64, ack_us: u64) {
        let mut new = 0;
        let at = self.shard_at(shard);
        for record in records {
            if self.accepted.insert(record.sequence) == Seen::First {
                new += 1;
                let response_us = since(ack_us, record.due_us);
                self.recorders.response.record(record.due_us, ack_us, response_us, 1);
                self.recorders.service.record(record.due_us, ack_us, since(ack_us, send_us), 1);
                self.shard_latencies.record(at, u64::try_from(response_us).unwrap_or(0), 1);
            }
        }
        self.counts.accepted += new;
        self.counts.accepted_entries += u64::from(new > 0);
        self.counts.accepted_bytes += u64::from(entry.bytes);
        self.counts.last_ack_us = self.counts.last_ack_us.max(ack_us);
        let ShardBook { counts, taken, .. } = &mut self.shards[at];
        counts.accepted += new;
        counts.accepted_bytes += u64::from(entry.bytes);
        taken.add(new, u64::from(entry.bytes));
        let attempt = (entry.attempts as usize).clamp(1, MOST_ATTEMPTS) - 1;
        if self.attempts.len() <= attempt {
            self.attempts.resize(attempt + 1, 0);
        }
        self.attempts[attempt] += new;
    }

    /// Counts answers that refused so many records.
    pub(crate) fn refusal(&mut self, shard: Option<&Arc<str>>, cause: &str, records: u64) {
        self.counts.refusals += records;
        self.cause(shard, cause).refusals += records;
        if let Some(shard) = shard {
            self.shard(shard).counts.refusals += records;
        }
    }

    /// How many of these records were not taken.
    pub(crate) fn not_accepted(&self, records: &[RecordMeta]) -> u64 {
        records.iter().filter(|record| !self.accepted.contains(record.sequence)).count() as u64
    }

    /// Counts so many records that are not tried again.
    pub(crate) fn given_up(&mut self, shard: Option<&Arc<str>>, cause: &str, records: u64) {
        self.counts.refused += records;
        self.cause(shard, cause).records += records;
    }

    /// Sums up.
    pub(crate) fn finish(self, failure: Option<LoadError>) -> Result<Produced, LoadError> {
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
        let own_lag_p99_us = self.recorders.own_lag_p99_us();
        let Recorders { lag, service, response, .. } = self.recorders;
        let (by_place, pooled_response) = self.shard_latencies.finish();
        let named = |(at, response): (usize, ShardResponse)| Some((Arc::clone(&self.shards.get(at)?.name), response));
        let shard_responses = by_place.into_iter().filter_map(named).collect();
        Ok(Produced {
            counts: self.counts,
            shard_responses,
            pooled_response,
            shards: self.shards.into_iter().map(|book| (book.name, book.counts)).collect(),
            refusals,
            accepted: self.accepted,
            attempts: self.attempts,
            failure,
            own_lag_p99_us,
            latency: [lag.finish()?, service.finish()?, response.finish()?],
        })
    }

    fn shard(&mut self, name: &str) -> &mut ShardBook {
        let at = self.shard_at(name);
        &mut self.shards[at]
    }

    fn shard_at(&mut self, name: &str) -> usize {
        let number = shard_number(name);
        let known = number.and_then(|number| *self.by_number.get(number)?);
        match known {
            Some(at) if *self.shards[at as usize].name == *name => at as usize,
            _ => self.shard_by_name(name, number),
        }
    }

    fn shard_by_name(&mut self, name: &str, number: Option<usize>) -> usize {
        let at = match self.by_name.get(name) {
            Some(at) => *at,
            None => {
                let name: Arc<str> = name.into();
                self.by_name.insert(Arc::clone(&name), self.shards.len());
                let taken = self.live.counter(&name);
                self.shards.push(ShardBook { name, counts: ShardCounts::default(), taken });
                self.shards.len() - 1
            }
        };
        if let Some(number) = number {
            if self.by_number.len() <= number {
                self.by_number.resize(number + 1, None);
            }
            self.by_number[number] = u32::try_from(at).ok();
        }
        at
    }

    fn cause(&mut self, shard: Option<&Arc<str>>, cause: &str) -> &mut Refused {
        self.refusals.entry((shard.cloned(), cause.to_owned())).or_default()
    }
}

/// The number at the end of a shard's name, when it is one of the first many.
fn shard_number(name: &str) -> Option<usize> {
    let digits = name.as_bytes().get(name.len().checked_sub(5)?..)?;
    digits.iter().try_fold(0, |n, digit| digit.is_ascii_digit().then(|| n * 10 + usize::from(digit - b'0')))
}

/// `later - earlier`, below zero when the clocks disagree.
fn since(later: u64, earlier: u64) -> i64 {
    later.cast_signed().wrapping_sub(earlier.cast_signed())
}

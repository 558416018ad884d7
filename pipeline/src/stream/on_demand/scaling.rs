//! Carries the plans of growth out on the streams of an account.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use super::{Growth, OnDemandRules, Written};
use crate::stream::{
    account::Account,
    data_stream::DataStream,
    error::{ApiError, ErrorKind},
    meta::{StreamMeta, StreamMode, StreamStatus},
    reshard::{OpenShard, Reshard},
    shard::Shard,
};

/// How often an account is looked at, at least and at most.
const SELDOM: Duration = Duration::from_secs(1);
const OFTEN: Duration = Duration::from_millis(50);

/// The on-demand streams of an account, watched.
#[derive(Debug)]
pub(crate) struct Scaling {
    rules: OnDemandRules,
    /// By name and creation: a stream that is made again begins again.
    streams: HashMap<(String, u64), Growth>,
}

impl Scaling {
    pub(crate) fn new(rules: OnDemandRules) -> Self {
        Self { rules, streams: HashMap::new() }
    }

    /// Watches an account for as long as there is one.
    pub(crate) async fn watch(mut self, account: Weak<Account>) {
        let period = Duration::from_micros(self.rules.span_us() / 2).clamp(OFTEN, SELDOM);
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(account) = account.upgrade() else { return };
            self.look(&account);
        }
    }

    /// Looks at every on-demand stream once, and splits what is to be split.
    pub(crate) fn look(&mut self, account: &Account) {
        let now_us = account.clock.now_us();
        let mut watched = HashMap::new();
        for stream in account.list(None, usize::MAX) {
            let (mode, status) = {
                let meta = stream.meta();
                (meta.mode, meta.status(now_us))
            };
            let there = matches!(status, Some(StreamStatus::Active | StreamStatus::Updating));
            if mode != StreamMode::OnDemand || !there {
                continue;
            }
            let key = (stream.name.clone(), stream.created_us);
            let mut growth = self.streams.remove(&key).unwrap_or_else(|| Growth::new(self.rules, now_us));
            let plan = growth.observe(now_us, &written(&stream));
            if !plan.is_empty() {
                split(account, &stream, &plan);
            }
            watched.insert(key, growth);
        }
        self.streams = watched;
    }
}

fn written(stream: &DataStream) -> Vec<Written> {
    let of = |shard: &Arc<Shard>| {
        let (records, bytes) = shard.written();
        Written { shard: shard.number, records, bytes, divisible: shard.range.start < shard.range.end }
    };
    stream.topology().open().iter().map(of).collect()
}

/// Splits shards in the middle. What cannot be split now is told and left: the next plan names it again.
fn split(account: &Account, stream: &DataStream, shards: &[u32]) {
    let plan = |meta: &mut StreamMeta, now_us: u64| {
        let growing = meta.mode == StreamMode::OnDemand && meta.status(now_us) == Some(StreamStatus::Active);
        let named = meta.open_ranges().into_iter().filter(|(number, _)| shards.contains(number));
        let halves: Vec<_> = named.map(halves).collect();
        if growing && !halves.is_empty() {
            Ok(halves)
        } else {
            Err(ApiError::new(ErrorKind::ResourceInUse, format!("Stream {} is changing otherwise.", meta.name)))
        }
    };
    match account.reshard(stream, plan) {
        Ok(()) => tracing::info!(stream = stream.name, ?shards, "an on-demand stream has grown"),
        Err(error) => tracing::warn!(stream = stream.name, ?shards, %error, "an on-demand stream could not grow"),
    }
}

fn halves(shard: OpenShard) -> Reshard {
    let (_, range) = shard;
    Reshard::split(shard, range.start + (range.end - range.start) / 2 + 1)
}

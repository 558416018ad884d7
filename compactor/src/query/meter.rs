//! What one query cost: the clock, the CPU and the store read before and after it.

use std::time::Instant;

use millrace_reports::record::{Engine, Layout, Measurement, PriceSheet};

use super::{Outcome, answer::Answer, failure::Failure, price};
use crate::{cpu, store::counting::CountingStore};

/// Runs from its making until [`Meter::finish`].
#[derive(Debug)]
pub(super) struct Meter {
    started: Instant,
    cpu_us: u64,
}

impl Meter {
    pub(super) fn start() -> Self {
        Self { started: Instant::now(), cpu_us: cpu::process_cpu_us() }
    }

    /// The measurement. A query that failed has no answer, but what it read until then was read.
    pub(super) fn finish(
        self,
        (layout, engine): (Layout, Engine),
        outcome: &Result<Outcome, Failure>,
        store: &CountingStore,
        prices: &PriceSheet,
    ) -> Measurement {
        let wall_us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let cpu_us = cpu::process_cpu_us().saturating_sub(self.cpu_us);
        let counts = store.counts().total();
        let (error, answer) = match outcome {
            Ok(outcome) => (None, outcome.answer.clone()),
            Err(failure) => (Some(failure.to_string()), Answer { rows: 0, hash: String::new() }),
        };
        Measurement {
            layout,
            engine,
            error,
            rows: answer.rows,
            answer: answer.hash,
            wall_us,
            cpu_us,
            bytes: counts.bytes,
            gets: counts.gets,
            lists: counts.lists,
            heads: counts.heads,
            billed_bytes: price::billed_bytes(counts.bytes, prices),
            cost_usd: price::cost_usd(&counts, prices),
        }
    }
}

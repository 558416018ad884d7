//! What goes wrong on purpose: a plan of faults, and for each call what the plan does to it.
//!
//! A decision is a pure function of the plan, its seed, the time since the plan began, the operation and the number of the
//! call: the same calls in the same order meet the same faults. Clocks and sleeping are the server's business (`wire`).

use std::sync::atomic::{AtomicU64, Ordering};

use millrace_scenarios::{CutWhen, Distribution, FaultKind, InjectedFault, StateAfter};

use self::draw::{Draws, Latency, Purpose};
use super::{error::ErrorKind, operations::Operation};

mod draw;

/// A fault cannot be injected as it is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultPlanError {
    /// It is narrowed to an operation that the local stream does not serve.
    #[error("a fault names the operation {0:?}, which the local stream does not serve")]
    Operation(String),
    /// It is of kind latency and does not say which, or leaves out what its distribution needs.
    #[error("a fault of kind latency does not say how long calls take")]
    Latency,
}

/// The faults of a server, in the order they were written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FaultPlan {
    seed: u64,
    faults: Vec<Planned>,
}

/// One fault, with everything it needs and nothing else.
#[derive(Debug, Clone, PartialEq)]
struct Planned {
    kind: FaultKind,
    effect: Effect,
    /// When it is at work, since the plan began, microseconds; the end is not part of it.
    from_us: u64,
    to_us: u64,
    /// The operations it touches; none means all.
    operations: Vec<Operation>,
    share: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Effect {
    Latency(Latency),
    Stall,
    Cut(Option<CutWhen>),
    Fail(ErrorKind),
    /// Of one shard, or of every one.
    Throttle(Option<u32>),
    Kill(StateAfter),
}

/// How a call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As it would without a fault.
    Answered,
    /// The connection is cut; the operation does not happen.
    CutBefore,
    /// The operation happens, then the connection is cut.
    CutAfter,
    /// The service fails; the operation does not happen.
    Failed(ErrorKind),
}

/// What the plan does to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decision {
    /// How long the call is held up before anything happens, microseconds.
    pub(crate) delay_us: u64,
    pub(crate) outcome: Outcome,
}

impl FaultPlan {
    /// A plan of these faults; every draw follows from `seed`.
    ///
    /// # Errors
    /// [`FaultPlanError`] when a fault was not checked by the scenario language and does not say what its kind needs.
    pub fn new(faults: &[InjectedFault], seed: u64) -> Result<Self, FaultPlanError> {
        Ok(Self { seed, faults: faults.iter().map(planned).collect::<Result<_, _>>()? })
    }

    /// Whether nothing goes wrong.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// What happens to a call that arrives `since_start_us` microseconds after the plan began. Delays add up; of several
    /// ends the first written is taken. `touch` is told the index of each fault that does something.
    fn decide(
        &self,
        since_start_us: u64,
        operation: Operation,
        call_number: u64,
        mut touch: impl FnMut(usize),
    ) -> Decision {
        let mut decision = Decision { delay_us: 0, outcome: Outcome::Answered };
        for (index, fault) in self.faults.iter().enumerate() {
            // These do not happen to calls: shards and the server ask for them.
            if matches!(fault.effect, Effect::Throttle(_) | Effect::Kill(_)) {
                continue;
            }
            let draws = Draws::new(self.seed, index as u64, call_number);
            if !fault.touches(since_start_us, operation, draws) {
                continue;
            }
            let delay_us = match fault.effect {
                Effect::Latency(latency) => latency.draw_us(draws),
                Effect::Stall => fault.to_us - since_start_us,
                Effect::Cut(_) | Effect::Fail(_) if decision.outcome != Outcome::Answered => continue,
                Effect::Cut(when) => {
                    decision.outcome = match when {
                        Some(CutWhen::Before) => Outcome::CutBefore,
                        Some(CutWhen::After) => Outcome::CutAfter,
                        None if draws.unit(Purpose::Side) < 0.5 => Outcome::CutBefore,
                        None => Outcome::CutAfter,
                    };
                    0
                }
                Effect::Fail(kind) => {
                    decision.outcome = Outcome::Failed(kind);
                    0
                }
                Effect::Throttle(_) | Effect::Kill(_) => 0,
            };
            decision.delay_us = decision.delay_us.saturating_add(delay_us);
            touch(index);
        }
        decision
    }

    /// The first fault that refuses this record or read of a shard, if one does.
    fn throttle(&self, since_start_us: u64, operations: &[Operation], shard: u32, number: u64) -> Option<usize> {
        self.faults.iter().enumerate().position(|(index, fault)| {
            let draws = Draws::new(self.seed, index as u64, number);
            matches!(fault.effect, Effect::Throttle(only) if only.is_none_or(|only| only == shard))
                && operations.iter().any(|operation| fault.touches(since_start_us, *operation, draws))
        })
    }

    /// When the server is to be gone, since the plan began, for how long, and with what it comes back; with the fault's
    /// place in the plan.
    fn kills(&self) -> impl Iterator<Item = (usize, PlannedKill)> {
        self.faults.iter().enumerate().filter_map(|(index, fault)| match fault.effect {
            Effect::Kill(state) => {
                Some((index, PlannedKill { from_us: fault.from_us, down_us: fault.to_us - fault.from_us, state }))
            }
            _ => None,
        })
    }

    /// Whether the server is to lose its state at some time.
    #[must_use]
    pub fn loses_state(&self) -> bool {
        self.kills().any(|(_, kill)| kill.state == StateAfter::Lost)
    }
}

/// A time for the server to be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlannedKill {
    /// Since the plan began, microseconds.
    pub(crate) from_us: u64,
    pub(crate) down_us: u64,
    pub(crate) state: StateAfter,
}

impl Planned {
    fn touches(&self, since_start_us: u64, operation: Operation, draws: Draws) -> bool {
        (self.from_us..self.to_us).contains(&since_start_us)
            && (self.operations.is_empty() || self.operations.contains(&operation))
            && (self.share >= 1.0 || draws.unit(Purpose::Share) < self.share)
    }
}

fn planned(fault: &InjectedFault) -> Result<Planned, FaultPlanError> {
    let operation = |name: &String| Operation::from_name(name).ok_or_else(|| FaultPlanError::Operation(name.clone()));
    let from_us = fault.at.as_us();
    Ok(Planned {
        kind: fault.kind,
        effect: match fault.kind {
            FaultKind::Latency => Effect::Latency(latency(fault).ok_or(FaultPlanError::Latency)?),
            FaultKind::Stall => Effect::Stall,
            FaultKind::Drop => Effect::Cut(fault.when),
            FaultKind::Error if fault.status == Some(503) => Effect::Fail(ErrorKind::ServiceUnavailable),
            FaultKind::Error => Effect::Fail(ErrorKind::InternalFailure),
            FaultKind::Throttle => Effect::Throttle(fault.shard),
            FaultKind::Kill => Effect::Kill(fault.state.unwrap_or(StateAfter::Kept)),
        },
        from_us,
        to_us: from_us.saturating_add(fault.duration.as_us()),
        operations: fault.operations.iter().map(operation).collect::<Result<_, _>>()?,
        share: fault.share.unwrap_or(1.0),
    })
}

fn latency(fault: &InjectedFault) -> Option<Latency> {
    let us = |span: Option<millrace_scenarios::Span>| span.map(|span| span.as_us() as f64);
    Some(match fault.distribution {
        None => Latency::Constant { us: us(fault.latency)? },
        Some(Distribution::Lognormal) => Latency::Lognormal { p50_us: us(fault.p50)?, p99_us: us(fault.p99)? },
        Some(Distribution::Uniform) => Latency::Uniform { min_us: us(fault.min)?, max_us: us(fault.max)? },
        Some(Distribution::Exponential) => Latency::Exponential { mean_us: us(fault.mean)? },
    })
}

/// A fault and what it did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FaultCount {
    /// What went wrong.
    pub kind: FaultKind,
    /// When it began, microseconds since the plan began.
    pub from_us: u64,
    /// When it was over, microseconds since the plan began.
    pub to_us: u64,
    /// What it touched until now: calls; records and reads of a throttled shard; or how often it killed the server.
    pub calls: u64,
}

/// A plan at work: when it began, and what it has done.
#[derive(Debug)]
pub(crate) struct Injector {
    plan: FaultPlan,
    /// Microseconds since 1970 UTC; `u64::MAX` until it is known.
    start_us: AtomicU64,
    /// Calls since the plan began.
    calls: AtomicU64,
    /// Records and reads that shards have asked about.
    asked: AtomicU64,
    /// Calls that each fault has touched.
    touched: Vec<AtomicU64>,
}

impl Injector {
    pub(crate) fn new(plan: FaultPlan) -> Self {
        let touched = plan.faults.iter().map(|_| AtomicU64::new(0)).collect();
        Self { plan, start_us: AtomicU64::new(u64::MAX), calls: AtomicU64::new(0), asked: AtomicU64::new(0), touched }
    }

    /// Fixes the time that the plan's times are counted from.
    pub(crate) fn start(&self, start_us: u64) {
        self.start_us.store(start_us, Ordering::Relaxed);
    }

    /// What happens to a call that arrives now. Before the plan begins nothing does.
    pub(crate) fn decide(&self, now_us: u64, operation: Operation) -> Decision {
        let Some(since_start_us) = now_us.checked_sub(self.start_us.load(Ordering::Relaxed)) else {
            return Decision { delay_us: 0, outcome: Outcome::Answered };
        };
        let call_number = self.calls.fetch_add(1, Ordering::Relaxed);
        self.plan.decide(since_start_us, operation, call_number, |index| self.touch(index))
    }

    /// Whether a shard refuses its next record or read, which these operations bring.
    pub(crate) fn throttles(&self, now_us: u64, operations: &[Operation], shard: u32) -> bool {
        let Some(since_start_us) = now_us.checked_sub(self.start_us.load(Ordering::Relaxed)) else { return false };
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let fault = self.plan.throttle(since_start_us, operations, shard, number);
        fault.inspect(|index| self.touch(*index)).is_some()
    }

    /// The times for the server to be gone.
    pub(crate) fn kills(&self) -> Vec<(usize, PlannedKill)> {
        self.plan.kills().collect()
    }

    /// Counts what a fault did.
    pub(crate) fn touch(&self, index: usize) {
        if let Some(touched) = self.touched.get(index) {
            touched.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn counts(&self) -> Vec<FaultCount> {
        let count = |(fault, touched): (&Planned, &AtomicU64)| FaultCount {
            kind: fault.kind,
            from_us: fault.from_us,
            to_us: fault.to_us,
            calls: touched.load(Ordering::Relaxed),
        };
        self.plan.faults.iter().zip(&self.touched).map(count).collect()
    }
}

#[cfg(test)]
mod tests;

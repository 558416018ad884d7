//! Trace replay: records are due as far apart as the events they tell of, divided by a speed.
//!
//! A file of events is nearly in order, never quite. Due times may not go back, so an event from before the latest one so
//! far is due together with that one, and counted: whoever reads the run can see how much of the trace was bent.

use millrace_reports::record::TraceRecord;

/// What a scenario says about its trace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trace {
    /// Seconds of event time per second.
    pub speed: f64,
    /// The load ends after this long, microseconds; absent when it ends with the source.
    pub total_us: Option<u64>,
}

impl Trace {
    /// The due times of events that are still to come.
    #[must_use]
    pub const fn iter(self) -> TraceTimes {
        TraceTimes { trace: self, first_event_us: None, latest_event_us: 0, latest_due_us: 0, counts: NOTHING }
    }
}

const NOTHING: TraceRecord = TraceRecord { out_of_order: 0, simultaneous: 0, untimed: 0 };

/// The due times of a trace, one event after the other.
#[derive(Debug, Clone)]
pub struct TraceTimes {
    trace: Trace,
    first_event_us: Option<i64>,
    /// The latest event so far; none before the first.
    latest_event_us: i64,
    latest_due_us: u64,
    counts: TraceRecord,
}

impl TraceTimes {
    /// When the record of this event is due, as an offset from the start of the load; absent past its end. A record
    /// without a time is due with the one before it, or at once.
    pub fn next_due(&mut self, event_us: Option<i64>) -> Option<u64> {
        let Some(event_us) = event_us else {
            self.counts.untimed += 1;
            return Some(self.latest_due_us);
        };
        let Some(first_us) = self.first_event_us else {
            (self.first_event_us, self.latest_event_us) = (Some(event_us), event_us);
            return Some(self.latest_due_us);
        };
        if event_us > self.latest_event_us {
            let due_us = (event_us.abs_diff(first_us) as f64 / self.trace.speed).round() as u64;
            if self.trace.total_us.is_some_and(|total_us| due_us >= total_us) {
                return None;
            }
            (self.latest_event_us, self.latest_due_us) = (event_us, due_us);
        } else if event_us == self.latest_event_us {
            self.counts.simultaneous += 1;
        } else {
            self.counts.out_of_order += 1;
        }
        Some(self.latest_due_us)
    }

    /// How much of the trace could not be kept as it was.
    #[must_use]
    pub const fn counts(&self) -> TraceRecord {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn due(speed: f64, total_us: Option<u64>, events: &[Option<i64>]) -> (Vec<Option<u64>>, TraceRecord) {
        let mut times = Trace { speed, total_us }.iter();
        let due = events.iter().map(|event| times.next_due(*event)).collect();
        (due, times.counts())
    }

    #[test]
    fn an_hour_of_events_takes_a_second_at_3600() {
        const HOUR: i64 = 3_600_000_000;
        let start = 1_454_910_360_000_000;
        let (due, counts) = due(3_600.0, None, &[0, HOUR, 3 * HOUR / 2, 24 * HOUR].map(|us| Some(start + us)));
        assert_eq!(due, [0, 1_000_000, 1_500_000, 24_000_000].map(Some));
        assert_eq!(counts, NOTHING);
    }

    #[test]
    fn due_times_never_go_back_and_what_was_bent_is_counted() {
        let events = [None, Some(100), Some(300), Some(200), Some(50), None, Some(300), Some(301), Some(-5), Some(400)];
        let (due, counts) = due(1.0, None, &events);
        assert_eq!(due, [0, 0, 200, 200, 200, 200, 200, 201, 201, 300].map(Some));
        assert_eq!(counts, TraceRecord { out_of_order: 3, simultaneous: 1, untimed: 2 });
    }

    #[test]
    fn a_trace_ends_where_it_was_told_to() {
        let (due, counts) = due(2.0, Some(10), &[Some(0), Some(18), Some(19), Some(20)]);
        assert_eq!(due, [Some(0), Some(9), None, None], "19 / 2 rounds to 10, which is the end");
        assert_eq!(counts.simultaneous, 0);
    }

    #[test]
    fn events_before_1970_and_at_the_ends_of_time_have_a_due_time() {
        let (due, _) = due(1e3, None, &[Some(i64::MIN), Some(-1), Some(i64::MAX)]);
        assert!(due.is_sorted() && due[2].is_some_and(|us| us > 18_000_000_000_000_000));
    }

    proptest! {
        #[test]
        fn due_times_are_sorted_and_every_record_is_counted_once(
            events in prop::collection::vec(prop::option::of(-1_000_i64..1_000), 0..200),
            speed in 0.01_f64..1e4,
        ) {
            let (due, counts) = due(speed, None, &events);
            prop_assert!(due.is_sorted());
            let mut latest = None;
            let ahead = events.iter().flatten().filter(|event| {
                let ahead = latest.is_none_or(|latest| *event > latest);
                latest = latest.max(Some(*event));
                ahead
            });
            let counted = counts.out_of_order + counts.simultaneous + counts.untimed;
            prop_assert_eq!(ahead.count() as u64 + counted, events.len() as u64);
        }
    }
}

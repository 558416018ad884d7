//! What says when records are due: the stages of a schedule, or the events of the source itself.
//!
//! A schedule of records knows every due time beforehand. A schedule of bytes needs the size of each record for the next
//! one, and a trace the event of each record for its own, so payloads and due times are drawn together, by a `Feed`.

use millrace_reports::record::TraceRecord;
use millrace_scenarios::{Arrival, Load, RateUnit, Span};

use crate::{
    schedule::{DueTimes, Schedule},
    slice::Slice,
    source::{Payload, PayloadSource, SourceError},
    trace::{Trace, TraceTimes},
};

/// What says when records are due.
#[derive(Debug, Clone, PartialEq)]
pub enum Timetable {
    /// The load's stages.
    Stages(Schedule),
    /// The source's events.
    Trace(Trace),
}

impl Timetable {
    /// What a scenario's `[load]` asks for.
    #[must_use]
    pub fn new(load: &Load, seed: u64) -> Self {
        match load.arrival {
            Arrival::Trace => Self::Trace(Trace { speed: load.trace_speed, total_us: load.trace_for.map(Span::as_us) }),
            Arrival::Constant | Arrival::Poisson => Self::Stages(Schedule::new(load, seed)),
        }
    }

    /// The same, with all rates from each time on multiplied by a factor. A trace has no rates, and stays as it is.
    #[must_use]
    pub fn with_rate_changes(self, changes: &[(u64, f64)]) -> Self {
        match self {
            Self::Stages(schedule) => Self::Stages(schedule.with_rate_changes(changes)),
            Self::Trace(trace) => Self::Trace(trace),
        }
    }

    /// How long the load lasts, microseconds; absent when it ends with its source.
    #[must_use]
    pub fn total_us(&self) -> Option<u64> {
        match self {
            Self::Stages(schedule) => Some(schedule.total_us()),
            Self::Trace(trace) => trace.total_us,
        }
    }

    /// The schedule, where it knows due times and counts beforehand: stages whose rates are records per second.
    #[must_use]
    pub fn known(&self) -> Option<&Schedule> {
        match self {
            Self::Stages(schedule) if schedule.unit() == RateUnit::Records => Some(schedule),
            Self::Stages(_) | Self::Trace(_) => None,
        }
    }
}

/// What comes next.
#[derive(Debug)]
pub(crate) enum Cue {
    /// A record, due at an offset in microseconds from the start of the load.
    Due { offset_us: u64, payload: Payload },
    /// The schedule is over.
    ScheduleEnd,
    /// The source has no more.
    SourceEnd,
}

/// One worker's payloads with their due times.
pub(crate) struct Feed {
    source: Box<dyn PayloadSource>,
    due: Due,
    /// Which records are handed out. Of a schedule of bytes and of a trace all are: each needs the one before it.
    slice: Slice,
    handed_out: u64,
}

enum Due {
    Stages(DueTimes),
    Trace(TraceTimes),
}

impl Feed {
    pub(crate) fn new(source: Box<dyn PayloadSource>, timetable: &Timetable, slice: Slice) -> Self {
        let slice = if timetable.known().is_some() { slice } else { Slice::default() };
        let due = match timetable {
            Timetable::Stages(schedule) => Due::Stages(schedule.iter()),
            Timetable::Trace(trace) => Due::Trace(trace.iter()),
        };
        Self { source, due, slice, handed_out: 0 }
    }

    /// The next record; `previous_bytes` is the size of the one before it, data and key, as it is sent.
    pub(crate) fn next(&mut self, previous_bytes: u64) -> Result<Cue, SourceError> {
        let gap = self.slice.gap_before(self.handed_out);
        self.handed_out += 1;
        match &mut self.due {
            // The schedule is asked first: a source is not read past the schedule's end.
            Due::Stages(due) => {
                let offset_us = match usize::try_from(gap) {
                    Ok(gap) if gap > 0 => due.nth(gap),
                    _ => due.next_due(previous_bytes),
                };
                let Some(offset_us) = offset_us else { return Ok(Cue::ScheduleEnd) };
                self.source.skip(gap)?;
                let payload = self.source.next()?;
                Ok(payload.map_or(Cue::SourceEnd, |payload| Cue::Due { offset_us, payload }))
            }
            Due::Trace(due) => {
                let Some(payload) = self.source.next()? else { return Ok(Cue::SourceEnd) };
                let offset_us = due.next_due(payload.event_us);
                Ok(offset_us.map_or(Cue::ScheduleEnd, |offset_us| Cue::Due { offset_us, payload }))
            }
        }
    }

    /// What a trace has met so far; absent where there is none.
    pub(crate) fn trace_counts(&self) -> Option<TraceRecord> {
        match &self.due {
            Due::Stages(_) => None,
            Due::Trace(due) => Some(due.counts()),
        }
    }

    pub(crate) fn rejected_rows(&self) -> u64 {
        self.source.rejected_rows()
    }

    pub(crate) fn finish(&mut self) -> Result<(), SourceError> {
        self.source.finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Payloads of given sizes and event times; counts how many were asked for.
    struct Given {
        rows: std::vec::IntoIter<Option<i64>>,
        asked: u64,
    }

    impl PayloadSource for Given {
        fn next(&mut self) -> Result<Option<Payload>, SourceError> {
            self.asked += 1;
            let payload = |event_us| Payload { json: b"{}".to_vec(), txn_timestamp: false, event_us };
            Ok(self.rows.next().map(payload))
        }
        fn rejected_rows(&self) -> u64 {
            self.asked
        }
        fn finish(&mut self) -> Result<(), SourceError> {
            Ok(())
        }
    }

    fn feed(load: serde_json::Value, events: &[Option<i64>]) -> (Feed, Timetable) {
        let timetable = Timetable::new(&serde_json::from_value(load).unwrap(), 1);
        let rows: Vec<_> = events.to_vec();
        let rows = rows.into_iter();
        (Feed::new(Box::new(Given { rows, asked: 0 }), &timetable, Slice::default()), timetable)
    }

    fn due(feed: &mut Feed, bytes: u64) -> Option<u64> {
        match feed.next(bytes).unwrap() {
            Cue::Due { offset_us, .. } => Some(offset_us),
            Cue::ScheduleEnd | Cue::SourceEnd => None,
        }
    }

    #[test]
    fn a_record_of_a_byte_schedule_waits_for_the_bytes_before_it() {
        let load = json!({
            "arrival": "constant", "unit": "bytes",
            "stages": [{"rate": 1000, "for": "1s"}, {"rate": 500, "for": "1s"}],
        });
        let (mut feed, timetable) = feed(load, &[None; 10]);
        assert_eq!(timetable.known(), None);
        let sizes = [0, 100, 700, 150, 300, 500];
        let found: Vec<_> = sizes.iter().map(|bytes| due(&mut feed, *bytes)).collect();
        // 100, 800 and 950 bytes at 1000 a second; then 1000, and 250 more at 500 a second; 1750 is past the end.
        assert_eq!(found, [Some(0), Some(100_000), Some(800_000), Some(950_000), Some(1_500_000), None]);
    }

    #[test]
    fn a_source_is_not_read_past_the_end_of_its_schedule() {
        let load = json!({"arrival": "constant", "stages": [{"rate": 10, "for": "300ms"}]});
        let (mut feed, timetable) = feed(load, &[None; 10]);
        assert_eq!(std::iter::from_fn(|| due(&mut feed, 5)).collect::<Vec<_>>(), [0, 100_000, 200_000]);
        assert!(matches!(feed.next(5).unwrap(), Cue::ScheduleEnd));
        assert_eq!(feed.rejected_rows(), 3, "asked once for each record");
        assert!(timetable.known().is_some() && feed.trace_counts().is_none());
    }

    #[test]
    fn a_trace_is_due_with_its_events_and_ends_with_them_or_when_told() {
        let events = [Some(5_000_000), Some(6_000_000), None, Some(9_000_000)];
        let (mut open, timetable) = feed(json!({"arrival": "trace", "trace_speed": 2.0}), &events);
        assert_eq!(timetable.total_us(), None);
        assert_eq!(std::iter::from_fn(|| due(&mut open, 5)).collect::<Vec<_>>(), [0, 500_000, 500_000, 2_000_000]);
        assert!(matches!(open.next(5).unwrap(), Cue::SourceEnd));
        assert_eq!(open.trace_counts().map(|counts| counts.untimed), Some(1));

        let cut = json!({"arrival": "trace", "trace_speed": 2.0, "trace_for": "1s"});
        let (mut cut, timetable) = feed(cut, &events);
        assert_eq!(timetable.total_us(), Some(1_000_000));
        assert_eq!(std::iter::from_fn(|| due(&mut cut, 5)).collect::<Vec<_>>(), [0, 500_000, 500_000]);
        assert!(matches!(cut.next(5).unwrap(), Cue::SourceEnd), "the event past the end was the last");
    }
}

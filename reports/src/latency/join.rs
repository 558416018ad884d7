//! The latency of several workers as one: their intervals added, histogram by histogram, and every curve drawn anew.
//!
//! Nothing is averaged. An interval goes to the row in which it begins on the wall clock, so workers that did not start
//! together may be one row apart in the course over time; the total is exact in any case.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hdrhistogram::Histogram;
use millrace_scenarios::Hop;

use super::{HopRecorder, LatencyLog, OUTSIDE, histogram, outside_of, read::LoggedLatency};
use crate::{error::ReportError, record::HopLatency};

/// What the logs of all workers add up to.
#[derive(Debug, Clone, PartialEq)]
pub struct JoinedLatency {
    /// Every hop that was timed. Values below zero and above the range are not in the logs and are left at zero.
    pub hops: Vec<HopLatency>,
    /// How many records each log holds of each hop, in the order of the logs.
    pub counts: Vec<Vec<(Hop, u64)>>,
}

/// Adds `parts` up and writes the sum into `log`, whose origin becomes the earliest of theirs.
///
/// # Errors
/// [`ReportError::LogLine`] when an interval cannot be decoded or is not as long as the others; [`ReportError::Io`] when
/// `log` cannot be written.
pub fn join(parts: &[LoggedLatency], log: &Arc<LatencyLog>) -> Result<JoinedLatency, ReportError> {
    let origin_us = log.begin(parts.iter().map(|part| part.origin_us).min().unwrap_or_default());
    let hops_only = || parts.iter().flat_map(|part| &part.intervals).filter(|interval| interval.hop().is_some());
    let length_us = hops_only().map(|interval| interval.length_us).next().unwrap_or(1);
    let (mut rows, mut others) = (Vec::new(), BTreeMap::new());
    for (number, part) in parts.iter().enumerate() {
        for interval in &part.intervals {
            let start_us = (part.origin_us - origin_us.min(part.origin_us)).saturating_add(interval.start_us);
            let row = start_us / length_us;
            match interval.hop() {
                Some(_) if interval.length_us != length_us => {
                    return Err(interval.error("the interval is not as long as those of the other workers"));
                }
                Some(hop) => rows.push((row, hop, number, interval)),
                None => others.entry((row, interval.tag.as_str())).or_insert_with(Vec::new).push(interval),
            }
        }
    }
    let mut outside: BTreeMap<&str, Histogram<u64>> = BTreeMap::new();
    for ((row, tag), intervals) in others {
        let (mut sum, mut longest_us) = (histogram(), 0);
        for interval in intervals {
            if sum.add(&interval.histogram()?).is_err() {
                return Err(interval.error("the histogram does not fit to the others"));
            }
            longest_us = longest_us.max(interval.length_us);
        }
        log.append(tag, row.saturating_mul(length_us), Duration::from_micros(longest_us), &sum)?;
        if let Some(hop) = tag.strip_suffix(OUTSIDE) {
            // A sum of histograms of one shape is of that shape.
            let _ = outside.entry(hop).or_insert_with(histogram).add(&sum);
        }
    }
    rows.sort_by_key(|(row, hop, number, _)| (*row, *hop, *number));
    let mut recorders = Hop::ALL.map(|hop| HopRecorder::new(hop, Arc::clone(log), Duration::from_micros(length_us)));
    let mut counts = vec![Hop::ALL.map(|hop| (hop, 0)).to_vec(); parts.len()];
    for (row, hop, number, interval) in rows {
        let values = interval.histogram()?;
        if let Some((_, count)) = counts[number].iter_mut().find(|(counted, _)| *counted == hop) {
            *count += values.len();
        }
        if let Some(recorder) = recorders.iter_mut().find(|recorder| recorder.hop() == hop) {
            recorder.record_interval(row, &values);
        }
    }
    let hops: Result<Vec<_>, _> = recorders.into_iter().map(HopRecorder::finish).collect();
    let mut hops = hops?;
    for hop in &mut hops {
        hop.outside = outside.get(hop.hop.name()).map(outside_of);
    }
    hops.retain(|hop| hop.count > 0 || hop.outside.is_some());
    log.sync()?;
    Ok(JoinedLatency { hops, counts })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::window::MeasuredWindow;

    const ORIGIN_US: u64 = 1_700_000_000_000_000;

    /// Records as (time after `origin_us`, latency), written as a worker writes them.
    fn logged(path: &Path, origin_us: u64, interval: Duration, records: &[(u64, i64)]) -> HopLatency {
        let log = LatencyLog::create(path).unwrap();
        log.begin(origin_us);
        let mut recorder = HopRecorder::new(Hop::Read, Arc::clone(&log), interval);
        records.iter().for_each(|(at_us, latency_us)| recorder.record(origin_us, origin_us + at_us, *latency_us, 1));
        let hop = recorder.finish().unwrap();
        log.sync().unwrap();
        hop
    }

    #[test]
    fn workers_that_started_together_are_joined_to_what_one_would_have_measured() {
        let folder = tempfile::tempdir().unwrap();
        let second = Duration::from_secs(1);
        let all: Vec<(u64, i64)> = (0..4_000).map(|k| (k * 1_000, (k * k % 7_919) as i64)).collect();
        let alone = logged(&folder.path().join("alone"), ORIGIN_US, second, &all);
        let parts: Vec<_> = (0..3)
            .map(|index| {
                let path = folder.path().join(format!("worker-{index}"));
                let own: Vec<_> = all.iter().skip(index).step_by(3).copied().collect();
                logged(&path, ORIGIN_US, second, &own);
                LoggedLatency::read(&path).unwrap()
            })
            .collect();
        let path = folder.path().join("joined");
        let joined = join(&parts, &LatencyLog::create(&path).unwrap()).unwrap();
        assert_eq!(joined.hops, std::slice::from_ref(&alone));
        let counts: Vec<_> =
            joined.counts.iter().map(|of| of.iter().find(|(hop, _)| *hop == Hop::Read).unwrap().1).collect();
        assert_eq!(counts, [1_334, 1_333, 1_333]);
        let again = join(&[LoggedLatency::read(&path).unwrap()], &LatencyLog::discard(ORIGIN_US)).unwrap();
        assert_eq!(again.hops, [alone], "the joined log holds the same");
    }

    #[test]
    fn a_worker_that_started_later_is_placed_by_the_wall_clock() {
        let folder = tempfile::tempdir().unwrap();
        let second = Duration::from_secs(1);
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        logged(&a, ORIGIN_US, second, &[(0, 10), (1_100_000, 20)]);
        logged(&b, ORIGIN_US + 1_400_000, second, &[(0, 30), (700_000, 50), (1_000_000, 40)]);
        let parts = [LoggedLatency::read(&b).unwrap(), LoggedLatency::read(&a).unwrap()];
        let joined = join(&parts, &LatencyLog::create(&folder.path().join("c")).unwrap()).unwrap();
        let rows: Vec<_> = joined.hops[0].intervals.iter().map(|row| (row.start_us, row.count, row.max_us)).collect();
        assert_eq!(rows, [(0, 1, 10), (1_000_000, 3, 50), (2_000_000, 1, 40)]);
        assert_eq!(joined.hops[0].count, 5);
    }

    #[test]
    fn warm_up_and_cool_down_of_the_workers_stay_apart_and_are_summed_up() {
        let folder = tempfile::tempdir().unwrap();
        let written = |name: &str, warm: i64| {
            let path = folder.path().join(name);
            let log = LatencyLog::create(&path).unwrap();
            log.begin(ORIGIN_US);
            log.measure_within(MeasuredWindow::new(ORIGIN_US, 2_000_000, 1_000_000, 0));
            let mut recorder = HopRecorder::new(Hop::Read, Arc::clone(&log), Duration::from_secs(1));
            recorder.record(ORIGIN_US, ORIGIN_US + 10, warm, 1);
            recorder.record(ORIGIN_US + 1_000_000, ORIGIN_US + 1_000_010, 10, 1);
            recorder.finish().unwrap();
            log.sync().unwrap();
            LoggedLatency::read(&path).unwrap()
        };
        let parts = [written("a", 700), written("b", 900)];
        let joined = join(&parts, &LatencyLog::create(&folder.path().join("c")).unwrap()).unwrap();
        let [hop] = &joined.hops[..] else { panic!("{joined:?}") };
        let outside = hop.outside.unwrap();
        assert_eq!((hop.count, hop.max_us, outside.count, outside.p50_us, outside.max_us), (2, 10, 2, 700, 900));
    }

    #[test]
    fn what_is_no_hop_is_added_up_as_well() {
        let folder = tempfile::tempdir().unwrap();
        let written = |name: &str, values: &[u64]| {
            let path = folder.path().join(name);
            let log = LatencyLog::create(&path).unwrap();
            log.begin(ORIGIN_US);
            let mut histogram = histogram();
            values.iter().for_each(|value| histogram.record(*value).unwrap());
            log.append("hiccup", 0, Duration::from_secs(1), &histogram).unwrap();
            log.sync().unwrap();
            LoggedLatency::read(&path).unwrap()
        };
        let parts = [written("a", &[1, 2]), written("b", &[3])];
        let path = folder.path().join("c");
        let joined = join(&parts, &LatencyLog::create(&path).unwrap()).unwrap();
        assert!(joined.hops.is_empty());
        let read = LoggedLatency::read(&path).unwrap();
        assert_eq!((read.intervals.len(), read.intervals[0].tag.as_str()), (1, "hiccup"));
        assert!(read.intervals[0].histogram().unwrap() == written("d", &[1, 2, 3]).intervals[0].histogram().unwrap());
    }

    #[test]
    fn intervals_of_another_length_are_another_runs() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        logged(&a, ORIGIN_US, Duration::from_secs(1), &[(0, 10)]);
        logged(&b, ORIGIN_US, Duration::from_secs(2), &[(0, 10)]);
        let parts = [LoggedLatency::read(&a).unwrap(), LoggedLatency::read(&b).unwrap()];
        let error = join(&parts, &LatencyLog::discard(0)).unwrap_err().to_string();
        assert!(error.contains("not as long"), "{error}");
    }
}

//! Histograms, logs and windows of known contents.

use std::io::BufRead;

use hdrhistogram::serialization::{
    Deserializer,
    interval_log::{IntervalLogIterator, LogEntry},
};

use super::*;

const ORIGIN_US: u64 = 1_700_000_000_000_000;

#[test]
fn a_known_distribution_comes_back_within_a_tenth_of_a_percent() {
    let mut recorder = HopRecorder::new(Hop::Response, LatencyLog::discard(ORIGIN_US), Duration::from_secs(1));
    for k in 1..=100_000_u64 {
        recorder.record(0, ORIGIN_US + k * 100, i64::try_from(k).unwrap(), 1);
    }
    let summary = recorder.finish().unwrap();
    assert_eq!(summary.count, 100_000);
    assert_eq!(summary.intervals.len(), 11);
    for (percentile, want) in [(50.0, 50_000.0), (99.0, 99_000.0), (99.9, 99_900.0)] {
        let got = summary.value_at(percentile) as f64;
        assert!((got / want - 1.0).abs() < 0.001, "p{percentile}: {got}");
    }
    assert!((summary.mean_us / 50_000.5 - 1.0).abs() < 0.001);
}

#[test]
fn intervals_in_the_log_sum_exactly_to_the_total() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latency.hlog");
    let log = LatencyLog::create(&path).unwrap();
    log.begin(ORIGIN_US);
    let mut recorder = HopRecorder::new(Hop::Lag, Arc::clone(&log), Duration::from_secs(1));
    for k in 0..5_000_u64 {
        recorder.record(0, ORIGIN_US + k * 1_000, i64::try_from(k * k % 7_919).unwrap(), 1 + k % 3);
    }
    let summary = recorder.finish().unwrap();
    log.sync().unwrap();

    let text = std::fs::read(&path).unwrap();
    assert!(text.lines().next().unwrap().unwrap().contains("1.3"));
    let (intervals, sum) = tagged(&text, "lag");
    assert_eq!(intervals, 5);
    assert_eq!(sum.len(), summary.count);
    assert_eq!(curve(&sum), summary.curve);
    assert_eq!(summary.outside, None);
}

/// How many intervals a log has under a tag, and their sum.
fn tagged(log: &[u8], tag: &str) -> (u64, Histogram<u64>) {
    let (mut intervals, mut sum) = (0, histogram());
    for entry in IntervalLogIterator::new(log) {
        let LogEntry::Interval(interval) = entry.unwrap() else { continue };
        if interval.tag().unwrap().as_str() != tag {
            continue;
        }
        let bytes =
            base64::Engine::decode(&base64::engine::general_purpose::STANDARD, interval.encoded_histogram()).unwrap();
        let part: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
        sum.add(part).unwrap();
        intervals += 1;
    }
    (intervals, sum)
}

#[test]
fn warm_up_and_cool_down_are_measured_apart_and_each_tag_sums_to_its_total() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latency.hlog");
    let log = LatencyLog::create(&path).unwrap();
    log.begin(ORIGIN_US);
    log.measure_within(MeasuredWindow::new(ORIGIN_US, 10_000_000, 3_000_000, 2_000_000));
    let mut recorder = HopRecorder::new(Hop::Response, Arc::clone(&log), Duration::from_secs(1));
    for k in 0..10_000_u64 {
        let due_us = ORIGIN_US + k * 1_000;
        // What is due at the edges is slow, and answered in an interval of the other side.
        let latency_us = if (3_000..8_000).contains(&k) { 100 } else { 700_000 };
        recorder.record(due_us, due_us + latency_us, latency_us.cast_signed(), 1);
    }
    assert_eq!(recorder.count(), 10_000);
    let summary = recorder.finish().unwrap();
    log.sync().unwrap();
    let text = std::fs::read(&path).unwrap();
    let (judged, outside) = (tagged(&text, "response").1, tagged(&text, "response_outside").1);
    assert_eq!((summary.count, summary.max_us), (5_000, 100));
    assert_eq!((judged.len(), curve(&judged)), (5_000, summary.curve.clone()));
    let found = summary.outside.unwrap();
    assert_eq!((found.count, outside.len(), found.max_us), (5_000, 5_000, outside.max()));
    assert_eq!(found.p50_us, outside.value_at_quantile(0.5));
    assert_eq!(summary.intervals.iter().map(|row| row.count).sum::<u64>(), 10_000, "the course has all of it");
}

#[test]
fn negative_and_absurd_values_are_counted_and_named_not_dropped() {
    let mut recorder = HopRecorder::new(Hop::Arrival, LatencyLog::discard(0), Duration::from_secs(1));
    recorder.record(0, 0, -5, 2);
    recorder.record(0, 0, i64::MAX, 3);
    let summary = recorder.finish().unwrap();
    assert_eq!((summary.count, summary.negative, summary.clamped), (5, 2, 3));
    assert_eq!(summary.min_us, 0);
}

#[test]
fn the_curve_stops_where_the_samples_stop() {
    let mut values = histogram();
    values.record_n(10, 1_000).unwrap();
    let last = curve(&values).iter().rev().nth(1).unwrap().percentile;
    assert!(last <= 99.0, "1,000 samples have ten above p99 and no more: {last}");
    assert!(curve(&histogram()).is_empty());
}

#[test]
fn memory_does_not_grow_with_the_number_of_records() {
    let mut recorder = HopRecorder::new(Hop::Read, LatencyLog::discard(0), Duration::from_secs(3_600));
    for k in 0..1_000_000_u64 {
        recorder.record(0, k, 1 + (k % 1_000) as i64, 1);
    }
    assert_eq!(recorder.judged.current.distinct_values(), histogram().distinct_values());
    assert!(recorder.intervals.is_empty());
}

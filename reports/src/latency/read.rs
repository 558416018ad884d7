//! `latency.hlog` read back: the head's origin, and every interval with its hop, its start and its histogram.
//!
//! Histograms stay encoded until they are asked for: one takes a quarter of a megabyte, and a long run has thousands.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use hdrhistogram::{Histogram, serialization::Deserializer};
use millrace_scenarios::Hop;

use super::histogram;
use crate::error::ReportError;

/// A log that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedLatency {
    /// What every start counts from: wall clock, microseconds since 1970.
    pub origin_us: u64,
    /// The intervals, in the file's order.
    pub intervals: Vec<LoggedInterval>,
}

/// One interval of one hop, or of what else was timed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedInterval {
    /// The hop's name, or what else was timed.
    pub tag: String,
    /// Start, microseconds after the log's origin.
    pub start_us: u64,
    /// Length, microseconds.
    pub length_us: u64,
    /// The histogram in V2 deflate compression and base64.
    encoded: String,
    place: Place,
}

/// Where an interval stands, for errors.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    path: PathBuf,
    line: usize,
}

impl Place {
    fn error(&self, reason: impl Into<String>) -> ReportError {
        ReportError::LogLine { path: self.path.clone(), line: self.line, reason: reason.into() }
    }
}

impl LoggedLatency {
    /// Reads a whole log.
    ///
    /// # Errors
    /// [`ReportError::Io`], or [`ReportError::LogLine`] with the first line that is not as [`LatencyLog`] writes it.
    ///
    /// [`LatencyLog`]: super::LatencyLog
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        let io = |source| ReportError::Io { path: path.to_owned(), source };
        let mut origin_us = None;
        let mut intervals = Vec::new();
        let mut last_line = 0;
        for (index, text) in BufReader::new(File::open(path).map_err(io)?).lines().enumerate() {
            let place = Place { path: path.to_owned(), line: index + 1 };
            last_line = place.line;
            let text = text.map_err(|error| match error.kind() {
                std::io::ErrorKind::InvalidData => place.error("it is not text"),
                _ => io(error),
            })?;
            if let Some(base) = text.strip_prefix("#[BaseTime: ") {
                let seconds = base.split(' ').next().unwrap_or(base);
                origin_us = Some(micros(seconds).ok_or_else(|| place.error(format!("{seconds:?} is no time")))?);
            } else if text.starts_with("Tag=") {
                intervals.push(interval(&text, place)?);
            } else if !text.starts_with('#') && !text.starts_with("\"StartTimestamp\"") {
                return Err(place.error("it is neither a comment nor an interval with a tag"));
            }
        }
        let head = Place { path: path.to_owned(), line: last_line };
        let origin_us = origin_us.ok_or_else(|| head.error("the file ends without a BaseTime"))?;
        Ok(Self { origin_us, intervals })
    }
}

impl LoggedInterval {
    /// The hop; absent when something else was timed.
    #[must_use]
    pub fn hop(&self) -> Option<Hop> {
        Hop::ALL.into_iter().find(|hop| hop.name() == self.tag)
    }

    /// The histogram.
    ///
    /// # Errors
    /// [`ReportError::LogLine`] when it cannot be decoded or is of another shape than [`histogram`].
    pub fn histogram(&self) -> Result<Histogram<u64>, ReportError> {
        let bytes = STANDARD.decode(&self.encoded).map_err(|e| self.error(format!("no base64: {e}")))?;
        let values: Histogram<u64> =
            Deserializer::new().deserialize(&mut &bytes[..]).map_err(|e| self.error(format!("no histogram: {e}")))?;
        let ours = histogram();
        if (values.low(), values.high(), values.sigfig()) != (ours.low(), ours.high(), ours.sigfig()) {
            return Err(self.error("the histogram is not one of Millrace: its range or its precision is another"));
        }
        Ok(values)
    }

    /// An error that names the line this interval was read from.
    pub(super) fn error(&self, reason: impl Into<String>) -> ReportError {
        self.place.error(reason)
    }
}

/// `Tag=hop,start,length,max,histogram`.
fn interval(text: &str, place: Place) -> Result<LoggedInterval, ReportError> {
    let mut fields = text.splitn(5, ',');
    let mut field = |name: &str| fields.next().ok_or_else(|| place.error(format!("the {name} is missing")));
    let (tag, start, length, _max, encoded) =
        (field("tag")?, field("start")?, field("length")?, field("maximum")?, field("histogram")?);
    let tag = tag.strip_prefix("Tag=").unwrap_or(tag).to_owned();
    if tag.is_empty() {
        return Err(place.error("the tag is empty"));
    }
    let time =
        |name: &str, text: &str| micros(text).ok_or_else(|| place.error(format!("the {name} {text:?} is no time")));
    let (start_us, length_us) = (time("start", start)?, time("length", length)?);
    if length_us == 0 {
        return Err(place.error("the length is zero"));
    }
    Ok(LoggedInterval { tag, start_us, length_us, encoded: encoded.to_owned(), place })
}

/// Seconds with up to six decimals, as microseconds; never through a float, which would round a wall time.
fn micros(seconds: &str) -> Option<u64> {
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    if fraction.len() > 6 || !(whole.to_owned() + fraction).bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    whole.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(format!("{fraction:0<6}").parse().ok()?)
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use proptest::prelude::*;

    use super::*;
    use crate::latency::{HopRecorder, LatencyLog, MAX_LATENCY_US};

    const ORIGIN_US: u64 = 1_700_000_000_123_457;

    fn error_of(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("latency.hlog");
        std::fs::write(&path, text).unwrap();
        let read =
            LoggedLatency::read(&path).and_then(|log| log.intervals.iter().try_for_each(|i| i.histogram().map(drop)));
        let error = read.unwrap_err().to_string();
        assert!(error.contains("latency.hlog"), "{error}");
        error
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let head = "#[BaseTime: 1.000000 (seconds since epoch)]\n\"StartTimestamp\",\"...\"\n";
        for (line, reason) in [
            ("Tag=lag,0.0,1.0", "the maximum is missing"),
            ("Tag=,0.0,1.0,0,x", "the tag is empty"),
            ("Tag=lag,-1.0,1.0,0,x", "the start \"-1.0\" is no time"),
            ("Tag=lag,0.0,1e3,0,x", "the length \"1e3\" is no time"),
            ("Tag=lag,0.0,0.000,0,x", "the length is zero"),
            ("Tag=lag,0.0,1.0,0,*", "no base64"),
            ("Tag=lag,0.0,1.0,0,AAAA", "no histogram"),
            ("0.0,1.0,0,AAAA", "neither a comment nor an interval"),
        ] {
            let error = error_of(&format!("{head}{line}\n"));
            assert!(error.contains(reason) && error.contains("line 3"), "{line}: {error}");
        }
        assert!(error_of("").contains("without a BaseTime"));
        assert!(error_of("#[BaseTime: soon (seconds since epoch)]\n").contains("line 1"));
    }

    #[test]
    fn a_log_that_is_cut_off_within_a_line_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("latency.hlog");
        let log = LatencyLog::create(&path).unwrap();
        log.begin(ORIGIN_US);
        let mut recorder = HopRecorder::new(Hop::Lag, Arc::clone(&log), Duration::from_secs(1));
        (0..1_000).for_each(|k| recorder.record(0, ORIGIN_US, k * k, 1));
        recorder.finish().unwrap();
        log.sync().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(error_of(&text[..text.len() - 40]).contains("line 6"));
    }

    #[test]
    fn seconds_become_microseconds_exactly() {
        assert_eq!(micros("1700000000.123457"), Some(ORIGIN_US));
        assert_eq!((micros("3"), micros("0.5"), micros("1.000")), (Some(3_000_000), Some(500_000), Some(1_000_000)));
        for text in ["", "+1", "1.0000001", "1.2.3", "99999999999999999999", "18446744073709.999999"] {
            assert_eq!(micros(text), None, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn what_was_written_is_read(
            records in prop::collection::vec((0_usize..7, 0_u64..5_000_000, 0_i64..200_000_000_000, 1_u64..4), 0..60),
            interval_us in 1_u64..3_000_000,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("latency.hlog");
            let log = LatencyLog::create(&path).unwrap();
            log.begin(ORIGIN_US);
            let mut records = records;
            records.sort_by_key(|record| record.1);
            let mut expected = std::collections::BTreeMap::new();
            let mut recorders = Hop::ALL.map(|hop| HopRecorder::new(hop, Arc::clone(&log), Duration::from_micros(interval_us)));
            for (hop, seen_us, latency_us, count) in records {
                recorders[hop].record(0, ORIGIN_US + seen_us, latency_us, count);
                let key = (Hop::ALL[hop], seen_us / interval_us * interval_us);
                expected.entry(key).or_insert_with(histogram).saturating_record_n((latency_us as u64).min(MAX_LATENCY_US), count);
            }
            for recorder in recorders {
                recorder.finish().unwrap();
            }
            log.sync().unwrap();
            let read = LoggedLatency::read(&path).unwrap();
            prop_assert_eq!(read.origin_us, ORIGIN_US);
            prop_assert!(read.intervals.iter().all(|interval| interval.length_us == interval_us));
            let found: std::collections::BTreeMap<_, _> =
                read.intervals.iter().map(|i| ((i.hop().unwrap(), i.start_us), i.histogram().unwrap())).collect();
            prop_assert_eq!(found.len(), read.intervals.len());
            // Equal or not: a histogram that is printed fills the terminal.
            prop_assert!(found == expected, "{:?}", expected.keys());
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "(?s)(#\\[BaseTime: [0-9.]{0,12} x\\]\n)?(Tag=lag,[0-9.]{0,5},1,0,[A-Za-z0-9+/=]{0,40}\n)?.{0,40}") {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("latency.hlog");
            std::fs::write(&path, text).unwrap();
            if let Ok(log) = LoggedLatency::read(&path) {
                for interval in log.intervals {
                    let _ = interval.histogram();
                }
            }
        }
    }
}

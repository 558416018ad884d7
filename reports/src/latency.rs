//! Latency of a hop while it is measured: an HDR histogram per interval, streamed to `latency.hlog` as each interval ends.
//!
//! Only one interval's histogram and the running total are held, so memory does not grow with the run's length or rate.
//! The log is HdrHistogram's interval log (format 1.3, V2 deflate-compressed histograms, one tag per hop): the total is
//! exactly the sum of the intervals, because both come from the same records. Records due in warm-up or cool-down have a
//! tag and a total of their own, `<hop>_outside`, and never mix with the ones that are judged.

mod join;
mod read;

use std::{
    fmt,
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use hdrhistogram::{
    Histogram,
    serialization::{Serializer, V2DeflateSerializer},
};
use millrace_scenarios::Hop;

use crate::{
    error::ReportError,
    record::{CurvePoint, HopLatency, LatencyInterval, OutsideLatency},
    window::MeasuredWindow,
};

pub use join::{JoinedLatency, join};
pub use read::{LoggedInterval, LoggedLatency};

/// Largest latency told apart, in microseconds: one day. Anything above is counted at the top and reported as clamped.
pub const MAX_LATENCY_US: u64 = 86_400_000_000;
/// Significant decimal digits kept: a value is at most 0.1 % off.
pub const SIGNIFICANT_DIGITS: u8 = 3;
/// What follows a hop's name in the tag of records due in warm-up or cool-down.
const OUTSIDE: &str = "_outside";
/// A percentile is printed only when at least this many samples lie above it.
const SAMPLES_ABOVE: f64 = 10.0;

/// An empty histogram of the shape every hop uses, so that any two add exactly.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    match Histogram::new_with_bounds(1, MAX_LATENCY_US, SIGNIFICANT_DIGITS) {
        Ok(histogram) => histogram,
        Err(_) => unreachable!("the bounds are constants that satisfy the constructor"),
    }
}

/// The interval log of one run, shared by all hops.
#[derive(Debug)]
pub struct LatencyLog {
    path: PathBuf,
    origin_us: OnceLock<u64>,
    window: OnceLock<MeasuredWindow>,
    file: Mutex<Option<BufWriter<File>>>,
}

impl LatencyLog {
    /// Creates the log. What it counts from is said later, once, with [`begin`](Self::begin).
    ///
    /// # Errors
    /// [`ReportError::Io`] when the file cannot be written.
    pub fn create(path: &Path) -> Result<Arc<Self>, ReportError> {
        let open = || -> std::io::Result<BufWriter<File>> {
            let mut file = BufWriter::new(File::create(path)?);
            writeln!(file, "#[Histogram log format version 1.3]")?;
            Ok(file)
        };
        let file = open().map_err(|source| ReportError::Io { path: path.to_owned(), source })?;
        let (origin_us, window, file) = (OnceLock::new(), OnceLock::new(), Mutex::new(Some(file)));
        Ok(Arc::new(Self { path: path.to_owned(), origin_us, window, file }))
    }

    /// A log that keeps nothing, for a leg without a run folder.
    #[must_use]
    pub fn discard(origin_us: u64) -> Arc<Self> {
        let (origin_us, window, file) = (OnceLock::from(origin_us), OnceLock::new(), Mutex::new(None));
        Arc::new(Self { path: PathBuf::new(), origin_us, window, file })
    }

    /// Fixes the base of every start in the log, `origin_us` (wall clock, microseconds since 1970), and gives the one
    /// that holds: only the first counts. A record that comes before it fixes the base at its own time.
    pub fn begin(&self, origin_us: u64) -> u64 {
        *self.origin_us.get_or_init(|| {
            if let Some(file) = self.lock().as_mut() {
                // A disk that refuses this refuses the first interval too, which says so.
                let _ = write_head(file, origin_us);
            }
            origin_us
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<BufWriter<File>>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says which due times are judged, before the first record is due. Without it all are.
    pub fn measure_within(&self, window: MeasuredWindow) {
        // A load is prepared once; a second window would be another load's.
        let _ = self.window.set(window);
    }

    /// Whether a record that was due then is judged.
    #[must_use]
    pub fn is_judged(&self, due_us: u64) -> bool {
        self.window.get().is_none_or(|window| window.contains(due_us))
    }

    /// Appends one interval that began `start_us` after the origin. A tag is a hop's name, or what else was timed.
    ///
    /// # Errors
    /// [`ReportError`] when the histogram cannot be encoded or the disk refuses.
    pub fn append(
        &self,
        tag: &str,
        start_us: u64,
        length: Duration,
        values: &Histogram<u64>,
    ) -> Result<(), ReportError> {
        let mut guard = self.lock();
        let Some(file) = guard.as_mut() else { return Ok(()) };
        let mut encoded = Vec::new();
        V2DeflateSerializer::new()
            .serialize(values, &mut encoded)
            .map_err(|e| ReportError::Histogram { tag: tag.to_owned(), reason: e.to_string() })?;
        let line = format!(
            "Tag={tag},{},{},{:.3},{}",
            Seconds(start_us),
            Seconds(u64::try_from(length.as_micros()).unwrap_or(u64::MAX)),
            values.max() as f64 / 1e3,
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &encoded)
        );
        writeln!(file, "{line}").map_err(|source| ReportError::Io { path: self.path.clone(), source })
    }

    /// Writes what is buffered through to the disk. Call it when every hop has finished.
    ///
    /// # Errors
    /// [`ReportError::Io`] when the disk refuses.
    pub fn sync(&self) -> Result<(), ReportError> {
        let mut guard = self.lock();
        let Some(file) = guard.as_mut() else { return Ok(()) };
        file.flush()
            .and_then(|()| file.get_ref().sync_all())
            .map_err(|source| ReportError::Io { path: self.path.clone(), source })
    }
}

/// What is under one tag: the open interval and the sum of all before it.
#[derive(Debug)]
struct Part {
    current: Histogram<u64>,
    total: Histogram<u64>,
}

impl Part {
    fn new() -> Self {
        Self { current: histogram(), total: histogram() }
    }

    fn len(&self) -> u64 {
        self.total.len() + self.current.len()
    }

    /// Adds the open interval to the total and empties it.
    fn close(&mut self) {
        if self.total.add(&self.current).is_err() {
            unreachable!("both histograms have the same bounds");
        }
        self.current.reset();
    }
}

/// The lines before the first interval. Six decimals are all that a start has: it is in microseconds.
fn write_head(file: &mut BufWriter<File>, origin_us: u64) -> std::io::Result<()> {
    let seconds = Seconds(origin_us);
    writeln!(file, "#[BaseTime: {seconds} (seconds since epoch)]")?;
    writeln!(file, "#[StartTime: {seconds} (seconds since epoch)]")?;
    writeln!(file, "#[Values are microseconds; Interval_Max is in milliseconds]")?;
    writeln!(file, "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"")
}

/// Microseconds, written as seconds without going through a float.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// Takes the latencies of one hop. Owned by one task, or behind a mutex.
#[derive(Debug)]
pub struct HopRecorder {
    hop: Hop,
    log: Arc<LatencyLog>,
    interval_us: u64,
    index: u64,
    /// When the open interval ends; a time seen before needs no division. Zero until the first record.
    ends_us: u64,
    judged: Part,
    /// Records due in warm-up or cool-down; absent until there is one.
    outside: Option<Box<Part>>,
    intervals: Vec<LatencyInterval>,
    negative: u64,
    clamped: u64,
    failure: Option<ReportError>,
}

impl HopRecorder {
    /// A recorder for `hop` that closes an interval every `interval`.
    #[must_use]
    pub fn new(hop: Hop, log: Arc<LatencyLog>, interval: Duration) -> Self {
        let interval_us = u64::try_from(interval.as_micros()).unwrap_or(u64::MAX).max(1);
        Self {
            hop,
            log,
            interval_us,
            index: 0,
            ends_us: 0,
            judged: Part::new(),
            outside: None,
            intervals: Vec::new(),
            negative: 0,
            clamped: 0,
            failure: None,
        }
    }

    /// Takes `count` records due at `due_us` whose latency at this hop was `latency_us`, seen at `seen_us` (both wall
    /// clock, microseconds since 1970).
    ///
    /// The due time decides whether they are judged. Time seen decides the interval; a value that arrives after its
    /// interval was closed counts in the open one.
    pub fn record(&mut self, due_us: u64, seen_us: u64, latency_us: i64, count: u64) {
        if count == 0 {
            return;
        }
        if seen_us >= self.ends_us {
            let origin_us = self.log.begin(seen_us);
            self.open_interval(seen_us.saturating_sub(origin_us) / self.interval_us);
            self.ends_us = origin_us.saturating_add(self.interval_us.saturating_mul(self.index + 1));
        }
        let mut value = u64::try_from(latency_us).unwrap_or_else(|_| {
            self.negative += count;
            0
        });
        if value > MAX_LATENCY_US {
            self.clamped += count;
            value = MAX_LATENCY_US;
        }
        let part = match self.log.is_judged(due_us) {
            true => &mut self.judged,
            false => self.outside.get_or_insert_with(|| Box::new(Part::new())),
        };
        part.current.saturating_record_n(value, count);
    }

    /// Closes the open interval if it comes before number `index` from the log's origin on, and opens that one.
    fn open_interval(&mut self, index: u64) {
        if index > self.index {
            self.close_interval();
            self.index = index;
        }
    }

    /// The hop it takes.
    pub(crate) fn hop(&self) -> Hop {
        self.hop
    }

    /// Takes a whole interval that was measured elsewhere: number `index` from the log's origin on.
    pub(crate) fn record_interval(&mut self, index: u64, values: &Histogram<u64>) {
        self.open_interval(index);
        if self.judged.current.add(values).is_err() {
            unreachable!("both histograms have the same bounds");
        }
    }

    /// How many records were taken, those outside the window included.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.judged.len() + self.outside.as_ref().map_or(0, |part| part.len())
    }

    /// Every judged value so far.
    #[must_use]
    pub fn judged(&self) -> Histogram<u64> {
        let mut all = self.judged.total.clone();
        if all.add(&self.judged.current).is_err() {
            unreachable!("both histograms have the same bounds");
        }
        all
    }

    /// The last interval that was closed, for live progress.
    #[must_use]
    pub fn last_interval(&self) -> Option<&LatencyInterval> {
        self.intervals.last()
    }

    /// Closes the last interval and sums up.
    ///
    /// # Errors
    /// [`ReportError`] when an interval could not be written to the log.
    pub fn finish(mut self) -> Result<HopLatency, ReportError> {
        self.close_interval();
        match self.failure {
            Some(failure) => Err(failure),
            None => {
                let total = self.judged.total;
                Ok(HopLatency {
                    hop: self.hop,
                    count: total.len(),
                    min_us: if total.is_empty() { 0 } else { total.min() },
                    mean_us: if total.is_empty() { 0.0 } else { total.mean() },
                    max_us: total.max(),
                    negative: self.negative,
                    clamped: self.clamped,
                    curve: curve(&total),
                    intervals: self.intervals,
                    outside: self.outside.map(|part| outside_of(&part.total)),
                })
            }
        }
    }

    /// Writes each part of the open interval under its tag. The row over time has both: it shows the warm-up as well.
    fn close_interval(&mut self) {
        let start_us = self.index * self.interval_us;
        let mut all: Option<Histogram<u64>> = None;
        let tags = [self.hop.name().to_owned(), format!("{}{OUTSIDE}", self.hop)];
        let parts = [Some(&mut self.judged), self.outside.as_deref_mut()];
        for (tag, part) in tags.iter().zip(parts) {
            let Some(part) = part.filter(|part| !part.current.is_empty()) else { continue };
            let length = Duration::from_micros(self.interval_us);
            if let Err(failure) = self.log.append(tag, start_us, length, &part.current) {
                self.failure.get_or_insert(failure);
            }
            let added = all.get_or_insert_with(histogram).add(&part.current);
            if added.is_err() {
                unreachable!("both histograms have the same bounds");
            }
            part.close();
        }
        let Some(all) = all else { return };
        self.intervals.push(LatencyInterval {
            start_us,
            count: all.len(),
            p50_us: all.value_at_quantile(0.5),
            p99_us: all.value_at_quantile(0.99),
            max_us: all.max(),
        });
    }
}

fn outside_of(values: &Histogram<u64>) -> OutsideLatency {
    OutsideLatency {
        count: values.len(),
        p50_us: values.value_at_quantile(0.5),
        p99_us: values.value_at_quantile(0.99),
        max_us: values.max(),
    }
}

/// The percentiles of a curve: steps that halve the distance to 100 % with ten points each, and the ones people ask for.
fn percentiles() -> Vec<f64> {
    let mut points = vec![0.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99, 99.999, 99.9999];
    for step in 1..=200 {
        points.push(100.0 - 100.0 * 0.5_f64.powf(f64::from(step) / 10.0));
    }
    points.sort_by(f64::total_cmp);
    points.dedup_by(|a, b| (*a - *b).abs() < 1e-9);
    points
}

/// The percentile curve up to the last percentile with enough samples above it, then the maximum as 100.
#[must_use]
pub fn curve(values: &Histogram<u64>) -> Vec<CurvePoint> {
    if values.is_empty() {
        return Vec::new();
    }
    let supported = 100.0 * (1.0 - SAMPLES_ABOVE / values.len() as f64);
    let mut points: Vec<CurvePoint> = percentiles()
        .into_iter()
        .filter(|p| *p <= supported.max(50.0))
        .map(|percentile| CurvePoint { percentile, value_us: values.value_at_percentile(percentile) })
        .collect();
    points.push(CurvePoint { percentile: 100.0, value_us: values.max() });
    points
}

#[cfg(test)]
mod tests;

//! Where payloads come from: real rows, or readings that are a pure function of seed and place.
//!
//! Payload k is the same bytes for the same scenario and seed on any machine. Nothing here reads a clock, except the
//! live weather feed, which by its nature is not repeatable.

use std::path::Path;

use millrace_scenarios::{Source, SourceKind};

pub mod accidents;
mod draw;
mod error;
mod event_time;
mod field;
mod json;
mod sensors;
pub mod synthetic;
mod weather;

pub use accidents::AccidentRows;
pub use error::{LiveError, SourceError};
pub use field::field;

/// One record before it is stamped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// One compact JSON object without a newline; it ends with `}` so that fields can be added in place.
    pub json: Vec<u8>,
    /// Whether the stamp also adds [`TXN_FIELD`](crate::stamp::TXN_FIELD).
    pub txn_timestamp: bool,
    /// When the event it tells of happened, microseconds since 1970; absent when it does not say. Local times without an
    /// offset are taken as UTC.
    pub event_us: Option<i64>,
}

/// A sequence of payloads, taken one by one.
pub trait PayloadSource: Send {
    /// The next payload, counted from 0; `None` when the source has ended.
    ///
    /// # Errors
    /// [`SourceError`] when the source cannot go on; single bad rows are rejected and skipped, not errors.
    fn next(&mut self) -> Result<Option<Payload>, SourceError>;

    /// Leaves out the next `count` payloads, which are another worker's; so are the rows before them that cannot be
    /// read. A source that ends meanwhile says so with the next [`next`](Self::next).
    ///
    /// # Errors
    /// As [`next`](Self::next).
    fn skip(&mut self, count: u64) -> Result<(), SourceError> {
        for _ in 0..count {
            if self.next()?.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Rows that could not be read and were written to `rejects.ndjson` so far. Zero for sources that are not files.
    fn rejected_rows(&self) -> u64;

    /// Brings everything the source has written to the disk. Call once, after the last payload.
    ///
    /// # Errors
    /// [`SourceError::Io`] when `rejects.ndjson` cannot be written.
    fn finish(&mut self) -> Result<(), SourceError>;
}

/// Opens the source a scenario names. `run_dir` must exist; `rejects.ndjson` and the synthetic CSV are written there.
///
/// # Errors
/// A [`SourceError`] with [`is_configuration`](SourceError::is_configuration) when the scenario asks for something that
/// cannot be (no such file, not an accident CSV, no sensors, an epoch that is not RFC 3339), otherwise [`SourceError::Io`].
pub fn open(spec: &Source, seed: u64, run_dir: &Path) -> Result<Box<dyn PayloadSource>, SourceError> {
    Ok(match spec.kind {
        SourceKind::Accidents => {
            let path = match &spec.path {
                Some(path) => path.clone(),
                None => synthetic::generate(spec.rows, seed, run_dir)?,
            };
            Box::new(accidents::Accidents::open(&path, spec.at_end, run_dir)?)
        }
        SourceKind::Sensors => Box::new(sensors::Sensors::open(spec, seed)?),
        SourceKind::Weather if spec.live => Box::new(weather::Live::open(spec)?),
        SourceKind::Weather => Box::new(weather::Model::open(spec, seed)?),
    })
}

/// A `[source]` section written as JSON, for tests.
#[cfg(test)]
fn spec(json: &str) -> Source {
    serde_json::from_str(json).unwrap()
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    fn fingerprint(source: &str, seed: u64) -> String {
        let folder = tempfile::tempdir().unwrap();
        let mut source = open(&spec(source), seed, folder.path()).unwrap();
        let mut hash = Sha256::new();
        for _ in 0..1_000 {
            let payload = source.next().unwrap().unwrap();
            assert!(payload.json.starts_with(b"{") && payload.json.ends_with(b"}") && !payload.json.contains(&b'\n'));
            serde_json::from_slice::<serde_json::Value>(&payload.json).unwrap();
            hash.update(&payload.json);
            hash.update(b"\n");
        }
        source.finish().unwrap();
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A change here changes every recorded run: make it on purpose.
    #[test]
    fn the_first_thousand_payloads_of_every_source_have_their_golden_fingerprint() {
        let golden = [
            (r#"{"kind":"accidents"}"#, "6571bde1bf5da5ab29bbdc5826f4d30a119ec8e22d709f4b29d52a1368e8914c"),
            (r#"{"kind":"sensors"}"#, "55fc7a090f6b671f93f20d029696040df0b0127da407e308c97d4bbc75f70d57"),
            (r#"{"kind":"weather"}"#, "8ea1530617c94da4b6c237ae8993e9b79af6cea9de5819b64e2583b0081a6e05"),
        ];
        let found = golden.map(|(source, _)| (source, fingerprint(source, 42)));
        assert_eq!(found, golden.map(|(source, hash)| (source, hash.to_owned())));
    }

    #[test]
    fn another_seed_gives_other_payloads_and_the_same_seed_gives_the_same() {
        for source in [r#"{"kind":"accidents","rows":500}"#, r#"{"kind":"sensors"}"#, r#"{"kind":"weather"}"#] {
            assert_eq!(fingerprint(source, 7), fingerprint(source, 7), "{source}");
            assert_ne!(fingerprint(source, 7), fingerprint(source, 8), "{source}");
        }
    }

    #[test]
    fn a_source_that_cannot_be_is_a_configuration_error() {
        let folder = tempfile::tempdir().unwrap();
        for source in [
            r#"{"kind":"accidents","path":"/nonexistent/accidents.csv"}"#,
            r#"{"kind":"accidents","path":"/"}"#,
            r#"{"kind":"sensors","sensors":0}"#,
            r#"{"kind":"sensors","epoch":"yesterday"}"#,
            r#"{"kind":"weather","epoch":"2025-01-01"}"#,
            r#"{"kind":"weather","live":true,"url":"not a url"}"#,
        ] {
            let error = open(&spec(source), 1, folder.path()).err().unwrap();
            assert!(error.is_configuration(), "{source}: {error}");
        }
    }
}

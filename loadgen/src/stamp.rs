//! The stamp: run, number and due time as the last fields of every record, written by the pacer and read by every hop.
//!
//! Being last, it is written by replacing one brace and read from the end in a few comparisons. A record that passed
//! through something that reordered its fields is still read, the slow way; a record without a stamp is someone else's.

use std::borrow::Cow;

use chrono::{DateTime, SecondsFormat};
use millrace_scenarios::stamp::{DUE_FIELD, RUN_FIELD, SEQUENCE_FIELD};
use serde::Deserialize;

/// The field of accident records that says when they were sent on.
pub const TXN_FIELD: &str = "Txn_Timestamp";

/// A payload that cannot carry a stamp.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the payload is not a JSON object: it ends with {ending:?}")]
pub struct StampError {
    ending: String,
}

/// Writes the stamps of one run.
#[derive(Debug, Clone)]
pub struct Stamper {
    /// `"millrace_run":"<id>","millrace_seq":`
    head: String,
}

impl Stamper {
    /// A stamper for the run with this id.
    #[must_use]
    pub fn new(run_id: &str) -> Self {
        let id = serde_json::Value::from(run_id);
        Self { head: format!("\"{RUN_FIELD}\":{id},\"{SEQUENCE_FIELD}\":") }
    }

    /// Appends the stamp to the JSON object in `json`; with `txn_timestamp`, the due time as text as well.
    ///
    /// # Errors
    /// [`StampError`] when `json` does not end an object; it is left as it was.
    pub fn stamp(&self, json: &mut Vec<u8>, txn_timestamp: bool, sequence: u64, due_us: u64) -> Result<(), StampError> {
        let body = json.trim_ascii_end();
        let Some(open) = body.strip_suffix(b"}") else {
            let ending = String::from_utf8_lossy(&body[body.len().saturating_sub(20)..]).into_owned();
            return Err(StampError { ending });
        };
        let open = open.trim_ascii_end();
        let (end, empty) = (open.len(), open.ends_with(b"{"));
        json.truncate(end);
        if !empty {
            json.push(b',');
        }
        if txn_timestamp {
            json.extend_from_slice(format!("\"{TXN_FIELD}\":\"{}\",", iso(due_us)).as_bytes());
        }
        json.extend_from_slice(self.head.as_bytes());
        json.extend_from_slice(format!("{sequence},\"{DUE_FIELD}\":{due_us}}}").as_bytes());
        Ok(())
    }
}

/// Microseconds since 1970 as `2025-01-31T23:59:59.000001Z`.
fn iso(us: u64) -> String {
    i64::try_from(us)
        .ok()
        .and_then(DateTime::from_timestamp_micros)
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// What a record says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp<'a> {
    /// The run it belongs to.
    pub run: Cow<'a, str>,
    /// Its place in that run's schedule, from 0.
    pub sequence: u64,
    /// When it was due, microseconds since 1970.
    pub due_us: u64,
}

/// Reads the stamp of a record; absent when it has none.
#[must_use]
pub fn read(json: &[u8]) -> Option<Stamp<'_>> {
    read_from_end(json).or_else(|| read_anywhere(json))
}

/// The stamp where [`Stamper`] puts it.
fn read_from_end(json: &[u8]) -> Option<Stamp<'_>> {
    let rest = json.trim_ascii_end().strip_suffix(b"}")?;
    let (rest, due_us) = number_at_end(rest)?;
    let rest = name_at_end(rest, DUE_FIELD)?.strip_suffix(b",")?;
    let (rest, sequence) = number_at_end(rest)?;
    let rest = name_at_end(rest, SEQUENCE_FIELD)?.strip_suffix(b",")?.strip_suffix(b"\"")?;
    let start = rest.iter().rposition(|b| *b == b'"')? + 1;
    let run = std::str::from_utf8(&rest[start..]).ok()?;
    name_at_end(&rest[..start - 1], RUN_FIELD)?;
    // An escape in the id means that the quote found may not be the one that opens it.
    (!run.contains('\\')).then_some(Stamp { run: Cow::Borrowed(run), sequence, due_us })
}

/// Splits `...123` into `...` and 123.
fn number_at_end(text: &[u8]) -> Option<(&[u8], u64)> {
    let start = text.iter().rposition(|b| !b.is_ascii_digit())? + 1;
    let digits = std::str::from_utf8(&text[start..]).ok()?;
    Some((&text[..start], digits.parse().ok()?))
}

/// Strips `"name":` from the end.
fn name_at_end<'a>(text: &'a [u8], name: &str) -> Option<&'a [u8]> {
    text.strip_suffix(b":")?.strip_suffix(b"\"")?.strip_suffix(name.as_bytes())?.strip_suffix(b"\"")
}

/// The stamp of an object whose fields were moved or spaced out.
fn read_anywhere(json: &[u8]) -> Option<Stamp<'_>> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        millrace_run: Cow<'a, str>,
        millrace_seq: u64,
        millrace_due_us: u64,
    }
    // Reading a foreign record as JSON costs far more than seeing that the name is not in it.
    if !json.windows(DUE_FIELD.len()).any(|window| window == DUE_FIELD.as_bytes()) {
        return None;
    }
    let fields: Fields<'_> = serde_json::from_slice(json).ok()?;
    Some(Stamp { run: fields.millrace_run, sequence: fields.millrace_seq, due_us: fields.millrace_due_us })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stamped(json: &str, txn: bool) -> String {
        let mut bytes = json.as_bytes().to_vec();
        Stamper::new("demo-1").stamp(&mut bytes, txn, 7, 1_700_000_000_000_001).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_stamp_ends_the_object_and_is_read_back() {
        let text = stamped(r#"{"a":1}"#, true);
        assert_eq!(
            text,
            r#"{"a":1,"Txn_Timestamp":"2023-11-14T22:13:20.000001Z","millrace_run":"demo-1","millrace_seq":7,"millrace_due_us":1700000000000001}"#
        );
        let want = Stamp { run: "demo-1".into(), sequence: 7, due_us: 1_700_000_000_000_001 };
        assert_eq!(read_from_end(text.as_bytes()), Some(want));
    }

    #[test]
    fn an_empty_object_and_trailing_space_are_stamped_too() {
        for json in ["{}", "{ }", "{}\n", "{\"a\":{} } \n"] {
            let text = stamped(json, false);
            assert!(serde_json::from_str::<serde_json::Value>(&text).unwrap()["millrace_seq"] == 7, "{text}");
            assert!(read_from_end(text.as_bytes()).is_some());
        }
    }

    #[test]
    fn what_is_no_object_is_refused_and_left_alone() {
        for json in ["", "[1]", "null", "{\"a\":1"] {
            let mut bytes = json.as_bytes().to_vec();
            let error = Stamper::new("r").stamp(&mut bytes, false, 0, 0).unwrap_err();
            assert!(error.to_string().contains("not a JSON object"));
            assert_eq!(bytes, json.as_bytes());
        }
    }

    #[test]
    fn a_moved_stamp_is_found_and_a_nested_or_broken_one_is_not() {
        let moved = br#"{"millrace_due_us": 3, "x": {"y": 1}, "millrace_run": "a\"b", "millrace_seq": 2}"#;
        assert_eq!(read(moved), Some(Stamp { run: "a\"b".into(), sequence: 2, due_us: 3 }));
        assert_eq!(read(br#"{"x":{"millrace_run":"r","millrace_seq":1,"millrace_due_us":2}}"#), None);
        assert_eq!(read(br#"{"millrace_run":"r","millrace_seq":-1,"millrace_due_us":2}"#), None);
        assert_eq!(read(br#"{"millrace_run":"r","millrace_seq":1,"millrace_due_us":99999999999999999999}"#), None);
    }

    #[test]
    fn a_record_of_another_producer_has_no_stamp() {
        for json in [&b"{}"[..], b"", b"\xff\xfe", b"hello", br#"{"a":"millrace_due_us"}"#, b"}", b"1}", b":1}"] {
            assert_eq!(read(json), None);
        }
    }

    proptest! {
        #[test]
        fn any_stamp_survives_any_run_id(run in ".{0,40}", sequence: u64, due_us: u64) {
            let mut json = b"{\"k\":\"v\"}".to_vec();
            Stamper::new(&run).stamp(&mut json, false, sequence, due_us).unwrap();
            prop_assert_eq!(read(&json), Some(Stamp { run: run.as_str().into(), sequence, due_us }));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
            let _ = read(&bytes);
        }
    }
}

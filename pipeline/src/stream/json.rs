//! JSON 1.1 as AWS speaks it: reading that borrows from the body, and writing that goes straight into the answer.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, IgnoredAny, SeqAccess, Visitor},
};

use super::error::{ApiError, ErrorKind};

/// Text that is borrowed from the body unless it holds an escape. Unlike `Cow`, it borrows inside `Option` too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text<'a>(Cow<'a, str>);

impl Text<'_> {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// A list of which no more than `MAX` entries are kept; the rest is only counted, so a hostile body stays small.
#[derive(Debug)]
pub(crate) struct Batch<T, const MAX: usize> {
    pub(crate) entries: Vec<T>,
    pub(crate) count: usize,
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Batch<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BatchVisitor<T, const MAX: usize>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for BatchVisitor<T, MAX> {
            type Value = Batch<T, MAX>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while entries.len() < MAX {
                    match list.next_element()? {
                        Some(entry) => entries.push(entry),
                        None => return Ok(Batch { count: entries.len(), entries }),
                    }
                }
                let mut count = entries.len();
                while list.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Batch { entries, count })
            }
        }
        deserializer.deserialize_seq(BatchVisitor(std::marker::PhantomData))
    }
}

/// A point in time as AWS sends it: seconds since 1970, with a fraction. Kept in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timestamp {
    pub(crate) us: u64,
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        // 2^43 s is the year 280,000: beyond it microseconds leave 64 bits.
        if !(0.0..8_796_093_022_208.0).contains(&seconds) {
            return Err(D::Error::custom("a timestamp is a number of seconds since 1970"));
        }
        Ok(Self { us: (seconds * 1e6).round() as u64 })
    }
}

/// Seconds with milliseconds, the precision AWS gives.
pub(crate) fn seconds(time_us: u64) -> f64 {
    (time_us / 1_000) as f64 / 1e3
}

/// Reads a call's body, which must be one object.
pub(crate) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    // Serde would also take an array, field by field.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(ApiError::new(ErrorKind::Serialization, "The body is not a JSON object."));
    }
    serde_json::from_slice(body).map_err(|error| ApiError::new(ErrorKind::Serialization, error.to_string()))
}

/// Writes an answer that is small enough to be built as a value.
pub(crate) fn answer(value: &impl Serialize) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(value).map_err(|error| ApiError::new(ErrorKind::InternalFailure, error.to_string()))
}

/// Appends a JSON string to a text.
pub(crate) fn push_string(out: &mut String, text: &str) {
    write_string(text, |part| out.push_str(part));
}

/// Appends a JSON string to an answer that is being written as bytes.
pub(crate) fn push_string_bytes(out: &mut Vec<u8>, text: &str) {
    write_string(text, |part| out.extend_from_slice(part.as_bytes()));
}

/// Writes a JSON string part by part.
fn write_string(text: &str, mut write: impl FnMut(&str)) {
    write("\"");
    let mut plain_from = 0;
    for (place, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        write(&text[plain_from..place]);
        plain_from = place + 1;
        match byte {
            b'"' => write("\\\""),
            b'\\' => write("\\\\"),
            control => write(&format!("\\u{control:04x}")),
        }
    }
    write(&text[plain_from..]);
    write("\"");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_borrowed_unless_it_is_escaped() {
        let body = br#"["plain", "esc\u0061ped", null]"#;
        let texts: Vec<Option<Text<'_>>> = serde_json::from_slice(body).unwrap();
        assert!(matches!(&texts[0], Some(Text(Cow::Borrowed("plain")))));
        assert!(matches!(&texts[1], Some(Text(Cow::Owned(text))) if text == "escaped"));
        assert!(texts[2].is_none());
    }

    #[test]
    fn a_batch_counts_what_it_does_not_keep() {
        let batch: Batch<u32, 3> = serde_json::from_str("[1,2,3,4,5]").unwrap();
        assert_eq!((batch.entries, batch.count), (vec![1, 2, 3], 5));
        let batch: Batch<u32, 3> = serde_json::from_str("[1]").unwrap();
        assert_eq!((batch.entries, batch.count), (vec![1], 1));
    }

    #[test]
    fn a_body_that_is_not_one_object_is_a_serialization_error() {
        for body in ["", "[]", "null", "{", "{} {}", "\"x\"", "{\"a\":1,}"] {
            let error = parse::<serde_json::Value>(body.as_bytes()).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Serialization, "{body}");
        }
        assert!(parse::<serde_json::Value>(b" {} ").is_ok());
    }

    #[test]
    fn timestamps_keep_their_fraction() {
        let time: Timestamp = serde_json::from_str("1459799926.48").unwrap();
        assert_eq!(time.us, 1_459_799_926_480_000);
        assert_eq!(serde_json::to_string(&seconds(1_459_799_926_480_999)).unwrap(), "1459799926.48");
        assert!(serde_json::from_str::<Timestamp>("-1").is_err());
        assert!(serde_json::from_str::<Timestamp>("1e300").is_err());
    }

    proptest! {
        #[test]
        fn a_written_string_reads_back(text: String) {
            let (mut out, mut bytes) = (String::new(), Vec::new());
            push_string(&mut out, &text);
            push_string_bytes(&mut bytes, &text);
            prop_assert_eq!(out.as_bytes(), bytes);
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }

    #[test]
    fn every_control_character_reads_back() {
        let text: String = (0_u8..0x30).map(char::from).collect();
        let mut out = String::new();
        push_string(&mut out, &text);
        assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
    }
}

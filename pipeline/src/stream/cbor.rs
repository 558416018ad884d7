//! CBOR as AWS's Java clients speak it: the same shapes as JSON, blobs as byte strings, times in milliseconds.
//!
//! A request is rewritten as JSON before an operation sees it, and an answer as CBOR after, each in one pass and without
//! a tree in between. Times follow AWS and not RFC 8949: tag 1 with the epoch in *milliseconds*, which is what the
//! Java clients write and read.

use std::{borrow::Cow, fmt};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{
    error::{ApiError, ErrorKind},
    json::{Text, push_string},
};

/// How deep values may lie in each other; the deepest request of the API has four levels.
const MAX_DEPTH: usize = 16;
/// The semantic tag of a time.
const EPOCH_TAG: u64 = 1;
/// Ends an array, map or string of indefinite length.
const BREAK: u8 = 0xFF;

/// Whether a member is a time.
fn is_time(member: &str) -> bool {
    member.ends_with("Timestamp") || matches!(member, "StartedAt" | "EndedAt" | "EarliestAllowedEndAt")
}

/// Whether a member of an answer is a blob.
fn is_blob(member: &str) -> bool {
    member == "Data"
}

/// A request's body as JSON.
///
/// # Errors
/// `SerializationException` for anything that is not one whole, sound CBOR item.
pub(crate) fn to_json(body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let mut reader = Reader { body, at: 0 };
    let mut out = String::with_capacity(body.len() * 4 / 3 + 64);
    reader.value(&mut out, false, 0)?;
    if reader.at < body.len() {
        return Err(reader.refuse("there is more after the value"));
    }
    Ok(out.into_bytes())
}

struct Reader<'a> {
    body: &'a [u8],
    at: usize,
}

/// The first byte of an item, taken apart.
struct Head {
    major: u8,
    /// The low five bits.
    info: u8,
    /// The argument; 0 for an indefinite length.
    argument: u64,
}

impl Head {
    const fn is_indefinite(&self) -> bool {
        self.info == 31
    }
}

impl<'a> Reader<'a> {
    fn refuse(&self, what: &str) -> ApiError {
        ApiError::new(
            ErrorKind::Serialization,
            format!("The body is no CBOR that can be read: {what} at byte {}.", self.at),
        )
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], ApiError> {
        let rest = &self.body[self.at..];
        let taken = usize::try_from(count).ok().and_then(|count| rest.get(..count));
        let taken = taken.ok_or_else(|| self.refuse("it ends in the middle of a value"))?;
        self.at += taken.len();
        Ok(taken)
    }

    fn head(&mut self) -> Result<Head, ApiError> {
        let first = self.take(1)?[0];
        let (major, info) = (first >> 5, first & 0x1F);
        let argument = match info {
            0..=23 => u64::from(info),
            24..=27 => self.take(1 << (info - 24))?.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)),
            31 if matches!(major, 2..=5 | 7) => 0,
            _ => return Err(self.refuse("a length of no known kind")),
        };
        Ok(Head { major, info, argument })
    }

    /// Takes the break that ends an indefinite length, if it is next.
    fn at_break(&mut self) -> bool {
        let ends = self.body.get(self.at) == Some(&BREAK);
        self.at += usize::from(ends);
        ends
    }

    /// Writes the next item as JSON; a number that is a `time` is in milliseconds.
    fn value(&mut self, out: &mut String, time: bool, depth: usize) -> Result<(), ApiError> {
        if depth > MAX_DEPTH {
            return Err(self.refuse("values lie too deep in each other"));
        }
        let head = self.head()?;
        match head.major {
            0 if time => push_milliseconds(out, head.argument as f64),
            0 => out.push_str(&head.argument.to_string()),
            1 if time => push_milliseconds(out, -1.0 - head.argument as f64),
            1 => out.push_str(&(-1 - i128::from(head.argument)).to_string()),
            2 => {
                out.push('"');
                base64_simd::STANDARD.encode_append(self.string(&head)?, out);
                out.push('"');
            }
            3 => push_string(out, &self.text(&head)?),
            4 => self.list(&head, out, depth)?,
            5 => self.map(&head, out, depth)?,
            6 => self.value(out, time || head.argument == EPOCH_TAG, depth + 1)?,
            _ => self.simple(&head, out, time)?,
        }
        Ok(())
    }

    /// The bytes of a string, borrowed unless it comes in pieces.
    fn string(&mut self, head: &Head) -> Result<Cow<'a, [u8]>, ApiError> {
        if !head.is_indefinite() {
            return Ok(Cow::Borrowed(self.take(head.argument)?));
        }
        let mut whole = Vec::new();
        while !self.at_break() {
            let piece = self.head()?;
            if piece.major != head.major || piece.is_indefinite() {
                return Err(self.refuse("a piece of a string of another kind"));
            }
            whole.extend_from_slice(self.take(piece.argument)?);
        }
        Ok(Cow::Owned(whole))
    }

    fn text(&mut self, head: &Head) -> Result<Cow<'a, str>, ApiError> {
        let text = match self.string(head)? {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
        };
        text.ok_or_else(|| self.refuse("text that is not UTF-8"))
    }

    /// Whether an item of a list or map comes next, after `met` of them.
    fn goes_on(&mut self, head: &Head, met: u64) -> bool {
        if head.is_indefinite() { !self.at_break() } else { met < head.argument }
    }

    fn list(&mut self, head: &Head, out: &mut String, depth: usize) -> Result<(), ApiError> {
        out.push('[');
        let mut met = 0;
        while self.goes_on(head, met) {
            if met > 0 {
                out.push(',');
            }
            self.value(out, false, depth + 1)?;
            met += 1;
        }
        out.push(']');
        Ok(())
    }

    fn map(&mut self, head: &Head, out: &mut String, depth: usize) -> Result<(), ApiError> {
        out.push('{');
        let mut met = 0;
        while self.goes_on(head, met) {
            if met > 0 {
                out.push(',');
            }
            let key = self.head()?;
            if key.major != 3 {
                return Err(self.refuse("a member's name that is not text"));
            }
            let key = self.text(&key)?;
            push_string(out, &key);
            out.push(':');
            self.value(out, is_time(&key), depth + 1)?;
            met += 1;
        }
        out.push('}');
        Ok(())
    }

    fn simple(&mut self, head: &Head, out: &mut String, time: bool) -> Result<(), ApiError> {
        let word = match head.info {
            20 => Some("false"),
            21 => Some("true"),
            22 | 23 => Some("null"),
            _ => None,
        };
        if let Some(word) = word {
            out.push_str(word);
            return Ok(());
        }
        let number = match head.info {
            25 => half(head.argument as u16),
            26 => f64::from(f32::from_bits(head.argument as u32)),
            27 => f64::from_bits(head.argument),
            _ => return Err(self.refuse("a value of no known kind")),
        };
        if !number.is_finite() {
            return Err(self.refuse("a number that is not finite"));
        }
        if time {
            push_milliseconds(out, number);
        } else if number.fract() == 0.0 && number.abs() < 9e15 {
            // A whole number stays one: JSON tells 5 from 5.0, and the members of the API are integers.
            out.push_str(&(number as i64).to_string());
        } else {
            out.push_str(&number.to_string());
        }
        Ok(())
    }
}

/// Milliseconds as JSON's seconds.
fn push_milliseconds(out: &mut String, milliseconds: f64) {
    out.push_str(&(milliseconds / 1e3).to_string());
}

/// A half-precision number (RFC 8949, appendix D).
fn half(bits: u16) -> f64 {
    let (sign, exponent, fraction) = (bits >> 15, i32::from((bits >> 10) & 0x1F), f64::from(bits & 0x3FF));
    let size = match exponent {
        0 => fraction * 2_f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (fraction + 1024.0) * 2_f64.powi(exponent - 25),
    };
    if sign == 1 { -size } else { size }
}

/// An answer, which this server has written as JSON, as CBOR. An empty answer stays empty.
///
/// # Errors
/// `InternalFailure` if the answer is not JSON.
pub(crate) fn from_json(answer: &[u8]) -> Result<Vec<u8>, ApiError> {
    let mut out = Vec::with_capacity(answer.len());
    if answer.is_empty() {
        return Ok(out);
    }
    let mut json = serde_json::Deserializer::from_slice(answer);
    Writer { out: &mut out, member: "" }
        .deserialize(&mut json)
        .map_err(|error| ApiError::new(ErrorKind::InternalFailure, error.to_string()))?;
    Ok(out)
}

/// Writes whatever a deserializer holds.
struct Writer<'a> {
    out: &'a mut Vec<u8>,
    /// The name of the member whose value it is.
    member: &'a str,
}

fn push_head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let major = major << 5;
    match argument {
        0..=23 => out.push(major | argument as u8),
        24..=0xFF => out.extend_from_slice(&[major | 24, argument as u8]),
        0x100..=0xFFFF => {
            out.push(major | 25);
            out.extend_from_slice(&(argument as u16).to_be_bytes());
        }
        0x1_0000..=0xFFFF_FFFF => {
            out.push(major | 26);
            out.extend_from_slice(&(argument as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&argument.to_be_bytes());
        }
    }
}

impl Writer<'_> {
    fn time(&mut self, seconds: f64) {
        push_head(self.out, 6, EPOCH_TAG);
        push_head(self.out, 0, (seconds * 1e3).round().max(0.0) as u64);
    }
}

impl<'de> DeserializeSeed<'de> for Writer<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Writer<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.out.push(0xF6);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.out.push(if value { 0xF5 } else { 0xF4 });
        Ok(())
    }

    fn visit_u64<E>(mut self, value: u64) -> Result<(), E> {
        if is_time(self.member) {
            self.time(value as f64)
        } else {
            push_head(self.out, 0, value)
        }
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        push_head(self.out, 1, (-1 - value).unsigned_abs());
        Ok(())
    }

    fn visit_f64<E>(mut self, value: f64) -> Result<(), E> {
        if is_time(self.member) {
            self.time(value);
        } else {
            self.out.push(0xFB);
            self.out.extend_from_slice(&value.to_be_bytes());
        }
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        if !is_blob(self.member) {
            push_head(self.out, 3, value.len() as u64);
            self.out.extend_from_slice(value.as_bytes());
            return Ok(());
        }
        let padding = value.bytes().rev().take(2).filter(|byte| *byte == b'=').count();
        push_head(self.out, 2, (value.len() / 4 * 3).saturating_sub(padding) as u64);
        base64_simd::STANDARD.decode_append(value, self.out).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.out.push(0x9F);
        while list.next_element_seed(Writer { out: self.out, member: "" })?.is_some() {}
        self.out.push(BREAK);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.out.push(0xBF);
        while let Some(member) = map.next_key::<Text<'de>>()? {
            push_head(self.out, 3, member.as_str().len() as u64);
            self.out.extend_from_slice(member.as_str().as_bytes());
            map.next_value_seed(Writer { out: self.out, member: member.as_str() })?;
        }
        self.out.push(BREAK);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn json_of(cbor: &[u8]) -> Value {
        serde_json::from_slice(&to_json(cbor).unwrap()).unwrap()
    }

    #[test]
    fn a_request_of_the_java_client_reads_as_json() {
        // {"StreamName": "s", "Timestamp": 1(1459799926480), "Data": h'6869', "Limit": 5}, indefinite as Jackson writes it.
        let mut body = vec![0xBF];
        for name in ["StreamName", "Timestamp", "Data", "Limit"] {
            push_head(&mut body, 3, name.len() as u64);
            body.extend_from_slice(name.as_bytes());
            match name {
                "StreamName" => body.extend_from_slice(b"\x61s"),
                "Timestamp" => {
                    body.push(0xC1);
                    push_head(&mut body, 0, 1_459_799_926_480);
                }
                "Data" => body.extend_from_slice(b"\x5F\x41h\x41i\xFF"),
                _ => body.push(5),
            }
        }
        body.push(0xFF);
        let want = json!({"StreamName": "s", "Timestamp": 1_459_799_926.48, "Data": "aGk=", "Limit": 5});
        assert_eq!(json_of(&body), want);
    }

    #[test]
    fn an_answer_carries_blobs_as_bytes_and_times_as_tagged_milliseconds() {
        let answer = json!({"Records": [{"Data": "aGk=", "ApproximateArrivalTimestamp": 1.5, "PartitionKey": "k"}]});
        let mut want =
            b"\xBF\x67Records\x9F\xBF\x64Data\x42hi\x78\x1BApproximateArrivalTimestamp\xC1\x19\x05\xDC".to_vec();
        want.extend_from_slice(b"\x6CPartitionKey\x61k\xFF\xFF\xFF");
        let written = from_json(answer.to_string().as_bytes()).unwrap();
        // Members may come in another order: the map is compared by what it reads back as.
        assert_eq!((written.len(), json_of(&written)), (want.len(), json_of(&want)));
        assert!(written.windows(3).any(|bytes| bytes == b"\x42hi"), "{written:x?}");
        assert!(from_json(b"").unwrap().is_empty());
    }

    #[test]
    fn numbers_of_every_size_and_sign_read_as_they_are() {
        // RFC 8949, appendix A.
        let cases: [(&[u8], Value); 14] = [
            (b"\x00", json!(0)),
            (b"\x17", json!(23)),
            (b"\x18\x64", json!(100)),
            (b"\x1b\x00\x00\x00\xe8\xd4\xa5\x10\x00", json!(1_000_000_000_000_u64)),
            (b"\x20", json!(-1)),
            (b"\x39\x03\xe7", json!(-1000)),
            (b"\xf9\x3c\x00", json!(1)),
            (b"\xf9\x3e\x00", json!(1.5)),
            (b"\xf9\xc4\x00", json!(-4)),
            (b"\xfa\x47\xc3\x50\x00", json!(100_000)),
            (b"\xfb\xc0\x10\x66\x66\x66\x66\x66\x66", json!(-4.1)),
            (b"\xf4", json!(false)),
            (b"\xf7", json!(null)),
            (b"\x9f\x01\x82\x02\x03\xff", json!([1, [2, 3]])),
        ];
        for (cbor, want) in cases {
            assert_eq!(json_of(cbor), want, "{cbor:x?}");
        }
    }

    #[test]
    fn a_half_is_read_to_its_smallest() {
        assert_eq!((half(0x0001), half(0x0400), half(0x7BFF)), (2_f64.powi(-24), 2_f64.powi(-14), 65_504.0));
        assert!(half(0x7C00).is_infinite() && half(0x7E00).is_nan());
    }

    #[test]
    fn what_is_not_sound_is_a_serialization_error() {
        let deep = [0x81_u8; 100];
        let cases: [&[u8]; 13] = [
            b"",
            b"\xbf",
            b"\xa1\x61",
            b"\x00\x00",
            b"\x1c",
            b"\xff",
            b"\xa1\x01\x01",
            b"\x62\xc3\x28",
            b"\x5f\x61x\xff",
            b"\x7b\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\xf9\x7c\x00",
            b"\xf8\x01",
            &deep,
        ];
        for cbor in cases {
            assert_eq!(to_json(cbor).unwrap_err().kind, ErrorKind::Serialization, "{cbor:x?}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            // Exact in a few digits: the reader of the test may be off by the last bit of others.
            any::<i32>().prop_map(|number| json!(f64::from(number) + 0.125)),
        ];
        leaf.prop_recursive(4, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map("[a-z]{1,8}", inner, 0..6).prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn an_answer_reads_back_as_it_was_written(value in any_json()) {
            prop_assert_eq!(json_of(&from_json(value.to_string().as_bytes()).unwrap()), value);
        }

        #[test]
        fn a_blob_of_any_length_survives(data in prop::collection::vec(any::<u8>(), 0..80)) {
            let value = json!({"Data": STANDARD.encode(&data)});
            prop_assert_eq!(json_of(&from_json(value.to_string().as_bytes()).unwrap()), value);
        }

        #[test]
        fn no_bytes_whatever_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(json) = to_json(&bytes) {
                prop_assert!(serde_json::from_slice::<Value>(&json).is_ok(), "{}", String::from_utf8_lossy(&json));
            }
        }
    }
}

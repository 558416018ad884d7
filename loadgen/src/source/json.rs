//! JSON written straight into bytes: the payload is built once, on the hot path, and never as a tree.

use super::event_time::{Fraction, Moment};

/// Room left behind a payload for the fields the stamp adds, so that stamping does not move it.
pub(super) const STAMP_ROOM: usize = 192;

/// A JSON object under construction. Names are plain ASCII and written as they are.
pub(super) struct Object(Vec<u8>);

impl Object {
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(224 + STAMP_ROOM))
    }

    pub(super) fn string(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        push_string(&mut self.0, value);
        self
    }

    /// A number with exactly `decimals` decimals, given as a whole number of its last place.
    pub(super) fn fixed(mut self, name: &str, value: i64, decimals: u32) -> Self {
        self.name(name);
        push_fixed(&mut self.0, value, decimals);
        self
    }

    /// A value that is JSON already.
    pub(super) fn verbatim(mut self, name: &str, json: &str) -> Self {
        self.name(name);
        self.0.extend_from_slice(json.as_bytes());
        self
    }

    /// A time in UTC, `2025-01-01T00:00:00Z`.
    pub(super) fn utc(mut self, name: &str, moment: &Moment, fraction: Fraction) -> Self {
        self.name(name);
        self.0.push(b'"');
        moment.push_iso(&mut self.0, fraction);
        self.0.extend_from_slice(b"Z\"");
        self
    }

    /// A time to the minute without an offset, `2025-01-01T00:15`.
    pub(super) fn minute(mut self, name: &str, moment: &Moment) -> Self {
        self.name(name);
        self.0.push(b'"');
        moment.push_iso(&mut self.0, Fraction::ToTheMinute);
        self.0.push(b'"');
        self
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }

    fn name(&mut self, name: &str) {
        self.0.push(if self.0.is_empty() { b'{' } else { b',' });
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }
}

/// Writes `text` as a JSON string: quotes, backslashes and control characters escaped, everything else as it is (RFC 8259, 7).
pub(super) fn push_string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut written = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[written..at]);
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
        written = at + 1;
    }
    out.extend_from_slice(&bytes[written..]);
    out.push(b'"');
}

/// Writes `value / 10^decimals` with all its decimals: `push_fixed(-5, 2)` is `-0.05`.
pub(super) fn push_fixed(out: &mut Vec<u8>, value: i64, decimals: u32) {
    if value < 0 {
        out.push(b'-');
    }
    let scale = 10_u64.pow(decimals);
    let magnitude = value.unsigned_abs();
    push_digits(out, magnitude / scale, 1);
    if decimals > 0 {
        out.push(b'.');
        push_digits(out, magnitude % scale, decimals as usize);
    }
}

/// Writes a whole number with at least `width` digits, zeros first.
pub(super) fn push_digits(out: &mut Vec<u8>, mut value: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    while value > 0 {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&digits[at.min(digits.len() - width.min(digits.len()))..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fixed(value: i64, decimals: u32) -> String {
        let mut out = Vec::new();
        push_fixed(&mut out, value, decimals);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fixed_numbers_keep_sign_and_zeros() {
        assert_eq!(fixed(2_500, 2), "25.00");
        assert_eq!(fixed(-5, 2), "-0.05");
        assert_eq!(fixed(0, 1), "0.0");
        assert_eq!(fixed(-123, 0), "-123");
        assert_eq!(fixed(i64::MIN, 0), i64::MIN.to_string());
    }

    proptest! {
        #[test]
        fn any_text_reads_back_through_serde_json(text: String) {
            let mut out = Vec::new();
            push_string(&mut out, &text);
            prop_assert!(!out.contains(&b'\n'));
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}

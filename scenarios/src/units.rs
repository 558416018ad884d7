//! Quantities a scenario is written in: spans of time, sizes and rates, each with its unit in the text.
//!
//! `"30s"`, `"250ms"` and `"5MiB"` are strings so that no reader has to guess a unit; a rate is a bare number,
//! records per second or what the load's `unit` says.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Text that is not a quantity, with what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {what}; write for example {example}")]
pub struct UnitError {
    text: String,
    pub(crate) what: &'static str,
    pub(crate) example: &'static str,
}

/// A span of time, written as a number and a unit: `us`, `ms`, `s`, `m`, `h` or `d`.
#[derive(Default, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(Duration);

/// A size in bytes, written as a number and a unit: `B`, `KiB`, `MiB`, `GiB`, `KB`, `MB` or `GB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl Span {
    /// A span of whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// A span of whole milliseconds.
    #[must_use]
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }

    /// A span of whole microseconds.
    #[must_use]
    pub const fn from_micros(microseconds: u64) -> Self {
        Self(Duration::from_micros(microseconds))
    }

    /// The span as the standard library's type.
    #[must_use]
    pub const fn duration(self) -> Duration {
        self.0
    }

    /// Whole microseconds; saturates after half a million years.
    #[must_use]
    pub fn as_us(self) -> u64 {
        u64::try_from(self.0.as_micros()).unwrap_or(u64::MAX)
    }

    /// Seconds with their fraction.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0.as_secs_f64()
    }

    /// Whether nothing passes in this span.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

impl ByteSize {
    /// A size of exactly this many bytes.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// Units in descending order, so that printing picks the largest that divides exactly.
const SPANS: [(&str, u64); 6] =
    [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)];
const SIZES: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
];

/// Reads `<number><unit>` into whole base units, refusing signs, other units and anything past 2^53.
fn parse_quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = (text[..split].parse::<f64>().ok()?, text[split..].trim_start());
    let (_, scale) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    let whole = (number * *scale as f64).round();
    (whole.is_finite() && whole <= 9_007_199_254_740_992.0).then_some(whole as u64)
}

fn print_quantity(value: u64, units: &[(&str, u64)], zero: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match units.iter().find(|(_, scale)| value >= *scale && value.is_multiple_of(*scale)) {
        Some((unit, scale)) => write!(f, "{}{unit}", value / scale),
        None => f.write_str(zero),
    }
}

impl FromStr for Span {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse_quantity(text, &SPANS).map(|us| Self(Duration::from_micros(us))).ok_or_else(|| UnitError {
            text: text.to_owned(),
            what: "span of time",
            example: "\"250ms\", \"30s\", \"5m\" or \"24h\"",
        })
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse_quantity(text, &SIZES).map(Self).ok_or_else(|| UnitError {
            text: text.to_owned(),
            what: "size",
            example: "\"512KiB\", \"5MiB\" or \"128MB\"",
        })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print_quantity(self.as_us(), &SPANS, "0s", f)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print_quantity(self.0, &SIZES, "0B", f)
    }
}

/// Both types travel as their printed text.
macro_rules! as_text {
    ($type:ident, $pattern:literal, $description:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Cow::<str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "pattern": $pattern, "description": $description})
            }
        }
    };
}
as_text!(Span, r"^[0-9.]+ *([uU][sS]|[mM][sS]|[sSmMhHdD])$", "A span of time: 250ms, 30s, 5m, 24h");
as_text!(ByteSize, r"^[0-9.]+ *([kKmMgG][iI]?)?[bB]$", "A size: 512KiB, 5MiB, 128MB");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_back_what_they_print() {
        for text in ["250ms", "30s", "5m", "23h", "7d", "1us", "0s", "1500ms"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        for text in ["0B", "5MiB", "512KiB", "128MB", "3B", "1GiB"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
        assert_eq!("24h".parse::<Span>().unwrap().to_string(), "1d");
        assert_eq!("1.5s".parse::<Span>().unwrap().as_us(), 1_500_000);
    }

    #[test]
    fn a_quantity_without_unit_or_with_a_sign_is_refused_with_an_example() {
        for text in ["30", "-3s", "s", "", "3 fortnights", "1e999s", "99999999999999d"] {
            let error = text.parse::<Span>().unwrap_err().to_string();
            assert!(error.contains("\"30s\""), "{error}");
        }
        assert!("5".parse::<ByteSize>().is_err());
    }
}

//! Event times: the shapes they are read in, and the one ISO-8601 shape they are written in.

use chrono::{DateTime, Datelike, NaiveDate, Timelike};

use super::{error::SourceError, json::push_digits};

/// A date and time of day without an offset, to the microsecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) year: u32,
    pub(super) month: u32,
    pub(super) day: u32,
    pub(super) hour: u32,
    pub(super) minute: u32,
    pub(super) second: u32,
    pub(super) micros: u32,
}

/// How much of the time of day is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fraction {
    /// `00:15`
    ToTheMinute,
    /// `00:15:00`, and six decimals when they are not all zero.
    WhenPresent,
    /// `00:15:00.000000`
    Always,
}

impl Moment {
    /// The time in UTC; `None` outside the years 0 to 9999, which ISO-8601 cannot write in four digits.
    pub(super) fn from_us(us_since_1970: i64) -> Option<Self> {
        let time = DateTime::from_timestamp_micros(us_since_1970)?;
        let year = u32::try_from(time.year()).ok().filter(|year| *year <= 9_999)?;
        Some(Self {
            year,
            month: time.month(),
            day: time.day(),
            hour: time.hour(),
            minute: time.minute(),
            second: time.second(),
            micros: time.nanosecond() / 1_000,
        })
    }

    /// Microseconds since 1970, taken as UTC.
    pub(super) fn as_us(&self) -> Option<i64> {
        let date = NaiveDate::from_ymd_opt(i32::try_from(self.year).ok()?, self.month, self.day)?;
        let time = date.and_hms_micro_opt(self.hour, self.minute, self.second, self.micros)?;
        Some(time.and_utc().timestamp_micros())
    }

    /// Reads the shapes met in the wild: `2016-02-08 05:46:00`, with `T` between, with a fraction of 1 to 9 digits (cut
    /// to microseconds), without seconds; and a spreadsheet's `2/8/2016 5:46`, month first. `None` for anything else,
    /// an offset or a date that does not exist included.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (date, time) = text.split_once([' ', 'T'])?;
        let (year, month, day) = parse_date(date)?;
        NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?;
        let (hour, rest) = time.split_once(':')?;
        let (minute, second) = rest.split_once(':').unwrap_or((rest, "00"));
        let (second, micros) = match second.split_once('.') {
            Some((second, fraction)) => (second, parse_fraction(fraction)?),
            None => (second, 0),
        };
        let hour = number(hour, 1, 2).filter(|h| *h < 24)?;
        let minute = number(minute, 2, 2).filter(|m| *m < 60)?;
        let second = number(second, 2, 2).filter(|s| *s < 60)?;
        Some(Self { year, month, day, hour, minute, second, micros })
    }

    /// Writes `2016-02-08T05:46:00`, without an offset.
    pub(super) fn push_iso(&self, out: &mut Vec<u8>, fraction: Fraction) {
        self.push_parts(out, b'T', fraction);
    }

    /// Writes date and time with the given byte between them.
    pub(super) fn push_parts(&self, out: &mut Vec<u8>, between: u8, fraction: Fraction) {
        push_digits(out, self.year.into(), 4);
        for (before, part) in [(b'-', self.month), (b'-', self.day), (between, self.hour), (b':', self.minute)] {
            out.push(before);
            push_digits(out, part.into(), 2);
        }
        if fraction == Fraction::ToTheMinute {
            return;
        }
        out.push(b':');
        push_digits(out, self.second.into(), 2);
        if self.micros > 0 || fraction == Fraction::Always {
            out.push(b'.');
            push_digits(out, self.micros.into(), 6);
        }
    }
}

/// Reads a scenario's epoch, to microseconds since 1970.
pub(super) fn parse_epoch(text: &str) -> Result<i64, SourceError> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.timestamp_micros())
        .map_err(|source| SourceError::Epoch { text: text.to_owned(), source })
}

/// When the `round`-th round of readings is taken; `None` past the range of the clock.
pub(super) fn round_us(epoch_us: i64, interval_us: u64, round: u64) -> Option<i64> {
    epoch_us.checked_add(i64::try_from(interval_us.checked_mul(round)?).ok()?)
}

fn parse_date(text: &str) -> Option<(u32, u32, u32)> {
    if let Some((month, rest)) = text.split_once('/') {
        let (day, year) = rest.split_once('/')?;
        return Some((number(year, 4, 4)?, number(month, 1, 2)?, number(day, 1, 2)?));
    }
    let (year, rest) = text.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    Some((number(year, 4, 4)?, number(month, 2, 2)?, number(day, 2, 2)?))
}

fn parse_fraction(text: &str) -> Option<u32> {
    let digits = text.len();
    let value = number(text, 1, 9)?;
    Some(match digits {
        0..=6 => value * 10_u32.pow(6 - digits as u32),
        _ => value / 10_u32.pow(digits as u32 - 6),
    })
}

/// Digits and nothing else, between `least` and `most` of them (at most 9).
fn number(text: &str, least: usize, most: usize) -> Option<u32> {
    let fits = (least..=most).contains(&text.len());
    (fits && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn iso(text: &str) -> Option<String> {
        let mut out = Vec::new();
        Moment::parse(text)?.push_iso(&mut out, Fraction::WhenPresent);
        String::from_utf8(out).ok()
    }

    #[test]
    fn every_shape_seen_in_real_files_becomes_iso_8601() {
        for (text, expected) in [
            ("2016-02-08 05:46:00", "2016-02-08T05:46:00"),
            ("2023-01-19 15:55:35.000000000", "2023-01-19T15:55:35"),
            ("2023-01-19 15:55:35.123456789", "2023-01-19T15:55:35.123456"),
            ("2023-01-19 15:55:35.000001", "2023-01-19T15:55:35.000001"),
            ("2023-01-19 15:55:35.5", "2023-01-19T15:55:35.500000"),
            ("2023-01-19T15:55:35", "2023-01-19T15:55:35"),
            ("2/8/2016 5:46", "2016-02-08T05:46:00"),
            ("12/31/2016 23:59:58", "2016-12-31T23:59:58"),
        ] {
            assert_eq!(iso(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn times_that_do_not_exist_or_carry_an_offset_are_refused() {
        for text in [
            "",
            " ",
            "2016-02-08",
            "2015-02-29 00:00:00",
            "13/1/2016 5:46",
            "2/30/2016 5:46",
            "2/8/16 5:46",
            "2016-02-08 24:00:00",
            "2016-02-08 05:60:00",
            "2016-02-08 05:46:60",
            "2016-02-08 05:46:00Z",
            "2016-02-08 05:46:00+01:00",
            "2016-02-08 05:46:00.",
            "2016-02-08 05:46:00.1234567890",
            "+2016-02-08 05:46:00",
            "2016-2-8 05:46:00",
            "٢/8/2016 5:46",
            "2/8/2016 5:46 PM",
        ] {
            assert_eq!(iso(text), None, "{text}");
        }
    }

    #[test]
    fn years_that_four_digits_cannot_hold_are_refused() {
        assert_eq!(Moment::from_us(253_402_300_799_999_999).map(|m| m.year), Some(9_999));
        assert_eq!(Moment::from_us(253_402_300_800_000_000), None);
        assert_eq!(Moment::from_us(i64::MIN), None);
        assert_eq!(round_us(0, u64::MAX, 2), None);
    }

    proptest! {
        #[test]
        fn a_moment_reads_back_what_it_writes(us in 0_i64..253_402_300_799_999_999) {
            let moment = Moment::from_us(us).unwrap();
            let mut out = Vec::new();
            moment.push_iso(&mut out, Fraction::Always);
            let text = String::from_utf8(out).unwrap();
            prop_assert_eq!(Moment::parse(&text), Some(moment));
            prop_assert_eq!(moment.as_us(), Some(us));
            prop_assert_eq!(parse_epoch(&format!("{text}Z")).unwrap(), us);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text: String) {
            let _ = Moment::parse(&text);
        }
    }
}

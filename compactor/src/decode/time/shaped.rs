//! Timestamps as the scenario says they are written, where that is not ISO-8601: counts since 1970, and dates whose day
//! and month only the scenario can tell apart.

use millrace_scenarios::TimeShape;

use super::{Digits, days_since_1970, timestamp_us};

/// What ISO-8601 can write with four digits. Milliseconds that are read as seconds are beyond it.
const YEARS_0_TO_9999_US: std::ops::RangeInclusive<i128> = -62_167_219_200_000_000..=253_402_300_799_999_999;
/// Digits of a count that are read: more would not fit, and no clock has them.
const DIGITS: usize = 30;

/// Microseconds since 1970 of a text, or of a number's text, in ISO-8601 or in the shape.
pub(crate) fn shaped_us(text: &[u8], shape: Option<TimeShape>) -> Option<i64> {
    timestamp_us(text).or_else(|| match shape? {
        TimeShape::EpochSeconds => epoch_us(text, 6),
        TimeShape::EpochMillis => epoch_us(text, 3),
        TimeShape::EpochMicros => epoch_us(text, 0),
        TimeShape::MonthFirst => dated_us(text, true),
        TimeShape::DayFirst => dated_us(text, false),
    })
}

/// A decimal number of 10^`power` microseconds, exactly; what is finer than a microsecond is cut off.
fn epoch_us(text: &[u8], power: i32) -> Option<i64> {
    let (sign, rest) = match text.strip_prefix(b"-") {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let (number, exponent) = match rest.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&rest[..at], std::str::from_utf8(&rest[at + 1..]).ok()?.parse::<i16>().ok()?),
        None => (rest, 0),
    };
    let (whole, fraction) = match number.iter().position(|byte| *byte == b'.') {
        Some(at) => (&number[..at], Some(&number[at + 1..])),
        None => (number, None),
    };
    if whole.is_empty() || fraction.is_some_and(<[u8]>::is_empty) || number.len() > DIGITS {
        return None;
    }
    let fraction = fraction.unwrap_or_default();
    let digits = whole.iter().chain(fraction);
    let count = digits.clone().try_fold(0_i128, |n, b| b.is_ascii_digit().then(|| n * 10 + i128::from(b - b'0')))?;
    let power = power + i32::from(exponent) - i32::try_from(fraction.len()).ok()?;
    let tens = 10_i128.checked_pow(power.unsigned_abs())?;
    let us = if power < 0 { (sign * count).div_euclid(tens) } else { (sign * count).checked_mul(tens)? };
    YEARS_0_TO_9999_US.contains(&us).then_some(us)?.try_into().ok()
}

/// `M/D/YYYY` or `D/M/YYYY`, with `/`, `-` or `.`, and then nothing or `H:MM`, `H:MM:SS`, `H:MM:SS.f`, ` AM` or ` PM`, and
/// an offset. Leading zeros may be missing.
fn dated_us(text: &[u8], is_month_first: bool) -> Option<i64> {
    let mut rest = Digits(text);
    let first = rest.one_or_two()?;
    let mark = *rest.0.first().filter(|mark| b"/-.".contains(mark))?;
    rest.mark(mark)?;
    let second = rest.one_or_two()?;
    rest.mark(mark)?;
    let (month, day) = if is_month_first { (first, second) } else { (second, first) };
    let days = days_since_1970(rest.take(4)?, month, day)?;
    if rest.0.is_empty() {
        return Some(days * 86_400_000_000);
    }
    rest.mark(b' ').or_else(|| rest.mark(b'T'))?;
    let hour = rest.one_or_two()?;
    rest.mark(b':')?;
    let minute = rest.take(2).filter(|minute| *minute < 60)?;
    let (mut second, mut micros) = (0, 0);
    if rest.mark(b':').is_some() {
        second = rest.take(2).filter(|second| *second < 60)?;
        if rest.mark(b'.').is_some() {
            micros = rest.fraction()?;
        }
    }
    let hour = match rest.half_of_day() {
        Some(half) if (1..=12).contains(&hour) => hour % 12 + 12 * half,
        None if hour < 24 => hour,
        _ => return None,
    };
    let offset = rest.offset_seconds()?;
    Some((days * 86_400 + hour * 3_600 + minute * 60 + second - offset) * 1_000_000 + micros)
}

impl Digits<'_> {
    fn one_or_two(&mut self) -> Option<i64> {
        self.take(2).or_else(|| self.take(1))
    }

    /// 0 for AM and 1 for PM, with or without a space before it.
    fn half_of_day(&mut self) -> Option<i64> {
        let text = self.0.strip_prefix(b" ").unwrap_or(self.0);
        let (word, rest) = text.split_at_checked(2)?;
        let half = ["AM", "PM"].into_iter().position(|half| word.eq_ignore_ascii_case(half.as_bytes()))?;
        self.0 = rest;
        i64::try_from(half).ok()
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Datelike, NaiveDate, Timelike};
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str, shape: TimeShape) -> Option<i64> {
        shaped_us(text.as_bytes(), Some(shape))
    }

    fn known(text: &str) -> Option<i64> {
        Some(DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros())
    }

    /// A row or two of each public data set that was looked at: accidents that went through a spreadsheet, taxi trips,
    /// sensor motes, and what Firehose itself writes.
    #[test]
    fn the_shapes_of_real_files_are_the_moments_they_say() {
        use TimeShape::{DayFirst, EpochMicros, EpochMillis, EpochSeconds, MonthFirst};
        let cases = [
            ("2/8/2016 5:46", MonthFirst, "2016-02-08T05:46:00Z"),
            ("12/31/2016 23:59", MonthFirst, "2016-12-31T23:59:00Z"),
            ("5/21/2015 0:00", MonthFirst, "2015-05-21T00:00:00Z"),
            ("03/25/2017 8:55:43 AM", MonthFirst, "2017-03-25T08:55:43Z"),
            ("03/25/2017 12:00:01 AM", MonthFirst, "2017-03-25T00:00:01Z"),
            ("03/25/2017 12:30:00 pm", MonthFirst, "2017-03-25T12:30:00Z"),
            ("03/25/2017 9:09:47PM", MonthFirst, "2017-03-25T21:09:47Z"),
            ("8/2/2016 5:46", DayFirst, "2016-02-08T05:46:00Z"),
            ("21.05.2015 18:30:00.25", DayFirst, "2015-05-21T18:30:00.25Z"),
            ("21-05-2015", DayFirst, "2015-05-21T00:00:00Z"),
            ("21/05/2015 18:30+02:00", DayFirst, "2015-05-21T16:30:00Z"),
            ("1163438041250", EpochMillis, "2006-11-13T17:14:01.25Z"),
            ("1669405397", EpochSeconds, "2022-11-25T19:43:17Z"),
            ("1669405397.123456789", EpochSeconds, "2022-11-25T19:43:17.123456Z"),
            ("1.669405397e9", EpochSeconds, "2022-11-25T19:43:17Z"),
            ("1669405397123456", EpochMicros, "2022-11-25T19:43:17.123456Z"),
            ("-0.5", EpochSeconds, "1969-12-31T23:59:59.5Z"),
            ("-0.0000001", EpochSeconds, "1969-12-31T23:59:59.999999Z"),
            ("2016-02-08 05:46:00", MonthFirst, "2016-02-08T05:46:00Z"),
            ("2016-02-08T05:46:00.000000000", EpochMillis, "2016-02-08T05:46:00Z"),
        ];
        for (text, shape, want) in cases {
            assert_eq!(read(text, shape), known(want), "{text} as {shape:?}");
        }
    }

    #[test]
    fn what_is_not_in_the_shape_is_refused_and_nothing_is_guessed() {
        use TimeShape::{DayFirst, EpochMillis, EpochSeconds, MonthFirst};
        for (text, shape) in [
            ("21/5/2015", MonthFirst),
            ("5/21/2015", DayFirst),
            ("2/30/2016", MonthFirst),
            ("2/8/16 5:46", MonthFirst),
            ("2/8-2016", MonthFirst),
            ("2/8/2016 ", MonthFirst),
            ("2/8/2016 24:00", MonthFirst),
            ("2/8/2016 13:00 PM", MonthFirst),
            ("2/8/2016 0:00 AM", MonthFirst),
            ("2/8/2016 5:46 XM", MonthFirst),
            ("2/8/2016 5:6", MonthFirst),
            ("1669405397", MonthFirst),
            ("", EpochSeconds),
            ("-", EpochSeconds),
            (".5", EpochSeconds),
            ("5.", EpochSeconds),
            ("1e", EpochSeconds),
            ("1e99", EpochSeconds),
            ("1 ", EpochSeconds),
            ("0x10", EpochSeconds),
            ("1669405397123", EpochSeconds),
            ("2/8/2016", EpochMillis),
        ] {
            assert_eq!(read(text, shape), None, "{text} as {shape:?}");
        }
        for text in ["2/8/2016 5:46", "1163438041250", "03/25/2017 8:55:43 AM"] {
            assert_eq!(shaped_us(text.as_bytes(), None), None, "{text} without a shape");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_in_a_shape_is_read_back(us in -62_135_596_800_000_000_i64..253_402_300_799_000_000) {
            let time = DateTime::from_timestamp_micros(us).unwrap();
            prop_assert_eq!(read(&us.to_string(), TimeShape::EpochMicros), Some(us));
            let millis = us.div_euclid(1_000);
            prop_assert_eq!(read(&millis.to_string(), TimeShape::EpochMillis), Some(millis * 1_000));
            let sign = if us < 0 { "-" } else { "" };
            let size = us.unsigned_abs();
            let seconds = format!("{sign}{}.{:06}", size / 1_000_000, size % 1_000_000);
            prop_assert_eq!(read(&seconds, TimeShape::EpochSeconds), Some(us));
            let (date, clock) = (time.date_naive(), time.format("%-H:%M:%S%.6f"));
            let days_first = format!("{}.{}.{:04} {clock}", date.day(), date.month(), date.year());
            prop_assert_eq!(read(&days_first, TimeShape::DayFirst), Some(us));
            let (is_pm, hour) = time.hour12();
            let half = if is_pm { "PM" } else { "AM" };
            let month_first = format!(
                "{:02}/{:02}/{:04} {hour}:{} {half}", date.month(), date.day(), date.year(), time.format("%M:%S%.6f")
            );
            prop_assert_eq!(read(&month_first, TimeShape::MonthFirst), Some(us));
        }

        #[test]
        fn no_text_is_read_as_a_day_that_is_not(a in 0_u32..40, b in 0_u32..40, year in 1_u32..10_000) {
            let text = format!("{a}/{b}/{year:04}");
            let day = |month, day| {
                let date = NaiveDate::from_ymd_opt(i32::try_from(year).unwrap(), month, day)?;
                Some(date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros())
            };
            prop_assert_eq!(read(&text, TimeShape::MonthFirst), day(a, b));
            prop_assert_eq!(read(&text, TimeShape::DayFirst), day(b, a));
        }
    }
}

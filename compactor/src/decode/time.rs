//! ISO-8601 text to microseconds. Its own reader, because the shapes that feeds really send (no seconds, no offset, a
//! space for the `T`) have to be read alike everywhere, and because a timestamp is in every record.

mod shaped;

pub(crate) use shaped::shaped_us;

/// Microseconds since 1970 of `YYYY-MM-DD`, or of that with `T` or a space and `HH:MM`, `HH:MM:SS` or `HH:MM:SS.f`, then
/// nothing, `Z`, `+HH`, `+HHMM` or `+HH:MM`. Without an offset it is UTC; digits beyond microseconds are cut off.
pub(crate) fn timestamp_us(text: &[u8]) -> Option<i64> {
    let mut rest = Digits(text);
    let year = rest.take(4)?;
    rest.mark(b'-')?;
    let month = rest.take(2)?;
    rest.mark(b'-')?;
    let day = rest.take(2)?;
    let days = days_since_1970(year, month, day)?;
    if rest.0.is_empty() {
        return Some(days * 86_400_000_000);
    }
    rest.mark(b'T').or_else(|| rest.mark(b't')).or_else(|| rest.mark(b' '))?;
    let hour = rest.take(2).filter(|hour| *hour < 24)?;
    rest.mark(b':')?;
    let minute = rest.take(2).filter(|minute| *minute < 60)?;
    let (mut second, mut micros) = (0, 0);
    if rest.mark(b':').is_some() {
        second = rest.take(2).filter(|second| *second < 60)?;
        if rest.mark(b'.').is_some() {
            micros = rest.fraction()?;
        }
    }
    let offset = rest.offset_seconds()?;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    Some(seconds * 1_000_000 + micros)
}

/// Days from 1970-01-01 in the Gregorian calendar (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days_since_1970(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=last).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

struct Digits<'a>(&'a [u8]);

impl Digits<'_> {
    fn take(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        let value = digits
            .iter()
            .try_fold(0, |value, digit| digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0')))?;
        self.0 = rest;
        Some(value)
    }

    fn mark(&mut self, mark: u8) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        (*first == mark).then(|| self.0 = rest)
    }

    /// The digits after the point, as microseconds.
    fn fraction(&mut self) -> Option<i64> {
        let length = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(length);
        self.0 = rest;
        let micros = (0..6).fold(0, |value, place| value * 10 + i64::from(digits.get(place).map_or(0, |d| d - b'0')));
        (length > 0).then_some(micros)
    }

    /// The offset at the end, in seconds east of UTC.
    fn offset_seconds(&mut self) -> Option<i64> {
        if self.0.is_empty() {
            return Some(0);
        }
        if self.mark(b'Z').or_else(|| self.mark(b'z')).is_some() {
            return self.0.is_empty().then_some(0);
        }
        let sign = if self.mark(b'-').is_some() { -1 } else { self.mark(b'+').map(|()| 1)? };
        let hours = self.take(2).filter(|hours| *hours < 24)?;
        let minutes = if self.0.is_empty() {
            0
        } else {
            let _ = self.mark(b':');
            self.take(2).filter(|minutes| *minutes < 60)?
        };
        self.0.is_empty().then_some(sign * (hours * 3_600 + minutes * 60))
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Days, NaiveDate};

    use super::*;

    #[test]
    fn every_day_of_ten_thousand_years_is_the_calendars() {
        let mut date = NaiveDate::from_ymd_opt(0, 1, 1).unwrap();
        for days in -719_528_i64.. {
            let text = date.format("%Y-%m-%d").to_string();
            if text.len() > 10 {
                break;
            }
            assert_eq!(timestamp_us(text.as_bytes()), Some(days * 86_400_000_000), "{text}");
            date = date.checked_add_days(Days::new(1)).unwrap();
        }
    }

    #[test]
    fn rfc_3339_is_read_as_chrono_reads_it() {
        for text in [
            "2016-02-08T05:46:00Z",
            "1969-12-31T23:59:59.999999Z",
            "2024-02-29T23:59:59.123456789+05:30",
            "2000-01-01t00:00:00.5-11:45",
        ] {
            let want = DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros();
            assert_eq!(timestamp_us(text.as_bytes()), Some(want), "{text}");
        }
    }

    #[test]
    fn the_shapes_of_real_feeds_are_the_same_moment() {
        let moment = Some(1_735_690_500_000_000);
        for text in [
            "2025-01-01T00:15",
            "2025-01-01 00:15:00",
            "2025-01-01 00:15:00.000000000",
            "2025-01-01T00:15Z",
            "2025-01-01T02:15+02",
            "2025-01-01T02:15:00+0200",
            "2024-12-31T19:15:00-05:00",
        ] {
            assert_eq!(timestamp_us(text.as_bytes()), moment, "{text}");
        }
    }

    #[test]
    fn what_is_no_timestamp_is_refused() {
        for text in [
            "",
            "2025",
            "2025-1-1",
            "2025-02-29",
            "2025-13-01",
            "2025-00-10",
            "2025-01-32",
            "2025-01-01T",
            "2025-01-01T24:00",
            "2025-01-01T00:60",
            "2025-01-01T00:00:60",
            "2025-01-01T00:00:00.",
            "2025-01-01T00:00:00 Z",
            "2025-01-01T00:00Zx",
            "2025-01-01T00:00+",
            "2025-01-01T00:00+1",
            "2025-01-01T00:00+01:",
            "2025-01-01T00:00+24:00",
            " 2025-01-01",
            "2025-01-01 ",
            "2025/01/01",
            "02/08/2016 05:46",
        ] {
            assert_eq!(timestamp_us(text.as_bytes()), None, "{text}");
        }
    }
}

//! Instants as delivery writes them: calendar dates in UTC that always have a four-digit year.

use chrono::{DateTime, Utc};

use crate::stream::Clock;

/// The last microsecond of the year 9999, the largest that has a four-digit year.
const LAST_US: i64 = 253_402_300_799_999_999;

/// Microseconds since 1970 as a calendar date. An instant outside 1970 to 9999 can only be a broken timestamp from
/// upstream: it is moved to the nearest end so that its record still lands under a name that can be read.
pub(super) fn utc(us: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(us.clamp(0, LAST_US)).unwrap_or_default()
}

/// Now, signed as arrival and due times are.
pub(super) fn now_us(clock: &dyn Clock) -> i64 {
    i64::try_from(clock.now_us()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_impossible_instant_still_has_a_four_digit_year() {
        assert_eq!(utc(i64::MIN).to_string(), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(i64::MAX).format("%Y-%m-%d").to_string(), "9999-12-31");
        assert_eq!(utc(1_535_365_800_000_000).to_string(), "2018-08-27 10:30:00 UTC");
    }
}

//! Numbers as people read them. Text and page share these, so that one value never has two spellings.
//!
//! Every function takes the unit of the record and prints the unit it chose; a value that is not a number prints as `n/a`.

/// Printed where a number cannot be given.
pub const NOT_AVAILABLE: &str = "n/a";

/// A whole number with thousands separators: `1,234,567`.
#[must_use]
pub fn count(value: u64) -> String {
    grouped(&value.to_string())
}

/// A whole number with its sign when negative: `-1,234`.
#[must_use]
pub fn signed(value: i64) -> String {
    let sign = if value < 0 { "-" } else { "" };
    format!("{sign}{}", count(value.unsigned_abs()))
}

/// A noun with its count: `1 record`, `2 records`.
#[must_use]
pub fn counted(value: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(value), if value == 1 { one } else { many })
}

/// Bytes in binary units, three significant digits: `512 B`, `1.50 KiB`, `10.0 MiB`.
#[must_use]
pub fn bytes(value: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if value < 1024 {
        return format!("{value} B");
    }
    let mut scaled = value as f64 / 1024.0;
    let mut unit = 0;
    while scaled >= 1023.5 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    format!("{} {}", three_digits(scaled), UNITS[unit])
}

/// A span given in microseconds: `850 µs`, `12.4 ms`, `3.20 s`, `2 min 05 s`, `3 h 02 min`.
#[must_use]
pub fn duration_us(us: u64) -> String {
    let (milliseconds, seconds) = (us as f64 / 1e3, us as f64 / 1e6);
    if us < 1_000 {
        format!("{us} µs")
    } else if milliseconds < 999.5 {
        format!("{} ms", three_digits(milliseconds))
    } else if seconds < 59.95 {
        format!("{} s", three_digits(seconds))
    } else {
        let whole = seconds.round() as u64;
        match whole / 3_600 {
            0 => format!("{} min {:02} s", whole / 60, whole % 60),
            _ => {
                let minutes = (seconds / 60.0).round() as u64;
                format!("{} h {:02} min", count(minutes / 60), minutes % 60)
            }
        }
    }
}

/// A position on a time axis given in microseconds: `0:00`, `1:30`, `2:05:00`.
#[must_use]
pub fn clock_us(us: u64) -> String {
    let seconds = us / 1_000_000;
    match seconds / 3_600 {
        0 => format!("{}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    }
}

/// Records per second: `499.8/s`, `12,345/s`.
#[must_use]
pub fn rate(per_second: f64) -> String {
    if per_second.is_finite() { format!("{}/s", decimal(per_second)) } else { NOT_AVAILABLE.to_owned() }
}

/// US dollars; cents from one cent up, three significant digits below: `$1.25`, `$0.0000477`.
#[must_use]
pub fn usd(dollars: f64) -> String {
    if !dollars.is_finite() || dollars < 0.0 {
        return NOT_AVAILABLE.to_owned();
    }
    if dollars == 0.0 {
        return "$0".to_owned();
    }
    if dollars >= 0.01 {
        let cents = format!("{dollars:.2}");
        let (whole, fraction) = cents.split_once('.').unwrap_or((&cents, "00"));
        return format!("${}.{fraction}", grouped(whole));
    }
    // Three significant digits without an exponent: 12 decimals at most, enough for a ten-thousandth of a request.
    let leading = (-dollars.log10()).ceil().clamp(0.0, 10.0) as usize;
    format!("${:.*}", leading + 2, dollars)
}

/// A share of one as a percentage: `12.3 %`, `0.02 %`. What is not all is never rounded up to `100 %`.
#[must_use]
pub fn percent(share: f64) -> String {
    if (0.99..1.0).contains(&share) {
        let hundredths = (share * 10_000.0 + 1e-6).floor() / 100.0;
        return if share > 0.9999 { ">99.99 %".to_owned() } else { format!("{hundredths:.2} %") };
    }
    if share.is_finite() { format!("{} %", decimal(share * 100.0)) } else { NOT_AVAILABLE.to_owned() }
}

/// How many times: `10.2×`, `1,024×`.
#[must_use]
pub fn times(factor: f64) -> String {
    if factor.is_finite() { format!("{}×", decimal(factor)) } else { NOT_AVAILABLE.to_owned() }
}

/// A plain number: three significant digits and at most two decimals below 100, one decimal below 1,000, whole and
/// grouped above. Zeros after the point are dropped.
#[must_use]
pub fn decimal(value: f64) -> String {
    if !value.is_finite() {
        return NOT_AVAILABLE.to_owned();
    }
    let (sign, size) = (if value < 0.0 { "-" } else { "" }, value.abs());
    let text = match size {
        0.0 => return "0".to_owned(),
        s if s < 0.01 => format!("{s:.4}"),
        s if s < 9.995 => format!("{s:.2}"),
        s if s < 999.95 => format!("{s:.1}"),
        s => grouped(&format!("{s:.0}")),
    };
    let trimmed = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if trimmed == "0" { "<0.0001".to_owned() } else { format!("{sign}{trimmed}") }
}

/// Three significant digits of a value of at least one: `1.50`, `15.0`, `150`.
fn three_digits(value: f64) -> String {
    match value {
        v if v < 9.995 => format!("{v:.2}"),
        v if v < 99.95 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

fn grouped(digits: &str) -> String {
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counts_are_grouped_in_threes() {
        for (value, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(value), text);
        }
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(signed(-1_234), "-1,234");
        assert_eq!(signed(i64::MIN), "-9,223,372,036,854,775,808");
        assert_eq!(
            (counted(1, "record", "records"), counted(0, "record", "records")),
            ("1 record".to_owned(), "0 records".to_owned())
        );
    }

    #[test]
    fn bytes_pick_the_unit_and_never_print_1024_of_one() {
        for (value, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.00 KiB"),
            (1_536, "1.50 KiB"),
            (10 << 20, "10.0 MiB"),
            ((1 << 20) - 1, "1.00 MiB"),
            (5 << 40, "5.00 TiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(value), text);
        }
    }

    #[test]
    fn durations_pick_the_unit_and_round_into_the_next() {
        for (us, text) in [
            (0, "0 µs"),
            (850, "850 µs"),
            (999, "999 µs"),
            (1_000, "1.00 ms"),
            (12_400, "12.4 ms"),
            (999_499, "999 ms"),
            (999_500, "1.00 s"),
            (3_200_000, "3.20 s"),
            (59_949_999, "59.9 s"),
            (59_950_000, "1 min 00 s"),
            (125_000_000, "2 min 05 s"),
            (3_599_600_000, "1 h 00 min"),
            (10_920_000_000, "3 h 02 min"),
        ] {
            assert_eq!(duration_us(us), text, "{us}");
        }
        assert_eq!(clock_us(90_000_000), "1:30");
        assert_eq!(clock_us(7_500_000_000), "2:05:00");
    }

    #[test]
    fn dollars_below_a_cent_keep_three_digits() {
        for (value, text) in [
            (0.0, "$0"),
            (0.0000477, "$0.0000477"),
            (0.00062, "$0.000620"),
            (0.001, "$0.00100"),
            (0.25, "$0.25"),
            (1_234.5, "$1,234.50"),
        ] {
            assert_eq!(usd(value), text);
        }
    }

    #[test]
    fn shares_rates_and_factors_carry_their_sign_of_unit() {
        assert_eq!(percent(0.1234), "12.3 %");
        assert_eq!(percent(0.5), "50 %");
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(percent(29_988.0 / 30_000.0), "99.96 %");
        assert_eq!(percent(0.9999), "99.99 %");
        assert_eq!(percent(0.999_999), ">99.99 %");
        assert_eq!(percent(0.0002), "0.02 %");
        assert_eq!(percent(1e-9), "<0.0001 %");
        assert_eq!(rate(499.82), "499.8/s");
        assert_eq!(rate(12_345.4), "12,345/s");
        assert_eq!(times(10.24), "10.2×");
        assert_eq!(decimal(-3.456), "-3.46");
    }

    #[test]
    fn what_is_not_a_number_says_so() {
        for value in [f64::NAN, f64::INFINITY] {
            for text in [rate(value), usd(value), percent(value), times(value), decimal(value)] {
                assert_eq!(text, NOT_AVAILABLE);
            }
        }
    }

    proptest! {
        #[test]
        fn removing_the_separators_gives_the_number_back(value: u64) {
            prop_assert_eq!(count(value).replace(',', "").parse::<u64>().unwrap(), value);
        }

        #[test]
        fn a_printed_size_is_within_half_a_percent(value in 1024_u64..) {
            let text = bytes(value);
            let (number, unit) = text.split_once(' ').unwrap();
            let power = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].iter().position(|u| *u == unit).unwrap() + 1;
            let back = number.parse::<f64>().unwrap() * 1024_f64.powi(i32::try_from(power).unwrap());
            prop_assert!((back / value as f64 - 1.0).abs() <= 0.0051, "{} is printed as {}", value, text);
        }
    }
}

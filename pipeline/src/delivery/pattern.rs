//! The part of Java's `DateTimeFormatter` patterns that a Firehose prefix is written in, in UTC and English.
//!
//! Letters mean what they mean in Java; `Y` (week-based year) and other letters that depend on a locale or a time zone
//! are refused rather than guessed.

use chrono::{DateTime, Datelike, Timelike, Utc};

/// A date pattern, parsed once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field { field: Field, count: usize },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Year,
    Quarter,
    Month,
    DayOfMonth,
    DayOfYear,
    Weekday,
    AmPm,
    Hour0To23,
    Hour1To24,
    Hour0To11,
    Hour1To12,
    Minute,
    Second,
    Fraction,
}

/// Why a date pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// A letter without a meaning here.
    #[error(
        "the letter {letter:?} is not supported in a date pattern; the letters are y u Q M L d D E a H k K h m s S, and \
         text goes between single quotes"
    )]
    UnknownLetter {
        /// Which letter.
        letter: char,
    },
    /// A letter more often than Java allows.
    #[error("{letter:?} may be repeated at most {max} times, not {count}")]
    TooManyLetters {
        /// Which letter.
        letter: char,
        /// How often it was written.
        count: usize,
        /// How often it may be written.
        max: usize,
    },
    /// A quoted text without its closing quote.
    #[error("a single quote is opened and not closed")]
    UnclosedQuote,
    /// A character that Java reserves.
    #[error("{symbol:?} is reserved in a date pattern; put it between single quotes")]
    Reserved {
        /// Which character.
        symbol: char,
    },
}

impl Pattern {
    /// Reads a pattern such as `yyyy/MM/dd'T'HH`.
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        let mut parts = Vec::new();
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '\'' => push_text(&mut parts, &quoted(&mut rest)?),
                'a'..='z' | 'A'..='Z' => {
                    let mut count = 1;
                    while rest.next_if_eq(&c).is_some() {
                        count += 1;
                    }
                    let (field, max) = field(c).ok_or(PatternError::UnknownLetter { letter: c })?;
                    if count > max {
                        return Err(PatternError::TooManyLetters { letter: c, count, max });
                    }
                    parts.push(Part::Field { field, count });
                }
                '[' | ']' | '{' | '}' | '#' => return Err(PatternError::Reserved { symbol: c }),
                other => push_text(&mut parts, other.encode_utf8(&mut [0; 4])),
            }
        }
        Ok(Self(parts))
    }

    /// Appends the instant, written in this pattern.
    pub(super) fn write(&self, at: DateTime<Utc>, out: &mut String) {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Field { field, count } => out.push_str(&field.text(*count, at)),
            }
        }
    }
}

/// The text up to the closing quote; two quotes are one quote, inside and outside.
fn quoted(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String, PatternError> {
    let mut text = String::new();
    loop {
        match rest.next() {
            None => return Err(PatternError::UnclosedQuote),
            Some('\'') if rest.next_if_eq(&'\'').is_some() => text.push('\''),
            Some('\'') => return Ok(if text.is_empty() { "'".to_owned() } else { text }),
            Some(c) => text.push(c),
        }
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        Some(Part::Text(last)) => last.push_str(text),
        _ => parts.push(Part::Text(text.to_owned())),
    }
}

/// What a letter stands for, and how often it may be repeated.
fn field(letter: char) -> Option<(Field, usize)> {
    Some(match letter {
        'y' | 'u' => (Field::Year, 9),
        'Q' => (Field::Quarter, 3),
        'M' | 'L' => (Field::Month, 5),
        'd' => (Field::DayOfMonth, 2),
        'D' => (Field::DayOfYear, 3),
        'E' => (Field::Weekday, 5),
        'a' => (Field::AmPm, 1),
        'H' => (Field::Hour0To23, 2),
        'k' => (Field::Hour1To24, 2),
        'K' => (Field::Hour0To11, 2),
        'h' => (Field::Hour1To12, 2),
        'm' => (Field::Minute, 2),
        's' => (Field::Second, 2),
        'S' => (Field::Fraction, 9),
        _ => return None,
    })
}

impl Field {
    fn text(self, count: usize, at: DateTime<Utc>) -> String {
        let number = |value: u32| format!("{value:0count$}");
        match self {
            Self::Year if count == 2 => format!("{:02}", at.year().rem_euclid(100)),
            Self::Year => format!("{:0count$}", at.year()),
            Self::Quarter if count == 3 => format!("Q{}", at.month0() / 3 + 1),
            Self::Quarter => number(at.month0() / 3 + 1),
            Self::Month => match count {
                1 | 2 => number(at.month()),
                3 => at.format("%b").to_string(),
                4 => at.format("%B").to_string(),
                _ => initial(&at.format("%B").to_string()),
            },
            Self::DayOfMonth => number(at.day()),
            Self::DayOfYear => number(at.ordinal()),
            Self::Weekday => match count {
                1..=3 => at.format("%a").to_string(),
                4 => at.format("%A").to_string(),
                _ => initial(&at.format("%A").to_string()),
            },
            Self::AmPm => at.format("%p").to_string(),
            Self::Hour0To23 => number(at.hour()),
            Self::Hour1To24 => number((at.hour() + 23) % 24 + 1),
            Self::Hour0To11 => number(at.hour() % 12),
            Self::Hour1To12 => number(at.hour12().1),
            Self::Minute => number(at.minute()),
            Self::Second => number(at.second()),
            Self::Fraction => format!("{:09}", at.nanosecond()).chars().take(count).collect(),
        }
    }
}

fn initial(name: &str) -> String {
    name.chars().take(1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::instant::utc;

    /// Friday 2019-01-04 00:07:09.056789 UTC.
    const MIDNIGHT_US: i64 = 1_546_560_429_056_789;
    /// Monday 2018-08-27 13:30:00 UTC.
    const AFTERNOON_US: i64 = 1_535_376_600_000_000;

    fn written(pattern: &str, us: i64) -> String {
        let mut out = String::new();
        Pattern::parse(pattern).unwrap().write(utc(us), &mut out);
        out
    }

    #[test]
    fn every_letter_is_written_as_java_writes_it() {
        for (pattern, midnight, afternoon) in [
            ("yyyy", "2019", "2018"),
            ("uuuu", "2019", "2018"),
            ("yy", "19", "18"),
            ("y", "2019", "2018"),
            ("yyyyyy", "002019", "002018"),
            ("Q QQ QQQ", "1 01 Q1", "3 03 Q3"),
            ("M MM MMM MMMM MMMMM", "1 01 Jan January J", "8 08 Aug August A"),
            ("L LL", "1 01", "8 08"),
            ("d dd", "4 04", "27 27"),
            ("D DDD", "4 004", "239 239"),
            ("E EEEE EEEEE", "Fri Friday F", "Mon Monday M"),
            ("H HH", "0 00", "13 13"),
            ("k kk", "24 24", "13 13"),
            ("K KK", "0 00", "1 01"),
            ("h hh a", "12 12 AM", "1 01 PM"),
            ("m mm", "7 07", "30 30"),
            ("s ss", "9 09", "0 00"),
            ("S SSS SSSSSS", "0 056 056789", "0 000 000000"),
            ("yyyy/MM/dd/HH/", "2019/01/04/00/", "2018/08/27/13/"),
            ("", "", ""),
        ] {
            assert_eq!(written(pattern, MIDNIGHT_US), midnight, "{pattern}");
            assert_eq!(written(pattern, AFTERNOON_US), afternoon, "{pattern}");
        }
    }

    #[test]
    fn quoted_text_is_taken_as_it_stands() {
        assert_eq!(written("'year='yyyy'/month='MM", AFTERNOON_US), "year=2018/month=08");
        assert_eq!(written("HH 'o''clock'", AFTERNOON_US), "13 o'clock");
        assert_eq!(written("yyyy''MM", AFTERNOON_US), "2018'08");
        assert_eq!(written("'{[#]}'", AFTERNOON_US), "{[#]}");
    }

    #[test]
    fn what_java_refuses_or_a_locale_decides_is_refused_by_name() {
        for letter in ['Y', 'w', 'e', 'z', 'V', 'b', 'T'] {
            let error = Pattern::parse(&format!("yyyy{letter}")).unwrap_err();
            assert_eq!(error, PatternError::UnknownLetter { letter });
        }
        assert_eq!(Pattern::parse("HHH"), Err(PatternError::TooManyLetters { letter: 'H', count: 3, max: 2 }));
        assert_eq!(Pattern::parse("yyyy'year"), Err(PatternError::UnclosedQuote));
        assert_eq!(Pattern::parse("yyyy[MM]"), Err(PatternError::Reserved { symbol: '[' }));
    }
}

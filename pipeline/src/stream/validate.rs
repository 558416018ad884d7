//! Field checks in AWS's words: everything that is wrong is said at once, before anything happens.

use std::fmt::{Display, Write as _};

use super::error::{ApiError, ErrorKind};

/// AWS lists ten violations at most.
const MAX_LISTED: usize = 10;
/// Characters of a wrong value that are repeated in the answer.
const MAX_ECHO_CHARS: usize = 512;

/// Violations found so far. Nothing is allocated while there is none.
#[derive(Debug, Default)]
pub(crate) struct Violations {
    listed: Vec<String>,
}

/// A member of a list's entry, counted from 1 as AWS does: `records.1.member.data`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member {
    pub(crate) list: &'static str,
    pub(crate) index: usize,
    pub(crate) field: &'static str,
}

impl Display for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.member.{}", self.list, self.index + 1, self.field)
    }
}

impl Violations {
    /// A required member is absent.
    pub(crate) fn null(&mut self, at: impl Display) {
        self.list(format_args!("null"), at, format_args!("Member must not be null"));
    }

    /// Any other violation.
    pub(crate) fn add(&mut self, value: impl Display, at: impl Display, constraint: impl Display) {
        self.list(format_args!("'{value}'"), at, constraint);
    }

    /// A text of `min` to `max` characters.
    pub(crate) fn length(&mut self, value: &str, at: impl Display, min: usize, max: usize) {
        // Bytes bound characters, so short texts need no count.
        if value.len() < min || (value.len() > max && value.chars().count() > max) {
            let echo: String = value.chars().take(MAX_ECHO_CHARS).collect();
            if value.is_empty() {
                self.add(echo, at, format_args!("Member must have length greater than or equal to {min}"));
            } else {
                self.add(echo, at, format_args!("Member must have length less than or equal to {max}"));
            }
        }
    }

    /// A text that has to match a pattern; `matches` says whether it does.
    pub(crate) fn pattern(&mut self, value: &str, at: impl Display, matches: bool, pattern: &str) {
        if !matches {
            let echo: String = value.chars().take(MAX_ECHO_CHARS).collect();
            self.add(echo, at, format_args!("Member must satisfy regular expression pattern: {pattern}"));
        }
    }

    /// A number of `min` to `max`.
    pub(crate) fn range(&mut self, value: i64, at: impl Display, min: i64, max: i64) {
        if value < min {
            self.add(value, at, format_args!("Member must have value greater than or equal to {min}"));
        } else if value > max {
            self.add(value, at, format_args!("Member must have value less than or equal to {max}"));
        }
    }

    /// One of a set of names.
    pub(crate) fn one_of(&mut self, value: &str, at: impl Display, names: &[&str]) {
        if !names.contains(&value) {
            let echo: String = value.chars().take(MAX_ECHO_CHARS).collect();
            let constraint = format!("Member must satisfy enum value set: [{}]", names.join(", "));
            self.add(echo, at, constraint);
        }
    }

    /// A name: letters, digits, `_`, `.`, `-`, 1 to 128 of them.
    pub(crate) fn name(&mut self, value: &str, at: impl Display + Copy) {
        self.pattern(value, at, !value.is_empty() && value.bytes().all(is_name_byte), "[a-zA-Z0-9_.-]+");
        self.length(value, at, 1, 128);
    }

    /// A name that has to be there. An empty text stands for one that is not.
    pub(crate) fn required_name<'a>(&mut self, value: Option<&'a str>, at: impl Display + Copy) -> &'a str {
        match value {
            Some(name) => self.name(name, at),
            None => self.null(at),
        }
        value.unwrap_or_default()
    }

    /// A StreamId, which AWS reserves for later: `[a-z0-9]{20}-[a-z0-9]{3}`.
    pub(crate) fn stream_id(&mut self, value: &str) {
        let plain = |part: &str| part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let parts = value.split_once('-').filter(|(long, short)| (long.len(), short.len()) == (20, 3));
        let matches = parts.is_some_and(|(long, short)| plain(long) && plain(short));
        self.pattern(value, "streamId", matches, "[a-z0-9]{20}-[a-z0-9]{3}");
        self.length(value, "streamId", 1, 24);
    }

    /// The refusal, if anything was found.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        match self.listed.len() {
            0 => Ok(()),
            count => {
                let plural = if count == 1 { "" } else { "s" };
                let text = format!("{count} validation error{plural} detected: {}", self.listed.join("; "));
                Err(ApiError::new(ErrorKind::Validation, text))
            }
        }
    }

    fn list(&mut self, value: impl Display, at: impl Display, constraint: impl Display) {
        if self.listed.len() < MAX_LISTED {
            let mut text = String::new();
            let _infallible = write!(text, "Value {value} at '{at}' failed to satisfy constraint: {constraint}");
            self.listed.push(text);
        }
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}

/// `0|([1-9]\d{0,max-1})`: a number without sign or leading zeros.
pub(crate) fn is_number(text: &str, max_digits: usize) -> bool {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits && text.len() <= max_digits && (text == "0" || !text.starts_with('0'))
}

/// The stream a call is about: by name, by ARN, or by both when they agree.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamTarget<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) arn: Option<&'a str>,
}

impl<'a> StreamTarget<'a> {
    /// Notes what is wrong with either.
    pub(crate) fn check(&self, violations: &mut Violations) {
        if let Some(name) = self.name {
            violations.name(name, "streamName");
        }
        if let Some(arn) = self.arn {
            let pattern = "arn:aws.*:kinesis:.*:\\d{12}:stream/\\S+";
            violations.pattern(arn, "streamARN", name_in_arn(arn).is_some(), pattern);
            violations.length(arn, "streamARN", 1, 2048);
        }
    }

    /// The stream's name. An ARN of any region or account names the stream here.
    pub(crate) fn resolve(&self) -> Result<&'a str, ApiError> {
        let from_arn = self.arn.and_then(name_in_arn);
        match (self.name, from_arn) {
            (Some(name), Some(other)) if name != other => Err(ApiError::invalid_argument(format!(
                "StreamName {name} and StreamARN {} do not name the same stream.",
                self.arn.unwrap_or_default()
            ))),
            (Some(name), _) | (None, Some(name)) => Ok(name),
            (None, None) => Err(ApiError::invalid_argument("Either StreamName or StreamARN should be provided.")),
        }
    }
}

fn name_in_arn(arn: &str) -> Option<&str> {
    let mut parts = arn.splitn(6, ':');
    let head = parts.next()? == "arn" && parts.next()?.starts_with("aws") && parts.next()? == "kinesis";
    let (_region, account) = (parts.next()?, parts.next()?);
    let name = parts.next()?.strip_prefix("stream/")?;
    let account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
    (head && account && !name.is_empty() && !name.contains(char::is_whitespace)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_are_told_in_the_words_of_aws() {
        let mut violations = Violations::default();
        violations.null("streamName");
        let text = violations.finish().unwrap_err().message;
        assert_eq!(
            text,
            "1 validation error detected: Value null at 'streamName' failed to satisfy constraint: Member must not be null"
        );

        let mut violations = Violations::default();
        violations.name("a b", "streamName");
        violations.range(0, "limit", 1, 10_000);
        assert_eq!(
            violations.finish().unwrap_err().message,
            "2 validation errors detected: Value 'a b' at 'streamName' failed to satisfy constraint: Member must satisfy \
             regular expression pattern: [a-zA-Z0-9_.-]+; Value '0' at 'limit' failed to satisfy constraint: Member must \
             have value greater than or equal to 1"
        );
    }

    #[test]
    fn length_counts_characters_not_bytes() {
        let mut violations = Violations::default();
        violations.length(&"ü".repeat(256), "partitionKey", 1, 256);
        assert!(violations.finish().is_ok());
        let mut violations = Violations::default();
        violations.length(&"ü".repeat(257), "partitionKey", 1, 256);
        violations.length("", "partitionKey", 1, 256);
        let text = violations.finish().unwrap_err().message;
        assert!(text.contains("less than or equal to 256") && text.contains("greater than or equal to 1"), "{text}");
    }

    #[test]
    fn ten_violations_are_listed_at_most() {
        let mut violations = Violations::default();
        (0..500).for_each(|index| violations.null(Member { list: "records", index, field: "data" }));
        let text = violations.finish().unwrap_err().message;
        assert!(text.starts_with("10 validation errors detected: Value null at 'records.1.member.data'"), "{text}");
    }

    #[test]
    fn numbers_have_no_sign_and_no_leading_zero() {
        let good = ["0", "7", "340282366920938463463374607431768211456"];
        assert!(good.iter().all(|text| is_number(text, 39)));
        let bad = ["", "00", "01", "-1", "+1", "1e3", "1111111111111111111111111111111111111111"];
        assert!(!bad.iter().any(|text| is_number(text, 39)));
    }

    #[test]
    fn a_stream_is_named_by_name_or_arn_and_both_must_agree() {
        let arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders";
        let resolve = |name, arn| StreamTarget { name, arn }.resolve().map_err(|e| e.kind);
        assert_eq!(resolve(None, Some(arn)), Ok("orders"));
        assert_eq!(resolve(Some("orders"), Some(arn)), Ok("orders"));
        assert_eq!(resolve(Some("other"), Some(arn)), Err(ErrorKind::InvalidArgument));
        assert_eq!(resolve(None, None), Err(ErrorKind::InvalidArgument));
        for bad in [
            "orders",
            "arn:aws:sqs:r:123456789012:stream/x",
            "arn:aws:kinesis:r:12:stream/x",
            "arn:aws:kinesis:r:123456789012:stream/",
        ] {
            assert_eq!(name_in_arn(bad), None, "{bad}");
        }
    }
}

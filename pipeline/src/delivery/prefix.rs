//! Firehose prefix expressions: parsed once into segments, evaluated once for each object.
//!
//! The rules are those of "Understand custom prefixes for Amazon S3 objects" in the Amazon Data Firehose developer
//! guide. Partition values are the one difference: Firehose puts them into the key as they are, here they are
//! percent-encoded as `object_store` does it (`/` becomes `%2F`, `é` becomes `%C3%A9`, a space stays), because a value
//! must not make a level of its own, and because readers of Hive-style folders decode percent-encoding.

use chrono::{DateTime, Utc};
use object_store::path::PathPart;
use rand::{Rng, RngExt};

use super::pattern::{Pattern, PatternError};

/// Characters in `!{firehose:random-string}`.
const RANDOM_STRING_CHARS: usize = 11;
/// What Firehose appends to a prefix without a timestamp.
const DEFAULT_TIMESTAMP: &str = "!{timestamp:yyyy/MM/dd/HH/}";
const ERROR_OUTPUT_TYPE: &str = "!{firehose:error-output-type}";

/// A prefix expression, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prefix(Vec<Segment>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Text(String),
    Timestamp(Pattern),
    RandomString,
    ErrorOutputType,
    /// The index of the key among the configured ones.
    PartitionKey(usize),
}

/// What a prefix is evaluated with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Values<'a> {
    /// The approximate arrival of the oldest record in the object.
    pub(super) at: DateTime<Utc>,
    /// The partition values, in the order of the configured keys.
    pub(super) keys: &'a [String],
    /// The kind of error; only an error prefix asks for it.
    pub(super) error_type: &'a str,
}

/// Why a prefix expression cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrefixError {
    /// An expression without its closing brace.
    #[error("an expression is opened with !{{ and not closed with }}")]
    Unclosed,
    /// An expression that does not exist.
    #[error(
        "!{{{expression}}} is not an expression; there are !{{timestamp:yyyy/MM/dd}}, !{{firehose:random-string}}, \
         !{{firehose:error-output-type}} and !{{partitionKeyFromQuery:name}}"
    )]
    Unknown {
        /// What stands between the braces.
        expression: String,
    },
    /// A date pattern that cannot be read.
    #[error("date pattern {pattern:?}: {problem}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why.
        problem: PatternError,
    },
    /// An expression that only the other prefix may hold.
    #[error("!{{{expression}}} is not allowed here, only in {allowed_in}")]
    Misplaced {
        /// What stands between the braces.
        expression: String,
        /// Where it belongs.
        allowed_in: &'static str,
    },
    /// A partition key that is not configured.
    #[error("the partition key {name:?} is not in delivery.partition_keys")]
    UnknownKey {
        /// The key's name.
        name: String,
    },
    /// A partition key that is configured and not used.
    #[error("the partition key {name:?} is not used; add !{{partitionKeyFromQuery:{name}}} or remove the key")]
    UnusedKey {
        /// The key's name.
        name: String,
    },
    /// No error prefix although the prefix has expressions.
    #[error(
        "an error prefix is needed because the prefix has expressions; write for example errors/{ERROR_OUTPUT_TYPE}/"
    )]
    ErrorPrefixMissing,
    /// An error prefix with expressions that does not say the kind of error.
    #[error("an error prefix with expressions must contain {ERROR_OUTPUT_TYPE}")]
    ErrorOutputTypeMissing,
    /// The keys it makes are too long.
    #[error("it makes keys that are too long: {detail}")]
    TooLong {
        /// What is too long, with the limit.
        detail: String,
    },
    /// The keys it makes are not valid.
    #[error("it makes keys that are not valid: {detail}")]
    Invalid {
        /// Why not.
        detail: String,
    },
}

/// Which of the two prefixes is being read.
#[derive(Debug, Clone, Copy)]
enum Role<'a> {
    Good { keys: &'a [String] },
    Error,
}

impl Prefix {
    /// Reads the prefix of good objects, for these partition keys; each must be used.
    pub(super) fn good(text: &str, keys: &[String]) -> Result<Self, PrefixError> {
        let role = Role::Good { keys };
        let mut segments = parse(text, role)?;
        if !segments.iter().any(|s| matches!(s, Segment::Timestamp(_))) {
            segments.extend(parse(DEFAULT_TIMESTAMP, role)?);
        }
        match keys.iter().enumerate().find(|(index, _)| !segments.contains(&Segment::PartitionKey(*index))) {
            Some((_, name)) => Err(PrefixError::UnusedKey { name: name.clone() }),
            None => Ok(Self(segments)),
        }
    }

    /// Reads the prefix of error objects; an empty one follows from the prefix of good objects, as in Firehose.
    pub(super) fn error(text: &str, good: &str) -> Result<Self, PrefixError> {
        if text.is_empty() {
            if good.contains("!{") {
                return Err(PrefixError::ErrorPrefixMissing);
            }
            return parse(&format!("{good}{ERROR_OUTPUT_TYPE}/{DEFAULT_TIMESTAMP}"), Role::Error).map(Self);
        }
        let segments = parse(text, Role::Error)?;
        let plain = segments.iter().all(|s| matches!(s, Segment::Text(_)));
        if plain || segments.contains(&Segment::ErrorOutputType) {
            Ok(Self(segments))
        } else {
            Err(PrefixError::ErrorOutputTypeMissing)
        }
    }

    /// The start of an object's key.
    pub(super) fn evaluate(&self, values: Values<'_>, random: &mut impl Rng) -> String {
        let mut out = String::new();
        for segment in &self.0 {
            match segment {
                Segment::Text(text) => out.push_str(text),
                Segment::Timestamp(pattern) => pattern.write(values.at, &mut out),
                Segment::RandomString => push_random(&mut out, random),
                Segment::ErrorOutputType => out.push_str(values.error_type),
                Segment::PartitionKey(index) => {
                    let value = values.keys.get(*index).map_or("", String::as_str);
                    out.push_str(PathPart::from(value).as_ref());
                }
            }
        }
        out
    }
}

/// AWS's examples (`5abf82daaa5`) are lower-case hexadecimal digits.
fn push_random(out: &mut String, random: &mut impl Rng) {
    let digits = (0..RANDOM_STRING_CHARS).filter_map(|_| char::from_digit(random.random_range(0..16), 16));
    out.extend(digits);
}

fn parse(text: &str, role: Role<'_>) -> Result<Vec<Segment>, PrefixError> {
    let mut segments = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("!{") {
        let (expression, after) = after.split_once('}').ok_or(PrefixError::Unclosed)?;
        if !before.is_empty() {
            segments.push(Segment::Text(before.to_owned()));
        }
        segments.push(parse_expression(expression, role)?);
        rest = after;
    }
    if !rest.is_empty() {
        segments.push(Segment::Text(rest.to_owned()));
    }
    Ok(segments)
}

fn parse_expression(expression: &str, role: Role<'_>) -> Result<Segment, PrefixError> {
    let misplaced = |allowed_in| PrefixError::Misplaced { expression: expression.to_owned(), allowed_in };
    match (expression.split_once(':'), role) {
        (Some(("timestamp", pattern)), _) if !pattern.is_empty() => Pattern::parse(pattern)
            .map(Segment::Timestamp)
            .map_err(|problem| PrefixError::Pattern { pattern: pattern.to_owned(), problem }),
        (Some(("firehose", "random-string")), _) => Ok(Segment::RandomString),
        (Some(("firehose", "error-output-type")), Role::Error) => Ok(Segment::ErrorOutputType),
        (Some(("firehose", "error-output-type")), Role::Good { .. }) => Err(misplaced("delivery.error_prefix")),
        (Some(("partitionKeyFromQuery", name)), Role::Good { keys }) => keys
            .iter()
            .position(|key| key == name)
            .map(Segment::PartitionKey)
            .ok_or_else(|| PrefixError::UnknownKey { name: name.to_owned() }),
        (Some(("partitionKeyFromQuery", _)), Role::Error) => Err(misplaced("delivery.prefix")),
        _ => Err(PrefixError::Unknown { expression: expression.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;
    use crate::delivery::instant::utc;

    /// 2018-08-27 10:30 UTC, the instant of AWS's examples.
    const AT_US: i64 = 1_535_365_800_000_000;

    fn evaluated(prefix: &Prefix, keys: &[&str]) -> String {
        let keys: Vec<_> = keys.iter().map(|k| (*k).to_owned()).collect();
        let values = Values { at: utc(AT_US), keys: &keys, error_type: "processing-failed" };
        prefix.evaluate(values, &mut StdRng::seed_from_u64(7))
    }

    fn names(keys: &[&str]) -> Vec<String> {
        keys.iter().map(|k| (*k).to_owned()).collect()
    }

    /// Random strings replaced by `*`.
    fn masked(text: &str) -> String {
        match text.split_once("rand=") {
            Some((before, random)) => {
                assert_eq!(random.len(), 11, "{random}");
                assert!(random.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c)), "{random}");
                format!("{before}rand=*")
            }
            None => text.to_owned(),
        }
    }

    /// The pairs of the developer guide. Its table prints the last two at other instants, one day as "10", and one
    /// default without its hour; the values here follow its rules, all at 10:30 on 27 August 2018.
    #[test]
    fn the_documented_prefixes_evaluate_as_documented() {
        let full = "year=!{timestamp:yyyy}/month=!{timestamp:MM}/day=!{timestamp:dd}/hour=!{timestamp:HH}/";
        for (good, error, want_good, want_error) in [
            (
                String::new(),
                "myFirehoseFailures/!{firehose:error-output-type}/".to_owned(),
                "2018/08/27/10/",
                "myFirehoseFailures/processing-failed/",
            ),
            (
                "myFirehose/DeliveredYear=!{timestamp:yyyy}/anyMonth/rand=!{firehose:random-string}".to_owned(),
                "myFirehoseFailures/!{firehose:error-output-type}/!{timestamp:yyyy}/anyMonth/!{timestamp:dd}"
                    .to_owned(),
                "myFirehose/DeliveredYear=2018/anyMonth/rand=*",
                "myFirehoseFailures/processing-failed/2018/anyMonth/27",
            ),
            (
                format!("myPrefix/{full}"),
                format!("myErrorPrefix/{full}!{{firehose:error-output-type}}"),
                "myPrefix/year=2018/month=08/day=27/hour=10/",
                "myErrorPrefix/year=2018/month=08/day=27/hour=10/processing-failed",
            ),
            (
                "myFirehosePrefix/".to_owned(),
                String::new(),
                "myFirehosePrefix/2018/08/27/10/",
                "myFirehosePrefix/processing-failed/2018/08/27/10/",
            ),
            (
                "p/".to_owned(),
                "myPrefix/result=!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd}".to_owned(),
                "p/2018/08/27/10/",
                "myPrefix/result=processing-failed/2018/08/27",
            ),
        ] {
            assert_eq!(masked(&evaluated(&Prefix::good(&good, &[]).unwrap(), &[])), want_good);
            assert_eq!(evaluated(&Prefix::error(&error, &good).unwrap(), &[]), want_error);
        }
        assert_eq!(Prefix::error("", "!{timestamp:yyyy/MM/dd}"), Err(PrefixError::ErrorPrefixMissing));
    }

    #[test]
    fn every_random_string_is_drawn_anew_and_follows_the_seed() {
        let prefix =
            Prefix::good("!{firehose:random-string}/!{firehose:random-string}/!{timestamp:yyyy}/", &[]).unwrap();
        let text = evaluated(&prefix, &[]);
        let parts: Vec<_> = text.split('/').collect();
        assert_eq!((parts[0].len(), parts[1].len(), parts[2]), (11, 11, "2018"));
        assert_ne!(parts[0], parts[1]);
        assert_eq!(text, evaluated(&prefix, &[]));
    }

    #[test]
    fn a_partition_value_never_makes_a_level_of_its_own() {
        let prefix = Prefix::good("t=!{partitionKeyFromQuery:t}/!{timestamp:HH}/", &names(&["t"])).unwrap();
        for (value, want) in [
            ("London", "t=London/10/"),
            ("Turbine 001/é", "t=Turbine 001%2F%C3%A9/10/"),
            ("../../etc", "t=..%2F..%2Fetc/10/"),
            ("50%", "t=50%25/10/"),
            ("a\nb", "t=a%0Ab/10/"),
        ] {
            assert_eq!(evaluated(&prefix, &[value]), want);
        }
        let bare = Prefix::good("!{partitionKeyFromQuery:t}/!{timestamp:HH}/", &names(&["t"])).unwrap();
        assert_eq!(evaluated(&bare, &[".."]), "%2E%2E/10/");
    }

    #[test]
    fn a_prefix_that_firehose_would_refuse_is_refused_with_its_reason() {
        let good = |text: &str, keys: &[&str]| Prefix::good(text, &names(keys)).unwrap_err();
        assert_eq!(good("a/!{timestamp:yyyy", &[]), PrefixError::Unclosed);
        for unknown in ["timestamp:", "timestamp", "firehose:colour", "partitionKeyFromLambda:city", ""] {
            let error = good(&format!("a/!{{{unknown}}}/"), &[]);
            assert_eq!(error, PrefixError::Unknown { expression: unknown.to_owned() });
        }
        assert!(matches!(good("!{timestamp:YYYY}/", &[]), PrefixError::Pattern { .. }));
        assert!(matches!(good("!{firehose:error-output-type}/", &[]), PrefixError::Misplaced { .. }));
        let unknown = PrefixError::UnknownKey { name: "city".to_owned() };
        assert_eq!(good("!{partitionKeyFromQuery:city}/", &["town"]), unknown);
        let unused = PrefixError::UnusedKey { name: "town".to_owned() };
        assert_eq!(good("!{partitionKeyFromQuery:city}/", &["city", "town"]), unused);

        let error = |text: &str| Prefix::error(text, "a/").unwrap_err();
        assert_eq!(error("e/!{timestamp:yyyy}/"), PrefixError::ErrorOutputTypeMissing);
        assert!(matches!(error("!{partitionKeyFromQuery:city}/"), PrefixError::Misplaced { .. }));
        assert_eq!(evaluated(&Prefix::error("errors/", "a/").unwrap(), &[]), "errors/");
    }

    #[test]
    fn messages_show_expressions_as_they_are_written() {
        let message = Prefix::good("!{nonsense}", &[]).unwrap_err().to_string();
        assert!(
            message.starts_with("!{nonsense} is not an expression; there are !{timestamp:yyyy/MM/dd}"),
            "{message}"
        );
        let message = Prefix::error("", "!{timestamp:yyyy}").unwrap_err().to_string();
        assert!(message.ends_with("errors/!{firehose:error-output-type}/"), "{message}");
    }
}

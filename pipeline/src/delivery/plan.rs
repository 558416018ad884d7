//! The scenario's `[delivery]` section, compiled: which lane a record takes, and what the objects of a lane are called.

use object_store::path::Path;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    error::DeliveryError,
    instant::utc,
    object,
    partition::PartitionKeys,
    prefix::{Prefix, PrefixError, Values},
    refusal::{ErrorType, Refusal},
};

/// Firehose's limit of an evaluated prefix.
const MAX_PREFIX_CHARS: usize = 512;
/// Local file systems take 255 bytes for a name; a few are left for the suffix of a file that is being written. A value
/// that would not fit is refused for every kind of lake, so that a scenario behaves the same in a folder and in S3.
const MAX_LEVEL_BYTES: usize = 250;

/// Records that share objects: one set of partition values, or one kind of error.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// The partition values in order of key name; none without dynamic partitioning.
    Good(Vec<String>),
    Error(ErrorType),
}

/// Everything that routing and naming need.
#[derive(Debug)]
pub(super) struct Plan {
    stream: String,
    root: Path,
    good: NamedPrefix,
    error: NamedPrefix,
    keys: PartitionKeys,
}

/// A prefix that can say where it was written when it is at fault.
#[derive(Debug)]
struct NamedPrefix {
    field: &'static str,
    text: String,
    prefix: Prefix,
}

impl Plan {
    /// Compiles the section; objects are named for `stream` and put below `root`.
    pub(super) fn new(spec: &millrace_scenarios::Delivery, stream: &str, root: Path) -> Result<Self, DeliveryError> {
        let keys = PartitionKeys::parse(&spec.partition_keys).map_err(|(name, problem)| {
            let path = spec.partition_keys.get(&name).cloned().unwrap_or_default();
            DeliveryError::PartitionKey { name, path, problem }
        })?;
        let good = NamedPrefix::new("prefix", &spec.prefix, |text| Prefix::good(text, keys.names()))?;
        let error = NamedPrefix::new("error_prefix", &spec.error_prefix, |text| Prefix::error(text, &spec.prefix))?;
        let plan = Self { stream: stream.to_owned(), root, good, error, keys };
        plan.try_out()?;
        Ok(plan)
    }

    /// The lane of a record, by the values of its partition keys.
    pub(super) fn lane(&self, data: &[u8]) -> Result<Lane, Refusal> {
        let refused = |e: super::partition::Unreadable| Refusal {
            error_type: ErrorType::ProcessingFailed,
            message: e.to_string(),
        };
        self.keys.values(data).map(Lane::Good).map_err(refused)
    }

    /// Refuses a lane whose objects would have keys that are too long.
    pub(super) fn admit(&self, lane: &Lane, arrival_us: i64, random: &mut impl Rng) -> Result<(), Refusal> {
        let refused = |e: PrefixError| Refusal { error_type: ErrorType::ProcessingFailed, message: e.to_string() };
        self.key(lane, arrival_us, random).map(drop).map_err(refused)
    }

    /// The key of a new object of the lane.
    pub(super) fn location(&self, lane: &Lane, oldest_us: i64, random: &mut impl Rng) -> Result<Path, DeliveryError> {
        self.key(lane, oldest_us, random)
            .and_then(|key| parse(&if self.root.is_root() { key } else { format!("{}/{key}", self.root) }))
            .map_err(|problem| self.prefix(lane).at_fault(problem))
    }

    /// The key below the root: evaluated prefix and object name.
    fn key(&self, lane: &Lane, at_us: i64, random: &mut impl Rng) -> Result<String, PrefixError> {
        let at = utc(at_us);
        let values = match lane {
            Lane::Good(keys) => Values { at, keys, error_type: "" },
            Lane::Error(error_type) => Values { at, keys: &[], error_type: error_type.name() },
        };
        let prefix = self.prefix(lane).prefix.evaluate(values, random);
        let chars = prefix.chars().count();
        if chars > MAX_PREFIX_CHARS {
            let detail = format!("the evaluated prefix has {chars} characters, {MAX_PREFIX_CHARS} are allowed");
            return Err(PrefixError::TooLong { detail });
        }
        let key = prefix + &object::name(&self.stream, at, random);
        match key.split('/').map(str::len).max() {
            Some(bytes) if bytes > MAX_LEVEL_BYTES => {
                let detail = format!("a level of the key has {bytes} bytes, {MAX_LEVEL_BYTES} are allowed");
                Err(PrefixError::TooLong { detail })
            }
            _ => Ok(key),
        }
    }

    const fn prefix(&self, lane: &Lane) -> &NamedPrefix {
        match lane {
            Lane::Good(_) => &self.good,
            Lane::Error(_) => &self.error,
        }
    }

    /// Makes one key of each kind, so that a prefix that cannot work is found before the first record.
    fn try_out(&self) -> Result<(), DeliveryError> {
        let good = Lane::Good(vec!["value".to_owned(); self.keys.names().len()]);
        let mut random = StdRng::seed_from_u64(0);
        for lane in [good, Lane::Error(ErrorType::ProcessingFailed), Lane::Error(ErrorType::ActivePartitionExceeded)] {
            self.key(&lane, 0, &mut random)
                .and_then(|key| parse(&format!("lake/{key}")))
                .map_err(|problem| self.prefix(&lane).at_fault(problem))?;
        }
        Ok(())
    }
}

impl NamedPrefix {
    fn new(
        field: &'static str,
        text: &str,
        parse: impl FnOnce(&str) -> Result<Prefix, PrefixError>,
    ) -> Result<Self, DeliveryError> {
        match parse(text) {
            Ok(prefix) => Ok(Self { field, text: text.to_owned(), prefix }),
            Err(problem) => Err(DeliveryError::Prefix { field, text: text.to_owned(), problem }),
        }
    }

    fn at_fault(&self, problem: PrefixError) -> DeliveryError {
        DeliveryError::Prefix { field: self.field, text: self.text.clone(), problem }
    }
}

fn parse(key: &str) -> Result<Path, PrefixError> {
    Path::parse(key).map_err(|e| PrefixError::Invalid { detail: e.to_string() })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const AT_US: i64 = 1_535_365_800_000_000;

    fn spec(prefix: &str, keys: &[(&str, &str)]) -> millrace_scenarios::Delivery {
        millrace_scenarios::Delivery {
            prefix: prefix.to_owned(),
            partition_keys: keys.iter().map(|(n, p)| ((*n).to_owned(), (*p).to_owned())).collect::<BTreeMap<_, _>>(),
            ..millrace_scenarios::Delivery::default()
        }
    }

    fn location(plan: &Plan, lane: &Lane) -> String {
        plan.location(lane, AT_US, &mut StdRng::seed_from_u64(1)).unwrap().to_string()
    }

    #[test]
    fn keys_are_root_then_prefix_then_name() {
        for (root, want) in [("", ""), ("lakes/blue", "lakes/blue/")] {
            let plan = Plan::new(&spec("raw-", &[]), "cars", Path::from(root)).unwrap();
            let good = location(&plan, &Lane::Good(Vec::new()));
            assert!(good.starts_with(&format!("{want}raw-2018/08/27/10/cars-1-2018-08-27-10-30-00-")), "{good}");
            let error = location(&plan, &Lane::Error(ErrorType::ProcessingFailed));
            assert!(error.starts_with(&format!("{want}errors/processing-failed/cars-1-2018-")), "{error}");
        }
    }

    #[test]
    fn the_default_section_compiles() {
        let plan = Plan::new(&millrace_scenarios::Delivery::default(), "cars", Path::ROOT).unwrap();
        let good = location(&plan, &Lane::Good(Vec::new()));
        assert!(good.starts_with("year=2018/month=08/day=27/hour=10/cars-1-"), "{good}");
    }

    #[test]
    fn a_prefix_that_cannot_make_a_valid_key_is_found_before_the_first_record() {
        let long = "a".repeat(513);
        let deep = "a".repeat(251) + "/";
        let dots = "a/../b/!{timestamp:yyyy}/";
        for text in ["a//b/", "/a/", "a\u{7}/", dots, long.as_str(), deep.as_str()] {
            let error = Plan::new(&spec(text, &[]), "cars", Path::ROOT).unwrap_err();
            assert!(error.is_configuration());
            assert!(error.to_string().starts_with("delivery.prefix "), "{error}");
        }
    }

    #[test]
    fn a_bad_field_path_is_named_with_its_key() {
        let text = "!{partitionKeyFromQuery:city}/";
        let error = Plan::new(&spec(text, &[("city", "city")]), "cars", Path::ROOT).unwrap_err();
        assert!(error.to_string().starts_with("delivery.partition_keys.city \"city\": only field paths"), "{error}");
    }

    #[test]
    fn a_value_that_makes_a_key_too_long_is_refused_and_not_cut() {
        let text =
            "a=!{partitionKeyFromQuery:a}/b=!{partitionKeyFromQuery:b}/c=!{partitionKeyFromQuery:c}/!{timestamp:HH}/";
        let plan = Plan::new(&spec(text, &[("a", ".a"), ("b", ".b"), ("c", ".c")]), "cars", Path::ROOT).unwrap();
        let admit = |values: [usize; 3]| {
            let lane = Lane::Good(values.iter().map(|n| "x".repeat(*n)).collect());
            plan.admit(&lane, AT_US, &mut StdRng::seed_from_u64(1))
        };
        assert_eq!(admit([248, 248, 4]), Ok(()));
        assert!(admit([249, 1, 1]).unwrap_err().message.contains("a level of the key has 251 bytes"));
        assert!(admit([248, 248, 5]).unwrap_err().message.contains("513 characters, 512 are allowed"));
    }
}

//! Quotas from a file: AWS's where the file is silent, others for all shards, and others again for single ones.

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use millrace_scenarios::{ByteSize, Span};
use serde::Deserialize;

use super::{
    on_demand::OnDemandRules,
    quota::{AccountLimits, Quotas, ReadLimits, ShardQuota, WriteLimits},
};

/// Why a file of quotas cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuotaFileError {
    /// It cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no TOML, or has a key or a value that means nothing here.
    #[error("{path}: {source}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        source: Box<toml::de::Error>,
    },
    /// A limit is nothing that a shard can work with.
    #[error("{path}: {key} is {value}; write 1 or more, or start with --quota off for no limits at all")]
    Zero {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// Its value.
        value: u64,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    /// Whether calls that manage streams are limited.
    control: Option<bool>,
    write: Write,
    read: Read,
    account: Account,
    on_demand: OnDemand,
    shard: Vec<Shard>,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Write {
    records_per_s: Option<u32>,
    bytes_per_s: Option<ByteSize>,
    burst_bytes: Option<ByteSize>,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Read {
    calls_per_s: Option<u32>,
    bytes_per_s: Option<ByteSize>,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Account {
    shards: Option<NonZeroU32>,
    on_demand_streams: Option<NonZeroU32>,
    creating_streams: Option<NonZeroU32>,
    consumers_per_stream: Option<NonZeroU32>,
    reshards_per_day: Option<NonZeroU32>,
    mode_switches_per_day: Option<NonZeroU32>,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct OnDemand {
    split_above_bytes_per_s: Option<ByteSize>,
    after: Option<Span>,
    time_scale: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shard {
    stream: String,
    number: u32,
    #[serde(default)]
    write: Write,
    #[serde(default)]
    read: Read,
}

impl Write {
    fn over(self, base: WriteLimits) -> WriteLimits {
        WriteLimits {
            records_per_s: self.records_per_s.unwrap_or(base.records_per_s),
            bytes_per_s: self.bytes_per_s.map_or(base.bytes_per_s, bytes),
            burst_bytes: self.burst_bytes.map(bytes).or(base.burst_bytes),
        }
    }
}

impl Account {
    fn over(self, base: AccountLimits) -> AccountLimits {
        let or = |own: Option<NonZeroU32>, base| own.map_or(base, NonZeroU32::get);
        AccountLimits {
            shards: or(self.shards, base.shards),
            on_demand_streams: or(self.on_demand_streams, base.on_demand_streams),
            creating_streams: or(self.creating_streams, base.creating_streams),
            consumers_per_stream: or(self.consumers_per_stream, base.consumers_per_stream),
            reshards_per_day: or(self.reshards_per_day, base.reshards_per_day),
            mode_switches_per_day: or(self.mode_switches_per_day, base.mode_switches_per_day),
        }
    }
}

impl Read {
    fn over(self, base: ReadLimits) -> ReadLimits {
        ReadLimits {
            calls_per_s: self.calls_per_s.unwrap_or(base.calls_per_s),
            bytes_per_s: self.bytes_per_s.map_or(base.bytes_per_s, bytes),
        }
    }
}

impl OnDemand {
    fn over(self, base: OnDemandRules) -> OnDemandRules {
        OnDemandRules {
            split_above_bytes_per_s: self.split_above_bytes_per_s.map_or(base.split_above_bytes_per_s, bytes),
            after_us: self.after.map_or(base.after_us, Span::as_us),
            time_scale: self.time_scale.unwrap_or(base.time_scale),
        }
    }
}

fn bytes(size: ByteSize) -> u32 {
    u32::try_from(size.bytes()).unwrap_or(u32::MAX)
}

impl Quotas {
    /// Reads a TOML file. What it does not name is as AWS has it.
    ///
    /// # Errors
    /// [`QuotaFileError`], with line and column where the file is not what it should be.
    pub fn from_file(path: &Path) -> Result<Self, QuotaFileError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| QuotaFileError::Io { path: path.to_owned(), source })?;
        Self::from_toml(&text, path)
    }

    fn from_toml(text: &str, path: &Path) -> Result<Self, QuotaFileError> {
        let file: File = toml::from_str(text)
            .map_err(|source| QuotaFileError::Syntax { path: path.to_owned(), source: Box::new(source) })?;
        let write = file.write.over(WriteLimits::AWS);
        let read = file.read.over(ReadLimits::AWS);
        let shards: Vec<_> = file
            .shard
            .into_iter()
            .map(|shard| ShardQuota {
                stream: shard.stream,
                number: shard.number,
                write: shard.write.over(write),
                read: shard.read.over(read),
            })
            .collect();
        let on_demand = file.on_demand.over(OnDemandRules::AWS);
        let limits = shards.iter().map(|shard| (shard.write, shard.read)).chain([(write, read)]);
        let limits = limits.flat_map(|(write, read)| {
            [
                ("write.records_per_s", u64::from(write.records_per_s)),
                ("write.bytes_per_s", u64::from(write.bytes_per_s)),
                ("write.burst_bytes", write.burst_bytes.map_or(1, u64::from)),
                ("read.calls_per_s", u64::from(read.calls_per_s)),
                ("read.bytes_per_s", u64::from(read.bytes_per_s)),
            ]
        });
        let growth =
            [("on_demand.after", on_demand.after_us), ("on_demand.time_scale", u64::from(on_demand.time_scale))];
        if let Some((key, value)) = limits.chain(growth).find(|(_, value)| *value == 0) {
            return Err(QuotaFileError::Zero { path: path.to_owned(), key, value });
        }
        Ok(Self {
            write: Some(write),
            read: Some(read),
            control: file.control.unwrap_or(true),
            account: file.account.over(AccountLimits::AWS),
            on_demand: Some(on_demand),
            shards: shards.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Quotas, QuotaFileError> {
        Quotas::from_toml(text, Path::new("quotas.toml"))
    }

    #[test]
    fn an_empty_file_is_aws() {
        assert_eq!(read("").unwrap(), Quotas::aws());
    }

    #[test]
    fn a_shard_has_its_own_limits_and_the_rest_the_file_s() {
        let text = "[write]\nrecords_per_s = 500\n[[shard]]\nstream = \"clicks\"\nnumber = 3\n\
                    write.bytes_per_s = \"64KiB\"\nread.calls_per_s = 2\n";
        let quotas = read(text).unwrap();
        let of = |stream, number| {
            let (write, read) = quotas.of_shard(stream, number);
            let (write, read) = (write.unwrap(), read.unwrap());
            (write.records_per_s, write.bytes_per_s, read.calls_per_s, read.bytes_per_s)
        };
        assert_eq!(of("clicks", 3), (500, 64 << 10, 2, 2 << 20));
        assert_eq!(of("clicks", 2), (500, 1 << 20, 5, 2 << 20));
        assert_eq!(of("other", 3), (500, 1 << 20, 5, 2 << 20));
    }

    #[test]
    fn the_account_and_the_tank_are_as_the_file_says_and_the_rest_as_aws_has_it() {
        let text = "[write]\nburst_bytes = \"10MiB\"\n[account]\nshards = 7\non_demand_streams = 1\n";
        let quotas = read(text).unwrap();
        assert_eq!(quotas.account, AccountLimits { shards: 7, on_demand_streams: 1, ..AccountLimits::AWS });
        assert_eq!(quotas.write, Some(WriteLimits { burst_bytes: Some(10 << 20), ..WriteLimits::AWS }));
    }

    /// The example of the documents: every key there is, with AWS's value but for the shards of their own.
    #[test]
    fn the_example_names_every_key_with_what_aws_has() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/quotas.example.toml");
        let quotas = Quotas::from_file(&path).unwrap();
        let aws = Quotas::aws();
        let write = WriteLimits { burst_bytes: Some(1 << 20), ..WriteLimits::AWS };
        assert_eq!((quotas.write, quotas.read), (Some(write), aws.read));
        assert_eq!((quotas.control, quotas.account, quotas.on_demand), (aws.control, aws.account, aws.on_demand));
        let (own_write, own_read) = quotas.of_shard("clicks", 3);
        assert_ne!((own_write, own_read), quotas.of_shard("clicks", 2));
        let example = std::fs::read_to_string(&path).unwrap();
        let page = std::fs::read_to_string(path.with_file_name("quotas.md")).unwrap();
        let said = |line: &&str| {
            line.split_once(" = ").is_some_and(|(key, _)| key.chars().all(|c| c == '_' || c.is_ascii_lowercase()))
        };
        let keys: std::collections::BTreeSet<_> =
            example.lines().filter(said).filter_map(|line| line.split_once(" = ")).map(|(key, _)| key).collect();
        assert_eq!(keys.len(), 16, "{keys:?}");
        for key in keys {
            assert!(page.contains(&format!("`{key}`")), "docs/quotas.md has no row for {key}");
        }
    }

    #[test]
    fn on_demand_streams_grow_as_the_file_says() {
        let text = "[on_demand]\nsplit_above_bytes_per_s = \"100KB\"\nafter = \"5m\"\ntime_scale = 60\n";
        let rules = OnDemandRules { split_above_bytes_per_s: 100_000, after_us: 300_000_000, time_scale: 60 };
        assert_eq!(read(text).unwrap().on_demand, Some(rules));
    }

    #[test]
    fn what_means_nothing_is_said_with_its_line() {
        let cases = [
            ("[write]\nrecords_per_second = 5\n", "line 2"),
            ("[write]\nrecords_per_s = \"many\"\n", "line 2"),
            ("[[shard]]\nnumber = 1\n", "stream"),
            ("[read]\ncalls_per_s = 0\n", "read.calls_per_s is 0"),
            ("[on_demand]\ntime_scale = 0\n", "on_demand.time_scale is 0"),
            ("[on_demand]\nafter = 5\n", "line 2"),
            ("[write]\nburst_bytes = \"0MiB\"\n", "write.burst_bytes is 0"),
            ("[account]\nshards = 0\n", "line 2"),
            ("[account]\nshards_per_stream = 7\n", "line 2"),
            ("[account]\nreshards_per_day = -1\n", "line 2"),
        ];
        for (text, said) in cases {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(said) && error.starts_with("quotas.toml: "), "{error}");
        }
    }
}

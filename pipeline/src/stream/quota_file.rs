//! Quotas from a file: AWS's where the file is silent, others for all shards, and others again for single ones.

use std::path::{Path, PathBuf};

use millrace_scenarios::ByteSize;
use serde::Deserialize;

use super::quota::{Quotas, ReadLimits, ShardQuota, WriteLimits};

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
    write: Write,
    read: Read,
    shard: Vec<Shard>,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Write {
    records_per_s: Option<u32>,
    bytes_per_s: Option<ByteSize>,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Read {
    calls_per_s: Option<u32>,
    bytes_per_s: Option<ByteSize>,
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
        let all = shards.iter().map(|shard| (shard.write, shard.read)).chain([(write, read)]);
        for (write, read) in all {
            for (key, value) in [
                ("write.records_per_s", write.records_per_s),
                ("write.bytes_per_s", write.bytes_per_s),
                ("read.calls_per_s", read.calls_per_s),
                ("read.bytes_per_s", read.bytes_per_s),
            ] {
                if value == 0 {
                    return Err(QuotaFileError::Zero { path: path.to_owned(), key, value: u64::from(value) });
                }
            }
        }
        Ok(Self { write: Some(write), read: Some(read), shards: shards.into() })
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
    fn what_means_nothing_is_said_with_its_line() {
        let cases = [
            ("[write]\nrecords_per_second = 5\n", "line 2"),
            ("[write]\nrecords_per_s = \"many\"\n", "line 2"),
            ("[[shard]]\nnumber = 1\n", "stream"),
            ("[read]\ncalls_per_s = 0\n", "read.calls_per_s is 0"),
        ];
        for (text, said) in cases {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(said) && error.starts_with("quotas.toml: "), "{error}");
        }
    }
}

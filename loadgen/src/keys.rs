//! Which partition key a record gets: a field of its payload, or a draw that is a pure function of seed and number; and
//! which shard it is brought to, when the scenario asks for one.
//!
//! ```text
//!   record k ──> law ──> name ──> salt ──> placement ──> partition key, explicit hash key
//!              (key-17)        (key-17#3)  (key-17#3.9, or a hash key inside the shard's range)
//! ```

use std::fmt::Write as _;

use millrace_scenarios::Keys;

use crate::{
    draws::{Draws, Purpose},
    shards::ShardMap,
    source::field,
};

mod file;
mod law;
mod place;
mod plan;

use law::Law;
use place::{Placement, SUFFIX_CHARS};
pub use plan::KeyPlan;

/// Longest partition key that Kinesis takes, in Unicode characters (PutRecords API reference).
pub const MAX_KEY_CHARS: usize = 256;
/// The key of a record that does not have the field.
pub const NO_KEY: &str = "(none)";
/// Characters that a salt may take: `#` and a number below ten thousand.
const SALT_CHARS: usize = 5;
/// Names that are looked up one by one to learn where they are, at most.
const MOST_ENUMERATED: u64 = 1_000_000;

/// Keys that cannot be drawn.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// `kind = "field"` without a field.
    #[error("keys.field is missing: kind = \"field\" needs the name of a payload field")]
    NoField,
    /// `kind = "file"` without a file.
    #[error("keys.path is missing: kind = \"file\" needs the name of a CSV file with the columns key and weight")]
    NoFile,
    /// The file of keys cannot be read.
    #[error("the keys of {path} cannot be read: {reason}; check keys.path")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// A line of the file of keys is wrong.
    #[error("{path}, line {line}: {reason}")]
    File {
        /// The file.
        path: String,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it, and what to write.
        reason: String,
    },
    /// There is nothing to draw from.
    #[error("keys.distinct is 0: at least one key is needed")]
    NoKeys,
    /// The exponent is not a number that Zipf's law is defined for.
    #[error("keys.exponent is {0}: write a number of 0 or more, such as 1.0")]
    Exponent(f64),
    /// More hot keys than keys.
    #[error("keys.hot is {hot} of keys.distinct {distinct}: write 1 to {distinct}")]
    Hot {
        /// Hot keys asked for.
        hot: u64,
        /// Keys there are.
        distinct: u64,
    },
    /// A share outside 0 to 1.
    #[error("keys.hot_share is {0}: write a number from 0 to 1")]
    HotShare(f64),
    /// Not one share for each shard.
    #[error("keys.shards has {asked} shares, and the stream has {open} open shards: write {open} shares")]
    Shares {
        /// Shares written.
        asked: usize,
        /// Shards that take records.
        open: usize,
    },
    /// No shard has this number.
    #[error("keys.hot_shard_index is {index}, and the stream has {open} open shards: write a number below {open}")]
    HotShardIndex {
        /// The number asked for.
        index: usize,
        /// Shards that take records.
        open: usize,
    },
    /// A stream of one shard has no other for the rest.
    #[error(
        "keys.hot_shard is {0}, and the stream has one open shard: give it more (stream.shards), or remove the line"
    )]
    OnlyShard(f64),
    /// No name can be found for so few hash keys.
    #[error(
        "shard {shard} (in order of hash key) has too few hash keys to find names for: write keys.place = \"hash_key\""
    )]
    Narrow {
        /// Which open shard.
        shard: usize,
    },
}

/// Chooses the key of each record.
#[derive(Debug, Clone)]
pub struct KeyChooser {
    seed: u64,
    law: Law,
    salt: u64,
    place: Option<Placement>,
    /// Whether the scenario asks for shares of shards.
    asks_for_shards: bool,
    /// What a payload's value may take, so that salt and suffix still fit.
    field_chars: usize,
}

impl KeyChooser {
    /// The chooser of a scenario's `[keys]` for a stream with these shards.
    ///
    /// # Errors
    /// [`KeyError`] when the section asks for something that cannot be drawn, or not on these shards.
    pub fn new(keys: &Keys, seed: u64, shards: &ShardMap) -> Result<Self, KeyError> {
        let place = Placement::new(keys, seed, shards)?;
        let salted = if keys.salt > 1 { SALT_CHARS } else { 0 };
        let renamed = if place.as_ref().is_some_and(Placement::renames) { SUFFIX_CHARS } else { 0 };
        Ok(Self {
            seed,
            law: Law::new(keys)?,
            salt: u64::from(keys.salt.max(1)),
            place,
            asks_for_shards: keys.asks_for_shards(),
            field_chars: MAX_KEY_CHARS - salted - renamed,
        })
    }

    /// Writes the partition key of record `k` with this payload into `key`: never empty, at most [`MAX_KEY_CHARS`]
    /// characters. Returns the explicit hash key, when the record is to have one.
    pub fn choose(&self, k: u64, payload: &[u8], key: &mut String) -> Option<u128> {
        key.clear();
        match &self.law {
            Law::Field(name) => match field(payload, name) {
                Some(value) if !value.is_empty() => key.push_str(cut(&value, self.field_chars)),
                _ => key.push_str(NO_KEY),
            },
            law => law.write_name(law.number(self.seed, k), key),
        }
        if self.salt > 1 {
            push_salt(key, Draws::new(self.seed, Purpose::Salt, k).below(self.salt));
        }
        self.place.as_ref()?.place(k, key)
    }

    /// How many different names the keys have; absent when the payload decides, when every record brings a new one, and
    /// when names get suffixes.
    #[must_use]
    pub fn distinct(&self) -> Option<u64> {
        match &self.place {
            Some(place) if place.renames() => None,
            _ => self.law.distinct().map(|distinct| distinct.saturating_mul(self.salt)),
        }
    }

    /// The share of the records that the law gives to each of these keys, as they were sent; absent where it says
    /// nothing about a key.
    #[must_use]
    pub fn key_shares(&self, keys: &[&str], shards: &ShardMap) -> Vec<Option<f64>> {
        let Some(shares) = self.law.shares() else { return vec![None; keys.len()] };
        let share = |key: &str| {
            let (name, of_shard) = match &self.place {
                Some(place) if place.renames() => {
                    let home = shards.shard_for(key, None)?;
                    (key.rsplit_once('.')?.0, place.share_of(home.first_hash, home.last_hash))
                }
                _ => (key, 1.0),
            };
            let name = if self.salt > 1 { name.rsplit_once('#')?.0 } else { name };
            Some(shares(self.law.number_of(name)?) * of_shard / self.salt as f64)
        };
        keys.iter().map(|key| share(key)).collect()
    }

    /// The share of the records that was asked for on each open shard; absent when none was.
    #[must_use]
    pub fn asked_shares(&self, shards: &ShardMap) -> Option<Vec<f64>> {
        let place = self.place.as_ref().filter(|_| self.asks_for_shards)?;
        Some(shards.open().iter().map(|shard| place.share_of(shard.first_hash, shard.last_hash)).collect())
    }

    /// The share of the records that these very keys bring to each open shard, found by placing each of their names;
    /// absent when there are too many names, or when they are not known beforehand.
    #[must_use]
    pub fn expected_shares(&self, shards: &ShardMap) -> Option<Vec<f64>> {
        if let Some(place) = &self.place {
            return Some(shards.open().iter().map(|shard| place.share_of(shard.first_hash, shard.last_hash)).collect());
        }
        let shares = self.law.shares()?;
        let distinct = self.law.distinct()?;
        self.distinct().filter(|names| *names <= MOST_ENUMERATED)?;
        let mut by_shard = vec![0.0; shards.open().len()];
        let mut name = String::new();
        for number in 0..distinct {
            let share = shares(number) / self.salt as f64;
            for salt in 0..self.salt {
                name.clear();
                self.law.write_name(number, &mut name);
                if self.salt > 1 {
                    push_salt(&mut name, salt);
                }
                if let Some(total) = shards.index_for(&name, None).and_then(|index| by_shard.get_mut(index)) {
                    *total += share;
                }
            }
        }
        Some(by_shard)
    }
}

fn push_salt(key: &mut String, salt: u64) {
    let written = write!(key, "#{salt}");
    debug_assert!(written.is_ok(), "writing to a string cannot fail");
}

/// The first `chars` characters.
fn cut(text: &str, chars: usize) -> &str {
    text.char_indices().nth(chars).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests;

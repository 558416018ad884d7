//! Which partition key a record gets: a field of its payload, or a draw that is a pure function of seed and number.

use millrace_scenarios::{KeyKind, Keys};
use rand_distr::{Distribution, Zipf};

use crate::{
    draws::{Draws, Purpose},
    source::field,
};

/// Longest partition key that Kinesis takes, in Unicode characters (PutRecords API reference).
pub const MAX_KEY_CHARS: usize = 256;
/// The key of a record that does not have the field.
pub const NO_KEY: &str = "(none)";

/// Keys that cannot be drawn.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// `kind = "field"` without a field.
    #[error("keys.field is missing: kind = \"field\" needs the name of a payload field")]
    NoField,
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
}

/// Chooses the key of each record.
#[derive(Debug, Clone)]
pub struct KeyChooser {
    seed: u64,
    law: Law,
}

#[derive(Debug, Clone)]
enum Law {
    Field(String),
    Uniform {
        distinct: u64,
    },
    /// Rejection-inversion (Hörmann and Derflinger 1996): exact for every exponent, with no table to build.
    Zipf(Zipf<f64>),
    HotSet {
        distinct: u64,
        hot: u64,
        hot_share: f64,
    },
}

impl KeyChooser {
    /// The chooser of a scenario's `[keys]`.
    ///
    /// # Errors
    /// [`KeyError`] when the section asks for something that cannot be drawn.
    pub fn new(keys: &Keys, seed: u64) -> Result<Self, KeyError> {
        let distinct = keys.distinct;
        if keys.kind != KeyKind::Field && distinct == 0 {
            return Err(KeyError::NoKeys);
        }
        let law = match keys.kind {
            KeyKind::Field => Law::Field(keys.field.clone().ok_or(KeyError::NoField)?),
            KeyKind::Uniform => Law::Uniform { distinct },
            KeyKind::Zipf if !keys.exponent.is_finite() => return Err(KeyError::Exponent(keys.exponent)),
            KeyKind::Zipf => {
                Law::Zipf(Zipf::new(distinct as f64, keys.exponent).map_err(|_| KeyError::Exponent(keys.exponent))?)
            }
            KeyKind::HotSet if keys.hot == 0 || keys.hot > distinct => {
                return Err(KeyError::Hot { hot: keys.hot, distinct });
            }
            KeyKind::HotSet if !(0.0..=1.0).contains(&keys.hot_share) => {
                return Err(KeyError::HotShare(keys.hot_share));
            }
            KeyKind::HotSet => Law::HotSet { distinct, hot: keys.hot, hot_share: keys.hot_share },
        };
        Ok(Self { seed, law })
    }

    /// The partition key of record `k` with this payload: never empty, at most [`MAX_KEY_CHARS`] characters.
    #[must_use]
    pub fn key(&self, k: u64, payload: &[u8]) -> String {
        match &self.law {
            Law::Field(name) => match field(payload, name) {
                Some(value) if !value.is_empty() => cut(&value).to_owned(),
                _ => NO_KEY.to_owned(),
            },
            _ => format!("key-{}", self.rank(k)),
        }
    }

    /// The rank that record `k` draws, from 0: the smaller, the hotter. Zero when keys come from a field.
    fn rank(&self, k: u64) -> u64 {
        let mut draws = Draws::new(self.seed, Purpose::Key, k);
        match &self.law {
            Law::Field(_) => 0,
            Law::Uniform { distinct } => draws.below(*distinct),
            Law::Zipf(zipf) => zipf.sample(&mut draws) as u64 - 1,
            Law::HotSet { distinct, hot, hot_share } => {
                if distinct == hot || draws.unit() < *hot_share {
                    draws.below(*hot)
                } else {
                    hot + draws.below(distinct - hot)
                }
            }
        }
    }
}

/// The first [`MAX_KEY_CHARS`] characters.
fn cut(text: &str) -> &str {
    text.char_indices().nth(MAX_KEY_CHARS).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(kind: KeyKind) -> Keys {
        Keys { kind, field: None, distinct: 1_000, exponent: 1.0, hot: 1, hot_share: 0.5 }
    }

    /// Chi-square of observed ranks against expected shares, as standard deviations above its mean.
    fn chi_square_z(chooser: &KeyChooser, draws: u64, shares: &[f64]) -> f64 {
        let mut seen = vec![0_u64; shares.len()];
        for k in 0..draws {
            seen[chooser.rank(k) as usize] += 1;
        }
        let chi2: f64 = seen
            .iter()
            .zip(shares)
            .map(|(n, share)| (*n as f64 - share * draws as f64).powi(2) / (share * draws as f64))
            .sum();
        let degrees = (shares.len() - 1) as f64;
        (chi2 - degrees) / (2.0 * degrees).sqrt()
    }

    #[test]
    fn zipf_matches_its_law_for_flat_common_and_steep_exponents() {
        for exponent in [0.0, 0.5, 0.99, 1.0, 1.2] {
            let chooser = KeyChooser::new(&Keys { exponent, ..keys(KeyKind::Zipf) }, 42).unwrap();
            let weights: Vec<f64> = (1..=1_000).map(|r| f64::from(r).powf(-exponent)).collect();
            let sum: f64 = weights.iter().sum();
            let shares: Vec<f64> = weights.iter().map(|w| w / sum).collect();
            let z = chi_square_z(&chooser, 1_000_000, &shares);
            assert!(z < 3.3, "exponent {exponent}: z {z}");
        }
    }

    #[test]
    fn uniform_keys_are_uniform() {
        let chooser = KeyChooser::new(&keys(KeyKind::Uniform), 7).unwrap();
        let z = chi_square_z(&chooser, 500_000, &vec![1e-3; 1_000]);
        assert!(z < 3.3, "{z}");
    }

    #[test]
    fn hot_keys_take_exactly_their_share() {
        let chooser =
            KeyChooser::new(&Keys { distinct: 100, hot: 4, hot_share: 0.8, ..keys(KeyKind::HotSet) }, 7).unwrap();
        let shares: Vec<f64> = (0..100).map(|r| if r < 4 { 0.2 } else { 0.2 / 96.0 }).collect();
        let z = chi_square_z(&chooser, 500_000, &shares);
        assert!(z < 3.3, "{z}");
    }

    #[test]
    fn every_key_may_be_hot() {
        let chooser =
            KeyChooser::new(&Keys { distinct: 3, hot: 3, hot_share: 0.0, ..keys(KeyKind::HotSet) }, 7).unwrap();
        assert!((0..100).all(|k| chooser.rank(k) < 3));
    }

    #[test]
    fn a_key_is_a_pure_function_of_seed_and_number() {
        let of = |seed| {
            let chooser = KeyChooser::new(&keys(KeyKind::Zipf), seed).unwrap();
            (0..50).rev().map(|k| chooser.key(k, b"{}")).collect::<Vec<_>>()
        };
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        assert!(of(1).iter().all(|key| key.starts_with("key-")));
    }

    #[test]
    fn the_first_keys_of_a_seed_never_change() {
        let chooser = KeyChooser::new(&keys(KeyKind::Zipf), 42).unwrap();
        assert_eq!((0..5).map(|k| chooser.rank(k)).collect::<Vec<_>>(), [2, 143, 1, 1, 0]);
    }

    #[test]
    fn a_field_key_is_the_value_and_a_record_without_it_has_a_name() {
        let chooser = KeyChooser::new(&Keys { field: Some("County".to_owned()), ..keys(KeyKind::Field) }, 1).unwrap();
        assert_eq!(chooser.key(0, br#"{"ID":"A-1","County":"Dane"}"#), "Dane");
        assert_eq!(chooser.key(0, br#"{"ID":"A-1"}"#), NO_KEY);
        assert_eq!(chooser.key(0, br#"{"County":""}"#), NO_KEY);
    }

    #[test]
    fn a_long_key_is_cut_between_characters() {
        let text = "é".repeat(300);
        assert_eq!(cut(&text).chars().count(), MAX_KEY_CHARS);
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"x".repeat(256)).len(), 256);
    }

    #[test]
    fn keys_that_cannot_be_drawn_are_refused_with_their_name() {
        let error = |k: Keys| KeyChooser::new(&k, 1).unwrap_err();
        assert_eq!(error(keys(KeyKind::Field)), KeyError::NoField);
        assert_eq!(error(Keys { distinct: 0, ..keys(KeyKind::Uniform) }), KeyError::NoKeys);
        assert_eq!(error(Keys { exponent: -1.0, ..keys(KeyKind::Zipf) }), KeyError::Exponent(-1.0));
        assert!(matches!(error(Keys { exponent: f64::NAN, ..keys(KeyKind::Zipf) }), KeyError::Exponent(_)));
        assert!(matches!(error(Keys { hot: 2_000, ..keys(KeyKind::HotSet) }), KeyError::Hot { .. }));
        assert_eq!(error(Keys { hot_share: 1.5, ..keys(KeyKind::HotSet) }), KeyError::HotShare(1.5));
    }
}

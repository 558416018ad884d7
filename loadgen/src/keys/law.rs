//! How often each key is drawn: the laws of `[keys]`, as draws and as the shares that follow from them.

use std::fmt::Write as _;

use millrace_scenarios::{KeyKind, Keys};
use rand_distr::{Distribution, Zipf};

use super::{KeyError, file::KeyFile};
use crate::draws::{Draws, Purpose};

/// Terms of the harmonic sum that are added one by one; the rest is an integral, exact to 14 digits from here on.
const SUMMED_TERMS: u64 = 100_000;

/// Which rank a record draws.
#[derive(Debug, Clone)]
pub(super) enum Law {
    /// Not drawn: the value of a payload field.
    Field(String),
    Uniform {
        distinct: u64,
    },
    /// Rejection-inversion (Hörmann and Derflinger 1996): exact for every exponent, with no table to build.
    Zipf {
        zipf: Zipf<f64>,
        distinct: u64,
        exponent: f64,
    },
    HotSet {
        distinct: u64,
        hot: u64,
        hot_share: f64,
    },
    /// The same Zipf, counted back from the newest key.
    Latest {
        zipf: Zipf<f64>,
        distinct: u64,
        exponent: f64,
    },
    Sequential {
        distinct: u64,
    },
    File(KeyFile),
}

impl Law {
    pub(super) fn new(keys: &Keys) -> Result<Self, KeyError> {
        let distinct = keys.distinct;
        let drawn_from_distinct = !matches!(keys.kind, KeyKind::Field | KeyKind::File);
        if drawn_from_distinct && distinct == 0 {
            return Err(KeyError::NoKeys);
        }
        let exponent = keys.exponent;
        let zipf = || match exponent.is_finite() {
            true => Zipf::new(distinct as f64, exponent).map_err(|_| KeyError::Exponent(exponent)),
            false => Err(KeyError::Exponent(exponent)),
        };
        Ok(match keys.kind {
            KeyKind::Field => Self::Field(keys.field.clone().ok_or(KeyError::NoField)?),
            KeyKind::Uniform => Self::Uniform { distinct },
            KeyKind::Zipf => Self::Zipf { zipf: zipf()?, distinct, exponent },
            KeyKind::Latest => Self::Latest { zipf: zipf()?, distinct, exponent },
            KeyKind::Sequential => Self::Sequential { distinct },
            KeyKind::HotSet if keys.hot == 0 || keys.hot > distinct => {
                return Err(KeyError::Hot { hot: keys.hot, distinct });
            }
            KeyKind::HotSet if !(0.0..=1.0).contains(&keys.hot_share) => {
                return Err(KeyError::HotShare(keys.hot_share));
            }
            KeyKind::HotSet => Self::HotSet { distinct, hot: keys.hot, hot_share: keys.hot_share },
            KeyKind::File => Self::File(KeyFile::read(keys.path.as_deref().ok_or(KeyError::NoFile)?)?),
        })
    }

    /// The number that record `k` draws. Under every law but `latest`, where it names the key itself, the hottest key is
    /// number 0 or as the file has it. Zero when keys come from a field.
    pub(super) fn number(&self, seed: u64, k: u64) -> u64 {
        let mut draws = Draws::new(seed, Purpose::Key, k);
        match self {
            Self::Field(_) => 0,
            Self::Uniform { distinct } => draws.below(*distinct),
            Self::Zipf { zipf, .. } => zipf.sample(&mut draws) as u64 - 1,
            Self::HotSet { distinct, hot, hot_share } => {
                if distinct == hot || draws.unit() < *hot_share {
                    draws.below(*hot)
                } else {
                    hot + draws.below(distinct - hot)
                }
            }
            Self::Latest { zipf, distinct, exponent } => {
                // The first records have fewer keys behind them than the draw may reach back.
                let fewer = if k + 1 < *distinct { Zipf::new((k + 1) as f64, *exponent).ok() } else { None };
                let back = fewer.as_ref().unwrap_or(zipf).sample(&mut draws) as u64 - 1;
                k.saturating_sub(back)
            }
            Self::Sequential { distinct } => k % distinct,
            Self::File(file) => file.draw(&mut draws) as u64,
        }
    }

    /// Writes the name of a key after what `name` holds already.
    pub(super) fn write_name(&self, number: u64, name: &mut String) {
        match self {
            Self::File(file) => name.push_str(file.name(number as usize)),
            _ => {
                let written = write!(name, "key-{number}");
                debug_assert!(written.is_ok(), "writing to a string cannot fail");
            }
        }
    }

    /// The number of the key with this name; absent when the law has no such key.
    pub(super) fn number_of(&self, name: &str) -> Option<u64> {
        match self {
            Self::Field(_) => None,
            Self::File(file) => file.find(name).map(|number| number as u64),
            _ => name.strip_prefix("key-")?.parse().ok(),
        }
    }

    /// How many keys there are; absent when the payload decides, or when every record brings a new one.
    pub(super) fn distinct(&self) -> Option<u64> {
        match self {
            Self::Field(_) | Self::Latest { .. } => None,
            Self::Uniform { distinct }
            | Self::Zipf { distinct, .. }
            | Self::HotSet { distinct, .. }
            | Self::Sequential { distinct } => Some(*distinct),
            Self::File(file) => Some(file.len() as u64),
        }
    }

    /// The share of the records that each key gets, by its number; absent when the law has no fixed shares.
    pub(super) fn shares(&self) -> Option<impl Fn(u64) -> f64> {
        let distinct = self.distinct()?;
        let sum = match self {
            Self::Zipf { exponent, .. } => harmonic(distinct, *exponent),
            _ => 1.0,
        };
        Some(move |number: u64| match self {
            _ if number >= distinct => 0.0,
            Self::Zipf { exponent, .. } => ((number + 1) as f64).powf(-exponent) / sum,
            Self::HotSet { hot, .. } if distinct == *hot => 1.0 / distinct as f64,
            Self::HotSet { hot, hot_share, .. } if number < *hot => hot_share / *hot as f64,
            Self::HotSet { hot, hot_share, .. } => (1.0 - hot_share) / (distinct - hot) as f64,
            Self::File(file) => file.share(number as usize),
            _ => 1.0 / distinct as f64,
        })
    }
}

/// The sum of `r^-exponent` for r from 1 to n: term by term, then by Euler and Maclaurin.
fn harmonic(n: u64, exponent: f64) -> f64 {
    let term = |r: f64| r.powf(-exponent);
    let summed = n.min(SUMMED_TERMS);
    let head: f64 = (1..=summed).rev().map(|r| term(r as f64)).sum();
    if summed == n {
        return head;
    }
    let (from, to) = (summed as f64, n as f64);
    let integral = if (exponent - 1.0).abs() < 1e-9 {
        (to / from).ln()
    } else {
        (to.powf(1.0 - exponent) - from.powf(1.0 - exponent)) / (1.0 - exponent)
    };
    head + integral + (term(to) - term(from)) / 2.0 + exponent / 12.0 * (term(from) / from - term(to) / to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_harmonic_sum_is_right_for_more_terms_than_are_added() {
        for exponent in [0.0, 0.5, 0.99, 1.0, 1.2] {
            let n = 1_000_000_u32;
            let by_hand: f64 = (1..=n).rev().map(|r| f64::from(r).powf(-exponent)).sum();
            let sum = harmonic(u64::from(n), exponent);
            assert!((sum / by_hand - 1.0).abs() < 1e-12, "{exponent}: {sum} {by_hand}");
        }
        // Known: H(10) = 7381 / 2520.
        assert!((harmonic(10, 1.0) - 7_381.0 / 2_520.0).abs() < 1e-12);
    }

    #[test]
    fn the_shares_of_a_law_have_the_sum_one() {
        let keys = |text: &str| serde_json::from_str::<Keys>(text).unwrap();
        for text in [
            r#"{"kind": "uniform", "distinct": 7}"#,
            r#"{"kind": "zipf", "distinct": 1000, "exponent": 0.99}"#,
            r#"{"kind": "hot_set", "distinct": 10, "hot": 2, "hot_share": 0.9}"#,
            r#"{"kind": "hot_set", "distinct": 2, "hot": 2, "hot_share": 0.9}"#,
            r#"{"kind": "sequential", "distinct": 12}"#,
        ] {
            let law = Law::new(&keys(text)).unwrap();
            let shares = law.shares().unwrap();
            let sum: f64 = (0..law.distinct().unwrap()).map(&shares).sum();
            assert!((sum - 1.0).abs() < 1e-9, "{text}: {sum}");
            assert_eq!(shares(law.distinct().unwrap()), 0.0);
        }
        assert!(Law::new(&keys(r#"{"kind": "latest"}"#)).unwrap().shares().is_none());
    }
}

//! Sums up how uneven the load was: each shard's and each hot key's share, beside the one asked for.

use millrace_reports::record::{KeyShare, ShardLoad, ShardShare, SkewRecord};

use crate::{key_counter::KeyCounter, keys::KeyPlan, shards::ShardMap};

/// Keys that are named.
const TOP_KEYS: usize = 10;

/// The skew of a load on a stream that had these shards when it began.
pub(crate) fn skew(plan: &KeyPlan, start: &ShardMap, shards: &[ShardLoad], keys: &KeyCounter) -> SkewRecord {
    let chooser = plan.only();
    let same_shards = shards.iter().all(|row| start.open().iter().any(|shard| *shard.id == *row.shard));
    let asked = chooser.and_then(|chooser| chooser.asked_shares(start));
    let expected = chooser.filter(|_| same_shards).and_then(|chooser| chooser.expected_shares(start));
    let of = |shares: &Option<Vec<f64>>, name: &str| {
        let place = start.open().iter().position(|shard| *shard.id == *name)?;
        shares.as_ref()?.get(place).copied()
    };
    let shares: Vec<ShardShare> = shards
        .iter()
        .map(|row| ShardShare {
            shard: row.shard.clone(),
            asked: of(&asked, &row.shard),
            expected: of(&expected, &row.shard),
            got: row.share,
        })
        .collect();
    let index = |shares: &[f64]| shares.iter().copied().fold(0.0, f64::max) * shares.len() as f64;
    let distance = |rows: &[ShardShare]| rows.iter().map(|row| Some((row.asked? - row.got).abs())).sum();
    SkewRecord {
        shard_index: index(&shares.iter().map(|row| row.got).collect::<Vec<_>>()),
        expected_shard_index: expected.as_deref().map(index),
        not_expected: match (chooser, &expected) {
            (None, _) => Some("the keys changed during the load".to_owned()),
            (_, None) if !same_shards => Some("the shards changed during the load".to_owned()),
            (_, None) => Some("the keys are not known beforehand, or are more than 1,000,000".to_owned()),
            (_, Some(_)) => None,
        },
        asked_distance: if same_shards && asked.is_some() { distance(&shares) } else { None },
        distinct_keys: chooser.and_then(|chooser| chooser.distinct()),
        shards: shares,
        keys: key_shares(plan, start, keys),
    }
}

fn key_shares(plan: &KeyPlan, start: &ShardMap, keys: &KeyCounter) -> Vec<KeyShare> {
    let top = keys.top(TOP_KEYS);
    let names: Vec<&str> = top.iter().map(|counted| counted.key.as_str()).collect();
    let asked = plan.only().map_or_else(|| vec![None; names.len()], |chooser| chooser.key_shares(&names, start));
    let total = keys.total().max(1) as f64;
    let row = |(counted, asked): (&&crate::key_counter::Counted, Option<f64>)| KeyShare {
        key: counted.key.clone(),
        asked,
        got: counted.count as f64 / total,
        error: counted.error as f64 / total,
    };
    top.iter().zip(asked).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shards::Shard;

    fn start() -> ShardMap {
        let half = u128::MAX / 2;
        let shard = |id: &str, first_hash, last_hash| Shard {
            id: id.into(),
            parents: Vec::new(),
            first_hash,
            last_hash,
            closed: false,
        };
        ShardMap::new(vec![shard("low", 0, half), shard("high", half + 1, u128::MAX)])
    }

    fn loads(shares: &[(&str, f64)]) -> Vec<ShardLoad> {
        let row = |(shard, share): &(&str, f64)| ShardLoad {
            shard: (*shard).to_owned(),
            accepted: 0,
            accepted_bytes: 0,
            refusals: 0,
            read: 0,
            share: *share,
            response: None,
        };
        shares.iter().map(row).collect()
    }

    fn plan(json: serde_json::Value) -> KeyPlan {
        KeyPlan::new(&serde_json::from_value(json).unwrap(), &[], 1, &start()).unwrap()
    }

    #[test]
    fn asked_and_got_stand_side_by_side_with_their_distance() {
        let plan = plan(serde_json::json!({"kind": "uniform", "distinct": 2, "shards": [0.7, 0.3]}));
        let mut keys = KeyCounter::default();
        ["key-0", "key-1", "key-0", "key-0"].iter().for_each(|key| keys.add(key));
        let skew = skew(&plan, &start(), &loads(&[("high", 0.4), ("low", 0.6)]), &keys);
        assert_eq!(
            skew.shards.iter().map(|row| row.asked.unwrap()).map(|s| (s * 1e9).round()).collect::<Vec<_>>(),
            [3e8, 7e8]
        );
        assert!((skew.asked_distance.unwrap() - 0.2).abs() < 1e-9, "{skew:?}");
        assert!((skew.shard_index - 1.2).abs() < 1e-9 && (skew.expected_shard_index.unwrap() - 1.4).abs() < 1e-9);
        assert_eq!((skew.keys[0].key.as_str(), skew.keys[0].asked, skew.keys[0].got), ("key-0", Some(0.5), 0.75));
        assert_eq!((skew.distinct_keys, skew.not_expected), (Some(2), None));
    }

    #[test]
    fn a_load_whose_shards_changed_has_no_distance_and_unknown_keys_no_expectation() {
        let asked = plan(serde_json::json!({"kind": "uniform", "shards": [0.7, 0.3]}));
        let changed = loads(&[("high", 0.3), ("low", 0.3), ("child", 0.4)]);
        let split = skew(&asked, &start(), &changed, &KeyCounter::default());
        assert_eq!((split.asked_distance, split.expected_shard_index), (None, None));
        assert_eq!(split.not_expected.as_deref(), Some("the shards changed during the load"));
        let field = plan(serde_json::json!({"kind": "field", "field": "city"}));
        let skew = skew(&field, &start(), &loads(&[("high", 0.5), ("low", 0.5)]), &KeyCounter::default());
        assert!(skew.expected_shard_index.is_none() && skew.not_expected.is_some() && skew.asked_distance.is_none());
    }
}

//! The skew of several workers as one: shares computed again from the sums, and bounds that stay bounds.

use std::collections::BTreeMap;

use millrace_reports::record::{KeyShare, ShardLoad, ShardShare, SkewRecord};

use super::team::Part;

/// How many keys a record names.
const KEYS_NAMED: usize = 10;

/// The skew of the whole load, whose shards are `shards`; absent when a worker has none on record.
pub(super) fn joined(parts: &[Part], shards: &[ShardLoad]) -> Option<SkewRecord> {
    let skews: Option<Vec<(&SkewRecord, u64)>> =
        parts.iter().map(|part| part.load.skew.as_ref().map(|skew| (skew, part.load.due))).collect();
    let skews = skews?;
    let (first, _) = skews.first()?;
    let rows: Vec<ShardShare> =
        first.shards.iter().map(|row| ShardShare { got: got(shards, row), ..row.clone() }).collect();
    let asked_distance = skews
        .iter()
        .all(|(skew, _)| skew.asked_distance.is_some())
        .then(|| rows.iter().filter_map(|row| row.asked.map(|asked| (row.got - asked).abs())).sum());
    let mean = 1.0 / rows.len().max(1) as f64;
    let hottest = rows.iter().map(|row| row.got).fold(0.0, f64::max);
    Some(SkewRecord {
        shard_index: hottest / mean,
        asked_distance,
        keys: keys(&skews),
        shards: rows,
        ..(*first).clone()
    })
}

fn got(shards: &[ShardLoad], row: &ShardShare) -> f64 {
    shards.iter().find(|shard| shard.shard == row.shard).map_or(0.0, |shard| shard.share)
}

/// The hottest keys. A key that a worker does not name had there at most the share of the last one it does name; that
/// is added to what it may have had, and to how far this may be above the truth.
fn keys(skews: &[(&SkewRecord, u64)]) -> Vec<KeyShare> {
    let due = skews.iter().map(|(_, due)| due).sum::<u64>().max(1) as f64;
    let mut names: BTreeMap<&str, Option<f64>> = BTreeMap::new();
    for key in skews.iter().flat_map(|(skew, _)| &skew.keys) {
        names.insert(&key.key, key.asked);
    }
    let row = |(name, asked): (&str, Option<f64>)| {
        let mut sum = KeyShare { key: name.to_owned(), asked, got: 0.0, error: 0.0 };
        for (skew, of) in skews {
            let weight = *of as f64 / due;
            let unnamed = if skew.keys.len() < KEYS_NAMED { 0.0 } else { skew.keys.last().map_or(0.0, |key| key.got) };
            let (got, error) =
                skew.keys.iter().find(|key| key.key == name).map_or((unnamed, unnamed), |key| (key.got, key.error));
            sum.got += weight * got;
            sum.error += weight * error;
        }
        sum
    };
    let mut rows: Vec<KeyShare> = names.into_iter().map(row).collect();
    rows.sort_by(|a, b| b.got.total_cmp(&a.got));
    rows.truncate(KEYS_NAMED);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skew(keys: &[(&str, f64)]) -> SkewRecord {
        let row = |(key, got): &(&str, f64)| KeyShare { key: (*key).to_owned(), asked: None, got: *got, error: 0.0 };
        SkewRecord { keys: keys.iter().map(row).collect(), ..SkewRecord::default() }
    }

    #[test]
    fn shares_are_weighted_by_what_each_worker_had() {
        let (a, b) = (skew(&[("x", 0.5), ("y", 0.5)]), skew(&[("x", 1.0)]));
        let rows = keys(&[(&a, 100), (&b, 300)]);
        let found: Vec<_> = rows.iter().map(|row| (row.key.as_str(), row.got, row.error)).collect();
        assert_eq!(found, [("x", 0.875, 0.0), ("y", 0.125, 0.0)], "a short list names every key there is");
    }

    #[test]
    fn a_key_that_a_full_list_leaves_out_is_bounded_by_its_last() {
        let full: Vec<_> = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"].map(|key| (key, 0.1)).to_vec();
        let (a, b) = (skew(&full), skew(&[("z", 1.0)]));
        let rows = keys(&[(&a, 100), (&b, 100)]);
        assert_eq!(rows.len(), KEYS_NAMED);
        assert_eq!((rows[0].key.as_str(), rows[0].got, rows[0].error), ("z", 0.55, 0.05));
    }
}

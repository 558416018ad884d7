//! Shares that are met, points that do not alias, and names that land where they should.

use super::*;
use crate::shards::Shard;

fn map(bounds: &[u128]) -> ShardMap {
    let shard = |(index, pair): (usize, &[u128])| Shard {
        id: format!("shard-{index}").into(),
        parents: Vec::new(),
        first_hash: pair[0],
        last_hash: if index + 2 == bounds.len() { pair[1] } else { pair[1] - 1 },
        closed: false,
    };
    ShardMap::new(bounds.windows(2).enumerate().map(shard).collect())
}

fn even(n: u128) -> ShardMap {
    let mut bounds: Vec<u128> = (0..n).map(|i| i * (u128::MAX / n + 1)).collect();
    bounds.push(u128::MAX);
    map(&bounds)
}

fn placement(json: serde_json::Value, shards: &ShardMap) -> Placement {
    let mut all = serde_json::json!({"kind": "uniform"});
    all.as_object_mut().unwrap().extend(json.as_object().unwrap().clone());
    Placement::new(&serde_json::from_value(all).unwrap(), 42, shards).unwrap().unwrap()
}

/// Where these records go, as shares of all of them, and how far that is from `asked` in all.
fn l1(placement: &Placement, shards: &ShardMap, asked: &[f64], records: impl Iterator<Item = u64>) -> f64 {
    let mut got = vec![0.0; asked.len()];
    let mut total = 0.0;
    for k in records {
        let mut key = "key-7".to_owned();
        let hash = placement.place(k, &mut key);
        got[shards.index_for(&key, hash).unwrap()] += 1.0;
        total += 1.0;
    }
    got.iter().zip(asked).map(|(got, asked)| (got / total - asked).abs()).sum()
}

#[test]
fn the_shares_asked_for_are_met_within_half_a_percent_by_ten_thousand_records() {
    let thirds = [0.7, 0.1, 0.1, 0.1];
    for by in ["hash_key", "name"] {
        let shards = even(4);
        let placed = placement(serde_json::json!({"shards": thirds, "place": by}), &shards);
        let mut worst: f64 = 0.0;
        // Wherever the ten thousand begin.
        for first in [0, 1, 77, 5_000, 1_000_003] {
            worst = worst.max(l1(&placed, &shards, &thirds, first..first + 10_000));
        }
        println!("{by}: L1 at worst {:.3} %", worst * 100.0);
        assert!(worst <= 0.005, "{by}: {worst}");
        assert!(l1(&placed, &shards, &thirds, 0..200_000) <= 0.000_5);
    }
    let shards = even(16);
    let asked: Vec<f64> = (0..16).map(|i| if i == 5 { 0.7 } else { 0.02 }).collect();
    let placed = placement(serde_json::json!({"hot_shard": 0.7, "hot_shard_index": 5}), &shards);
    let off = l1(&placed, &shards, &asked, 0..10_000);
    println!("16 shards: L1 {:.3} %", off * 100.0);
    assert!(off <= 0.005, "{off}");
}

#[test]
fn each_of_several_workers_meets_the_shares_too() {
    let (shards, asked) = (even(4), [0.7, 0.1, 0.1, 0.1]);
    let placed = placement(serde_json::json!({"shards": asked}), &shards);
    // Powers of two divide the block, Fibonacci numbers nearly close the golden ratio: the two likeliest to alias.
    for workers in [2, 3, 4, 5, 8, 13, 16, 21, 64, 144, 256] {
        for worker in [0, workers / 2, workers - 1] {
            // 4,000 independent draws would be off by 0.02 on average, and almost never by 0.06.
            let off = l1(&placed, &shards, &asked, (worker..).step_by(workers as usize).take(4_000));
            assert!(off < 0.06, "worker {worker} of {workers}: {off}");
            let mut key = String::new();
            let hot: Vec<bool> = (worker..)
                .step_by(workers as usize)
                .take(4_000)
                .map(|k| placed.place(k, &mut key) < Some(1 << 126))
                .collect();
            let longest = hot.chunk_by(|a, b| a == b).map(<[bool]>::len).max().unwrap();
            assert!(longest < 50, "worker {worker} of {workers} stays {longest} records at one shard");
        }
    }
}

#[test]
fn a_share_of_zero_gets_nothing_and_a_share_of_one_everything() {
    let shards = even(4);
    for hot in 0..4 {
        let asked: Vec<f64> = (0..4).map(|i| f64::from(i == hot)).collect();
        let placed = placement(serde_json::json!({"shards": asked}), &shards);
        assert_eq!(l1(&placed, &shards, &asked, 0..5_000), 0.0);
    }
}

#[test]
fn the_children_of_a_split_shard_divide_its_share() {
    let (before, quarter) = (even(4), 1_u128 << 126);
    let placed = placement(serde_json::json!({"shards": [0.7, 0.1, 0.1, 0.1]}), &before);
    let after = map(&[0, quarter / 2, quarter, 2 * quarter, 3 * quarter, u128::MAX]);
    let asked = [0.35, 0.35, 0.1, 0.1, 0.1];
    let off = l1(&placed, &after, &asked, 0..10_000);
    assert!(off <= 0.005, "{off}");
    for (shard, asked) in after.open().iter().zip(asked) {
        assert!((placed.share_of(shard.first_hash, shard.last_hash) - asked).abs() < 1e-9);
    }
}

#[test]
fn spread_records_are_even_on_any_shards() {
    let shards = even(7);
    let placed = placement(serde_json::json!({"place": "spread"}), &shards);
    let off = l1(&placed, &shards, &[1.0 / 7.0; 7], 0..10_000);
    assert!(off <= 0.005, "{off}");
}

#[test]
fn a_name_is_the_first_that_fits_whatever_was_sought_before() {
    let shards = even(16);
    let json = serde_json::json!({"hot_shard": 0.5, "place": "name"});
    let (warm, cold) = (placement(json.clone(), &shards), placement(json, &shards));
    let name = |placed: &Placement, k: u64, i: u64| {
        let mut key = format!("key-{i}");
        assert_eq!(placed.place(k, &mut key), None);
        key
    };
    for k in 0..20_000 {
        name(&warm, k, k % 100);
    }
    for k in (0..2_000).rev() {
        let (first, again) = (name(&cold, k, k % 100), name(&warm, k, k % 100));
        assert_eq!(first, again);
        let (bare, suffix) = first.rsplit_once('.').unwrap();
        let home = shards.index_for(&first, None);
        let earlier = (0..suffix.parse::<u64>().unwrap()).map(|n| format!("{bare}.{n}"));
        assert!(earlier.into_iter().all(|name| shards.index_for(&name, None) != home), "{first}");
    }
}

#[test]
fn no_name_is_sought_for_a_shard_of_a_few_hash_keys() {
    let shards = map(&[0, 1 << 64, u128::MAX]);
    let keys = serde_json::from_str(r#"{"kind": "uniform", "shards": [0.5, 0.5], "place": "name"}"#).unwrap();
    assert_eq!(Placement::new(&keys, 1, &shards).unwrap_err(), KeyError::Narrow { shard: 0 });
    let by_hash = placement(serde_json::json!({"shards": [0.5, 0.5]}), &shards);
    assert!(l1(&by_hash, &shards, &[0.5, 0.5], 0..10_000) <= 0.005);
}

#[test]
fn the_shuffle_is_a_permutation_and_differs_from_block_to_block() {
    let of = |block| (0..=255).map(|i| shuffle(i, &mut Draws::new(1, Purpose::Place, block))).collect::<Vec<u8>>();
    let mut all = of(0);
    assert_ne!(of(0), of(1));
    all.sort_unstable();
    assert_eq!(all, (0..=255).collect::<Vec<u8>>());
}

#[test]
fn scaling_is_exact_where_it_can_be_checked() {
    assert_eq!(scaled(u128::MAX, 1 << 63), u128::MAX / 2);
    assert_eq!(scaled(1_000, (1 << 64) - 1), 999);
    assert_eq!(scaled(u128::MAX, (1 << 64) - 1), u128::MAX - (1 << 64));
}

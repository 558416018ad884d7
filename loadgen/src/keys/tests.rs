//! Every law against the shares it stands for, and every key against its name.

use super::*;
use crate::shards::Shard;

fn keys(json: serde_json::Value) -> Keys {
    serde_json::from_value(json).unwrap()
}

fn chooser(json: serde_json::Value, seed: u64) -> KeyChooser {
    KeyChooser::new(&keys(json), seed, &ShardMap::default()).unwrap()
}

fn key(chooser: &KeyChooser, k: u64, payload: &[u8]) -> String {
    let mut key = "left over".to_owned();
    assert_eq!(chooser.choose(k, payload, &mut key), None);
    key
}

/// `n` shards with even ranges.
fn even(n: u128) -> ShardMap {
    let width = u128::MAX / n + 1;
    let shard = |i: u128| Shard {
        id: format!("shardId-{i:012}").into(),
        parents: Vec::new(),
        first_hash: i * width,
        last_hash: if i + 1 == n { u128::MAX } else { (i + 1) * width - 1 },
        closed: false,
    };
    ShardMap::new((0..n).map(shard).collect())
}

/// How many standard deviations the chi-square statistic of these draws is above its mean, after Wilson and Hilferty's
/// cube root, which makes it normal: 3.09 is p = 0.001. Neighbours are merged until five draws are expected in each cell.
fn chi_square_z(chooser: &KeyChooser, draws: u64, shares: impl Iterator<Item = f64>) -> f64 {
    let shares: Vec<f64> = shares.collect();
    let mut seen = vec![0_u64; shares.len()];
    let start = std::time::Instant::now();
    for k in 0..draws {
        seen[chooser.law.number(chooser.seed, k) as usize] += 1;
    }
    println!("{:.0} ns a draw", start.elapsed().as_nanos() as f64 / draws as f64);
    let (mut chi2, mut cells) = (0.0, 0_u64);
    let (mut expected, mut found) = (0.0, 0.0);
    let mut left = draws as f64;
    for (n, share) in seen.iter().zip(&shares) {
        expected += share * draws as f64;
        found += *n as f64;
        // The last cell takes what is too little for one of its own.
        if expected >= 5.0 && left - expected >= 5.0 {
            left -= expected;
            chi2 += (found - expected).powi(2) / expected;
            cells += 1;
            (expected, found) = (0.0, 0.0);
        }
    }
    chi2 += (found - expected).powi(2) / expected;
    let degrees = cells as f64;
    let nine = 2.0 / (9.0 * degrees);
    ((chi2 / degrees).cbrt() - (1.0 - nine)) / nine.sqrt()
}

/// Ten million draws for each exponent.
fn zipf_is_exact(distinct: u64) {
    for exponent in [0.0, 0.5, 0.99, 1.0, 1.2] {
        let chooser = chooser(serde_json::json!({"kind": "zipf", "distinct": distinct, "exponent": exponent}), 42);
        // Weights from the definition, not from the code under test.
        let weights: Vec<f64> = (1..=distinct).map(|r| (r as f64).powf(-exponent)).collect();
        let sum: f64 = weights.iter().rev().sum();
        let z = chi_square_z(&chooser, 10_000_000, weights.iter().map(|w| w / sum));
        println!("{distinct} keys, exponent {exponent}: z {z:.2}");
        assert!(z < 3.09, "{distinct} keys, exponent {exponent}: z {z}");
    }
}

#[test]
fn zipf_matches_its_law_for_a_thousand_keys() {
    zipf_is_exact(1_000);
}

#[test]
fn zipf_matches_its_law_for_a_million_keys() {
    zipf_is_exact(1_000_000);
}

#[test]
fn a_chooser_of_a_billion_zipf_keys_holds_no_table() {
    let start = std::time::Instant::now();
    let chooser = chooser(serde_json::json!({"kind": "zipf", "distinct": 1_000_000_000_u64, "exponent": 0.99}), 42);
    println!("a Zipf law of 10^9 keys was set up in {:?}", start.elapsed());
    // No part of it lies on the heap, so its size says all.
    assert!(matches!(chooser.law, Law::Zipf { .. }) && std::mem::size_of::<KeyChooser>() < 512);
    assert!(chooser.law.number(42, 0) < 1_000_000_000);
}

#[test]
fn uniform_keys_are_uniform() {
    let chooser = chooser(serde_json::json!({"kind": "uniform", "distinct": 1_000}), 7);
    let z = chi_square_z(&chooser, 1_000_000, std::iter::repeat_n(1e-3, 1_000));
    assert!(z < 3.09, "{z}");
}

#[test]
fn hot_keys_take_exactly_their_share() {
    let chooser = chooser(serde_json::json!({"kind": "hot_set", "distinct": 100, "hot": 4, "hot_share": 0.8}), 7);
    let z = chi_square_z(&chooser, 1_000_000, (0..100).map(|r| if r < 4 { 0.2 } else { 0.2 / 96.0 }));
    assert!(z < 3.09, "{z}");
}

#[test]
fn keys_of_a_file_are_drawn_by_weight() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.csv");
    let lines: String = (0..500).map(|i| format!("city {i},{}\n", (i * i) % 97)).collect();
    std::fs::write(&path, format!("key,weight\n{lines}")).unwrap();
    let chooser = chooser(serde_json::json!({"kind": "file", "path": path}), 42);
    let weight = |i: u64| ((i * i) % 97) as f64;
    let sum: f64 = (0..500).map(weight).sum();
    let z = chi_square_z(&chooser, 10_000_000, (0..500).map(|i| weight(i) / sum));
    assert!(z < 3.09, "{z}");
    assert!(key(&chooser, 0, b"{}").starts_with("city "));
    assert!(
        (0..10_000).all(|k| !["city 0", "city 97"].contains(&&*key(&chooser, k, b"{}"))),
        "weight 0 is never drawn"
    );
}

#[test]
fn the_latest_keys_are_the_hottest_and_the_first_records_reach_no_further_back_than_there_are_keys() {
    let chooser = chooser(serde_json::json!({"kind": "latest", "distinct": 100, "exponent": 1.0}), 42);
    assert_eq!(key(&chooser, 0, b"{}"), "key-0");
    let mut back = vec![0.0; 100];
    for k in 0..200_000_u64 {
        let number = chooser.law.number(42, k);
        assert!(number <= k && k - number < 100, "record {k} got key {number}");
        if k >= 100 {
            back[(k - number) as usize] += 1.0;
        }
    }
    // The r-th newest has weight 1 / r; H(100) = 5.18737751764.
    for (r, n) in back.iter().enumerate() {
        let expected = 199_900.0 / ((r + 1) as f64 * 5.187_377_517_64);
        assert!((n - expected).abs() < 5.0 * expected.sqrt(), "{r} back: {n} of {expected}");
    }
}

#[test]
fn sequential_keys_take_turns() {
    let chooser = chooser(serde_json::json!({"kind": "sequential", "distinct": 3}), 42);
    let turns: Vec<String> = (0..5).map(|k| key(&chooser, k, b"{}")).collect();
    assert_eq!(turns, ["key-0", "key-1", "key-2", "key-0", "key-1"]);
}

#[test]
fn every_key_may_be_hot() {
    let chooser = chooser(serde_json::json!({"kind": "hot_set", "distinct": 3, "hot": 3, "hot_share": 0.0}), 7);
    assert!((0..100).all(|k| chooser.law.number(7, k) < 3));
}

#[test]
fn a_key_is_a_pure_function_of_seed_and_number() {
    for kind in ["zipf", "latest", "uniform"] {
        let of = |seed| {
            let chooser = chooser(serde_json::json!({"kind": kind, "salt": 4}), seed);
            let mut keys: Vec<String> = (0..50).rev().map(|k| key(&chooser, k, b"{}")).collect();
            keys.reverse();
            keys
        };
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        let whole = chooser(serde_json::json!({"kind": kind, "salt": 4}), 1);
        assert_eq!(of(1), (0..50).map(|k| key(&whole, k, b"{}")).collect::<Vec<_>>());
    }
}

#[test]
fn the_first_keys_of_a_seed_never_change() {
    let chooser = chooser(serde_json::json!({"kind": "zipf"}), 42);
    assert_eq!(
        (0..5).map(|k| key(&chooser, k, b"")).collect::<Vec<_>>(),
        ["key-2", "key-143", "key-1", "key-1", "key-0"]
    );
}

#[test]
fn a_field_key_is_the_value_and_a_record_without_it_has_a_name() {
    let chooser = chooser(serde_json::json!({"kind": "field", "field": "County"}), 1);
    assert_eq!(key(&chooser, 0, br#"{"ID":"A-1","County":"Dane"}"#), "Dane");
    assert_eq!(key(&chooser, 0, br#"{"ID":"A-1"}"#), NO_KEY);
    assert_eq!(key(&chooser, 0, br#"{"County":""}"#), NO_KEY);
}

#[test]
fn a_long_key_is_cut_between_characters_and_leaves_room_for_salt_and_suffix() {
    let payload = format!("{{\"County\":\"{}\"}}", "é".repeat(300));
    for (extra, most) in [(serde_json::json!({}), 256), (serde_json::json!({"salt": 10_000}), 252)] {
        let mut json = serde_json::json!({"kind": "field", "field": "County"});
        json.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let chars = key(&chooser(json, 1), 0, payload.as_bytes()).chars().count();
        assert!((most..=MAX_KEY_CHARS).contains(&chars), "{chars}");
    }
    let named = serde_json::json!({"kind": "field", "field": "County", "hot_shard": 0.7, "place": "name", "salt": 9});
    let chooser = KeyChooser::new(&keys(named), 1, &even(100)).unwrap();
    assert!((0..100).all(|k| key(&chooser, k, payload.as_bytes()).chars().count() <= MAX_KEY_CHARS));
    assert_eq!(cut("short", 9), "short");
}

#[test]
fn a_salted_key_has_every_name_equally_often() {
    let chooser =
        chooser(serde_json::json!({"kind": "hot_set", "distinct": 2, "hot": 1, "hot_share": 1.0, "salt": 8}), 3);
    let mut seen = std::collections::BTreeMap::<String, f64>::new();
    for k in 0..80_000 {
        *seen.entry(key(&chooser, k, b"{}")).or_default() += 1.0;
    }
    assert_eq!(seen.len(), 8);
    assert!(seen.iter().all(|(name, n)| name.starts_with("key-0#") && (n - 10_000.0).abs() < 500.0), "{seen:?}");
    assert_eq!(chooser.distinct(), Some(16));
}

#[test]
fn what_a_choice_costs_is_shown() {
    let shards = even(16);
    for json in [
        serde_json::json!({"kind": "uniform"}),
        serde_json::json!({"kind": "zipf", "distinct": 1_000_000}),
        serde_json::json!({"kind": "zipf", "distinct": 1_000_000, "salt": 8}),
        serde_json::json!({"kind": "uniform", "hot_shard": 0.7}),
        serde_json::json!({"kind": "uniform", "hot_shard": 0.7, "place": "name"}),
        serde_json::json!({"kind": "uniform", "distinct": 1_000_000, "hot_shard": 0.7, "place": "name"}),
    ] {
        let chooser = KeyChooser::new(&keys(json.clone()), 1, &shards).unwrap();
        let (mut key, mut counter) = (String::new(), crate::key_counter::KeyCounter::default());
        let records = 500_000;
        let nanos = |start: std::time::Instant| start.elapsed().as_nanos() as f64 / records as f64;
        let start = std::time::Instant::now();
        (0..records).for_each(|k| {
            chooser.choose(k, b"{}", &mut key);
        });
        let choice = nanos(start);
        // The longest key was met in the first round: from here on the text is written where it was.
        let room = (key.as_ptr(), key.capacity());
        let start = std::time::Instant::now();
        (0..records).for_each(|k| {
            chooser.choose(k, b"{}", &mut key);
            counter.add(&key);
        });
        println!("{json}: {choice:.0} ns a record, {:.0} ns with its key counted", nanos(start));
        assert_eq!((key.as_ptr(), key.capacity()), room, "a choice allocates nothing");
    }
}

#[test]
fn salt_takes_a_hot_key_off_its_shard() {
    let shards = even(8);
    let hottest = |salt: u32| {
        let keys = keys(serde_json::json!({"kind": "hot_set", "distinct": 10_000, "hot_share": 0.6, "salt": salt}));
        let chooser = KeyChooser::new(&keys, 1, &shards).unwrap();
        chooser.expected_shares(&shards).unwrap().into_iter().fold(0.0, f64::max)
    };
    assert!((hottest(1) - 0.65).abs() < 0.01, "{}", hottest(1));
    assert!(hottest(64) < 0.22, "{}", hottest(64));
}

#[test]
fn what_the_keys_are_expected_to_do_is_what_they_do() {
    let shards = even(16);
    let json = serde_json::json!({"kind": "uniform", "distinct": 1_000});
    let chooser = KeyChooser::new(&keys(json), 42, &shards).unwrap();
    let expected = chooser.expected_shares(&shards).unwrap();
    assert!((expected.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    // A thousand balls in sixteen bins: about 62 a bin, give or take 8, and the fullest of them some 1.2 times the mean.
    let hottest = expected.iter().copied().fold(0.0, f64::max) * 16.0;
    println!("1,000 uniform keys put {hottest:.3} of the mean on the hottest of 16 shards");
    assert!((1.1..1.4).contains(&hottest), "{hottest}");
    let mut got = [0.0; 16];
    for k in 0..1_000_000 {
        got[shards.index_for(&key(&chooser, k, b"{}"), None).unwrap()] += 1e-6;
    }
    let l1: f64 = got.iter().zip(&expected).map(|(got, expected)| (got - expected).abs()).sum();
    assert!(l1 < 0.01, "{l1}");
    let many = serde_json::json!({"kind": "uniform", "distinct": 1_000_001});
    let many = KeyChooser::new(&keys(many), 42, &shards).unwrap();
    assert_eq!(many.expected_shares(&shards), None);
}

#[test]
fn the_share_of_a_key_is_known_by_its_name() {
    let shards = even(4);
    let of = |json| KeyChooser::new(&keys(json), 1, &shards).unwrap();
    let near = |found: Option<f64>, share: f64| (found.unwrap() - share).abs() < 1e-9;
    let hot = serde_json::json!({"kind": "hot_set", "distinct": 11, "hot_share": 0.5});
    let shares = of(hot).key_shares(&["key-0", "key-3", "key-11", "other"], &shards);
    assert!(near(shares[0], 0.5) && near(shares[1], 0.05) && near(shares[2], 0.0) && shares[3].is_none());
    let salted = serde_json::json!({"kind": "hot_set", "distinct": 11, "hot_share": 0.5, "salt": 5});
    assert!(near(of(salted).key_shares(&["key-0#4"], &shards)[0], 0.1));
    let named = serde_json::json!({"kind": "uniform", "distinct": 10, "hot_shard": 0.7, "place": "name"});
    let (named, mut total) = (of(named), 0.0);
    let mut names = std::collections::BTreeSet::new();
    for k in 0..20_000 {
        names.insert(key(&named, k, b"{}"));
    }
    for name in &names {
        total += named.key_shares(&[name], &shards)[0].unwrap();
    }
    assert_eq!(names.len(), 40, "ten keys have a name on each of four shards");
    assert!((total - 1.0).abs() < 1e-6, "{total}");
    let latest = of(serde_json::json!({"kind": "latest"}));
    assert_eq!(latest.key_shares(&["key-1"], &shards), [None]);
}

#[test]
fn keys_that_cannot_be_drawn_are_refused_with_their_name() {
    let error = |json| KeyChooser::new(&keys(json), 1, &even(4)).unwrap_err();
    assert_eq!(error(serde_json::json!({"kind": "field"})), KeyError::NoField);
    assert_eq!(error(serde_json::json!({"kind": "file"})), KeyError::NoFile);
    assert_eq!(error(serde_json::json!({"kind": "uniform", "distinct": 0})), KeyError::NoKeys);
    assert_eq!(error(serde_json::json!({"kind": "zipf", "exponent": -1.0})), KeyError::Exponent(-1.0));
    let nan = Keys { exponent: f64::NAN, ..keys(serde_json::json!({"kind": "latest"})) };
    assert!(matches!(KeyChooser::new(&nan, 1, &even(4)), Err(KeyError::Exponent(_))));
    assert!(matches!(error(serde_json::json!({"kind": "hot_set", "hot": 2_000})), KeyError::Hot { .. }));
    assert_eq!(error(serde_json::json!({"kind": "hot_set", "hot_share": 1.5})), KeyError::HotShare(1.5));
    let wrong = error(serde_json::json!({"kind": "uniform", "shards": [0.5, 0.5]}));
    assert_eq!(wrong, KeyError::Shares { asked: 2, open: 4 });
    assert!(wrong.to_string().contains("write 4 shares"), "{wrong}");
    let wrong = error(serde_json::json!({"kind": "uniform", "hot_shard": 0.7, "hot_shard_index": 4}));
    assert_eq!(wrong, KeyError::HotShardIndex { index: 4, open: 4 });
    let alone = KeyChooser::new(&keys(serde_json::json!({"kind": "uniform", "hot_shard": 0.7})), 1, &even(1));
    assert_eq!(alone.unwrap_err(), KeyError::OnlyShard(0.7));
}

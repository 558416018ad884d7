//! The fingerprint of what a run sends: one number for the whole set of records, whoever sent which of them.
//!
//! Each record is hashed by itself with SHA-256, and the hashes are added modulo 2^256. A sum does not ask in what order
//! or by how many workers its terms were found, so the fingerprints of all workers add up to the one of a single
//! generator. A record's own hash covers its number and due offset, so that two records that swap places change the sum.

use std::{fmt, str::FromStr};

use sha2::{Digest, Sha256};

/// What the fingerprint covers of one record: everything but the run's id and start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordPrint<'a> {
    /// The payload before it is stamped.
    pub payload: &'a [u8],
    /// The partition key.
    pub key: &'a str,
    /// The explicit hash key, when there is one.
    pub explicit_hash_key: Option<u128>,
    /// When it is due, microseconds after the first due time.
    pub offset_us: u64,
    /// Its number in the schedule, from 0.
    pub k: u64,
}

/// The sum, modulo 2^256, of the hashes of a multiset of records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fingerprint {
    /// From the least significant limb on.
    limbs: [u64; 4],
}

/// Text that is no fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a fingerprint: it has 64 hexadecimal digits")]
pub struct NotAFingerprint(String);

/// Lengths, due offset and number, eight bytes each, then whether there is an explicit hash key, and the key.
const HEAD_BYTES: usize = 4 * 8 + 1 + 16;

impl Fingerprint {
    /// Adds a record.
    pub fn add(&mut self, record: &RecordPrint<'_>) {
        // The lengths keep payload and key apart: without them ("ab", "c") and ("a", "bc") would be one.
        let numbers = [record.payload.len() as u64, record.key.len() as u64, record.offset_us, record.k];
        let mut head = [0; HEAD_BYTES];
        for (place, number) in head.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        if let Some(explicit) = record.explicit_hash_key {
            head[32] = 1;
            head[33..].copy_from_slice(&explicit.to_le_bytes());
        }
        let hash = Sha256::new().chain_update(head).chain_update(record.payload).chain_update(record.key).finalize();
        let mut limbs = [0; 4];
        for (limb, bytes) in limbs.iter_mut().zip(hash.rchunks_exact(8)) {
            *limb = bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        }
        self.merge(Self { limbs });
    }

    /// Adds the records of another fingerprint.
    pub fn merge(&mut self, other: Self) {
        let mut carry = 0;
        for (limb, more) in self.limbs.iter_mut().zip(other.limbs) {
            let sum = u128::from(*limb) + u128::from(more) + carry;
            *limb = sum as u64;
            carry = sum >> 64;
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.limbs.iter().rev().try_for_each(|limb| write!(f, "{limb:016x}"))
    }
}

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    fn from_str(text: &str) -> Result<Self, NotAFingerprint> {
        let no = || NotAFingerprint(text.to_owned());
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(no());
        }
        let mut limbs = [0; 4];
        for (limb, digits) in limbs.iter_mut().rev().zip(text.as_bytes().chunks_exact(16)) {
            let digits = std::str::from_utf8(digits).map_err(|_| no())?;
            *limb = u64::from_str_radix(digits, 16).map_err(|_| no())?;
        }
        Ok(Self { limbs })
    }
}

#[cfg(test)]
mod tests {
    use millrace_scenarios::Overrides;
    use proptest::prelude::*;

    use super::*;
    use crate::{keys::KeyPlan, schedule::Schedule, shards::ShardMap, slice::Slice, source};

    const RECORD: RecordPrint<'_> =
        RecordPrint { payload: b"{}", key: "key-1", explicit_hash_key: None, offset_us: 1_000, k: 1 };

    fn of(records: &[RecordPrint<'_>]) -> Fingerprint {
        let mut sum = Fingerprint::default();
        records.iter().for_each(|record| sum.add(record));
        sum
    }

    /// The hash of one record is plain SHA-256 of the documented bytes; the expected text is of another implementation.
    #[test]
    fn one_record_has_its_known_hash() {
        assert_eq!(of(&[RECORD]).to_string(), "cc8d3feacf1dd42557a38a587b19597f7ae126583c4514322e5957a30f2523fb");
    }

    #[test]
    fn the_sum_carries_over_every_limb_and_wraps_at_the_top() {
        let number = |text: &str| text.parse::<Fingerprint>().unwrap();
        let mut sum = number(&"f".repeat(64));
        sum.merge(number(&format!("{:064x}", 2)));
        assert_eq!(sum.to_string(), format!("{:064x}", 1));
        let mut sum = number(&format!("{:064x}", u128::MAX));
        sum.merge(number(&format!("{:064x}", 1)));
        assert_eq!(sum.to_string(), format!("{}1{}", "0".repeat(31), "0".repeat(32)));
    }

    #[test]
    fn every_part_of_a_record_counts() {
        let others = [
            RecordPrint { payload: b"{}k", key: "ey-1", ..RECORD },
            RecordPrint { key: "key-2", ..RECORD },
            RecordPrint { explicit_hash_key: Some(0), ..RECORD },
            RecordPrint { explicit_hash_key: Some(u128::MAX), ..RECORD },
            RecordPrint { offset_us: 1_001, ..RECORD },
            RecordPrint { k: 2, ..RECORD },
        ];
        let mut all: Vec<_> = others.iter().map(|record| of(&[*record]).to_string()).collect();
        all.push(of(&[RECORD]).to_string());
        all.push(of(&[RECORD, RECORD]).to_string());
        all.push(Fingerprint::default().to_string());
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), 9);
    }

    /// What one worker makes of the first thousand records of a shipped scenario, by its index and their number.
    fn shipped(text: &str, index: u32, count: u32) -> Fingerprint {
        let scenario = millrace_scenarios::parse("shipped", text, &Overrides::default()).unwrap();
        let slice = Slice::new(index, count).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut source = source::open(&scenario.source, scenario.seed, folder.path()).unwrap();
        let keys = KeyPlan::new(&scenario.keys, &scenario.event, scenario.seed, &ShardMap::default()).unwrap();
        let mut sum = Fingerprint::default();
        for (place, offset_us) in slice.of(Schedule::new(&scenario.load, scenario.seed).iter().take(1_000)).enumerate()
        {
            let k = slice.k(place as u64);
            source.skip(slice.gap_before(place as u64)).unwrap();
            let payload = source.next().unwrap().unwrap().json;
            let mut key = String::new();
            let explicit_hash_key = keys.choose(k, offset_us, &payload, &mut key);
            sum.add(&RecordPrint { payload: &payload, key: &key, explicit_hash_key, offset_us, k });
        }
        sum
    }

    /// A change here changes every recorded run: make it on purpose.
    #[test]
    fn the_first_thousand_records_of_the_shipped_scenarios_never_change_and_are_those_of_three_workers() {
        let golden = [
            ("sensors.toml", "7a4f0df3d1550ed81e9d9689fc3846dc332c5eacefa7e4f9b6052633e93bb6b7"),
            ("us-accidents.toml", "309d965062cde7b04e36d10805eab04505b79e28e377045efc8c3e567d02530c"),
            ("weather.toml", "fade6bd07a98f4724fef22566d401710bf7ef4344671986c6970854a6e00d1ae"),
        ];
        let text = |name: &str| millrace_scenarios::shipped().iter().find(|(of, _)| *of == name).unwrap().1;
        let found = golden.map(|(name, _)| (name, shipped(text(name), 0, 1).to_string()));
        for (name, whole) in &found {
            let mut sum = Fingerprint::default();
            (0..3).for_each(|index| sum.merge(shipped(text(name), index, 3)));
            assert_eq!(sum.to_string(), *whole, "{name}");
        }
        assert_eq!(found, golden.map(|(name, hex)| (name, hex.to_owned())));
    }

    #[test]
    #[ignore = "a measurement: what one record of 150 bytes costs on this machine"]
    fn cost_of_one_record() {
        let (payload, records) = ([b'x'; 150], 2_000_000_u64);
        let mut sum = Fingerprint::default();
        let start = std::time::Instant::now();
        for k in 0..records {
            sum.add(&RecordPrint { payload: &payload, key: "sensor-001", explicit_hash_key: None, offset_us: k, k });
        }
        println!("{} ns per record ({sum})", start.elapsed().as_nanos() as f64 / records as f64);
    }

    #[test]
    fn text_that_is_no_fingerprint_is_refused() {
        for text in ["", "12", &"g".repeat(64), &"0".repeat(65), &format!("+{}", "0".repeat(63))] {
            assert!(text.parse::<Fingerprint>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn slices_in_any_order_add_up_to_the_whole(payloads in prop::collection::vec(any::<Vec<u8>>(), 0..60), count in 1_u64..8) {
            let record = |k: u64| {
                RecordPrint { payload: &payloads[k as usize], key: "k", explicit_hash_key: None, offset_us: k * 7, k }
            };
            let whole: Vec<_> = (0..payloads.len() as u64).map(record).collect();
            let mut sum = Fingerprint::default();
            for index in (0..count).rev() {
                let slice: Vec<_> = (0..payloads.len() as u64).rev().filter(|k| k % count == index).map(record).collect();
                sum.merge(of(&slice).to_string().parse().unwrap());
            }
            prop_assert_eq!(sum, of(&whole));
        }
    }
}

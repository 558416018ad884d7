//! Which shard a record belongs to: AWS's hash key ranges.

use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};

/// An inclusive range of hash keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HashRange {
    pub(crate) start: u128,
    pub(crate) end: u128,
}

/// The ranges of a new stream: range i starts at `i * floor(2^128 / shards)`, and the last ends at 2^128 - 1.
/// Read from the shard lists AWS gives; some emulators are off by one here, which breaks the KPL's predictions.
pub(crate) fn even_ranges(shards: u32) -> Vec<HashRange> {
    let count = u128::from(shards.max(1));
    // floor(2^128 / n) = floor((2^128 - n) / n) + 1 needs no 129th bit, except for n = 1 where only 0 * width is used.
    let width = ((u128::MAX - (count - 1)) / count).wrapping_add(1);
    (0..count)
        .map(|i| {
            let start = width.wrapping_mul(i);
            let end = if i + 1 == count { u128::MAX } else { start + (width - 1) };
            HashRange { start, end }
        })
        .collect()
}

/// The hash key of a partition key: MD5 of its UTF-8 bytes as a big-endian number.
pub(crate) fn hash_of_key(partition_key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key.as_bytes()).into())
}

/// Which of the ranges that begin here, in order and covering every hash, holds the hash.
pub(crate) fn locate(hash: u128, starts: &[u128]) -> usize {
    starts.partition_point(|start| *start <= hash).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn two_shards_meet_where_aws_splits_them() {
        let ranges = even_ranges(2);
        assert_eq!(ranges[0].end.to_string(), "170141183460469231731687303715884105727");
        assert_eq!(ranges[1].start.to_string(), "170141183460469231731687303715884105728");
        assert_eq!(ranges[1].end.to_string(), "340282366920938463463374607431768211455");
    }

    #[test]
    fn three_shards_give_the_remainder_to_the_last() {
        let ranges = even_ranges(3);
        assert_eq!(ranges[0].end.to_string(), "113427455640312821154458202477256070484");
        assert_eq!(ranges[2].start.to_string(), "226854911280625642308916404954512140970");
    }

    #[test]
    fn the_hash_of_a_key_is_its_md5_in_big_endian() {
        assert_eq!(hash_of_key(""), 0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e);
        assert_eq!(hash_of_key("a"), 0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661);
    }

    proptest! {
        #[test]
        fn ranges_partition_every_hash_key(shards in 1_u32..5_000) {
            let ranges = even_ranges(shards);
            prop_assert_eq!(ranges.len(), shards as usize);
            prop_assert_eq!(ranges[0].start, 0);
            prop_assert_eq!(ranges[ranges.len() - 1].end, u128::MAX);
            for pair in ranges.windows(2) {
                prop_assert!(pair[0].start <= pair[0].end);
                prop_assert_eq!(pair[0].end + 1, pair[1].start);
            }
        }

        #[test]
        fn a_hash_is_located_in_the_range_that_holds_it(shards in 1_u32..300, hash: u128) {
            let ranges = even_ranges(shards);
            let starts: Vec<_> = ranges.iter().map(|range| range.start).collect();
            let edges = ranges.iter().flat_map(|r| [r.start, r.end]).chain([hash]);
            for hash in edges {
                let found = ranges[locate(hash, &starts)];
                prop_assert!(found.start <= hash && hash <= found.end);
            }
        }
    }
}

//! Which keys a data file holds, as 32 bits of each key's hash under the place that its leading bits give.
//!
//! A commit asks for as many keys as it brings, of every file: with a hundred thousand new keys a filter that errs once in
//! a hundred times errs a thousand times for each file and spares none. Here a key that is not there is taken for one that
//! is about three times in 10^9, for 34 to 36 bits a key.

/// Keys under one place, at most, on average.
const KEYS_A_BUCKET: usize = 16;

/// Fingerprints of keys, grouped by the leading bits of their hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fingerprints {
    /// The number of leading bits that say in which bucket a hash is.
    bits: u32,
    /// Where each bucket ends.
    ends: Vec<u32>,
    /// The 32 bits after the leading ones, bucket by bucket.
    rests: Vec<u32>,
}

/// Leading bits for so many keys.
fn bits_for(keys: usize) -> u32 {
    keys.div_ceil(KEYS_A_BUCKET).next_power_of_two().ilog2()
}

impl Fingerprints {
    /// The fingerprints of these hashes; `None` when they are too many to be numbered.
    pub(super) fn of(hashes: &[u64]) -> Option<Self> {
        u32::try_from(hashes.len()).ok()?;
        let bits = bits_for(hashes.len());
        let mut ends = vec![0_u32; 1 << bits];
        for hash in hashes {
            ends[bucket(*hash, bits)] += 1;
        }
        let mut sum = 0;
        for end in &mut ends {
            // Where the bucket begins; filling it moves this to where it ends.
            sum += std::mem::replace(end, sum);
        }
        let mut rests = vec![0; hashes.len()];
        for hash in hashes {
            let at = &mut ends[bucket(*hash, bits)];
            rests[*at as usize] = rest(*hash, bits);
            *at += 1;
        }
        Some(Self { bits, ends, rests })
    }

    /// Whether one of the hashes, which are sorted, can be that of a key in here. False is certain.
    pub(super) fn may_hold_any(&self, sorted: &[u64]) -> bool {
        if self.rests.len() >= sorted.len() {
            return sorted.iter().any(|hash| self.may_hold(*hash));
        }
        (0..self.ends.len()).any(|number| {
            let leading = (number as u64).checked_shl(64 - self.bits).unwrap_or(0);
            let may_be = |rest: &u32| {
                let least = leading | (u64::from(*rest) << (32 - self.bits));
                let at = sorted.partition_point(|hash| *hash < least);
                sorted
                    .get(at)
                    .is_some_and(|hash| bucket(*hash, self.bits) == number && self::rest(*hash, self.bits) == *rest)
            };
            self.bucket(number).iter().any(may_be)
        })
    }

    fn may_hold(&self, hash: u64) -> bool {
        self.bucket(bucket(hash, self.bits)).contains(&rest(hash, self.bits))
    }

    fn bucket(&self, number: usize) -> &[u32] {
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.rests[start as usize..self.ends[number] as usize]
    }

    pub(super) const fn keys(&self) -> usize {
        self.rests.len()
    }

    /// Memory held.
    pub(super) const fn bytes(&self) -> usize {
        (self.ends.len() + self.rests.len()) * size_of::<u32>()
    }

    /// Appends it as words.
    pub(super) fn write(&self, to: &mut Vec<u8>) {
        to.extend(self.ends.iter().chain(&self.rests).flat_map(|word| word.to_le_bytes()));
    }

    /// Reads what was written for so many keys; returns the bytes that follow. `None` when these cannot be it.
    pub(super) fn read(keys: usize, bytes: &[u8]) -> Option<(Self, &[u8])> {
        let bits = bits_for(keys);
        let buckets = 1_usize << bits;
        let (own, later) = bytes.split_at_checked(buckets.checked_add(keys)?.checked_mul(size_of::<u32>())?)?;
        let (words, _) = own.as_chunks::<4>();
        let mut words = words.iter().map(|word| u32::from_le_bytes(*word));
        let ends: Vec<u32> = words.by_ref().take(buckets).collect();
        let fits = ends.is_sorted() && ends.last().is_some_and(|last| *last as usize == keys);
        fits.then(|| (Self { bits, ends, rests: words.collect() }, later))
    }
}

/// The leading bits of the hash.
fn bucket(hash: u64, bits: u32) -> usize {
    hash.checked_shr(64 - bits).unwrap_or(0) as usize
}

/// The 32 bits after them.
const fn rest(hash: u64, bits: u32) -> u32 {
    ((hash << bits) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A well mixed number, another for each.
    fn hash(number: u64) -> u64 {
        let mut x = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    fn hashes(from: u64, count: u64) -> Vec<u64> {
        (from..from + count).map(hash).collect()
    }

    fn sorted(mut hashes: Vec<u64>) -> Vec<u64> {
        hashes.sort_unstable();
        hashes
    }

    #[test]
    fn a_key_that_is_there_is_found_from_either_side() {
        for keys in [0, 1, 16, 17, 1_000, 40_000] {
            let there = hashes(0, keys);
            let prints = Fingerprints::of(&there).unwrap();
            assert!(there.iter().all(|hash| prints.may_hold(*hash)), "{keys}");
            for hash in there.iter().step_by(997) {
                let mut asked = hashes(1 << 40, 2 * keys);
                asked.push(*hash);
                assert!(prints.may_hold_any(&sorted(asked)), "more are asked for than there are: {keys}");
                assert!(prints.may_hold_any(&[*hash]), "{keys}");
            }
        }
    }

    #[test]
    fn of_thirty_million_questions_for_keys_that_are_not_there_hardly_one_is_answered_wrong() {
        let prints = Fingerprints::of(&hashes(0, 1_000_000)).unwrap();
        let asked = (1 << 40)..(1 << 40) + 30_000_000;
        let wrong = asked.filter(|number| prints.may_hold(hash(*number))).count();
        println!("{wrong} of 30,000,000 wrong, {} bits a key", prints.bytes() * 8 / 1_000_000);
        assert!(wrong <= 3, "{wrong}");
        assert!(prints.bytes() * 8 <= 36 * 1_000_000);
        let many_small: Vec<_> = (0..1_000).map(|file| Fingerprints::of(&hashes(file * 100, 100)).unwrap()).collect();
        let asked = sorted(hashes(1 << 40, 100_000));
        assert_eq!(many_small.iter().filter(|prints| prints.may_hold_any(&asked)).count(), 0);
    }

    #[test]
    fn what_was_written_reads_back_and_what_was_cut_does_not() {
        let both = [Fingerprints::of(&hashes(0, 1_000)).unwrap(), Fingerprints::of(&[]).unwrap()];
        let mut bytes = Vec::new();
        both.iter().for_each(|prints| prints.write(&mut bytes));
        let (first, later) = Fingerprints::read(1_000, &bytes).unwrap();
        let (second, rest) = Fingerprints::read(0, later).unwrap();
        assert_eq!(([first, second], rest.len()), (both, 0));
        assert!(Fingerprints::read(1_000, &bytes[..4_000]).is_none());
        assert!(Fingerprints::read(999, &bytes).is_none());
        assert!(Fingerprints::read(usize::MAX / 8, &bytes).is_none());
    }

    proptest! {
        #[test]
        fn both_sides_answer_alike(there in prop::collection::vec(any::<u64>(), 0..60), asked in prop::collection::vec(any::<u64>(), 0..60), shared in any::<bool>()) {
            let prints = Fingerprints::of(&there).unwrap();
            let mut asked = asked;
            if let (true, Some(hash)) = (shared, there.first()) {
                asked.push(*hash);
            }
            let one_by_one = asked.iter().any(|hash| prints.may_hold(*hash));
            prop_assert_eq!(prints.may_hold_any(&sorted(asked)), one_by_one);
        }
    }
}

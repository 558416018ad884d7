//! The hash of partition keys, several at a time: it is MD5, whose steps wait for one another, so one key leaves most of
//! a core idle. Keys side by side fill it.
//!
//! The algorithm is RFC 1321's, for messages of one block; a longer key is hashed alone.

use super::routing::hash_of_key;

/// Keys that are hashed side by side. So many that the compiler keeps the loop over them and makes it a loop of vectors.
pub(crate) const LANES: usize = 32;
/// A longer key does not fit into one block beside the padding.
const MAX_KEY_BYTES: usize = 55;

/// One word of each lane.
type Words = [u32; LANES];

const INITIAL: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
/// `floor(2^32 * |sin(step + 1)|)`.
const SINES: [u32; 64] = [
    0xd76a_a478,
    0xe8c7_b756,
    0x2420_70db,
    0xc1bd_ceee,
    0xf57c_0faf,
    0x4787_c62a,
    0xa830_4613,
    0xfd46_9501,
    0x6980_98d8,
    0x8b44_f7af,
    0xffff_5bb1,
    0x895c_d7be,
    0x6b90_1122,
    0xfd98_7193,
    0xa679_438e,
    0x49b4_0821,
    0xf61e_2562,
    0xc040_b340,
    0x265e_5a51,
    0xe9b6_c7aa,
    0xd62f_105d,
    0x0244_1453,
    0xd8a1_e681,
    0xe7d3_fbc8,
    0x21e1_cde6,
    0xc337_07d6,
    0xf4d5_0d87,
    0x455a_14ed,
    0xa9e3_e905,
    0xfcef_a3f8,
    0x676f_02d9,
    0x8d2a_4c8a,
    0xfffa_3942,
    0x8771_f681,
    0x6d9d_6122,
    0xfde5_380c,
    0xa4be_ea44,
    0x4bde_cfa9,
    0xf6bb_4b60,
    0xbebf_bc70,
    0x289b_7ec6,
    0xeaa1_27fa,
    0xd4ef_3085,
    0x0488_1d05,
    0xd9d4_d039,
    0xe6db_99e5,
    0x1fa2_7cf8,
    0xc4ac_5665,
    0xf429_2244,
    0x432a_ff97,
    0xab94_23a7,
    0xfc93_a039,
    0x655b_59c3,
    0x8f0c_cc92,
    0xffef_f47d,
    0x8584_5dd1,
    0x6fa8_7e4f,
    0xfe2c_e6e0,
    0xa301_4314,
    0x4e08_11a1,
    0xf753_7e82,
    0xbd3a_f235,
    0x2ad7_d2bb,
    0xeb86_d391,
];

/// The hash keys of partition keys: [`hash_of_key`] of each.
pub(crate) fn hash_of_keys(keys: [&str; LANES]) -> [u128; LANES] {
    if keys.iter().any(|key| key.len() > MAX_KEY_BYTES) {
        return keys.map(hash_of_key);
    }
    let mut words = [[0; LANES]; 16];
    for (lane, key) in keys.iter().enumerate() {
        let mut block = [0; 64];
        block[..key.len()].copy_from_slice(key.as_bytes());
        block[key.len()] = 0x80;
        // A block's length in bits, of which two bytes can be more than zero.
        block[56..58].copy_from_slice(&(key.len() as u16 * 8).to_le_bytes());
        for (word, bytes) in words.iter_mut().zip(block.as_chunks().0) {
            word[lane] = u32::from_le_bytes(*bytes);
        }
    }
    let digest = digest(&words);
    std::array::from_fn(|lane| digest.iter().fold(0, |hash, word| (hash << 32) | u128::from(word[lane].swap_bytes())))
}

fn digest(words: &[Words; 16]) -> [Words; 4] {
    let mut state = INITIAL.map(|word| [word; LANES]);
    let [first, second, third, fourth] = [0, 16, 32, 48].map(|step| SINES[step..].first_chunk().unwrap_or(&[0; 16]));
    round::<7, 12, 17, 22>(&mut state, words, first, |step| step, |b, c, d| (b & c) | (!b & d));
    round::<5, 9, 14, 20>(&mut state, words, second, |step| 5 * step + 1, |b, c, d| (b & d) | (c & !d));
    round::<4, 11, 16, 23>(&mut state, words, third, |step| 3 * step + 5, |b, c, d| b ^ c ^ d);
    round::<6, 10, 15, 21>(&mut state, words, fourth, |step| 7 * step, |b, c, d| c ^ (b | !d));
    for (words, start) in state.iter_mut().zip(INITIAL) {
        words.iter_mut().for_each(|word| *word = word.wrapping_add(start));
    }
    state
}

/// Sixteen steps, each on every lane before the next, that turn a word by so many bits.
fn round<const BITS_A: u32, const BITS_D: u32, const BITS_C: u32, const BITS_B: u32>(
    [a, b, c, d]: &mut [Words; 4],
    words: &[Words; 16],
    sines: &[u32; 16],
    place: impl Fn(usize) -> usize,
    mix: impl Fn(u32, u32, u32) -> u32,
) {
    let added = |at: usize| (&words[place(at) % 16], sines[at]);
    for at in [0, 4, 8, 12] {
        step::<BITS_A>(a, b, c, d, added(at), &mix);
        step::<BITS_D>(d, a, b, c, added(at + 1), &mix);
        step::<BITS_C>(c, d, a, b, added(at + 2), &mix);
        step::<BITS_B>(b, c, d, a, added(at + 3), &mix);
    }
}

fn step<const BITS: u32>(
    a: &mut Words,
    b: &Words,
    c: &Words,
    d: &Words,
    (word, sine): (&Words, u32),
    mix: impl Fn(u32, u32, u32) -> u32,
) {
    for lane in 0..LANES {
        let mixed = mix(b[lane], c[lane], d[lane]).wrapping_add(word[lane]).wrapping_add(sine);
        a[lane] = b[lane].wrapping_add(a[lane].wrapping_add(mixed).rotate_left(BITS));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_side_by_side_hash_as_they_do_alone(keys in prop::array::uniform32(".{0,13}"), long in prop::option::of("[a-z]{54,60}")) {
            let mut keys: [&str; LANES] = std::array::from_fn(|lane| keys[lane].as_str());
            if let Some(long) = &long {
                keys[7] = long;
            }
            prop_assert_eq!(hash_of_keys(keys), keys.map(hash_of_key));
        }
    }

    #[test]
    fn every_length_of_one_block_is_padded_right() {
        let text = "x".repeat(MAX_KEY_BYTES + 1);
        for length in 0..=MAX_KEY_BYTES + 1 {
            let keys = std::array::from_fn(|lane| &text[..length.saturating_sub(lane)]);
            assert_eq!(hash_of_keys(keys), keys.map(hash_of_key), "{length}");
        }
    }
}

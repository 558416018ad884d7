//! Sequence numbers in AWS's version 2 layout, as kinesalite recorded it: 47 hexadecimal digits, printed in decimal.
//!
//! ```text
//!   2 | 9: shard created, s | 1: shard % 16 | 16: index in the shard | 00 | 9: arrival, s | 8: shard | 2
//! ```
//! Of one shard the creation time and number are fixed, so the index alone orders its numbers strictly.

use std::fmt;

/// Digits of every number of this layout: the leading 2 keeps it between 2 * 16^46 and 3 * 16^46.
pub(crate) const DIGITS: usize = 56;

const VERSION: u64 = 2;
const SECONDS_MASK: u64 = (1 << 36) - 1;
/// The largest power of ten in 64 bits: decimal digits are made and read 19 at a time.
const TEN_19: u64 = 10_000_000_000_000_000_000;

/// The number of one record, or of a shard's start (index 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SequenceNumber {
    pub(crate) shard_created_s: u64,
    pub(crate) shard: u32,
    pub(crate) index: u64,
    pub(crate) arrival_s: u64,
}

impl SequenceNumber {
    /// The number as decimal ASCII.
    pub(crate) fn digits(self) -> [u8; DIGITS] {
        let mut limbs = self.limbs();
        let mut out = [b'0'; DIGITS];
        out.rchunks_mut(19).for_each(|place| write_digits(place, divide_by_ten_19(&mut limbs)));
        out
    }

    /// Reads a number of this layout; `None` for any other text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() != DIGITS || !text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let mut limbs = [0_u64; 3];
        for chunk in text.as_bytes().chunks(19) {
            let scale = 10_u64.pow(u32::try_from(chunk.len()).ok()?);
            let part = chunk.iter().fold(0, |sum, b| sum * 10 + u64::from(b - b'0'));
            multiply_add(&mut limbs, scale, part)?;
        }
        let [high, middle, low] = limbs;
        let low_128 = (u128::from(middle) << 64) | u128::from(low);
        let number = Self {
            shard_created_s: (high >> 20) & SECONDS_MASK,
            shard: (low_128 >> 4) as u32,
            index: ((high & 0xFFFF) << 48) | (low_128 >> 80) as u64,
            arrival_s: (low_128 >> 36) as u64 & SECONDS_MASK,
        };
        // The layout's fixed digits are whatever did not fit into a field: a number is of this layout if it prints the same.
        (number.limbs() == limbs).then_some(number)
    }

    /// Whether PutRecord takes a number as one to come after: one of this layout that is not of the future, or one of
    /// the oldest layout, below 2^125. AWS's own sample begins with 0.
    pub(crate) fn may_come_before(text: &str, now_us: u64) -> bool {
        match Self::parse(text) {
            Some(number) => number.arrival_s <= now_us / 1_000_000,
            None => text.parse::<u128>().is_ok_and(|number| number < 1 << 125),
        }
    }

    /// The 188 bits, most significant limb first.
    fn limbs(self) -> [u64; 3] {
        let high = (VERSION << 56)
            | ((self.shard_created_s & SECONDS_MASK) << 20)
            | (u64::from(self.shard & 0xF) << 16)
            | (self.index >> 48);
        let low = (u128::from(self.index & 0xFFFF_FFFF_FFFF) << 80)
            | (u128::from(self.arrival_s & SECONDS_MASK) << 36)
            | (u128::from(self.shard) << 4)
            | u128::from(VERSION);
        [high, (low >> 64) as u64, low as u64]
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.digits().iter().try_for_each(|digit| fmt::Write::write_char(f, char::from(*digit)))
    }
}

/// A text with a number in it that goes up by one index at a time: records stored together differ in nothing else.
#[derive(Debug)]
pub(crate) struct Numbered {
    text: Vec<u8>,
    /// Where the digits begin.
    at: usize,
    /// The number in base 10^19, most significant part first: 18, 19 and 19 digits.
    parts: [u64; 3],
    /// The parts that the text holds; the next text differs in those that are not so any more.
    shown: [Option<u64>; 3],
}

/// The index stands 80 bits up in a number: what one more index adds, in base 10^19.
const INDEX_STEP: [u64; 3] = [0, ((1 << 80) / TEN_19 as u128) as u64, ((1 << 80) % TEN_19 as u128) as u64];

impl Numbered {
    /// A text whose first number is this one.
    pub(crate) fn new(before: &str, first: SequenceNumber, after: &str) -> Self {
        let mut limbs = first.limbs();
        let [low, middle, high] = std::array::from_fn(|_| divide_by_ten_19(&mut limbs));
        let text = [before.as_bytes(), &[b'0'; DIGITS], after.as_bytes()].concat();
        Self { text, at: before.len(), parts: [high, middle, low], shown: [None; 3] }
    }

    /// The text with the number it has come to, which then goes up.
    pub(crate) fn next_text(&mut self) -> &[u8] {
        let places = [self.at..self.at + 18, self.at + 18..self.at + 37, self.at + 37..self.at + DIGITS];
        for ((place, part), shown) in places.into_iter().zip(self.parts).zip(&mut self.shown) {
            if shown.replace(part) != Some(part) {
                write_digits(&mut self.text[place], part);
            }
        }
        let mut carry = 0;
        for (part, step) in self.parts.iter_mut().zip(INDEX_STEP).rev() {
            // Two parts and a carry stay below 2^64: a step's parts are at most 0.6 * 10^19.
            let sum = *part + step + carry;
            carry = sum / TEN_19;
            *part = sum % TEN_19;
        }
        &self.text
    }
}

/// Fills the place with the number's decimal digits.
fn write_digits(place: &mut [u8], mut number: u64) {
    for digits in place.rchunks_mut(8) {
        let eight = eight_digits(number % 100_000_000);
        digits.copy_from_slice(&eight[8 - digits.len()..]);
        number /= 100_000_000;
    }
}

/// The digits of a number below 10^8. It is taken in halves and halves again, side by side in one word.
fn eight_digits(number: u64) -> [u8; 8] {
    let fours = (number / 10_000) | ((number % 10_000) << 32);
    // n * 10486 >> 20 is n / 100 below 10^4, and n * 103 >> 10 is n / 10 below 10^2.
    let hundreds = ((fours * 10_486) >> 20) & 0x7f_0000_007f;
    let pairs = hundreds | ((fours - 100 * hundreds) << 16);
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    let digits = tens | ((pairs - 10 * tens) << 8);
    (digits | 0x3030_3030_3030_3030).to_le_bytes()
}

fn divide_by_ten_19(limbs: &mut [u64; 3]) -> u64 {
    let mut remainder = 0_u128;
    for limb in limbs {
        let value = (remainder << 64) | u128::from(*limb);
        *limb = (value / u128::from(TEN_19)) as u64;
        remainder = value % u128::from(TEN_19);
    }
    remainder as u64
}

fn multiply_add(limbs: &mut [u64; 3], scale: u64, add: u64) -> Option<()> {
    let mut carry = u128::from(add);
    for limb in limbs.iter_mut().rev() {
        let value = u128::from(*limb) * u128::from(scale) + carry;
        *limb = value as u64;
        carry = value >> 64;
    }
    (carry == 0).then_some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Composed digit by digit from the layout, in a second way.
    fn hexadecimal(n: SequenceNumber) -> String {
        format!("2{:09x}{:x}{:016x}00{:09x}{:08x}2", n.shard_created_s, n.shard % 16, n.index, n.arrival_s, n.shard)
    }

    fn decimal_of(hexadecimal: &str) -> String {
        let mut decimal = vec![0_u32];
        for digit in hexadecimal.chars() {
            let mut carry = digit.to_digit(16).unwrap();
            for place in &mut decimal {
                let value = *place * 16 + carry;
                *place = value % 10;
                carry = value / 10;
            }
            while carry > 0 {
                decimal.push(carry % 10);
                carry /= 10;
            }
        }
        decimal.iter().rev().map(|d| char::from_digit(*d, 10).unwrap()).collect()
    }

    fn any_number() -> impl Strategy<Value = SequenceNumber> {
        (0..=SECONDS_MASK, any::<u32>(), any::<u64>(), 0..=SECONDS_MASK).prop_map(
            |(shard_created_s, shard, index, arrival_s)| SequenceNumber { shard_created_s, shard, index, arrival_s },
        )
    }

    #[test]
    fn a_number_of_today_looks_like_one_of_aws() {
        let n = SequenceNumber { shard_created_s: 1_763_683_200, shard: 0, index: 1, arrival_s: 1_763_683_260 };
        let text = n.to_string();
        assert_eq!(text.len(), DIGITS);
        assert!(text.starts_with("496"), "{text}");
    }

    #[test]
    fn text_of_another_layout_is_refused() {
        let good = SequenceNumber { shard_created_s: 7, shard: 3, index: 9, arrival_s: 8 }.to_string();
        let ends_in_another_version = format!("{}{}", &good[..DIGITS - 1], if good.ends_with('0') { '1' } else { '0' });
        for text in
            ["", "0", "1", "abc", &"9".repeat(56), &"4".repeat(55), &ends_in_another_version, &format!("{good}0")]
        {
            assert_eq!(SequenceNumber::parse(text), None, "{text}");
        }
        assert_eq!(SequenceNumber::parse(&"9".repeat(60)), None);
    }

    #[test]
    fn eight_digits_are_those_of_the_number() {
        let edges = [0, 9, 10, 99, 100, 9_999, 10_000, 10_001, 12_345_678, 99_999_999];
        for number in edges.into_iter().chain((0..100_000_000).step_by(9_973)) {
            assert_eq!(eight_digits(number).as_slice(), format!("{number:08}").as_bytes());
        }
        // Both halves take every value they can.
        for four in 0..10_000 {
            assert_eq!(eight_digits(four * 10_001).as_slice(), format!("{four:04}{four:04}").as_bytes());
        }
    }

    proptest! {
        #[test]
        fn digits_agree_with_the_layout_and_read_back(n in any_number()) {
            prop_assert_eq!(n.to_string(), decimal_of(&hexadecimal(n)));
            prop_assert_eq!(SequenceNumber::parse(&n.to_string()), Some(n));
        }

        #[test]
        fn a_text_counts_up_like_its_indices(n in any_number(), count in 1_u64..40) {
            let mut text = Numbered::new("<", SequenceNumber { index: n.index >> 1, ..n }, ">");
            for index in n.index >> 1..(n.index >> 1) + count {
                let expected = format!("<{}>", SequenceNumber { index, ..n });
                prop_assert_eq!(std::str::from_utf8(text.next_text()), Ok(expected.as_str()));
            }
        }

        #[test]
        fn a_later_index_is_a_larger_number_whatever_the_clock_says(n in any_number(), by in 1_u64..1_000, other in 0..=SECONDS_MASK) {
            prop_assume!(n.index.checked_add(by).is_some());
            let later = SequenceNumber { index: n.index + by, arrival_s: other, ..n };
            // Equal length, so text order is number order.
            prop_assert!(n.digits() < later.digits());
        }
    }
}

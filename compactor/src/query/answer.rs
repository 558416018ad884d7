//! The fingerprint of an answer: equal answers have equal fingerprints, whatever engine gave them and in whatever order.
//!
//! Engines differ in ways that are not differences: one counts in 32 bits and another in 64, sums of floating point
//! numbers depend on the order of the rows, columns without an alias have names of the engine's own. So a row is written
//! as text by the kind of each value, by position and not by name, hashed to 128 bits, and the hashes of all rows are
//! added: the sum does not depend on the order, and it keeps count of equal rows (an exclusive or would not).
//!
//! Not seen: the order that an ORDER BY asked for, the names of the columns, and differences of floating point numbers
//! beyond 30 significant bits.

use std::{borrow::Cow, fmt::Write as _};

use sha2::{Digest, Sha256};

/// Significant bits of a floating point number that count: about nine decimal digits.
///
/// Rounding is to bits and not to digits because averages of decimal data often lie half way between two
/// nine-digit numbers, where one unit in the last place of a sum decides; a tie in bits is a dyadic number, which
/// every engine computes exactly.
const FLOAT_BITS: u32 = 30;
/// Below this, every whole floating point number is exact, and is the same as the integer.
const EXACT_FLOATS: f64 = (1_u64 << 53) as f64;

/// One value of an answer, of whichever engine.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell<'a> {
    /// No value.
    Null,
    /// True or false.
    Boolean(bool),
    /// An integer of any width.
    Integer(i128),
    /// A floating point number of any width.
    Float(f64),
    /// Text, and everything that has no kind of its own here.
    Text(Cow<'a, str>),
    /// Microseconds since 1970 UTC; a date is its midnight.
    Timestamp(i64),
}

impl Cell<'_> {
    /// Appends the canonical form: no two different values share one, and no value is the start of another.
    fn encode(&self, row: &mut String) {
        // Writing to a String cannot fail.
        let _ = match self {
            Self::Null => row.write_str("n;"),
            Self::Boolean(value) => write!(row, "b{};", u8::from(*value)),
            Self::Integer(value) => write!(row, "i{value};"),
            Self::Float(value) => match canonical_float(*value) {
                value if value.is_nan() => row.write_str("fNaN;"),
                value if value.fract() == 0.0 && value.abs() < EXACT_FLOATS => write!(row, "i{};", value as i64),
                value => write!(row, "f{value:e};"),
            },
            Self::Text(value) => write!(row, "t{}:{value};", value.len()),
            Self::Timestamp(value) => write!(row, "u{value};"),
        };
    }

    /// The value as a person reads it.
    #[must_use]
    pub fn display(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Boolean(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Text(value) => value.clone().into_owned(),
            Self::Timestamp(value) => chrono::DateTime::from_timestamp_micros(*value).map_or_else(
                || format!("{value} us"),
                |time| time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
            ),
        }
    }
}

/// The number rounded to [`FLOAT_BITS`] significant bits, half to even; minus zero is zero.
fn canonical_float(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { 0.0 } else { value };
    }
    let dropped = f64::MANTISSA_DIGITS - FLOAT_BITS;
    let bits = value.to_bits();
    let half = (1_u64 << (dropped - 1)) - 1 + ((bits >> dropped) & 1);
    // A carry out of the mantissa raises the exponent, which is what rounding up to a power of two means.
    f64::from_bits((bits + half) >> dropped << dropped)
}

/// An answer's fingerprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// How many rows.
    pub rows: u64,
    /// 128 bits in hex.
    pub hash: String,
}

/// Takes an answer row by row and holds none of them.
#[derive(Debug)]
pub struct AnswerHasher {
    columns: usize,
    rows: u64,
    sum: u128,
    row: String,
}

impl AnswerHasher {
    /// An answer with so many columns and no rows yet.
    #[must_use]
    pub fn new(columns: usize) -> Self {
        Self { columns, rows: 0, sum: 0, row: String::new() }
    }

    /// Takes one row, its cells in the order of the columns.
    pub fn add<'a>(&mut self, cells: impl IntoIterator<Item = Cell<'a>>) {
        self.row.clear();
        for cell in cells {
            cell.encode(&mut self.row);
        }
        self.rows += 1;
        self.sum = self.sum.wrapping_add(hash_128(self.row.as_bytes()));
    }

    /// The fingerprint of what was taken.
    #[must_use]
    pub fn finish(self) -> Answer {
        let whole = format!("{} columns, {} rows, {:032x}", self.columns, self.rows, self.sum);
        Answer { rows: self.rows, hash: format!("{:032x}", hash_128(whole.as_bytes())) }
    }
}

/// SHA-256, cut to its first 128 bits.
fn hash_128(bytes: &[u8]) -> u128 {
    let digest = Sha256::digest(bytes);
    digest.iter().take(16).fold(0, |hash, byte| (hash << 8) | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(rows: &[Vec<Cell<'static>>]) -> Answer {
        let mut hasher = AnswerHasher::new(rows.first().map_or(0, Vec::len));
        for row in rows {
            hasher.add(row.iter().cloned());
        }
        hasher.finish()
    }

    fn text(value: &'static str) -> Cell<'static> {
        Cell::Text(Cow::Borrowed(value))
    }

    fn same(a: Cell<'static>, b: Cell<'static>) -> bool {
        answer(&[vec![a]]) == answer(&[vec![b]])
    }

    /// The expected value was computed apart from this code, from the rows' canonical text
    /// `t6:London;i42;f1.05e1;u1735689600000000;` and `n;i-1;fNaN;n;`.
    #[test]
    fn the_fingerprint_of_a_known_answer_does_not_change() {
        let known = answer(&[
            vec![text("London"), Cell::Integer(42), Cell::Float(10.5), Cell::Timestamp(1_735_689_600_000_000)],
            vec![Cell::Null, Cell::Integer(-1), Cell::Float(f64::NAN), Cell::Null],
        ]);
        assert_eq!((known.rows, known.hash.as_str()), (2, "a73dee1883604adbdf60759714f8dc3b"));
    }

    #[test]
    fn types_of_different_width_with_one_value_are_the_same() {
        assert!(same(Cell::Integer(7), Cell::Float(7.0)));
        assert!(same(Cell::Float(0.0), Cell::Float(-0.0)));
        assert!(same(Cell::Float(0.0), Cell::Integer(0)));
        assert!(same(Cell::Float(f64::NAN), Cell::Float(-f64::NAN)));
    }

    #[test]
    fn sums_in_another_order_are_the_same_and_other_numbers_are_not() {
        assert!(same(Cell::Float(0.1 + 0.2), Cell::Float(0.3)));
        assert!(same(Cell::Float(1013.120625), Cell::Float(1013.120625_f64.next_up())));
        assert!(same(Cell::Float(1013.120625), Cell::Float(1013.120625_f64.next_down())));
        assert!(!same(Cell::Float(1013.12062), Cell::Float(1013.12063)));
        assert!(!same(Cell::Float(f64::INFINITY), Cell::Float(f64::NEG_INFINITY)));
        assert!(!same(Cell::Integer(i128::from(i64::MAX)), Cell::Integer(i128::from(i64::MAX) - 1)));
    }

    #[test]
    fn null_empty_text_zero_and_false_are_four_different_things() {
        let cells = [Cell::Null, text(""), Cell::Integer(0), Cell::Boolean(false), Cell::Timestamp(0), text("0")];
        for (i, a) in cells.iter().enumerate() {
            for (j, b) in cells.iter().enumerate() {
                assert_eq!(same(a.clone(), b.clone()), i == j, "{a:?} and {b:?}");
            }
        }
    }

    #[test]
    fn text_cannot_imitate_the_border_between_two_cells() {
        assert_ne!(answer(&[vec![text("a;t1:b"), text("c")]]), answer(&[vec![text("a"), text("b;t1:c")]]));
        assert_ne!(answer(&[vec![text("ab"), text("c")]]), answer(&[vec![text("a"), text("bc")]]));
    }

    #[test]
    fn a_row_more_or_a_row_twice_is_another_answer() {
        let (a, b) = (vec![Cell::Integer(1)], vec![Cell::Integer(2)]);
        assert_ne!(answer(&[a.clone(), b.clone()]), answer(&[a.clone(), b.clone(), b.clone()]));
        assert_ne!(answer(&[a.clone(), a.clone(), b.clone()]), answer(&[a.clone(), b.clone(), b]));
        assert_ne!(answer(&[]), answer(&[vec![Cell::Null]]));
        assert_ne!(AnswerHasher::new(1).finish(), AnswerHasher::new(2).finish());
    }

    #[test]
    fn cells_are_shown_as_people_read_them() {
        assert_eq!(Cell::Timestamp(1_735_689_600_000_000).display(), "2025-01-01T00:00:00Z");
        assert_eq!(Cell::Timestamp(1_735_689_600_250_000).display(), "2025-01-01T00:00:00.250Z");
        assert_eq!(Cell::Float(10.5).display(), "10.5");
        assert_eq!(Cell::Null.display(), "null");
    }

    fn cell() -> impl Strategy<Value = Cell<'static>> {
        prop_oneof![
            Just(Cell::Null),
            any::<bool>().prop_map(Cell::Boolean),
            any::<i64>().prop_map(|value| Cell::Integer(value.into())),
            any::<f64>().prop_map(Cell::Float),
            ".{0,8}".prop_map(|value| Cell::Text(Cow::Owned(value))),
            any::<i64>().prop_map(Cell::Timestamp),
        ]
    }

    proptest! {
        #[test]
        fn the_order_of_the_rows_does_not_matter(
            (rows, shuffled) in prop::collection::vec(prop::collection::vec(cell(), 3), 0..20)
                .prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle()))
        ) {
            prop_assert_eq!(answer(&rows), answer(&shuffled));
        }

        #[test]
        fn one_changed_cell_changes_the_answer(
            rows in prop::collection::vec(prop::collection::vec(any::<i64>(), 3), 1..20),
            at in any::<prop::sample::Index>(),
            column in 0..3_usize,
        ) {
            let cells = |rows: &[Vec<i64>]| -> Vec<Vec<Cell<'static>>> {
                rows.iter().map(|row| row.iter().map(|v| Cell::Integer((*v).into())).collect()).collect()
            };
            let mut changed = rows.clone();
            let row = at.index(rows.len());
            changed[row][column] = changed[row][column].wrapping_add(1);
            prop_assert_ne!(answer(&cells(&rows)), answer(&cells(&changed)));
        }

        #[test]
        fn rounding_keeps_nine_digits_and_is_stable(value in any::<f64>().prop_filter("normal", |v| v.is_normal())) {
            let rounded = canonical_float(value);
            prop_assert!(rounded.is_infinite() || ((rounded - value) / value).abs() <= 1.0 / f64::from(1 << FLOAT_BITS));
            prop_assert_eq!(canonical_float(rounded).to_bits(), rounded.to_bits());
        }
    }
}

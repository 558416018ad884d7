//! Rows that have the key of the row before: polls of a value that stays the same come one after the other. Such a row is
//! known to be a duplicate without a hash and without a search.

use super::values::{Values, hash, hashes};

/// Rows looked at, to find out whether it pays to look at all of them.
const SAMPLE: usize = 64;

/// The keys of a batch, row by row.
pub(super) struct Runs {
    /// Whether each row has the key of the row before. Empty when few have it.
    again: Vec<bool>,
    /// The hash of each row's key, but for the rows that are known anyway.
    hashes: Vec<u64>,
}

impl Runs {
    pub(super) fn of(key: &[Values], rows: usize) -> Self {
        let is_again = |row: usize| row > 0 && key.iter().all(|column| column.same(row, column, row - 1));
        let sample = rows.min(SAMPLE);
        if (0..sample).filter(|row| is_again(*row)).count() * 2 < sample {
            return Self { again: Vec::new(), hashes: hashes(key, rows) };
        }
        let again: Vec<bool> = (0..rows).map(is_again).collect();
        let hash = |(row, again): (usize, &bool)| if *again { 0 } else { hash(key, row) };
        let hashes = again.iter().enumerate().map(hash).collect();
        Self { again, hashes }
    }

    /// Whether the row has the key of the row before.
    pub(super) fn is_again(&self, row: u32) -> bool {
        self.again.get(row as usize).is_some_and(|again| *again)
    }

    /// The hash of the key of a row that has not the one of the row before.
    pub(super) fn hash(&self, row: u32) -> u64 {
        self.hashes[row as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, StringArray};

    use super::*;

    fn runs(names: &[Option<&str>], numbers: &[Option<f64>]) -> Vec<bool> {
        let columns: [ArrayRef; 2] =
            [Arc::new(StringArray::from(names.to_vec())), Arc::new(Float64Array::from(numbers.to_vec()))];
        let key: Vec<_> = columns.iter().map(|column| Values::of(column).unwrap()).collect();
        let (runs, all) = (Runs::of(&key, names.len()), hashes(&key, names.len()));
        let rows = 0..u32::try_from(names.len()).unwrap();
        for row in rows.clone().filter(|row| !runs.is_again(*row)) {
            assert_eq!(runs.hash(row), all[row as usize], "row {row}");
        }
        rows.map(|row| runs.is_again(row)).collect()
    }

    #[test]
    fn rows_with_the_key_of_the_row_before_are_known_where_there_are_many() {
        let names = [Some("a"), Some("a"), Some("a"), None, None, Some("b"), Some("b"), Some("b")];
        let numbers = [Some(0.0), Some(-0.0), Some(0.0), Some(0.0), Some(0.0), None, None, Some(0.0)];
        assert_eq!(runs(&names, &numbers), [false, true, true, false, true, false, true, false]);
        assert_eq!(runs(&names[2..6], &numbers[2..6]), [false; 4], "one of four is few");
        assert!(runs(&[], &[]).is_empty());
    }
}

//! A column as deduplication sees it: words or bytes, hashed by the column and compared value by value in place. Nothing
//! is copied but numbers, whose bits are brought into the order of their values first.

use std::cmp::Ordering;

use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryArray, GenericByteArray},
    buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer},
    datatypes::{ByteArrayType, DataType, Float64Type, Int64Type, TimestampMicrosecondType},
    error::ArrowError,
    row::{RowConverter, SortField},
};

/// The values of one column of one batch.
#[derive(Debug)]
pub(super) struct Values {
    kind: Kind,
    /// Absent when no value is null.
    nulls: Option<NullBuffer>,
}

#[derive(Debug)]
enum Kind {
    /// Anything of up to 64 bits, ordered as signed integers.
    Words(ScalarBuffer<i64>),
    /// Anything else, ordered as bytes.
    Bytes { ends: OffsetBuffer<i32>, bytes: Buffer },
}

/// Odd constants without a pattern: digits of pi, as in the seeds of other folded-multiply hashes.
const SEED: u64 = 0x243F_6A88_85A3_08D3;
const FACTOR: u64 = 0x1319_8A2E_0370_7345;
const NULL: u64 = 0xA409_3822_299F_31D0;

/// Mixes two words: the halves of their product.
const fn fold(a: u64, b: u64) -> u64 {
    let product = (a as u128).wrapping_mul(b as u128);
    (product as u64) ^ ((product >> 64) as u64)
}

fn hash_bytes(mut hash: u64, bytes: &[u8]) -> u64 {
    hash ^= bytes.len() as u64;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash = fold(hash ^ u64::from_le_bytes(*word), FACTOR);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    fold(hash ^ u64::from_le_bytes(last), FACTOR)
}

/// The bits of a number, so that they order as the numbers do and `-0.0` is `0.0`.
fn ordered(number: f64) -> i64 {
    let bits = (number + 0.0).to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

impl Values {
    /// # Errors
    /// [`ArrowError`] when values of this type have no order.
    pub(super) fn of(column: &ArrayRef) -> Result<Self, ArrowError> {
        let kind = match column.data_type() {
            DataType::Int64 => Kind::Words(column.as_primitive::<Int64Type>().values().clone()),
            DataType::Timestamp(..) => Kind::Words(column.as_primitive::<TimestampMicrosecondType>().values().clone()),
            DataType::Float64 => {
                Kind::Words(column.as_primitive::<Float64Type>().values().iter().map(|v| ordered(*v)).collect())
            }
            DataType::Boolean => Kind::Words(column.as_boolean().values().iter().map(i64::from).collect()),
            DataType::Utf8 => bytes_of(column.as_string::<i32>()),
            other => {
                let rows = RowConverter::new(vec![SortField::new(other.clone())])?;
                let encoded: BinaryArray = rows.convert_columns(std::slice::from_ref(column))?.try_into_binary()?;
                bytes_of(&encoded)
            }
        };
        let nulls = column.logical_nulls().filter(|nulls| nulls.null_count() > 0);
        Ok(Self { kind, nulls })
    }

    /// Whether the hash of such a column is made here from the values alone. That of another is made from an encoding
    /// which belongs to a library and may be another one in its next version.
    pub(super) const fn keeps_its_hash(kind: &DataType) -> bool {
        matches!(
            kind,
            DataType::Int64 | DataType::Timestamp(..) | DataType::Float64 | DataType::Boolean | DataType::Utf8
        )
    }

    fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Mixes each row's value into its hash.
    pub(super) fn hash(&self, hashes: &mut [u64]) {
        match (&self.kind, &self.nulls) {
            (Kind::Words(words), None) => {
                hashes.iter_mut().zip(words).for_each(|(hash, word)| *hash = fold(*hash ^ *word as u64, FACTOR));
            }
            _ => hashes.iter_mut().enumerate().for_each(|(row, hash)| *hash = self.mixed(*hash, row)),
        }
    }

    /// What lies under a null is not part of it.
    fn mixed(&self, hash: u64, row: usize) -> u64 {
        match &self.kind {
            _ if self.is_null(row) => fold(hash ^ NULL, FACTOR),
            Kind::Words(words) => fold(hash ^ words[row] as u64, FACTOR),
            Kind::Bytes { .. } => hash_bytes(hash, self.slice(row)),
        }
    }

    fn slice(&self, row: usize) -> &[u8] {
        match &self.kind {
            Kind::Bytes { ends, bytes } => {
                // Offsets are never negative.
                &bytes[ends[row] as usize..ends[row + 1] as usize]
            }
            Kind::Words(_) => &[],
        }
    }

    /// Whether two values, of the same column, are one; null is null.
    pub(super) fn same(&self, row: usize, other: &Self, at: usize) -> bool {
        match (self.is_null(row), other.is_null(at)) {
            (false, false) => self.values(row, other, at) == Ordering::Equal,
            (here, there) => here == there,
        }
    }

    /// The order of two values of the same column; null comes after every value, also when `descending`.
    pub(super) fn compare(&self, row: usize, other: &Self, at: usize, descending: bool) -> Ordering {
        match (self.is_null(row), other.is_null(at)) {
            (false, false) if descending => other.values(at, self, row),
            (false, false) => self.values(row, other, at),
            (here, there) => here.cmp(&there),
        }
    }

    fn values(&self, row: usize, other: &Self, at: usize) -> Ordering {
        match (&self.kind, &other.kind) {
            (Kind::Words(here), Kind::Words(there)) => here[row].cmp(&there[at]),
            _ => self.slice(row).cmp(other.slice(at)),
        }
    }
}

fn bytes_of<T: ByteArrayType<Offset = i32>>(array: &GenericByteArray<T>) -> Kind {
    Kind::Bytes { ends: array.offsets().clone(), bytes: array.values().clone() }
}

/// The hash of one row over these columns.
pub(super) fn hash(columns: &[Values], row: usize) -> u64 {
    columns.iter().fold(SEED, |hash, column| column.mixed(hash, row))
}

/// The hash of each row over these columns.
pub(super) fn hashes(columns: &[Values], rows: usize) -> Vec<u64> {
    let mut hashes = vec![SEED; rows];
    columns.iter().for_each(|column| column.hash(&mut hashes));
    hashes
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int64Array, ListArray, StringArray};

    use super::*;

    fn values(column: impl Array + 'static) -> Values {
        Values::of(&(Arc::new(column) as ArrayRef)).unwrap()
    }

    #[test]
    fn bits_order_as_the_numbers_do() {
        let numbers = [f64::NEG_INFINITY, -1e300, -1.5, -1.0, -f64::MIN_POSITIVE, 0.0, 1e-300, 1.0, 2.5, f64::INFINITY];
        assert!(numbers.windows(2).all(|pair| ordered(pair[0]) < ordered(pair[1])));
        assert_eq!(ordered(-0.0), ordered(0.0));
    }

    #[test]
    fn null_is_null_whatever_lies_under_it_and_comes_last_in_both_orders() {
        let nulls = NullBuffer::from(vec![false, false, true, true]);
        let column = values(Int64Array::new(vec![1, 2, 0, 5].into(), Some(nulls)));
        assert!(column.same(0, &column, 1) && !column.same(0, &column, 2));
        let hashed = hashes(&[column], 4);
        assert_eq!(hashed[0], hashed[1]);
        assert_ne!(hashed[0], hashed[2]);
        let pair = [values(Int64Array::from(vec![1, 2])), values(Int64Array::from(vec![None, None]))];
        let hashed = hashes(&pair, 2);
        assert_ne!(hashed[0], hashed[1], "a null leaves the other columns' part in the hash");
        let column = values(Int64Array::from(vec![None, Some(3), Some(7)]));
        for descending in [false, true] {
            assert_eq!(column.compare(0, &column, 1, descending), Ordering::Greater);
        }
        assert_eq!(column.compare(1, &column, 2, false), Ordering::Less);
        assert_eq!(column.compare(1, &column, 2, true), Ordering::Greater);
    }

    #[test]
    fn texts_of_sliced_columns_and_neighbours_do_not_run_into_each_other() {
        let text = |texts: &[&str]| values(StringArray::from(texts.to_vec()));
        let pairs = [text(&["ab", "a", "a\0"]), text(&["c", "bc", "bc"])];
        let hashes = hashes(&pairs, 3);
        assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2]);
        let sliced = StringArray::from(vec!["x", "y", "z"]).slice(1, 2);
        assert!(values(sliced).same(1, &text(&["z"]), 0));
    }

    #[test]
    fn a_type_without_words_or_bytes_of_its_own_is_compared_all_the_same() {
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([
            Some(vec![Some(1), Some(2)]),
            Some(vec![Some(1)]),
            Some(vec![Some(1), Some(2)]),
        ]);
        let lists = values(lists);
        assert!(lists.same(0, &lists, 2) && !lists.same(0, &lists, 1));
        assert_eq!(
            values(Float64Array::from(vec![-0.0])).values(0, &values(Float64Array::from(vec![0.0])), 0),
            Ordering::Equal
        );
    }
}

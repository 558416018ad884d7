//! How columns are encoded in Parquet, chosen from a sample of their rows: a dictionary where values come back, and where
//! they do not, the encoding that suits the type. Any reader of Parquet 2 knows all of them.

use arrow::{
    array::{ArrayRef, RecordBatch},
    datatypes::DataType,
};
use parquet::{
    basic::{Compression, Encoding, ZstdLevel},
    file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder},
    schema::types::ColumnPath,
};

use crate::dedupe::{hash_column, origin};

/// Rows looked at to choose.
const SAMPLE_ROWS: usize = 2_048;

/// Rows of a row group: what a writer holds until it is written, and what a reader takes at once.
const GROUP_ROWS: usize = 128 << 10;

/// How often a bloom filter may say that a value is there which is not.
const FALSE_POSITIVES: f64 = 0.01;

/// Writer properties for files of rows like these, with bloom filters of some columns. A filter is as large as the values
/// that come to it need.
pub(super) fn properties(sample: &RecordBatch, bloom_filters: &[String]) -> WriterProperties {
    let level = ZstdLevel::try_new(1).unwrap_or_default();
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(GROUP_ROWS));
    for name in bloom_filters {
        builder = builder.set_column_bloom_filter_fpp(ColumnPath::new(vec![name.clone()]), FALSE_POSITIVES);
    }
    let sample = sample.slice(0, sample.num_rows().min(SAMPLE_ROWS));
    builder = with_origins(builder, origin::is_by_object(&sample));
    let columns = sample.schema_ref().fields().iter().zip(sample.columns());
    for (field, column) in columns.filter(|(field, _)| !origin::is_reserved(field.name())) {
        let path = ColumnPath::new(vec![field.name().clone()]);
        let encoding = match field.data_type() {
            // Neighbours are near each other: their differences are smaller than any dictionary's keys.
            DataType::Int64 | DataType::Timestamp(..) if !is_repetitive(column, 16) => Encoding::DELTA_BINARY_PACKED,
            DataType::Float64 if !is_repetitive(column, 2) => Encoding::BYTE_STREAM_SPLIT,
            DataType::Utf8 if !is_repetitive(column, 2) => Encoding::DELTA_LENGTH_BYTE_ARRAY,
            _ => continue,
        };
        builder = builder.set_column_dictionary_enabled(path.clone(), false).set_column_encoding(path, encoding);
    }
    builder.build()
}

/// The same for where rows come from, which no one looks for. As long as those of one object are together, next to nothing
/// is left to compress; once they are in another order, objects are few and offsets anything.
fn with_origins(builder: WriterPropertiesBuilder, by_object: bool) -> WriterPropertiesBuilder {
    let [object, offset] = origin::COLUMNS.map(|name| ColumnPath::new(vec![name.to_owned()]));
    let mut builder = builder
        .set_column_statistics_enabled(object.clone(), EnabledStatistics::None)
        .set_column_statistics_enabled(offset.clone(), EnabledStatistics::None)
        .set_column_dictionary_enabled(offset.clone(), false)
        .set_column_encoding(offset.clone(), Encoding::DELTA_BINARY_PACKED);
    if by_object {
        builder = builder
            .set_column_dictionary_enabled(object.clone(), false)
            .set_column_encoding(object.clone(), Encoding::DELTA_BINARY_PACKED)
            .set_column_compression(object, Compression::UNCOMPRESSED)
            .set_column_compression(offset, Compression::UNCOMPRESSED);
    }
    builder
}

/// Whether a value comes `times` times or more on average. Hashes of values stand for them.
fn is_repetitive(column: &ArrayRef, times: usize) -> bool {
    distinct(&hash_column(column).unwrap_or_default()) * times <= column.len()
}

/// How many different hashes there are. A set of the library hashes them once more, which took longer than all else here.
fn distinct(hashes: &[u64]) -> usize {
    let mut slots = vec![0_u64; (hashes.len() * 2).next_power_of_two()];
    let mut count = 0;
    for hash in hashes {
        // Zero is a free slot.
        let hash = hash.max(&1);
        let mut at = *hash as usize & (slots.len() - 1);
        while slots[at] != 0 && slots[at] != *hash {
            at = (at + 1) & (slots.len() - 1);
        }
        if slots[at] == 0 {
            slots[at] = *hash;
            count += 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int64Array, StringArray, StructArray};

    use super::*;

    #[test]
    fn values_that_come_back_get_a_dictionary_and_others_what_suits_their_type() {
        let text = |values: Vec<String>| Arc::new(StringArray::from(values)) as ArrayRef;
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", text((0..1_000).map(|k| k.to_string()).collect())),
            ("kind", text((0..1_000).map(|k| (k % 7).to_string()).collect())),
            ("price", Arc::new((0..1_000).map(|k| Some(f64::from(k) / 7.0)).collect::<Float64Array>())),
            ("level", Arc::new((0..1_000).map(|k| Some(f64::from(k % 9))).collect::<Float64Array>())),
            ("seq", Arc::new((0..1_000).map(Some).collect::<Int64Array>())),
            ("code", Arc::new((0..1_000).map(|k| Some(k % 3 * 1_000_000)).collect::<Int64Array>())),
        ];
        let properties = properties(&RecordBatch::try_from_iter(columns).unwrap(), &["id".to_owned()]);
        let chosen = |name: &str| {
            let path = ColumnPath::new(vec![name.to_owned()]);
            (properties.dictionary_enabled(&path), properties.encoding(&path))
        };
        assert_eq!(chosen("id"), (false, Some(Encoding::DELTA_LENGTH_BYTE_ARRAY)));
        assert_eq!(chosen("price"), (false, Some(Encoding::BYTE_STREAM_SPLIT)));
        assert_eq!(chosen("seq"), (false, Some(Encoding::DELTA_BINARY_PACKED)));
        for name in ["kind", "level", "code"] {
            assert_eq!(chosen(name), (true, None), "{name}");
        }
        let filter = |name: &str| properties.bloom_filter_properties(&ColumnPath::new(vec![name.to_owned()])).is_some();
        assert_eq!(["id", "kind"].map(filter), [true, false]);
    }

    #[test]
    fn different_hashes_are_counted_also_where_they_meet_in_a_slot() {
        assert_eq!(distinct(&[]), 0);
        assert_eq!(distinct(&[0, 1, 0, 16, 32, 16, 48]), 4, "0 and 1 are taken for one");
        let hashes: Vec<u64> = (0..3_000).map(|k| k % 1_000 + 1).collect();
        assert_eq!(distinct(&hashes), 1_000);
    }

    #[test]
    fn a_column_of_parts_and_no_rows_at_all_are_left_to_the_writer() {
        let parts = StructArray::from(
            RecordBatch::try_from_iter([("a", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).unwrap(),
        );
        let batch = RecordBatch::try_from_iter([("parts", Arc::new(parts) as ArrayRef)]).unwrap();
        for batch in [batch.clone(), batch.slice(0, 0)] {
            assert!(
                properties(&batch, &[]).dictionary_enabled(&ColumnPath::new(vec!["parts".to_owned(), "a".to_owned()]))
            );
        }
    }
}

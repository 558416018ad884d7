//! The rows that the table holds: which files can have a key, what they hold for it, and files written again.

use std::{
    collections::HashSet,
    fs::File,
    io::{Read, Seek, SeekFrom},
    ops::Range,
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, UInt32Array, new_null_array},
    compute::{cast, concat_batches, filter_record_batch, max, max_string, min, min_string, take, take_record_batch},
    datatypes::{DataType, Int64Type, Schema, SchemaRef, TimestampMicrosecondType},
};
use bytes::Bytes;
use futures::{
    FutureExt, StreamExt, TryFutureExt,
    future::{BoxFuture, ready},
    stream::BoxStream,
};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use parquet::{
    arrow::{
        ParquetRecordBatchStreamBuilder, ProjectionMask,
        arrow_reader::ArrowReaderOptions,
        async_reader::{AsyncFileReader, ParquetRecordBatchStream},
    },
    errors::ParquetError,
    file::metadata::{ParquetMetaData, ParquetMetaDataReader},
};
use serde_json::Value;

use super::{conform::conformed, keys::Keyed, live::DataFile, write::TableWriter};
use crate::{
    decode::timestamp_us,
    dedupe::{Change, Deduper, KeyHash},
    error::CompactError,
    store::{Location, disk::Disk},
};

/// Rows of a file looked at or written again at a time.
const READ_ROWS: usize = 8_192;

/// What the keys of new rows can be equal to: for each column the values of a partition, or a range.
pub(super) struct KeyBounds {
    columns: Vec<(String, Bound)>,
}

enum Bound {
    /// A partition column's values, as the log writes them.
    Partition(HashSet<Option<String>>),
    Text {
        least: String,
        most: String,
        null: bool,
    },
    Whole {
        least: i64,
        most: i64,
        null: bool,
    },
    Time {
        least: i64,
        most: i64,
        null: bool,
    },
    /// Not bounded.
    Any,
}

impl KeyBounds {
    /// The bounds of the key columns in these batches.
    pub(super) fn of(key: &[String], partition_by: &[String], batches: &[RecordBatch]) -> Self {
        let columns = key.iter().map(|name| {
            let values: Vec<&ArrayRef> = batches.iter().filter_map(|batch| batch.column_by_name(name)).collect();
            let bound = if partition_by.contains(name) { partition_bound(&values) } else { range_bound(&values) };
            (name.clone(), bound)
        });
        Self { columns: columns.collect() }
    }

    /// Whether the file can hold one of the keys.
    pub(super) fn can_match(&self, file: &DataFile) -> bool {
        self.columns.iter().all(|(name, bound)| bound.can_match(name, file))
    }
}

fn partition_bound(values: &[&ArrayRef]) -> Bound {
    if values.iter().any(|column| *column.data_type() != DataType::Utf8) {
        return Bound::Any;
    }
    let (mut texts, mut before) = (HashSet::new(), None);
    // Neighbours mostly share theirs.
    for text in values.iter().flat_map(|column| column.as_string::<i32>().iter()) {
        if before != Some(text) {
            texts.insert(text.map(str::to_owned));
        }
        before = Some(text);
    }
    Bound::Partition(texts)
}

fn range_bound(values: &[&ArrayRef]) -> Bound {
    let null = values.iter().any(|column| column.null_count() > 0);
    match values.first().map(|column| column.data_type()) {
        Some(DataType::Utf8) => {
            let columns = values.iter().map(|column| column.as_string::<i32>());
            let range = range(columns.map(|column| (min_string(column), max_string(column))));
            let owned =
                |(least, most): (&str, &str)| Bound::Text { least: least.to_owned(), most: most.to_owned(), null };
            range.map_or(Bound::Any, owned)
        }
        Some(DataType::Int64) => {
            let columns = values.iter().map(|column| column.as_primitive::<Int64Type>());
            let range = range(columns.map(|column| (min(column), max(column))));
            range.map_or(Bound::Any, |(least, most)| Bound::Whole { least, most, null })
        }
        Some(DataType::Timestamp(..)) => {
            let columns = values.iter().map(|column| column.as_primitive::<TimestampMicrosecondType>());
            let range = range(columns.map(|column| (min(column), max(column))));
            range.map_or(Bound::Any, |(least, most)| Bound::Time { least, most, null })
        }
        _ => Bound::Any,
    }
}

/// From the smallest to the largest value of some columns, of which each one's are given.
fn range<T: Ord>(columns: impl Iterator<Item = (Option<T>, Option<T>)>) -> Option<(T, T)> {
    columns.filter_map(|(least, most)| least.zip(most)).reduce(|(a, b), (c, d)| (a.min(c), b.max(d)))
}

impl Bound {
    fn can_match(&self, name: &str, file: &DataFile) -> bool {
        let stat = |kind: &str| file.stats.get(kind).and_then(|stats| stats.get(name));
        let (least_here, most_here) = (stat("minValues"), stat("maxValues"));
        // Null equals null, and a file whose statistics say nothing about nulls may hold some.
        let nulls_here = || stat("nullCount").and_then(Value::as_u64) != Some(0);
        match self {
            // The log may write a null as an empty text.
            Self::Partition(values) => {
                let here = file.partition.get(name).map(|value| value.clone().filter(|text| !text.is_empty()));
                here.is_none_or(|value| values.contains(&value))
            }
            Self::Text { least, most, null } => {
                let overlap = least_here.and_then(Value::as_str).zip(most_here.and_then(Value::as_str));
                overlap.is_none_or(|(low, high)| low <= most.as_str() && least.as_str() <= high)
                    || (*null && nulls_here())
            }
            Self::Whole { least, most, null } => {
                let overlap = least_here.and_then(Value::as_i64).zip(most_here.and_then(Value::as_i64));
                overlap.is_none_or(|(low, high)| low <= *most && *least <= high) || (*null && nulls_here())
            }
            Self::Time { least, most, null } => {
                let time = |value: Option<&Value>| timestamp_us(value?.as_str()?.as_bytes());
                // Statistics may be cut to milliseconds.
                let overlap = time(least_here).zip(time(most_here));
                overlap.is_none_or(|(low, high)| low <= *most && *least <= high + 1_000) || (*null && nulls_here())
            }
            Self::Any => true,
        }
    }
}

/// Reads data files of the table.
pub(super) struct TableReader {
    store: Arc<dyn ObjectStore>,
    schema: SchemaRef,
    partition_by: Vec<String>,
    /// The table, and its folder where it is one.
    disk: Option<(Location, Disk)>,
}

impl TableReader {
    pub(super) fn new(store: Arc<dyn ObjectStore>, schema: SchemaRef, partition_by: &[String]) -> Self {
        Self { store, schema, partition_by: partition_by.to_vec(), disk: None }
    }

    /// The same, for a table here. A file on the disk is read by the thread that decodes it: megabytes that one thread gives
    /// another to free are not given back for long.
    pub(super) fn at(mut self, table: &Location) -> Self {
        self.disk = Disk::of(table).map(|disk| (table.clone(), disk));
        self
    }

    fn reader(&self, file: &DataFile) -> FileReader {
        // Where it cannot be opened the store says why.
        let here = self.disk.as_ref().and_then(|(table, disk)| {
            let opened = disk.open(&table.path(file.path.as_ref())).ok().flatten();
            opened.map(|(file, _)| file)
        });
        FileReader { store: Arc::clone(&self.store), path: file.path.clone(), size: file.size, here }
    }

    /// The table's columns.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The file's rows as they are.
    pub(super) fn stream(
        self: Arc<Self>,
        file: Arc<DataFile>,
    ) -> BoxStream<'static, Result<RecordBatch, CompactError>> {
        let opened = async move {
            let stream = self.open(&file, None).await?;
            Ok(stream.map(move |read| {
                let read = read.map_err(|source| CompactError::Parquet { path: file.path.to_string(), source })?;
                self.conform(&file, None, &read)
            }))
        };
        opened.try_flatten_stream().boxed()
    }

    async fn open(
        &self,
        file: &DataFile,
        columns: Option<&[String]>,
    ) -> Result<ParquetRecordBatchStream<FileReader>, CompactError> {
        let refuse = |source| CompactError::Parquet { path: file.path.to_string(), source };
        let mut builder =
            ParquetRecordBatchStreamBuilder::new(self.reader(file)).await.map_err(refuse)?.with_batch_size(READ_ROWS);
        if let Some(columns) = columns {
            let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().map(String::as_str));
            builder = builder.with_projection(mask);
        }
        builder.build().map_err(refuse)
    }

    /// What the file holds in the table's types: partition columns come from the log, a column the file lacks is null.
    fn conform(
        &self,
        file: &DataFile,
        columns: Option<&[String]>,
        read: &RecordBatch,
    ) -> Result<RecordBatch, CompactError> {
        let wanted = |name: &String| columns.is_none_or(|columns| columns.contains(name));
        let fields: Vec<_> = self.schema.fields().iter().filter(|f| wanted(f.name())).cloned().collect();
        let rows = read.num_rows();
        let mut arrays = Vec::with_capacity(fields.len());
        for field in &fields {
            let kind = field.data_type();
            arrays.push(if self.partition_by.contains(field.name()) {
                match file.partition.get(field.name()).and_then(Option::as_deref).filter(|text| !text.is_empty()) {
                    Some(text) => {
                        let one = cast(&StringArray::from(vec![text]), kind)?;
                        take(&one, &UInt32Array::from(vec![0; rows]), None)?
                    }
                    None => new_null_array(kind, rows),
                }
            } else {
                match read.column_by_name(field.name()) {
                    Some(column) => conformed(column, kind)?,
                    None => new_null_array(kind, rows),
                }
            });
        }
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
    }

    /// Shows the file's rows to the deduplication.
    pub(super) async fn show(&self, number: u32, file: &DataFile, to: &mut Deduper) -> Result<(), CompactError> {
        let columns = to.columns_to_meet();
        let mut stream = self.open(file, Some(&columns)).await?;
        let mut first_row = 0;
        while let Some(read) = stream.next().await {
            let read = read.map_err(|source| CompactError::Parquet { path: file.path.to_string(), source })?;
            to.meet(number, first_row, &self.conform(file, Some(&columns), &read)?)?;
            first_row += read.num_rows() as u64;
        }
        Ok(())
    }

    /// The columns that have a bloom filter in the file.
    pub(super) async fn bloom_filters(&self, file: &DataFile) -> Result<Vec<String>, CompactError> {
        let refuse = |source| CompactError::Parquet { path: file.path.to_string(), source };
        let mut reader = self.reader(file);
        let metadata = reader.get_metadata(None).await.map_err(refuse)?;
        let columns = metadata.row_groups().first().map(|group| group.columns()).unwrap_or_default();
        let with_filter = columns.iter().filter(|column| column.bloom_filter_offset().is_some());
        Ok(with_filter.map(|column| column.column_path().string()).collect())
    }

    /// Writes the file again with the changes (in order of row) made; returns what to add and how many rows it had.
    pub(super) async fn rewrite(
        &self,
        file: &DataFile,
        changes: &[(u64, Change)],
        deduper: &Deduper,
        writer: &TableWriter,
        hash: Option<&KeyHash>,
    ) -> Result<(Keyed, u64), CompactError> {
        let mut out = writer.file();
        let mut stream = self.open(file, None).await?;
        let (mut first_row, mut changes) = (0_u64, changes);
        let mut hashes = hash.map(|_| Vec::new());
        while let Some(read) = stream.next().await {
            let read = read.map_err(|source| CompactError::Parquet { path: file.path.to_string(), source })?;
            let batch = self.conform(file, None, &read)?;
            let end = first_row + batch.num_rows() as u64;
            let (here, later) = changes.split_at(changes.partition_point(|(row, _)| *row < end));
            let changed = self.changed(&batch, first_row, here, deduper)?;
            if let (Some(hash), Some(hashes)) = (hash, &mut hashes) {
                hashes.extend(hash.of(&changed)?);
            }
            if changed.num_rows() > 0 {
                out.write(&changed).await?;
            }
            (first_row, changes) = (end, later);
        }
        Ok((Keyed { added: out.close().await?, hashes }, first_row))
    }

    /// One batch of a file with its changes made.
    fn changed(
        &self,
        batch: &RecordBatch,
        first_row: u64,
        changes: &[(u64, Change)],
        deduper: &Deduper,
    ) -> Result<RecordBatch, CompactError> {
        if changes.is_empty() {
            return Ok(batch.clone());
        }
        let mut fates = vec![Fate::Stays; batch.num_rows()];
        let (mut updated, mut groups) = (Vec::new(), Vec::new());
        for (row, change) in changes {
            let row = u32::try_from(row - first_row).unwrap_or(u32::MAX);
            fates[row as usize] = Fate::Goes;
            if let Change::Update(group) = change {
                fates[row as usize] = Fate::IsUpdated;
                updated.push(row);
                groups.push(*group);
            }
        }
        let same =
            filter_record_batch(batch, &fates.iter().map(|fate| Some(*fate == Fate::Stays)).collect::<BooleanArray>())?;
        let mut columns = take_record_batch(batch, &UInt32Array::from(updated))?.columns().to_vec();
        for (name, values) in deduper.aggregates(&groups)? {
            columns[self.schema.index_of(&name)?] = values;
        }
        let updated = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        // Each row stays where it was among the others.
        let stayed = u32::try_from(same.num_rows()).unwrap_or(u32::MAX);
        let (mut next_same, mut next_updated) = (0..stayed, stayed..);
        let order = fates.into_iter().filter_map(|fate| match fate {
            Fate::Stays => next_same.next(),
            Fate::IsUpdated => next_updated.next(),
            Fate::Goes => None,
        });
        let order: UInt32Array = order.map(Some).collect();
        Ok(take_record_batch(&concat_batches(&self.schema, [&same, &updated])?, &order)?)
    }
}

/// What becomes of a row of a file that is written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    IsUpdated,
    Goes,
}

/// Ranged reads of one object.
struct FileReader {
    store: Arc<dyn ObjectStore>,
    path: Path,
    size: u64,
    /// The file, where it is on the disk.
    here: Option<File>,
}

fn external(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

fn read_here(mut file: &File, range: &Range<u64>) -> Result<Bytes, ParquetError> {
    let length = usize::try_from(range.end - range.start).map_err(|e| ParquetError::External(Box::new(e)))?;
    let mut bytes = vec![0; length];
    file.seek(SeekFrom::Start(range.start))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes.into())
}

impl AsyncFileReader for FileReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        match &self.here {
            Some(file) => ready(read_here(file, &range)).boxed(),
            None => self.store.get_range(&self.path, range).map_err(external).boxed(),
        }
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        match &self.here {
            Some(file) => ready(ranges.iter().map(|range| read_here(file, range)).collect()).boxed(),
            None => async move { self.store.get_ranges(&self.path, &ranges).await.map_err(external) }.boxed(),
        }
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            let size = self.size;
            let reader = ParquetMetaDataReader::new().with_arrow_reader_options(options);
            reader.load_and_finish(self, size).await.map(Arc::new)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use deltalake::kernel::Add;
    use serde_json::json;

    use super::*;

    fn file(stats: Value, city: Option<&str>) -> DataFile {
        let add = Add {
            path: "x".to_owned(),
            partition_values: HashMap::from([("city".to_owned(), city.map(str::to_owned))]),
            stats: Some(stats.to_string()),
            ..Add::default()
        };
        DataFile::of(&add, &["id".to_owned()])
    }

    fn bounds(ids: Vec<Option<&str>>, cities: Vec<Option<&str>>) -> KeyBounds {
        let ids: ArrayRef = Arc::new(StringArray::from(ids));
        let cities: ArrayRef = Arc::new(StringArray::from(cities));
        let batch = RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("city", cities, true)]).unwrap();
        KeyBounds::of(&["id".to_owned(), "city".to_owned()], &["city".to_owned()], &[batch])
    }

    #[test]
    fn only_files_that_can_hold_a_key_are_read() {
        let stats = |low: &str, high: &str, nulls: u64| json!({"minValues": {"id": low}, "maxValues": {"id": high}, "nullCount": {"id": nulls}});
        let wanted = bounds(vec![Some("c"), Some("f")], vec![Some("London"), None]);
        assert!(wanted.can_match(&file(stats("a", "c", 0), Some("London"))));
        assert!(wanted.can_match(&file(stats("d", "e", 0), None)));
        assert!(!wanted.can_match(&file(stats("g", "z", 9), Some("London"))), "above the range, and no null is wanted");
        assert!(!wanted.can_match(&file(stats("a", "b", 0), Some("London"))));
        assert!(!wanted.can_match(&file(stats("a", "z", 0), Some("York"))), "another partition");
        assert!(wanted.can_match(&file(json!({}), Some("London"))), "no statistics: it has to be read");
        let with_null = bounds(vec![Some("c"), None], vec![Some("London"), Some("London")]);
        assert!(with_null.can_match(&file(stats("g", "z", 1), Some("London"))));
        assert!(!with_null.can_match(&file(stats("g", "z", 0), Some("London"))));
    }
}

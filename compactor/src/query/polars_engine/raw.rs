//! The lake's gzip JSON for Polars: one object at a time, framed, then read by Polars' own NDJSON reader.

use std::{
    io::{Cursor, ErrorKind, Read},
    sync::Arc,
};

use flate2::bufread::GzDecoder;
use object_store::{ObjectStore, ObjectStoreExt};
use polars::prelude::{
    AnyValue, Column, DataFrame, DataType, IntoColumn, IntoSeries, JsonFormat, JsonReader, PlSmallStr, PolarsResult,
    Scalar, Schema, SchemaRef, SerReader, Series, StringChunked, StringMethods, TimeUnit, TimeZone, UInt64Chunked,
    polars_ensure, polars_err,
};
use tokio::runtime::Handle;

use super::{
    frames::{Framer, TIMESTAMPS, Text},
    scan::Source,
    view::{OBJECT, OFFSET, data_type, timestamp_type},
};
use crate::{Location, TableSchema, query::lake::Object};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The objects of a lake.
pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    objects: Vec<Object>,
    schema: SchemaRef,
    framer: Framer,
    runtime: Handle,
}

/// The decoded columns as Polars holds them, and where each row comes from.
pub(super) fn schema(table: &TableSchema) -> SchemaRef {
    let decoded = table.arrow_decoded();
    let columns = decoded.fields().iter().map(|f| (PlSmallStr::from_str(f.name()), data_type(f.data_type())));
    let origin = [(OBJECT, DataType::String), (OFFSET, DataType::UInt64)];
    Arc::new(Schema::from_iter(columns.chain(origin.map(|(name, kind)| (PlSmallStr::from_static(name), kind)))))
}

impl Objects {
    pub(super) fn new(place: &Location, objects: Vec<Object>, table: &Arc<TableSchema>, runtime: Handle) -> Self {
        let store = Arc::clone(&place.store);
        Self { store, objects, schema: schema(table), framer: Framer::new(table), runtime }
    }

    /// The wanted columns of the good records of one object.
    fn read(&self, object: &Object, wanted: &Schema) -> PolarsResult<DataFrame> {
        let fetch = async { self.store.get(&object.path).await?.bytes().await };
        let bytes = self.runtime.block_on(fetch).map_err(|e| polars_err!(ComputeError: "{}: {e}", object.path))?;
        let frames =
            self.framer.frame(&inflate(&bytes, self.framer.takes_plain(&bytes, &object.name)), &object.name, |name| {
                wanted.contains(name)
            });
        let rows = frames.offsets.len();
        let read = read_json(frames.json, rows, wanted)?;
        let mut offsets = Some(frames.offsets);
        let column = |(name, kind): (&PlSmallStr, &DataType)| match name.as_str() {
            OBJECT => {
                let value = Scalar::new(DataType::String, AnyValue::StringOwned(object.name.as_str().into()));
                Ok(Column::new_scalar(name.clone(), value, rows))
            }
            OFFSET => Ok(UInt64Chunked::from_vec(name.clone(), offsets.take().unwrap_or_default()).into_column()),
            _ if matches!(kind, DataType::Datetime(..)) => timestamps(read.column(name)?),
            _ => Ok(read.column(name)?.clone()),
        };
        DataFrame::new(rows, wanted.iter().map(column).collect::<PolarsResult<_>>()?)
    }
}

impl Source for Objects {
    fn load(&self, columns: &[PlSmallStr]) -> PolarsResult<DataFrame> {
        let wanted = self.schema.try_project(columns)?;
        let mut all = DataFrame::empty_with_schema(&wanted);
        for object in &self.objects {
            all.vstack_mut_owned(self.read(object, &wanted)?)?;
        }
        Ok(all)
    }
}

/// The text of an object. One that is no gzip and should be has none, nor has one whose stream is damaged: nothing in it can be
/// trusted. Of one that ends too early there is what came; a record that it cut in two is no JSON.
fn inflate(object: &[u8], takes_plain: bool) -> Text {
    if !object.starts_with(&GZIP_MAGIC) {
        let bytes = if takes_plain { object.to_vec() } else { Vec::new() };
        return Text { bytes, is_cut: false };
    }
    let (mut text, mut rest) = (Text::default(), object);
    while rest.starts_with(&GZIP_MAGIC) {
        let mut member = GzDecoder::new(rest);
        match member.read_to_end(&mut text.bytes) {
            Ok(_) => rest = member.into_inner(),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                text.is_cut = true;
                break;
            }
            Err(_) => return Text::default(),
        }
    }
    text
}

/// Polars' strict reader: a value that it cannot take is an error and not a null. Timestamps are read as text.
fn read_json(json: Vec<u8>, rows: usize, wanted: &Schema) -> PolarsResult<DataFrame> {
    let as_text =
        |kind: &DataType| if matches!(kind, DataType::Datetime(..)) { DataType::String } else { kind.clone() };
    let fields = wanted.iter().filter(|(name, _)| !matches!(name.as_str(), OBJECT | OFFSET));
    let fields = Schema::from_iter(fields.map(|(name, kind)| (name.clone(), as_text(kind))));
    if rows == 0 {
        return Ok(DataFrame::empty_with_schema(&fields));
    }
    if fields.is_empty() {
        return DataFrame::new(rows, Vec::new());
    }
    let reader = JsonReader::new(Cursor::new(json)).with_json_format(JsonFormat::JsonLines);
    let frame = reader.with_schema(Arc::new(fields)).with_ignore_errors(false).finish()?;
    polars_ensure!(frame.height() == rows, ComputeError: "Polars read {} of {rows} records", frame.height());
    Ok(frame)
}

/// Polars' reading of a column of timestamps as text. More than one shape may be in it.
fn timestamps(text: &Column) -> PolarsResult<Column> {
    let text = text.as_materialized_series();
    let mut times = Series::full_null(text.name().clone(), text.len(), &timestamp_type());
    for (pattern, has_offset) in TIMESTAMPS {
        if times.null_count() == text.null_count() {
            break;
        }
        let raise = StringChunked::from_iter([Some("raise")]);
        let utc = TimeZone::UTC;
        let read =
            text.str()?.as_datetime(Some(pattern), TimeUnit::Microseconds, true, has_offset, Some(&utc), &raise)?;
        times = times.zip_with(&times.is_not_null(), &read.into_series())?;
    }
    let unread = times.null_count() - text.null_count();
    polars_ensure!(unread == 0, ComputeError: "Polars cannot read {unread} timestamps of column {}", text.name());
    Ok(times.into_column())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use polars::prelude::{IntoColumn, NamedFrom};

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn members_follow_each_other_and_what_follows_them_is_no_text() {
        let object = [gzip(b"one "), gzip(b"two"), b"garbage".to_vec()].concat();
        assert_eq!(inflate(&object, false).bytes, b"one two");
    }

    #[test]
    fn a_cut_object_gives_its_beginning_and_a_damaged_or_false_one_nothing() {
        let text: Vec<u8> = (0..100_000_u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let whole = gzip(&text);
        let cut = inflate(&whole[..whole.len() / 2], false);
        assert!(cut.is_cut && !cut.bytes.is_empty() && text.starts_with(&cut.bytes));
        let mut damaged = whole;
        let checksum = damaged.len() - 8;
        damaged[checksum] ^= 1;
        assert_eq!(inflate(&damaged, false), Text::default());
        assert_eq!(inflate(b"not gzip", false), Text::default());
        assert_eq!(inflate(b"{}", true).bytes, b"{}");
    }

    #[test]
    fn timestamps_of_every_shape_become_one_column() {
        let text = [
            Some("2025-01-01T00:00:00Z"),
            Some("2025-01-01T01:00:00+01:00"),
            Some("2025-01-01T00:00:00.000000"),
            Some("2025-01-01 00:00:00"),
            Some("2025-01-01 00:00Z"),
            None,
            Some("2025-01-01T00:00:00.0000009Z"),
        ];
        let times = timestamps(&Series::new("at".into(), text).into_column()).unwrap();
        let times = times.cast(&DataType::Int64).unwrap();
        let new_year = Some(1_735_689_600_000_000_i64);
        let expected = [new_year, new_year, new_year, new_year, new_year, None, new_year];
        assert_eq!(times.i64().unwrap().iter().collect::<Vec<_>>(), expected);
        let error = timestamps(&Series::new("at".into(), ["soon"]).into_column()).unwrap_err();
        assert!(error.to_string().contains("1 timestamps of column at"), "{error}");
    }
}

//! Bad pieces, kept: a Delta table beside the table, one row a piece, with its place, its reason and its bytes.
//!
//! It commits under the same sequence number as the table, and before it: a replay finds it done. It is a table of its
//! own so that no reader of the good rows meets it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int64Array, RecordBatch, StringArray,
        TimestampMicrosecondArray,
    },
    compute::filter_record_batch,
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
};
use bytes::Bytes;
use deltalake::{
    kernel::{Action, PrimitiveType, StructField},
    protocol::{DeltaOperation, SaveMode},
};
use millrace_scenarios::ColumnType;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::json;

use super::{
    live::Live,
    table::{Committed, Table},
    write::TableWriter,
};
use crate::{
    decode::BadLine,
    error::CompactError,
    schema::arrow_type,
    store::{Location, durable},
};

/// Appended to the table's location.
pub const SUFFIX: &str = "-quarantine";
/// Bytes of pieces put into one batch.
const BATCH_BYTES: usize = 16 << 20;
/// Times a commit is tried when others write to the quarantine as well.
const ATTEMPTS: u32 = 5;

fn fields() -> Vec<StructField> {
    let field = |name: &str, kind: PrimitiveType| StructField::nullable(name, kind);
    vec![
        field("object", PrimitiveType::String),
        field("member", PrimitiveType::Long),
        field("line", PrimitiveType::Long),
        field("offset", PrimitiveType::Long),
        field("length", PrimitiveType::Long),
        field("reason", PrimitiveType::String),
        field("message", PrimitiveType::String),
        field("column", PrimitiveType::String),
        field("raw", PrimitiveType::Binary),
        field("manifest", PrimitiveType::Long),
        field("run", PrimitiveType::String),
        field("quarantined_at", PrimitiveType::Timestamp),
    ]
}

fn schema() -> SchemaRef {
    let field = |name: &str, kind| Field::new(name, kind, true);
    Arc::new(Schema::new(vec![
        field("object", DataType::Utf8),
        field("member", DataType::Int64),
        field("line", DataType::Int64),
        field("offset", DataType::Int64),
        field("length", DataType::Int64),
        field("reason", DataType::Utf8),
        field("message", DataType::Utf8),
        field("column", DataType::Utf8),
        field("raw", DataType::Binary),
        field("manifest", DataType::Int64),
        field("run", DataType::Utf8),
        field("quarantined_at", arrow_type(ColumnType::Timestamp)),
    ]))
}

fn rows(bad: &[BadLine], sequence: u64, run: &str, now_us: u64) -> Result<RecordBatch, CompactError> {
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let whole = |get: fn(&BadLine) -> u64| Arc::new(bad.iter().map(|b| Some(signed(get(b)))).collect::<Int64Array>());
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(bad.iter().map(|b| &b.object))),
        // 0 stands for none.
        Arc::new(bad.iter().map(|b| (b.member > 0).then_some(signed(b.member))).collect::<Int64Array>()),
        whole(|b| b.line),
        whole(|b| b.offset),
        whole(|b| b.length),
        Arc::new(StringArray::from_iter_values(bad.iter().map(|b| b.reason.name()))),
        Arc::new(StringArray::from_iter_values(bad.iter().map(|b| b.reason.message()))),
        Arc::new(bad.iter().map(|b| b.reason.column()).collect::<StringArray>()),
        Arc::new(BinaryArray::from_iter_values(bad.iter().map(|b| &b.raw))),
        Arc::new(Int64Array::from(vec![signed(sequence); bad.len()])),
        Arc::new(StringArray::from(vec![run; bad.len()])),
        Arc::new(TimestampMicrosecondArray::from(vec![signed(now_us); bad.len()]).with_timezone("UTC")),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

/// Puts the pieces of commit `sequence` of the table `of` into quarantine, unless they are there.
pub(super) async fn write(
    place: &Location,
    of: &str,
    sequence: u64,
    bad: &[BadLine],
    run: &str,
    now_us: u64,
) -> Result<(), CompactError> {
    if bad.is_empty() {
        return Ok(());
    }
    let mut table = Table::open_or_create(place, fields(), &[]).await?.on_behalf_of(of);
    for _ in 0..ATTEMPTS {
        if table.sequence().await? >= sequence {
            return Ok(());
        }
        // A quarantine from before a column was thought of.
        table.add_columns(fields()).await?;
        let mut writer = TableWriter::new(&table.log_store, &table.state, schema()).file();
        let mut rest = bad;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take_while(|piece| {
                bytes += piece.raw.len();
                bytes <= BATCH_BYTES
            });
            let (batch, later) = rest.split_at(fits.count().max(1));
            writer.write(&rows(batch, sequence, run, now_us)?).await?;
            rest = later;
        }
        let added = writer.close().await?;
        durable::sync(place, added.iter().map(|add| place.path(&add.path)).collect()).await?;
        let actions = added.into_iter().map(Action::Add).collect();
        let operation = DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None };
        let metadata = HashMap::from([("isBlindAppend".to_owned(), json!(true))]);
        if table.commit(sequence, actions, operation, metadata, now_us, false).await? == Committed::Yes {
            return Ok(());
        }
    }
    Err(CompactError::Contended { table: place.url.to_string(), sequence, attempts: ATTEMPTS })
}

/// Takes the pieces of these `objects` that commit `sequence` of the table `of` brought out again, and counts that commit.
/// An earlier table in the same place may have had the number too, for other objects.
pub(super) async fn withdraw(
    place: &Location,
    of: &str,
    sequence: u64,
    objects: &BTreeSet<String>,
    now_us: u64,
) -> Result<(), CompactError> {
    // Made where there is none: the process whose commit was withdrawn may be about to bring pieces.
    let mut table = Table::open_or_create(place, fields(), &[]).await?.on_behalf_of(of);
    for _ in 0..ATTEMPTS {
        table.catch_up().await?;
        let mut actions = Vec::new();
        let files = Live::of(&table.state, &["manifest".to_owned()]).files(place.url.as_str())?;
        for file in files.into_iter().filter(|file| file.may_hold(sequence)) {
            let batches = batches(table.log_store.object_store(None).as_ref(), &file.path).await?;
            let others: Result<Vec<_>, _> = batches.iter().map(|batch| without(batch, sequence, objects)).collect();
            let others: Vec<_> = others?.into_iter().filter(|batch| batch.num_rows() > 0).collect();
            let rows = |batches: &[RecordBatch]| batches.iter().map(RecordBatch::num_rows).sum::<usize>();
            if rows(&others) == rows(&batches) {
                continue;
            }
            actions.push(Action::Remove(file.remove(i64::try_from(now_us / 1_000).unwrap_or(i64::MAX))));
            let mut writer = TableWriter::new(
                &table.log_store,
                &table.state,
                others.first().map_or_else(schema, RecordBatch::schema),
            )
            .file();
            for batch in &others {
                writer.write(batch).await?;
            }
            actions.extend(writer.close().await?.into_iter().map(Action::Add));
        }
        let held = table.sequence().await?;
        if actions.is_empty() && held >= sequence {
            return Ok(());
        }
        let added = actions.iter().filter_map(|action| match action {
            Action::Add(add) => Some(place.path(&add.path)),
            _ => None,
        });
        durable::sync(place, added.collect()).await?;
        let operation = DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None };
        let operation = if actions.is_empty() { operation } else { DeltaOperation::Delete { predicate: None } };
        let committed = if held < sequence {
            table.commit(sequence, actions, operation, HashMap::new(), now_us, false).await?
        } else {
            table.commit_rewrite(actions, operation, HashMap::new()).await?
        };
        if committed == Committed::Yes {
            return Ok(());
        }
    }
    Err(CompactError::Contended { table: place.url.to_string(), sequence, attempts: ATTEMPTS })
}

/// The pieces of a batch that are of other commits or objects.
fn without(batch: &RecordBatch, sequence: u64, objects: &BTreeSet<String>) -> Result<RecordBatch, CompactError> {
    let numbers = batch.column_by_name("manifest").and_then(|numbers| numbers.as_primitive_opt::<Int64Type>());
    let names = batch.column_by_name("object").and_then(|names| names.as_string_opt::<i32>());
    let (Some(numbers), Some(names)) = (numbers, names) else { return Ok(batch.clone()) };
    let goes = |row: usize| u64::try_from(numbers.value(row)) == Ok(sequence) && objects.contains(names.value(row));
    let stays: BooleanArray = (0..batch.num_rows()).map(|row| Some(!goes(row))).collect();
    Ok(filter_record_batch(batch, &stays)?)
}

/// A bad piece in quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Piece {
    /// The object it is from.
    pub object: String,
    /// Number of the gzip member that holds its first byte, from 1; 0 where there is none.
    pub member: u64,
    /// Line of its first byte, from 1.
    pub line: u64,
    /// Byte offset of its first byte.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
    /// Why it is no row: the short name.
    pub reason: String,
    /// The column at fault, where one is.
    pub column: Option<String>,
    /// Whether a replay has brought it into the table.
    pub replayed: bool,
}

impl Piece {
    /// Whether it is a part of the object as it lies in the lake, and not of its text.
    pub(super) fn is_of_stored_bytes(&self) -> bool {
        matches!(self.reason.as_str(), "corrupt_gzip" | "not_gzip" | "other_header")
    }

    /// Its name among all pieces, under which a replay takes it: it tells of one object no two pieces alike.
    pub(super) fn key(&self) -> String {
        format!("{}@{}:{}", self.object, self.offset, self.reason)
    }
}

/// The object and the offset there that a piece's name tells.
pub(super) fn place_of(key: &str) -> Option<(&str, u64)> {
    let (object, rest) = key.rsplit_once('@')?;
    let (offset, _) = rest.split_once(':')?;
    Some((object, offset.parse().ok()?))
}

/// Shows every piece in quarantine, with the bytes that are kept of it, file by file.
pub(super) async fn read(place: &Location, show: &mut (dyn FnMut(Piece, Bytes) + Send)) -> Result<(), CompactError> {
    let Some(table) = Table::open(place).await? else { return Ok(()) };
    let paths: Vec<_> = table.state.log_data().iter().map(|file| file.object_store_path()).collect();
    let store = table.log_store.object_store(None);
    for path in paths {
        batches(store.as_ref(), &path).await?.iter().for_each(|batch| pieces(batch, show));
    }
    Ok(())
}

/// What a file of the quarantine holds.
async fn batches(store: &dyn ObjectStore, path: &Path) -> Result<Vec<RecordBatch>, CompactError> {
    let found = store.get(path).await.map_err(|e| CompactError::object(path, e))?;
    let bytes = found.bytes().await.map_err(|e| CompactError::object(path, e))?;
    let refuse = |source| CompactError::Parquet { path: path.to_string(), source };
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(refuse)?.build().map_err(refuse)?;
    Ok(reader.collect::<Result<_, _>>()?)
}

fn pieces(batch: &RecordBatch, show: &mut (dyn FnMut(Piece, Bytes) + Send)) {
    let column = |name: &str| batch.column_by_name(name);
    let text = |name: &str, row: usize| {
        let texts = column(name)?.as_string_opt::<i32>()?;
        texts.is_valid(row).then(|| texts.value(row).to_owned())
    };
    let number = |name: &str, row: usize| {
        let numbers = column(name).and_then(|numbers| numbers.as_primitive_opt::<Int64Type>());
        numbers.filter(|n| n.is_valid(row)).and_then(|n| u64::try_from(n.value(row)).ok()).unwrap_or(0)
    };
    let raw = column("raw").and_then(|raw| raw.as_binary_opt::<i32>());
    for row in 0..batch.num_rows() {
        let piece = Piece {
            object: text("object", row).unwrap_or_default(),
            member: number("member", row),
            line: number("line", row),
            offset: number("offset", row),
            length: number("length", row),
            reason: text("reason", row).unwrap_or_default(),
            column: text("column", row),
            replayed: false,
        };
        show(piece, raw.map_or_else(Bytes::new, |raw| Bytes::copy_from_slice(raw.value(row))));
    }
}

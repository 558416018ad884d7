//! Bad pieces, kept: a Delta table beside the table, one row a piece, with its place, its reason and its bytes.
//!
//! It commits under the same sequence number as the table, and before it: a replay finds it done. It is a table of its
//! own so that no reader of the good rows meets it.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use deltalake::{
    kernel::{Action, PrimitiveType, StructField},
    protocol::{DeltaOperation, SaveMode},
};
use millrace_scenarios::ColumnType;
use serde_json::json;

use super::{
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
        field("line", PrimitiveType::Long),
        field("offset", PrimitiveType::Long),
        field("length", PrimitiveType::Long),
        field("reason", PrimitiveType::String),
        field("column", PrimitiveType::String),
        field("raw", PrimitiveType::Binary),
        field("manifest", PrimitiveType::Long),
        field("quarantined_at", PrimitiveType::Timestamp),
    ]
}

fn schema() -> SchemaRef {
    let field = |name: &str, kind| Field::new(name, kind, true);
    Arc::new(Schema::new(vec![
        field("object", DataType::Utf8),
        field("line", DataType::Int64),
        field("offset", DataType::Int64),
        field("length", DataType::Int64),
        field("reason", DataType::Utf8),
        field("column", DataType::Utf8),
        field("raw", DataType::Binary),
        field("manifest", DataType::Int64),
        field("quarantined_at", arrow_type(ColumnType::Timestamp)),
    ]))
}

fn rows(bad: &[BadLine], sequence: u64, now_us: u64) -> Result<RecordBatch, CompactError> {
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let whole = |get: fn(&BadLine) -> u64| Arc::new(bad.iter().map(|b| Some(signed(get(b)))).collect::<Int64Array>());
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(bad.iter().map(|b| &b.object))),
        whole(|b| b.line),
        whole(|b| b.offset),
        whole(|b| b.length),
        Arc::new(StringArray::from_iter_values(bad.iter().map(|b| b.reason.name()))),
        Arc::new(bad.iter().map(|b| b.reason.column()).collect::<StringArray>()),
        Arc::new(BinaryArray::from_iter_values(bad.iter().map(|b| &b.raw))),
        Arc::new(Int64Array::from(vec![signed(sequence); bad.len()])),
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
        let mut writer = TableWriter::new(&table.log_store, &table.state, schema()).file();
        let delta = |e| CompactError::delta(&place.url, e);
        let mut rest = bad;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take_while(|piece| {
                bytes += piece.raw.len();
                bytes <= BATCH_BYTES
            });
            let (batch, later) = rest.split_at(fits.count().max(1));
            writer.write(&rows(batch, sequence, now_us)?).await.map_err(delta)?;
            rest = later;
        }
        let added = writer.close().await.map_err(delta)?;
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

//! A batch against the table: which rows are new, which files change, and the files for both. Nothing is committed here.

use std::sync::Arc;

use arrow::array::RecordBatch;
use deltalake::{
    kernel::{Action, Add, Remove},
    logstore::LogStoreRef,
    table::state::DeltaTableState,
};
use futures::{StreamExt, TryStreamExt};
use serde_json::Value;
use tokio::runtime::Handle;

use super::{
    existing::{self, DataFile, KeyBounds, TableReader},
    stages::Stage,
    workers::Workers,
    write::{Plain, RowSource, TableWriter},
};
use crate::{
    dedupe::{Deduper, Settlement},
    error::CompactError,
    schema::TableSchema,
};

/// Data files on their way into the table.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) added: Vec<Add>,
    pub(super) removed: Vec<Remove>,
    /// Rows that were the same as another, counted by the deduplication.
    pub(super) duplicates: u64,
    /// Rows that the table gains, counted from the files.
    pub(super) gained: i64,
}

impl Written {
    pub(super) fn actions(&self) -> Vec<Action> {
        let removes = self.removed.iter().cloned().map(Action::Remove);
        removes.chain(self.added.iter().cloned().map(Action::Add)).collect()
    }

    pub(super) fn file_bytes(&self) -> u64 {
        self.added.iter().map(|add| u64::try_from(add.size).unwrap_or(0)).sum()
    }
}

/// Writes the files that bring these rows into the table as `state` has it.
pub(super) async fn write(
    log_store: LogStoreRef,
    state: DeltaTableState,
    schema: Arc<TableSchema>,
    batches: Vec<RecordBatch>,
    workers: &Workers,
) -> Result<Written, CompactError> {
    let writer = TableWriter::new(&log_store, &state, schema.arrow_table());
    let writer = writer.with_bloom_filters(schema.bloom_filter().to_vec()).like(batches.first());
    let Some(deduper) = Deduper::new(&schema)? else {
        let plain = Plain::new(schema.arrow_table(), batches);
        let numbers = plain.numbers();
        let added = writer.write(&(Arc::new(plain) as Arc<dyn RowSource>), numbers, workers).await?;
        let gained = rows_of(&added)?;
        return Ok(Written { added, gained, ..Written::default() });
    };

    let reader = TableReader::new(log_store.object_store(None), schema.arrow_table(), schema.partition_by());
    let (reader, runtime) = (Arc::new(reader), Handle::current());
    let (of_table, url) = (Arc::clone(&reader), log_store.root_url().to_string());
    let dedupe = move || runtime.block_on(dedupe(deduper, batches, &schema, existing::files(&url, &state)?, &of_table));
    let (deduper, files, settlement) = workers.run(Stage::Dedupe, dedupe).await?;
    let Settlement { inserts, changes, duplicates, .. } = settlement;

    let rows: Arc<dyn RowSource> = Arc::<Deduper>::clone(&deduper);
    let mut written = Written { added: writer.write(&rows, inserts, workers).await?, duplicates, ..Written::default() };
    let mut rows_removed = 0_i64;
    let rewrites = changes.into_iter().map(|(number, changes)| {
        let (reader, deduper, writer) = (Arc::clone(&reader), Arc::clone(&deduper), writer.clone());
        let (file, runtime) = (Arc::clone(&files[number as usize]), Handle::current());
        let remove = file.remove.clone();
        let rewrite = move || runtime.block_on(reader.rewrite(&file, &changes, &deduper, &writer));
        async move { workers.run(Stage::Encode, rewrite).await.map(|(added, rows)| (added, rows, remove)) }
    });
    let mut rewrites = futures::stream::iter(rewrites).buffered(workers.count);
    while let Some((added, rows, remove)) = rewrites.try_next().await? {
        rows_removed += i64::try_from(rows).unwrap_or(i64::MAX);
        written.added.extend(added);
        written.removed.push(remove);
    }
    written.gained = rows_of(&written.added)? - rows_removed;
    Ok(written)
}

/// Finds what is the same, among the new rows and in the files of the table that can hold some of their keys.
async fn dedupe(
    mut deduper: Deduper,
    batches: Vec<RecordBatch>,
    schema: &TableSchema,
    files: Vec<DataFile>,
    reader: &TableReader,
) -> Result<(Arc<Deduper>, Vec<Arc<DataFile>>, Settlement), CompactError> {
    let key = schema.dedup().map(|rule| rule.key.as_slice()).unwrap_or_default();
    let bounds = KeyBounds::of(key, schema.partition_by(), &batches);
    deduper.reserve(batches.iter().map(RecordBatch::num_rows).sum());
    for batch in batches {
        deduper.add(batch)?;
    }
    let files: Vec<_> = files.into_iter().filter(|file| bounds.can_match(file)).map(Arc::new).collect();
    for (number, file) in (0_u32..).zip(&files) {
        reader.show(number, file, &mut deduper).await?;
    }
    let settlement = deduper.settle();
    Ok((Arc::new(deduper), files, settlement))
}

/// The rows in these files by their own statistics, which the Parquet footers gave.
pub(super) fn rows_of(added: &[Add]) -> Result<i64, CompactError> {
    added
        .iter()
        .map(|add| {
            let stats: Option<Value> = add.stats.as_deref().and_then(|stats| serde_json::from_str(stats).ok());
            stats.as_ref().and_then(|stats| stats["numRecords"].as_i64()).ok_or_else(|| CompactError::Manifest {
                path: add.path.clone(),
                reason: "the file was written without a row count".to_owned(),
            })
        })
        .sum()
}

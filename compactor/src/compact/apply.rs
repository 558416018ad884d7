//! A batch against the table: which rows are new, which files change, and the files for both. Nothing is committed here.

use std::sync::Arc;

use arrow::array::RecordBatch;
use deltalake::{
    kernel::{Action, Add, Remove},
    logstore::LogStoreRef,
    table::state::DeltaTableState,
};
use serde_json::Value;

use super::{
    existing::{self, KeyBounds, TableReader},
    stages::Stages,
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
    stages: Arc<Stages>,
) -> Result<Written, CompactError> {
    let clock = stages.dedupe();
    let writer = TableWriter::new(&log_store, &state, schema.arrow_table(), &stages);
    let Some(mut deduper) = Deduper::new(&schema)? else {
        let plain = Plain::new(schema.arrow_table(), batches);
        let numbers = plain.numbers();
        let plain: Arc<dyn RowSource> = Arc::new(plain);
        let added = writer.write(&plain, &numbers).await?;
        let gained = rows_of(&added)?;
        return Ok(Written { added, gained, ..Written::default() });
    };

    let key = schema.dedup().map(|rule| rule.key.as_slice()).unwrap_or_default();
    let bounds = KeyBounds::of(key, schema.partition_by(), &batches);
    deduper.reserve(batches.iter().map(RecordBatch::num_rows).sum());
    for batch in batches {
        deduper.add(batch)?;
    }
    let url = log_store.root_url().to_string();
    let reader = TableReader::new(log_store.object_store(None), schema.arrow_table(), schema.partition_by());
    let files: Vec<_> = existing::files(&url, &state)?.into_iter().filter(|file| bounds.can_match(file)).collect();
    for (number, file) in (0_u32..).zip(&files) {
        reader.show(number, file, &mut deduper).await?;
    }

    let Settlement { inserts, changes, duplicates, .. } = deduper.settle();
    let deduper = Arc::new(deduper);
    let rows: Arc<dyn RowSource> = Arc::<Deduper>::clone(&deduper);
    drop(clock);
    let mut written = Written { added: writer.write(&rows, &inserts).await?, duplicates, ..Written::default() };
    let mut rows_removed = 0_i64;
    for (number, changes) in changes {
        let file = &files[number as usize];
        let (added, rows) = reader.rewrite(file, &changes, &deduper, &writer).await?;
        rows_removed += i64::try_from(rows).unwrap_or(i64::MAX);
        written.added.extend(added);
        written.removed.push(file.remove.clone());
    }
    written.gained = rows_of(&written.added)? - rows_removed;
    Ok(written)
}

/// The rows in these files by their own statistics, which the Parquet footers gave.
fn rows_of(added: &[Add]) -> Result<i64, CompactError> {
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

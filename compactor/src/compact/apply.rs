//! A batch against the table: which rows are new, which files change, and the files for both. Nothing is committed here.

use std::sync::Arc;

use arrow::array::RecordBatch;
use deltalake::{
    kernel::{Action, Add, Remove},
    logstore::LogStoreRef,
    table::state::DeltaTableState,
};
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::runtime::Handle;

use super::{
    existing::{KeyBounds, TableReader},
    keys::Sidecars,
    live::DataFile,
    manifest::Manifest,
    origins::Origins,
    stages::Stage,
    workers::Workers,
    write::{Plain, RowSource, TableWriter},
};
use crate::{
    dedupe::{Deduper, KeyHash, Settlement},
    error::CompactError,
    schema::TableSchema,
    store::Location,
};

/// Data files on their way into the table.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Written {
    pub(super) added: Vec<Add>,
    pub(super) removed: Vec<Remove>,
    /// The object that says which keys the files hold.
    pub(super) sidecar: Option<String>,
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

/// What the table holds, and what is known of it.
#[derive(Clone)]
pub(super) struct Held {
    /// Its files, as far as they are asked for.
    pub(super) files: Vec<Arc<DataFile>>,
    sidecars: Arc<Sidecars>,
    origins: Arc<Origins>,
}

impl Held {
    /// Nothing yet of the table there, whose manifests call the quarantine so.
    pub(super) fn nothing(table: &Location, quarantine: String) -> Self {
        let (sidecars, origins) = (Arc::new(Sidecars::new(table)), Arc::new(Origins::new(table, quarantine)));
        Self { files: Vec::new(), sidecars, origins }
    }

    /// These files, beside what a commit with this manifest brings.
    pub(super) fn files(&self, files: Vec<Arc<DataFile>>, manifest: &Manifest) -> Self {
        self.origins.learn(manifest);
        Self { files, ..self.clone() }
    }
}

/// Writes the files that bring these rows into a table that holds this.
pub(super) async fn write(
    log_store: LogStoreRef,
    state: DeltaTableState,
    schema: Arc<TableSchema>,
    held: Held,
    batches: Vec<RecordBatch>,
    workers: &Workers,
) -> Result<Written, CompactError> {
    let writer = match schema.file_size() {
        Some(size) => TableWriter::sized(&log_store, &state, schema.arrow_files(), size.bytes()),
        None => TableWriter::new(&log_store, &state, schema.arrow_files()),
    };
    let writer = writer.with_bloom_filters(schema.bloom_filter().to_vec()).like(batches.first());
    let writer = writer.in_order_of(schema.sort_by())?;
    let Some(deduper) = Deduper::new(&schema)? else {
        let plain = Plain::new(schema.arrow_table(), batches);
        let numbers = plain.numbers();
        let files = writer.write(&(Arc::new(plain) as Arc<dyn RowSource>), numbers, workers).await?;
        let added: Vec<Add> = files.into_iter().flat_map(|file| file.added).collect();
        let gained = rows_of(&added)?;
        return Ok(Written { added, gained, ..Written::default() });
    };

    let key = schema.dedup().map(|rule| rule.key.as_slice()).unwrap_or_default();
    let hash = Arc::new(KeyHash::new(key, &schema.arrow_table())?);
    let reader = TableReader::new(log_store.object_store(None), schema.arrow_files(), schema.partition_by());
    let reader = Arc::new(reader.at(held.sidecars.table()));
    let sidecars = Arc::clone(&held.sidecars);
    let held = Existing { held, reader: Arc::clone(&reader), hash: Arc::clone(&hash) };
    let runtime = Handle::current();
    let dedupe = move || runtime.block_on(dedupe(deduper, batches, &schema, held));
    let (deduper, files, settlement) = workers.run(Stage::Dedupe, dedupe).await?;
    let Settlement { inserts, changes, duplicates, .. } = settlement;

    let rows: Arc<dyn RowSource> = Arc::<Deduper>::clone(&deduper);
    let mut added = writer.write(&rows, inserts, workers).await?;
    let (mut removed, mut rows_removed) = (Vec::new(), 0_i64);
    let now_ms = chrono::Utc::now().timestamp_millis();
    let rewrites = changes.into_iter().map(|(number, changes)| {
        let (reader, deduper, writer) = (Arc::clone(&reader), Arc::clone(&deduper), writer.clone());
        let (file, hash, runtime) = (Arc::clone(&files[number as usize]), Arc::clone(&hash), Handle::current());
        let remove = file.remove(now_ms);
        let rewrite =
            move || runtime.block_on(reader.rewrite(&file, &changes, &deduper, &writer, hash.as_ref().as_ref()));
        async move { workers.run(Stage::Encode, rewrite).await.map(|(added, rows)| (added, rows, remove)) }
    });
    let mut rewrites = futures::stream::iter(rewrites).buffered(workers.count);
    while let Some((keyed, rows, remove)) = rewrites.try_next().await? {
        rows_removed += i64::try_from(rows).unwrap_or(i64::MAX);
        added.push(keyed);
        removed.push(remove);
    }
    let (added, sidecar) = sidecars.write(hash.as_ref().as_ref(), added).await?;
    let gained = rows_of(&added)? - rows_removed;
    let sidecar = sidecar.map(|path| path.to_string());
    Ok(Written { added, removed, sidecar, duplicates, gained })
}

/// What the table holds, and how to find out what is in it.
struct Existing {
    held: Held,
    reader: Arc<TableReader>,
    hash: Arc<Option<KeyHash>>,
}

impl Existing {
    /// The files that can hold one of the deduplication's keys: by their statistics, then by their sidecars.
    async fn candidates(&self, bounds: &KeyBounds, deduper: &Deduper) -> Result<Vec<Arc<DataFile>>, CompactError> {
        let Held { files, sidecars, .. } = &self.held;
        sidecars.retain(files.iter().filter_map(|file| file.keys.as_ref()));
        let files: Vec<_> = files.iter().filter(|file| bounds.can_match(file)).cloned().collect();
        let Some(hash) = self.hash.as_ref() else { return Ok(files) };
        if files.is_empty() {
            return Ok(files);
        }
        let mut wanted = deduper.hashes().to_vec();
        wanted.sort_unstable();
        let references: Vec<_> = files.iter().map(|file| file.keys.as_ref()).collect();
        let may_hold = sidecars.may_hold_any(&references, hash, &wanted).await?;
        Ok(files.into_iter().zip(may_hold).filter_map(|(file, may)| may.then_some(file)).collect())
    }
}

/// Finds what is the same, among the new rows and in the files of the table that can hold some of their keys.
async fn dedupe(
    mut deduper: Deduper,
    batches: Vec<RecordBatch>,
    schema: &TableSchema,
    held: Existing,
) -> Result<(Arc<Deduper>, Vec<Arc<DataFile>>, Settlement), CompactError> {
    let (key, keep) = schema.dedup().map(|rule| (rule.key.as_slice(), rule.keep)).unwrap_or_default();
    let bounds = KeyBounds::of(key, schema.partition_by(), &batches);
    let rows = batches.iter().map(RecordBatch::num_rows).sum();
    for (number, batch) in batches.into_iter().enumerate() {
        deduper.add(batch)?;
        if number == 0 {
            deduper.expect(rows);
        }
    }
    let files = held.candidates(&bounds, &deduper).await?;
    for (number, file) in (0_u32..).zip(&files) {
        held.reader.show(number, file, &mut deduper).await?;
    }
    for group in held.held.origins.lost(deduper.ties(), keep).await? {
        deduper.give_way(group);
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

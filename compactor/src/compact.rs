//! The compactor: every object of the lake into the table exactly once, whatever happens in between.
//!
//! A commit, number `n`, goes through five steps:
//!
//! 1. the manifest `n`, which names the objects, is put if there is none with that number;
//! 2. data files are written, under names no one else uses;
//! 3. bad pieces are committed to the quarantine as its transaction `n`, unless they are there;
//! 4. data files are synced to the disk;
//! 5. one Delta commit adds the files, removes the ones they replace, and carries the application transaction `n`.
//!
//! The objects a table holds are those of the manifests up to the transaction it is at. A process that ends before step 5
//! leaves a manifest one ahead of the table: the next process to start, or to want that number, does exactly that commit
//! again before anything new. The commit is made on top of the version that is known and was found to be at `n - 1`, without
//! retries, so of two processes that finish the same manifest one wins and the other finds the work done.
//!
//! Memory: a batch ends with the object that fills its budget, so what is held is the budget
//! ([`CompactorConfig::batch_bytes`]), the groups of objects being decoded ahead (one a core), sixteen bytes for every
//! object ever taken, and one open Parquet writer a core.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use futures::{StreamExt, future::BoxFuture};
use millrace_reports::{latency::HopRecorder, record::CompactionRecord};
use millrace_scenarios::NewColumns;
use object_store::ObjectStoreExt;
use tracing::{info, warn};

use crate::{
    cpu::process_cpu_us,
    error::CompactError,
    infer::{Inference, SAMPLE_OBJECTS},
    schema::TableSchema,
    store::Location,
};

mod apply;
mod batch;
mod commit;
mod config;
mod conform;
pub(crate) mod discover;
mod encoding;
mod evolve;
mod existing;
mod export;
mod keys;
mod live;
mod long;
pub mod maintain;
mod manifest;
mod origins;
mod progress;
pub mod quarantine;
mod reader;
mod recover;
mod replay;
mod report;
mod seal;
mod seen;
mod stages;
mod table;
mod task;
mod upload;
mod withdraw;
mod workers;
mod write;

pub use config::{CompactorConfig, FailPoint, HoldAt};
pub use export::{Exported, export};
pub use progress::{Progress, Snapshot};
pub use replay::ReplayReport;
pub use report::PassReport;
pub use table::APPLICATION;
pub use task::{Done, Task};

use apply::Held;
use batch::Batch;
use discover::Discovery;
use live::Live;
use manifest::Object;
use reader::{Reader, Want};
use seen::Seen;
use table::Table;
use workers::Workers;

/// Brings what is new in a lake into a table, pass by pass.
pub struct Compactor {
    config: CompactorConfig,
    quarantine: Location,
    /// The lake's name in manifests.
    lake_id: String,
    /// The table and its schema; absent until objects have told it.
    target: Option<(Table, Arc<TableSchema>)>,
    /// The number of the table's last commit.
    committed: u64,
    seen: Seen,
    /// Whether a manifest may be there that the table is not at yet: then it comes first. That of another process, which
    /// is still to come, is found by not being able to put one's own.
    unfinished: bool,
    passes: u64,
    totals: PassReport,
    progress: Arc<Progress>,
    workers: Arc<Workers>,
    held: Held,
}

impl Compactor {
    /// Opens the table, or makes it when the scenario declares its columns, and learns which objects it holds.
    ///
    /// # Errors
    /// [`CompactError`]; see [`CompactError::is_configuration`].
    pub fn open(config: CompactorConfig) -> BoxFuture<'static, Result<Self, CompactError>> {
        Box::pin(async move {
            if config.lake.url == config.table.url {
                return Err(CompactError::Schema(format!("lake and table are the same place: {}", config.lake.url)));
            }
            let quarantine = config.table.sibling(quarantine::SUFFIX)?;
            let lake_id = config.table.relative(&config.lake);
            let mut compactor = Self {
                held: Held::nothing(&config.table, config.table.relative(&quarantine)),
                quarantine,
                lake_id,
                target: None,
                committed: 0,
                seen: Seen::default(),
                unfinished: true,
                passes: 0,
                totals: PassReport::default(),
                progress: Arc::default(),
                workers: Arc::new(Workers::start()?),
                config,
            };
            let declared = TableSchema::declared(&compactor.config.spec)?;
            compactor.target = compactor.open_target(declared).await?;
            if let Some((table, _)) = &mut compactor.target {
                compactor.committed = table.sequence().await?;
                compactor.keep_rules().await?;
                compactor.learn().await?;
            }
            Ok(compactor)
        })
    }

    /// Rows that are there were made by the rules of the last commit. Others would make a table of two halves.
    async fn keep_rules(&self) -> Result<(), CompactError> {
        let Some((_, schema)) = &self.target else { return Ok(()) };
        match manifest::read(&self.config.table, self.committed).await? {
            Some(last) => last.check_rules(&self.config.table, schema),
            None => Ok(()),
        }
    }

    /// The table that exists, else one made by `schema`.
    async fn open_target(
        &self,
        schema: Option<TableSchema>,
    ) -> Result<Option<(Table, Arc<TableSchema>)>, CompactError> {
        let place = &self.config.table;
        let mut table = match (Table::open(place).await?, &schema) {
            (Some(table), _) => table,
            (None, Some(schema)) => {
                let table = Table::open_or_create(place, schema.delta_fields()?, schema.partition_by()).await?;
                self.stop_at(FailPoint::AfterCreate).await?;
                table
            }
            (None, None) => return Ok(None),
        };
        if let Some(declared) = schema.filter(|schema| schema.read().new_columns == NewColumns::Add) {
            table.add_columns(TableSchema::delta_fields_of(declared.columns())?).await?;
        }
        let state = &table.state;
        let partitions = state.metadata().partition_columns();
        let schema = TableSchema::of_table(place.url.as_str(), &state.schema(), partitions, &self.config.spec)?;
        table.watch(schema.dedup().map(|rule| rule.key.as_slice()).unwrap_or_default());
        Ok(Some((table, Arc::new(schema))))
    }

    /// Finishes what an earlier process began, then takes every object that is new, commit by commit, until none is left.
    /// The time from a record's due time to its commit goes to `committed`, where the table has the stamp as a column.
    ///
    /// The heavy work is done on blocking threads; commits made before an error stay and are counted.
    ///
    /// # Errors
    /// [`CompactError`]; bad data is not one.
    pub fn pass<'a>(
        &'a mut self,
        mut committed: Option<&'a mut HopRecorder>,
    ) -> BoxFuture<'a, Result<PassReport, CompactError>> {
        Box::pin(async move {
            let (started, cpu_us) = (Instant::now(), process_cpu_us());
            let mut report = PassReport { table_rows: self.totals.table_rows, ..PassReport::default() };
            let outcome = self.run(&mut report, &mut committed).await;
            self.tell_the_table(&mut report);
            report.elapsed_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
            report.cpu_us = process_cpu_us().saturating_sub(cpu_us);
            report.stages = self.workers.stages.take(report.cpu_us);
            self.passes += u64::from(report.commits > 0);
            self.totals.add(&report);
            outcome.map(|()| report)
        })
    }

    /// Says what the table has come to.
    fn tell_the_table(&self, report: &mut PassReport) {
        if let Some((table, _)) = &self.target {
            report.table_rows = table.live().map_or(0, Live::rows);
            report.version = Some(table.version());
        }
    }

    /// What all passes of this compactor did.
    #[must_use]
    pub fn record(&self) -> CompactionRecord {
        self.totals.record(self.config.table.url.to_string(), self.passes)
    }

    /// How far it is; may be read while a pass runs.
    #[must_use]
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// The table's schema; `None` until the objects have told it.
    #[must_use]
    pub fn schema(&self) -> Option<Arc<TableSchema>> {
        self.target.as_ref().map(|(_, schema)| Arc::clone(schema))
    }

    /// Where bad pieces go. The table there is made when the first one comes.
    #[must_use]
    pub const fn quarantine(&self) -> &Location {
        &self.quarantine
    }

    async fn run(
        &mut self,
        report: &mut PassReport,
        recorder: &mut Option<&mut HopRecorder>,
    ) -> Result<(), CompactError> {
        self.know_the_table().await?;
        loop {
            self.recover(report, recorder).await?;
            if self.target.is_none() || self.take_new(report, recorder).await? {
                return Ok(());
            }
            info!("another process took the next commit's number; finishing that commit first");
        }
    }

    /// Makes the table by what the lake's first objects show, where it was not known.
    async fn know_the_table(&mut self) -> Result<(), CompactError> {
        if self.target.is_none() {
            let inferred = self.infer().await?;
            self.target = self.open_target(inferred).await?;
            self.learn().await?;
        }
        Ok(())
    }

    /// Looks at the lake's first objects.
    async fn infer(&self) -> Result<Option<TableSchema>, CompactError> {
        let mut discovery = self.discovery();
        let mut inference = Inference::default();
        let objects = discovery.next(&self.lake_id, &self.seen).await?;
        for object in objects.into_iter().take(SAMPLE_OBJECTS) {
            if let Some(bytes) = self.fetch(&object).await?
                && inference.look(bytes)
            {
                break;
            }
        }
        inference.schema(&self.config.spec)
    }

    /// An object of the lake; `None` when it is gone.
    pub(in crate::compact) async fn fetch(&self, object: &Object) -> Result<Option<Bytes>, CompactError> {
        let path = self.config.lake.path(&object.key);
        let found = match self.config.lake.store.get(&path).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(source) => return Err(CompactError::object(path, source)),
        };
        found.bytes().await.map(Some).map_err(|e| CompactError::object(&path, e))
    }

    fn discovery(&self) -> Discovery {
        let not_lake = vec![self.config.table.root.clone(), self.quarantine.root.clone()]
            .into_iter()
            .filter(|place| place.prefix_matches(&self.config.lake.root))
            .collect();
        Discovery::new(&self.config.lake, not_lake, &self.config.error_prefix, self.config.spec.read.format)
    }

    /// Takes what is new. False when another process has taken the next number and the lake has to be looked at again.
    async fn take_new(
        &mut self,
        report: &mut PassReport,
        recorder: &mut Option<&mut HopRecorder>,
    ) -> Result<bool, CompactError> {
        let Some(schema) = self.schema() else { return Ok(true) };
        let reader = Reader::new(&self.config.lake, &schema, &self.workers, &self.config);
        let mut discovery = self.discovery();
        self.progress.listing();
        loop {
            let clock = self.workers.stages.listing();
            let window = discovery.next(&self.lake_id, &self.seen).await?;
            drop(clock);
            self.progress.found(&window, discovery.is_at_end);
            report.error_objects = discovery.error_objects;
            report.skipped_objects = discovery.skipped_objects;
            if window.is_empty() {
                return Ok(true);
            }
            let mut objects = reader.read_all(window, Want::Now);
            let mut batch = Batch::default();
            while let Some(decoded) = objects.next().await {
                let decoded = decoded?;
                report.unread += decoded.gone.len() as u64;
                self.progress.read(decoded.object_bytes(), decoded.raw_bytes);
                if Self::may_add(&schema, decoded.unknown_fields())
                    && let Some(object) = decoded.objects.first()
                    && let Some(records) = self.fetch(object).await?
                {
                    // What came before fits the table as it is.
                    let done = std::mem::take(&mut batch);
                    if !done.objects.is_empty()
                        && !self.commit(self.lake_id.clone(), done, &schema, report, recorder).await?
                        || self.evolve(records).await?
                    {
                        return Ok(false);
                    }
                }
                if batch.ends_before(&decoded, self.config.batch_bytes, self.config.batch_objects)
                    && !self.commit(self.lake_id.clone(), std::mem::take(&mut batch), &schema, report, recorder).await?
                {
                    return Ok(false);
                }
                batch.push(decoded);
                if batch.is_full(self.config.batch_bytes, self.config.batch_objects)
                    && !self.commit(self.lake_id.clone(), std::mem::take(&mut batch), &schema, report, recorder).await?
                {
                    return Ok(false);
                }
            }
            if !batch.objects.is_empty() && !self.commit(self.lake_id.clone(), batch, &schema, report, recorder).await?
            {
                return Ok(false);
            }
        }
    }

    /// Ends or waits here when a test wants it.
    async fn stop_at(&self, point: FailPoint) -> Result<(), CompactError> {
        if self.config.hold_at.as_ref().is_some_and(|hold| hold.is_now(point)) {
            warn!("held at {}", point.name());
            std::future::pending::<()>().await;
        }
        if self.config.fail_at == Some(point) { Err(CompactError::Stopped(point)) } else { Ok(()) }
    }
}

//! The work of one commit as a value: what goes in, what comes out, and where to. It can be written down, sent elsewhere and
//! done by any thread, process or machine that reaches the lake and the table; nothing else is shared. The driver alone
//! commits.
//!
//! ```text
//!   Compactor::plan -> Task {id, inputs, output} -> Task::perform -> Done {Delta add and remove actions} -> Compactor::accept
//! ```
//!
//! A task is done against one version of the table. When that has moved on, or someone else was faster, what was done is
//! deleted and [`Compactor::plan`] gives the task anew: rows of a commit are compared with those of the one before it, so
//! the tasks of one table are done one after the other. A driver that ends in between leaves a manifest, which whoever comes
//! next finishes, with tasks or with a pass.

use std::sync::Arc;

use futures::{StreamExt, future::BoxFuture};
use millrace_scenarios::Table as Spec;
use serde::{Deserialize, Serialize};

use super::{
    Compactor, CompactorConfig, PassReport,
    apply::{self, Held, Written},
    batch::Batch,
    commit::Attempt,
    live::Live,
    manifest::{self, Manifest, Object},
    quarantine,
    reader::{Reader, Want},
    table::Table,
    workers::Workers,
};
use crate::{clock::Clock, error::CompactError, schema::TableSchema, store};

/// JSON of records takes about so many times its compressed size in memory, as rows.
const ROWS_TO_OBJECTS: usize = 8;

/// The work of one commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// The commit's sequence number.
    id: u64,
    inputs: Inputs,
    output: Output,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Inputs {
    /// URL of the lake.
    lake: String,
    objects: Vec<Object>,
    /// The version of the table that new rows are compared with.
    version: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Output {
    /// URL of the table.
    table: String,
    /// How records become its rows.
    rules: Spec,
}

/// A task that was done: files that no one names yet, and what the commit has to say of them.
#[derive(Debug, Serialize, Deserialize)]
pub struct Done {
    id: u64,
    version: u64,
    /// What was in the objects, without the rows.
    batch: Batch,
    written: Written,
    /// Objects that are not what the manifest names: then nothing was written.
    lost: Vec<String>,
}

impl Task {
    /// The commit's sequence number.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// How many objects it takes.
    #[must_use]
    pub const fn objects(&self) -> usize {
        self.inputs.objects.len()
    }

    /// Reads the objects and writes the data files. Done twice it does no harm: what is not accepted is in no table.
    ///
    /// # Errors
    /// [`CompactError`]; bad data and lost objects are not one.
    pub fn perform(self) -> BoxFuture<'static, Result<Done, CompactError>> {
        Box::pin(async move {
            let Self { id, inputs: Inputs { lake, objects, version }, output: Output { table: place, rules } } = self;
            let lake = store::open(&lake, false).await?;
            let place = store::open(&place, false).await?;
            let Some(table) = Table::open_at(&place, Some(version)).await? else {
                return Err(CompactError::NoTable { place: place.url.to_string() });
            };
            let partitions = table.state.metadata().partition_columns();
            let schema = TableSchema::of_table(place.url.as_str(), &table.state.schema(), partitions, &rules)?;
            let (schema, workers) = (Arc::new(schema), Arc::new(Workers::start()?));

            let (mut batch, mut lost) = (Batch::default(), Vec::new());
            let config = CompactorConfig::new(lake.clone(), place.clone(), rules, Clock::system());
            let mut decoded = Reader::new(&lake, &schema, &workers, &config).read_all(objects, Want::Same);
            while let Some(decoded) = decoded.next().await {
                let mut decoded = decoded?;
                lost.extend(decoded.gone.drain(..).map(|object| object.key));
                if lost.is_empty() {
                    batch.push(decoded);
                }
            }
            if !lost.is_empty() {
                return Ok(Done { id, version, batch: Batch::default(), written: Written::default(), lost });
            }
            let key = schema.dedup().map(|rule| rule.key.as_slice()).unwrap_or_default();
            let mut held = Held::nothing(&place, place.relative(&place.sibling(quarantine::SUFFIX)?));
            held.files = Live::of(&table.state, key).files(place.url.as_str())?;
            let rows = batch.take_rows_of(id)?;
            let written = apply::write(table.log_store, table.state, schema, held, rows, &workers).await?;
            Ok(Done { id, version, batch, written, lost })
        })
    }
}

impl Compactor {
    /// The next commit's work: that of a manifest which was begun, else of one that is put now for objects that are new.
    /// `None` when there are none.
    ///
    /// # Errors
    /// [`CompactError`], as of a pass.
    pub fn plan(&mut self) -> BoxFuture<'_, Result<Option<Task>, CompactError>> {
        Box::pin(async move {
            self.know_the_table().await?;
            loop {
                self.catch_up().await?;
                let Some(schema) = self.schema() else { return Ok(None) };
                if let Some(begun) = manifest::read(&self.config.table, self.committed + 1).await? {
                    if begun.lake == self.lake_id {
                        begun.check_reading(&self.config.table, &schema)?;
                        return Ok(self.task(&begun));
                    }
                    // A replay, or what another lake's compactor began, is no work for others.
                    self.unfinished = true;
                    self.recover(&mut PassReport::default(), &mut None).await?;
                    continue;
                }
                let objects = self.next_objects().await?;
                if objects.is_empty() {
                    return Ok(None);
                }
                let now_us = self.config.clock.now_us();
                let manifest = Manifest::new(self.committed + 1, self.lake_id.clone(), &schema, now_us, objects);
                self.unfinished = true;
                if manifest.put(&self.config.table).await? {
                    return Ok(self.task(&manifest));
                }
            }
        })
    }

    /// Objects that are new, as many as a commit takes.
    async fn next_objects(&self) -> Result<Vec<Object>, CompactError> {
        let mut objects = self.discovery().next(&self.lake_id, &self.seen).await?;
        let (limit, mut bytes) = ((self.config.batch_bytes / ROWS_TO_OBJECTS) as u64, 0);
        let fits = objects.iter().take(self.config.batch_objects).take_while(|object| {
            let fits = bytes < limit;
            bytes += object.size;
            fits
        });
        let count = fits.count();
        objects.truncate(count);
        Ok(objects)
    }

    fn task(&self, manifest: &Manifest) -> Option<Task> {
        let (table, _) = self.target.as_ref()?;
        let lake = self.config.lake.url.to_string();
        Some(Task {
            id: manifest.sequence,
            inputs: Inputs { lake, objects: manifest.objects.clone(), version: table.version() },
            output: Output { table: self.config.table.url.to_string(), rules: self.config.spec.clone() },
        })
    }

    /// Commits what was done. A report without a commit says that it came too late, and is in no table: either the commit
    /// has been made, or [`Self::plan`] gives the task anew.
    ///
    /// # Errors
    /// [`CompactError`]; files of a task that was not accepted are deleted.
    pub fn accept(&mut self, done: Done) -> BoxFuture<'_, Result<PassReport, CompactError>> {
        Box::pin(async move {
            let mut report = PassReport::default();
            self.catch_up().await?;
            let next = manifest::read(&self.config.table, self.committed + 1).await?;
            let version = self.target.as_ref().map(|(table, _)| table.version());
            let Some(manifest) = next.filter(|next| next.sequence == done.id && version == Some(done.version)) else {
                self.forget(&done.written).await;
                return Ok(report);
            };
            if done.lost.is_empty() {
                let attempt = self.bring(&manifest, &done.batch, done.written).await?;
                if !matches!(attempt, Attempt::Overtaken) {
                    self.brought(&manifest, &done.batch, attempt, &mut report, &mut None).await?;
                }
            } else {
                report.withdrawn += u64::from(self.withdraw(&manifest, &done.lost).await?);
            }
            self.tell_the_table(&mut report);
            self.totals.add(&report);
            Ok(report)
        })
    }
}

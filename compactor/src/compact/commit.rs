//! A batch on its way into the table: the manifest, the files, the quarantine, and the one Delta commit that makes all of it
//! so. The steps and their order are told in [`super`].

use std::{collections::HashMap, sync::Arc};

use deltalake::protocol::{DeltaOperation, SaveMode};
use millrace_reports::latency::HopRecorder;
use object_store::{ObjectStoreExt, path::Path};
use serde_json::{Value, json};
use tracing::warn;

use super::{
    Compactor, FailPoint, PassReport,
    apply::{self, Written},
    batch::Batch,
    manifest::Manifest,
    quarantine,
    table::Committed,
};
use crate::{error::CompactError, schema::TableSchema, store::durable};

/// Times a commit is prepared anew when others write to the table as well.
pub(super) const ATTEMPTS: u32 = 20;

/// How one attempt at a commit ended.
pub(super) enum Attempt {
    /// The table holds it, by this process.
    Mine(Written),
    /// The table holds it, by another process that finished the same manifest.
    Others,
    /// The table does not hold it and has changed: it has to be prepared anew.
    Overtaken,
}

impl Compactor {
    /// Commits a batch of new objects of a lake; false when another process has taken the number.
    pub(super) async fn commit(
        &mut self,
        lake: String,
        batch: Batch,
        schema: &TableSchema,
        report: &mut PassReport,
        recorder: &mut Option<&mut HopRecorder>,
    ) -> Result<bool, CompactError> {
        let (now_us, objects) = (self.config.clock.now_us(), batch.objects.clone());
        let manifest = Manifest::new(self.committed + 1, lake, schema, now_us, objects);
        self.unfinished = true;
        if !manifest.put(&self.config.table).await? {
            return Ok(false);
        }
        self.stop_at(FailPoint::AfterManifest).await?;
        self.apply(&manifest, batch, report, recorder).await?;
        // Another process may have withdrawn it: then its objects are new still.
        let is_held = self.committed == manifest.sequence;
        self.unfinished = !is_held;
        Ok(is_held)
    }

    /// Brings a manifest's batch into quarantine and table; false when another process has done so, or has withdrawn the
    /// manifest.
    pub(super) async fn apply(
        &mut self,
        manifest: &Manifest,
        batch: Batch,
        report: &mut PassReport,
        recorder: &mut Option<&mut HopRecorder>,
    ) -> Result<bool, CompactError> {
        let sequence = manifest.sequence;
        let mut attempt = Attempt::Overtaken;
        for _ in 0..ATTEMPTS {
            attempt = self.attempt(manifest, &batch).await?;
            if !matches!(attempt, Attempt::Overtaken) {
                break;
            }
        }
        if matches!(attempt, Attempt::Overtaken) {
            let table = self.config.table.url.to_string();
            return Err(CompactError::Contended { table, sequence, attempts: ATTEMPTS });
        }
        self.brought(manifest, &batch, attempt, report, recorder).await
    }

    /// Remembers that the table holds a manifest's objects; false when that is not by this process, or when the manifest
    /// was withdrawn.
    pub(super) async fn brought(
        &mut self,
        manifest: &Manifest,
        batch: &Batch,
        attempt: Attempt,
        report: &mut PassReport,
        recorder: &mut Option<&mut HopRecorder>,
    ) -> Result<bool, CompactError> {
        let sequence = manifest.sequence;
        if matches!(attempt, Attempt::Others) && self.is_withdrawn(sequence).await? {
            return Ok(false);
        }

        self.committed = sequence;
        batch.objects.iter().for_each(|object| self.seen.insert(&manifest.lake, &object.key));
        // What another process committed is in its report.
        let Attempt::Mine(written) = attempt else { return Ok(false) };
        let now_us = self.config.clock.now_us();
        if let Some(recorder) = recorder {
            for due_us in &batch.due_us {
                let latency_us = i128::from(now_us) - i128::from(*due_us);
                let due_us = u64::try_from(*due_us).unwrap_or_default();
                recorder.record(due_us, now_us, i64::try_from(latency_us).unwrap_or(i64::MAX), 1);
            }
        }
        self.progress.committed(batch, &written);
        report.commit(batch, &written);
        self.stop_at(FailPoint::AfterCommit).await?;
        self.seen.roll(&self.config.table, sequence).await?;
        self.stop_at(FailPoint::AfterSeen).await?;
        Ok(true)
    }

    /// One attempt at a commit.
    async fn attempt(&mut self, manifest: &Manifest, batch: &Batch) -> Result<Attempt, CompactError> {
        let Some((table, schema)) = &self.target else { return Ok(Attempt::Overtaken) };
        let written = {
            let _clock = self.workers.stages.writing();
            let (log_store, state) = (Arc::clone(&table.log_store), table.state.clone());
            let (schema, batches) = (Arc::clone(schema), batch.rows_of(manifest.sequence)?);
            let held = match (table.live(), schema.dedup()) {
                (Some(live), Some(_)) => self.held.files(live.files(self.config.table.url.as_str())?, manifest),
                _ => self.held.clone(),
            };
            apply::write(log_store, state, schema, held, batches, &self.workers).await?
        };
        self.bring(manifest, batch, written).await
    }

    /// Commits files that were written against the version of the table that is known.
    pub(super) async fn bring(
        &mut self,
        manifest: &Manifest,
        batch: &Batch,
        written: Written,
    ) -> Result<Attempt, CompactError> {
        let sequence = manifest.sequence;
        let accounted = i128::from(written.gained) + i128::from(written.duplicates) + batch.bad.len() as i128;
        if i128::from(batch.lines) != accounted {
            return Err(CompactError::Conservation {
                sequence,
                lines: batch.lines,
                rows: written.gained,
                duplicates: written.duplicates,
                quarantined: batch.bad.len() as u64,
            });
        }
        self.stop_at(FailPoint::AfterDataFiles).await?;
        let workers = Arc::clone(&self.workers);
        let _clock = workers.stages.committing();
        let Some((table, _)) = &self.target else { return Ok(Attempt::Overtaken) };
        quarantine::write(
            &self.quarantine,
            table.id(),
            sequence,
            &batch.bad,
            &self.config.run,
            self.config.clock.now_us(),
        )
        .await?;
        self.stop_at(FailPoint::AfterQuarantine).await?;
        let paths = written.added.iter().map(|add| self.config.table.path(&add.path)).collect();
        durable::sync(&self.config.table, paths).await?;
        self.stop_at(FailPoint::BeforeCommit).await?;

        let (operation, metadata) = self.described(manifest, &written);
        let lose = self.config.fail_at == Some(FailPoint::LostAnswer);
        let now_us = self.config.clock.now_us();
        let Some((table, _)) = &mut self.target else { return Ok(Attempt::Overtaken) };
        let attempt = match table.commit(sequence, written.actions(), operation, metadata, now_us, lose).await? {
            Committed::Yes => return Ok(Attempt::Mine(written)),
            Committed::ByAnother => Attempt::Others,
            Committed::Overtaken => Attempt::Overtaken,
        };
        self.forget(&written).await;
        Ok(attempt)
    }

    /// What the commit says about itself.
    fn described(&self, manifest: &Manifest, written: &Written) -> (DeltaOperation, HashMap<String, Value>) {
        let partition_by = Some(self.config.spec.partition_by.clone()).filter(|columns| !columns.is_empty());
        let mut metadata = HashMap::from([("millrace.manifest".to_owned(), json!(manifest.key()))]);
        if self.config.spec.dedup.is_none() {
            metadata.insert("isBlindAppend".to_owned(), json!(true));
        }
        let operation = if written.removed.is_empty() {
            DeltaOperation::Write { mode: SaveMode::Append, partition_by, predicate: None }
        } else {
            DeltaOperation::Update { predicate: None }
        };
        (operation, metadata)
    }

    /// Deletes files that did not get into the table. What cannot be deleted is no part of any table and only takes room.
    pub(super) async fn forget(&self, written: &Written) {
        let added = written.added.iter().map(|add| self.config.table.path(&add.path));
        let sidecar = written.sidecar.as_deref().and_then(|path| Path::parse(path).ok());
        for path in added.chain(sidecar) {
            if let Err(error) = self.config.table.store.delete(&path).await {
                warn!(%path, %error, "a file that is not needed could not be deleted");
            }
        }
    }
}

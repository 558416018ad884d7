//! What a pass does before it looks for anything new: it learns what other processes did, and finishes what one of them
//! began and did not come to the end of.

use std::sync::Arc;

use futures::StreamExt;
use millrace_reports::latency::HopRecorder;
use tracing::warn;

use super::{
    Compactor,
    batch::Batch,
    manifest::{self, Manifest},
    reader::{Reader, Want},
    report::PassReport,
    seen::Seen,
};
use crate::{
    error::{CompactError, StoreError},
    schema::TableSchema,
    store,
};

impl Compactor {
    /// Does again what a manifest ahead of the table says, or withdraws it where that cannot be done any more.
    pub(super) async fn recover(
        &mut self,
        report: &mut PassReport,
        recorder: &mut Option<&mut HopRecorder>,
    ) -> Result<(), CompactError> {
        loop {
            self.catch_up().await?;
            let Some(schema) = self.schema().filter(|_| self.unfinished) else { return Ok(()) };
            let Some(manifest) = manifest::read(&self.config.table, self.committed + 1).await? else {
                self.unfinished = false;
                return Ok(());
            };
            if manifest.lake == self.quarantine_id() {
                manifest.check_rules(&self.config.table, &schema)?;
            } else {
                manifest.check_reading(&self.config.table, &schema)?;
            }
            if !manifest.fits(&schema) {
                warn!(manifest = manifest.key(), "the table's columns changed since; the new ones are used");
            }
            let (batch, lost) = self.named(&manifest, &schema).await?;
            if lost.is_empty() {
                report.recovered += u64::from(self.apply(&manifest, batch, report, recorder).await?);
            } else {
                drop(batch);
                report.withdrawn += u64::from(self.withdraw(&manifest, &lost).await?);
            }
        }
    }

    /// Reads what was committed since, and what the table holds by it.
    pub(super) async fn catch_up(&mut self) -> Result<(), CompactError> {
        let Some((table, _)) = &mut self.target else { return Ok(()) };
        table.follow().await?;
        let held = table.sequence().await?;
        if held > self.committed {
            (self.committed, self.unfinished) = (held, true);
            self.learn().await?;
        }
        Ok(())
    }

    /// Which objects the table holds.
    pub(super) async fn learn(&mut self) -> Result<(), CompactError> {
        let withdrawn = self.settle().await?;
        self.seen = Seen::load(&self.config.table, self.committed, withdrawn).await?;
        Ok(())
    }

    /// The objects that a manifest names, decoded again, and the names of those that are not what they were.
    async fn named(
        &self,
        manifest: &Manifest,
        schema: &Arc<TableSchema>,
    ) -> Result<(Batch, Vec<String>), CompactError> {
        let all = || manifest.objects.iter().map(|object| object.key.clone()).collect();
        // The table's log was deleted and the manifests were not: what was withdrawn is named by later ones again.
        if self.seen.is_withdrawn(manifest.sequence) {
            return Ok((Batch::default(), all()));
        }
        if manifest.lake == self.quarantine_id() {
            return self.replayed(manifest, schema).await;
        }
        let lake = if manifest.lake == self.lake_id {
            self.config.lake.clone()
        } else {
            let url = self.config.table.url.join(&manifest.lake);
            let url = url.map_or_else(|_| manifest.lake.clone(), |url| url.to_string());
            match store::open(&url, false).await {
                // Another lake, which is no more.
                Err(StoreError::NoFolder { .. } | StoreError::NoBucket { .. }) => return Ok((Batch::default(), all())),
                opened => opened?,
            }
        };
        let (mut batch, mut lost) = (Batch::default(), Vec::new());
        let reader = Reader::new(&lake, schema, &self.workers, &self.config);
        let mut objects = reader.read_all(manifest.objects.clone(), Want::Same);
        while let Some(decoded) = objects.next().await {
            let mut decoded = decoded?;
            lost.extend(decoded.gone.drain(..).map(|object| object.key));
            if lost.is_empty() {
                batch.push(decoded);
            }
        }
        Ok((batch, lost))
    }
}

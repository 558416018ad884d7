//! Bad pieces once more, after what made them bad was mended: those that are records now go into the table.
//!
//! The quarantine is a lake whose objects are its pieces. A replay is therefore a commit like any other: its manifest
//! names the pieces under the quarantine's own lake, so that a crash is made good by whoever comes next, and a second
//! replay finds the pieces taken. The quarantine itself is never changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use futures::future::BoxFuture;

use super::{
    Compactor,
    batch::{Batch, Decoded},
    long::Source,
    manifest::{Manifest, Object},
    quarantine::{self, Piece},
    reader::Reader,
    report::PassReport,
};
use crate::{error::CompactError, schema::TableSchema};

/// What a replay did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayReport {
    /// What it brought into the table.
    pub pass: PassReport,
    /// Pieces that are still no records.
    pub bad: u64,
    /// Pieces that were too long to be kept whole, and that their objects hold no more or that no record is as long as.
    pub cut: u64,
    /// Pieces that an earlier replay took.
    pub replayed: u64,
}

impl Compactor {
    /// Every bad piece in quarantine, in order of place.
    ///
    /// # Errors
    /// [`CompactError`] when the quarantine cannot be read.
    pub fn pieces(&self) -> BoxFuture<'_, Result<Vec<Piece>, CompactError>> {
        Box::pin(async move {
            let mut pieces = Vec::new();
            quarantine::read(&self.quarantine, &mut |piece, _| pieces.push(piece)).await?;
            let lake = self.quarantine_id();
            for piece in &mut pieces {
                piece.replayed = self.seen.contains(&lake, &piece.key());
            }
            pieces.sort_by(|a, b| (&a.object, a.offset).cmp(&(&b.object, b.offset)));
            Ok(pieces)
        })
    }

    /// Brings the pieces that are records by now into the table, each exactly once.
    ///
    /// # Errors
    /// [`CompactError`]; pieces that are still bad are not one.
    pub fn replay(&mut self) -> BoxFuture<'_, Result<ReplayReport, CompactError>> {
        Box::pin(async move {
            let mut report = ReplayReport::default();
            while !self.replay_once(&mut report).await? {
                report = ReplayReport { pass: report.pass, ..ReplayReport::default() };
            }
            Ok(report)
        })
    }

    /// One go at it; false when the table changed meanwhile and the pieces have to be looked at again.
    async fn replay_once(&mut self, report: &mut ReplayReport) -> Result<bool, CompactError> {
        self.recover(&mut report.pass, &mut None).await?;
        let Some(schema) = self.schema() else { return Ok(true) };
        let lake = self.quarantine_id();
        let mut waiting = BTreeMap::new();
        let seen = &self.seen;
        quarantine::read(&self.quarantine, &mut |piece, raw| {
            if seen.contains(&lake, &piece.key()) {
                report.replayed += 1;
            } else {
                // In order of place, as the objects of a lake are.
                waiting.insert((piece.object.clone(), piece.offset, piece.key()), Source::of(piece, raw));
            }
        })
        .await?;
        let reader = self.piece_reader(&schema);
        let mut batch = Batch::default();
        for ((_, _, key), source) in waiting {
            let Some(raw) = self.whole(source).await? else {
                report.cut += 1;
                continue;
            };
            let decoded = decode(&reader, key, raw.clone())?;
            if !decoded.is_clean() {
                report.bad += 1;
                continue;
            }
            if Self::may_add(&schema, decoded.unknown_fields()) && self.evolve(raw).await? {
                // What went into the batch so far lacks the new columns, as it should, but not the table's schema.
                return Ok(false);
            }
            batch.push(decoded);
            if batch.is_full(self.config.batch_bytes, self.config.batch_objects)
                && !self.commit(lake.clone(), std::mem::take(&mut batch), &schema, &mut report.pass, &mut None).await?
            {
                return Ok(false);
            }
        }
        Ok(batch.objects.is_empty() || self.commit(lake, batch, &schema, &mut report.pass, &mut None).await?)
    }

    /// The pieces that a manifest of a replay names, decoded again, and the names of those that are not there.
    pub(super) async fn replayed(
        &self,
        manifest: &Manifest,
        schema: &Arc<TableSchema>,
    ) -> Result<(Batch, Vec<String>), CompactError> {
        let named: BTreeSet<&str> = manifest.objects.iter().map(|object| object.key.as_str()).collect();
        let mut raw = BTreeMap::new();
        quarantine::read(&self.quarantine, &mut |piece, bytes| {
            let key = piece.key();
            if named.contains(key.as_str()) {
                raw.insert(key, Source::of(piece, bytes));
            }
        })
        .await?;
        let reader = self.piece_reader(schema);
        let (mut batch, mut lost) = (Batch::default(), Vec::new());
        for object in &manifest.objects {
            let bytes = match raw.remove(&object.key) {
                Some(source) => self.whole(source).await?,
                None => None,
            };
            match bytes.filter(|bytes| bytes.len() as u64 == object.size) {
                Some(bytes) => batch.push(decode(&reader, object.key.clone(), bytes)?),
                None => lost.push(object.key.clone()),
            }
        }
        Ok((batch, lost))
    }

    /// The quarantine's name in manifests.
    pub(super) fn quarantine_id(&self) -> String {
        self.config.table.relative(&self.quarantine)
    }

    fn piece_reader(&self, schema: &Arc<TableSchema>) -> Reader {
        Reader::new(&self.quarantine, &Arc::new(schema.for_pieces()), &self.workers, &self.config)
    }
}

/// A piece's name begins with its object's, so that what the object's key says of its records holds for it too; and its
/// records come from where it lies in the object.
fn decode(reader: &Reader, key: String, raw: Bytes) -> Result<Decoded, CompactError> {
    let offset = quarantine::place_of(&key).map_or(0, |(_, offset)| offset);
    reader.decode(Object { key, size: raw.len() as u64, etag: None, crc32: None }, raw)?.at(offset)
}

//! What objects hold once they are read, and what one commit takes of it.
//!
//! A batch is closed by what fills it, so memory is bounded by the batch's budget, one more group of objects, and the
//! groups under way.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

use super::manifest::Object;
use crate::{
    decode::BadLine,
    dedupe::origin::{self, Numbering},
    error::CompactError,
};

/// What neighbouring objects of one folder hold.
#[derive(Default)]
pub(super) struct Decoded {
    /// The objects, in order of key.
    pub(super) objects: Vec<Object>,
    /// Those that are gone, that are being written, or whose content is not the wanted one.
    pub(super) gone: Vec<Object>,
    pub(super) chunks: Vec<Chunk>,
    /// The first row of each object in the next chunk, and its place in `objects`.
    pub(super) starts: Vec<(usize, usize)>,
    pub(super) bad: Vec<BadLine>,
    pub(super) due_us: Vec<i64>,
    pub(super) unknown: BTreeMap<String, u64>,
    pub(super) raw_bytes: u64,
    pub(super) lines: u64,
    /// Memory held.
    pub(super) bytes: usize,
}

impl Decoded {
    /// Whether it is records and nothing else.
    pub(super) fn is_clean(&self) -> bool {
        self.bad.is_empty() && self.lines > 0
    }

    /// The fields that are no column.
    pub(super) fn unknown_fields(&self) -> impl Iterator<Item = &String> {
        self.unknown.keys()
    }

    pub(super) fn object_bytes(&self) -> u64 {
        bytes_of(&self.objects)
    }

    /// The same, of a part of an object that starts there.
    pub(super) fn at(mut self, offset: u64) -> Result<Self, CompactError> {
        let shift = |chunk: Chunk| Ok(Chunk { rows: origin::shifted(chunk.rows, offset)?, ..chunk });
        self.chunks = self.chunks.into_iter().map(shift).collect::<Result<_, CompactError>>()?;
        Ok(self)
    }
}

/// Rows of objects that lie one after the other.
#[derive(Debug)]
pub(super) struct Chunk {
    /// The record and derived columns, and the offsets where the table's files keep them.
    pub(super) rows: RecordBatch,
    /// The first row of each object, and its place among the objects.
    pub(super) starts: Vec<(usize, usize)>,
}

/// What one commit takes. Written down, it is without its rows.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Batch {
    /// The objects, in order of key.
    pub(super) objects: Vec<Object>,
    /// Their rows, in order of object and offset.
    #[serde(skip)]
    chunks: Vec<Chunk>,
    /// Their bad pieces.
    pub(super) bad: Vec<BadLine>,
    /// When each stamped row was due, microseconds since 1970.
    pub(super) due_us: Vec<i64>,
    /// Fields that are no column.
    pub(super) unknown: BTreeMap<String, u64>,
    /// Bytes of the objects after decompression.
    pub(super) raw_bytes: u64,
    /// Rows before deduplication, and bad pieces.
    pub(super) lines: u64,
    /// Memory held.
    #[serde(skip)]
    bytes: usize,
}

impl Batch {
    pub(super) fn push(&mut self, decoded: Decoded) {
        let first = self.objects.len();
        self.chunks.extend(decoded.chunks.into_iter().map(|mut chunk| {
            chunk.starts.iter_mut().for_each(|(_, place)| *place += first);
            chunk
        }));
        self.objects.extend(decoded.objects);
        self.bad.extend(decoded.bad);
        self.due_us.extend(decoded.due_us);
        for (name, count) in decoded.unknown {
            *self.unknown.entry(name).or_default() += count;
        }
        self.raw_bytes += decoded.raw_bytes;
        self.lines += decoded.lines;
        self.bytes += decoded.bytes;
    }

    /// Whether it has to end here, or this is a good place to: little room is left, and what comes next is of another
    /// folder. Objects of one hour mostly lie in one folder and land in one partition; in two commits, the second would
    /// write again what the first wrote whenever a record of the hour came twice.
    pub(super) fn ends_before(&self, next: &Decoded, limit_bytes: usize, limit_objects: usize) -> bool {
        let (Some(last), Some(first)) = (self.objects.last(), next.objects.first()) else { return false };
        self.objects.len() + next.objects.len() > limit_objects
            || self.bytes >= limit_bytes / 2 && last.folder() != first.folder()
    }

    pub(super) fn is_full(&self, limit_bytes: usize, limit_objects: usize) -> bool {
        self.bytes >= limit_bytes || self.objects.len() >= limit_objects
    }

    /// Its rows, as those of commit `sequence`.
    pub(super) fn rows_of(&self, sequence: u64) -> Result<Vec<RecordBatch>, CompactError> {
        let mut numbering = Numbering::of(sequence);
        Ok(self.chunks.iter().map(|chunk| numbering.number(&chunk.rows, &chunk.starts)).collect::<Result<_, _>>()?)
    }

    /// The same, which are let go of.
    pub(super) fn take_rows_of(&mut self, sequence: u64) -> Result<Vec<RecordBatch>, CompactError> {
        let rows = self.rows_of(sequence);
        self.chunks.clear();
        rows
    }

    pub(super) fn object_bytes(&self) -> u64 {
        bytes_of(&self.objects)
    }
}

fn bytes_of(objects: &[Object]) -> u64 {
    objects.iter().map(|object| object.size).sum()
}

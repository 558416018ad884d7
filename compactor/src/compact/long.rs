//! Bad pieces that are too long to be kept whole, read again from where they came.
//!
//! The quarantine has the beginning of such a piece, its object, offset and length. The rest is taken from the object, as
//! long as that still holds what it held: the length and the beginning are compared.

use bytes::Bytes;

use super::{Compactor, manifest::Object, quarantine::Piece};
use crate::{
    decode::{RECORD_LIMIT, text_of},
    error::CompactError,
};

/// A bad piece: its bytes, or where they are.
pub(super) enum Source {
    /// All of it.
    Whole(Bytes),
    /// The beginning of it.
    Begun(Piece, Bytes),
}

impl Source {
    pub(super) fn of(piece: Piece, kept: Bytes) -> Self {
        if piece.length > kept.len() as u64 { Self::Begun(piece, kept) } else { Self::Whole(kept) }
    }
}

impl Compactor {
    /// All of a piece; `None` when it is longer than any record, or its object holds it no more.
    pub(super) async fn whole(&self, source: Source) -> Result<Option<Bytes>, CompactError> {
        let (piece, kept) = match source {
            Source::Whole(bytes) => return Ok(Some(bytes)),
            Source::Begun(piece, kept) => (piece, kept),
        };
        if piece.length > RECORD_LIMIT as u64 {
            return Ok(None);
        }
        let object = Object { key: piece.object.clone(), size: 0, etag: None, crc32: None };
        let Some(bytes) = self.fetch(&object).await? else { return Ok(None) };
        let found = if piece.is_of_stored_bytes() { part(&bytes, &piece, 0) } else { part_of_text(bytes, &piece) };
        Ok(Some(Bytes::from(found)).filter(|found| found.len() as u64 == piece.length && found.starts_with(&kept)))
    }
}

/// What of the piece is in these bytes, the first of which is at `at`.
fn part(bytes: &[u8], piece: &Piece, at: u64) -> Vec<u8> {
    let place = |offset: u64| usize::try_from(offset.saturating_sub(at)).map_or(bytes.len(), |o| o.min(bytes.len()));
    bytes[place(piece.offset)..place(piece.offset + piece.length)].to_vec()
}

fn part_of_text(object: Bytes, piece: &Piece) -> Vec<u8> {
    let (mut found, mut at) = (Vec::new(), 0);
    text_of(object, &mut |text| {
        found.extend(part(text, piece, at));
        at += text.len() as u64;
        text.len()
    });
    found
}

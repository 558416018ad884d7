//! Which shard a record goes to, and how it is brought there.
//!
//! The shares asked for cut the unit interval; each record has a point in it, and the piece that holds the point is the
//! record's shard. Points are a pure function of seed and number, and far more even than independent draws:
//!
//! ```text
//!   records in blocks of 256          0        s0      s0+s1     1
//!   k = 256 b + i                     |--------|---------|-------|
//!                                     one point of each block in every 256th, in an order
//!                                     shuffled anew for each block, all moved by the block's
//!                                     step of the golden ratio within their 256ths
//! ```
//!
//! A block hits each share to within one record, and the steps of the golden ratio even out what is left over from
//! block to block. The shuffle keeps every n-th record, which is what one of n workers sends, from meeting the same
//! shards again and again.
//!
//! The pieces belong to ranges of hash keys as they were when the load began. When such a shard is split, its
//! share is divided among its children, and so it stays what records go where, whenever the split happened.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use millrace_scenarios::{Keys, Place};

use super::KeyError;
use crate::{
    draws::{Draws, GOLDEN, Purpose, mix},
    shards::{ShardMap, hash_of},
};

/// Suffixes tried at most. A range that is one of [`MOST_SHARDS_BY_NAME`] is missed by all of them once in 10^22 names.
const MOST_SUFFIXES: u64 = (1 << SUFFIX_BITS) - 1;
const SUFFIX_BITS: u32 = 20;
/// The narrowest range that names are sought for is this part of all hash keys.
const MOST_SHARDS_BY_NAME: u128 = 20_000;
/// Names remembered; more than that are sought again.
const REMEMBERED: usize = 1 << 16;
/// Characters that a name's suffix may take.
pub(super) const SUFFIX_CHARS: usize = 8;

/// Brings records to their shards.
#[derive(Debug, Clone)]
pub(super) struct Placement {
    seed: u64,
    by_name: Option<Arc<[AtomicU64]>>,
    pieces: Vec<Piece>,
}

/// One shard's part of the unit interval, in 2^64ths, and its range of hash keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    start: u128,
    end: u128,
    first_hash: u128,
    last_hash: u128,
}

impl Placement {
    /// The placement that `[keys]` asks for; absent when the key's name alone decides.
    pub(super) fn new(keys: &Keys, seed: u64, shards: &ShardMap) -> Result<Option<Self>, KeyError> {
        if !keys.asks_for_shards() {
            let everywhere = Piece { start: 0, end: 1 << 64, first_hash: 0, last_hash: u128::MAX };
            let spread = keys.place == Some(Place::Spread);
            return Ok(spread.then(|| Self { seed, by_name: None, pieces: vec![everywhere] }));
        }
        let shares = asked_shares(keys, shards.open().len())?;
        let total: f64 = shares.iter().sum();
        let mut pieces = Vec::with_capacity(shares.len());
        let (mut sum, mut start) = (0.0, 0);
        for (shard, share) in shards.open().iter().zip(&shares) {
            sum += share;
            let end = (sum / total * (1_u128 << 64) as f64) as u128;
            pieces.push(Piece { start, end, first_hash: shard.first_hash, last_hash: shard.last_hash });
            start = end;
        }
        let by_name = keys.place == Some(Place::Name);
        let narrow = |piece: &Piece| piece.last_hash - piece.first_hash < u128::MAX / MOST_SHARDS_BY_NAME;
        if by_name && let Some(shard) = pieces.iter().position(narrow) {
            return Err(KeyError::Narrow { shard });
        }
        let memory = || (0..REMEMBERED).map(|_| AtomicU64::new(0)).collect();
        Ok(Some(Self { seed, by_name: by_name.then(memory), pieces }))
    }

    /// Brings record `k` to its shard: returns its explicit hash key, or gives `key` a suffix.
    pub(super) fn place(&self, k: u64, key: &mut String) -> Option<u128> {
        let point = u128::from(point(self.seed, k));
        // Shares of zero have no width: of several pieces that start at a point, the last one holds it.
        let index = self.pieces.partition_point(|piece| piece.start <= point).saturating_sub(1);
        let piece = self.pieces.get(index)?;
        match &self.by_name {
            Some(memory) => {
                find_name(key, piece, index as u64, memory);
                None
            }
            None => {
                let within = ((point - piece.start) << 64) / (piece.end - piece.start).max(1);
                Some(piece.first_hash + scaled(piece.last_hash - piece.first_hash, within))
            }
        }
    }

    /// The share of the records that was asked for in the range of hash keys from `first` to `last`, where records are
    /// spread evenly over each piece's range.
    pub(super) fn share_of(&self, first: u128, last: u128) -> f64 {
        let part = |piece: &Piece| {
            let (from, to) = (first.max(piece.first_hash), last.min(piece.last_hash));
            let width = (piece.last_hash - piece.first_hash) as f64 + 1.0;
            if from > to { 0.0 } else { ((to - from) as f64 + 1.0) / width }
        };
        let share = |piece: &Piece| (piece.end - piece.start) as f64 / (1_u128 << 64) as f64;
        self.pieces.iter().map(|piece| share(piece) * part(piece)).sum()
    }

    /// Whether keys get suffixes.
    pub(super) fn renames(&self) -> bool {
        self.by_name.is_some()
    }
}

/// One share per open shard.
fn asked_shares(keys: &Keys, open: usize) -> Result<Vec<f64>, KeyError> {
    match keys.hot_shard {
        None if keys.shards.len() == open => Ok(keys.shards.clone()),
        None => Err(KeyError::Shares { asked: keys.shards.len(), open }),
        Some(hot) => {
            let index = keys.hot_shard_index.unwrap_or(0) as usize;
            if index >= open {
                return Err(KeyError::HotShardIndex { index, open });
            }
            if open == 1 && hot < 1.0 {
                return Err(KeyError::OnlyShard(hot));
            }
            let rest = (1.0 - hot) / (open - 1).max(1) as f64;
            Ok((0..open).map(|shard| if shard == index { hot } else { rest }).collect())
        }
    }
}

/// Record `k`'s point in the unit interval, in 2^64ths.
fn point(seed: u64, k: u64) -> u64 {
    let block = k >> 8;
    let mut draws = Draws::new(seed, Purpose::Place, block);
    let shuffled = shuffle(k as u8, &mut draws);
    let start = Draws::new(seed, Purpose::Place, u64::MAX).bits();
    let step = start.wrapping_add(block.wrapping_mul(GOLDEN));
    u64::from(shuffled) << 56 | step >> 8
}

/// One of many permutations of 0 to 255: multiplying by an odd number, adding and folding bits down each undo.
fn shuffle(place: u8, draws: &mut Draws) -> u8 {
    let mut place = place;
    for key in draws.bits().to_le_bytes().chunks_exact(2) {
        place = place.wrapping_mul(key[0] | 1).wrapping_add(key[1]);
        place ^= place >> 4;
        place = place.rotate_left(3);
    }
    place
}

/// `width` times `part` / 2^64, rounded down.
fn scaled(width: u128, part: u128) -> u128 {
    (width >> 64) * part + (((width & u128::from(u64::MAX)) * part) >> 64)
}

/// Gives `key` the first suffix that brings it into the piece's range. `memory` spares the search, never decides it: a
/// remembered suffix is checked like any other.
fn find_name(key: &mut String, piece: &Piece, shard: u64, memory: &[AtomicU64]) {
    let bare = key.len();
    let tag = mix(key.bytes().fold(mix(shard ^ GOLDEN), |hash, byte| mix(hash ^ u64::from(byte)))) | 1 << 63;
    let slot = memory.get(tag as usize % memory.len().max(1));
    let remembered = slot.map_or(0, |slot| slot.load(Relaxed));
    let mut fits = |suffix: u64| {
        key.truncate(bare);
        let written = write!(key, ".{suffix}");
        debug_assert!(written.is_ok(), "writing to a string cannot fail");
        (piece.first_hash..=piece.last_hash).contains(&hash_of(key))
    };
    if remembered >> SUFFIX_BITS == tag >> SUFFIX_BITS && fits(remembered & MOST_SUFFIXES) {
        return;
    }
    if let Some(suffix) = (0..MOST_SUFFIXES).find(|suffix| fits(*suffix))
        && let Some(slot) = slot
    {
        slot.store(tag >> SUFFIX_BITS << SUFFIX_BITS | suffix, Relaxed);
    }
}

#[cfg(test)]
mod tests;

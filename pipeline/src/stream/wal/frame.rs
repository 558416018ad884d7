//! The frames of the log: a length, a checksum, a kind, and a body.
//!
//! ```text
//!   u32 bytes of kind and body | CRC-32 of kind and body | u8 kind | body
//! ```
//! Numbers are little-endian. Facts are JSON; records are the block a shard keeps, behind its place.

use std::{collections::BTreeMap, io};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::StreamKey;
use crate::stream::{
    batch::{Batch, Block},
    meta::{AccountMeta, StreamMeta},
};

/// The version of the format.
const FORMAT: u32 = 1;
/// Length and checksum.
pub(super) const PREFIX_BYTES: usize = 8;

const HEADER: u8 = 0;
const ACCOUNT: u8 = 1;
const STREAM: u8 = 2;
const TIPS: u8 = 3;
const RECORDS: u8 = 4;

/// What a segment begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    format: u32,
    /// The key that seals tokens.
    pub(super) key: [u8; 16],
}

impl Header {
    pub(super) const fn new(key: [u8; 16]) -> Self {
        Self { format: FORMAT, key }
    }
}

/// The index the next record of each shard of a stream gets: known even when no record is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tips {
    pub(super) stream: StreamKey,
    pub(super) tips: BTreeMap<u32, u64>,
}

/// A frame that holds facts.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Frame {
    Header(Header),
    Account(AccountMeta),
    Stream(Box<StreamMeta>),
    Tips(Tips),
    Records(Box<Records>),
}

/// Records of one shard.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Records {
    pub(super) stream: StreamKey,
    pub(super) shard: u32,
    pub(super) batch: Batch,
}

impl Frame {
    pub(super) fn encode(&self) -> io::Result<Vec<u8>> {
        match self {
            Self::Header(header) => facts(HEADER, header),
            Self::Account(meta) => facts(ACCOUNT, meta),
            Self::Stream(meta) => facts(STREAM, meta),
            Self::Tips(tips) => facts(TIPS, tips),
            Self::Records(kept) => Ok(records(&kept.stream, kept.shard, &kept.batch)),
        }
    }

    /// Reads kind and body.
    pub(super) fn decode(content: &[u8]) -> Result<Self, String> {
        let (kind, body) = content.split_first().ok_or("it is empty")?;
        match *kind {
            HEADER => {
                let header: Header = read(body)?;
                if header.format == FORMAT {
                    Ok(Self::Header(header))
                } else {
                    Err(format!("its format is {}, and {FORMAT} is known", header.format))
                }
            }
            ACCOUNT => read(body).map(Self::Account),
            STREAM => read(body).map(Self::Stream),
            TIPS => read(body).map(Self::Tips),
            RECORDS => {
                read_records(body).map(|kept| Self::Records(Box::new(kept))).ok_or("its records do not add up".into())
            }
            other => Err(format!("its kind is {other}, which is not known")),
        }
    }
}

fn facts(kind: u8, value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut out = begin(kind, 0);
    serde_json::to_writer(&mut out, value)?;
    Ok(finish(out))
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

/// The frame of a batch. Its block is copied once, from the memory it is kept in.
pub(super) fn records((name, created_us): &StreamKey, shard: u32, batch: &Batch) -> Vec<u8> {
    let block = batch.block.as_bytes();
    let mut out = begin(RECORDS, block.len() + name.len() + 64);
    out.extend_from_slice(&created_us.to_le_bytes());
    out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(&shard.to_le_bytes());
    out.extend_from_slice(&batch.first_index.to_le_bytes());
    out.extend_from_slice(&batch.arrival_us.to_le_bytes());
    out.extend_from_slice(&u32::try_from(batch.block.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(block);
    finish(out)
}

fn read_records(body: &[u8]) -> Option<Records> {
    let (created_us, rest) = body.split_first_chunk()?;
    let (name_bytes, rest) = rest.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*name_bytes))?;
    let (shard, rest) = rest.split_first_chunk()?;
    let (first_index, rest) = rest.split_first_chunk()?;
    let (arrival_us, rest) = rest.split_first_chunk()?;
    let (records, block) = rest.split_first_chunk()?;
    let block = Block::from_bytes(block.into(), u32::from_le_bytes(*records))?;
    Some(Records {
        stream: (String::from_utf8(name.to_vec()).ok()?, u64::from_le_bytes(*created_us)),
        shard: u32::from_le_bytes(*shard),
        batch: Batch {
            first_index: u64::from_le_bytes(*first_index),
            arrival_us: u64::from_le_bytes(*arrival_us),
            block,
        },
    })
}

fn begin(kind: u8, body_bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(PREFIX_BYTES + 1 + body_bytes);
    out.extend_from_slice(&[0; PREFIX_BYTES]);
    out.push(kind);
    out
}

fn finish(mut out: Vec<u8>) -> Vec<u8> {
    let bytes = u32::try_from(out.len() - PREFIX_BYTES).unwrap_or(u32::MAX);
    let checksum = crc32fast::hash(&out[PREFIX_BYTES..]);
    out[..4].copy_from_slice(&bytes.to_le_bytes());
    out[4..PREFIX_BYTES].copy_from_slice(&checksum.to_le_bytes());
    out
}

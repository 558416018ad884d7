//! Reading the log back, segment by segment, frame by frame: the facts first, then the records.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fs::{self, File, OpenOptions},
    io::{BufReader, Read as _},
    path::{Path, PathBuf},
};

use super::{
    StreamKey, WalError,
    frame::{Frame, PREFIX_BYTES, Records},
    io_error, segment_path,
};
use crate::stream::{
    batch::Batch,
    meta::{AccountMeta, StreamMeta},
};

/// What a log holds, apart from the records, which [`Self::records`] reads again: they need not fit into memory twice.
#[derive(Debug, Default)]
pub(crate) struct Recovery {
    folder: PathBuf,
    pub(super) key: Option<[u8; 16]>,
    pub(crate) account: AccountMeta,
    pub(crate) streams: BTreeMap<StreamKey, StreamMeta>,
    /// The index the next record of a shard gets.
    pub(crate) tips: HashMap<StreamKey, BTreeMap<u32, u64>>,
    pub(super) segments: VecDeque<(u64, HashMap<StreamKey, u64>)>,
}

impl Recovery {
    /// Reads every segment of a folder.
    pub(super) fn read(folder: &Path) -> Result<Self, WalError> {
        let mut recovery = Self { folder: folder.to_owned(), ..Self::default() };
        let numbers = segment_numbers(folder)?;
        for (place, number) in numbers.iter().enumerate() {
            let mut arrivals = HashMap::new();
            let path = segment_path(folder, *number);
            let whole_bytes = frames(&path, place + 1 == numbers.len(), &mut |frame| {
                recovery.take(frame, &mut arrivals);
                Ok(())
            })?;
            cut(&path, whole_bytes)?;
            recovery.segments.push_back((*number, arrivals));
        }
        Ok(recovery)
    }

    fn take(&mut self, frame: Frame, arrivals: &mut HashMap<StreamKey, u64>) {
        match frame {
            Frame::Header(header) => self.key = Some(header.key),
            Frame::Account(meta) => self.account = meta,
            Frame::Stream(meta) => {
                self.streams.insert((meta.name.clone(), meta.created_us), *meta);
            }
            Frame::Tips(tips) => {
                let known = self.tips.entry(tips.stream).or_default();
                for (shard, tip) in tips.tips {
                    let tip = tip.max(known.get(&shard).copied().unwrap_or(0));
                    known.insert(shard, tip);
                }
            }
            Frame::Records(kept) => {
                let Records { stream, shard, batch } = *kept;
                arrivals.insert(stream.clone(), batch.arrival_us);
                self.tips.entry(stream).or_default().insert(shard, batch.end_index());
            }
        }
    }

    /// Gives every batch of records in the order they were written. `false` ends it.
    pub(crate) fn records(
        &self,
        take: &mut impl FnMut(StreamKey, u32, Batch) -> Result<(), WalError>,
    ) -> Result<(), WalError> {
        for (number, _) in &self.segments {
            frames(&segment_path(&self.folder, *number), false, &mut |frame| match frame {
                Frame::Records(kept) => take(kept.stream, kept.shard, kept.batch),
                _ => Ok(()),
            })?;
        }
        Ok(())
    }

    /// The folder the log is in.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

fn segment_numbers(folder: &Path) -> Result<Vec<u64>, WalError> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder).map_err(io_error(folder))? {
        let name = entry.map_err(io_error(folder))?.file_name();
        let number = |name: &str| name.strip_prefix("wal-")?.strip_suffix(".log")?.parse::<u64>().ok();
        numbers.extend(name.to_str().and_then(number));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Gives the frames of a segment and returns how many bytes of it are whole frames. Of the `last` segment the end may be
/// torn, as a process that is killed while it writes leaves it; anything else that is not as it was written is an error.
fn frames(path: &Path, last: bool, take: &mut impl FnMut(Frame) -> Result<(), WalError>) -> Result<u64, WalError> {
    let file = File::open(path).map_err(io_error(path))?;
    let file_bytes = file.metadata().map_err(io_error(path))?.len();
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let (mut offset, mut content) = (0_u64, Vec::new());
    while offset < file_bytes {
        let damaged = |reason: String| WalError::Damaged { path: path.to_owned(), offset, reason };
        let left = file_bytes - offset;
        let mut prefix = [0_u8; PREFIX_BYTES];
        if left < PREFIX_BYTES as u64 {
            return if last { Ok(offset) } else { Err(damaged("it ends in the middle of a frame".to_owned())) };
        }
        reader.read_exact(&mut prefix).map_err(io_error(path))?;
        let bytes = u32::from_le_bytes([prefix[0], prefix[1], prefix[2], prefix[3]]);
        let checksum = u32::from_le_bytes([prefix[4], prefix[5], prefix[6], prefix[7]]);
        let frame_bytes = PREFIX_BYTES as u64 + u64::from(bytes);
        if frame_bytes > left {
            return if last { Ok(offset) } else { Err(damaged("it ends in the middle of a frame".to_owned())) };
        }
        content.resize(bytes as usize, 0);
        reader.read_exact(&mut content).map_err(io_error(path))?;
        if crc32fast::hash(&content) != checksum {
            return Err(damaged("its checksum is wrong".to_owned()));
        }
        take(Frame::decode(&content).map_err(damaged)?)?;
        offset += frame_bytes;
    }
    Ok(offset)
}

/// Cuts a torn frame off the end of a segment.
fn cut(path: &Path, whole_bytes: u64) -> Result<(), WalError> {
    let bytes = fs::metadata(path).map_err(io_error(path))?.len();
    if whole_bytes < bytes {
        tracing::warn!(file = %path.display(), bytes = bytes - whole_bytes, "the last write was not finished; it is cut off");
        let file = OpenOptions::new().write(true).open(path).map_err(io_error(path))?;
        file.set_len(whole_bytes).map_err(io_error(path))?;
        file.sync_all().map_err(io_error(path))?;
    }
    Ok(())
}

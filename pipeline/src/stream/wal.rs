//! The write-ahead log: what the stream was told and has acknowledged, in files that survive the death of the process.
//!
//! Every accepted group of records and every change of a stream's facts is one frame (`frame`), written with one write
//! before anyone sees it and before the call is acknowledged. A process that is killed loses nothing it acknowledged; a
//! machine that loses power may lose what the system had not yet written to the disk. Files are segments: a new one begins
//! with everything but the records, so that an old one can be removed as soon as all of its records have outlived
//! their retention or their stream. `replay` reads them back.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    batch::Batch,
    clock::Clock,
    journal::{Journal, JournalError},
    meta::{AccountMeta, StreamMeta},
};

mod frame;
mod replay;

use frame::{Frame, Header, Tips};
pub(crate) use replay::Recovery;

/// Bytes after which a new segment is begun.
const SEGMENT_BYTES: u64 = 64 << 20;
/// The file whose lock says that the folder is in use.
const LOCK: &str = "lock";

/// A stream of one name, told from a later one by the time it was made.
pub(crate) type StreamKey = (String, u64);

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalError {
    /// A file or the folder could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another server works on the folder.
    #[error("{path} is in use by another server; give each server a folder of its own")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A segment is not what was written.
    #[error(
        "{path} is damaged at byte {offset}: {reason}; nothing was changed. Restore the file, or move the folder away to \
         begin without its records"
    )]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where the frame that cannot be read begins.
        offset: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The records that are kept do not fit into the memory that is allowed.
    #[error("the records in {path} do not fit into {capacity_bytes} bytes of memory; allow more")]
    TooLarge {
        /// The folder.
        path: PathBuf,
        /// The memory for stored records.
        capacity_bytes: u64,
    },
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> WalError {
    let path = path.to_owned();
    move |source| WalError::Io { path: path.clone(), source }
}

/// The log, open for writing.
#[derive(Debug)]
pub(crate) struct Wal {
    folder: PathBuf,
    key: [u8; 16],
    clock: Arc<dyn Clock>,
    /// Holds the lock on the folder as long as the log is open.
    _lock: File,
    writer: Mutex<Writer>,
}

/// The segment that is written, and what the next one will begin with.
#[derive(Debug)]
struct Writer {
    file: File,
    number: u64,
    /// Bytes of whole frames in the segment.
    bytes: u64,
    /// The last write failed.
    failing: bool,
    streams: BTreeMap<StreamKey, StreamMeta>,
    account: AccountMeta,
    tips: HashMap<StreamKey, BTreeMap<u32, u64>>,
    /// The segments, oldest first, and when the last record of each stream in it arrived.
    segments: VecDeque<(u64, HashMap<StreamKey, u64>)>,
}

impl Wal {
    /// Opens the log in a folder, which is made if it is not there, and gives what it holds. It is written on in a new
    /// segment.
    pub(crate) fn open(folder: &Path, clock: Arc<dyn Clock>) -> Result<(Arc<Self>, Recovery), WalError> {
        fs::create_dir_all(folder).map_err(io_error(folder))?;
        let lock = lock(folder)?;
        let recovery = Recovery::read(folder)?;
        let key = recovery.key.unwrap_or_else(rand::random);
        let number = recovery.segments.back().map_or(1, |(number, _)| number + 1);
        let mut writer = Writer {
            file: create(&segment_path(folder, number))?,
            number,
            bytes: 0,
            failing: false,
            streams: recovery.streams.clone(),
            account: recovery.account.clone(),
            tips: recovery.tips.clone(),
            segments: recovery.segments.clone(),
        };
        writer.begin(key, clock.now_us()).map_err(io_error(&segment_path(folder, number)))?;
        let wal = Self { folder: folder.to_owned(), key, clock, _lock: lock, writer: Mutex::new(writer) };
        Ok((Arc::new(wal), recovery))
    }

    /// The key that seals tokens: with it, an iterator from before a restart is good after it.
    pub(crate) const fn key(&self) -> [u8; 16] {
        self.key
    }

    /// What a stream writes its records and facts to.
    pub(crate) fn journal(self: &Arc<Self>, name: &str, created_us: u64) -> Arc<dyn Journal> {
        Arc::new(StreamJournal { wal: Arc::clone(self), stream: (name.to_owned(), created_us) })
    }

    /// Writes the account's facts down.
    pub(crate) fn keep_account(&self, meta: &AccountMeta) -> Result<(), JournalError> {
        let mut writer = self.writer();
        self.write(&mut writer, &Frame::Account(meta.clone()))?;
        writer.account = meta.clone();
        Ok(())
    }

    fn keep_stream(&self, key: &StreamKey, meta: &StreamMeta) -> Result<(), JournalError> {
        let mut writer = self.writer();
        self.write(&mut writer, &Frame::Stream(Box::new(meta.clone())))?;
        writer.streams.insert(key.clone(), meta.clone());
        Ok(())
    }

    fn keep_records(&self, stream: &StreamKey, shard: u32, batch: &Batch) -> Result<(), JournalError> {
        let mut writer = self.writer();
        self.write_bytes(&mut writer, &frame::records(stream, shard, batch))?;
        writer.tips.entry(stream.clone()).or_default().insert(shard, batch.end_index());
        if let Some((_, arrivals)) = writer.segments.back_mut() {
            arrivals.insert(stream.clone(), batch.arrival_us);
        }
        Ok(())
    }

    fn write(&self, writer: &mut Writer, frame: &Frame) -> Result<(), JournalError> {
        let bytes = frame.encode().map_err(|error| JournalError(error.into()))?;
        self.write_bytes(writer, &bytes)
    }

    fn write_bytes(&self, writer: &mut Writer, bytes: &[u8]) -> Result<(), JournalError> {
        let written = self.write_or_rotate(writer, bytes);
        // A full disk refuses thousands of calls a second; that it began and ended is what is worth a line.
        match &written {
            Err(error) if !writer.failing => {
                let folder = self.folder.display();
                tracing::error!(%folder, %error, "the log cannot be written; what is put is refused until it can be");
            }
            Ok(()) if writer.failing => tracing::warn!(folder = %self.folder.display(), "the log can be written again"),
            _ => {}
        }
        writer.failing = written.is_err();
        written
    }

    fn write_or_rotate(&self, writer: &mut Writer, bytes: &[u8]) -> Result<(), JournalError> {
        if writer.bytes >= SEGMENT_BYTES {
            self.rotate(writer).map_err(|error| JournalError(error.into()))?;
        }
        writer.append(bytes).map_err(|error| JournalError(error.into()))
    }

    /// Begins a new segment and removes the old ones that nobody needs.
    fn rotate(&self, writer: &mut Writer) -> Result<(), WalError> {
        let now_us = self.clock.now_us();
        let number = writer.number + 1;
        let path = segment_path(&self.folder, number);
        let before = (std::mem::replace(&mut writer.file, create(&path)?), writer.number, writer.bytes);
        (writer.number, writer.bytes) = (number, 0);
        if let Err(source) = writer.begin(self.key, now_us) {
            // The new segment is not whole: the old one is written on, and the new one must not be found.
            (writer.file, writer.number, writer.bytes) = before;
            writer.segments.retain(|(segment, _)| *segment != number);
            let _already_failing = fs::remove_file(&path);
            return Err(WalError::Io { path, source });
        }
        while let Some((oldest, arrivals)) = writer.segments.front() {
            if *oldest == number || arrivals.iter().any(|(stream, last_us)| writer.needs(stream, *last_us, now_us)) {
                break;
            }
            let path = segment_path(&self.folder, *oldest);
            fs::remove_file(&path).map_err(io_error(&path))?;
            writer.segments.pop_front();
        }
        Ok(())
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    /// Writes what every segment begins with: the header, the account, and each stream that is still there.
    fn begin(&mut self, key: [u8; 16], now_us: u64) -> io::Result<()> {
        self.streams.retain(|_, meta| meta.status(now_us).is_some());
        self.tips.retain(|stream, _| self.streams.contains_key(stream));
        let mut bytes = Frame::Header(Header::new(key)).encode()?;
        bytes.extend(Frame::Account(self.account.clone()).encode()?);
        for (stream, meta) in &self.streams {
            bytes.extend(Frame::Stream(Box::new(meta.clone())).encode()?);
            let tips = self.tips.get(stream).cloned().unwrap_or_default();
            bytes.extend(Frame::Tips(Tips { stream: stream.clone(), tips }).encode()?);
        }
        self.append(&bytes)?;
        self.segments.push_back((self.number, HashMap::new()));
        Ok(())
    }

    /// Writes whole frames, or nothing that would be found later.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.file.write_all(bytes) {
            Ok(()) => {
                self.bytes += bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                // In append mode the next write goes to the end, so cutting the torn frame off is all there is to do. If
                // that fails too, the reader cuts it off: nothing can have been written after it.
                self.file.set_len(self.bytes)?;
                Err(error)
            }
        }
    }

    /// Whether a record of the stream that arrived then can still be read.
    fn needs(&self, stream: &StreamKey, last_us: u64, now_us: u64) -> bool {
        let meta = self.streams.get(stream);
        meta.is_some_and(|meta| meta.status(now_us).is_some() && last_us.saturating_add(meta.retention_us) >= now_us)
    }
}

fn lock(folder: &Path) -> Result<File, WalError> {
    let path = folder.join(LOCK);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(io_error(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(WalError::InUse { path: folder.to_owned() }),
        Err(TryLockError::Error(source)) => Err(WalError::Io { path, source }),
    }
}

fn create(path: &Path) -> Result<File, WalError> {
    OpenOptions::new().append(true).create_new(true).open(path).map_err(io_error(path))
}

fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("wal-{number:016}.log"))
}

/// The part of the log that belongs to one stream.
#[derive(Debug)]
struct StreamJournal {
    wal: Arc<Wal>,
    stream: StreamKey,
}

impl Journal for StreamJournal {
    fn append(&self, shard: u32, batch: &Batch) -> Result<(), JournalError> {
        self.wal.keep_records(&self.stream, shard, batch)
    }

    fn facts(&self, meta: &StreamMeta) -> Result<(), JournalError> {
        self.wal.keep_stream(&self.stream, meta)
    }
}

#[cfg(test)]
mod tests;

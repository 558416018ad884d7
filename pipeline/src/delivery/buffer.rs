//! Records on their way into one object, compressed as they come so that memory holds little more than the object will.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

/// What a gzip encoder holds whatever is written to it: zlib's window, chains, hash heads and pending output at its
/// default sizes (64 + 64 + 128 + 64 + 48 KiB and its state), and the 32 KiB between it and the output.
pub(super) const ENCODER_BYTES: usize = 416 << 10;

/// zlib's default level, the one a plain gzip stream gets; sizes and query costs stay comparable to Firehose's.
const LEVEL: Compression = Compression::new(6);

/// Records of one partition, or of one kind of error, that are not in an object yet.
#[derive(Debug)]
pub(super) struct Buffer {
    encoder: GzEncoder<Vec<u8>>,
    opened_us: i64,
    oldest_us: i64,
    records: u64,
    raw_bytes: u64,
    due_us: Vec<i64>,
}

/// A buffer's content when nothing more is added.
#[derive(Debug)]
pub(super) struct Sealed {
    /// One gzip member of newline-terminated records.
    pub(super) body: Bytes,
    /// The approximate arrival of the oldest record.
    pub(super) oldest_us: i64,
    pub(super) records: u64,
    /// Size before compression.
    pub(super) raw_bytes: u64,
    /// Due times of the records that have one.
    pub(super) due_us: Vec<i64>,
}

impl Buffer {
    pub(super) fn open(now_us: i64) -> Self {
        Self {
            encoder: GzEncoder::new(Vec::new(), LEVEL),
            opened_us: now_us,
            oldest_us: i64::MAX,
            records: 0,
            raw_bytes: 0,
            due_us: Vec::new(),
        }
    }

    /// Appends a record; one that does not end its line gets a newline.
    pub(super) fn push(&mut self, data: &[u8], arrival_us: i64, due_us: Option<i64>) -> io::Result<()> {
        self.encoder.write_all(data)?;
        let ended = data.last() == Some(&b'\n');
        if !ended {
            self.encoder.write_all(b"\n")?;
        }
        self.raw_bytes += data.len() as u64 + u64::from(!ended);
        self.records += 1;
        self.oldest_us = self.oldest_us.min(arrival_us);
        self.due_us.extend(due_us);
        Ok(())
    }

    /// Records in it.
    #[cfg(test)]
    pub(super) const fn records(&self) -> u64 {
        self.records
    }

    /// Size before compression.
    pub(super) const fn raw_bytes(&self) -> u64 {
        self.raw_bytes
    }

    /// When it was opened; its age decides when it is written.
    pub(super) const fn opened_us(&self) -> i64 {
        self.opened_us
    }

    /// Memory it holds.
    pub(super) fn held_bytes(&self) -> usize {
        ENCODER_BYTES + self.encoder.get_ref().capacity() + self.due_us.capacity() * size_of::<i64>()
    }

    pub(super) fn seal(self) -> io::Result<Sealed> {
        let mut body = self.encoder.finish()?;
        body.shrink_to_fit();
        Ok(Sealed {
            body: Bytes::from(body),
            oldest_us: self.oldest_us,
            records: self.records,
            raw_bytes: self.raw_bytes,
            due_us: self.due_us,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn lines_are_ended_once_and_the_oldest_arrival_is_kept() {
        let mut buffer = Buffer::open(5);
        for (data, arrival_us, due_us) in
            [(&b"{\"a\":1}"[..], 30, Some(1)), (b"{\"a\":2}\n", 20, None), (b"", 40, Some(3))]
        {
            buffer.push(data, arrival_us, due_us).unwrap();
        }
        assert_eq!((buffer.raw_bytes(), buffer.opened_us()), (17, 5));
        let sealed = buffer.seal().unwrap();
        let mut text = String::new();
        flate2::read::GzDecoder::new(&sealed.body[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, "{\"a\":1}\n{\"a\":2}\n\n");
        assert_eq!((sealed.oldest_us, sealed.records, sealed.raw_bytes), (20, 3, 17));
        assert_eq!(sealed.due_us, [1, 3]);
    }

    #[test]
    fn memory_follows_the_compressed_size() {
        let mut buffer = Buffer::open(0);
        for _ in 0..100_000 {
            buffer.push(b"{\"city\":\"London\",\"temperature\":20.5}", 0, None).unwrap();
        }
        assert_eq!(buffer.raw_bytes(), 3_700_000);
        assert!(buffer.held_bytes() < ENCODER_BYTES + 200_000, "{}", buffer.held_bytes());
    }
}

//! An object's bytes, decompressed piece by piece: gzip of any number of members, or plain.

use std::io::{Cursor, ErrorKind, Read};

use bytes::Bytes;
use flate2::bufread::GzDecoder;

/// First two bytes of every gzip member (RFC 1952).
pub(super) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// What the last read found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read1 {
    /// There may be more.
    More,
    /// The end, every checksum in order. Anything from `garbage` on in the object is no gzip.
    End { garbage: Option<usize> },
    /// The gzip stream stops early.
    Truncated,
    /// The gzip stream is damaged.
    Corrupt,
}

/// One gzip member, and what follows it.
type Member = GzDecoder<Cursor<Bytes>>;

pub(super) enum Input {
    Plain { bytes: Bytes, at: usize },
    Gzip { member: Option<Box<Member>>, is_begun: bool },
}

impl Input {
    pub(super) fn new(bytes: Bytes, gzip: bool) -> Self {
        if gzip {
            Self::Gzip { member: Some(Box::new(Member::new(Cursor::new(bytes)))), is_begun: false }
        } else {
            Self::Plain { bytes, at: 0 }
        }
    }

    /// Appends up to `want` bytes to `buffer`, and tells where in it each gzip member that is begun starts.
    pub(super) fn read(&mut self, buffer: &mut Vec<u8>, want: usize, begins: &mut dyn FnMut(usize)) -> Read1 {
        match self {
            Self::Plain { bytes, at } => {
                let end = bytes.len().min(*at + want);
                buffer.extend_from_slice(&bytes[*at..end]);
                *at = end;
                if end == bytes.len() { Read1::End { garbage: None } } else { Read1::More }
            }
            Self::Gzip { member, is_begun } => {
                if !std::mem::replace(is_begun, true) {
                    begins(buffer.len());
                }
                inflate(member, buffer, want, begins)
            }
        }
    }
}

fn inflate(
    member: &mut Option<Box<Member>>,
    buffer: &mut Vec<u8>,
    want: usize,
    begins: &mut dyn FnMut(usize),
) -> Read1 {
    let (start, mut filled) = (buffer.len(), 0);
    buffer.resize(start + want, 0);
    let outcome = loop {
        let Some(decoder) = member.as_mut() else { break Read1::End { garbage: None } };
        if filled == want {
            break Read1::More;
        }
        match decoder.read(&mut buffer[start + filled..]) {
            Ok(0) => {
                let Some(rest) = member.take().map(|done| done.into_inner()) else { continue };
                let at = usize::try_from(rest.position()).unwrap_or(usize::MAX).min(rest.get_ref().len());
                let tail = &rest.get_ref()[at..];
                if tail.starts_with(&GZIP_MAGIC) || (tail.len() == 1 && tail[0] == GZIP_MAGIC[0]) {
                    *member = Some(Box::new(Member::new(rest)));
                    begins(start + filled);
                } else if !tail.is_empty() {
                    break Read1::End { garbage: Some(at) };
                }
            }
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => break Read1::Truncated,
            Err(_) => break Read1::Corrupt,
        }
    };
    buffer.truncate(start + filled);
    outcome
}

/// Objects that may become larger than this are decompressed piece by piece. Firehose's own buffer is 5 MiB at first.
const WHOLE_BYTES: usize = 8 << 20;
/// The end of a gzip member: checksum and length of what it holds (RFC 1952).
const TRAILER_BYTES: usize = 8;

/// How every gzip member begins: the magic, and deflate, the only method there is.
const MEMBER: [u8; 3] = [GZIP_MAGIC[0], GZIP_MAGIC[1], 8];

/// Decompresses small objects at once, which takes half the time, into a buffer that stays.
#[derive(Default)]
pub(super) struct Whole {
    decompressor: libdeflater::Decompressor,
    text: Vec<u8>,
}

impl std::fmt::Debug for Whole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Whole").field("held_bytes", &self.text.len()).finish_non_exhaustive()
    }
}

impl Whole {
    /// What the object holds, when it is one whole gzip member of moderate size. Anything else (several members, something
    /// behind them, damage) is `None`: the reader that goes piece by piece tells those apart.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<&[u8]> {
        let (body, trailer) = bytes.split_last_chunk::<TRAILER_BYTES>()?;
        let (checksum, length) = trailer.split_at(TRAILER_BYTES / 2);
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte));
        let length = usize::try_from(number(length)).ok().filter(|length| *length <= WHOLE_BYTES)?;
        // Where no second member can begin there is none. The library stops after the first one without a word.
        if memchr::memmem::find(body.get(MEMBER.len()..)?, &MEMBER).is_some() {
            return None;
        }
        if self.text.len() < length {
            // What it holds is not wanted any more, and the next object is about as long.
            self.text = Vec::new();
            self.text = vec![0; length + length / 8];
        }
        let text = &mut self.text[..length];
        let filled = self.decompressor.gzip_decompress(bytes, text).ok()?;
        // The last bytes belong to the member that was read, so nothing is behind it.
        (filled == length && libdeflater::crc32(text) == number(checksum)).then_some(&self.text[..length])
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn one_member_is_read_whole_and_the_buffer_serves_the_next() {
        let mut whole = Whole::default();
        let long = b"0123456789".repeat(10_000);
        for text in [&long[..], b"short", b"", &long[..77]] {
            assert_eq!(whole.read(&gzip(text)), Some(text));
        }
    }

    #[test]
    fn what_is_not_one_whole_member_is_left_to_the_other_reader() {
        let mut whole = Whole::default();
        let one = gzip(b"the same text twice");
        // The last checksum fits the first member here: only looking for a second beginning tells them apart.
        assert_eq!(whole.read(&[&one[..], &one[..]].concat()), None);
        assert_eq!(whole.read(&[&one[..], &gzip(b"more")[..]].concat()), None);
        assert_eq!(whole.read(&[&one[..], b"garbage behind"].concat()), None);
        assert_eq!(whole.read(&gzip(&vec![b'x'; WHOLE_BYTES + 1])), None);
        for end in 0..one.len() {
            assert_eq!(whole.read(&one[..end]), None, "cut at {end}");
        }
        for at in [12, one.len() - 6, one.len() - 2] {
            let mut damaged = one.clone();
            damaged[at] ^= 0x10;
            assert_eq!(whole.read(&damaged), None, "damaged at {at}");
        }
    }
}

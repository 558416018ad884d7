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

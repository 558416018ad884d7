//! Opaque tokens: what a client holds between two calls, sealed so that it can neither read nor make one.
//!
//! A token is base64 of an 8-byte header (AWS's ends in 01 too), a nonce, the masked body and a tag. Key and tag are
//! per process, so a token of another process or with a changed byte is refused. This guards against mistakes, not
//! attackers: the stream holds no secrets.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use md5::{Digest as _, Md5};

/// What a token is for; a token of one kind does not open as another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    ShardIterator = 1,
    ShardPage = 2,
    StreamPage = 3,
    ConsumerPage = 4,
}

const HEADER: [u8; 8] = [0, 0, 0, 0, 0, 0, 0, 1];
const NONCE_BYTES: usize = 8;
const TAG_BYTES: usize = 16;

/// Seals and opens the tokens of one process.
#[derive(Debug)]
pub(crate) struct Sealer {
    key: [u8; 16],
}

impl Sealer {
    pub(crate) const fn new(key: [u8; 16]) -> Self {
        Self { key }
    }

    /// A token that carries the body. Two tokens of one body differ.
    pub(crate) fn seal(&self, kind: TokenKind, body: &[u8]) -> String {
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let mut masked = body.to_vec();
        self.mask(&nonce, &mut masked);
        let tag = self.tag(kind, &nonce, body);
        STANDARD.encode([&HEADER, nonce.as_slice(), &masked, &tag].concat())
    }

    /// The body of a token of this kind that this sealer made.
    pub(crate) fn open(&self, kind: TokenKind, token: &str) -> Option<Vec<u8>> {
        let bytes = STANDARD.decode(token).ok()?;
        let rest = bytes.strip_prefix(&HEADER)?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let (masked, tag) = rest.split_last_chunk::<TAG_BYTES>()?;
        let mut body = masked.to_vec();
        self.mask(nonce, &mut body);
        (self.tag(kind, nonce, &body) == *tag).then_some(body)
    }

    fn mask(&self, nonce: &[u8; NONCE_BYTES], body: &mut [u8]) {
        for (block, bytes) in body.chunks_mut(16).enumerate() {
            let stream = self.digest(&[b"mask", nonce, &(block as u64).to_be_bytes()]);
            bytes.iter_mut().zip(stream).for_each(|(byte, mask)| *byte ^= mask);
        }
    }

    fn tag(&self, kind: TokenKind, nonce: &[u8; NONCE_BYTES], body: &[u8]) -> [u8; TAG_BYTES] {
        self.digest(&[b"tag", nonce, &[kind as u8], body])
    }

    fn digest(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut digest = Md5::new_with_prefix(self.key);
        parts.iter().for_each(|part| digest.update(part));
        digest.update(self.key);
        digest.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEALER: Sealer = Sealer::new([7; 16]);

    #[test]
    fn a_token_opens_only_as_its_kind_and_with_its_key() {
        let token = SEALER.seal(TokenKind::ShardPage, b"body");
        assert_eq!(SEALER.open(TokenKind::ShardPage, &token).as_deref(), Some(&b"body"[..]));
        assert_eq!(SEALER.open(TokenKind::ShardIterator, &token), None);
        assert_eq!(Sealer::new([8; 16]).open(TokenKind::ShardPage, &token), None);
    }

    #[test]
    fn text_that_is_no_token_does_not_open() {
        for text in ["", "AAAA", "not base64!", "AAAAAAAAAAE=", &"A".repeat(512)] {
            assert_eq!(SEALER.open(TokenKind::ShardIterator, text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_token_gives_back_its_body_and_a_changed_bit_is_noticed(
            body in prop::collection::vec(any::<u8>(), 0..200), place: prop::sample::Index, bit in 0_u32..8,
        ) {
            let token = SEALER.seal(TokenKind::ShardIterator, &body);
            prop_assert_eq!(SEALER.open(TokenKind::ShardIterator, &token), Some(body));
            let mut bytes = STANDARD.decode(&token).unwrap();
            let place = place.index(bytes.len());
            bytes[place] ^= 1_u8 << bit;
            prop_assert_eq!(SEALER.open(TokenKind::ShardIterator, &STANDARD.encode(bytes)), None);
        }
    }
}

//! A record's data as a call carries it: base64 in JSON, plain in CBOR. It is decoded once, into the place it is kept.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Bytes that are not copied until they are kept.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Blob<'a> {
    /// Base64 of the standard alphabet with padding, and the length it decodes to. It may still hold other characters.
    Base64(&'a [u8], usize),
    /// The bytes themselves.
    #[cfg_attr(not(test), allow(dead_code, reason = "for languages that carry bytes"))]
    Plain(&'a [u8]),
}

/// The text is not base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotBase64;

impl<'a> Blob<'a> {
    /// Base64 of a plausible length. Its characters are looked at when it is decoded.
    pub(crate) fn base64(text: &'a [u8]) -> Option<Self> {
        let padding = text.iter().rev().take(2).take_while(|byte| **byte == b'=').count();
        let bytes = text.len() / 4 * 3;
        text.len().is_multiple_of(4).then(|| Self::Base64(text, bytes.saturating_sub(padding)))
    }

    /// Base64 that is known to be sound, or what is wrong with it.
    pub(crate) fn checked_base64(text: &'a [u8]) -> Result<Self, base64::DecodeError> {
        match Self::base64(text) {
            Some(blob) if base64_simd::STANDARD.check(text).is_ok() => Ok(blob),
            _ => Err(STANDARD.decode(text).err().unwrap_or(base64::DecodeError::InvalidPadding)),
        }
    }

    /// Bytes of data.
    pub(crate) const fn len(&self) -> usize {
        match self {
            Self::Base64(_, bytes) => *bytes,
            Self::Plain(data) => data.len(),
        }
    }

    /// Appends the data, [`Self::len`] bytes of it. After a failure what was appended is of no use.
    pub(crate) fn append_to(&self, out: &mut Vec<u8>) -> Result<(), NotBase64> {
        match self {
            Self::Base64(text, _) => base64_simd::STANDARD.decode_append(text, out).map_err(|_| NotBase64),
            Self::Plain(data) => {
                out.extend_from_slice(data);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(text: &[u8]) -> Option<Vec<u8>> {
        let mut out = b"before".to_vec();
        let blob = Blob::base64(text)?;
        blob.append_to(&mut out).ok()?;
        assert_eq!(out.len(), 6 + blob.len());
        Some(out.split_off(6))
    }

    proptest! {
        /// The alphabet makes most texts nearly base64: wrong padding, wrong last bits, one wrong character.
        #[test]
        fn whatever_one_decoder_takes_or_refuses_so_does_the_other(text in "[AQgw8+/=\\-_ é]{0,9}|[A-Za-z0-9+/]{20,90}={0,2}") {
            let expected = STANDARD.decode(&text);
            prop_assert_eq!(Blob::checked_base64(text.as_bytes()).map(|blob| blob.len()), expected.clone().map(|data| data.len()));
            prop_assert_eq!(decoded(text.as_bytes()), expected.ok());
        }

        #[test]
        fn data_survives_its_text(data: Vec<u8>) {
            prop_assert_eq!(decoded(STANDARD.encode(&data).as_bytes()), Some(data.clone()));
            let mut out = Vec::new();
            Blob::Plain(&data).append_to(&mut out).unwrap();
            prop_assert_eq!(out, data);
        }
    }
}

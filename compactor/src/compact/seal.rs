//! Files behind their own SHA-256: one that a power cut left short, or that was damaged, must not pass for a smaller one.

use sha2::{Digest, Sha256};

/// Bytes before the body.
const DIGEST_BYTES: usize = 32;

/// The body with its digest before it.
pub(super) fn sealed(body: &[u8]) -> Vec<u8> {
    [Sha256::digest(body).as_slice(), body].concat()
}

/// The body of a file that is known to be whole.
pub(super) fn body(bytes: &[u8]) -> Option<&[u8]> {
    bytes.get(DIGEST_BYTES..)
}

/// The body of a file, when the file is whole.
pub(super) fn unsealed(bytes: &[u8]) -> Option<&[u8]> {
    let (digest, body) = bytes.split_at_checked(DIGEST_BYTES)?;
    (Sha256::digest(body).as_slice() == digest).then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_cut_anywhere_or_changed_anywhere_is_not_whole() {
        let whole = sealed(&[7; 64]);
        assert_eq!(unsealed(&whole), Some([7; 64].as_slice()));
        for at in 0..whole.len() {
            assert_eq!(unsealed(&whole[..at]), None, "cut at {at}");
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert_eq!(unsealed(&changed), None, "changed at {at}");
        }
    }
}

//! An object's text without its records: for whoever has to look at it before there are columns.

use bytes::Bytes;

use super::{
    BOM, READ_BYTES, READ_BYTES_MOST, RECORD_LIMIT,
    inflate::{GZIP_MAGIC, Input, Read1},
};

/// The first bytes of an object after decompression, as far as they can be read.
pub(crate) fn head(bytes: Bytes, limit: usize) -> Vec<u8> {
    let gzip = bytes.starts_with(&GZIP_MAGIC);
    let mut input = Input::new(bytes, gzip);
    let mut text = Vec::new();
    input.read(&mut text, limit, &mut |_| {});
    if text.starts_with(&BOM) { text.split_off(BOM.len()) } else { text }
}

/// Whether an object that is named `.gz` and is none can be read as what it is: text, put there without compression.
pub(super) fn looks_like_records(bytes: &[u8]) -> bool {
    let text = bytes.strip_prefix(&BOM).unwrap_or(bytes);
    text.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}

/// Shows all of an object's text, after decompression, to `take`, which says how much of it it is done with; the rest is
/// shown again with what follows, as long as it can be one record. What cannot be read ends it.
pub(crate) fn text_of(bytes: Bytes, take: &mut dyn FnMut(&[u8]) -> usize) {
    let gzip = bytes.starts_with(&GZIP_MAGIC);
    let (mut input, mut text) = (Input::new(bytes, gzip), Vec::new());
    loop {
        let want = text.len().clamp(READ_BYTES, READ_BYTES_MOST);
        let read = input.read(&mut text, want, &mut |_| {});
        let done = take(&text).min(text.len());
        text.drain(..done);
        if read != Read1::More || text.len() > RECORD_LIMIT {
            return;
        }
    }
}

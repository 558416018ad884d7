//! The framing of `application/vnd.amazon.eventstream`: length-prefixed messages with headers and two checksums.
//!
//! ```text
//!   u32 total length | u32 length of the headers | CRC-32 of these eight bytes | headers | payload | CRC-32 of all before
//! ```
//! Numbers are big-endian. A header is a name with a one-byte length, the type 7 (text), and a value with a two-byte one.

use bytes::{BufMut as _, Bytes, BytesMut};

/// The media type of a body of frames.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.amazon.eventstream";
/// The type of a header whose value is text.
const TEXT: u8 = 7;
/// Lengths and checksums.
const FIXED_BYTES: usize = 16;

/// One message. Names and values are this server's own and short.
pub(crate) fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Bytes {
    let headers_bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    let total = FIXED_BYTES + headers_bytes + payload.len();
    let mut out = BytesMut::with_capacity(total);
    out.put_u32(u32::try_from(total).unwrap_or(u32::MAX));
    out.put_u32(u32::try_from(headers_bytes).unwrap_or(u32::MAX));
    out.put_u32(crc32fast::hash(&out));
    for (name, value) in headers {
        out.put_u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
        out.put_slice(name.as_bytes());
        out.put_u8(TEXT);
        out.put_u16(u16::try_from(value.len()).unwrap_or(u16::MAX));
        out.put_slice(value.as_bytes());
    }
    out.put_slice(payload);
    out.put_u32(crc32fast::hash(&out));
    out.freeze()
}

#[cfg(test)]
mod tests {
    use aws_smithy_eventstream::frame::read_message_from;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn aws_s_own_reader_reads_what_is_framed(value in "[ -~]{0,300}", payload in prop::collection::vec(any::<u8>(), 0..500)) {
            let mut framed = frame(&[(":message-type", "event"), ("other", &value)], &payload);
            let message = read_message_from(&mut framed).unwrap();
            let headers: Vec<_> = message.headers().iter().map(|header| {
                (header.name().as_str().to_owned(), header.value().as_string().unwrap().as_str().to_owned())
            }).collect();
            prop_assert_eq!(headers, vec![(":message-type".to_owned(), "event".to_owned()), ("other".to_owned(), value)]);
            prop_assert_eq!(message.payload().as_ref(), &payload[..]);
            prop_assert!(framed.is_empty());
        }
    }
}

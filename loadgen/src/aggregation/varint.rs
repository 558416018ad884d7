//! The few parts of protobuf's wire format that an aggregate is made of.

/// Wire type of a varint.
const VARINT: u64 = 0;
/// Wire type of eight bytes.
const FIXED64: u64 = 1;
/// Wire type of a length and as many bytes.
const BYTES: u64 = 2;
/// Wire type of four bytes.
const FIXED32: u64 = 5;
/// Largest field number of protobuf.
const LAST_FIELD: u64 = (1 << 29) - 1;

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// A fixed-width number: no field of an aggregate has one, so it can only be a field of a later format.
    Fixed,
}

/// How long `value` is as a varint.
pub(super) const fn length(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// How long a field of so many bytes is: its key, its length, and itself. Every field number here needs one byte.
pub(super) const fn field_length(bytes: usize) -> usize {
    1 + length(bytes as u64) + bytes
}

fn write(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Writes a field that is a number.
pub(super) fn write_number(field: u64, value: u64, out: &mut Vec<u8>) {
    write(field << 3 | VARINT, out);
    write(value, out);
}

/// Writes a field's key and length; its bytes are to follow.
pub(super) fn write_head(field: u64, length: usize, out: &mut Vec<u8>) {
    write(field << 3 | BYTES, out);
    write(length as u64, out);
}

/// Takes a varint from the front.
fn read(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for place in 0..10 {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        let bits = u64::from(byte & 0x7F);
        // The tenth byte has room for one more bit.
        if place == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * place);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The fields of a message in their order. What is no message ends with `None` in place of a field.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) const fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(bytes)
    }

    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let key = read(&mut self.rest)?;
        let field = key >> 3;
        if !(1..=LAST_FIELD).contains(&field) {
            return None;
        }
        let value = match key & 7 {
            VARINT => Value::Number(read(&mut self.rest)?),
            BYTES => {
                let length = read(&mut self.rest)?;
                Value::Bytes(self.take(length)?)
            }
            FIXED64 => self.take(8).map(|_| Value::Fixed)?,
            FIXED32 => self.take(4).map(|_| Value::Fixed)?,
            _ => return None,
        };
        Some((field, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.rest = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_as_protobuf_writes_them() {
        // The examples of protobuf's encoding guide, and both ends.
        let known: [(u64, &[u8]); 6] = [
            (0, &[0]),
            (1, &[1]),
            (127, &[0x7F]),
            (150, &[0x96, 0x01]),
            (16_384, &[0x80, 0x80, 0x01]),
            (u64::MAX, &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]),
        ];
        for (value, bytes) in known {
            let mut out = Vec::new();
            write(value, &mut out);
            assert_eq!(out, bytes);
            assert_eq!(length(value), bytes.len());
            let mut rest = &*out;
            assert_eq!((read(&mut rest), rest), (Some(value), &[][..]));
        }
    }

    #[test]
    fn what_is_no_varint_is_refused() {
        for bytes in [&[][..], &[0x80], &[0xFF; 11], &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02]] {
            assert_eq!(read(&mut &*bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_message_gives_its_fields_and_stops_at_what_is_none() {
        // Field 1 is 150, field 2 is "testing", field 3 has four bytes, field 4 has eight.
        let mut message = b"\x08\x96\x01\x12\x07testing\x1D1234\x2112345678".to_vec();
        let fields: Vec<_> = Fields::of(&message).collect();
        let known = [(1, Value::Number(150)), (2, Value::Bytes(b"testing")), (3, Value::Fixed), (4, Value::Fixed)];
        assert_eq!(fields, known.map(Some));
        message.extend_from_slice(b"\x12\x07short");
        let fields: Vec<_> = Fields::of(&message).collect();
        assert_eq!(fields.len(), 5);
        assert_eq!(fields.last(), Some(&None));
        // Groups are not read, there is no field 0, and none beyond the last.
        for message in [&b"\x0B"[..], b"\x00\x01", b"\x80\x80\x80\x80\x10\x01"] {
            assert_eq!(Fields::of(message).collect::<Vec<_>>(), [None], "{message:?}");
        }
    }
}

//! Records as a reader is given them in JSON: in the answer of GetRecords and in the events of a subscription.

use super::{
    json::push_string_bytes,
    log::Slice,
    meta::Encryption,
    sequence::{DIGITS, Numbered},
    shard::{ReadBatch, Shard},
};

/// Bytes of a record's text beside its key and data.
const SYNTAX_BYTES: usize = DIGITS + 112;

/// Appends the list of a batch's records. The text is written once, into memory that is made for it.
pub(crate) fn push_records(out: &mut Vec<u8>, shard: &Shard, batch: &ReadBatch, encryption: &[Encryption]) {
    out.reserve(batch.size().div_ceil(3) * 4 + batch.len() * SYNTAX_BYTES + 2);
    out.push(b'[');
    for slice in &batch.slices {
        push_slice(out, shard, slice, Encryption::covers(encryption, slice.arrival_us()));
    }
    out.pop_if(|last| *last == b',');
    out.push(b']');
}

/// Appends records that arrived together, each with a comma after it: all but number, data and key is the same text.
fn push_slice(out: &mut Vec<u8>, shard: &Shard, slice: &Slice, encrypted: bool) {
    let first = shard.sequence(slice.first_index(), slice.arrival_us());
    let arrival = format!("\",\"ApproximateArrivalTimestamp\":{},\"Data\":\"", seconds_text(slice.arrival_us()));
    let mut head = Numbered::new("{\"SequenceNumber\":\"", first, &arrival);
    for record in slice.records() {
        out.extend_from_slice(head.next_text());
        base64_simd::STANDARD.encode_append(record.data, out);
        out.push(b'"');
        // A stream that spreads its records itself takes them without a key.
        if !record.key.is_empty() {
            out.extend_from_slice(b",\"PartitionKey\":");
            push_string_bytes(out, record.key);
        }
        out.extend_from_slice(if encrypted { b",\"EncryptionType\":\"KMS\"}," } else { b"}," });
    }
}

/// Seconds with exactly three decimals.
fn seconds_text(time_us: u64) -> String {
    let milliseconds = time_us / 1_000;
    format!("{}.{:03}", milliseconds / 1_000, milliseconds % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_written_with_milliseconds() {
        assert_eq!(seconds_text(1_459_799_926_480_999), "1459799926.480");
        assert_eq!(seconds_text(1_459_799_926_007_000), "1459799926.007");
        assert_eq!(seconds_text(0), "0.000");
    }
}

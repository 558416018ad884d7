//! Known aggregates, made by hand; what is packed comes back; and nothing else is taken for an aggregate.

use md5::{Digest, Md5};
use proptest::{collection::vec, option, prelude::*};

use super::*;

type Record = (String, Option<u128>, Vec<u8>);

fn pack(limit_bytes: usize, records: &[Record]) -> Vec<u8> {
    let mut aggregator = Aggregator::new(limit_bytes);
    for (key, hash, data) in records {
        aggregator.push(key, *hash, data);
    }
    let mut blob = Vec::new();
    aggregator.finish(&mut blob);
    blob
}

fn unpack(blob: &[u8]) -> Option<Vec<Record>> {
    Some(deaggregate(blob)?.map(|r| (r.key.to_owned(), r.hash, r.data.to_vec())).collect())
}

/// An aggregate of this message.
fn framed(message: &[u8]) -> Vec<u8> {
    [&MAGIC[..], message, &Md5::digest(message)].concat()
}

/// Keys and explicit hash keys that come again, and all sizes of data around the steps of a varint.
fn record() -> impl Strategy<Value = Record> {
    let key = prop_oneof!["[a-c]", "\\PC{1,20}", "k{120,135}"];
    let hash = option::of(prop_oneof![0_u128..3, any::<u128>(), Just(u128::MAX)]);
    (key, hash, vec(any::<u8>(), 0..300))
}

#[test]
fn an_aggregate_is_written_as_its_format_says() {
    let records = [
        ("a".to_owned(), None, b"x".to_vec()),
        ("bc".to_owned(), Some(7), Vec::new()),
        ("a".to_owned(), Some(u128::MAX), b"yz".to_vec()),
    ];
    let message = [
        &b"\x0A\x01a\x0A\x02bc"[..],
        b"\x12\x017\x12\x27340282366920938463463374607431768211455",
        b"\x1A\x05\x08\x00\x1A\x01x",
        b"\x1A\x06\x08\x01\x10\x00\x1A\x00",
        b"\x1A\x08\x08\x00\x10\x01\x1A\x02yz",
    ]
    .concat();
    let blob = pack(1_000, &records);
    assert_eq!(blob, framed(&message));
    assert_eq!(blob[..4], [0xF3, 0x89, 0x9A, 0xC2]);
    assert_eq!(unpack(&blob).unwrap(), records);
}

#[test]
fn an_aggregate_of_one_record_is_one() {
    let one = [("k".to_owned(), None, b"{}".to_vec())];
    assert_eq!(unpack(&pack(100, &one)).unwrap(), one);
    let mut nothing = Vec::new();
    Aggregator::new(100).finish(&mut nothing);
    assert!(nothing.is_empty());
}

#[test]
fn the_limit_is_met_to_the_byte() {
    let mut aggregator = Aggregator::new(200);
    let whole = 200 - FRAME_BYTES;
    // A key of one byte takes 3, the record's head 3, the key's index 2, the data's head 3.
    assert!(aggregator.fits("k", None, whole - 11));
    assert!(!aggregator.fits("k", None, whole - 10));
    aggregator.push("k", None, &[1; 50]);
    assert_eq!((aggregator.len(), aggregator.size_bytes()), (1, FRAME_BYTES + 3 + 2 + 2 + 2 + 50));
    let room = 200 - aggregator.size_bytes();
    // The same key again costs no entry of the table; another one does, and so does an explicit hash key.
    assert!(aggregator.fits("k", None, room - 6) && !aggregator.fits("k", None, room - 5));
    assert!(aggregator.fits("l", None, room - 9) && !aggregator.fits("l", None, room - 8));
    assert!(aggregator.fits("k", Some(10), room - 12) && !aggregator.fits("k", Some(10), room - 11));
    aggregator.push("k", Some(10), &vec![2; room - 12]);
    let mut blob = b"before".to_vec();
    aggregator.finish(&mut blob);
    assert_eq!(blob.len(), "before".len() + 200);
    assert_eq!(deaggregate(&blob["before".len()..]).unwrap().len(), 2);
    assert!(aggregator.is_empty() && aggregator.size_bytes() == 0, "the next one begins empty");
    assert_eq!((aggregator.first_key(), aggregator.first_hash()), (None, None));
}

#[test]
fn an_aggregate_goes_where_its_first_record_goes() {
    let mut aggregator = Aggregator::new(1_000);
    aggregator.push("first", Some(5), b"");
    aggregator.push("second", Some(6), b"");
    assert_eq!((aggregator.first_key(), aggregator.first_hash()), (Some("first"), Some(5)));
    aggregator.finish(&mut Vec::new());
    aggregator.push("second", None, b"");
    aggregator.push("first", Some(5), b"");
    assert_eq!((aggregator.first_key(), aggregator.first_hash()), (Some("second"), None));
}

#[test]
fn tables_after_records_tags_and_fields_of_a_later_format_are_read() {
    let message = b"\x1A\x0E\x22\x05\x0A\x01t\x12\x00\x1A\x01d\x08\x00\x10\x00\x12\x0234\x0A\x01k\x20\x01";
    let blob = framed(message);
    assert_eq!(unpack(&blob).unwrap(), [("k".to_owned(), Some(34), b"d".to_vec())]);
}

#[test]
fn what_is_no_aggregate_is_left_alone() {
    let blob = pack(1_000, &[("k".to_owned(), None, b"data".to_vec())]);
    assert!(deaggregate(&blob).is_some());
    let cases: [(&str, Vec<u8>); 15] = [
        ("nothing", Vec::new()),
        ("json", b"{\"a\":1}".to_vec()),
        ("magic alone", MAGIC.to_vec()),
        ("no room for a digest", blob[..FRAME_BYTES - 1].to_vec()),
        ("truncated", blob[..blob.len() - 1].to_vec()),
        ("other magic", [b"\xF3\x89\x9A\xC3", &blob[4..]].concat()),
        ("no message", framed(b"")),
        ("no record", framed(b"\x0A\x01k")),
        ("no such key", framed(b"\x0A\x01k\x1A\x05\x08\x01\x1A\x01x")),
        ("no such hash key", framed(b"\x0A\x01k\x1A\x07\x08\x00\x10\x00\x1A\x01x")),
        ("a record without key", framed(b"\x0A\x01k\x1A\x03\x1A\x01x")),
        ("a record without data", framed(b"\x0A\x01k\x1A\x02\x08\x00")),
        ("a key that is no text", framed(b"\x0A\x01\xFF\x1A\x05\x08\x00\x1A\x01x")),
        ("a hash key that is no number", framed(b"\x0A\x01k\x12\x02+1\x1A\x05\x08\x00\x1A\x01x")),
        ("a number where a text belongs", framed(b"\x08\x01")),
    ];
    for (name, blob) in cases {
        assert!(deaggregate(&blob).is_none(), "{name}");
    }
}

proptest! {
    #[test]
    fn what_is_packed_comes_back(records in vec(record(), 0..60)) {
        let mut aggregator = Aggregator::new(4_000);
        let (mut packed, mut unpacked, mut blob) = (0, Vec::new(), Vec::new());
        for (key, hash, data) in &records {
            if !aggregator.fits(key, *hash, data.len()) {
                packed += aggregator.len();
                blob.clear();
                aggregator.finish(&mut blob);
                prop_assert!(blob.len() <= 4_000);
                unpacked.extend(unpack(&blob).unwrap());
                prop_assert!(aggregator.fits(key, *hash, data.len()));
            }
            let before = aggregator.size_bytes();
            aggregator.push(key, *hash, data);
            prop_assert!(before < aggregator.size_bytes() && aggregator.size_bytes() <= 4_000);
        }
        packed += aggregator.len();
        prop_assert_eq!(packed, records.len());
        if !aggregator.is_empty() {
            let size = aggregator.size_bytes();
            blob.clear();
            aggregator.finish(&mut blob);
            prop_assert_eq!(blob.len(), size);
            unpacked.extend(unpack(&blob).unwrap());
        }
        prop_assert_eq!(unpacked, records);
    }

    #[test]
    fn room_is_known_exactly(records in vec(record(), 1..20), last in record()) {
        let size = |records: &[Record]| pack(usize::MAX, records).len();
        let with_last = [&records[..], std::slice::from_ref(&last)].concat();
        for (limit, fits) in [(size(&with_last), true), (size(&with_last) - 1, false)] {
            let mut aggregator = Aggregator::new(limit);
            for (key, hash, data) in &records {
                aggregator.push(key, *hash, data);
            }
            prop_assert_eq!(aggregator.fits(&last.0, last.1, last.2.len()), fits);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..200), framing in any::<bool>()) {
        // With magic and digest right, the message is what is looked at.
        let blob = if framing { framed(&bytes) } else { [&MAGIC[..], &bytes].concat() };
        let found = unpack(&blob);
        prop_assert!(framing || found.is_none());
    }

    #[test]
    fn a_changed_aggregate_is_none_unless_its_digest_was_changed_with_it(
        records in vec(record(), 1..8), place in any::<prop::sample::Index>(), bits in 1_u8..,
    ) {
        let blob = pack(1 << 20, &records);
        let mut changed = blob.clone();
        changed[place.index(blob.len())] ^= bits;
        prop_assert_eq!(unpack(&changed), None);
        prop_assert_eq!(unpack(&blob[..place.index(blob.len())]), None);
        // The same damage with a digest that agrees to it may leave a message; it must not bring the reader down.
        let mut message = blob[MAGIC.len()..blob.len() - DIGEST_BYTES].to_vec();
        let place = place.index(message.len());
        message[place] ^= bits;
        let _ = unpack(&framed(&message));
    }
}

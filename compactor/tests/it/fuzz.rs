//! A bounded corpus through the decoder: real shapes of records, cut, doubled and damaged. It is the same on every run; the
//! target in `fuzz/` goes on without end.

use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use crate::{
    oracle::{check, decode},
    support::gzip,
};

/// What objects of real feeds hold: flat and nested records, on one line and over several, with what goes wrong in them.
const SHAPES: [&str; 16] = [
    r#"{"i":17,"n":-0.25e3,"s":"S\u00e3o \"Paulo\"","b":true,"t":"2025-01-01T00:15:00.123456789Z"}"#,
    "{\n   \"s\":\"Carmen Calvillo\",\n   \"n\":68.5,\n   \"i\":1\n}",
    r#"{"i":1,"x":{"actor":{"id":9152315,"login":"a"},"list":[{"sha":"0a"},{"sha":"1b"}]},"t":null}"#,
    r#"{"s":"{\"i\":1}{\"i\":2}","i":3}"#,
    r#"{"i":"seventeen"}"#,
    r#"{"t":"2/8/2016 5:46"}"#,
    "{\n  \"i\": oops,\n  \"x\": [\n    {\"i\":1},\n    {\"i\":2}\n  ]\n}",
    r#"{"i":1,"x":{"i":2}"#,
    "{}",
    "[1,2]",
    "2025-01-01,V1,51.5,-0.1,30",
    "\u{feff}",
    "\0\0",
    "\u{e9}\u{1f600}",
    r#"{"s":"open"#,
    r#"{"i":9223372036854775808}"#,
];
const BETWEEN: [&str; 7] = ["", "", "\n", "\n", "\r\n", " ", "\n\n\t"];

/// One change to a text: what, where, how long, with which byte.
type Change = (u8, prop::sample::Index, usize, u8);

fn changed(text: &str, changes: &[Change]) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for (what, place, length, byte) in changes {
        if bytes.is_empty() {
            return bytes;
        }
        let at = place.index(bytes.len());
        let end = bytes.len().min(at + length);
        match what {
            0 => drop(bytes.drain(at..end)),
            1 => bytes.insert(at, *byte),
            2 => bytes[at] = *byte,
            3 => bytes.extend_from_within(at..end),
            4 => bytes.insert(at, b"{}[]\",:\\\n\r \0"[usize::from(*byte) % 12]),
            _ => bytes[at] ^= 1 << (byte % 8),
        }
    }
    bytes
}

fn texts() -> impl Strategy<Value = Vec<u8>> {
    let record = (0..SHAPES.len(), 0..BETWEEN.len());
    let change = (0..6_u8, any::<prop::sample::Index>(), 1..40_usize, any::<u8>());
    (prop::collection::vec(record, 0..12), prop::collection::vec(change, 0..6)).prop_map(|(records, changes)| {
        let text: String = records.iter().map(|(shape, after)| SHAPES[*shape].to_owned() + BETWEEN[*after]).collect();
        changed(&text, &changes)
    })
}

fn same_every_time(cases: u32) -> TestRunner {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

#[test]
fn no_byte_is_lost_and_no_record_is_read_otherwise_than_serde_json_does() {
    let outcome = same_every_time(40_000).run(&texts(), |text| {
        check(&text);
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn however_the_text_is_cut_into_gzip_members_it_reads_the_same() {
    let input = (texts(), prop::collection::vec(any::<prop::sample::Index>(), 0..5));
    let outcome = same_every_time(4_000).run(&input, |(text, cuts)| {
        if text.starts_with(&[0x1f, 0x8b]) {
            return Ok(());
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.sort_unstable();
        let ends = cuts.iter().copied().chain([text.len()]);
        let (mut object, mut starts) = (Vec::new(), vec![0]);
        for end in ends {
            object.extend(gzip(&text[*starts.last().unwrap()..end]));
            starts.push(end);
        }
        let (plain, packed) = (decode(&text).unwrap(), decode(&object).unwrap());
        assert_eq!(plain.rows, packed.rows);
        assert_eq!(plain.bad.len(), packed.bad.len());
        for (a, b) in plain.bad.iter().zip(&packed.bad) {
            assert_eq!((a.0, a.2, a.3, a.4, &a.5), (b.0, b.2, b.3, b.4, &b.5));
            // The last member that starts there or before.
            let member = starts[..starts.len() - 1].iter().filter(|start| **start as u64 <= b.3).count();
            assert_eq!(b.1, member as u64);
        }
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn a_gzip_cut_anywhere_keeps_the_records_before_the_cut_and_accounts_for_every_byte() {
    let text: String = (0..400).map(|k| format!("{{\"i\":{k},\"s\":\"{:x}\"}}", k * 7_919 % 65_537)).collect();
    let object = gzip(text.as_bytes());
    let all = decode(&object).unwrap();
    assert_eq!((all.rows.len(), all.bad.len()), (400, 0));
    for end in 2..object.len() {
        let found = decode(&object[..end]).unwrap();
        assert_eq!(found.rows, all.rows[..found.rows.len()], "cut at {end}");
        let (reason, .., offset, length, raw) = &found.bad[0];
        assert_eq!((found.bad.len(), *reason), (1, "truncated_gzip"));
        let tail = usize::try_from(*offset).unwrap();
        assert_eq!(text.as_bytes()[tail..tail + usize::try_from(*length).unwrap()], raw[..]);
        let before = all.rows.get(found.rows.len()).map_or(text.len() as u64, |row| row.1);
        assert_eq!(*offset, before, "cut at {end}");
    }
}

#[test]
fn damage_anywhere_in_a_gzip_never_gives_a_row_that_was_not_there() {
    let text: String = (0..60).map(|k| format!("{{\"i\":{k},\"s\":\"{:x}\"}}\n", k * 7_919 % 65_537)).collect();
    let object = gzip(text.as_bytes());
    let all = decode(&object).unwrap();
    for at in 2..object.len() {
        for bit in 0..8 {
            let mut damaged = object.clone();
            damaged[at] ^= 1 << bit;
            // Given up as a whole, or cut short by a length that is wrong, or damaged where nothing depends on it.
            if let Some(found) = decode(&damaged) {
                let whole = found.rows == all.rows;
                assert!(whole || found.bad.iter().any(|bad| bad.0 == "truncated_gzip"), "byte {at} bit {bit}");
            }
        }
    }
}

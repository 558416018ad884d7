//! Aggregates against AWS's own libraries for Python and Node, which pack and take apart for Lambda and the KCL's users.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use millrace_loadgen::aggregation::{Aggregator, deaggregate};
use serde_json::{Value, json};
use support::{node, python};

/// AWS's library for Node.
const NODE_LIBRARY: &str = "aws-kinesis-agg@4.2.8";

type Record = (String, Option<u128>, Vec<u8>);

/// Records whose keys come again, some with text beyond ASCII; data of every size around the steps of a varint.
fn records(count: usize, hashed: bool) -> Vec<Record> {
    let record = |i: usize| {
        let key = if i.is_multiple_of(10) { format!("Zürich-{}", i % 50) } else { format!("sensor-{}", i % 333) };
        // Large enough that JavaScript does not take them for places in a list, which it would sort.
        let hash = hashed.then(|| u128::MAX - (i % 7) as u128 * 1_000_003);
        let data = (0..1 + i * 37 % 400).map(|at| (i * 31 + at * 7) as u8).collect();
        (key, hash, data)
    };
    (0..count).map(record).collect()
}

/// The aggregates of as many records each as fit.
fn pack(limit_bytes: usize, records: &[Record]) -> Vec<Vec<u8>> {
    let mut aggregator = Aggregator::new(limit_bytes);
    let mut blobs = Vec::new();
    let mut finish = |aggregator: &mut Aggregator| {
        let mut blob = Vec::new();
        aggregator.finish(&mut blob);
        blobs.push(blob);
    };
    for (key, hash, data) in records {
        if !aggregator.fits(key, *hash, data.len()) {
            finish(&mut aggregator);
        }
        aggregator.push(key, *hash, data);
    }
    finish(&mut aggregator);
    blobs
}

fn unpack(blob: &[u8]) -> Vec<Record> {
    let records = deaggregate(blob).expect("an aggregate");
    records.map(|record| (record.key.to_owned(), record.hash, record.data.to_vec())).collect()
}

fn to_json(records: &[Record]) -> Value {
    records.iter().map(|(key, hash, data)| json!([key, hash.map(|h| h.to_string()), BASE64.encode(data)])).collect()
}

fn from_base64(text: &Value) -> Vec<u8> {
    BASE64.decode(text.as_str().expect("a text")).expect("base64")
}

/// What a script is asked: the blobs to take apart, and the records to pack.
struct Question {
    folder: tempfile::TempDir,
}

impl Question {
    fn new(blobs: &[Vec<u8>], records: &[Vec<Record>]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let blobs: Vec<_> = blobs.iter().map(|blob| BASE64.encode(blob)).collect();
        let records: Vec<_> = records.iter().map(|records| to_json(records)).collect();
        let text = json!({"blobs": blobs, "records": records}).to_string();
        std::fs::write(folder.path().join("question.json"), text).unwrap();
        Self { folder }
    }

    fn file(&self) -> String {
        self.folder.path().join("question.json").display().to_string()
    }
}

/// What the other side took apart, all blobs together.
fn all(unpacked: &Value) -> Value {
    unpacked.as_array().unwrap().iter().flat_map(|records| records.as_array().unwrap()).cloned().collect()
}

#[test]
fn python_takes_aggregates_apart_and_packs_the_same_bytes() {
    for hashed in [false, true] {
        let records = records(3_000, hashed);
        let blobs = pack(Aggregator::DEFAULT_LIMIT_BYTES, &records);
        assert!((10..30).contains(&blobs.len()), "{} aggregates", blobs.len());
        assert!(blobs.iter().all(|blob| blob.len() <= 51_200));
        let question = Question::new(&blobs, std::slice::from_ref(&records));
        let answer = python::ask("aggregates.py", &[&question.file()]);
        assert_eq!(all(&answer["unpacked"]), to_json(&records), "hashed: {hashed}");
        let theirs: Vec<_> = answer["packed"][0].as_array().unwrap().iter().map(from_base64).collect();
        assert_eq!(theirs.iter().flat_map(|blob| unpack(blob)).collect::<Vec<_>>(), records);
        // The library takes records with an explicit hash key for larger than they are, and fills its aggregates less.
        assert!(theirs.len() >= blobs.len());
        for blob in &theirs {
            assert!(pack(usize::MAX, &unpack(blob)) == std::slice::from_ref(blob), "the same records, the same bytes");
        }
    }
}

#[test]
fn python_takes_the_same_bytes_for_plain_records() {
    let blob = &pack(usize::MAX, &records(3, false))[0];
    let mut other_magic = blob.clone();
    other_magic[3] ^= 1;
    let mut other_digest = blob.clone();
    *other_digest.last_mut().unwrap() ^= 1;
    let mut other_message = blob.clone();
    other_message[8] ^= 1;
    let truncated = blob[..blob.len() - 1].to_vec();
    let magic_alone = blob[..4].to_vec();
    let broken = [other_magic, other_digest, other_message, truncated, magic_alone, b"{}".to_vec(), Vec::new()];
    let answer = python::ask("aggregates.py", &[&Question::new(&broken, &[]).file()]);
    assert_eq!(answer["unpacked"], json!([null, null, null, null, null, null, null]));
    assert!(broken.iter().all(|blob| deaggregate(blob).is_none()));
}

#[test]
fn node_takes_aggregates_apart_and_packs_some() {
    for hashed in [false, true] {
        let records = records(3_000, hashed);
        let blobs = pack(Aggregator::DEFAULT_LIMIT_BYTES, &records);
        let question = Question::new(&blobs, &[records[..1].to_vec(), records[..500].to_vec()]);
        let answer = node::ask("aggregates.js", NODE_LIBRARY, &[&question.file()]);
        assert_eq!(all(&answer["unpacked"]), to_json(&records), "hashed: {hashed}");
        assert_eq!(unpack(&from_base64(&answer["packed"][0])), records[..1]);
        assert_eq!(unpack(&from_base64(&answer["packed"][1])), records[..500]);
    }
}

//! Whatever a killed process leaves behind, what it acknowledged is there.

use std::{fs, path::Path, sync::Arc};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Wal, WalError, segment_path};
use crate::stream::{
    account::{Account, AccountSettings},
    clock::{Clock, ManualClock},
    operations::{Operation, Reply, TARGET_PREFIX},
    quota::Quotas,
};

const T0_US: u64 = 1_700_000_000_000_000;
const HOUR_US: u64 = 3_600_000_000;

struct Kept {
    account: Arc<Account>,
    clock: Arc<ManualClock>,
}

impl Kept {
    fn open(folder: &Path, now_us: u64) -> Result<Self, WalError> {
        Self::with_capacity(folder, now_us, 1 << 30)
    }

    fn with_capacity(folder: &Path, now_us: u64, capacity_bytes: u64) -> Result<Self, WalError> {
        let clock = Arc::new(ManualClock::new(now_us));
        let of_account: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let settings = AccountSettings {
            capacity_bytes,
            retention_us: 24 * HOUR_US,
            settle_us: 0,
            quotas: Quotas::off(),
            faults: None,
            clock: of_account,
        };
        Ok(Self { account: Arc::new(Account::open(settings, folder)?), clock })
    }

    fn call(&self, operation: &str, body: &Value) -> Value {
        let operation = Operation::from_target(&format!("{TARGET_PREFIX}{operation}")).unwrap();
        match operation.run(&self.account, body.to_string().as_bytes()).unwrap() {
            Reply::Body(body) if body.is_empty() => Value::Null,
            Reply::Body(body) => serde_json::from_slice(&body).unwrap(),
            Reply::Events(_) => panic!("{operation:?} answers with events"),
        }
    }

    /// Puts records of these keys in one call and gives their sequence numbers.
    fn put(&self, keys: &[u8]) -> Vec<String> {
        let records: Vec<_> =
            keys.iter().map(|key| json!({ "PartitionKey": key.to_string(), "Data": "eA==" })).collect();
        let answer = self.call("PutRecords", &json!({ "StreamName": "s", "Records": records }));
        assert_eq!(answer["FailedRecordCount"], 0);
        let number = |record: &Value| record["SequenceNumber"].as_str().unwrap().to_owned();
        answer["Records"].as_array().unwrap().iter().map(number).collect()
    }

    /// Every record that can be read, by shard.
    fn read(&self) -> Vec<Vec<String>> {
        let shards = self.call("ListShards", &json!({ "StreamName": "s" }));
        let read = |shard: &Value| {
            let body = json!({ "StreamName": "s", "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON" });
            let iterator = self.call("GetShardIterator", &body)["ShardIterator"].clone();
            let answer = self.call("GetRecords", &json!({ "ShardIterator": iterator }));
            let number = |record: &Value| record["SequenceNumber"].as_str().unwrap().to_owned();
            answer["Records"].as_array().unwrap().iter().map(number).collect()
        };
        shards["Shards"].as_array().unwrap().iter().map(read).collect()
    }

    fn all(&self) -> Vec<String> {
        let mut all: Vec<_> = self.read().into_iter().flatten().collect();
        all.sort();
        all
    }
}

fn create(kept: &Kept, shards: u32) {
    kept.call("CreateStream", &json!({ "StreamName": "s", "ShardCount": shards }));
}

fn sorted(mut numbers: Vec<String>) -> Vec<String> {
    numbers.sort();
    numbers
}

#[test]
fn everything_is_as_it_was_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::open(folder.path(), T0_US).unwrap();
    create(&kept, 2);
    let mut numbers = kept.put(b"abcdefgh");
    let middle = (1_u128 << 126).to_string();
    kept.call("SplitShard", &json!({ "StreamName": "s", "ShardToSplit": "shardId-0", "NewStartingHashKey": middle }));
    numbers.extend(kept.put(b"ijklmnop"));
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
    let consumer = kept.call("RegisterStreamConsumer", &json!({ "StreamARN": arn, "ConsumerName": "c" }));
    kept.call("AddTagsToStream", &json!({ "StreamName": "s", "Tags": { "team": "mill" } }));
    kept.call("IncreaseStreamRetentionPeriod", &json!({ "StreamName": "s", "RetentionPeriodHours": 48 }));
    let body = json!({ "StreamName": "s", "ShardId": "shardId-1", "ShardIteratorType": "LATEST" });
    let latest = kept.call("GetShardIterator", &body)["ShardIterator"].clone();
    let asked = [
        ("ListShards", json!({ "StreamName": "s" })),
        ("DescribeStreamSummary", json!({ "StreamName": "s" })),
        ("ListTagsForStream", json!({ "StreamName": "s" })),
        ("DescribeStreamConsumer", json!({ "ConsumerARN": consumer["Consumer"]["ConsumerARN"] })),
    ];
    let before: Vec<_> = asked.iter().map(|(operation, body)| kept.call(operation, body)).collect();
    let (read, used) = (kept.read(), kept.account.metrics().used_bytes);
    let now_us = kept.clock.now_us();
    drop(kept);

    let again = Kept::open(folder.path(), now_us).unwrap();
    let after: Vec<_> = asked.iter().map(|(operation, body)| again.call(operation, body)).collect();
    assert_eq!(after, before);
    assert_eq!((again.read(), again.account.metrics().used_bytes), (read, used));
    assert_eq!(again.all(), sorted(numbers.clone()));
    // An iterator from before is good, and LATEST is where it was.
    let late = again.put(b"qrstuvwxyz");
    let got = again.call("GetRecords", &json!({ "ShardIterator": latest }));
    let got: Vec<_> =
        got["Records"].as_array().unwrap().iter().map(|r| r["SequenceNumber"].as_str().unwrap()).collect();
    assert!(!got.is_empty() && got.iter().all(|number| late.contains(&(*number).to_owned())), "{got:?}");
    numbers.extend(late);
    assert_eq!(again.all(), sorted(numbers));
}

#[test]
fn a_shard_whose_records_are_gone_does_not_give_their_numbers_again() {
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::open(folder.path(), T0_US).unwrap();
    create(&kept, 1);
    let first = kept.put(b"abc");
    drop(kept);
    // Everything has outlived its retention; then the segments that held it are gone too.
    for restart in 1..4 {
        let kept = Kept::open(folder.path(), T0_US + 30 * HOUR_US * restart).unwrap();
        assert_eq!(kept.all(), Vec::<String>::new());
        let later = kept.put(b"d");
        assert!(later[0] > first[2], "{later:?} after {first:?}");
    }
}

#[test]
fn a_deleted_stream_stays_deleted_and_its_name_can_be_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::open(folder.path(), T0_US).unwrap();
    create(&kept, 1);
    kept.put(b"abc");
    kept.call("DeleteStream", &json!({ "StreamName": "s" }));
    kept.clock.advance_us(1);
    create(&kept, 1);
    let numbers = kept.put(b"d");
    let now_us = kept.clock.now_us();
    drop(kept);
    let again = Kept::open(folder.path(), now_us).unwrap();
    assert_eq!(again.all(), numbers);
    again.call("DeleteStream", &json!({ "StreamName": "s" }));
    drop(again);
    let names = Kept::open(folder.path(), now_us).unwrap().call("ListStreams", &json!({}));
    assert_eq!(names["StreamNames"], json!([]));
}

#[test]
fn two_servers_cannot_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let _first = Kept::open(folder.path(), T0_US).unwrap();
    assert!(matches!(Kept::open(folder.path(), T0_US), Err(WalError::InUse { .. })));
}

#[test]
fn records_that_do_not_fit_into_the_memory_are_an_error_and_not_a_loss() {
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::open(folder.path(), T0_US).unwrap();
    create(&kept, 1);
    let numbers = kept.put(b"abc");
    drop(kept);
    assert!(matches!(Kept::with_capacity(folder.path(), T0_US, 100), Err(WalError::TooLarge { .. })));
    assert_eq!(Kept::open(folder.path(), T0_US).unwrap().all(), numbers);
}

#[test]
fn a_damaged_byte_is_named_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::open(folder.path(), T0_US).unwrap();
    create(&kept, 1);
    kept.put(b"abc");
    drop(kept);
    let path = segment_path(folder.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    bytes[12] ^= 1;
    fs::write(&path, bytes).unwrap();
    match Kept::open(folder.path(), T0_US).map(|_| ()) {
        Err(WalError::Damaged { path: named, offset: 0, .. }) => assert_eq!(named, path),
        other => panic!("{other:?}"),
    }
}

#[test]
fn old_segments_are_removed_once_their_records_have_outlived_their_retention() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(T0_US));
    let kept = Kept::open(folder.path(), T0_US).unwrap();
    create(&kept, 1);
    drop(kept);
    let of_wal: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
    let (wal, _) = Wal::open(folder.path(), of_wal).unwrap();
    let stream = wal.writer().streams.keys().next().unwrap().clone();
    let segments = || fs::read_dir(folder.path()).unwrap().count() - 1;
    let rotate = |last_us: Option<u64>| {
        let mut writer = wal.writer();
        if let Some(last_us) = last_us {
            writer.segments.back_mut().unwrap().1.insert(stream.clone(), last_us);
        }
        wal.rotate(&mut writer).unwrap();
    };
    // The first two segments hold no records; the next holds one that lives for a day.
    rotate(Some(T0_US));
    assert_eq!(segments(), 2);
    rotate(None);
    assert_eq!(segments(), 3, "the one with the record, an empty one behind it, the new one");
    clock.advance_us(24 * HOUR_US + 1);
    rotate(None);
    assert_eq!(segments(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// A process can be killed after any byte. What was written whole is there, in order, and nothing else is.
    #[test]
    fn a_log_that_ends_after_any_byte_gives_a_prefix_of_what_was_put(calls in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..6), 1..6)) {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::open(folder.path(), T0_US).unwrap();
        create(&kept, 2);
        let path = segment_path(folder.path(), 1);
        // After how many bytes of the log how many records are certain.
        let mut certain = vec![(fs::metadata(&path).unwrap().len(), Vec::new())];
        for keys in &calls {
            let mut numbers = certain.last().unwrap().1.clone();
            numbers.extend(kept.put(keys));
            certain.push((fs::metadata(&path).unwrap().len(), sorted(numbers)));
        }
        drop(kept);
        let whole = fs::read(&path).unwrap();
        let all = &certain.last().unwrap().1;
        let first = certain[0].0 as usize;
        for cut in (first..=whole.len()).step_by(7).chain([whole.len()]) {
            let copy = tempfile::tempdir().unwrap();
            fs::write(segment_path(copy.path(), 1), &whole[..cut]).unwrap();
            let got = Kept::open(copy.path(), T0_US).unwrap().all();
            let acknowledged = certain.iter().rev().find(|(bytes, _)| *bytes as usize <= cut).map(|(_, numbers)| numbers).unwrap();
            prop_assert!(acknowledged.iter().all(|number| got.contains(number)), "cut at {cut}");
            prop_assert!(got.iter().all(|number| all.contains(number)) && got.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}

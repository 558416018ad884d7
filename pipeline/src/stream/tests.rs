//! The stream from outside: operations on an injected clock, raw HTTP, and AWS's own client.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    account::{Account, AccountSettings},
    clock::{Clock, ManualClock},
    error::ApiError,
    operations::{Operation, Reply, TARGET_PREFIX},
    quota::Quotas,
};

mod fan_out;
mod faults;
mod listing;
mod on_demand;
mod operations;
mod put_bodies;
mod reshard;
mod sdk;
mod settings;
mod tags;
mod throttling;
mod tree;
mod validation;
mod wire;

const T0_US: u64 = 1_700_000_000_123_456;
const SECOND_US: u64 = 1_000_000;

/// One account on a clock that stands still.
struct Bench {
    account: Arc<Account>,
    clock: Arc<ManualClock>,
}

impl Bench {
    fn new(quotas: Quotas) -> Self {
        Self::with(quotas, 1 << 30, 24 * 3600 * SECOND_US)
    }

    fn with(quotas: Quotas, capacity_bytes: u64, retention_us: u64) -> Self {
        Self::of(quotas, capacity_bytes, retention_us, 0)
    }

    /// Streams stay CREATING, UPDATING or DELETING for this long.
    fn settling(quotas: Quotas, settle_us: u64) -> Self {
        Self::of(quotas, 1 << 30, 24 * 3600 * SECOND_US, settle_us)
    }

    fn of(quotas: Quotas, capacity_bytes: u64, retention_us: u64, settle_us: u64) -> Self {
        let clock = Arc::new(ManualClock::new(T0_US));
        let clock_of_account: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let settings =
            AccountSettings { capacity_bytes, retention_us, settle_us, quotas, faults: None, clock: clock_of_account };
        Self { account: Arc::new(Account::new(settings)), clock }
    }

    fn with_stream(quotas: Quotas, shards: u32) -> Self {
        let bench = Self::new(quotas);
        bench.ok("CreateStream", json!({ "StreamName": "s", "ShardCount": shards }));
        bench
    }

    fn call(&self, operation: &str, body: Value) -> Result<Value, ApiError> {
        let operation = Operation::from_target(&format!("{TARGET_PREFIX}{operation}"))?;
        let Reply::Body(answer) = operation.run(&self.account, body.to_string().as_bytes())? else {
            panic!("{operation:?} answers with events");
        };
        Ok(if answer.is_empty() { Value::Null } else { serde_json::from_slice(&answer).unwrap() })
    }

    fn ok(&self, operation: &str, body: Value) -> Value {
        self.call(operation, body).unwrap()
    }

    fn refused(&self, operation: &str, body: Value) -> ApiError {
        self.call(operation, body).unwrap_err()
    }

    fn put(&self, key: &str, data: &str) -> Value {
        self.ok("PutRecord", json!({ "StreamName": "s", "PartitionKey": key, "Data": STANDARD.encode(data) }))
    }

    /// An iterator of the first shard.
    fn iterator(&self, kind: &str, more: Value) -> Value {
        let mut body = json!({ "StreamName": "s", "ShardId": "shardId-000000000000", "ShardIteratorType": kind });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.ok("GetShardIterator", body)["ShardIterator"].clone()
    }

    /// The data that an iterator gives, as text.
    fn read(&self, iterator: &Value) -> Vec<String> {
        data_of(&self.ok("GetRecords", json!({ "ShardIterator": iterator })))
    }
}

fn data_of(answer: &Value) -> Vec<String> {
    let text = |record: &Value| String::from_utf8(STANDARD.decode(record["Data"].as_str().unwrap()).unwrap()).unwrap();
    answer["Records"].as_array().unwrap().iter().map(text).collect()
}

/// `count` entries for PutRecords with different keys.
fn entries(count: usize, data: &str) -> Vec<Value> {
    (0..count).map(|i| json!({ "PartitionKey": format!("key-{i}"), "Data": STANDARD.encode(data) })).collect()
}

//! The conversation AWS's own client has with the server.

use std::{collections::BTreeSet, sync::Arc};

use aws_sdk_kinesis::{
    Client,
    config::{BehaviorVersion, Credentials, Region, retry::RetryConfig},
    error::ProvideErrorMetadata as _,
    primitives::{Blob, DateTime},
    types::{
        PutRecordsRequestEntry, ShardIteratorType, StartingPosition, StreamMode, StreamModeDetails, StreamStatus,
        SubscribeToShardEventStream,
    },
};

use super::{SECOND_US, T0_US};
use crate::stream::{ManualClock, Quotas, ServerConfig, StreamServer};

struct Talk {
    server: StreamServer,
    client: Client,
    clock: Arc<ManualClock>,
}

fn talk(quotas: Quotas) -> Talk {
    let clock = Arc::new(ManualClock::new(T0_US));
    let config = ServerConfig { quotas, clock: Arc::<ManualClock>::clone(&clock), ..ServerConfig::default() };
    let server = StreamServer::bind(config).unwrap();
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("any", "any", None, None, "test"))
        .endpoint_url(server.endpoint())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .retry_config(RetryConfig::disabled())
        .build();
    Talk { server, client: Client::from_conf(config), clock }
}

impl Talk {
    async fn create(&self, name: &str, shards: i32) {
        self.client.create_stream().stream_name(name).shard_count(shards).send().await.unwrap();
    }

    async fn put(&self, key: &str, data: &str) -> String {
        let put = self.client.put_record().stream_name("s").partition_key(key).data(Blob::new(data));
        put.send().await.unwrap().sequence_number
    }

    async fn iterator(&self, kind: ShardIteratorType, number: Option<&str>, time: Option<DateTime>) -> String {
        let call = self.client.get_shard_iterator().stream_name("s").shard_id("shardId-000000000000");
        let call = call.shard_iterator_type(kind).set_starting_sequence_number(number.map(str::to_owned));
        call.set_timestamp(time).send().await.unwrap().shard_iterator.unwrap()
    }

    async fn read(&self, iterator: String) -> Vec<String> {
        let answer = self.client.get_records().shard_iterator(iterator).send().await.unwrap();
        answer.records.iter().map(|record| String::from_utf8(record.data.as_ref().to_vec()).unwrap()).collect()
    }
}

fn entry(key: usize) -> PutRecordsRequestEntry {
    PutRecordsRequestEntry::builder().partition_key(format!("k{key}")).data(Blob::new("x")).build().unwrap()
}

/// The client keeps a time as the nearest double cut to nanoseconds, so its `to_millis` may be one short.
fn milliseconds(time: &DateTime) -> u64 {
    (time.as_secs_f64() * 1e3).round() as u64
}

#[tokio::test]
async fn the_client_creates_describes_and_deletes_a_stream() {
    let talk = talk(Quotas::off());
    talk.create("s", 2).await;
    let on_demand = StreamModeDetails::builder().stream_mode(StreamMode::OnDemand).build().unwrap();
    talk.client.create_stream().stream_name("d").stream_mode_details(on_demand).send().await.unwrap();

    let answer = talk.client.describe_stream_summary().stream_name("d").send().await.unwrap();
    let summary = answer.stream_description_summary.unwrap();
    assert_eq!((summary.open_shard_count, summary.stream_status), (4, StreamStatus::Active));
    assert_eq!(milliseconds(&summary.stream_creation_timestamp), T0_US / 1_000);

    let answer = talk.client.describe_stream().stream_name("s").send().await.unwrap();
    let description = answer.stream_description.unwrap();
    assert_eq!((description.shards.len(), description.has_more_shards), (2, false));
    let names = talk.client.list_streams().send().await.unwrap().stream_names;
    assert_eq!(names, ["d", "s"]);

    talk.client.delete_stream().stream_arn(summary.stream_arn).send().await.unwrap();
    let error = talk.client.describe_stream_summary().stream_name("d").send().await.unwrap_err().into_service_error();
    assert!(error.is_resource_not_found_exception());
    assert_eq!(error.message(), Some("Stream d under account 000000000000 not found."));
    talk.server.shutdown().await;
}

#[tokio::test]
async fn the_client_reads_with_all_five_iterator_types() {
    let talk = talk(Quotas::off());
    talk.create("s", 1).await;
    let first = talk.put("k", "a").await;
    talk.clock.advance_us(SECOND_US);
    talk.put("k", "b").await;
    let latest = talk.iterator(ShardIteratorType::Latest, None, None).await;
    talk.put("k", "c").await;

    assert_eq!(talk.read(latest).await, ["c"]);
    assert_eq!(talk.read(talk.iterator(ShardIteratorType::TrimHorizon, None, None).await).await, ["a", "b", "c"]);
    let at = talk.iterator(ShardIteratorType::AtSequenceNumber, Some(&first), None).await;
    assert_eq!(talk.read(at).await, ["a", "b", "c"]);
    let after = talk.iterator(ShardIteratorType::AfterSequenceNumber, Some(&first), None).await;
    assert_eq!(talk.read(after).await, ["b", "c"]);
    let time = DateTime::from_millis(i64::try_from((T0_US + SECOND_US) / 1_000).unwrap());
    assert_eq!(talk.read(talk.iterator(ShardIteratorType::AtTimestamp, None, Some(time)).await).await, ["b", "c"]);
}

#[tokio::test]
async fn the_client_sees_arrival_times_and_lag_in_milliseconds() {
    let talk = talk(Quotas::off());
    talk.create("s", 1).await;
    talk.put("k", "a").await;
    talk.put("k", "b").await;
    talk.clock.advance_us(1_500_000);
    let iterator = talk.iterator(ShardIteratorType::TrimHorizon, None, None).await;
    let answer = talk.client.get_records().shard_iterator(iterator).limit(1).send().await.unwrap();
    assert_eq!(answer.millis_behind_latest, Some(1_500));
    let arrival = answer.records[0].approximate_arrival_timestamp.unwrap();
    assert_eq!(milliseconds(&arrival), T0_US / 1_000);
    let next = answer.next_shard_iterator.unwrap();
    let answer = talk.client.get_records().shard_iterator(next).send().await.unwrap();
    assert_eq!((answer.records.len(), answer.millis_behind_latest), (1, Some(0)));
}

#[tokio::test]
async fn the_client_is_throttled_record_by_record_and_call_by_call() {
    let talk = talk(Quotas::aws());
    talk.create("s", 1).await;
    let put = || talk.client.put_records().stream_name("s").set_records(Some((0..400).map(entry).collect())).send();
    let mut failed = Vec::new();
    for _ in 0..3 {
        failed.push(put().await.unwrap().failed_record_count.unwrap());
    }
    assert_eq!(failed, [0, 0, 200]);
    let answer = put().await.unwrap();
    assert_eq!(answer.failed_record_count, Some(400));
    assert_eq!(answer.records[0].error_code(), Some("ProvisionedThroughputExceededException"));
    assert_eq!(
        answer.records[0].error_message(),
        Some("Rate exceeded for shard shardId-000000000000 in stream s under account 000000000000.")
    );
    assert_eq!(answer.records[0].shard_id(), None);
    let put = talk.client.put_record().stream_name("s").partition_key("k").data(Blob::new("x"));
    let error = put.send().await.unwrap_err();
    assert_eq!(error.raw_response().unwrap().status().as_u16(), 400);
    assert!(error.into_service_error().is_provisioned_throughput_exceeded_exception());
    assert_eq!(talk.server.metrics().streams[0].shards[0].throttled_records, 601);
}

#[tokio::test]
async fn the_client_pages_through_shards_and_records() {
    let talk = talk(Quotas::off());
    talk.create("s", 5).await;
    let first = talk.client.list_shards().stream_name("s").max_results(3).send().await.unwrap();
    let second = talk.client.list_shards().set_next_token(first.next_token).send().await.unwrap();
    let ids: Vec<_> =
        [first.shards.unwrap(), second.shards.unwrap()].concat().into_iter().map(|s| s.shard_id).collect();
    assert_eq!(ids.len(), 5);
    assert_eq!(second.next_token, None);

    let records = (0..500).map(entry).collect();
    let answer = talk.client.put_records().stream_name("s").set_records(Some(records)).send().await.unwrap();
    let numbers: BTreeSet<_> = answer.records.iter().filter_map(|r| r.sequence_number()).collect();
    assert_eq!(numbers.len(), 500);
    let mut keys = BTreeSet::new();
    for shard in ids {
        let call = talk.client.get_shard_iterator().stream_name("s").shard_id(shard);
        let start = call.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.unwrap();
        let mut iterator = start.shard_iterator.unwrap();
        loop {
            let page = talk.client.get_records().shard_iterator(iterator).limit(40).send().await.unwrap();
            keys.extend(page.records.into_iter().map(|record| record.partition_key));
            iterator = page.next_shard_iterator.unwrap();
            if page.millis_behind_latest == Some(0) {
                break;
            }
        }
    }
    assert_eq!(keys.len(), 500);
}

#[tokio::test]
async fn the_client_reads_every_record_once_across_a_split() {
    let talk = talk(Quotas::off());
    talk.create("s", 1).await;
    let mut put = Vec::new();
    for number in 0..20 {
        put.push(format!("{number:02}"));
        talk.put(&put[number], &put[number]).await;
        if number == 9 {
            let split = talk.client.split_shard().stream_name("s").shard_to_split("shardId-000000000000");
            split.new_starting_hash_key((1_u128 << 127).to_string()).send().await.unwrap();
        }
    }
    let (mut shards, mut read) = (vec!["shardId-000000000000".to_owned()], Vec::<Vec<String>>::new());
    while let Some(shard) = shards.pop() {
        let call = talk.client.get_shard_iterator().stream_name("s").shard_id(shard);
        let answer = call.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.unwrap();
        let (mut next, mut data) = (answer.shard_iterator, Vec::new());
        while let Some(iterator) = next {
            let page = talk.client.get_records().shard_iterator(iterator).limit(3).send().await.unwrap();
            data.extend(page.records.iter().map(|r| String::from_utf8(r.data.as_ref().to_vec()).unwrap()));
            let children = page.child_shards.unwrap_or_default();
            assert_eq!(children.is_empty(), page.next_shard_iterator.is_some(), "children are told at the end");
            assert!(children.iter().all(|c| c.parent_shards == ["shardId-000000000000"]), "{children:?}");
            shards.extend(children.into_iter().map(|c| c.shard_id));
            next =
                page.next_shard_iterator.filter(|_| page.millis_behind_latest != Some(0) || !page.records.is_empty());
        }
        read.push(data);
    }
    assert_eq!(read.len(), 3);
    assert_eq!(read[0], put[..10], "the parent holds what was put before");
    assert!(read.iter().all(|data| data.is_sorted()), "{read:?}");
    let mut all = read.concat();
    all.sort();
    assert_eq!(all, put);
}

#[tokio::test]
async fn the_client_knows_an_expired_iterator() {
    let talk = talk(Quotas::off());
    talk.create("s", 1).await;
    let iterator = talk.iterator(ShardIteratorType::Latest, None, None).await;
    talk.clock.advance_us(301 * SECOND_US);
    let error = talk.client.get_records().shard_iterator(iterator).send().await.unwrap_err().into_service_error();
    assert!(error.is_expired_iterator_exception());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_subscribes_and_is_sent_what_arrives() {
    let talk = talk(Quotas::off());
    talk.create("s", 1).await;
    talk.put("k", "before").await;
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
    let registered = talk.client.register_stream_consumer().stream_arn(arn).consumer_name("c").send().await.unwrap();
    let consumer = registered.consumer.unwrap().consumer_arn;
    let position = StartingPosition::builder().r#type(ShardIteratorType::TrimHorizon).build().unwrap();
    let call = talk.client.subscribe_to_shard().consumer_arn(&consumer).shard_id("shardId-000000000000");
    let mut events = call.starting_position(position).send().await.unwrap().event_stream;
    let mut got = Vec::new();
    for data in ["one", "two"] {
        let SubscribeToShardEventStream::SubscribeToShardEvent(event) = events.recv().await.unwrap().unwrap() else {
            panic!("an event of another kind");
        };
        got.extend(event.records.iter().map(|r| String::from_utf8(r.data.as_ref().to_vec()).unwrap()));
        talk.put("k", data).await;
    }
    assert_eq!(got, ["before", "one"]);
    talk.client.delete_stream().stream_name("s").enforce_consumer_deletion(true).send().await.unwrap();
    // What was put before the end may still come; then the exception does.
    loop {
        match events.recv().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream of events ended without a word"),
            Err(error) => {
                assert!(error.as_service_error().is_some_and(|e| e.is_resource_not_found_exception()), "{error:?}");
                break;
            }
        }
    }
}

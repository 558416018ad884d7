//! PutRecords reads a plain body in a shorter way than any other one. Both ways have to agree on every body.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::{prelude::*, sample::Index};
use serde_json::json;

use super::{
    super::{
        error::ErrorKind,
        operations::{Operation, Reply, put_any_records},
    },
    Bench,
};
use crate::stream::Quotas;

/// A value's text as it stands in a body: mostly right, sometimes of another kind or in other words.
fn texts(right: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        "null",
        "7",
        "[]",
        "{}",
        "\"\"",
        "\"a\\u0062c\"",
        "\"QQ\\/Q\"",
        "\"\u{1}\"",
        "\"=\"",
    ]);
    prop_oneof![12 => right.prop_map(|text| json!(text).to_string()), 1 => odd.prop_map(str::to_owned)]
}

fn keys() -> impl Strategy<Value = String> {
    texts(prop_oneof![8 => "[a-z0-9-]{1,12}", 2 => ".{0,5}", 1 => "[a-zü]{250,260}"])
}

fn data() -> impl Strategy<Value = String> {
    let bytes = prop::collection::vec(any::<u8>(), 0..40).prop_map(|data| STANDARD.encode(data));
    texts(prop_oneof![12 => bytes, 1 => "[AQ=+/ -]{0,9}"])
}

fn hash_keys() -> impl Strategy<Value = String> {
    let edges = ["0", "00", "340282366920938463463374607431768211455", "340282366920938463463374607431768211456"];
    texts(
        prop_oneof![4 => any::<u128>().prop_map(|n| n.to_string()), 1 => prop::sample::select(edges.map(str::to_owned).to_vec())],
    )
}

/// Space where JSON lets it be.
fn spaces() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "", "", " ", "\n\t "])
}

/// An object of some of the members, in some order, some of them twice or unknown.
fn objects(members: Vec<(&'static str, BoxedStrategy<String>)>) -> impl Strategy<Value = String> {
    let unknown = ("Else", Just("{\"a\":[1]}".to_owned()).boxed());
    let count = members.len();
    let each: Vec<_> =
        members.into_iter().chain([unknown]).map(|(name, value)| value.prop_map(move |value| (name, value))).collect();
    let kept =
        prop_oneof![8 => Just((0..count).collect::<Vec<_>>()), 2 => prop::collection::vec(0..=count, 0..=count + 1)];
    (each, kept.prop_shuffle(), spaces(), spaces()).prop_map(|(members, kept, space, other)| {
        let text = |place: &usize| format!("{other}\"{}\"{space}:{other}{}", members[*place].0, members[*place].1);
        format!("{{{}{space}}}", kept.iter().map(text).collect::<Vec<_>>().join(","))
    })
}

fn bodies() -> impl Strategy<Value = String> {
    let hash = prop_oneof![Just(None), hash_keys().prop_map(Some)];
    let plain = (keys(), data()).prop_map(|(key, data)| format!("{{\"Data\":{data},\"PartitionKey\":{key}}}"));
    let hashed = (keys(), data(), hash).prop_map(|(key, data, hash)| match hash {
        Some(hash) => format!("{{\"PartitionKey\":{key},\"ExplicitHashKey\":{hash},\"Data\":{data}}}"),
        None => format!("{{ \"PartitionKey\": {key}, \"Data\": {data} }}"),
    });
    let odd = objects(vec![
        ("Data", data().boxed()),
        ("PartitionKey", keys().boxed()),
        ("ExplicitHashKey", hash_keys().boxed()),
    ]);
    let record = prop_oneof![8 => plain, 4 => hashed, 1 => odd];
    let lists = (prop::collection::vec(record, 0..12), spaces())
        .prop_map(|(records, space)| format!("[{}{space}]", records.join(",")));
    let names = texts(prop_oneof![9 => Just("s".to_owned()), 1 => "[a-z ]{0,3}"]);
    let body = objects(vec![("StreamName", names.boxed()), ("Records", lists.boxed())]);
    prop_oneof![9 => body, 1 => ".{0,40}"]
}

/// What a call came to: the answer, memory used, bytes stored.
type Effect = (Result<Vec<u8>, (ErrorKind, String)>, u64, u64);

/// What the operation does with a body, and what the long way alone does.
fn effects(body: &[u8]) -> [Effect; 2] {
    [true, false].map(|operation| {
        let bench = Bench::with_stream(Quotas::aws(), 3);
        let answer = if operation {
            let put = Operation::from_target("Kinesis_20131202.PutRecords").unwrap();
            put.run(&bench.account, body).map(|reply| match reply {
                Reply::Body(answer) => answer,
                Reply::Events(_) => panic!("a put answers with a body"),
            })
        } else {
            put_any_records(&bench.account, body)
        };
        let metrics = bench.account.metrics();
        let bytes = metrics.streams[0].shards.iter().map(|shard| shard.bytes).sum();
        (answer.map_err(|error| (error.kind, error.message)), metrics.used_bytes, bytes)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_short_way_answers_and_stores_what_the_long_way_does(body in bodies()) {
        let [short, long] = effects(body.as_bytes());
        prop_assert_eq!(short, long);
    }

    #[test]
    fn a_body_with_a_changed_byte_is_judged_alike_by_both_ways(body in bodies(), at: Index, byte: u8, how in 0..3) {
        let mut body = body.into_bytes();
        prop_assume!(!body.is_empty());
        let at = at.index(body.len());
        match how {
            0 => body[at] = byte,
            1 => body.insert(at, byte),
            _ => drop(body.remove(at)),
        }
        let [short, long] = effects(&body);
        prop_assert_eq!(short, long);
    }
}

#[test]
fn many_records_of_a_call_go_to_their_shards_in_order() {
    let bench = Bench::with_stream(Quotas::off(), 3);
    let records: Vec<_> = (0..500)
        .map(|n| json!({ "PartitionKey": format!("key-{}", n % 90), "Data": STANDARD.encode(n.to_string()) }))
        .collect();
    let answer = bench.ok("PutRecords", json!({ "StreamName": "s", "Records": records }));
    let mut stored = 0;
    for shard in 0..3 {
        let request =
            json!({ "StreamName": "s", "ShardId": format!("shardId-{shard}"), "ShardIteratorType": "TRIM_HORIZON" });
        let iterator = bench.ok("GetShardIterator", request)["ShardIterator"].clone();
        let read = bench.ok("GetRecords", json!({ "ShardIterator": iterator }));
        let mut last = -1;
        for record in read["Records"].as_array().unwrap() {
            let text = String::from_utf8(STANDARD.decode(record["Data"].as_str().unwrap()).unwrap()).unwrap();
            let n: i64 = text.parse().unwrap();
            let said = &answer["Records"][usize::try_from(n).unwrap()];
            assert_eq!(said["SequenceNumber"], record["SequenceNumber"]);
            assert_eq!(said["ShardId"], format!("shardId-{shard:012}"));
            assert_eq!(record["PartitionKey"], format!("key-{}", n % 90));
            assert!(n > last);
            last = n;
            stored += 1;
        }
    }
    assert_eq!(stored, 500);
}

//! Calls and answers in both formats.

use proptest::prelude::*;

use super::*;

fn answer(body: &str, entries: usize) -> Result<Vec<String>, Malformed> {
    let outcomes = Api::put_records("s").read_answer(body.as_bytes(), entries)?;
    Ok(outcomes.iter().map(|outcome| format!("{outcome:?}")).collect())
}

#[test]
fn plain_spaced_and_escaped_answers_say_the_same() {
    let plain = r#"{"FailedRecordCount":1,"Records":[{"SequenceNumber":"49","ShardId":"shardId-000000000001"},{"ErrorCode":"ProvisionedThroughputExceededException","ErrorMessage":"Rate exceeded"}],"EncryptionType":"NONE"}"#;
    let spaced = plain.replace(':', " : ").replace(',', " , ");
    let escaped = plain.replace("Rate exceeded", "a \\\"quoted\\\" reason");
    let nulls = plain
        .replace("\"ShardId\":\"shardId-000000000001\"", "\"ShardId\":\"shardId-000000000001\",\"ErrorCode\":null");
    let want = answer(plain, 2).unwrap();
    assert_eq!(want[0], "Accepted { shard: \"shardId-000000000001\" }");
    assert_eq!(want[1], "Refused { code: \"ProvisionedThroughputExceededException\" }");
    for body in [spaced, escaped, nulls] {
        assert_eq!(answer(&body, 2).unwrap(), want, "{body}");
    }
}

proptest! {
    #[test]
    fn entries_of_any_width_and_order_read_as_serde_reads_them(
        entries in prop::collection::vec((0_u8..6, 0_usize..60, "[a-zé\\\\\"-]{0,9}"), 1..20),
        cut in prop::option::of(0_usize..2_000),
    ) {
        let entry = |(kind, digits, shard): &(u8, usize, String)| {
            let (number, shard) = ("4".repeat(*digits), serde_json::to_string(shard).unwrap());
            match kind {
                0..=2 => format!(r#"{{"SequenceNumber":"{number}","ShardId":"shardId-{digits:012}"}}"#),
                3 => format!(r#"{{"SequenceNumber":"{number}","ShardId":{shard}}}"#),
                4 => format!(r#"{{"ShardId":{shard},"SequenceNumber":"{number}"}}"#),
                _ => r#"{"ErrorCode":"InternalFailure","ErrorMessage":"no"}"#.to_owned(),
            }
        };
        let texts: Vec<String> = entries.iter().map(entry).collect();
        let mut body = format!(r#"{{"Records":[{}]}}"#, texts.join(",")).into_bytes();
        body.truncate(cut.unwrap_or(usize::MAX));
        let (mut scanned, mut oracle) = (Vec::new(), None);
        let found = Scanner::records(&body, &mut scanned);
        if let Ok(all) = read_json::<AllAnswers>(&body) {
            oracle = Some(all.records.into_iter().map(Outcome::from).collect::<Vec<_>>());
        }
        prop_assert!(found.is_none() || Some(scanned) == oracle);
        let plain = entries.iter().all(|(kind, ..)| !matches!(kind, 3 | 4)) && cut.is_none();
        prop_assert!(!plain || found.is_some());
    }
}

#[test]
fn too_many_too_few_or_no_entries_are_malformed() {
    let one = r#"{"Records":[{"SequenceNumber":"1","ShardId":"a"}]}"#;
    assert_eq!(answer(one, 2).unwrap_err().to_string(), "malformed answer: 1 entries for 2 records");
    assert!(answer(r#"{"Records":[]}"#, 1).is_err());
    assert!(answer("{}", 1).is_err() && answer("", 1).is_err() && answer("<html>", 1).is_err());
    assert_eq!(answer(r#"{"Records":[{}]}"#, 1).unwrap(), ["Refused { code: \"unknown\" }"]);
}

#[test]
fn errors_are_read_with_and_without_a_namespace() {
    let both = (Some("ResourceNotFoundException".to_owned()), Some("no".to_owned()));
    assert_eq!(read_error(br#"{"__type":"com.amazonaws.kinesis#ResourceNotFoundException","message":"no"}"#), both);
    assert_eq!(read_error(br#"{"__type":"ResourceNotFoundException","Message":"no"}"#), both);
    assert_eq!(read_error(b"<html>"), (None, None));
}

#[test]
fn a_delivery_streams_call_is_what_its_encoder_writes_and_its_answer_names_no_shard() {
    let api = Api::new(Operation::PutRecordBatch, "s", BodyFormat::Json);
    let data: [&[u8]; 2] = [b"{}\n", b"\xff"];
    let mut body = api.body_start().to_vec();
    for (place, data) in data.into_iter().enumerate() {
        if place > 0 {
            body.push(b',');
        }
        api.encode(NewEntry { data, key: "k", explicit_hash: Some(7), records: &[] }, &mut body);
    }
    body.extend_from_slice(api.body_end());
    let mut whole = Vec::new();
    firehose::encode("s", data, &mut whole).unwrap();
    assert_eq!(String::from_utf8(body).unwrap(), String::from_utf8(whole).unwrap());
    let answer =
        br#"{"FailedPutCount":1,"RequestResponses":[{"RecordId":"1"},{"ErrorCode":"ServiceUnavailableException"}]}"#;
    let read = api.read_answer(answer, 2).unwrap();
    let refused = Outcome::Refused { code: "ServiceUnavailableException".into() };
    assert_eq!(read, [Outcome::Accepted { shard: NO_SHARD.into() }, refused]);
    assert!(api.read_answer(answer, 3).is_err());
}

#[test]
fn an_entry_in_cbor_is_its_bytes_and_its_key_and_is_a_quarter_shorter() {
    let data = vec![7; 1_000];
    let entry = NewEntry { data: &data, key: "a\"é", explicit_hash: Some(7), records: &[] };
    let mut json = Vec::new();
    Api::put_records("s").encode(entry, &mut json);
    for operation in [Operation::PutRecords, Operation::PutRecord] {
        let api = Api::new(operation, "s", BodyFormat::Cbor);
        let mut body = Vec::new();
        api.encode(entry, &mut body);
        assert!(body.windows(data.len()).any(|window| window == data) && 4 * body.len() < 3 * json.len() + 100);
        let key = api.key_of(&body).unwrap();
        assert_eq!((key.key.as_str(), key.explicit_hash()), ("a\"é", Some(7)));
    }
}

#[test]
fn one_record_has_a_call_of_its_own_shape() {
    let api = Api::new(Operation::PutRecord, "s", BodyFormat::Json);
    let mut body = api.body_start().to_vec();
    let entry = NewEntry { data: b"x", key: "k", explicit_hash: Some(7), records: &[] };
    api.encode(entry, &mut body);
    body.extend_from_slice(api.body_end());
    let text = r#"{"StreamName":"s","Data":"eA==","PartitionKey":"k","ExplicitHashKey":"7"}"#;
    assert_eq!(String::from_utf8(body).unwrap(), text);
    let read = api.read_answer(br#"{"SequenceNumber":"1","ShardId":"b"}"#, 1).unwrap();
    assert_eq!(read, [Outcome::Accepted { shard: "b".into() }]);
}

proptest! {
    #[test]
    fn any_key_and_data_come_back(key in "\\PC{1,20}|[\\x00-\\x7f]{1,9}", data: Vec<u8>, hash: Option<u128>) {
        let api = Api::put_records("s");
        let mut json = Vec::new();
        api.encode(NewEntry { data: &data, key: &key, explicit_hash: hash, records: &[] }, &mut json);
        let read = EntryKey::read(&json).unwrap();
        prop_assert_eq!((read.key.as_str(), read.explicit_hash()), (key.as_str(), hash));
        let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        prop_assert_eq!(base64_simd::STANDARD.decode_to_vec(value["Data"].as_str().unwrap()).unwrap(), data);
    }

    #[test]
    fn what_the_scanner_reads_serde_reads_alike(body in r#"\{("a":1,)?"Records":\[(\{"(ShardId|ErrorCode)":("[a-z]{0,3}"|null|1)\},?){0,3}\]\}"#) {
        let mut seen = Vec::new();
        if Scanner::records(body.as_bytes(), &mut seen).is_some() && let Ok(all) = serde_json::from_str::<AllAnswers>(&body) {
            prop_assert_eq!(seen, all.records.into_iter().map(Outcome::from).collect::<Vec<_>>());
        }
    }
}

//! Tags and policies: what is taken, what is listed, what is refused.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{super::error::ErrorKind, Bench};
use crate::stream::Quotas;

const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/s";

fn tags_of(bench: &Bench) -> BTreeMap<String, String> {
    let answer = bench.ok("ListTagsForResource", json!({ "ResourceARN": ARN }));
    assert_eq!(bench.ok("ListTagsForStream", json!({ "StreamName": "s" }))["Tags"], answer["Tags"]);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    answer["Tags"].as_array().unwrap().iter().map(|tag| (text(&tag["Key"]), text(&tag["Value"]))).collect()
}

fn map<const N: usize>(tags: [(&str, &str); N]) -> BTreeMap<String, String> {
    tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

#[test]
fn tags_are_added_changed_and_removed_by_name_and_by_arn() {
    let bench = Bench::new(Quotas::off());
    let created = json!({ "StreamName": "s", "ShardCount": 1, "Tags": { "team": "lake", "stage": null } });
    bench.ok("CreateStream", created);
    assert_eq!(tags_of(&bench), map([("team", "lake"), ("stage", "")]));
    bench.ok("AddTagsToStream", json!({ "StreamName": "s", "Tags": { "stage": "prod", "größe 1": "a/b=c" } }));
    bench.ok("TagResource", json!({ "ResourceARN": ARN, "Tags": { "team": "mill" } }));
    assert_eq!(tags_of(&bench), map([("team", "mill"), ("stage", "prod"), ("größe 1", "a/b=c")]));
    bench.ok("RemoveTagsFromStream", json!({ "StreamARN": ARN, "TagKeys": ["stage", "none"] }));
    bench.ok("UntagResource", json!({ "ResourceARN": ARN, "TagKeys": ["team"] }));
    assert_eq!(tags_of(&bench), map([("größe 1", "a/b=c")]));
}

#[test]
fn tags_are_listed_page_by_page_in_order_of_key() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    let tags: BTreeMap<_, _> = (0..50).map(|i| (format!("k{i:02}"), "v")).collect();
    bench.ok("AddTagsToStream", json!({ "StreamName": "s", "Tags": tags }));
    let first = bench.ok("ListTagsForStream", json!({ "StreamName": "s", "Limit": 49 }));
    assert_eq!((first["Tags"].as_array().unwrap().len(), &first["HasMoreTags"]), (49, &json!(true)));
    let after = json!({ "StreamName": "s", "ExclusiveStartTagKey": first["Tags"][48]["Key"] });
    let rest = bench.ok("ListTagsForStream", after);
    assert_eq!(rest, json!({ "Tags": [{ "Key": "k49", "Value": "v" }], "HasMoreTags": false }));
    let error = bench.refused("AddTagsToStream", json!({ "StreamName": "s", "Tags": { "one": "more" } }));
    assert_eq!(error.kind, ErrorKind::InvalidArgument);
    assert!(error.message.ends_with("a given stream cannot have more than 50 tags associated with it."), "{error}");
    // A tag that is there already is no further tag.
    bench.ok("AddTagsToStream", json!({ "StreamName": "s", "Tags": { "k00": "w" } }));
    for limit in [0, 51] {
        let error = bench.refused("ListTagsForStream", json!({ "StreamName": "s", "Limit": limit }));
        assert_eq!(error.kind, ErrorKind::Validation);
    }
}

#[test]
fn a_tag_that_aws_would_not_take_is_refused_and_none_of_the_call_is_kept() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    let refused = |tags: Value| {
        let by_arn = bench.refused("TagResource", json!({ "ResourceARN": ARN, "Tags": tags }));
        let error = bench.refused("AddTagsToStream", json!({ "StreamName": "s", "Tags": tags }));
        assert_eq!(by_arn, error);
        (error.kind, error.message)
    };
    let (kind, text) = refused(json!({ "good": "x", "bad;": "x" }));
    assert_eq!(kind, ErrorKind::InvalidArgument);
    assert_eq!(
        text,
        "Some tags contain invalid characters. Valid characters: Unicode letters, digits, white space, _ . / = + - % @ :."
    );
    let (kind, text) = refused(json!({ "k": "5%" }));
    assert_eq!(kind, ErrorKind::InvalidArgument);
    assert!(text.starts_with("Failed to add tags to stream s under account 000000000000 because some tags"), "{text}");
    let (kind, text) = refused(json!({ "AWS:owner": "x" }));
    assert_eq!(kind, ErrorKind::InvalidArgument);
    assert!(text.contains("reserved for AWS"), "{text}");
    let (kind, text) = refused(json!({ "": "x" }));
    assert_eq!(
        (kind, text.as_str()),
        (
            ErrorKind::Validation,
            "1 validation error detected: Value '{=x}' at 'tags' failed to satisfy constraint: Map keys must satisfy \
             constraint: [Member must have length less than or equal to 128, Member must have length greater than or \
             equal to 1]"
        )
    );
    for tags in [json!({ "k".repeat(129): "x" }), json!({ "k": "v".repeat(257) }), json!({}), Value::Null] {
        assert_eq!(refused(tags).0, ErrorKind::Validation);
    }
    for keys in [json!([]), json!(vec!["k"; 51]), json!([""]), json!(["k".repeat(129)]), Value::Null] {
        let error = bench.refused("UntagResource", json!({ "ResourceARN": ARN, "TagKeys": keys }));
        assert_eq!(error.kind, ErrorKind::Validation);
    }
    assert_eq!(tags_of(&bench), map([]));
}

#[test]
fn a_resource_has_to_be_well_named_and_to_exist() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    let refused = |arn: Value| bench.refused("ListTagsForResource", json!({ "ResourceARN": arn })).kind;
    for arn in ["s", "arn:aws:kinesis:us-east-1:12:stream/s", "arn:aws:sqs:us-east-1:000000000000:stream/s"] {
        assert_eq!(refused(json!(arn)), ErrorKind::Validation, "{arn}");
    }
    assert_eq!(refused(Value::Null), ErrorKind::Validation);
    for path in ["stream/other", "channel/c", "queue/q"] {
        let arn = format!("arn:aws:kinesis:us-east-1:000000000000:{path}");
        assert_eq!(refused(json!(arn)), ErrorKind::ResourceNotFound, "{arn}");
    }
    let error = bench.refused("ListTagsForResource", json!({ "ResourceARN": ARN, "StreamId": "abc" }));
    assert!(error.message.contains("[a-z0-9]{20}-[a-z0-9]{3}"), "{error}");
    let id = "abcdefghij0123456789-abc";
    bench.ok("ListTagsForResource", json!({ "ResourceARN": ARN, "StreamId": id }));
    bench.ok("ListShards", json!({ "StreamName": "s", "StreamId": id }));
}

#[test]
fn a_policy_is_given_back_as_it_came_until_it_is_deleted() {
    let bench = Bench::with_stream(Quotas::off(), 1);
    let get = || bench.call("GetResourcePolicy", json!({ "ResourceARN": ARN }));
    assert_eq!(get().unwrap_err().kind, ErrorKind::ResourceNotFound);
    let policy = r#"{ "Version": "2012-10-17", "Statement": [ { "Sid": "read", "Effect": "Allow",
        "Principal": { "AWS": "111111111111" }, "Action": "kinesis:GetRecords", "Resource": "*" } ] }"#;
    bench.ok("PutResourcePolicy", json!({ "ResourceARN": ARN, "Policy": policy }));
    assert_eq!(get().unwrap(), json!({ "Policy": policy }));
    bench.ok("DeleteResourcePolicy", json!({ "ResourceARN": ARN }));
    let error = bench.refused("DeleteResourcePolicy", json!({ "ResourceARN": ARN }));
    assert_eq!(error.message, format!("No resource policy found for resource ARN {ARN}"));
    for policy in [
        "",
        "{",
        "[]",
        "{}",
        r#"{"Statement":[]}"#,
        r#"{"Statement":[{"Effect":"Perhaps","Principal":"*","Action":"*"}]}"#,
        r#"{"Statement":[{"Effect":"Allow","Action":"*"}]}"#,
        r#"{"Statement":[{"Effect":"Allow","Principal":"*"}]}"#,
        r#"{"Statement":["Allow"]}"#,
    ] {
        let error = bench.refused("PutResourcePolicy", json!({ "ResourceARN": ARN, "Policy": policy }));
        assert_eq!(error.kind, ErrorKind::InvalidArgument, "{policy}");
    }
    assert_eq!(bench.refused("PutResourcePolicy", json!({ "ResourceARN": ARN })).kind, ErrorKind::Validation);
}

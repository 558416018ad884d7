//! Tags of streams and consumers: by stream name (AddTagsToStream and its kin) and by ARN (TagResource and its kin).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    request::{StreamRef, require_settled},
    resource::ResourceRef,
};
use crate::stream::{
    account::{ACCOUNT_ID, Account},
    error::ApiError,
    json,
    validate::Violations,
};

/// Tags of a resource at most (AWS: <https://docs.aws.amazon.com/streams/latest/dev/tagging.html>).
const MAX_TAGS: usize = 50;

/// Tags as a call gives them: a value may be left out.
pub(super) type TagMap = BTreeMap<String, Option<String>>;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AddTags<R> {
    #[serde(flatten)]
    to: R,
    tags: Option<TagMap>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RemoveTags<R> {
    #[serde(flatten)]
    from: R,
    tag_keys: Option<Vec<String>>,
}

pub(super) fn add_to_stream(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: AddTags<StreamRef> = json::parse(body)?;
    let mut violations = Violations::default();
    request.to.check(&mut violations);
    check_required(request.tags.as_ref(), &mut violations);
    violations.finish()?;
    let stream = request.to.find(account)?;
    let now_us = account.clock.now_us();
    stream.change(|meta| {
        require_settled(meta, now_us)?;
        let owner = format!("stream {}", meta.name);
        add(&mut meta.tags, request.tags.unwrap_or_default(), &owner)
    })?;
    Ok(Vec::new())
}

pub(super) fn remove_from_stream(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: RemoveTags<StreamRef> = json::parse(body)?;
    let mut violations = Violations::default();
    request.from.check(&mut violations);
    let keys = check_keys(request.tag_keys, &mut violations);
    violations.finish()?;
    let stream = request.from.find(account)?;
    let now_us = account.clock.now_us();
    stream.change(|meta| {
        require_settled(meta, now_us)?;
        let owner = format!("stream {}", meta.name);
        remove(&mut meta.tags, &keys, &owner)
    })?;
    Ok(Vec::new())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListTagsForStream {
    #[serde(flatten)]
    stream: StreamRef,
    exclusive_start_tag_key: Option<String>,
    limit: Option<i64>,
}

pub(super) fn list_for_stream(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: ListTagsForStream = json::parse(body)?;
    let mut violations = Violations::default();
    request.stream.check(&mut violations);
    if let Some(key) = &request.exclusive_start_tag_key {
        violations.length(key, "exclusiveStartTagKey", 1, 128);
    }
    let limit = request.limit.unwrap_or(MAX_TAGS as i64);
    violations.range(limit, "limit", 1, MAX_TAGS as i64);
    violations.finish()?;

    let stream = request.stream.find(account)?;
    let meta = stream.meta();
    let after =
        |(key, _): &(&String, &String)| request.exclusive_start_tag_key.as_ref().is_none_or(|start| *key > start);
    let mut rest = meta.tags.iter().filter(after).map(tag_value).peekable();
    let page: Vec<_> = rest.by_ref().take(usize::try_from(limit).unwrap_or(0)).collect();
    json::answer(&json!({ "Tags": page, "HasMoreTags": rest.peek().is_some() }))
}

pub(super) fn add_to_resource(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: AddTags<ResourceRef> = json::parse(body)?;
    let mut violations = Violations::default();
    request.to.check(&mut violations);
    check_required(request.tags.as_ref(), &mut violations);
    violations.finish()?;
    let resource = request.to.find(account)?;
    resource.change(account, |facts| add(facts.tags, request.tags.unwrap_or_default(), &resource.owner()))?;
    Ok(Vec::new())
}

pub(super) fn remove_from_resource(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: RemoveTags<ResourceRef> = json::parse(body)?;
    let mut violations = Violations::default();
    request.from.check(&mut violations);
    let keys = check_keys(request.tag_keys, &mut violations);
    violations.finish()?;
    let resource = request.from.find(account)?;
    resource.change(account, |facts| remove(facts.tags, &keys, &resource.owner()))?;
    Ok(Vec::new())
}

pub(super) fn list_for_resource(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: ResourceRef = json::parse(body)?;
    let mut violations = Violations::default();
    request.check(&mut violations);
    violations.finish()?;
    let resource = request.find(account)?;
    let tags: Vec<_> = resource.tags().iter().map(tag_value).collect();
    json::answer(&json!({ "Tags": tags }))
}

fn tag_value((key, value): (&String, &String)) -> Value {
    json!({ "Key": key, "Value": value })
}

fn check_required(tags: Option<&TagMap>, violations: &mut Violations) {
    match tags {
        Some(tags) => check(tags, violations),
        None => violations.null("tags"),
    }
}

/// Notes what the service model does not allow: how many, and how long.
pub(super) fn check(tags: &TagMap, violations: &mut Violations) {
    let shown = || {
        let pair = |(key, value): (&String, &Option<String>)| format!("{key}={}", value.as_deref().unwrap_or_default());
        let text = tags.iter().map(pair).collect::<Vec<_>>().join(", ");
        format!("{{{}}}", text.chars().take(512).collect::<String>())
    };
    if tags.is_empty() {
        violations.add("{}", "tags", "Member must have length greater than or equal to 1");
    } else if tags.len() > 200 {
        violations.add(shown(), "tags", "Member must have length less than or equal to 200");
    }
    if !tags.keys().all(|key| is_long(key, 1, 128)) {
        let constraint = "Map keys must satisfy constraint: [Member must have length less than or equal to 128, Member \
                          must have length greater than or equal to 1]";
        violations.add(shown(), "tags", constraint);
    }
    if !tags.values().flatten().all(|value| is_long(value, 0, 256)) {
        let constraint = "Map value must satisfy constraint: [Member must have length less than or equal to 256, Member \
                          must have length greater than or equal to 0]";
        violations.add(shown(), "tags", constraint);
    }
}

fn check_keys(keys: Option<Vec<String>>, violations: &mut Violations) -> Vec<String> {
    let Some(keys) = keys else {
        violations.null("tagKeys");
        return Vec::new();
    };
    let shown = || format!("[{}]", keys.join(", ").chars().take(512).collect::<String>());
    if keys.is_empty() {
        violations.add("[]", "tagKeys", "Member must have length greater than or equal to 1");
    } else if keys.len() > MAX_TAGS {
        violations.add(shown(), "tagKeys", format_args!("Member must have length less than or equal to {MAX_TAGS}"));
    }
    if !keys.iter().all(|key| is_long(key, 1, 128)) {
        let constraint = "Member must satisfy constraint: [Member must have length less than or equal to 128, Member must \
                          have length greater than or equal to 1]";
        violations.add(shown(), "tagKeys", constraint);
    }
    keys
}

fn is_long(text: &str, min: usize, max: usize) -> bool {
    (min..=max).contains(&text.chars().count())
}

/// Adds tags to those of `owner`, which is "stream s" or "consumer c"; tags of the same keys get the new values.
pub(super) fn add(tags: &mut BTreeMap<String, String>, new: TagMap, owner: &str) -> Result<(), ApiError> {
    check_characters(new.keys().chain(new.values().flatten()), &format!("add tags to {owner}"))?;
    let refusal = |why: String| {
        Err(ApiError::invalid_argument(format!(
            "Failed to add tags to {owner} under account {ACCOUNT_ID} because {why}"
        )))
    };
    if let Some(key) = new.keys().find(|key| is_reserved(key)) {
        return refusal(format!("the key {key} starts with aws:, which is reserved for AWS."));
    }
    tags.extend(new.into_iter().map(|(key, value)| (key, value.unwrap_or_default())));
    if tags.len() > MAX_TAGS {
        let kind = owner.split(' ').next().unwrap_or(owner);
        return refusal(format!("a given {kind} cannot have more than {MAX_TAGS} tags associated with it."));
    }
    Ok(())
}

fn remove(tags: &mut BTreeMap<String, String>, keys: &[String], owner: &str) -> Result<(), ApiError> {
    check_characters(keys.iter(), &format!("remove tags from {owner}"))?;
    keys.iter().for_each(|key| drop(tags.remove(key)));
    Ok(())
}

/// AWS answers in two ways: a percent sign is among the characters of the first text, yet is not taken.
fn check_characters<'a>(texts: impl Iterator<Item = &'a String>, what: &str) -> Result<(), ApiError> {
    let texts: Vec<_> = texts.collect();
    let allowed = |c: char| c.is_alphanumeric() || c.is_whitespace() || "_./=+-%@:".contains(c);
    if !texts.iter().all(|text| text.chars().all(allowed)) {
        return Err(ApiError::invalid_argument(
            "Some tags contain invalid characters. Valid characters: Unicode letters, digits, white space, _ . / = + - % @ :.",
        ));
    }
    if texts.iter().any(|text| text.contains('%')) {
        return Err(ApiError::invalid_argument(format!(
            "Failed to {what} under account {ACCOUNT_ID} because some tags contained illegal characters. The allowed \
             characters are Unicode letters, white-spaces, '_',',','/','=','+','-','@',':'."
        )));
    }
    Ok(())
}

fn is_reserved(key: &str) -> bool {
    key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:"))
}

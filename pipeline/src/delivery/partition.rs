//! Dynamic partitioning: the values of a record's partition keys, read from its JSON.
//!
//! Firehose runs jq over each record; field paths (`.city`, `.location.city`, `."Wind Speed"`) are the part of jq that
//! partitioning needs. The record is walked once and never built as a tree: fields that are not asked for are skipped.

use std::collections::BTreeMap;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The configured partition keys, in order of name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartitionKeys {
    names: Vec<String>,
    fields: Fields,
}

/// The fields of one object that are asked for.
type Fields = BTreeMap<String, Field>;

/// What is asked of a field: its value, for these keys, or fields of it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Field {
    Value(Vec<usize>),
    Object(Fields),
}

/// Why a field path cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyPathError {
    /// It is not a field path.
    #[error("only field paths can be read; write for example .city, .location.city or .\"Wind Speed\"")]
    Syntax,
    /// One path reads a value where another reads a field of it.
    #[error(
        "another partition key reads a field of this one, or the other way round; it cannot be a value and an object"
    )]
    Conflict,
}

/// Why the partition values of a record could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("the record could not be read as JSON with the partition keys in it: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the partition key {name} {problem}")]
    Key { name: String, problem: &'static str },
}

impl PartitionKeys {
    /// Reads name to path pairs; an error comes with the name of its key.
    pub(super) fn parse(paths: &BTreeMap<String, String>) -> Result<Self, (String, KeyPathError)> {
        let mut fields = Fields::new();
        for (index, (name, path)) in paths.iter().enumerate() {
            segments(path)
                .and_then(|segments| insert(&mut fields, &segments, index))
                .map_err(|problem| (name.clone(), problem))?;
        }
        Ok(Self { names: paths.keys().cloned().collect(), fields })
    }

    /// The keys' names.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// The values of all keys, in order of name. Strings are taken without their quotes, numbers and booleans as written.
    pub(super) fn values(&self, record: &[u8]) -> Result<Vec<String>, Unreadable> {
        if self.names.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = vec![None; self.names.len()];
        let mut json = serde_json::Deserializer::from_slice(record);
        Walk { fields: &self.fields, found: &mut found }.deserialize(&mut json)?;
        json.end()?;
        found.into_iter().zip(&self.names).map(|(raw, name)| scalar(raw, name)).collect()
    }
}

/// The text of a single, present, non-empty value.
fn scalar(raw: Option<&RawValue>, name: &str) -> Result<String, Unreadable> {
    let unusable = |problem| Err(Unreadable::Key { name: name.to_owned(), problem });
    let Some(raw) = raw.map(RawValue::get) else { return unusable("is missing") };
    match raw.as_bytes().first() {
        Some(b'"') => match serde_json::from_str::<String>(raw)? {
            text if text.is_empty() => unusable("is empty"),
            text => Ok(text),
        },
        Some(b'n') => unusable("is null"),
        Some(b'{' | b'[') => unusable("is not a single value"),
        _ => Ok(raw.to_owned()),
    }
}

/// Splits `.a."b c".d` into its field names.
fn segments(path: &str) -> Result<Vec<String>, KeyPathError> {
    let mut names = Vec::new();
    let mut rest = path.trim();
    while !rest.is_empty() {
        rest = rest.strip_prefix('.').ok_or(KeyPathError::Syntax)?;
        let end = if rest.starts_with('"') {
            closing_quote(rest).ok_or(KeyPathError::Syntax)?
        } else {
            rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())
        };
        let (name, after) = rest.split_at(end);
        names.push(field_name(name).ok_or(KeyPathError::Syntax)?);
        rest = after;
    }
    if names.is_empty() { Err(KeyPathError::Syntax) } else { Ok(names) }
}

/// Where a quoted name ends, just behind its closing quote.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().skip(1).find_map(|(at, c)| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes.then_some(at + 1)
    })
}

fn field_name(text: &str) -> Option<String> {
    match text.chars().next()? {
        '"' => serde_json::from_str(text).ok(),
        c if c.is_ascii_digit() => None,
        _ => Some(text.to_owned()),
    }
}

fn insert(fields: &mut Fields, path: &[String], index: usize) -> Result<(), KeyPathError> {
    let Some((name, rest)) = path.split_first() else { return Ok(()) };
    let fresh = || if rest.is_empty() { Field::Value(Vec::new()) } else { Field::Object(Fields::new()) };
    match fields.entry(name.clone()).or_insert_with(fresh) {
        Field::Value(keys) if rest.is_empty() => keys.push(index),
        Field::Object(inner) if !rest.is_empty() => insert(inner, rest, index)?,
        _ => return Err(KeyPathError::Conflict),
    }
    Ok(())
}

/// Walks one JSON object and keeps the raw text of the values asked for. Of a name that occurs twice the last counts, as in jq.
struct Walk<'f, 'o, 'de> {
    fields: &'f Fields,
    found: &'o mut [Option<&'de RawValue>],
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        while let Some(field) = object.next_key_seed(Lookup(self.fields))? {
            match field {
                None => {
                    object.next_value::<IgnoredAny>()?;
                }
                Some(Field::Object(fields)) => {
                    object.next_value_seed(Walk { fields, found: &mut *self.found })?;
                }
                Some(Field::Value(keys)) => {
                    let raw = object.next_value::<&'de RawValue>()?;
                    for key in keys {
                        self.found[*key] = Some(raw);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Finds a field by its name without keeping the name.
struct Lookup<'f>(&'f Fields);

impl<'de, 'f> DeserializeSeed<'de> for Lookup<'f> {
    type Value = Option<&'f Field>;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'f> Visitor<'_> for Lookup<'f> {
    type Value = Option<&'f Field>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.get(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(paths: &[(&str, &str)]) -> Result<PartitionKeys, (String, KeyPathError)> {
        PartitionKeys::parse(&paths.iter().map(|(n, p)| ((*n).to_owned(), (*p).to_owned())).collect())
    }

    #[test]
    fn values_come_in_order_of_name_from_any_depth() {
        let keys =
            keys(&[("z", ".a.b"), ("c", ".city"), ("w", r#"."Wind \"Speed\"".x_1"#), ("again", ".city")]).unwrap();
        assert_eq!(keys.names(), ["again", "c", "w", "z"]);
        let record = br#" {"noise":{"city":"no","deep":[{"b":1}]},"a":{"x":null,"b":12.50},"city":"S\u00e3o/Paulo","Wind \"Speed\"":{"x_1":true}} "#;
        assert_eq!(keys.values(record).unwrap(), ["São/Paulo", "São/Paulo", "true", "12.50"]);
    }

    #[test]
    fn a_record_whose_keys_cannot_be_read_says_which_and_why() {
        let keys = keys(&[("city", ".at.city")]).unwrap();
        for (record, want) in [
            (&b"plain text"[..], "as JSON"),
            (b"", "EOF"),
            (br#"{"at":{"city":"A"}"#, "EOF"),
            (br#"{"at":{"city":"A"}}{"at":{"city":"B"}}"#, "trailing characters"),
            (br#"[{"at":{"city":"A"}}]"#, "expected an object"),
            (br#"{"at":null}"#, "expected an object"),
            (br#"{"at":"city"}"#, "expected an object"),
            (br#"{"at":{"town":"A"}}"#, "the partition key city is missing"),
            (br#"{"at":{"city":null}}"#, "the partition key city is null"),
            (br#"{"at":{"city":""}}"#, "the partition key city is empty"),
            (br#"{"at":{"city":["A"]}}"#, "the partition key city is not a single value"),
            (b"{\"at\":{\"city\":\"\xff\"}}", "as JSON"),
        ] {
            let message = keys.values(record).unwrap_err().to_string();
            assert!(message.contains(want), "{}: {message}", String::from_utf8_lossy(record));
        }
    }

    #[test]
    fn the_last_of_two_equal_names_counts() {
        let keys = keys(&[("a", ".a")]).unwrap();
        assert_eq!(keys.values(br#"{"a":1,"b":2,"a":3}"#).unwrap(), ["3"]);
    }

    #[test]
    fn without_keys_a_record_need_not_be_json() {
        assert!(keys(&[]).unwrap().values(b"\xff\xfe").unwrap().is_empty());
    }

    #[test]
    fn what_is_not_a_field_path_is_refused_with_the_keys_name() {
        for path in ["", ".", "city", ".a..b", ".a[0]", ".1a", r#"."open"#, ".a | .b", ".a-b", "..", r#".a"b""#] {
            assert_eq!(keys(&[("k", path)]), Err(("k".to_owned(), KeyPathError::Syntax)), "{path}");
        }
        for (one, two) in [(".a", ".a.b"), (".a.b", ".a")] {
            assert_eq!(keys(&[("k1", one), ("k2", two)]), Err(("k2".to_owned(), KeyPathError::Conflict)));
        }
    }
}

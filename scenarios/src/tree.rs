//! The scenario as written: a tree of values in which each remembers where it was written.
//!
//! The file and the overrides become one tree before anything is typed, so that both obey the same checks and a
//! mistake is shown where it was made: in the file, or in the flag.

use std::{collections::BTreeMap, ops::Range};

use toml_edit::{Document, Item, TableLike, Value};

use crate::error::{Fault, Origin};

/// A value, its key, and where both were written. An element of a list has its own place as key.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) data: Data,
    pub(crate) value: Origin,
    pub(crate) key: Origin,
}

/// What TOML can say.
#[derive(Debug, Clone)]
pub(crate) enum Data {
    Table(BTreeMap<String, Node>),
    List(Vec<Node>),
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Datetime(String),
}

impl Data {
    /// What it is, in words.
    pub(crate) const fn noun(&self) -> &'static str {
        match self {
            Self::Table(_) => "a section",
            Self::List(_) => "a list",
            Self::Text(_) => "text",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Boolean(_) => "true or false",
            Self::Datetime(_) => "a date without quotes",
        }
    }
}

impl Node {
    /// Reads TOML; `text` is the index of the text in the list of all texts.
    pub(crate) fn parse(toml: &str, text: usize) -> Result<Self, Fault> {
        let document = Document::parse(toml).map_err(|error| {
            let at = Origin::new(text, error.span().unwrap_or(0..0));
            Fault::new(
                &at,
                format!("this is not TOML: {}", error.message()),
                "a section is [name], an entry of a list of sections [[name]], a setting key = value; text and spans of time \
                 stand in quotes",
            )
        })?;
        let root = Origin::new(text, 0..0);
        Ok(Self::leaf(table(document.as_table(), &root), &root))
    }

    /// A value that is written at the same place as its key.
    pub(crate) fn leaf(data: Data, origin: &Origin) -> Self {
        Self { data, value: origin.clone(), key: origin.clone() }
    }

    /// The value under a key, when it was written.
    pub(crate) fn child(&self, key: &str) -> Option<&Self> {
        match &self.data {
            Data::Table(entries) => entries.get(key),
            _ => None,
        }
    }

    /// The value under a key, or this node when nothing was written there: the nearest place to point at.
    pub(crate) fn at(&self, key: &str) -> &Self {
        self.child(key).unwrap_or(self)
    }

    /// The element of a list, or this node when it has no such element.
    pub(crate) fn item(&self, index: usize) -> &Self {
        match &self.data {
            Data::List(items) => items.get(index).unwrap_or(self),
            _ => self,
        }
    }

    /// A fault of the value.
    pub(crate) fn fault(&self, message: impl Into<String>, help: impl Into<String>) -> Fault {
        Fault::new(&self.value, message, help)
    }

    /// A fault of the key: it should not be there, or not under this name.
    pub(crate) fn key_fault(&self, message: impl Into<String>, help: impl Into<String>) -> Fault {
        Fault::new(&self.key, message, help)
    }

    /// The tree as JSON, for typing. A number that is not finite becomes null; [`crate::shape`] has refused it before.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.data {
            Data::Table(entries) => entries.iter().map(|(k, v)| (k.clone(), v.to_json())).collect(),
            Data::List(items) => items.iter().map(Self::to_json).collect(),
            Data::Text(text) | Data::Datetime(text) => text.as_str().into(),
            Data::Integer(number) => (*number).into(),
            Data::Float(number) => (*number).into(),
            Data::Boolean(value) => (*value).into(),
        }
    }
}

fn table(entries: &dyn TableLike, parent: &Origin) -> Data {
    let place =
        |span: Option<Range<usize>>, or: &Origin| span.map_or_else(|| or.clone(), |s| Origin::new(parent.text, s));
    let node = |(name, item): (&str, &Item)| {
        let key = place(entries.key(name).and_then(|key| key.span()), parent);
        let value = place(item.span(), &key);
        let data = match item {
            Item::None => return None,
            Item::Table(inner) => table(inner, &value),
            Item::ArrayOfTables(list) => Data::List(
                list.iter()
                    .map(|inner| {
                        let at = place(inner.span(), &key);
                        Node { data: table(inner, &at), key: at.clone(), value: at }
                    })
                    .collect(),
            ),
            Item::Value(inner) => spanned(inner, &value).data,
        };
        // A list of sections has no place of its own: the first header says where it begins.
        let value = if matches!(item, Item::ArrayOfTables(_)) { key.clone() } else { value };
        Some((name.to_owned(), Node { data, value, key }))
    };
    Data::Table(entries.iter().filter_map(node).collect())
}

fn spanned(value: &Value, parent: &Origin) -> Node {
    let origin = value.span().map_or_else(|| parent.clone(), |span| Origin::new(parent.text, span));
    let data = match value {
        Value::Array(array) => Data::List(array.iter().map(|v| spanned(v, &origin)).collect()),
        Value::InlineTable(entries) => table(entries, &origin),
        Value::String(text) => Data::Text(text.value().clone()),
        Value::Integer(number) => Data::Integer(*number.value()),
        Value::Float(number) => Data::Float(*number.value()),
        Value::Boolean(value) => Data::Boolean(*value.value()),
        Value::Datetime(date) => Data::Datetime(date.value().to_string()),
    };
    Node { data, key: origin.clone(), value: origin }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOML: &str = "name = \"x\"\n[load]\nlinger = \"1s\"\n[[load.stages]]\nrate = 5\n[a.b]\nc.d = [1, {e = 2}]\n";

    #[test]
    fn every_value_knows_the_bytes_it_was_written_in() {
        let root = Node::parse(TOML, 3).unwrap();
        let is = |origin: &Origin, text: &str| {
            let start = TOML.find(text).unwrap();
            assert_eq!(*origin, Origin::new(3, start..start + text.len()));
        };
        is(&root.at("name").value, "\"x\"");
        is(&root.at("name").key, "name");
        is(&root.at("load").value, "[load]");
        is(&root.at("load").at("stages").item(0).value, "[[load.stages]]");
        is(&root.at("load").at("stages").item(0).at("rate").key, "rate");
        is(&root.at("a").at("b").at("c").at("d").value, "[1, {e = 2}]");
        let e = TOML.find("e = 2}").unwrap();
        assert_eq!(root.at("a").at("b").at("c").at("d").item(1).at("e").key, Origin::new(3, e..e + 1));
        assert!(root.child("gone").is_none());
        assert_eq!(root.at("gone").value, root.value);
    }

    #[test]
    fn the_tree_says_what_the_toml_says() {
        let json = Node::parse(TOML, 0).unwrap().to_json();
        let expected: serde_json::Value = toml::from_str(TOML).unwrap();
        assert_eq!(json, expected);
    }

    #[test]
    fn a_syntax_error_points_at_its_place() {
        let fault = Node::parse("a = 1\nb = oops\n", 0).unwrap_err();
        assert!(fault.origin >= Origin::new(0, 10..10) && fault.origin <= Origin::new(0, 14..15), "{fault:?}");
    }
}

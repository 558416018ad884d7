//! One field of a payload without building a tree: keys and fingerprints ask for it on every record.

use std::borrow::Cow;

/// The top-level field `name` of a JSON object as text: a string without its escapes, a number or boolean as written,
/// an array or object as its JSON. `None` when the field is absent or null, or when the bytes up to it are not an object.
///
/// The first of several fields with one name counts. Bytes behind the field are not looked at.
#[must_use]
pub fn field<'a>(json: &'a [u8], name: &str) -> Option<Cow<'a, str>> {
    let mut scan = Scan { json, at: 0 };
    scan.expect(b'{')?;
    loop {
        let key = scan.string()?;
        scan.expect(b':')?;
        let value = scan.value()?;
        if is_name(key, name) {
            return text(value);
        }
        scan.expect(b',')?;
    }
}

/// A reading place in JSON bytes.
struct Scan<'a> {
    json: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    /// The next byte that is not white space, left in place.
    fn peek(&mut self) -> Option<u8> {
        while matches!(self.json.get(self.at)?, b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        self.json.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// A string token with its quotes.
    fn string(&mut self) -> Option<&'a [u8]> {
        (self.peek()? == b'"').then_some(())?;
        let start = self.at;
        self.at += 1;
        loop {
            match self.json.get(self.at)? {
                b'\\' => self.at += 2,
                b'"' => break,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        self.json.get(start..self.at)
    }

    /// Any value, as its bytes.
    fn value(&mut self) -> Option<&'a [u8]> {
        match self.peek()? {
            b'"' => self.string(),
            b'{' | b'[' => self.nested(),
            _ => {
                let start = self.at;
                let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
                self.at += self.json[start..].iter().position(ends)?;
                (self.at > start).then(|| &self.json[start..self.at])
            }
        }
    }

    /// An object or array; which bracket closes which is not checked.
    fn nested(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        let mut depth = 0_usize;
        loop {
            match self.json.get(self.at)? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return self.json.get(start..self.at);
            }
        }
    }
}

/// Whether a string token is `name`.
fn is_name(token: &[u8], name: &str) -> bool {
    let inner = &token[1..token.len() - 1];
    if inner.contains(&b'\\') { unescape(token).is_some_and(|key| key == name) } else { inner == name.as_bytes() }
}

/// A value token as text.
fn text(token: &[u8]) -> Option<Cow<'_, str>> {
    match token {
        b"null" => None,
        [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => std::str::from_utf8(inner).ok().map(Cow::Borrowed),
        [b'"', ..] => unescape(token).map(Cow::Owned),
        _ => std::str::from_utf8(token).ok().map(Cow::Borrowed),
    }
}

fn unescape(token: &[u8]) -> Option<String> {
    serde_json::from_slice(token).ok()
}

#[cfg(test)]
mod tests {
    use proptest::{collection, prelude::*};
    use serde_json::{Map, Value};

    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name_at_the_top_level_only() {
        let json = br#"{"a":{"county":"inner"},"x county":1,"county" : "Lamb\"ton, \u00e9","n":-5.10e3,"t":true,"z":null,"l":[1,"]"]}"#;
        assert_eq!(field(json, "county").as_deref(), Some("Lamb\"ton, é"));
        assert_eq!(field(json, "n").as_deref(), Some("-5.10e3"));
        assert_eq!(field(json, "t").as_deref(), Some("true"));
        assert_eq!(field(json, "l").as_deref(), Some(r#"[1,"]"]"#));
        assert_eq!(field(json, "z"), None);
        assert_eq!(field(json, "missing"), None);
        assert_eq!(field(br#"{"c\u006funty":"x"}"#, "county").as_deref(), Some("x"));
        assert_eq!(field(br#"{"a\nb":1}"#, r"a\nb"), None);
    }

    #[test]
    fn a_plain_string_is_borrowed() {
        assert!(matches!(field(br#"{"city":"London"}"#, "city"), Some(Cow::Borrowed("London"))));
    }

    #[test]
    fn bytes_that_are_not_an_object_have_no_fields() {
        for json in [
            "",
            "{",
            "[]",
            "{}",
            "\"a\"",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":\"\\",
            "{\"a\":[1",
            "{\"a\":,\"b\":1}",
        ] {
            assert_eq!(field(json.as_bytes(), "a"), None, "{json}");
        }
        assert_eq!(field(b"{\"a\":\"\xff\"}", "a"), None);
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_field_agrees_with_serde_json(
            map in collection::btree_map(any::<String>(), any_value(), 0..6), pretty: bool, missing: String
        ) {
            let object: Map<String, Value> = map.into_iter().collect();
            let json = if pretty { serde_json::to_vec_pretty(&object) } else { serde_json::to_vec(&object) }.unwrap();
            for (name, value) in &object {
                let found = field(&json, name);
                match value {
                    Value::Null => prop_assert_eq!(found, None),
                    Value::String(text) => prop_assert_eq!(found.as_deref(), Some(text.as_str())),
                    other => prop_assert_eq!(&serde_json::from_str::<Value>(&found.unwrap()).unwrap(), other),
                }
            }
            prop_assert_eq!(field(&json, &missing).is_some(), object.get(&missing).is_some_and(|value| !value.is_null()));
        }

        #[test]
        fn no_bytes_make_it_panic(json: Vec<u8>, name: String) {
            let _ = field(&json, &name);
        }

        #[test]
        fn nothing_that_looks_like_json_makes_it_panic(json in "[{}\\[\\]\",:\\\\a1 ]{0,40}") {
            let _ = field(json.as_bytes(), "a");
        }
    }
}

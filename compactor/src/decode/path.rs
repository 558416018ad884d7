//! Columns that stand in an object's key, Hive-style: `city=London/year=2025/object.gz`.

use crate::schema::TableSchema;

/// What Hive, Spark and Athena write for a null.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The columns that the key gives a value, and the value. The part nearest to the object counts.
pub(crate) fn values(key: &str, schema: &TableSchema) -> Vec<(usize, String)> {
    let mut values = Vec::new();
    for name in &schema.read().path_columns {
        let Some(index) = schema.columns().iter().position(|column| column.name == *name) else { continue };
        let folders = key.rsplit('/').skip(1);
        let mut parts = folders.filter_map(|part| part.split_once('='));
        let Some((_, value)) = parts.find(|(part, _)| decoded(part) == *name) else { continue };
        let value = decoded(value);
        if value != NULL && !value.is_empty() {
            values.push((index, value));
        }
    }
    values
}

/// Text without its percent escapes. What is no escape, or stands for no UTF-8, stays as it is.
fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| after.get(..2)).flatten();
        let code = escaped.and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
            u8::from_str_radix(digits, 16).ok()
        });
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_read_and_what_is_none_stays() {
        let cases = [
            ("London", "London"),
            ("S%C3%A3o%20Paulo", "São Paulo"),
            ("São Paulo", "São Paulo"),
            ("a%2Fb%3dc", "a/b=c"),
            ("100%", "100%"),
            ("%zz%+1", "%zz%+1"),
            ("%FF", "%FF"),
            ("", ""),
        ];
        for (text, want) in cases {
            assert_eq!(decoded(text), want, "{text}");
        }
    }
}

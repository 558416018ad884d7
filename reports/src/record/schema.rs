//! The published shape of `run.json`: strict, so that a writer's mistake is found by a validator and not by a reader.
//!
//! Readers in this crate ignore fields they do not know (a newer minor version may have more); the schema describes
//! exactly what this version writes.

use schemars::{Schema, generate::SchemaSettings, transform::transform_subschemas};
use serde_json::Value;

use super::RunRecord;

/// The JSON schema (draft 2020-12) of [`RunRecord`] as this version writes it. Every field is required, and no other
/// field is allowed.
#[must_use]
pub fn schema() -> Value {
    SchemaSettings::draft2020_12()
        .for_serialize()
        .with_transform(close)
        .into_generator()
        .into_root_schema_for::<RunRecord>()
        .to_value()
}

/// Forbids fields that are not named, in every object that names its fields.
fn close(schema: &mut Schema) {
    if schema.get("properties").is_some() && schema.get("additionalProperties").is_none() {
        schema.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    transform_subschemas(&mut close, schema);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{files::write_atomic, sample};

    const PUBLISHED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/run.schema.json");

    #[test]
    fn the_published_schema_is_the_one_the_types_give() {
        let current = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
        if std::env::var_os("MILLRACE_BLESS").is_some() {
            std::fs::create_dir_all(std::path::Path::new(PUBLISHED).parent().unwrap()).unwrap();
            write_atomic(std::path::Path::new(PUBLISHED), current.as_bytes()).unwrap();
        }
        // The order of keys depends on the features that other crates of a build ask of serde_json; the schema does not.
        let published = std::fs::read_to_string(PUBLISHED).unwrap_or_default();
        assert!(
            serde_json::from_str::<Value>(&published).is_ok_and(|published| published == schema()),
            "docs/run.schema.json is not the schema of the record; if the change is meant, raise SCHEMA_VERSION as its \
             comment says and run: MILLRACE_BLESS=1 cargo test --release -p millrace-reports published_schema"
        );
    }

    #[test]
    fn the_schema_names_exactly_the_fields_that_are_written() {
        let (schema, record) = (schema(), serde_json::to_value(sample::full()).unwrap());
        assert_eq!(schema["additionalProperties"], false);
        let written: BTreeSet<_> = record.as_object().unwrap().keys().cloned().collect();
        let named: BTreeSet<_> = schema["properties"].as_object().unwrap().keys().cloned().collect();
        let required: BTreeSet<_> =
            schema["required"].as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect();
        assert_eq!(written, named);
        assert_eq!(written, required);
    }

    #[test]
    fn every_object_of_the_schema_is_closed() {
        fn open_objects(at: &str, schema: &Value, found: &mut Vec<String>) {
            let Some(object) = schema.as_object() else { return };
            if object.contains_key("properties") && !object.contains_key("additionalProperties") {
                found.push(at.to_owned());
            }
            for (key, value) in object {
                open_objects(&format!("{at}/{key}"), value, found);
            }
        }
        let mut found = Vec::new();
        open_objects("", &schema(), &mut found);
        assert!(found.is_empty(), "{found:?}");
    }
}

//! The language as a JSON schema, and a scenario as it is understood.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::Value;
use toml_edit::{DocumentMut, Item};

use crate::{model::Scenario, usage};

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Scenario>().to_value();
    forbid_null(&mut schema);
    schema["title"] = "Millrace scenario".into();
    schema
});

/// The JSON schema (draft 2020-12) of a scenario. Reading checks every file against this very schema.
#[must_use]
pub fn schema() -> Value {
    SCHEMA.clone()
}

pub(crate) fn shared() -> &'static Value {
    &SCHEMA
}

/// TOML has no null: an optional key is left out. Drops the null that an `Option` adds to its schema.
fn forbid_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(forbid_null),
        Value::Object(object) => {
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|t| t != "null");
                if let [only] = &types[..] {
                    object["type"] = only.clone();
                }
            }
            if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
                choices.retain(|choice| choice["type"] != "null");
                if let [Value::Object(only)] = &choices[..] {
                    let only = only.clone();
                    object.remove("anyOf");
                    object.extend(only);
                }
            }
            if object.get("default") == Some(&Value::Null) {
                object.remove("default");
            }
            object.values_mut().for_each(forbid_null);
        }
        _ => {}
    }
}

/// The scenario as TOML with every default filled in, which reads back to the same scenario. Keys that its kind of
/// source or keys does not use are left out. A value that TOML cannot hold (a seed above 2^63 - 1, a path that is not
/// UTF-8), which no scenario that was read has, makes the text a comment that says so.
#[must_use]
pub fn effective(scenario: &Scenario) -> String {
    let printed = toml::to_string_pretty(scenario).map_err(|error| error.to_string());
    let mut document = match printed.and_then(|text| text.parse::<DocumentMut>().map_err(|error| error.to_string())) {
        Ok(document) => document,
        Err(error) => return format!("# this scenario cannot be written as TOML: {error}\n"),
    };
    for (section, key) in usage::unused(scenario) {
        if let Some(table) = document.get_mut(section).and_then(|item| item.as_table_like_mut()) {
            table.remove(key);
        }
    }
    for (index, event) in scenario.event.iter().enumerate() {
        let written = document.get_mut("event").and_then(Item::as_array_of_tables_mut);
        let keys = written.and_then(|events| events.get_mut(index)?.get_mut("keys")?.as_table_like_mut());
        if let (Some(written), Some(keys)) = (keys, &event.keys) {
            for (key, _) in usage::unused_keys(keys) {
                written.remove(key);
            }
        }
    }
    document.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Overrides, read::parse, shipped::shipped};

    #[test]
    fn every_section_refuses_unknown_keys_and_every_key_is_described() {
        let schema = schema();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        let sections = schema["$defs"].as_object().unwrap().values().chain([&schema]);
        let mut keys = 0;
        for section in sections.filter(|s| s["properties"].is_object()) {
            assert_eq!(section["additionalProperties"], false, "{section}");
            for (name, property) in section["properties"].as_object().unwrap() {
                assert!(property["description"].is_string(), "{name}");
                keys += 1;
            }
        }
        assert!(keys > 60, "{keys}");
    }

    #[test]
    fn the_schema_has_no_null() {
        fn null(value: &Value) -> bool {
            match value {
                Value::Null => true,
                Value::String(text) => text == "null",
                Value::Array(items) => items.iter().any(null),
                Value::Object(object) => object.values().any(null),
                _ => false,
            }
        }
        assert!(!null(&schema()));
    }

    #[test]
    fn an_effective_scenario_reads_back_to_itself_and_is_a_fixed_point() {
        for (file, text) in shipped() {
            let scenario = parse(file, text, &Overrides::default()).unwrap();
            let printed = effective(&scenario);
            let again = parse("effective", &printed, &Overrides::default()).unwrap();
            assert_eq!(again, scenario, "{file}\n{printed}");
            assert_eq!(effective(&again), printed);
        }
    }

    #[test]
    fn an_effective_scenario_shows_defaults_but_no_key_of_another_kind() {
        let text = "name = \"x\"\n[source]\nkind = \"sensors\"\n[load]\nstages = [{ rate = 1, for = \"1s\" }]\n\
                    [keys]\nkind = \"zipf\"\n[stream]\nname = \"s\"\n";
        let printed = effective(&parse("x.toml", text, &Overrides::default()).unwrap());
        for shown in ["seed = 42", "sensors = 10", "exponent = 1.0", "linger = \"20ms\"", "buffer_size = \"5MiB\""] {
            assert!(printed.contains(shown), "{shown}\n{printed}");
        }
        for hidden in ["hot_share", "rows", "url =", "live =", "aggregate_bytes"] {
            assert!(!printed.contains(hidden), "{hidden}\n{printed}");
        }
    }

    #[test]
    fn an_effective_scenario_with_events_reads_back_to_itself() {
        let text = "name = \"x\"\n[source]\nkind = \"sensors\"\n[load]\nstages = [{ rate = 1, for = \"1s\" }]\n\
                    [keys]\nkind = \"zipf\"\nsalt = 8\n[stream]\nname = \"s\"\n\
                    [[event]]\nat = \"1s\"\nsplit_shard = \"hottest\"\n[[event]]\nat = \"2s\"\nsplit_shard = 3\n\
                    [[event]]\nat = \"3s\"\nmerge_shards = [1, 2]\n[[event]]\nat = \"4s\"\n\
                    keys = { kind = \"uniform\", shards = [0.5, 0.5], place = \"name\" }\n";
        let scenario = parse("x.toml", text, &Overrides::default()).unwrap();
        let printed = effective(&scenario);
        assert_eq!(parse("effective", &printed, &Overrides::default()).unwrap(), scenario, "{printed}");
    }

    #[test]
    fn an_effective_scenario_that_aggregates_says_how_much() {
        let text = "name = \"x\"\n[source]\nkind = \"sensors\"\n[load]\nstages = [{ rate = 1, for = \"1s\" }]\n\
                    aggregate = true\n[keys]\nkind = \"zipf\"\n[stream]\nname = \"s\"\n";
        let printed = effective(&parse("x.toml", text, &Overrides::default()).unwrap());
        assert!(printed.contains("aggregate_bytes = \"50KiB\""), "{printed}");
    }

    #[test]
    fn what_toml_cannot_hold_is_said_rather_than_changed() {
        let (_, text) = shipped()[0];
        let scenario = Scenario { seed: u64::MAX, ..parse("x", text, &Overrides::default()).unwrap() };
        assert!(effective(&scenario).starts_with("# this scenario cannot be written"));
    }
}

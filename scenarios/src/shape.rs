//! Is every section, key and value of the kind that the language has? Walks the tree along the JSON schema, so that
//! the published schema, the types and these errors cannot disagree, and says for each mistake what to write instead.

use std::{collections::BTreeMap, sync::LazyLock};

use serde_json::{Map, Value};

use crate::{
    error::Fault,
    metric::{Hop, SloMetric},
    nearest::nearest,
    schema,
    tree::{Data, Node},
    units::{ByteSize, Span, UnitError},
};

/// Everything in the tree that the schema does not allow.
pub(crate) fn check(root: &Node) -> Vec<Fault> {
    let schema = schema::shared();
    let mut walk = Walk { schema, faults: Vec::new() };
    walk.node(root, schema, "");
    walk.faults
}

/// The same for a file that holds faults and nothing else.
pub(crate) fn check_faults(root: &Node) -> Vec<Fault> {
    static ONLY_FAULTS: LazyLock<Value> = LazyLock::new(|| {
        let fault = &schema::shared()["properties"]["fault"];
        serde_json::json!({ "type": "object", "properties": { "fault": fault }, "required": ["fault"] })
    });
    let mut walk = Walk { schema: schema::shared(), faults: Vec::new() };
    walk.node(root, &ONLY_FAULTS, "");
    walk.faults
}

struct Walk<'s> {
    schema: &'s Value,
    faults: Vec<Fault>,
}

impl<'s> Walk<'s> {
    /// `at` is the path of `node` as `--set` would write it; empty for the whole scenario.
    fn node(&mut self, node: &Node, schema: &'s Value, at: &str) {
        let (name, target) = self.resolve(schema);
        let fault = match (name, &node.data) {
            (Some("Span"), Data::Text(text)) => quantity(node, at, text.parse::<Span>().err()),
            (Some("ByteSize"), Data::Text(text)) => quantity(node, at, text.parse::<ByteSize>().err()),
            (Some("SloMetric"), Data::Text(text)) => metric(node, text),
            (Some("ShardChoice" | "MergeChoice"), Data::Text(text)) => choice(node, text, &["hottest", "coldest"], at),
            (Some("ShardChoice"), Data::Integer(_)) => shard_number(node, at),
            (Some("MergeChoice"), Data::List(items)) if items.len() == 2 => {
                items.iter().find_map(|item| shard_number(item, at))
            }
            _ => match (kind(target), &node.data) {
                (Kind::Section, Data::Table(entries)) => {
                    self.section(node, entries, target, at);
                    None
                }
                (Kind::List, Data::List(items)) => {
                    for (index, item) in items.iter().enumerate() {
                        self.node(item, &target["items"], &join(at, &index.to_string()));
                    }
                    None
                }
                (Kind::Choice(names), Data::Text(text)) => choice(node, text, &names, at),
                (Kind::Whole, Data::Integer(number)) => range(node, *number, target, at),
                (Kind::Number, Data::Float(number)) if !number.is_finite() => {
                    Some(node.fault(format!("`{at}` is not a number that can be reached"), "write a finite number"))
                }
                (Kind::Text, Data::Text(_))
                | (Kind::Number, Data::Integer(_) | Data::Float(_))
                | (Kind::Boolean, Data::Boolean(_)) => None,
                (kind, _) => Some(self.wrong_kind(node, schema, &kind, at)),
            },
        };
        self.faults.extend(fault);
    }

    fn section(&mut self, node: &Node, entries: &BTreeMap<String, Node>, section: &'s Value, at: &str) {
        let mut meant = Vec::new();
        for (key, child) in entries {
            match property(section, key) {
                Some(schema) => self.node(child, schema, &join(at, key)),
                None => {
                    meant.extend(nearest(key, properties(section).map(|(name, _)| name)));
                    self.faults.push(self.unknown(child, key, section));
                }
            }
        }
        // A required key that is there under a misspelt name is one mistake, not two.
        for key in required(section).filter(|key| !entries.contains_key(*key) && !meant.contains(key)) {
            self.faults.push(self.missing(node, key, section, at));
        }
    }

    /// The name and the body of what a schema refers to; itself when it refers to nothing.
    fn resolve(&self, schema: &'s Value) -> (Option<&'s str>, &'s Value) {
        match schema["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/$defs/")) {
            Some(name) => (Some(name), &self.schema["$defs"][name]),
            None => (None, schema),
        }
    }

    fn unknown(&self, child: &Node, key: &str, section: &'s Value) -> Fault {
        let known: Vec<&str> = properties(section).map(|(name, _)| name).collect();
        let hint = match (nearest(key, known.iter().copied()), self.home_of(key)) {
            (Some(name), _) => format!("did you mean `{name}`? "),
            (None, Some(home)) => format!("`{key}` belongs in [{home}]; "),
            (None, None) => String::new(),
        };
        child
            .key_fault(format!("there is no key `{key}` here"), format!("{hint}keys here: {}", known.join(", ")))
            .labelled("unknown key")
    }

    /// The only section that has this key.
    fn home_of(&self, key: &str) -> Option<String> {
        let mut homes = Vec::new();
        self.collect_homes(self.schema, key, "", &mut homes);
        // An event says again, for later, what other sections say: those are meant.
        if homes.iter().any(|home| !home.starts_with("event")) {
            homes.retain(|home| !home.starts_with("event"));
        }
        match &mut homes[..] {
            [home] if !home.is_empty() => Some(std::mem::take(home)),
            _ => None,
        }
    }

    fn collect_homes(&self, section: &'s Value, key: &str, at: &str, homes: &mut Vec<String>) {
        for (name, property) in properties(section) {
            let (_, target) = self.resolve(property);
            let (_, inner) = if target["items"].is_object() { self.resolve(&target["items"]) } else { (None, target) };
            if name == key {
                homes.push(at.to_owned());
            }
            self.collect_homes(inner, key, &join(at, name), homes);
        }
    }

    fn missing(&self, node: &Node, key: &str, section: &'s Value, at: &str) -> Fault {
        let property = &section["properties"][key];
        let (_, target) = self.resolve(property);
        let path = join(at, key);
        let about = about(property);
        match kind(target) {
            Kind::Section => {
                let lines: Vec<String> = match target["examples"][0].as_object() {
                    Some(example) => example.iter().map(|(key, value)| format!("{key} = {}", inline(value))).collect(),
                    None => required(target)
                        .map(|inner| format!("{inner} = {}", inline(&self.example(&target["properties"][inner]))))
                        .collect(),
                };
                node.fault(
                    format!("there is no section [{path}]"),
                    format!("add this{about}:\n\n[{path}]\n{}", lines.join("\n")),
                )
                .labelled(format!("[{path}] is missing"))
            }
            _ => {
                let line = format!("{key} = {}", inline(&self.example(property)));
                let owner = if at.is_empty() { "the scenario".to_owned() } else { format!("`{at}`") };
                node.fault(format!("{owner} has no `{key}`"), format!("add{about}:\n\n{line}"))
                    .labelled(format!("`{key}` is missing"))
            }
        }
    }

    fn wrong_kind(&self, node: &Node, schema: &'s Value, wanted: &Kind<'s>, at: &str) -> Fault {
        let (name, _) = self.resolve(schema);
        let noun = match name {
            Some("Span") => "a span of time in quotes",
            Some("ByteSize") => "a size in quotes",
            Some("ShardChoice") => "a shard",
            Some("MergeChoice") => "a pair of shards",
            _ => wanted.noun(),
        };
        let what = if at.is_empty() { "the scenario".to_owned() } else { format!("`{at}`") };
        let found = node.data.noun();
        let example = inline(&self.example(schema));
        node.fault(
            format!("{what} is {found}, not {noun}"),
            format!("write {noun}, such as {example}{}", about(schema)),
        )
        .labelled(found)
    }

    /// A value that would be accepted: the schema's example, its default, or one made of its parts.
    fn example(&self, schema: &'s Value) -> Value {
        let (_, target) = self.resolve(schema);
        let given = [&schema["examples"][0], &target["examples"][0], &schema["default"]];
        if let Some(value) = given.into_iter().find(|value| !value.is_null()) {
            return value.clone();
        }
        match kind(target) {
            Kind::Section => required(target)
                .map(|key| (key.to_owned(), self.example(&target["properties"][key])))
                .collect::<Map<_, _>>()
                .into(),
            Kind::List => vec![self.example(&target["items"])].into(),
            Kind::Choice(names) => names.first().copied().unwrap_or_default().into(),
            Kind::Text => "...".into(),
            Kind::Whole | Kind::Number => 1.into(),
            Kind::Boolean => true.into(),
        }
    }
}

/// What a schema asks for.
enum Kind<'s> {
    Section,
    List,
    Choice(Vec<&'s str>),
    Text,
    Whole,
    Number,
    Boolean,
}

impl Kind<'_> {
    const fn noun(&self) -> &'static str {
        match self {
            Self::Section => "a section",
            Self::List => "a list",
            Self::Choice(_) | Self::Text => "text in quotes",
            Self::Whole => "a whole number",
            Self::Number => "a number",
            Self::Boolean => "true or false",
        }
    }
}

fn kind(schema: &Value) -> Kind<'_> {
    if let Some(choices) = schema["oneOf"].as_array() {
        return Kind::Choice(choices.iter().filter_map(|choice| choice["const"].as_str()).collect());
    }
    match schema["type"].as_str() {
        Some("object") => Kind::Section,
        Some("array") => Kind::List,
        Some("integer") => Kind::Whole,
        Some("number") => Kind::Number,
        Some("boolean") => Kind::Boolean,
        _ => Kind::Text,
    }
}

fn properties(section: &Value) -> impl Iterator<Item = (&str, &Value)> {
    section["properties"].as_object().into_iter().flatten().map(|(name, schema)| (name.as_str(), schema))
}

/// The schema of a key: its own, or the one of any key where keys are free.
fn property<'s>(section: &'s Value, key: &str) -> Option<&'s Value> {
    section["properties"].get(key).or_else(|| section.get("additionalProperties").filter(|schema| schema.is_object()))
}

fn required(section: &Value) -> impl Iterator<Item = &str> {
    section["required"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// What a key is for, from its description: the first sentence, in brackets.
fn about(schema: &Value) -> String {
    let description = schema["description"].as_str().unwrap_or_default().replace('\n', " ");
    let sentence = description.split_once(". ").map_or(description.as_str(), |(first, _)| first).trim_end_matches('.');
    if sentence.is_empty() { String::new() } else { format!(" ({sentence})") }
}

fn join(at: &str, key: &str) -> String {
    if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") }
}

/// A JSON value as TOML on one line.
fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => toml_edit::Value::from(text.as_str()).to_string(),
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) if entries.is_empty() => "{}".to_owned(),
        Value::Object(entries) => {
            let entries: Vec<_> = entries.iter().map(|(key, value)| format!("{key} = {}", inline(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

/// One shard's number, as in its name.
fn shard_number(node: &Node, at: &str) -> Option<Fault> {
    let is_number = matches!(&node.data, Data::Integer(number) if u32::try_from(*number).is_ok());
    (!is_number).then(|| node.fault(format!("`{at}` is not a shard's number"), "write a whole number, such as 3"))
}

fn quantity(node: &Node, at: &str, error: Option<UnitError>) -> Option<Fault> {
    let error = error?;
    let bare = matches!(&node.data, Data::Text(text) if text.trim().parse::<f64>().is_ok());
    let fault = node.fault(format!("`{at}` is not a {}", error.what), format!("write for example {}", error.example));
    Some(if bare { fault.labelled("the unit is missing") } else { fault })
}

fn metric(node: &Node, text: &str) -> Option<Fault> {
    let error = text.parse::<SloMetric>().err()?;
    let plain = ["refused_share", "lost_records", "duplicated_records", "quarantined_records", "rate_error_share"];
    let latencies = Hop::ALL.into_iter().flat_map(|hop| ["50", "90", "99", "99.9"].map(|p| format!("{hop}_p{p}_ms")));
    let names: Vec<String> = plain.into_iter().map(str::to_owned).chain(latencies).collect();
    let near = nearest(text, names.iter().map(String::as_str));
    let hint = near.map(|name| format!("did you mean \"{name}\"? ")).unwrap_or_default();
    let rule = error.to_string();
    let rule = rule.split_once("; ").map_or(rule.as_str(), |(_, rule)| rule);
    Some(node.fault(format!("there is no metric \"{text}\""), format!("{hint}{rule}")).labelled("unknown metric"))
}

fn choice(node: &Node, text: &str, names: &[&str], at: &str) -> Option<Fault> {
    if names.contains(&text) {
        return None;
    }
    let hint =
        nearest(text, names.iter().copied()).map(|name| format!("did you mean \"{name}\"? ")).unwrap_or_default();
    let help = format!("{hint}choices: {}", names.join(", "));
    Some(node.fault(format!("\"{text}\" is not a choice for `{at}`"), help).labelled("unknown choice"))
}

fn range(node: &Node, number: i64, schema: &Value, at: &str) -> Option<Fault> {
    let highest = if schema["format"] == "uint32" { i64::from(u32::MAX) } else { i64::MAX };
    let lowest = schema["minimum"].as_i64().unwrap_or(i64::MIN);
    (!(lowest..=highest).contains(&number)).then(|| {
        let help = if number < lowest { format!("write {lowest} or more") } else { format!("write at most {highest}") };
        node.fault(format!("`{at}` is out of range"), help)
    })
}

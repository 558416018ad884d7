//! The manifest of one commit: which objects it takes. It is written, once and for good, before anything else of the
//! commit exists, so that whoever finds it unfinished can do exactly the same again.

use std::collections::BTreeMap;

use arrow::datatypes::Schema;
use bytes::Bytes;
use millrace_scenarios::{Dedup, Derive, Reading, TimeShape};
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, path::Path};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    error::CompactError,
    schema::TableSchema,
    store::{Location, durable},
};

/// Version of the manifest's shape.
const FORMAT: u32 = 1;
/// Where manifests are, under the table. Names that start with `_` are no business of other readers of the table.
const FOLDER: &str = "_millrace/manifests";

/// An object of the lake.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Object {
    /// Its key under the lake.
    pub(super) key: String,
    /// Its size in bytes.
    pub(super) size: u64,
    /// Its entity tag, when the store has one that is of the content. On a disk it is of the file, and a copy of the lake
    /// has other files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) etag: Option<String>,
    /// CRC-32 of its bytes as they were read: what is committed later is this content or none. Absent before it is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) crc32: Option<u32>,
}

impl Object {
    /// The part of the key that it shares with its neighbours.
    pub(super) fn folder(&self) -> &str {
        self.key.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

/// What decides, beside the columns, which rows a table has and what is in them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Rules {
    derive: Vec<Derive>,
    dedup: Option<Dedup>,
    /// How timestamps were written. Absent in manifests that are older than this field.
    #[serde(default)]
    timestamps: BTreeMap<String, TimeShape>,
    /// How the objects are read: which of their records are rows, and which are kept aside. Absent in manifests that are
    /// older than this field.
    #[serde(default)]
    read: Option<Reading>,
}

impl Rules {
    fn of(schema: &TableSchema) -> Self {
        let (timestamps, read) = (schema.read().timestamps.clone(), Some(schema.read().clone()));
        Self { derive: schema.derive().to_vec(), dedup: schema.rule().cloned(), timestamps, read }
    }

    /// A column whose texts were read in one shape and would be in another. A shape that is new to a column only takes in
    /// what was kept aside before.
    fn other_shape<'a>(&'a self, now: &Self) -> Option<&'a String> {
        let is_other =
            |(name, shape): &(&String, &TimeShape)| now.timestamps.get(*name).is_some_and(|now| now != *shape);
        self.timestamps.iter().find(is_other).map(|(name, _)| name)
    }
}

/// What one commit takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    format: u32,
    /// The commit's sequence number, from 1; also the version of its application transaction.
    pub(super) sequence: u64,
    /// Made up for this manifest, to tell it from another with the same number.
    id: Uuid,
    /// The lake, relative to the table where that is possible: both can be moved together.
    pub(super) lake: String,
    /// SHA-256 (hex) of the table's columns and rules when it was written.
    pub(super) schema: String,
    /// The rules that the table's rows are made by. Absent in manifests that are older than this field.
    #[serde(default)]
    rules: Option<Rules>,
    /// When it was written, microseconds since 1970.
    written_at_us: u64,
    /// The objects, in order of key.
    pub(super) objects: Vec<Object>,
}

impl Manifest {
    pub(super) fn new(sequence: u64, lake: String, schema: &TableSchema, now_us: u64, objects: Vec<Object>) -> Self {
        let (rules, schema) = (Some(Rules::of(schema)), fingerprint(schema));
        Self { format: FORMAT, sequence, id: Uuid::new_v4(), lake, schema, rules, written_at_us: now_us, objects }
    }

    /// Refuses to go on with other rules than the ones it was written with.
    pub(super) fn check_rules(&self, table: &Location, schema: &TableSchema) -> Result<(), CompactError> {
        let (Some(then), now) = (&self.rules, Rules::of(schema)) else { return Ok(()) };
        let change = if then.dedup != now.dedup {
            format!("dedup was {} and is {}", json(&then.dedup), json(&now.dedup))
        } else if then.derive != now.derive {
            format!("derive was {} and is {}", json(&then.derive), json(&now.derive))
        } else if let Some(name) = then.other_shape(&now) {
            format!(
                "timestamps of {name} were {} and are {}",
                json(&then.timestamps[name]),
                json(&now.timestamps[name])
            )
        } else {
            return Ok(());
        };
        Err(CompactError::OtherRules { table: table.url.to_string(), manifest: self.key(), change })
    }

    /// Refuses to finish it by reading its objects in another way: what it kept aside may be in quarantine already, and would
    /// come into the table too.
    pub(super) fn check_reading(&self, table: &Location, schema: &TableSchema) -> Result<(), CompactError> {
        self.check_rules(table, schema)?;
        let then = self.rules.as_ref().and_then(|rules| rules.read.as_ref());
        match then.filter(|then| *then != schema.read()) {
            None => Ok(()),
            Some(then) => {
                let (then, now) = (json(then), json(schema.read()));
                let change = format!("read was {then} and is {now}, and the commit is not finished");
                Err(CompactError::OtherRules { table: table.url.to_string(), manifest: self.key(), change })
            }
        }
    }

    /// The key by which the rows of a table with these columns are deduplicated, where they are.
    pub(super) fn dedup_key(&self, table: &Schema) -> Option<Vec<String>> {
        let rules = self.rules.as_ref()?;
        let dedup = rules.dedup.as_ref()?;
        if !dedup.key.is_empty() {
            return Some(dedup.key.clone());
        }
        let computed = |name: &String| {
            rules.derive.iter().any(|derive| derive.name == *name) || dedup.aggregate.iter().any(|a| a.name == *name)
        };
        let mut key: Vec<_> = table.fields().iter().map(|field| field.name().clone()).collect();
        key.retain(|name| !computed(name));
        key.sort();
        Some(key)
    }

    /// Whether the table's files say where rows come from.
    pub(super) fn keeps_origins(&self) -> bool {
        let dedup = self.rules.as_ref().and_then(|rules| rules.dedup.as_ref());
        dedup.is_some_and(|dedup| !dedup.key.is_empty())
    }

    /// Whether the table's columns and rules are what they were when it was written.
    pub(super) fn fits(&self, schema: &TableSchema) -> bool {
        self.schema == fingerprint(schema)
    }

    /// Its path under the table.
    pub(super) fn key(&self) -> String {
        key(self.sequence)
    }

    /// Writes it unless there is one with its number; false says there is, and it is another.
    pub(super) async fn put(&self, table: &Location) -> Result<bool, CompactError> {
        let path = table.path(&self.key());
        let bytes = serde_json::to_vec_pretty(self)
            .map_err(|e| CompactError::Manifest { path: path.to_string(), reason: e.to_string() })?;
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match table.store.put_opts(&path, bytes.into(), options).await {
            Ok(_) => {}
            // A put whose answer was lost is tried again by the store and then finds itself.
            Err(object_store::Error::AlreadyExists { .. }) => {
                if read(table, self.sequence).await?.is_none_or(|there| there.id != self.id) {
                    return Ok(false);
                }
            }
            Err(source) => return Err(CompactError::object(path, source)),
        }
        durable::sync(table, vec![path]).await?;
        Ok(true)
    }
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn key(sequence: u64) -> String {
    format!("{FOLDER}/{sequence:020}.json")
}

fn fingerprint(schema: &TableSchema) -> String {
    Sha256::digest(schema.describe()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The manifest with this number, if there is one.
pub(super) async fn read(table: &Location, sequence: u64) -> Result<Option<Manifest>, CompactError> {
    let path = table.path(&key(sequence));
    let bytes = match table.store.get(&path).await {
        Ok(found) => found.bytes().await.map_err(|e| CompactError::object(&path, e))?,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(source) => return Err(CompactError::object(path, source)),
    };
    parse(&path, &bytes).map(Some)
}

fn parse(path: &Path, bytes: &Bytes) -> Result<Manifest, CompactError> {
    let refuse = |reason: String| CompactError::Manifest { path: path.to_string(), reason };
    let manifest: Manifest = serde_json::from_slice(bytes).map_err(|e| refuse(e.to_string()))?;
    if manifest.format == FORMAT { Ok(manifest) } else { Err(refuse(format!("its format is {}", manifest.format))) }
}

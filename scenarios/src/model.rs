//! The scenario as data: every section, every key, every default.
//!
//! The shapes here are the language: a doc comment on a field is what `scenario schema` publishes for it.
//! Optional fields that only some kinds use are checked in `validate.rs`, where the error can say which kind wants them.

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    event::Event,
    fault::InjectedFault,
    metric::SloMetric,
    stage::Stage,
    units::{ByteSize, Span},
};

/// One experiment: what to send, how, through what, into which table, and what must hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Short name; also the start of the run's id. Letters, digits, `-` and `_`.
    #[schemars(example = &"my-scenario")]
    pub name: String,
    /// One sentence that says what the scenario shows.
    #[serde(default)]
    pub description: String,
    /// Seed of every draw: payloads, keys and due times are the same for the same seed.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Where payloads come from.
    pub source: Source,
    /// When records are due and how they are sent.
    pub load: Load,
    /// How a record gets its partition key.
    pub keys: Keys,
    /// The stream the records go to.
    pub stream: Stream,
    /// How the stream is landed in the lake.
    #[serde(default)]
    pub delivery: Delivery,
    /// What the lake is compacted into.
    #[serde(default)]
    pub table: Table,
    /// Questions asked of both the raw lake and the table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<Query>,
    /// What goes wrong with the local stream, and when. Another stream cannot be told to fail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fault: Vec<InjectedFault>,
    /// What is changed while the load runs, and when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub event: Vec<Event>,
    /// What must hold for the run to pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slo: Vec<Slo>,
}

fn default_seed() -> u64 {
    42
}

/// Which records are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// US-Accidents rows from a CSV file, or from the built-in generator when no path is given.
    Accidents,
    /// Temperature, humidity and pressure readings of a set of sensors.
    Sensors,
    /// One reading per city and poll, from a model or from the Open-Meteo API.
    Weather,
}

/// What happens when a file has no more rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AtEnd {
    /// Start again at the first row; the table's deduplication then has something to do.
    #[default]
    Loop,
    /// The load ends with the file.
    Stop,
}

/// `[source]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Which records are made.
    #[schemars(example = SourceKind::Accidents)]
    pub kind: SourceKind,
    /// accidents: the CSV file to replay. Absent: a synthetic file with the same schema is generated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"us-accidents.csv")]
    pub path: Option<PathBuf>,
    /// accidents: rows in the synthetic file.
    #[serde(default = "default_rows")]
    pub rows: u64,
    /// accidents: loop or stop at the end of the file.
    #[serde(default)]
    pub at_end: AtEnd,
    /// sensors: how many sensors take turns.
    #[serde(default = "default_sensors")]
    pub sensors: u32,
    /// sensors, weather: the event time of the first record (RFC 3339).
    #[serde(default = "default_epoch")]
    pub epoch: String,
    /// sensors, weather: event time between two rounds of readings.
    #[serde(default = "default_interval")]
    pub interval: Span,
    /// weather: ask the live API instead of the offline model. Leaves the machine.
    #[serde(default)]
    pub live: bool,
    /// weather: the API asked when `live` is true.
    #[serde(default = "default_weather_url")]
    pub url: String,
}

fn default_rows() -> u64 {
    20_000
}
fn default_sensors() -> u32 {
    10
}
fn default_epoch() -> String {
    "2025-01-01T00:00:00Z".to_owned()
}
fn default_interval() -> Span {
    Span::from_secs(60)
}
fn default_weather_url() -> String {
    "https://api.open-meteo.com/v1/forecast".to_owned()
}

/// The arrival process: how due times are spaced within a stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Arrival {
    /// Evenly spaced.
    Constant,
    /// Independent exponential gaps, seeded.
    #[default]
    Poisson,
    /// As far apart as the events that the source replays.
    Trace,
}

/// What the rates of the stages count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RateUnit {
    /// Records.
    #[default]
    Records,
    /// Bytes of data and partition keys.
    Bytes,
}

/// Which call puts records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PutCall {
    /// Up to 500 records at once; each is taken or refused on its own.
    #[default]
    PutRecords,
    /// One record a call.
    PutRecord,
    /// Up to 500 records at once to the delivery stream of Amazon Data Firehose that has the stream's name: without keys
    /// and shards, and nothing can be read back but what lands in the lake.
    PutRecordBatch,
}

/// What the calls that put records are written in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BodyFormat {
    /// JSON with data in base64, as most SDKs write it.
    #[default]
    Json,
    /// CBOR with data as it is, as the SDK for Java writes it: shorter, and with less to hash.
    Cbor,
}

/// What is sent again of a call that was refused, or refused in part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// Nothing: a record is tried once.
    None,
    /// What was refused, after a pause with full jitter, until its deadline.
    #[default]
    Record,
    /// The whole call, as simple clients do: what was taken is there twice, and counted as duplicated.
    Call,
}

/// Which records keep their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// None: a refused record is overtaken by those after it.
    #[default]
    None,
    /// Those of one key, under retries too: one record of a key is under way at a time, which bounds a key's rate by the
    /// round trip. The consumer checks it.
    Key,
}

/// `[load]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = example_load())]
pub struct Load {
    /// How due times are spaced.
    #[serde(default)]
    pub arrival: Arrival,
    /// constant, poisson: the stages, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = example_stages())]
    pub stages: Vec<Stage>,
    /// Records due in the first part of the load, this long, are sent and measured, and kept out of the verdict.
    #[serde(default)]
    pub warm_up: Span,
    /// The same for the last part.
    #[serde(default)]
    pub cool_down: Span,
    /// constant, poisson: what the stages' rates count.
    #[serde(default)]
    pub unit: RateUnit,
    /// trace: seconds of event time per second.
    #[serde(default = "default_trace_speed")]
    #[schemars(example = 3_600.0)]
    pub trace_speed: f64,
    /// trace: the load ends after this long. Absent: it ends with the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = Span::from_secs(30))]
    pub trace_for: Option<Span>,
    /// How long a record may wait for its batch to fill.
    #[serde(default = "default_linger")]
    pub linger: Span,
    /// Records in a PutRecords call at most (AWS: 500).
    #[serde(default = "default_batch_records")]
    pub batch_records: u32,
    /// Bytes of data and keys in a PutRecords call at most (AWS: 10 MiB).
    #[serde(default = "default_batch_bytes")]
    pub batch_bytes: ByteSize,
    /// Which call puts records.
    #[serde(default)]
    pub call: PutCall,
    /// What its body is written in.
    #[serde(default)]
    pub body: BodyFormat,
    /// What is sent again.
    #[serde(default)]
    pub retry: Retry,
    /// Which records keep their order.
    #[serde(default)]
    pub order: Order,
    /// PutRecords calls under way at once at most.
    #[serde(default = "default_in_flight")]
    pub in_flight: u32,
    /// Calls of one shard that send again what was refused, under way at once at most, so that a hot shard's retries hold
    /// up nobody else's. Absent: a quarter of `in_flight`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 4)]
    pub in_flight_per_shard: Option<u32>,
    /// Memory for records that wait to be tried again. When it is full, a shard that has more than its share in it has
    /// further refused records given up.
    #[serde(default = "default_retry_window")]
    pub retry_window: ByteSize,
    /// The longest first pause before a refused record is tried again; doubles with each attempt, drawn with full jitter.
    #[serde(default = "default_retry_base")]
    pub retry_base: Span,
    /// The longest pause between attempts.
    #[serde(default = "default_retry_cap")]
    pub retry_cap: Span,
    /// A record not accepted this long after it was due is given up and counted as refused.
    #[serde(default = "default_deadline")]
    pub deadline: Span,
    /// A record that could only be sent later than this after it was due is not sent at all, and is counted as refused
    /// with the cause `shed`. Absent: however late, it is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = Span::from_secs(1))]
    pub shed_after: Option<Span>,
    /// How long before a call is due the sender stops sleeping and only looks at the clock: more exact, for a core's time.
    #[serde(default)]
    pub spin: Span,
    /// Whether calls are signed (Signature Version 4). AWS takes no others.
    #[serde(default = "default_sign")]
    pub sign: bool,
    /// Whether small records share a record of the stream, in the format of the Kinesis Producer Library.
    #[serde(default)]
    pub aggregate: bool,
    /// Bytes of such a shared record at most (KPL: `AggregationMaxSize`).
    #[serde(default = "default_aggregate_bytes")]
    pub aggregate_bytes: ByteSize,
}

fn example_stages() -> serde_json::Value {
    serde_json::json!([{ "rate": 500, "for": "30s" }])
}
fn example_load() -> serde_json::Value {
    serde_json::json!({ "stages": example_stages() })
}
fn default_trace_speed() -> f64 {
    1.0
}
fn default_sign() -> bool {
    true
}
fn default_retry_window() -> ByteSize {
    ByteSize::from_bytes(16 << 20)
}
fn default_linger() -> Span {
    Span::from_millis(20)
}
fn default_batch_records() -> u32 {
    500
}
fn default_batch_bytes() -> ByteSize {
    ByteSize::from_bytes(5 << 20)
}
fn default_in_flight() -> u32 {
    16
}
fn default_retry_base() -> Span {
    Span::from_millis(100)
}
fn default_retry_cap() -> Span {
    Span::from_secs(5)
}
fn default_deadline() -> Span {
    Span::from_secs(30)
}
fn default_aggregate_bytes() -> ByteSize {
    ByteSize::from_bytes(50 << 10)
}

/// How partition keys are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// The value of a payload field.
    Field,
    /// `distinct` keys, all equally likely.
    Uniform,
    /// `distinct` keys, the r-th with weight 1 / r^exponent.
    Zipf,
    /// `hot` keys share `hot_share` of the records; the other `distinct - hot` keys share the rest.
    HotSet,
    /// The newest keys are the hottest: record k gets key k - r, and r is drawn as by `zipf` over `distinct` keys.
    Latest,
    /// `distinct` keys in turn.
    Sequential,
    /// The keys of a CSV file with a header `key,weight`, each as likely as its weight.
    File,
}

/// How a record is brought to where it should go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// By an explicit hash key inside the shard's range; the partition key stays as it was drawn.
    HashKey,
    /// By its name: the partition key gets a suffix (`key-17.3`) that makes its MD5 fall on the shard.
    Name,
    /// By an explicit hash key anywhere, evenly over all hash keys: no shard is hot, whatever the keys are.
    Spread,
}

/// `[keys]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// How keys are drawn.
    #[schemars(example = KeyKind::Uniform)]
    pub kind: KeyKind,
    /// field: which payload field. A record without it gets the key `(none)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"County")]
    pub field: Option<String>,
    /// uniform, zipf, hot_set, sequential: how many different keys there are; latest: how many keys back a draw reaches.
    #[serde(default = "default_distinct")]
    pub distinct: u64,
    /// zipf, latest: how steep; 0 is uniform.
    #[serde(default = "default_exponent")]
    pub exponent: f64,
    /// hot_set: how many keys are hot.
    #[serde(default = "default_hot")]
    pub hot: u64,
    /// hot_set: the share of records that goes to hot keys, 0 to 1.
    #[serde(default = "default_hot_share")]
    pub hot_share: f64,
    /// file: the CSV file; its first line is `key,weight`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"keys.csv")]
    pub path: Option<PathBuf>,
    /// The share of the records that goes to each shard: one number per open shard, in order of hash key, with the sum 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shards: Vec<f64>,
    /// The share of the records that goes to one shard, 0 to 1; the others share the rest evenly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 0.7)]
    pub hot_shard: Option<f64>,
    /// Which shard `hot_shard` means, counted from 0 in order of hash key. Absent: the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 0)]
    pub hot_shard_index: Option<u32>,
    /// How records are brought to their shard. Absent: `hash_key` with `shards` or `hot_shard`, else by the key alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = Place::HashKey)]
    pub place: Option<Place>,
    /// How many names each key is spread over (`key-17#0`, `key-17#1`, ...), drawn for each record. 1: its own name only.
    #[serde(default = "default_salt")]
    pub salt: u32,
}

impl Keys {
    /// Whether the share of some shard is asked for.
    #[must_use]
    pub fn asks_for_shards(&self) -> bool {
        self.hot_shard.is_some() || !self.shards.is_empty()
    }
}

fn default_salt() -> u32 {
    1
}

fn default_distinct() -> u64 {
    1_000
}
fn default_exponent() -> f64 {
    1.0
}
fn default_hot() -> u64 {
    1
}
fn default_hot_share() -> f64 {
    0.5
}

/// `[stream]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// The stream's name.
    #[schemars(example = &"my-stream")]
    pub name: String,
    /// Shards of the stream when Millrace creates it.
    #[serde(default = "default_shards")]
    pub shards: u32,
    /// How long the local stream keeps a record.
    #[serde(default = "default_retention")]
    pub retention: Span,
    /// How often the consumer reads each shard (AWS allows five reads a second and shard).
    #[serde(default = "default_consumer_poll")]
    pub consumer_poll: Span,
}

fn default_shards() -> u32 {
    4
}
fn default_retention() -> Span {
    Span::from_secs(24 * 3600)
}
fn default_consumer_poll() -> Span {
    Span::from_millis(250)
}

/// `[delivery]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Delivery {
    /// The lake: a folder or an `s3://bucket/prefix` URL. Absent: `lake` in the run's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"s3://my-bucket/lake")]
    pub lake: Option<String>,
    /// Firehose prefix expression of good objects.
    pub prefix: String,
    /// Firehose prefix expression of records whose partition keys could not be read.
    pub error_prefix: String,
    /// Partition keys for `!{partitionKeyFromQuery:name}`: name to field path (`.city`, `.location.city`).
    pub partition_keys: BTreeMap<String, String>,
    /// An object is written when this many bytes, before compression, are buffered.
    pub buffer_size: ByteSize,
    /// ... or when its oldest record is this old, whichever comes first.
    pub buffer_interval: Span,
    /// How often delivery reads each shard (Firehose: once a second).
    pub poll: Span,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            lake: None,
            prefix: "year=!{timestamp:yyyy}/month=!{timestamp:MM}/day=!{timestamp:dd}/hour=!{timestamp:HH}/".to_owned(),
            error_prefix: "errors/!{firehose:error-output-type}/".to_owned(),
            partition_keys: BTreeMap::new(),
            buffer_size: ByteSize::from_bytes(5 << 20),
            buffer_interval: Span::from_secs(10),
            poll: Span::from_secs(1),
        }
    }
}

/// A column's type in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// UTF-8 text.
    String,
    /// 64-bit signed integer.
    Integer,
    /// 64-bit floating point.
    Number,
    /// True or false.
    Boolean,
    /// Microseconds since 1970 in UTC, read from ISO-8601 text; text without an offset is taken as UTC.
    Timestamp,
}

/// Which part of a timestamp a derived column holds, as text that sorts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimePart {
    /// `2025`
    Year,
    /// `2025-01`
    Month,
    /// `2025-01-31`
    Date,
    /// `2025-01-31-23`
    Hour,
}

/// A column computed from a timestamp column, made to partition by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Derive {
    /// The new column's name. It is a string.
    #[schemars(example = &"event_hour")]
    pub name: String,
    /// The timestamp column it is computed from.
    #[schemars(example = &"timestamp")]
    pub from: String,
    /// Which part it holds.
    #[schemars(example = TimePart::Hour)]
    pub part: TimePart,
}

/// Which of several rows with one key stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// The row with the smallest `order_by`.
    #[default]
    First,
    /// The row with the largest `order_by`.
    Last,
}

/// What is computed over all rows that share a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AggregateFunction {
    /// The smallest value of the column.
    Min,
    /// The largest value of the column.
    Max,
    /// How many rows there were.
    Count,
}

/// An extra column of the table, computed over the rows that share a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Aggregate {
    /// The new column's name.
    #[schemars(example = &"first_seen")]
    pub name: String,
    /// What is computed.
    #[schemars(example = AggregateFunction::Min)]
    pub function: AggregateFunction,
    /// The column it is computed over; not used by `count`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"timestamp")]
    pub of: Option<String>,
}

/// `[table.dedup]`: rows with an equal key are one row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dedup {
    /// The columns that make two rows the same. Null equals null.
    #[schemars(example = example_key())]
    pub key: Vec<String>,
    /// Which row stays.
    #[serde(default)]
    pub keep: Keep,
    /// The column that orders rows with one key; its ties are broken by object name, then line.
    #[serde(default = "default_order_by")]
    pub order_by: String,
    /// Columns computed over all rows with one key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aggregate: Vec<Aggregate>,
}

fn example_key() -> [&'static str; 1] {
    ["ID"]
}
fn default_order_by() -> String {
    crate::stamp::SEQUENCE_FIELD.to_owned()
}

/// How records are written in the objects of the lake.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordFormat {
    /// JSON objects, with newlines between them or with nothing.
    #[default]
    Json,
    /// Lines of fields with one delimiter between them, quoted as RFC 4180 has it.
    Csv,
    /// Lines of fields with any number of delimiters between them, without quotes.
    Text,
}

/// What becomes of objects and lists inside a record, in columns that are inferred.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Nested {
    /// They are kept as their JSON text.
    #[default]
    Text,
    /// They become structs and lists. What mixes types inside them stays JSON text.
    Struct,
}

/// What becomes of a field that is no column of the table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NewColumns {
    /// It is left out, and counted.
    #[default]
    Ignore,
    /// The table gets a column for it, with the type of the values it was first met with.
    Add,
    /// Its record goes to quarantine.
    Quarantine,
}

/// `[table.read]`: how the lake's objects are read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Reading {
    /// How records are written.
    pub format: RecordFormat,
    /// What stands between the fields of a `csv` or `text` line. Absent: a comma for `csv`, a space for `text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &";")]
    pub delimiter: Option<char>,
    /// The first line of every `csv` or `text` object names its fields. It has to name `fields`, in their order.
    #[serde(skip_serializing_if = "is_default")]
    pub header: bool,
    /// The fields of a `csv` or `text` line, in order. One that is no column is left out, and counted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = example_fields())]
    pub fields: Vec<String>,
    /// Columns that stand in the objects' keys, Hive-style: `city=London/year=2025/...`. A record that has the field too
    /// must agree, or it goes to quarantine; an object whose key lacks the part leaves the column to its records.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = example_path_columns())]
    pub path_columns: Vec<String>,
    /// What becomes of objects and lists inside a JSON record, in columns that are inferred.
    #[serde(skip_serializing_if = "is_default")]
    pub nested: Nested,
    /// What becomes of a field of a JSON record that is no column.
    #[serde(skip_serializing_if = "is_default")]
    pub new_columns: NewColumns,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
fn example_fields() -> [&'static str; 3] {
    ["record_id", "timestamp", "speed"]
}
fn example_path_columns() -> [&'static str; 1] {
    ["city"]
}

/// `[table]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Table {
    /// The table: a folder or an `s3://bucket/prefix` URL. Absent: `table` in the run's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"s3://my-bucket/table")]
    pub location: Option<String>,
    /// Column name to type, in order of name. Empty: inferred from the first objects. A field of a record that is not a
    /// column is kept out of the table and counted.
    pub columns: BTreeMap<String, ColumnType>,
    /// Columns computed from timestamps.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub derive: Vec<Derive>,
    /// Hive-style partition columns, outermost first.
    pub partition_by: Vec<String>,
    /// When two rows are the same. Absent: every row is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dedup: Option<Dedup>,
    /// How the lake's objects are read.
    #[serde(skip_serializing_if = "is_default")]
    pub read: Reading,
    /// How often the compactor looks for new objects while the load runs.
    pub every: Span,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            location: None,
            columns: BTreeMap::new(),
            derive: Vec::new(),
            partition_by: Vec::new(),
            dedup: None,
            read: Reading::default(),
            every: Span::from_secs(15),
        }
    }
}

/// `[[query]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// Short name, printed in the verdict.
    #[schemars(example = &"all-records")]
    pub name: String,
    /// One SELECT over the table `records`. It is asked of the raw lake, through a view that types and
    /// deduplicates as the table does, and of the table.
    #[schemars(example = &"SELECT COUNT(*) AS n FROM records")]
    pub sql: String,
}

/// `[[slo]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slo {
    /// What is bounded: `<hop>_p<percent>_ms` (`response_p99_ms`, `landed_p50_ms`), `refused_share`, `lost_records`,
    /// `duplicated_records`, `quarantined_records` or `rate_error_share`.
    #[schemars(example = &"response_p99_ms")]
    pub metric: SloMetric,
    /// The largest value that passes.
    #[schemars(example = 100)]
    pub max: f64,
}

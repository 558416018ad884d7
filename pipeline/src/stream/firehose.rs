//! The front door of Amazon Data Firehose, on the port of the streams: records straight into a delivery.
//!
//! A delivery stream here is a [`Delivery`](crate::delivery::Delivery) with a name. It takes PutRecord and
//! PutRecordBatch, and describes and lists itself; it is made by who starts the server, not by a call. A record that was
//! taken is in memory until its buffer is written, where Firehose would have it in three places: a process that is
//! killed loses it. Records are not taken apart, as Firehose takes apart only what it reads from a stream.

mod inlet;

use std::{
    collections::BTreeMap,
    ops::{
        Bound::{Excluded, Unbounded},
        Range,
    },
    sync::Arc,
};

use bytes::Bytes;
use millrace_reports::record::{DeliveryRecord, HopLatency};
use serde::Deserialize;
use serde_json::{Value, json};

use self::inlet::Inlet;
use super::{
    account::{ACCOUNT_ID, REGION},
    blob::Blob,
    error::{ApiError, ErrorKind},
    json::{self, Batch, Text},
    validate::{Member, Violations},
};
use crate::delivery::{DeliveryConfig, DeliveryError, Progress};

/// A delivery stream that did not come to its end as it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FirehoseError {
    /// Records that were taken have not landed, and are gone.
    #[error("the delivery stream {name} could not land all it took: {source}")]
    Lost {
        /// Its name.
        name: String,
        /// Why.
        source: DeliveryError,
    },
    /// Its task ended without saying why: a defect.
    #[error("the delivery stream {name} stopped unexpectedly; this is a defect in Millrace")]
    Stopped {
        /// Its name.
        name: String,
    },
}

/// What a target header starts with.
const TARGET_PREFIX: &str = "Firehose_20150804.";
/// Records of a PutRecordBatch call at most (AWS).
const MAX_RECORDS: usize = 500;
/// Bytes of a PutRecordBatch call's data at most (AWS).
const MAX_CALL_BYTES: usize = 4 << 20;
/// Bytes of one record's data at most (service model).
const MAX_DATA_BYTES: usize = 1_000 << 10;
/// Names in a listing, unless a call says otherwise (AWS).
const LISTED: i64 = 10;

/// What a delivery stream has landed: its counts, and the time from due to landed where a witness knew when records were
/// due.
pub type Landed = (DeliveryRecord, Option<HopLatency>);

/// Looks at records as a delivery stream takes them.
pub trait Witness: std::fmt::Debug + Send + Sync {
    /// When a record was due, microseconds since 1970; absent when it does not say.
    fn due_us(&self, data: &[u8]) -> Option<i64>;
    /// These were taken, in one call.
    fn taken(&self, records: &[&[u8]]);
}

/// Delivery streams, each with the delivery it feeds. A clone is the same ones.
#[derive(Debug, Clone, Default)]
pub struct Firehose {
    inlets: Arc<BTreeMap<String, Inlet>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecord<'a> {
    #[serde(borrow)]
    delivery_stream_name: Option<Text<'a>>,
    #[serde(borrow)]
    record: Option<Entry<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecordBatch<'a> {
    #[serde(borrow)]
    delivery_stream_name: Option<Text<'a>>,
    #[serde(borrow)]
    records: Option<Batch<Entry<'a>, MAX_RECORDS>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    #[serde(borrow)]
    data: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Describe<'a> {
    #[serde(borrow)]
    delivery_stream_name: Option<Text<'a>>,
    limit: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct List<'a> {
    limit: Option<i64>,
    #[serde(borrow)]
    delivery_stream_type: Option<Text<'a>>,
    #[serde(borrow)]
    exclusive_start_delivery_stream_name: Option<Text<'a>>,
}

impl Firehose {
    /// Starts a delivery stream for each of these, named as its stream, on the current tokio runtime.
    ///
    /// # Errors
    /// As [`Delivery::new`](crate::delivery::Delivery::new).
    pub fn start(deliveries: impl IntoIterator<Item = DeliveryConfig>) -> Result<Self, DeliveryError> {
        let open = |config: DeliveryConfig| Ok((config.stream.clone(), Inlet::open(config, None)?));
        let inlets = deliveries.into_iter().map(open).collect::<Result<_, DeliveryError>>()?;
        Ok(Self { inlets: Arc::new(inlets) })
    }

    /// Starts one delivery stream whose records somebody looks at as they come; gives how far it is, too.
    ///
    /// # Errors
    /// As [`Delivery::new`](crate::delivery::Delivery::new).
    pub fn start_witnessed(
        delivery: DeliveryConfig,
        witness: Arc<dyn Witness>,
    ) -> Result<(Self, Arc<Progress>), DeliveryError> {
        let name = delivery.stream.clone();
        let inlet = Inlet::open(delivery, Some(witness))?;
        let progress = inlet.progress();
        Ok((Self { inlets: Arc::new(BTreeMap::from([(name, inlet)])) }, progress))
    }

    /// Takes no more records, and writes those that were taken. Says what each delivery stream landed, by name; closing
    /// again says nothing.
    ///
    /// # Errors
    /// [`FirehoseError`] of the first delivery stream that could not land everything. The others are closed all the same.
    pub async fn close(&self) -> Result<Vec<Landed>, FirehoseError> {
        let mut closed = Ok(Vec::new());
        for (name, inlet) in self.inlets.iter() {
            let ended = match inlet.close().await {
                Ok(landed) => landed.map_err(|source| FirehoseError::Lost { name: name.clone(), source }),
                Err(_) => Err(FirehoseError::Stopped { name: name.clone() }),
            };
            match (&mut closed, ended) {
                (Ok(all), Ok(landed)) => all.extend(landed),
                (Ok(_), Err(error)) => closed = Err(error),
                (Err(_), _) => {}
            }
        }
        closed
    }

    /// Whether a call is one for Firehose.
    pub(crate) fn is_meant(target: &str) -> bool {
        target.starts_with(TARGET_PREFIX)
    }

    /// Answers the operation that a target header names.
    pub(crate) fn answer(&self, target: &str, body: &[u8]) -> Result<Vec<u8>, ApiError> {
        match target.strip_prefix(TARGET_PREFIX) {
            Some("PutRecord") => self.put_record(body),
            Some("PutRecordBatch") => self.put_record_batch(body),
            Some("DescribeDeliveryStream") => self.describe(body),
            Some("ListDeliveryStreams") => self.list(body),
            _ => {
                let shown: String = target.chars().take(128).collect();
                let text = format!("The operation {shown} is not served by the local Firehose.");
                Err(ApiError::new(ErrorKind::UnknownOperation, text))
            }
        }
    }

    fn put_record(&self, body: &[u8]) -> Result<Vec<u8>, ApiError> {
        let request: PutRecord<'_> = json::parse(body)?;
        let mut violations = Violations::default();
        let name = named(request.delivery_stream_name.as_ref(), &mut violations);
        if request.record.is_none() {
            violations.null("record");
        }
        let blobs = blobs(request.record.as_slice(), &mut violations, |_| "record.data")?;
        violations.finish()?;
        let ids = self.inlet(name)?.put(decoded(&blobs)?)?;
        json::answer(&json!({ "RecordId": self.inlet(name)?.record_id(ids.start), "Encrypted": false }))
    }

    fn put_record_batch(&self, body: &[u8]) -> Result<Vec<u8>, ApiError> {
        let request: PutRecordBatch<'_> = json::parse(body)?;
        let mut violations = Violations::default();
        let name = named(request.delivery_stream_name.as_ref(), &mut violations);
        let (entries, count) = request.records.as_ref().map_or((&[][..], None), |r| (&*r.entries, Some(r.count)));
        match count {
            None => violations.null("records"),
            Some(0) => violations.add("[]", "records", "Member must have length greater than or equal to 1"),
            Some(1..=MAX_RECORDS) => {}
            Some(_) => {
                let constraint = format!("Member must have length less than or equal to {MAX_RECORDS}");
                violations.add(format_args!("[{} records]", count.unwrap_or_default()), "records", constraint);
            }
        }
        let blobs = blobs(entries, &mut violations, |index| Member { list: "records", index, field: "data" })?;
        violations.finish()?;
        let inlet = self.inlet(name)?;
        if blobs.iter().map(Blob::len).sum::<usize>() > MAX_CALL_BYTES {
            return Err(ApiError::invalid_argument("Records size exceeds 4 MB limit"));
        }
        let ids = inlet.put(decoded(&blobs)?)?;
        let responses: Vec<Value> = ids.map(|id| json!({ "RecordId": inlet.record_id(id) })).collect();
        json::answer(&json!({ "FailedPutCount": 0, "Encrypted": false, "RequestResponses": responses }))
    }

    fn describe(&self, body: &[u8]) -> Result<Vec<u8>, ApiError> {
        let request: Describe<'_> = json::parse(body)?;
        let mut violations = Violations::default();
        let name = named(request.delivery_stream_name.as_ref(), &mut violations);
        request.limit.iter().for_each(|limit| violations.range(*limit, "limit", 1, 10_000));
        violations.finish()?;
        let inlet = self.inlet(name)?;
        let destination = json!({
            "DestinationId": "destinationId-000000000001",
            "S3DestinationDescription": inlet.destination(),
            "ExtendedS3DestinationDescription": inlet.destination(),
        });
        let description = json!({
            "DeliveryStreamName": name,
            "DeliveryStreamARN": format!("arn:aws:firehose:{REGION}:{ACCOUNT_ID}:deliverystream/{name}"),
            "DeliveryStreamStatus": "ACTIVE",
            "DeliveryStreamType": "DirectPut",
            "VersionId": "1",
            "CreateTimestamp": json::seconds(inlet.created_us()),
            "Destinations": [destination],
            "HasMoreDestinations": false,
        });
        json::answer(&json!({ "DeliveryStreamDescription": description }))
    }

    fn list(&self, body: &[u8]) -> Result<Vec<u8>, ApiError> {
        let request: List<'_> = json::parse(body)?;
        let mut violations = Violations::default();
        let limit = request.limit.unwrap_or(LISTED);
        violations.range(limit, "limit", 1, 10_000);
        let kind = request.delivery_stream_type.as_ref().map(Text::as_str);
        let kinds = ["DirectPut", "KinesisStreamAsSource", "MSKAsSource", "DatabaseAsSource"];
        kind.iter().for_each(|kind| violations.one_of(kind, "deliveryStreamType", &kinds));
        let after = request.exclusive_start_delivery_stream_name.as_ref().map(Text::as_str);
        after.iter().for_each(|after| check_name(after, "exclusiveStartDeliveryStreamName", &mut violations));
        violations.finish()?;
        let from = after.map_or(Unbounded, Excluded);
        let wanted = kind.is_none_or(|kind| kind == kinds[0]);
        let mut names = self.inlets.range::<str, _>((from, Unbounded)).map(|(name, _)| name).filter(|_| wanted);
        let listed: Vec<_> = names.by_ref().take(usize::try_from(limit).unwrap_or(usize::MAX)).collect();
        let more = names.next().is_some();
        json::answer(&json!({ "DeliveryStreamNames": listed, "HasMoreDeliveryStreams": more }))
    }

    fn inlet(&self, name: &str) -> Result<&Inlet, ApiError> {
        let missing = || ApiError::not_found(format!("Firehose {name} under account {ACCOUNT_ID} not found."));
        self.inlets.get(name).ok_or_else(missing)
    }
}

/// The name a call has to give.
fn named<'a>(name: Option<&'a Text<'_>>, violations: &mut Violations) -> &'a str {
    match name {
        Some(name) => check_name(name.as_str(), "deliveryStreamName", violations),
        None => violations.null("deliveryStreamName"),
    }
    name.map_or("", Text::as_str)
}

fn check_name(name: &str, at: &str, violations: &mut Violations) {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    violations.pattern(name, at, !name.is_empty() && name.bytes().all(allowed), "[a-zA-Z0-9_.-]+");
    violations.length(name, at, 1, 64);
}

/// The data of a call's records. Bad base64 refuses the call before any field is judged.
fn blobs<'a, At: std::fmt::Display>(
    entries: &'a [Entry<'_>],
    violations: &mut Violations,
    at: impl Fn(usize) -> At,
) -> Result<Vec<Blob<'a>>, ApiError> {
    let mut blobs = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        if entry.data.is_none() {
            violations.null(at(index));
        }
        let data = entry.data.as_ref().map_or("", Text::as_str);
        let blob = Blob::checked_base64(data.as_bytes()).map_err(|error| {
            let text = format!("'{}' is not a base64 encoded blob: {error}", at(index));
            ApiError::new(ErrorKind::Serialization, text)
        })?;
        if blob.len() > MAX_DATA_BYTES {
            let shown = format!("java.nio.HeapByteBuffer[pos=0 lim={bytes} cap={bytes}]", bytes = blob.len());
            let constraint = format!("Member must have length less than or equal to {MAX_DATA_BYTES}");
            violations.add(shown, at(index), constraint);
        }
        blobs.push(blob);
    }
    Ok(blobs)
}

/// The data itself, all in one piece of memory.
fn decoded(blobs: &[Blob<'_>]) -> Result<Vec<Bytes>, ApiError> {
    let mut whole = Vec::with_capacity(blobs.iter().map(Blob::len).sum());
    let mut places: Vec<Range<usize>> = Vec::with_capacity(blobs.len());
    for blob in blobs {
        let start = whole.len();
        blob.append_to(&mut whole)
            .map_err(|_| ApiError::new(ErrorKind::Serialization, "A record's data is not a base64 encoded blob."))?;
        places.push(start..whole.len());
    }
    let whole = Bytes::from(whole);
    Ok(places.into_iter().map(|place| whole.slice(place)).collect())
}

#[cfg(test)]
mod tests;

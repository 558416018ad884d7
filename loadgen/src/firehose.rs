//! PutRecordBatch of Amazon Data Firehose as bytes: the body of a call, and what its answer says of each record.
//!
//! Firehose takes records directly, too, without a stream before it. These are pure functions over bytes; who connects,
//! signs and tries again is somebody else. Firehose puts nothing between records: whoever wants lines ends each record
//! with a newline. It does not take apart what arrives this way, unlike what it reads from a stream.

use std::borrow::Cow;

use serde::Deserialize;

/// The operation, as the header `x-amz-target` names it.
pub const TARGET: &str = "Firehose_20150804.PutRecordBatch";
/// What kind of body it is.
pub const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
/// Records of a call at most.
pub const MAX_RECORDS: usize = 500;
/// Bytes of a call's records at most, before base64.
pub const MAX_BYTES: usize = 4 << 20;
/// Bytes of a record at most, before base64.
pub const MAX_RECORD_BYTES: usize = 1_000 << 10;
/// Characters of a delivery stream's name at most.
const MAX_NAME: usize = 64;

/// Records that Firehose would refuse as a whole, or cannot be asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The name is not one.
    #[error("a delivery stream's name has 1 to 64 letters, digits, `_`, `.` and `-`")]
    Name,
    /// There are none.
    #[error("a PutRecordBatch call has at least one record")]
    Empty,
    /// There are too many.
    #[error("a PutRecordBatch call takes 500 records; send the others with the next one")]
    TooManyRecords,
    /// One is too large.
    #[error("record {record} has {bytes} bytes, and Firehose takes 1024000; split it, or leave it out")]
    RecordTooLarge {
        /// Its place in the call.
        record: usize,
        /// Its size.
        bytes: usize,
    },
    /// They are too large together.
    #[error("a PutRecordBatch call takes 4 MiB; send record {record} and those after it with the next one")]
    TooLarge {
        /// The place of the first that has no room.
        record: usize,
    },
}

/// Appends the body of a call with these records.
///
/// # Errors
/// [`BatchError`]; `out` is then as it was.
pub fn encode<'a>(
    delivery_stream: &str,
    records: impl IntoIterator<Item = &'a [u8]>,
    out: &mut Vec<u8>,
) -> Result<(), BatchError> {
    let before = out.len();
    let encoded = append(delivery_stream, records, out);
    if encoded.is_err() {
        out.truncate(before);
    }
    encoded
}

fn append<'a>(
    delivery_stream: &str,
    records: impl IntoIterator<Item = &'a [u8]>,
    out: &mut Vec<u8>,
) -> Result<(), BatchError> {
    // Such a name needs no escapes.
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    if !(1..=MAX_NAME).contains(&delivery_stream.len()) || !delivery_stream.bytes().all(allowed) {
        return Err(BatchError::Name);
    }
    out.extend_from_slice(b"{\"DeliveryStreamName\":\"");
    out.extend_from_slice(delivery_stream.as_bytes());
    out.extend_from_slice(b"\",\"Records\":[");
    let (mut count, mut total) = (0, 0);
    for data in records {
        let (record, bytes) = (count, data.len());
        count += 1;
        total += bytes;
        if count > MAX_RECORDS {
            return Err(BatchError::TooManyRecords);
        }
        if bytes > MAX_RECORD_BYTES {
            return Err(BatchError::RecordTooLarge { record, bytes });
        }
        if total > MAX_BYTES {
            return Err(BatchError::TooLarge { record });
        }
        out.extend_from_slice(if record == 0 { b"{\"Data\":\"" } else { b",{\"Data\":\"" });
        base64_simd::STANDARD.encode_append(data, out);
        out.extend_from_slice(b"\"}");
    }
    if count == 0 {
        return Err(BatchError::Empty);
    }
    out.extend_from_slice(b"]}");
    Ok(())
}

/// What became of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// Firehose has it.
    Accepted {
        /// The name Firehose gave it.
        record_id: Cow<'a, str>,
    },
    /// Firehose does not have it; it may be tried again.
    Refused {
        /// The error code: `ServiceUnavailableException`, `InternalFailure`.
        code: Cow<'a, str>,
        /// What it says beside it.
        message: Cow<'a, str>,
    },
}

/// An answer that does not say what became of every record. None of them counts as accepted then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// It is no answer to PutRecordBatch.
    #[error("the answer is not one to PutRecordBatch: {0}")]
    NotAnAnswer(#[from] serde_json::Error),
    /// It is about another number of records.
    #[error("{sent} records were sent, and the answer is about {answered}")]
    Count {
        /// Records of the call.
        sent: usize,
        /// Records of the answer.
        answered: usize,
    },
    /// It says of a record neither that it was taken nor that it was refused, or both.
    #[error("the answer does not say whether record {record} was taken")]
    Unclear {
        /// Its place in the call.
        record: usize,
    },
    /// Its sum is not that of its records.
    #[error("the answer says that {said} records failed, and names {named}")]
    Sum {
        /// Its `FailedPutCount`.
        said: u64,
        /// Refused records in it.
        named: u64,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer<'a> {
    failed_put_count: u64,
    #[serde(borrow)]
    request_responses: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    #[serde(borrow, default)]
    record_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    error_code: Option<Text<'a>>,
    #[serde(borrow, default)]
    error_message: Option<Text<'a>>,
}

/// Text without escapes stays where it is.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// What became of each of the `sent` records of a call that was answered with status 200, in their order.
///
/// # Errors
/// [`AnswerError`] when the answer does not say so, or contradicts itself.
pub fn parse(answer: &[u8], sent: usize) -> Result<Vec<Outcome<'_>>, AnswerError> {
    let answer: Answer<'_> = serde_json::from_slice(answer)?;
    let answered = answer.request_responses.len();
    if answered != sent {
        return Err(AnswerError::Count { sent, answered });
    }
    let outcomes = answer.request_responses.into_iter().enumerate().map(|(record, entry)| {
        match (entry.record_id, entry.error_code) {
            (Some(Text(record_id)), None) => Ok(Outcome::Accepted { record_id }),
            (None, Some(Text(code))) => {
                let message = entry.error_message.map(|Text(message)| message).unwrap_or_default();
                Ok(Outcome::Refused { code, message })
            }
            _ => Err(AnswerError::Unclear { record }),
        }
    });
    let outcomes = outcomes.collect::<Result<Vec<_>, _>>()?;
    let named = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Refused { .. })).count() as u64;
    if named != answer.failed_put_count {
        return Err(AnswerError::Sum { said: answer.failed_put_count, named });
    }
    Ok(outcomes)
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use proptest::{collection::vec, prelude::*};
    use serde_json::{Value, json};

    use super::*;

    fn body(records: &[&[u8]]) -> Result<Value, BatchError> {
        let mut out = b"before".to_vec();
        let encoded = encode("clicks", records.iter().copied(), &mut out);
        let body = out.strip_prefix(b"before").unwrap();
        match encoded {
            Ok(()) => Ok(serde_json::from_slice(body).unwrap()),
            Err(error) => {
                assert!(body.is_empty(), "nothing is left of a body that came to nothing");
                Err(error)
            }
        }
    }

    #[test]
    fn a_body_is_the_json_that_firehose_takes() {
        let expected =
            json!({"DeliveryStreamName": "clicks", "Records": [{"Data": "e30K"}, {"Data": ""}, {"Data": "/w=="}]});
        assert_eq!(body(&[b"{}\n", b"", b"\xFF"]).unwrap(), expected);
    }

    #[test]
    fn the_limits_of_a_call_are_kept() {
        let (one, large) = (&b"x"[..], vec![0; MAX_RECORD_BYTES + 1]);
        assert!(body(&[one; 500]).is_ok());
        assert_eq!(body(&[one; 501]), Err(BatchError::TooManyRecords));
        assert_eq!(body(&[]), Err(BatchError::Empty));
        assert!(body(&[&large[..1_024_000]]).is_ok());
        assert_eq!(body(&[one, &large]), Err(BatchError::RecordTooLarge { record: 1, bytes: 1_024_001 }));
        let mebibyte = &large[..1_000_000];
        let rest = &large[..MAX_BYTES - 4_000_000];
        assert!(body(&[mebibyte, mebibyte, mebibyte, mebibyte, rest]).is_ok());
        let over = [mebibyte, mebibyte, mebibyte, mebibyte, rest, one];
        assert_eq!(body(&over), Err(BatchError::TooLarge { record: 5 }));
        for name in ["", "a b", "a\"b", "é", &"x".repeat(65)] {
            assert_eq!(encode(name, [one], &mut Vec::new()), Err(BatchError::Name), "{name}");
        }
        assert_eq!(encode(&"x".repeat(64), [one], &mut Vec::new()), Ok(()));
    }

    #[test]
    fn an_answer_tells_accepted_from_refused() {
        let answer = json!({"FailedPutCount": 1, "Encrypted": false, "RequestResponses": [
            {"RecordId": "id-0"},
            {"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow \"down\"."},
            {"RecordId": "id-2", "ErrorCode": null},
        ]});
        let answer = answer.to_string();
        let accepted = |id: &'static str| Outcome::Accepted { record_id: id.into() };
        let refused = Outcome::Refused { code: "ServiceUnavailableException".into(), message: "Slow \"down\".".into() };
        let outcomes = parse(answer.as_bytes(), 3).unwrap();
        assert_eq!(outcomes, [accepted("id-0"), refused, accepted("id-2")]);
        assert!(
            matches!(&outcomes[0], Outcome::Accepted { record_id: Cow::Borrowed(_) }),
            "text without escapes is not copied"
        );
    }

    #[test]
    fn an_answer_that_does_not_say_what_became_of_each_is_none() {
        let taken = json!({"RecordId": "id"});
        let refused = json!({"ErrorCode": "InternalFailure"});
        let said = |failed: u64, entries: &[Value]| {
            let answer = json!({"FailedPutCount": failed, "RequestResponses": entries}).to_string();
            parse(answer.as_bytes(), 2).map(|outcomes| outcomes.len()).map_err(|error| error.to_string())
        };
        assert_eq!(said(1, &[taken.clone(), refused.clone()]), Ok(2));
        for (failed, entries, message) in [
            (0, vec![taken.clone()], "2 records were sent, and the answer is about 1"),
            (0, vec![taken.clone(), json!({})], "whether record 1 was taken"),
            (1, vec![json!({"RecordId": "id", "ErrorCode": "x"}), taken.clone()], "whether record 0 was taken"),
            (0, vec![taken.clone(), refused], "says that 0 records failed, and names 1"),
            (1, vec![taken.clone(), taken], "says that 1 records failed, and names 0"),
        ] {
            let error = said(failed, &entries).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
        for bytes in [&b""[..], b"[]", b"{\"__type\":\"ResourceNotFoundException\"}", b"{\"FailedPutCount\":0"] {
            assert!(matches!(parse(bytes, 1), Err(AnswerError::NotAnAnswer(_))));
        }
    }

    proptest! {
        #[test]
        fn any_records_come_through(records in vec(vec(any::<u8>(), 0..100), 1..20)) {
            let borrowed: Vec<_> = records.iter().map(Vec::as_slice).collect();
            let body = body(&borrowed).unwrap();
            let data = body["Records"].as_array().unwrap().iter().map(|r| STANDARD.decode(r["Data"].as_str().unwrap()));
            prop_assert_eq!(data.collect::<Result<Vec<_>, _>>().unwrap(), records);
        }

        #[test]
        fn any_answer_is_read_without_a_panic(bytes in vec(any::<u8>(), 0..60), sent in 0_usize..3) {
            let _ = parse(&bytes, sent);
        }
    }
}

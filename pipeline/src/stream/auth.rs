//! Who calls: signatures are looked at as AWS looks at them, and checked where the server was told whose to expect.
//!
//! Without credentials of its own the server takes any, or none, but what claims to be signed has to be well-formed: a
//! client that signs badly learns it here and not on AWS. With them (`--require-credentials`) every call needs a
//! signature of version 4 that is theirs
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>).
//!
//! No header, key or signature is ever repeated in an answer or a log.

use chrono::{DateTime, NaiveDateTime, Utc};
use hyper::{HeaderMap, header::AUTHORIZATION, http::request::Parts};

use super::error::{ApiError, ErrorKind};

mod canonical;

/// How far a signature's time may be from the server's, seconds (AWS: 15 minutes).
const SKEW_S: i64 = 15 * 60;
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your AWS \
                        Secret Access Key and signing method. Consult the service documentation for details.";

/// The credentials a server expects. Its secret is not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    access_key_id: String,
    secret_access_key: String,
}

impl Credentials {
    /// A key and its secret.
    #[must_use]
    pub fn new(access_key_id: impl Into<String>, secret_access_key: impl Into<String>) -> Self {
        Self { access_key_id: access_key_id.into(), secret_access_key: secret_access_key.into() }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// A signature as a request has it.
struct Signature<'a> {
    credential: Scope<'a>,
    signed_headers: Vec<&'a str>,
    /// 64 hexadecimal digits.
    digits: &'a str,
    time: &'a str,
}

/// What a key is signed for: `key/date/region/service/aws4_request`.
struct Scope<'a> {
    access_key_id: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
}

/// Checks a request's signature for this service, as far as the server is to check it.
pub(crate) fn check(
    required: Option<&Credentials>,
    service: &str,
    head: &Parts,
    body: &[u8],
    now_us: u64,
) -> Result<(), ApiError> {
    let query = canonical::query(head.uri.query().unwrap_or_default());
    let header = head.headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
    let in_query = query.iter().any(|(name, _)| name == "X-Amz-Algorithm");
    let signature = match (header, in_query) {
        (Some(_), true) => {
            return Err(ApiError::new(
                ErrorKind::InvalidSignature,
                "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.",
            ));
        }
        (Some(header), false) => Signature::of_header(header, &head.headers)?,
        (None, true) => Signature::of_query(&query)?,
        (None, false) if required.is_none() => return Ok(()),
        (None, false) => {
            return Err(ApiError::new(ErrorKind::MissingAuthenticationToken, "Missing Authentication Token"));
        }
    };
    match required {
        Some(credentials) => signature.verify(credentials, service, head, &query, body, now_us),
        None => Ok(()),
    }
}

fn incomplete(text: impl Into<String>) -> ApiError {
    ApiError::new(ErrorKind::IncompleteSignature, text)
}

fn mismatch() -> ApiError {
    ApiError::new(ErrorKind::InvalidSignature, MISMATCH)
}

impl<'a> Signature<'a> {
    fn of_header(header: &'a str, headers: &'a HeaderMap) -> Result<Self, ApiError> {
        let (algorithm, rest) = header.split_once(' ').unwrap_or((header, ""));
        if algorithm != ALGORITHM {
            return Err(incomplete(format!("Authorization header requires the algorithm {ALGORITHM}.")));
        }
        let given = |name: &str| {
            let parts = rest.split([',', ' ']).filter_map(|part| part.split_once('='));
            parts.into_iter().find(|(key, value)| *key == name && !value.is_empty()).map(|(_, value)| value)
        };
        let time = ["x-amz-date", "date"].into_iter().find_map(|name| headers.get(name)?.to_str().ok());
        let mut missing = String::new();
        for name in ["Credential", "Signature", "SignedHeaders"] {
            if given(name).is_none() {
                missing += &format!("Authorization header requires '{name}' parameter. ");
            }
        }
        if time.is_none() {
            missing += "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ";
        }
        match (given("Credential"), given("Signature"), given("SignedHeaders"), time) {
            (Some(credential), Some(digits), Some(signed), Some(time)) => Self::new(credential, digits, signed, time),
            _ => Err(incomplete(missing.trim_end())),
        }
    }

    fn of_query(query: &'a [(String, String)]) -> Result<Self, ApiError> {
        let given = |name: &str| {
            query.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
        };
        let names = ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date"];
        let [algorithm, credential, digits, signed, time] = names.map(given);
        let (Some(algorithm), Some(credential), Some(digits), Some(signed), Some(time)) =
            (algorithm, credential, digits, signed, time)
        else {
            let missing = names.iter().filter(|name| given(name).is_none());
            let text: String =
                missing.map(|name| format!("AWS query-string parameters must include '{name}'. ")).collect();
            return Err(incomplete(text + "Re-examine the query-string parameters."));
        };
        if algorithm != ALGORITHM {
            return Err(incomplete(format!("X-Amz-Algorithm has to be {ALGORITHM}.")));
        }
        Self::new(credential, digits, signed, time)
    }

    fn new(credential: &'a str, digits: &'a str, signed: &'a str, time: &'a str) -> Result<Self, ApiError> {
        // A key may have slashes, the rest of a scope has none.
        let mut parts = credential.rsplitn(5, '/');
        let (Some("aws4_request"), Some(service), Some(region), Some(date), Some(access_key_id)) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(incomplete(
                "Credential must have at least 5 slash-delimited elements, e.g. \
                 keyid/date/region/service/aws4_request.",
            ));
        };
        if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(mismatch());
        }
        let credential = Scope { access_key_id, date, region, service };
        Ok(Self { credential, signed_headers: signed.split(';').collect(), digits, time })
    }

    fn verify(
        &self,
        credentials: &Credentials,
        service: &str,
        head: &Parts,
        query: &[(String, String)],
        body: &[u8],
        now_us: u64,
    ) -> Result<(), ApiError> {
        if self.credential.access_key_id != credentials.access_key_id {
            return Err(ApiError::new(
                ErrorKind::UnrecognizedClient,
                "The security token included in the request is invalid.",
            ));
        }
        self.check_time(now_us)?;
        if self.credential.service != service {
            let text = format!("Credential should be scoped to correct service: '{service}'.");
            return Err(ApiError::new(ErrorKind::InvalidSignature, text));
        }
        // What is not signed could be anybody's.
        if !self.signed_headers.contains(&"host") {
            return Err(ApiError::new(
                ErrorKind::InvalidSignature,
                "'Host' must be a 'SignedHeader' in the AWS request.",
            ));
        }
        let request = canonical::request(head, query, &self.signed_headers, body);
        let Scope { date, region, service, .. } = self.credential;
        let scope = format!("{date}/{region}/{service}/aws4_request");
        let text = format!("{ALGORITHM}\n{}\n{scope}\n{}", self.time, canonical::sha256(request.as_bytes()));
        let key = canonical::signing_key(&credentials.secret_access_key, date, region, service);
        if canonical::is_signature(&key, &text, self.digits) { Ok(()) } else { Err(mismatch()) }
    }

    /// A signature is good for a quarter of an hour, so that one taken from the wire cannot be used for long.
    fn check_time(&self, now_us: u64) -> Result<(), ApiError> {
        let invalid = |text: String| Err(ApiError::new(ErrorKind::InvalidSignature, text));
        let Ok(time) = NaiveDateTime::parse_from_str(self.time, "%Y%m%dT%H%M%SZ") else {
            return invalid("Date must be in ISO-8601 'basic format', such as 20150830T123600Z.".to_owned());
        };
        if !self.time.starts_with(self.credential.date) || self.credential.date.len() != 8 {
            return invalid(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date.".to_owned(),
            );
        }
        let now = DateTime::<Utc>::from_timestamp_micros(i64::try_from(now_us).unwrap_or(i64::MAX)).unwrap_or_default();
        let shown = |time: DateTime<Utc>| time.format("%Y%m%dT%H%M%SZ");
        let (time, skew) = (time.and_utc(), chrono::TimeDelta::seconds(SKEW_S));
        if time + skew < now {
            let least = now - skew;
            return invalid(format!(
                "Signature expired: {} is now earlier than {} ({} - 15 min.)",
                shown(time),
                shown(least),
                shown(now)
            ));
        }
        if time - skew > now {
            let most = now + skew;
            return invalid(format!(
                "Signature not yet current: {} is still later than {} ({} + 15 min.)",
                shown(time),
                shown(most),
                shown(now)
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

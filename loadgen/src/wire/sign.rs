//! The signature of a call: the SDK's own signer, over a body hash that was made while the body was.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};

use super::route::Route;

/// A request could not be signed.
#[derive(Debug, thiserror::Error)]
#[error("the call cannot be signed: {0}")]
pub(crate) struct SignError(String);

/// Appends the head of a POST with this body to `out`, signed with `credentials` when there are some.
///
/// The operation is its `X-Amz-Target` and `Content-Type`. `body_sha256` is lowercase hex; `wall_us` is the time of the signature, microseconds since 1970.
pub(crate) fn head(
    route: &Route,
    (target, content_type): (&'static str, &'static str),
    body_bytes: usize,
    body_sha256: &str,
    credentials: Option<&Credentials>,
    wall_us: u64,
    out: &mut Vec<u8>,
) -> Result<(), SignError> {
    let fixed = [("host", &*route.authority), ("content-type", content_type), ("x-amz-target", target)];
    for part in ["POST ", &route.path, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    for (name, value) in fixed {
        push(out, name, value);
    }
    push(out, "content-length", &body_bytes.to_string());
    if let Some(credentials) = credentials {
        let problem = |error: &dyn std::error::Error| SignError(error.to_string());
        let identity = credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&route.region)
            .name(&route.service)
            .time(time(wall_us))
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| problem(&error))?;
        let body = SignableBody::Precomputed(body_sha256.to_owned());
        let request = SignableRequest::new("POST", route.url.as_str(), fixed.into_iter(), body);
        let signed =
            sign(request.map_err(|error| problem(&error))?, &params.into()).map_err(|error| problem(&error))?;
        for (name, value) in signed.output().headers() {
            push(out, name, value);
        }
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

fn push(out: &mut Vec<u8>, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

fn time(wall_us: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(wall_us)
}

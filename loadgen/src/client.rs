//! The way to a stream: a client of the endpoint asked for, and the few control calls a load needs.
//!
//! The client never retries on its own: every refusal is the producer's to see, count and pace.

use std::{error::Error, future::Future, sync::Arc, time::Duration};

use aws_config::{
    BehaviorVersion, Region, SdkConfig, retry::RetryConfig, stalled_stream_protection::StalledStreamProtectionConfig,
    timeout::TimeoutConfig,
};
use aws_credential_types::{Credentials, provider::error::CredentialsError};
use aws_sdk_kinesis::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::{StreamMode, StreamModeDetails, StreamStatus},
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use futures::future::BoxFuture;
use tokio::time::{Instant, sleep};
use url::Host;

use crate::{error::LoadError, wire::route::Route};

/// Longest time one call may take before it counts as failed.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time a connection may take to open.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a control call is tried again while the endpoint throttles or stumbles.
const CONTROL_PATIENCE: Duration = Duration::from_secs(10);
/// How long a new stream may take to become ACTIVE.
const ACTIVE_PATIENCE: Duration = Duration::from_secs(120);
/// Pause between two control calls; AWS allows 20 DescribeStreamSummary a second and account.
const CONTROL_PAUSE: Duration = Duration::from_millis(200);
/// The region signed for when nothing names one and the endpoint is not AWS.
const FALLBACK_REGION: &str = "us-east-1";

/// Where the stream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// The local stream in this process, at this URL; signed with made-up credentials.
    Local(String),
    /// Another Kinesis endpoint, with credentials as the AWS SDK resolves them; made up for a server on loopback when
    /// the environment names none.
    Url(String),
    /// AWS, with endpoint, region and credentials as the AWS SDK resolves them.
    Aws,
}

/// An endpoint, ready to be called.
#[derive(Debug, Clone)]
pub struct Reached {
    /// The SDK's client, its own retries off.
    pub client: Client,
    /// The name that errors and records use for it: never with credentials in it.
    pub name: String,
    /// The way of the calls that put records.
    pub route: Arc<Route>,
}

/// A client for `endpoint`.
///
/// # Errors
/// [`LoadError::Denied`] without credentials.
pub fn connect(endpoint: &Endpoint) -> BoxFuture<'_, Result<Reached, LoadError>> {
    Box::pin(async move {
        let http =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let timeouts =
            TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_attempt_timeout(CALL_TIMEOUT).build();
        let loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(http)
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            // The attempt timeout bounds a stall; a second, softer bound would hide it under another name.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        let config = match endpoint {
            Endpoint::Local(url) => {
                let credentials = Credentials::new("local", "local", None, None, "millrace");
                loader
                    .region(Region::new(FALLBACK_REGION))
                    .credentials_provider(credentials)
                    .endpoint_url(url)
                    .load()
                    .await
            }
            // Nothing leaves the machine to look for credentials that a server on loopback does not check.
            Endpoint::Url(url) if is_loopback(url) && !names_credentials() => {
                let credentials = Credentials::new("local", "local", None, None, "millrace");
                loader
                    .region(Region::new(FALLBACK_REGION))
                    .credentials_provider(credentials)
                    .endpoint_url(url)
                    .load()
                    .await
            }
            Endpoint::Url(url) => with_region(loader.endpoint_url(url).load().await),
            Endpoint::Aws => loader.load().await,
        };
        let name = match endpoint {
            Endpoint::Local(url) | Endpoint::Url(url) => public_part(url),
            Endpoint::Aws => {
                config.region().map_or("AWS".to_owned(), |region| format!("kinesis.{region}.amazonaws.com"))
            }
        };
        let client = Client::new(&config);
        let provider = config.credentials_provider().ok_or_else(|| LoadError::Denied {
            endpoint: name.clone(),
            operation: "credentials",
            detail: "none are configured".to_owned(),
        })?;
        let route = Route::of(&client, provider, &name).await?;
        Ok(Reached { client, name, route })
    })
}

/// Whether the environment says which credentials to use.
fn names_credentials() -> bool {
    ["AWS_ACCESS_KEY_ID", "AWS_PROFILE"].iter().any(|name| std::env::var_os(name).is_some())
}

/// Whether a URL's host is this machine's loopback interface.
fn is_loopback(url: &str) -> bool {
    match url::Url::parse(url).as_ref().map(url::Url::host) {
        Ok(Some(Host::Ipv4(ip))) => ip.is_loopback(),
        Ok(Some(Host::Ipv6(ip))) => ip.is_loopback(),
        Ok(Some(Host::Domain(name))) => name == "localhost",
        _ => false,
    }
}

/// The configuration with a region, which signing needs even where the endpoint ignores it.
fn with_region(config: SdkConfig) -> SdkConfig {
    match config.region() {
        Some(_) => config,
        None => config.into_builder().region(Region::new(FALLBACK_REGION)).build(),
    }
}

/// A URL without user, password and query.
fn public_part(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or(url);
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit('@').next().unwrap_or(authority);
            format!("{scheme}://{host}{path}")
        }
        None => url.rsplit('@').next().unwrap_or(url).to_owned(),
    }
}

/// One stream at one endpoint.
#[derive(Debug, Clone)]
pub struct StreamClient {
    /// The client, its own retries off.
    pub client: Client,
    /// The endpoint's name in errors.
    pub endpoint: Arc<str>,
    /// The stream's name.
    pub stream: Arc<str>,
    /// The way of the calls that put records.
    pub route: Arc<Route>,
}

/// What a stream says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamDescription {
    /// `ACTIVE`, `CREATING`, `UPDATING` or `DELETING`.
    pub status: String,
    /// Shards that take records.
    pub open_shards: u32,
}

impl StreamDescription {
    /// Whether records can be put and read.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.status == StreamStatus::Active.as_str() || self.status == StreamStatus::Updating.as_str()
    }
}

impl StreamClient {
    /// The stream `stream` at an endpoint.
    #[must_use]
    pub fn new(endpoint: &Reached, stream: &str) -> Self {
        let Reached { client, name, route } = endpoint;
        Self { client: client.clone(), endpoint: name.as_str().into(), stream: stream.into(), route: Arc::clone(route) }
    }

    /// The same for the delivery stream of this name: only [`route`](Self::route) differs, and only calls that put records
    /// make sense.
    ///
    /// # Errors
    /// [`LoadError::Call`] when Firehose's host cannot be derived.
    pub fn to_delivery_stream(&self) -> Result<Self, LoadError> {
        let route = self.route.to_firehose().map_err(|error| LoadError::Call {
            endpoint: self.endpoint.to_string(),
            operation: "PutRecordBatch",
            detail: error.to_string(),
        })?;
        Ok(Self { route, ..self.clone() })
    }

    /// Asks the stream for its state: the check to make before a load.
    ///
    /// # Errors
    /// [`LoadError::Unreachable`], [`LoadError::Denied`], [`LoadError::NoStream`] or [`LoadError::Call`].
    pub fn describe(&self) -> BoxFuture<'_, Result<StreamDescription, LoadError>> {
        Box::pin(async move {
            let output = self
                .persist("DescribeStreamSummary", || async {
                    let call = self.client.describe_stream_summary().stream_name(&*self.stream);
                    call.send().await.map_err(Failure::of)
                })
                .await?;
            let summary = output.stream_description_summary();
            Ok(StreamDescription {
                status: summary.map_or("UNKNOWN".to_owned(), |s| s.stream_status().as_str().to_owned()),
                open_shards: summary.map_or(0, |s| u32::try_from(s.open_shard_count()).unwrap_or(0)),
            })
        })
    }

    /// Creates the stream with this many shards and waits until it is usable. A stream that is there already is used.
    ///
    /// # Errors
    /// As [`StreamClient::describe`], and [`LoadError::NotActive`] when it does not become usable.
    pub fn create(&self, shards: u32) -> BoxFuture<'_, Result<StreamDescription, LoadError>> {
        Box::pin(async move {
            let created = self
                .persist("CreateStream", || async {
                    let mode = StreamModeDetails::builder().stream_mode(StreamMode::Provisioned).build();
                    let call = self.client.create_stream().stream_name(&*self.stream);
                    let call = call.shard_count(i32::try_from(shards).unwrap_or(i32::MAX));
                    match call.set_stream_mode_details(mode.ok()).send().await.map_err(Failure::of) {
                        Err(failure) if failure.cause == "ResourceInUseException" => Ok(()),
                        other => other.map(|_| ()),
                    }
                })
                .await;
            created?;
            self.wait_usable().await
        })
    }

    /// Waits until the stream is usable.
    ///
    /// # Errors
    /// As [`StreamClient::create`].
    pub fn wait_usable(&self) -> BoxFuture<'_, Result<StreamDescription, LoadError>> {
        Box::pin(async move {
            let start = Instant::now();
            loop {
                let description = self.describe().await?;
                if description.is_usable() {
                    return Ok(description);
                }
                if start.elapsed() >= ACTIVE_PATIENCE {
                    return Err(LoadError::NotActive {
                        endpoint: self.endpoint.to_string(),
                        stream: self.stream.to_string(),
                        status: description.status,
                        waited_s: start.elapsed().as_secs(),
                    });
                }
                sleep(CONTROL_PAUSE).await;
            }
        })
    }

    /// Makes a control call until it succeeds, fails for good, or has been tried for [`CONTROL_PATIENCE`].
    pub(crate) async fn persist<T, Fut>(&self, operation: &'static str, call: impl Fn() -> Fut) -> Result<T, LoadError>
    where
        Fut: Future<Output = Result<T, Failure>>,
    {
        let start = Instant::now();
        loop {
            match call().await {
                Ok(output) => return Ok(output),
                // Nobody listens: waiting would only delay the message.
                Err(failure) if failure.kind == FailureKind::Connection || !failure.is_passing() => {
                    return Err(self.error(operation, failure));
                }
                Err(failure) if start.elapsed() >= CONTROL_PATIENCE => return Err(self.error(operation, failure)),
                Err(_) => sleep(CONTROL_PAUSE).await,
            }
        }
    }

    /// A failed call as the error that ends a load.
    pub(crate) fn error(&self, operation: &'static str, failure: Failure) -> LoadError {
        let endpoint = self.endpoint.to_string();
        let detail = failure.detail;
        match failure.kind {
            FailureKind::Connection => LoadError::Unreachable { endpoint, detail },
            FailureKind::Denied => LoadError::Denied { endpoint, operation, detail },
            FailureKind::NotFound => LoadError::NoStream { endpoint, stream: self.stream.to_string(), detail },
            _ => LoadError::Call { endpoint, operation, detail },
        }
    }
}

/// What kind of failure a call met; decides whether and how it is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// No answer: the connection could not be opened or broke.
    Connection,
    /// No answer in time.
    Timeout,
    /// The endpoint asks for less.
    Throttled,
    /// The endpoint stumbled (5xx, or an answer that cannot be read).
    Server,
    /// The iterator is too old.
    Expired,
    /// The stream is not there.
    NotFound,
    /// The caller may not.
    Denied,
    /// The request itself is wrong: sending it again gives the same answer.
    Rejected,
}

/// A call that failed as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What kind it is.
    pub(crate) kind: FailureKind,
    /// Its short name: the error code, `timeout` or `connection`.
    pub(crate) cause: String,
    /// What was said.
    pub(crate) detail: String,
}

impl Failure {
    /// Reads an SDK error.
    pub(crate) fn of<E>(error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let plain = |kind, cause: &str, detail| Self { kind, cause: cause.to_owned(), detail };
        match &error {
            SdkError::ServiceError(answer) => {
                let status = answer.raw().status().as_u16();
                let code = answer.err().code().map_or_else(|| format!("http {status}"), str::to_owned);
                let detail = format!("{code}: {}", answer.err().message().unwrap_or("no message"));
                Self { kind: service_kind(&code, status), cause: code, detail }
            }
            SdkError::TimeoutError(_) => plain(FailureKind::Timeout, "timeout", "no answer in time".to_owned()),
            SdkError::DispatchFailure(f) if f.is_timeout() => plain(FailureKind::Timeout, "timeout", chain(&error)),
            SdkError::DispatchFailure(_) if has_source::<CredentialsError>(&error) => {
                plain(FailureKind::Denied, "credentials", chain(&error))
            }
            SdkError::DispatchFailure(f) if f.is_user() => plain(FailureKind::Rejected, "request", chain(&error)),
            SdkError::DispatchFailure(_) => plain(FailureKind::Connection, "connection", chain(&error)),
            SdkError::ResponseError(answer) => {
                let cause = format!("http {}", answer.raw().status().as_u16());
                plain(FailureKind::Server, &cause, chain(&error))
            }
            _ => plain(FailureKind::Rejected, "request", chain(&error)),
        }
    }

    /// Reads an answer that is not a success.
    pub(crate) fn of_answer(status: u16, code: Option<String>, message: Option<String>) -> Self {
        let cause = code.unwrap_or_else(|| format!("http {status}"));
        let detail = format!("{cause}: {}", message.as_deref().unwrap_or("no message"));
        Self { kind: service_kind(&cause, status), cause, detail }
    }

    /// A connection that broke, or a call that took too long.
    pub(crate) fn of_connection(detail: String, timeout: bool) -> Self {
        match timeout {
            true => Self { kind: FailureKind::Timeout, cause: "timeout".to_owned(), detail },
            false => Self { kind: FailureKind::Connection, cause: "connection".to_owned(), detail },
        }
    }

    /// Whether the same call may succeed later.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(
            self.kind,
            FailureKind::Connection | FailureKind::Timeout | FailureKind::Throttled | FailureKind::Server
        )
    }
}

/// The kind of an error answer. Codes are those of the Kinesis API reference and of AWS's common errors.
fn service_kind(code: &str, status: u16) -> FailureKind {
    match code {
        "ProvisionedThroughputExceededException"
        | "LimitExceededException"
        | "ThrottlingException"
        | "KMSThrottlingException"
        | "RequestLimitExceeded"
        | "TooManyRequestsException" => FailureKind::Throttled,
        "ExpiredIteratorException" => FailureKind::Expired,
        "ResourceNotFoundException" => FailureKind::NotFound,
        "AccessDeniedException"
        | "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "MissingAuthenticationTokenException"
        | "IncompleteSignatureException"
        | "InvalidClientTokenId"
        | "ExpiredTokenException"
        | "OptInRequired"
        | "KMSAccessDeniedException" => FailureKind::Denied,
        _ if status == 429 => FailureKind::Throttled,
        _ if status == 403 => FailureKind::Denied,
        _ if status >= 500 => FailureKind::Server,
        _ => FailureKind::Rejected,
    }
}

fn has_source<T: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    sources(error).any(|source| source.is::<T>())
}

/// The texts of an error's causes, outermost first, without the SDK's own heading.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = sources(error).skip(1).map(ToString::to_string).collect();
    texts.dedup_by(|inner, outer| outer.contains(inner.as_str()));
    if texts.is_empty() { error.to_string() } else { texts.join(": ") }
}

fn sources<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    // Through the inner reference: the outer one has an `Error` of its own whose source lives less long.
    std::iter::successors(Some(error), |error| (**error).source())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FakeKinesis, local_stream};

    #[test]
    fn only_this_machines_addresses_are_loopback() {
        for url in ["http://127.0.0.1:4567", "http://[::1]:80/", "https://localhost/x", "http://127.8.0.1"] {
            assert!(is_loopback(url), "{url}");
        }
        for url in ["http://10.0.0.1", "https://kinesis.us-east-1.amazonaws.com", "http://localhost.example.com", "x"] {
            assert!(!is_loopback(url), "{url}");
        }
    }

    #[test]
    fn a_name_never_shows_credentials() {
        assert_eq!(public_part("http://user:secret@host:4566/x?token=1"), "http://host:4566/x");
        assert_eq!(public_part("http://127.0.0.1:4566"), "http://127.0.0.1:4566");
        assert_eq!(public_part("user:secret@host"), "host");
    }

    #[test]
    fn error_codes_are_told_apart() {
        assert_eq!(service_kind("ProvisionedThroughputExceededException", 400), FailureKind::Throttled);
        assert_eq!(service_kind("InternalFailure", 500), FailureKind::Server);
        assert_eq!(service_kind("ValidationException", 400), FailureKind::Rejected);
        assert_eq!(service_kind("http 403", 403), FailureKind::Denied);
    }

    #[tokio::test]
    async fn an_endpoint_that_nobody_listens_on_is_unreachable_and_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = local_stream(&url).await.describe().await.unwrap_err();
        assert!(matches!(&error, LoadError::Unreachable { endpoint, .. } if *endpoint == url), "{error}");
        assert!(!error.is_configuration());
    }

    #[tokio::test]
    async fn a_missing_stream_is_named_and_a_created_one_is_usable() {
        let fake = FakeKinesis::start(2).await;
        let stream = fake.stream().await;
        fake.script_error("ResourceNotFoundException", 400);
        let error = stream.describe().await.unwrap_err();
        assert!(matches!(error, LoadError::NoStream { .. }), "{error}");
        assert_eq!(stream.create(2).await.unwrap().open_shards, 2);
    }
}

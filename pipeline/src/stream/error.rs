//! What the stream answers when it refuses, in the shape AWS gives it, and why a server may not start.

use std::net::SocketAddr;

use super::{journal::JournalError, tls::TlsError, wal::WalError};

/// AWS's name for a refusal. The wire name and the HTTP status follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    DryRun,
    ExpiredIterator,
    ExpiredNextToken,
    IncompleteSignature,
    InternalFailure,
    InvalidArgument,
    InvalidSignature,
    LimitExceeded,
    MissingAuthenticationToken,
    RequestTimeout,
    RequestTooLarge,
    ResourceInUse,
    ResourceNotFound,
    Serialization,
    ServiceUnavailable,
    /// Firehose's word for a client that is too fast.
    SlowDown,
    ThroughputExceeded,
    UnknownOperation,
    UnrecognizedClient,
    Validation,
}

impl ErrorKind {
    /// The `__type` of the answer, or the `ErrorCode` of a record of PutRecords.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::DryRun => "DryRunOperationException",
            Self::ExpiredIterator => "ExpiredIteratorException",
            Self::ExpiredNextToken => "ExpiredNextTokenException",
            Self::IncompleteSignature => "IncompleteSignatureException",
            Self::InternalFailure => "InternalFailure",
            Self::InvalidArgument => "InvalidArgumentException",
            Self::InvalidSignature => "InvalidSignatureException",
            Self::LimitExceeded => "LimitExceededException",
            Self::MissingAuthenticationToken => "MissingAuthenticationTokenException",
            Self::RequestTimeout => "RequestTimeoutException",
            Self::RequestTooLarge => "RequestEntityTooLargeException",
            Self::ResourceInUse => "ResourceInUseException",
            Self::ResourceNotFound => "ResourceNotFoundException",
            Self::Serialization => "SerializationException",
            Self::ServiceUnavailable => "ServiceUnavailable",
            Self::SlowDown => "ServiceUnavailableException",
            Self::ThroughputExceeded => "ProvisionedThroughputExceededException",
            Self::UnknownOperation => "UnknownOperationException",
            Self::UnrecognizedClient => "UnrecognizedClientException",
            Self::Validation => "ValidationException",
        }
    }

    /// AWS answers 400 to everything it models, throttling included.
    pub(crate) const fn status(self) -> u16 {
        match self {
            Self::InternalFailure | Self::SlowDown => 500,
            Self::ServiceUnavailable => 503,
            Self::RequestTimeout => 408,
            Self::RequestTooLarge => 413,
            _ => 400,
        }
    }

    /// The name of the text's member; AWS spells it differently for a body that could not be read.
    pub(crate) const fn message_member(self) -> &'static str {
        match self {
            Self::Serialization => "Message",
            _ => "message",
        }
    }
}

/// A call that was refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", kind.name())]
pub(crate) struct ApiError {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
}

impl ApiError {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(crate) fn invalid_argument(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    /// A call that was only tried: everything about it is right, and nothing happened.
    pub(crate) fn dry_run() -> Self {
        Self::new(ErrorKind::DryRun, "The request would have succeeded, but the DryRun parameter was set.")
    }

    /// A failure of the service, in the words of AWS
    /// (<https://docs.aws.amazon.com/kinesis/latest/APIReference/CommonErrors.html>).
    pub(crate) fn of_the_service(kind: ErrorKind) -> Self {
        let message = match kind {
            ErrorKind::ServiceUnavailable => "The request has failed due to a temporary failure of the server.",
            _ => "The request processing has failed because of an unknown error, exception or failure.",
        };
        Self::new(kind, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::ResourceNotFound, message)
    }
}

impl From<JournalError> for ApiError {
    fn from(error: JournalError) -> Self {
        Self::new(ErrorKind::InternalFailure, format!("The change could not be written down: {error}"))
    }
}

/// The local stream could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address could not be listened on: the port is in use or not permitted.
    #[error("the local stream cannot listen on {address}: {source}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A stream of the configuration could not be created.
    #[error("the stream {name:?} cannot be created: {reason}")]
    Stream {
        /// The stream's name as configured.
        name: String,
        /// What AWS would answer.
        reason: String,
    },
    /// The folder that keeps the streams could not be used.
    #[error("the local stream cannot keep its state: {0}")]
    Data(#[from] WalError),
    /// There is no certificate to show.
    #[error("the local stream cannot speak TLS: {0}")]
    Tls(#[from] TlsError),
    /// The server was started outside a tokio runtime.
    #[error("the local stream has to be started inside a tokio runtime: {0}")]
    NoRuntime(#[from] tokio::runtime::TryCurrentError),
}

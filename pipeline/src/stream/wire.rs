//! The protocol: HTTP/1.1 or HTTP/2 in, one operation, JSON 1.1 or CBOR out, with the headers and errors AWS gives.
//!
//! Headers are never logged: they may hold credentials.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Body, Frame, Incoming, SizeHint},
    header::{CONTENT_TYPE, HeaderValue},
};
use serde_json::json;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{
    account::Account,
    auth::{self, Credentials},
    cbor,
    error::{ApiError, ErrorKind},
    event_stream, exposition,
    faults::{Injector, Outcome},
    firehose::Firehose,
    operations::{Operation, Reply, TARGET_PREFIX},
    premises::Premises,
    subscription::{Event, Subscription},
};

/// The largest body that is read: 10 MiB of records as base64 are 13.4 MiB, keys and syntax come on top.
const MAX_BODY_BYTES: usize = 16 << 20;
/// A larger body is still taken off the wire up to here, so that the client sees the answer and not a broken pipe.
const MAX_DRAINED_BYTES: usize = 64 << 20;
/// Bytes of request bodies held at once, over all connections.
const BODY_BUDGET_BYTES: usize = 256 << 20;
const BUDGET_UNIT_BYTES: usize = 1 << 10;

const XML: HeaderValue = HeaderValue::from_static("application/xml");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// What every connection shares.
#[derive(Debug)]
pub(crate) struct Gateway {
    premises: Arc<Premises>,
    /// Memory for request bodies, in units of [`BUDGET_UNIT_BYTES`]. A request waits here before it is read, so many
    /// large calls at once are slow, not fatal.
    bodies: Semaphore,
    /// How long a body may take to arrive. A client that sends a byte now and then cannot hold its memory for ever.
    patience: Duration,
    /// Whose calls are answered; absent: everybody's.
    credentials: Option<Credentials>,
    /// What goes wrong on purpose; absent: nothing.
    faults: Option<Arc<Injector>>,
    /// Delivery streams that take records directly; absent: there are none, and no operation of theirs.
    firehose: Option<Firehose>,
}

/// Why there is no answer from an operation.
enum Unanswered {
    Refused(ApiError),
    Cut,
}

impl From<ApiError> for Unanswered {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

/// The connection ends instead of an answer: HTTP/1.1 is closed, the stream of HTTP/2 is reset.
#[derive(Debug, thiserror::Error)]
#[error("the connection was cut by an injected fault")]
pub(crate) struct Cut;

impl Gateway {
    pub(crate) fn new(
        premises: Arc<Premises>,
        patience: Duration,
        credentials: Option<Credentials>,
        faults: Option<Arc<Injector>>,
        firehose: Option<Firehose>,
    ) -> Self {
        let bodies = Semaphore::new(BODY_BUDGET_BYTES / BUDGET_UNIT_BYTES);
        Self { premises, bodies, patience, credentials, faults, firehose }
    }

    /// Answers one request, whatever it holds.
    pub(crate) async fn serve(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<AnswerBody>, Cut> {
        let path = request.uri().path();
        let response = if matches!(*request.method(), Method::GET | Method::HEAD) && matches!(path, "/" | "/health") {
            respond(StatusCode::OK, PLAIN, Bytes::from_static(b"ok"))
        } else if *request.method() == Method::GET && path == "/metrics" {
            let text = exposition::exposition(&self.premises.account().metrics());
            respond(StatusCode::OK, HeaderValue::from_static(exposition::MEDIA_TYPE), Bytes::from(text))
        } else if request.method() != Method::POST || path != "/" {
            unknown_operation_xml()
        } else if let Some(language) = Language::of(request.headers()) {
            match self.call(request, language).await {
                Ok(Reply::Body(body)) => respond(StatusCode::OK, language.content_type(), Bytes::from(body)),
                Ok(Reply::Events(subscription)) => push(subscription, language),
                Err(Unanswered::Refused(error)) => refuse(&error, language),
                Err(Unanswered::Cut) => return Err(Cut),
            }
        } else {
            unrecognised(request.headers())
        };
        Ok(response)
    }

    async fn call(&self, request: Request<Incoming>, language: Language) -> Result<Reply, Unanswered> {
        let (head, body) = request.into_parts();
        let operation = Operation::from_target(target(&head.headers));
        // An answer before the body was read would end the connection under a client that keeps it.
        let read = tokio::time::timeout(self.patience, self.read_body(body)).await;
        let (body, _permit) = read.map_err(|_| {
            let text = format!("The body did not arrive within {} s.", self.patience.as_secs_f64());
            ApiError::new(ErrorKind::RequestTimeout, text)
        })??;
        let mut account = self.premises.account();
        let check = |service| auth::check(self.credentials.as_ref(), service, &head, &body, account.clock.now_us());
        if let Some(firehose) = self.firehose.as_ref().filter(|_| Firehose::is_meant(target(&head.headers))) {
            check("firehose")?;
            return Ok(Reply::Body(firehose.answer(target(&head.headers), &body)?));
        }
        let operation = operation?;
        check("kinesis")?;
        let mut cut = false;
        if let Some(faults) = &self.faults {
            cut = suffer(faults, operation, account.clock.now_us()).await?;
            // Another account may be served after a delay.
            account = self.premises.account();
        }
        let answer = run(&account, operation, &body, language);
        match &answer {
            Ok(_) => tracing::trace!(?operation, request_bytes = body.len(), "answered"),
            Err(error) => tracing::debug!(?operation, request_bytes = body.len(), %error, "refused"),
        }
        if cut { Err(Unanswered::Cut) } else { answer.map_err(Unanswered::from) }
    }

    /// The whole body, within the budget. The permit is to be held as long as the body.
    async fn read_body(&self, mut body: Incoming) -> Result<(Bytes, SemaphorePermit<'_>), ApiError> {
        let announced = body.size_hint().upper().and_then(|bytes| usize::try_from(bytes).ok());
        let expected = announced.unwrap_or(MAX_BODY_BYTES).min(MAX_BODY_BYTES);
        let units = u32::try_from(expected.div_ceil(BUDGET_UNIT_BYTES)).unwrap_or(u32::MAX);
        let permit = self
            .bodies
            .acquire_many(units)
            .await
            .map_err(|_| ApiError::new(ErrorKind::InternalFailure, "The local stream is shutting down."))?;
        // A body in one piece is used as it lies in the connection's buffer.
        let mut whole = Bytes::new();
        let mut kept = Vec::new();
        let mut total = 0_usize;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                ApiError::new(ErrorKind::Serialization, format!("The body could not be read: {error}"))
            })?;
            let Ok(data) = frame.into_data() else { continue };
            let is_first = total == 0;
            total += data.len();
            if is_first && total <= MAX_BODY_BYTES {
                whole = data;
            } else if total <= MAX_BODY_BYTES {
                if kept.is_empty() {
                    kept.reserve_exact(announced.map_or(total, |bytes| bytes.min(MAX_BODY_BYTES)));
                    kept.extend_from_slice(&std::mem::take(&mut whole));
                }
                kept.extend_from_slice(&data);
            } else if total <= MAX_DRAINED_BYTES {
                (whole, kept) = (Bytes::new(), Vec::new());
            } else {
                break;
            }
        }
        if total > MAX_BODY_BYTES {
            let text = format!("The body is larger than {MAX_BODY_BYTES} bytes.");
            return Err(ApiError::new(ErrorKind::RequestTooLarge, text));
        }
        Ok((if kept.is_empty() { whole } else { kept.into() }, permit))
    }
}

fn run(account: &Arc<Account>, operation: Operation, body: &[u8], language: Language) -> Result<Reply, ApiError> {
    match language {
        Language::Json => answer(account, operation, body),
        Language::Cbor => match answer(account, operation, &cbor::to_json(body)?)? {
            Reply::Body(answer) => cbor::from_json(&answer).map(Reply::Body),
            events @ Reply::Events(_) => Ok(events),
        },
    }
}

fn answer(account: &Arc<Account>, operation: Operation, body: &[u8]) -> Result<Reply, ApiError> {
    account.control.admit(operation, body, account.clock.now_us())?;
    operation.run(account, body)
}

/// Lets the faults do to a call what they do before its operation; whether they cut the connection after it. A call that
/// is held up keeps its body and therefore its part of the budget: what waits is bounded.
async fn suffer(faults: &Injector, operation: Operation, now_us: u64) -> Result<bool, Unanswered> {
    let decision = faults.decide(now_us, operation);
    if decision.delay_us > 0 {
        tokio::time::sleep(Duration::from_micros(decision.delay_us)).await;
    }
    match decision.outcome {
        Outcome::Answered => Ok(false),
        Outcome::CutAfter => Ok(true),
        Outcome::CutBefore => Err(Unanswered::Cut),
        Outcome::Failed(kind) => Err(ApiError::of_the_service(kind).into()),
    }
}

fn target(headers: &HeaderMap) -> &str {
    headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The language of a request and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Json,
    /// What AWS's Java clients speak unless they are told not to.
    Cbor,
}

impl Language {
    /// The language that a body is announced in; AWS takes two names for JSON.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = value.split(';').next().unwrap_or_default().trim();
        let known = [
            ("application/x-amz-json-1.1", Self::Json),
            ("application/json", Self::Json),
            ("application/x-amz-cbor-1.1", Self::Cbor),
        ];
        known.into_iter().find(|(name, _)| media_type.eq_ignore_ascii_case(name)).map(|(_, language)| language)
    }

    const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/x-amz-json-1.1",
            Self::Cbor => "application/x-amz-cbor-1.1",
        }
    }

    const fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(self.media_type())
    }

    /// A value that this server wrote as JSON, in this language.
    fn encode(self, json: &[u8]) -> Vec<u8> {
        match self {
            Self::Json => json.to_vec(),
            Self::Cbor => cbor::from_json(json).unwrap_or_default(),
        }
    }
}

/// The answer that goes on: a frame for each event.
fn push(subscription: Subscription, language: Language) -> Response<AnswerBody> {
    let frames = subscription.events().map(move |event| event_frame(&event, language));
    respond(StatusCode::OK, HeaderValue::from_static(event_stream::MEDIA_TYPE), AnswerBody::Frames(frames.boxed()))
}

fn event_frame(event: &Event, language: Language) -> Bytes {
    let content_type = (":content-type", language.media_type());
    let sent = |name, payload: &[u8]| {
        let headers = [(":message-type", "event"), (":event-type", name), content_type];
        event_stream::frame(&headers, &language.encode(payload))
    };
    match event {
        Event::InitialResponse => sent("initial-response", b"{}"),
        Event::Records(json) => sent("SubscribeToShardEvent", json),
        Event::Exception(error) => {
            let headers = [(":message-type", "exception"), (":exception-type", error.kind.name()), content_type];
            let payload = json!({ "message": error.message }).to_string();
            event_stream::frame(&headers, &language.encode(payload.as_bytes()))
        }
    }
}

/// The body of an answer: all there is, or frames as they come.
pub(crate) enum AnswerBody {
    Whole(Full<Bytes>),
    Frames(BoxStream<'static, Bytes>),
}

impl AnswerBody {
    /// Whether there is more to come after the head is sent.
    pub(crate) const fn goes_on(&self) -> bool {
        matches!(self, Self::Frames(_))
    }
}

impl From<Bytes> for AnswerBody {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(Full::new(bytes))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(cx),
            Self::Frames(frames) => frames.poll_next_unpin(cx).map(|frame| frame.map(|frame| Ok(Frame::data(frame)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Frames(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Frames(_) => SizeHint::default(),
        }
    }
}

/// AWS answers in XML when it does not know what language the client speaks.
fn unrecognised(headers: &HeaderMap) -> Response<AnswerBody> {
    if target(headers).starts_with(TARGET_PREFIX) {
        return unknown_operation_xml();
    }
    let body = "<AccessDeniedException>\n  <Message>Unable to determine service/operation name to be authorized</Message>\n\
                </AccessDeniedException>\n";
    respond(StatusCode::FORBIDDEN, XML, Bytes::from_static(body.as_bytes()))
}

fn unknown_operation_xml() -> Response<AnswerBody> {
    respond(StatusCode::NOT_FOUND, XML, Bytes::from_static(b"<UnknownOperationException/>\n"))
}

fn refuse(error: &ApiError, language: Language) -> Response<AnswerBody> {
    let body = json!({ "__type": error.kind.name(), error.kind.message_member(): error.message }).to_string();
    let status = StatusCode::from_u16(error.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = language.encode(body.as_bytes());
    respond(status, language.content_type(), Bytes::from(body))
}

/// A response with the two ids that clients log and tests look for.
fn respond(status: StatusCode, content_type: HeaderValue, body: impl Into<AnswerBody>) -> Response<AnswerBody> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    // Random, like the ids of AWS; text of this kind is always a valid header.
    let (mut id, mut id_2) = ([0; 16], [0; 72]);
    rand::fill(&mut id);
    rand::fill(&mut id_2);
    let id = uuid::Builder::from_random_bytes(id).into_uuid();
    let ids = [("x-amzn-requestid", id.to_string()), ("x-amz-id-2", STANDARD.encode(id_2))];
    for (name, value) in ids {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    response
}

//! Signatures: what is malformed, what is not ours, and AWS's own client on either side of the line.

use aws_sdk_kinesis::{
    Client,
    config::{BehaviorVersion, Credentials as ClientCredentials, Region, retry::RetryConfig},
    error::ProvideErrorMetadata as _,
};
use hyper::{Request, http::request::Builder};

use super::*;
use crate::stream::{ServerConfig, StreamServer};

const T0_US: u64 = 1_440_938_160_000_000; // 2015-08-30T12:36:00Z
const SIGNATURE: &str = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";

fn checked(required: Option<&Credentials>, request: Builder) -> Result<(), (ErrorKind, String)> {
    let (head, ()) = request.body(()).unwrap().into_parts();
    check(required, "kinesis", &head, b"{}", T0_US).map_err(|error| (error.kind, error.message))
}

fn with(authorization: &str) -> Builder {
    Request::post("/")
        .header("host", "h")
        .header("x-amz-date", "20150830T123600Z")
        .header("authorization", authorization)
}

fn whole() -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=AKID/20150830/us-east-1/kinesis/aws4_request, SignedHeaders=host;x-amz-date, \
         Signature={SIGNATURE}"
    )
}

#[test]
fn any_well_formed_signature_or_none_is_taken_when_nobody_is_expected() {
    assert_eq!(checked(None, Request::post("/")), Ok(()));
    assert_eq!(checked(None, with(&whole())), Ok(()));
    let query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20150830%2Fus-east-1%2Fkinesis%2Faws4_request\
                 &X-Amz-Date=20150830T123600Z&X-Amz-SignedHeaders=host&X-Amz-Signature=";
    assert_eq!(checked(None, Request::post(format!("/?{query}{SIGNATURE}"))), Ok(()));
}

#[test]
fn a_malformed_signature_is_refused_with_what_is_missing_and_without_what_was_sent() {
    let refused = |request: Builder, kind: ErrorKind, said: &str| {
        let (got, text) = checked(None, request).unwrap_err();
        assert_eq!(got, kind, "{text}");
        assert!(text.contains(said), "{text} lacks {said}");
        assert!(!text.contains("AKID") && !text.contains(SIGNATURE), "{text}");
    };
    use ErrorKind::{IncompleteSignature as Incomplete, InvalidSignature as Invalid};
    refused(with("Basic QUtJRDpzZWNyZXQ="), Incomplete, "requires the algorithm AWS4-HMAC-SHA256");
    refused(
        with("AWS4-HMAC-SHA256"),
        Incomplete,
        "requires 'Credential' parameter. Authorization header requires 'Sig",
    );
    refused(
        with(&whole().replace("Signature=", "Sig=")),
        Incomplete,
        "Authorization header requires 'Signature' parameter.",
    );
    refused(with(&whole().replace("/us-east-1", "")), Incomplete, "at least 5 slash-delimited elements");
    refused(with(&whole().replace("aws4_request", "other")), Incomplete, "at least 5 slash-delimited elements");
    refused(with(&whole().replace(SIGNATURE, "1234")), Invalid, "does not match the signature you provided");
    let undated = Request::post("/").header("authorization", whole());
    refused(undated, Incomplete, "either a 'X-Amz-Date' or a 'Date' header");
    let both = with(&whole()).uri("/?X-Amz-Algorithm=AWS4-HMAC-SHA256");
    refused(both, Invalid, "Found both 'X-Amz-Algorithm'");
    let query = Request::post("/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID");
    refused(
        query,
        Incomplete,
        "must include 'X-Amz-Signature'. AWS query-string parameters must include 'X-Amz-Signed",
    );
}

#[test]
fn a_required_signature_has_to_be_there_in_time_and_for_this_service() {
    let ours = Credentials::new("AKID", "secret");
    let refused = |request: Builder| checked(Some(&ours), request).unwrap_err();
    let missing = (ErrorKind::MissingAuthenticationToken, "Missing Authentication Token".to_owned());
    assert_eq!(refused(Request::post("/")), missing);
    let other = refused(with(&whole().replace("AKID", "OTHER")));
    assert_eq!(other.0, ErrorKind::UnrecognizedClient);
    let service = refused(with(&whole().replace("kinesis", "sqs")));
    assert!(service.1.contains("correct service: 'kinesis'"), "{service:?}");
    let dated = |date: &str| {
        let header = whole().replace("20150830", &date[..8]);
        refused(Request::post("/").header("x-amz-date", date).header("authorization", header)).1
    };
    assert_eq!(
        dated("20150830T122059Z"),
        "Signature expired: 20150830T122059Z is now earlier than 20150830T122100Z (20150830T123600Z - 15 min.)"
    );
    assert!(dated("20150830T125101Z").starts_with("Signature not yet current: 20150830T125101Z"));
    assert!(dated("20150830 1236").starts_with("Date must be in ISO-8601"));
    assert_eq!(dated("20150830T122100Z"), MISMATCH, "to the second it is in time, and still not ours");
    let unbound = whole().replace("host;x-amz-date", "x-amz-date");
    assert_eq!(refused(with(&unbound)).1, "'Host' must be a 'SignedHeader' in the AWS request.");
}

/// The signature that `secret` gives for this request, made step by step as AWS's guide says.
fn signed(request: Builder, names: &[&str], body: &[u8]) -> String {
    let (head, ()) = request.body(()).unwrap().into_parts();
    let query = canonical::query(head.uri.query().unwrap_or_default());
    let digest = canonical::sha256(canonical::request(&head, &query, names, body).as_bytes());
    let text = format!("AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/kinesis/aws4_request\n{digest}");
    let key = canonical::signing_key("secret", "20150830", "us-east-1", "kinesis");
    ring::hmac::sign(&key, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_signature_covers_the_headers_it_names_the_body_and_the_query() {
    let ours = Credentials::new("AKID", "secret");
    let mismatch = Err((ErrorKind::InvalidSignature, MISMATCH.to_owned()));
    let names = ["host", "x-amz-date", "x-amz-target"];
    let to = |target: &str, digits: &str| {
        let header = whole().replace("host;x-amz-date", &names.join(";")).replace(SIGNATURE, digits);
        with(&header).header("x-amz-target", target)
    };
    // `checked` sends the body `{}`.
    let digits = signed(to("ListStreams", SIGNATURE), &names, b"{}");
    assert_eq!(checked(Some(&ours), to("ListStreams", &digits)), Ok(()));
    assert_eq!(checked(Some(&ours), to("DeleteStream", &digits)), mismatch);
    let of_another_body = signed(to("ListStreams", SIGNATURE), &names, b"{ }");
    assert_eq!(checked(Some(&ours), to("ListStreams", &of_another_body)), mismatch);

    let address = |more: &str, digits: &str| {
        let scope = "AKID%2F20150830%2Fus-east-1%2Fkinesis%2Faws4_request";
        let query = format!(
            "X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential={scope}&X-Amz-Date=20150830T123600Z\
             &X-Amz-SignedHeaders=host&X-Amz-Signature={digits}&more={more}"
        );
        Request::post(format!("/?{query}")).header("host", "h")
    };
    let digits = signed(address("a%20b", SIGNATURE), &["host"], b"{}");
    assert_eq!(checked(Some(&ours), address("a%20b", &digits)), Ok(()));
    assert_eq!(checked(Some(&ours), address("c", &digits)), mismatch);
}

#[test]
fn a_secret_is_not_shown() {
    let shown = format!("{:?}", Credentials::new("AKID", "hush"));
    assert!(shown.contains("AKID") && !shown.contains("hush"), "{shown}");
}

fn client(server: &StreamServer, key: &str, secret: &str, region: &'static str) -> Client {
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region))
        .endpoint_url(server.endpoint())
        .credentials_provider(ClientCredentials::new(key, secret, Some("a session".to_owned()), None, "test"))
        .retry_config(RetryConfig::disabled())
        .http_client(aws_smithy_http_client::Builder::new().build_http());
    Client::from_conf(config.build())
}

#[tokio::test]
async fn the_client_is_known_by_its_secret_in_any_region() {
    let credentials = Some(Credentials::new("AKID", "secret/with+signs="));
    let streams = vec![("s".to_owned(), 1)];
    let server = StreamServer::bind(ServerConfig { credentials, streams, ..ServerConfig::default() }).unwrap();
    for region in ["us-east-1", "eu-central-1"] {
        let known = client(&server, "AKID", "secret/with+signs=", region);
        let put = known.put_record().stream_name("s").partition_key("k").data("data".as_bytes().to_vec().into());
        put.send().await.unwrap();
    }
    for (key, secret, code) in [
        ("AKID", "another", "InvalidSignatureException"),
        ("OTHER", "secret/with+signs=", "UnrecognizedClientException"),
    ] {
        let refused = client(&server, key, secret, "us-east-1").list_streams().send().await.unwrap_err();
        assert_eq!(refused.code(), Some(code));
    }
}

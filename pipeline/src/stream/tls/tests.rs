//! A made certificate is trusted through its authority and by nobody else; wrong files are said.

use std::fs;

use aws_sdk_kinesis::{
    Client,
    config::{BehaviorVersion, Credentials, Region, retry::RetryConfig},
};
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::{Request, client::conn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{io::AsyncReadExt as _, net::TcpStream};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, pki_types::ServerName},
};

use super::*;
use crate::stream::{ServeError, ServerConfig, StreamServer};

fn server(tls: TlsIdentity) -> Result<StreamServer, ServeError> {
    let streams = vec![("s".to_owned(), 1)];
    StreamServer::bind(ServerConfig { tls: Some(tls), streams, ..ServerConfig::default() })
}

/// AWS's own client, which trusts the authorities of this PEM text and no other.
fn client(server: &StreamServer, authority_pem: &str) -> Client {
    let trusted = TrustStore::empty().with_pem_certificate(authority_pem.as_bytes());
    let context = TlsContext::builder().with_trust_store(trusted).build().unwrap();
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(context)
        .build_https();
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(server.endpoint())
        .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .http_client(http);
    Client::from_conf(config.build())
}

#[tokio::test]
async fn a_client_that_trusts_the_authority_is_served_and_one_that_does_not_refuses() {
    let server = server(TlsIdentity::Made).unwrap();
    assert!(server.endpoint().starts_with("https://127.0.0.1:"), "{}", server.endpoint());
    let trusting = client(&server, server.authority_pem().unwrap());
    assert_eq!(trusting.list_streams().send().await.unwrap().stream_names, ["s"]);
    let another = Tls::new(&TlsIdentity::Made, [127, 0, 0, 1].into()).unwrap().authority_pem.unwrap();
    let refused = client(&server, &another).list_streams().send().await.unwrap_err();
    assert!(format!("{refused:?}").contains("InvalidCertificate"), "{refused:?}");
}

#[tokio::test]
async fn over_tls_the_handshake_says_which_http_is_spoken() {
    let server = server(TlsIdentity::Made).unwrap();
    let mut trusted = RootCertStore::empty();
    trusted.add(CertificateDer::from_pem_slice(server.authority_pem().unwrap().as_bytes()).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(trusted)
        .with_no_client_auth();
    for protocol in ["h2", "http/1.1"] {
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let name = ServerName::try_from("localhost").unwrap();
        let socket = TcpStream::connect(server.address()).await.unwrap();
        let socket = TlsConnector::from(Arc::new(config.clone())).connect(name, socket).await.unwrap();
        assert_eq!(socket.get_ref().1.alpn_protocol(), Some(protocol.as_bytes()));
        let socket = TokioIo::new(socket);
        let request = Request::get(format!("https://{}/health", server.address())).header("host", "localhost");
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let answer = if protocol == "h2" {
            let (mut sender, connection) = conn::http2::handshake(TokioExecutor::new(), socket).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        } else {
            let (mut sender, connection) = conn::http1::handshake(socket).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        };
        assert_eq!(answer.status(), 200, "{protocol}");
    }
}

#[tokio::test]
async fn a_certificate_from_files_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let authority = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.distinguished_name = named("of a file");
    let certificate = params.self_signed(&authority).unwrap();
    let (path, key) = (folder.path().join("server.pem"), folder.path().join("key.pem"));
    fs::write(&path, certificate.pem()).unwrap();
    fs::write(&key, authority.serialize_pem()).unwrap();
    let server = server(TlsIdentity::Files { certificate: path, key }).unwrap();
    assert_eq!(server.authority_pem(), None);
    assert!(client(&server, &certificate.pem()).list_streams().send().await.is_ok());
}

#[tokio::test]
async fn files_that_are_missing_or_wrong_or_do_not_belong_together_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let pair = || {
        let key = KeyPair::generate().unwrap();
        (
            CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap().pem(),
            key.serialize_pem(),
        )
    };
    let ((certificate, key), (_, other_key)) = (pair(), pair());
    let (certificate, key, other_key) =
        (write("c.pem", &certificate), write("k.pem", &key), write("o.pem", &other_key));
    let text = write("text.pem", "no PEM at all");
    let absent = folder.path().join("absent.pem");
    for (certificate, key, said) in [
        (&absent, &key, "absent.pem: "),
        (&text, &key, "text.pem: it holds no certificate"),
        (&certificate, &text, "text.pem: it holds no usable key"),
        (&certificate, &other_key, "cannot be used with its key"),
    ] {
        let files = TlsIdentity::Files { certificate: certificate.clone(), key: key.clone() };
        let error = server(files).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[tokio::test]
async fn whoever_does_not_speak_tls_is_cut_off_and_does_not_keep_others_waiting() {
    let server = server(TlsIdentity::Made).unwrap();
    let _silent = TcpStream::connect(server.address()).await.unwrap();
    let mut plain = TcpStream::connect(server.address()).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut plain, b"POST / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    assert!(client(&server, server.authority_pem().unwrap()).list_streams().send().await.is_ok());
    let mut answer = Vec::new();
    // An alert, or a reset: never an answer in the clear.
    let _ended = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

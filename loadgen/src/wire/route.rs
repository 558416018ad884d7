//! Where a call goes and as whom: asked of the SDK once, so that profiles, regions, endpoints and roles are its business.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    sync::{Arc, Mutex, PoisonError, RwLock, Weak},
    time::{Duration, SystemTime},
};

use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider},
};
use aws_sdk_kinesis::{Client, config::Config, primitives::Blob};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::HttpRequest,
    result::ConnectorError,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{InvalidDnsNameError, ServerName},
};

use crate::error::LoadError;

/// What the hosts of AWS end with, in all its partitions.
const AWS_DOMAINS: [&str; 3] = [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"];
/// Credentials are asked for again this long before they end.
const RENEW_BEFORE: Duration = Duration::from_secs(300);
/// ... and this often while that fails.
const RENEW_PAUSE: Duration = Duration::from_secs(10);

/// The way of a call.
#[derive(Debug)]
pub struct Route {
    /// The endpoint's URL.
    pub(crate) url: String,
    /// The `Host` header.
    pub(crate) authority: String,
    /// The path of every call.
    pub(crate) path: String,
    /// The region that is signed for.
    pub(crate) region: String,
    /// The service that is signed for.
    pub(crate) service: String,
    host: String,
    port: u16,
    /// TLS, and the name that the certificate must have.
    pub(crate) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    credentials: Arc<RwLock<Arc<Credentials>>>,
}

impl Route {
    /// The way that `client` sends its calls, with credentials of `provider`, which are renewed as long as the route lives.
    ///
    /// # Errors
    /// [`LoadError::Denied`] when there are no credentials, [`LoadError::Call`] when the SDK cannot say where it sends.
    pub async fn of(client: &Client, provider: SharedCredentialsProvider, name: &str) -> Result<Arc<Self>, LoadError> {
        let failed = |detail: String| LoadError::Call { endpoint: name.to_owned(), operation: "PutRecords", detail };
        let credentials = provider.provide_credentials().await.map_err(|error| LoadError::Denied {
            endpoint: name.to_owned(),
            operation: "credentials",
            detail: error.to_string(),
        })?;
        let seen = Seen::ask(client).await.map_err(failed)?;
        let url = url::Url::parse(&seen.url).map_err(|error| failed(error.to_string()))?;
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let tls = match url.scheme() {
            "https" => {
                let server = ServerName::try_from(host.clone()).map_err(|error| failed(error.to_string()))?;
                Some((tls_config().map_err(failed)?, server))
            }
            _ => None,
        };
        let port = url.port_or_known_default().unwrap_or(80);
        let authority = match url.port() {
            Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
            None => url.host_str().unwrap_or_default().to_owned(),
        };
        let (path, url) = (url.path().to_owned(), seen.url);
        let (region, service) = (seen.region, seen.service);
        let credentials_now = Arc::new(RwLock::new(Arc::new(credentials.clone())));
        let route =
            Arc::new(Self { url, authority, path, region, service, host, port, tls, credentials: credentials_now });
        if credentials.expiry().is_some() {
            let weak = Arc::downgrade(&route.credentials);
            tokio::spawn(renew(weak, provider, credentials.expiry()));
        }
        Ok(route)
    }

    /// The way to Amazon Data Firehose, as the same caller. An endpoint that was named serves both; on AWS the two differ in
    /// the first label of the host.
    ///
    /// # Errors
    /// A host that cannot be a certificate's name.
    pub fn to_firehose(&self) -> Result<Arc<Self>, InvalidDnsNameError> {
        let of_aws = AWS_DOMAINS.iter().any(|domain| self.host.ends_with(domain));
        let here = |text: &str| match text.strip_prefix("kinesis.") {
            Some(rest) if of_aws => format!("firehose.{rest}"),
            _ => text.to_owned(),
        };
        let host = here(&self.host);
        let tls = match &self.tls {
            Some((config, _)) => Some((Arc::clone(config), ServerName::try_from(host.clone())?)),
            None => None,
        };
        Ok(Arc::new(Self {
            url: self.url.replacen(&self.host, &host, 1),
            authority: here(&self.authority),
            path: self.path.clone(),
            region: self.region.clone(),
            service: "firehose".to_owned(),
            host,
            port: self.port,
            tls,
            credentials: Arc::clone(&self.credentials),
        }))
    }

    /// A way that nothing is sent on.
    #[cfg(test)]
    pub(crate) fn nowhere() -> Self {
        let text = |text: &str| text.to_owned();
        Self {
            url: text("http://nowhere/"),
            authority: text("nowhere"),
            path: text("/"),
            region: text("us-east-1"),
            service: text("kinesis"),
            host: text("nowhere"),
            port: 80,
            tls: None,
            credentials: Arc::new(RwLock::new(Arc::new(Credentials::new("key", "secret", None, None, "test")))),
        }
    }

    /// The credentials of now.
    pub(crate) fn credentials(&self) -> Arc<Credentials> {
        Arc::clone(&self.credentials.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The addresses that the endpoint's name stands for. May ask the network.
    pub(crate) fn addresses(&self) -> std::io::Result<Vec<SocketAddr>> {
        Ok((self.host.as_str(), self.port).to_socket_addrs()?.collect())
    }
}

/// Asks for new credentials before the old ones end.
async fn renew(
    held: Weak<RwLock<Arc<Credentials>>>,
    provider: SharedCredentialsProvider,
    mut expiry: Option<SystemTime>,
) {
    while let Some(until) = expiry {
        let left = until.duration_since(SystemTime::now()).unwrap_or_default();
        tokio::time::sleep(left.saturating_sub(RENEW_BEFORE).max(RENEW_PAUSE)).await;
        let Some(held) = held.upgrade() else { return };
        // While it fails the old ones go on, and the endpoint says when they are over.
        if let Ok(fresh) = provider.provide_credentials().await {
            expiry = fresh.expiry();
            *held.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
        }
    }
}

/// The trust of the system, as the SDK's own client has it. HTTP/1.1 only: a call has a connection of its own.
fn tls_config() -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(|| "none was found".to_owned(), ToString::to_string);
        return Err(format!("this system has no certificate authorities to trust: {why}"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What the SDK would have sent.
#[derive(Debug, Clone)]
struct Seen {
    url: String,
    region: String,
    service: String,
}

impl Seen {
    /// Lets the SDK make a call that is caught before it leaves.
    async fn ask(client: &Client) -> Result<Self, String> {
        let catcher = Catcher::default();
        let connector = SharedHttpConnector::new(catcher.clone());
        let http = http_client_fn(move |_, _| connector.clone());
        let call = client.put_record().stream_name("x").partition_key("x").data(Blob::new("x"));
        let sent = call.customize().config_override(Config::builder().http_client(http)).send().await;
        let caught = catcher.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (caught, sent) {
            (Some(seen), _) => Ok(seen),
            (None, Err(error)) => Err(crate::client::chain(&error)),
            (None, Ok(_)) => Err("the SDK made no request".to_owned()),
        }
    }

    fn of(request: &HttpRequest) -> Option<Self> {
        // Credential=<key>/<date>/<region>/<service>/aws4_request (Signature Version 4).
        let authorization = request.headers().get("authorization")?;
        let mut scope = authorization.split("Credential=").nth(1)?.split(',').next()?.rsplit('/').skip(1);
        let (service, region) = (scope.next()?.to_owned(), scope.next()?.to_owned());
        Some(Self { url: request.uri().to_owned(), region, service })
    }
}

/// A connector that keeps what it sees and sends nothing.
#[derive(Debug, Clone, Default)]
struct Catcher(Arc<Mutex<Option<Seen>>>);

impl HttpConnector for Catcher {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Seen::of(&request);
        HttpConnectorFuture::ready(Err(ConnectorError::user("nothing is sent".into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(url: &str, host: &str) -> Route {
        Route { url: url.to_owned(), authority: host.to_owned(), host: host.to_owned(), ..Route::nowhere() }
    }

    #[test]
    fn firehose_has_its_own_host_on_aws_and_shares_that_of_any_other_endpoint() {
        let aws = route("https://kinesis.eu-west-1.amazonaws.com/", "kinesis.eu-west-1.amazonaws.com");
        let there = aws.to_firehose().unwrap();
        assert_eq!(there.url, "https://firehose.eu-west-1.amazonaws.com/");
        assert_eq!(there.authority, there.host);
        assert_eq!((there.host.as_str(), there.service.as_str()), ("firehose.eu-west-1.amazonaws.com", "firehose"));
        assert!(Arc::ptr_eq(&aws.credentials, &there.credentials), "renewed once for both");
        let elsewhere = route("http://kinesis.local:4567/", "kinesis.local").to_firehose().unwrap();
        assert_eq!((elsewhere.url.as_str(), elsewhere.host.as_str()), ("http://kinesis.local:4567/", "kinesis.local"));
    }
}

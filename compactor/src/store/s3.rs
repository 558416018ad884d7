//! An S3 prefix as the AWS SDK would reach it: its chain finds credentials, region and endpoint; a `HeadBucket` asks the
//! bucket before anything depends on it; the store then uses the same credentials, refreshed by the same chain.

use std::{
    env,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_s3::operation::head_bucket::HeadBucketError;
use aws_smithy_http_client::tls;
use object_store::{
    CredentialProvider,
    aws::{AmazonS3Builder, AwsCredential, S3ConditionalPut},
    path::Path,
};
use url::{Host, Url};

use super::Location;
use crate::error::StoreError;

/// A credential is fetched anew this long before it ends, so that a request signed with it still arrives in time.
const REFRESH_BEFORE: Duration = Duration::from_secs(300);
/// S3 answers every region's client with the bucket's own region in this header.
const BUCKET_REGION_HEADER: &str = "x-amz-bucket-region";

pub(super) async fn open(url: &Url) -> Result<Location, StoreError> {
    let bad = |reason: &str| StoreError::Location { location: url.to_string(), reason: reason.to_owned() };
    let bucket = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| bad("it names no bucket"))?.to_owned();
    let root = Path::from_url_path(url.path()).map_err(|e| bad(&e.to_string()))?;

    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
        .build_https();
    let sdk = aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await;
    let endpoint = endpoint(&sdk)?;
    let provider = sdk.credentials_provider().ok_or_else(|| StoreError::NoCredentials {
        bucket: bucket.clone(),
        reason: "the provider chain is empty".to_owned(),
    })?;
    provider
        .provide_credentials()
        .await
        .map_err(|e| StoreError::NoCredentials { bucket: bucket.clone(), reason: chain(&e) })?;
    let region = head_bucket(&sdk, &bucket, endpoint.is_some()).await?;

    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&bucket)
        .with_region(region)
        .with_credentials(Arc::new(SdkCredentials { provider, held: Mutex::new(None) }))
        .with_conditional_put(S3ConditionalPut::ETagMatch);
    if let Some(endpoint) = endpoint {
        builder = builder
            .with_allow_http(endpoint.scheme() == "http")
            .with_virtual_hosted_style_request(false)
            .with_endpoint(endpoint.as_str().trim_end_matches('/'));
    }
    let store = builder.build().map_err(|source| StoreError::Client { location: url.to_string(), source })?;
    let mut url = url.clone();
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(Location { store: Arc::new(store), url, root })
}

/// The endpoint that the environment or the profile names for S3, if it may be used.
fn endpoint(sdk: &SdkConfig) -> Result<Option<Url>, StoreError> {
    let named = env::var("AWS_ENDPOINT_URL_S3").ok().filter(|v| !v.is_empty());
    named.or_else(|| sdk.endpoint_url().map(str::to_owned)).map(|text| checked_endpoint(&text)).transpose()
}

/// Plain HTTP shows credentials' signatures and data to the network, so it is for this machine only.
fn checked_endpoint(text: &str) -> Result<Url, StoreError> {
    let bad = |reason: &str| StoreError::Endpoint { endpoint: text.to_owned(), reason: reason.to_owned() };
    let url = Url::parse(text).map_err(|e| bad(&e.to_string()))?;
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => IpAddr::from(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::from(ip).is_loopback(),
        None => false,
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if loopback => Ok(url),
        "http" => Err(bad("http is for endpoints on this machine; use https")),
        _ => Err(bad("it is neither http nor https")),
    }
}

/// Asks the bucket whether it is there and may be used; returns the region to sign for.
async fn head_bucket(sdk: &SdkConfig, bucket: &str, custom_endpoint: bool) -> Result<String, StoreError> {
    let mut region = sdk.region().map(|region| region.as_ref().to_owned());
    // One redirect is enough: the second call signs for the region the bucket itself named.
    for _ in 0..2 {
        let asked = region.clone().unwrap_or_else(|| "us-east-1".to_owned());
        let mut config =
            aws_sdk_s3::config::Builder::from(sdk).region(Region::new(asked.clone())).force_path_style(custom_endpoint);
        if let Ok(endpoint) = env::var("AWS_ENDPOINT_URL_S3")
            && !endpoint.is_empty()
        {
            config = config.endpoint_url(endpoint);
        }
        let answer = aws_sdk_s3::Client::from_conf(config.build()).head_bucket().bucket(bucket).send().await;
        let error = match answer {
            Ok(found) => return Ok(found.bucket_region().map_or(asked, str::to_owned)),
            Err(error) => error,
        };
        let status = error.raw_response().map(|response| response.status().as_u16());
        let told = error.raw_response().and_then(|r| r.headers().get(BUCKET_REGION_HEADER)).map(str::to_owned);
        if let Some(told) = told
            && region.as_deref() != Some(told.as_str())
        {
            region = Some(told);
            continue;
        }
        return Err(match (status, error.as_service_error()) {
            (_, Some(HeadBucketError::NotFound(_))) | (Some(404), _) => {
                StoreError::NoBucket { bucket: bucket.to_owned() }
            }
            (Some(401 | 403), _) => StoreError::Denied { bucket: bucket.to_owned() },
            (Some(301 | 400), _) if region.is_none() => StoreError::NoRegion { bucket: bucket.to_owned() },
            _ => StoreError::Unreachable { bucket: bucket.to_owned(), reason: chain(&error) },
        });
    }
    Err(StoreError::Unreachable {
        bucket: bucket.to_owned(),
        reason: "the bucket redirects from region to region".to_owned(),
    })
}

/// An error with its causes, because the SDK's own text stops at "dispatch failure".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

type Held = Option<(Arc<AwsCredential>, Option<SystemTime>)>;

/// The SDK's credentials for `object_store`, asked for again shortly before they end.
#[derive(Debug)]
struct SdkCredentials {
    provider: SharedCredentialsProvider,
    held: Mutex<Held>,
}

impl SdkCredentials {
    fn held(&self) -> Option<Arc<AwsCredential>> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let (credential, expires) = held.as_ref()?;
        let fresh = expires.is_none_or(|expires| SystemTime::now() + REFRESH_BEFORE < expires);
        fresh.then(|| Arc::clone(credential))
    }
}

#[async_trait]
impl CredentialProvider for SdkCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        if let Some(credential) = self.held() {
            return Ok(credential);
        }
        let found = self
            .provider
            .provide_credentials()
            .await
            .map_err(|e| object_store::Error::Generic { store: "S3", source: Box::new(e) })?;
        let credential = Arc::new(AwsCredential {
            key_id: found.access_key_id().to_owned(),
            secret_key: found.secret_access_key().to_owned(),
            token: found.session_token().map(str::to_owned),
        });
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some((Arc::clone(&credential), found.expiry()));
        Ok(credential)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use aws_credential_types::{
        Credentials,
        provider::{self, future},
    };

    use super::*;

    #[test]
    fn plain_http_is_refused_beyond_this_machine() {
        for good in ["http://127.0.0.1:9000", "http://localhost:4566/", "http://[::1]:80", "https://minio.example"] {
            assert!(checked_endpoint(good).is_ok(), "{good}");
        }
        for bad in ["http://10.0.0.1:9000", "http://minio.example", "ftp://localhost", "localhost:9000", ""] {
            assert!(checked_endpoint(bad).unwrap_err().is_configuration(), "{bad}");
        }
    }

    #[derive(Debug)]
    struct Counting {
        calls: AtomicU32,
        lifetime: Duration,
    }

    impl ProvideCredentials for Counting {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let call = self.calls.fetch_add(1, Ordering::Relaxed);
            let expiry = Some(SystemTime::now() + self.lifetime);
            let found = Credentials::new(format!("key{call}"), "secret", Some("token".to_owned()), expiry, "test");
            future::ProvideCredentials::ready(provider::Result::Ok(found))
        }
    }

    async fn two_keys(lifetime: Duration) -> [String; 2] {
        let provider = SharedCredentialsProvider::new(Counting { calls: AtomicU32::new(0), lifetime });
        let credentials = SdkCredentials { provider, held: Mutex::new(None) };
        let first = credentials.get_credential().await.unwrap();
        let second = credentials.get_credential().await.unwrap();
        [first.key_id.clone(), second.key_id.clone()]
    }

    #[tokio::test]
    async fn credentials_are_held_until_they_are_about_to_end() {
        assert_eq!(two_keys(Duration::from_secs(3_600)).await, ["key0", "key0"]);
        assert_eq!(two_keys(Duration::from_secs(60)).await, ["key0", "key1"]);
    }
}

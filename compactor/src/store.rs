//! Where a lake or a table is: a folder or an S3 prefix behind one interface.
//!
//! Everything above speaks `object_store`. The store is rooted where its URL is (`/` of the disk, or the bucket), because
//! the Delta log addresses files by absolute URL; [`Location::root`] is the prefix under it.

use std::{path::PathBuf, sync::Arc};

use deltalake::{
    DeltaTable,
    logstore::{LogStoreRef, StorageConfig, default_logstore},
};
use futures::future::BoxFuture;
use object_store::{ObjectStore, local::LocalFileSystem, path::Path, prefix::PrefixStore};
use url::Url;

pub mod counting;
pub(crate) mod disk;
pub mod durable;
pub(crate) mod recent;
mod s3;

pub use crate::error::StoreError;

/// A place for objects.
#[derive(Debug, Clone)]
pub struct Location {
    /// The store, rooted at `/` of the disk or at the bucket.
    pub store: Arc<dyn ObjectStore>,
    /// The place as a URL (`file:///folder/`, `s3://bucket/prefix/`), ending in a slash.
    pub url: Url,
    /// The prefix of the place within the store.
    pub root: Path,
}

/// Opens a folder, or `s3://bucket/prefix` with the credentials, region and endpoint that the AWS SDK resolves.
///
/// With `create` a folder that does not exist is made; a bucket never is.
///
/// # Errors
/// [`StoreError`], typed so that a caller can tell a mistake in the configuration from a failing environment.
pub fn open(location: &str, create: bool) -> BoxFuture<'_, Result<Location, StoreError>> {
    Box::pin(async move {
        let bad = |reason: &str| StoreError::Location { location: location.to_owned(), reason: reason.to_owned() };
        match Url::parse(location) {
            Ok(url) if url.scheme() == "s3" => s3::open(&url).await,
            Ok(url) if url.scheme() == "file" => {
                folder(url.to_file_path().map_err(|()| bad("the URL is not a local path"))?, create)
            }
            Ok(url) if location.contains("://") => Err(bad(&format!("the scheme {} is not known", url.scheme()))),
            _ if location.is_empty() => Err(bad("it is empty")),
            _ => folder(PathBuf::from(location), create),
        }
    })
}

fn folder(path: PathBuf, create: bool) -> Result<Location, StoreError> {
    let io = |source| StoreError::Io { path: path.clone(), source };
    if create {
        std::fs::create_dir_all(&path).map_err(io)?;
    } else if !path.exists() {
        return Err(StoreError::NoFolder { path });
    }
    let absolute = std::fs::canonicalize(&path).map_err(io)?;
    if !absolute.is_dir() {
        return Err(io(std::io::ErrorKind::NotADirectory.into()));
    }
    let bad = |reason: String| StoreError::Location { location: path.display().to_string(), reason };
    let url = Url::from_directory_path(&absolute).map_err(|()| bad("the path has no URL form".to_owned()))?;
    let root = Path::from_url_path(url.path()).map_err(|e| bad(e.to_string()))?;
    Ok(Location { store: Arc::new(LocalFileSystem::new()), url, root })
}

impl Location {
    /// The store with this place as its root.
    #[must_use]
    pub fn prefixed(&self) -> Arc<dyn ObjectStore> {
        Arc::new(PrefixStore::new(Arc::clone(&self.store), self.root.clone()))
    }

    /// The Delta log at this place. It commits by conditional put, which both kinds of store support.
    #[must_use]
    pub fn log_store(&self) -> LogStoreRef {
        default_logstore(self.prefixed(), Arc::clone(&self.store), &self.url, &StorageConfig::default())
    }

    /// The Delta table at this place, not loaded; it need not exist.
    #[must_use]
    pub fn delta_table(&self) -> DeltaTable {
        DeltaTable::new(self.log_store())
    }

    /// The place beside this one whose last path segment has `suffix` appended.
    ///
    /// # Errors
    /// [`StoreError::Location`] when this place is a whole bucket or disk and so has nothing beside it.
    pub fn sibling(&self, suffix: &str) -> Result<Self, StoreError> {
        let bad = |reason: String| StoreError::Location { location: self.url.to_string(), reason };
        let path = self.url.path().trim_end_matches('/');
        if path.is_empty() {
            return Err(bad("it has nothing beside it; name a prefix".to_owned()));
        }
        let mut url = self.url.clone();
        url.set_path(&format!("{path}{suffix}/"));
        let root = Path::from_url_path(url.path()).map_err(|e| bad(e.to_string()))?;
        Ok(Self { store: Arc::clone(&self.store), url, root })
    }

    /// What another place is called as seen from here, so that both can be moved together.
    pub(crate) fn relative(&self, other: &Self) -> String {
        self.url.make_relative(&other.url).unwrap_or_else(|| other.url.to_string())
    }

    /// The path in the store of something at `key` under this place. A key that is a path already stays as it is: a name
    /// may hold an escape of its own (`city=a%2Fb`).
    #[must_use]
    pub fn path(&self, key: &str) -> Path {
        let key = Path::parse(key).unwrap_or_else(|_| Path::from(key));
        Path::from_iter(self.root.parts().chain(key.parts()))
    }

    /// The file behind a path of the store; `None` when the store is not a disk.
    #[must_use]
    pub fn file(&self, path: &Path) -> Option<PathBuf> {
        (self.url.scheme() == "file").then(|| LocalFileSystem::new().path_to_filesystem(path).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_opens_as_a_file_url_and_is_made_only_when_asked() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a é/b c");
        let text = path.to_str().unwrap();
        let missing = open(text, false).await.unwrap_err();
        assert!(matches!(missing, StoreError::NoFolder { .. }) && missing.is_configuration());
        let place = open(text, true).await.unwrap();
        assert!(place.url.as_str().starts_with("file:///") && place.url.as_str().ends_with("/b%20c/"), "{}", place.url);
        assert_eq!(place.file(&place.root).unwrap(), std::fs::canonicalize(&path).unwrap());
        assert_eq!(open(place.url.as_str(), false).await.unwrap().url, place.url);
    }

    #[tokio::test]
    async fn what_is_no_place_is_a_configuration_error() {
        for text in ["", "gs://bucket/x", "s3://", "http://host/x"] {
            let error = open(text, false).await.unwrap_err();
            assert!(error.is_configuration(), "{text}: {error}");
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(open(file.path().to_str().unwrap(), true).await, Err(StoreError::Io { .. })));
    }

    #[tokio::test]
    async fn a_sibling_is_beside_and_not_inside() {
        let home = tempfile::tempdir().unwrap();
        let place = open(home.path().join("table").to_str().unwrap(), true).await.unwrap();
        let beside = place.sibling("-quarantine").unwrap();
        assert!(beside.url.path().ends_with("/table-quarantine/"));
        assert!(!beside.root.prefix_matches(&place.root));
    }
}

//! Files that are either there and whole, or not there: temporary file, sync, rename, sync of the folder.

use std::{fs::File, io::Write, path::Path};

use crate::error::ReportError;

/// Writes `bytes` to `path` so that a crash leaves either the old file or the new one.
///
/// # Errors
/// [`ReportError::Io`] with the path when the folder cannot be written or the disk is full.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), ReportError> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        // A temporary file is private; a report is for whoever may read the folder.
        #[cfg(unix)]
        file.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        file.persist(path).map_err(|e| e.error)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|source| ReportError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_write_replaces_the_first_and_leaves_no_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.json");
        write_atomic(&path, b"old").unwrap();
        write_atomic(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_error_names_the_path() {
        let error = write_atomic(Path::new("/nonexistent/run.json"), b"x").unwrap_err().to_string();
        assert!(error.starts_with("/nonexistent/run.json: "), "{error}");
    }
}

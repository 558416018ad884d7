//! Files that a process was writing when it ended. On a disk a file is written as `NAME#1` and gets its name when it is
//! whole; `object_store` shows and touches no such file, so what a killed process leaves is looked for here.

use std::{fs, path::PathBuf, time::UNIX_EPOCH};

use crate::{error::CompactError, store::Location};

/// Every unfinished file under a place: its path there, its bytes, and when it was last written to (microseconds since
/// 1970). There is none where the place is no folder.
pub(super) fn files(place: &Location) -> Result<Vec<(String, u64, i128)>, CompactError> {
    let Some(root) = place.file(&place.root) else { return Ok(Vec::new()) };
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(folder) = folders.pop() {
        let io = |source| CompactError::Io { path: root.join(&folder), source };
        for entry in fs::read_dir(root.join(&folder)).map_err(io)? {
            let entry = entry.map_err(io)?;
            let path = folder.join(entry.file_name());
            if entry.file_type().map_err(io)?.is_dir() {
                folders.push(path);
            } else if let Some(path) = path.to_str().filter(|path| is_staged(path)) {
                // A writer may have given it its name meanwhile.
                let Ok(there) = entry.metadata() else { continue };
                let written = there.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
                let written_us = written.and_then(|age| i128::try_from(age.as_micros()).ok()).unwrap_or(0);
                found.push((path.to_owned(), there.len(), written_us));
            }
        }
    }
    Ok(found)
}

/// Deletes such a file; false when the path is not one's.
pub(super) fn delete(place: &Location, path: &str) -> Result<bool, CompactError> {
    let Some(root) = place.file(&place.root).filter(|_| is_staged(path)) else { return Ok(false) };
    let path = root.join(path);
    match fs::remove_file(&path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(CompactError::Io { path, source }),
        _ => Ok(true),
    }
}

fn is_staged(path: &str) -> bool {
    let number = path.rsplit('/').next().and_then(|name| name.split_once('#')).map(|(_, number)| number);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_files_are_told_by_their_names() {
        for path in ["a/part-0.parquet#1", "_delta_log/00.json#12"] {
            assert!(is_staged(path), "{path}");
        }
        for path in ["part-0.parquet", "a#1/x", "x#", "x#1a"] {
            assert!(!is_staged(path), "{path}");
        }
    }
}

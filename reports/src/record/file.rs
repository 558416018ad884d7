//! `run.json` on disk: read with its version checked first, written whole or not at all.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{RunRecord, SCHEMA_VERSION};
use crate::{ReportError, files::write_atomic};

/// The record's file name in a run's folder.
pub const FILE_NAME: &str = "run.json";

/// The part that every version has.
#[derive(Deserialize)]
struct Versioned {
    schema_version: String,
}

impl RunRecord {
    /// Reads a record from `run.json` itself or from the folder that holds it.
    ///
    /// # Errors
    /// [`ReportError::Io`] when the file cannot be read, [`ReportError::Version`] when another major version wrote it,
    /// [`ReportError::NotARecord`] when it is not a run record or was cut off.
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        let path = if path.is_dir() { path.join(FILE_NAME) } else { path.to_owned() };
        let text = std::fs::read(&path).map_err(|source| ReportError::Io { path: path.clone(), source })?;
        let not_a_record = |source| ReportError::NotARecord { path: path.clone(), source };
        let Versioned { schema_version } = serde_json::from_slice(&text).map_err(not_a_record)?;
        if major(&schema_version) != major(SCHEMA_VERSION) {
            return Err(ReportError::Version { path, found: schema_version, supported: SCHEMA_VERSION });
        }
        serde_json::from_slice(&text).map_err(not_a_record)
    }

    /// Writes the record as `run.json` into `folder`, for people indented, and says where.
    ///
    /// # Errors
    /// [`ReportError::Io`] when the folder cannot be written, [`ReportError::Encode`] when the record has no JSON form.
    pub fn write(&self, folder: &Path) -> Result<PathBuf, ReportError> {
        let path = folder.join(FILE_NAME);
        let mut text = serde_json::to_vec_pretty(self).map_err(ReportError::Encode)?;
        text.push(b'\n');
        write_atomic(&path, &text)?;
        Ok(path)
    }
}

fn major(version: &str) -> &str {
    version.split('.').next().unwrap_or(version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{record::SCHEMA_VERSION, sample};

    #[test]
    fn a_record_reads_back_what_was_written_by_file_and_by_folder() {
        let folder = tempfile::tempdir().unwrap();
        let record = sample::full();
        let path = record.write(folder.path()).unwrap();
        assert_eq!(RunRecord::read(&path).unwrap(), record);
        assert_eq!(RunRecord::read(folder.path()).unwrap(), record);
    }

    #[test]
    fn another_major_version_is_refused_and_a_newer_minor_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut record = sample::full();
        record.schema_version = "2.0".to_owned();
        let path = record.write(folder.path()).unwrap();
        let error = RunRecord::read(&path).unwrap_err().to_string();
        let ours = format!("schema version 2.0, this Millrace reads {SCHEMA_VERSION}");
        assert!(error.contains(&ours), "{error}");
        assert!(error.contains("run.json"), "{error}");

        record.schema_version = "1.9".to_owned();
        let mut value = serde_json::to_value(&record).unwrap();
        value["a_field_of_the_future"] = true.into();
        std::fs::write(&path, value.to_string()).unwrap();
        assert_eq!(RunRecord::read(&path).unwrap(), record);
    }

    #[test]
    fn a_record_of_the_time_before_aggregation_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let record = sample::full();
        let path = record.write(folder.path()).unwrap();
        let mut old = serde_json::to_value(&record).unwrap();
        assert!(old["load"].as_object_mut().unwrap().remove("aggregation").is_some());
        std::fs::write(&path, old.to_string()).unwrap();
        assert_eq!(RunRecord::read(&path).unwrap(), record);
    }

    #[test]
    fn a_cut_or_foreign_file_is_named_with_the_place_of_the_fault() {
        let folder = tempfile::tempdir().unwrap();
        let path = sample::full().write(folder.path()).unwrap();
        let text = std::fs::read(&path).unwrap();
        std::fs::write(&path, &text[..text.len() / 2]).unwrap();
        let cut = RunRecord::read(&path).unwrap_err();
        assert!(matches!(&cut, ReportError::NotARecord { .. }) && cut.to_string().contains("line"), "{cut}");
        std::fs::write(&path, "[1, 2]").unwrap();
        assert!(matches!(RunRecord::read(&path), Err(ReportError::NotARecord { .. })));
        let missing = RunRecord::read(&folder.path().join("none.json")).unwrap_err().to_string();
        assert!(missing.contains("none.json"), "{missing}");
    }
}

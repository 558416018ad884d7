//! Which objects of the lake are new. The listing is a stream: a window of it is held at a time, never the lake.

use std::sync::Arc;

use futures::{StreamExt, stream::BoxStream};
use millrace_scenarios::RecordFormat;
use object_store::{ObjectMeta, ObjectStore};
use tracing::warn;

use super::{manifest::Object, seen::Seen};
use crate::{
    error::CompactError,
    store::{Location, disk::Disk},
};

/// New objects held at a time. Order by key holds within a window.
const WINDOW: usize = 10_000;
/// Skipped names that are told one by one.
const TELL: u64 = 5;

/// What a name says about an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Records.
    Records,
    /// Something Firehose could not deliver, under the error prefix.
    Error,
    /// Not for us: hidden, or part of the table itself.
    Hidden,
    /// Of a kind that is not read.
    Other,
}

/// Records are `.gz`, `.json`, `.jsonl` and `.ndjson`, and names without any extension: Firehose's own when it does not
/// compress. What follows the last point of a stream's name (`my.stream-1-2025-...`) is too long for an extension.
pub(crate) fn classify(key: &str, error_prefix: &str) -> Class {
    if key.split('/').any(|part| part.starts_with(['_', '.'])) {
        return Class::Hidden;
    }
    if !error_prefix.is_empty() && key.starts_with(error_prefix) {
        return Class::Error;
    }
    match key.rsplit('/').next().unwrap_or(key).rsplit_once('.') {
        Some((_, "gz" | "json" | "jsonl" | "ndjson")) => Class::Records,
        Some((_, extension)) if extension.len() <= 8 && extension.bytes().all(|b| b.is_ascii_alphanumeric()) => {
            Class::Other
        }
        _ => Class::Records,
    }
}

/// Whether a name is one that lines of fields have.
pub(crate) fn is_of_lines(key: &str) -> bool {
    matches!(key.rsplit_once('.'), Some((_, "csv" | "tsv" | "txt" | "log")))
}

/// Consoles make folders on S3 by putting an empty object in their place; its name reads like a record's.
pub(crate) fn is_folder_marker(key: &str, size: u64) -> bool {
    size == 0 && !key.rsplit('/').next().unwrap_or(key).contains('.')
}

/// The part of a Firehose prefix expression that is the same for every object.
pub(crate) fn plain_prefix(expression: &str) -> &str {
    expression.split("!{").next().unwrap_or(expression)
}

/// The new objects of a lake, window by window.
pub(super) struct Discovery {
    lake: Location,
    /// Places under the lake that are not part of it.
    not_lake: Vec<object_store::path::Path>,
    error_prefix: String,
    /// Whether records are lines of fields.
    lines: bool,
    list: BoxStream<'static, object_store::Result<ObjectMeta>>,
    /// Objects under the error prefix.
    pub(super) error_objects: u64,
    /// Objects of a kind that is not read.
    pub(super) skipped_objects: u64,
    /// Whether the whole lake is listed.
    pub(super) is_at_end: bool,
}

impl Discovery {
    pub(super) fn new(
        lake: &Location,
        not_lake: Vec<object_store::path::Path>,
        error_prefix: &str,
        format: RecordFormat,
    ) -> Self {
        // The last window may end exactly where the list does, and a store's stream need not bear being asked again.
        let list = match Disk::of(lake) {
            Some(disk) => disk.list(),
            None => Arc::clone(&lake.store).list(Some(&lake.root)),
        };
        Self {
            lake: lake.clone(),
            not_lake,
            error_prefix: error_prefix.to_owned(),
            lines: format != RecordFormat::Json,
            list: list.fuse().boxed(),
            error_objects: 0,
            skipped_objects: 0,
            is_at_end: false,
        }
    }

    /// The next objects that are not `seen`, in order of key; empty at the end of the lake.
    pub(super) async fn next(&mut self, lake_id: &str, seen: &Seen) -> Result<Vec<Object>, CompactError> {
        let mut window = Vec::new();
        while window.len() < WINDOW
            && let Some(found) = self.list.next().await
        {
            let found = match found {
                Ok(found) => found,
                // A file that went away between listing its folder and looking at it.
                Err(object_store::Error::NotFound { .. }) => continue,
                Err(source) => return Err(CompactError::object(&self.lake.url, source)),
            };
            if let Some(object) = self.take(found)
                && !seen.contains(lake_id, &object.key)
            {
                window.push(object);
            }
        }
        self.is_at_end = window.len() < WINDOW;
        window.sort_unstable();
        Ok(window)
    }

    fn take(&mut self, found: ObjectMeta) -> Option<Object> {
        if self.not_lake.iter().any(|place| found.location.prefix_matches(place)) {
            return None;
        }
        let key: Vec<String> =
            found.location.prefix_match(&self.lake.root)?.map(|part| part.as_ref().to_owned()).collect();
        let key = key.join("/");
        if is_folder_marker(&key, found.size) {
            return None;
        }
        let class = match classify(&key, &self.error_prefix) {
            Class::Other if self.lines && is_of_lines(&key) => Class::Records,
            class => class,
        };
        match class {
            Class::Records => {
                let etag = found.e_tag.filter(|_| self.lake.url.scheme() != "file");
                return Some(Object { key, size: found.size, etag, crc32: None });
            }
            Class::Error => self.error_objects += 1,
            Class::Hidden => {}
            Class::Other => {
                self.skipped_objects += 1;
                if self.skipped_objects <= TELL {
                    warn!(object = key, "not read: its name ends in none of .gz, .json, .jsonl, .ndjson");
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_with_a_point_in_its_name_has_no_extension() {
        let uncompressed = "orders.v2-1-2025-01-01-00-00-00-0a1b2c3d";
        assert!(matches!(classify(uncompressed, ""), Class::Records));
        assert!(matches!(classify("a/x.gz.tmp", ""), Class::Other));
        assert!(matches!(classify("a/x.parquet", ""), Class::Other));
    }

    #[test]
    fn an_empty_object_in_the_place_of_a_folder_is_not_a_record() {
        assert!(is_folder_marker("lake/2025", 0) && is_folder_marker("", 0));
        assert!(!is_folder_marker("lake/2025", 1) && !is_folder_marker("lake/x.gz", 0));
    }

    #[test]
    fn the_fixed_part_of_an_error_prefix_is_what_comes_before_its_first_expression() {
        assert_eq!(plain_prefix("errors/!{firehose:error-output-type}/"), "errors/");
        assert_eq!(plain_prefix("bad/"), "bad/");
        assert_eq!(plain_prefix("!{timestamp:yyyy}/errors/"), "");
    }

    #[test]
    fn names_say_what_is_read() {
        let cases = [
            ("year=2025/s-1-2025-01-01-00-00-00-uuid.gz", Class::Records),
            ("s-1-2025-01-01-00-00-00-uuid", Class::Records),
            ("a.json", Class::Records),
            ("a.ndjson", Class::Records),
            ("city=St. Ives/object", Class::Records),
            ("errors/processing-failed/x.gz", Class::Error),
            ("year=2025/errors/x.gz", Class::Records),
            ("_delta_log/0.json", Class::Hidden),
            ("a/.tmp/x.gz", Class::Hidden),
            ("a/_SUCCESS", Class::Hidden),
            ("a/x.parquet", Class::Other),
            ("a/x.gz.tmp", Class::Other),
        ];
        for (key, class) in cases {
            assert_eq!(classify(key, "errors/"), class, "{key}");
        }
    }
}

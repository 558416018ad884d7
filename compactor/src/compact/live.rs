//! The data files that the table holds, kept by the actions of its log: what a commit of ours adds and removes is known
//! without being read back, and what others commit is read entry by entry.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use deltalake::{
    kernel::{Action, Add, Remove},
    table::state::DeltaTableState,
};
use object_store::path::Path;
use serde_json::{Map, Value};

use super::keys::Reference;
use crate::error::CompactError;

/// A data file of the table.
#[derive(Debug)]
pub(super) struct DataFile {
    /// Where it is, under the table.
    pub(super) path: Path,
    /// Its name in the log.
    name: String,
    pub(super) size: u64,
    pub(super) partition: HashMap<String, Option<String>>,
    /// The Delta statistics of the columns that are asked for, by kind of statistic, where there are any.
    pub(super) stats: Map<String, Value>,
    /// Its rows; `None` when the log does not say.
    pub(super) rows: Option<u64>,
    /// Where its keys are written down, if they are.
    pub(super) keys: Option<Reference>,
    has_deletions: bool,
}

/// The kinds of statistics that say which values a column can have.
const KINDS: [&str; 3] = ["minValues", "maxValues", "nullCount"];

impl DataFile {
    /// The file that an action adds, with statistics of these columns.
    pub(super) fn of(add: &Add, columns: &[String]) -> Self {
        let stats: Option<Value> = add.stats.as_deref().and_then(|stats| serde_json::from_str(stats).ok());
        let of_kind = |kind: &str| {
            let of_all = stats.as_ref()?.get(kind)?.as_object()?;
            let wanted = columns.iter().filter_map(|name| Some((name.clone(), of_all.get(name)?.clone())));
            Some((kind.to_owned(), Value::Object(wanted.collect())))
        };
        Self {
            path: Path::parse(&add.path).unwrap_or_else(|_| Path::from(add.path.as_str())),
            name: add.path.clone(),
            size: u64::try_from(add.size).unwrap_or(0),
            partition: add.partition_values.clone(),
            rows: stats.as_ref().and_then(|stats| stats["numRecords"].as_u64()),
            stats: if columns.is_empty() { Map::new() } else { KINDS.into_iter().filter_map(of_kind).collect() },
            keys: add.tags.as_ref().and_then(Reference::of),
            has_deletions: add.deletion_vector.is_some(),
        }
    }

    /// Whether a file of the quarantine can hold pieces of this commit, by its statistics.
    pub(super) fn may_hold(&self, sequence: u64) -> bool {
        let stat = |kind: &str| self.stats.get(kind).and_then(|stats| stats.get("manifest")).and_then(Value::as_u64);
        stat("minValues").zip(stat("maxValues")).is_none_or(|(low, high)| (low..=high).contains(&sequence))
    }

    /// What takes it out of the table.
    pub(super) fn remove(&self, now_ms: i64) -> Remove {
        Remove {
            path: self.name.clone(),
            data_change: true,
            deletion_timestamp: Some(now_ms),
            extended_file_metadata: Some(true),
            size: i64::try_from(self.size).ok(),
            partition_values: Some(self.partition.clone()),
            ..Remove::default()
        }
    }
}

/// Every data file of the table, by its name in the log.
#[derive(Debug)]
pub(super) struct Live {
    files: BTreeMap<String, Arc<DataFile>>,
    /// The columns whose statistics are kept.
    columns: Vec<String>,
    rows: u64,
}

impl Live {
    /// The files of a table as it was read.
    pub(super) fn of(state: &DeltaTableState, columns: &[String]) -> Self {
        let mut live = Self { files: BTreeMap::new(), columns: columns.to_vec(), rows: 0 };
        for view in state.log_data().iter() {
            #[expect(deprecated, reason = "the one way to a file's tags")]
            live.add(&view.add_action());
        }
        live
    }

    /// The files anew, of a later state.
    pub(super) fn again(&self, state: &DeltaTableState) -> Self {
        Self::of(state, &self.columns)
    }

    /// Follows the actions of one log entry, in which a file may go and come again.
    pub(super) fn follow(&mut self, actions: &[Action]) {
        for action in actions {
            if let Action::Remove(remove) = action {
                self.remove(&remove.path);
            }
        }
        for action in actions {
            if let Action::Add(add) = action {
                self.add(add);
            }
        }
    }

    fn add(&mut self, add: &Add) {
        let file = DataFile::of(add, &self.columns);
        self.rows += file.rows.unwrap_or(0);
        if let Some(before) = self.files.insert(add.path.clone(), Arc::new(file)) {
            self.rows -= before.rows.unwrap_or(0);
        }
    }

    fn remove(&mut self, name: &str) {
        if let Some(file) = self.files.remove(name) {
            self.rows -= file.rows.unwrap_or(0);
        }
    }

    /// The rows in them, as far as the log says.
    pub(super) const fn rows(&self) -> u64 {
        self.rows
    }

    /// The files, in order of name.
    ///
    /// # Errors
    /// [`CompactError::OtherSchema`] when rows of one are deleted by a vector beside it, which only others write.
    pub(super) fn files(&self, table: &str) -> Result<Vec<Arc<DataFile>>, CompactError> {
        match self.files.values().find(|file| file.has_deletions) {
            None => Ok(self.files.values().cloned().collect()),
            Some(file) => {
                let difference = format!("{} has a deletion vector, which is not supported", file.name);
                Err(CompactError::OtherSchema { table: table.to_owned(), difference })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use deltalake::kernel::DeletionVectorDescriptor;
    use serde_json::json;

    use super::*;

    fn add(path: &str, rows: u64) -> Action {
        let stats = format!(
            r#"{{"numRecords":{rows},"minValues":{{"id":"a","other":1}},"maxValues":{{"id":"b","other":2}},"nullCount":{{"other":0}}}}"#
        );
        Action::Add(Add { path: path.to_owned(), stats: Some(stats), ..Add::default() })
    }

    fn remove(path: &str) -> Action {
        Action::Remove(Remove { path: path.to_owned(), ..Remove::default() })
    }

    fn live(entries: &[&[Action]]) -> Live {
        let mut live = Live { files: BTreeMap::new(), columns: vec!["id".to_owned()], rows: 0 };
        entries.iter().for_each(|actions| live.follow(actions));
        live
    }

    #[test]
    fn files_come_and_go_with_their_rows() {
        let live = live(&[&[add("a", 3), add("city=B c/b", 5)], &[remove("a"), remove("unknown"), add("c", 1)]]);
        let files = live.files("t").unwrap();
        assert_eq!(files.iter().map(|file| file.path.to_string()).collect::<Vec<_>>(), ["c", "city=B c/b"]);
        assert_eq!(live.rows(), 6);
        let of_key = json!({"minValues": {"id": "a"}, "maxValues": {"id": "b"}, "nullCount": {}});
        assert_eq!(Value::Object(files[0].stats.clone()), of_key);
        assert_eq!(files[1].remove(7).path, "city=B c/b");
    }

    #[test]
    fn a_file_that_goes_and_comes_in_one_entry_is_there_whatever_stands_first() {
        for entry in [[remove("a"), add("a", 4)], [add("a", 4), remove("a")]] {
            let live = live(&[&[add("a", 3)], &entry]);
            assert_eq!((live.files("t").unwrap().len(), live.rows()), (1, 4));
        }
    }

    #[test]
    fn a_file_of_which_rows_are_deleted_beside_it_is_refused() {
        let deletions = r#"{"storageType":"u","pathOrInlineDv":"x","sizeInBytes":1,"cardinality":1}"#;
        let deletion_vector: Option<DeletionVectorDescriptor> = serde_json::from_str(deletions).unwrap();
        let file = Add { path: "a".to_owned(), deletion_vector, ..Add::default() };
        let error = live(&[&[Action::Add(file)]]).files("t").unwrap_err().to_string();
        assert!(error.contains("deletion vector"), "{error}");
    }
}

//! The Delta side of a commit: the state that was read is the state that is committed against, once.
//!
//! `deltalake` looks for the log's end before each commit and reads the table back after it, retries by its own rules, and
//! does not enforce application transactions. Here an entry is put as the version after the one that is known, if there is
//! none, and nothing is read: what it changes is known. After any refusal the log is read to see whether the entry is in it
//! after all.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use deltalake::{
    DeltaTable, DeltaTableError,
    checkpoints::create_checkpoint,
    kernel::{
        Action, StructField, Transaction,
        transaction::{CommitData, PROTOCOL},
    },
    logstore::{CommitOrBytes, LogStoreRef, commit_uri_from_version},
    operations::create::CreateBuilder,
    protocol::{DeltaOperation, SaveMode},
    table::{
        config::{TablePropertiesExt, TableProperty},
        state::DeltaTableState,
    },
};
use object_store::ObjectStoreExt;
use serde_json::Value;
use tracing::warn;
use uuid::Uuid;

use super::live::Live;
use crate::{
    error::CompactError,
    store::{Location, durable, recent},
};

/// The application id of every commit; its version is the commit's sequence number.
pub const APPLICATION: &str = "millrace-compactor";

/// The application id that a withdrawn number is a transaction of as well.
const WITHDRAWN: &str = "millrace-compactor/withdrawn";

/// How long it is taken for granted that the log still ends where it was seen to end, as long as no put says otherwise. An
/// entry that came later must not have been cleaned up again: then its number would look free.
const END_HOLDS: Duration = Duration::from_secs(600);

/// How long after a look at the log an entry is put without another. An entry put into a log that is gone would be lost.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// A Delta table, as last read.
pub(super) struct Table {
    pub(super) place: Location,
    pub(super) log_store: LogStoreRef,
    /// The table as `deltalake` read it. Columns and properties hold; files may be those of an earlier version, until
    /// [`Self::refresh`].
    pub(super) state: DeltaTableState,
    /// The version that is known.
    version: u64,
    /// When the log was last seen to end with it.
    ended: Instant,
    /// The files of that version, where they are watched.
    live: Option<Live>,
    /// The application id of its transactions.
    application: String,
    /// The last one's version, once it was asked for: finding it reads the log back to its checkpoint.
    sequence: Option<u64>,
}

/// How a commit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Committed {
    /// The table holds it by this call, also when its answer was lost.
    Yes,
    /// The table holds the same number by another call.
    ByAnother,
    /// The table does not hold it and has changed since it was read.
    Overtaken,
}

impl Table {
    /// The table, if there is one.
    pub(super) async fn open(place: &Location) -> Result<Option<Self>, CompactError> {
        Self::open_at(place, None).await
    }

    /// The table as it was at a version, or as it is.
    pub(super) async fn open_at(place: &Location, version: Option<u64>) -> Result<Option<Self>, CompactError> {
        // Entries written here are needed again for checkpoints.
        let log_store = recent::remembering(place).log_store();
        let delta = |e| CompactError::delta(&place.url, e);
        if !log_store.is_delta_table_location().await.map_err(delta)? {
            return Ok(None);
        }
        let ended = Instant::now();
        let state = DeltaTableState::try_new(log_store.as_ref(), version).await.map_err(delta)?;
        let (place, version, application) = (place.clone(), state.version(), APPLICATION.to_owned());
        Ok(Some(Self { place, log_store, state, version, ended, live: None, application, sequence: None }))
    }

    /// The table; made, empty, when there is none. It needs no more than reader version 1 and writer version 2.
    pub(super) async fn open_or_create(
        place: &Location,
        fields: Vec<StructField>,
        partition_by: &[String],
    ) -> Result<Self, CompactError> {
        if let Some(table) = Self::open(place).await? {
            return Ok(table);
        }
        let created = CreateBuilder::new()
            .with_log_store(place.log_store())
            .with_columns(fields)
            .with_partition_columns(partition_by.to_vec())
            // Statistics of every column, not of the first 32: queries skip files by any of them.
            .with_configuration_property(TableProperty::DataSkippingNumIndexedCols, Some("-1"))
            .with_save_mode(SaveMode::Ignore)
            .await;
        if let Err(error) = created {
            // Another process may have made it at the same moment.
            return Self::open(place).await?.ok_or_else(|| CompactError::delta(&place.url, error));
        }
        let table = Self::open(place).await?.ok_or_else(|| {
            CompactError::delta(&place.url, deltalake::DeltaTableError::NotATable(place.url.to_string()))
        })?;
        durable::sync(place, vec![log_path(place, 0)]).await?;
        Ok(table)
    }

    /// The table's own identity, made with it.
    pub(super) fn id(&self) -> &str {
        self.state.metadata().id()
    }

    /// Counts the transactions that belong to another table: numbers begin again when that one is made anew.
    pub(super) fn on_behalf_of(mut self, id: &str) -> Self {
        self.application = format!("{APPLICATION}/{id}");
        self.sequence = None;
        self
    }

    pub(super) fn url(&self) -> String {
        self.place.url.to_string()
    }

    /// The version that is known.
    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    /// Keeps the files of `state`, which is up to date, and those that come, with statistics of these columns.
    pub(super) fn watch(&mut self, columns: &[String]) {
        self.live = Some(Live::of(&self.state, columns));
    }

    /// The files of the version that is known, if they are watched.
    pub(super) const fn live(&self) -> Option<&Live> {
        self.live.as_ref()
    }

    /// Reads what was committed since, and the files of `state` with it.
    pub(super) async fn refresh(&mut self) -> Result<(), CompactError> {
        self.follow().await?;
        self.catch_up().await
    }

    /// Reads what was committed since. Where nothing was, that costs two requests. The files of `state` may stay behind.
    pub(super) async fn follow(&mut self) -> Result<(), CompactError> {
        if !self.end_holds() || !self.is_there().await? {
            return self.read_anew().await;
        }
        let (mut now, mut all_known) = (Instant::now(), true);
        while let Some(entry) = self.entry(self.version + 1).await? {
            self.version += 1;
            all_known &= self.take(&entry);
            now = Instant::now();
        }
        self.ended = now;
        if !all_known {
            self.catch_up().await?;
            self.live = self.live.take().map(|live| live.again(&self.state));
        }
        Ok(())
    }

    /// Whether a missing entry after the last known one means that there is none: log entries are kept for far longer than
    /// the time since the end was seen.
    fn end_holds(&self) -> bool {
        self.ended.elapsed() < END_HOLDS.min(self.state.table_config().log_retention_duration() / 2)
    }

    /// Whether the log still has the entry that is known as its last.
    async fn is_there(&self) -> Result<bool, CompactError> {
        let path = log_path(&self.place, self.version);
        match self.place.store.head(&path).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(source) => Err(CompactError::object(path, source)),
        }
    }

    /// Reads the table as one that was never read; fails when it is gone, or has become another.
    async fn read_anew(&mut self) -> Result<(), CompactError> {
        let now = Instant::now();
        let delta = |e| CompactError::delta(&self.place.url, e);
        let state = DeltaTableState::try_new(self.log_store.as_ref(), None).await.map_err(delta)?;
        if state.version() < self.version || state.metadata().id() != self.id() {
            return Err(delta(DeltaTableError::InvalidVersion(self.version)));
        }
        self.adopt(state);
        (self.ended, self.sequence) = (now, None);
        Ok(())
    }

    /// Follows one entry; false when it says more than which files come and go.
    fn take(&mut self, entry: &[u8]) -> bool {
        let lines = entry.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
        let actions: Result<Vec<Action>, _> = lines.map(serde_json::from_slice).collect();
        let Ok(actions) = actions else {
            // What is no action to this library may stand beside a transaction.
            self.sequence = None;
            return false;
        };
        self.take_all(&actions)
    }

    fn take_all(&mut self, actions: &[Action]) -> bool {
        for action in actions {
            // An entry names a transaction only to move it on.
            if let (Action::Txn(transaction), Some(sequence)) = (action, &mut self.sequence)
                && transaction.app_id == self.application
            {
                *sequence = u64::try_from(transaction.version).unwrap_or(*sequence);
            }
        }
        if let Some(live) = &mut self.live {
            live.follow(actions);
        }
        !actions.iter().any(|action| matches!(action, Action::Metadata(_) | Action::Protocol(_)))
    }

    /// Brings `state` to the version that is known.
    pub(super) async fn catch_up(&mut self) -> Result<(), CompactError> {
        if self.state.version() < self.version {
            let updated = self.state.update(self.log_store.as_ref(), Some(self.version)).await;
            updated.map_err(|e| CompactError::delta(self.url(), e))?;
        }
        Ok(())
    }

    /// Goes on from a state that another way of committing led to.
    pub(super) fn adopt(&mut self, state: DeltaTableState) {
        self.version = state.version();
        self.ended = Instant::now();
        self.live = self.live.take().map(|live| live.again(&state));
        self.state = state;
    }

    /// The log's entry for one version, if there is one.
    async fn entry(&self, version: u64) -> Result<Option<Bytes>, CompactError> {
        self.log_store.read_commit_entry(version).await.map_err(|e| CompactError::delta(self.url(), e))
    }

    /// The sequence number of the last commit that this state holds; 0 when there is none.
    pub(super) async fn sequence(&mut self) -> Result<u64, CompactError> {
        if let Some(sequence) = self.sequence {
            return Ok(sequence);
        }
        self.catch_up().await?;
        let sequence = self.last(&self.application).await?.unwrap_or(0);
        self.sequence = Some(sequence);
        Ok(sequence)
    }

    /// The version of an application's last transaction that `state` holds.
    async fn last(&self, application: &str) -> Result<Option<u64>, CompactError> {
        let version = self.state.transaction_version(self.log_store.as_ref(), application).await;
        let version = version.map_err(|e| CompactError::delta(self.url(), e))?;
        Ok(version.and_then(|version| u64::try_from(version).ok()))
    }

    /// The last number that was withdrawn.
    pub(super) async fn last_withdrawn(&mut self) -> Result<Option<u64>, CompactError> {
        self.catch_up().await?;
        self.last(WITHDRAWN).await
    }

    /// Commits the actions as number `sequence` on top of the version that is known.
    pub(super) async fn commit(
        &mut self,
        sequence: u64,
        actions: Vec<Action>,
        operation: DeltaOperation,
        metadata: HashMap<String, Value>,
        now_us: u64,
        lose_the_answer: bool,
    ) -> Result<Committed, CompactError> {
        let transactions = vec![numbered(&self.application, sequence, now_us)];
        self.submit_numbered(sequence, transactions, actions, operation, metadata, lose_the_answer).await
    }

    /// Commits, as number `sequence`, that nothing comes of it.
    pub(super) async fn withdraw(
        &mut self,
        sequence: u64,
        metadata: HashMap<String, Value>,
        now_us: u64,
    ) -> Result<Committed, CompactError> {
        let transactions =
            [&self.application, WITHDRAWN].map(|application| numbered(application, sequence, now_us)).to_vec();
        let operation = DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None };
        self.submit_numbered(sequence, transactions, Vec::new(), operation, metadata, false).await
    }

    async fn submit_numbered(
        &mut self,
        sequence: u64,
        transactions: Vec<Transaction>,
        actions: Vec<Action>,
        operation: DeltaOperation,
        metadata: HashMap<String, Value>,
        lose_the_answer: bool,
    ) -> Result<Committed, CompactError> {
        let committed = self.submit(transactions, actions, operation, metadata, lose_the_answer).await?;
        if committed == Committed::Yes {
            self.sequence = Some(sequence);
        }
        let is_there = committed == Committed::Overtaken && self.sequence().await? >= sequence;
        Ok(if is_there { Committed::ByAnother } else { committed })
    }

    /// Commits a rewrite of files, which is no transaction of the compactor's, on top of the version that is known.
    pub(super) async fn commit_rewrite(
        &mut self,
        actions: Vec<Action>,
        operation: DeltaOperation,
        metadata: HashMap<String, Value>,
    ) -> Result<Committed, CompactError> {
        self.submit(Vec::new(), actions, operation, metadata, false).await
    }

    /// Puts one log entry, as the version after the known one or not at all.
    async fn submit(
        &mut self,
        transactions: Vec<Transaction>,
        actions: Vec<Action>,
        operation: DeltaOperation,
        mut metadata: HashMap<String, Value>,
        lose_the_answer: bool,
    ) -> Result<Committed, CompactError> {
        let before = self.version;
        if self.ended.elapsed() > LOOK_AGAIN {
            self.follow().await?;
            if self.version > before {
                return Ok(Committed::Overtaken);
            }
        }
        let mark = Uuid::new_v4().to_string();
        metadata.insert("millrace.commit".to_owned(), Value::String(mark.clone()));
        let entry = CommitData::new(actions, operation, metadata, transactions);
        let refused = |e: DeltaTableError| CompactError::delta(&self.place.url, e);
        PROTOCOL.can_commit(&self.state, &entry.actions, &entry.operation).map_err(|e| refused(e.into()))?;
        let bytes = CommitOrBytes::LogBytes(entry.get_bytes().map_err(|e| refused(e.into()))?);
        let now = Instant::now();
        let outcome = self.log_store.write_commit_entry(before + 1, bytes, Uuid::new_v4()).await;
        let lost = lose_the_answer.then(|| DeltaTableError::generic("the answer was lost"));
        match (outcome.map_err(DeltaTableError::from), lost) {
            (Ok(()), None) => {
                (self.version, self.ended) = (before + 1, now);
                self.take_all(&entry.actions);
            }
            // A refusal may mean that someone was faster, that the disk is full, or that the entry is in and only the
            // answer was lost. The log knows.
            (Err(error), _) | (Ok(()), Some(error)) => {
                warn!(%error, "the commit was answered with an error; reading the log");
                self.follow().await?;
                if !self.holds(&mark, before + 1).await? {
                    if self.version == before {
                        return Err(CompactError::delta(self.url(), error));
                    }
                    return Ok(Committed::Overtaken);
                }
            }
        }
        durable::sync(&self.place, vec![log_path(&self.place, before + 1)]).await?;
        if (before + 2).is_multiple_of(self.state.table_config().checkpoint_interval().get()) {
            self.checkpoint().await;
        }
        Ok(Committed::Yes)
    }

    /// Writes a checkpoint. Without it readers read more entries; the next one is written when it is due.
    pub(super) async fn checkpoint(&self) {
        let mut table = DeltaTable::new(Arc::clone(&self.log_store));
        let written = async {
            table.load_version(self.version).await?;
            create_checkpoint(&table, None).await
        };
        if let Err(error) = written.await {
            warn!(%error, "no checkpoint could be written");
        }
    }

    /// Whether one of the log's entries from version `first` on carries the mark.
    async fn holds(&self, mark: &str, first: u64) -> Result<bool, CompactError> {
        for version in first..=self.version {
            if self.entry(version).await?.is_some_and(|entry| String::from_utf8_lossy(&entry).contains(mark)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn numbered(application: &str, sequence: u64, now_us: u64) -> Transaction {
    let version = i64::try_from(sequence).unwrap_or(i64::MAX);
    Transaction::new_with_last_update(application, version, i64::try_from(now_us / 1_000).ok())
}

fn log_path(place: &Location, version: u64) -> object_store::path::Path {
    place.path(commit_uri_from_version(Some(version)).as_ref())
}

#[cfg(test)]
mod tests {
    use deltalake::kernel::{Add, DataType, PrimitiveType};

    use super::*;

    fn field(name: &str) -> StructField {
        StructField::new(name, DataType::Primitive(PrimitiveType::String), true)
    }

    fn file(name: &str) -> Action {
        let stats = Some(r#"{"numRecords":3}"#.to_owned());
        Action::Add(Add { path: name.to_owned(), stats, data_change: true, ..Add::default() })
    }

    async fn commit(table: &mut Table, sequence: u64, actions: Vec<Action>) -> Committed {
        let operation = DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None };
        table.commit(sequence, actions, operation, HashMap::new(), 0, false).await.unwrap()
    }

    /// A place and a watched table at it.
    async fn table(home: &std::path::Path) -> (Location, Table) {
        let place = crate::store::open(home.to_str().unwrap(), true).await.unwrap();
        let mut table = Table::open_or_create(&place, vec![field("a")], &[]).await.unwrap();
        table.watch(&[]);
        (place, table)
    }

    #[tokio::test]
    async fn what_another_commits_is_followed_without_reading_the_table_and_with_it_alike() {
        let home = tempfile::tempdir().unwrap();
        let (place, mut table) = table(home.path()).await;
        let mut other = Table::open(&place).await.unwrap().unwrap();
        assert_eq!(commit(&mut table, 1, vec![file("x")]).await, Committed::Yes);
        assert_eq!(commit(&mut other, 1, vec![file("y")]).await, Committed::ByAnother);
        assert_eq!(commit(&mut other, 2, vec![file("z")]).await, Committed::Yes);
        assert_eq!((other.version(), other.state.version()), (2, 1), "its own entry is not read back");
        assert!(other.add_columns(vec![field("b")]).await.unwrap());

        table.follow().await.unwrap();
        assert_eq!((table.version(), table.sequence().await.unwrap()), (3, 2));
        assert!(table.state.schema().field("b").is_some(), "another schema is read");
        assert_eq!(commit(&mut table, 3, vec![file("w")]).await, Committed::Yes);
        let rows = |table: &Table| table.live().map(Live::rows);
        assert_eq!(rows(&table), Some(9));
        table.refresh().await.unwrap();
        assert_eq!(table.state.log_data().iter().count(), 3);
        table.watch(&[]);
        assert_eq!(rows(&table), Some(9));
    }

    #[tokio::test]
    async fn after_a_long_time_no_number_is_free_because_its_entry_was_cleaned_up() {
        let home = tempfile::tempdir().unwrap();
        let (place, mut table) = table(home.path()).await;
        let mut other = Table::open(&place).await.unwrap().unwrap();
        for sequence in 1..=3 {
            assert_eq!(commit(&mut other, sequence, vec![file(&format!("{sequence}"))]).await, Committed::Yes);
        }
        other.checkpoint().await;
        for version in 0..3 {
            std::fs::remove_file(place.file(&log_path(&place, version)).unwrap()).unwrap();
        }
        table.ended = Instant::now().checked_sub(2 * END_HOLDS).unwrap();
        assert_eq!(commit(&mut table, 1, vec![file("lost")]).await, Committed::ByAnother);
        assert_eq!((table.version(), table.live().map(Live::rows)), (3, Some(9)));
        assert!(!place.file(&log_path(&place, 1)).unwrap().exists());
    }

    #[tokio::test]
    async fn a_table_made_anew_in_its_place_is_another() {
        let home = tempfile::tempdir().unwrap();
        let (place, mut old) = table(home.path()).await;
        commit(&mut old, 1, vec![file("x")]).await;
        std::fs::remove_dir_all(home.path()).unwrap();
        assert!(old.follow().await.is_err());
        let mut new = Table::open_or_create(&place, vec![field("a")], &[]).await.unwrap();
        assert!(old.follow().await.is_err());
        for sequence in 1..=3 {
            commit(&mut new, sequence, Vec::new()).await;
        }
        old.ended = Instant::now().checked_sub(2 * END_HOLDS).unwrap();
        assert!(old.follow().await.is_err());
    }
}

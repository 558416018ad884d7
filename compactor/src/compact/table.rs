//! The Delta side of a commit: the state that was read is the state that is committed against, once.
//!
//! `deltalake` retries commits by its own rules and does not enforce application transactions, so both are done here:
//! no retries, and after any refusal the table is read again to see whether the commit is in it after all.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use deltalake::{
    kernel::{
        Action, StructField, Transaction,
        transaction::{CommitBuilder, CommitProperties, TableReference},
    },
    logstore::{LogStoreRef, commit_uri_from_version},
    operations::create::CreateBuilder,
    protocol::{DeltaOperation, SaveMode},
    table::{config::TableProperty, state::DeltaTableState},
};
use serde_json::Value;
use tracing::warn;
use uuid::Uuid;

use crate::{
    error::CompactError,
    store::{Location, durable},
};

/// The application id of every commit; its version is the commit's sequence number.
pub const APPLICATION: &str = "millrace-compactor";

/// The application id that a withdrawn number is a transaction of as well.
const WITHDRAWN: &str = "millrace-compactor/withdrawn";

/// A Delta table, as last read.
pub(super) struct Table {
    pub(super) place: Location,
    pub(super) log_store: LogStoreRef,
    pub(super) state: DeltaTableState,
    /// The application id of its transactions.
    application: String,
    /// The last one's version, once it was asked for: finding it reads the log back to its checkpoint.
    sequence: Option<u64>,
    /// The last number that was seen to be withdrawn.
    withdrawn: Option<u64>,
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
        let log_store = place.log_store();
        let delta = |e| CompactError::delta(&place.url, e);
        if !log_store.is_delta_table_location().await.map_err(delta)? {
            return Ok(None);
        }
        let state = DeltaTableState::try_new(log_store.as_ref(), None).await.map_err(delta)?;
        let application = APPLICATION.to_owned();
        Ok(Some(Self { place: place.clone(), log_store, state, application, sequence: None, withdrawn: None }))
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

    /// Reads what was committed since. Where nothing was, that costs one request.
    pub(super) async fn refresh(&mut self) -> Result<(), CompactError> {
        let known = self.state.version();
        let mut latest = known;
        while let Some(entry) = self.entry(latest + 1).await? {
            latest += 1;
            // An entry names a transaction only to move it on.
            if let Some(sequence) = &mut self.sequence {
                *sequence = transaction(&entry, &self.application).unwrap_or(*sequence);
            }
            self.withdrawn = transaction(&entry, WITHDRAWN).or(self.withdrawn);
        }
        if latest > known {
            let updated = self.state.update(self.log_store.as_ref(), Some(latest)).await;
            updated.map_err(|e| CompactError::delta(self.url(), e))?;
        }
        Ok(())
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
        let sequence = self.last(&self.application).await?.unwrap_or(0);
        self.sequence = Some(sequence);
        Ok(sequence)
    }

    /// The version of an application's last transaction that this state holds.
    async fn last(&self, application: &str) -> Result<Option<u64>, CompactError> {
        let version = self.state.transaction_version(self.log_store.as_ref(), application).await;
        let version = version.map_err(|e| CompactError::delta(self.url(), e))?;
        Ok(version.and_then(|version| u64::try_from(version).ok()))
    }

    /// The last number that was withdrawn.
    pub(super) async fn last_withdrawn(&mut self) -> Result<Option<u64>, CompactError> {
        self.withdrawn = self.last(WITHDRAWN).await?;
        Ok(self.withdrawn)
    }

    /// Whether this number was seen to be withdrawn.
    pub(super) fn withdrew(&self, sequence: u64) -> bool {
        self.withdrawn == Some(sequence)
    }

    /// Commits the actions as number `sequence` on top of the state that was read, and reads the new one.
    pub(super) async fn commit(
        &mut self,
        sequence: u64,
        actions: Vec<Action>,
        operation: DeltaOperation,
        metadata: HashMap<String, Value>,
        now_us: u64,
        lose_the_answer: bool,
    ) -> Result<Committed, CompactError> {
        let properties =
            CommitProperties::default().with_application_transaction(numbered(&self.application, sequence, now_us));
        self.submit_numbered(sequence, properties, actions, operation, metadata, lose_the_answer).await
    }

    /// Commits, as number `sequence`, that nothing comes of it.
    pub(super) async fn withdraw(
        &mut self,
        sequence: u64,
        metadata: HashMap<String, Value>,
        now_us: u64,
    ) -> Result<Committed, CompactError> {
        let properties = CommitProperties::default()
            .with_application_transaction(numbered(&self.application, sequence, now_us))
            .with_application_transaction(numbered(WITHDRAWN, sequence, now_us));
        let operation = DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None };
        self.submit_numbered(sequence, properties, Vec::new(), operation, metadata, false).await
    }

    async fn submit_numbered(
        &mut self,
        sequence: u64,
        properties: CommitProperties,
        actions: Vec<Action>,
        operation: DeltaOperation,
        metadata: HashMap<String, Value>,
        lose_the_answer: bool,
    ) -> Result<Committed, CompactError> {
        let committed = self.submit(properties, actions, operation, metadata, lose_the_answer).await?;
        if committed == Committed::Yes {
            self.sequence = Some(sequence);
        }
        let is_there = committed == Committed::Overtaken && self.sequence().await? >= sequence;
        Ok(if is_there { Committed::ByAnother } else { committed })
    }

    /// Commits a rewrite of files, which is no transaction of the compactor's, on top of the state that was read.
    pub(super) async fn commit_rewrite(
        &mut self,
        actions: Vec<Action>,
        operation: DeltaOperation,
        metadata: HashMap<String, Value>,
    ) -> Result<Committed, CompactError> {
        self.submit(CommitProperties::default(), actions, operation, metadata, false).await
    }

    /// Puts one log entry, as the version after the state that was read or not at all.
    async fn submit(
        &mut self,
        properties: CommitProperties,
        actions: Vec<Action>,
        operation: DeltaOperation,
        mut metadata: HashMap<String, Value>,
        lose_the_answer: bool,
    ) -> Result<Committed, CompactError> {
        let mark = Uuid::new_v4().to_string();
        metadata.insert("millrace.commit".to_owned(), Value::String(mark.clone()));
        let properties = properties.with_metadata(metadata).with_max_retries(0).with_cleanup_expired_logs(Some(false));
        let outcome = CommitBuilder::from(properties)
            .with_actions(actions)
            .build(Some(&self.state as &dyn TableReference), Arc::clone(&self.log_store), operation)
            .await;
        let lost = lose_the_answer.then(|| deltalake::DeltaTableError::generic("the answer was lost"));
        match (outcome, lost) {
            (Ok(done), None) => {
                self.state = done.snapshot();
            }
            // A refusal may mean that someone was faster, that the disk is full, or that the commit is in and only the
            // answer or a hook after it failed. The table knows.
            (Err(error), _) | (Ok(_), Some(error)) => {
                warn!(%error, "the commit was answered with an error; reading the table again");
                let before = self.state.version();
                self.refresh().await?;
                if !self.holds(&mark, before + 1).await? {
                    if self.state.version() == before {
                        return Err(CompactError::delta(self.url(), error));
                    }
                    return Ok(Committed::Overtaken);
                }
            }
        }
        durable::sync(&self.place, vec![log_path(&self.place, self.state.version())]).await?;
        Ok(Committed::Yes)
    }
}

impl Table {
    /// Whether one of the log's entries from version `first` on carries the mark.
    async fn holds(&self, mark: &str, first: u64) -> Result<bool, CompactError> {
        for version in first..=self.state.version() {
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

/// The version that a log entry gives to an application's transaction.
fn transaction(entry: &[u8], application: &str) -> Option<u64> {
    let actions = entry.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let of_ours = |action: Value| {
        let transaction = action.get("txn").filter(|transaction| transaction["appId"] == application)?;
        transaction["version"].as_u64()
    };
    actions.filter_map(of_ours).next_back()
}

fn log_path(place: &Location, version: u64) -> object_store::path::Path {
    place.path(commit_uri_from_version(Some(version)).as_ref())
}

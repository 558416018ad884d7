//! New columns, and new members of structs, where the scenario allows them: a Delta commit of its own that changes the table's schema and nothing else.
//!
//! It comes before the manifest of the first commit that needs it. A process that ends in between leaves a column of
//! nulls, which is what the rows before it have anyway, and the next one finds the column there.

use std::sync::Arc;

use bytes::Bytes;
use deltalake::{
    kernel::{
        Action, ArrayType, DataType, MetadataExt, StructField, StructType,
        transaction::{CommitBuilder, CommitProperties, TableReference},
    },
    protocol::DeltaOperation,
};
use millrace_scenarios::NewColumns;
use tracing::{info, warn};

use super::{Compactor, table::Table};
use crate::{error::CompactError, infer, schema::TableSchema};

/// Times it is tried when others write to the table as well.
const ATTEMPTS: u32 = 5;

impl Table {
    /// Gives the table the columns of these that it has not, and its structs the members; false when it has them all.
    pub(super) async fn add_columns(&mut self, fields: Vec<StructField>) -> Result<bool, CompactError> {
        for _ in 0..ATTEMPTS {
            self.catch_up().await?;
            let there = self.state.schema();
            let Some(all) = with_fields(&there, &fields) else { return Ok(false) };
            let url = self.url();
            let metadata =
                self.state.metadata().clone().with_schema(&all).map_err(|e| CompactError::delta(&url, e.into()))?;
            let properties = CommitProperties::default().with_max_retries(0).with_cleanup_expired_logs(Some(false));
            let outcome = CommitBuilder::from(properties)
                .with_actions(vec![Action::Metadata(metadata)])
                .build(
                    Some(&self.state as &dyn TableReference),
                    Arc::clone(&self.log_store),
                    DeltaOperation::AddColumn { fields: fields.clone() },
                )
                .await;
            match outcome {
                Ok(done) => {
                    self.adopt(done.snapshot());
                    return Ok(true);
                }
                Err(error) => {
                    warn!(%error, "new columns were refused; reading the table again");
                    let before = self.version();
                    self.refresh().await?;
                    if self.version() == before {
                        return Err(CompactError::delta(self.url(), error));
                    }
                }
            }
        }
        let sequence = self.sequence().await?;
        Err(CompactError::Contended { table: self.url(), sequence, attempts: ATTEMPTS })
    }
}

/// The type with the fields that it has not, at any depth; `None` when it has them all. Fields that are there keep their
/// types, and names that differ in case only are one name.
fn with_fields<'a>(there: &StructType, wanted: impl IntoIterator<Item = &'a StructField>) -> Option<StructType> {
    let mut all: Vec<StructField> = there.fields().cloned().collect();
    let mut is_grown = false;
    for field in wanted {
        let known = all.iter_mut().find(|known| known.name().eq_ignore_ascii_case(field.name()));
        let Some(known) = known else {
            all.push(field.clone());
            is_grown = true;
            continue;
        };
        if let Some(wider) = with_members(known.data_type(), field.data_type()) {
            known.data_type = wider;
            is_grown = true;
        }
    }
    if is_grown { StructType::try_new(all).ok() } else { None }
}

fn with_members(there: &DataType, wanted: &DataType) -> Option<DataType> {
    match (there, wanted) {
        (DataType::Struct(there), DataType::Struct(wanted)) => {
            with_fields(there, wanted.fields()).map(|all| DataType::Struct(Box::new(all)))
        }
        (DataType::Array(there), DataType::Array(wanted)) => {
            let wider = with_members(there.element_type(), wanted.element_type())?;
            Some(DataType::Array(Box::new(ArrayType::new(wider, there.contains_null()))))
        }
        _ => None,
    }
}

impl Compactor {
    /// Whether fields like these may become columns, or members of structs.
    pub(super) fn may_add<'a>(schema: &TableSchema, mut unknown: impl Iterator<Item = &'a String>) -> bool {
        schema.read().new_columns == NewColumns::Add && unknown.next().is_some()
    }

    /// Gives the table a column for each new field of these records; false when there is none that says its type.
    pub(super) async fn evolve(&mut self, records: Bytes) -> Result<bool, CompactError> {
        let Some((table, schema)) = &mut self.target else { return Ok(false) };
        let columns = infer::new_columns(records, schema);
        if columns.is_empty() {
            return Ok(false);
        }
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        info!(?names, "new columns");
        let added = table.add_columns(TableSchema::delta_fields_of(&columns)?).await?;
        let place = &self.config.table;
        let partitions = table.state.metadata().partition_columns();
        let now = TableSchema::of_table(place.url.as_str(), &table.state.schema(), partitions, &self.config.spec)?;
        *schema = Arc::new(now);
        Ok(added)
    }
}

//! DataFusion, asked of the Delta table and of the raw lake.

use std::sync::Arc;

use datafusion::{
    error::DataFusionError,
    execution::{memory_pool::FairSpillPool, runtime_env::RuntimeEnvBuilder},
    prelude::{SQLOptions, SessionConfig, SessionContext},
};
use futures::TryStreamExt;

use super::{Outcome, answer::AnswerHasher, failure::Failure, lake::Lake};
use crate::{Location, TableSchema};

mod cells;
mod raw;
mod view;

pub(super) use view::time_format;

/// Memory for sorts, joins and groups, bytes; what needs more spills to temporary files.
const MEMORY_BYTES: usize = 4 << 30;
/// Rows of a preview, below its header.
const PREVIEW_ROWS: usize = 10;
/// The name that queries know the data by.
const RECORDS: &str = "records";

/// The statement on the table at `place`.
pub(super) async fn table(sql: &str, place: &Location) -> Result<Outcome, Failure> {
    let mut table = place.delta_table();
    table.load().await?;
    let context = context()?;
    // A context knows the local disk by itself, and would read past the store that counts.
    let mut root = place.url.clone();
    root.set_path("/");
    context.register_object_store(&root, Arc::clone(&place.store));
    context.register_table(RECORDS, table.table_provider().await?)?;
    ask(&context, sql).await
}

/// The statement on the lake, through the view that makes its rows those of the table.
pub(super) async fn raw(sql: &str, lake: &Lake, schema: &Arc<TableSchema>) -> Result<Outcome, Failure> {
    let objects = lake.objects().await?;
    let context = context()?;
    let slices = context.copied_config().target_partitions();
    context.register_table(view::RAW, Arc::new(raw::provider(&lake.place, objects, slices, schema)?))?;
    let view = context.sql(&view::records_sql(schema)).await?.into_view();
    context.register_table(RECORDS, view)?;
    ask(&context, sql).await
}

/// A context without anything warm, bounded in memory, that takes names as they are written: columns of JSON records
/// are told apart by case, and Polars does so too.
fn context() -> Result<SessionContext, DataFusionError> {
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(FairSpillPool::new(MEMORY_BYTES))).build_arc()?;
    let mut config = SessionConfig::new();
    config.options_mut().sql_parser.enable_ident_normalization = false;
    Ok(SessionContext::new_with_config_rt(config, runtime))
}

/// Runs one SELECT and holds no more of its answer than the preview.
async fn ask(context: &SessionContext, sql: &str) -> Result<Outcome, Failure> {
    let select_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let mut batches = context.sql_with_options(sql, select_only).await?.execute_stream().await?;
    let names: Vec<_> = batches.schema().fields().iter().map(|field| field.name().clone()).collect();
    let mut hasher = AnswerHasher::new(names.len());
    let mut preview = vec![names];
    while let Some(batch) = batches.try_next().await? {
        cells::add(&batch, &mut hasher, &mut preview, PREVIEW_ROWS)?;
    }
    Ok(Outcome { answer: hasher.finish(), preview })
}

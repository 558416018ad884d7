//! Polars, the independent second opinion: its own JSON reader, its own Parquet reader, its own SQL.
//!
//! Only the framing of records ([`frames`]) and the list of the table's files are not Polars' own. Its SQL is a smaller
//! language than DataFusion's; a statement that it cannot run is a failure with its words.

use std::sync::Arc;

use polars::{prelude::LazyFrame, sql::SQLContext};
use tokio::runtime::Handle;

use super::{Outcome, failure::Failure, lake::Lake};
use crate::{Location, TableSchema};

mod cells;
mod frames;
mod lines;
mod raw;
mod scan;
mod table;
mod view;

/// The statement on the table at `place`.
pub(super) async fn table(sql: &str, place: &Location, schema: &Arc<TableSchema>) -> Result<Outcome, Failure> {
    let mut table = place.delta_table();
    table.load().await?;
    let source = table::Files::of(&table, place, schema, Handle::current())?;
    let records = scan::lazy(source, table::schema(schema))?;
    ask(sql, records).await
}

/// The statement on the lake, through the view that makes its rows those of the table.
pub(super) async fn raw(sql: &str, lake: &Lake, schema: &Arc<TableSchema>) -> Result<Outcome, Failure> {
    let source = raw::Objects::new(&lake.place, lake.objects().await?, schema, Handle::current());
    let records = view::records(scan::lazy(source, raw::schema(schema))?, schema);
    ask(sql, records).await
}

/// Polars computes on its own threads and waits for them: away from the asynchronous ones.
async fn ask(sql: &str, records: LazyFrame) -> Result<Outcome, Failure> {
    let sql = sql.to_owned();
    let work = tokio::task::spawn_blocking(move || {
        let mut context = SQLContext::new();
        context.register("records", records);
        let frame = context.execute(&sql)?.collect()?;
        Ok(Outcome { answer: cells::answer(&frame)?, preview: Vec::new() })
    });
    work.await.map_err(|error| Failure::Panic(error.to_string()))?
}

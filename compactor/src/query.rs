//! What a question costs: each query of a scenario, asked of the raw lake and of the table, by two engines.
//!
//! Four measurements stand beside each other: {gzip JSON of the lake, Delta table} x {DataFusion, Polars}. All four must
//! give the same [`answer`], and only then do their costs mean anything. From the lake, a query sees `records` through a
//! view that types, derives and deduplicates as the compactor does; every raw query reads every object, because gzip
//! JSON can be neither split nor skipped.
//!
//! How the numbers are to be read:
//! - Bytes and requests are everything that was read for the query, opening the table included: its Delta log, the
//!   Parquet footers, the listing of the lake. The table is not flattered by what it costs to find its files.
//! - Wall and CPU time are those of one run from a fresh start, with no engine's cache warm. The operating system's
//!   page cache is as the run left it, usually warm. CPU time is the whole process's.
//! - DataFusion's figures are the ones quoted. Polars is the second opinion: it fetches whole files, whatever columns
//!   it needs of them, and keeps the needed columns of all rows in memory.
//! - The order of the measurements is fixed, raw and table in turn, so that two runs are alike.

use std::sync::Arc;

use deltalake::DeltaTableError;
use futures::future::BoxFuture;
use millrace_reports::record::{Engine, Layout, Measurement, PriceSheet, QueryRecord};
use millrace_scenarios::{Query, RecordFormat, Table};

use crate::{
    CompactError, Location, TableSchema,
    compact::{discover::plain_prefix, quarantine},
    store::counting::CountingStore,
};

pub mod answer;
mod datafusion_engine;
mod failure;
mod lake;
mod meter;
mod polars_engine;
pub mod price;

pub use price::{PriceError, prices, prices_from};

use answer::Answer;
use lake::Lake;
use meter::Meter;

/// The measurements of a query, in the order they are taken.
const MEASUREMENTS: [(Layout, Engine); 4] = [
    (Layout::Raw, Engine::Datafusion),
    (Layout::Table, Engine::Datafusion),
    (Layout::Raw, Engine::Polars),
    (Layout::Table, Engine::Polars),
];

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct QuerySources<'a> {
    /// The raw lake.
    pub lake: &'a Location,
    /// The table made from it.
    pub table: &'a Location,
    /// How the table is made from the lake.
    pub spec: &'a Table,
    /// Delivery's error prefix: objects of the lake that start with its text before the first `!{` are no records.
    pub error_prefix: &'a str,
}

/// The queries could not be asked at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The table is not there or its log cannot be read.
    #[error("{table}: {source}; compact the lake first")]
    Table {
        /// The table.
        table: String,
        /// Why.
        source: Box<DeltaTableError>,
    },
    /// The table is not the one that the scenario describes.
    #[error(transparent)]
    Schema(#[from] CompactError),
    /// There are no prices to put on the answers.
    #[error(transparent)]
    Prices(#[from] PriceError),
}

impl QueryError {
    /// Whether the scenario or the command line is at fault (exit 2), and not the environment (exit 3).
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        match self {
            Self::Table { source, .. } => matches!(**source, DeltaTableError::NotATable(_)),
            Self::Schema(error) => error.is_configuration(),
            Self::Prices(_) => true,
        }
    }
}

/// What one engine says.
#[derive(Debug)]
struct Outcome {
    answer: Answer,
    /// Column names and the first rows as text; empty when the engine is not asked for it.
    preview: Vec<Vec<String>>,
}

/// Asks every query four times and says whether the answers agree. A query that an engine cannot run is part of the
/// record and no error.
///
/// # Errors
/// [`QueryError`] when there is no table, or it is not the one that the scenario describes.
pub fn run<'a>(
    queries: &'a [Query],
    sources: QuerySources<'a>,
    prices: &'a PriceSheet,
) -> BoxFuture<'a, Result<Vec<QueryRecord>, QueryError>> {
    Box::pin(async move {
        let schema = Arc::new(schema(&sources).await?);
        let mut records = Vec::with_capacity(queries.len());
        for query in queries {
            let mut record = QueryRecord {
                name: query.name.clone(),
                sql: query.sql.clone(),
                measurements: Vec::with_capacity(MEASUREMENTS.len()),
                same_answer: false,
                preview: Vec::new(),
            };
            for (layout, engine) in MEASUREMENTS {
                let (measurement, preview) = measure(&query.sql, (layout, engine), &sources, &schema, prices).await;
                tracing::debug!(query = query.name, ?layout, ?engine, error = measurement.error, "measured");
                record.measurements.push(measurement);
                if layout == Layout::Table && engine == Engine::Datafusion {
                    record.preview = preview;
                }
            }
            record.same_answer = agree(&record.measurements);
            records.push(record);
        }
        Ok(records)
    })
}

/// The table's own schema, held against the scenario's.
async fn schema(sources: &QuerySources<'_>) -> Result<TableSchema, QueryError> {
    let name = sources.table.url.as_str();
    let refused = |source| QueryError::Table { table: name.to_owned(), source: Box::new(source) };
    let mut table = sources.table.delta_table();
    table.load().await.map_err(refused)?;
    let snapshot = table.snapshot().map_err(refused)?;
    let partitions = snapshot.metadata().partition_columns();
    Ok(TableSchema::of_table(name, &snapshot.schema(), partitions, sources.spec)?)
}

async fn measure(
    sql: &str,
    (layout, engine): (Layout, Engine),
    sources: &QuerySources<'_>,
    schema: &Arc<TableSchema>,
    prices: &PriceSheet,
) -> (Measurement, Vec<Vec<String>>) {
    let source = match layout {
        Layout::Raw => sources.lake,
        Layout::Table => sources.table,
    };
    let store = CountingStore::new(Arc::clone(&source.store));
    let place = Location { store: Arc::new(store.clone()), ..source.clone() };
    let meter = Meter::start();
    let outcome = match (layout, engine) {
        (Layout::Raw, Engine::Datafusion) => datafusion_engine::raw(sql, &lake(place, sources), schema).await,
        (Layout::Table, Engine::Datafusion) => datafusion_engine::table(sql, &place).await,
        (Layout::Raw, Engine::Polars) => polars_engine::raw(sql, &lake(place, sources), schema).await,
        (Layout::Table, Engine::Polars) => polars_engine::table(sql, &place, schema).await,
    };
    let measurement = meter.finish((layout, engine), &outcome, &store, prices);
    (measurement, outcome.map(|outcome| outcome.preview).unwrap_or_default())
}

fn lake(place: Location, sources: &QuerySources<'_>) -> Lake {
    let error_prefix = plain_prefix(sources.error_prefix).to_owned();
    let quarantine = sources.table.sibling(quarantine::SUFFIX).ok().map(|quarantine| quarantine.root);
    let lines = sources.spec.read.format != RecordFormat::Json;
    Lake { place, error_prefix, lines, not_lake: quarantine.into_iter().chain([sources.table.root.clone()]).collect() }
}

/// Whether every measurement has an answer and all answers are one.
fn agree(measurements: &[Measurement]) -> bool {
    let Some(first) = measurements.first() else { return false };
    measurements.iter().all(|m| m.error.is_none() && m.rows == first.rows && m.answer == first.answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measurement(answer: &str, error: Option<&str>) -> Measurement {
        Measurement {
            layout: Layout::Raw,
            engine: Engine::Polars,
            error: error.map(str::to_owned),
            rows: 1,
            answer: answer.to_owned(),
            wall_us: 0,
            cpu_us: 0,
            bytes: 0,
            gets: 0,
            lists: 0,
            heads: 0,
            billed_bytes: 0,
            cost_usd: 0.0,
        }
    }

    #[test]
    fn answers_agree_only_when_all_are_there_and_equal() {
        assert!(agree(&[measurement("a", None), measurement("a", None)]));
        assert!(!agree(&[measurement("a", None), measurement("b", None)]));
        assert!(!agree(&[measurement("", Some("no dialect")), measurement("", Some("no dialect"))]));
        assert!(!agree(&[measurement("a", None), measurement("", Some("no dialect"))]));
        assert!(!agree(&[]));
    }
}

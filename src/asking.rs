//! The scenario's questions, put to the raw lake and to the table by two engines.

use millrace_compactor::{
    query::{self, QueryError, QuerySources},
    store::Location,
};
use millrace_reports::record::{PriceSheet, QueryRecord};
use millrace_scenarios::Scenario;

/// Asks every query; gives the answers with their costs, and the prices used.
pub(crate) async fn ask(
    scenario: &Scenario,
    lake: &Location,
    table: &Location,
) -> Result<(Vec<QueryRecord>, PriceSheet), QueryError> {
    let prices = query::prices()?;
    let sources = QuerySources { lake, table, spec: &scenario.table, error_prefix: &scenario.delivery.error_prefix };
    let answers = query::run(&scenario.query, sources, &prices).await?;
    Ok((answers, prices))
}

//! The scenario's questions, put to the raw lake and to the table by two engines.

use millrace_compactor::{
    compact::plain_prefix,
    query::{self, QueryError, QuerySources},
    store::Location,
};
use millrace_reports::record::{PriceSheet, QueryRecord};
use millrace_scenarios::{Query, Scenario};

/// Asks every query; gives the answers with their costs, and the prices used.
pub(crate) async fn ask(
    queries: &[Query],
    scenario: &Scenario,
    lake: &Location,
    table: &Location,
) -> Result<(Vec<QueryRecord>, PriceSheet), QueryError> {
    let prices = query::prices()?;
    let sources = QuerySources {
        lake,
        table,
        spec: &scenario.table,
        error_prefix: plain_prefix(&scenario.delivery.error_prefix),
    };
    let answers = query::run(queries, sources, &prices).await?;
    Ok((answers, prices))
}

//! `millrace query`: only the queries.

use std::{fs, path::Path};

use millrace_scenarios::Query;

use crate::{
    asking,
    cli::QueryArgs,
    failure::Failure,
    findings::{Findings, publish_leg},
    place,
    run_folder::now_us,
    scenario,
};

pub(crate) async fn query(args: QueryArgs) -> Result<u8, Failure> {
    let started_us = now_us();
    let scenario = scenario::read(&args.scenario)?;
    let queries = match &args.sql {
        Some(file) => vec![question(file)?],
        None => scenario.query.clone(),
    };
    let lake = place::lake(&scenario, &args.place).await?;
    let table = place::table(&scenario, &args.place, false).await?;
    let (answers, prices) =
        asking::ask(&queries, &scenario, &lake, &table).await.map_err(|e| Failure::of(&e, e.is_configuration()))?;
    let findings = Findings {
        legs: vec!["query"],
        target: lake.url.to_string(),
        queries: answers,
        prices: Some(prices),
        ..Findings::default()
    };
    publish_leg(findings, &scenario, args.out.as_deref(), started_us)
}

/// The statement in a file, named after the file.
fn question(file: &Path) -> Result<Query, Failure> {
    let sql = fs::read_to_string(file).map_err(|e| {
        Failure::configuration(format!("{}: {e}", file.display()), "give a file that holds one SELECT over records")
    })?;
    let name = file.file_stem().map_or_else(|| "sql".to_owned(), |stem| stem.to_string_lossy().into_owned());
    Ok(Query { name, sql: sql.trim().trim_end_matches(';').to_owned() })
}

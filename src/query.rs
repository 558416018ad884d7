//! `millrace query`: only the queries.

use std::{fs, path::Path};

use millrace_reports::record::QueryRecord;

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
    let mut asked = args.scenario;
    if let Some(file) = &args.sql {
        asked.set.push(question(file)?);
    }
    let scenario = scenario::read(&asked)?;
    let lake = place::lake(&scenario, &args.place).await?;
    let table = place::table(&scenario, &args.place, false).await?;
    let (answers, prices) =
        asking::ask(&scenario, &lake, &table).await.map_err(|e| Failure::of(&e, e.is_configuration()))?;
    if let Some(mistake) = answers.iter().find_map(nobody_answered) {
        return Err(mistake);
    }
    let findings = Findings {
        legs: vec!["query"],
        target: lake.url.to_string(),
        queries: answers,
        prices: Some(prices),
        ..Findings::default()
    };
    publish_leg(findings, &scenario, args.out.as_deref(), started_us)
}

/// The statement in a file as an override, named after the file, so that it is checked like the scenario's own queries.
fn question(file: &Path) -> Result<String, Failure> {
    let sql = fs::read_to_string(file).map_err(|e| {
        Failure::configuration(format!("{}: {e}", file.display()), "give a file that holds one SELECT over records")
    })?;
    let name = file.file_stem().map_or_else(|| "sql".to_owned(), |stem| stem.to_string_lossy().into_owned());
    let text = |text: &str| toml::Value::from(text).to_string();
    Ok(format!("query=[{{name={}, sql={}}}]", text(&name), text(sql.trim().trim_end_matches(';'))))
}

/// A statement that no engine could run anywhere is a mistake in the statement.
fn nobody_answered(query: &QueryRecord) -> Option<Failure> {
    let mut errors = query.measurements.iter().map(|m| m.error.as_deref());
    let first = errors.next()??;
    errors.all(|error| error.is_some()).then(|| {
        let help = "write one SELECT over records in SQL that DataFusion and Polars both read";
        Failure::configuration(format!("query {}: {first}", query.name), help)
    })
}

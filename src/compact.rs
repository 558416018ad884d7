//! `millrace compact`: only the compaction, of any lake of gzip JSON.

use crate::{
    cli::CompactArgs,
    compacting::{self, Compacted},
    compaction_line,
    failure::Failure,
    findings::{Findings, publish_leg},
    place,
    run_folder::now_us,
    scenario,
};

pub(crate) async fn compact(args: CompactArgs) -> Result<u8, Failure> {
    let started_us = now_us();
    let scenario = scenario::read(&args.scenario)?;
    let lake = place::lake(&scenario, &args.place).await?;
    let table = place::table(&scenario, &args.place, true).await?;
    let target = lake.url.to_string();
    let mut config = compacting::config(lake, table, &scenario, "");
    config.batch_objects = args.batch_objects.unwrap_or(config.batch_objects);
    config.hold_at = args.hold_at;
    let mut compactor = compacting::open(config).await?;
    let shown = compaction_line::start(compactor.progress());
    let passed = compactor.pass(None).await;
    shown.stop().await;
    passed.map_err(|e| Failure::of(&e, e.is_configuration()))?;
    let compacted = Compacted { record: compactor.record(), latency: None, failure: None };
    let findings = Findings { legs: vec!["compact"], target, compacted: Some(compacted), ..Findings::default() };
    publish_leg(findings, &scenario, args.out.as_deref(), started_us)
}

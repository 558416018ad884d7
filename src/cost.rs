//! What a run on real AWS will cost, said before anything is sent.

use std::io::{BufRead, IsTerminal, Write};

use millrace_loadgen::timetable::Timetable;
use millrace_reports::humanize;
use millrace_scenarios::{Scenario, SourceKind, event::rate_changes};

use crate::{direct, failure::Failure};

/// US dollars per provisioned shard-hour, us-east-1 (aws.amazon.com/kinesis/data-streams/pricing, read 2026-05).
const SHARD_HOUR_USD: f64 = 0.015;
/// US dollars per million PUT payload units of 25 KiB, same page and date.
const PUT_UNITS_USD_PER_MILLION: f64 = 0.014;

/// US dollars per GiB that Data Firehose takes directly, us-east-1, the first 500 TB of a month
/// (aws.amazon.com/firehose/pricing, read 2026-05).
const DIRECT_GIB_USD: f64 = 0.029;
/// Each record is billed in whole steps of this many bytes, same page and date. No record of the built-in sources is longer.
const DIRECT_STEP_BYTES: f64 = 5.0 * 1_024.0;

/// Records per second and provisioned shard that AWS accepts at most.
const SHARD_RECORDS_PER_SECOND: f64 = 1_000.0;

/// An estimate and what it is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Estimate {
    /// Records the schedule holds on average. Where that follows from the records themselves, as many as the shards
    /// accept.
    pub(crate) records: f64,
    /// Shard-hours, each begun hour counted whole.
    pub(crate) shard_hours: f64,
    /// Total, US dollars.
    pub(crate) usd: f64,
}

/// The most shards that the stream has at any time, its events included.
fn most_shards(scenario: &Scenario) -> u32 {
    let asked = scenario.event.iter().filter_map(|event| event.update_shard_count).max().unwrap_or(0);
    let splits = scenario.event.iter().filter(|event| event.split_shard.is_some()).count();
    scenario.stream.shards.max(asked).saturating_add(u32::try_from(splits).unwrap_or(u32::MAX))
}

/// Shard-hours and PUT payload units of the scenario's load; absent for a load that ends with its source, whose length
/// nobody knows. No record of the built-in sources exceeds one unit.
pub(crate) fn estimate(scenario: &Scenario) -> Option<Estimate> {
    let timetable = Timetable::new(&scenario.load, scenario.seed).with_rate_changes(&rate_changes(&scenario.event));
    let seconds = timetable.total_us()? as f64 / 1e6;
    if direct::is_meant(scenario) {
        // How many records a rate in bytes makes, only the records say.
        let records = timetable.known()?.expected_total();
        let usd = records * DIRECT_STEP_BYTES / f64::from(1 << 30) * DIRECT_GIB_USD;
        return Some(Estimate { records, shard_hours: 0.0, usd });
    }
    let shards = f64::from(most_shards(scenario));
    let records = match timetable.known() {
        Some(schedule) => schedule.expected_total(),
        None => shards * SHARD_RECORDS_PER_SECOND * seconds,
    };
    let shard_hours = shards * (seconds / 3600.0).ceil().max(1.0);
    let usd = shard_hours * SHARD_HOUR_USD + records / 1e6 * PUT_UNITS_USD_PER_MILLION;
    Some(Estimate { records, shard_hours, usd })
}

/// Prints the estimate and asks, or goes ahead when it is within `--max-cost`.
pub(crate) fn confirm(scenario: &Scenario, max_cost: Option<f64>) -> Result<(), Failure> {
    let estimate = estimate(scenario).ok_or_else(|| {
        Failure::configuration(
            "nobody can say what a load of unknown length costs on AWS",
            "add how long a trace is replayed, such as --for 60s; give a delivery stream's load in records",
        )
    })?;
    let place = match direct::is_meant(scenario) {
        true => "Data Firehose".to_owned(),
        false => format!("Kinesis over {} shard-hours", estimate.shard_hours),
    };
    eprintln!(
        "this run sends about {} records to AWS {place}: about USD {:.4} at us-east-1 prices of 2026-05,\n\
         without S3, data transfer and retries{}",
        humanize::count(estimate.records.round() as u64),
        estimate.usd,
        if scenario.source.kind == SourceKind::Weather && scenario.source.live {
            ", and asks the live weather API"
        } else {
            ""
        },
    );
    match max_cost {
        Some(limit) if estimate.usd <= limit => Ok(()),
        Some(limit) => Err(Failure::configuration(
            format!("the estimate of USD {:.4} is above --max-cost {limit}", estimate.usd),
            "raise --max-cost, or lower --rate or --for",
        )),
        None if std::io::stdin().is_terminal() => ask(),
        None => Err(Failure::configuration(
            "a run on AWS needs somebody to confirm its cost",
            "add --max-cost USD when nobody is there to ask",
        )),
    }
}

fn ask() -> Result<(), Failure> {
    eprint!("go ahead? [y/N] ");
    let mut answer = String::new();
    let read = std::io::stderr().flush().and_then(|()| std::io::stdin().lock().read_line(&mut answer));
    match (read, answer.trim()) {
        (Ok(_), "y" | "Y" | "yes") => Ok(()),
        _ => Err(Failure::configuration("not confirmed", "answer y, or add --max-cost USD")),
    }
}

#[cfg(test)]
mod tests {
    use millrace_scenarios::{Arrival, Overrides, Span, read};

    use super::*;

    #[test]
    fn an_hour_begun_is_an_hour_billed_and_units_are_priced_by_the_million() {
        let set = ["load.stages=[{rate=1000, for=\"1000s\"}]", "stream.shards=2"].map(str::to_owned).to_vec();
        let overrides = Overrides { set, ..Overrides::default() };
        let scenario = read(std::path::Path::new("sensors"), &overrides).unwrap();
        let estimate = estimate(&scenario).unwrap();
        assert_eq!(estimate.shard_hours, 2.0);
        assert_eq!(estimate.records, 1e6);
        assert!((estimate.usd - (2.0 * 0.015 + 0.014)).abs() < 1e-12);
    }

    #[test]
    fn what_goes_to_a_delivery_stream_is_billed_in_steps_of_a_record() {
        let set =
            ["load.stages=[{rate=1000, for=\"1000s\"}]", "load.call=put_record_batch"].map(str::to_owned).to_vec();
        let scenario = read(std::path::Path::new("sensors"), &Overrides { set, ..Overrides::default() }).unwrap();
        let estimate = estimate(&scenario).unwrap();
        assert_eq!((estimate.records, estimate.shard_hours), (1e6, 0.0));
        assert!((estimate.usd - 4.768_371_6 * 0.029).abs() < 1e-6, "{estimate:?}");
    }

    #[test]
    fn events_that_add_shards_or_records_cost_what_they_add() {
        let events = "event=[{at=\"500s\", rate=3.0}, {at=\"1s\", update_shard_count=8}, {at=\"9s\", split_shard=0}]";
        let set = ["load.stages=[{rate=1000, for=\"1000s\"}]", "stream.shards=2", events].map(str::to_owned).to_vec();
        let scenario = read(std::path::Path::new("sensors"), &Overrides { set, ..Overrides::default() }).unwrap();
        let estimate = estimate(&scenario).unwrap();
        assert_eq!((estimate.records, estimate.shard_hours), (2e6, 9.0));
    }

    #[test]
    fn records_that_nobody_knows_are_as_many_as_the_shards_accept() {
        let set = ["load.stages=[{rate=1000, for=\"100s\"}]", "load.unit=bytes", "stream.shards=2"];
        let overrides = Overrides { set: set.map(str::to_owned).to_vec(), ..Overrides::default() };
        let mut scenario = read(std::path::Path::new("sensors"), &overrides).unwrap();
        assert_eq!(estimate(&scenario).unwrap().records, 200_000.0);
        scenario.load.arrival = Arrival::Trace;
        assert_eq!(estimate(&scenario), None);
        scenario.load.trace_for = Some(Span::from_secs(100));
        assert_eq!(estimate(&scenario).unwrap().records, 200_000.0);
    }
}

//! One paced load of sensors on the null server, as the measurements share it.

use std::{sync::Arc, time::Duration};

use millrace_loadgen::{
    Clock, LoadOutcome, LoadPlan, LoadProgress, Slice, Witness,
    client::{Endpoint, StreamClient, connect},
    clock::cpu_us,
};
use millrace_reports::latency::LatencyLog;
use serde_json::{Value, json};
use tokio::{runtime::Runtime, sync::watch};

use crate::null_server::NullServer;

/// What came of it.
#[derive(Debug)]
pub struct Loaded {
    /// The load's own account.
    pub outcome: LoadOutcome,
    /// Processor time of this process over the length of the load, as a share of a core.
    pub cpu_share: f64,
}

/// Runs a `[load]` section at `rate` records a second for `window`.
pub fn run(runtime: &Runtime, server: &NullServer, mut load: Value, rate: u64, window: Duration) -> Loaded {
    let seconds = window.as_secs_f64();
    load["stages"] = json!([{"rate": rate, "for": format!("{}ms", (seconds * 1e3) as u64)}]);
    let scenario = json!({
        "name": "bench", "source": {"kind": "sensors"}, "load": load,
        "keys": {"kind": "uniform", "distinct": 1_000}, "stream": {"name": "null"},
    });
    let folder = tempfile::tempdir().expect("a folder");
    let reached = runtime.block_on(connect(&Endpoint::Local(server.url()))).expect("reached");
    let before = cpu_us();
    let outcome = runtime.block_on(async {
        let clock = Clock::start();
        let plan = LoadPlan {
            scenario: Arc::new(serde_json::from_value(scenario).expect("a scenario")),
            run_id: "bench".to_owned(),
            run_dir: folder.path().to_owned(),
            stream: StreamClient::new(&reached, "null"),
            witness: Witness::Nobody,
            slice: Slice::default(),
            ready_us: clock.now_us(),
            log: LatencyLog::discard(clock.now_us()),
            interval: Duration::from_secs(1),
            clock,
        };
        let (_never, stop) = watch::channel(false);
        millrace_loadgen::run(plan, Arc::new(LoadProgress::default()), stop).await.expect("a load")
    });
    assert_eq!(outcome.record.sent, outcome.record.due, "every record that was due was sent");
    Loaded { outcome, cpu_share: (cpu_us() - before) as f64 / (seconds * 1e6) }
}

//! The stream a run loads: in this process, an emulator behind a URL, or AWS. Only the endpoint differs.

use std::net::SocketAddr;

use millrace_loadgen::{
    LoadError,
    client::{Endpoint, StreamClient, connect as connect_to},
};
use millrace_pipeline::stream::{FaultCount, FaultPlan, Firehose, ServerConfig, StreamServer};
use millrace_scenarios::Scenario;

use crate::{
    cli::RunArgs,
    cost, direct,
    failure::{Failure, chain},
    run_folder::now_us,
};

/// Which stream was asked for on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// The stand-in, in this process.
    Local,
    /// Anything that speaks Kinesis at a URL.
    Url(String),
    /// Amazon Kinesis, as the AWS SDK resolves region and credentials.
    Aws,
}

impl Target {
    /// Reads `--target`.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        match text {
            "local" => Ok(Self::Local),
            "aws" => Ok(Self::Aws),
            url if url.starts_with("http://") || url.starts_with("https://") => Ok(Self::Url(url.to_owned())),
            other => Err(Failure::configuration(
                format!("{other:?} is not a target"),
                "write local, aws, or the URL of an endpoint such as http://127.0.0.1:4567",
            )),
        }
    }
}

/// A stream that is ready to be loaded.
pub(crate) struct Connected {
    pub(crate) stream: StreamClient,
    /// `local`, or the endpoint without credentials: what the record names.
    pub(crate) name: String,
    /// When it became usable, microseconds since 1970.
    pub(crate) ready_us: u64,
    server: Option<StreamServer>,
    delete_at_end: bool,
}

/// Connects, creates the stream when it is not there and waits until it is usable.
/// `firehose` is what the local stream's server takes PutRecordBatch for.
pub(crate) async fn connect(
    scenario: &Scenario,
    args: &RunArgs,
    firehose: Option<Firehose>,
) -> Result<Connected, Failure> {
    let target = Target::parse(&args.target)?;
    if target != Target::Local && !scenario.fault.is_empty() {
        return Err(Failure::configuration(
            "faults are for the local stream only",
            "remove --target, or take the faults out with --set fault=[]",
        ));
    }
    let (server, endpoint) = match &target {
        Target::Local => {
            let server = serve_local(scenario, firehose)?;
            let endpoint = Endpoint::Local(server.endpoint());
            (Some(server), endpoint)
        }
        Target::Url(url) => (None, Endpoint::Url(url.clone())),
        Target::Aws => {
            cost::confirm(scenario, args.max_cost)?;
            (None, Endpoint::Aws)
        }
    };
    let reached = connect_to(&endpoint).await.map_err(|e| Failure::of(&e, e.is_configuration()))?;
    let (stream, name) = (StreamClient::new(&reached, &scenario.stream.name), reached.name);
    let failed = |e: LoadError| Failure::of(&e, e.is_configuration());
    let (stream, created) = if direct::is_meant(scenario) {
        // Whether the delivery stream is there, its first answer says.
        (stream.to_delivery_stream().map_err(failed)?, false)
    } else {
        let created = usable(&stream, scenario.stream.shards).await.map_err(failed)?;
        (stream, created)
    };
    let ready_us = now_us();
    let name = if target == Target::Local { "local".to_owned() } else { name };
    // Others still need a stream that workers share; whoever started them deletes it.
    let delete_at_end = created && target == Target::Aws && args.worker.is_whole();
    Ok(Connected { stream, name, ready_us, server, delete_at_end })
}

/// Whether the stream had to be created.
async fn usable(stream: &StreamClient, shards: u32) -> Result<bool, LoadError> {
    match stream.describe().await {
        Ok(description) if description.is_usable() => Ok(false),
        Ok(_) => stream.wait_usable().await.map(|_| false),
        Err(LoadError::NoStream { .. }) => stream.create(shards).await.map(|_| true),
        Err(error) => Err(error),
    }
}

impl Connected {
    /// Fixes the time that the scenario's faults are counted from, microseconds since 1970 UTC.
    pub(crate) fn start_faults(&self, at_us: u64) {
        if let Some(server) = &self.server {
            server.start_faults(at_us);
        }
    }

    /// The faults of the local stream, and what they did.
    pub(crate) fn faults(&self) -> Vec<FaultCount> {
        self.server.as_ref().map_or_else(Vec::new, StreamServer::faults)
    }

    /// Ends the local stream; on AWS deletes the stream that this run created, because it costs money by the hour.
    pub(crate) async fn close(self) {
        if self.delete_at_end {
            let name = &self.stream.stream;
            match self.stream.client.delete_stream().stream_name(name.as_ref()).send().await {
                Ok(_) => eprintln!("deleted the stream {name} that this run created"),
                Err(error) => {
                    let why = chain(&error);
                    eprintln!("the stream {name} could not be deleted and goes on costing money: {why}");
                }
            }
        }
        if let Some(server) = self.server {
            server.shutdown().await;
        }
    }
}

fn serve_local(scenario: &Scenario, firehose: Option<Firehose>) -> Result<StreamServer, Failure> {
    let faults = FaultPlan::new(&scenario.fault, scenario.seed)
        .map_err(|error| Failure::configuration(error.to_string(), "correct the [[fault]] in the scenario"))?;
    let config = ServerConfig {
        faults,
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        retention: scenario.stream.retention.duration(),
        firehose,
        ..ServerConfig::default()
    };
    StreamServer::bind(config).map_err(|e| Failure::of(&e, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_is_no_url_is_a_configuration_error() {
        assert_eq!(Target::parse("aws").unwrap(), Target::Aws);
        assert_eq!(Target::parse("localhost:4567").unwrap_err().exit_code(), crate::failure::CONFIGURATION);
    }
}

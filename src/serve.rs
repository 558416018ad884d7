//! `millrace serve`: the local stream on a port, until a signal.

use std::{net::SocketAddr, path::Path};

use millrace_pipeline::stream::{Quotas, ServerConfig, StreamServer};

use crate::{cli::ServeArgs, failure::Failure, signals};

/// The quotas that `--quota` asks for.
fn quotas(asked: &str) -> Result<Quotas, Failure> {
    match asked {
        "on" => Ok(Quotas::aws()),
        "off" => Ok(Quotas::off()),
        file => Quotas::from_file(Path::new(file)).map_err(|error| {
            let help = "write --quota on, off, or a file such as: [write] records_per_s = 500";
            Failure::configuration(error.to_string(), help)
        }),
    }
}

pub(crate) async fn serve(args: ServeArgs) -> Result<u8, Failure> {
    if !args.bind.is_loopback() {
        eprintln!("warning: {} is not loopback; whoever reaches it can read and write every stream", args.bind);
    }
    let config = ServerConfig {
        address: SocketAddr::new(args.bind, args.port),
        streams: args.streams.iter().map(|s| (s.name.clone(), s.shards)).collect(),
        data: args.data.clone(),
        settle: args.settle.duration(),
        quotas: quotas(&args.quota)?,
        ..ServerConfig::default()
    };
    let server = StreamServer::bind(config).map_err(|e| Failure::of(&e, false))?;
    println!("millrace: serving Kinesis on {}", server.endpoint());
    for stream in &args.streams {
        println!("  stream {} with {} shards", stream.name, stream.shards);
    }
    println!("  try: aws kinesis list-streams --endpoint-url {}", server.endpoint());
    signals::stopped(signals::watch_for_stop()).await;
    server.shutdown().await;
    Ok(0)
}

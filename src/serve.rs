//! `millrace serve`: the local stream on a port, until a signal; and a delivery stream beside it, if asked.

use std::{net::SocketAddr, path::Path, sync::Arc};

use millrace_pipeline::{
    delivery::{DeliveryConfig, Limits, RetryPolicy},
    stream::{
        Clock as _, Credentials, FaultPlan, Firehose, Quotas, ServeError, ServerConfig, StreamServer, SystemClock,
        TlsIdentity,
    },
};
use millrace_reports::files::write_atomic;
use millrace_scenarios::Overrides;

use crate::{cli::ServeArgs, failure::Failure, place, signals};

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

/// As whom TLS is spoken, if it is.
fn tls(args: &ServeArgs) -> Option<TlsIdentity> {
    match (&args.tls_cert, &args.tls_key) {
        (Some(certificate), Some(key)) => {
            Some(TlsIdentity::Files { certificate: certificate.clone(), key: key.clone() })
        }
        _ => args.tls.then_some(TlsIdentity::Made),
    }
}

/// The credentials that every call has to be signed with, if it has to be.
fn credentials(required: bool) -> Result<Option<Credentials>, Failure> {
    if !required {
        return Ok(None);
    }
    let of = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    match (of("AWS_ACCESS_KEY_ID"), of("AWS_SECRET_ACCESS_KEY")) {
        (Some(id), Some(secret)) => Ok(Some(Credentials::new(id, secret))),
        _ => Err(Failure::configuration(
            "--require-credentials has no credentials to require",
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to those that clients sign with",
        )),
    }
}

/// The faults of a file, which cannot take from a folder what it is there to keep.
fn faults(args: &ServeArgs) -> Result<FaultPlan, Failure> {
    let Some(file) = &args.faults else { return Ok(FaultPlan::default()) };
    let faults = millrace_scenarios::read_faults(file).map_err(Failure::diagnostic)?;
    let plan = FaultPlan::new(&faults, args.seed)
        .map_err(|error| Failure::configuration(error.to_string(), "correct the [[fault]] in the file"))?;
    if plan.loses_state() && args.data.is_some() {
        return Err(Failure::configuration(
            "a server with --data cannot lose its state",
            "leave --data out, or write state = \"kept\"",
        ));
    }
    Ok(plan)
}

/// The delivery stream that the arguments ask for.
async fn firehose(args: &ServeArgs) -> Result<Option<Firehose>, Failure> {
    let Some(file) = &args.firehose else { return Ok(None) };
    let scenario = millrace_scenarios::read(file, &Overrides::default()).map_err(Failure::diagnostic)?;
    let lake = place::lake_to_fill(&scenario, args.lake.as_ref()).await?;
    let config = DeliveryConfig {
        stream: scenario.stream.name,
        spec: scenario.delivery,
        lake: lake.url.to_string(),
        store: lake.store,
        root: lake.root,
        clock: Arc::new(SystemClock),
        // Object names differ from those of the last server on this lake.
        seed: args.seed ^ SystemClock.now_us(),
        landed: None,
        retry: RetryPolicy::default(),
        limits: Limits::default(),
    };
    Firehose::start([config]).map(Some).map_err(|e| Failure::of(&e, e.is_configuration()))
}

fn refused(error: &ServeError) -> Failure {
    match error {
        ServeError::Tls(_) => Failure::configuration(
            error.to_string(),
            "give a certificate and the key that belongs to it in PEM, or --tls alone to have one made",
        ),
        _ => Failure::of(error, false),
    }
}

pub(crate) async fn serve(args: ServeArgs) -> Result<u8, Failure> {
    if !args.bind.is_loopback() {
        eprintln!("warning: {} is not loopback; whoever reaches it can read and write every stream", args.bind);
    }
    let firehose = firehose(&args).await?;
    let config = ServerConfig {
        address: SocketAddr::new(args.bind, args.port),
        streams: args.streams.iter().map(|s| (s.name.clone(), s.shards)).collect(),
        data: args.data.clone(),
        capacity_bytes: args.capacity.bytes(),
        retention: args.retention.duration(),
        tls: tls(&args),
        credentials: credentials(args.require_credentials)?,
        faults: faults(&args)?,
        settle: args.settle.duration(),
        quotas: quotas(&args.quota)?,
        firehose: firehose.clone(),
        ..ServerConfig::default()
    };
    let server = StreamServer::bind(config).map_err(|e| refused(&e))?;
    if let (Some(file), Some(pem)) = (&args.tls_ca_out, server.authority_pem()) {
        write_atomic(file, pem.as_bytes()).map_err(|e| Failure::of(&e, false))?;
    }
    println!("millrace: serving Kinesis on {}", server.endpoint());
    for stream in &args.streams {
        println!("  stream {} with {} shards", stream.name, stream.shards);
    }
    let trusted = args.tls_ca_out.as_ref().map(|file| format!(" --ca-bundle {}", file.display())).unwrap_or_default();
    println!("  try: aws kinesis list-streams --endpoint-url {}{trusted}", server.endpoint());
    if args.faults.is_some() {
        server.start_faults(SystemClock.now_us());
    }
    signals::stopped(signals::watch_for_stop()).await;
    server.shutdown().await;
    if let Some(firehose) = firehose {
        firehose.close().await.map_err(|e| Failure::of(&e, false))?;
    }
    Ok(0)
}

//! The server: a port, its connections, and an orderly end.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

use super::{
    account::{Account, AccountSettings},
    auth::Credentials,
    clock::{Clock, SystemClock},
    error::{ApiError, ServeError},
    meta::StreamShape,
    metrics::StreamMetrics,
    on_demand::Scaling,
    quota::Quotas,
    validate::Violations,
    wire::Gateway,
};

/// How long calls under way may take to end at shutdown.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// How long accepting pauses after a failure such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections the system keeps until they are accepted. Those beyond it are dropped and tried again after a second, which
/// the standard library's 128 makes a burst of clients feel.
const BACKLOG: u32 = 4_096;
/// HTTP/2: calls at once on a connection, and how much each may send before it is read. The connection's window holds
/// all of them, so a call that waits for memory cannot block the one it waits for.
const H2_STREAMS: u32 = 128;
const H2_STREAM_WINDOW_BYTES: u32 = 256 << 10;

/// What to serve, and where.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// Streams made at the start: name and number of shards.
    pub streams: Vec<(String, u32)>,
    /// How long a record can be read.
    pub retention: Duration,
    /// Memory for stored records over all streams, bytes. When it is full and nothing has outlived its retention,
    /// records are refused with `InternalFailure`, which AWS's clients retry.
    pub capacity_bytes: u64,
    /// The folder that keeps the streams and their records across restarts. Absent: they end with the server.
    pub data: Option<PathBuf>,
    /// How long a stream stays CREATING, UPDATING or DELETING before the change is complete. Streams made at the start
    /// are active at once.
    pub settle: Duration,
    /// How long the body of a request may take to arrive.
    pub patience: Duration,
    /// Whose calls are answered: those signed with these. Absent: everybody's.
    pub credentials: Option<Credentials>,
    /// The limits that are enforced.
    pub quotas: Quotas,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Default for ServerConfig {
    /// A free loopback port, no streams, 24 h, 2 GiB, changes complete at once, AWS's limits, the wall clock.
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            streams: Vec::new(),
            retention: Duration::from_secs(24 * 3600),
            capacity_bytes: 2 << 30,
            data: None,
            settle: Duration::ZERO,
            patience: Duration::from_secs(60),
            credentials: None,
            quotas: Quotas::aws(),
            clock: Arc::new(SystemClock),
        }
    }
}

/// A running Kinesis-compatible server. Dropping it stops it; [`Self::shutdown`] lets calls under way end first.
#[derive(Debug)]
pub struct StreamServer {
    address: SocketAddr,
    account: Arc<Account>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl StreamServer {
    /// Makes the streams, takes the port and starts to serve on the current tokio runtime.
    ///
    /// # Errors
    /// [`ServeError::Listen`] when the address is in use or not permitted, [`ServeError::Stream`] when a stream's name
    /// or size is not one AWS takes, [`ServeError::NoRuntime`] outside a runtime.
    pub fn bind(config: ServerConfig) -> Result<Self, ServeError> {
        let runtime = tokio::runtime::Handle::try_current()?;
        let microseconds = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let growth = config.quotas.on_demand;
        let settings = AccountSettings {
            capacity_bytes: config.capacity_bytes,
            retention_us: microseconds(config.retention),
            settle_us: microseconds(config.settle),
            quotas: config.quotas,
            clock: config.clock,
        };
        let account = match &config.data {
            Some(folder) => Account::open(settings, folder)?,
            None => Account::new(settings),
        };
        let account = Arc::new(account);
        if let Some(rules) = growth {
            runtime.spawn(Scaling::new(rules).watch(Arc::downgrade(&account)));
        }
        for (name, shards) in config.streams {
            // A stream that the folder kept is there already.
            if account.stream(&name).is_ok() {
                continue;
            }
            create(&account, &name, shards)
                .map_err(|reason| ServeError::Stream { name, reason: reason.to_string() })?;
        }
        let listen = |source| ServeError::Listen { address: config.address, source };
        let listener = self::listen(config.address).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let (stop, stopped) = oneshot::channel();
        let gateway = Arc::new(Gateway::new(Arc::clone(&account), config.patience, config.credentials));
        let serving = runtime.spawn(serve(listener, gateway, stopped));
        tracing::info!(%address, "the local stream listens");
        Ok(Self { address, account, stop, serving })
    }

    /// Where clients reach it: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address it listens on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has counted until now.
    #[must_use]
    pub fn metrics(&self) -> StreamMetrics {
        self.account.metrics()
    }

    /// Stops accepting, lets calls under way end (five seconds at most), and frees the port. Records are gone with it.
    pub async fn shutdown(self) {
        let Self { stop, serving, .. } = self;
        drop(stop);
        if let Err(error) = serving.await {
            tracing::warn!(%error, "the local stream did not end in order");
        }
    }
}

/// Takes the port, with room for a crowd of clients that come at once.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As the standard library does: a port whose last connections are still winding down can be taken again.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn create(account: &Account, name: &str, shards: u32) -> Result<(), ApiError> {
    let mut violations = Violations::default();
    violations.name(name, "streamName");
    violations.range(i64::from(shards), "shardCount", 1, i64::from(i32::MAX));
    violations.finish()?;
    account.create_active(name, StreamShape::provisioned(shards, account.retention_us))
}

/// Accepts connections until the other end of `stopped` is gone, then waits for them.
async fn serve(listener: TcpListener, gateway: Arc<Gateway>, mut stopped: oneshot::Receiver<()>) {
    let connections = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut stopped => break,
        };
        match accepted {
            Ok((socket, _)) => converse(socket, Arc::clone(&gateway), &connections),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(SHUTDOWN_GRACE, connections.shutdown()).await.is_err() {
        tracing::warn!("connections were still busy when the local stream ended");
    }
}

/// Serves one connection, HTTP/1.1 or HTTP/2 as its first bytes say, in a task of its own.
fn converse(socket: TcpStream, gateway: Arc<Gateway>, connections: &GracefulShutdown) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "small answers may be delayed");
    }
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http2()
        .max_concurrent_streams(H2_STREAMS)
        .initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(H2_STREAM_WINDOW_BYTES * H2_STREAMS);
    let service = service_fn(move |request| Arc::clone(&gateway).serve(request));
    let connection = builder.serve_connection(TokioIo::new(socket), service).into_owned();
    let connection = connections.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended early");
        }
    });
}

//! The server: a port, its connections, and an orderly end.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{
        conn::auto::Builder,
        graceful::{GracefulShutdown, Watcher},
    },
};
use millrace_scenarios::StateAfter;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::Instant,
};

use super::{
    account::{Account, AccountSettings},
    auth::Credentials,
    clock::{Clock, SystemClock},
    error::{ApiError, ServeError},
    faults::{FaultCount, FaultPlan, Injector},
    firehose::Firehose,
    head_limit::{HeadLimited, Heads},
    meta::StreamShape,
    metrics::StreamMetrics,
    premises::Premises,
    quota::Quotas,
    tls::{Tls, TlsIdentity},
    validate::Violations,
    wire::{Cut, Gateway},
};

/// How long calls under way may take to end at shutdown.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// How long accepting pauses after a failure such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections the system keeps until they are accepted. Those beyond it are dropped and tried again after a second, which
/// the standard library's 128 makes a burst of clients feel.
const BACKLOG: u32 = 4_096;
/// How long a TLS handshake may take.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
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
    /// How long the head of a request may take to arrive once it has begun, and then its body.
    pub patience: Duration,
    /// Whether TLS is spoken, and as whom.
    pub tls: Option<TlsIdentity>,
    /// Whose calls are answered: those signed with these. Absent: everybody's.
    pub credentials: Option<Credentials>,
    /// The limits that are enforced.
    pub quotas: Quotas,
    /// What goes wrong on purpose, once [`StreamServer::start_faults`] has said when.
    pub faults: FaultPlan,
    /// Delivery streams that take records directly. They outlive the server: who made them closes them after it.
    pub firehose: Option<Firehose>,
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
            tls: None,
            credentials: None,
            quotas: Quotas::aws(),
            faults: FaultPlan::default(),
            firehose: None,
            clock: Arc::new(SystemClock),
        }
    }
}

/// An order to be gone for a while.
#[derive(Debug, Clone, Copy)]
struct Kill {
    down: Duration,
    state: StateAfter,
}

/// A running Kinesis-compatible server. Dropping it stops it; [`Self::shutdown`] lets calls under way end first.
#[derive(Debug)]
pub struct StreamServer {
    address: SocketAddr,
    tls: Option<Tls>,
    premises: Arc<Premises>,
    faults: Option<Arc<Injector>>,
    stop: oneshot::Sender<()>,
    kill: mpsc::UnboundedSender<Kill>,
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
        let faults = (!config.faults.is_empty()).then(|| Arc::new(Injector::new(config.faults)));
        let settings = AccountSettings {
            capacity_bytes: config.capacity_bytes,
            retention_us: microseconds(config.retention),
            settle_us: microseconds(config.settle),
            quotas: config.quotas,
            faults: faults.clone(),
            clock: config.clock,
        };
        let _entered = runtime.enter();
        let premises = Arc::new(Premises::open(settings, config.data.as_deref())?);
        let account = premises.account();
        for (name, shards) in config.streams {
            // A stream that the folder kept is there already.
            if account.stream(&name).is_ok() {
                continue;
            }
            create(&account, &name, shards)
                .map_err(|reason| ServeError::Stream { name, reason: reason.to_string() })?;
        }
        let tls = config.tls.as_ref().map(|identity| Tls::new(identity, config.address.ip())).transpose()?;
        let listen = |source| ServeError::Listen { address: config.address, source };
        let listener = self::listen(config.address).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let (stop, stopped) = oneshot::channel();
        let gateway =
            Gateway::new(Arc::clone(&premises), config.patience, config.credentials, faults.clone(), config.firehose);
        let life = watch::Sender::new(());
        let door =
            Door { gateway: Arc::new(gateway), tls: tls.clone(), patience: config.patience, life: life.subscribe() };
        let (kill, kills) = mpsc::unbounded_channel();
        let serving = Serving { address, premises: Arc::clone(&premises), life, kills };
        let serving = runtime.spawn(serving.serve(listener, door, stopped));
        tracing::info!(%address, "the local stream listens");
        Ok(Self { address, tls, premises, faults, stop, kill, serving })
    }

    /// Where clients reach it: `http://127.0.0.1:PORT`, or `https://` with TLS.
    #[must_use]
    pub fn endpoint(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The certificate, in PEM, of the authority that vouches for the server; absent without TLS, and where the
    /// certificate came from a file.
    #[must_use]
    pub fn authority_pem(&self) -> Option<&str> {
        self.tls.as_ref()?.authority_pem.as_deref()
    }

    /// The address it listens on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Fixes the time that the faults' times are counted from, microseconds since 1970 UTC. Until then nothing goes wrong.
    pub fn start_faults(&self, at_us: u64) {
        let Some(faults) = &self.faults else { return };
        faults.start(at_us);
        for (index, kill) in faults.kills() {
            let (faults, orders, clock) =
                (Arc::clone(faults), self.kill.clone(), self.premises.account().clock.now_us());
            let wait_us = at_us.saturating_add(kill.from_us).saturating_sub(clock);
            let order = Kill { down: Duration::from_micros(kill.down_us), state: kill.state };
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_micros(wait_us)).await;
                if orders.send(order).is_ok() {
                    faults.touch(index);
                }
            });
        }
    }

    /// The faults and the calls each has touched until now, in the order of the plan.
    #[must_use]
    pub fn faults(&self) -> Vec<FaultCount> {
        self.faults.as_ref().map_or_else(Vec::new, |faults| faults.counts())
    }

    /// What it has counted until now.
    #[must_use]
    pub fn metrics(&self) -> StreamMetrics {
        self.premises.account().metrics()
    }

    /// Ends every connection and closes the port as if the process had been killed, and takes the port again after a
    /// time: with everything that was acknowledged, or with the same streams, new and empty. A server that keeps its
    /// streams in a folder keeps them whatever `state` says.
    pub fn kill(&self, down: Duration, state: StateAfter) {
        // A server that ends is as good as killed.
        let _ended = self.kill.send(Kill { down, state });
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

/// What a connection needs.
#[derive(Debug, Clone)]
struct Door {
    gateway: Arc<Gateway>,
    tls: Option<Tls>,
    patience: Duration,
    /// Changes when the server is killed: then connections end where they are.
    life: watch::Receiver<()>,
}

/// The server at work.
#[derive(Debug)]
struct Serving {
    address: SocketAddr,
    premises: Arc<Premises>,
    life: watch::Sender<()>,
    kills: mpsc::UnboundedReceiver<Kill>,
}

impl Serving {
    /// Accepts connections until the other end of `stopped` is gone, then waits for them.
    async fn serve(mut self, mut listener: TcpListener, mut door: Door, mut stopped: oneshot::Receiver<()>) {
        let connections = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(kill) = self.kills.recv() => {
                    drop(listener);
                    tokio::select! {
                        again = self.die(kill) => listener = again,
                        _ = &mut stopped => return,
                    }
                    door.life = self.life.subscribe();
                    continue;
                }
                _ = &mut stopped => break,
            };
            match accepted {
                Ok((socket, _)) => drop(tokio::spawn(converse(socket, door.clone(), connections.watcher()))),
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

    /// Ends every connection, and comes back on the same port when the time has passed.
    async fn die(&self, kill: Kill) -> TcpListener {
        self.life.send_replace(());
        let back = Instant::now() + kill.down;
        if kill.state == StateAfter::Lost
            && let Err(error) = self.premises.lose_state()
        {
            tracing::error!(%error, "the killed stream could not be made anew and keeps its state");
        }
        tokio::time::sleep_until(back).await;
        loop {
            match listen(self.address) {
                Ok(listener) => return listener,
                Err(error) => {
                    tracing::warn!(address = %self.address, %error, "the port cannot be taken again yet");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Serves one connection for as long as the server lives.
async fn converse(socket: TcpStream, door: Door, watcher: Watcher) {
    let mut life = door.life.clone();
    tokio::select! {
        () = hold(socket, door, watcher) => {}
        Ok(()) = life.changed() => {}
    }
}

/// Serves it after its handshake, if TLS is spoken.
async fn hold(socket: TcpStream, door: Door, watcher: Watcher) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "small answers may be delayed");
    }
    let Some(tls) = &door.tls else { return talk(socket, door, watcher).await };
    match tokio::time::timeout(HANDSHAKE_PATIENCE, tls.acceptor.accept(socket)).await {
        Ok(Ok(socket)) => talk(socket, door, watcher).await,
        Ok(Err(error)) => tracing::debug!(%error, "a handshake failed"),
        Err(_) => tracing::debug!("a handshake was not finished"),
    }
}

/// HTTP/1.1 or HTTP/2, as the first bytes say.
async fn talk(socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, door: Door, watcher: Watcher) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http2()
        .max_concurrent_streams(H2_STREAMS)
        .initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(H2_STREAM_WINDOW_BYTES * H2_STREAMS);
    let heads = Heads::default();
    let socket = HeadLimited::new(socket, heads.clone(), door.patience);
    let service = service_fn(move |request| {
        heads.take();
        let (gateway, heads) = (Arc::clone(&door.gateway), heads.clone());
        async move {
            let answer = gateway.serve(request).await?;
            if !answer.body().goes_on() {
                heads.answered();
            }
            Ok::<_, Cut>(answer)
        }
    });
    let connection = builder.serve_connection(TokioIo::new(socket), service).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection ended early");
    }
}

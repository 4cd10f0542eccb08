//! The thread that serves the control socket, and the metrics on a TCP address if there is one.
//!
//! No client can block the thread: a connection has one request, whose head has at most [`MAX_HEAD_BYTES`],
//! and ends after [`DEADLINE`]. Each listener serves only so many at once ([`max_connections`]); if more
//! clients come, [`ConnectionPool`] drops connections for them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::endpoint::{ControlEndpoint, Endpoint, MetricsEndpoint};
use super::request::DaemonRequest;
use super::routes::{Client, Routes};
use crate::listen::{ConnectionPool, Grace, HeadLimits, answer_one};
use crate::report::Reporter;
use crate::sys::DescriptorShares;
use crate::sys::kernel::{EVENT_CALLS, THREAD_CALLS, cannot};

/// How long one connection may take from its beginning to the end of its reply.
const DEADLINE: Duration = Duration::from_secs(30);

/// How long a client may take to send the head of its request. `curl` sends it at once.
const HEAD_DEADLINE: Duration = Duration::from_secs(5);

/// How many connections each listener serves at once at most. A connection uses one descriptor and about 30
/// KiB. If its client does not read, it also holds one page of the reply
/// ([`WATCHES_PER_PAGE`](super::WATCHES_PER_PAGE) watches or as many runs). 64 connections use at most 10
/// MiB. Where descriptors are few, there are fewer connections; see [`DescriptorShares`].
const MAX_CONNECTIONS: u64 = 64;

/// The request's grace is enough on a busy machine; a thousand clients that connect at once and stay silent
/// make the next one wait for 8 s. A reply with all runs of a large ledger takes a fraction of its grace.
const GRACE: Grace = Grace { request: Duration::from_millis(500), reply: Duration::from_secs(2) };

/// The greatest size of a request's head. This is the smallest limit that hyper allows.
const MAX_HEAD_BYTES: usize = 8192;

/// The pauses between attempts to listen, each twice as long as the one before.
const MIN_OPEN_DELAY: Duration = Duration::from_secs(1);
const MAX_OPEN_DELAY: Duration = Duration::from_secs(30);

/// Where the daemon listens.
pub struct Endpoints {
    pub control: Option<ControlEndpoint>,
    /// This address serves only `GET /metrics`.
    pub metrics: Option<MetricsEndpoint>,
}

/// What listens from the start.
pub struct Served {
    pub control: bool,
    pub metrics: Option<SocketAddr>,
}

/// Opens the endpoints, and starts the thread that serves them, which lives as long as the process. An
/// endpoint that cannot be opened is reported, and tried again. Once the daemon's loop has ended, clients get
/// an error.
pub fn start(endpoints: Endpoints, routes: Routes, log: &Reporter) -> io::Result<Served> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(cannot("wait for events", EVENT_CALLS))?;
    let entered = runtime.enter();
    let control = endpoints.control.map(|endpoint| Server::open(endpoint, log));
    let metrics = endpoints.metrics.map(|endpoint| Server::open(endpoint, log));
    drop(entered);
    let served = Served {
        control: control.as_ref().is_some_and(|server| server.listener.is_some()),
        metrics: metrics.as_ref().and_then(|server| server.endpoint.bound()),
    };
    let routes = Arc::new(routes);
    let serve =
        move || runtime.block_on(async { tokio::join!(run(control, &routes), run(metrics, &routes)) });
    let started = std::thread::Builder::new().name("control".into()).spawn(serve);
    started.map_err(cannot("start the thread that serves it", THREAD_CALLS))?;
    Ok(served)
}

async fn run<E: Endpoint>(server: Option<Server<E>>, routes: &Arc<Routes>) {
    if let Some(server) = server {
        server.run(routes).await;
    }
}

/// Makes the channel to the daemon's loop. A connection has one request at a time; if the channel is full, it
/// waits.
pub fn requests() -> (mpsc::Sender<DaemonRequest>, mpsc::Receiver<DaemonRequest>) {
    mpsc::channel(MAX_CONNECTIONS as usize)
}

/// An endpoint with its listener, if it has one, and its connections.
struct Server<E: Endpoint> {
    log: Reporter,
    endpoint: E,
    listener: Option<E::Listener>,
    connections: ConnectionPool,
}

impl<E: Endpoint> Server<E> {
    fn open(endpoint: E, log: &Reporter) -> Self {
        let connections = ConnectionPool::new(GRACE);
        let mut server = Self { log: log.clone(), endpoint, listener: None, connections };
        server.try_to_open();
        server
    }

    fn try_to_open(&mut self) {
        match self.endpoint.open() {
            Ok(listener) => {
                self.listener = Some(listener);
                self.log.recovered(E::PART);
            }
            Err(why) => self.log.degraded(E::PART, format!("{why}; going on without, and trying again")),
        }
    }

    /// Serves the endpoint for ever.
    async fn run(mut self, routes: &Arc<Routes>) {
        let mut delay = MIN_OPEN_DELAY;
        loop {
            match self.listener.take() {
                Some(listener) => {
                    let why = self.serve(&listener, routes).await;
                    self.log.degraded(E::PART, format!("{why}; making it again"));
                    delay = MIN_OPEN_DELAY;
                }
                None => {
                    tokio::time::sleep(delay).await;
                    delay = (2 * delay).min(MAX_OPEN_DELAY);
                }
            }
            self.try_to_open();
        }
    }

    /// Serves a listener until it is lost. Returns why it is.
    async fn serve(&mut self, listener: &E::Listener, routes: &Arc<Routes>) -> String {
        let Self { connections, endpoint, .. } = self;
        let next_check = || endpoint.check_interval().map(|interval| Instant::now() + interval);
        let mut check_at = next_check();
        loop {
            tokio::select! {
                stream = connections.accept(max_connections, || E::accept(listener)) => {
                    let client = Client { scope: E::SCOPE, uid: E::peer(&stream) };
                    connections.admit(|has_requested| {
                        serve_connection(stream, routes.clone(), client, has_requested)
                    });
                }
                () = endpoint.changed() => check_at = Some(Instant::now()),
                () = sleep_until(check_at.unwrap_or_else(Instant::now)), if check_at.is_some() => {
                    if let Some(why) = endpoint.lost() {
                        return why;
                    }
                    check_at = next_check();
                }
            }
        }
    }
}

/// How many connections a listener may have now: somebody may have changed the limit on descriptors.
fn max_connections() -> u64 {
    DescriptorShares::now().map_or(MAX_CONNECTIONS, |shares| shares.clients.min(MAX_CONNECTIONS))
}

/// Serves one connection to its end. Sets `has_requested` when its request has arrived.
pub async fn serve_connection<S>(
    stream: S,
    routes: Arc<Routes>,
    client: Client,
    has_requested: Arc<AtomicBool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let head = HeadLimits { deadline: HEAD_DEADLINE, bytes: MAX_HEAD_BYTES };
    let conversation = answer_one(stream, head, has_requested, |request| {
        let routes = Arc::clone(&routes);
        async move { routes.answer(&request, client).await }
    });
    let _ = tokio::time::timeout(DEADLINE, conversation).await;
}

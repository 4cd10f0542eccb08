//! The server: its listener, its connections, and its life as a service.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::future::join_all;
use hyper::body::Body as _;
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::access::{Access, AccessError, Denied, Who};
use super::api::{self, Problem};
use super::body::with_share;
use super::memory::{self, Memory, Share};
use super::namespace::{Namespace, Publication};
use super::page::{self, Site};
use super::reply::{Reply, busy, full, reply, text};
use super::route::{Asked, Public, Route, RouteError, route};
use super::systemd::Systemd;
use super::validate::Validator;
use super::{left_behind, metrics, published, tls};
use crate::commits::{
    self, CorruptCommit, Database, Journal, JournalError, KeeperSettings, Publisher, PublisherEvent,
};
use crate::listen::{
    ConnectionPool, Grace, HeadLimits, SocketError, SocketFile, SocketOptions, answer_one, bind,
};
use crate::report::{Level, Log};
use crate::settings::{KeeperPlace, Listen, NamespaceSettings, ServeSettings};
use crate::sys::DescriptorShares;
use crate::text::printable;

/// How many connections are served at once at most. Each has some 50 KiB, and what [`memory`] lets it have.
/// Where descriptors are few, there are fewer connections; see [`DescriptorShares`].
const MAX_CONNECTIONS: u64 = 256;

/// A client that says nothing makes room for another sooner than one that waits for its reply.
const GRACE: Grace = Grace { request: Duration::from_millis(500), reply: memory::GRACE };

/// How long a client may take to send the head of its request.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);

/// How long one request may take from the beginning of its connection to the end of its reply. A payload of 1
/// MiB comes within it over a line of 300 kbit/s.
const DEADLINE: Duration = Duration::from_secs(30);

/// The greatest size of a request's head: a comment of 4 KiB, and what browsers add.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// How long a stopping server waits for requests that it has begun to answer.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a starting server rests before it tries again to reach its database.
const OPEN_RETRY: Duration = Duration::from_secs(1);

/// How much longer systemd is to wait for it each time: an attempt and this rest take less.
const LONGER: Duration = Duration::from_secs(60);

/// Why the server does not start.
#[derive(Debug, Error)]
pub enum ServeError {
    #[error("serve.commits.{namespace}: {source}")]
    Journal { namespace: String, source: JournalError },
    #[error("serve.users: {0}")]
    Users(#[from] AccessError),
    #[error(transparent)]
    Systemd(io::Error),
    #[error("serve.tls: {0}")]
    Tls(String),
    #[error("serve.listen: cannot listen on {address}: {source}")]
    Listen { address: Listen, source: SocketError },
}

/// What the requests share.
pub struct Server {
    pub namespaces: BTreeMap<String, Namespace>,
    pub access: Access,
    pub memory: Memory,
    /// Whether clients speak TLS.
    pub is_secure: bool,
}

impl Server {
    /// Opens the journals, and has their heads published.
    async fn new(settings: &ServeSettings, log: &Log, systemd: &Systemd) -> Result<Self, ServeError> {
        let access = Access::new(settings)?;
        let mut namespaces = BTreeMap::new();
        for (name, section) in &settings.namespaces {
            let journal = open_journal(&settings.database, name, section, log, systemd).await?;
            let keeper = section.keeper.as_ref();
            let publication =
                keeper.map(|keeper| Arc::new(publication(keeper, name, Arc::clone(&journal), log)));
            let namespace = Namespace {
                name: name.clone(),
                journal,
                publication,
                validator: Validator::new(&section.validate),
                counts: Arc::default(),
            };
            namespaces.insert(name.clone(), namespace);
        }
        Ok(Self { namespaces, access, memory: Memory::default(), is_secure: settings.tls.is_some() })
    }

    /// Answers a request. `leave` ends its connection.
    async fn answer(&self, request: Request<Incoming>, leave: Arc<Notify>) -> Reply {
        let uri = request.uri();
        let found =
            route(request.method(), uri.path(), uri.query(), |name| self.namespaces.contains_key(name));
        let route = match found {
            Ok(route) => route,
            Err(error) => return refusal(&error),
        };
        let who = self.access.who(request.method(), request.headers());
        let share = self.memory.share(who.is_err(), leave);
        let site = Site { namespaces: &self.namespaces, access: &self.access, is_secure: self.is_secure };
        let reply = match route {
            // What watches the server is no user, and learns nothing of what it keeps.
            Route::Public(public) => return self.tell(public).await,
            Route::Commits { namespace, asked } => {
                self.answer_about(&namespace, asked, who, request, &share).await
            }
            Route::Page { segments, query } => {
                page::show(site, who, &segments, &query, &request, &share).await
            }
            Route::Form { segments } => page::take(site, who, &segments, request, &share).await,
        };
        // A list is kept in parts, and asks for each of them.
        if let Some(bytes) = reply.body().size_hint().exact() {
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            if let Err(why) = share.resize(bytes).await {
                return busy(why);
            }
        }
        with_share(reply, share)
    }

    async fn tell(&self, public: Public) -> Reply {
        match public {
            Public::Healthy => metrics::healthy(&self.namespaces).await,
            Public::Metrics => metrics::metrics(&self.namespaces).await,
            Public::OpenApi => openapi(),
        }
    }

    /// Answers what is asked of the commits of a namespace.
    async fn answer_about(
        &self,
        namespace: &str,
        asked: Asked,
        who: Result<Who<'_>, Denied>,
        request: Request<Incoming>,
        share: &Arc<Share>,
    ) -> Reply {
        let who = match who {
            Ok(who) => who,
            Err(denied) => return page::denied(denied, &request),
        };
        let Some(namespace) = self.namespaces.get(namespace) else {
            return refusal(&RouteError::NotFound);
        };
        let answered = match asked {
            Asked::Read(read) => api::read(namespace, read, who, share).await,
            Asked::Save(save) => api::save(namespace, save, who, request, share).await,
            Asked::Compare { repair } => published::answer(namespace, repair, who).await,
        };
        answered.unwrap_or_else(Problem::reply)
    }

    /// Publishes what waits, and gives the leadership up.
    async fn stop_publishing(&self) {
        let publications = self.namespaces.values().filter_map(|namespace| namespace.publication.as_ref());
        join_all(publications.map(|publication| publication.publisher.stop())).await;
    }
}

/// Opens the journal of a namespace. Waits for a database that is away.
async fn open_journal(
    database: &Database,
    name: &str,
    section: &NamespaceSettings,
    log: &Log,
    systemd: &Systemd,
) -> Result<Arc<dyn Journal>, ServeError> {
    let mut was_told = false;
    loop {
        let opened = commits::open(database, &section.table, corruption(name, log)).await;
        match opened {
            Err(error @ JournalError::Unavailable(_)) => {
                if !std::mem::replace(&mut was_told, true) {
                    let why = error.to_string();
                    let why = printable(why.as_bytes());
                    log.say(Level::Warning, &format!("{name}: {why}; this is tried until it works"));
                }
                systemd.starts_for(LONGER);
                tokio::time::sleep(OPEN_RETRY).await;
            }
            opened => {
                return opened.map_err(|source| ServeError::Journal { namespace: name.to_owned(), source });
            }
        }
    }
}

/// Has each commit logged that cannot be read.
fn corruption(name: &str, log: &Log) -> UnboundedSender<CorruptCommit> {
    let (corrupt, mut met) = unbounded_channel::<CorruptCommit>();
    let (log, name) = (log.clone(), name.to_owned());
    // It ends with the journal, which holds the other end.
    tokio::spawn(async move {
        while let Some(corrupt) = met.recv().await {
            let (what, next) = (corrupt.to_string(), corrupt.version.saturating_add(1));
            let what = printable(what.as_bytes());
            let remedy =
                format!("save its next version (`twitcher commits save --version {next}`), or mend its row");
            log.say(Level::Warning, &format!("{name}: {what}; {remedy}"));
        }
    });
    corrupt
}

/// Has the heads of a namespace published, and what happens to that logged.
fn publication(keeper: &KeeperPlace, name: &str, journal: Arc<dyn Journal>, log: &Log) -> Publication {
    let KeeperPlace { store, path, period } = keeper;
    let place = format!("{store} at {path}");
    let settings = KeeperSettings { store: store.clone(), path: path.clone(), period: *period };
    let (events, mut heard) = unbounded_channel();
    let (log, name) = (log.clone(), name.to_owned());
    // It ends with the publisher, which holds the other end.
    tokio::spawn(async move {
        while let Some(event) = heard.recv().await {
            log.say(level(&event), &format!("{name}: {event}"));
        }
    });
    Publication { publisher: Publisher::start(settings, journal, events), place }
}

fn level(event: &PublisherEvent) -> Level {
    match event {
        PublisherEvent::Connected { .. } | PublisherEvent::Repaired { .. } => Level::Notice,
        PublisherEvent::BecameLeader | PublisherEvent::NoLongerLeader => Level::Info,
        PublisherEvent::StoreAway { .. }
        | PublisherEvent::Overwrote { .. }
        | PublisherEvent::Strangers { .. }
        | PublisherEvent::CannotPublish { .. }
        | PublisherEvent::JournalAway { .. }
        | PublisherEvent::RoundFailed { .. } => Level::Warning,
    }
}

fn refusal(error: &RouteError) -> Reply {
    let status = match error {
        RouteError::NotFound => StatusCode::NOT_FOUND,
        RouteError::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
        RouteError::Malformed(_) => StatusCode::BAD_REQUEST,
    };
    let mut reply = text(status, error);
    if let RouteError::Method(allowed) = error {
        reply.headers_mut().insert(hyper::header::ALLOW, hyper::header::HeaderValue::from_static(allowed));
    }
    reply
}

fn openapi() -> Reply {
    reply(StatusCode::OK, "application/json", full(include_str!("openapi.json")))
}

/// Serves until `stop` is ready. Tells systemd when it is ready, that it is alive, and that it stops.
pub async fn run(
    settings: &ServeSettings,
    log: Log,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    if settings.namespaces.values().any(|namespace| !namespace.validate.is_empty())
        && let Err(error) = left_behind::adopt()
    {
        log.say(Level::Warning, &format!("what validators leave behind is not ended: {error}"));
    }
    let acceptor = settings.tls.as_ref().map(tls::acceptor).transpose().map_err(ServeError::Tls)?;
    let systemd = Systemd::from_environment().map_err(ServeError::Systemd)?;
    let mut stop = pin!(stop);
    let server = tokio::select! {
        server = Server::new(settings, &log, &systemd) => Arc::new(server?),
        () = &mut stop => return Ok(()),
    };
    let failed = |source| ServeError::Listen { address: settings.listen.clone(), source };
    let listener = Listener::open(&settings.listen).await.map_err(failed)?;
    let address = listener.address(&settings.listen);
    let names: Vec<&str> = server.namespaces.keys().map(String::as_str).collect();
    log.say(Level::Notice, &format!("serving {} on {address}", names.join(", ")));
    let mut connections = ConnectionPool::new(GRACE);
    tokio::select! {
        never = serve(&server, &listener, acceptor.as_ref(), &mut connections) => match never {},
        never = systemd.live() => match never {},
        () = &mut stop => {}
    }
    systemd.stops();
    log.say(Level::Notice, "stopping");
    drop(listener);
    // Whoever has not got a reply by then gets none, and whether a save was kept is in the journal.
    let _ = timeout(STOP_TIMEOUT, connections.all_ended()).await;
    server.stop_publishing().await;
    Ok(())
}

async fn serve(
    server: &Arc<Server>,
    listener: &Listener,
    acceptor: Option<&TlsAcceptor>,
    connections: &mut ConnectionPool,
) -> Infallible {
    loop {
        let stream = connections.accept(max_connections, || listener.accept()).await;
        let (server, acceptor) = (Arc::clone(server), acceptor.cloned());
        connections.admit(|has_requested| converse(server, stream, acceptor, has_requested));
    }
}

/// How many connections there may be now: somebody may have changed the limit on descriptors.
fn max_connections() -> u64 {
    DescriptorShares::now().map_or(MAX_CONNECTIONS, |shares| shares.only_clients.min(MAX_CONNECTIONS))
}

/// Serves one connection to its end.
async fn converse(
    server: Arc<Server>,
    stream: Stream,
    acceptor: Option<TlsAcceptor>,
    has_requested: Arc<AtomicBool>,
) {
    let leave = Arc::<Notify>::default();
    let conversation = async {
        let leave = Arc::clone(&leave);
        match (stream, acceptor) {
            (Stream::Tcp(stream), Some(acceptor)) => {
                // A client that does not speak TLS sees it, and nobody else is concerned.
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve_connection(server, stream, has_requested, leave).await;
                }
            }
            (Stream::Tcp(stream), None) => serve_connection(server, stream, has_requested, leave).await,
            (Stream::Unix(stream), _) => serve_connection(server, stream, has_requested, leave).await,
        }
    };
    tokio::select! {
        _ = timeout(DEADLINE, conversation) => {}
        // Others wait for the memory that it keeps.
        () = leave.notified() => {}
    }
}

/// Answers the one request of a connection. Notifies `leave` when it is to end, because others wait for the
/// memory that it keeps.
pub async fn serve_connection<S>(
    server: Arc<Server>,
    stream: S,
    has_requested: Arc<AtomicBool>,
    leave: Arc<Notify>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let head = HeadLimits { deadline: HEAD_DEADLINE, bytes: MAX_HEAD_BYTES };
    let answer = |request| {
        let (server, leave) = (Arc::clone(&server), Arc::clone(&leave));
        async move { server.answer(request, leave).await }
    };
    answer_one(stream, head, has_requested, answer).await;
}

enum Listener {
    Tcp(TcpListener),
    /// With its file, which goes with it.
    Unix(UnixListener, #[expect(dead_code, reason = "removed on drop")] SocketFile),
}

enum Stream {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

impl Listener {
    async fn open(listen: &Listen) -> Result<Self, SocketError> {
        match listen {
            Listen::Tcp(address) => Ok(Self::Tcp(TcpListener::bind(address).await?)),
            Listen::Unix(path) => {
                let options = SocketOptions { path: path.clone(), mode: None, group: None };
                let (listener, file) = bind(&options)?.split();
                Ok(Self::Unix(UnixListener::from_std(listener)?, file))
            }
        }
    }

    /// Returns where clients reach it: with the port that the kernel chose for port 0.
    fn address(&self, listen: &Listen) -> Listen {
        match self {
            Self::Tcp(listener) => listener.local_addr().map_or_else(|_| listen.clone(), Listen::Tcp),
            Self::Unix(..) => listen.clone(),
        }
    }

    async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // A reply is one write, and its client waits for it.
                let _ = stream.set_nodelay(true);
                Ok(Stream::Tcp(stream))
            }
            Self::Unix(listener, _) => listener.accept().await.map(|(stream, _)| Stream::Unix(stream)),
        }
    }
}

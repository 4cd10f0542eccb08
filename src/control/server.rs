//! The thread that serves the control socket, and the metrics on a TCP address if there is one.
//!
//! No client can hold it: a connection has one request, [`DEADLINE`] for all of it, and [`MAX_HEAD_BYTES`] bytes to say it
//! in. Each listener has places of its own, [`MAX_CONNECTIONS`]; where a crowd has taken them all, [`ConnectionPool`] says who
//! has to go for the next one.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::DaemonRequest;
use super::routes::{Routes, Scope};

/// For one connection, from its beginning to the end of its answer, also if nobody else comes.
const DEADLINE: Duration = Duration::from_secs(30);

/// Until a client has said what it wants. `curl` does at once.
const HEAD_DEADLINE: Duration = Duration::from_secs(5);

/// Each takes a descriptor and some 30 KiB, and, where it does not read its answer, up to
/// [`WATCHES_PER_PAGE`](super::WATCHES_PER_PAGE) watches or as many runs of it: 10 MiB for all of them.
const MAX_CONNECTIONS: usize = 64;

/// What everybody gets to ask before it may have to go for another: enough on a busy machine. A thousand clients that
/// connect at once and never say a word keep the next one waiting for 8 s.
const REQUEST_GRACE: Duration = Duration::from_millis(500);

/// The same for whoever has asked, with the time that it took. All of a large ledger is read in a fraction.
const REPLY_GRACE: Duration = Duration::from_secs(2);

/// hyper's least.
const MAX_HEAD_BYTES: usize = 8192;

/// After accepting failed, which it does over and over while there are no descriptors.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// What there is to serve.
pub struct Listeners {
    pub control: Option<std::os::unix::net::UnixListener>,
    /// For `GET /metrics` and nothing else.
    pub metrics: Option<std::net::TcpListener>,
}

/// Starts the thread. It lives as long as the process, and asks the daemon for as long as that listens.
pub fn start(listeners: Listeners, routes: Routes) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let control = listeners.control.map(UnixListener::from_std).transpose()?;
    let metrics = listeners.metrics.map(TcpListener::from_std).transpose()?;
    drop(entered);
    let routes = Arc::new(routes);
    std::thread::Builder::new().name("control".into()).spawn(move || {
        runtime.block_on(async {
            let accept_unix =
                async |listener: &UnixListener| listener.accept().await.map(|(stream, _)| stream);
            let accept_tcp = async |listener: &TcpListener| listener.accept().await.map(|(stream, _)| stream);
            tokio::join!(
                serve(control, accept_unix, &routes, Scope::Everything),
                serve(metrics, accept_tcp, &routes, Scope::Metrics),
            )
        })
    })?;
    Ok(())
}

/// The daemon's ear: how many questions may wait. Each client waits for its own, so it is about their number.
pub fn requests() -> (mpsc::Sender<DaemonRequest>, mpsc::Receiver<DaemonRequest>) {
    mpsc::channel(MAX_CONNECTIONS)
}

/// For ever, if there is a listener.
async fn serve<L, S>(
    listener: Option<L>,
    accept: impl AsyncFn(&L) -> io::Result<S>,
    routes: &Arc<Routes>,
    scope: Scope,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Some(listener) = listener else { return };
    let mut connections = ConnectionPool::default();
    loop {
        let evictable_at = connections.next_eviction();
        tokio::select! {
            accepted = accept(&listener), if evictable_at.is_none() => match accepted {
                Ok(stream) => connections.admit(|has_requested| serve_connection(stream, routes.clone(), scope, has_requested)),
                Err(_) => tokio::time::sleep(ACCEPT_RETRY_DELAY).await,
            },
            () = sleep_until(evictable_at.unwrap_or_else(Instant::now)), if evictable_at.is_some() => connections.evict(),
            Some(_) = connections.tasks.join_next() => connections.remove_finished(),
        }
    }
}

/// Who is served. Where all places are taken somebody has to go, so that there is one for the next; but nobody before its
/// grace is over.
#[derive(Default)]
struct ConnectionPool {
    tasks: JoinSet<()>,
    open: Vec<PooledConnection>,
}

struct PooledConnection {
    accepted_at: Instant,
    has_requested: Arc<AtomicBool>,
    task: AbortHandle,
}

impl PooledConnection {
    /// When it has to go for another, if that is so.
    fn evictable_at(&self) -> Instant {
        let grace = if self.has_requested.load(Ordering::Relaxed) { REPLY_GRACE } else { REQUEST_GRACE };
        self.accepted_at + grace
    }
}

impl ConnectionPool {
    fn admit<F>(&mut self, serve_connection: impl FnOnce(Arc<AtomicBool>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let has_requested = Arc::<AtomicBool>::default();
        let task = self.tasks.spawn(serve_connection(Arc::clone(&has_requested)));
        self.open.push(PooledConnection { accepted_at: Instant::now(), has_requested, task });
    }

    /// When somebody has to go for the next one; `None` if there is room.
    fn next_eviction(&self) -> Option<Instant> {
        let all_taken = self.open.len() >= MAX_CONNECTIONS;
        self.open.iter().map(PooledConnection::evictable_at).min().filter(|_| all_taken)
    }

    /// Sends the one away whose time came first. By now it may have asked, and have more.
    fn evict(&mut self) {
        let next = self.open.iter().enumerate().min_by_key(|(_, connection)| connection.evictable_at());
        if let Some((place, _)) = next.filter(|(_, connection)| connection.evictable_at() <= Instant::now()) {
            self.open.remove(place).task.abort();
        }
    }

    fn remove_finished(&mut self) {
        self.open.retain(|connection| !connection.task.is_finished());
    }
}

/// Serves one connection, from its beginning to its end. `has_requested` turns true with its request.
pub async fn serve_connection<S>(stream: S, routes: Arc<Routes>, scope: Scope, has_requested: Arc<AtomicBool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        has_requested.store(true, Ordering::Relaxed);
        let routes = routes.clone();
        async move { Ok::<_, Infallible>(routes.answer(&request, scope).await) }
    });
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(MAX_HEAD_BYTES)
        .keep_alive(false)
        // Who has asked may have nothing more to say.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    // Whatever went wrong went wrong for the client alone, and it knows.
    let _ = tokio::time::timeout(DEADLINE, conversation).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who came so long ago.
    fn connection(connections: &mut ConnectionPool, has_requested: bool, ago: Duration) {
        connections.admit(|asks| {
            asks.store(has_requested, Ordering::Relaxed);
            std::future::pending()
        });
        connections.open.last_mut().unwrap().accepted_at = Instant::now().checked_sub(ago).unwrap();
    }

    fn silent(connections: &ConnectionPool) -> usize {
        connections.open.iter().filter(|connection| !connection.has_requested.load(Ordering::Relaxed)).count()
    }

    #[tokio::test]
    async fn for_the_next_one_goes_who_overstays_most_and_nobody_before_its_time() {
        let mut connections = ConnectionPool::default();
        for _ in 3..MAX_CONNECTIONS {
            connection(&mut connections, true, Duration::ZERO);
        }
        connection(&mut connections, false, REQUEST_GRACE / 2);
        connection(&mut connections, true, REPLY_GRACE / 2);
        assert_eq!(connections.next_eviction(), None, "there is room");
        connection(&mut connections, false, 2 * REQUEST_GRACE);
        assert!(connections.next_eviction().is_some_and(|evictable_at| evictable_at < Instant::now()));
        connections.evict();
        assert_eq!((connections.open.len(), silent(&connections)), (MAX_CONNECTIONS - 1, 1));
        assert_eq!(connections.next_eviction(), None);
        // Of two that have overstayed, who has so longer; that others are silent protects nobody.
        connection(&mut connections, true, 3 * REPLY_GRACE);
        connections.evict();
        assert_eq!((connections.open.len(), silent(&connections)), (MAX_CONNECTIONS - 1, 1));
        connection(&mut connections, true, Duration::ZERO);
        assert!(connections.next_eviction().is_some_and(|evictable_at| evictable_at > Instant::now()));
        connections.evict();
        assert_eq!(connections.open.len(), MAX_CONNECTIONS, "it is nobody's time");
        for _ in 0..2 {
            assert!(connections.tasks.join_next().await.unwrap().unwrap_err().is_cancelled());
        }
        assert_eq!(connections.tasks.len(), MAX_CONNECTIONS);
    }
}

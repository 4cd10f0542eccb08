//! The thread that serves the control socket, and the metrics on a TCP address if there is one.
//!
//! No client can hold it: a connection has one request, [`DEADLINE`] for all of it, and [`LARGEST_HEAD`] bytes to say it
//! in. Beyond [`MOST_CONNECTIONS`] at once the oldest has to go, so that whoever comes last is served.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::Question;
use super::routes::{Routes, Scope};

/// For one connection, from its beginning to the end of its answer: all of a large ledger is read in a fraction.
const DEADLINE: Duration = Duration::from_secs(30);

/// Until a client has said what it wants. `curl` does at once.
const HEAD_DEADLINE: Duration = Duration::from_secs(5);

/// Each takes some 30 KiB and a descriptor.
const MOST_CONNECTIONS: usize = 64;

/// hyper's least.
const LARGEST_HEAD: usize = 8192;

/// After accepting failed, which it does over and over while there are no descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// What there is to serve.
pub struct Listeners {
    pub control: Option<UnixListener>,
    /// For `GET /metrics` and nothing else.
    pub metrics: Option<TcpListener>,
}

/// Starts the thread. It lives as long as the process, and asks the daemon for as long as that listens.
pub fn start(listeners: Listeners, routes: Routes) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("control".into()).spawn(move || {
        // Without a listener, or if one cannot be registered, there is nothing to do, and nobody left to tell.
        let _ = runtime.block_on(serve(listeners, Arc::new(routes)));
    })?;
    Ok(())
}

/// The daemon's ear: how many questions may wait. Each client waits for its own, so it is about their number.
pub fn questions() -> (mpsc::Sender<Question>, mpsc::Receiver<Question>) {
    mpsc::channel(MOST_CONNECTIONS)
}

async fn serve(listeners: Listeners, routes: Arc<Routes>) -> io::Result<Infallible> {
    let control = listeners.control.map(tokio::net::UnixListener::from_std).transpose()?;
    let metrics = listeners.metrics.map(tokio::net::TcpListener::from_std).transpose()?;
    let mut connections = Connections::default();
    loop {
        tokio::select! {
            accepted = accept(control.as_ref(), tokio::net::UnixListener::accept) => match accepted {
                Ok((stream, _)) => connections.add(converse(stream, routes.clone(), Scope::Everything)),
                Err(_) => tokio::time::sleep(PAUSE).await,
            },
            accepted = accept(metrics.as_ref(), tokio::net::TcpListener::accept) => match accepted {
                Ok((stream, _)) => connections.add(converse(stream, routes.clone(), Scope::Metrics)),
                Err(_) => tokio::time::sleep(PAUSE).await,
            },
            Some(_) = connections.tasks.join_next() => {}
        }
    }
}

async fn accept<'a, L, T>(
    listener: Option<&'a L>,
    accept: impl AsyncFn(&'a L) -> io::Result<T>,
) -> io::Result<T> {
    match listener {
        Some(listener) => accept(listener).await,
        None => std::future::pending().await,
    }
}

#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    /// Oldest first; some of them have ended.
    by_age: VecDeque<AbortHandle>,
}

impl Connections {
    fn add(&mut self, connection: impl Future<Output = ()> + Send + 'static) {
        self.by_age.retain(|connection| !connection.is_finished());
        if self.by_age.len() >= MOST_CONNECTIONS
            && let Some(oldest) = self.by_age.pop_front()
        {
            oldest.abort();
        }
        self.by_age.push_back(self.tasks.spawn(connection));
    }
}

async fn converse<S>(stream: S, routes: Arc<Routes>, scope: Scope)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let routes = routes.clone();
        async move { Ok::<_, Infallible>(routes.answer(&request, scope).await) }
    });
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(LARGEST_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // Whatever went wrong went wrong for the client alone, and it knows.
    let _ = tokio::time::timeout(DEADLINE, conversation).await;
}

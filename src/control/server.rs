//! The thread that serves the control socket, and the metrics on a TCP address if there is one.
//!
//! No client can hold it: a connection has one request, [`DEADLINE`] for all of it, and [`LARGEST_HEAD`] bytes to say it
//! in. Each listener has places of its own, [`MOST_CONNECTIONS`]; where a crowd has taken them all, [`Guests`] says who
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

use super::Question;
use super::routes::{Routes, Scope};

/// For one connection, from its beginning to the end of its answer, also if nobody else comes.
const DEADLINE: Duration = Duration::from_secs(30);

/// Until a client has said what it wants. `curl` does at once.
const HEAD_DEADLINE: Duration = Duration::from_secs(5);

/// Each takes a descriptor and some 30 KiB, and, where it does not read its answer, up to
/// [`WATCHES_AT_ONCE`](super::WATCHES_AT_ONCE) watches or as many runs of it: 10 MiB for all of them.
const MOST_CONNECTIONS: usize = 64;

/// What everybody gets to ask before it may have to go for another: enough on a busy machine. A thousand clients that
/// connect at once and never say a word keep the next one waiting for 8 s.
const GRACE_TO_ASK: Duration = Duration::from_millis(500);

/// The same for whoever has asked, with the time that it took. All of a large ledger is read in a fraction.
const GRACE: Duration = Duration::from_secs(2);

/// hyper's least.
const LARGEST_HEAD: usize = 8192;

/// After accepting failed, which it does over and over while there are no descriptors.
const PAUSE: Duration = Duration::from_millis(100);

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
            let from_here = async |listener: &UnixListener| listener.accept().await.map(|(stream, _)| stream);
            let from_afar = async |listener: &TcpListener| listener.accept().await.map(|(stream, _)| stream);
            tokio::join!(
                serve(control, from_here, &routes, Scope::Everything),
                serve(metrics, from_afar, &routes, Scope::Metrics),
            )
        })
    })?;
    Ok(())
}

/// The daemon's ear: how many questions may wait. Each client waits for its own, so it is about their number.
pub fn questions() -> (mpsc::Sender<Question>, mpsc::Receiver<Question>) {
    mpsc::channel(MOST_CONNECTIONS)
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
    let mut guests = Guests::default();
    loop {
        let leaves = guests.next_leaves();
        tokio::select! {
            accepted = accept(&listener), if leaves.is_none() => match accepted {
                Ok(stream) => guests.admit(|has_asked| converse(stream, routes.clone(), scope, has_asked)),
                Err(_) => tokio::time::sleep(PAUSE).await,
            },
            () = sleep_until(leaves.unwrap_or_else(Instant::now)), if leaves.is_some() => guests.dismiss(),
            Some(_) = guests.tasks.join_next() => guests.forget_the_gone(),
        }
    }
}

/// Who is served. Where all places are taken somebody has to go, so that there is one for the next; but nobody before its
/// grace is over.
#[derive(Default)]
struct Guests {
    tasks: JoinSet<()>,
    present: Vec<Guest>,
}

struct Guest {
    came: Instant,
    has_asked: Arc<AtomicBool>,
    task: AbortHandle,
}

impl Guest {
    /// When it has to go for another, if that is so.
    fn leaves(&self) -> Instant {
        let grace = if self.has_asked.load(Ordering::Relaxed) { GRACE } else { GRACE_TO_ASK };
        self.came + grace
    }
}

impl Guests {
    fn admit<F>(&mut self, converse: impl FnOnce(Arc<AtomicBool>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let has_asked = Arc::<AtomicBool>::default();
        let task = self.tasks.spawn(converse(Arc::clone(&has_asked)));
        self.present.push(Guest { came: Instant::now(), has_asked, task });
    }

    /// When somebody has to go for the next one; `None` if there is room.
    fn next_leaves(&self) -> Option<Instant> {
        let all_taken = self.present.len() >= MOST_CONNECTIONS;
        self.present.iter().map(Guest::leaves).min().filter(|_| all_taken)
    }

    /// Sends the one away whose time came first. By now it may have asked, and have more.
    fn dismiss(&mut self) {
        let next = self.present.iter().enumerate().min_by_key(|(_, guest)| guest.leaves());
        if let Some((place, _)) = next.filter(|(_, guest)| guest.leaves() <= Instant::now()) {
            self.present.remove(place).task.abort();
        }
    }

    fn forget_the_gone(&mut self) {
        self.present.retain(|guest| !guest.task.is_finished());
    }
}

/// Serves one connection, from its beginning to its end. `has_asked` turns true with its request.
pub async fn converse<S>(stream: S, routes: Arc<Routes>, scope: Scope, has_asked: Arc<AtomicBool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        has_asked.store(true, Ordering::Relaxed);
        let routes = routes.clone();
        async move { Ok::<_, Infallible>(routes.answer(&request, scope).await) }
    });
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(LARGEST_HEAD)
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
    fn guest(guests: &mut Guests, has_asked: bool, ago: Duration) {
        guests.admit(|asks| {
            asks.store(has_asked, Ordering::Relaxed);
            std::future::pending()
        });
        guests.present.last_mut().unwrap().came = Instant::now().checked_sub(ago).unwrap();
    }

    fn silent(guests: &Guests) -> usize {
        guests.present.iter().filter(|guest| !guest.has_asked.load(Ordering::Relaxed)).count()
    }

    #[tokio::test]
    async fn for_the_next_one_goes_who_overstays_most_and_nobody_before_its_time() {
        let mut guests = Guests::default();
        for _ in 3..MOST_CONNECTIONS {
            guest(&mut guests, true, Duration::ZERO);
        }
        guest(&mut guests, false, GRACE_TO_ASK / 2);
        guest(&mut guests, true, GRACE / 2);
        assert_eq!(guests.next_leaves(), None, "there is room");
        guest(&mut guests, false, 2 * GRACE_TO_ASK);
        assert!(guests.next_leaves().is_some_and(|leaves| leaves < Instant::now()));
        guests.dismiss();
        assert_eq!((guests.present.len(), silent(&guests)), (MOST_CONNECTIONS - 1, 1));
        assert_eq!(guests.next_leaves(), None);
        // Of two that have overstayed, who has so longer; that others are silent protects nobody.
        guest(&mut guests, true, 3 * GRACE);
        guests.dismiss();
        assert_eq!((guests.present.len(), silent(&guests)), (MOST_CONNECTIONS - 1, 1));
        guest(&mut guests, true, Duration::ZERO);
        assert!(guests.next_leaves().is_some_and(|leaves| leaves > Instant::now()));
        guests.dismiss();
        assert_eq!(guests.present.len(), MOST_CONNECTIONS, "it is nobody's time");
        for _ in 0..2 {
            assert!(guests.tasks.join_next().await.unwrap().unwrap_err().is_cancelled());
        }
        assert_eq!(guests.tasks.len(), MOST_CONNECTIONS);
    }
}

//! Making one connection with one session, and closing it.

use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use async_task::Runnable;
use spawns_core::{Spawn, Task};
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::JoinSet;
use tokio::time::timeout;
use zookeeper_client::{Client, Connector, Error, SaslOptions};

use super::diagnosis::{Diagnosis, diagnose, speaks_tls};
use super::login::LoginSource;
use super::settings::{Auth, Login, Sasl, ZooKeeperSettings};
use super::tls::{LoadedTls, Tls};
use crate::store::secret::CredentialError;

/// How long one server may take to answer. It is shorter than the 5 s that the contract allows between two
/// attempts, so that the next server is tried on time.
pub(super) const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(4500);

/// How long a server may take to close a session.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The servers, in the order in which this process tries them.
pub(super) struct Ensemble {
    settings: ZooKeeperSettings,
    login: LoginSource,
    next: usize,
    /// The servers that were asked since the last connection whether they speak TLS.
    asked: HashSet<String>,
}

/// A ZooKeeper session and the task that serves it.
pub(super) struct Connection {
    /// Dropping it closes the session.
    pub(super) client: Rc<Client>,
    /// Ends when the session is over. It is ours, because the crate would let the task of a lost session
    /// reconnect long after its client was dropped.
    pub(super) service: JoinSet<()>,
    pub(super) server: String,
    /// The server's address, if the connection is not encrypted.
    pub(super) plaintext_peer: Option<IpAddr>,
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) struct ConnectError {
    /// For people.
    pub(super) reason: String,
    /// Whether this stays so until somebody does something.
    pub(super) permanent: bool,
    /// The server with which there was no session, if the ZooKeeper client does not tell why.
    pub(super) unexplained: Option<String>,
}

impl ConnectError {
    fn transient(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), permanent: false, unexplained: None }
    }

    fn permanent(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), permanent: true, unexplained: None }
    }
}

impl Ensemble {
    pub(super) fn new(mut settings: ZooKeeperSettings, login: LoginSource) -> Self {
        fastrand::shuffle(&mut settings.url.servers);
        Self { settings, login, next: 0, asked: HashSet::new() }
    }

    pub(super) fn session_timeout(&self) -> Duration {
        self.settings.session_timeout
    }

    /// Tries the next server, and only that one, so that a server that swallows packets starves none of the
    /// others.
    pub(super) async fn connect_next(
        &mut self,
        attempt_timeout: Duration,
    ) -> Result<Connection, ConnectError> {
        let servers = &self.settings.url.servers;
        let server = servers[self.next % servers.len()].clone();
        self.next += 1;
        match timeout(attempt_timeout, Box::pin(self.connect(&server))).await {
            Ok(Ok(connection)) => {
                self.asked.clear();
                Ok(connection)
            }
            Ok(Err(ConnectError { reason, permanent, .. })) => {
                let unexplained = (reason == NO_SESSION).then(|| server.clone());
                Err(ConnectError { reason: format!("{server}: {reason}"), permanent, unexplained })
            }
            Err(_) => Err(ConnectError::transient(format!(
                "{server}: no answer within {:.1} s",
                attempt_timeout.as_secs_f64()
            ))),
        }
    }

    /// Describes for people how we log in; empty if we do not.
    pub(super) fn auth_summary(&self) -> String {
        let tls = self.settings.login.tls.as_ref().map(|_| "TLS".to_owned());
        let sasl = self.settings.login.sasl.as_ref().map(|sasl| format!("SASL {}", sasl.username));
        match tls.into_iter().chain(sasl).collect::<Vec<_>>() {
            auth_summary if auth_summary.is_empty() => String::new(),
            auth_summary => format!(" ({})", auth_summary.join(", ")),
        }
    }

    pub(super) fn has_credentials(&self) -> bool {
        self.settings.login.has_credentials()
    }

    async fn connect(&mut self, server: &str) -> Result<Connection, ConnectError> {
        // Read anew, because secrets and certificates may be renewed between two connections.
        let login = self.login.read(&self.settings.login).await.map_err(ConnectError::permanent)?;
        let connector = self.connector(&login).map_err(|error| ConnectError::permanent(error.to_string()))?;
        match login.tls {
            Some(tls) => self.connect_tls(connector, tls, server).await,
            None => self.connect_plaintext(connector, server).await,
        }
    }

    fn connector(&self, login: &Login) -> Result<Connector, CredentialError> {
        // Three fifths of the session timeout is the longest connection timeout that the crate takes, and its
        // idle tick is an eighth of that: the fewest wakeups that still notice a dead server before the
        // session expires.
        let mut connector = Client::connector()
            .with_session_timeout(self.session_timeout())
            .with_connection_timeout(self.session_timeout() * 3 / 5)
            .with_fail_eagerly();
        for Auth { scheme, credentials } in &login.auth {
            connector = connector.with_auth(scheme, credentials.reveal()?.as_bytes());
        }
        if let Some(Sasl { username, password }) = &login.sasl {
            let options = SaslOptions::digest_md5(username.clone(), password.reveal()?);
            connector = connector.with_sasl(options);
        }
        Ok(connector)
    }

    async fn connect_plaintext(
        &mut self,
        connector: Connector,
        server: &str,
    ) -> Result<Connection, ConnectError> {
        // Resolved here and shuffled, so that a dead address that comes first does not hide the living ones.
        let mut addresses: Vec<SocketAddr> = tokio::net::lookup_host(server)
            .await
            .map_err(|error| ConnectError::transient(format!("cannot resolve the name ({error})")))?
            .collect();
        fastrand::shuffle(&mut addresses);
        let mut failure = ConnectError::transient("the name has no address");
        for address in &addresses {
            let text = address.to_string();
            match open(connector.clone().connect(&text)).await {
                Ok((client, service)) => {
                    let (server, plaintext_peer) = (server.to_owned(), Some(address.ip().to_canonical()));
                    return Ok(Connection { client: Rc::new(client), service, server, plaintext_peer });
                }
                Err(error) => failure = self.explain(&error),
            }
            if failure.permanent {
                return Err(failure);
            }
        }
        // Asked once, because a server without TLS complains about the question in its log.
        if self.asked.insert(server.to_owned()) && speaks_tls(&addresses).await {
            return Err(ConnectError::permanent(SERVER_SPEAKS_TLS));
        }
        Err(failure)
    }

    /// The crate resolves the name itself, because it compares the name with the server's certificate.
    async fn connect_tls(
        &self,
        connector: Connector,
        tls: Tls,
        server: &str,
    ) -> Result<Connection, ConnectError> {
        let files = tls.clone();
        let loaded = tokio::task::spawn_blocking(move || files.load()).await;
        let LoadedTls { options, config } = loaded
            .map_err(|error| ConnectError::transient(error.to_string()))?
            .map_err(|error| ConnectError::permanent(error.to_string()))?;
        let error = match open(connector.with_tls(options).secure_connect(server)).await {
            Ok((client, service)) => {
                let (client, server) = (Rc::new(client), server.to_owned());
                return Ok(Connection { client, service, server, plaintext_peer: None });
            }
            Err(error) => error,
        };
        let failure = self.explain(&error);
        if failure.permanent {
            return Err(failure);
        }
        Err(match diagnose(&tls, config, server).await {
            Diagnosis::Transient(reason) => ConnectError::transient(reason),
            Diagnosis::Permanent(reason) => ConnectError::permanent(reason),
            Diagnosis::Nothing => failure,
        })
    }

    fn explain(&self, error: &Error) -> ConnectError {
        match error {
            Error::NoHosts => ConnectError::transient(NO_SESSION),
            Error::AuthFailed => ConnectError::permanent(self.refused()),
            // The enum is open.
            error => ConnectError::transient(error.to_string()),
        }
    }

    /// Explains why a server does not let us in.
    pub(super) fn refused(&self) -> String {
        match (&self.settings.login.sasl, self.settings.login.auth.is_empty()) {
            (Some(Sasl { username, .. }), true) => format!(
                "the server refused our credentials: check username ({username}) and password of `sasl` in \
                 twitcher.toml"
            ),
            (Some(_), false) => {
                "the server refused our credentials; check `sasl` and `auth` in twitcher.toml".to_owned()
            }
            (None, false) => {
                "the server refused our credentials; check `auth` in twitcher.toml, and give `sasl` if it \
                 wants that"
                    .to_owned()
            }
            (None, true) => {
                "the server lets in nobody without credentials; give `sasl` in twitcher.toml".to_owned()
            }
        }
    }
}

/// The ZooKeeper client has one error for both.
const NO_SESSION: &str = "connection refused or no ZooKeeper serving there";

const SERVER_SPEAKS_TLS: &str =
    "TLS is spoken there; give [tls] in twitcher.toml, or the server's port without TLS (clientPort)";

/// Opens a session and takes over the task that serves it.
async fn open(
    connecting: impl Future<Output = Result<Client, Error>>,
) -> Result<(Client, JoinSet<()>), Error> {
    let service = Owner::default();
    let client = {
        let mut connecting = pin!(connecting);
        // The scope is thread-local, so it must be left before anything else runs: around each poll.
        std::future::poll_fn(|context| {
            let _scope = spawns_core::enter(&service);
            connecting.as_mut().poll(context)
        })
        .await?
    };
    // A new session may begin at a server that lags behind what the last one showed us. Nothing that is read
    // after this is older than now, so that no action runs with content that was replaced long ago.
    client.sync("/").await?;
    Ok((client, service.0.into_inner()))
}

/// Waits until the session whose client was dropped is closed, or its server has taken too long.
pub(super) async fn close(mut service: JoinSet<()>) {
    let _ = timeout(CLOSE_TIMEOUT, service.join_next()).await;
}

/// Takes over the task that serves a session, so that we can end it.
#[derive(Default)]
struct Owner(RefCell<JoinSet<()>>);

impl Spawn for Owner {
    /// The crate waits for its socket and its timers on a thread of async-io. A task that this thread wakes
    /// up runs right there, so that heartbeats wake up no other thread, and are sent while the daemon is busy
    /// starting processes. A task that we wake up ourselves waits for its turn, so that many requests share
    /// one write.
    fn spawn(&self, task: Task) {
        let home = thread::current().id();
        let (queue, mut turns) = unbounded_channel::<Runnable>();
        let schedule = move |runnable: Runnable| {
            if thread::current().id() == home {
                // Fails where the session was dropped, and then this must be dropped as well.
                let _ = queue.send(runnable);
            } else {
                run_here(runnable);
            }
        };
        let (runnable, mut service) = async_task::spawn(Box::into_pin(task.future), schedule);
        runnable.schedule();
        self.0.borrow_mut().spawn(async move {
            loop {
                tokio::select! {
                    () = &mut service => return,
                    Some(runnable) = turns.recv() => { runnable.run(); }
                }
            }
        });
    }
}

thread_local! {
    /// The tasks that wait for their turn on this thread, while one runs here.
    static TURNS: RefCell<Option<VecDeque<Runnable>>> = const { RefCell::new(None) };
}

/// Runs a task now, or after the one that runs on this thread. A task that is woken up while it runs is
/// scheduled at the end of its turn. If it ran inside that turn, each such turn would take more of the stack.
fn run_here(runnable: Runnable) {
    let runnable = TURNS.with_borrow_mut(|turns| match turns {
        Some(turns) => {
            turns.push_back(runnable);
            None
        }
        None => {
            *turns = Some(VecDeque::new());
            Some(runnable)
        }
    });
    let mut next = runnable;
    while let Some(runnable) = next {
        runnable.run();
        next = TURNS.with_borrow_mut(|turns| {
            let next = turns.as_mut().and_then(VecDeque::pop_front);
            if next.is_none() {
                *turns = None;
            }
            next
        });
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    #[test]
    fn a_task_that_wakes_itself_up_again_and_again_takes_no_stack() {
        let mut turns = 0;
        let busy = std::future::poll_fn(move |context| {
            turns += 1;
            context.waker().wake_by_ref();
            if turns < 1_000_000 { Poll::Pending } else { Poll::Ready(turns) }
        });
        let (runnable, task) = async_task::spawn(busy, run_here);
        runnable.schedule();
        assert_eq!(futures_util::FutureExt::now_or_never(task), Some(1_000_000));
    }
}

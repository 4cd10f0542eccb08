//! One connection, one session: made, and let go or killed.

use std::cell::RefCell;
use std::collections::HashSet;
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
use super::tls::LoadedTls;
use crate::store::{Auth, CredentialError, Sasl, StoreSettings, Tls};

/// How long one server may take to answer: below [`super::MAX_BACKOFF`], so that the next one is tried on time.
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(4500);

/// How long a server gets to take our farewell.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The servers, in the order in which this process tries them.
pub(crate) struct Ensemble {
    servers: Vec<String>,
    next: usize,
    auth: Vec<Auth>,
    tls: Option<Tls>,
    sasl: Option<Sasl>,
    /// Servers of which it was asked why they do not let us in without TLS, since the last connection.
    asked: HashSet<String>,
    pub(crate) session_timeout: Duration,
}

/// A ZooKeeper session and the task that serves it.
pub(crate) struct Connection {
    /// To drop it is to close the session.
    pub(crate) client: Rc<Client>,
    /// Ends when the session is over. Owned, because the crate would keep the task of a lost session alive,
    /// reconnecting, long after its client was dropped.
    pub(crate) service: JoinSet<()>,
    pub(crate) server: String,
    /// Whom it is with, if all passes in the clear.
    pub(crate) plaintext_peer: Option<IpAddr>,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) struct ConnectError {
    /// For people.
    pub(crate) reason: String,
    /// Whether it stays so until somebody does something.
    pub(crate) permanent: bool,
}

impl ConnectError {
    fn transient(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), permanent: false }
    }

    fn permanent(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), permanent: true }
    }
}

impl Ensemble {
    pub(crate) fn new(servers: &[String], settings: &StoreSettings) -> Self {
        let StoreSettings { url: _, auth, tls, sasl, session_timeout } = settings.clone();
        let mut servers = servers.to_vec();
        fastrand::shuffle(&mut servers);
        Self { servers, next: 0, auth, tls, sasl, asked: HashSet::new(), session_timeout }
    }

    /// Tries the next server, and only that one, so that a server that swallows packets starves none of the
    /// others.
    pub(crate) async fn connect_next(
        &mut self,
        attempt_timeout: Duration,
    ) -> Result<Connection, ConnectError> {
        let server = self.servers[self.next % self.servers.len()].clone();
        self.next += 1;
        match timeout(attempt_timeout, Box::pin(self.connect(&server))).await {
            Ok(Ok(connection)) => {
                self.asked.clear();
                Ok(connection)
            }
            Ok(Err(ConnectError { reason, permanent })) => {
                Err(ConnectError { reason: format!("{server}: {reason}"), permanent })
            }
            Err(_) => Err(ConnectError::transient(format!(
                "{server}: no answer within {:.1} s",
                attempt_timeout.as_secs_f64()
            ))),
        }
    }

    /// How the server is spoken to, and as whom, for people; nothing of a server that is told nothing.
    pub(crate) fn auth_summary(&self) -> String {
        let tls = self.tls.as_ref().map(|_| "TLS".to_owned());
        let sasl = self.sasl.as_ref().map(|sasl| format!("SASL {}", sasl.username));
        match tls.into_iter().chain(sasl).collect::<Vec<_>>() {
            auth_summary if auth_summary.is_empty() => String::new(),
            auth_summary => format!(" ({})", auth_summary.join(", ")),
        }
    }

    pub(crate) fn has_credentials(&self) -> bool {
        !self.auth.is_empty() || self.sasl.is_some()
    }

    async fn connect(&mut self, server: &str) -> Result<Connection, ConnectError> {
        let connector = self.connector().map_err(|error| ConnectError::permanent(error.to_string()))?;
        match self.tls.clone() {
            Some(tls) => self.connect_tls(connector, tls, server).await,
            None => self.connect_plaintext(connector, server).await,
        }
    }

    /// Secrets are read for each connection: they may be renewed.
    fn connector(&self) -> Result<Connector, CredentialError> {
        // Three fifths of the session timeout is the longest the crate takes for a connection timeout, and its
        // idle tick is an eighth of that: the fewest wakeups that still notice a dead server before the
        // session expires.
        let mut connector = Client::connector()
            .with_session_timeout(self.session_timeout)
            .with_connection_timeout(self.session_timeout * 3 / 5)
            .with_fail_eagerly();
        for Auth { scheme, credentials } in &self.auth {
            connector = connector.with_auth(scheme, credentials.reveal()?.as_bytes());
        }
        if let Some(Sasl { username, password }) = &self.sasl {
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
        // Resolved here and shuffled, so that a name with a dead address first does not hide the living ones.
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
        // Once, because a server without TLS complains of the question in its log.
        if self.asked.insert(server.to_owned()) && speaks_tls(&addresses).await {
            return Err(ConnectError::permanent(SERVER_SPEAKS_TLS));
        }
        Err(failure)
    }

    /// The crate gets the name and resolves it, as it compares it with the server's certificate.
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
        match (error, &self.sasl) {
            (Error::NoHosts, _) => {
                ConnectError::transient("connection refused or no ZooKeeper serving there")
            }
            (Error::AuthFailed, _) => ConnectError::permanent(self.refused()),
            (error, _) => ConnectError::transient(error.to_string()),
        }
    }

    /// What a server means that does not let us in.
    pub(crate) fn refused(&self) -> String {
        match (&self.sasl, self.auth.is_empty()) {
            (Some(Sasl { username, .. }), true) => format!(
                "the server refused our credentials: check username ({username}) and password of `sasl` in twitcher.toml"
            ),
            (Some(_), false) => {
                "the server refused our credentials; check `sasl` and `auth` in twitcher.toml".to_owned()
            }
            (None, false) => {
                "the server refused our credentials; check `auth` in twitcher.toml, and give `sasl` if it wants that"
                    .to_owned()
            }
            (None, true) => {
                "the server lets in nobody without credentials; give `sasl` in twitcher.toml".to_owned()
            }
        }
    }
}

const SERVER_SPEAKS_TLS: &str =
    "TLS is spoken there; give [tls] in twitcher.toml, or the server's port without TLS (clientPort)";

/// Opens a session, and has the task that serves it.
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
    // A new session may begin at a server that lags behind what the last one showed us. What is read after
    // this is not older than now, so that no action runs with content that was replaced long ago.
    client.sync("/").await?;
    Ok((client, service.0.into_inner()))
}

/// Waits until the session whose client was dropped is closed, or its server has had long enough for that.
pub(crate) async fn close(mut service: JoinSet<()>) {
    let _ = timeout(CLOSE_TIMEOUT, service.join_next()).await;
}

/// Takes the task that serves a session, so that we end it when we are done with it.
#[derive(Default)]
struct Owner(RefCell<JoinSet<()>>);

impl Spawn for Owner {
    /// The crate waits for its socket and its timers on a thread of async-io. What that thread wakes up runs right
    /// there, so that heartbeats wake up nobody else, and go out while the daemon is busy starting processes.
    /// What we wake up ourselves waits for its turn, so that many requests share one write.
    fn spawn(&self, task: Task) {
        let home = thread::current().id();
        let (queue, mut turns) = unbounded_channel::<Runnable>();
        let schedule = move |runnable: Runnable| {
            if thread::current().id() == home {
                // Nobody takes it where the session was let go: to drop it is to drop the session.
                let _ = queue.send(runnable);
            } else {
                runnable.run();
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

//! Making one connection with one session.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::handshake::{OpenError, Opened, open};
use super::link::{Link, Stream};
use super::protocol::Protocol;
use super::secrets::Secrets;
use super::settings::{Sasl, ZooKeeperSettings};
use super::wire::{Greeting, SessionKey};
use crate::store::diagnosis::{Diagnosis, TlsWords, is_tls_error, of_handshake, speaks_tls};
use crate::store::login_source::LoginSource;
use crate::store::tls::{CA, host_and_port};

/// How long one server may take to answer. It is shorter than the 5 s that the contract allows between two
/// attempts, so that the next server is tried on time.
pub(super) const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(4500);

/// The servers, in the order in which this process tries them.
pub(super) struct Ensemble {
    settings: ZooKeeperSettings,
    login: LoginSource,
    next: usize,
    /// The servers that were asked since the last connection whether they speak TLS.
    asked: HashSet<String>,
    /// Whether the sessions end by themselves when the server is silent for too long.
    has_deadlines: bool,
    /// The session that the next connection goes on with.
    resumed: Option<SessionKey>,
}

/// A connection with a session.
pub(super) struct Connection {
    pub(super) link: Link,
    pub(super) protocol: Protocol,
    pub(super) greeting: Greeting,
    /// How long the server may take to answer.
    pub(super) timeout: Duration,
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
    /// Whether the server did not greet like a ZooKeeper, and so may speak TLS.
    no_greeting: bool,
    /// Whether the session that was to go on has expired.
    pub(super) is_expired: bool,
}

impl ConnectError {
    fn transient(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), permanent: false, no_greeting: false, is_expired: false }
    }

    fn permanent(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), permanent: true, no_greeting: false, is_expired: false }
    }
}

impl Ensemble {
    /// The servers for sessions that end by themselves when the server is silent for too long.
    pub(super) fn new(settings: ZooKeeperSettings, login: LoginSource) -> Self {
        Self::with_deadlines(settings, login, true)
    }

    /// The servers for sessions whose user decides how long to wait for a reply.
    pub(super) fn without_deadlines(settings: ZooKeeperSettings, login: LoginSource) -> Self {
        Self::with_deadlines(settings, login, false)
    }

    fn with_deadlines(mut settings: ZooKeeperSettings, login: LoginSource, has_deadlines: bool) -> Self {
        fastrand::shuffle(&mut settings.url.servers);
        Self { settings, login, next: 0, asked: HashSet::new(), has_deadlines, resumed: None }
    }

    /// Has the next connections go on with the session of `greeting`, until it has expired. Without one, each
    /// connection has a session of its own.
    pub(super) fn resume(&mut self, greeting: &Greeting) {
        let Greeting { session, password, .. } = greeting;
        self.resumed = Some(SessionKey { session: *session, password: password.clone() });
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
            Ok(Err(error)) => {
                if error.is_expired {
                    self.resumed = None;
                }
                Err(ConnectError { reason: format!("{server}: {}", error.reason), ..error })
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
        let secrets = Secrets::load(&login).map_err(|error| ConnectError::permanent(error.to_string()))?;
        // Resolved here and shuffled, so that a dead address that comes first does not hide the living ones.
        let mut addresses: Vec<SocketAddr> = tokio::net::lookup_host(server)
            .await
            .map_err(|error| ConnectError::transient(format!("cannot resolve the name ({error})")))?
            .collect();
        fastrand::shuffle(&mut addresses);
        let mut failure = ConnectError::transient("the name has no address");
        for address in &addresses {
            match self.connect_to(*address, server, &secrets).await {
                Ok(connection) => return Ok(connection),
                Err(error) => failure = error,
            }
            if failure.permanent || failure.is_expired {
                return Err(failure);
            }
        }
        // Asked once, because a server without TLS complains about the question in its log.
        if secrets.tls.is_none()
            && failure.no_greeting
            && self.asked.insert(server.to_owned())
            && speaks_tls(&addresses, self.session_timeout() / 4).await
        {
            return Err(ConnectError::permanent(SERVER_SPEAKS_TLS));
        }
        Err(failure)
    }

    async fn connect_to(
        &self,
        address: SocketAddr,
        server: &str,
        secrets: &Secrets,
    ) -> Result<Connection, ConnectError> {
        let stream = TcpStream::connect(address).await.map_err(|error| no_connection(&error))?;
        // Requests are small, and each should leave at once.
        stream.set_nodelay(true).map_err(|error| no_connection(&error))?;
        let plaintext_peer = secrets.tls.is_none().then(|| address.ip().to_canonical());
        let stream: Box<dyn Stream> = match &secrets.tls {
            None => Box::new(stream),
            Some(config) => {
                let host = host_and_port(server).0;
                let name = ServerName::try_from(host.to_owned()).map_err(|_| {
                    ConnectError::permanent(format!("{host:?} is no name that a certificate can be for"))
                })?;
                let connecting = TlsConnector::from(Arc::clone(config)).connect(name, stream);
                Box::new(connecting.await.map_err(|error| self.explain_tls(server, &error))?)
            }
        };
        let wanted = self.session_timeout();
        match open(stream, secrets, self.resumed.as_ref(), wanted, self.has_deadlines).await {
            Ok(Opened { link, protocol, greeting, timeout }) => {
                let server = server.to_owned();
                Ok(Connection { link, protocol, greeting, timeout, server, plaintext_peer })
            }
            Err(error) => Err(self.explain(server, &error)),
        }
    }

    fn explain(&self, server: &str, error: &OpenError) -> ConnectError {
        match error {
            OpenError::Expired => {
                ConnectError { is_expired: true, ..ConnectError::transient(error.to_string()) }
            }
            OpenError::Refused => ConnectError::permanent(self.refused()),
            OpenError::Sasl(_) => ConnectError::permanent(error.to_string()),
            // With TLS 1.3, a server refuses a client's certificate after the handshake.
            OpenError::NoGreeting(error) if is_tls_error(error) => self.explain_tls(server, error),
            OpenError::NoGreeting(_) => ConnectError {
                no_greeting: true,
                ..ConnectError::transient(match self.settings.login.tls {
                    Some(_) => ENDS_AFTER_TLS,
                    None => NO_SESSION,
                })
            },
            OpenError::NoZooKeeper(_) => {
                ConnectError { no_greeting: true, ..ConnectError::transient(error.to_string()) }
            }
            OpenError::Ended(_) => ConnectError::transient(error.to_string()),
        }
    }

    fn explain_tls(&self, server: &str, error: &io::Error) -> ConnectError {
        let Some(tls) = &self.settings.login.tls else { return ConnectError::transient(error.to_string()) };
        match of_handshake(&TLS_WORDS, tls, host_and_port(server).0, error) {
            Diagnosis::Transient(reason) => ConnectError::transient(reason),
            Diagnosis::Permanent(reason) => ConnectError::permanent(reason),
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

/// A server that accepts a connection and then ends it says no more.
const NO_SESSION: &str = "the connection is made, but no ZooKeeper serves there: it may be starting, have no \
                          quorum, or allow no more connections from this host (maxClientCnxns), or this is \
                          another service's port";

const TLS_WORDS: TlsWords = TlsWords {
    ca: CA,
    no_certificate: "give cert and key in [tls] of twitcher.toml",
    no_tls: "no TLS answers there; if that is its plaintext port (clientPort), give its secureClientPort or \
             take [tls] out of twitcher.toml, and if not, its log says why",
    trusted: "in the server's truststore",
};

const ENDS_AFTER_TLS: &str = "it speaks TLS, and then ends the connection; its log says why (a server that \
                              wants a client certificate does so: cert and key in [tls])";

const SERVER_SPEAKS_TLS: &str =
    "TLS is spoken there; give [tls] in twitcher.toml, or the server's port without TLS (clientPort)";

fn no_connection(error: &io::Error) -> ConnectError {
    ConnectError::transient(match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => error.to_string(),
    })
}

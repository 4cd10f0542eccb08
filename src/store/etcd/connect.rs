//! Making one connection: to one member, encrypted and logged in.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::keys::Keys;
use super::link::{CallError, Link, Stream};
use super::root;
use super::settings::{EtcdLogin, EtcdSettings};
use super::wire::messages::{AuthenticateRequest, AuthenticateResponse, Header, TxnResponse};
use super::wire::status::{Meaning, Status};
use crate::store::diagnosis::{Diagnosis, TlsWords, of_handshake, speaks_tls};
use crate::store::login_source::LoginSource;
use crate::store::tls::{CA, host_and_port};

/// How long one member may take to answer. It is shorter than the 5 s that the contract allows between two
/// attempts, so that the next one is tried on time.
pub(super) const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(4500);

/// The longest reply to what is asked while a connection is made.
const MAX_REPLY: u64 = 64 << 10;

/// The protocol that is agreed on in the handshake of TLS.
const HTTP2: &[u8] = b"h2";

/// The members, in the order in which this process tries them.
pub(super) struct Cluster {
    settings: EtcdSettings,
    login: LoginSource,
    next: usize,
}

/// A connection to a member that has a leader.
pub(super) struct Connection {
    pub(super) link: Link,
    pub(super) server: String,
    /// The identities of the cluster, and of the member in it; 0 if we may not know.
    pub(super) cluster: u64,
    pub(super) member: u64,
    /// The server's address, if the connection is not encrypted.
    pub(super) plaintext_peer: Option<IpAddr>,
    /// Whether there is a node at the prefix or below it, if we may know.
    pub(super) has_root: Option<bool>,
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) struct ConnectError {
    /// For people.
    pub(super) reason: String,
    /// Whether this stays so until somebody does something.
    pub(super) permanent: bool,
    /// Whether the server may speak TLS.
    may_speak_tls: bool,
}

impl ConnectError {
    fn transient(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), permanent: false, may_speak_tls: false }
    }

    fn permanent(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), permanent: true, may_speak_tls: false }
    }
}

impl Cluster {
    pub(super) fn new(mut settings: EtcdSettings, login: LoginSource) -> Self {
        fastrand::shuffle(&mut settings.url.servers);
        Self { settings, login, next: 0 }
    }

    pub(super) fn session_timeout(&self) -> Duration {
        self.settings.session_timeout
    }

    /// Tries the next member, and only that one, so that a member that swallows packets starves none of the
    /// others.
    pub(super) async fn connect_next(
        &mut self,
        attempt_timeout: Duration,
    ) -> Result<Connection, ConnectError> {
        let servers = &self.settings.url.servers;
        let server = servers[self.next % servers.len()].clone();
        self.next += 1;
        match timeout(attempt_timeout, Box::pin(self.connect(&server))).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(ConnectError { reason: format!("{server}: {}", error.reason), ..error }),
            Err(_) => Err(ConnectError::transient(format!(
                "{server}: no answer within {:.1} s",
                attempt_timeout.as_secs_f64()
            ))),
        }
    }

    /// Describes for people how we log in; empty if we do not.
    pub(super) fn auth_summary(&self) -> String {
        let EtcdLogin { tls, user } = &self.settings.login;
        let tls = tls.as_ref().map(|_| "TLS".to_owned());
        let user = user.as_ref().map(|user| format!("user {}", user.username));
        match tls.into_iter().chain(user).collect::<Vec<_>>() {
            auth_summary if auth_summary.is_empty() => String::new(),
            auth_summary => format!(" ({})", auth_summary.join(", ")),
        }
    }

    pub(super) fn has_credentials(&self) -> bool {
        self.settings.login.user.is_some()
    }

    async fn connect(&self, server: &str) -> Result<Connection, ConnectError> {
        // Read anew, because secrets and certificates may be renewed between two connections.
        let login = self.login.read(&self.settings.login).await.map_err(ConnectError::permanent)?;
        let tls = login.tls.as_ref().map(|tls| tls.load()).transpose();
        let tls = tls.map_err(|error| ConnectError::permanent(error.to_string()))?.map(|tls| {
            let mut tls = ClientConfig::clone(&tls);
            tls.alpn_protocols = vec![HTTP2.to_vec()];
            Arc::new(tls)
        });
        // Resolved here and shuffled, so that a dead address that comes first does not hide the living ones.
        let mut addresses: Vec<SocketAddr> = tokio::net::lookup_host(server)
            .await
            .map_err(|error| ConnectError::transient(format!("cannot resolve the name ({error})")))?
            .collect();
        fastrand::shuffle(&mut addresses);
        let mut failure = ConnectError::transient("the name has no address");
        for address in &addresses {
            match self.connect_to(*address, server, tls.as_ref(), &login).await {
                Ok(connection) => return Ok(connection),
                Err(error) => failure = error,
            }
            if failure.permanent {
                return Err(failure);
            }
        }
        if failure.may_speak_tls
            && self.settings.login.tls.is_none()
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
        tls: Option<&Arc<ClientConfig>>,
        login: &EtcdLogin,
    ) -> Result<Connection, ConnectError> {
        let stream = TcpStream::connect(address).await.map_err(|error| no_connection(&error))?;
        // Requests are small, and each should leave at once.
        stream.set_nodelay(true).map_err(|error| no_connection(&error))?;
        let plaintext_peer = tls.is_none().then(|| address.ip().to_canonical());
        let stream: Box<dyn Stream> = match tls {
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
        let scheme = if tls.is_some() { "https" } else { "http" };
        let link = Link::open(stream, format!("{scheme}://{server}")).await;
        let mut link = link.map_err(|error| self.explain(error))?;
        link.token = self.log_in(&link, login).await?.map(Rc::new);
        let (header, has_root) = self.probe(&link).await?;
        let server = server.to_owned();
        let Header { cluster, member, .. } = header;
        Ok(Connection { link, server, cluster, member, plaintext_peer, has_root })
    }

    /// Returns a token, if there is a user and servers ask for one.
    async fn log_in(&self, link: &Link, login: &EtcdLogin) -> Result<Option<HeaderValue>, ConnectError> {
        let Some(user) = &login.user else { return Ok(None) };
        let password = user.password.reveal().map_err(|error| ConnectError::permanent(error.to_string()))?;
        let request = AuthenticateRequest { name: user.username.clone(), password };
        match link.call::<AuthenticateResponse>("Auth/Authenticate", &request, MAX_REPLY).await {
            Ok(AuthenticateResponse { token }) => {
                let token = HeaderValue::from_str(&token);
                token.map(Some).map_err(|_| ConnectError::transient("the server's token cannot be sent back"))
            }
            Err(CallError::Status(status)) if status.meaning() == Meaning::NoAuth => Ok(None),
            Err(error) => Err(self.explain(error)),
        }
    }

    /// Has the member read something that it can only read with a leader.
    async fn probe(&self, link: &Link) -> Result<(Header, Option<bool>), ConnectError> {
        let request = root::look(&Keys::new(self.settings.url.prefix.clone()));
        match link.call::<TxnResponse>("KV/Txn", &request, MAX_REPLY).await {
            Ok(TxnResponse { header: Some(header), responses, .. }) => {
                Ok((header, Some(root::is_there(&responses))))
            }
            Ok(TxnResponse { header: None, .. }) => Err(ConnectError::transient(NO_ETCD)),
            Err(CallError::Status(status)) if status.meaning() == Meaning::Forbidden => {
                Ok((Header::default(), None))
            }
            Err(error) => Err(self.explain(error)),
        }
    }

    fn explain(&self, error: CallError) -> ConnectError {
        match error {
            CallError::Status(status) => match status.meaning() {
                Meaning::Login | Meaning::Token => ConnectError::permanent(self.refused(&status)),
                Meaning::Unavailable => {
                    ConnectError::transient(format!("it cannot serve now: {}", status.text))
                }
                Meaning::NoAuth
                | Meaning::Forbidden
                | Meaning::Revision
                | Meaning::TooLarge
                | Meaning::NoSpace
                | Meaning::Other => ConnectError::transient(status.to_string()),
            },
            CallError::TooLong(_) => ConnectError::transient(NO_ETCD),
            CallError::Lost(reason) => ConnectError {
                may_speak_tls: true,
                // With TLS 1.3, a server refuses a client's certificate after the handshake.
                permanent: reason.contains("fatal alert"),
                ..ConnectError::transient(match self.settings.login.tls {
                    Some(_) => format!("{ENDS_AFTER_TLS} ({reason})"),
                    None => format!("the connection is made, but no etcd serves there ({reason})"),
                })
            },
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
    pub(super) fn refused(&self, status: &Status) -> String {
        match &self.settings.login.user {
            Some(user) => format!(
                "the server refused our login: check username ({}) and password of `etcd` in twitcher.toml \
                 ({})",
                user.username, status.text
            ),
            None => format!(
                "the server lets in nobody without a login; give `etcd` with username and password in \
                 twitcher.toml ({})",
                status.text
            ),
        }
    }
}

const NO_ETCD: &str = "what answers there is no etcd";

const TLS_WORDS: TlsWords = TlsWords {
    ca: CA,
    no_certificate: "give cert and key in [tls] of twitcher.toml",
    no_tls: "no TLS answers there; if the server has none (listen-client-urls with http://), take [tls] out \
             of twitcher.toml, and if not, its log says why",
    trusted: "in the server's trusted-ca-file",
};

const ENDS_AFTER_TLS: &str = "it speaks TLS, and then ends the connection; its log says why (a server that \
                              wants a client certificate does so: cert and key in [tls])";

const SERVER_SPEAKS_TLS: &str =
    "TLS is spoken there; give [tls] in twitcher.toml, or a server's port without TLS (http://)";

fn no_connection(error: &io::Error) -> ConnectError {
    ConnectError::transient(match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => error.to_string(),
    })
}

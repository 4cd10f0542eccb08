//! TLS with a server that is no store: what a command speaks with a server of commits, and that one with its
//! database.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::diagnosis::{Diagnosis, TlsWords, of_handshake};
use super::tls::{CaKey, Tls};

/// Where distributions have the CAs that their users trust: Debian, Fedora, openSUSE, Alpine.
const SYSTEM_CAS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

const WEB: TlsWords = TlsWords {
    ca: CaKey("commits.ca"),
    no_certificate: "`twitcher commits` has none; a token is what it can show",
    no_tls: "no TLS answers there; if the server has none ([serve.tls]), write http:// in its URL",
    trusted: "known to the server",
};

const DATABASE: TlsWords = TlsWords {
    ca: CaKey("the CA in serve.database"),
    no_certificate: "`twitcher serve` has none; a password is what it can show",
    no_tls: "no TLS answers there; if the database has none, say so in its address (sslmode=disable, or \
             ssl-mode=DISABLED)",
    trusted: "known to the database",
};

/// Whom a client of a web server trusts. It shows no certificate of its own.
#[derive(Debug)]
pub struct WebTls {
    words: &'static TlsWords,
    tls: Tls,
    config: Arc<ClientConfig>,
}

impl WebTls {
    /// Reads the CAs of this file, else those of the system. The error names the file.
    pub fn read(ca: Option<PathBuf>) -> Result<Self, String> {
        Self::read_as(&WEB, ca)
    }

    /// Does so for a connection to a database.
    pub fn of_a_database(ca: Option<PathBuf>) -> Result<Self, String> {
        Self::read_as(&DATABASE, ca)
    }

    fn read_as(words: &'static TlsWords, ca: Option<PathBuf>) -> Result<Self, String> {
        let system = || SYSTEM_CAS.into_iter().map(Path::new).find(|path| path.exists()).map(Path::to_owned);
        let Some(ca) = ca.or_else(system) else {
            return Err(format!(
                "{}: this system has no list of CAs (no {}); install ca-certificates, or name a file with \
                 the server's CA",
                words.ca.0, SYSTEM_CAS[0]
            ));
        };
        let tls = Tls { ca, identity: None, texts: None };
        let config = tls.load_as(words.ca).map_err(|error| error.to_string())?;
        Ok(Self { words, tls, config })
    }

    /// Begins TLS with the server of this name. The error says what is wrong, and what to do about it.
    pub async fn connect(&self, host: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("no certificate can be for {host:?}; write the server's name in the URL"))?;
        let connected = TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await;
        connected.map_err(|error| match of_handshake(self.words, &self.tls, host, &error) {
            Diagnosis::Transient(why) | Diagnosis::Permanent(why) => why,
        })
    }
}

//! Explaining why a TLS connection cannot be made.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, RootCertStore};
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::tls::{self, CaKey, Tls};

/// What is wrong with a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Diagnosis {
    /// The error may pass.
    Transient(String),
    /// The error stays until somebody does something.
    Permanent(String),
}

/// The words for what differs between kinds of servers.
#[derive(Debug)]
pub(super) struct TlsWords {
    /// The setting that names the file of the CAs.
    pub(super) ca: CaKey,
    /// What to do where a server wants a client's certificate.
    pub(super) no_certificate: &'static str,
    /// What to do where no TLS answers.
    pub(super) no_tls: &'static str,
    /// Where a server has the CAs that it trusts.
    pub(super) trusted: &'static str,
}

/// How long a server may take to say that it speaks TLS, at most.
const TLS_TIMEOUT: Duration = Duration::from_secs(1);

/// Returns true if and only if some server says within `limit` that it speaks TLS at one of these addresses.
pub(super) async fn speaks_tls(addresses: &[SocketAddr], limit: Duration) -> bool {
    timeout(limit.min(TLS_TIMEOUT), tries_tls(addresses)).await.unwrap_or(false)
}

async fn tries_tls(addresses: &[SocketAddr]) -> bool {
    let Ok(stream) = TcpStream::connect(addresses).await else { return false };
    let Ok(peer) = stream.peer_addr() else { return false };
    let trusting_nobody = tls::client().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    match TlsConnector::from(Arc::new(trusting_nobody)).connect(peer.ip().into(), stream).await {
        Ok(_) => true,
        Err(error) => match tls_error(&error) {
            Some(Error::InvalidCertificate(_) | Error::AlertReceived(_) | Error::PeerIncompatible(_)) => true,
            // The enum is open, and its other errors mean that this is no TLS.
            Some(_) | None => false,
        },
    }
}

/// Whether TLS itself failed.
pub(super) fn is_tls_error(error: &io::Error) -> bool {
    tls_error(error).is_some()
}

fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// Explains why the handshake of TLS failed.
pub(super) fn of_handshake(words: &TlsWords, tls: &Tls, host: &str, error: &io::Error) -> Diagnosis {
    match (tls_error(error), error.kind()) {
        (Some(error), _) => Diagnosis::Permanent(refusal(words, tls, host, error)),
        // A server without TLS closes the connection, and so may one whose TLS does not work.
        (None, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
            Diagnosis::Permanent(words.no_tls.to_owned())
        }
        (None, _) => Diagnosis::Transient(error.to_string()),
    }
}

/// Explains an error of TLS. Both enums are open; errors that are not explained here speak for themselves.
fn refusal(words: &TlsWords, tls: &Tls, host: &str, error: &Error) -> String {
    let (ca, key) = (tls.ca.display(), words.ca.0);
    match error {
        Error::InvalidCertificate(error) => match error {
            CertificateError::Expired => "the server's certificate has expired; renew it there".to_owned(),
            CertificateError::ExpiredContext { not_after, .. } => {
                format!("the server's certificate has expired, on {}; renew it there", date(*not_after))
            }
            CertificateError::NotValidYet => {
                "the server's certificate is not valid yet; see the clocks of both hosts".to_owned()
            }
            CertificateError::NotValidYetContext { not_before, .. } => format!(
                "the server's certificate is not valid before {}; see the clocks of both hosts",
                date(*not_before)
            ),
            CertificateError::NotValidForName => not_for(host, &[]),
            CertificateError::NotValidForNameContext { presented, .. } => not_for(host, presented),
            // A bad signature means a CA of the same name with another key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
                "the server's certificate is of a CA that is not in {key} ({ca}): put the server's CA \
                 there, if it is yours"
            ),
            CertificateError::Revoked => {
                format!("the server's certificate has been revoked, as {ca} says; give the server another")
            }
            CertificateError::UnknownRevocationStatus
            | CertificateError::ExpiredRevocationList
            | CertificateError::ExpiredRevocationListContext { .. } => format!(
                "{key} ({ca}) has no current revocation list of the CA of the server's certificate: put it \
                 there, or take all lists out"
            ),
            error => format!("the server's certificate is refused: {error}"),
        },
        Error::AlertReceived(alert) => of_alert(words, tls, *alert),
        Error::InvalidMessage(_) => words.no_tls.to_owned(),
        Error::PeerIncompatible(_) => {
            format!("the server has no TLS version or cipher that we take, of TLS 1.2 and 1.3 ({error})")
        }
        error => format!("TLS: {error}"),
    }
}

fn of_alert(words: &TlsWords, tls: &Tls, alert: AlertDescription) -> String {
    match (alert, &tls.identity) {
        (AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity, _) => {
            format!("the server has no TLS version or cipher that we take, of TLS 1.2 and 1.3 ({alert:?})")
        }
        (AlertDescription::UnrecognisedName, _) => "the server does not know itself by this name".to_owned(),
        (AlertDescription::InternalError, _) => {
            "the server has trouble with its TLS; its log says which".to_owned()
        }
        (_, None) => {
            format!("the server wants a client certificate: {} ({alert:?})", words.no_certificate)
        }
        (_, Some(identity)) => format!(
            "the server refuses our certificate ({}): is it still valid, and its CA {}? ({alert:?})",
            identity.cert.display(),
            words.trusted
        ),
    }
}

fn not_for(host: &str, presented: &[String]) -> String {
    /// The most names to list. A certificate may have hundreds.
    const SHOWN: usize = 3;
    let mut names: Vec<&str> = presented.iter().take(SHOWN).map(|name| bare(name)).collect();
    if presented.len() > SHOWN {
        names.push("...");
    }
    let only = if names.is_empty() { String::new() } else { format!(" but for {}", names.join(", ")) };
    format!(
        "the server's certificate is not for {host}{only}; write the server as its certificate does, or give \
         it one for this name (subjectAltName)"
    )
}

/// Returns the name in what Rust shows of it: `DnsName("zk1")`.
fn bare(name: &str) -> &str {
    name.split('"').nth(1).unwrap_or(name)
}

fn date(at: UnixTime) -> String {
    let at = i64::try_from(at.as_secs()).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
    let format = format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    at.and_then(|at| at.format(format).ok()).unwrap_or_else(|| "an unknown date".to_owned())
}

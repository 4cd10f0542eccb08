//! The address of a namespace of commits.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use hyper::Uri;
use thiserror::Error;

use crate::text::is_this_machine;

/// Where a server of commits is, and which of its namespaces is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitsUrl {
    pub server: CommitsServer,
    /// The path before the namespace, as a proxy may have it: empty, or `/` and parts.
    pub prefix: String,
    pub namespace: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitsServer {
    Web(WebServer),
    Unix(PathBuf),
}

/// A server that is reached over TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebServer {
    pub is_tls: bool,
    /// A name or an address; of IPv6 without its brackets.
    pub host: String,
    pub port: u16,
}

#[derive(Debug, Error)]
pub enum CommitsUrlError {
    #[error(
        "{0:?} is no address of a namespace; write http://HOST:PORT/NAMESPACE, https://HOST/NAMESPACE or \
         unix:/SOCKET:/NAMESPACE"
    )]
    Form(String),
    #[error("{0:?} names no namespace; write it at the end, as in {0}/diary")]
    NoNamespace(String),
    /// The URL is not quoted, because it holds a secret.
    #[error("the URL has a user or a password; give the token in TWITCHER_TOKEN or in [commits]")]
    Login,
}

impl WebServer {
    /// Returns true if what is sent to the server does not leave this host.
    pub fn is_on_this_host(&self) -> bool {
        is_this_machine(&self.host)
    }

    /// Returns the host and the port as a `Host` header has them.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match self.port {
            port if port == default_port(self.is_tls) => host,
            port => format!("{host}:{port}"),
        }
    }
}

const fn default_port(is_tls: bool) -> u16 {
    if is_tls { 443 } else { 80 }
}

impl FromStr for CommitsUrl {
    type Err = CommitsUrlError;

    fn from_str(text: &str) -> Result<Self, CommitsUrlError> {
        let form = || CommitsUrlError::Form(text.to_owned());
        if let Some(rest) = text.strip_prefix("unix:") {
            let (socket, path) = match rest.rsplit_once(":/") {
                Some((socket, path)) => (socket, format!("/{path}")),
                None => return Err(CommitsUrlError::NoNamespace(format!("{text}:"))),
            };
            let is_path = socket.starts_with('/') && !socket.contains('\0');
            let (prefix, namespace) = split_path(text, is_path.then_some(&*path).ok_or_else(form)?)?;
            return Ok(Self { server: CommitsServer::Unix(socket.into()), prefix, namespace });
        }
        let uri: Uri = text.parse().map_err(|_| form())?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(_) | None => return Err(form()),
        };
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(CommitsUrlError::Login);
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(form)?;
        // A port that is no number is none for the parser, and would become another one.
        let has_port = uri.authority().is_some_and(|authority| authority.as_str().len() > host.len());
        if uri.query().is_some() || text.contains('#') || (has_port && uri.port_u16().is_none()) {
            return Err(form());
        }
        let server = WebServer {
            is_tls,
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: uri.port_u16().unwrap_or(default_port(is_tls)),
        };
        let (prefix, namespace) = split_path(text, uri.path())?;
        Ok(Self { server: CommitsServer::Web(server), prefix, namespace })
    }
}

/// Splits a path into what is before the namespace, and the namespace.
fn split_path(url: &str, path: &str) -> Result<(String, String), CommitsUrlError> {
    let path = path.trim_end_matches('/');
    let Some((prefix, namespace)) = path.rsplit_once('/').filter(|(_, namespace)| !namespace.is_empty())
    else {
        return Err(CommitsUrlError::NoNamespace(url.trim_end_matches('/').to_owned()));
    };
    // The path goes into requests as it is.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/%!$&'()*+,;=:@".contains(&byte);
    let names_a_parent = path.split('/').any(|part| part == "." || part == "..");
    if !path.bytes().all(is_plain) || names_a_parent || prefix.contains("//") || namespace == "-" {
        return Err(CommitsUrlError::Form(url.to_owned()));
    }
    Ok((prefix.to_owned(), namespace.to_owned()))
}

impl fmt::Display for CommitsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, prefix, namespace } = self;
        match server {
            CommitsServer::Web(web) => {
                let scheme = if web.is_tls { "https" } else { "http" };
                write!(f, "{scheme}://{}{prefix}/{namespace}", web.authority())
            }
            CommitsServer::Unix(socket) => write!(f, "unix:{}:{prefix}/{namespace}", socket.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> CommitsUrl {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn an_address_names_a_server_and_a_namespace() {
        for (text, shown) in [
            ("https://config.example/diary", "https://config.example/diary"),
            ("https://config.example:443/diary/", "https://config.example/diary"),
            ("http://127.0.0.1:8080/diary", "http://127.0.0.1:8080/diary"),
            ("http://[::1]:80/diary", "http://[::1]/diary"),
            ("https://proxy/team/config/diary", "https://proxy/team/config/diary"),
            ("unix:/run/twitcher/serve.sock:/diary", "unix:/run/twitcher/serve.sock:/diary"),
            ("unix:/run/a:/b.sock:/diary", "unix:/run/a:/b.sock:/diary"),
        ] {
            assert_eq!(parse(text).to_string(), shown);
        }
        let CommitsServer::Web(web) = parse("https://[::1]:8443/a/diary").server else { unreachable!() };
        assert_eq!(web, WebServer { is_tls: true, host: "::1".into(), port: 8443 });
        assert!(web.is_on_this_host());
        assert_eq!(parse("https://h/a/diary").prefix, "/a");
        let unix = parse("unix:/run/a:/b.sock:/diary");
        assert_eq!(unix.server, CommitsServer::Unix("/run/a:/b.sock".into()));
        assert_eq!(unix.namespace, "diary");
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_forms() {
        for wrong in [
            "diary",
            "localhost:8080/diary",
            "ftp://h/diary",
            "http:///diary",
            "http://h:99999/diary",
            "http://h:/diary",
            "http://h/diary?all=yes",
            "http://h/diary#x",
            "http://h/a/../diary",
            "http://h/-",
            "unix:run.sock:/diary",
            "",
        ] {
            let error = wrong.parse::<CommitsUrl>().expect_err(wrong).to_string();
            assert!(error.contains("https://HOST/NAMESPACE"), "{wrong}: {error}");
        }
        for wrong in ["http://h", "https://h:1/", "unix:/run/s.sock", "unix:/run/s.sock:/"] {
            let error = wrong.parse::<CommitsUrl>().expect_err(wrong).to_string();
            assert!(error.contains("names no namespace"), "{wrong}: {error}");
        }
        let error = "https://u:hunter2@h/diary".parse::<CommitsUrl>().unwrap_err().to_string();
        assert!(error.contains("TWITCHER_TOKEN") && !error.contains("hunter2"), "{error}");
    }
}

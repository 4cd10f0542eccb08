//! The address of a database server.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use crate::store::Secret;
use crate::text::{is_this_machine, percent_decoded};

/// The kinds of servers, and the words of their addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerKind {
    PostgreSql,
    MySql,
}

/// Where a server is, and how one logs in there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    pub kind: ServerKind,
    pub place: Place,
    pub user: String,
    pub password: Option<Secret>,
    /// The name of the database.
    pub database: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Tcp {
        host: String,
        port: u16,
        tls: Encryption,
    },
    /// The path of a socket.
    Socket(PathBuf),
}

/// How a TCP connection is protected. There is nothing in between: encryption with somebody whose
/// certificate is not checked protects from nobody who can stand in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encryption {
    None,
    /// TLS with a server that these CAs vouch for, by default those of the system.
    Verified {
        ca: Option<PathBuf>,
    },
}

/// The words of a kind's address.
struct Words {
    schemes: [&'static str; 2],
    port: u16,
    /// The option that names a socket, and the file in a directory that it names.
    socket: &'static str,
    mode: &'static str,
    modes: [&'static str; 2],
    ca: &'static str,
}

impl ServerKind {
    const ALL: [Self; 2] = [Self::PostgreSql, Self::MySql];

    fn words(self) -> Words {
        match self {
            Self::PostgreSql => Words {
                schemes: ["postgres", "postgresql"],
                port: 5432,
                socket: "host",
                mode: "sslmode",
                modes: ["disable", "verify-full"],
                ca: "sslrootcert",
            },
            Self::MySql => Words {
                schemes: ["mysql", "mariadb"],
                port: 3306,
                socket: "socket",
                mode: "ssl-mode",
                modes: ["DISABLED", "VERIFY_IDENTITY"],
                ca: "ssl-ca",
            },
        }
    }
}

/// Whether a text could be an address with a password in it.
pub fn has_password(text: &str) -> bool {
    let user = text.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@'));
    user.is_some_and(|(user, _)| user.contains(':'))
}

impl ServerAddress {
    /// Reads an address; returns `None` if its scheme is no server's. No error quotes what could be a part of
    /// a password.
    pub(super) fn parse(text: &str) -> Option<Result<Self, String>> {
        let (scheme, rest) = text.split_once("://")?;
        let kind = ServerKind::ALL.into_iter().find(|kind| kind.words().schemes.contains(&scheme))?;
        Some(Self::parse_rest(kind, rest))
    }

    fn parse_rest(kind: ServerKind, rest: &str) -> Result<Self, String> {
        let words = kind.words();
        let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
        let Some((authority, database)) = rest.split_once('/') else {
            return Err("it names no database; write one behind the host: /commits".to_owned());
        };
        let (login, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (login, None),
        };
        let database = percent_decoded(database).filter(|name| is_name(name) && !name.contains(['/', '@']));
        let database =
            database.ok_or("the name of the database is wrong; /, @ and ? are written %2F, %40 and %3F")?;
        let user = percent_decoded(user)
            .filter(|name| is_name(name))
            .ok_or("it names no user; write USER@ before the host")?;
        let password = password
            .map(|password| percent_decoded(password).ok_or("the password is wrong; % is written %25"));
        let password = password.transpose()?.map(Secret::Inline);
        let options = Options::parse(&words, options)?;
        let (host, port) = split_port(host)?;
        let host = percent_decoded(host).ok_or("the host is wrong")?;
        let socket = match (&*host, options.socket) {
            ("", Some(path)) => Some(path),
            (path, None) if path.starts_with('/') => Some(path.to_owned()),
            ("", None) => {
                let option = words.socket;
                return Err(format!("it names no host; write one, or ?{option}=/PATH for a socket"));
            }
            (_, Some(_)) => return Err(format!("it has a host and ?{}=; write one of them", words.socket)),
            (_, None) => None,
        };
        let port_or_usual = port.unwrap_or(words.port);
        let place = match (socket, options.tls) {
            (Some(_), Some(Encryption::Verified { .. })) => {
                return Err("a socket needs no TLS".to_owned());
            }
            (Some(path), _) if !path.starts_with('/') => {
                return Err("the path of the socket is not absolute".to_owned());
            }
            (Some(path), _) => Place::Socket(match kind {
                ServerKind::PostgreSql => format!("{path}/.s.PGSQL.{port_or_usual}").into(),
                ServerKind::MySql => path.into(),
            }),
            (None, tls) => {
                let usual =
                    if is_this_machine(&host) { Encryption::None } else { Encryption::Verified { ca: None } };
                Place::Tcp { port: port_or_usual, tls: tls.unwrap_or(usual), host }
            }
        };
        Ok(Self { kind, place, user, password, database })
    }
}

#[derive(Default)]
struct Options {
    socket: Option<String>,
    tls: Option<Encryption>,
}

impl Options {
    fn parse(words: &Words, text: &str) -> Result<Self, String> {
        let Words { socket, mode, modes: [none, verified], ca, .. } = *words;
        let mut options = Self::default();
        let (mut found_mode, mut found_ca) = (None, None);
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            match &*name {
                name if name == socket => options.socket = Some(value.into_owned()),
                name if name == mode => found_mode = Some(value),
                name if name == ca => found_ca = Some(PathBuf::from(value.into_owned())),
                name => {
                    return Err(format!("there is no option {name:?}; there are {socket}, {mode} and {ca}"));
                }
            }
        }
        let is = |mode: &Option<Cow<'_, str>>, word: &str| {
            mode.as_ref().is_some_and(|mode| mode.eq_ignore_ascii_case(word))
        };
        options.tls = match found_ca {
            Some(ca) if !ca.is_absolute() => return Err(format!("{} is no absolute path", ca.display())),
            Some(_) if is(&found_mode, none) => return Err(format!("{ca} needs {mode}={verified}")),
            found_ca if found_ca.is_some() || is(&found_mode, verified) => {
                Some(Encryption::Verified { ca: found_ca })
            }
            _ if is(&found_mode, none) => Some(Encryption::None),
            _ => None,
        };
        match found_mode {
            Some(other) if !other.eq_ignore_ascii_case(none) && !other.eq_ignore_ascii_case(verified) => {
                Err(format!(
                    "{mode}={other} would not make sure that nobody stands in between; write \
                     {mode}={verified}, with {ca}=/PATH if the system does not know the server's CA, or \
                     {mode}={none}"
                ))
            }
            Some(_) | None => Ok(options),
        }
    }
}

/// Splits the port off a host. An IPv6 address stands in brackets, which are taken away.
fn split_port(text: &str) -> Result<(&str, Option<u16>), String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("the host has no closing bracket")?;
            (host, rest.strip_prefix(':').or(if rest.is_empty() { None } else { Some("") }))
        }
        None => match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    // What is no port may be a part of a password with a slash or an @.
    let wrong =
        "the port is no number, or the password has a character that must be written %XX, as / is %2F";
    let port = port.map(|port| port.parse().map_err(|_| wrong)).transpose()?;
    Ok((host, port))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains('\0')
}

/// Shows no password.
impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, place, user, password: _, database } = self;
        let [scheme, _] = kind.words().schemes;
        match place {
            Place::Tcp { host, port, tls: _ } if host.contains(':') => {
                write!(f, "{scheme}://{user}@[{host}]:{port}/{database}")
            }
            Place::Tcp { host, port, tls: _ } => write!(f, "{scheme}://{user}@{host}:{port}/{database}"),
            Place::Socket(path) => write!(f, "{scheme}://{user}@/{database} at {}", path.display()),
        }
    }
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;

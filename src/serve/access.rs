//! Who asks, and what they may do.
//!
//! A client names itself with a token (`Authorization: Bearer`), or with the cookie of a session that a token
//! has begun. Without users, everybody who reaches the address may do everything: then the address is one
//! that only this host reaches, and no browser may be led to it by another site's name.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, rand};
use data_encoding::HEXLOWER;
use hyper::header::{AUTHORIZATION, COOKIE, HOST, HeaderMap, ORIGIN};
use hyper::{Method, Uri};
use thiserror::Error;

use crate::settings::{Grant, Listen, Right, ServeSettings, UserSettings, UserToken};
use crate::store::CredentialError;

/// The name of the session's cookie.
const COOKIE_NAME: &str = "twitcher_session";

/// A session ends so long after its last request.
const SESSION_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// A session ends so long after it began, whatever happens in it.
const SESSION_LIFE: Duration = Duration::from_secs(12 * 60 * 60);

/// Each session has some 100 bytes. The oldest ends for a new one.
const MAX_SESSIONS: usize = 10_000;

/// The users, and their sessions.
pub struct Access {
    users: Vec<User>,
    /// The names of this server; `None` on a socket, to which no name leads a browser.
    hosts: Option<Vec<String>>,
    sessions: Mutex<HashMap<String, Session>>,
}

struct User {
    name: String,
    token: [u8; 32],
    may: Vec<Grant>,
}

struct Session {
    user: usize,
    began: Instant,
    used: Instant,
}

impl Session {
    fn is_over(&self, now: Instant) -> bool {
        now - self.used > SESSION_TIMEOUT || now - self.began > SESSION_LIFE
    }
}

/// Who asks.
#[derive(Clone, Copy)]
pub enum Who<'a> {
    /// Somebody who reaches an address without users.
    Anyone,
    User(&'a str, &'a [Grant]),
}

/// Why the users are not known.
#[derive(Debug, Error)]
pub enum AccessError {
    #[error("user {user:?}: {source}")]
    Credential { user: String, source: CredentialError },
    #[error("user {0:?}: the token is empty")]
    Empty(String),
    #[error("users {0:?} and {1:?} have the same token, so nobody could tell who saves")]
    Same(String, String),
}

/// Why a request is not answered.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Denied {
    #[error("Unauthorized")]
    Unknown,
    #[error("Forbidden: {0}")]
    Forbidden(String),
}

impl Who<'_> {
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Anyone => None,
            Self::User(name, _) => Some(name),
        }
    }

    pub fn may(&self, namespace: &str, right: Right) -> bool {
        match self {
            Self::Anyone => true,
            Self::User(_, may) => may.iter().any(|grant| {
                grant.right >= right && grant.namespace.as_deref().is_none_or(|named| named == namespace)
            }),
        }
    }

    /// Denies what they may not do.
    pub fn require(&self, namespace: &str, right: Right) -> Result<(), Denied> {
        if self.may(namespace, right) {
            return Ok(());
        }
        let (name, what) = (
            self.name().unwrap_or_default(),
            match right {
                Right::Read => "read",
                Right::Write => "write",
                Right::Impersonate => "save as another author in",
            },
        );
        Err(Denied::Forbidden(format!("{name} may not {what} {namespace}")))
    }
}

impl Access {
    /// Reads the tokens.
    pub fn new(settings: &ServeSettings) -> Result<Self, AccessError> {
        let mut users: Vec<User> = Vec::with_capacity(settings.users.len());
        for user in &settings.users {
            let token = token(user)?;
            if let Some(other) = users.iter().find(|other| other.token == token) {
                return Err(AccessError::Same(other.name.clone(), user.name.clone()));
            }
            users.push(User { name: user.name.clone(), token, may: user.may.clone() });
        }
        let hosts = match settings.listen {
            Listen::Tcp(_) => Some(settings.hosts.clone()),
            Listen::Unix(_) => None,
        };
        Ok(Self { users, hosts, sessions: Mutex::default() })
    }

    /// Finds out who asks. Denies a request that another site has made a browser send.
    pub fn who(&self, method: &Method, headers: &HeaderMap) -> Result<Who<'_>, Denied> {
        deny_other_sites(method, headers)?;
        if self.users.is_empty() {
            self.require_own_name(headers)?;
            return Ok(Who::Anyone);
        }
        let user = match bearer(headers) {
            Some(token) => self.user_with(token),
            None => {
                let user = cookie(headers).and_then(|id| self.session(id));
                // A browser adds the cookie to whatever page asks.
                if user.is_some() && !is_read(method) {
                    require_own_page(headers)?;
                }
                user
            }
        };
        let user = user.and_then(|index| self.users.get(index)).ok_or(Denied::Unknown)?;
        Ok(Who::User(&user.name, &user.may))
    }

    /// Begins a session. Returns the value of `Set-Cookie`, or `None` if no user has this token.
    pub fn log_in(&self, token: &str, is_secure: bool) -> Option<String> {
        let user = self.user_with(token)?;
        let mut bytes = [0; 32];
        rand::fill(&mut bytes).ok()?;
        let (id, now) = (HEXLOWER.encode(&bytes), Instant::now());
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| !session.is_over(now));
        if sessions.len() >= MAX_SESSIONS {
            let oldest = sessions.iter().min_by_key(|(_, session)| session.used).map(|(id, _)| id.clone());
            oldest.map(|id| sessions.remove(&id));
        }
        sessions.insert(id.clone(), Session { user, began: now, used: now });
        let secure = if is_secure { "; Secure" } else { "" };
        Some(format!("{COOKIE_NAME}={id}; Path=/; HttpOnly; SameSite=Strict{secure}"))
    }

    /// Ends the session of a request. Returns the value of `Set-Cookie`.
    pub fn log_out(&self, headers: &HeaderMap) -> String {
        if let Some(id) = cookie(headers) {
            self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        }
        format!("{COOKIE_NAME}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0")
    }

    fn user_with(&self, token: &str) -> Option<usize> {
        let hash = sha256(token.as_bytes());
        self.users.iter().position(|user| verify_slices_are_equal(&user.token, &hash).is_ok())
    }

    fn session(&self, id: &str) -> Option<usize> {
        let now = Instant::now();
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.get_mut(id)?;
        if session.is_over(now) {
            sessions.remove(id);
            return None;
        }
        session.used = now;
        Some(session.user)
    }

    /// Denies a name that leads to this host and is not ours: a page of that name's site would be let in.
    fn require_own_name(&self, headers: &HeaderMap) -> Result<(), Denied> {
        // Only HTTP/1.0 may leave it out, which no browser speaks.
        let (Some(hosts), Some(host)) = (&self.hosts, headers.get(HOST)) else { return Ok(()) };
        let host = host.to_str().unwrap_or_default().to_ascii_lowercase();
        let name = name_of(&host);
        let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        if is_address || name == "localhost" || hosts.iter().any(|own| own == name) {
            return Ok(());
        }
        Err(Denied::Forbidden(format!("this server is not {name}; name it in `hosts` of [serve]")))
    }
}

/// Denies a change that no page of ours asks for. All browsers since 2020 say where a form comes from. What
/// is sent by an older one, or by a program, might come from anywhere. [`Access::who`] has denied other
/// sites.
pub fn require_own_page(headers: &HeaderMap) -> Result<(), Denied> {
    if headers.contains_key(ORIGIN) || headers.contains_key("sec-fetch-site") {
        return Ok(());
    }
    let why = "the browser does not say which page this comes from; use a newer one, or a token";
    Err(Denied::Forbidden(why.into()))
}

/// Returns the SHA-256 of a user's token, as clients send it: without spaces around it.
fn token(user: &UserSettings) -> Result<[u8; 32], AccessError> {
    let failed = |source| AccessError::Credential { user: user.name.clone(), source };
    let token = match &user.token {
        UserToken::Sha256(hash) => *hash,
        UserToken::Secret(secret) => sha256(secret.reveal().map_err(failed)?.trim().as_bytes()),
    };
    match token == sha256(b"") {
        true => Err(AccessError::Empty(user.name.clone())),
        false => Ok(token),
    }
}

fn is_read(method: &Method) -> bool {
    [Method::GET, Method::HEAD].contains(method)
}

/// Denies what a page of another site asks for. Programs send none of these headers.
fn deny_other_sites(method: &Method, headers: &HeaderMap) -> Result<(), Denied> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("null"));
    let denied = || Err(Denied::Forbidden("the request comes from another site".into()));
    match text("sec-fetch-site") {
        None | Some("same-origin" | "none") => {}
        // A link to a page of ours.
        Some(_) if is_read(method) && text("sec-fetch-mode") == Some("navigate") => {}
        Some(_) => return denied(),
    }
    let Some(origin) = text(ORIGIN.as_str()) else { return Ok(()) };
    let origin = origin.parse::<Uri>().ok().and_then(|origin| origin.authority().map(ToString::to_string));
    match (origin, text(HOST.as_str())) {
        (Some(origin), Some(host)) if origin.eq_ignore_ascii_case(host) => Ok(()),
        _ => denied(),
    }
}

/// Returns the name of `NAME:PORT`.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut cookies =
        cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    cookies.find(|(name, _)| *name == COOKIE_NAME).map(|(_, id)| id)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;

//! What a request asks for. Pure: it looks at the method and the address alone.

use hyper::Method;
use thiserror::Error;

use crate::commits::{Key, KeyError};
use crate::text::percent_decoded;

/// How many headers of a log are sent, if the client does not say how many it wants, and at most.
const LOG_LIMIT: usize = 100;
const MAX_LOG_LIMIT: usize = 1000;

/// The methods that an address allows.
const READ_ONLY: &str = "GET, HEAD";
const READ_OR_POST: &str = "GET, HEAD, POST";

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    Public(Public),
    /// The commits of a namespace.
    Commits {
        namespace: String,
        asked: Asked,
    },
    /// A part of the page for people: the decoded segments of the path behind `/-/`, none for `/`.
    Page {
        segments: Vec<String>,
        query: Vec<(String, String)>,
    },
    /// A form of the page.
    Form {
        segments: Vec<String>,
    },
}

/// What needs no user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Public {
    Healthy,
    Metrics,
    OpenApi,
}

/// What is asked of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    Read(Read),
    Save(Save),
    /// Compares the journal with its keeper; repairs what differs if `repair`.
    Compare {
        repair: bool,
    },
}

/// What is read of the commits of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    List(ListOptions),
    Payload { key: Key, version: Option<i64> },
    Meta { key: Key, version: Option<i64> },
    Log { key: Key, before: Option<i64>, limit: usize },
}

/// The version of a key that is saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Save {
    pub key: Key,
    pub version: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// Also removed keys.
    pub all: bool,
    pub payload_utf8: bool,
    pub payload_base64: bool,
}

/// Why a request asks for nothing.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RouteError {
    #[error("Not found")]
    NotFound,
    #[error("Method not allowed; allowed: {0}")]
    Method(&'static str),
    #[error("Malformed input: {0}")]
    Malformed(String),
}

impl From<KeyError> for RouteError {
    fn from(error: KeyError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// Finds out what a request asks for. `is_namespace` tells the mounts.
pub fn route(
    method: &Method,
    path: &str,
    query: Option<&str>,
    is_namespace: impl Fn(&str) -> bool,
) -> Result<Route, RouteError> {
    let segments = segments(path)?;
    let query: Vec<(String, String)> = match query {
        Some(query) => form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        None => Vec::new(),
    };
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match &*segments {
        ["-", ours @ ..] => our_route(method, ours, query, is_namespace),
        [] if is_read(method) => Ok(Route::Page { segments: Vec::new(), query }),
        [] => Err(RouteError::Method(READ_ONLY)),
        [namespace, below @ ..] if is_namespace(namespace) => {
            let asked = match (method, below) {
                (&Method::POST, [key, version]) if *version != "meta" => Asked::Save(save(key, version)?),
                _ => Asked::Read(read(method, below, &query)?),
            };
            Ok(Route::Commits { namespace: (*namespace).to_owned(), asked })
        }
        _ => Err(RouteError::NotFound),
    }
}

fn our_route(
    method: &Method,
    segments: &[&str],
    query: Vec<(String, String)>,
    is_namespace: impl Fn(&str) -> bool,
) -> Result<Route, RouteError> {
    let read_only = |route| if is_read(method) { Ok(route) } else { Err(RouteError::Method(READ_ONLY)) };
    match segments {
        ["healthy"] => read_only(Route::Public(Public::Healthy)),
        ["metrics"] => read_only(Route::Public(Public::Metrics)),
        ["openapi.json"] => read_only(Route::Public(Public::OpenApi)),
        ["published", namespace] if is_namespace(namespace) => {
            let repair = match method {
                _ if is_read(method) => false,
                &Method::POST => true,
                _ => return Err(RouteError::Method(READ_OR_POST)),
            };
            Ok(Route::Commits { namespace: (*namespace).to_owned(), asked: Asked::Compare { repair } })
        }
        ["published", ..] => Err(RouteError::NotFound),
        _ => {
            let segments = segments.iter().map(|segment| (*segment).to_owned()).collect();
            match method {
                _ if is_read(method) => Ok(Route::Page { segments, query }),
                &Method::POST => Ok(Route::Form { segments }),
                _ => Err(RouteError::Method(READ_OR_POST)),
            }
        }
    }
}

/// Finds out what is read below a mount.
fn read(method: &Method, segments: &[&str], query: &[(String, String)]) -> Result<Read, RouteError> {
    let (read, allowed) = match segments {
        [] => (Read::List(list_options(query)?), READ_ONLY),
        [key] => (Read::Payload { key: Key::parse(key)?, version: None }, READ_ONLY),
        [key, "meta"] => (Read::Meta { key: Key::parse(key)?, version: None }, READ_ONLY),
        [key, "-", "log"] => {
            let (before, limit) = (number(query, "before")?, number(query, "limit")?);
            let limit = limit.map_or(LOG_LIMIT, |limit| usize::try_from(limit).unwrap_or(0));
            let limit = limit.clamp(1, MAX_LOG_LIMIT);
            (Read::Log { key: Key::parse(key)?, before, limit }, READ_ONLY)
        }
        [key, text] => {
            let (key, version) = (Key::parse(key)?, version(text).ok_or(RouteError::NotFound)?);
            (Read::Payload { key, version: Some(version) }, READ_OR_POST)
        }
        [key, text, "meta"] => {
            let version = version(text).ok_or(RouteError::NotFound)?;
            (Read::Meta { key: Key::parse(key)?, version: Some(version) }, READ_ONLY)
        }
        _ => return Err(RouteError::NotFound),
    };
    match is_read(method) {
        true => Ok(read),
        false => Err(RouteError::Method(allowed)),
    }
}

fn save(key: &str, text: &str) -> Result<Save, RouteError> {
    let no_number = || RouteError::Malformed(format!("version {text:?} is no number"));
    Ok(Save { key: Key::parse(key)?, version: version(text).ok_or_else(no_number)? })
}

fn is_read(method: &Method) -> bool {
    [Method::GET, Method::HEAD].contains(method)
}

/// Returns the decoded segments of a path. A slash at the end counts for nothing.
fn segments(path: &str) -> Result<Vec<String>, RouteError> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Ok(Vec::new());
    }
    path.split('/').map(decoded).collect()
}

fn decoded(segment: &str) -> Result<String, RouteError> {
    let malformed = || RouteError::Malformed(format!("{segment:?} is no part of an address"));
    percent_decoded(segment).ok_or_else(malformed)
}

/// Returns the version of an address: digits alone.
pub fn version(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn list_options(query: &[(String, String)]) -> Result<ListOptions, RouteError> {
    let mut options = ListOptions::default();
    for (name, value) in query {
        let option = match &**name {
            "all" => &mut options.all,
            "payload_utf8" => &mut options.payload_utf8,
            "payload_base64" => &mut options.payload_base64,
            _ => continue,
        };
        let wrong = || RouteError::Malformed(format!("{name}={value} is neither yes nor no"));
        *option = boolean(value).ok_or_else(wrong)?;
    }
    Ok(options)
}

/// Reads one of Rainer's booleans.
pub fn boolean(text: &str) -> Option<bool> {
    match &*text.to_ascii_lowercase() {
        "yes" | "true" | "1" => Some(true),
        "no" | "false" | "0" => Some(false),
        _ => None,
    }
}

fn number(query: &[(String, String)], name: &str) -> Result<Option<i64>, RouteError> {
    let Some((_, value)) = query.iter().find(|(found, _)| found == name) else { return Ok(None) };
    match version(value) {
        Some(number) => Ok(Some(number)),
        None => Err(RouteError::Malformed(format!("{name}={value} is no number"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(address: &str) -> Result<Route, RouteError> {
        ask(&Method::GET, address)
    }

    fn ask(method: &Method, address: &str) -> Result<Route, RouteError> {
        let (path, query) =
            address.split_once('?').map_or((address, None), |(path, query)| (path, Some(query)));
        route(method, path, query, |name| name == "diary")
    }

    fn of_diary(read: Read) -> Result<Route, RouteError> {
        asked_of_diary(Asked::Read(read))
    }

    fn asked_of_diary(asked: Asked) -> Result<Route, RouteError> {
        Ok(Route::Commits { namespace: "diary".into(), asked })
    }

    fn key(name: &str) -> Key {
        Key::parse(name).unwrap()
    }

    #[test]
    fn rainers_addresses_are_known_with_and_without_a_slash_at_the_end() {
        let list = |all, payload_base64| {
            of_diary(Read::List(ListOptions { all, payload_utf8: false, payload_base64 }))
        };
        for address in ["/diary", "/diary/", "/diary?all=no", "/diary?all=0&other=x"] {
            assert_eq!(get(address), list(false, false), "{address}");
        }
        assert_eq!(get("/diary?payload_base64=yes&all=True"), list(true, true));
        for address in ["/diary/foo", "/diary/foo/", "/diary/f%6Fo", "/diary/f%6fo"] {
            assert_eq!(get(address), of_diary(Read::Payload { key: key("foo"), version: None }));
        }
        assert_eq!(get("/diary/foo/12"), of_diary(Read::Payload { key: key("foo"), version: Some(12) }));
        assert_eq!(get("/diary/foo/meta"), of_diary(Read::Meta { key: key("foo"), version: None }));
        assert_eq!(get("/diary/foo/1/meta"), of_diary(Read::Meta { key: key("foo"), version: Some(1) }));
        let log = Read::Log { key: key("foo"), before: Some(7), limit: 3 };
        assert_eq!(get("/diary/foo/-/log?before=7&limit=3"), of_diary(log));
        let save = Save { key: key("meta"), version: 2 };
        assert_eq!(ask(&Method::POST, "/diary/meta/2"), asked_of_diary(Asked::Save(save)));
        assert_eq!(get("/diary/-"), of_diary(Read::Payload { key: key("-"), version: None }));
    }

    #[test]
    fn what_is_no_address_of_a_commit_is_refused() {
        for address in
            ["/other", "/diary/foo/bar", "/diary/foo/-1", "/diary/foo/1/2", "/diary/foo/99999999999999999999"]
        {
            assert_eq!(get(address), Err(RouteError::NotFound), "{address}");
        }
        let malformed = [
            "/diary/..",
            "/diary/%2e%2E",
            "/diary/a%2Fb",
            "/diary/%0a",
            "/diary/%ff",
            "/diary/%",
            "/diary/%zz",
        ];
        for address in
            malformed.into_iter().chain(["/diary//", "/diary?all=maybe", "/diary/foo/-/log?limit=x"])
        {
            assert!(matches!(get(address), Err(RouteError::Malformed(_))), "{address}: {:?}", get(address));
        }
        assert!(matches!(ask(&Method::POST, "/diary/foo/x"), Err(RouteError::Malformed(_))));
        for (method, address) in [
            (Method::POST, "/diary"),
            (Method::DELETE, "/diary/foo/1"),
            (Method::PUT, "/diary/foo"),
            (Method::POST, "/-/metrics"),
            (Method::POST, "/"),
        ] {
            assert!(matches!(ask(&method, address), Err(RouteError::Method(_))), "{method} {address}");
        }
    }

    #[test]
    fn what_is_no_mount_is_ours() {
        assert_eq!(get("/-/healthy"), Ok(Route::Public(Public::Healthy)));
        assert_eq!(get("/-/metrics/"), Ok(Route::Public(Public::Metrics)));
        assert_eq!(get("/"), Ok(Route::Page { segments: vec![], query: vec![] }));
        let query = vec![("q".to_owned(), "a b".to_owned())];
        assert_eq!(
            get("/-/keys/diary?q=a+b"),
            Ok(Route::Page { segments: vec!["keys".into(), "diary".into()], query })
        );
        let published = |repair| asked_of_diary(Asked::Compare { repair });
        assert_eq!(get("/-/published/diary"), published(false));
        assert_eq!(ask(&Method::POST, "/-/published/diary"), published(true));
        assert_eq!(get("/-/published/other"), Err(RouteError::NotFound));
    }
}

//! The client's end of the control socket, for `twitcher status` and other commands.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper::http::response::Parts;
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::net::UnixStream;

use super::cached::{CURRENT_UNTIL, VERSION};
use super::request::OutputPiece;
use super::routes::{FROM, RUN, RUNNING};
use crate::action::output::Piece;
use crate::text::Timestamp;

/// Longer than the daemon's own deadline for a connection (30 s), so that the daemon's error can arrive.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(35);

/// The delay between two attempts to connect while too many clients wait at the socket.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// The reason why a request got no reply, or an error.
#[derive(Debug, Error)]
pub enum ControlError {
    #[error("{}: {source}; does the daemon run? --control-socket names another path", .path.display())]
    Unreachable { path: PathBuf, source: io::Error },
    #[error(
        "{}: permission denied: this user may not use the daemon's control socket (see [control] in \
         twitcher.toml)",
        .0.display()
    )]
    Denied(PathBuf),
    /// The daemon replied with this error.
    #[error("{0}")]
    Refused(String),
    #[error("{}: {reason}", .path.display())]
    Broken { path: PathBuf, reason: String },
}

#[derive(Deserialize)]
struct Refused {
    error: String,
}

/// Sends a request to the daemon that listens at `socket`, and returns the body of the reply. `query`
/// contains names and values of parameters.
pub async fn ask(
    socket: &Path,
    method: Method,
    resource: &str,
    query: &[(&str, &str)],
) -> Result<Bytes, ControlError> {
    ask_with_head(socket, method, resource, query).await.map(|(_, body)| body)
}

/// Returns what a run has printed after its first `from` bytes, also while it runs.
pub async fn output_since(socket: &Path, run: &str, from: u64) -> Result<OutputPiece, ControlError> {
    let query = [("run", run), ("from", &from.to_string())];
    let (head, bytes) = ask_with_head(socket, Method::GET, "output", &query).await?;
    let field = |name: &str| head.get(name).and_then(|value| value.to_str().ok());
    let found = || {
        let piece = Piece { from: field(FROM)?.parse().ok()?, bytes: bytes.to_vec() };
        Some(OutputPiece { run: field(RUN)?.to_owned(), piece, is_running: field(RUNNING)?.parse().ok()? })
    };
    found().ok_or_else(|| ControlError::Broken {
        path: socket.to_owned(),
        reason: "the daemon is older than this command, and cannot show what a run prints".to_owned(),
    })
}

/// What the daemon's cache has of a node.
#[derive(Debug)]
pub struct CachedData {
    /// The node's version and its data. `None` if there is no such node.
    pub data: Option<(i64, Bytes)>,
    /// Until when this is known to have been so. `None` if it is.
    pub current_until: Option<SystemTime>,
}

/// Returns the last data of a node in the store with the URL `store`; `None` if the daemon does not follow
/// it.
pub async fn cached(socket: &Path, store: &str, node: &str) -> Result<Option<CachedData>, ControlError> {
    let query = [("store", store), ("node", node)];
    let (head, body) = converse(socket, Method::GET, "cached", &query).await?;
    let field = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let data = match head.status {
        StatusCode::OK => {
            let version = field(VERSION).and_then(|version| version.parse().ok());
            let without = || broken(socket, "it replied without a version".to_owned());
            Some((version.ok_or_else(without)?, body))
        }
        StatusCode::GONE => None,
        // A daemon that is older than this command has no cache.
        StatusCode::NOT_FOUND => return Ok(None),
        _ => return Err(refused(socket, &head, &body)),
    };
    let current_until = match field(CURRENT_UNTIL) {
        None => None,
        Some(time) => {
            let wrong = || broken(socket, format!("it replied with the time {time:?}"));
            Some(Timestamp::parse(time).ok_or_else(wrong)?.0)
        }
    };
    Ok(Some(CachedData { data, current_until }))
}

async fn ask_with_head(
    socket: &Path,
    method: Method,
    resource: &str,
    query: &[(&str, &str)],
) -> Result<(HeaderMap, Bytes), ControlError> {
    let (head, body) = converse(socket, method, resource, query).await?;
    if head.status == StatusCode::OK {
        return Ok((head.headers, body));
    }
    Err(refused(socket, &head, &body))
}

/// Returns the error in a reply.
fn refused(socket: &Path, head: &Parts, body: &[u8]) -> ControlError {
    match serde_json::from_slice(body) {
        Ok(Refused { error }) => ControlError::Refused(error),
        Err(_) => broken(socket, format!("it replied {}", head.status)),
    }
}

fn broken(socket: &Path, reason: String) -> ControlError {
    ControlError::Broken { path: socket.to_owned(), reason }
}

async fn converse(
    socket: &Path,
    method: Method,
    resource: &str,
    query: &[(&str, &str)],
) -> Result<(Parts, Bytes), ControlError> {
    let broken = |reason| broken(socket, reason);
    let cut = |error: hyper::Error| broken(format!("{error}; try again"));
    let conversation = async {
        let stream = connect(socket).await.map_err(|source| match source.kind() {
            ErrorKind::PermissionDenied => ControlError::Denied(socket.to_owned()),
            _ => ControlError::Unreachable { path: socket.to_owned(), source },
        })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(cut)?;
        tokio::spawn(connection);
        let query: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let uri = format!("/v1/{resource}?{query}");
        let request =
            Request::builder().method(method).uri(uri.trim_end_matches('?')).header("host", "twitcher");
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| broken(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(cut)?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(cut)?.to_bytes();
        Ok((head, body))
    };
    let reply = tokio::time::timeout(REQUEST_TIMEOUT, conversation).await;
    reply.unwrap_or_else(|_| Err(broken(format!("no reply within {REQUEST_TIMEOUT:?}"))))
}

async fn connect(socket: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(socket).await {
            Err(error) if error.kind() == ErrorKind::WouldBlock => tokio::time::sleep(RETRY_DELAY).await,
            connected => return connected,
        }
    }
}

/// Parses a reply that is one JSON object.
pub fn object<T: DeserializeOwned>(socket: &Path, reply: &[u8]) -> Result<T, ControlError> {
    serde_json::from_slice(reply)
        .map_err(|error| ControlError::Broken { path: socket.to_owned(), reason: error.to_string() })
}

/// Parses a reply of one JSON object per line.
pub fn lines<T: DeserializeOwned>(socket: &Path, reply: &[u8]) -> Result<Vec<T>, ControlError> {
    reply
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| object(socket, line))
        .collect()
}

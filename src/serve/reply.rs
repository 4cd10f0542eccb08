//! Replies, as the server sends them.

use std::fmt::Display;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use super::memory::Busy;
use crate::commits::JournalError;
use crate::model::Commit;

/// The body of a reply. An error in it cuts the connection, so that nobody takes a part for the whole.
pub type Body = UnsyncBoxBody<Bytes, JournalError>;

pub type Reply = Response<Body>;

const TEXT: &str = "text/plain; charset=UTF-8";
/// When a client may ask again that there was no memory for, in seconds: slow clients are dropped by then.
const RETRY_AFTER: &str = "2";

const JSON: &str = "application/json; charset=UTF-8";

pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Makes a reply whose content nobody caches or takes for something else than it is.
pub fn reply(status: StatusCode, content_type: &'static str, body: Body) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Another site's page cannot include the content, whatever it takes it for.
    let policy = HeaderName::from_static("cross-origin-resource-policy");
    headers.insert(policy, HeaderValue::from_static("same-origin"));
    // A payload that is opened as a page does nothing.
    let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; sandbox");
    headers.insert(header::CONTENT_SECURITY_POLICY, nothing);
    reply
}

pub fn text(status: StatusCode, text: impl Display) -> Reply {
    reply(status, TEXT, full(text.to_string()))
}

pub fn as_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| unreachable!("all keys are texts"))
}

/// JSON, which ends in `\r\n` as Rainer's does.
pub fn json(status: StatusCode, value: &impl serde::Serialize) -> Reply {
    let mut text = as_json(value);
    text.push_str("\r\n");
    reply(status, JSON, full(text))
}

pub fn streamed_json(body: Body) -> Reply {
    reply(StatusCode::OK, JSON, body)
}

/// The payload of a commit, byte for byte.
pub fn payload(payload: Vec<u8>) -> Reply {
    let content_type = if std::str::from_utf8(&payload).is_ok() { TEXT } else { "application/octet-stream" };
    reply(StatusCode::OK, content_type, full(payload))
}

/// The reply while the journal does not do what is asked, or about a commit that it cannot read.
pub fn unavailable(error: &JournalError) -> Reply {
    match error {
        JournalError::Corrupt(corrupt) => text(StatusCode::INTERNAL_SERVER_ERROR, corrupt),
        JournalError::Unavailable(_) | JournalError::Refused(_) => {
            text(StatusCode::SERVICE_UNAVAILABLE, format_args!("Journal is not available: {error}"))
        }
    }
}

/// The reply while there is no memory for one.
pub fn busy(busy: Busy) -> Reply {
    let mut reply = text(StatusCode::SERVICE_UNAVAILABLE, format_args!("Busy: {busy}"));
    reply.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
    reply
}

/// Adds Rainer's headers of a commit.
pub fn with_commit(mut reply: Reply, commit: &Commit) -> Reply {
    let fields = [
        ("x-rainer-key", commit.key.clone()),
        ("x-rainer-version", commit.version.to_string()),
        ("x-rainer-author", commit.author.clone()),
        ("x-rainer-comment", commit.comment.clone()),
        ("x-rainer-modified-time", commit.mtime.clone()),
        ("x-rainer-empty", if commit.empty { "Yes" } else { "No" }.to_owned()),
    ];
    for (name, value) in fields {
        // The metadata has what a header cannot.
        let value: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            reply.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    reply
}

//! Rainer's HTTP interface to the commits of a namespace, and the log of a key, which is ours.

use std::sync::Arc;

use hyper::body::Body as HttpBody;
use hyper::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Request, StatusCode};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::access::{Denied, Who};
use super::body::{self, BodyError, size};
use super::listing::{self, ListError};
use super::memory::{Busy, FREE, Share};
use super::namespace::{Draft, Namespace, Saved};
use super::reply::{Reply, busy, json, payload, text, unavailable, with_commit};
use super::route::{Read, Save, boolean};
use crate::commits::{Conflict, FullCommit, JournalError, Key};
use crate::model::Commit;
use crate::settings::Right;

/// The longest time, in bytes: nanoseconds, an offset, and more than anybody needs.
const MAX_TIME: usize = 64;

/// What the header of a commit takes at most, as a row and as JSON.
const HEADER: usize = 3 * (2 * Commit::MAX_AUTHOR + Commit::MAX_COMMENT);

/// Why a request is not answered as it was asked.
pub enum Problem {
    Denied(Denied),
    Malformed(String),
    NotFound,
    TooLarge,
    Busy(Busy),
    Unavailable(JournalError),
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

impl From<JournalError> for Problem {
    fn from(error: JournalError) -> Self {
        Self::Unavailable(error)
    }
}

impl From<Busy> for Problem {
    fn from(busy: Busy) -> Self {
        Self::Busy(busy)
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::TooLarge,
            BodyError::Busy(busy) => Self::Busy(busy),
            BodyError::Broken(why) => Self::Malformed(format!("Malformed input: {why}")),
        }
    }
}

impl From<ListError> for Problem {
    fn from(error: ListError) -> Self {
        match error {
            ListError::Busy(busy) => Self::Busy(busy),
            ListError::Journal(error) => Self::Unavailable(error),
        }
    }
}

impl Problem {
    pub fn reply(self) -> Reply {
        match self {
            Self::Denied(Denied::Unknown) => {
                let mut reply = text(StatusCode::UNAUTHORIZED, Denied::Unknown);
                reply.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                reply
            }
            Self::Denied(denied) => text(StatusCode::FORBIDDEN, denied),
            Self::Malformed(why) => text(StatusCode::BAD_REQUEST, why),
            Self::NotFound => text(StatusCode::NOT_FOUND, "Key not found"),
            Self::TooLarge => {
                let why = format_args!("Payload too large: {} bytes is the most", Commit::MAX_PAYLOAD);
                text(StatusCode::PAYLOAD_TOO_LARGE, why)
            }
            Self::Busy(why) => busy(why),
            Self::Unavailable(error) => unavailable(&error),
        }
    }
}

/// Reads what is asked for.
pub async fn read(
    namespace: &Namespace,
    read: Read,
    who: Who<'_>,
    share: &Arc<Share>,
) -> Result<Reply, Problem> {
    who.require(&namespace.name, Right::Read)?;
    match read {
        Read::List(options) => Ok(listing::send(Arc::clone(&namespace.journal), options, share).await?),
        Read::Payload { key, version } => {
            let make = || async {
                let commit = commit(namespace, &key, version).await?;
                Ok(with_commit(payload(commit.payload), &commit.header))
            };
            share.make(Commit::MAX_PAYLOAD, make, size).await
        }
        Read::Meta { key, version } => {
            let make = || async {
                let FullCommit { header, .. } = commit(namespace, &key, version).await?;
                Ok(with_commit(json(StatusCode::OK, &header), &header))
            };
            share.make(Commit::MAX_PAYLOAD, make, size).await
        }
        Read::Log { key, before, limit } => {
            let make = || async {
                let log = namespace.journal.log(&key, before, limit).await?;
                // No commit before the first one is no missing key.
                if log.is_empty() && before.is_none() {
                    return Err(Problem::NotFound);
                }
                Ok(json(StatusCode::OK, &log))
            };
            share.make(limit * HEADER, make, size).await
        }
    }
}

async fn commit(namespace: &Namespace, key: &Key, version: Option<i64>) -> Result<FullCommit, Problem> {
    namespace.journal.commit(key, version).await?.ok_or(Problem::NotFound)
}

/// Saves what the request has, if the client may.
pub async fn save<B>(
    namespace: &Namespace,
    Save { key, version }: Save,
    who: Who<'_>,
    request: Request<B>,
    share: &Arc<Share>,
) -> Result<Reply, Problem>
where
    B: HttpBody + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    who.require(&namespace.name, Right::Write)?;
    let (parts, body) = request.into_parts();
    let headers = SaveHeaders::read(&parts.headers, &key, version)?;
    let author = author(headers.author, namespace, who)?;
    let payload = body::read(body, Commit::MAX_PAYLOAD, share).await?;
    if namespace.validator.is_some() && !headers.empty {
        // It gets a copy, and the old payload.
        share.resize(FREE + 2 * payload.len() + Commit::MAX_PAYLOAD).await?;
    }
    if headers.empty && !payload.is_empty() {
        return Err(Problem::Malformed("Empty payload required with X-Rainer-Empty".into()));
    }
    let provided = (key.to_string(), version);
    let SaveHeaders { comment, mtime, empty, .. } = headers;
    let draft = Draft { key, version, author, comment, mtime, empty, payload };
    Ok(match namespace.save(draft, share).await? {
        Saved::Kept(header) => with_commit(json(StatusCode::OK, &header), &header),
        Saved::Conflict(conflict) => conflict_reply(&provided.0, provided.1, conflict),
        Saved::Refused(refusal) => text(StatusCode::UNPROCESSABLE_ENTITY, refusal),
    })
}

fn conflict_reply(key: &str, provided: i64, Conflict { expected }: Conflict) -> Reply {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Versions<'a> {
        key: &'a str,
        expected_version: i64,
        provided_version: i64,
    }
    #[derive(Serialize)]
    struct Told<'a> {
        conflict: Versions<'a>,
    }
    let conflict = Versions { key, expected_version: expected, provided_version: provided };
    json(StatusCode::CONFLICT, &Told { conflict })
}

/// Who is the author: the user, whom no header can change without the right to it.
fn author(header: Option<String>, namespace: &Namespace, who: Who<'_>) -> Result<String, Problem> {
    match (who.name(), header) {
        (None, Some(author)) => Ok(author),
        (None, None) => Err(Problem::Malformed("Missing header: X-Rainer-Author".into())),
        (Some(_), Some(author)) if who.may(&namespace.name, Right::Impersonate) => Ok(author),
        (Some(name), _) => Ok(name.to_owned()),
    }
}

/// What the headers of a save say.
struct SaveHeaders {
    author: Option<String>,
    comment: String,
    mtime: Option<String>,
    empty: bool,
}

impl SaveHeaders {
    fn read(headers: &HeaderMap, key: &Key, version: i64) -> Result<Self, Problem> {
        let malformed = |text: &str| Problem::Malformed(text.to_owned());
        if header(headers, "x-rainer-key").is_some_and(|sent| sent != key.as_str()) {
            return Err(malformed("X-Rainer-Key must match URL key, or be omitted"));
        }
        let other = |sent: String| sent.trim().parse::<i64>() != Ok(version);
        if header(headers, "x-rainer-version").is_some_and(other) {
            return Err(malformed("X-Rainer-Version must match URL version, or be omitted"));
        }
        let author = header(headers, "x-rainer-author").filter(|author| !author.is_empty());
        if author.as_ref().is_some_and(|author| author.len() > Commit::MAX_AUTHOR || has_control(author)) {
            return Err(malformed("Malformed header: X-Rainer-Author"));
        }
        let comment = header(headers, "x-rainer-comment").unwrap_or_default();
        if comment.len() > Commit::MAX_COMMENT || has_control(&comment) {
            return Err(malformed("Malformed header: X-Rainer-Comment"));
        }
        let mtime = header(headers, "x-rainer-modified-time");
        // RFC 3339 has no limit on the digits of a second.
        let is_time =
            |mtime: &String| mtime.len() <= MAX_TIME && OffsetDateTime::parse(mtime, &Rfc3339).is_ok();
        if !mtime.as_ref().is_none_or(is_time) {
            return Err(malformed("Malformed header: X-Rainer-Modified-Time"));
        }
        let empty = header(headers, "x-rainer-empty").map(|text| boolean(text.trim()));
        let Some(empty) = empty.unwrap_or(Some(false)) else {
            return Err(malformed("Malformed header: X-Rainer-Empty"));
        };
        Ok(Self { author, comment, mtime, empty })
    }
}

pub fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// Returns the text of a header. What is no UTF-8 is Latin-1, in which Python sends headers.
fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let bytes = headers.get(name)?.as_bytes();
    Some(match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    })
}

#[cfg(test)]
#[path = "api_tests.rs"]
mod tests;

//! The reply with the last data of a node, from the cache.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::request::{REPLY_TIMEOUT, RequestError};
use super::response::{Body, HttpError, bad_request, json_object, respond, whole};
use crate::cache::{Answer, CacheReader, CachedNode};
use crate::model::{Blob, Content, NodePath, State};
use crate::sys::open_blob;
use crate::text::{Timestamp, printable};

/// The fields in the head of the reply: the node's version, and until when the content is known to have been
/// current. Without the latter, it is.
pub const VERSION: &str = "twitcher-version";
pub const CURRENT_UNTIL: &str = "twitcher-current-until";

/// How many replies there are at once. A content may have 16 MiB, and is copied for its reply. The next
/// client waits.
const MAX_REPLIES: usize = 4;

/// How much of a content is read at once.
const PIECE_BYTES: usize = 64 << 10;

/// Answers from the cache, if the daemon has one.
pub(super) struct Cached {
    reader: Option<CacheReader>,
    replies: Arc<Semaphore>,
}

impl Cached {
    pub(super) fn new(reader: Option<CacheReader>) -> Self {
        Self { reader, replies: Arc::new(Semaphore::new(MAX_REPLIES)) }
    }

    /// Makes the reply for a node of the store with this URL.
    pub(super) async fn answer(&self, store: String, node: &str) -> Result<Response<Body>, HttpError> {
        let path = NodePath::parse(node).map_err(|error| bad_request(error.to_string()))?;
        let name = format!("node {path} in {}", printable(store.as_bytes()));
        let unavailable = |error: String| HttpError::from(RequestError::Unavailable(error));
        let unknown = || RequestError::Unknown(format!("the daemon follows no data of {name}")).into();
        let Some(reader) = &self.reader else { return Err(unknown()) };
        let found = async {
            let permit = self.replies.clone().acquire_owned().await;
            let ended = || unavailable("the daemon has ended".to_owned());
            let permit = permit.map_err(|_| ended())?;
            Ok((permit, reader.ask(store, path).await.map_err(|_| ended())?))
        };
        let found = timeout(REPLY_TIMEOUT, found).await;
        let (permit, answer) =
            found.unwrap_or_else(|_| Err(unavailable("the cache does not answer".to_owned())))?;
        match answer {
            Answer::Found(found) => {
                reply(found, permit, &name).map_err(|error| unavailable(error.to_string()))
            }
            Answer::Unknown => Err(unknown()),
            Answer::Unusable(why) => Err(unavailable(why)),
        }
    }
}

fn reply(found: CachedNode, permit: OwnedSemaphorePermit, name: &str) -> io::Result<Response<Body>> {
    let CachedNode { state, current_until } = found;
    let (mut response, version) = match &state {
        State::Present { version, content: Content::Data(data), .. } => {
            (respond(StatusCode::OK, "application/octet-stream", body(data, permit)?), Some(version.number))
        }
        State::Absent | State::Present { .. } => {
            (json_object(StatusCode::GONE, &json!({ "error": format!("{name} does not exist") })), None)
        }
    };
    let fields = [
        (VERSION, version.map(|version| version.to_string())),
        (CURRENT_UNTIL, current_until.map(|time| Timestamp(time).to_string())),
    ];
    let fields = fields.into_iter().filter_map(|(name, value)| {
        Some((HeaderName::from_static(name), HeaderValue::from_str(&value?).ok()?))
    });
    response.headers_mut().extend(fields);
    Ok(response)
}

/// Makes a body of the content, which is read as the client reads. The permit is held until then.
fn body(data: &Blob, permit: OwnedSemaphorePermit) -> io::Result<Body> {
    if data.is_empty() {
        return Ok(whole(Bytes::new()));
    }
    let pieces = pieces(open_blob(data)?, permit);
    Ok(BodyExt::boxed_unsync(StreamBody::new(pieces)))
}

fn pieces(
    file: File,
    permit: OwnedSemaphorePermit,
) -> impl Stream<Item = io::Result<Frame<Bytes>>> + Send + 'static {
    stream::unfold(Some((file, permit)), async |rest| {
        let (mut file, permit) = rest?;
        let mut piece = vec![0; PIECE_BYTES];
        // The file lies in memory.
        match file.read(&mut piece) {
            Ok(0) => None,
            Ok(length) => {
                piece.truncate(length);
                Some((Ok(Frame::data(piece.into())), Some((file, permit))))
            }
            Err(error) => Some((Err(error), None)),
        }
    })
}

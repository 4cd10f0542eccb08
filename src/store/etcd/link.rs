//! One connection to a member: HTTP/2, with calls of gRPC on it.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame as HttpFrame, Incoming};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::header::HeaderValue;
use hyper::rt::Executor;
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prost::Message;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, spawn_local};

use super::wire::elements::{self, ReadError, Reply};
use super::wire::frame::{Frame, Frames, frame};
use super::wire::status::Status;
use crate::store::memory;

/// How much a server may send before it is read: in one reply or stream, and in all of them.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// A connection, encrypted or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// A connection. It ends when this is dropped.
pub(super) struct Link {
    sender: SendRequest<Outgoing>,
    task: JoinHandle<()>,
    ended: Arc<OnceLock<String>>,
    /// `http://HOST:PORT`, or with `https`.
    origin: String,
    /// What shows who we are, if somebody logs in.
    pub(super) token: Option<Rc<HeaderValue>>,
}

/// Why a call failed.
#[derive(Debug, Error)]
pub(super) enum CallError {
    #[error("{0}")]
    Status(Status),
    /// The reply has so many bytes, which are more than there is room for.
    #[error("the reply has {0} bytes, for which there is no room")]
    TooLong(u64),
    /// The connection or the reply ended, for this reason.
    #[error("{0}")]
    Lost(String),
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Link {
    /// Begins to speak HTTP/2. `origin` is the URL of the server.
    pub(super) async fn open(stream: Box<dyn Stream>, origin: String) -> Result<Self, CallError> {
        let mut builder = Builder::new(LocalTasks);
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        let (sender, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(|error| CallError::Lost(chain(&error)))?;
        let ended = Arc::new(OnceLock::new());
        let note = Arc::clone(&ended);
        let task = spawn_local(async move {
            let reason = match connection.await {
                Ok(()) => "the server closed it".to_owned(),
                Err(error) => chain(&error),
            };
            let _ = note.set(reason);
        });
        Ok(Self { sender, task, ended, origin, token: None })
    }

    /// Makes a call, and waits for its reply of at most `limit` bytes.
    pub(super) async fn call<R: Reply>(
        &self,
        method: &str,
        request: &impl Message,
        limit: u64,
    ) -> Result<R, CallError> {
        let body = Outgoing::Once(Some(frame(request)));
        let response = self.send(method, body, false)?.await?;
        let (headers, mut body) = accept(response)?;
        let (mut frames, mut message, mut trailers) = (Frames::new(limit), None, None);
        while let Some(part) = body.frame().await {
            match part.map_err(|error| self.lost(&error))?.into_data() {
                Ok(data) => {
                    frames.add(data);
                    // A reply is copied once more when it is used.
                    let fits = |length: u64| memory::room_for(2 * length).is_ok();
                    while let Some(frame) =
                        frames.next(fits).map_err(|error| CallError::Lost(error.to_string()))?
                    {
                        match frame {
                            Frame::Whole(bytes) => message = Some(bytes),
                            Frame::TooLong { length, .. } => return Err(CallError::TooLong(length)),
                        }
                    }
                    if let Some(length) = frames.too_long() {
                        return Err(CallError::TooLong(length));
                    }
                }
                Err(part) => trailers = part.into_trailers().ok(),
            }
        }
        end_of(&headers, trailers.as_ref())?;
        let message = message.ok_or_else(|| CallError::Lost("a reply is empty".to_owned()))?;
        elements::read(message).map_err(|error| match error {
            ReadError::Malformed => CallError::Lost("a reply cannot be read".to_owned()),
            ReadError::NoRoom(bytes) => CallError::TooLong(bytes),
        })
    }

    /// Opens a stream in both directions. The server may end it whenever there is no leader.
    pub(super) fn stream(&self, method: &str, limit: u64) -> Result<Duplex, CallError> {
        let (requests, waiting) = unbounded_channel();
        let response = self.send(method, Outgoing::Stream(waiting), true)?;
        let state = StreamState::Opening(Box::pin(response));
        Ok(Duplex { requests, state, frames: Frames::new(limit), ended: Arc::clone(&self.ended) })
    }

    fn send(
        &self,
        method: &str,
        body: Outgoing,
        needs_leader: bool,
    ) -> Result<impl Future<Output = Result<hyper::Response<Incoming>, CallError>> + use<>, CallError> {
        let mut request = Request::post(format!("{}/etcdserverpb.{method}", self.origin))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("user-agent", concat!("twitcher/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = &self.token {
            request = request.header("token", HeaderValue::clone(token));
        }
        if needs_leader {
            request = request.header("hasleader", "true");
        }
        let request = request.body(body).map_err(|error| CallError::Lost(error.to_string()))?;
        let response = self.sender.clone().send_request(request);
        let ended = Arc::clone(&self.ended);
        Ok(async move { response.await.map_err(|error| lost(&ended, &error)) })
    }

    fn lost(&self, error: &hyper::Error) -> CallError {
        lost(&self.ended, error)
    }
}

/// Says why the connection ended rather than what that did to one call.
fn lost(ended: &OnceLock<String>, error: &hyper::Error) -> CallError {
    CallError::Lost(ended.get().cloned().unwrap_or_else(|| chain(error)))
}

fn accept(response: hyper::Response<Incoming>) -> Result<(HeaderMap, Incoming), CallError> {
    let (parts, body) = response.into_parts();
    if parts.status != StatusCode::OK {
        return Err(CallError::Lost(format!("what answers there is no etcd: it says {}", parts.status)));
    }
    Ok((parts.headers, body))
}

/// Returns how a reply or a stream ended, which trailers say, or the headers if there is nothing else.
fn end_of(headers: &HeaderMap, trailers: Option<&HeaderMap>) -> Result<(), CallError> {
    match trailers.and_then(Status::of).or_else(|| Status::of(headers)) {
        Some(status) => status.map_err(CallError::Status),
        None => Err(CallError::Lost("a reply was cut off".to_owned())),
    }
}

/// A stream of messages in both directions. It ends when this is dropped.
pub(super) struct Duplex {
    requests: UnboundedSender<Bytes>,
    state: StreamState,
    frames: Frames,
    ended: Arc<OnceLock<String>>,
}

type Opening = Pin<Box<dyn Future<Output = Result<hyper::Response<Incoming>, CallError>>>>;

enum StreamState {
    /// The server says nothing before its first message.
    Opening(Opening),
    Open(HeaderMap, Incoming),
}

impl Duplex {
    pub(super) fn send(&self, message: &impl Message) {
        // Fails only when the stream has ended, and then that is said to who reads it.
        let _ = self.requests.send(frame(message));
    }

    /// Waits for the next message. Can be dropped at any time.
    pub(super) async fn next(&mut self) -> Result<Frame, CallError> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(frame);
            }
            match &mut self.state {
                StreamState::Opening(opening) => {
                    let (headers, body) = accept(opening.await?)?;
                    self.state = StreamState::Open(headers, body);
                }
                StreamState::Open(headers, body) => match body.frame().await {
                    None => {
                        end_of(headers, None)?;
                        return Err(CallError::Lost("the server ended the stream".to_owned()));
                    }
                    Some(part) => match part.map_err(|error| lost(&self.ended, &error))?.into_data() {
                        Ok(data) => self.frames.add(data),
                        Err(part) => {
                            end_of(headers, part.into_trailers().ok().as_ref())?;
                            return Err(CallError::Lost("the server ended the stream".to_owned()));
                        }
                    },
                },
            }
        }
    }

    /// Whether a part of a message has arrived, and the rest has not.
    pub(super) fn is_inside(&self) -> bool {
        self.frames.is_inside()
    }

    /// Returns the next message if it is there already.
    pub(super) fn buffered(&mut self) -> Result<Option<Frame>, CallError> {
        let fits = |length: u64| memory::room_for(2 * length).is_ok();
        self.frames.next(fits).map_err(|error| CallError::Lost(error.to_string()))
    }
}

/// What we send: one message, or one after the other.
enum Outgoing {
    Once(Option<Bytes>),
    Stream(UnboundedReceiver<Bytes>),
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<HttpFrame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Once(message) => Poll::Ready(message.take().map(|message| Ok(HttpFrame::data(message)))),
            Self::Stream(messages) => {
                messages.poll_recv(context).map(|message| message.map(|message| Ok(HttpFrame::data(message))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Once(None))
    }
}

/// Runs the tasks of a connection on the thread that made it.
#[derive(Clone)]
struct LocalTasks;

impl<F: Future<Output = ()> + 'static> Executor<F> for LocalTasks {
    fn execute(&self, task: F) {
        spawn_local(task);
    }
}

/// Returns an error with those that caused it.
fn chain(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause: Option<&dyn Error> = error.source();
    while let Some(error) = cause {
        let own = error.to_string();
        if !text.ends_with(&own) {
            text = format!("{text}: {own}");
        }
        cause = error.source();
    }
    text
}

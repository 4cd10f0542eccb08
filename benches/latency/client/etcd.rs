//! The least of an etcd client, on the same crates as the daemon's: hyper and prost.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::Result;

pub struct Client {
    sender: SendRequest<Messages>,
    origin: String,
    watching: Watching,
}

/// The stream of all watches.
struct Watching {
    requests: UnboundedSender<Bytes>,
    watches: Watches,
    last: AtomicI64,
    /// Watches begin with what is after it.
    revision: i64,
}

type Watches = Arc<Mutex<HashMap<i64, Watch>>>;

struct Watch {
    confirm: Option<oneshot::Sender<()>>,
    changes: UnboundedSender<()>,
}

/// What is sent in one request. It ends with its sender.
struct Messages(UnboundedReceiver<Bytes>);

impl Body for Messages {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        self.get_mut().0.poll_recv(context).map(|message| message.map(|message| Ok(Frame::data(message))))
    }
}

#[derive(Clone, PartialEq, Message)]
struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct CompactionRequest {
    #[prost(int64, tag = "1")]
    revision: i64,
}

/// The part of every reply that matters here.
#[derive(Clone, PartialEq, Message)]
struct Reply {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
}

#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(int64, tag = "3")]
    revision: i64,
}

#[derive(Clone, PartialEq, Message)]
struct WatchRequest {
    #[prost(message, optional, tag = "1")]
    create: Option<WatchCreate>,
}

#[derive(Clone, PartialEq, Message)]
struct WatchCreate {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(int64, tag = "3")]
    start_revision: i64,
    #[prost(int64, tag = "7")]
    watch: i64,
}

#[derive(Clone, PartialEq, Message)]
struct WatchResponse {
    #[prost(int64, tag = "2")]
    watch: i64,
    #[prost(bool, tag = "3")]
    created: bool,
    #[prost(bytes = "bytes", repeated, tag = "11")]
    events: Vec<Bytes>,
}

impl Client {
    pub async fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let origin = format!("http://{address}");
        let revision = call(&sender, &origin, "KV/Range", &read("/")).await?;
        let (requests, messages) = unbounded_channel();
        let watches = Watches::default();
        let opening = sender.clone().send_request(request(&origin, "Watch/Watch", Messages(messages))?);
        let owners = Arc::clone(&watches);
        tokio::spawn(async move {
            if let Ok(response) = opening.await {
                let _ = hear(response, &owners).await;
            }
            owners.lock().expect("no panic").clear();
        });
        let watching = Watching { requests, watches, last: AtomicI64::new(0), revision };
        Ok(Self { sender, origin, watching })
    }

    pub async fn put(&self, path: &str, data: &[u8]) -> Result<()> {
        let value = Bytes::copy_from_slice(data);
        let put = PutRequest { value, ..read(path) };
        call(&self.sender, &self.origin, "KV/Put", &put).await.map(drop)
    }

    pub async fn compact(&self) -> Result<()> {
        let revision = call(&self.sender, &self.origin, "KV/Range", &read("/")).await?;
        let compaction = CompactionRequest { revision };
        call(&self.sender, &self.origin, "KV/Compact", &compaction).await.map(drop)
    }

    /// Watches what changes after this client was connected.
    pub async fn watch(&self, path: &str) -> Result<UnboundedReceiver<()>> {
        self.watch_after(path, self.watching.revision).await
    }

    pub async fn watch_from_now(&self, path: &str) -> Result<UnboundedReceiver<()>> {
        let revision = call(&self.sender, &self.origin, "KV/Range", &read("/")).await?;
        self.watch_after(path, revision).await
    }

    async fn watch_after(&self, path: &str, revision: i64) -> Result<UnboundedReceiver<()>> {
        let Watching { requests, watches, last, .. } = &self.watching;
        let watch = last.fetch_add(1, Ordering::Relaxed) + 1;
        let ((confirm, confirmed), (changes, changed)) = (oneshot::channel(), unbounded_channel());
        watches.lock().expect("no panic").insert(watch, Watch { confirm: Some(confirm), changes });
        let key = Bytes::copy_from_slice(path.as_bytes());
        let create = WatchCreate { key, start_revision: revision + 1, watch };
        requests.send(frame(&WatchRequest { create: Some(create) }))?;
        confirmed.await?;
        Ok(changed)
    }
}

/// A request with only a key, as that to read it.
fn read(key: &str) -> PutRequest {
    PutRequest { key: Bytes::copy_from_slice(key.as_bytes()), value: Bytes::new() }
}

/// Makes a call. Returns the store's revision.
async fn call(
    sender: &SendRequest<Messages>,
    origin: &str,
    method: &str,
    message: &impl Message,
) -> Result<i64> {
    let (requests, messages) = unbounded_channel();
    requests.send(frame(message))?;
    drop(requests);
    let response = sender.clone().send_request(request(origin, method, Messages(messages))?).await?;
    let reply = response.into_body().collect().await?;
    let failure = reply.trailers().and_then(|trailers| trailers.get("grpc-message")).cloned();
    let bytes = reply.to_bytes();
    let message = bytes.get(HEAD..).ok_or_else(|| format!("etcd does not answer {method}: {failure:?}"))?;
    Ok(Reply::decode(message)?.header.unwrap_or_default().revision)
}

fn request(origin: &str, method: &str, messages: Messages) -> Result<Request<Messages>> {
    let request = Request::post(format!("{origin}/etcdserverpb.{method}"));
    let request = request.header("content-type", "application/grpc").header("te", "trailers");
    Ok(request.body(messages)?)
}

/// Takes what the stream of watches says, until it ends.
async fn hear(response: Response<Incoming>, watches: &Watches) -> Result<()> {
    let (mut body, mut received) = (response.into_body(), Vec::new());
    while let Some(part) = body.frame().await {
        let Ok(data) = part?.into_data() else { return Ok(()) };
        received.extend_from_slice(&data);
        let mut taken = 0;
        while let Some(message) = message(&received[taken..]) {
            taken += HEAD + message.len();
            let WatchResponse { watch, created, events } = WatchResponse::decode(message)?;
            let mut watches = watches.lock().expect("no panic");
            let Some(watch) = watches.get_mut(&watch) else { continue };
            if created && let Some(confirm) = watch.confirm.take() {
                let _ = confirm.send(());
            }
            for _ in events {
                let _ = watch.changes.send(());
            }
        }
        received.drain(..taken);
    }
    Ok(())
}

/// The bytes before a message: whether it is compressed, and its length.
const HEAD: usize = 5;

fn frame(message: &impl Message) -> Bytes {
    let length = u32::try_from(message.encoded_len()).expect("small");
    [&[0][..], &length.to_be_bytes(), &message.encode_to_vec()].concat().into()
}

/// The message at the beginning of `received`, if all of it is there.
fn message(received: &[u8]) -> Option<&[u8]> {
    let length = received.get(1..HEAD)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    received.get(HEAD..HEAD + length)
}

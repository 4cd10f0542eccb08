//! An etcd server that lies when it is told to. It shares no code with the program under test, except for
//! HTTP/2.
//!
//! It serves what a daemon asks for: reads of keys, and watches. A test can put a [`Lie`] in the place of any
//! reply, send any message on all streams of watches, and have any bytes in the place of HTTP/2.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread;

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::HeaderValue;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::etcd_messages::{Field, bytes, event, events, fields, header, key_value, number, range};

/// Decides about a request. If it returns true, it has dealt with the request, and no honest reply follows.
pub type Lie = dyn Fn(&Call, &Asked) -> bool + Send + Sync;

/// What is done with a connection in place of serving it.
type Raw = dyn Fn(TcpStream) + Send + Sync;

/// A request.
pub struct Asked {
    /// `KV/Txn`, `KV/Range`, or for what comes on a stream of watches `create` and `cancel`.
    pub method: String,
    /// The reads in it; of a watch, what it is on.
    pub reads: Vec<Read>,
    /// The number of the watch.
    pub watch: i64,
}

/// A read of a range of keys.
#[derive(Clone)]
pub struct Read {
    pub key: Vec<u8>,
    pub end: Vec<u8>,
    limit: usize,
    is_comparison: bool,
    start: i64,
}

pub struct EtcdLiar {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    history: Mutex<History>,
    watches: Mutex<Vec<Watch>>,
    accepted: AtomicUsize,
    lie: Mutex<Option<Arc<Lie>>>,
    raw: Mutex<Option<Arc<Raw>>>,
}

#[derive(Default)]
struct History {
    revision: i64,
    now: BTreeMap<Vec<u8>, KeyValue>,
    changes: Vec<KeyValue>,
}

#[derive(Clone)]
struct KeyValue {
    key: Vec<u8>,
    created: i64,
    changed: i64,
    version: i64,
    value: Vec<u8>,
}

struct Watch {
    number: i64,
    read: Read,
    call: Call,
}

/// A call, whose reply is a message or many. It ends when nobody has it any more.
#[derive(Clone)]
pub struct Call(UnboundedSender<Frame<Bytes>>);

impl EtcdLiar {
    /// Starts a server without keys.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind a port");
        let address = listener.local_addr().expect("the port");
        let shared = Arc::<Shared>::default();
        shared.history.lock().unwrap().revision = 1;
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serving.accepted.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(&serving);
                thread::spawn(move || {
                    let raw = shared.raw.lock().unwrap().clone();
                    match raw {
                        Some(raw) => raw(stream),
                        None => serve(stream, &shared),
                    }
                });
            }
        });
        Self { address, shared }
    }

    pub fn url(&self) -> String {
        format!("etcd://{}", self.address)
    }

    /// How many connections were made so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// How many watches there are.
    pub fn watches(&self) -> usize {
        self.shared.watches.lock().unwrap().len()
    }

    pub fn lie(&self, lie: impl Fn(&Call, &Asked) -> bool + Send + Sync + 'static) {
        *self.shared.lie.lock().unwrap() = Some(Arc::new(lie));
    }

    /// Does this with each new connection.
    pub fn serve_raw(&self, raw: impl Fn(TcpStream) + Send + Sync + 'static) {
        *self.shared.raw.lock().unwrap() = Some(Arc::new(raw));
    }

    pub fn be_honest(&self) {
        *self.shared.lie.lock().unwrap() = None;
        *self.shared.raw.lock().unwrap() = None;
    }

    /// Sends on the stream of each watch the message that is made of its number.
    pub fn say(&self, message: impl Fn(i64) -> Vec<u8>) {
        for watch in self.shared.watches.lock().unwrap().iter() {
            watch.call.message(&message(watch.number));
        }
    }

    /// Sends it on the stream of one watch.
    pub fn say_once(&self, message: impl Fn(i64) -> Vec<u8>) {
        let watches = self.shared.watches.lock().unwrap();
        let watch = watches.first().expect("a watch");
        watch.call.message(&message(watch.number));
    }

    /// Sends bytes on the stream of one watch, in the place of a message with its length.
    pub fn say_raw(&self, bytes: &[u8]) {
        self.shared.watches.lock().unwrap().first().expect("a watch").call.raw(bytes.to_vec());
    }

    /// Ends the streams of all watches with this status.
    pub fn end_watches(&self, status: u32, text: &str) {
        let watches = std::mem::take(&mut *self.shared.watches.lock().unwrap());
        watches.iter().for_each(|watch| watch.call.end(status, text));
    }

    /// Sets a key, and tells the watches of it.
    pub fn set(&self, key: &str, value: &str) {
        let mut history = self.shared.history.lock().unwrap();
        history.revision += 1;
        let before = history.now.get(key.as_bytes()).cloned();
        let now = KeyValue {
            key: key.into(),
            created: before.as_ref().map_or(history.revision, |before| before.created),
            changed: history.revision,
            version: before.map_or(1, |before| before.version + 1),
            value: value.into(),
        };
        history.now.insert(key.into(), now.clone());
        history.changes.push(now.clone());
        for watch in self.shared.watches.lock().unwrap().iter().filter(|watch| watch.read.has(key.as_bytes()))
        {
            watch.call.message(&events(watch.number, history.revision, &[event(&now.encode())]));
        }
    }
}

fn serve(stream: TcpStream, shared: &Arc<Shared>) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    stream.set_nonblocking(true).expect("set an option");
    stream.set_nodelay(true).expect("set an option");
    runtime.block_on(async {
        let stream = TokioIo::new(tokio::net::TcpStream::from_std(stream).expect("a socket"));
        let shared = Arc::clone(shared);
        let service = service_fn(move |request| handle(Arc::clone(&shared), request));
        let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await;
    });
}

async fn handle(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Reply>, Infallible> {
    let method = request.uri().path().trim_start_matches("/etcdserverpb.").to_owned();
    let (sender, receiver) = unbounded_channel();
    let call = Call(sender);
    let mut body = request.into_body();
    if method == "Watch/Watch" {
        tokio::spawn(async move {
            let stream = Stream { call, shared };
            let mut input = Vec::new();
            while let Some(Ok(frame)) = body.frame().await {
                input.extend(frame.into_data().unwrap_or_default());
                while let Some(message) = take_message(&mut input) {
                    stream.shared.watch(&stream.call, &message);
                }
            }
        });
    } else {
        let mut input = body.collect().await.map(|body| body.to_bytes().to_vec()).unwrap_or_default();
        let message = take_message(&mut input).unwrap_or_default();
        let reads = match method.as_str() {
            "KV/Range" => vec![Read::parse(&message)],
            _ => fields(&message)
                .into_iter()
                .filter(|(tag, _)| *tag == 2)
                .flat_map(|(_, operation)| fields(&operation.bytes()))
                .filter(|(tag, _)| *tag == 1)
                .map(|(_, read)| Read::parse(&read.bytes()))
                .collect(),
        };
        let asked = Asked { method, reads, watch: 0 };
        if !shared.lied(&call, &asked) {
            shared.reply(&call, &asked);
        }
    }
    let mut reply = Response::new(Reply(receiver));
    reply.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    Ok(reply)
}

/// A stream of watches. They end with it, and it ends with its connection.
struct Stream {
    call: Call,
    shared: Arc<Shared>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        let is_other = |watch: &Watch| !watch.call.0.same_channel(&self.call.0);
        self.shared.watches.lock().unwrap().retain(is_other);
    }
}

impl Shared {
    fn lied(&self, call: &Call, asked: &Asked) -> bool {
        let lie = self.lie.lock().unwrap().clone();
        lie.is_some_and(|lie| lie(call, asked))
    }

    fn reply(&self, call: &Call, asked: &Asked) {
        let history = self.history.lock().unwrap();
        let found = |read: &Read| range(&history.found(read), history.count(read), read.limit);
        match asked.method.as_str() {
            "KV/Range" => {
                call.message(&[header(history.revision), found(&asked.reads[0])].concat());
                call.end(0, "");
            }
            "KV/Txn" => {
                let results: Vec<_> =
                    asked.reads.iter().map(|read| bytes(3, &bytes(1, &found(read)))).collect();
                call.message(&[header(history.revision), number(2, 1), results.concat()].concat());
                call.end(0, "");
            }
            "Auth/Authenticate" => call.end(9, "etcdserver: authentication is not enabled"),
            _ => call.end(12, "unknown method"),
        }
    }

    /// Takes what was said on a stream of watches.
    fn watch(&self, call: &Call, message: &[u8]) {
        for (tag, field) in fields(message) {
            let field = fields(&field.bytes());
            let watch_tag = if tag == 1 { 7 } else { 1 };
            let watch =
                field.iter().find(|(tag, _)| *tag == watch_tag).map_or(0, |(_, field)| field.number());
            if tag != 1 {
                let asked = Asked { method: "cancel".to_owned(), reads: Vec::new(), watch };
                if !self.lied(call, &asked) {
                    self.watches.lock().unwrap().retain(|other| other.number != watch);
                    call.message(&[number(2, watch), number(4, 1)].concat());
                }
                continue;
            }
            let read = Read::of(&field);
            let asked = Asked { method: "create".to_owned(), reads: vec![read.clone()], watch };
            let history = self.history.lock().unwrap();
            if self.lied(call, &asked) {
                continue;
            }
            call.message(&[header(history.revision), number(2, watch), number(3, 1)].concat());
            for change in history.changes.iter().filter(|change| change.changed >= read.start) {
                if read.has(&change.key) {
                    call.message(&events(watch, change.changed, &[event(&change.encode())]));
                }
            }
            self.watches.lock().unwrap().push(Watch { number: watch, read, call: call.clone() });
        }
    }
}

impl History {
    fn count(&self, read: &Read) -> usize {
        self.now.keys().filter(|key| read.has(key)).count()
    }

    fn found(&self, read: &Read) -> Vec<Vec<u8>> {
        let mut found: Vec<_> = self.now.values().filter(|kv| read.has(&kv.key)).collect();
        if read.is_comparison {
            found.sort_by_key(|kv| -kv.changed);
        }
        let limit = if read.limit == 0 { usize::MAX } else { read.limit };
        found.into_iter().take(limit).map(KeyValue::encode).collect()
    }
}

impl KeyValue {
    fn encode(&self) -> Vec<u8> {
        key_value(&self.key, self.created, self.changed, self.version, &self.value)
    }
}

impl Read {
    fn parse(message: &[u8]) -> Self {
        Self::of(&fields(message))
    }

    /// The fields of a read and of a watch have the same numbers, except for the third.
    fn of(fields: &[(u32, Field)]) -> Self {
        let field =
            |wanted: u32| fields.iter().find(|(tag, _)| *tag == wanted).map(|(_, field)| field.clone());
        let number = |tag| field(tag).map_or(0, |field| field.number());
        let bytes = |tag| field(tag).map_or(Vec::new(), |field| field.bytes());
        Self {
            key: bytes(1),
            end: bytes(2),
            limit: number(3).try_into().unwrap_or(0),
            is_comparison: number(6) == 3,
            start: number(3),
        }
    }

    /// Whether it reads a part of many keys.
    pub fn is_page(&self) -> bool {
        self.limit > 1
    }

    fn has(&self, key: &[u8]) -> bool {
        if self.end.is_empty() { key == self.key } else { *key >= *self.key && *key < *self.end }
    }
}

impl Call {
    pub fn message(&self, message: &[u8]) {
        self.raw([&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), message].concat());
    }

    /// Sends bytes in the place of a message with its length. Fails silently if the client has left.
    pub fn raw(&self, bytes: Vec<u8>) {
        let _ = self.0.send(Frame::data(bytes.into()));
    }

    /// Ends the call with this status.
    pub fn end(&self, status: u32, text: &str) {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", status.into());
        trailers.insert("grpc-message", HeaderValue::from_str(text).expect("a short text"));
        let _ = self.0.send(Frame::trailers(trailers));
    }

    /// Says nothing and does not end.
    pub fn hang(&self) {
        std::mem::forget(self.clone());
    }
}

/// The body of a reply.
struct Reply(UnboundedReceiver<Frame<Bytes>>);

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.get_mut().0.poll_recv(context).map(|frame| frame.map(Ok))
    }
}

/// Takes a message with its length before it.
fn take_message(input: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = u32::from_be_bytes(input.get(1..5)?.try_into().ok()?) as usize;
    (input.len() >= 5 + length).then(|| input.drain(..5 + length).skip(5).collect())
}

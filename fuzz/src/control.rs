//! Fuzzes what clients send to the control socket, through the real server on a connection in memory.
//!
//! Whatever the client sends, it gets a valid reply or the connection ends. The daemon gets a command only
//! from a POST that names it, and from the network only requests for its metrics. A cache answers too, which
//! has one node with data and one that is known to be absent.

use std::cell::OnceCell;
use std::fs::File;
use std::sync::Arc;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use twitcher::action::output::Piece;
use twitcher::cache::{Cache, CacheReader};
use twitcher::control::routes::{Client, Routes, Scope};
use twitcher::control::{CommandResult, DaemonRequest, OutputPiece, RequestError, server};
use twitcher::metrics::Metrics;
use twitcher::model::{Content, Facet, LogFormat, NodePath, State, Subject, Version};
use twitcher::report::log::Target;
use twitcher::report::stream::LogStream;
use twitcher::report::{Level, Log, Reporter};

/// The size of the connection's buffer, larger than any reply.
const BUFFER_BYTES: usize = 1 << 20;

/// The store of the cache, and the data of its node `/n`. The node `/gone` is absent.
const STORE: &str = "zk://localhost:2181";
const CACHED: &[u8] = b"\0\xff cached";

/// What is there once for all inputs.
struct Fixture {
    runtime: Runtime,
    metrics: Arc<Metrics>,
    cache: CacheReader,
    _cache: Cache,
    _directory: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let directory = tempfile::tempdir().expect("a directory");
        let nowhere = File::options().write(true).open("/dev/null").expect("/dev/null");
        let target = Target::Stream(LogStream::of("nowhere", nowhere));
        let (log, _) = Log::start(target, Level::Error, LogFormat::Text).expect("a log");
        let cache = Cache::open(directory.path(), 1 << 20, &Reporter::new(log, metrics.clone()));
        let cache = cache.expect("a cache");
        let store = cache.of_store(STORE);
        let version = Version { incarnation: 1, revision: 2, number: 3 };
        let present =
            State::Present { version, origin: Default::default(), content: Content::Data(CACHED.into()) };
        for (path, state) in [("/n", present), ("/gone", State::Absent)] {
            let path = NodePath::parse(path).expect("a path");
            store.observed(&Subject { path, facet: Facet::Data }, &state);
        }
        Self { runtime, metrics, cache: cache.reader(), _cache: cache, _directory: directory }
    }
}

thread_local! {
    static FIXTURE: OnceCell<Fixture> = const { OnceCell::new() };
}

/// Sends `data` as a client, and then closes the sending half.
pub fn run(data: &[u8]) {
    FIXTURE.with(|cell| {
        let fixture = cell.get_or_init(Fixture::new);
        for (scope, willing) in
            [(Scope::Everything, true), (Scope::Everything, false), (Scope::Metrics, true)]
        {
            fixture.runtime.block_on(serve_connection(data, scope, willing, fixture));
        }
    });
}

async fn serve_connection(data: &[u8], scope: Scope, willing: bool, fixture: &Fixture) {
    let (requests, asked) = mpsc::channel(8);
    let routes = Arc::new(Routes::new(requests, Arc::clone(&fixture.metrics), Some(fixture.cache.clone())));
    let (mut client, stream) = duplex(BUFFER_BYTES);
    let conversation = server::serve_connection(stream, routes, Client { scope, uid: None }, Arc::default());
    let client = async {
        client.write_all(data).await.expect("room");
        client.shutdown().await.expect("a half of the connection");
        let mut reply = Vec::new();
        // A connection may end in an error.
        let _ = client.read_to_end(&mut reply).await;
        reply
    };
    let (asked, reply, ()) = tokio::join!(serve(asked, willing), client, conversation);
    check_requests(data, scope, &asked);
    check_reply(&reply);
}

/// Replies as the daemon until no client is left. Returns what it was asked.
async fn serve(mut requests: mpsc::Receiver<DaemonRequest>, willing: bool) -> Vec<&'static str> {
    let mut asked = Vec::new();
    let unwilling = || RequestError::Ambiguous("\"é\u{1b}\n\" matches several watches".into());
    while let Some(request) = requests.recv().await {
        // Sending fails if the client has left. A reply that is dropped tells the client that the daemon
        // ended.
        asked.push(match request {
            DaemonRequest::WatchCommand { order, reply } => {
                assert_eq!(order.by, None, "the request said who asks");
                let done = CommandResult { watch: Some(order.watch), done: "done".into() };
                let _ = reply.send(if willing { Ok(done) } else { Err(unwilling()) });
                "command"
            }
            DaemonRequest::Reload { by, reply } => {
                assert_eq!(by, None, "the request said who asks");
                let done = CommandResult { watch: None, done: "done".into() };
                let _ = reply.send(if willing { Ok(done) } else { Err(unwilling()) });
                "command"
            }
            DaemonRequest::History { reply, .. } => {
                let _ = reply.send(if willing { Ok(Vec::new()) } else { Err(unwilling()) });
                "query"
            }
            DaemonRequest::MemberHistory { reply, .. } => {
                let _ = reply.send(if willing { Ok(Vec::new()) } else { Err(unwilling()) });
                "query"
            }
            DaemonRequest::OutputSince { run, from, reply } => {
                let piece = Piece { from, bytes: b"\0\xff".into() };
                let found = OutputPiece { run, piece, is_running: true };
                let _ = reply.send(if willing { Ok(found) } else { Err(unwilling()) });
                "query"
            }
            DaemonRequest::Output { reply, .. } => {
                let _ = reply.send(if willing { Ok(b"\0\xff".into()) } else { Err(unwilling()) });
                "query"
            }
            DaemonRequest::Watch { reply, .. } => {
                let _ = reply.send(Err(unwilling()));
                "query"
            }
            DaemonRequest::Watches { reply, .. } => {
                let _ = reply.send(Vec::new());
                "query"
            }
            DaemonRequest::Daemon(_) => "query",
            DaemonRequest::Gauges(_) => "gauges",
        });
    }
    asked
}

fn check_requests(data: &[u8], scope: Scope, asked: &[&str]) {
    assert!(asked.len() <= 1, "a connection has one request");
    let Some(asked) = asked.first() else { return };
    // A server skips empty lines before a request.
    let start = data.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(0);
    let is_a = |method: &[u8]| data[start..].starts_with(method);
    match *asked {
        "command" => assert!(is_a(b"POST ") && scope == Scope::Everything),
        "gauges" => assert!(is_a(b"GET ")),
        _ => assert!(is_a(b"GET ") && scope == Scope::Everything),
    }
}

fn check_reply(reply: &[u8]) {
    if reply.is_empty() {
        return;
    }
    let end = reply.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a whole head");
    let head = std::str::from_utf8(&reply[..end]).expect("a head is text");
    let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).expect("a status");
    let status: u16 = status.parse().expect("a number");
    assert!((200..600).contains(&status), "{status}");
    let body = &reply[end + 4..];
    if head.contains("\r\ntwitcher-version: ") && !body.is_empty() {
        assert_eq!(body, CACHED);
    }
    if head.contains("application/json") && !body.is_empty() {
        let body: serde_json::Value = serde_json::from_slice(body).expect("JSON");
        assert_eq!(body.get("error").is_some(), status >= 400);
    }
}

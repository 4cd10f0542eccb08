//! Fuzzes what clients send to the control socket, through the real server on a connection in memory.
//!
//! Whatever the client sends, it gets a valid reply or the connection ends. The daemon gets a command only
//! from a POST that names it, and from the network only requests for its metrics.

use std::cell::OnceCell;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use twitcher::action::output::Piece;
use twitcher::control::routes::{Client, Routes, Scope};
use twitcher::control::{CommandResult, DaemonRequest, OutputPiece, RequestError, server};
use twitcher::metrics::Metrics;

/// The size of the connection's buffer, larger than any reply.
const BUFFER_BYTES: usize = 1 << 20;

thread_local! {
    static RUNTIME: OnceCell<(Runtime, Arc<Metrics>)> = const { OnceCell::new() };
}

/// Sends `data` as a client, and then closes the sending half.
pub fn run(data: &[u8]) {
    RUNTIME.with(|cell| {
        let (runtime, metrics) = cell.get_or_init(|| {
            let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
            (runtime, Arc::new(Metrics::new().expect("metrics")))
        });
        for (scope, willing) in
            [(Scope::Everything, true), (Scope::Everything, false), (Scope::Metrics, true)]
        {
            runtime.block_on(serve_connection(data, scope, willing, Arc::clone(metrics)));
        }
    });
}

async fn serve_connection(data: &[u8], scope: Scope, willing: bool, metrics: Arc<Metrics>) {
    let (requests, asked) = mpsc::channel(8);
    let routes = Arc::new(Routes::new(requests, metrics, None));
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
    if head.contains("application/json") && !body.is_empty() {
        let body: serde_json::Value = serde_json::from_slice(body).expect("JSON");
        assert_eq!(body.get("error").is_some(), status >= 400);
    }
}

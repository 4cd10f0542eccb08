//! What clients may send to the control socket: through the real server, on a connection in memory.
//!
//! Whatever comes, it is answered or the connection ends; the daemon gets an order only from a POST that says which; and from
//! the network it is asked for nothing but its metrics.

use std::cell::OnceCell;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use twitcher::control::routes::{Routes, Scope};
use twitcher::control::{Done, Question, Refusal, server};
use twitcher::metrics::Metrics;

/// More than any answer has.
const ROOM: usize = 1 << 20;

thread_local! {
    static RUNTIME: OnceCell<(Runtime, Arc<Metrics>)> = const { OnceCell::new() };
}

/// The bytes are what a client sends, before it says that this is all.
pub fn run(data: &[u8]) {
    RUNTIME.with(|cell| {
        let (runtime, metrics) = cell.get_or_init(|| {
            let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
            (runtime, Arc::new(Metrics::new().expect("metrics")))
        });
        for (scope, willing) in
            [(Scope::Everything, true), (Scope::Everything, false), (Scope::Metrics, true)]
        {
            runtime.block_on(converse(data, scope, willing, Arc::clone(metrics)));
        }
    });
}

async fn converse(data: &[u8], scope: Scope, willing: bool, metrics: Arc<Metrics>) {
    let (questions, asked) = mpsc::channel(8);
    let routes = Arc::new(Routes::new(questions, metrics));
    let (mut client, stream) = duplex(ROOM);
    let conversation = server::converse(stream, routes, scope, Arc::default());
    let client = async {
        client.write_all(data).await.expect("room");
        client.shutdown().await.expect("a half of the connection");
        let mut answer = Vec::new();
        // A connection that ends in an error has ended.
        let _ = client.read_to_end(&mut answer).await;
        answer
    };
    let (asked, answer, ()) = tokio::join!(serve(asked, willing), client, conversation);
    check_questions(data, scope, &asked);
    check_answer(&answer);
}

/// The daemon, for as long as anybody can ask it. Gives what it was asked.
async fn serve(mut questions: mpsc::Receiver<Question>, willing: bool) -> Vec<&'static str> {
    let mut asked = Vec::new();
    let unwilling = || Refusal::Ambiguous("\"é\u{1b}\n\" is several watches".into());
    while let Some(question) = questions.recv().await {
        // Who has left needs no answer; and one that is dropped says that the daemon ends.
        asked.push(match question {
            Question::Order { watch, answer, .. } => {
                let done = Done { watch: Some(watch), done: "done".into() };
                let _ = answer.send(if willing { Ok(done) } else { Err(unwilling()) });
                "order"
            }
            Question::Reload(answer) => {
                let done = Done { watch: None, done: "done".into() };
                let _ = answer.send(if willing { Ok(done) } else { Err(unwilling()) });
                "order"
            }
            Question::History { answer, .. } => {
                let _ = answer.send(if willing { Ok(Vec::new()) } else { Err(unwilling()) });
                "question"
            }
            Question::Output { answer, .. } => {
                let _ = answer.send(if willing { Ok(b"\0\xff".into()) } else { Err(unwilling()) });
                "question"
            }
            Question::Watch { answer, .. } => {
                let _ = answer.send(Err(unwilling()));
                "question"
            }
            Question::Watches { answer, .. } => {
                let _ = answer.send(Vec::new());
                "question"
            }
            Question::Daemon(_) => "question",
            Question::Gauges(_) => "gauges",
        });
    }
    asked
}

fn check_questions(data: &[u8], scope: Scope, asked: &[&str]) {
    assert!(asked.len() <= 1, "a connection has one request");
    let Some(asked) = asked.first() else { return };
    // A server overlooks empty lines before a request.
    let start = data.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(0);
    let is_a = |method: &[u8]| data[start..].starts_with(method);
    match *asked {
        "order" => assert!(is_a(b"POST ") && scope == Scope::Everything),
        "gauges" => assert!(is_a(b"GET ")),
        _ => assert!(is_a(b"GET ") && scope == Scope::Everything),
    }
}

fn check_answer(answer: &[u8]) {
    if answer.is_empty() {
        return;
    }
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a whole head");
    let head = std::str::from_utf8(&answer[..end]).expect("a head is text");
    let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).expect("a status");
    let status: u16 = status.parse().expect("a number");
    assert!((200..600).contains(&status), "{status}");
    let body = &answer[end + 4..];
    if head.contains("application/json") && !body.is_empty() {
        let body: serde_json::Value = serde_json::from_slice(body).expect("JSON");
        assert_eq!(body.get("error").is_some(), status >= 400);
    }
}

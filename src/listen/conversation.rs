//! One request of a client, and its reply.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::timeout;

/// What the head of a request may take.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    pub deadline: Duration,
    pub bytes: usize,
}

/// How long a client may go on to send a request that was answered already, and how much it may send. A byte
/// now and then gains no time.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
const LINGER_BYTES: u64 = 16 << 20;

/// Answers the one request of a connection. Sets `has_requested` when its head has arrived. How long the rest
/// may take is up to the caller.
pub async fn answer_one<S, B, F>(
    mut stream: S,
    head: HeadLimits,
    has_requested: Arc<AtomicBool>,
    answer: impl Fn(Request<Incoming>) -> F,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    F: Future<Output = Response<B>>,
{
    // What is no request, or has a body, may not have been read to its end.
    let may_go_on = AtomicBool::new(true);
    let service = service_fn(|request: Request<Incoming>| {
        has_requested.store(true, Ordering::Relaxed);
        may_go_on.store(!request.body().is_end_stream(), Ordering::Relaxed);
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head.deadline)
        .max_buf_size(head.bytes)
        .keep_alive(false)
        // A client may close its sending half after the request.
        .half_close(true)
        .serve_connection(TokioIo::new(&mut stream), service);
    // The client sees an error too, and nobody else is concerned.
    let _ = conversation.await;
    if may_go_on.into_inner() {
        let _ = timeout(LINGER_TIMEOUT, linger(stream)).await;
    }
}

/// Reads what a client still sends. If the connection were closed before that, the client could lose the
/// reply, and see nothing but a broken connection.
async fn linger(stream: impl AsyncRead + Unpin) {
    let (mut rest, mut buffer) = (stream.take(LINGER_BYTES), [0; 4096]);
    while let Ok(1..) = rest.read(&mut buffer).await {}
}

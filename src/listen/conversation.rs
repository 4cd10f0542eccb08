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
use tokio::io::{AsyncRead, AsyncWrite};

/// What the head of a request may take.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    pub deadline: Duration,
    pub bytes: usize,
}

/// Answers the one request of a connection. Sets `has_requested` when its head has arrived. How long the rest
/// may take is up to the caller.
pub async fn answer_one<S, B, F>(
    stream: S,
    head: HeadLimits,
    has_requested: Arc<AtomicBool>,
    answer: impl Fn(Request<Incoming>) -> F,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    F: Future<Output = Response<B>>,
{
    let service = service_fn(|request| {
        has_requested.store(true, Ordering::Relaxed);
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
        .serve_connection(TokioIo::new(stream), service);
    // The client sees an error too, and nobody else is concerned.
    let _ = conversation.await;
}

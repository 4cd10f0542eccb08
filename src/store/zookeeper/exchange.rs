//! Requests of a command on its session, each with a deadline.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::link::Link;
use super::protocol::{Incoming, Protocol};
use super::wire::{ErrorCode, Reply, Request};

/// The pause between two pings of a session that has nothing else to do. A server may have granted less than
/// was asked for, but few grant less than some seconds.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// A session whose requests are answered one after the other.
pub(super) struct Exchange {
    link: Link,
    protocol: Protocol,
    /// The moment from which the next reply must come within `timeout`: that of the last one, or at first the
    /// moment in which the command began to connect.
    waiting_since: Instant,
    timeout: Duration,
    /// How many requests have no reply yet.
    unanswered: usize,
    /// Why there will be no more replies.
    lost: Option<String>,
}

/// Why a request failed.
pub(super) enum Failure {
    Server(ErrorCode),
    NoAnswer,
    /// The connection is gone, for this reason.
    Lost(String),
    /// Nobody takes so much.
    TooLarge,
}

impl Exchange {
    pub(super) fn new(link: Link, protocol: Protocol, started: Instant, timeout: Duration) -> Self {
        Self { link, protocol, waiting_since: started, timeout, unanswered: 0, lost: None }
    }

    /// Makes a request and waits for its reply.
    pub(super) async fn ask(&mut self, request: Request<'_>) -> Result<Reply, Failure> {
        // Replies that nobody waited for come first.
        while self.unanswered > 0 {
            if let Err(failure @ (Failure::NoAnswer | Failure::Lost(_))) = self.answer().await {
                return Err(failure);
            }
        }
        self.send(request);
        self.answer().await
    }

    /// Makes a request. [`Self::answer`] has the replies to all requests in their order.
    pub(super) fn send(&mut self, request: Request<'_>) {
        self.protocol.request(request, Instant::now());
        self.unanswered += 1;
    }

    /// Waits for the next reply as long as the server gives no other: at most the timeout.
    pub(super) async fn answer(&mut self) -> Result<Reply, Failure> {
        if let Some(reason) = &self.lost {
            return Err(Failure::Lost(reason.clone()));
        }
        let result = loop {
            let deadline = self.waiting_since + self.timeout;
            match timeout_at(deadline, self.link.next(&mut self.protocol)).await {
                Ok(Ok(Incoming::Reply { result, .. })) => break result,
                // No watch is set, and credentials were confirmed before.
                Ok(Ok(Incoming::Event(_) | Incoming::Auth(_))) => {}
                Ok(Err(ended)) => {
                    self.lost = Some(ended.to_string());
                    return Err(Failure::Lost(ended.to_string()));
                }
                Err(_) => return Err(Failure::NoAnswer),
            }
        };
        self.unanswered -= 1;
        self.waiting_since = Instant::now();
        result.map_err(Failure::Server)
    }

    /// Keeps the session alive until this side has done something else, however long that takes. Replies wait
    /// in the meantime.
    pub(super) async fn idle<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let pause = KEEP_ALIVE.min(self.timeout / 3);
        let done = loop {
            tokio::select! {
                done = &mut work => break done,
                () = sleep(pause) => {
                    self.protocol.keep_alive();
                    // That the connection is gone is said by what is asked next.
                    let _ = timeout_at(Instant::now() + pause, self.link.send(&mut self.protocol)).await;
                }
            }
        };
        self.waiting_since = Instant::now();
        done
    }

    pub(super) async fn close(self) {
        if self.lost.is_none() {
            self.link.close(self.protocol).await;
        }
    }
}

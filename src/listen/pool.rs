//! The connections of one listener.

use std::future::{Future, pending};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

/// The delay after a failed accept: as long as descriptors are short, each attempt fails.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// When a connection may be dropped for another one, counted from when it was accepted.
#[derive(Clone, Copy, Debug)]
pub struct Grace {
    /// If it has sent no request.
    pub request: Duration,
    /// If it has.
    pub reply: Duration,
}

/// The open connections of a listener. If there are as many as it may have, one whose grace is over is
/// dropped for the next client.
pub struct ConnectionPool {
    grace: Grace,
    tasks: JoinSet<()>,
    open: Vec<PooledConnection>,
}

struct PooledConnection {
    accepted_at: Instant,
    has_requested: Arc<AtomicBool>,
    task: AbortHandle,
}

impl PooledConnection {
    /// Returns the time from which the connection may be dropped.
    fn evictable_at(&self, grace: Grace) -> Instant {
        let has_requested = self.has_requested.load(Ordering::Relaxed);
        self.accepted_at + if has_requested { grace.reply } else { grace.request }
    }
}

impl ConnectionPool {
    pub fn new(grace: Grace) -> Self {
        Self { grace, tasks: JoinSet::new(), open: Vec::new() }
    }

    /// Waits for the next client. As long as there are as many connections as the listener may have, waits
    /// for one to end, or drops one. Can be dropped at any time if what `accept` returns can.
    pub async fn accept<S, F>(&mut self, max_connections: impl Fn() -> u64, accept: impl Fn() -> F) -> S
    where
        F: Future<Output = io::Result<S>>,
    {
        loop {
            let evictable_at = self.next_eviction(max_connections());
            tokio::select! {
                accepted = accept(), if evictable_at.is_none() => match accepted {
                    Ok(stream) => return stream,
                    Err(_) => sleep(ACCEPT_RETRY_DELAY).await,
                },
                () = sleep_until(evictable_at.unwrap_or_else(Instant::now)), if evictable_at.is_some() => {
                    self.evict();
                }
                () = self.one_ended() => {}
            }
        }
    }

    /// Serves a connection in a task of its own, which sets the flag when its request has arrived.
    pub fn admit<F>(&mut self, serve_connection: impl FnOnce(Arc<AtomicBool>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let has_requested = Arc::<AtomicBool>::default();
        let task = self.tasks.spawn(serve_connection(Arc::clone(&has_requested)));
        self.open.push(PooledConnection { accepted_at: Instant::now(), has_requested, task });
    }

    /// Returns the time to drop a connection for the next client; `None` if there is room.
    fn next_eviction(&self, max_connections: u64) -> Option<Instant> {
        let all_taken = self.open.len() as u64 >= max_connections;
        self.open.iter().map(|connection| connection.evictable_at(self.grace)).min().filter(|_| all_taken)
    }

    /// Drops the connection whose grace ended first. If its request has arrived meanwhile, its grace is
    /// longer, and then no connection is dropped yet.
    fn evict(&mut self) {
        let ends = self.open.iter().map(|connection| connection.evictable_at(self.grace)).enumerate();
        if let Some((index, _)) = ends.min_by_key(|(_, end)| *end).filter(|(_, end)| *end <= Instant::now()) {
            self.open.remove(index).task.abort();
        }
    }

    /// Waits until a connection has ended. For ever if there is none. Can be dropped at any time.
    async fn one_ended(&mut self) {
        match self.tasks.join_next().await {
            Some(_) => self.open.retain(|connection| !connection.task.is_finished()),
            None => pending().await,
        }
    }

    /// Waits until all connections have ended.
    pub async fn all_ended(&mut self) {
        while self.tasks.join_next().await.is_some() {}
        self.open.clear();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const MAX_CONNECTIONS: usize = 64;
    const MOST: u64 = MAX_CONNECTIONS as u64;
    const REQUEST_GRACE: Duration = Duration::from_millis(500);
    const REPLY_GRACE: Duration = Duration::from_secs(2);

    /// Adds a connection that was accepted the time `ago` before now.
    fn connection(connections: &mut ConnectionPool, has_requested: bool, ago: Duration) {
        connections.admit(|asks| {
            asks.store(has_requested, Ordering::Relaxed);
            pending()
        });
        connections.open.last_mut().unwrap().accepted_at = Instant::now().checked_sub(ago).unwrap();
    }

    fn silent(connections: &ConnectionPool) -> usize {
        connections.open.iter().filter(|connection| !connection.has_requested.load(Ordering::Relaxed)).count()
    }

    #[tokio::test]
    async fn the_connection_whose_grace_ended_first_is_dropped_and_none_before_its_time() {
        let mut connections = ConnectionPool::new(Grace { request: REQUEST_GRACE, reply: REPLY_GRACE });
        for _ in 3..MAX_CONNECTIONS {
            connection(&mut connections, true, Duration::ZERO);
        }
        connection(&mut connections, false, REQUEST_GRACE / 2);
        connection(&mut connections, true, REPLY_GRACE / 2);
        assert_eq!(connections.next_eviction(MOST), None, "there is room");
        connection(&mut connections, false, 2 * REQUEST_GRACE);
        assert!(connections.next_eviction(MOST).is_some_and(|evictable_at| evictable_at < Instant::now()));
        connections.evict();
        assert_eq!((connections.open.len(), silent(&connections)), (MAX_CONNECTIONS - 1, 1));
        assert_eq!(connections.next_eviction(MOST), None);
        // The grace of a connection with a request ends before that of newer silent ones.
        connection(&mut connections, true, 3 * REPLY_GRACE);
        connections.evict();
        assert_eq!((connections.open.len(), silent(&connections)), (MAX_CONNECTIONS - 1, 1));
        connection(&mut connections, true, Duration::ZERO);
        assert!(connections.next_eviction(MOST).is_some_and(|evictable_at| evictable_at > Instant::now()));
        connections.evict();
        assert_eq!(connections.open.len(), MAX_CONNECTIONS, "no grace is over");
        for _ in 0..2 {
            assert!(connections.tasks.join_next().await.unwrap().unwrap_err().is_cancelled());
        }
        assert_eq!(connections.tasks.len(), MAX_CONNECTIONS);
    }

    #[tokio::test]
    async fn the_next_client_has_the_place_of_one_that_ended_or_whose_grace_is_over() {
        let mut connections = ConnectionPool::new(Grace { request: REQUEST_GRACE, reply: REPLY_GRACE });
        let next = async |connections: &mut ConnectionPool, most: u64| {
            let next = connections.accept(|| most, async || Ok(()));
            timeout(Duration::from_secs(60), next).await.expect("a place");
        };
        connections.admit(|_| pending());
        connections.admit(async |_| {});
        next(&mut connections, 2).await;
        assert_eq!(connections.open.len(), 1, "the other one has ended");
        let silent_since = Instant::now();
        connections.admit(|_| pending());
        next(&mut connections, 2).await;
        assert_eq!(connections.open.len(), 1, "the older one was dropped");
        next(&mut connections, 1).await;
        assert_eq!(connections.open.len(), 0, "there may be fewer now");
        assert!(silent_since.elapsed() >= REQUEST_GRACE);
        // Descriptors can be short all the same.
        let attempts = std::cell::Cell::new(0);
        let accept = async || {
            attempts.set(attempts.get() + 1);
            if attempts.get() < 3 { Err(io::ErrorKind::Other.into()) } else { Ok(()) }
        };
        connections.accept(|| 2, accept).await;
        assert_eq!(attempts.get(), 3);
    }
}

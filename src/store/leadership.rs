//! The seat of somebody who stands for a leadership: whether it is theirs, and until when.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::model::NodePath;

/// What a store of any kind is told of who stands for a leadership.
pub(super) struct Candidacy {
    /// The node below which everybody who stands for it has a node.
    pub(super) path: NodePath,
    /// What others read of this one.
    pub(super) name: String,
    pub(super) seat: Arc<Seat>,
}

/// How much of the time that a server keeps a session or a lease is relied on. The rest is for what is on its
/// way when the time is up.
const RELIED_ON: f64 = 2.0 / 3.0;

/// The present leadership. It ends by the local clock, whatever becomes of the connection.
#[derive(Default)]
pub(super) struct Seat {
    until: Mutex<Option<Instant>>,
    trouble: Mutex<Option<String>>,
    changed: Notify,
}

impl Seat {
    /// Takes the leadership, or keeps it. A server has answered a request that was sent at `sent`, and lets
    /// nobody else lead for `timeout` after it has got that.
    pub(super) fn lead(&self, sent: Instant, timeout: Duration) {
        let until = sent + timeout.mul_f64(RELIED_ON);
        let before = self.until().replace(until);
        lock(&self.trouble).take();
        // Whoever waits for the end would wake up too early otherwise, and look again.
        if before.is_none_or(|before| before <= Instant::now()) {
            self.changed.notify_one();
        }
    }

    /// Gives the leadership up.
    pub(super) fn leave(&self) {
        if self.until().take().is_some() {
            self.changed.notify_one();
        }
    }

    /// Notes that somebody else leads, and that all is well.
    pub(super) fn follow(&self) {
        self.leave();
        lock(&self.trouble).take();
    }

    /// Gives the leadership up, and says why there is none.
    pub(super) fn trouble(&self, why: String) {
        self.leave();
        if lock(&self.trouble).replace(why).is_none() {
            self.changed.notify_one();
        }
    }

    pub(super) fn is_taken(&self) -> bool {
        self.until().is_some_and(|until| Instant::now() < until)
    }

    pub(super) fn last_trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    fn until(&self) -> MutexGuard<'_, Option<Instant>> {
        lock(&self.until)
    }

    /// Waits until the leadership or the trouble may have changed. Can be dropped at any time.
    pub(super) async fn changed(&self) {
        loop {
            let end = self.until().filter(|until| *until > Instant::now());
            let ended = async {
                match end {
                    Some(end) => tokio::time::sleep_until(end).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.changed.notified() => return,
                () = ended => {
                    if !self.is_taken() {
                        return;
                    }
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(9);

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
    }

    #[test]
    fn a_leadership_ends_by_the_clock_before_the_server_can_have_given_it_away() {
        let seat = Seat::default();
        assert!(!seat.is_taken());
        let now = Instant::now();
        seat.lead(now, TIMEOUT);
        assert!(seat.is_taken());
        // What counts is when the request was sent, and not when it was answered.
        seat.lead(now - TIMEOUT * 2 / 3, TIMEOUT);
        assert!(!seat.is_taken());
        seat.lead(now, TIMEOUT);
        seat.leave();
        assert!(!seat.is_taken());
    }

    #[test]
    fn who_waits_hears_of_the_end_without_anybody_telling() {
        runtime().block_on(async {
            let seat = Seat::default();
            seat.lead(Instant::now(), Duration::from_millis(150));
            seat.changed().await;
            assert!(seat.is_taken(), "this was the beginning");
            seat.changed().await;
            assert!(!seat.is_taken());
        });
    }

    #[test]
    fn a_trouble_is_told_once_and_ends_with_the_next_success() {
        runtime().block_on(async {
            let seat = Seat::default();
            seat.trouble("a".to_owned());
            seat.changed().await;
            seat.trouble("b".to_owned());
            assert_eq!(seat.last_trouble().as_deref(), Some("b"));
            seat.lead(Instant::now(), TIMEOUT);
            assert_eq!(seat.last_trouble(), None);
            seat.changed().await;
            seat.trouble("c".to_owned());
            assert!(!seat.is_taken());
            seat.follow();
            assert_eq!(seat.last_trouble(), None);
        });
    }
}

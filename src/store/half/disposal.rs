//! Closes what halves have sent, on a thread of its own.
//!
//! To close a descriptor can take as long as its sender wants: a socket that lingers, a file of a file system
//! that a process serves. Nothing may wait for that, least of all the daemon.

use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use super::socket::Socket;

/// How many descriptors may wait for the end of others. No half is started while there are more, because
/// each could leave as many as one message has, and the daemon needs descriptors for other things.
const MAX_PENDING: usize = 1000;

/// The thread that closes the descriptors of one store's halves. It is started for the first of them.
#[derive(Clone, Default)]
pub(super) struct Disposal {
    thread: Arc<std::sync::OnceLock<Sender<Vec<OwnedFd>>>>,
    pending: Arc<AtomicUsize>,
}

impl Disposal {
    pub(super) fn close(&self, descriptors: Vec<OwnedFd>) {
        if descriptors.is_empty() {
            return;
        }
        self.pending.fetch_add(descriptors.len(), Ordering::Relaxed);
        let sender = self.thread.get_or_init(|| {
            let (sender, received) = channel::<Vec<OwnedFd>>();
            let pending = Arc::clone(&self.pending);
            let work = move || {
                for descriptor in received.into_iter().flatten() {
                    drop(descriptor);
                    pending.fetch_sub(1, Ordering::Relaxed);
                }
            };
            // Without a thread they stay open, as if their end took for ever.
            if thread::Builder::new().name("disposal".into()).spawn(work).is_err() {
                return channel().0;
            }
            sender
        });
        if let Err(unsent) = sender.send(descriptors) {
            unsent.0.into_iter().for_each(std::mem::forget);
        }
    }

    /// Returns whether so many wait that no more may come.
    pub(super) fn is_full(&self) -> bool {
        self.pending.load(Ordering::Relaxed) > MAX_PENDING
    }
}

/// The daemon's end of the socket to a half. With it, the kernel closes every descriptor that still is in the
/// queue.
pub(super) struct Line {
    socket: Option<Socket>,
    disposal: Disposal,
}

impl Line {
    pub(super) fn new(socket: Socket, disposal: Disposal) -> Self {
        Self { socket: Some(socket), disposal }
    }
}

impl Deref for Line {
    type Target = Socket;

    fn deref(&self) -> &Socket {
        match &self.socket {
            Some(socket) => socket,
            None => unreachable!("it is taken when this is dropped"),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let Some(socket) = self.socket.take() else { return };
        // The half need not wait for the thread to see the end.
        socket.shut_down();
        self.disposal.close(vec![socket.into_inner()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Disposal {
        /// One whose thread hangs.
        pub(in crate::store::half) fn full() -> Self {
            let new = Self::default();
            new.pending.store(MAX_PENDING + 1, Ordering::Relaxed);
            new
        }
    }

    #[test]
    fn no_more_may_come_while_too_many_wait_for_the_end_of_others() {
        let (disposal, null) =
            (Disposal::default(), || OwnedFd::from(std::fs::File::open("/dev/null").unwrap()));
        disposal.pending.store(MAX_PENDING, Ordering::Relaxed);
        assert!(!disposal.is_full());
        disposal.pending.fetch_add(1, Ordering::Relaxed);
        assert!(disposal.clone().is_full(), "all halves of a store share one");
        // Those that can be closed are, and do not count any more.
        let disposal = Disposal::default();
        (0..2 * MAX_PENDING).for_each(|_| disposal.close(vec![null()]));
        while disposal.pending.load(Ordering::Relaxed) > 0 {
            thread::yield_now();
        }
        assert!(!disposal.is_full());
    }
}

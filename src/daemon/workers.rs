//! Threads for work that can take as long as somebody else likes.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// A thread without work ends after this time, unless it is the only one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// They need little: the work is mostly system calls.
const STACK_BYTES: usize = 512 << 10;

/// The threads. Whoever gives them work bounds how much there is at once.
///
/// Tokio's own threads for blocking work do not do: where the machine has no process left for a new thread,
/// asking for one panics.
#[derive(Default)]
pub struct Workers(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Box<dyn FnOnce() + Send>>,
    threads: usize,
    idle: usize,
}

impl Workers {
    /// Has a thread do the work, inside this tokio runtime. An error if there is no thread and none can be
    /// made. If threads are short otherwise, the work waits for one.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<oneshot::Receiver<T>> {
        let (sender, done) = oneshot::channel();
        let mut state = self.0.lock();
        if state.idle <= state.queue.len()
            && let Err(error) = self.add_thread(&mut state)
            && state.threads == 0
        {
            return Err(error);
        }
        state.queue.push_back(Box::new(move || {
            // Nobody may wait any more.
            let _ = sender.send(work());
        }));
        self.0.more.notify_one();
        Ok(done)
    }

    fn add_thread(&self, state: &mut State) -> io::Result<()> {
        let (shared, runtime) = (Arc::clone(&self.0), Handle::current());
        let thread = thread::Builder::new().name("starter".into()).stack_size(STACK_BYTES);
        thread.spawn(move || {
            let _runtime = runtime.enter();
            shared.work();
        })?;
        state.threads += 1;
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            if let Some(work) = state.queue.pop_front() {
                drop(state);
                work();
                state = self.lock();
                continue;
            }
            state.idle += 1;
            let (woken, waited) =
                self.more.wait_timeout(state, IDLE_TIMEOUT).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if waited.timed_out() && state.queue.is_empty() && state.threads > 1 {
                state.threads -= 1;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::fixtures::block_on;

    #[test]
    fn work_does_not_wait_for_work_that_hangs() {
        block_on(async {
            let workers = Workers::default();
            let (release, hangs) = std::sync::mpsc::channel::<()>();
            let first = workers.run(move || hangs.recv()).unwrap();
            for number in 0..10 {
                assert_eq!(workers.run(move || number).unwrap().await, Ok(number));
            }
            release.send(()).unwrap();
            assert_eq!(first.await, Ok(Ok(())));
            let state = workers.0.lock();
            assert!((2..10).contains(&state.threads), "{} threads", state.threads);
        });
    }
}

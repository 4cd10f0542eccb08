//! Threads for work that can take as long as somebody else likes.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// A thread without work ends after this time, unless it is the only one. So does one of those that take
/// turns at so little work that fewer would have done it.
const IDLE_TIMEOUT: Duration = if cfg!(test) { Duration::from_millis(100) } else { Duration::from_secs(10) };

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
    /// How many threads were never needed since then.
    spare: usize,
    spare_since: Option<Instant>,
}

impl State {
    /// Returns true if the calling thread, which has no work, should end.
    fn has_too_many(&mut self) -> bool {
        if self.spare_since.is_some_and(|since| since.elapsed() < IDLE_TIMEOUT) {
            return false;
        }
        let unneeded = self.spare_since.replace(Instant::now()).map_or(0, |_| self.spare);
        self.spare = self.idle;
        unneeded > 0 && self.threads > 1
    }
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
        state.spare = state.spare.min(state.idle.saturating_sub(state.queue.len()));
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
            if state.has_too_many() {
                state.threads -= 1;
                return;
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

    #[test]
    fn threads_that_were_needed_once_do_not_stay_for_the_work_of_one() {
        block_on(async {
            let workers = Workers::default();
            let hanging = (0..20).map(|_| {
                let (release, hangs) = std::sync::mpsc::channel::<()>();
                (release, workers.run(move || hangs.recv()).unwrap())
            });
            let hanging: Vec<_> = hanging.collect();
            assert!(workers.0.lock().threads >= 20);
            for (release, done) in hanging {
                release.send(()).unwrap();
                done.await.unwrap().unwrap();
            }
            let deadline = Instant::now() + Duration::from_secs(60);
            while workers.0.lock().threads > 10 {
                assert!(Instant::now() < deadline, "{} threads", workers.0.lock().threads);
                workers.run(|| ()).unwrap().await.unwrap();
            }
        });
    }
}

//! Starts processes in threads of their own.
//!
//! A start usually takes 1 ms, but it can take as long as somebody else likes: a file system may not answer,
//! and whoever holds a lease on a program holds up those who execute it. So the loop hands each start to a
//! thread, and is told when the program executes, or why it does not.
//!
//! # Bounds
//!
//! Few starts work at once, since more would only compete for the processors. A start that takes long does
//! not count among them any more, unless [`MAX_SLOW`] others take long too. A start that hangs is given up
//! after [`START_TIMEOUT`], or when its run is told to end. If even then the kernel does not let it go, its
//! run is over for everybody else, and its thread and process stay until they can end, without a place among
//! those that work, unless [`MAX_STUCK`] others stay too. Meanwhile further starts of the same watch are put
//! off: so each watch holds up few threads, whatever becomes of its updates. If no start has begun for as
//! long, those that wait are put off too, and operators are told.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::select;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot::{Receiver, error::RecvError};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use super::workers::Workers;
use crate::action::spawn::{Attempt, Launch, Process, Slot, Spawner, StartError, hangs, queued, still_hangs};
use crate::model::ExecContext;

/// A start that takes longer no longer counts among those that work. It is a hundred times what one takes.
const SLOW: Duration = Duration::from_millis(100);

/// A start that takes longer puts further starts of its watch, or further checks of its service, off.
const HANGING: Duration = Duration::from_secs(1);

/// A start that takes longer is given up. It is long enough for a disk that has to spin up.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a start that was given up may take to end. A process that can be killed is gone at once.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// How often a start is given up again meanwhile: it may have made its process just now.
const GIVE_UP_INTERVAL: Duration = Duration::from_millis(100);

/// How many starts may wait until few enough others work. Further ones wait for their places
/// ([`super::places`]), where the nodes take turns. These are enough for the threads to work while the loop
/// does something else, and they delay the start that comes next by some 3 ms.
pub const MAX_QUEUED: usize = 8;

/// No more starts are handed over until there are so few again: then several are at once, which share one
/// commit of the ledger.
pub const REFILL_BELOW: usize = MAX_QUEUED / 2;

/// How many starts that take long do not count among those that work. Each takes a thread. If more take long,
/// other starts wait for them.
const MAX_SLOW: usize = 256;

/// How many threads may stay in starts that were given up without a place among those that work. A thread
/// takes a descriptor or a few, and some 20 KiB. If a dead file system holds more, other starts wait: the
/// daemon must not use up the threads and descriptors that it needs itself.
const MAX_STUCK: usize = 256;

/// What is to be started.
pub trait Task: 'static + Send + Sync {
    /// Names the starts that would hang together.
    type Key: 'static + Copy + Eq + Hash;

    fn key(&self) -> Self::Key;
    fn exec_context(&self) -> &ExecContext;
    fn launch(&self) -> Launch<'_>;

    /// Where the process notes who it is.
    fn slot(&self) -> Option<&Slot>;
}

/// What became of a start.
pub enum StartEvent<T> {
    Done {
        job: Arc<T>,
        outcome: Result<Process, StartError>,
        /// Whether a thread still hangs in it: then [`Self::LetGo`] follows.
        hangs: bool,
    },
    /// A start that hung has ended at last. Its run was over before.
    LetGo(Arc<T>),
}

/// Starts what it is given.
pub struct Starter<T: Task, E> {
    shared: Rc<Shared<T::Key>>,
    /// Gets what becomes of each start.
    events: UnboundedSender<E>,
}

struct Shared<K> {
    spawner: Spawner,
    workers: Workers,
    working: Arc<Semaphore>,
    slow: Arc<Semaphore>,
    stuck: Arc<Semaphore>,
    /// How many starts have not begun yet.
    queued: Cell<usize>,
    /// Notified when one of them has begun, or was given up.
    dequeued: Notify,
    /// When a start began the last time.
    last_begin: Cell<Instant>,
    /// How many starts with the same key hang, and one of them.
    hanging: RefCell<HashMap<K, (usize, Arc<Attempt>)>>,
}

/// A start under way.
#[derive(Clone, Default)]
pub struct Start(Rc<Control>);

#[derive(Default)]
struct Control {
    is_cancelled: Cell<bool>,
    changed: Notify,
}

impl Start {
    /// Gives the start up. It ends soon, with an error unless the program is being executed already.
    pub fn cancel(&self) {
        self.0.is_cancelled.set(true);
        self.0.changed.notify_one();
    }

    async fn cancelled(&self) {
        while !self.0.is_cancelled.get() {
            self.0.changed.notified().await;
        }
    }
}

impl<T: Task, E: From<StartEvent<T>> + 'static> Starter<T, E> {
    pub fn new(spawner: Spawner, events: UnboundedSender<E>) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let shared = Shared {
            spawner,
            workers: Workers::default(),
            // While one makes its process, another opens its files.
            working: Arc::new(Semaphore::new(2 * processors)),
            slow: Arc::new(Semaphore::new(MAX_SLOW)),
            stuck: Arc::new(Semaphore::new(MAX_STUCK)),
            queued: Cell::new(0),
            dequeued: Notify::new(),
            last_begin: Cell::new(Instant::now()),
            hanging: RefCell::default(),
        };
        Self { shared: Rc::new(shared), events }
    }

    /// How many starts were handed over and have not begun.
    pub fn queued(&self) -> usize {
        self.shared.queued.get()
    }

    /// Waits until there are few enough for [`MAX_QUEUED`] to be handed over again. Can be dropped at any
    /// time.
    pub fn room(&self) -> impl Future<Output = ()> + use<T, E> {
        let shared = Rc::clone(&self.shared);
        async move {
            while shared.queued.get() > REFILL_BELOW {
                shared.dequeued.notified().await;
            }
        }
    }

    /// Hands over a start. One [`StartEvent::Done`] follows.
    ///
    /// If few enough others work, a thread has it when this returns: whatever the loop does next takes no
    /// time from the action.
    pub fn start(&self, job: T) -> Start {
        let start = Start::default();
        let (shared, events) = (Rc::clone(&self.shared), self.events.clone());
        let (job, control) = (Arc::new(job), start.clone());
        let begun = shared.begin_at_once(&job);
        if begun.is_none() {
            shared.queued.set(self.queued() + 1);
        }
        spawn_local(async move {
            // The daemon may have stopped by now.
            let tell = |event: StartEvent<T>| drop(events.send(event.into()));
            let began = match begun {
                Some(began) => began,
                None => {
                    let began = shared.begin_in_turn(&job, &control).await;
                    shared.queued.set(shared.queued.get() - 1);
                    shared.dequeued.notify_one();
                    began
                }
            };
            let mut thread = match began {
                Ok(thread) => thread,
                Err(error) => {
                    return tell(StartEvent::Done { job, outcome: Err(error), hangs: false });
                }
            };
            match thread.outcome(&shared, &*job, &control).await {
                Some(outcome) => {
                    tell(StartEvent::Done { job, outcome, hangs: false });
                }
                None => {
                    let (step, after) = (thread.attempt.step(), thread.began.elapsed());
                    let outcome = Err(hangs(step, job.exec_context(), after));
                    tell(StartEvent::Done { job: Arc::clone(&job), outcome, hangs: true });
                    thread.give_place(&shared);
                    // It was given up, so nothing but an error can come of it.
                    let _ = (&mut thread.done).await;
                    tell(StartEvent::LetGo(job));
                }
            }
        });
        start
    }
}

impl<K: 'static + Copy + Eq + Hash> Shared<K> {
    /// Begins, unless too many others work.
    fn begin_at_once<T: Task<Key = K>>(&self, job: &Arc<T>) -> Option<Result<Thread<K>, StartError>> {
        let permit = Arc::clone(&self.working).try_acquire_owned().ok()?;
        Some(self.begin(job, Some(permit)))
    }

    /// Waits until few enough others work, and begins.
    async fn begin_in_turn<T: Task<Key = K>>(
        &self,
        job: &Arc<T>,
        control: &Start,
    ) -> Result<Thread<K>, StartError> {
        let began = Instant::now();
        self.check_hanging(&**job)?;
        let permit = select! {
            biased;
            permit = Arc::clone(&self.working).acquire_owned() => permit.ok(),
            () = control.cancelled() => return Err(queued(began.elapsed())),
            () = self.stalled(began) => return Err(queued(began.elapsed())),
        };
        self.begin(job, permit)
    }

    fn begin<T: Task<Key = K>>(
        &self,
        job: &Arc<T>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Thread<K>, StartError> {
        // Others of its watch may have begun to hang while it waited.
        self.check_hanging(&**job)?;
        self.last_begin.set(Instant::now());
        let attempt = Arc::new(Attempt::default());
        let (spawner, job, shared) = (self.spawner, Arc::clone(job), Arc::clone(&attempt));
        let done = self.workers.run(move || spawner.spawn(job.launch(), job.slot(), &shared))?;
        Ok(Thread { done, attempt, began: Instant::now(), permit, hanging: None })
    }

    /// Fails if an earlier start with the same key hangs.
    fn check_hanging<T: Task<Key = K>>(&self, job: &T) -> Result<(), StartError> {
        match self.hanging.borrow().get(&job.key()) {
            Some((_, attempt)) => Err(still_hangs(attempt.step(), job.exec_context())),
            None => Ok(()),
        }
    }

    /// Returns once no start has begun for so long, since `began`, that those under way must all hang. A long
    /// queue that moves does not stall.
    async fn stalled(&self, began: Instant) {
        let left = || START_TIMEOUT.saturating_sub(self.last_begin.get().max(began).elapsed());
        while !left().is_zero() {
            sleep(left()).await;
            // The daemon may have stood still itself: then others begin now.
            sleep(SLOW).await;
        }
    }
}

/// A thread that starts a process.
struct Thread<K: Copy + Eq + Hash> {
    done: Receiver<Result<Process, StartError>>,
    attempt: Arc<Attempt>,
    began: Instant,
    /// Counts it among those that work, or that take long.
    permit: Option<OwnedSemaphorePermit>,
    hanging: Option<Hanging<K>>,
}

impl<K: 'static + Copy + Eq + Hash> Thread<K> {
    /// Waits for the end of the start. `None` if it does not end although it was given up.
    async fn outcome<T: Task<Key = K>>(
        &mut self,
        shared: &Rc<Shared<K>>,
        job: &T,
        control: &Start,
    ) -> Option<Result<Process, StartError>> {
        if let Some(done) = self.wait(SLOW, control).await {
            return Some(done);
        }
        if let Ok(slow) = Arc::clone(&shared.slow).try_acquire_owned() {
            self.permit = Some(slow);
        }
        if let Some(done) = self.wait(HANGING, control).await {
            return Some(done);
        }
        self.hanging = Some(Hanging::new(shared, job.key(), &self.attempt));
        if let Some(done) = self.wait(START_TIMEOUT, control).await {
            return Some(done);
        }
        let given_up = Instant::now();
        while given_up.elapsed() < END_TIMEOUT {
            self.attempt.give_up();
            if let Ok(done) = timeout(GIVE_UP_INTERVAL, &mut self.done).await {
                return Some(joined(done));
            }
        }
        None
    }

    /// Leaves the place of a start that was given up to others: it needs no processor any more. It keeps the
    /// place if too many others are stuck already.
    fn give_place(&mut self, shared: &Shared<K>) {
        if let Ok(stuck) = Arc::clone(&shared.stuck).try_acquire_owned() {
            self.permit = Some(stuck);
        }
    }

    /// Waits until the start has taken `limit`, unless it ends or is given up before.
    async fn wait(&mut self, limit: Duration, control: &Start) -> Option<Result<Process, StartError>> {
        select! {
            biased;
            done = &mut self.done => Some(joined(done)),
            () = control.cancelled() => None,
            () = sleep(limit.saturating_sub(self.began.elapsed())) => None,
        }
    }
}

fn joined(done: Result<Result<Process, StartError>, RecvError>) -> Result<Process, StartError> {
    done.unwrap_or_else(|_| Err(io::Error::other("the thread that was to start it has died").into()))
}

/// Counts a start among those that hang.
struct Hanging<K: Copy + Eq + Hash> {
    shared: Rc<Shared<K>>,
    key: K,
}

impl<K: Copy + Eq + Hash> Hanging<K> {
    fn new(shared: &Rc<Shared<K>>, key: K, attempt: &Arc<Attempt>) -> Self {
        let mut hanging = shared.hanging.borrow_mut();
        hanging.entry(key).or_insert_with(|| (0, Arc::clone(attempt))).0 += 1;
        Self { shared: Rc::clone(shared), key }
    }
}

impl<K: Copy + Eq + Hash> Drop for Hanging<K> {
    fn drop(&mut self) {
        let mut hanging = self.shared.hanging.borrow_mut();
        if let Some((count, _)) = hanging.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                hanging.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::fixtures::block_on;
    use crate::daemon::launch::Job;

    #[test]
    fn starts_that_the_kernel_does_not_let_go_keep_their_places_if_they_are_too_many() {
        block_on(async {
            let (events, _) = tokio::sync::mpsc::unbounded_channel::<StartEvent<Job>>();
            let starter = Starter::<Job, _>::new(Spawner::new().expect("limits"), events);
            let shared = &starter.shared;
            let places = shared.working.available_permits();
            let begin = || {
                let (_, done) = tokio::sync::oneshot::channel();
                let permit = Arc::clone(&shared.working).try_acquire_owned().ok();
                let attempt = Arc::new(Attempt::default());
                Thread { done, attempt, began: Instant::now(), permit, hanging: None }
            };
            let mut stuck = Vec::new();
            for _ in 0..MAX_STUCK + places {
                let mut thread = begin();
                assert!(thread.permit.is_some());
                thread.give_place(shared);
                stuck.push(thread);
            }
            assert_eq!(shared.working.available_permits(), 0, "no other start begins");
            drop(stuck);
            assert_eq!(shared.working.available_permits(), places);
            assert_eq!(shared.stuck.available_permits(), MAX_STUCK);
        });
    }

    #[test]
    fn starts_that_wait_stall_only_if_none_has_begun_for_long() {
        block_on(async {
            let (events, _) = tokio::sync::mpsc::unbounded_channel::<StartEvent<Job>>();
            let starter = Starter::<Job, _>::new(Spawner::new().expect("limits"), events);
            let shared = &starter.shared;
            let long_ago =
                Instant::now().checked_sub(2 * START_TIMEOUT).expect("the machine runs for longer");
            let stalled = async || timeout(2 * SLOW, shared.stalled(long_ago)).await.is_ok();
            assert!(!stalled().await, "a start has just begun");
            shared.last_begin.set(long_ago);
            assert!(stalled().await);
            assert!(timeout(2 * SLOW, shared.stalled(Instant::now())).await.is_err(), "it has just come");
        });
    }
}

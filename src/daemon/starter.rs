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
//! run is over for everybody else, and its thread and process stay until they can end. Meanwhile further
//! starts of the same watch are put off: so each watch holds up few threads, whatever becomes of its updates.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
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

use super::launch::launch;
use super::watches::WatchId;
use super::workers::Workers;
use crate::action::payload::Payload;
use crate::action::spawn::{Attempt, Process, Slot, Spawner, StartError, hangs, queued, still_hangs};
use crate::model::WatchSpec;
use crate::watch::{RunId, Time, Update};

/// A start that takes longer no longer counts among those that work. It is a hundred times what one takes.
const SLOW: Duration = Duration::from_millis(100);

/// A start that takes longer puts further starts of its watch off.
const HANGING: Duration = Duration::from_secs(1);

/// A start that takes longer is given up. It is long enough for a disk that has to spin up.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a start that was given up may take to end. A process that can be killed is gone at once.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// How often a start is given up again meanwhile: it may have made its process just now.
const GIVE_UP_INTERVAL: Duration = Duration::from_millis(100);

/// How many starts that take long do not count among those that work. Each takes a thread. If more take long,
/// other starts wait for them.
const MAX_SLOW: usize = 256;

/// What is to be started.
pub struct Job {
    pub watch: WatchId,
    pub run: RunId,
    /// The action's `TWITCHER_RUN_ID`.
    pub id: String,
    pub spec: WatchSpec,
    pub update: Update,
    /// What the latency counts from, as in [`crate::watch::Effect::Spawn`].
    pub since: Time,
    pub payload: Payload,
    pub slot: Option<Slot>,
}

/// What became of a start.
pub enum StartEvent {
    Done {
        job: Arc<Job>,
        outcome: Result<Process, StartError>,
        /// Whether a thread still hangs in it: then [`Self::LetGo`] follows.
        hangs: bool,
    },
    /// The kernel has let a start go whose run is over, by the run's id.
    LetGo(String),
}

/// Starts what it is given.
pub struct Starter<E> {
    shared: Rc<Shared>,
    /// Gets what becomes of each start.
    events: UnboundedSender<E>,
}

struct Shared {
    spawner: Spawner,
    workers: Workers,
    working: Arc<Semaphore>,
    slow: Arc<Semaphore>,
    /// How many starts of a watch hang, and one of them.
    hanging: RefCell<HashMap<WatchId, (usize, Arc<Attempt>)>>,
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

impl<E: From<StartEvent> + 'static> Starter<E> {
    pub fn new(spawner: Spawner, events: UnboundedSender<E>) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let shared = Shared {
            spawner,
            workers: Workers::default(),
            // While one makes its process, another opens its files.
            working: Arc::new(Semaphore::new(2 * processors)),
            slow: Arc::new(Semaphore::new(MAX_SLOW)),
            hanging: RefCell::default(),
        };
        Self { shared: Rc::new(shared), events }
    }

    /// Hands over a start. One [`StartEvent::Done`] follows.
    pub fn start(&self, job: Job) -> Start {
        let start = Start::default();
        let (shared, events) = (Rc::clone(&self.shared), self.events.clone());
        let control = start.clone();
        spawn_local(async move {
            // The daemon may have stopped by now.
            let tell = |event: StartEvent| drop(events.send(event.into()));
            let job = Arc::new(job);
            let mut thread = match shared.begin(&job, &control).await {
                Ok(thread) => thread,
                Err(error) => {
                    return tell(StartEvent::Done { job, outcome: Err(error), hangs: false });
                }
            };
            match thread.outcome(&shared, &job, &control).await {
                Some(outcome) => {
                    tell(StartEvent::Done { job, outcome, hangs: false });
                }
                None => {
                    let (step, after) = (thread.attempt.step(), thread.began.elapsed());
                    let outcome = Err(hangs(step, &job.spec.exec_context, after));
                    tell(StartEvent::Done { job: Arc::clone(&job), outcome, hangs: true });
                    // It was given up, so nothing but an error can come of it.
                    let _ = (&mut thread.done).await;
                    tell(StartEvent::LetGo(job.id.clone()));
                }
            }
        });
        start
    }
}

impl Shared {
    /// Waits until few enough others work, and begins.
    async fn begin(self: &Rc<Self>, job: &Arc<Job>, control: &Start) -> Result<Thread, StartError> {
        let began = Instant::now();
        if let Some((_, attempt)) = self.hanging.borrow().get(&job.watch) {
            return Err(still_hangs(attempt.step(), &job.spec.exec_context));
        }
        let permit = select! {
            biased;
            permit = Arc::clone(&self.working).acquire_owned() => permit.ok(),
            () = control.cancelled() => return Err(queued(began.elapsed())),
        };
        let attempt = Arc::new(Attempt::default());
        let (spawner, job, shared) = (self.spawner, Arc::clone(job), Arc::clone(&attempt));
        let done = self.workers.run(move || {
            let launch = launch(&job.spec, &job.id, &job.update, &job.payload);
            spawner.spawn(launch, job.slot.as_ref(), &shared)
        })?;
        Ok(Thread { done, attempt, began: Instant::now(), permit, hanging: None })
    }
}

/// A thread that starts a process.
struct Thread {
    done: Receiver<Result<Process, StartError>>,
    attempt: Arc<Attempt>,
    began: Instant,
    /// Counts it among those that work, or that take long.
    permit: Option<OwnedSemaphorePermit>,
    hanging: Option<Hanging>,
}

impl Thread {
    /// Waits for the end of the start. `None` if it does not end although it was given up.
    async fn outcome(
        &mut self,
        shared: &Rc<Shared>,
        job: &Job,
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
        self.hanging = Some(Hanging::new(shared, job.watch, &self.attempt));
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
struct Hanging {
    shared: Rc<Shared>,
    watch: WatchId,
}

impl Hanging {
    fn new(shared: &Rc<Shared>, watch: WatchId, attempt: &Arc<Attempt>) -> Self {
        let mut hanging = shared.hanging.borrow_mut();
        hanging.entry(watch).or_insert_with(|| (0, Arc::clone(attempt))).0 += 1;
        Self { shared: Rc::clone(shared), watch }
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        let mut hanging = self.shared.hanging.borrow_mut();
        if let Some((count, _)) = hanging.get_mut(&self.watch) {
            *count -= 1;
            if *count == 0 {
                hanging.remove(&self.watch);
            }
        }
    }
}

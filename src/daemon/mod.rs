//! The shell around the pure core: one loop that feeds every watch with what happens and performs the
//! effects it asks for. It owns the watches, the timers and the running actions, and decides nothing.
//!
//! * [`configs`] changes which watches there are.
//! * [`runs`] performs what the core asks for.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::time::Duration;

use nix::libc::{SIGHUP, SIGINT, SIGTERM};
use tokio::sync::mpsc::{Receiver, UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};

use crate::action::run::{Handle, Outcome};
use crate::action::spawn::Spawner;
use crate::config::files::{FileChange, Loader};
use crate::config::spec::{WatchKey, WatchSpec};
use crate::report::{Log, Report, RunReport};
use crate::store::{State, StoreEvent, Subject, Subscriptions};
use crate::watch::{End, Input, Reason, RunId, Supply, Time, Watch};

mod configs;
mod runs;

/// How long running actions may take to end by themselves when the daemon stops; from the contract.
pub const STOP_GRACE: Duration = Duration::from_secs(10);

/// Everything the daemon lives on; each is ready to use.
pub struct Parts {
    pub log: Log,
    pub spawner: Spawner,
    pub subscriptions: Subscriptions,
    pub store_events: Receiver<StoreEvent>,
    pub loader: Loader,
    pub config_changes: UnboundedReceiver<FileChange>,
    /// Signal numbers: SIGHUP, SIGTERM and SIGINT.
    pub signals: UnboundedReceiver<i32>,
}

/// Runs until it is told to stop and the last action has ended.
pub async fn run(parts: Parts) {
    let Parts { log, spawner, subscriptions, mut store_events, loader, mut config_changes, mut signals } =
        parts;
    let (ends, mut ended) = unbounded_channel();
    let mut daemon = Daemon::new(log, spawner, subscriptions, ends);
    loop {
        let wake = daemon.timers.first().map(|(at, _)| daemon.origin + *at);
        tokio::select! {
            Some(event) = store_events.recv() => daemon.store_event(event),
            Some(end) = ended.recv() => daemon.run_ended(end),
            Some(change) = config_changes.recv(), if !daemon.stopping => daemon.file_change(change),
            Some(signal) = signals.recv() => match signal {
                SIGHUP => {
                    daemon.log.report(&Report::ConfigReload);
                    loader.rescan();
                }
                SIGINT => daemon.stop("SIGINT"),
                SIGTERM => daemon.stop("SIGTERM"),
                _ => {}
            },
            () = sleep_until(wake.unwrap_or(daemon.origin)), if wake.is_some() => daemon.tick(),
        }
        if daemon.stopping && daemon.runs.is_empty() {
            break;
        }
    }
    daemon.subscriptions.close().await;
    daemon.log.report(&Report::Stopped);
}

/// Names a watch within the daemon; a watch keeps it from its first load until nothing of it runs any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct WatchId(u64);

struct Entry {
    spec: WatchSpec,
    watch: Watch,
    /// As it stands in [`Daemon::timers`].
    timer: Option<Time>,
    /// Removed from its file, while something of it still runs.
    retired: bool,
}

#[derive(Default)]
struct Subscribers {
    watches: Vec<WatchId>,
    unreadable: bool,
}

struct Live {
    key: WatchKey,
    handle: Handle,
    started: Instant,
    ended_by: Option<Reason>,
}

/// Answers [`crate::watch::Effect::Spawn`], once each.
struct RunEnd {
    watch: WatchId,
    run: RunId,
    how: Over,
}

enum Over {
    Ended(io::Result<Outcome>),
    /// Which was said then. `starved` if there was no descriptor, memory or process left for it.
    NeverStarted {
        starved: bool,
    },
}

struct Daemon {
    log: Log,
    spawner: Spawner,
    subscriptions: Subscriptions,
    ends: UnboundedSender<RunEnd>,
    origin: Instant,
    /// Sets this daemon's run ids apart from those of any other.
    stamp: String,
    /// Boxed, because the table has up to twice as many places as entries.
    entries: HashMap<WatchId, Box<Entry>>,
    by_key: HashMap<WatchKey, WatchId>,
    by_file: HashMap<String, Vec<WatchKey>>,
    subjects: HashMap<Subject, Subscribers>,
    runs: HashMap<RunId, Live>,
    supply: Supply,
    next_watch: u64,
    timers: BTreeSet<(Time, WatchId)>,
    drifted: u64,
    stopping: bool,
}

impl Daemon {
    fn new(log: Log, spawner: Spawner, subscriptions: Subscriptions, ends: UnboundedSender<RunEnd>) -> Self {
        let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self {
            log,
            spawner,
            subscriptions,
            ends,
            origin: Instant::now(),
            stamp: format!("{:x}.{:x}", started.unwrap_or_default().as_millis(), std::process::id()),
            entries: HashMap::new(),
            by_key: HashMap::new(),
            by_file: HashMap::new(),
            subjects: HashMap::new(),
            runs: HashMap::new(),
            supply: Supply::new(fastrand::u64(..)),
            next_watch: 0,
            timers: BTreeSet::new(),
            drifted: 0,
            stopping: false,
        }
    }

    fn now(&self) -> Time {
        self.origin.elapsed()
    }

    // What happens: each of these feeds watches.

    fn store_event(&mut self, event: StoreEvent) {
        match event {
            StoreEvent::Observed { subject, state } => self.observed(&subject, &state),
            StoreEvent::Unreadable { subject, reason } => {
                let Some(subscribers) = self.subjects.get_mut(&subject) else { return };
                subscribers.unreadable = true;
                let keys: Vec<_> =
                    subscribers.watches.iter().map(|watch| &self.entries[watch].spec.id).collect();
                self.log.report(&Report::NodeUnreadable {
                    subject: &subject,
                    watches: &keys,
                    reason: &reason,
                });
            }
            StoreEvent::Connected { what } => self.log.report(&Report::StoreConnected { what: &what }),
            StoreEvent::Disconnected { reason } => {
                self.log.report(&Report::StoreDisconnected { reason: &reason });
            }
            StoreEvent::Degraded { reason } => self.log.report(&Report::Trouble { what: &reason }),
            StoreEvent::Drifted { subject } => {
                self.drifted += 1;
                self.log.report(&Report::NodeDrifted { subject: &subject, total: self.drifted });
            }
        }
    }

    fn observed(&mut self, subject: &Subject, state: &State) {
        let Some(subscribers) = self.subjects.get_mut(subject) else { return };
        if std::mem::take(&mut subscribers.unreadable) {
            self.log.report(&Report::NodeReadable { subject });
        }
        self.log.report(&Report::NodeObserved { subject });
        for watch in subscribers.watches.clone() {
            self.step(watch, Input::Observed(state.clone()));
        }
    }

    fn run_ended(&mut self, RunEnd { watch, run, how }: RunEnd) {
        let end = match (how, self.runs.remove(&run)) {
            (Over::Ended(outcome), Some(live)) => self.report_end(run, &live, &outcome),
            (Over::NeverStarted { starved: true }, _) => End::Starved,
            (Over::NeverStarted { starved: false } | Over::Ended(_), _) => End::Failed,
        };
        self.step(watch, Input::Ended { run, end });
    }

    fn report_end(&self, run: RunId, live: &Live, outcome: &io::Result<Outcome>) -> End {
        let what = match outcome {
            Ok(outcome) => {
                RunReport::Ended { outcome, ended_by: live.ended_by, took: live.started.elapsed() }
            }
            Err(error) => RunReport::Lost { error },
        };
        self.log.report(&Report::Run { watch: &live.key, run, what });
        match (outcome, live.ended_by) {
            (Ok(Outcome::Exited(0)), None) => End::Succeeded,
            (Ok(Outcome::Exited(_) | Outcome::Signaled(_)) | Err(_), _) => End::Failed,
        }
    }

    fn tick(&mut self) {
        let now = self.now();
        let due: Vec<_> = self.timers.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect();
        for watch in due {
            self.step(watch, Input::Tick);
        }
    }

    fn stop(&mut self, signal: &str) {
        self.log.report(&Report::Stopping { signal, running: self.runs.len() });
        let grace = if self.stopping { Duration::ZERO } else { STOP_GRACE };
        self.stopping = true;
        for watch in self.entries.keys().copied().collect::<Vec<_>>() {
            self.step(watch, Input::Stopping { grace });
        }
    }

    /// The one place where the core is asked; [`Self::perform`] is the one where it is obeyed.
    fn step(&mut self, id: WatchId, input: Input) {
        let now = self.now();
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let effects = entry.watch.step(now, input, &mut self.supply);
        let due = entry.watch.deadline();
        if let Some(old) = std::mem::replace(&mut entry.timer, due) {
            self.timers.remove(&(old, id));
        }
        self.timers.extend(due.map(|due| (due, id)));
        for effect in effects {
            self.perform(id, effect);
        }
    }
}

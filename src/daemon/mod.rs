//! The shell around the pure core: one loop that feeds every watch with what happens and performs the
//! effects it asks for. It owns the watches, the timers and the running actions, and decides nothing.
//!
//! * [`applied`] knows what of a tree its action has been given.
//! * [`configs`] changes which watches there are.
//! * [`memory`] keeps the ledger, and takes up what a former daemon left in it.
//! * [`runs`] performs what the core asks for.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::time::Duration;

use nix::libc::{SIGHUP, SIGINT, SIGTERM};
use tokio::sync::mpsc::{Receiver, UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};

use crate::action::given::Given;
use crate::action::proc::ProcessMark;
use crate::action::run::{Handle, Outcome};
use crate::action::spawn::Spawner;
use crate::config::files::{FileChange, Loader};
use crate::config::spec::{WatchKey, WatchSpec};
use crate::ledger::{Ending, Intent, Ledger};
use crate::report::{Log, Report, RunReport};
use crate::store::{Content, State, StoreEvent, Subject, Subscriptions};
use crate::watch::{End, Event, Input, Reason, RunId, Supply, Time, Update, Watch};
use applied::Applied;
use configs::FirstScan;
use memory::LastFailure;

mod applied;
mod configs;
mod memory;
mod runs;

/// How many of a store's events are taken at once. The first action of a burst waits for all of them, some 50 µs each.
const BATCH: usize = 16;

/// How long the ledger waits for what need not be there before an action starts: as long as a start takes, so that it
/// does not take the processor from the action. A daemon that is killed meanwhile is taken to have done nothing.
const SETTLE: Duration = Duration::from_millis(2);

/// Everything the daemon lives on; each is ready to use.
pub struct Parts {
    pub log: Log,
    pub ledger: Ledger,
    pub spawner: Spawner,
    pub subscriptions: Subscriptions,
    pub store_events: Receiver<StoreEvent>,
    pub loader: Loader,
    pub config_changes: UnboundedReceiver<FileChange>,
    /// Signal numbers: SIGHUP, SIGTERM and SIGINT.
    pub signals: UnboundedReceiver<i32>,
    /// How long running actions may take to end by themselves when the daemon stops.
    pub stop_timeout: Duration,
}

/// Runs until it is told to stop and the last action has ended.
pub async fn run(parts: Parts) {
    let Parts { mut store_events, loader, mut config_changes, mut signals, .. } = parts;
    let (ends, mut ended) = unbounded_channel();
    let mut daemon = Daemon {
        log: parts.log,
        ledger: parts.ledger,
        spawner: parts.spawner,
        subscriptions: parts.subscriptions,
        ends,
        origin: Instant::now(),
        stamp: stamp(),
        entries: HashMap::new(),
        by_key: HashMap::new(),
        by_file: HashMap::new(),
        subjects: HashMap::new(),
        runs: HashMap::new(),
        starting: Vec::new(),
        unremembered: BTreeSet::new(),
        unidentified: BTreeSet::new(),
        settle_at: None,
        supply: Supply::new(fastrand::u64(..)),
        next_watch: 0,
        timers: BTreeSet::new(),
        scan: FirstScan::default(),
        interrupted: HashMap::new(),
        drifted: 0,
        stop_timeout: parts.stop_timeout,
        stopping: false,
    };
    daemon.adopt_orphans();
    loop {
        daemon.heed_ledger();
        let retry = daemon.ledger.retry_at().map(Instant::from_std);
        let wake = daemon.timers.first().map(|(at, _)| daemon.origin + *at);
        let settle = daemon.settle_at;
        tokio::select! {
            Some(event) = store_events.recv() => {
                daemon.store_event(event);
                // What it has to say besides shares a commit.
                let more = std::iter::from_fn(|| store_events.try_recv().ok());
                more.take(BATCH).for_each(|event| daemon.store_event(event));
            }
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
            () = sleep_until(settle.unwrap_or(daemon.origin)), if settle.is_some() => daemon.settle(),
            () = sleep_until(retry.unwrap_or(daemon.origin)), if retry.is_some() => daemon.ledger.retry(),
        }
        daemon.start_all();
        daemon.settle_soon();
        if daemon.stopping && daemon.runs.is_empty() {
            break;
        }
    }
    daemon.settle();
    daemon.subscriptions.close().await;
    daemon.log.report(&Report::Stopped);
}

/// Names a watch within the daemon; a watch keeps it from its first load until nothing of it runs any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct WatchId(u64);

struct Entry {
    definition: Definition,
    /// The definition's, as the ledger has it.
    hash: u64,
    watch: Watch,
    /// As it stands in [`Daemon::timers`].
    timer: Option<Time>,
    /// Removed from its file, or not loaded yet, while something of it still runs.
    retired: bool,
    /// Since the last success. Boxed, because few have one.
    failure: Option<Box<LastFailure>>,
    /// In the present definition. Boxed, because few watch trees.
    applied: Option<Box<Applied>>,
}

enum Definition {
    Loaded(WatchSpec),
    /// Known from the ledger only, by a run that still lives.
    Former {
        key: WatchKey,
        subject: Subject,
    },
}

impl Entry {
    fn new(definition: Definition, watch: Watch) -> Self {
        let mut entry =
            Self { definition, hash: 0, watch, timer: None, retired: true, failure: None, applied: None };
        if let Some(spec) = entry.spec() {
            (entry.hash, entry.retired) = (spec.definition_hash(), false);
        }
        entry
    }

    fn spec(&self) -> Option<&WatchSpec> {
        match &self.definition {
            Definition::Loaded(spec) => Some(spec),
            Definition::Former { .. } => None,
        }
    }

    fn key(&self) -> &WatchKey {
        match &self.definition {
            Definition::Loaded(spec) => &spec.id,
            Definition::Former { key, .. } => key,
        }
    }

    /// What a run for this content is given.
    fn give(&mut self, run: RunId, content: &Content) -> Given {
        match content {
            Content::Data(data) => Given::Data(data.clone()),
            Content::Children(names) => Given::Children(names.clone()),
            Content::Tree(tree) => Given::Changes(self.applied.get_or_insert_default().give(run, tree)),
        }
    }

    fn fail(&mut self, what: String) {
        self.failure = Some(Box::new(LastFailure { what, next_try: None }));
    }

    fn subject(&self) -> &Subject {
        match &self.definition {
            Definition::Loaded(spec) => &spec.subject,
            Definition::Former { subject, .. } => subject,
        }
    }
}

#[derive(Default)]
struct Subscribers {
    watches: Vec<WatchId>,
    unreadable: bool,
}

struct Live {
    /// As the ledger has it. Kept, because one that was lost has to be told again.
    intent: Intent,
    process: Option<ProcessMark>,
    handle: Handle,
    started: Instant,
    ended_by: Option<Reason>,
}

/// A run that starts as soon as the ledger knows of it.
struct Start {
    watch: WatchId,
    run: RunId,
    update: Update,
    given: Given,
    intent: Intent,
}

/// Answers [`crate::watch::Effect::Spawn`], once each.
struct RunEnd {
    watch: WatchId,
    run: RunId,
    how: Over,
}

enum Over {
    /// With the last of its output.
    Ended(io::Result<Outcome>, Vec<u8>),
    /// Which was said then. `starved` if there was no descriptor, memory or process left for it.
    NeverStarted { starved: bool },
    /// There was nothing to do.
    Needless,
}

struct Daemon {
    log: Log,
    ledger: Ledger,
    spawner: Spawner,
    subscriptions: Subscriptions,
    ends: UnboundedSender<RunEnd>,
    origin: Instant,
    stamp: String,
    /// Boxed, because the table has up to twice as many places as entries.
    entries: HashMap<WatchId, Box<Entry>>,
    by_key: HashMap<WatchKey, WatchId>,
    by_file: HashMap<String, Vec<WatchKey>>,
    subjects: HashMap<Subject, Subscribers>,
    runs: HashMap<RunId, Live>,
    starting: Vec<Start>,
    /// Whose records in the ledger are out of date, and which runs are there without their process.
    unremembered: BTreeSet<WatchId>,
    unidentified: BTreeSet<RunId>,
    /// When the ledger is to be told of these.
    settle_at: Option<Instant>,
    supply: Supply,
    next_watch: u64,
    timers: BTreeSet<(Time, WatchId)>,
    scan: FirstScan,
    /// Of the runs that the former daemon did not see end, until their watch is loaded.
    interrupted: HashMap<WatchKey, (Subject, Event)>,
    drifted: u64,
    stop_timeout: Duration,
    stopping: bool,
}

/// What the end of a run means: to its watch, and to the ledger.
fn verdict(outcome: &io::Result<Outcome>, told: Option<Reason>) -> (End, Ending<'static>) {
    match (outcome, told) {
        (Ok(Outcome::Unknown), None | Some(Reason::Timeout | Reason::Stop)) => {
            (End::Interrupted, Ending::Unknown)
        }
        (Ok(Outcome::Exited(_) | Outcome::Signaled(_)), Some(Reason::Stop)) => {
            (End::Interrupted, Ending::Interrupted)
        }
        (Ok(Outcome::Exited(_) | Outcome::Signaled(_)), Some(Reason::Timeout)) => {
            (End::Failed, Ending::TimedOut)
        }
        (Ok(Outcome::Exited(0)), None) => (End::Succeeded, Ending::Exited(0)),
        (Ok(Outcome::Exited(code)), None) => (End::Failed, Ending::Exited(*code)),
        (Ok(Outcome::Signaled(signal)), None) => (End::Failed, Ending::Signaled(*signal)),
        (Err(_), None | Some(Reason::Timeout | Reason::Stop)) => (End::Failed, Ending::Unknown),
    }
}

/// Sets the run ids of a daemon apart from those of any other.
fn stamp() -> String {
    let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    format!("{:x}.{:x}", started.unwrap_or_default().as_millis(), std::process::id())
}

impl Daemon {
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
                    subscribers.watches.iter().map(|watch| self.entries[watch].key()).collect();
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
        let end = match how {
            Over::NeverStarted { starved: true } => End::Starved,
            Over::NeverStarted { starved: false } => End::Failed,
            Over::Needless => End::Succeeded,
            Over::Ended(outcome, output) => {
                // Each is followed once, and only what was put there.
                let Some(live) = self.runs.remove(&run) else { return };
                let (end, ending) = verdict(&outcome, live.ended_by);
                self.note_end(run, &live, ending, &output);
                self.report_end(watch, run, &live, &outcome, end);
                end
            }
        };
        if let Some(applied) = self.entries.get_mut(&watch).and_then(|entry| entry.applied.as_mut()) {
            applied.ended(run, end == End::Succeeded);
        }
        self.step(watch, Input::Ended { run, end });
    }

    fn report_end(
        &mut self,
        watch: WatchId,
        run: RunId,
        live: &Live,
        outcome: &io::Result<Outcome>,
        end: End,
    ) {
        let what = match outcome {
            Ok(outcome) => {
                RunReport::Ended { outcome, ended_by: live.ended_by, took: live.started.elapsed() }
            }
            Err(error) => RunReport::Lost { error },
        };
        if let Some(entry) = self.entries.get_mut(&watch) {
            match end {
                End::Succeeded => entry.failure = None,
                End::Failed => entry.fail(what.to_string()),
                End::Interrupted | End::Starved => {}
            }
        }
        self.log.report(&Report::Run { watch: &live.intent.watch, run, what });
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
        let grace = if self.stopping { Duration::ZERO } else { self.stop_timeout };
        self.stopping = true;
        for watch in self.entries.keys().copied().collect::<Vec<_>>() {
            self.step(watch, Input::Stopping { grace });
        }
    }

    /// The one place where the core is asked; [`Self::perform`] is the one where it is obeyed.
    fn step(&mut self, id: WatchId, input: Input) {
        let now = self.now();
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let before = entry.watch.standing();
        let effects = entry.watch.step(now, input, &mut self.supply);
        if entry.watch.standing() != before {
            self.unremembered.insert(id);
        }
        self.schedule(id);
        for effect in effects {
            self.perform(id, effect);
        }
    }

    /// Gives a watch its place.
    fn enter(&mut self, entry: Entry) -> WatchId {
        self.next_watch += 1;
        let id = WatchId(self.next_watch);
        self.by_key.insert(entry.key().clone(), id);
        self.entries.insert(id, Box::new(entry));
        id
    }

    fn schedule(&mut self, id: WatchId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let due = entry.watch.deadline();
        if let Some(old) = std::mem::replace(&mut entry.timer, due) {
            self.timers.remove(&(old, id));
        }
        self.timers.extend(due.map(|due| (due, id)));
    }
}

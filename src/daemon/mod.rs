//! The shell around the pure core: one loop that feeds every watch with what happens and performs the
//! effects it asks for. It owns the watches, the timers and the running actions, and decides nothing.
//!
//! * [`applied`] knows what of a tree its action has been given.
//! * [`configs`] changes which watches there are.
//! * [`entry`] is a watch as the daemon holds it.
//! * [`gauges`] says how all that is at the moment.
//! * [`persist`] keeps the ledger, and takes up what a former daemon left in it.
//! * [`operator`] answers what operators ask through the control socket.
//! * [`once`] lets it end by itself.
//! * [`runs`] performs what the core asks for.
//! * [`stores`] has the stores, and what is followed in each.
//! * [`systemd`] tells the service manager how the daemon does.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use nix::libc::{SIGHUP, SIGINT, SIGTERM};
use tokio::sync::mpsc::{Receiver, UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep, sleep_until};

use crate::action::payload::Payload;
use crate::action::proc::ProcessId;
use crate::action::run::{ExitStatus, Handle};
use crate::action::spawn::Spawner;
use crate::config::files::{FileChange, Loader};
use crate::control::{CommandResult, DaemonRequest, ReplySender, RequestError};
use crate::ledger::{Intent, Ledger, RunOutcome};
use crate::model::{State, StoreName, Subject, WatchKey};
use crate::report::{NodeRef, Report, Reporter, RunReport};
use crate::store::StoreEvent;
use crate::watch::{Event, Generator, Input, Reason, RunId, RunResult, Time, Update};
use configs::FirstScan;
use entry::{Entry, EntryKind, WatchId};
use persist::{LastRun, run_name};
use systemd::{StatusCounts, Systemd};

mod applied;
mod configs;
mod entry;
mod gauges;
mod once;
mod operator;
mod persist;
mod runs;
mod stores;
pub mod systemd;

pub use once::{FinalStatus, PlannedRun, Until};
pub use stores::Stores;

/// How many of the stores' events are taken at once. The first action of a burst waits for all of them, some 50 µs each.
const MAX_EVENT_BATCH: usize = 16;

/// How long the ledger waits for what need not be there before an action starts: as long as a start takes, so that it
/// does not take the processor from the action. A daemon that is killed meanwhile is taken to have done nothing.
const FLUSH_DELAY: Duration = Duration::from_millis(2);

/// Everything the daemon lives on; each is ready to use.
pub struct Parts {
    pub log: Reporter,
    pub ledger: Ledger,
    pub spawner: Spawner,
    pub stores: Stores,
    pub config_path: PathBuf,
    /// What root's daemon loads although others can change it; for operators to know.
    pub untrusted_allowed: bool,
    pub loader: Loader,
    pub config_changes: UnboundedReceiver<FileChange>,
    /// Signal numbers: SIGHUP, SIGTERM and SIGINT.
    pub signals: UnboundedReceiver<i32>,
    /// What operators ask; nobody may be there to.
    pub requests: Receiver<DaemonRequest>,
    pub systemd: Systemd,
    /// How long running actions may take to end by themselves when the daemon stops.
    pub stop_timeout: Duration,
    pub until: Until,
}

/// Runs until it is told to stop, or is done, and the last action has ended. Returns how things stand then; `None` for
/// [`Until::Stopped`].
pub async fn run(parts: Parts) -> Option<FinalStatus> {
    let Parts { mut config_changes, mut signals, mut requests, .. } = parts;
    let (ends, mut ended) = unbounded_channel();
    let mut daemon = Daemon {
        log: parts.log,
        ledger: parts.ledger,
        spawner: parts.spawner,
        stores: parts.stores,
        ends,
        start_instant: Instant::now(),
        started: SystemTime::now(),
        config_path: parts.config_path,
        untrusted_allowed: parts.untrusted_allowed,
        loader: parts.loader,
        run_id_prefix: run_id_prefix(),
        entries: BTreeMap::new(),
        by_key: HashMap::new(),
        by_file: HashMap::new(),
        watches: 0,
        failing: BTreeSet::new(),
        runs: HashMap::new(),
        starting: Vec::new(),
        unsaved_watches: BTreeSet::new(),
        unsaved_processes: BTreeSet::new(),
        flush_at: None,
        generator: Generator::new(fastrand::u64(..)),
        next_watch: 0,
        timers: BTreeSet::new(),
        scan: FirstScan::default(),
        failing_files: BTreeMap::new(),
        interrupted: HashMap::new(),
        missed_changes: 0,
        systemd: parts.systemd,
        stop_timeout: parts.stop_timeout,
        stopping: false,
        reloads: VecDeque::new(),
        until: parts.until,
        planned: Vec::new(),
        scanned_at: None,
    };
    daemon.adopt_orphans();
    loop {
        daemon.handle_ledger_events();
        let retry = daemon.ledger.retry_at().map(Instant::from_std);
        let wake = daemon.timers.first().map(|(at, _)| daemon.start_instant + *at);
        let flush = daemon.flush_at;
        let notify_at = daemon.systemd.due();
        tokio::select! {
            (store, event) = daemon.stores.next() => {
                daemon.store_event(&store, event);
                // What they have to say besides shares a commit.
                for _ in 0..MAX_EVENT_BATCH {
                    let Some((store, event)) = daemon.stores.try_next() else { break };
                    daemon.store_event(&store, event);
                }
            }
            Some(end) = ended.recv() => daemon.run_ended(end),
            Some(change) = config_changes.recv(), if !daemon.stopping => daemon.file_change(change),
            Some(signal) = signals.recv() => match signal {
                SIGHUP => daemon.reload("SIGHUP", None),
                SIGINT => daemon.stop("SIGINT"),
                SIGTERM => daemon.stop("SIGTERM"),
                _ => {}
            },
            Some(request) = requests.recv() => daemon.reply(request),
            () = sleep_until(wake.unwrap_or(daemon.start_instant)), if wake.is_some() => daemon.tick(),
            () = sleep_until(flush.unwrap_or(daemon.start_instant)), if flush.is_some() => daemon.flush(),
            () = sleep(once::POLL_INTERVAL), if daemon.until != Until::Stopped => {}
            () = sleep_until(retry.unwrap_or(daemon.start_instant)), if retry.is_some() => daemon.ledger.retry(),
            () = sleep_until(notify_at.unwrap_or(daemon.start_instant)), if notify_at.is_some() => {}
        }
        daemon.start_all();
        daemon.schedule_flush();
        daemon.notify_systemd();
        if daemon.stopping && daemon.runs.is_empty() || daemon.is_done() {
            break;
        }
    }
    daemon.flush();
    let ended = daemon.final_status();
    daemon.stores.close().await;
    daemon.log.report(&Report::Stopped);
    ended
}

struct LiveRun {
    /// As the ledger has it. Kept, because one that was lost has to be told again.
    intent: Intent,
    process: Option<ProcessId>,
    handle: Handle,
    started: Instant,
    ended_by: Option<Reason>,
    /// When it was sent SIGKILL.
    killed: Option<Instant>,
}

/// A run that starts as soon as the ledger knows of it.
struct PendingStart {
    watch: WatchId,
    run: RunId,
    update: Update,
    /// As in [`crate::watch::Effect::Spawn`].
    since: Time,
    payload: Payload,
    intent: Intent,
}

/// Answers [`crate::watch::Effect::Spawn`], once each.
struct RunEnd {
    watch: WatchId,
    run: RunId,
    how: EndKind,
}

enum EndKind {
    /// With the last of its output.
    Ended(io::Result<ExitStatus>, Vec<u8>),
    /// Which was said then. `starved` if there was no descriptor, memory or process left for it.
    NeverStarted { starved: bool },
    /// There was nothing to do.
    Unchanged,
}

struct Daemon {
    log: Reporter,
    ledger: Ledger,
    spawner: Spawner,
    stores: Stores,
    ends: UnboundedSender<RunEnd>,
    start_instant: Instant,
    /// The same by the calendar.
    started: SystemTime,
    config_path: PathBuf,
    untrusted_allowed: bool,
    loader: Loader,
    run_id_prefix: String,
    /// Boxed, because a node of the tree has up to twice as many places as entries.
    entries: BTreeMap<WatchId, Box<Entry>>,
    by_key: HashMap<WatchKey, WatchId>,
    by_file: HashMap<String, Vec<WatchKey>>,
    /// How many the files register, and which of these fail: counted as they change, so that nobody has to look at all.
    watches: usize,
    failing: BTreeSet<WatchId>,
    runs: HashMap<RunId, LiveRun>,
    starting: Vec<PendingStart>,
    /// Whose records in the ledger are out of date, and which runs are there without their process.
    unsaved_watches: BTreeSet<WatchId>,
    unsaved_processes: BTreeSet<RunId>,
    /// When the ledger is to be told of these.
    flush_at: Option<Instant>,
    generator: Generator,
    next_watch: u64,
    timers: BTreeSet<(Time, WatchId)>,
    scan: FirstScan,
    /// Files whose last load failed, and why.
    failing_files: BTreeMap<String, String>,
    /// Of the runs that the former daemon did not see end, until their watch is loaded.
    interrupted: HashMap<WatchKey, (Arc<str>, Subject, Event)>,
    missed_changes: u64,
    systemd: Systemd,
    stop_timeout: Duration,
    stopping: bool,
    /// The rescans that were asked for and are not done, the oldest first, and who waits for them.
    reloads: VecDeque<Option<ReplySender<Result<CommandResult, RequestError>>>>,
    until: Until,
    planned: Vec<PlannedRun>,
    /// When it was first seen that all configs were read.
    scanned_at: Option<Instant>,
}

/// What the end of a run means: to its watch, and to the ledger.
fn verdict(outcome: &io::Result<ExitStatus>, told: Option<Reason>) -> (RunResult, RunOutcome<'static>) {
    let Ok(outcome) = outcome else { return (RunResult::Failed, RunOutcome::Unknown) };
    let ending = RunOutcome::of(outcome, told);
    let end = match ending {
        RunOutcome::Exited(0) => RunResult::Succeeded,
        RunOutcome::Exited(_)
        | RunOutcome::Signaled(_)
        | RunOutcome::TimedOut
        | RunOutcome::Killed
        | RunOutcome::NotStarted(_) => RunResult::Failed,
        RunOutcome::Interrupted | RunOutcome::Unknown => RunResult::Interrupted,
    };
    (end, ending)
}

/// Sets the run ids of a daemon apart from those of any other.
fn run_id_prefix() -> String {
    let started = SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    format!("{:x}.{:x}", started.unwrap_or_default().as_millis(), std::process::id())
}

impl Daemon {
    fn now(&self) -> Time {
        self.start_instant.elapsed()
    }

    // What happens: each of these feeds watches.

    fn store_event(&mut self, name: &StoreName, event: StoreEvent) {
        let display_name = self.stores.display_name(name);
        let store = &mut self.stores[name];
        match event {
            StoreEvent::Observed { subject, state } => self.observed(name, &subject, &state),
            StoreEvent::Unreadable { subject, reason } => {
                let Some(subscribers) = store.subjects.get_mut(&subject) else { return };
                subscribers.unreadable = Some(reason.clone());
                let keys: Vec<_> =
                    subscribers.watches.iter().map(|watch| self.entries[watch].key()).collect();
                let node = NodeRef { store: name, subject: &subject };
                self.log.report(&Report::NodeUnreadable { node, watches: &keys, reason: &reason });
            }
            StoreEvent::Connected { what } => {
                let downtime = store.connected(&what);
                self.log.report(&Report::StoreConnected { store: display_name, what: &what, downtime });
                self.systemd.store(name.as_str(), true);
            }
            StoreEvent::Disconnected { reason } => {
                store.disconnected(&reason);
                self.log.report(&Report::StoreDisconnected { store: display_name, reason: &reason });
                self.systemd.store(name.as_str(), false);
            }
            StoreEvent::Refused { reason } => {
                store.refused(&reason);
                self.log.report(&Report::StoreRefused { store: display_name, reason: &reason });
            }
            StoreEvent::Exposed(what) => {
                self.log.report(&Report::StoreExposed { store: display_name, what: &what });
            }
            StoreEvent::Degraded { reason } => {
                self.log.report(&Report::StoreDegraded { store: display_name, reason: &reason });
            }
            StoreEvent::MissedChange { subject } => {
                self.missed_changes += 1;
                let node = NodeRef { store: name, subject: &subject };
                self.log.report(&Report::NodeChangeMissed { node, total: self.missed_changes });
            }
        }
    }

    fn observed(&mut self, store: &StoreName, subject: &Subject, state: &State) {
        let node = NodeRef { store, subject };
        let Some(subscribers) = self.stores[store].subjects.get_mut(subject) else { return };
        if subscribers.unreadable.take().is_some() {
            self.log.report(&Report::NodeReadable { node });
        }
        self.log.report(&Report::NodeObserved { node });
        for watch in subscribers.watches.clone() {
            self.step(watch, Input::Observed(state.clone()));
        }
    }

    fn run_ended(&mut self, RunEnd { watch, run, how }: RunEnd) {
        let end = match how {
            EndKind::NeverStarted { starved: true } => RunResult::Starved,
            EndKind::NeverStarted { starved: false } => RunResult::Failed,
            EndKind::Unchanged => RunResult::Succeeded,
            EndKind::Ended(outcome, output) => {
                // Each is followed once, and only what was put there.
                let Some(live) = self.runs.remove(&run) else { return };
                let (end, ending) = verdict(&outcome, live.ended_by);
                self.record_end(run, &live, ending, &output);
                if let Some(entry) = self.entries.get_mut(&watch) {
                    let Intent { event, version, started, .. } = live.intent;
                    let (version, took) = (version.number, live.started.elapsed());
                    entry.last_run = Some(Box::new(LastRun { run, event, version, started, took, ending }));
                }
                self.report_end(watch, run, &live, &outcome, end);
                end
            }
        };
        if let Some(applied) = self.entries.get_mut(&watch).and_then(|entry| entry.applied.as_mut()) {
            applied.ended(run, end == RunResult::Succeeded);
        }
        self.step(watch, Input::Ended { run, end });
    }

    fn report_end(
        &mut self,
        watch: WatchId,
        run: RunId,
        live: &LiveRun,
        outcome: &io::Result<ExitStatus>,
        end: RunResult,
    ) {
        let what = match outcome {
            Ok(outcome) => {
                RunReport::Ended { outcome, ended_by: live.ended_by, took: live.started.elapsed() }
            }
            Err(error) => RunReport::Lost { error },
        };
        if let Some(entry) = self.entries.get_mut(&watch) {
            match end {
                RunResult::Succeeded => entry.failure = None,
                RunResult::Failed => entry.fail(what.to_string()),
                RunResult::Interrupted | RunResult::Starved => {}
            }
        }
        self.log.report(&Report::Run { run: run_name(&live.intent, run), what });
    }

    fn tick(&mut self) {
        let now = self.now();
        let due: Vec<_> = self.timers.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect();
        for watch in due {
            self.step(watch, Input::Tick);
        }
    }

    /// Whoever asks for it; `reply` is given when the configs were read.
    fn reload(
        &mut self,
        requested_by: &str,
        reply: Option<ReplySender<Result<CommandResult, RequestError>>>,
    ) {
        self.log.report(&Report::ConfigReload { requested_by });
        self.systemd.reloading();
        self.reloads.push_back(reply);
        self.loader.rescan();
    }

    fn notify_systemd(&mut self) {
        let counts =
            StatusCounts { watches: self.watches, running: self.runs.len(), failing: self.failing.len() };
        if let Err(error) = self.systemd.send_updates(counts) {
            self.log.report(&Report::Problem { what: &error.to_string() });
        }
    }

    fn stop(&mut self, signal: &str) {
        self.log.report(&Report::Stopping { signal, running: self.runs.len() });
        self.systemd.stopping();
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
        let before = entry.watch.snapshot();
        let effects = entry.watch.step(now, input, &mut self.generator);
        if entry.watch.snapshot() != before {
            self.unsaved_watches.insert(id);
        }
        self.count_failing(id);
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
        self.count_failing(id);
        id
    }

    fn count_failing(&mut self, id: WatchId) {
        let Some(entry) = self.entries.get(&id) else { return };
        match !entry.retired && entry.watch.snapshot().is_failing() {
            true => self.failing.insert(id),
            false => self.failing.remove(&id),
        };
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

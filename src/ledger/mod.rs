//! The ledger: what must be known after the daemon's death, in `ledger.db` in the state directory.
//!
//! An embedded SQLite database that an operator can read with `sqlite3` while the daemon runs. It says for each
//! watch what was observed and applied last ([`Snapshot`]), and for each run how it began and ended.
//!
//! The daemon can do without it: whatever happens to the file (damaged, deleted, on a full or read-only disk) is
//! said once ([`LedgerEvent`]), and only what the daemon's death would lose is at stake meanwhile. A record that is older
//! than the truth makes an update run again, and never loses one.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::action::proc::ProcessId;
use crate::action::run::ExitStatus;
use crate::model::{Subject, Version, WatchKey};
use crate::watch::{Event, Reason, Snapshot};

mod checkpoint;
mod column;
mod database;
mod error;
mod files;
mod history;
mod runs;
mod supervisor;
#[cfg(test)]
mod tests;
mod watches;

use files::Files;
pub use history::{RunFilter, RunRecord};
use supervisor::{Limits, Supervisor};

/// The file's name in the state directory.
pub const FILE: &str = "ledger.db";

/// A watch's record.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchRecord<'a> {
    pub watch: &'a WatchKey,
    /// What the store is known by over restarts: records of another say nothing about this one's versions.
    pub store: &'a str,
    pub subject: &'a Subject,
    /// Of the definition that the watch has now.
    pub definition: u64,
    pub snapshot: &'a Snapshot,
    /// How the last failure in the present series went, in words, and when it is tried again.
    pub last_error: Option<&'a str>,
    pub next_try: Option<SystemTime>,
}

/// A watch's record as a former daemon left it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredWatch {
    pub store: String,
    pub subject: Subject,
    pub definition: u64,
    /// [`Snapshot::applied`] is `None` if that was another definition.
    pub snapshot: Snapshot,
    /// As in [`WatchRecord`].
    pub last_error: Option<String>,
}

/// A run that is about to start.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    /// As the action gets it in `TWITCHER_RUN_ID`; unique for ever.
    pub run: String,
    pub watch: WatchKey,
    /// As in [`WatchRecord`].
    pub store: Arc<str>,
    pub subject: Subject,
    pub definition: u64,
    pub version: Version,
    pub event: Event,
    pub started: SystemTime,
    pub timeout: Option<Duration>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunOutcome<'a> {
    Exited(i32),
    /// Ended by this signal.
    Signaled(i32),
    /// Its timeout came first; how it ended then.
    TimedOut,
    /// An operator ended it.
    Killed,
    /// Why.
    NotStarted(&'a str),
    /// The daemon stopped before it had ended.
    Interrupted,
    /// Its daemon died before it ended, so that nobody knows how it did.
    Unknown,
}

impl RunOutcome<'static> {
    /// How a run ended that was `told` to, or not.
    pub fn of(outcome: &ExitStatus, told: Option<Reason>) -> Self {
        match (outcome, told) {
            (ExitStatus::Unknown, None | Some(Reason::Timeout | Reason::Stop | Reason::Kill)) => {
                RunOutcome::Unknown
            }
            (ExitStatus::Exited(_) | ExitStatus::Signaled(_), Some(Reason::Stop)) => RunOutcome::Interrupted,
            (ExitStatus::Exited(_) | ExitStatus::Signaled(_), Some(Reason::Timeout)) => RunOutcome::TimedOut,
            (ExitStatus::Exited(_) | ExitStatus::Signaled(_), Some(Reason::Kill)) => RunOutcome::Killed,
            (ExitStatus::Exited(code), None) => RunOutcome::Exited(*code),
            (ExitStatus::Signaled(signal), None) => RunOutcome::Signaled(*signal),
        }
    }
}

impl<'a> RunOutcome<'a> {
    /// All that [`Self::name`] can give.
    pub const NAMES: [&'static str; 8] =
        ["success", "exit", "signal", "timeout", "killed", "not_started", "interrupted", "unknown"];

    /// As the ledger has it, and everything that shows or counts it.
    pub fn name(self) -> &'static str {
        match self {
            RunOutcome::Exited(0) => "success",
            RunOutcome::Exited(_) => "exit",
            RunOutcome::Signaled(_) => "signal",
            RunOutcome::TimedOut => "timeout",
            RunOutcome::Killed => "killed",
            RunOutcome::NotStarted(_) => "not_started",
            RunOutcome::Interrupted => "interrupted",
            RunOutcome::Unknown => "unknown",
        }
    }

    pub fn exit_code(self) -> Option<i32> {
        if let RunOutcome::Exited(code) = self { Some(code) } else { None }
    }

    pub fn signal(self) -> Option<i32> {
        if let RunOutcome::Signaled(signal) = self { Some(signal) } else { None }
    }

    /// Why it was not started.
    pub fn error(self) -> Option<&'a str> {
        if let RunOutcome::NotStarted(error) = self { Some(error) } else { None }
    }
}

/// A run whose end is not in the ledger.
#[derive(Clone, Debug, PartialEq)]
pub struct UnfinishedRun {
    pub intent: Intent,
    /// `None` if the daemon died before it could note it.
    pub process: Option<ProcessId>,
    /// Whether it was started since the machine was booted: if not, it cannot live any more.
    pub this_boot: bool,
}

/// What changed about the ledger itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerEvent {
    /// The file was damaged or taken away, and a new one begun. What there was of the old one is now at this path.
    Quarantined { path: Option<String>, reason: String },
    /// It cannot be used; the daemon goes on without, and it is tried again.
    Lost { reason: String },
    /// It can be used again.
    Back,
}

/// See the module. No call fails: what cannot be written is made up for when it can be again. None waits for others
/// longer than 100 ms.
pub struct Ledger {
    supervisor: Supervisor,
}

/// Copies what there is of the ledger in `from` to `to`, for whoever wants to do with it what is not to be done: also
/// while a daemon uses it. Returns whether there was any.
pub fn copy(from: &Path, to: &Path) -> io::Result<bool> {
    database::copy(&Files::new(from), &Files::new(to)).map_err(|trouble| {
        io::Error::other(format!("{}: {}", from.join(FILE).display(), trouble.into_reason()))
    })
}

impl Ledger {
    /// Opens or creates the ledger in `state_dir`. What happened to it is the first [`LedgerEvent`].
    pub fn open(state_dir: &Path) -> Self {
        Self { supervisor: Supervisor::open(state_dir, Limits::default()) }
    }

    /// What happened to the ledger since this was asked last. After anything but [`LedgerEvent::Lost`] the caller tells it
    /// all watches and all live runs again: what it knew is gone or out of date.
    pub fn next_event(&mut self) -> Option<LedgerEvent> {
        self.supervisor.next_event()
    }

    /// When a lost ledger is to be tried again; `None` if it is in use.
    pub fn retry_at(&self) -> Option<Instant> {
        self.supervisor.retry_at()
    }

    /// Tries a lost ledger again, if it is time. Every other call does, too, but an idle daemon makes none.
    pub fn retry(&mut self) {
        self.supervisor.retry();
    }

    /// Whether anything that a daemon noted may be lost.
    pub fn may_have_lost_records(&self) -> bool {
        self.supervisor.may_have_lost_records()
    }

    /// The records of a config file's watches, by their description. Empty without a ledger that can at least be
    /// read.
    pub fn load_watches(&mut self, file: &str) -> HashMap<String, StoredWatch> {
        self.supervisor.read(|connection, _| watches::load_watches(connection, file))
    }

    /// The runs that no daemon has seen end. To be asked before the first [`Self::record_intents`].
    pub fn unfinished(&mut self) -> Vec<UnfinishedRun> {
        self.supervisor.read(runs::unfinished)
    }

    /// Notes what the record of a watch is now. [`Snapshot::applied`] of `None` leaves the last known one.
    pub fn save_watch(&mut self, record: &WatchRecord<'_>) {
        self.supervisor.write(0, |connection, _| watches::save_watch(connection, record));
    }

    /// The watch was removed from its file: nothing of it is due any more, but what was applied stays known.
    pub fn retire(&mut self, watch: &WatchKey) {
        self.supervisor.write(0, |connection, _| watches::retire(connection, watch));
    }

    /// Forgets the watches that are not loaded and of which nothing was noted for a month. To be called when all
    /// configs were read, and those that could not be are taken for loaded.
    pub fn prune_watches(&mut self, loaded: impl Fn(&WatchKey) -> bool) {
        let untouched: Vec<WatchKey> = self.supervisor.read(|connection, _| watches::untouched(connection));
        for watch in untouched.iter().filter(|watch| !loaded(watch)) {
            self.supervisor.write(0, |connection, _| watches::forget(connection, watch));
        }
    }

    /// Notes a run that goes on, after a ledger was lost that may have known it.
    pub fn record_intent_again(&mut self, intent: &Intent) {
        self.supervisor
            .write(0, |connection, context| runs::record_intent_again(connection, context, intent));
    }

    /// Ends the runs that are not `live`: how they did was told while the ledger was lost.
    pub fn end_unfinished(&mut self, live: impl Fn(&str) -> bool) {
        let unfinished: Vec<UnfinishedRun> = self.supervisor.read(runs::unfinished);
        for run in unfinished.iter().map(|unfinished| &unfinished.intent.run).filter(|run| !live(run)) {
            self.ended(run, RunOutcome::Unknown, &[]);
        }
    }

    /// Notes new runs that are about to start. On return they survive the daemon's death, as does all that was noted
    /// before.
    pub fn record_intents<'a>(&mut self, mut intents: impl ExactSizeIterator<Item = &'a Intent>) {
        self.supervisor.write_through(intents.len(), |connection, context| {
            intents.try_for_each(|intent| runs::insert(connection, context, intent))
        });
    }

    /// Notes the process of a run.
    pub fn started(&mut self, run: &str, process: ProcessId) {
        self.supervisor.write(0, |connection, context| runs::started(connection, context, run, process));
    }

    /// Notes how a run ended, and the last of what it printed.
    pub fn ended(&mut self, run: &str, how: RunOutcome<'_>, output: &[u8]) {
        self.supervisor
            .write(output.len(), |connection, context| runs::ended(connection, context, run, how, output));
    }

    /// The next `count` runs before the one of number `before`, newest first, with their numbers. An error if there is no
    /// ledger to look into.
    pub fn history(
        &mut self,
        filter: &RunFilter,
        before: Option<i64>,
        count: usize,
    ) -> Result<Vec<(i64, RunRecord)>, String> {
        self.require_readable()?;
        let page =
            self.supervisor.read(|connection, _| history::page(connection, filter, before, count).map(Some));
        page.ok_or_else(|| self.unreadable_reason())
    }

    /// What the run printed; empty if nothing, or if it is not kept any more. `None` if the ledger knows of no such run,
    /// or not of its end. `run` is its id, or the number at the id's end, as the log has it: then the newest of these.
    pub fn output(&mut self, run: &str) -> Result<Option<Vec<u8>>, String> {
        self.require_readable()?;
        let output = self.supervisor.read(|connection, _| history::output(connection, run).map(Some));
        output.ok_or_else(|| self.unreadable_reason())
    }

    /// Why it cannot be used, if it cannot.
    pub fn lost_reason(&self) -> Option<&str> {
        self.supervisor.lost_reason()
    }

    fn require_readable(&self) -> Result<(), String> {
        self.lost_reason().map_or(Ok(()), |trouble| Err(trouble.to_owned()))
    }

    /// Why nothing could be read just now.
    fn unreadable_reason(&self) -> String {
        let trouble =
            self.lost_reason().unwrap_or("the ledger was damaged, and a new one is begun; see the log");
        trouble.to_owned()
    }

    /// Makes all that was noted survive the daemon's death (not the machine's: nothing else does either).
    pub fn commit(&mut self) {
        self.supervisor.commit();
    }

    /// The size of the database and its log, in bytes.
    pub fn size(&self) -> u64 {
        self.supervisor.size()
    }

    /// Whether anything waits for [`Self::commit`].
    pub fn is_dirty(&self) -> bool {
        self.supervisor.is_dirty()
    }
}

//! The ledger as the daemon uses it.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::time::Instant;

use super::event::LedgerEvent;
use super::files::{FILE, Files};
use super::history::{RunFilter, RunRecord};
use super::outcome::RunOutcome;
use super::records::{Intent, StoredWatch, UnfinishedRun, WatchRecord};
use super::supervisor::{Limits, Supervisor};
use super::{database, history, runs, watches};
use crate::action::proc::ProcessId;
use crate::model::WatchKey;

/// The open ledger.
///
/// No write fails: what cannot be written now is recorded again once the ledger is back. No call waits for
/// another process longer than [`database::BUSY_TIMEOUT`].
pub struct Ledger {
    supervisor: Supervisor,
}

/// Copies the ledger in the directory `from` to `to`, also while a daemon uses it, so that a dry run can
/// write to the copy. Returns false if there is no ledger.
pub fn copy(from: &Path, to: &Path) -> io::Result<bool> {
    database::copy(&Files::new(from), &Files::new(to))
        .map_err(|error| io::Error::other(format!("{}: {}", from.join(FILE).display(), error.into_reason())))
}

impl Ledger {
    /// Opens or creates the ledger in `state_dir`. If anything is wrong with it, the first event says so.
    pub fn open(state_dir: &Path) -> Self {
        Self::open_with(state_dir, Limits::default())
    }

    pub(super) fn open_with(state_dir: &Path, limits: Limits) -> Self {
        Self { supervisor: Supervisor::open(state_dir, limits) }
    }

    /// What happened to the ledger since the last call. After any event but [`LedgerEvent::Lost`], the caller
    /// must record all watches and all live runs again, because those in the ledger are gone or out of date.
    pub fn next_event(&mut self) -> Option<LedgerEvent> {
        self.supervisor.next_event()
    }

    /// When to call [`Self::retry`]; `None` unless the ledger is lost.
    pub fn retry_at(&self) -> Option<Instant> {
        self.supervisor.retry_at()
    }

    /// Tries to open a lost ledger again if it is time. All calls that read or write do so too, but an idle
    /// daemon makes none.
    pub fn retry(&mut self) {
        self.supervisor.retry();
    }

    /// Whether anything that was recorded may be lost.
    pub fn may_have_lost_records(&self) -> bool {
        self.supervisor.may_have_lost_records()
    }

    /// The records of a config file's watches, by description; empty if the ledger cannot be read.
    pub fn load_watches(&mut self, file: &str) -> HashMap<String, StoredWatch> {
        self.supervisor.read(|connection, _| watches::load_watches(connection, file))
    }

    /// The runs whose end is not recorded. To be called before the first [`Self::record_intents`].
    pub fn unfinished(&mut self) -> Vec<UnfinishedRun> {
        self.supervisor.read(runs::unfinished)
    }

    /// Records a watch as it is now. If its snapshot has nothing applied, what was recorded as applied stays.
    pub fn save_watch(&mut self, record: &WatchRecord<'_>) {
        self.supervisor.write(0, |connection, _| watches::save_watch(connection, record));
    }

    /// Records that a watch was removed from its file: nothing of it is due any more. What was applied, and
    /// whether it is paused, stays recorded.
    pub fn retire(&mut self, watch: &WatchKey) {
        self.supervisor.write(0, |connection, _| watches::retire(connection, watch));
    }

    /// Deletes the watches that are not `loaded` and of which nothing was recorded for a month. To be called
    /// when all configs were read; watches of files that could not be read count as loaded.
    pub fn prune_watches(&mut self, loaded: impl Fn(&WatchKey) -> bool) {
        let untouched: Vec<WatchKey> = self.supervisor.read(|connection, _| watches::untouched(connection));
        for watch in untouched.iter().filter(|watch| !loaded(watch)) {
            self.supervisor.write(0, |connection, _| watches::forget(connection, watch));
        }
    }

    /// Records a live run again, after a ledger was lost that may or may not have had it.
    pub fn record_intent_again(&mut self, intent: &Intent) {
        self.supervisor
            .write(0, |connection, context| runs::record_intent_again(connection, context, intent));
    }

    /// Records an unknown outcome for the runs that are not `live`: they ended while the ledger was lost.
    pub fn end_unfinished(&mut self, live: impl Fn(&str) -> bool) {
        let unfinished: Vec<UnfinishedRun> = self.supervisor.read(runs::unfinished);
        for run in unfinished.iter().map(|unfinished| &unfinished.intent.run).filter(|run| !live(run)) {
            self.ended(run, RunOutcome::Unknown, &[]);
        }
    }

    /// Records new runs that are about to start, and commits them with all that was recorded before.
    pub fn record_intents<'a>(&mut self, mut intents: impl ExactSizeIterator<Item = &'a Intent>) {
        self.supervisor.write_through(intents.len(), |connection, context| {
            intents.try_for_each(|intent| runs::insert(connection, context, intent))
        });
    }

    /// Records the process of a run.
    pub fn started(&mut self, run: &str, process: ProcessId) {
        self.supervisor.write(0, |connection, context| runs::started(connection, context, run, process));
    }

    /// Records how a run ended, and the last of its output.
    pub fn ended(&mut self, run: &str, how: RunOutcome<'_>, output: &[u8]) {
        self.supervisor
            .write(output.len(), |connection, context| runs::ended(connection, context, run, how, output));
    }

    /// At most `count` runs, newest first, each with its number: the newest ones, or those older than the
    /// number `before`. An error says why the ledger cannot be read.
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

    /// The last of what a run printed; empty if it printed nothing or its output was deleted. `None` if there
    /// is no such run, or it has not ended. `run` is its id, or the number at the end of ids, which log lines
    /// show: then the newest such run is taken. An error says why the ledger cannot be read.
    pub fn output(&mut self, run: &str) -> Result<Option<Vec<u8>>, String> {
        self.require_readable()?;
        let output = self.supervisor.read(|connection, _| history::output(connection, run).map(Some));
        output.ok_or_else(|| self.unreadable_reason())
    }

    /// Why the ledger cannot be used; `None` if it can.
    pub fn lost_reason(&self) -> Option<&str> {
        self.supervisor.lost_reason()
    }

    fn require_readable(&self) -> Result<(), String> {
        self.lost_reason().map_or(Ok(()), |reason| Err(reason.to_owned()))
    }

    /// Why the last read failed.
    fn unreadable_reason(&self) -> String {
        self.lost_reason()
            .unwrap_or("the ledger was damaged, and a new one was started; see the log")
            .to_owned()
    }

    /// Makes all that was recorded survive the daemon's death. It may not survive a crash of the machine,
    /// which no run survives either.
    pub fn commit(&mut self) {
        self.supervisor.commit();
    }

    /// The size of the database and its write-ahead log, in bytes.
    pub fn size(&self) -> u64 {
        self.supervisor.size()
    }

    /// Whether anything recorded waits for [`Self::commit`].
    pub fn is_dirty(&self) -> bool {
        self.supervisor.is_dirty()
    }

    #[cfg(test)]
    pub(super) fn wait_for_checkpoint(&mut self) -> bool {
        self.supervisor.wait_for_checkpoint()
    }
}

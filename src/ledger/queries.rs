//! The daemon's writes to the ledger, and its reads.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::files::{FILE, Files};
use super::history::{RunFilter, RunRecord};
use super::member_history::{MemberFilter, MemberRecord};
use super::outcome::RunOutcome;
use super::records::{Intent, StoredService, StoredWatch, UnfinishedRun, WatchRecord};
use super::supervisor::Ledger;
use super::{database, history, member_history, runs, services, watches};
use crate::action::proc::ProcessId;
use crate::model::{MemberName, ServiceSpec, WatchKey};
use crate::service;

/// Copies the ledger in the directory `from` to `to`, also while a daemon uses it, so that a dry run can
/// write to the copy. Returns false if there is no ledger.
pub fn copy(from: &Path, to: &Path) -> io::Result<bool> {
    database::copy(&Files::new(from), &Files::new(to))
        .map_err(|error| io::Error::other(format!("{}: {}", from.join(FILE).display(), error.into_reason())))
}

impl Ledger {
    /// Returns the records of a config file's watches, by description; none if the ledger cannot be read.
    pub fn load_watches(&mut self, file: &str) -> HashMap<String, StoredWatch> {
        self.read(|connection, _| watches::load_watches(connection, file))
    }

    /// Returns the records of all watches. An error says why the ledger cannot be read.
    pub fn all_watches(&mut self) -> Result<Vec<(WatchKey, StoredWatch)>, String> {
        self.require_readable()?;
        let all = self.read(|connection, _| watches::all(connection).map(Some));
        all.ok_or_else(|| self.unreadable_reason())
    }

    /// Returns the runs whose end is not recorded. Call it before the first [`Self::record_intents`].
    pub fn unfinished(&mut self) -> Vec<UnfinishedRun> {
        self.read(runs::unfinished)
    }

    /// Records a watch. If its snapshot has no applied version, the recorded one stays.
    pub fn save_watch(&mut self, record: &WatchRecord<'_>) {
        self.write(0, |connection, _| watches::save_watch(connection, record));
    }

    /// Records that a watch was removed from its file, so that it owes no run. The applied version and a
    /// pause stay recorded.
    pub fn retire(&mut self, watch: &WatchKey) {
        self.write(0, |connection, _| watches::retire(connection, watch));
    }

    /// Returns the records of a config file's services, by description; none if the ledger cannot be read.
    pub fn load_services(&mut self, file: &str) -> HashMap<String, StoredService> {
        self.read(|connection, context| services::load(connection, &context.boot, file))
    }

    /// Records a service.
    pub fn save_service(&mut self, spec: &ServiceSpec, checked_by: u64, snapshot: &service::Snapshot) {
        self.write(0, |connection, context| {
            services::save(connection, &context.boot, spec, checked_by, snapshot)
        });
    }

    /// Records that a service was removed from its file. A pause stays recorded.
    pub fn retire_service(&mut self, service: &WatchKey) {
        self.write(0, |connection, _| services::retire(connection, service));
    }

    /// Forgets a service that has another name now.
    pub fn forget_service(&mut self, service: &WatchKey) {
        self.write(0, |connection, _| services::forget(connection, service));
    }

    /// Records what holds the members in a store from now on, and commits. Returns what held them before.
    pub fn record_owner(&mut self, store: &str, owner: &str) -> Vec<String> {
        let former: Vec<String> = self.read(|connection, _| services::owners(connection, store));
        self.write_through(1, |connection, _| services::add_owner(connection, store, owner));
        former.into_iter().filter(|former| former != owner).collect()
    }

    /// Records what a store has its next process told, also that of the next daemon.
    pub fn remember(&mut self, store: &str, memory: &str) {
        self.write(0, |connection, _| services::remember(connection, store, memory));
    }

    /// Returns what a store has its next process told; `None` if that is nothing, or the ledger cannot be
    /// read.
    pub fn memory(&mut self, store: &str) -> Option<String> {
        self.read(|connection, _| services::memory(connection, store))
    }

    /// Records that a member was announced (`is_there`) or withdrawn.
    pub fn record_member(&mut self, service: &WatchKey, member: &MemberName, is_there: bool) {
        self.write(0, |connection, _| services::add_member(connection, service, member, is_there));
    }

    /// Deletes the watches that are not `loaded` and were not recorded for a month. Call it when all configs
    /// were read; watches of files that could not be read count as loaded.
    pub fn prune_watches(&mut self, loaded: impl Fn(&WatchKey) -> bool) {
        let untouched: Vec<WatchKey> = self.read(|connection, _| watches::untouched(connection));
        for watch in untouched.iter().filter(|watch| !loaded(watch)) {
            self.write(0, |connection, _| watches::forget(connection, watch));
        }
    }

    /// Records a live run again, because a lost ledger may not have it.
    pub fn record_intent_again(&mut self, intent: &Intent) {
        self.write(0, |connection, context| runs::record_intent_again(connection, context, intent));
    }

    /// Records an unknown outcome for the runs that are not `live`: they ended while the ledger was lost.
    pub fn end_unfinished(&mut self, live: impl Fn(&str) -> bool) {
        let unfinished: Vec<UnfinishedRun> = self.read(runs::unfinished);
        for run in unfinished.iter().map(|unfinished| &unfinished.intent.run).filter(|run| !live(run)) {
            self.ended(run, RunOutcome::Unknown, &[]);
        }
    }

    /// Records new runs that are about to start, and commits them with all earlier records.
    pub fn record_intents<'a>(&mut self, mut intents: impl ExactSizeIterator<Item = &'a Intent>) {
        self.write_through(intents.len(), |connection, context| {
            intents.try_for_each(|intent| runs::insert(connection, context, intent))
        });
    }

    /// Records the process of a run, and its timeout counted from the start of this process.
    pub fn started(&mut self, run: &str, process: ProcessId, timeout: Option<Duration>) {
        self.write(0, |connection, context| runs::started(connection, context, run, process, timeout));
    }

    /// Records how a run ended, and the end of its output.
    pub fn ended(&mut self, run: &str, how: RunOutcome<'_>, output: &[u8]) {
        self.ended_in(run, None, how, output);
    }

    /// Records how a run ended, the end of its output, and its process, if that is not recorded yet.
    pub fn ended_in(&mut self, run: &str, process: Option<ProcessId>, how: RunOutcome<'_>, output: &[u8]) {
        let output = self.affordable(output);
        self.write(output.len(), |connection, context| {
            runs::ended(connection, context, run, process, how, output)
        });
    }

    /// Returns at most `count` runs, newest first, each with its number; with `before`, only runs below that
    /// number. An error says why the ledger cannot be read.
    pub fn history(
        &mut self,
        filter: &RunFilter,
        before: Option<i64>,
        count: usize,
    ) -> Result<Vec<(i64, RunRecord)>, String> {
        self.require_readable()?;
        let page = self.read(|connection, _| history::page(connection, filter, before, count).map(Some));
        page.ok_or_else(|| self.unreadable_reason())
    }

    /// Returns at most `count` announcements and withdrawals of members, as [`Self::history`] does.
    pub fn member_history(
        &mut self,
        filter: &MemberFilter,
        before: Option<i64>,
        count: usize,
    ) -> Result<Vec<(i64, MemberRecord)>, String> {
        self.require_readable()?;
        let page =
            self.read(|connection, _| member_history::page(connection, filter, before, count).map(Some));
        page.ok_or_else(|| self.unreadable_reason())
    }

    /// Returns the end of a run's output; empty if it printed nothing or its output was deleted, `None` if
    /// there is no such run or it has not ended. `run` is an id, or the number at the end of ids that log
    /// lines show, which means the newest such run. An error says why the ledger cannot be read.
    pub fn output(&mut self, run: &str) -> Result<Option<Vec<u8>>, String> {
        self.require_readable()?;
        let output = self.read(|connection, _| history::output(connection, run).map(Some));
        output.ok_or_else(|| self.unreadable_reason())
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
}

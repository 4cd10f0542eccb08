//! One watch, as the daemon holds it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::applied::Applied;
use crate::action::payload::Payload;
use crate::ledger::{Intent, RunCause, RunOutcome};
use crate::model::{Blob, CommitNote, Content, Facet, Format, Identity, Version, WatchKey, WatchSpec};
use crate::watch::{Event, RunId, RunResult, Snapshot, Time, Update, Watch};

/// How many held or superseded updates of a watch the log warns of within [`WARNING_WINDOW`], and how many
/// deletions it tells of. The writer of the node decides how many there are.
const WARNING_BURST: u32 = 10;
const WARNING_WINDOW: Duration = Duration::from_secs(10);

/// Names a watch within the daemon. A watch keeps its id from its first load until nothing of it runs any
/// more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatchId(pub u64);

/// A watch: its definition, its core, and how its last runs went.
pub struct Entry {
    pub(super) kind: EntryKind,
    /// The hash of the definition, as in the ledger.
    pub(super) hash: u64,
    pub(super) watch: Watch,
    /// When the core wants its next tick.
    pub(super) timer: Option<Time>,
    /// Whether no file registers the watch (any more, or yet), while something of it still runs.
    pub(super) retired: bool,
    /// The last failure since the last success. Boxed, because few watches have one.
    failure: Option<Box<LastFailure>>,
    /// Boxed, because most watches have none for a long time.
    last_run: Option<Box<LastRun>>,
    /// Boxed, because few watches have anything to warn of.
    logs: Option<Box<WarningLimits>>,
    /// What the action was given of a tree, in the present definition. Boxed, because few watches have a
    /// tree.
    applied: Option<Box<Applied>>,
    /// Boxed, because few watches have commits.
    applied_commit: Option<Box<AppliedCommit>>,
}

/// The commit that the action succeeded with last, in the present definition.
struct AppliedCommit {
    /// `None` if a former daemon's run succeeded with it.
    run: Option<RunId>,
    version: Version,
    commit: Arc<CommitNote>,
}

#[allow(clippy::large_enum_variant, reason = "hardly any is small, and each lies in a box already")]
pub(super) enum EntryKind {
    Loaded(WatchSpec),
    /// Known from the ledger only, by a run that still lives.
    LedgerOnly(WatchKey),
}

/// The last failure in the present series.
pub struct LastFailure {
    pub what: String,
    pub next_try: Option<SystemTime>,
}

/// The newest run of a watch that has ended.
pub struct LastRun {
    pub run: RunId,
    pub event: Event,
    pub version: Version,
    pub cause: RunCause,
    pub started: SystemTime,
    pub took: Duration,
    /// If the run was not started, [`LastFailure::what`] tells why.
    pub outcome: RunOutcome<'static>,
}

impl LastRun {
    pub fn new(run: RunId, intent: &Intent, took: Duration, outcome: RunOutcome<'static>) -> Self {
        let Intent { event, version, ref cause, started, .. } = *intent;
        Self { run, event, version, cause: cause.clone(), started, took, outcome }
    }
}

/// What the log warned of lately.
#[derive(Default)]
struct WarningLimits {
    held: WarningLimit,
    superseded: WarningLimit,
    deletion: WarningLimit,
}

/// Limits how often the log warns of one kind of update.
#[derive(Default)]
struct WarningLimit(Option<(Time, u32)>);

impl WarningLimit {
    /// Counts an update. Returns whether to warn of it.
    fn count(&mut self, now: Time) -> bool {
        let window = self.0.filter(|(since, _)| now.saturating_sub(*since) < WARNING_WINDOW);
        let (since, times) = window.unwrap_or((now, 0));
        self.0 = Some((since, times.saturating_add(1)));
        times < WARNING_BURST
    }
}

impl Entry {
    pub(super) fn new(kind: EntryKind, hash: u64, watch: Watch) -> Self {
        let retired = matches!(kind, EntryKind::LedgerOnly(_));
        Self {
            kind,
            hash,
            watch,
            timer: None,
            retired,
            failure: None,
            last_run: None,
            logs: None,
            applied: None,
            applied_commit: None,
        }
    }

    /// Gives the watch another definition, and forgets how its runs went. Returns the former definition.
    pub(super) fn redefine(&mut self, spec: WatchSpec, hash: u64) -> EntryKind {
        self.forget_runs();
        (self.hash, self.retired) = (hash, false);
        std::mem::replace(&mut self.kind, EntryKind::Loaded(spec))
    }

    /// Notes who the action's user is now. Returns whether that is another than before.
    pub(super) fn set_identity(&mut self, identity: &Arc<Identity>) -> bool {
        let EntryKind::Loaded(spec) = &mut self.kind else { return false };
        if Arc::ptr_eq(&spec.identity, identity) {
            return false;
        }
        let is_other = spec.identity != *identity;
        spec.identity = identity.clone();
        if is_other {
            self.hash = spec.definition_hash();
        }
        is_other
    }

    /// Forgets how its last runs went.
    pub(super) fn forget_runs(&mut self) {
        (self.failure, self.applied, self.applied_commit) = (None, None, None);
    }

    pub fn key(&self) -> &WatchKey {
        match &self.kind {
            EntryKind::Loaded(spec) => &spec.id,
            EntryKind::LedgerOnly(key) => key,
        }
    }

    /// The definition that was loaded last.
    pub fn spec(&self) -> Option<&WatchSpec> {
        match &self.kind {
            EntryKind::Loaded(spec) => Some(spec),
            EntryKind::LedgerOnly(_) => None,
        }
    }

    /// The definition that a file registers now.
    pub fn loaded(&self) -> Option<&WatchSpec> {
        self.spec().filter(|_| !self.retired)
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    pub fn is_retired(&self) -> bool {
        self.retired
    }

    pub fn failure(&self) -> Option<&LastFailure> {
        self.failure.as_deref()
    }

    pub fn last_run(&self) -> Option<&LastRun> {
        self.last_run.as_deref()
    }

    /// The payload of a run for this update.
    pub fn payload_for(&mut self, run: RunId, update: &Update) -> Payload {
        if update.event == Event::Trigger {
            // An operator's trigger gives the action the whole tree, not only what changed.
            self.applied = None;
        }
        if update.event == Event::Deleted {
            let blob = Blob::default();
            return match self.spec().map(|spec| spec.subject.facet) {
                Some(Facet::Data) | None => Payload::Data(blob),
                Some(Facet::Children) => Payload::Children(blob),
                Some(Facet::Members) => Payload::Members(blob),
                Some(Facet::Tree) => {
                    self.applied.get_or_insert_default().delete_all(run);
                    Payload::Changes { changes: Vec::new(), blob }
                }
            };
        }
        match &update.content {
            Content::Data(data) => {
                let decoded = update.decoded.as_ref().map(|decoded| &decoded.blob);
                Payload::Data(decoded.unwrap_or(data).clone())
            }
            Content::Children { lines, .. } => Payload::Children(lines.clone()),
            Content::Members { object, .. } => Payload::Members(object.clone()),
            Content::Tree { tree, blob } => {
                let changes = self.applied.get_or_insert_default().changes_for(run, tree);
                Payload::Changes { changes, blob: blob.clone() }
            }
        }
    }

    pub fn fail(&mut self, what: String) {
        self.failure = Some(Box::new(LastFailure { what, next_try: None }));
    }

    /// Notes when the run that failed last is tried again. Returns false if none failed.
    pub(super) fn set_next_try(&mut self, at: SystemTime) -> bool {
        self.failure.as_mut().map(|failure| failure.next_try = Some(at)).is_some()
    }

    /// The commit that the version applied is, if it is one. `snapshot` is that of [`Self::watch`].
    pub fn applied_commit(&self, snapshot: &Snapshot) -> Option<&CommitNote> {
        let (noted, applied) = (self.applied_commit.as_ref()?, snapshot.applied?);
        // A run of another definition, or one that was overtaken, applied something else.
        noted.version.is_same_state(applied).then_some(&noted.commit)
    }

    /// Notes which commit the version is that a former daemon applied.
    pub(in crate::daemon) fn recall_commit(&mut self, commit: CommitNote) {
        let applied = self.watch.snapshot().applied;
        let recalled = applied.map(|version| AppliedCommit { run: None, version, commit: Arc::new(commit) });
        self.applied_commit = recalled.map(Box::new);
    }

    fn note_commit(&mut self, last: &LastRun) {
        let Some(commit) = last.cause.commit.clone() else { return };
        // The run may be of a former definition, and the present one take the same content for plain data.
        if self.spec().is_none_or(|spec| spec.policy.decode != Some(Format::Commit)) {
            return;
        }
        // In PARALLEL a newer run may have succeeded before.
        if self.applied_commit.as_ref().is_none_or(|noted| noted.run < Some(last.run)) {
            let noted = AppliedCommit { run: Some(last.run), version: last.version, commit };
            self.applied_commit = Some(Box::new(noted));
        }
    }

    /// Notes how a run went. `what` puts a failure into words.
    pub fn note_run(&mut self, last: LastRun, result: RunResult, what: impl FnOnce() -> String) {
        if result == RunResult::Succeeded {
            self.note_commit(&last);
        }
        self.last_run = Some(Box::new(last));
        match result {
            RunResult::Succeeded => self.failure = None,
            RunResult::Failed => self.fail(what()),
            RunResult::Interrupted | RunResult::Starved => {}
        }
    }

    /// Notes that the action has dealt with the payload of this run, or not.
    pub fn payload_done(&mut self, run: RunId, result: RunResult) {
        if let Some(applied) = &mut self.applied {
            applied.ended(run, result == RunResult::Succeeded);
        }
    }

    /// Counts a deletion that runs nothing. Returns whether the log is to tell of it.
    pub fn count_deletion(&mut self, now: Time) -> bool {
        self.logs.get_or_insert_default().deletion.count(now)
    }

    /// Counts an update that is held. Returns whether the log is to warn of it.
    pub fn count_held(&mut self, now: Time) -> bool {
        self.logs.get_or_insert_default().held.count(now)
    }

    /// Counts an update that never runs, because too many wait. Returns whether the log is to warn of it.
    pub fn count_superseded(&mut self, now: Time) -> bool {
        self.logs.get_or_insert_default().superseded.count(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_warns_of_a_few_updates_in_each_window() {
        let mut log = WarningLimit::default();
        let second = Time::from_secs(1);
        assert!((0..WARNING_BURST).all(|_| log.count(second)));
        assert!((0..1000).all(|_| !log.count(second + WARNING_WINDOW / 2)));
        assert!(!log.count(second + WARNING_WINDOW - Time::from_millis(1)));
        assert!(log.count(second + WARNING_WINDOW));
    }
}

//! When the daemon is over: it was told to stop, or it has done what it was started for.

use std::time::Duration;

use tokio::time::Instant;

use crate::control::status::{DaemonStatus, WatchStatus};
use crate::model::{CommitNote, RunOnLoad, WatchSpec};
use crate::watch::{Condition, Event, Update, Watch};

/// Until when the daemon works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Until it is told to stop.
    Stopped,
    /// Until nothing is pending any more. It waits at most `timeout` for a disconnected store.
    Idle { timeout: Duration },
    /// Until it is known what would be started: a dry run, which starts nothing. It waits at most `timeout`
    /// for a disconnected store.
    Planned { timeout: Duration },
}

/// How often a daemon that ends by itself checks whether it is done. Nobody notices a delay this short, and a
/// check of ten thousand watches is next to no work.
pub const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A run that was not started, because this is a dry run.
#[derive(Clone, Debug)]
pub struct PlannedRun {
    /// The watch's name, as in the log.
    pub watch: String,
    pub event: &'static str,
    pub version: i64,
    /// The commit that the content is, if it is one.
    pub commit: Option<CommitNote>,
    pub why: &'static str,
}

/// The state at the end of a daemon that ended by itself.
#[derive(Clone, Debug)]
pub struct FinalStatus {
    pub daemon: DaemonStatus,
    pub watches: Vec<WatchStatus>,
    pub planned: Vec<PlannedRun>,
}

/// A registered watch, as far as it matters for the end of the daemon.
#[derive(Clone, Copy)]
pub struct WatchState<'a> {
    pub watch: &'a Watch,
    pub is_unreadable: bool,
    pub is_connected: bool,
}

pub struct Completion {
    until: Until,
    /// How long running actions may take to end by themselves when the daemon stops.
    stop_timeout: Duration,
    is_stopping: bool,
    planned: Vec<PlannedRun>,
    /// When it was first seen that all configs were read and nothing ran.
    waits_since: Option<Instant>,
}

impl Completion {
    pub fn new(until: Until, stop_timeout: Duration) -> Self {
        Self { until, stop_timeout, is_stopping: false, planned: Vec::new(), waits_since: None }
    }

    pub fn ends_by_itself(&self) -> bool {
        self.until != Until::Stopped
    }

    pub fn is_dry_run(&self) -> bool {
        matches!(self.until, Until::Planned { .. })
    }

    pub fn is_stopping(&self) -> bool {
        self.is_stopping
    }

    /// Notes that the daemon was told to stop. Returns how long its actions may run on: being told twice
    /// means now.
    pub fn stop(&mut self) -> Duration {
        let again = std::mem::replace(&mut self.is_stopping, true);
        if again { Duration::ZERO } else { self.stop_timeout }
    }

    /// Notes what a dry run would start.
    pub fn plan(&mut self, spec: &WatchSpec, update: &Update) {
        let commit = update.decoded.as_ref().and_then(|decoded| decoded.commit.as_ref());
        self.planned.push(PlannedRun {
            watch: spec.id.to_string(),
            event: update.event.as_str(),
            version: update.version.number,
            commit: commit.map(|commit| CommitNote::from(&**commit)),
            why: why(update.event, spec.policy.run_on_load),
        });
    }

    pub fn take_planned(&mut self) -> Vec<PlannedRun> {
        std::mem::take(&mut self.planned)
    }

    /// Whether the daemon is over. `is_scanned` says whether all configs were read, `running` how many
    /// runs it waits for, `asking` how many watches ask for a place, and `watches` are all that are
    /// registered.
    pub fn is_over<'a>(
        &mut self,
        is_scanned: bool,
        running: usize,
        asking: usize,
        mut watches: impl Iterator<Item = WatchState<'a>>,
    ) -> bool {
        if running > 0 {
            return false;
        }
        let timeout = match self.until {
            // Nobody who asks for a place would use it any more.
            _ if self.is_stopping => return true,
            _ if asking > 0 => return false,
            Until::Stopped => return false,
            Until::Idle { timeout } | Until::Planned { timeout } => timeout,
        };
        if !is_scanned {
            return false;
        }
        let waits_since = *self.waits_since.get_or_insert_with(Instant::now);
        let gave_up = waits_since.elapsed() >= timeout;
        let is_dry_run = self.is_dry_run();
        watches.all(|watch| watch.is_done(gave_up, is_dry_run))
    }
}

impl WatchState<'_> {
    /// Whether the daemon need not wait for this watch. `gave_up` says whether it has waited long enough for
    /// its stores.
    fn is_done(self, gave_up: bool, is_dry_run: bool) -> bool {
        let Self { watch, is_unreadable, is_connected } = self;
        if watch.awaits_observation() && !is_unreadable {
            return gave_up && !is_connected;
        }
        if watch.awaits_decoding() {
            return gave_up;
        }
        match watch.condition(is_unreadable) {
            Condition::Running | Condition::Retrying | Condition::Waiting => is_dry_run,
            Condition::Unknown
            | Condition::Paused
            | Condition::Stopped
            | Condition::Held
            | Condition::Failed
            | Condition::Unreadable
            | Condition::Deleted
            | Condition::Absent
            | Condition::Idle => true,
        }
    }
}

/// Why a dry run would start something.
fn why(event: Event, run_on_load: RunOnLoad) -> &'static str {
    match (event, run_on_load) {
        (Event::Load, RunOnLoad::Always) => "run_on_load is true",
        (Event::Load, RunOnLoad::Changed) => "it was not applied in this definition",
        (Event::Load, RunOnLoad::Never) => "it was interrupted, or nobody knows whether it ran",
        (Event::Created, _) => "the node was created since, or its run was interrupted",
        (Event::Changed, _) => "the node changed since, or its run was interrupted",
        (Event::Children, _) => "the node's children changed since, or its run was interrupted",
        (Event::Deleted, _) => "the node was deleted since, or its run was interrupted",
        (Event::Trigger, _) => "an operator asked for it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::fixtures::{present, spec, version};
    use crate::model::{Content, Origin, Policy};
    use crate::watch::{Generator, Input, Snapshot, Time};

    const TIMEOUT: Duration = Duration::from_secs(60);
    const IDLE: Until = Until::Idle { timeout: TIMEOUT };
    const PLANNED: Until = Until::Planned { timeout: TIMEOUT };

    /// A watch that was not observed yet, one that has nothing to do, and one that runs.
    fn watches() -> [Watch; 3] {
        let observed = |run_on_load| {
            let policy = Policy { run_on_load, ..Policy::UNLOADED };
            let mut watch = Watch::new(policy.into(), Snapshot::default());
            watch.step(Time::ZERO, Input::Observed(present(1)), &mut Generator::new(1));
            watch
        };
        let unobserved = Watch::new(Policy::UNLOADED.into(), Snapshot::default());
        [unobserved, observed(RunOnLoad::Never), observed(RunOnLoad::Always)]
    }

    #[test]
    fn a_daemon_that_ends_by_itself_waits_for_what_is_pending() {
        let [unobserved, idle, running] = watches();
        let state = |watch, is_unreadable, is_connected| WatchState { watch, is_unreadable, is_connected };
        let away = Duration::ZERO;
        for (what, until, is_scanned, (actions, asking), watch, expected) in [
            ("nothing is pending", IDLE, true, (0, 0), state(&idle, false, true), true),
            ("the configs are still read", IDLE, false, (0, 0), state(&idle, false, true), false),
            ("an action runs", IDLE, true, (1, 0), state(&idle, false, true), false),
            ("a watch asks for a place", IDLE, true, (0, 1), state(&idle, false, true), false),
            ("a run is pending", IDLE, true, (0, 0), state(&running, false, true), false),
            ("a run is planned", PLANNED, true, (0, 0), state(&running, false, true), true),
            ("the store has not answered", IDLE, true, (0, 0), state(&unobserved, false, true), false),
            ("the store is away", IDLE, true, (0, 0), state(&unobserved, false, false), false),
            ("the node is unreadable", IDLE, true, (0, 0), state(&unobserved, true, true), true),
            (
                "the store was away for too long",
                Until::Idle { timeout: away },
                true,
                (0, 0),
                state(&unobserved, false, false),
                true,
            ),
            ("nobody told it to stop", Until::Stopped, true, (0, 0), state(&idle, false, true), false),
        ] {
            let mut completion = Completion::new(until, Duration::ZERO);
            assert_eq!(
                completion.is_over(is_scanned, actions, asking, [watch].into_iter()),
                expected,
                "{what}"
            );
        }
    }

    #[test]
    fn a_daemon_that_was_told_to_stop_waits_for_its_actions_only() {
        let [unobserved, ..] = watches();
        let state = WatchState { watch: &unobserved, is_unreadable: false, is_connected: true };
        for until in [Until::Stopped, IDLE, PLANNED] {
            let mut completion = Completion::new(until, TIMEOUT);
            assert_eq!(completion.stop(), TIMEOUT);
            assert!(!completion.is_over(false, 1, 0, [state].into_iter()));
            assert!(completion.is_over(false, 0, 0, [state].into_iter()));
            assert!(completion.is_over(false, 0, 1, [state].into_iter()), "it would start nothing");
            assert_eq!(completion.stop(), Duration::ZERO, "told twice");
        }
    }

    #[test]
    fn a_dry_run_tells_what_would_run_and_why() {
        let mut completion = Completion::new(PLANNED, TIMEOUT);
        let update = Update {
            event: Event::Load,
            version: version(3),
            origin: Origin::UNKNOWN,
            content: Content::Data([].into()),
            decoded: None,
        };
        completion.plan(&spec("a", "/n"), &update);
        let planned = completion.take_planned().pop().expect("a plan");
        assert_eq!((&*planned.watch, planned.event, planned.version), ("a.twc:a", "load", 3));
        assert_eq!(planned.why, "run_on_load is true");
    }
}

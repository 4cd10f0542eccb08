use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::daemon::completion::Until;
use crate::daemon::fixtures::{Parts, block_on, present, spec, subject, version};
use crate::daemon::registration::Registration;
use crate::model::{Policy, RunOnLoad, WatchKey, WatchSpec};
use crate::store::{StoreChannel, StoreEnd};
use crate::watch::{Seen, Snapshot};

/// A daemon with one watch, whose store the test plays.
struct Daemon {
    parts: Parts,
    end: StoreEnd,
}

fn connected(identity: &str) -> StoreEvent {
    StoreEvent::Connected { what: "fake".to_owned(), identity: identity.to_owned() }
}

fn observed(revision: i64) -> StoreEvent {
    StoreEvent::Observed { subject: subject("/n"), state: present(revision) }
}

impl Daemon {
    fn start(directory: &Path) -> Self {
        Self::start_on(directory, Stores::fake)
    }

    fn start_on(directory: &Path, stores: fn(StoreChannel) -> Stores) -> Self {
        let (channel, end) = StoreChannel::new();
        let mut parts = Parts::new(directory, Until::Stopped);
        parts.stores = stores(channel);
        let policy = Policy { run_on_load: RunOnLoad::Changed, ..Policy::DEFAULT }.into();
        parts.load(vec![WatchSpec { policy, ..spec("a", "/n") }]);
        Self { parts, end }
    }

    /// Has the store report this in one turn. Returns how many runs that starts, when all of them have
    /// ended.
    async fn hear<const N: usize>(&mut self, events: [StoreEvent; N]) -> usize {
        for event in events {
            self.end.events.send(event).await.expect("the daemon listens");
            let (name, event) = self.parts.stores.next().await;
            let Parts { log, watches, stores, .. } = &mut self.parts;
            take(log, watches, stores, &name, event);
        }
        tell_all(self);
        self.parts.performer().end_turn();
        let started = self.parts.runs.count();
        for _ in 0..started {
            self.parts.end_of_run().await;
        }
        started
    }

    async fn connect(&mut self, identity: &str) -> usize {
        self.hear([connected(identity)]).await
    }

    async fn observe(&mut self, revision: i64) -> usize {
        self.hear([observed(revision)]).await
    }

    fn snapshot(&self) -> Snapshot {
        self.parts.watches.find("a").expect("a watch").1.watch().snapshot()
    }

    fn stop(mut self) {
        let Parts { persist, watches, runs, stores, .. } = &mut self.parts;
        persist.flush(watches, runs, stores);
    }
}

#[test]
fn what_another_store_gave_is_known_until_that_is_connected_and_then_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let mut daemon = Daemon::start(directory.path());
        assert_eq!(daemon.snapshot(), Snapshot::default());
        assert_eq!((daemon.connect("fake:1").await, daemon.observe(1).await), (0, 1));
        daemon.parts.watches.step(daemon.parts.watch("a"), Input::Paused(Box::default()));
        let known = daemon.snapshot();
        assert_eq!((known.applied, known.pause.is_some()), (Some(version(1)), true));
        daemon.stop();

        let mut daemon = Daemon::start(directory.path());
        assert_eq!(daemon.snapshot(), known, "during an outage");
        assert_eq!((daemon.connect("fake:1").await, daemon.observe(1).await), (0, 0));
        assert_eq!(daemon.snapshot(), known);
        daemon.stop();

        let mut daemon = Daemon::start(directory.path());
        assert_eq!(daemon.snapshot(), known);
        assert_eq!(daemon.connect("fake:2").await, 0);
        assert_eq!(daemon.snapshot(), Snapshot { pause: known.pause, ..Snapshot::default() });
        daemon.parts.watches.step(daemon.parts.watch("a"), Input::Resumed);
        assert_eq!(daemon.observe(1).await, 1, "its versions mean something else");
        daemon.stop();

        let mut daemon = Daemon::start(directory.path());
        assert_eq!((daemon.connect("fake:2").await, daemon.observe(1).await), (0, 0));
        assert_eq!(daemon.connect("fake:1").await, 0);
        assert_eq!(daemon.observe(1).await, 1, "another store has taken its place");
        daemon.stop();
    });
}

// The ledger would take the run for one of the store that is there now.
#[test]
fn what_a_store_gave_just_before_another_took_its_place_does_not_run() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let mut daemon = Daemon::start(directory.path());
        assert_eq!((daemon.connect("fake:1").await, daemon.observe(1).await), (0, 1));
        assert_eq!(daemon.hear([observed(2), connected("fake:2")]).await, 0);
        assert_eq!(daemon.snapshot(), Snapshot::default());
        assert_eq!(daemon.observe(2).await, 1, "the other store has it too");
        daemon.stop();
    });
}

// A process that said this and died may have been lying, and the next one may not know of that.
#[test]
fn a_root_is_missing_until_it_is_found_or_a_node_below_it_is() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let mut daemon = Daemon::start(directory.path());
        daemon.connect("fake:1").await;
        let missing = || StoreEvent::RootMissing { reason: "its URL is wrong".to_owned() };
        let degraded = |daemon: &Daemon| daemon.parts.log.all_degraded().len();
        let absent = || StoreEvent::Observed { subject: subject("/n"), state: State::Absent };
        daemon.hear([missing(), absent()]).await;
        assert_eq!(degraded(&daemon), 1);
        daemon.hear([StoreEvent::RootFound]).await;
        assert_eq!(degraded(&daemon), 0);
        daemon.hear([missing(), observed(1)]).await;
        assert_eq!(degraded(&daemon), 1, "it has yet to notice that the root is there, and may miss that");
        daemon.hear([StoreEvent::HalfEnded, connected("fake:1"), absent()]).await;
        assert_eq!(degraded(&daemon), 1);
        daemon.observe(2).await;
        assert_eq!(degraded(&daemon), 0);
        daemon.hear([missing(), StoreEvent::HalfEnded, missing(), observed(3)]).await;
        assert_eq!(degraded(&daemon), 1);
        daemon.stop();
    });
}

#[test]
fn a_node_is_asked_for_once_for_all_of_its_watches_and_told_to_those_that_need_it() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let mut daemon = Daemon::start(directory.path());
        let policy = Arc::new(Policy { run_on_load: RunOnLoad::Never, ..Policy::DEFAULT });
        let watch = |name: &str| WatchSpec { policy: policy.clone(), ..spec(name, "/n") };
        let names: Vec<String> = (0..100).map(|number| format!("w{number}")).collect();
        let all = || names.iter().map(|name| watch(name));
        let commands =
            |daemon: &mut Daemon| std::iter::from_fn(|| daemon.end.commands.try_recv().ok()).count();
        assert_eq!(commands(&mut daemon), 1, "to follow the node");
        daemon.parts.load([spec("a", "/n")].into_iter().chain(all()).collect());
        assert_eq!(commands(&mut daemon), 0, "its first report serves all");
        assert_eq!((daemon.connect("fake:1").await, daemon.observe(1).await), (0, 1));
        let observed = |daemon: &Daemon, name: &str| {
            daemon.parts.watches.find(name).expect("a watch").1.watch().snapshot().seen.is_some()
        };
        assert!(names.iter().all(|name| observed(&daemon, name)));

        let late = [spec("a", "/n"), watch("late")];
        daemon.parts.load(all().chain(late).collect());
        assert_eq!(commands(&mut daemon), 1);
        let store = &mut daemon.parts.stores[&StoreName::default()];
        let subscribers = store.subjects.get_mut(&subject("/n")).expect("watches");
        let told = subscribers.take_report(&present(1), |_| false);
        assert_eq!(told, [daemon.parts.watch("late")]);
        let store = &mut daemon.parts.stores[&StoreName::default()];
        let subscribers = store.subjects.get_mut(&subject("/n")).expect("watches");
        assert_eq!(subscribers.take_report(&present(1), |_| false), []);
        assert_eq!(subscribers.take_report(&present(2), |_| false).len(), 102, "another state");
        daemon.stop();
    });
}

/// Loads so many watches of `/n` that only run after their first load, and lets all of them see revision 1.
async fn crowd(daemon: &mut Daemon, count: usize) {
    let policy = Arc::new(Policy { run_on_load: RunOnLoad::Never, ..Policy::DEFAULT });
    let watch = |number: usize| WatchSpec { policy: policy.clone(), ..spec(&format!("w{number}"), "/n") };
    daemon.parts.load([spec("a", "/n")].into_iter().chain((0..count).map(watch)).collect());
    daemon.connect("fake:1").await;
    daemon.observe(1).await;
}

/// How many watches have seen this revision.
fn seen(daemon: &Daemon, revision: i64) -> usize {
    let seen = Some(Seen::Present(version(revision)));
    daemon.parts.watches.iter().filter(|(_, entry)| entry.watch().snapshot().seen == seen).count()
}

fn tell(daemon: &mut Daemon) {
    let Parts { watches, stores, .. } = &mut daemon.parts;
    tell_some(watches, stores);
}

fn tell_all(daemon: &mut Daemon) {
    while !daemon.parts.stores.untold.is_empty() {
        tell(daemon);
    }
}

fn take_event(daemon: &mut Daemon, event: StoreEvent) {
    let Parts { log, watches, stores, .. } = &mut daemon.parts;
    take(log, watches, stores, &StoreName::default(), event);
}

#[test]
fn the_watches_of_a_crowded_node_are_told_in_turns_between_which_those_of_others_have_theirs() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let mut daemon = Daemon::start(directory.path());
        let count = 3 * MAX_TOLD_AT_ONCE;
        crowd(&mut daemon, count).await;
        assert_eq!(seen(&daemon, 1), count + 1);
        take_event(&mut daemon, observed(2));
        assert_eq!(seen(&daemon, 2), 0);
        for turn in 1..=3 {
            tell(&mut daemon);
            assert_eq!(seen(&daemon, 2), turn * MAX_TOLD_AT_ONCE);
        }
        let quiet = StoreEvent::Observed { subject: subject("/quiet"), state: present(7) };
        let policy = Policy { run_on_load: RunOnLoad::Never, ..Policy::DEFAULT }.into();
        let Parts { log, watches, persist, stores, .. } = &mut daemon.parts;
        let (is_dry_run, may_be_older) = (false, false);
        let mut registration = Registration { log, watches, persist, stores, is_dry_run, may_be_older };
        let wanted = vec![WatchSpec { policy, ..of_another_file("/quiet") }];
        let mut load = registration.begin("b.twc", wanted);
        assert!(registration.proceed(&mut load, 1).is_some());
        take_event(&mut daemon, quiet);
        assert_eq!(seen(&daemon, 7), 1, "at once");
        // A report that concerns the same watches waits behind the first one, in which one watch is left.
        take_event(&mut daemon, observed(3));
        tell(&mut daemon);
        assert_eq!((seen(&daemon, 2), seen(&daemon, 3)), (count + 1 - 99, 99));
        tell_all(&mut daemon);
        assert_eq!(seen(&daemon, 3), count + 1);
        daemon.stop();
    });
}

fn of_another_file(node: &str) -> WatchSpec {
    let spec = spec("quiet", node);
    WatchSpec { id: WatchKey { file: "b.twc".into(), ..spec.id }, ..spec }
}

#[test]
fn a_watch_that_got_another_node_is_not_told_what_its_former_one_reported() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let mut daemon = Daemon::start(directory.path());
        crowd(&mut daemon, 2 * MAX_TOLD_AT_ONCE).await;
        take_event(&mut daemon, observed(2));
        daemon.parts.load(vec![spec("a", "/n"), spec("w5", "/other")]);
        daemon.parts.performer().perform_all();
        tell_all(&mut daemon);
        assert_eq!(seen(&daemon, 2), 1, "the others are gone");
        assert_eq!(daemon.parts.watches.find("w5").expect("a watch").1.watch().snapshot().seen, None);
        daemon.stop();
    });
}

#[test]
fn what_a_former_store_reported_is_told_nobody_any_more() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let mut daemon = Daemon::start(directory.path());
        crowd(&mut daemon, 2 * MAX_TOLD_AT_ONCE).await;
        take_event(&mut daemon, observed(2));
        take_event(&mut daemon, connected("fake:1"));
        assert!(!daemon.parts.stores.untold.is_empty(), "it is still true");
        take_event(&mut daemon, connected("fake:2"));
        assert!(daemon.parts.stores.untold.is_empty());
        assert_eq!(seen(&daemon, 2), 0);
        daemon.stop();
    });
}

#[test]
fn no_store_is_heard_while_many_reports_wait() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let mut daemon = Daemon::start(directory.path());
        crowd(&mut daemon, 2 * MAX_TOLD_AT_ONCE).await;
        let mut revision = 1;
        while daemon.parts.stores.untold.has_room() {
            revision += 1;
            take_event(&mut daemon, observed(revision));
        }
        assert!(revision > 10);
        tell_all(&mut daemon);
        assert!(daemon.parts.stores.untold.has_room());
        assert_eq!(seen(&daemon, revision), 2 * MAX_TOLD_AT_ONCE + 1);
        daemon.stop();
    });
}

// A full table of inotify watches stays so for the process that found it full.
#[test]
fn a_store_that_finds_changes_late_is_degraded_until_another_process_serves_it() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let mut daemon = Daemon::start_on(directory.path(), Stores::fake_directory);
        daemon.connect("fake:1").await;
        let late = || StoreEvent::Degraded { reason: "looking every second".to_owned() };
        let degraded = |daemon: &Daemon| daemon.parts.log.all_degraded();
        daemon.hear([late(), connected("fake:1"), observed(1)]).await;
        let found = degraded(&daemon);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].part, "changes in store default");
        assert!(found[0].what.starts_with("looking every second; "), "{found:?}");
        daemon.hear([StoreEvent::HalfEnded]).await;
        assert_eq!(degraded(&daemon), []);
        daemon.stop();
        // A store on a network has no such watches: it says that it skips foreign keys.
        let mut daemon = Daemon::start(directory.path());
        daemon.hear([late()]).await;
        assert_eq!(degraded(&daemon), []);
        daemon.stop();
    });
}

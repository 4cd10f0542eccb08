//! What a store says, passed on to the watches and the log.

use super::stores::Stores;
use super::watches::Watches;
use crate::model::StoreName;
use crate::report::{NodeRef, Report, Reporter};
use crate::store::StoreEvent;
use crate::watch::Input;

/// Takes an event of the store `name`. Returns whether the store is connected, if the event says so.
pub fn take(
    log: &Reporter,
    watches: &mut Watches,
    stores: &mut Stores,
    name: &StoreName,
    event: StoreEvent,
) -> Option<bool> {
    let store_name = stores.display_name(name);
    let store = &mut stores[name];
    match event {
        StoreEvent::Observed { subject, state } => {
            let node = NodeRef { store: name, subject: &subject };
            let subscribers = store.subjects.get_mut(&subject)?;
            if subscribers.unreadable.take().is_some() {
                log.report(&Report::NodeReadable { node });
            }
            log.report(&Report::NodeObserved { node });
            let awaits = |id| watches.get(id).is_some_and(|entry| entry.watch().awaits_observation());
            for watch in subscribers.take_report(&state, awaits) {
                watches.step(watch, Input::Observed(state.clone()));
            }
        }
        StoreEvent::Unreadable { subject, reason } => {
            let subscribers = store.subjects.get_mut(&subject)?;
            // A watch that asks now asks the store again.
            (subscribers.unreadable, subscribers.is_asked) = (Some(reason.clone()), false);
            let entries = subscribers.watches.iter().filter_map(|watch| watches.get(*watch));
            let keys: Vec<_> = entries.map(|entry| entry.key()).collect();
            let node = NodeRef { store: name, subject: &subject };
            log.report(&Report::NodeUnreadable { node, watches: &keys, reason: &reason });
        }
        StoreEvent::Connected { what, identity } => {
            let downtime = store.connected(&what);
            // It may be another store now. No run of the former one starts any more: a watch gets its place
            // at the end of the turn, and has forgotten by then what it wanted one for. A start that waits
            // for the lookup of its user is put off then.
            for watch in store.identified(&identity) {
                watches.forget_versions(watch);
            }
            log.report(&Report::StoreConnected { store: store_name, what: &what, downtime });
            return Some(true);
        }
        StoreEvent::Disconnected { reason } => {
            store.disconnected(&reason);
            log.report(&Report::StoreDisconnected { store: store_name, reason: &reason });
            return Some(false);
        }
        StoreEvent::Refused { reason } => {
            store.refused(&reason);
            log.report(&Report::StoreRefused { store: store_name, reason: &reason });
        }
        StoreEvent::RootMissing { reason } => log.degraded(format!("store {name}"), reason),
        StoreEvent::RootFound => log.recovered_as(&format!("store {name}"), "its root exists"),
        StoreEvent::Exposed(what) => {
            log.report(&Report::StoreExposed { store: store_name, what: &what });
        }
        StoreEvent::Degraded { reason } => {
            log.report(&Report::StoreDegraded { store: store_name, reason: &reason });
        }
        StoreEvent::HalfStarted(half) => {
            let (pid, confinement) = (half.pid, half.confinement.clone());
            let restarts = store.half_started(half);
            let confinement = &confinement;
            log.report(&Report::StoreHalfStarted { store: store_name, pid, confinement, restarts });
        }
        StoreEvent::MissedChange { subject } => {
            let total = stores.count_missed_change();
            let node = NodeRef { store: name, subject: &subject };
            log.report(&Report::NodeChangeMissed { node, total });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::daemon::completion::Until;
    use crate::daemon::fixtures::{Parts, block_on, present, spec, subject, version};
    use crate::model::{Policy, RunOnLoad, WatchSpec};
    use crate::store::{StoreChannel, StoreEnd};
    use crate::watch::Snapshot;

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
            let (channel, end) = StoreChannel::new();
            let mut parts = Parts::new(directory, Until::Stopped);
            parts.stores = Stores::fake(channel);
            let policy = Policy { run_on_load: RunOnLoad::Changed, ..Policy::DEFAULT };
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
            daemon.parts.watches.step(daemon.parts.watch("a"), Input::Paused);
            let known = daemon.snapshot();
            assert_eq!((known.applied, known.paused), (Some(version(1)), true));
            daemon.stop();

            let mut daemon = Daemon::start(directory.path());
            assert_eq!(daemon.snapshot(), known, "during an outage");
            assert_eq!((daemon.connect("fake:1").await, daemon.observe(1).await), (0, 0));
            assert_eq!(daemon.snapshot(), known);
            daemon.stop();

            let mut daemon = Daemon::start(directory.path());
            assert_eq!(daemon.snapshot(), known);
            assert_eq!(daemon.connect("fake:2").await, 0);
            assert_eq!(daemon.snapshot(), Snapshot { paused: true, ..Snapshot::default() });
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

    #[test]
    fn a_node_is_asked_for_once_for_all_of_its_watches_and_told_to_those_that_need_it() {
        let directory = tempfile::tempdir().unwrap();
        block_on(async {
            let mut daemon = Daemon::start(directory.path());
            let policy = Policy { run_on_load: RunOnLoad::Never, ..Policy::DEFAULT };
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
}

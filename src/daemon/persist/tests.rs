use std::time::SystemTime;

use super::*;
use crate::daemon::completion::Until;
use crate::daemon::fixtures::{Parts, block_on, key, present, spec, subject, version};
use crate::ledger::Intent;
use crate::model::{Policy, StoreName, Version};
use crate::watch::{Input, Seen};

fn recover(parts: &mut Parts, spec: &WatchSpec, hash: u64) -> Snapshot {
    let stored = parts.persist.ledger_mut().load_watches("a.twc");
    let store = &mut parts.stores[&StoreName::default()];
    parts.persist.recover(spec, hash, stored.get(&*spec.id.description), store, true)
}

#[test]
fn what_changed_is_saved_a_moment_later_and_recovered_by_the_same_definition() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let mut parts = Parts::new(directory.path(), Until::Stopped);
        let Parts { watches, runs, stores, persist, .. } = &mut parts;
        persist.schedule_flush(watches, runs);
        assert_eq!(persist.flush_at(), None);
        let id = watches.add(spec("a", "/n"), 1, Policy::UNLOADED, Snapshot::default(), true);
        watches.step(id, Input::Observed(present(3)));
        persist.schedule_flush(watches, runs);
        let due = persist.flush_at().expect("something to save");
        assert!(due <= Instant::now() + FLUSH_DELAY);
        persist.flush(watches, runs, stores);
        persist.schedule_flush(watches, runs);
        assert_eq!(persist.flush_at(), None);

        // A directory counts its incarnations anew.
        let seen = Some(Seen::Present(Version { incarnation: 0, ..version(3) }));
        assert_eq!(recover(&mut parts, &spec("a", "/n"), 1).seen, seen);
        assert_eq!(recover(&mut parts, &spec("a", "/n"), 2).seen, seen);
        assert_eq!(recover(&mut parts, &spec("a", "/other"), 1).seen, None);
    });
}

#[test]
fn a_run_that_nobody_saw_end_is_owed_to_the_watch_of_the_same_node() {
    for (node, owed) in [("/n", Some(Event::Changed)), ("/other", None)] {
        let directory = tempfile::tempdir().unwrap();
        block_on(async {
            let mut parts = Parts::new(directory.path(), Until::Stopped);
            let intent = Intent {
                run: "1.1-1".into(),
                watch: key("a"),
                store: parts.stores[&StoreName::default()].identity.clone(),
                subject: subject("/n"),
                definition: 1,
                version: version(1),
                event: Event::Changed,
                started: SystemTime::now(),
                timeout: None,
            };
            parts.persist.ledger_mut().record_intents([intent].iter());
            assert_eq!(parts.persist.unfinished().len(), 1);
            assert_eq!(recover(&mut parts, &spec("a", node), 1).pending, owed);
            assert_eq!(recover(&mut parts, &spec("a", node), 1).pending, None, "once");
        });
    }
}

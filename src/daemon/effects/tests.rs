use super::*;
use crate::daemon::completion::Until;
use crate::daemon::fixtures::{Parts, block_on, spec};
use crate::model::{Action, WatchSpec};

#[test]
fn runs_are_prepared_one_by_one_and_started_together_and_the_ledger_knows_them() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let mut parts = Parts::new(directory.path(), Until::Stopped);
        parts.load(vec![spec("a", "/n"), spec("b", "/n")]);
        parts.observe("a");
        parts.observe("b");
        parts.performer().perform_all();
        assert_eq!((parts.runs.count(), parts.recorded()), (0, Vec::new()));
        parts.performer().start_all();
        assert_eq!((parts.runs.count(), parts.recorded()), (2, vec!["a".to_owned(), "b".to_owned()]));
        for _ in 0..2 {
            let end = parts.runs.next_end().await.expect("an end");
            parts.performer().run_ended(end);
        }
        assert_eq!((parts.runs.count(), parts.recorded()), (0, Vec::new()));
        let (_, a) = parts.watches.find("a").expect("a watch");
        assert_eq!(a.last_run().map(|last| last.outcome), Some(RunOutcome::Exited(0)));
        parts.stores.close().await;
    });
}

#[test]
fn what_is_to_be_signalled_is_started_before() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let mut parts = Parts::new(directory.path(), Until::Stopped);
        parts.load(vec![spec("a", "/n")]);
        parts.observe("a");
        parts.watches.step(parts.watch("a"), Input::Killed);
        parts.performer().perform_all();
        assert_eq!(parts.runs.count(), 1);
        let end = parts.runs.next_end().await.expect("an end");
        parts.performer().run_ended(end);
        let (_, a) = parts.watches.find("a").expect("a watch");
        assert_eq!(a.last_run().map(|last| last.outcome), Some(RunOutcome::Killed));
        assert!(a.failure().is_some());
        parts.stores.close().await;
    });
}

#[test]
fn a_dry_run_starts_and_records_nothing() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let mut parts = Parts::new(directory.path(), Until::Planned { timeout: Duration::ZERO });
        parts.load(vec![spec("a", "/n")]);
        parts.observe("a");
        let mut performer = parts.performer();
        performer.perform_all();
        performer.start_all();
        assert_eq!((parts.runs.count(), parts.recorded()), (0, Vec::new()));
        assert_eq!(parts.completion.take_planned().len(), 1);
        parts.stores.close().await;
    });
}

#[test]
fn a_run_that_cannot_start_fails_and_is_not_owed_by_the_next_daemon() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let mut parts = Parts::new(directory.path(), Until::Stopped);
        let action = Action::Command(["/no/such".to_owned()].into());
        parts.load(vec![WatchSpec { action, ..spec("a", "/n") }]);
        parts.observe("a");
        let mut performer = parts.performer();
        performer.perform_all();
        performer.start_all();
        let (_, a) = parts.watches.find("a").expect("a watch");
        assert!(a.failure().is_some_and(|failure| failure.what.contains("/no/such")));
        assert_eq!(parts.recorded(), Vec::<String>::new());
        let end = parts.runs.next_end().await.expect("an end");
        parts.performer().run_ended(end);
        assert_eq!(parts.watches.failing(), 1);
        parts.stores.close().await;
    });
}

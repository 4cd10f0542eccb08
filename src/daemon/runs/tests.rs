use std::io::ErrorKind;

use super::*;
use crate::daemon::fixtures::{block_on, key, reporter, spec, subject, version};
use crate::model::{Action, Content};
use crate::watch::Event;

fn pending(runs: &Runs) -> PendingStart {
    let update = Update { event: Event::Load, version: version(1), content: Content::Data([].into()) };
    let intent = Intent {
        run: runs.full_id(RunId(7)),
        watch: key("a"),
        store: "default".into(),
        subject: subject("/n"),
        definition: 1,
        version: version(1),
        event: Event::Load,
        started: std::time::SystemTime::now(),
        timeout: None,
    };
    let payload = Payload::Data([].into());
    PendingStart { watch: WatchId(1), run: RunId(7), update, since: Time::ZERO, payload, intent }
}

fn runs() -> Runs {
    Runs::new(reporter(), Clock::start(), Spawner::new().expect("limits"))
}

#[test]
fn a_run_is_live_from_its_start_to_its_end() {
    block_on(async {
        let mut runs = runs();
        let start = pending(&runs);
        assert!(runs.start(start, &spec("a", "/n")).is_ok());
        assert_eq!(runs.count(), 1);
        assert!(runs.get(RunId(7)).is_some_and(|live| live.matches_id("7") && !live.matches_id("8")));
        let end = runs.next_end().await.expect("its end");
        assert_eq!((end.watch, end.run), (WatchId(1), RunId(7)));
        assert!(matches!(end.how, EndKind::Ended(Ok(ExitStatus::Exited(0)), _)));
        let ended = runs.remove(RunId(7)).expect("a live run");
        assert_eq!(ended.unsaved_process, ended.live.process);
        assert!(runs.count() == 0 && !runs.has_unsaved());
    });
}

#[test]
fn a_signal_reaches_a_live_run_and_is_noted() {
    block_on(async {
        let mut runs = runs();
        // One that has ended: nothing happens.
        runs.signal(RunId(7), Signal::Kill);
        let start = pending(&runs);
        let words = ["sleep".to_owned(), "60".to_owned()];
        let sleeping = WatchSpec { action: Action::Command(words.into()), ..spec("a", "/n") };
        assert!(runs.start(start, &sleeping).is_ok());
        runs.signal(RunId(7), Signal::Terminate(Reason::Timeout));
        let end = runs.next_end().await.expect("its end");
        assert!(matches!(end.how, EndKind::Ended(Ok(ExitStatus::Signaled(15)), _)));
        assert_eq!(runs.get(RunId(7)).and_then(|live| live.ended_by), Some(Reason::Timeout));
    });
}

#[test]
fn a_program_that_cannot_be_started_ends_its_run() {
    block_on(async {
        let mut runs = runs();
        let start = pending(&runs);
        let missing =
            WatchSpec { action: Action::Command(["/no/such".to_owned()].into()), ..spec("a", "/n") };
        let failure = runs.start(start, &missing).expect_err("no such program");
        assert!(failure.why.contains("/no/such"), "{}", failure.why);
        assert_eq!(runs.count(), 0);
        let end = runs.next_end().await.expect("its end");
        assert!(matches!(end.how, EndKind::NeverStarted { starved: false }));
    });
}

#[test]
fn the_ids_of_another_daemon_are_others() {
    let id = runs().full_id(RunId(7));
    assert!(id.ends_with(&format!(".{:x}-7", std::process::id())), "{id}");
}

#[test]
fn how_a_process_ended_and_why_it_was_told_to_make_the_verdict() {
    let lost = || Err(io::Error::from(ErrorKind::Other));
    let (exited, signaled) = (|code| Ok(ExitStatus::Exited(code)), |signal| Ok(ExitStatus::Signaled(signal)));
    for (status, told, expected) in [
        (exited(0), None, (RunResult::Succeeded, RunOutcome::Exited(0))),
        (exited(1), None, (RunResult::Failed, RunOutcome::Exited(1))),
        (signaled(9), None, (RunResult::Failed, RunOutcome::Signaled(9))),
        // However it ends: it was told to.
        (exited(0), Some(Reason::Timeout), (RunResult::Failed, RunOutcome::TimedOut)),
        (signaled(15), Some(Reason::Kill), (RunResult::Failed, RunOutcome::Killed)),
        (exited(0), Some(Reason::Stop), (RunResult::Interrupted, RunOutcome::Interrupted)),
        (Ok(ExitStatus::Unknown), None, (RunResult::Interrupted, RunOutcome::Unknown)),
        (Ok(ExitStatus::Unknown), Some(Reason::Timeout), (RunResult::Interrupted, RunOutcome::Unknown)),
        (lost(), None, (RunResult::Failed, RunOutcome::Unknown)),
    ] {
        assert_eq!(verdict(&status, told), expected, "{status:?}, told to end by {told:?}");
    }
}

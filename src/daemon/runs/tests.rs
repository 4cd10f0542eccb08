use std::path::Path;

use super::*;
use crate::action::spawn::hangs;
use crate::daemon::fixtures::{block_on, key, reporter, spec, subject, version};
use crate::ledger::RunCause;
use crate::model::{Action, Content, Origin};
use crate::sys::Step;
use crate::watch::Event;

fn pending(runs: &Runs) -> PendingStart {
    let (version, content) = (version(1), Content::Data([].into()));
    let update = Update { event: Event::Load, version, origin: Origin::UNKNOWN, content, decoded: None };
    let intent = Intent {
        run: runs.full_id(RunId(7)),
        watch: key("a"),
        store: "default".into(),
        subject: subject("/n"),
        definition: 1,
        version,
        event: Event::Load,
        cause: RunCause::default(),
        started: std::time::SystemTime::now(),
        timeout: None,
    };
    let payload = Payload::Data([].into());
    PendingStart { watch: WatchId(1), run: RunId(7), update, since: Time::ZERO, payload, intent }
}

fn runs() -> Runs {
    // Nobody looks for the processes of these runs.
    let slots = Slots::open(Path::new("/no/such/directory"));
    Runs::new(reporter(), Clock::start(), Spawner::new().expect("limits"), slots)
}

/// Waits for the next end of a start.
async fn start_ended(runs: &mut Runs) -> StartOutcome {
    match runs.events.recv().await {
        Some(RunEvent::Start(event)) => runs.start_ended(event),
        _ => panic!("no start ended"),
    }
}

async fn end(runs: &mut Runs) -> RunEnd {
    match runs.events.recv().await {
        Some(RunEvent::End(end)) => end,
        _ => panic!("no run ended"),
    }
}

#[test]
fn a_run_is_live_from_its_start_to_its_end() {
    block_on(async {
        let mut runs = runs();
        let start = pending(&runs);
        runs.start(start, &spec("a", "/n"));
        assert_eq!(runs.count(), 1);
        assert!(runs.get(RunId(7)).is_some_and(|live| live.pid().is_none()));
        assert!(matches!(start_ended(&mut runs).await, StartOutcome::Started { .. }));
        assert!(runs.get(RunId(7)).is_some_and(|live| live.pid().is_some()));
        assert!(runs.get(RunId(7)).is_some_and(|live| live.matches_id("7") && !live.matches_id("8")));
        let end = end(&mut runs).await;
        assert_eq!((end.watch, end.run), (WatchId(1), RunId(7)));
        assert!(matches!(end.how, EndKind::Ended(Ok(ExitStatus::Exited(0)), _)));
        let ended = runs.remove(RunId(7)).expect("a live run");
        assert_eq!(ended.unsaved_process, ended.live.process());
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
        let words = ["sleep".into(), "60".into()];
        let sleeping = WatchSpec { action: Action::Command(words.into()), ..spec("a", "/n") };
        runs.start(start, &sleeping);
        assert!(matches!(start_ended(&mut runs).await, StartOutcome::Started { .. }));
        runs.signal(RunId(7), Signal::Terminate(Reason::Timeout));
        let end = end(&mut runs).await;
        assert!(matches!(end.how, EndKind::Ended(Ok(ExitStatus::Signaled(15)), _)));
        assert_eq!(runs.get(RunId(7)).and_then(|live| live.ended_by), Some(Reason::Timeout));
    });
}

#[test]
fn a_program_that_cannot_be_started_ends_its_run() {
    block_on(async {
        let mut runs = runs();
        let start = pending(&runs);
        let missing = WatchSpec { action: Action::Command(["/no/such".into()].into()), ..spec("a", "/n") };
        runs.start(start, &missing);
        let StartOutcome::Failed(failure) = start_ended(&mut runs).await else { panic!("it started") };
        assert!(failure.why.contains("/no/such") && !failure.starved, "{}", failure.why);
        assert_eq!(runs.count(), 0);
    });
}

#[test]
fn a_signal_to_a_run_that_is_being_started_is_remembered_or_gives_it_up() {
    for (signal, given_up) in [(Signal::Notify(15), false), (Signal::Terminate(Reason::Kill), true)] {
        block_on(async {
            let mut runs = runs();
            let start = pending(&runs);
            let words = ["sleep".into(), "60".into()];
            let sleeping = WatchSpec { action: Action::Command(words.into()), ..spec("a", "/n") };
            runs.start(start, &sleeping);
            runs.signal(RunId(7), signal);
            let end = match start_ended(&mut runs).await {
                StartOutcome::Ended(end) => end,
                // It was too late to give it up.
                StartOutcome::Started { .. } | StartOutcome::Nothing => end(&mut runs).await,
                StartOutcome::Failed(failure) => panic!("{}", failure.why),
            };
            let EndKind::Ended(Ok(ExitStatus::Signaled(number)), _) = end.how else { panic!("no signal") };
            assert!(number == 15 || given_up && number == 9, "{number}");
            let told = runs.get(RunId(7)).and_then(|live| live.ended_by);
            assert_eq!(told, given_up.then_some(Reason::Kill));
        });
    }
}

#[test]
fn a_run_whose_start_hangs_is_put_off_unless_it_was_told_to_end_and_keeps_its_slot() {
    for (told, starved) in
        [(None, Some(true)), (Some(Reason::Timeout), Some(false)), (Some(Reason::Kill), None)]
    {
        let directory = tempfile::tempdir().unwrap();
        block_on(async {
            let slots = Slots::open(directory.path());
            let mut runs = Runs::new(reporter(), Clock::start(), Spawner::new().expect("limits"), slots);
            let (start, job) = (pending(&runs), job(&runs));
            let id = job.id.clone();
            runs.start(start, &job.spec);
            if let Some(live) = runs.live.get_mut(&RunId(7)) {
                live.ended_by = told;
            }
            let outcome = Err(hangs(Step::Program, &job.spec.exec_context, Duration::from_secs(10)));
            let done = StartEvent::Done { job: Arc::clone(&job), outcome, hangs: true };
            match runs.start_ended(done) {
                StartOutcome::Failed(failure) => assert_eq!(Some(failure.starved), starved),
                StartOutcome::Ended(_) => assert_eq!(starved, None),
                StartOutcome::Started { .. } | StartOutcome::Nothing => panic!("it hangs"),
            }
            runs.over(&id);
            assert!(!runs.slots.is_free(&id), "its process may still write into it");
            runs.known_to_hang.insert(job.watch);
            runs.start_ended(StartEvent::LetGo(job));
            assert!(runs.slots.is_free(&id) && runs.known_to_hang.is_empty() && runs.hanging.is_empty());
        });
    }
}

fn job(runs: &Runs) -> Arc<Job> {
    let PendingStart { watch, run, update, since, payload, intent } = pending(runs);
    Arc::new(Job { watch, run, id: intent.run, spec: spec("a", "/n"), update, since, payload, slot: None })
}

#[test]
fn the_ids_of_another_daemon_are_others() {
    let id = runs().full_id(RunId(7));
    assert!(id.ends_with(&format!(".{:x}-7", std::process::id())), "{id}");
}

// A dead mount must neither take the places of all watches for good nor hold up the daemon's end.
#[test]
fn a_run_that_nobody_can_end_has_no_place_and_is_not_awaited() {
    block_on(async {
        let mut runs = runs();
        let start = pending(&runs);
        let words = ["sleep".into(), "60".into()];
        runs.start(start, &WatchSpec { action: Action::Command(words.into()), ..spec("a", "/n") });
        assert!(matches!(start_ended(&mut runs).await, StartOutcome::Started { .. }));
        assert_eq!((runs.count(), runs.taken_places(), runs.awaited()), (1, 1, 1));
        for _ in 0..2 {
            runs.kill_timed_out(RunId(7));
            assert_eq!((runs.count(), runs.taken_places(), runs.awaited()), (1, 0, 0));
        }
        runs.signal(RunId(7), Signal::Kill);
        end(&mut runs).await;
        assert!(runs.remove(RunId(7)).is_some());
        assert_eq!((runs.count(), runs.taken_places(), runs.awaited()), (0, 0, 0));
    });
}

//! What the core asks for, done: the one place that performs its effects and tells it how runs end.

use std::io;
use std::time::{Duration, SystemTime};

use super::completion::Completion;
use super::identities::{Answer, Identities, Verdict};
use super::live_run::Signal;
use super::persist::Persist;
use super::places::Places;
use super::run_end::{EndKind, RunEnd, verdict};
use super::runs::{EndedRun, PendingStart, RunEvent, Runs, StartFailure, StartOutcome, run_name};
use super::stores::Stores;
use super::watches::{CircleNews, LastRun, WatchId, Watches};
use crate::action::payload::Payload;
use crate::action::run::ExitStatus;
use crate::config::accounts::AccountsStamp;
use crate::ledger::{Intent, RunOutcome};
use crate::report::{NodeRef, Report, Reporter, RunReport};
use crate::watch::{Effect, Event, Input, RunId, RunResult, Time, Update};

/// The parts that effects concern.
pub struct Performer<'a> {
    pub log: &'a Reporter,
    pub watches: &'a mut Watches,
    pub places: &'a mut Places,
    pub runs: &'a mut Runs,
    pub identities: &'a mut Identities,
    pub persist: &'a mut Persist,
    pub stores: &'a mut Stores,
    pub completion: &'a mut Completion,
}

impl Performer<'_> {
    /// Performs all effects that wait, and starts as many runs as there are places for.
    pub fn end_turn(&mut self) {
        self.perform_all();
        self.give_places();
        self.start_all();
        self.tell_circles();
    }

    /// Tells operators of watches that run themselves in circles.
    fn tell_circles(&mut self) {
        while let Some(news) = self.watches.next_circle() {
            match news {
                CircleNews::Found { watch, what } => self.log.degraded(watch, what),
                CircleNews::Over { watch } => self.log.recovered(&watch),
            }
        }
    }

    /// Performs all effects that wait, oldest first. Runs are only prepared: see [`Self::start_all`].
    pub fn perform_all(&mut self) {
        while let Some((watch, effect)) = self.watches.next_effect() {
            self.perform(watch, effect);
        }
    }

    /// Lets watches that want to start a run prepare one each, as long as there are places in this turn.
    fn give_places(&mut self) {
        while let Some(watch) = self.places.give(self.runs.taken_places()) {
            self.watches.step(watch, Input::MayStart);
            self.perform_all();
        }
    }

    fn perform(&mut self, id: WatchId, effect: Effect) {
        let now = self.watches.now();
        let Some(entry) = self.watches.get_mut(id) else { return };
        let watch = entry.key();
        match effect {
            Effect::WantsStart => self.places.ask(id),
            Effect::Spawn { run, update, since } => self.prepare(id, run, update, since),
            Effect::Notify { run, signal } => self.signal(run, Signal::Notify(signal)),
            Effect::Terminate { run, reason } => self.signal(run, Signal::Terminate(reason)),
            Effect::Kill { run } => self.signal(run, Signal::Kill),
            Effect::Deleted => {
                let tell = entry.count_deletion(now);
                let Some(spec) = entry.spec() else { return };
                if tell {
                    self.log.report(&Report::Deleted { watch: &spec.id, node: NodeRef::of(spec) });
                }
            }
            Effect::Discarded { version } => {
                self.log.report(&Report::Discarded { watch, version: version.number });
            }
            Effect::Held { version, hold_reason } => {
                let warn = entry.count_held(now);
                let Some(spec) = entry.spec() else { return };
                let (watch, node, version) = (&spec.id, NodeRef::of(spec), version.number);
                self.log.report(&Report::Held { watch, node, version, hold_reason, warn });
            }
            Effect::Superseded { total } => {
                let warn = entry.count_superseded(now);
                let watch = entry.key();
                self.log.report(&Report::Superseded { watch, total, warn });
            }
            Effect::Retry { run, failures, after } => {
                let attempts =
                    entry.spec().and_then(|spec| spec.policy.retry).map_or(0, |retry| retry.attempts);
                self.run_again(id, run, after, RunReport::Retry { failures, attempts, after });
            }
            // That was said when the user was looked up.
            Effect::Postponed { .. }
                if entry.spec().is_some_and(|spec| self.identities.is_unknown(&spec.run_as)) => {}
            Effect::Postponed { run, after } => {
                self.run_again(id, run, after, RunReport::Postponed { after });
            }
            Effect::GaveUp { failures, stopped } => {
                self.log.report(&Report::GaveUp { watch, failures, stopped });
            }
            Effect::Forget => self.watches.forget(id),
        }
    }

    fn signal(&mut self, run: RunId, signal: Signal) {
        // The run may be among those that are still to be started.
        self.start_all();
        match self.identities.cancel(run) {
            // Its user is still being looked up.
            Some(start) => self.runs.put_off(start.watch, run),
            None => self.runs.signal(run, signal),
        }
    }

    /// Another run will follow `run`, which is over.
    fn run_again(&mut self, id: WatchId, run: RunId, after: Duration, what: RunReport<'_>) {
        let Some(spec) = self.watches.get(id).and_then(|entry| entry.spec()) else { return };
        self.runs.report(run, spec, what);
        self.watches.set_next_try(id, after);
    }

    fn prepare(&mut self, watch: WatchId, run: RunId, update: Update, since: Time) {
        let Some(entry) = self.watches.get_mut(watch) else { return };
        let payload = entry.payload_for(run, &update);
        // The core starts nothing of a watch that no file registers.
        let Some(spec) = entry.spec() else { return };
        if payload == Payload::Changes(Vec::new()) && update.event != Event::Deleted {
            return self.runs.skip(watch, run, spec);
        }
        let intent = Intent {
            run: self.runs.full_id(run),
            watch: spec.id.clone(),
            store: self.stores[&spec.store].ledger_name(watch),
            subject: spec.subject.clone(),
            definition: entry.hash(),
            version: update.version,
            event: update.event,
            started: SystemTime::now(),
            timeout: spec.policy.timeout,
        };
        self.runs.prepare(PendingStart { watch, run, update, since, payload, intent });
    }

    /// Starts all runs that were prepared. The ledger knows them before the first of them starts, so that the
    /// next daemon does, whatever becomes of this one.
    fn start_all(&mut self) {
        let starting = self.runs.take_starting();
        if starting.is_empty() {
            return;
        }
        if self.completion.is_dry_run() {
            for PendingStart { watch, update, .. } in starting {
                if let Some(spec) = self.watches.get(watch).and_then(|entry| entry.loaded()) {
                    self.completion.plan(spec, &update);
                }
            }
            return;
        }
        let stamp = AccountsStamp::now();
        let identified = starting.into_iter().filter_map(|start| self.identify(start, stamp));
        let starting: Vec<_> = identified.collect();
        self.persist.ledger_mut().record_intents(starting.iter().map(|start| &start.intent));
        for start in starting {
            let Some(spec) = self.watches.get(start.watch).and_then(|entry| entry.spec()) else { continue };
            self.runs.start(start, spec);
        }
        self.runs.report_slots(self.persist.ledger().lost_reason().is_none());
    }

    /// Takes what happened to a run.
    pub fn run_event(&mut self, event: RunEvent) {
        match event {
            RunEvent::Start(event) => match self.runs.start_ended(event) {
                StartOutcome::Started { watch, run } => self.watches.step(watch, Input::Started { run }),
                StartOutcome::Nothing => {}
                StartOutcome::Failed(failure) => self.not_started(*failure),
                StartOutcome::Ended(end) => self.run_ended(end),
            },
            RunEvent::End(end) => self.run_ended(end),
            RunEvent::KillTimeout(run) => self.runs.kill_timed_out(run),
            RunEvent::StopStarts => self.runs.stop_starts(),
        }
    }

    /// Makes sure that a run starts as who its user is now, `stamp` being the state of the local users.
    /// Returns none if nobody knows that yet.
    fn identify(&mut self, mut start: PendingStart, stamp: AccountsStamp) -> Option<PendingStart> {
        let Some(spec) = self.watches.get(start.watch).and_then(|entry| entry.spec()) else {
            return Some(start);
        };
        let run_as = spec.run_as.clone();
        match self.identities.verdict(&run_as, stamp) {
            Verdict::Known(identity) => {
                self.watches.set_identity(start.watch, &identity);
                start.intent.definition = self.watches.get(start.watch)?.hash();
                Some(start)
            }
            // Whoever the daemon's user is, the daemon runs as that user already.
            Verdict::Unknown(_) | Verdict::Asked if run_as.is_own() => Some(start),
            Verdict::Unknown(why) => {
                if let Some(entry) = self.watches.get_mut(start.watch) {
                    entry.fail(format!("not started: {why}"));
                }
                self.runs.put_off(start.watch, start.run);
                None
            }
            Verdict::Asked => {
                self.identities.wait(start, run_as);
                None
            }
        }
    }

    /// Takes the answer of a lookup. The starts that wait for it follow at the end of the turn.
    pub fn identity_answer(&mut self, answer: Answer) {
        let Some(run_as) = self.identities.take(answer) else { return };
        if let Some(identity) = self.identities.known(&run_as) {
            self.watches.set_identity_of_all(&run_as, identity);
        }
        self.identities.take_waiting_for(&run_as).into_iter().for_each(|start| self.runs.prepare(start));
    }

    /// Puts off the starts whose user could not be looked up in time.
    pub fn put_off_unidentified(&mut self) {
        for start in self.identities.take_overdue() {
            if let Some(entry) = self.watches.get_mut(start.watch) {
                entry.fail("not started: the lookup of its user takes too long".to_owned());
            }
            self.runs.put_off(start.watch, start.run);
        }
    }

    fn not_started(&mut self, StartFailure { watch, run, intent, why, starved }: StartFailure) {
        self.persist.ledger_mut().ended(&intent.run, RunOutcome::NotStarted(&why), &[]);
        if let Some(entry) = self.watches.get_mut(watch) {
            let last = LastRun::new(run, &intent, Duration::ZERO, RunOutcome::NotStarted(""));
            entry.note_run(last, RunResult::Failed, || why);
        }
        self.tell_end(watch, run, if starved { RunResult::Starved } else { RunResult::Failed });
    }

    /// Takes the end of a run.
    fn run_ended(&mut self, RunEnd { watch, run, how }: RunEnd) {
        let result = match how {
            EndKind::Unchanged => RunResult::Succeeded,
            EndKind::PutOff => RunResult::Starved,
            EndKind::Ended(status, output) => {
                // Each run is followed once, and only live runs are.
                let Some(ended) = self.runs.remove(run) else { return };
                self.live_run_ended(watch, run, &ended, &status, &output)
            }
        };
        self.tell_end(watch, run, result);
    }

    fn tell_end(&mut self, watch: WatchId, run: RunId, result: RunResult) {
        if let Some(entry) = self.watches.get_mut(watch) {
            entry.payload_done(run, result);
        }
        self.watches.step(watch, Input::Ended { run, end: result });
    }

    /// Tells the ledger, the watch and the log how a live run ended.
    fn live_run_ended(
        &mut self,
        watch: WatchId,
        run: RunId,
        EndedRun { live, unsaved_process }: &EndedRun,
        status: &io::Result<ExitStatus>,
        output: &[u8],
    ) -> RunResult {
        let (intent, ended_by, took) = (&live.intent, live.ended_by, live.age());
        let (result, outcome) = verdict(status, ended_by);
        let ledger = self.persist.ledger_mut();
        if let Some(process) = *unsaved_process {
            ledger.started(&intent.run, process);
        }
        ledger.ended(&intent.run, outcome, output);
        self.runs.over(&intent.run);
        let what = match status {
            Ok(outcome) => RunReport::Ended { outcome, ended_by, took },
            Err(error) => RunReport::Lost { error },
        };
        if let Some(entry) = self.watches.get_mut(watch) {
            entry.note_run(LastRun::new(run, intent, took, outcome), result, || what.to_string());
        }
        self.log.report(&Report::Run { run: run_name(&live.intent, run), what });
        result
    }
}

#[cfg(test)]
mod tests {
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
            parts.performer().give_places();
            assert_eq!((parts.runs.count(), parts.recorded()), (0, Vec::new()));
            parts.performer().start_all();
            assert_eq!((parts.runs.count(), parts.recorded()), (2, vec!["a".to_owned(), "b".to_owned()]));
            for _ in 0..2 {
                parts.end_of_run().await;
            }
            assert_eq!((parts.runs.count(), parts.recorded()), (0, Vec::new()));
            let (_, a) = parts.watches.find("a").expect("a watch");
            assert_eq!(a.last_run().map(|last| last.outcome), Some(RunOutcome::Exited(0)));
            parts.stores.close().await;
        });
    }

    #[test]
    fn no_more_runs_are_started_than_there_are_places_and_each_end_makes_place_for_one() {
        let directory = tempfile::tempdir().unwrap();
        block_on(async {
            let mut parts = Parts::new(directory.path(), Until::Stopped);
            parts.places = Places::new(Some(2));
            let names = ["a", "b", "c", "d"];
            parts.load(names.iter().map(|name| spec(name, "/n")).collect());
            names.iter().for_each(|name| parts.observe(name));
            let mut ended = Vec::new();
            while ended.len() < names.len() {
                parts.performer().end_turn();
                let left = names.len() - ended.len();
                assert_eq!(
                    (parts.runs.count(), parts.places.waiting()),
                    (left.min(2), left.saturating_sub(2))
                );
                ended.push(parts.end_of_run().await);
            }
            let mut all: Vec<_> = names.iter().map(|name| parts.watch(name)).collect();
            all.sort();
            ended.sort();
            assert_eq!(ended, all);
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
            parts.performer().perform_all();
            parts.performer().give_places();
            parts.watches.step(parts.watch("a"), Input::Killed);
            parts.performer().perform_all();
            assert_eq!(parts.runs.count(), 1);
            parts.end_of_run().await;
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
            parts.performer().end_turn();
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
            parts.performer().end_turn();
            parts.end_of_run().await;
            let (_, a) = parts.watches.find("a").expect("a watch");
            assert!(a.failure().is_some_and(|failure| failure.what.contains("/no/such")));
            assert_eq!(parts.recorded(), Vec::<String>::new());
            assert_eq!(parts.watches.failing(), 1);
            parts.stores.close().await;
        });
    }
}

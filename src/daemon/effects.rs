//! What the core asks for, done: the one place that performs its effects and tells it how runs end.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use nix::libc;

use super::completion::Completion;
use super::decoder::{Decoded, Decoder};
use super::identities::{Answer, Identities, Verdict};
use super::live_run::{LiveRun, Signal};
use super::persist::Persist;
use super::places::Places;
use super::run_end::{EndKind, RunEnd, verdict};
use super::runs::{EndedRun, PendingStart, RunEvent, Runs};
use super::start_outcome::{StartFailure, StartOutcome};
use super::stores::Stores;
use super::watches::{CircleNews, LastRun, WatchId, Watches};
use crate::action::run::ExitStatus;
use crate::config::accounts::AccountsStamp;
use crate::ledger::{Intent, RunCause, RunOutcome};
use crate::model::{RunAs, WatchSpec};
use crate::report::{NodeRef, Report, Reporter, RunReport};
use crate::watch::{Effect, Event, Input, Reason, RunId, RunResult, Time, Update};

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
    pub decoder: &'a mut Decoder,
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
                CircleNews::Over { watch } => self.log.recovered_as(&watch, "no longer runs in circles"),
            }
        }
    }

    /// Performs all effects that wait, oldest first. Runs are only prepared: see [`Self::start_all`].
    pub fn perform_all(&mut self) {
        while let Some((watch, effect)) = self.watches.next_effect() {
            self.perform(watch, effect);
        }
    }

    /// Lets watches that want to start a run prepare one each, as long as there are places in this turn, and
    /// few enough starts wait for their turn at the processors.
    fn give_places(&mut self) {
        let mut has_given = self.runs.needs_more();
        while std::mem::take(&mut has_given) {
            // Starts that waited for a lookup of their user got their places before. They and the others take
            // turns, so that ten thousand of them do not delay the others either.
            if self.runs.has_room() && self.identities.has_answered() && self.places.use_turn() {
                self.identities.next_answered().into_iter().for_each(|start| self.runs.prepare(start));
                has_given = true;
            }
            if self.runs.has_room()
                && let Some(watch) = self.places.give(self.taken_places())
            {
                self.watches.step(watch, Input::MayStart);
                self.perform_all();
                has_given = true;
            }
        }
    }

    fn taken_places(&self) -> usize {
        self.runs.taken_places() + self.identities.waiting()
    }

    fn perform(&mut self, id: WatchId, effect: Effect) {
        let now = self.watches.now();
        let Some(entry) = self.watches.get_mut(id) else { return };
        let watch = entry.key();
        match effect {
            Effect::Decode { decoding, content } => {
                if let Some(spec) = entry.spec() {
                    self.decoder.decode(id, decoding, content.blob(), spec);
                }
            }
            Effect::WantsStart => {
                let node = entry.spec().map(|spec| (spec.store.clone(), spec.subject.path.clone()));
                self.places.ask(id, node);
            }
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
                let Some(facet) = entry.spec().map(|spec| spec.subject.facet) else { return };
                self.log.report(&Report::Discarded { watch, version: version.number, facet });
            }
            Effect::Held { version, hold_reason } => {
                let warn = entry.count_held(now);
                let Some(spec) = entry.spec() else { return };
                let (watch, node, version) = (&spec.id, NodeRef::of(spec), version.number);
                self.log.report(&Report::Held { watch, node, version, hold_reason: &hold_reason, warn });
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
            Effect::PauseOver => self.log.report(&Report::PauseOver { watch }),
            Effect::GaveUp { failures, stopped } => {
                self.log.report(&Report::GaveUp { watch, failures, stopped });
            }
            Effect::Forget => self.watches.forget(id),
        }
    }

    fn signal(&mut self, run: RunId, signal: Signal) {
        // The run may be among those that are still to be started.
        self.start_all();
        let Some(start) = self.identities.cancel(run) else { return self.runs.signal(run, signal) };
        // Its user is still being looked up.
        match signal {
            // An operator who was told that it is killed must not see it start after all.
            Signal::Terminate(Reason::Kill) => self.killed_unstarted(start),
            Signal::Notify(_) | Signal::Terminate(Reason::Timeout | Reason::Stop) | Signal::Kill => {
                self.runs.put_off(start.watch, run);
            }
        }
    }

    /// Ends a run that was killed before anything of it was started, as one that was killed at once.
    fn killed_unstarted(&mut self, PendingStart { watch, run, intent, .. }: PendingStart) {
        self.persist.ledger_mut().record_intents([&intent].into_iter());
        let ended = EndedRun { live: LiveRun::unstarted(intent, Reason::Kill), unsaved_process: None };
        let killed = Ok(ExitStatus::Signaled(libc::SIGKILL));
        let result = self.live_run_ended(watch, run, &ended, &killed, &[]);
        self.tell_end(watch, run, result);
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
        if payload.has_no_changes() && update.event != Event::Deleted {
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
            cause: cause(&update),
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

    /// Does what is due although nothing happens: what was found not to work may work again.
    pub fn maintain(&mut self) {
        self.persist.ledger_mut().maintain();
        if !self.completion.is_dry_run() {
            self.runs.retry(self.persist.ledger().lost_reason().is_none());
        }
    }

    /// Takes the verdict on a content.
    pub fn decoded(&mut self, Decoded { watch, decoding, verdict }: Decoded) {
        self.watches.step(watch, Input::Decoded { decoding, verdict });
    }

    /// Takes what happened to a run.
    pub fn run_event(&mut self, event: RunEvent) {
        match event {
            RunEvent::Start(event) => match self.runs.start_ended(event) {
                StartOutcome::Started { watch, run, executed } => {
                    self.watches.step(watch, Input::Started { run, executed });
                }
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
        let Some(run_as) = self.wanted(&start).map(|spec| spec.run_as.clone()) else {
            self.runs.put_off(start.watch, start.run);
            return None;
        };
        match self.identities.verdict(&run_as, stamp) {
            Verdict::Known(identity) => {
                self.watches.set_identity(start.watch, &identity);
                start.intent.definition = self.watches.get(start.watch)?.hash();
                Some(start)
            }
            // The action runs as the daemon's own user, whatever a lookup finds.
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

    /// The definition that a start belongs to, if it may still start: while it waited, its watch may have got
    /// another definition, or may have been removed, paused or stopped.
    fn wanted(&self, start: &PendingStart) -> Option<&WatchSpec> {
        let entry = self.watches.get(start.watch)?;
        entry.loaded().filter(|_| entry.watch().may_still_start(start.run))
    }

    /// Takes the answer of a lookup. The starts that wait for it follow at the end of this turn and
    /// the next ones. Returns whom it is about.
    pub fn identity_answer(&mut self, answer: Answer) -> Option<Arc<RunAs>> {
        let run_as = self.identities.take(answer)?;
        if let Some(identity) = self.identities.known(&run_as) {
            self.watches.set_identity_of_all(&run_as, identity);
        }
        Some(run_as)
    }

    /// Puts off the starts whose user could not be looked up in time.
    pub fn put_off_unidentified(&mut self) {
        for start in self.identities.take_overdue() {
            if self.wanted(&start).is_some()
                && let Some(entry) = self.watches.get_mut(start.watch)
            {
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
        ledger.ended_in(&intent.run, *unsaved_process, outcome, output);
        self.persist.followed.ended(live, output);
        self.runs.over(&intent.run);
        let what = match status {
            Ok(outcome) => {
                let is_loaded = self.watches.get(watch).is_some_and(|entry| entry.loaded().is_some());
                let runs_again = result == RunResult::Interrupted && is_loaded;
                let is_ordered = intent.event == Event::Trigger;
                RunReport::Ended { outcome, ended_by, took, is_ordered, runs_again }
            }
            Err(error) => RunReport::Lost { error },
        };
        if let Some(entry) = self.watches.get_mut(watch) {
            entry.note_run(LastRun::new(run, intent, took, outcome), result, || what.to_string());
        }
        self.log.report(&Report::Run { run: live.report_name(run), what });
        result
    }
}

/// Returns what made the update.
fn cause(update: &Update) -> RunCause {
    let commit = update.decoded.as_ref().and_then(|decoded| decoded.commit.as_deref());
    RunCause::new(update.origin, commit)
}

#[cfg(test)]
mod tests;

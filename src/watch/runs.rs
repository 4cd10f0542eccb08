//! Starts runs, tells them to end, and decides what their end means.

use std::time::Duration;

use super::state::{Life, Load, Phase, Run, RunUpdate};
use super::waiting::{Undecoded, Waiting};
use super::{Effect, Generator, KILL_AFTER, Reason, RunId, RunResult, Time, Watch};
use crate::model::{OnFailure, Retry, RunMode, Throttle};

/// The delays of an update that starves. Descriptors or memory may be free again soon, or only much later.
const STARVATION_RETRY: Retry =
    Retry { attempts: u32::MAX, delay: Duration::from_secs(1), max_delay: Duration::from_secs(30) };

impl Watch {
    /// Begins the timeout of a run, and drops its content if nobody will try it again.
    pub(super) fn started(&mut self, run: RunId, executed: Time) {
        let (keeps, definition) = (self.policy.retry.is_some(), self.definition);
        let Some(live) = self.runs.iter_mut().find(|live| live.id == run) else { return };
        if let Some(timeout) = live.timeout.take() {
            live.end_by(executed + timeout, Reason::Timeout);
        }
        if !(keeps && live.definition == definition)
            && let Some(update) = &mut live.update
        {
            (update.content, update.decoded) = (None, None);
        }
    }

    pub(super) fn ended(
        &mut self,
        run: RunId,
        end: RunResult,
        now: Time,
        generator: &mut Generator,
        effects: &mut Vec<Effect>,
    ) {
        let Some(index) = self.runs.iter().position(|live| live.id == run) else { return };
        let mut ended = self.runs.remove(index);
        if end != RunResult::Starved {
            self.past.ran = self.past.ran.max(ended.number);
        }
        let Some(update) = ended.update.take() else { return };
        if self.life == Life::Retired || ended.subject != self.subject {
            return;
        }
        let same_definition = ended.definition == self.definition;
        // If there is a newer update, it runs in any case.
        let newest = ended.number == self.past.accepted;
        match end {
            RunResult::Interrupted => self.due_event = Some(update.event),
            RunResult::Starved => {
                self.starved(Run { update: Some(update), ..ended }, newest, now, generator, effects);
            }
            RunResult::Succeeded => {
                let newest = ended.number > self.past.succeeded;
                if newest {
                    self.past.succeeded = ended.number;
                    self.past.applied_size = (!update.version.is_deletion()).then_some(update.size);
                }
                // One deletion is like another: what is held has been done.
                let latest = ended.number == self.past.accepted;
                let holds_deletion = self.held().is_some_and(|held| held.version.is_deletion());
                if same_definition && latest && holds_deletion && update.version.is_deletion() {
                    self.held = None;
                }
                // The result of another definition says nothing about this one.
                if same_definition {
                    self.failures = 0;
                    self.past.applied = if newest { Some(update.version) } else { self.past.applied };
                }
            }
            RunResult::Failed if same_definition => {
                self.failed(Run { update: Some(update), ..ended }, newest, now, generator, effects);
            }
            RunResult::Failed => {}
        }
    }

    fn starved(
        &mut self,
        mut ended: Run,
        newest: bool,
        now: Time,
        generator: &mut Generator,
        effects: &mut Vec<Effect>,
    ) {
        let Some(mut update) = ended.update.take().and_then(RunUpdate::again) else { return };
        let same_definition = ended.definition == self.definition;
        if !same_definition {
            // As for what waits when the definition changes.
            ended.failures = 0;
            let is_unwanted = update.event == super::Event::Deleted && !self.policy.run_on_delete;
            if is_unwanted || !self.passes_guard(&update, effects) {
                return;
            }
            update.decoded = None;
            if self.needs_decoding(&update) {
                // It must not run after a newer one.
                if newest && self.undecoded.is_empty() {
                    self.await_decoding(Undecoded::new(update, false, now), effects);
                }
                return;
            }
        }
        if newest || self.policy.run_mode == RunMode::Parallel {
            let starved = ended.starved + 1;
            let after = generator.backoff(&STARVATION_RETRY, starved);
            effects.push(Effect::Postponed { run: ended.id, after });
            let update = Some(RunUpdate::of(&update));
            self.try_again(Run { starved, update, ..ended }, now + after);
        }
    }

    fn failed(
        &mut self,
        ended: Run,
        newest: bool,
        now: Time,
        generator: &mut Generator,
        effects: &mut Vec<Effect>,
    ) {
        // The count comes from the ledger, so it can be any number.
        self.failures = self.failures.saturating_add(1);
        let failures = ended.failures + 1;
        match self.policy.retry {
            Some(retry) if failures <= retry.attempts && newest => {
                let after = generator.backoff(&retry, failures);
                if self.life == Life::Active {
                    effects.push(Effect::Retry { run: ended.id, failures, after });
                }
                let not_before = now + after;
                self.try_again(Run { failures, starved: 0, since: not_before, ..ended }, not_before);
            }
            Some(retry) if failures <= retry.attempts => {}
            None if self.policy.on_failure == OnFailure::Keep => {}
            Some(_) | None => self.abandon_update(failures, effects),
        }
    }

    fn try_again(&mut self, run: Run, not_before: Time) {
        let Run { update, number, failures, starved, since, .. } = run;
        let Some(update) = update.and_then(RunUpdate::again) else { return };
        let place = self.waiting.partition_point(|waiting| waiting.number < number);
        let accepted_at = since;
        let waiting = Waiting { update, number, failures, starved, accepted_at, not_before, since };
        self.waiting.insert(place, waiting);
    }

    fn abandon_update(&mut self, failures: u32, effects: &mut Vec<Effect>) {
        self.stopped = self.policy.on_failure == OnFailure::Stop;
        effects.push(Effect::GaveUp { failures, stopped: self.stopped });
        if self.stopped {
            self.keep_newest();
        }
    }

    pub(super) fn end_all_by(&mut self, latest: Time, why: Reason) {
        self.runs.iter_mut().for_each(|run| run.end_by(latest, why));
    }

    pub(super) fn expire(&mut self, now: Time, effects: &mut Vec<Effect>) {
        for run in self.runs.iter_mut().filter(|run| run.phase.deadline().is_some_and(|due| due <= now)) {
            run.phase = match run.phase {
                Phase::Running { reason, .. } => {
                    effects.push(Effect::Terminate { run: run.id, reason });
                    Phase::Terminated { kill_at: now + KILL_AFTER }
                }
                Phase::Terminated { .. } | Phase::Killed => {
                    effects.push(Effect::Kill { run: run.id });
                    Phase::Killed
                }
            };
        }
    }

    /// Asks for a place among the daemon's runs if an update is due. One question is open at a time.
    pub(super) fn ask_for_start(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if self.past.asked_at.is_none() && self.is_due(now) {
            self.past.asked_at = Some(now);
            effects.push(Effect::WantsStart);
        }
    }

    fn is_due(&self, now: Time) -> bool {
        self.may_start() && self.start_due().is_some_and(|due| due <= now)
    }

    /// Starts the oldest waiting update if it is still due.
    pub(super) fn start_one(&mut self, now: Time, generator: &mut Generator, effects: &mut Vec<Effect>) {
        while self.is_due(now)
            && let Some(Waiting { update, number, failures, starved, accepted_at, since, .. }) =
                self.waiting.pop_front()
        {
            // An update must not run after a newer one, because the last run must have the last content.
            if starved > 0
                && self.runs.iter().map(|run| run.number).chain([self.past.ran]).any(|other| other > number)
            {
                self.supersede(effects);
                continue;
            }
            let run = generator.run_id();
            let since = since.max(self.throttled_until(accepted_at));
            self.past.started_at = Some(now);
            self.runs.push(Run {
                id: run,
                definition: self.definition,
                subject: self.subject,
                phase: Phase::Running { until: None, reason: Reason::Timeout },
                timeout: self.policy.timeout,
                number,
                failures,
                starved,
                since,
                update: Some(RunUpdate::of(&update)),
            });
            effects.push(Effect::Spawn { run, update, since });
            return;
        }
    }

    /// Returns when the next update starts, if it waits only for a time.
    pub fn next_start(&self) -> Option<Time> {
        if self.may_start() && self.past.asked_at.is_none() { self.start_due() } else { None }
    }

    /// Returns when the oldest waiting update is due.
    fn start_due(&self) -> Option<Time> {
        self.waiting.front().map(|waiting| waiting.not_before.max(self.throttled_until(waiting.accepted_at)))
    }

    /// Returns when `debounce` and `min_interval` let an update start that was accepted at `accepted_at`;
    /// without them, [`Time::ZERO`].
    fn throttled_until(&self, accepted_at: Time) -> Time {
        let throttle @ Throttle { debounce, min_interval, .. } = self.policy.throttle;
        let latest = accepted_at.saturating_add(throttle.longest_debounce());
        let calm = (!debounce.is_zero()).then(|| (self.past.accepted_at + debounce).min(latest));
        let started = self.past.started_at.filter(|_| !min_interval.is_zero());
        let rested = started.map(|started| started + min_interval);
        calm.max(rested).unwrap_or_default()
    }

    /// Whether a run whose start was delayed may still start: it must not once the watch is removed,
    /// redefined, paused or stopped, or the daemon stops.
    pub fn may_still_start(&self, run: RunId) -> bool {
        let is_current = |live: &Run| live.id == run && live.definition == self.definition;
        self.life == Life::Active && !self.stopped && !self.is_paused() && self.runs.iter().any(is_current)
    }

    pub(super) fn may_start(&self) -> bool {
        let limit = match self.policy.run_mode {
            RunMode::Queue | RunMode::Discard => 1,
            RunMode::Parallel => self.policy.max_parallel as usize,
        };
        self.life == Life::Active
            && !self.stopped
            && !self.is_paused()
            // After a redefinition or a trigger, an older update waits for the next content, so that both
            // make one run.
            && self.load == Load::No
            && self.due_event.is_none()
            && !self.undecoded.iter().any(|undecoded| undecoded.is_asked_for())
            && self.runs.len() < limit
            && self.runs.iter().all(|run| run.definition == self.definition)
    }
}

//! The step of a watch from an input to the effects.

use std::sync::Arc;

use super::state::{Life, Load};
use super::waiting::Undecoded;
use super::{Effect, Event, Generator, Input, Reason, Seen, Time, Update, Watch};
use crate::model::{Policy, RunMode, State, WatchCommand};

impl Watch {
    /// Tells the watch what happened, and returns what to do about it. The effects must be performed in the
    /// order of the list.
    ///
    /// `now` must not go backwards. The caller must answer every [`Effect::WantsStart`] with exactly one
    /// [`Input::MayStart`], and every [`Effect::Spawn`] with exactly one [`Input::Ended`].
    pub fn step(&mut self, now: Time, input: Input, generator: &mut Generator) -> Vec<Effect> {
        let mut effects = Vec::new();
        // An operator's command meets the watch as `Self::answer` saw it. A run that has ended is not told of
        // what waited.
        let is_command =
            matches!(input, Input::Triggered { .. } | Input::Paused(_) | Input::Resumed | Input::Killed);
        if !is_command && !matches!(input, Input::Ended { .. }) {
            self.end_pause(now, &mut effects);
        }
        match input {
            Input::Observed(state) => self.observed(state, now, generator, &mut effects),
            Input::Decoded { decoding, verdict } => {
                self.decoded(decoding, verdict, now, generator, &mut effects);
            }
            Input::MayStart => {
                self.past.asked_at = None;
                self.start_one(now, generator, &mut effects);
            }
            Input::Started { run, executed } => self.started(run, executed),
            Input::MustShed => self.shed(&mut effects),
            Input::Ended { run, end } => {
                self.ended(run, end, now, generator, &mut effects);
                self.end_pause(now, &mut effects);
            }
            Input::Loaded { policy, snapshot, same_definition } => {
                self.load(policy, snapshot, same_definition);
                self.end_pause(now, &mut effects);
            }
            Input::Redefined { policy, same_subject } => self.redefine(policy, same_subject, now),
            Input::Retired => {
                self.life = Life::Retired;
                self.waiting.clear();
                self.undecoded.clear();
                self.held = None;
            }
            Input::Triggered { force } if self.accepts(WatchCommand::Trigger { force }) => self.trigger(),
            Input::Paused(pause) if self.accepts(WatchCommand::Pause) => self.pause = Some(pause),
            Input::Resumed if self.accepts(WatchCommand::Resume) => self.resume(&mut effects),
            Input::Killed if self.accepts(WatchCommand::Kill) => self.end_all_by(now, Reason::Kill),
            // A refused command changes nothing.
            Input::Triggered { .. } | Input::Paused(_) | Input::Resumed | Input::Killed => {}
            Input::Stopping { grace } => {
                // Waiting updates are left to the next daemon.
                self.life = Life::Stopping;
                self.end_all_by(now + grace, Reason::Stop);
            }
            Input::Tick => {}
        }
        self.expire(now, &mut effects);
        self.ask_for_decoding(now, generator, &mut effects);
        self.ask_for_start(now, &mut effects);
        if self.life == Life::Retired && self.runs.is_empty() {
            effects.push(Effect::Forget);
        }
        self.runs.rest();
        self.waiting.rest();
        self.undecoded.rest();
        self.past.rest();
        effects
    }

    /// Returns when [`Input::Tick`] is due at the latest.
    pub fn deadline(&self) -> Option<Time> {
        let runs = self.runs.iter().filter_map(|run| run.phase.deadline());
        runs.chain(self.next_start()).chain(self.pause_ends()).min()
    }

    fn observed(&mut self, state: State, now: Time, generator: &mut Generator, effects: &mut Vec<Effect>) {
        let (before, asked) = (self.seen, matches!(self.due_event, Some(Event::Load | Event::Trigger)));
        let Some(update) = self.observe(state, effects) else { return };
        let Some(update) = self.admit(update, asked, effects) else { return };
        // The running action is not notified of content that it may have got from a former daemon.
        let is_news = match update.event {
            Event::Trigger => true,
            Event::Deleted => matches!(before, Some(Seen::Present(_))),
            Event::Load | Event::Created | Event::Changed | Event::Children => {
                before.and_then(|before| before.change(update.version, update.content.facet())).is_some()
            }
        };
        if self.needs_decoding(&update) || !self.undecoded.is_empty() {
            self.await_decoding(Undecoded::new(update, is_news, now), effects);
        } else {
            self.pass(update, is_news, now, generator, effects);
        }
    }

    /// Takes an update that is to run.
    pub(super) fn pass(
        &mut self,
        update: Update,
        is_news: bool,
        now: Time,
        generator: &mut Generator,
        effects: &mut Vec<Effect>,
    ) {
        if is_news && !self.is_paused() {
            self.notify(effects);
        }
        self.accept(update, now, generator, effects);
    }

    fn redefine(&mut self, policy: Arc<Policy>, same_subject: bool, now: Time) {
        if !same_subject {
            self.subject += 1;
            self.seen = None;
            self.due_event = None;
            self.waiting.clear();
            self.undecoded.clear();
            (self.held, self.past.applied_size) = (None, None);
        }
        self.unite_undecoded(now);
        if !policy.run_on_delete {
            self.waiting.retain(|waiting| waiting.update.event != Event::Deleted);
        }
        if policy.run_mode != RunMode::Parallel {
            self.keep_newest();
        }
        // The new definition has neither failed nor succeeded yet.
        self.waiting.iter_mut().for_each(|waiting| waiting.failures = 0);
        self.definition += 1;
        (self.past.applied, self.discarded) = (None, None);
        (self.failures, self.stopped) = (0, false);
        self.load = Load::of(&policy);
        self.policy = policy;
        // This also clears `forced` and `admitted`.
        self.recheck_guard();
        self.decode_again(now);
    }

    pub(super) fn notify(&self, effects: &mut Vec<Effect>) {
        if self.policy.run_mode != RunMode::Queue {
            return;
        }
        let Some(signal) = self.policy.notify_signal else { return };
        let running = self.runs.iter().filter(|run| run.definition == self.definition);
        effects.extend(running.map(|run| Effect::Notify { run: run.id, signal }));
    }
}
